/*
 * What a caller of the client library is told: statuses, how many calls a poll says have ended,
 * connecting and closing. The gateway is played by hand; no clock runs.
 */
#include "client/library/internal.h"
#include "tests/unit/client/scripted_client.h"

#include <errno.h>

#define PAUSE_NS (20 * LKS_NS_PER_MS)

/* ---- what poll counts ----------------------------------------------------------------------- */

static void poll__refusals_behind_an_answer__not_counted(void **state)
{
    struct heard heard[3];
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &heard[0]);
    give_call(client, "b", &heard[1]);
    give_call(client, "c", &heard[2]);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_answer(0, "+OK\r\n");
    scripted_gateway_say(g_gateway.requests[1].number, LKS_CLIENT_SAID_BUSY, "");
    scripted_gateway_status(2, LKS_SESSION_STATUS_GAP);
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(heard[0].times, 1);
    assert_int_equal(state_of(client).outstanding, 2);
    end(client);
}

/* Its caller is told at once; that its sequence is used up afterwards is nobody's affair. */
static void poll__refused_for_good__counted_once(void **state)
{
    struct heard a;
    struct heard b;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &a);
    give_call(client, "b", &b);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_TOO_BIG, "");
    scripted_gateway_status(1, LKS_SESSION_STATUS_GAP);
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(a.status, LKS_CLIENT_TOO_BIG);
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.requests[2].header.kind, LKS_SESSION_SKIP);
    expect_request(2, 0, 1);
    expect_request(3, 'b', 2);
    scripted_gateway_answer(2, "_\r\n");
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_answer(3, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(a.times, 1);
    assert_int_equal(b.times, 1);
    end(client);
}

static struct lks_client *g_client;
static struct heard g_second;

static void give_another(void *ctx, int status, const void *reply, size_t bytes)
{
    note_answer(ctx, status, reply, bytes);
    give_call(g_client, "b", &g_second);
}

static void poll__callback_gives_another__counted_when_that_ends(void **state)
{
    struct heard first = {.status = NOT_ANSWERED};
    g_client = connect_with(0);
    (void)state;
    assert_int_equal(lks_client_call_async(g_client, "a", 1, give_another, &first), 0);
    assert_int_equal(lks_client_poll(g_client, 0), 0);
    scripted_gateway_answer(0, "+OK\r\n");
    assert_int_equal(lks_client_poll(g_client, 0), 1);
    assert_int_equal(g_second.status, NOT_ANSWERED);
    assert_int_equal(lks_client_poll(g_client, 0), 0);
    scripted_gateway_answer(1, "+OK\r\n");
    assert_int_equal(lks_client_poll(g_client, 0), 1);
    assert_int_equal(g_second.times, 1);
    end(g_client);
}

static void call__times_out__its_answer_is_counted_and_given_to_nobody(void **state)
{
    struct lks_client_answer answer = {0};
    struct lks_client *client = connect_with(3600000);
    (void)state;
    g_gateway.refusal[1] = g_gateway.refusal[2] = g_gateway.refusal[3] = -ECONNREFUSED;
    assert_int_equal(lks_client_call(client, "a", 1, &answer), LKS_CLIENT_TIMEOUT);
    memset(g_gateway.refusal, 0, sizeof g_gateway.refusal);
    assert_int_equal(state_of(client).outstanding, 1);
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0); /* repeated on */
    scripted_gateway_answer(g_gateway.count - 1, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(state_of(client).outstanding, 0);
    assert_int_equal(answer.bytes, 0);
    free(answer.data);
    end(client);
}

/* ---- statuses ------------------------------------------------------------------------------- */

