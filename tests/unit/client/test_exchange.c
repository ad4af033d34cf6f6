/*
 * The client library at a gateway that is played by hand: when it leaves a gateway and when not,
 * when it renews its session, what it sends again and in which order, which answers to reads it
 * takes. No clock runs.
 */
#include "tests/unit/client/scripted_client.h"

#define PAUSE_NS (20 * LKS_NS_PER_MS) /* longer than any pause before a sending */

/* ---- silence -------------------------------------------------------------------------------- */

static void gateway_silent_beyond_three_seconds__left_in_time_and_call_repeated(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(0);
    const uint64_t began_ns = g_gateway.now_ns;
    (void)state;
    give_call(client, "w", &heard);
    assert_int_equal(lks_client_poll(client, 3 * LKS_NS_PER_S), 0);
    assert_int_equal(state_of(client).attachments, 1);
    assert_int_equal(lks_client_poll(client, LKS_NS_PER_S), 0);
    assert_int_equal(state_of(client).attachments, 2);
    assert_int_equal(g_gateway.count, 2);
    expect_request(0, 'w', 1);
    expect_request(1, 'w', 1);
    assert_int_equal(g_gateway.requests[0].replica, 1);
    assert_int_equal(g_gateway.requests[1].replica, 2);
    assert_true(g_gateway.requests[1].at_ns - began_ns < 3100 * LKS_NS_PER_MS);
    end(client);
}

/* The command takes long (a read of much, a log without a majority for a while); the gateway and
 * the cluster are well. */
static void gateway_silent_on_a_call_but_answers_touches__kept(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(6000);
    (void)state;
    give_read(client, "r", &heard);
    assert_int_equal(lks_client_poll(client, 30 * LKS_NS_PER_S), 0);
    assert_true(g_gateway.controls_count > 10);
    assert_int_equal(state_of(client).attachments, 1);
    assert_int_equal(g_gateway.count, 1);
    scripted_gateway_answer(0, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(heard.status, LKS_CLIENT_OK);
    end(client);
}

static void touches_not_answered_either__left(void **state)
{
    struct lks_client *client = connect_with(6000);
    (void)state;
    g_gateway.answers_control = false;
    assert_int_equal(lks_client_poll(client, 4900 * LKS_NS_PER_MS), 0); /* touched at 2 s */
    assert_int_equal(state_of(client).attachments, 1);
    assert_int_equal(lks_client_poll(client, 200 * LKS_NS_PER_MS), 0);
    assert_int_equal(state_of(client).attachments, 2);
    end(client);
}

/* Silence counts from when something was asked, not from the last answer. */
static void idle_for_long__first_call_behind_it_keeps_the_gateway(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(3600000);
    (void)state;
    assert_int_equal(lks_client_poll(client, 0), 0);
    g_gateway.now_ns += 100 * LKS_NS_PER_S; /* nobody polled */
    give_call(client, "w", &heard);
    assert_int_equal(lks_client_poll(client, LKS_NS_PER_S), 0);
    scripted_gateway_answer(0, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(state_of(client).attachments, 1);
    end(client);
}

static void idle_until_a_touch_is_due__gateway_kept(void **state)
{
    struct lks_client *client = connect_with(0);
    (void)state;
    assert_int_equal(lks_client_poll(client, 0), 0);
    g_gateway.now_ns += 21 * LKS_NS_PER_S;
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.controls_count, 2);
    assert_int_equal(g_gateway.controls[1].header.kind, LKS_SESSION_TOUCH);
    assert_int_equal(lks_client_poll(client, 10 * LKS_NS_PER_S), 0);
    assert_int_equal(state_of(client).attachments, 1);
    end(client);
}

static void say_busy_to_all(uint64_t wait_ns)
{
    static uint32_t told;
    (void)wait_ns;
    told = g_gateway.count < told ? 0 : told;
    for (; told < g_gateway.count; told++) {
        scripted_gateway_say(g_gateway.requests[told].number, LKS_CLIENT_SAID_BUSY, "");
    }
}

static void refused_again_and_again__gateway_kept_and_not_rushed(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(0);
    (void)state;
    g_gateway.on_wait = say_busy_to_all;
    give_call(client, "w", &heard);
    assert_int_equal(lks_client_poll(client, 10 * LKS_NS_PER_MS), 0);
    assert_int_equal(state_of(client).attachments, 1);
    assert_true(g_gateway.count > 10 && g_gateway.count <= 51); /* one in 200 us */
    end(client);
}

/* ---- leases --------------------------------------------------------------------------------- */

/* One long poll: the client sleeps in it, but not beyond its lease. */
static void short_lease__touched_in_time_within_one_poll(void **state)
{
    const uint64_t lease_ms = LKS_SESSION_LEASE_MS_MIN;
    struct lks_client *client = connect_with(lease_ms);
    (void)state;
    assert_int_equal(lks_client_poll(client, 10 * LKS_NS_PER_S), 0);
    assert_true(g_gateway.controls_count > 10 && g_gateway.controls_count < 50);
    for (uint32_t i = 1; i < g_gateway.controls_count; i++) {
        const struct scripted_request *touch = &g_gateway.controls[i];
        assert_int_equal(touch->header.kind, LKS_SESSION_TOUCH);
        assert_int_equal(touch->header.id, SCRIPTED_SESSION);
        assert_true(touch->at_ns - g_gateway.controls[i - 1].at_ns <
                    lease_ms * LKS_NS_PER_MS / 2);
    }
    end(client);
}

static void touch_refused__asked_again(void **state)
{
    struct lks_client *client = connect_with(0);
    (void)state;
    g_gateway.answers_control = false;
    g_gateway.now_ns += 21 * LKS_NS_PER_S;
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.controls_count, 2);
    scripted_gateway_say(g_gateway.controls[1].number, LKS_CLIENT_SAID_BUSY, "");
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    assert_int_equal(g_gateway.controls_count, 3);
    assert_int_equal(g_gateway.controls[2].header.kind, LKS_SESSION_TOUCH);
    end(client);
}

