/*
 * Commands that concern one connection alone; see commands.h. They run when everything that the
 * connection asked before has been answered. Error texts are those of Redis 7.
 */
#include "server/commands.h"

#include "base/clock.h"
#include "services/kv/format.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 64
#define CLIENT_LINE_MAX 4096
#define ATTRIBUTE_QUOTED_MAX 128

static bool is_word(const struct lks_argument *arg, const char *word)
{
    return arg->bytes == strlen(word) && strncasecmp(arg->data, word, arg->bytes) == 0;
}

static void reply_text(struct lks_reply *reply, const char *text)
{
    lks_reply_bulk(reply, text, strlen(text));
}

void lks_local_ping(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count)
{
    (void)connection;
    if (count > 2) {
        lks_reply_error(&server->reply, "ERR wrong number of arguments for 'ping' command");
    } else if (count == 2) {
        lks_reply_bulk(&server->reply, args[1].data, args[1].bytes);
    } else {
        lks_reply_status(&server->reply, "PONG");
    }
}

void lks_local_echo(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)count;
    lks_reply_bulk(&server->reply, args[1].data, args[1].bytes);
}

void lks_local_quit(struct lks_server *server, struct lks_connection *connection,
                    const struct lks_argument *args, size_t count)
{
    (void)args;
    (void)count;
    connection->closing = true;
    lks_reply_status(&server->reply, "OK");
}

void lks_local_select(struct lks_server *server, struct lks_connection *connection,
                      const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)count;
    int64_t index = 0;
    if (!lks_kv_integer_parse(args[1].data, args[1].bytes, &index)) {
        lks_reply_error(&server->reply, "ERR value is not an integer or out of range");
    } else if (index > INT32_MAX || index < INT32_MIN) {
        lks_reply_error(&server->reply, "ERR value is out of range, value must between %d and %d",
                        INT32_MIN, INT32_MAX);
    } else if (index != 0) {
        lks_reply_error(&server->reply, "ERR DB index is out of range");
    } else {
        lks_reply_status(&server->reply, "OK");
    }
}

/* No character that would break a line of CLIENT LIST. */
static bool is_plain(const struct lks_argument *text)
{
    for (size_t i = 0; i < text->bytes; i++) {
        if (text->data[i] < '!' || text->data[i] > '~') {
            return false;
        }
    }
    return true;
}

enum name_kind { NAME_CLIENT, NAME_LIBRARY, NAME_LIBRARY_VERSION };

static char **name_place(struct lks_connection_names *names, enum name_kind kind)
{
    switch (kind) {
    case NAME_LIBRARY:
        return &names->library;
    case NAME_LIBRARY_VERSION:
        return &names->library_version;
    case NAME_CLIENT:
        break;
    }
    return &names->name;
}

static const char *get_name(const struct lks_connection *connection, enum name_kind kind)
{
    if (connection->names == NULL) {
        return "";
    }
    const char *name = *name_place(connection->names, kind);
    return name != NULL ? name : "";
}

/* Keeps a copy; an empty one removes it. False: server->reply says why not. what: for errors. */
static bool set_name(struct lks_server *server, struct lks_connection *connection,
                     enum name_kind kind, const struct lks_argument *text, const char *what)
{
    if (!is_plain(text)) {
        lks_reply_error(&server->reply,
                        "ERR %s cannot contain spaces, newlines or special characters.", what);
        return false;
    }
    if (text->bytes > LKS_SERVER_NAME_BYTES_MAX) {
        lks_reply_error(&server->reply, "ERR %s of %zu bytes exceeds the limit of %u bytes", what,
                        text->bytes, LKS_SERVER_NAME_BYTES_MAX);
        return false;
    }
    if (connection->names == NULL) {
        connection->names = calloc(1, sizeof *connection->names);
    }
    char *copy = text->bytes > 0 ? strndup(text->data, text->bytes) : NULL;
    if (connection->names == NULL || (text->bytes > 0 && copy == NULL)) {
        free(copy);
        lks_reply_error(&server->reply, "ERR out of memory");
        return false;
    }
    char **place = name_place(connection->names, kind);
    free(*place);
    *place = copy;
    return true;
}

void lks_local_client_setname(struct lks_server *server, struct lks_connection *connection,
                              const struct lks_argument *args, size_t count)
{
    (void)count;
    if (set_name(server, connection, NAME_CLIENT, &args[2], "Client names")) {
        lks_reply_status(&server->reply, "OK");
    }
}

void lks_local_client_setinfo(struct lks_server *server, struct lks_connection *connection,
                              const struct lks_argument *args, size_t count)
{
    (void)count;
    bool set = false;
    if (is_word(&args[2], "lib-name")) {
        set = set_name(server, connection, NAME_LIBRARY, &args[3], "lib-name");
    } else if (is_word(&args[2], "lib-ver")) {
        set = set_name(server, connection, NAME_LIBRARY_VERSION, &args[3], "lib-ver");
    } else {
        const int length = (int)(args[2].bytes < ATTRIBUTE_QUOTED_MAX ? args[2].bytes
                                                                      : ATTRIBUTE_QUOTED_MAX);
        lks_reply_error(&server->reply, "ERR Unrecognized option '%.*s'", length, args[2].data);
    }
    if (set) {
        lks_reply_status(&server->reply, "OK");
    }
}

void lks_local_client_getname(struct lks_server *server, struct lks_connection *connection,
                              const struct lks_argument *args, size_t count)
{
    (void)args;
    (void)count;
    const char *name = get_name(connection, NAME_CLIENT);
    if (*name == '\0') {
        lks_reply_null(&server->reply);
    } else {
        reply_text(&server->reply, name);
    }
}

