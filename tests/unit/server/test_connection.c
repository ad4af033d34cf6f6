/*
 * A connection whose commands are answered late, in parts, or refused: replies keep their order
 * and their protocol, every bound stops reading, and nothing is lost when it is lifted.
 */
#include "server/internal.h"
#include "tests/support/port.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMAND_BYTES_MAX (64u << 10)
#define PIPELINE 5000

struct fixture {
    struct test_port port;
    int fd;
};

static int setup(void **state)
{
    static struct fixture fixture;
    test_port_start(&fixture.port,
                    &(struct test_port_options){.connections_max = 4,
                                                .command_bytes_max = COMMAND_BYTES_MAX});
    fixture.fd = test_port_connect(&fixture.port);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->fd >= 0) {
        (void)close(fixture->fd);
    }
    test_port_stop(&fixture->port);
    return 0;
}

static void send_text(struct fixture *f, const char *text)
{
    assert_true(test_port_send(&f->port, f->fd, text, strlen(text)));
    test_port_settle(&f->port);
}

static void expect_text(struct fixture *f, const char *wanted)
{
    char got[4096] = "";
    const size_t bytes =
        test_port_receive(&f->port, f->fd, got, sizeof got - 1, 2, NULL);
    got[bytes] = '\0';
    assert_string_equal(got, wanted);
}

static void local_command__behind_pending__keeps_order(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\nPING\r\nINCR a\r\nfoo\r\nGET a\r\nSET a b c\r\nGET a\r\n");
    expect_text(f, "");
    assert_int_equal(f->port.kept_count, 1);
    assert_int_equal(test_port_release(&f->port, 1), 1);
    test_port_settle(&f->port);
    expect_text(f, "+OK\r\n+PONG\r\n");
    assert_int_equal(f->port.kept_count, 1);
    assert_int_equal(test_port_release(&f->port, 1), 1);
    test_port_settle(&f->port);
    assert_int_equal(test_port_release(&f->port, 1), 1);
    test_port_settle(&f->port);
    assert_int_equal(test_port_release(&f->port, 1), 1);
    expect_text(f, ":2\r\n-ERR unknown command 'foo', with args beginning with: \r\n$1\r\n2\r\n"
                   "-ERR syntax error\r\n$1\r\n2\r\n");
}

static void answers__out_of_order__sent_in_order(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\nSET b 2\r\nGET a\r\nGET b\r\nGET c\r\nPING\r\n");
    assert_int_equal(f->port.kept_count, 5);
    test_port_release_at(&f->port, 1, false); /* SET b */
    test_port_release_at(&f->port, 3, false); /* GET c */
    test_port_release_at(&f->port, 2, false); /* GET b */
    expect_text(f, "");
    test_port_release_at(&f->port, 0, false); /* SET a */
    expect_text(f, "+OK\r\n+OK\r\n");
    test_port_release_at(&f->port, 0, false);
    test_port_settle(&f->port);
    expect_text(f, "$1\r\n1\r\n$1\r\n2\r\n$-1\r\n+PONG\r\n");
}

/* What is kept at this place is a read that comes after others, or need not. */
static void expect_read(struct fixture *f, size_t place, bool ordered)
{
    assert_true(f->port.kept[place].read);
    assert_int_equal(f->port.kept[place].ordered, ordered);
}

static void reads__of_a_connection__ordered_while_others_are_unanswered(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "GET a\r\nGET b\r\nSET a 1\r\nGET a\r\nGET b\r\n");
    assert_int_equal(f->port.kept_count, 5);
    expect_read(f, 0, false);
    expect_read(f, 1, false);
    assert_false(f->port.kept[2].read);
    expect_read(f, 3, true);
    expect_read(f, 4, true);
    assert_int_equal(test_port_release(&f->port, 4), 4);
    send_text(f, "GET c\r\n"); /* behind one that waited for others */
    assert_int_equal(f->port.kept_count, 2);
    expect_read(f, 1, true);
    assert_int_equal(test_port_release(&f->port, 2), 2);
    send_text(f, "GET d\r\nRANDOMKEY\r\nGET d\r\n"); /* which is no read: it is logged */
    assert_int_equal(f->port.kept_count, 3);
    expect_read(f, 0, false);
    assert_false(f->port.kept[1].read);
    expect_read(f, 2, true);
    assert_int_equal(test_port_release(&f->port, 3), 3);
    expect_text(f, "$-1\r\n$-1\r\n+OK\r\n$1\r\n1\r\n$-1\r\n$-1\r\n$-1\r\n$1\r\na\r\n$-1\r\n");
}