/* ---- reads ---------------------------------------------------------------------------------- */

/* The gateway refused the call, and answers the read behind it from the state without it. */
static void write_refused__read_behind_it_is_asked_again(void **state)
{
    struct heard write;
    struct heard read;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "w", &write);
    give_read(client, "r", &read);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_BUSY, "");
    scripted_gateway_answer(1, "$3\r\nold\r\n");
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    assert_int_equal(g_gateway.count, 4);
    expect_request(2, 'w', 1);
    expect_request(3, 'r', 0);
    scripted_gateway_answer(2, "+OK\r\n");
    scripted_gateway_answer(3, "$3\r\nnew\r\n");
    assert_int_equal(lks_client_poll(client, 0), 2);
    assert_string_equal(read.text, "$3\r\nnew\r\n");
    assert_true(write.place < read.place);
    end(client);
}

/* The answer to the read is there first: what becomes of the call is not known yet. */
static void read_answered_before_the_write__is_asked_again(void **state)
{
    struct heard write;
    struct heard read;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "w", &write);
    give_read(client, "r", &read);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_answer(1, "$3\r\nold\r\n");
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(read.status, NOT_ANSWERED);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_BUSY, "");
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    scripted_gateway_answer(g_gateway.count - 2, "+OK\r\n");
    scripted_gateway_answer(g_gateway.count - 1, "$3\r\nnew\r\n");
    assert_int_equal(lks_client_poll(client, 0), 2);
    assert_string_equal(read.text, "$3\r\nnew\r\n");
    end(client);
}

/* The read's answer was made before the call's second sending, and comes behind its answer. */
static void write_repeated__read_under_way_is_asked_again_behind_it(void **state)
{
    struct heard write;
    struct heard read;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "w", &write);
    give_read(client, "r", &read);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_BUSY, "");
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    expect_request(2, 'w', 1);
    scripted_gateway_answer(2, "+OK\r\n");
    scripted_gateway_answer(1, "$3\r\nold\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_int_equal(write.status, LKS_CLIENT_OK);
    assert_int_equal(read.status, NOT_ANSWERED);
    expect_request(3, 'r', 0);
    scripted_gateway_answer(3, "$3\r\nnew\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_string_equal(read.text, "$3\r\nnew\r\n");
    end(client);
}

static void read_before_the_refused_write__its_answer_is_taken(void **state)
{
    struct heard write;
    struct heard read;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_read(client, "r", &read);
    give_call(client, "w", &write);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[1].number, LKS_CLIENT_SAID_BUSY, "");
    scripted_gateway_answer(0, "$3\r\nold\r\n");
    assert_int_equal(lks_client_poll(client, 0), 1);
    assert_string_equal(read.text, "$3\r\nold\r\n");
    end(client);
}

/* ---- sending again -------------------------------------------------------------------------- */

static void gateway_ends__everything_unanswered_again_in_order_before_anything_new(void **state)
{
    struct heard heard[5];
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &heard[0]);
    give_call(client, "b", &heard[1]);
    give_read(client, "c", &heard[2]);
    give_call(client, "d", &heard[3]);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_answer(1, "+OK\r\n"); /* that of `a` is lost with the gateway */
    assert_int_equal(lks_client_poll(client, 0), 1);
    g_gateway.ended = true;
    give_call(client, "e", &heard[4]);
    (void)lks_client_poll(client, PAUSE_NS);
    assert_int_equal(state_of(client).attachments, 2);
    assert_int_equal(g_gateway.count, 4 + 1 + 4); /* `e` went to the old one first */
    expect_request(5, 'a', 1);
    expect_request(6, 'c', 0);
    expect_request(7, 'd', 3);
    expect_request(8, 'e', 4);
    assert_int_equal(state_of(client).repeated, 4);
    end(client);
}

