/*
 * Handing a ring over: the order of the steps, whose completion each waits for, and what is
 * refused. Scenarios on the core rig; each rule has its golden trace.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* 1 leads with `entries` committed everywhere; nothing is under way. */
static struct rig *led_by_1(enum rig_durability durability, uint32_t entries)
{
    struct rig *rig = rig_cluster(3, durability);
    rig_elect(rig, 1);
    assert_true(rig_append(rig, 1, entries));
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, 2)->commit_offset, (entries + 1) * RIG_ENTRY);
    return rig;
}

static void vote_request__grantor__fences_promises_persists_then_grants(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 2);
    golden_begin(rig, GOLDEN_NODE(2));
    rig->nodes[2].hold_fence = true;
    rig_coup(rig, 3);
    rig_settle(rig);
    golden_say(rig, "the fence of 2 is under way: no promise, no grant");
    assert_true(rig->nodes[2].sides[1].fencing);
    assert_int_equal(rig->nodes[2].promise_term, 1);
    rig->nodes[2].hold_local = true;
    rig->nodes[2].hold_fence = false;
    rig_settle(rig);
    rig_do_fence(rig, 2, 1);
    rig->nodes[2].hold_local = false;
    rig_do_local(rig, 2, true); /* revoked; the promise is on its way */
    assert_int_equal(rig->nodes[2].promise_term, 1);
    assert_int_equal(rig->permission[2][3], 0);
    rig_do_local(rig, 2, true); /* promised */
    assert_int_equal(rig->nodes[2].promise_term, 2);
    assert_int_equal(rig->nodes[2].promise_candidate, 3);
    assert_int_equal(rig->permission[2][3], 0);
    rig_settle(rig);
    golden_end(rig, "handover-order",
               "a grantor fences, promises, persists its tail, grants, answers, in this order");
    assert_int_equal(rig_leader(rig), 3);
    rig_free(rig);
}

static void candidate__own_ring__is_fenced_before_its_tail_is_read(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 2);
    rig_settle(rig); /* committed by 1 and 2; in flight to 3 */
    assert_int_equal(rig_view(rig, 1)->commit_offset, 4 * RIG_ENTRY);
    golden_begin(rig, GOLDEN_NODE(3));
    rig->nodes[3].hold_fence = true;
    rig_coup(rig, 3);
    rig_settle(rig);
    golden_say(rig, "the old leader's entries land while the fence is under way");
    rig->nodes[1].sides[3].hold_path = false;
    rig_settle(rig);
    assert_int_equal(rig_index(rig, 3), 4);
    rig->nodes[3].hold_fence = false;
    rig_settle(rig);
    golden_end(rig, "candidate-own-ring",
               "a candidate does to its own ring what a grantor does, before it asks anybody");
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig->leaders[2].length, 4);
    rig_free(rig);
}

static void start__writers_of_an_earlier_life__are_fenced_before_the_scan(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 1);
    rig_settle(rig);
    rig_crash(rig, 3); /* 1 does not notice yet: its write is still under way */
    golden_begin(rig, GOLDEN_NODE(3));
    rig->nodes[3].hold_fence = true;
    rig_start(rig, 3);
    golden_say(rig, "a write of the earlier life lands late");
    rig->nodes[1].sides[3].hold_path = false;
    while (rig_do_path(rig, 1, 3, true)) {
    }
    assert_int_equal(rig_index(rig, 3), 3);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_STARTING);
    rig->nodes[3].hold_fence = false;
    rig_settle(rig);
    golden_end(rig, "start-fences",
               "a replica that starts fences all writers of its earlier lives before it scans");
    assert_int_equal(rig_view(rig, 3)->tail.index, 3);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_FOLLOWER);
    rig_free(rig);
}

static void tail__second_handover__is_persisted_from_the_commit_word(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 2);
    rig_coup(rig, 3);
    rig_settle(rig); /* 2 granted to 3: persisted from 0, commit word 3 */
    rig->nodes[3].sides[2].hold_path = true;
    rig_append(rig, 3, 2);
    rig_settle(rig);
    golden_begin(rig, GOLDEN_NODE(2));
    golden_say(rig, "some entries land at 2 without a flush; then 3 dies");
    rig->nodes[3].sides[2].hold_path = false;
    assert_true(rig_do_path(rig, 3, 2, true));
    rig->nodes[3].sides[2].hold_path = true;
    assert_int_not_equal(rig->nodes[2].disk[4].chain, rig->nodes[2].ring[4].chain);
    rig_crash(rig, 3);
    rig_elect(rig, 1);
    golden_end(rig, "tail-from-commit",
               "the tail is made durable from the commit word known at the hand-over before");
    assert_int_equal(rig->nodes[2].disk[4].chain, rig->nodes[2].ring[4].chain);
    rig_free(rig);
}

static void renewal__broken_connection__takes_every_step(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 4);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_path = false;
    assert_true(rig_do_path(rig, 1, 3, true)); /* landed, not flushed */
    rig->nodes[1].sides[3].hold_path = true;
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    golden_say(rig, "the connection of 1 and 3 breaks with four entries landed but not flushed");
    const uint64_t old = rig->permission[3][1];
    rig_break(rig, 1, 3);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_path = false;
    rig_connect(rig, 1, 3);
    rig_settle(rig);
    golden_end(rig, "renewal",
               "a grant is renewed by every step of a first one; sending starts from the report");
    assert_true(rig->permission[3][1] > old);
    assert_int_equal(rig->nodes[3].disk[5].chain, rig->nodes[3].ring[5].chain);
    rig_append(rig, 1, 1);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 7 * RIG_ENTRY);
    rig_free(rig);
}

