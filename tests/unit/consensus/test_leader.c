/*
 * Leading: what is written to whom, what counts as durable, when entries are committed, and what
 * the commit word may say. Scenarios on the core rig.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct rig *led_by_1(enum rig_durability durability)
{
    struct rig *rig = rig_cluster(3, durability);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

static uint64_t committed(const struct rig *rig, uint32_t n)
{
    return rig_view(rig, n)->commit_offset / RIG_ENTRY;
}

static void append__settled_cluster__writes_flushes_commits_and_tells(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(2));
    rig_append(rig, 1, 2);
    rig_settle(rig);
    golden_end(rig, "replication",
               "entries are written, flushed, committed by a majority, and the word follows");
    assert_int_equal(committed(rig, 1), 3);
    assert_int_equal(committed(rig, 2), 3);
    rig_free(rig);
}

/* The classic: an entry of an older term on a majority is not committed by counting. */
static void commit__entries_of_older_terms__wait_for_one_of_the_own(void **state)
{
    (void)state;
    const struct rig_options options = {.n = 3, .durability = RIG_FLUSH, .seed = 1};
    struct rig *rig = rig_new(&options);
    for (uint32_t p = 1; p <= 2; p++) {
        rig_put(rig, p, 1, 11);
        rig_put(rig, p, 2, 22);
        rig->nodes[p].promise_term = 2;
    }
    rig->values = 100;
    rig_start(rig, 1);
    rig_start(rig, 2);
    rig_connect(rig, 1, 2);
    rig_settle(rig);
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[2].paused = true;
    golden_begin(rig, GOLDEN_NODE(1));
    while (rig_view(rig, 1)->role == LKS_CORE_FOLLOWER) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    rig->nodes[2].paused = false;
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    golden_say(rig, "both entries are durable on a majority; the no-op is still under way");
    assert_int_equal(rig_view(rig, 1)->peers[2].durable_offset, 2 * RIG_ENTRY);
    assert_int_equal(committed(rig, 1), 0);
    assert_false(rig_view(rig, 1)->established);
    assert_int_equal(rig->nodes[2].word, 0);
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "own-term-commit",
               "entries of older terms commit only together with one of the leader's own term");
    assert_int_equal(committed(rig, 1), 3);
    assert_int_equal(rig->nodes[2].word, 3 * RIG_ENTRY);
    rig_free(rig);
}

static void commit_word__slow_follower__never_beyond_what_was_written_there(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig->nodes[1].sides[3].hold_path = true;
    golden_begin(rig, GOLDEN_NODE(1));
    golden_say(rig, "3 is slow: three writes fly to it at most, while 1 and 2 commit");
    for (uint32_t i = 0; i < 6; i++) {
        rig_append(rig, 1, 1);
        rig_settle(rig);
    }
    assert_int_equal(committed(rig, 1), 7);
    assert_true(rig_view(rig, 1)->peers[3].written_offset < 7 * RIG_ENTRY);
    golden_say(rig, "3 goes on");
    rig->nodes[1].sides[3].hold_path = false;
    while (rig_do_path(rig, 1, 3, true)) { /* all that was posted lands, the words too */
        assert_true(rig->nodes[3].word <= rig_index(rig, 3) * RIG_ENTRY);
    }
    rig_settle(rig);
    golden_end(rig, "commit-word",
               "the commit word sent to a peer never exceeds what was written there before it");
    assert_int_equal(committed(rig, 3), 7);
    rig_free(rig);
}

static void commit__own_disk_is_slow__any_majority_serves(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig->nodes[1].hold_local = true;
    rig_append(rig, 1, 1);
    rig->nodes[1].hold_local = false;
    rig_do_local(rig, 1, true); /* appended; its own flush does not end */
    rig->nodes[1].hold_local = true;
    rig_settle(rig);
    assert_int_equal(committed(rig, 1), 2);
    assert_int_not_equal(rig->nodes[1].disk[1].chain, rig->nodes[1].ring[1].chain);
    rig->nodes[1].hold_local = false;
    rig_settle(rig);
    rig_free(rig);
}

static void commit__own_disk_and_one_follower_slow__waits(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig->nodes[1].sides[2].hold_path = true;
    rig_append(rig, 1, 1);
    rig_do_local(rig, 1, true);
    rig->nodes[1].hold_local = true;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 2 * RIG_ENTRY);
    assert_int_equal(committed(rig, 1), 1);
    rig->nodes[1].hold_local = false;
    rig_settle(rig);
    assert_int_equal(committed(rig, 1), 2);
    rig_free(rig);
}

static void flush__behind_a_refused_write__is_void(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig_block(rig, 1, 3);
    rig->nodes[1].sides[2].hold_path = true;
    rig_append(rig, 1, 1);
    rig_settle(rig);
    golden_begin(rig, GOLDEN_NODE(1));
    golden_say(rig, "2 grants to 3, which takes a lead; then the write of 1 comes to 2");
    rig_coup(rig, 3);
    rig_settle(rig);
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "flush-void",
               "a refused write voids its flush and ends the path; what it held counts no more");
    assert_int_equal(committed(rig, 1), 1);
    assert_false(rig_view(rig, 1)->peers[2].path_open);
    rig_free(rig);
}