static void outcome__unknown__known_answers_sent_then_closed(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\nGET a\r\nGET a\r\nGET a\r\n");
    test_port_release_at(&f->port, 2, false); /* held, and forgotten */
    test_port_release_at(&f->port, 0, false);
    test_port_release_at(&f->port, 0, true);
    char got[64] = "";
    bool closed = false;
    const size_t bytes =
        test_port_receive(&f->port, f->fd, got, sizeof got - 1, 2, &closed);
    assert_int_equal(bytes, 5);
    assert_string_equal(got, "+OK\r\n");
    assert_true(closed);
    test_port_release_at(&f->port, 0, false); /* its connection has gone: ignored */
}

static void hello__behind_pending__earlier_replies_in_old_protocol(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "GET a\r\nHELLO 3\r\nGET a\r\n");
    assert_int_equal(f->port.kept_count, 1);
    assert_int_equal(test_port_release(&f->port, 1), 1);
    test_port_settle(&f->port);
    assert_int_equal(test_port_release(&f->port, 1), 1);
    char got[512] = "";
    const size_t bytes = test_port_receive(&f->port, f->fd, got, sizeof got - 1, 2, NULL);
    assert_memory_equal(got, "$-1\r\n%7\r\n", 9);
    assert_memory_equal(got + bytes - 3, "_\r\n", 3);
}

static void refusal__each_code__its_own_error(void **state)
{
    struct fixture *f = *state;
    f->port.refusal = -LKS_EBUSY;
    TEST_PORT_EXPECT(&f->port, f->fd, "SET a 1\r\nPING\r\n",
                     "-BUSY too many commands are waiting; try again later\r\n+PONG\r\n");
    f->port.refusal = -LKS_ERINGFULL;
    TEST_PORT_EXPECT(&f->port, f->fd, "SET a 1\r\n",
                     "-RINGFULL the log ring is full: too few replicas keep up\r\n");
    f->port.refusal = -LKS_ENOLEADER;
    TEST_PORT_EXPECT(&f->port, f->fd, "SET a 1\r\n",
                     "-CLUSTERDOWN no leader is known; a majority may be down\r\n");
    f->port.refusal = -LKS_ETOOBIG;
    TEST_PORT_EXPECT(&f->port, f->fd, "SET a 1\r\n",
                     "-ERR command of 5 bytes exceeds the entry limit of 65536 bytes "
                     "(entry_max in the configuration)\r\n");
    f->port.refusal = -EIO;
    TEST_PORT_EXPECT(&f->port, f->fd, "GET a\r\n", "-ERR Input/output error\r\n");
    f->port.refusal = 0;
    TEST_PORT_EXPECT(&f->port, f->fd, "GET a\r\n", "$-1\r\n");
}

static void refusal__behind_pending__tried_again_then_answered(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\n");
    f->port.refusal = -LKS_EBUSY;
    send_text(f, "SET a 2\r\nPING\r\n");
    expect_text(f, ""); /* its answer could not come before that of the first one anyway */
    assert_int_equal(test_port_release(&f->port, 1), 1);
    test_port_settle(&f->port);
    expect_text(f, "+OK\r\n-BUSY too many commands are waiting; try again later\r\n+PONG\r\n");
}

static void too_big_and_protocol_error__behind_pending__keep_order(void **state)
{
    struct fixture *f = *state;
    static char request[COMMAND_BYTES_MAX * 2];
    f->port.delayed = true;
    send_text(f, "GET a\r\n");
    const int bytes =
        sprintf(request, "*2\r\n$3\r\nGET\r\n$70000\r\n%070000d\r\nPING\r\n*1\r\nx", 0);
    assert_true(test_port_send(&f->port, f->fd, request, (size_t)bytes));
    test_port_settle(&f->port);
    expect_text(f, "");
    assert_int_equal(test_port_release(&f->port, 1), 1);
    test_port_settle(&f->port);
    expect_text(f, "$-1\r\n-ERR value of 70000 bytes exceeds the entry limit of 65536 bytes "
                   "(entry_max in the configuration)\r\n+PONG\r\n"
                   "-ERR Protocol error: expected '$', got 'x'\r\n");
    char end;
    assert_int_equal(recv(f->fd, &end, 1, 0), 0);
}

