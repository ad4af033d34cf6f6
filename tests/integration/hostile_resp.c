/*
 * Hostile and careless clients against the port: thousands that say nothing, half commands,
 * announced lengths that never come, floods whose answers nobody reads, garbage. After each of
 * them the memory in use is measured, and a well-behaved client is still served.
 */
#include "server/internal.h"
#include "tests/support/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define IDLE_CONNECTIONS 10000u
#define SETTLE_TRIES 50u
#define OTHER_DESCRIPTORS 100u
#define IDLE_BYTES_MAX 64u   /* of heap for each idle connection, besides its slot */
#define HALF_BYTES_MAX 1024u /* of heap for each connection with a half command */
#define COMMAND_BYTES_MAX (1u << 20)
#define FLOOD_CLIENTS 8
#define GARBAGE_CLIENTS 300

static struct test_port g_port;

static int setup(void **state)
{
    (void)state;
    test_port_start(&g_port, &(struct test_port_options){.connections_max = IDLE_CONNECTIONS + 50,
                                                         .command_bytes_max = COMMAND_BYTES_MAX});
    const int fd = test_port_connect(&g_port);
    TEST_PORT_EXPECT(&g_port, fd, "PING\r\n", "+PONG\r\n"); /* what is made once is made now */
    (void)close(fd);
    test_port_settle(&g_port);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_port_stop(&g_port);
    return 0;
}

/* Bytes of heap in use; 0 where a sanitizer keeps its own heap. */
static size_t heap_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void expect_alive(void)
{
    const int fd = test_port_connect(&g_port);
    TEST_PORT_EXPECT(&g_port, fd, "SET alive 1\r\nGET alive\r\n", "+OK\r\n$1\r\n1\r\n");
    (void)close(fd);
    test_port_settle(&g_port);
}

static unsigned connected_clients(void)
{
    char info[1024] = "";
    const int fd = test_port_connect(&g_port);
    assert_true(test_port_send(&g_port, fd, "INFO clients\r\n", 14));
    (void)test_port_receive(&g_port, fd, info, sizeof info - 1, 2, NULL);
    (void)close(fd);
    const char *field = strstr(info, "connected_clients:");
    assert_non_null(field);
    return (unsigned)strtoul(field + 18, NULL, 10) - 1;
}

/* The kernel may bring the end of a connection later than the end of its process. */
static void expect_clients(unsigned count)
{
    unsigned seen = connected_clients();
    for (unsigned tries = 0; seen != count && tries < SETTLE_TRIES; tries++) {
        test_port_settle(&g_port);
        seen = connected_clients();
    }
    assert_int_equal(seen, count);
}

/* How many clients this machine lets one process have: 10,000, or fewer and loudly so. */
static unsigned idle_connections(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < IDLE_CONNECTIONS + OTHER_DESCRIPTORS) {
        limit.rlim_cur = limit.rlim_max;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    if (limit.rlim_cur >= IDLE_CONNECTIONS + OTHER_DESCRIPTORS) {
        return IDLE_CONNECTIONS;
    }
    const unsigned fewer = (unsigned)limit.rlim_cur - OTHER_DESCRIPTORS;
    print_message("SKIP: only %u connections instead of %u: the hard limit of open files is %llu\n",
                  fewer, IDLE_CONNECTIONS, (unsigned long long)limit.rlim_max);
    return fewer;
}

static void wait_byte(int fd)
{
    char byte;
    while (read(fd, &byte, 1) < 0 && errno == EINTR) {
    }
}

static void say(int fd)
{
    if (write(fd, "x", 1) != 1) {
        _exit(3);
    }
}

/*
 * The process that holds the clients' ends, so that each side needs only its own descriptors. It
 * connects and says so; then, told so, sends half a command on each; then, told so, ends.
 */
