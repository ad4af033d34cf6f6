/*
 * Replicas that may have forgotten what they acknowledged: whom they serve, when they count
 * again, and why a cluster without enough memory does not start. Scenarios on the core rig.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct rig *led_by_1(uint32_t n, enum rig_durability durability)
{
    struct rig *rig = rig_cluster(n, durability);
    rig_elect(rig, 1);
    rig_append(rig, 1, 2);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

static void start(struct rig *rig, uint32_t n)
{
    rig_settle(rig); /* the others notice that the earlier life is over */
    rig_start(rig, n);
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig_connect(rig, n, p);
    }
}

static void power_cut__memory_mode__counts_again_when_it_holds_the_leaders_log(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_MEMORY);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    golden_say(rig, "the host of 3 loses power; nothing was flushed");
    rig_power_cut(rig, 3, false);
    start(rig, 3);
    rig->nodes[1].sides[3].hold_path = true;
    rig_advance(rig, RIG_HEARTBEAT / 2);
    assert_true(rig_view(rig, 3)->amnesiac);
    assert_true(rig_view(rig, 1)->peers[3].path_open);
    assert_false(rig_view(rig, 1)->peers[3].counted);
    rig->nodes[1].sides[3].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "amnesia",
               "an amnesiac is written to, but counts for nothing until it holds it all again");
    assert_false(rig->nodes[3].amnesiac);
    assert_true(rig_view(rig, 1)->peers[3].counted);
    assert_int_equal(rig_index(rig, 3), 3);
    rig_free(rig);
}

static void candidate__asks_an_amnesiac__is_refused(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_MEMORY);
    rig_power_cut(rig, 3, false);
    rig_crash(rig, 1);
    start(rig, 3);
    rig_settle(rig);
    golden_begin(rig, GOLDEN_NODE(2) | GOLDEN_NODE(3));
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    struct lks_message request = {
        .kind = LKS_MESSAGE_VOTE_REQUEST, .term = 7, .incarnation = 1, .request = 5};
    const struct lks_core_event ask = {
        .kind = LKS_EVENT_MESSAGE, .peer = 2, .message = &request};
    rig_event(rig, 3, &ask);
    assert_int_equal(rig->nodes[3].update.messages[0].kind, LKS_MESSAGE_VOTE_REFUSAL);
    rig_settle(rig);
    golden_end(rig, "amnesia-no-vote", "an amnesiac gives write permission to no candidate");
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 0); /* 2 alone is no majority of those that remember */
    start(rig, 1);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_not_equal(rig_leader(rig), 0);
    assert_false(rig->nodes[3].amnesiac);
    rig_free(rig);
}

static void journal_lost__leader__proves_that_no_newer_leader_was_chosen(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    golden_say(rig, "3 loses its journal, promise included; 2 is slow");
    rig_lose_journal(rig, 3);
    rig->nodes[1].sides[2].hold_path = true;
    start(rig, 3);
    rig_advance(rig, RIG_HEARTBEAT / 2);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 4 * RIG_ENTRY);
    golden_say(rig, "3 holds everything, but no write without it is complete yet");
    assert_true(rig->nodes[3].amnesiac);
    assert_int_equal(rig_view(rig, 1)->commit_offset, 3 * RIG_ENTRY);
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "amnesia-promise-lost",
               "for a lost promise, a write must complete on a majority without the amnesiac");
    assert_false(rig->nodes[3].amnesiac);
    assert_true(rig_view(rig, 1)->peers[3].counted);
    rig_free(rig);
}

/* 3 voted for a newer leader and forgot it: the old one must not get 3 back. */
static void journal_lost__newer_leader_exists__old_one_never_commits_with_it(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    rig_block(rig, 1, 2);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_path = true; /* 1 does not find out yet */
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    rig_append(rig, 2, 1);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->commit_offset, 5 * RIG_ENTRY); /* with 3 alone */
    rig_block(rig, 2, 3);
    rig_lose_journal(rig, 3);
    rig->nodes[1].sides[3].hold_path = false;
    start(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    golden_begin(rig, GOLDEN_NODE(1));
    rig_append(rig, 1, 1);
    rig_settle(rig);
    assert_true(rig->nodes[3].amnesiac);
    assert_int_equal(rig_view(rig, 1)->commit_offset, 3 * RIG_ENTRY);
    for (uint32_t i = 0; i < 16 && rig_view(rig, 1)->role == LKS_CORE_LEADER; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 2);
    }
    golden_end(rig, "amnesia-no-office",
               "completions on one that lost its promise do not keep a leader in office");
    assert_int_not_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    rig_unblock(rig, 1, 2);
    rig_unblock(rig, 2, 3);
    rig_connect(rig, 1, 2);
    rig_connect(rig, 2, 3);
    rig_advance(rig, 6 * RIG_TIMEOUT);
    assert_int_not_equal(rig_leader(rig), 0);
    assert_false(rig->nodes[3].amnesiac);
    rig_free(rig);
}