/* The number of a sending that another has replaced means nothing any more. */
static void answer_to_an_earlier_sending__not_taken_for_the_last(void **state)
{
    struct heard a;
    struct heard b;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &a);
    assert_int_equal(lks_client_poll(client, 0), 0);
    const uint64_t first = g_gateway.requests[0].number;
    g_gateway.ended = true;
    (void)lks_client_poll(client, PAUSE_NS);
    give_call(client, "b", &b);
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.count, 3);
    scripted_gateway_say(first, LKS_CLIENT_SAID_OK, LKS_SESSION_OK_PREFIX "+STALE\r\n");
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(a.status, NOT_ANSWERED);
    assert_int_equal(b.status, NOT_ANSWERED);
    end(client);
}

static void no_leader_known__goes_elsewhere(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "w", &heard);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_NO_LEADER, "");
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    assert_int_equal(state_of(client).replica, 2);
    expect_request(1, 'w', 1);
    end(client);
}

static void ring_of_replies_damaged__goes_elsewhere(void **state)
{
    struct heard heard;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "w", &heard);
    assert_int_equal(lks_client_poll(client, 0), 0);
    g_gateway.damaged = true;
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    assert_int_equal(state_of(client).replica, 2);
    expect_request(1, 'w', 1);
    end(client);
}

/* A gateway refused `a`, took `b`: the session has not executed `b`. Both again, in order. */
static void earlier_one_missing__both_again_in_order(void **state)
{
    struct heard a;
    struct heard b;
    struct lks_client *client = connect_with(0);
    (void)state;
    give_call(client, "a", &a);
    give_call(client, "b", &b);
    assert_int_equal(lks_client_poll(client, 0), 0);
    scripted_gateway_say(g_gateway.requests[0].number, LKS_CLIENT_SAID_RING_FULL, "");
    scripted_gateway_status(1, LKS_SESSION_STATUS_GAP);
    assert_int_equal(lks_client_poll(client, PAUSE_NS), 0);
    expect_request(2, 'a', 1);
    expect_request(3, 'b', 2);
    assert_true(g_gateway.requests[2].at_ns - g_gateway.requests[0].at_ns >=
                10 * LKS_NS_PER_MS); /* the log has no room at once */
    scripted_gateway_answer(2, "+OK\r\n");
    scripted_gateway_answer(3, "+OK\r\n");
    assert_int_equal(lks_client_poll(client, 0), 2);
    end(client);
}

static void ring_of_requests_full__nothing_overtakes(void **state)
{
    struct heard a;
    struct heard b;
    struct lks_client *client = connect_with(0);
    (void)state;
    g_gateway.full = true;
    give_call(client, "a", &a);
    give_call(client, "b", &b);
    assert_int_equal(lks_client_poll(client, 0), 0);
    assert_int_equal(g_gateway.count, 0);
    g_gateway.full = false;
    assert_int_equal(lks_client_poll(client, 0), 0);
    expect_request(0, 'a', 1);
    expect_request(1, 'b', 2);
    assert_int_equal(state_of(client).repeated, 0);
    end(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gateway_silent_beyond_three_seconds__left_in_time_and_call_repeated),
        TEST(gateway_silent_on_a_call_but_answers_touches__kept),
        TEST(touches_not_answered_either__left),
        TEST(idle_for_long__first_call_behind_it_keeps_the_gateway),
        TEST(idle_until_a_touch_is_due__gateway_kept),
        TEST(refused_again_and_again__gateway_kept_and_not_rushed),
        TEST(short_lease__touched_in_time_within_one_poll),
        TEST(touch_refused__asked_again),
        TEST(write_refused__read_behind_it_is_asked_again),
        TEST(read_answered_before_the_write__is_asked_again),
        TEST(write_repeated__read_under_way_is_asked_again_behind_it),
        TEST(read_before_the_refused_write__its_answer_is_taken),
        TEST(gateway_ends__everything_unanswered_again_in_order_before_anything_new),
        TEST(answer_to_an_earlier_sending__not_taken_for_the_last),
        TEST(no_leader_known__goes_elsewhere),
        TEST(ring_of_replies_damaged__goes_elsewhere),
        TEST(earlier_one_missing__both_again_in_order),
        TEST(ring_of_requests_full__nothing_overtakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
