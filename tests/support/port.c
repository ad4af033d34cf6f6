/* A client port for tests; see port.h. */
#include "tests/support/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define QUIET_TURNS 3
#define ANSWER_TURNS 200 /* until an answer counts as missing */
#define TURN_WAIT_MS 10
#define FIRST_TIME_NS UINT64_C(1700000000123456000)

static void apply(struct test_port *port, const void *data, size_t bytes, uint64_t cookie)
{
    const struct lks_command command = {
        .index = ++port->index, .time_ns = port->time_ns, .data = data, .bytes = bytes};
    lks_reply_clear(&port->reply);
    lks_kv_service.apply(port->state, &command, &port->reply);
    lks_server_reply(port->server, cookie, port->reply.data, port->reply.bytes);
}

static void keep(struct test_port *port, const void *data, size_t bytes, uint64_t cookie)
{
    if (port->kept_count == port->kept_capacity) {
        port->kept_capacity = port->kept_capacity != 0 ? port->kept_capacity * 2 : 64;
        port->kept = realloc(port->kept, port->kept_capacity * sizeof *port->kept);
        assert_non_null(port->kept);
    }
    void *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, data, bytes);
    port->kept[port->kept_count++] = (struct test_port_command){copy, bytes, cookie, false, false};
}

static int submit(void *ctx, const void *command, size_t bytes, uint64_t cookie)
{
    struct test_port *port = ctx;
    if (port->refusal != 0) {
        return port->refusal;
    }
    port->submitted++;
    if (port->delayed) {
        keep(port, command, bytes, cookie);
    } else {
        apply(port, command, bytes, cookie);
    }
    return 0;
}

static int submit_read(void *ctx, const void *command, size_t bytes, uint64_t cookie, bool ordered)
{
    struct test_port *port = ctx;
    const size_t before = port->kept_count;
    const int result = submit(ctx, command, bytes, cookie);
    if (port->kept_count > before) {
        port->kept[before].read = true;
        port->kept[before].ordered = ordered;
    }
    return result;
}

static size_t info(void *ctx, const char *section, char *text, size_t bytes_max)
{
    (void)ctx;
    if (section != NULL && strcasecmp(section, "lockstep") != 0) {
        return 0;
    }
    return (size_t)snprintf(text, bytes_max, "# Lockstep\r\nrole:test\r\n");
}

static uint32_t durable_followers(void *ctx)
{
    const struct test_port *port = ctx;
    return port->followers;
}

void test_port_start(struct test_port *port, const struct test_port_options *options)
{
    memset(port, 0, sizeof *port);
    port->time_ns = FIRST_TIME_NS;
    const struct lks_service_options service = {.command_bytes_max = options->command_bytes_max};
    assert_int_equal(lks_kv_service.open(&port->state, &service), 0);
    const struct lks_server_options server = {
        .address = "127.0.0.1",
        .connections_max = options->connections_max,
        .command_bytes_max = options->command_bytes_max,
        .debug_commands = options->debug_commands,
        .other_service = options->other_service,
        .backend = {.submit = submit,
                    .info = info,
                    .durable_followers = durable_followers,
                    .read = submit_read,
                    .ctx = port},
    };
    struct lks_error err = {0};
    const int result = lks_server_new(&port->server, &server, &err);
    if (result != 0) {
        fail_msg("%s", err.text);
    }
}

void test_port_stop(struct test_port *port)
{
    lks_server_free(port->server);
    lks_kv_service.close(port->state);
    lks_reply_fini(&port->reply);
    for (size_t i = 0; i < port->kept_count; i++) {
        free(port->kept[i].data);
    }
    free(port->kept);
}

