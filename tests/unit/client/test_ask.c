/* Asking a replica for INFO: whatever answers, the exchange ends in time and is not believed. */
#include "client/ask.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX_NS (10 * LKS_NS_PER_S)

/* Takes one connection, reads a request, sends `reply` in steps of `step` bytes, closes. */
struct answerer {
    int listener;
    uint16_t port;
    const char *reply;
    size_t bytes;
    size_t step;
    char request[256];
    pthread_t thread;
};

static void *answer(void *argument)
{
    struct answerer *answerer = argument;
    const int fd = accept(answerer->listener, NULL, NULL);
    const ssize_t got = recv(fd, answerer->request, sizeof answerer->request - 1, 0);
    for (size_t sent = 0; got > 0 && sent < answerer->bytes;) {
        const size_t left = answerer->bytes - sent;
        const size_t part = left < answerer->step ? left : answerer->step;
        const ssize_t done = send(fd, answerer->reply + sent, part, MSG_NOSIGNAL);
        if (done < 0) {
            break;
        }
        sent += (size_t)done;
    }
    if (answerer->bytes == 0) {
        char rest;
        (void)recv(fd, &rest, 1, 0); /* silent until the other side gives up */
    }
    (void)close(fd);
    return NULL;
}

static void start(struct answerer *answerer, const char *reply, size_t bytes, size_t step)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *answerer = (struct answerer){.reply = reply, .bytes = bytes, .step = step};
    answerer->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(answerer->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(answerer->listener, 1), 0);
    assert_int_equal(getsockname(answerer->listener, (struct sockaddr *)&address, &length), 0);
    answerer->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&answerer->thread, NULL, answer, answerer), 0);
}

static void end(struct answerer *answerer)
{
    assert_int_equal(pthread_join(answerer->thread, NULL), 0);
    (void)close(answerer->listener);
}

static int ask(const char *reply, size_t bytes, size_t step, uint64_t timeout_ns, char *text)
{
    struct answerer answerer;
    struct lks_error err = {0};
    start(&answerer, reply, bytes, step);
    const int rc = lks_ask_info("127.0.0.1", answerer.port, "lockstep", timeout_ns, text, &err);
    end(&answerer);
    assert_int_equal(err.code, rc);
    assert_string_equal(answerer.request, "*2\r\n$4\r\nINFO\r\n$8\r\nlockstep\r\n");
    return rc;
}

static void ask__bulk_string_in_any_pieces__is_the_text(void **state)
{
    (void)state;
    char text[LKS_ASK_TEXT_MAX];
    const char reply[] = "$21\r\n# Lockstep\r\nterm:12\r\n\r\n";
    for (size_t step = 1; step < sizeof reply; step++) {
        assert_int_equal(ask(reply, sizeof reply - 1, step, ANSWER_MAX_NS, text), 0);
        assert_string_equal(text, "# Lockstep\r\nterm:12\r\n");
    }
    assert_int_equal(ask("=10\r\ntxt:term:1\r\n", 17, 17, ANSWER_MAX_NS, text), 0);
    assert_string_equal(text, "txt:term:1");
}

static void ask__something_else_answers__is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "-ERR no\r\n", "HTTP/1.1 400 Bad Request\r\n", "$x\r\n\r\n", "$-1\r\n",
        "$99999999\r\n", "$00000000000000000000000000000000000000"};
    char text[LKS_ASK_TEXT_MAX];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(ask(wrong[i], strlen(wrong[i]), 64, ANSWER_MAX_NS, text), -EBADMSG);
    }
}

static void ask__answer_ends_early__is_an_error(void **state)
{
    (void)state;
    char text[LKS_ASK_TEXT_MAX];
    assert_int_equal(ask("$100\r\nabc", 9, 9, ANSWER_MAX_NS, text), -ECONNRESET);
}

static void ask__no_answer__ends_in_time(void **state)
{
    (void)state;
    char text[LKS_ASK_TEXT_MAX];
    assert_int_equal(ask("", 0, 1, 20 * LKS_NS_PER_MS, text), -ETIMEDOUT);
}

static void ask__nobody_listens__says_so(void **state)
{
    (void)state;
    char text[LKS_ASK_TEXT_MAX];
    struct lks_error err = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    /* Bound and not listening: no other process can answer there. */
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(lks_ask_info("127.0.0.1", ntohs(address.sin_port), "lockstep",
                                  ANSWER_MAX_NS, text, &err),
                     -ECONNREFUSED);
    (void)close(fd);
    assert_int_equal(lks_ask_info("nowhere", 1, "lockstep", ANSWER_MAX_NS, text, &err), -EINVAL);
}

static void value__lines_of_info__are_found_by_their_whole_key(void **state)
{
    (void)state;
    const char *text = "# Lockstep\r\nterm_x:7\r\nterm:12\r\nempty:\r\nlast:x:y";
    char value[8];
    assert_true(lks_ask_value(text, "term", value, sizeof value));
    assert_string_equal(value, "12");
    assert_int_equal(lks_ask_number(text, "term"), 12);
    assert_true(lks_ask_value(text, "empty", value, sizeof value));
    assert_string_equal(value, "");
    assert_true(lks_ask_value(text, "last", value, sizeof value));
    assert_string_equal(value, "x:y");
    assert_false(lks_ask_value(text, "ter", value, sizeof value));
    assert_string_equal(value, "");
    assert_int_equal(lks_ask_number(text, "nothing"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ask__bulk_string_in_any_pieces__is_the_text),
        cmocka_unit_test(ask__something_else_answers__is_refused),
        cmocka_unit_test(ask__answer_ends_early__is_an_error),
        cmocka_unit_test(ask__no_answer__ends_in_time),
        cmocka_unit_test(ask__nobody_listens__says_so),
        cmocka_unit_test(value__lines_of_info__are_found_by_their_whole_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