static void calls_as_many_as_may_be__next_is_busy(void **state)
{
    static struct heard heard[LKS_CLIENT_OUTSTANDING_MAX];
    struct lks_client *client = connect_with(0);
    (void)state;
    for (uint32_t i = 0; i < LKS_CLIENT_OUTSTANDING_MAX; i++) {
        give_call(client, "w", &heard[i]);
    }
    assert_int_equal(lks_client_call_async(client, "w", 1, NULL, NULL), LKS_CLIENT_BUSY);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_answer(0, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(lks_client_call_async(client, "w", 1, NULL, NULL), 0);
    end(client);
}

static void answers_that_are_none__each_status_is_told(void **state)
{
    struct heard heard[4];
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &heard[0]);
    give_call(client, "b", &heard[1]);
    give_read(client, "c", &heard[2]);
    give_read(client, "d", &heard[3]);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_status(0, LKS_SESSION_STATUS_REPLY_LOST);
    scripted_gateway_say(g_gateway.requests[1].number, LKS_CLIENT_SAID_LONG, "");
    scripted_gateway_say(g_gateway.requests[2].number, LKS_CLIENT_SAID_MALFORMED, "");
    scripted_gateway_say(g_gateway.requests[3].number, LKS_CLIENT_SAID_LONG, "");
    assert_int_equal(lks_client_poll(client, 0), 4);
    assert_int_equal(heard[0].status, LKS_CLIENT_REPLY_LOST);
    assert_int_equal(heard[1].status, LKS_CLIENT_REPLY_TOO_BIG);
    assert_int_equal(heard[2].status, LKS_CLIENT_NOT_A_READ);
    assert_int_equal(heard[3].status, LKS_CLIENT_REPLY_TOO_BIG);
    end(client);
}

static void forbidden__told_and_calls_behind_it_go_on(void **state)
{
    struct heard a;
    struct heard b;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &a);
    give_call(client, "b", &b);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_FORBIDDEN, "");
    scripted_gateway_status(1, LKS_SESSION_STATUS_GAP);
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(a.status, LKS_CLIENT_FORBIDDEN);
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.requests[2].header.kind, LKS_SESSION_SKIP);
    scripted_gateway_answer(2, "_\r\n");
    scripted_gateway_answer(3, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(b.status, LKS_CLIENT_OK);
    end(client);
}

static void session_lost__sent_once_no_effect_sent_twice_unknown(void **state)
{
    struct heard heard[4];
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &heard[0]);
    assert_int_equal(lks_client_poll(client, 0), 0);
    g_gateway.ended = true;
    (void)lks_client_poll(client, PAUSE_NS); /* the second sending of `a` */
    give_call(client, "b", &heard[1]);
    give_read(client, "r", &heard[2]);
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.count, 4);
    g_gateway.full = true;
    give_call(client, "c", &heard[3]); /* never sent */
    scripted_gateway_status(1, LKS_SESSION_STATUS_UNKNOWN);
    scripted_gateway_status(2, LKS_SESSION_STATUS_UNKNOWN);
    scripted_gateway_answer(3, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 4);
    assert_int_equal(heard[0].status, LKS_CLIENT_OUTCOME_UNKNOWN);
    assert_int_equal(heard[1].status, LKS_CLIENT_SESSION_LOST);
    assert_int_equal(heard[2].status, LKS_CLIENT_OK); /* reads need no session */
    assert_int_equal(heard[3].status, LKS_CLIENT_SESSION_LOST);
    assert_true(state_of(client).session_lost);
    assert_int_equal(lks_client_call_async(client, "d", 1, NULL, NULL), LKS_CLIENT_SESSION_LOST);
    end(client);
}

static void commands_that_are_none__refused_at_once(void **state)
{
    const uint8_t marked[] = {LKS_SESSION_MARK, 1};
    struct lks_client *client = connect_with(0);
    void *big = calloc(1, LKS_CLIENT_COMMAND_MAX + 1);
    (void)state;
    assert_int_equal(lks_client_call_async(client, "", 0, NULL, NULL), -EINVAL);
    assert_int_equal(lks_client_call_async(client, marked, sizeof marked, NULL, NULL), -EINVAL);
    assert_int_equal(lks_client_call_async(client, big, LKS_CLIENT_COMMAND_MAX + 1, NULL, NULL),
                     LKS_CLIENT_TOO_BIG);
    assert_int_equal(state_of(client).outstanding, 0);
    free(big);
    end(client);
}

/* ---- connecting and closing ----------------------------------------------------------------- */