int test_port_connect(struct test_port *port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(lks_server_port(port->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    const int one = 1; /* single bytes leave at once */
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    (void)lks_server_poll(port->server);
    return fd;
}

/* A turn of the port; waits a little first when it has nothing to do. */
static int turn(struct test_port *port, int client_fd, int wait_ms)
{
    struct pollfd ready[2] = {{.fd = lks_server_fd(port->server), .events = POLLIN},
                              {.fd = client_fd, .events = POLLIN}};
    (void)poll(ready, client_fd >= 0 ? 2 : 1, wait_ms);
    return lks_server_poll(port->server);
}

bool test_port_send(struct test_port *port, int fd, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes > 0) {
        const ssize_t sent = send(fd, p, bytes, MSG_NOSIGNAL);
        if (sent > 0) {
            p += sent;
            bytes -= (size_t)sent;
        } else if (errno != EAGAIN) {
            return false;
        }
        (void)turn(port, -1, 0);
    }
    return true;
}

size_t test_port_receive(struct test_port *port, int fd, void *data, size_t bytes, int turns,
                         bool *closed)
{
    size_t total = 0;
    int quiet = 0;
    if (closed != NULL) {
        *closed = false;
    }
    while (total < bytes && quiet < turns) {
        const ssize_t part = recv(fd, (char *)data + total, bytes - total, 0);
        if (part > 0) {
            total += (size_t)part;
            quiet = 0;
        } else if (part == 0 || errno != EAGAIN) {
            if (closed != NULL) {
                *closed = true;
            }
            return total;
        } else if (turn(port, fd, TURN_WAIT_MS) == 0) {
            quiet++;
        }
    }
    return total;
}

static void expect_bytes(struct test_port *port, int fd, const char *request,
                         const char *answer, size_t answer_bytes)
{
    char *got = calloc(1, answer_bytes + 1);
    assert_non_null(got);
    const size_t bytes = test_port_receive(port, fd, got, answer_bytes, ANSWER_TURNS, NULL);
    if (bytes != answer_bytes || memcmp(got, answer, answer_bytes) != 0) {
        print_error("request:\n%s\nexpected %zu bytes:\n%s\ngot %zu bytes:\n%s\n", request,
                    answer_bytes, answer, bytes, got);
        free(got);
        fail();
    }
    free(got);
}

void test_port_expect(struct test_port *port, int fd, const char *request, size_t request_bytes,
                      const char *answer, size_t answer_bytes)
{
    assert_true(test_port_send(port, fd, request, request_bytes));
    expect_bytes(port, fd, request, answer, answer_bytes);
    char more = 0;
    bool closed;
    assert_int_equal(test_port_receive(port, fd, &more, 1, 1, &closed), 0);
    assert_false(closed);
}

void test_port_expect_close(struct test_port *port, int fd, const char *request,
                            size_t request_bytes, const char *answer, size_t answer_bytes)
{
    (void)test_port_send(port, fd, request, request_bytes);
    expect_bytes(port, fd, request, answer, answer_bytes);
    char more = 0;
    bool closed;
    assert_int_equal(test_port_receive(port, fd, &more, 1, ANSWER_TURNS, &closed), 0);
    assert_true(closed);
    (void)close(fd);
}

void test_port_settle(struct test_port *port)
{
    int quiet = 0;
    while (quiet < QUIET_TURNS) {
        quiet = turn(port, -1, TURN_WAIT_MS / 2) == 0 ? quiet + 1 : 0;
    }
}

size_t test_port_release(struct test_port *port, size_t count)
{
    const size_t released = count < port->kept_count ? count : port->kept_count;
    struct test_port_command *kept = port->kept;
    const size_t kept_count = port->kept_count;
    port->kept = NULL; /* what the answers bring on is kept behind these */
    port->kept_count = 0;
    port->kept_capacity = 0;
    for (size_t i = 0; i < released; i++) {
        apply(port, kept[i].data, kept[i].bytes, kept[i].cookie);
        free(kept[i].data);
    }
    for (size_t i = released; i < kept_count; i++) {
        keep(port, kept[i].data, kept[i].bytes, kept[i].cookie);
        free(kept[i].data);
    }
    free(kept);
    lks_server_flush(port->server);
    return released;
}

void test_port_release_at(struct test_port *port, size_t place, bool unknown)
{
    assert_true(place < port->kept_count);
    const struct test_port_command command = port->kept[place];
    port->kept_count--;
    memmove(port->kept + place, port->kept + place + 1,
            (port->kept_count - place) * sizeof command);
    if (unknown) {
        lks_server_reply(port->server, command.cookie, NULL, 0);
    } else {
        apply(port, command.data, command.bytes, command.cookie);
    }
    free(command.data);
    lks_server_flush(port->server);
}