static struct lks_message vote_request(uint64_t term, uint64_t incarnation, uint64_t request)
{
    return (struct lks_message){
        .kind = LKS_MESSAGE_VOTE_REQUEST,
        .term = term,
        .incarnation = incarnation,
        .request = request,
    };
}

static void deliver(struct rig *rig, uint32_t n, uint32_t from, const struct lks_message *message)
{
    const struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = from, .message = message};
    rig_event(rig, n, &event);
}

/* The one message that the last step of n sent. */
static const struct lks_message *sent(const struct rig *rig, uint32_t n)
{
    assert_int_equal(rig->nodes[n].update.messages_count, 1);
    return &rig->nodes[n].update.messages[0];
}

static void vote_request__term_promised_to_another__refused_as_taken(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    golden_begin(rig, GOLDEN_NODE(2));
    golden_say(rig, "2 has promised term 1 to the present life of 1; another candidate asks");
    struct lks_message message = vote_request(1, 1, 77);
    deliver(rig, 2, 3, &message);
    assert_int_equal(sent(rig, 2)->kind, LKS_MESSAGE_VOTE_REFUSAL);
    assert_int_equal(sent(rig, 2)->flags, LKS_MESSAGE_TERM_TAKEN);
    assert_int_equal(sent(rig, 2)->request, 77);
    golden_say(rig, "another life of 1 asks");
    message = vote_request(1, 2, 78);
    deliver(rig, 2, 1, &message);
    assert_int_equal(sent(rig, 2)->flags, LKS_MESSAGE_TERM_TAKEN);
    golden_say(rig, "a candidate of an older term asks");
    message = vote_request(0, 1, 79);
    deliver(rig, 2, 3, &message);
    assert_int_equal(sent(rig, 2)->kind, LKS_MESSAGE_VOTE_REFUSAL);
    assert_int_equal(sent(rig, 2)->flags, 0);
    golden_end(rig, "promise",
               "a term is granted to one life of one candidate only, and no older term");
    assert_int_equal(rig->permission[2][1] != 0, 1);
    rig_free(rig);
}

static void vote_request__during_a_handover__higher_term_takes_over(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    rig->nodes[2].hold_fence = true;
    struct lks_message message = vote_request(5, 1, 1);
    golden_begin(rig, GOLDEN_NODE(2));
    deliver(rig, 2, 3, &message);
    golden_say(rig, "while 2 fences for term 5, a request of term 6 and a late one of term 4 come");
    message = vote_request(6, 1, 2);
    deliver(rig, 2, 1, &message);
    assert_int_equal(rig->nodes[2].update.count, 0);
    message = vote_request(4, 1, 3);
    deliver(rig, 2, 3, &message);
    assert_int_equal(sent(rig, 2)->kind, LKS_MESSAGE_VOTE_REFUSAL);
    rig->nodes[2].hold_fence = false;
    rig_settle(rig);
    golden_end(rig, "handover-superseded",
               "a hand-over gives way to one of a higher term at the end of the step under way");
    assert_int_equal(rig->nodes[2].promise_term, 6);
    assert_int_equal(rig->nodes[2].promise_candidate, 1);
    rig_free(rig);
}

static void vote_request__during_a_handover__renewed_request_is_answered_once(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    rig->nodes[2].hold_fence = true;
    struct lks_message message = vote_request(5, 1, 1);
    deliver(rig, 2, 3, &message);
    message = vote_request(5, 1, 2); /* the same candidate, over a new connection */
    deliver(rig, 2, 3, &message);
    message = vote_request(5, 1, 1); /* an echo of the first: older than what is under way */
    deliver(rig, 2, 3, &message);
    assert_int_equal(sent(rig, 2)->kind, LKS_MESSAGE_VOTE_REFUSAL);
    rig->nodes[2].hold_fence = false;
    rig->nodes[3].sides[2].hold_ctl = true;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->grant.peer, 3);
    assert_int_equal(rig_view(rig, 2)->grant.term, 5);
    rig_free(rig);
}

static void grant__peer_gone_meanwhile__stands_for_nobody(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH, 1);
    rig->nodes[2].hold_fence = true;
    rig_coup(rig, 3);
    rig_settle(rig);
    rig_crash(rig, 3);
    rig_settle(rig);
    rig->nodes[2].hold_fence = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->grant.peer, 0);
    assert_int_equal(rig->permission[2][3], 0);
    rig_advance(rig, 4 * RIG_TIMEOUT); /* 1 and 2 go on in a higher term */
    assert_true(rig_leader(rig) != 0);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vote_request__grantor__fences_promises_persists_then_grants),
        cmocka_unit_test(candidate__own_ring__is_fenced_before_its_tail_is_read),
        cmocka_unit_test(start__writers_of_an_earlier_life__are_fenced_before_the_scan),
        cmocka_unit_test(tail__second_handover__is_persisted_from_the_commit_word),
        cmocka_unit_test(renewal__broken_connection__takes_every_step),
        cmocka_unit_test(vote_request__term_promised_to_another__refused_as_taken),
        cmocka_unit_test(vote_request__during_a_handover__higher_term_takes_over),
        cmocka_unit_test(vote_request__during_a_handover__renewed_request_is_answered_once),
        cmocka_unit_test(grant__peer_gone_meanwhile__stands_for_nobody),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