static int try_to_connect(void)
{
    struct lks_client *client = NULL;
    const struct lks_client_options options = {.directory = "/nowhere", .replicas = 3};
    const int rc = lks_client_connect(&client, &options);
    assert_null(client);
    assert_int_equal(g_gateway.replica, 0); /* nothing is left attached */
    return rc;
}

static void connect__no_replica_anywhere__says_so_after_its_time(void **state)
{
    const uint64_t began_ns = g_gateway.now_ns;
    (void)state;
    g_gateway.refusal[1] = g_gateway.refusal[2] = g_gateway.refusal[3] = -ENOENT;
    assert_int_equal(try_to_connect(), -ENOENT);
    assert_true(g_gateway.now_ns - began_ns >= 10 * LKS_NS_PER_S);
    assert_true(g_gateway.slept_ns >= 9 * LKS_NS_PER_S); /* it did not spin */
}

static void connect__other_version_everywhere__refused_at_once(void **state)
{
    const uint64_t began_ns = g_gateway.now_ns;
    (void)state;
    g_gateway.refusal[1] = g_gateway.refusal[3] = -LKS_EVERSION;
    g_gateway.refusal[2] = -EACCES;
    assert_int_equal(try_to_connect(), LKS_CLIENT_REFUSED);
    assert_true(g_gateway.now_ns - began_ns < LKS_NS_PER_S);
}

/* Its word proves nothing, and the others may take it. */
static void connect__one_replica_refuses__another_is_asked(void **state)
{
    (void)state;
    static const int refusals[] = {-LKS_EVERSION, -EACCES};
    for (size_t i = 0; i < 2; i++) {
        scripted_gateway_reset();
        g_gateway.answers_control = true;
        g_gateway.refusal[1] = refusals[i];
        struct lks_client *client = connect_with(3600000);
        assert_int_equal(g_gateway.replica, 2);
        end(client);
    }
}

static void connect__one_refuses_and_nobody_else_is_there__says_refused_after_its_time(void **state)
{
    const uint64_t began_ns = g_gateway.now_ns;
    (void)state;
    g_gateway.refusal[1] = -EACCES;
    g_gateway.refusal[2] = g_gateway.refusal[3] = -ECONNREFUSED;
    assert_int_equal(try_to_connect(), LKS_CLIENT_REFUSED);
    assert_true(g_gateway.now_ns - began_ns >= 10 * LKS_NS_PER_S);
}

/* ---- the caller's time ---------------------------------------------------------------------- */

/* A way to replicas that answer nothing: attaching takes all the time that it is given. */
static int attach_in_vain(const struct lks_client *client, uint32_t replica, uint64_t timeout_ns,
                          struct lks_attachment **attachment)
{
    (void)client;
    (void)replica;
    (void)attachment;
    g_gateway.now_ns += timeout_ns;
    return -ETIMEDOUT;
}

static const struct lks_client_way g_in_vain = {.attach_max_ns = 2 * LKS_NS_PER_S,
                                                .attach = attach_in_vain};

static void connect__nobody_answers__ends_in_its_time(void **state)
{
    const struct lks_client_options options = {.timeout_ns = 2100 * LKS_NS_PER_MS};
    const uint64_t began_ns = g_gateway.now_ns;
    struct lks_client *client = NULL;
    (void)state;
    assert_int_equal(lks_client_connect_by(&client, &options, &g_in_vain, NULL), -ETIMEDOUT);
    assert_true(g_gateway.now_ns - began_ns <= 2400 * LKS_NS_PER_MS);
}

static void close_and_poll__nobody_answers__end_in_their_time(void **state)
{
    struct lks_client *client = connect_with(3600000);
    (void)state;
    client->way = &g_in_vain;
    g_gateway.ended = true;
    uint64_t began_ns = g_gateway.now_ns;
    assert_int_equal(lks_client_poll(client, 10 * LKS_NS_PER_MS), 0);
    assert_true(g_gateway.now_ns - began_ns <= 300 * LKS_NS_PER_MS);
    began_ns = g_gateway.now_ns;
    lks_client_close(client);
    assert_true(g_gateway.now_ns - began_ns >= 900 * LKS_NS_PER_MS);
    assert_true(g_gateway.now_ns - began_ns <= 1300 * LKS_NS_PER_MS);
}