/*
 * Five replicas: 1 leads; 2 has the grant of 3 for a newer term and sleeps; 3 loses its journal,
 * and 1 takes it in, the proof complete on 1, 4 and 5; only then does 5 grant to 2. The grants of
 * 3 and 5 never stood together: with them 2 would lead without what 1, 3 and 4 committed since.
 */
static void journal_lost__candidate_has_its_old_grant__does_not_lead_by_it(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(5, RIG_FLUSH);
    rig_block(rig, 2, 1);
    rig_block(rig, 2, 4);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_path = true;
    rig->nodes[5].sides[2].hold_ctl = true;
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_true(rig_view(rig, 2)->peers[3].path_open);
    golden_begin(rig, GOLDEN_NODE(2));
    golden_say(rig, "2 has the grant of 3 and sleeps; 3 loses its journal, 1 takes it in");
    rig->nodes[2].paused = true;
    rig_lose_journal(rig, 3);
    rig->nodes[1].sides[3].hold_path = false;
    start(rig, 3);
    rig_settle(rig);
    assert_false(rig->nodes[3].amnesiac);
    assert_true(rig_view(rig, 1)->peers[3].counted);
    rig->nodes[5].sides[2].hold_ctl = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 5)->grant.peer, 2);
    rig_append(rig, 1, 1);
    rig_settle(rig); /* committed by 1, 3 and 4 */
    assert_int_equal(rig_view(rig, 1)->commit_offset, 5 * RIG_ENTRY);
    golden_say(rig, "2 wakes up and finds the grant of 5 before it notices the loss of 3");
    rig->nodes[2].sides[3].hold_ctl = true;
    rig->nodes[2].paused = false;
    rig_settle(rig);
    assert_int_not_equal(rig_view(rig, 2)->role, LKS_CORE_LEADER);
    golden_end(rig, "grants-stand-together",
               "of more than three replicas, a candidate leads only by grants that stood at once");
    rig->nodes[2].sides[3].hold_ctl = false;
    rig_unblock(rig, 2, 1);
    rig_unblock(rig, 2, 4);
    for (uint32_t i = 0; i < 20; i++) {
        rig_connect(rig, 2, 1 + i % 5);
        rig_advance(rig, RIG_TIMEOUT);
    }
    assert_int_not_equal(rig_leader(rig), 0);
    rig_free(rig);
}

static void amnesia_over__connection_breaks_meanwhile__is_told_again(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_MEMORY);
    rig_power_cut(rig, 3, false);
    start(rig, 3);
    rig->nodes[3].hold_work = 1 + LKS_EFFECT_CLEAR_AMNESIA;
    rig_settle(rig);
    assert_true(rig->nodes[3].amnesiac);
    assert_int_equal(rig->nodes[3].local.count, 1);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    golden_say(rig, "3 is recording the end of its amnesia when the connection breaks");
    rig->nodes[3].local.count = 0;
    rig->nodes[3].hold_work = 0;
    rig_break(rig, 1, 3);
    rig_settle(rig);
    rig_append(rig, 1, 2);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_path = true;
    rig_connect(rig, 1, 3);
    rig_settle(rig);
    golden_say(rig, "it is recorded now; 1 is told before it waits for it");
    rig->nodes[3].amnesiac = false;
    const struct lks_core_event cleared = {.kind = LKS_EVENT_AMNESIA_CLEARED};
    rig_event(rig, 3, &cleared);
    rig_settle(rig);
    assert_false(rig_view(rig, 1)->peers[3].counted);
    rig->nodes[1].sides[3].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "amnesia-told-again",
               "an end of amnesia whose news was lost is told again under the next grant");
    assert_true(rig_view(rig, 1)->peers[3].counted);
    rig_free(rig);
}

