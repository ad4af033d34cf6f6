/* Output: RESP3 rewritten as RESP2, values that are none refused, partial sends, nothing kept. */
#include "server/output.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LARGE_BYTES (3u << 20)

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
}

/* One reply in both protocols. */
static void expect(const char *resp3, size_t bytes, const char *resp2, size_t resp2_bytes)
{
    for (int protocol = 2; protocol <= 3; protocol++) {
        const char *wanted = protocol == 2 ? resp2 : resp3;
        const size_t wanted_bytes = protocol == 2 ? resp2_bytes : bytes;
        struct lks_output output = {0};
        struct lks_output_pool pool = {0};
        int fds[2];
        uint64_t sent = 0;
        char got[512];
        make_pair(fds);
        assert_int_equal(lks_output_reply(&output, &pool, protocol, resp3, bytes), 0);
        assert_int_equal(output.bytes, wanted_bytes);
        assert_int_equal(lks_output_send(&output, &pool, fds[0], &sent), 0);
        assert_int_equal(sent, wanted_bytes);
        assert_int_equal(recv(fds[1], got, sizeof got, 0), (ssize_t)wanted_bytes);
        assert_memory_equal(got, wanted, wanted_bytes);
        assert_int_equal(pool.bytes, 0);
        lks_output_pool_fini(&pool);
        (void)close(fds[0]);
        (void)close(fds[1]);
    }
}

#define EXPECT(resp3, resp2) expect(resp3, sizeof(resp3) - 1, resp2, sizeof(resp2) - 1)

static void reply__each_type__rewritten_for_resp2(void **state)
{
    (void)state;
    EXPECT("+OK\r\n", "+OK\r\n");
    EXPECT("-ERR x\r\n", "-ERR x\r\n");
    EXPECT(":-12\r\n", ":-12\r\n");
    EXPECT("$3\r\na\0b\r\n", "$3\r\na\0b\r\n");
    EXPECT("_\r\n", "$-1\r\n");
    EXPECT("#t\r\n", ":1\r\n");
    EXPECT("#f\r\n", ":0\r\n");
    EXPECT(",1.5\r\n", "$3\r\n1.5\r\n");
    EXPECT("(12345678901234567890\r\n", "$20\r\n12345678901234567890\r\n");
    EXPECT("=7\r\ntxt:abc\r\n", "$3\r\nabc\r\n");
    EXPECT("=4\r\ntxt:\r\n", "$0\r\n\r\n");
    EXPECT("*0\r\n", "*0\r\n");
    EXPECT("%0\r\n", "*0\r\n");
}

static void reply__nested__rewritten_for_resp2(void **state)
{
    (void)state;
    EXPECT("*3\r\n_\r\n~2\r\n+a\r\n#t\r\n%1\r\n$1\r\nk\r\n*1\r\n:5\r\n",
           "*3\r\n$-1\r\n*2\r\n+a\r\n:1\r\n*2\r\n$1\r\nk\r\n*1\r\n:5\r\n");
}

static void reply__no_value__refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",       "_",          "_\r",         "*2\r\n+a\r\n",
                                      "?1\r\n", "*x\r\n",     "*1\r\n$5\r\nab\r\n",
                                      "*-1\r\n", "=2\r\nab\r\n", "_\r\n_\r\n", "*99999999\r\n",
                                      "%9999999999999\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct lks_output output = {0};
        struct lks_output_pool pool = {0};
        assert_int_equal(lks_output_reply(&output, &pool, 2, bad[i], strlen(bad[i])), -EBADMSG);
        lks_output_clear(&output, &pool);
        lks_output_pool_fini(&pool);
    }
}

static void send__socket_full__rest_kept_in_order(void **state)
{
    (void)state;
    struct lks_output output = {0};
    struct lks_output_pool pool = {0};
    int fds[2];
    make_pair(fds);
    char *data = malloc(LARGE_BYTES);
    char *got = malloc(LARGE_BYTES);
    assert_non_null(data);
    assert_non_null(got);
    unsigned seed = 1;
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        data[i] = (char)rand_r(&seed);
    }
    size_t start = 0;
    while (start < LARGE_BYTES) { /* pieces from one byte to far above a block */
        const size_t left = LARGE_BYTES - start;
        const size_t piece = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 8 == 0 ? 200000 : 300);
        const size_t part = piece < left ? piece : left;
        assert_int_equal(lks_output_append(&output, &pool, data + start, part), 0);
        start += part;
    }
    assert_int_equal(output.bytes, LARGE_BYTES);
    size_t received = 0;
    uint64_t sent = 0;
    int result = -EAGAIN;
    while (received < LARGE_BYTES) {
        if (result == -EAGAIN) {
            result = lks_output_send(&output, &pool, fds[0], &sent);
        }
        const ssize_t bytes = recv(fds[1], got + received, LARGE_BYTES - received, 0);
        assert_true(bytes > 0);
        received += (size_t)bytes;
        assert_true(result == 0 || result == -EAGAIN);
    }
    assert_int_equal(result, 0);
    assert_int_equal(sent, LARGE_BYTES);
    assert_memory_equal(data, got, LARGE_BYTES);
    assert_int_equal(pool.bytes, 0);
    lks_output_pool_fini(&pool);
    free(data);
    free(got);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void send__peer_gone__error_without_signal(void **state)
{
    (void)state;
    struct lks_output output = {0};
    struct lks_output_pool pool = {0};
    int fds[2];
    uint64_t sent = 0;
    make_pair(fds);
    (void)close(fds[1]);
    assert_int_equal(lks_output_append(&output, &pool, "+OK\r\n", 5), 0);
    assert_int_equal(lks_output_send(&output, &pool, fds[0], &sent), -EPIPE);
    lks_output_clear(&output, &pool);
    assert_int_equal(output.bytes, 0);
    assert_int_equal(pool.bytes, 0);
    lks_output_pool_fini(&pool);
    (void)close(fds[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reply__each_type__rewritten_for_resp2),
        cmocka_unit_test(reply__nested__rewritten_for_resp2),
        cmocka_unit_test(reply__no_value__refused),
        cmocka_unit_test(send__socket_full__rest_kept_in_order),
        cmocka_unit_test(send__peer_gone__error_without_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