/* A long pipeline stops at the bound and goes on as answers come; all replies arrive in order. */
static void pipeline__beyond_pending_bound__all_answered_in_order(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    char *request = malloc(PIPELINE * 8);
    assert_non_null(request);
    for (size_t i = 0; i < PIPELINE; i++) {
        memcpy(request + i * 8, "INCR n\r\n", 8);
    }
    assert_true(test_port_send(&f->port, f->fd, request, PIPELINE * 8));
    free(request);
    test_port_settle(&f->port);
    assert_int_equal(f->port.kept_count, LKS_SERVER_PENDING_MAX);
    size_t answered = 0;
    static char got[PIPELINE * 10];
    size_t bytes = 0;
    while (answered < PIPELINE) {
        const size_t released = test_port_release(&f->port, 700);
        assert_true(released > 0);
        answered += released;
        bytes += test_port_receive(&f->port, f->fd, got + bytes, sizeof got - bytes, 1, NULL);
        assert_true(f->port.kept_count <= LKS_SERVER_PENDING_MAX);
    }
    const char *p = got;
    for (int i = 1; i <= PIPELINE; i++) {
        char wanted[16];
        const int length = sprintf(wanted, ":%d\r\n", i);
        assert_memory_equal(p, wanted, length);
        p += length;
    }
    assert_int_equal(p - got, bytes);
}

static void large_replies__pending__bounded(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    for (int i = 0; i < 200; i++) {
        assert_true(test_port_send(&f->port, f->fd, "GET a\r\n", 7));
    }
    test_port_settle(&f->port);
    assert_int_equal(f->port.kept_count, LKS_SERVER_PENDING_LARGE_MAX);
    size_t answered = 0;
    while (answered < 200) {
        const size_t released = test_port_release(&f->port, 10);
        assert_true(released > 0);
        answered += released;
        test_port_settle(&f->port);
    }
    char got[200 * 5 + 1];
    assert_int_equal(test_port_receive(&f->port, f->fd, got, sizeof got, 2, NULL), 1000);
}

/* Sends SET k <64000 bytes>, then asks for it 400 times without reading. */
static void flood_of_gets(struct fixture *f)
{
    static char set[COMMAND_BYTES_MAX];
    const int bytes = sprintf(set, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$64000\r\n%064000d\r\n", 7);
    test_port_expect(&f->port, f->fd, set, (size_t)bytes, "+OK\r\n", 5);
    for (int i = 0; i < 400; i++) {
        assert_true(test_port_send(&f->port, f->fd, "GET k\r\n", 7));
    }
}

static void slow_reader__reading_stops__nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    flood_of_gets(f);
    test_port_settle(&f->port);
    char info[2048] = "";
    const int other = test_port_connect(&f->port);
    assert_true(test_port_send(&f->port, other, "INFO clients\r\n", 14));
    (void)test_port_receive(&f->port, other, info, sizeof info - 1, 2, NULL);
    (void)close(other);
    const char *field = strstr(info, "client_output_buffers_bytes:");
    assert_non_null(field);
    const unsigned long held = strtoul(field + 28, NULL, 10);
    assert_true(held >= LKS_SERVER_OUTPUT_BYTES_MAX / 2);
    assert_true(held <= LKS_SERVER_OUTPUT_BYTES_MAX + 2 * COMMAND_BYTES_MAX);
    assert_true(f->port.submitted < 300); /* what the socket took, and the bound, no more */
    const size_t wanted = 400 * (64000 + 10);
    char *got = malloc(wanted + 1);
    assert_non_null(got);
    assert_int_equal(test_port_receive(&f->port, f->fd, got, wanted + 1, 3, NULL), wanted);
    for (size_t i = 0; i < 400; i++) {
        assert_memory_equal(got + i * 64010, "$64000\r\n0", 9);
        assert_memory_equal(got + i * 64010 + 64007, "7\r\n", 3);
    }
    free(got);
}

static void client_gone__pending__answers_ignored(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\nSET a 2\r\n");
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    (void)close(f->fd); /* a reset */
    test_port_settle(&f->port);
    f->fd = test_port_connect(&f->port);
    send_text(f, "GET a\r\n");
    assert_int_equal(f->port.kept_count, 3);
    assert_int_equal(test_port_release(&f->port, 3), 3);
    expect_text(f, "$1\r\n2\r\n");
    lks_server_reply(f->port.server, UINT64_MAX, "+OK\r\n", 5);
    lks_server_reply(f->port.server, 0, "+OK\r\n", 5);
    expect_text(f, "");
}

static void client_half_closed__pending__answered_then_closed(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\nGET a\r\nGET");
    assert_int_equal(shutdown(f->fd, SHUT_WR), 0);
    test_port_settle(&f->port);
    assert_int_equal(test_port_release(&f->port, 2), 2);
    char got[64];
    bool closed = false;
    const size_t bytes =
        test_port_receive(&f->port, f->fd, got, sizeof got, 20, &closed);
    assert_int_equal(bytes, 12);
    assert_memory_equal(got, "+OK\r\n$1\r\n1\r\n", 12);
    assert_true(closed);
}