static _Noreturn void run_clients(unsigned count, int commands, int reports)
{
    static const char half[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1000\r\nabc";
    int *fds = calloc(count, sizeof *fds);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(lks_server_port(g_port.server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (unsigned i = 0; fds != NULL && i < count; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&address, sizeof address) != 0) {
            perror("hostile_resp: a client cannot connect");
            _exit(1);
        }
    }
    say(reports);
    wait_byte(commands);
    for (unsigned i = 0; fds != NULL && i < count; i++) {
        if (write(fds[i], half, sizeof half - 1) != sizeof half - 1) {
            perror("hostile_resp: a client cannot send");
            _exit(2);
        }
    }
    say(reports);
    wait_byte(commands);
    _exit(0);
}

/* Gives the port turns until the other process reports. */
static void pump_until_report(int reports)
{
    struct pollfd ready[2] = {{.fd = lks_server_fd(g_port.server), .events = POLLIN},
                              {.fd = reports, .events = POLLIN}};
    do {
        (void)lks_server_poll(g_port.server);
        (void)poll(ready, 2, 100);
    } while (ready[1].revents == 0);
    char byte;
    assert_int_equal(read(reports, &byte, 1), 1);
    test_port_settle(&g_port);
}

static void expect_heap(const char *what, size_t before, size_t bytes_max)
{
    const size_t now = heap_bytes();
    if (now == 0) {
        print_message("%s: NOT MEASURED, the sanitizer keeps a heap of its own\n", what);
        return;
    }
    const size_t growth = now > before ? now - before : 0;
    print_message("%s: heap grew by %zu bytes (at most %zu)\n", what, growth, bytes_max);
    assert_true(growth <= bytes_max);
}

static void ten_thousand_connections__idle_then_half_commands__small(void **state)
{
    (void)state;
    const unsigned count = idle_connections();
    int commands[2];
    int reports[2];
    assert_int_equal(pipe(commands), 0);
    assert_int_equal(pipe(reports), 0);
    const size_t before = heap_bytes();
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        run_clients(count, commands[0], reports[1]);
    }
    (void)close(reports[1]);
    pump_until_report(reports[0]);
    expect_clients(count);
    expect_heap("idle clients", before, (size_t)count * IDLE_BYTES_MAX);
    say(commands[1]);
    pump_until_report(reports[0]);
    expect_clients(count);
    expect_heap("half commands", before, (size_t)count * HALF_BYTES_MAX);
    expect_alive();
    say(commands[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    test_port_settle(&g_port);
    expect_clients(0);
    expect_heap("after they left", before, 256u << 10);
    (void)close(reports[0]);
    (void)close(commands[0]);
    (void)close(commands[1]);
}

static void lengths__announced_and_never_sent__nothing_reserved(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "*1048576\r\n$3\r\n", "*2\r\n$3\r\nGET\r\n$536870912\r\nabc", "*3\r\n$536870912\r\nabc",
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048000\r\nabc"};
    int fds[100];
    const size_t before = heap_bytes();
    for (size_t i = 0; i < 100; i++) {
        const char *request = requests[i % 4];
        fds[i] = test_port_connect(&g_port);
        assert_true(test_port_send(&g_port, fds[i], request, strlen(request)));
    }
    test_port_settle(&g_port);
    expect_heap("announced lengths", before, 100 * HALF_BYTES_MAX);
    for (size_t i = 0; i < 100; i++) {
        (void)close(fds[i]);
    }
    expect_alive();
}

static void value__far_beyond_limit__skipped_without_growth(void **state)
{
    (void)state;
    static char chunk[1 << 20];
    const int fd = test_port_connect(&g_port);
    const size_t before = heap_bytes();
    static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n";
    assert_true(test_port_send(&g_port, fd, head, sizeof head - 1));
    for (int i = 0; i < 64; i++) {
        assert_true(test_port_send(&g_port, fd, chunk, sizeof chunk));
        expect_heap("skipping", before, 256u << 10);
    }
    TEST_PORT_EXPECT(&g_port, fd, "\r\nPING\r\n",
                     "-ERR value of 67108864 bytes exceeds the entry limit of 1048576 bytes "
                     "(entry_max in the configuration)\r\n+PONG\r\n");
    (void)close(fd);
    expect_alive();
}

/* DEL with 1,048,575 keys: empty ones just fit into an entry, keys of one byte do not. */
static void arguments__a_million__bounded(void **state)
{
    (void)state;
    const int fd = test_port_connect(&g_port);
    const size_t before = heap_bytes();
    const size_t count = 1024 * 1024;
    for (size_t key_bytes = 0; key_bytes <= 1; key_bytes++) {
        char *request = malloc(count * 8 + 64);
        assert_non_null(request);
        size_t bytes = (size_t)sprintf(request, "*%zu\r\n$3\r\nDEL\r\n", count);
        for (size_t i = 1; i < count; i++) {
            bytes += (size_t)sprintf(request + bytes, "$%zu\r\n%s\r\n", key_bytes,
                                     key_bytes > 0 ? "x" : "");
        }
        assert_true(test_port_send(&g_port, fd, request, bytes));
        free(request);
        if (key_bytes == 0) {
            TEST_PORT_EXPECT(&g_port, fd, "PING\r\n", ":0\r\n+PONG\r\n");
        } else {
            TEST_PORT_EXPECT(&g_port, fd, "PING\r\n",
                             "-ERR command of 2097154 bytes exceeds the entry limit of 1048576 "
                             "bytes (entry_max in the configuration)\r\n+PONG\r\n");
        }
    }
    (void)close(fd);
    expect_alive();
    expect_heap("after a million arguments", before, 8u << 20);
}

/* Clients that ask for a long value again and again and never read. */
static void slow_readers__flood_of_gets__bounded(void **state)
{
    (void)state;
    static char value[1000000];
    char head[64];
    int fds[FLOOD_CLIENTS];
    const int writer = test_port_connect(&g_port);
    const int bytes = sprintf(head, "*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$%zu\r\n", sizeof value);
    assert_true(test_port_send(&g_port, writer, head, (size_t)bytes));
    assert_true(test_port_send(&g_port, writer, value, sizeof value));
    TEST_PORT_EXPECT(&g_port, writer, "\r\n", "+OK\r\n");
    const size_t before = heap_bytes();
    for (int i = 0; i < FLOOD_CLIENTS; i++) {
        fds[i] = test_port_connect(&g_port);
        for (int j = 0; j < 1000; j++) {
            assert_true(test_port_send(&g_port, fds[i], "GET v\r\n", 7));
        }
    }
    test_port_settle(&g_port);
    expect_heap("flood of gets", before,
                FLOOD_CLIENTS * (LKS_SERVER_OUTPUT_BYTES_MAX + 2 * sizeof value));
    TEST_PORT_EXPECT(&g_port, writer, "STRLEN v\r\n", ":1000000\r\n");
    for (int i = 0; i < FLOOD_CLIENTS; i++) {
        (void)close(fds[i]);
    }
    (void)close(writer);
    expect_alive();
    expect_clients(0);
    expect_heap("after the flood", before, 8u << 20);
}

/* More half commands than all clients together may have buffered: some are closed. */
static void half_commands__beyond_all_buffers__closed_not_grown(void **state)
{
    (void)state;
    static char part[1000000];
    int fds[400];
    const size_t before = heap_bytes();
    for (size_t i = 0; i < 400; i++) {
        fds[i] = test_port_connect(&g_port);
        static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048000\r\n";
        if (test_port_send(&g_port, fds[i], head, sizeof head - 1)) {
            (void)test_port_send(&g_port, fds[i], part, sizeof part);
        }
    }
    test_port_settle(&g_port);
    expect_heap("half commands of 400 MB", before,
                LKS_SERVER_BUFFERS_BYTES_MIN + (8u << 20));
    assert_true(connected_clients() >= 200);
    assert_true(connected_clients() < 400);
    for (size_t i = 0; i < 400; i++) {
        (void)close(fds[i]);
    }
    expect_alive();
}

static void garbage__many_clients__served_and_closed(void **state)
{
    (void)state;
    unsigned seed = 11;
    for (int i = 0; i < GARBAGE_CLIENTS; i++) {
        char data[2000];
        const size_t bytes = (size_t)rand_r(&seed) % sizeof data;
        for (size_t j = 0; j < bytes; j++) {
            data[j] = (char)(rand_r(&seed) % 3 == 0 ? "*$\r\n1\"' "[rand_r(&seed) % 8]
                                                    : rand_r(&seed));
        }
        const int fd = test_port_connect(&g_port);
        (void)test_port_send(&g_port, fd, data, bytes);
        (void)close(fd);
    }
    test_port_settle(&g_port);
    expect_clients(0);
    expect_alive();
}

static void protocol_errors__answered_then_closed(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*99999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
        {"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\n$999999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
        {"*1\r\nGET\r\n", "-ERR Protocol error: expected '$', got 'G'\r\n"},
        {"GET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int fd = test_port_connect(&g_port);
        test_port_expect_close(&g_port, fd, cases[i][0], strlen(cases[i][0]), cases[i][1],
                               strlen(cases[i][1]));
    }
    static char line[100000];
    memset(line, 'a', sizeof line);
    static const char too_long[] = "-ERR Protocol error: too big inline request\r\n";
    const int fd = test_port_connect(&g_port);
    test_port_expect_close(&g_port, fd, line, sizeof line, too_long, sizeof too_long - 1);
    expect_alive();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ten_thousand_connections__idle_then_half_commands__small),
        TEST(lengths__announced_and_never_sent__nothing_reserved),
        TEST(value__far_beyond_limit__skipped_without_growth),
        TEST(arguments__a_million__bounded),
        TEST(slow_readers__flood_of_gets__bounded),
        TEST(half_commands__beyond_all_buffers__closed_not_grown),
        TEST(garbage__many_clients__served_and_closed),
        TEST(protocol_errors__answered_then_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
