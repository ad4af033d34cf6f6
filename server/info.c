/* INFO: the port's own sections and, behind them, what the backend adds; see commands.h. */
#include "server/commands.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define INFO_BYTES_MAX (64u << 10)
#define SECTION_BYTES_MAX 64

struct text {
    char *data;
    size_t bytes;
};

static void print(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print(struct text *text, const char *format, ...)
{
    const size_t room = INFO_BYTES_MAX - text->bytes;
    va_list args;
    va_start(args, format);
    const int printed = vsnprintf(text->data + text->bytes, room, format, args);
    va_end(args);
    if (printed > 0) {
        text->bytes += (size_t)printed < room ? (size_t)printed : room - 1;
    }
}

static void print_server(const struct lks_server *server, struct text *text)
{
    const uint64_t uptime_s = (server->now_ns - server->started_ns) / LKS_NS_PER_S;
    print(text, "# Server\r\n");
    print(text, "lockstep_version:%s\r\n", LKS_SERVER_VERSION);
    print(text, "redis_version:%s\r\n", LKS_SERVER_REDIS_VERSION);
    print(text, "redis_mode:standalone\r\n");
    print(text, "process_id:%ld\r\n", (long)getpid());
    print(text, "tcp_port:%u\r\n", (unsigned)server->port);
    print(text, "uptime_in_seconds:%llu\r\n", (unsigned long long)uptime_s);
    print(text, "uptime_in_days:%llu\r\n", (unsigned long long)(uptime_s / 86400));
}

static void print_clients(const struct lks_server *server, struct text *text)
{
    print(text, "# Clients\r\n");
    print(text, "connected_clients:%u\r\n", server->connections_count);
    print(text, "maxclients:%u\r\n", server->options.connections_max);
    print(text, "client_input_buffers_bytes:%zu\r\n", server->input_bytes);
    print(text, "client_output_buffers_bytes:%zu\r\n", server->pool.bytes);
    print(text, "client_buffers_bytes_max:%zu\r\n", server->buffers_max);
}

static void print_stats(const struct lks_server *server, struct text *text)
{
    const struct lks_server_stats *stats = &server->stats;
    print(text, "# Stats\r\n");
    print(text, "total_connections_received:%llu\r\n", (unsigned long long)stats->accepted);
    print(text, "total_commands_processed:%llu\r\n", (unsigned long long)stats->commands);
    print(text, "total_net_input_bytes:%llu\r\n", (unsigned long long)stats->input_bytes);
    print(text, "total_net_output_bytes:%llu\r\n", (unsigned long long)stats->output_bytes);
    print(text, "rejected_connections:%llu\r\n", (unsigned long long)stats->rejected);
    print(text, "protocol_errors:%llu\r\n", (unsigned long long)stats->errors);
    print(text, "client_buffer_overruns:%llu\r\n", (unsigned long long)stats->overruns);
}

static const struct {
    const char *name;
    void (*print)(const struct lks_server *server, struct text *text);
} g_sections[] = {
    {"server", print_server},
    {"clients", print_clients},
    {"stats", print_stats},
};

#define SECTIONS (sizeof g_sections / sizeof g_sections[0])

/* The backend's part; NULL: all of it. */
static void print_backend(const struct lks_server *server, const char *section, struct text *text)
{
    const struct lks_server_backend *backend = &server->options.backend;
    const size_t room = INFO_BYTES_MAX - text->bytes;
    text->bytes += backend->info(backend->ctx, section, text->data + text->bytes, room);
}

static void print_separator(struct text *text)
{
    if (text->bytes > 0) {
        print(text, "\r\n");
    }
}

/* Takes a separator back behind which nothing came. */
static void drop_separator(struct text *text, size_t bytes_before)
{
    if (text->bytes == bytes_before && bytes_before > 0) {
        text->bytes -= 2;
    }
}

static void print_section(const struct lks_server *server, const struct lks_argument *name,
                          struct text *text)
{
    char section[SECTION_BYTES_MAX];
    if (name->bytes >= sizeof section) {
        return;
    }
    memcpy(section, name->data, name->bytes);
    section[name->bytes] = '\0';
    print_separator(text);
    const size_t before = text->bytes;
    for (size_t i = 0; i < SECTIONS; i++) {
        if (strcasecmp(section, g_sections[i].name) == 0) {
            g_sections[i].print(server, text);
            return;
        }
    }
    print_backend(server, section, text);
    drop_separator(text, before); /* an unknown section leaves no trace */
}

static bool is_everything(const struct lks_argument *name)
{
    static const char *const words[] = {"default", "all", "everything"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (name->bytes == strlen(words[i]) &&
            strncasecmp(name->data, words[i], name->bytes) == 0) {
            return true;
        }
    }
    return false;
}

void lks_local_info(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count)
{
    (void)connection;
    struct text text = {malloc(INFO_BYTES_MAX), 0};
    if (text.data == NULL) {
        lks_reply_error(&server->reply, "ERR out of memory");
        return;
    }
    bool everything = count == 1;
    for (size_t i = 1; i < count; i++) {
        everything = everything || is_everything(&args[i]);
    }
    if (everything) {
        for (size_t i = 0; i < SECTIONS; i++) {
            print_separator(&text);
            g_sections[i].print(server, &text);
        }
        print_separator(&text);
        const size_t before = text.bytes;
        print_backend(server, NULL, &text);
        drop_separator(&text, before);
    } else {
        for (size_t i = 1; i < count; i++) {
            print_section(server, &args[i], &text);
        }
    }
    lks_server_reply_verbatim(&server->reply, text.data, text.bytes);
    free(text.data);
}