static void amnesia_over__of_another_grant_term_or_life__ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_MEMORY);
    rig_power_cut(rig, 3, false);
    start(rig, 3);
    rig->nodes[1].sides[3].hold_path = true;
    rig_settle(rig); /* granted to 1, not yet written */
    assert_true(rig_view(rig, 3)->amnesiac);
    const struct lks_message good = {
        .kind = LKS_MESSAGE_AMNESIA_OVER,
        .term = 1,
        .incarnation = 1,
        .key = {rig_view(rig, 3)->grant.number},
    };
    struct lks_message bad[4] = {good, good, good, good};
    bad[0].term++;
    bad[1].incarnation++;
    bad[2].key[0]--;
    for (uint32_t i = 0; i < 4; i++) { /* the last: from one that does not hold the grant */
        const struct lks_core_event event = {
            .kind = LKS_EVENT_MESSAGE, .peer = i < 3 ? 1 : 2, .message = &bad[i]};
        rig_event(rig, 3, &event);
        assert_int_equal(rig->nodes[3].update.count, 0);
    }
    rig_free(rig);
}

static void amnesia_cleared__of_another_grant__ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_MEMORY);
    rig_power_cut(rig, 3, false);
    start(rig, 3);
    rig->nodes[3].hold_work = 1 + LKS_EFFECT_CLEAR_AMNESIA;
    rig_settle(rig); /* 1 waits for the word of 3 */
    const struct lks_message message = {
        .kind = LKS_MESSAGE_AMNESIA_CLEARED, .term = 1, .key = {rig->permission[3][1] - 1}};
    const struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = 3, .message = &message};
    rig_event(rig, 1, &event);
    assert_false(rig_view(rig, 1)->peers[3].counted);
    rig->nodes[3].hold_work = 0;
    rig_settle(rig);
    assert_true(rig_view(rig, 1)->peers[3].counted);
    rig_free(rig);
}

static void start__majority_amnesiac__elects_nobody_and_says_why(void **state)
{
    (void)state;
    const struct rig_options options = {.n = 3, .durability = RIG_MEMORY, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig->nodes[1].amnesiac = true;
    rig->nodes[2].amnesiac = true;
    rig_start_all(rig);
    rig_advance(rig, 6 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 0);
    assert_int_equal(rig->term_max, 0);
    for (uint32_t n = 1; n <= 3; n++) {
        assert_true(rig_view(rig, n)->majority_amnesiac);
        assert_int_not_equal(rig_view(rig, n)->role, LKS_CORE_LEADER);
    }
    rig_free(rig);
}

static void start__minority_amnesiac__elects_and_heals_it(void **state)
{
    (void)state;
    const struct rig_options options = {.n = 5, .durability = RIG_MEMORY, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig->nodes[1].amnesiac = true;
    rig->nodes[4].amnesiac = true;
    rig->nodes[4].promise_lost = true;
    rig_start_all(rig);
    rig_advance(rig, 6 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_true(leader == 2 || leader == 3 || leader == 5);
    for (uint32_t n = 1; n <= 5; n++) {
        assert_false(rig->nodes[n].amnesiac);
        assert_false(rig_view(rig, n)->majority_amnesiac);
    }
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cut__memory_mode__counts_again_when_it_holds_the_leaders_log),
        cmocka_unit_test(candidate__asks_an_amnesiac__is_refused),
        cmocka_unit_test(journal_lost__leader__proves_that_no_newer_leader_was_chosen),
        cmocka_unit_test(journal_lost__newer_leader_exists__old_one_never_commits_with_it),
        cmocka_unit_test(journal_lost__candidate_has_its_old_grant__does_not_lead_by_it),
        cmocka_unit_test(amnesia_over__connection_breaks_meanwhile__is_told_again),
        cmocka_unit_test(amnesia_over__of_another_grant_term_or_life__ignored),
        cmocka_unit_test(amnesia_cleared__of_another_grant__ignored),
        cmocka_unit_test(start__majority_amnesiac__elects_nobody_and_says_why),
        cmocka_unit_test(start__minority_amnesiac__elects_and_heals_it),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