static void connections__beyond_limit__refused_with_a_word(void **state)
{
    struct fixture *f = *state;
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = test_port_connect(&f->port);
    }
    char got[128] = "";
    bool closed = false;
    const size_t bytes =
        test_port_receive(&f->port, fds[3], got, sizeof got, 20, &closed);
    got[bytes] = '\0';
    assert_string_equal(got, "-ERR max number of clients reached\r\n");
    assert_true(closed);
    (void)close(fds[0]);
    test_port_settle(&f->port);
    const int again = test_port_connect(&f->port);
    TEST_PORT_EXPECT(&f->port, again, "PING\r\n", "+PONG\r\n");
    (void)close(again);
    for (int i = 1; i < 4; i++) {
        (void)close(fds[i]);
    }
}

static void descriptors__run_out__refused_and_no_spinning(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const int free_fd = dup(client);
    assert_true(free_fd >= 0);
    (void)close(free_fd);
    /* test_port_connect needs one descriptor; the port's accept then finds none. */
    const struct rlimit tight = {.rlim_cur = (rlim_t)free_fd + 1, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    const int fd = test_port_connect(&f->port);
    char got[128] = "";
    bool closed = false;
    const size_t bytes = test_port_receive(&f->port, fd, got, sizeof got, 20, &closed);
    got[bytes] = '\0';
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_string_equal(got, "-ERR max number of clients reached (no descriptors left)\r\n");
    assert_true(closed);
    assert_int_equal(lks_server_poll(f->port.server), 0);
    (void)close(fd);
    (void)close(client);
    TEST_PORT_EXPECT(&f->port, f->fd, "PING\r\n", "+PONG\r\n");
}

static void drain__pending__answered_and_nothing_new_taken(void **state)
{
    struct fixture *f = *state;
    f->port.delayed = true;
    send_text(f, "SET a 1\r\nSET a 2\r\n");
    lks_server_drain(f->port.server);
    send_text(f, "SET a 3\r\n");
    assert_int_equal(f->port.kept_count, 2);
    assert_int_equal(test_port_release(&f->port, 5), 2);
    expect_text(f, "+OK\r\n+OK\r\n");
    assert_int_equal(lks_server_poll(f->port.server), 0);
}

static void commands__byte_at_a_time__same_replies(void **state)
{
    struct fixture *f = *state;
    static const char request[] = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\nb\r\nc\r\nGET a\r\n"
                                  "*1\r\n$4\r\nPING\r\n";
    for (size_t i = 0; i < sizeof request - 1; i++) {
        assert_true(test_port_send(&f->port, f->fd, request + i, 1));
    }
    expect_text(f, "+OK\r\n$4\r\nb\r\nc\r\n+PONG\r\n");
}

static void options__bad__clear_errors(void **state)
{
    struct fixture *f = *state;
    struct lks_server *server = NULL;
    struct lks_error err = {0};
    struct lks_server_options options = {.address = "localhost",
                                         .connections_max = 1,
                                         .command_bytes_max = 100};
    assert_int_equal(lks_server_new(&server, &options, &err), -EINVAL);
    assert_string_equal(err.text, "'localhost' is not a numeric IPv4 or IPv6 address");
    options.address = "127.0.0.1";
    options.port = lks_server_port(f->port.server);
    assert_int_equal(lks_server_new(&server, &options, &err), -EADDRINUSE);
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted,
                   "cannot listen on 127.0.0.1 port %u: Address already in use", options.port);
    assert_string_equal(err.text, wanted);
    options.connections_max = 0;
    assert_int_equal(lks_server_new(&server, &options, &err), -EINVAL);
    options.connections_max = 1u << 20;
    assert_int_equal(lks_server_new(&server, &options, &err), -EINVAL);
    assert_null(server);
    lks_server_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(local_command__behind_pending__keeps_order),
        TEST(answers__out_of_order__sent_in_order),
        TEST(reads__of_a_connection__ordered_while_others_are_unanswered),
        TEST(outcome__unknown__known_answers_sent_then_closed),
        TEST(hello__behind_pending__earlier_replies_in_old_protocol),
        TEST(refusal__each_code__its_own_error),
        TEST(refusal__behind_pending__tried_again_then_answered),
        TEST(too_big_and_protocol_error__behind_pending__keep_order),
        TEST(pipeline__beyond_pending_bound__all_answered_in_order),
        TEST(large_replies__pending__bounded),
        TEST(slow_reader__reading_stops__nothing_is_lost),
        TEST(client_gone__pending__answers_ignored),
        TEST(client_half_closed__pending__answered_then_closed),
        TEST(connections__beyond_limit__refused_with_a_word),
        TEST(descriptors__run_out__refused_and_no_spinning),
        TEST(drain__pending__answered_and_nothing_new_taken),
        TEST(commands__byte_at_a_time__same_replies),
        TEST(options__bad__clear_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