static void flush__of_an_older_grant__is_ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig_append(rig, 1, 1);
    rig_do_local(rig, 1, true);
    const uint64_t durable = rig_view(rig, 1)->peers[2].durable_offset;
    const struct lks_core_event event = {
        .kind = LKS_EVENT_FLUSHED,
        .peer = 2,
        .grant = rig->permission[2][1] + 100,
        .offset = 2 * RIG_ENTRY,
    };
    rig_event(rig, 1, &event);
    assert_int_equal(rig_view(rig, 1)->peers[2].durable_offset, durable);
    assert_int_equal(committed(rig, 1), 1);
    rig_settle(rig);
    assert_int_equal(committed(rig, 1), 2);
    rig_free(rig);
}

static void acknowledge__pmem_ack__follower_persists_and_says_so(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_ACK);
    golden_begin(rig, GOLDEN_NODE(1));
    rig->nodes[3].hold_local = true;
    rig->nodes[2].hold_local = true;
    rig_append(rig, 1, 1);
    rig_settle(rig);
    golden_say(rig, "written to 2 and 3, acknowledged by neither");
    assert_int_equal(committed(rig, 1), 1);
    rig->nodes[2].hold_local = false;
    rig_settle(rig);
    golden_end(rig, "pmem-ack", "with pmem-ack a follower counts when it says that it persisted");
    assert_int_equal(committed(rig, 1), 2);
    rig_free(rig);
}

static void acknowledge__other_grant_term_life_or_too_much__ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_ACK);
    rig->nodes[2].hold_local = true;
    rig->nodes[3].hold_local = true;
    rig_append(rig, 1, 1);
    rig_settle(rig);
    const struct lks_message good = {
        .kind = LKS_MESSAGE_DURABLE,
        .term = 1,
        .incarnation = 1,
        .key = {rig->permission[2][1]},
        .durable_offset = 2 * RIG_ENTRY,
    };
    struct lks_message bad[4] = {good, good, good, good};
    bad[0].term = 0;
    bad[1].incarnation = 2;
    bad[2].key[0]++;
    bad[3].durable_offset = 3 * RIG_ENTRY;
    for (uint32_t i = 0; i < 4; i++) {
        const struct lks_core_event event = {
            .kind = LKS_EVENT_MESSAGE, .peer = 2, .message = &bad[i]};
        rig_event(rig, 1, &event);
        assert_int_equal(rig_view(rig, 1)->peers[2].durable_offset, RIG_ENTRY);
    }
    rig->nodes[2].hold_local = false;
    rig_settle(rig);
    assert_int_equal(committed(rig, 1), 2);
    rig_free(rig);
}

static void follower__completes_nothing_for_long__path_is_given_up_and_renewed(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 1);
    rig_advance(rig, 49 * RIG_TIMEOUT);
    assert_true(rig_view(rig, 1)->peers[3].path_open);
    const uint64_t grant = rig->permission[3][1];
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_int_not_equal(rig->permission[3][1], grant);
    rig->nodes[1].sides[3].hold_path = false;
    rig_advance(rig, RIG_TIMEOUT);
    assert_int_equal(committed(rig, 3), 2);
    assert_int_equal(rig->term_max, 1);
    rig_free(rig);
}

static void follower__back_after_much_was_written__catches_up_from_the_ring(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig_crash(rig, 3);
    rig_settle(rig);
    for (uint32_t i = 0; i < 12; i++) {
        rig_append(rig, 1, 4);
        rig_settle(rig);
    }
    rig_start(rig, 3);
    rig_connect(rig, 3, 1);
    rig_connect(rig, 3, 2);
    rig_settle(rig);
    assert_int_equal(committed(rig, 3), 49);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 49 * RIG_ENTRY);
    rig_free(rig);
}

static void power_cut__all_at_once__everything_acknowledged_is_there(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(RIG_FLUSH);
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 5);
    rig_settle(rig);
    assert_int_equal(committed(rig, 1), 6);
    for (uint32_t n = 1; n <= 3; n++) {
        rig_power_cut(rig, n, false);
        rig->nodes[n].sides[3].hold_path = false;
    }
    rig_start_all(rig);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_int_not_equal(leader, 0);
    assert_int_equal(rig->leaders[2].length, 6);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append__settled_cluster__writes_flushes_commits_and_tells),
        cmocka_unit_test(commit__entries_of_older_terms__wait_for_one_of_the_own),
        cmocka_unit_test(commit_word__slow_follower__never_beyond_what_was_written_there),
        cmocka_unit_test(commit__own_disk_is_slow__any_majority_serves),
        cmocka_unit_test(commit__own_disk_and_one_follower_slow__waits),
        cmocka_unit_test(flush__behind_a_refused_write__is_void),
        cmocka_unit_test(flush__of_an_older_grant__is_ignored),
        cmocka_unit_test(acknowledge__pmem_ack__follower_persists_and_says_so),
        cmocka_unit_test(acknowledge__other_grant_term_life_or_too_much__ignored),
        cmocka_unit_test(follower__completes_nothing_for_long__path_is_given_up_and_renewed),
        cmocka_unit_test(follower__back_after_much_was_written__catches_up_from_the_ring),
        cmocka_unit_test(power_cut__all_at_once__everything_acknowledged_is_there),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