static void connect__all_lanes_taken__says_so(void **state)
{
    (void)state;
    g_gateway.refusal[1] = g_gateway.refusal[2] = g_gateway.refusal[3] = -LKS_EBUSY;
    assert_int_equal(try_to_connect(), LKS_CLIENT_SESSIONS_FULL);
}

static void connect__open_not_answered__repeated_elsewhere_until_its_time(void **state)
{
    (void)state;
    g_gateway.answers_control = false;
    assert_int_equal(try_to_connect(), LKS_CLIENT_TIMEOUT);
    assert_true(g_gateway.attachments >= 3);
    for (uint32_t i = 0; i < g_gateway.controls_count; i++) { /* the same session, if any */
        assert_int_equal(g_gateway.controls[i].header.kind, LKS_SESSION_OPEN);
        assert_memory_equal(g_gateway.controls[i].header.nonce,
                            g_gateway.controls[0].header.nonce,
                            sizeof g_gateway.controls[0].header.nonce);
    }
}

static void say_full(uint64_t wait_ns)
{
    (void)wait_ns;
    scripted_gateway_say(g_gateway.controls[g_gateway.controls_count - 1].number,
                         LKS_CLIENT_SAID_OK, "*1\r\n:4\r\n");
}

static void connect__partitions_full__others_are_drawn_up_to_a_bound(void **state)
{
    (void)state;
    g_gateway.answers_control = false;
    g_gateway.on_wait = say_full;
    assert_int_equal(try_to_connect(), LKS_CLIENT_SESSIONS_FULL);
    assert_int_equal(g_gateway.controls_count, 16);
    assert_memory_not_equal(g_gateway.controls[0].header.nonce,
                            g_gateway.controls[1].header.nonce,
                            sizeof g_gateway.controls[0].header.nonce);
}

static void close__unanswered_first_then_the_session_ends(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(0);
    (void)state;
    g_gateway.answers_calls = true;
    give_call(client, "w", &heard);
    lks_client_close(client);
    assert_int_equal(heard.times, 0); /* not called */
    assert_int_equal(g_gateway.count, 1);
    assert_int_equal(g_gateway.controls[g_gateway.controls_count - 1].header.kind,
                     LKS_SESSION_CLOSE);
}

static void close__nothing_is_answered__takes_a_second_at_most(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(0);
    const uint64_t began_ns = g_gateway.now_ns;
    (void)state;
    g_gateway.answers_control = false;
    give_call(client, "w", &heard);
    lks_client_close(client);
    assert_int_equal(heard.times, 0);
    assert_true(g_gateway.now_ns - began_ns <= LKS_NS_PER_S + LKS_NS_PER_MS);
    assert_int_equal(g_gateway.replica, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(poll__refusals_behind_an_answer__not_counted),
        TEST(poll__refused_for_good__counted_once),
        TEST(poll__callback_gives_another__counted_when_that_ends),
        TEST(call__times_out__its_answer_is_counted_and_given_to_nobody),
        TEST(calls_as_many_as_may_be__next_is_busy),
        TEST(answers_that_are_none__each_status_is_told),
        TEST(forbidden__told_and_calls_behind_it_go_on),
        TEST(session_lost__sent_once_no_effect_sent_twice_unknown),
        TEST(commands_that_are_none__refused_at_once),
        TEST(connect__no_replica_anywhere__says_so_after_its_time),
        TEST(connect__other_version_everywhere__refused_at_once),
        TEST(connect__one_replica_refuses__another_is_asked),
        TEST(connect__one_refuses_and_nobody_else_is_there__says_refused_after_its_time),
        TEST(connect__nobody_answers__ends_in_its_time),
        TEST(close_and_poll__nobody_answers__end_in_their_time),
        TEST(connect__all_lanes_taken__says_so),
        TEST(connect__open_not_answered__repeated_elsewhere_until_its_time),
        TEST(connect__partitions_full__others_are_drawn_up_to_a_bound),
        TEST(close__unanswered_first_then_the_session_ends),
        TEST(close__nothing_is_answered__takes_a_second_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