void lks_local_client_id(struct lks_server *server, struct lks_connection *connection,
                         const struct lks_argument *args, size_t count)
{
    (void)args;
    (void)count;
    lks_reply_integer(&server->reply, (int64_t)connection->id);
}

void lks_local_client_no_evict(struct lks_server *server, struct lks_connection *connection,
                               const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)count;
    if (is_word(&args[2], "on") || is_word(&args[2], "off")) {
        lks_reply_status(&server->reply, "OK"); /* no client is ever evicted */
    } else {
        lks_reply_error(&server->reply, "ERR syntax error");
    }
}

/* The options of HELLO behind the version; false: server->reply says why not. */
static bool hello_options(struct lks_server *server, struct lks_connection *connection,
                          const struct lks_argument *args, size_t count)
{
    const struct lks_argument *name = NULL;
    for (size_t i = 2; i < count; i++) {
        const size_t more = count - i - 1;
        if (is_word(&args[i], "AUTH") && more >= 2) {
            lks_reply_error(&server->reply,
                            "WRONGPASS this server knows no users and passwords; connect "
                            "without them");
            return false;
        }
        if (is_word(&args[i], "SETNAME") && more >= 1) {
            name = &args[++i];
            continue;
        }
        const int length =
            (int)(args[i].bytes < ATTRIBUTE_QUOTED_MAX ? args[i].bytes : ATTRIBUTE_QUOTED_MAX);
        lks_reply_error(&server->reply, "ERR Syntax error in HELLO option '%.*s'", length,
                        args[i].data);
        return false;
    }
    return name == NULL || set_name(server, connection, NAME_CLIENT, name, "Client names");
}

void lks_local_hello(struct lks_server *server, struct lks_connection *connection,
                     const struct lks_argument *args, size_t count)
{
    struct lks_reply *reply = &server->reply;
    int64_t version = connection->protocol;
    if (count > 1 && !lks_kv_integer_parse(args[1].data, args[1].bytes, &version)) {
        lks_reply_error(reply, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2 && version != 3) {
        lks_reply_error(reply, "NOPROTO unsupported protocol version");
        return;
    }
    if (!hello_options(server, connection, args, count)) {
        return;
    }
    connection->protocol = (int)version;
    lks_reply_map(reply, 7);
    reply_text(reply, "server");
    reply_text(reply, "lockstep");
    reply_text(reply, "version");
    reply_text(reply, LKS_SERVER_REDIS_VERSION);
    reply_text(reply, "proto");
    lks_reply_integer(reply, connection->protocol);
    reply_text(reply, "id");
    lks_reply_integer(reply, (int64_t)connection->id);
    reply_text(reply, "mode");
    reply_text(reply, "standalone");
    reply_text(reply, "role");
    reply_text(reply, "master");
    reply_text(reply, "modules");
    lks_reply_array(reply, 0);
}

static void print_address(char *text, size_t bytes, int fd,
                          int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[INET6_ADDRSTRLEN] = "?";
    if (get(fd, (struct sockaddr *)&address, &length) != 0) {
        (void)snprintf(text, bytes, "?:0");
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        (void)snprintf(text, bytes, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        (void)snprintf(text, bytes, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    }
}

/* One line of CLIENT LIST; returns its bytes. */
static size_t print_client(const struct lks_server *server,
                           const struct lks_connection *connection, char *line, size_t bytes)
{
    char peer[ADDRESS_TEXT_MAX];
    char local[ADDRESS_TEXT_MAX];
    print_address(peer, sizeof peer, connection->fd, getpeername);
    print_address(local, sizeof local, connection->fd, getsockname);
    const int printed = snprintf(
        line, bytes,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=N db=0 sub=0 psub=0 "
        "ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu omem=%zu cmd=%s user=default redir=-1 resp=%d "
        "lib-name=%s lib-ver=%s\n",
        (unsigned long long)connection->id, peer, local, connection->fd,
        get_name(connection, NAME_CLIENT),
        (unsigned long long)((server->now_ns - connection->opened_ns) / LKS_NS_PER_S),
        (unsigned long long)((server->now_ns - connection->active_ns) / LKS_NS_PER_S),
        connection->in_bytes, connection->in_capacity - connection->in_bytes,
        connection->out.bytes, connection->last_command, connection->protocol,
        get_name(connection, NAME_LIBRARY), get_name(connection, NAME_LIBRARY_VERSION));
    return printed < 0 ? 0 : ((size_t)printed < bytes ? (size_t)printed : bytes - 1);
}

void lks_local_client_info(struct lks_server *server, struct lks_connection *connection,
                           const struct lks_argument *args, size_t count)
{
    (void)args;
    (void)count;
    char line[CLIENT_LINE_MAX];
    const size_t bytes = print_client(server, connection, line, sizeof line);
    lks_server_reply_verbatim(&server->reply, line, bytes);
}

void lks_local_client_list(struct lks_server *server, struct lks_connection *connection,
                           const struct lks_argument *args, size_t count)
{
    (void)connection;
    (void)args;
    if (count > 2) {
        lks_reply_error(&server->reply, "ERR syntax error");
        return;
    }
    char *text = malloc((size_t)server->connections_count * CLIENT_LINE_MAX);
    if (text == NULL) {
        lks_reply_error(&server->reply, "ERR out of memory");
        return;
    }
    size_t bytes = 0;
    for (uint32_t i = 0; i < server->options.connections_max; i++) {
        if (server->connections[i].fd >= 0) {
            bytes += print_client(server, &server->connections[i], text + bytes, CLIENT_LINE_MAX);
        }
    }
    lks_server_reply_verbatim(&server->reply, text, bytes);
    free(text);
}
