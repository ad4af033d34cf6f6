/*
 * The client port over the key-value service in one process, without replication: the floor for
 * benchmarks of the whole. `server_alone PORT`; ends on SIGINT or SIGTERM. One thread.
 */
#include "base/clock.h"
#include "server/server.h"
#include "services/kv/kv.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define COMMAND_BYTES_MAX (1u << 20)
#define CONNECTIONS_MAX 10240u
#define WAIT_MS_MAX 100

static volatile sig_atomic_t g_stop;

struct alone {
    struct lks_server *server;
    void *state;
    uint64_t index;
    struct lks_reply reply;
};

static void on_signal(int signal_number)
{
    (void)signal_number;
    g_stop = 1;
}

static int submit(void *ctx, const void *command, size_t bytes, uint64_t cookie)
{
    struct alone *alone = ctx;
    const struct lks_command entry = {.index = ++alone->index,
                                      .time_ns = lks_clock_realtime_ns(),
                                      .data = command,
                                      .bytes = bytes};
    lks_reply_clear(&alone->reply);
    lks_kv_service.apply(alone->state, &entry, &alone->reply);
    lks_server_reply(alone->server, cookie, alone->reply.data, alone->reply.bytes);
    return 0;
}

static size_t info(void *ctx, const char *section, char *text, size_t bytes_max)
{
    (void)ctx;
    (void)section;
    (void)text;
    (void)bytes_max;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: server_alone PORT\n");
        return 2;
    }
    struct alone alone = {.server = NULL};
    const struct lks_service_options service = {.command_bytes_max = COMMAND_BYTES_MAX};
    const struct lks_log log_sink = {.level = LKS_LOG_INFO, .sink = lks_log_to_stderr};
    const struct lks_server_options options = {
        .address = "127.0.0.1",
        .port = (uint16_t)strtoul(argv[1], NULL, 10),
        .connections_max = CONNECTIONS_MAX,
        .command_bytes_max = COMMAND_BYTES_MAX,
        .backend = {.submit = submit, .info = info, .ctx = &alone},
        .log_sink = &log_sink,
    };
    struct lks_error err = {0};
    if (lks_kv_service.open(&alone.state, &service) != 0 ||
        lks_server_new(&alone.server, &options, &err) != 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    (void)signal(SIGINT, on_signal);
    (void)signal(SIGTERM, on_signal);
    (void)printf("port %u\n", (unsigned)lks_server_port(alone.server));
    (void)fflush(stdout);
    struct pollfd wait = {.fd = lks_server_fd(alone.server), .events = POLLIN};
    while (!g_stop) {
        if (lks_server_poll(alone.server) == 0) {
            (void)poll(&wait, 1, WAIT_MS_MAX);
        }
    }
    lks_server_free(alone.server);
    lks_kv_service.close(alone.state);
    lks_reply_fini(&alone.reply);
    return 0;
}
