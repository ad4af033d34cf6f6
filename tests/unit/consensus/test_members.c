/*
 * Members change one by one under a leader: what it may append, how a learner catches up and is
 * promoted, how a removed replica is seen off and told, and leadership handed to a named voter.
 * Scenarios on the core rig.
 */
#include "tests/support/core_members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

#include <errno.h>

#define VOTERS_123 0x0e

static void add__fresh_replica__learns_then_counts(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(4));
    golden_say(rig, "4, whose journal is new, becomes a learner");
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_true(rig_view(rig, 1)->peers[4].learner);
    assert_int_equal(rig_index(rig, 4), rig_index(rig, 1));
    assert_false(rig_view(rig, 4)->amnesiac);
    assert_int_equal(rig->nodes[4].bootstrap, VOTERS_123);
    golden_say(rig, "it has caught up and is promoted");
    members_promote(rig, 1, 4);
    rig_settle(rig);
    golden_end(rig, "member-joins", "a joiner holds the log as a learner before it is a voter");
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, 4)->members.voters, 0x1e);
    assert_true(rig_view(rig, 4)->members_committed);
    rig_free(rig);
}

static void commit__learner_has_it_and_no_second_voter__waits(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    const uint64_t before = rig_view(rig, 1)->commit_offset;
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 1);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->peers[4].durable_offset, before + RIG_ENTRY);
    assert_int_equal(rig_view(rig, 1)->commit_offset, before);
    rig->nodes[1].sides[3].hold_path = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->commit_offset, before + RIG_ENTRY);
    rig_free(rig);
}

static void commit__even_sizes__take_more_than_half(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= 6; n += 2) {
        struct rig *rig = members_cluster(n, (uint8_t)((1u << (n + 1)) - 2u));
        for (uint32_t p = n; p > n / 2 + 1; p--) {
            rig_crash(rig, p);
        }
        rig_append(rig, 1, 1);
        rig_settle(rig);
        assert_int_equal(rig_view(rig, 1)->commit_offset, rig_view(rig, 1)->tail.offset);
        rig_crash(rig, n / 2 + 1);
        const uint64_t before = rig_view(rig, 1)->commit_offset;
        rig_append(rig, 1, 1);
        rig_settle(rig);
        assert_int_equal(rig_view(rig, 1)->commit_offset, before);
        rig_free(rig);
    }
}

static void check__not_the_next_change_of_one_server__is_refused(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    assert_int_equal(rig_change(rig, 2, VOTERS_123, BIT(4)), -LKS_ENOLEADER);
    assert_int_equal(rig_change(rig, 1, VOTERS_123, 0), -EINVAL);              /* none */
    assert_int_equal(rig_change(rig, 1, VOTERS_123, BIT(4) | BIT(5)), -EINVAL); /* two */
    assert_int_equal(rig_change(rig, 1, VOTERS_123 | BIT(4), 0), -EINVAL);     /* no learner yet */
    assert_int_equal(rig_change(rig, 1, BIT(1) | BIT(2), BIT(3)), -EINVAL);    /* demoted */
    assert_int_equal(rig_change(rig, 1, VOTERS_123, BIT(6)), -EINVAL);         /* no such slot */
    assert_int_equal(rig_change(rig, 1, BIT(2) | BIT(3), 0), -EPERM);          /* itself */
    const struct lks_members later = {.number = 2, .voters = VOTERS_123, .learners = BIT(4)};
    assert_int_equal(lks_core_members_check(rig->nodes[1].core, &later), -EINVAL);
    assert_int_equal(rig_view(rig, 1)->members.number, 0);
    rig_free(rig);
}

static void check__last_change_not_committed__waits(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[1].sides[3].hold_path = true;
    members_add(rig, 1, 4);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->members.number, 1);
    assert_false(rig_view(rig, 1)->members_committed);
    assert_int_equal(rig_change(rig, 1, VOTERS_123, BIT(4) | BIT(5)), -LKS_EBUSY);
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    assert_true(rig_view(rig, 1)->members_committed);
    assert_int_equal(rig_change(rig, 1, VOTERS_123, BIT(4) | BIT(5)), 0);
    rig_free(rig);
}

static void promote__not_caught_up_or_installing__is_refused(void **state)
{
    (void)state;
    const struct rig_options options = {
        .n = 4, .durability = RIG_FLUSH, .seed = 1, .bootstrap = VOTERS_123};
    struct rig *rig = rig_new(&options);
    rig->slots = 16;
    rig_start_all(rig);
    rig_elect(rig, 1);
    rig->nodes[4].hold_install = true;
    rig_append(rig, 1, 8);
    rig_advance(rig, RIG_HEARTBEAT);
    for (uint32_t p = 1; p <= 3; p++) {
        rig_snapshot(rig, p, 8);
    }
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_true(rig_view(rig, 1)->peers[4].installing);
    assert_int_equal(rig_change(rig, 1, VOTERS_123 | BIT(4), 0), -EAGAIN);
    rig->nodes[4].hold_install = false;
    rig_advance(rig, 8 * RIG_HEARTBEAT);
    assert_true(rig_view(rig, 1)->peers[4].caught_up);
    rig->nodes[1].sides[4].hold_path = true; /* falls behind again */
    rig_append(rig, 1, 1);
    rig_advance(rig, 3 * RIG_TIMEOUT);
    assert_int_equal(rig_change(rig, 1, VOTERS_123 | BIT(4), 0), -EAGAIN);
    rig->nodes[1].sides[4].hold_path = false;
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    members_promote(rig, 1, 4);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 4)->base.index, 8);
    rig_free(rig);
}

static void installed__members_at_the_base__are_in_force(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    rig->slots = 16;
    members_join(rig, 1, 4);
    rig_snapshot(rig, 1, rig_view(rig, 1)->commit_offset / RIG_ENTRY);
    members_add(rig, 1, 5);
    rig_settle(rig);
    rig_power_cut(rig, 1, true); /* the record of {1,2,3,4} is only in the snapshot */
    members_come_back(rig, 1);
    assert_int_equal(rig_view(rig, 1)->members.number, 3);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_int_not_equal(leader, 0);
    assert_int_equal(rig_view(rig, leader)->members.voters, 0x1e);
    assert_int_equal(rig_view(rig, leader)->members.learners, BIT(5));
    rig_free(rig);
}

static void remove__voter_that_is_up__gets_its_removal_then_its_path_ends(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_123);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    members_remove(rig, 1, 3);
    rig_settle(rig);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    golden_end(rig, "member-removed",
               "a removed replica is written to until its removal and a word that covers it are "
               "there");
    assert_true(rig_view(rig, 3)->removed);
    assert_false(rig_view(rig, 1)->peers[3].path_open);
    assert_int_equal(rig_index(rig, 3), rig_index(rig, 1));
    rig_append(rig, 1, 1);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 1); /* and it does not disturb */
    assert_int_equal(rig_view(rig, 1)->term, 1);
    rig_free(rig);
}

static void remove__silent_voter__is_dropped_and_told_when_it_wakes(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_123);
    rig->nodes[3].paused = true;
    rig->nodes[1].sides[3].hold_path = true;
    members_remove(rig, 1, 3);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_false(rig_view(rig, 1)->peers[3].path_open);
    rig->nodes[3].paused = false;
    rig_settle(rig);
    assert_true(rig_view(rig, 3)->removed);
    rig_free(rig);
}

static void remove__dead_voter_of_three__two_go_on(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_123);
    rig_crash(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_change(rig, 1, BIT(1) | BIT(3), 0), -ENOLINK); /* not the living one */
    members_remove(rig, 1, 3);
    rig_append(rig, 1, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, 1)->commit_offset, rig_view(rig, 1)->tail.offset);
    assert_true(rig_view(rig, 2)->members_committed);
    assert_int_equal(rig_view(rig, 2)->members.voters, 0x06);
    members_come_back(rig, 3); /* and hears of it from whoever it meets */
    assert_true(rig_view(rig, 3)->removed);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 1);
    assert_int_equal(rig_view(rig, 1)->term, 1);
    rig_free(rig);
}

/* Two voters stand no failure: nobody leads any more, and nothing is lost (docs/members.md). */
static void remove__one_of_the_two_left_loses_its_journal__nobody_leads(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_123);
    rig_append(rig, 1, 1);
    rig_settle(rig);
    const uint64_t committed = rig_view(rig, 1)->commit_offset;
    rig->nodes[1].sides[2].hold_path = true;
    members_remove(rig, 1, 3);
    rig_crash(rig, 2);
    rig_lose_journal(rig, 2);
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    members_come_back(rig, 2);
    rig_advance(rig, 20 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 0);
    assert_int_equal(rig_view(rig, 1)->members.voters, BIT(1) | BIT(2));
    assert_int_equal(rig_view(rig, 1)->commit_offset, committed);
    assert_true(rig_view(rig, 1)->tail.offset > committed); /* the removal */
    rig_free(rig);
}

static void reads__fewer_voters_after_a_change__are_confirmed_by_them(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(2, 0x06);
    rig->nodes[1].sides[2].hold_path = true;
    assert_true(rig_read_point(rig, 1));
    rig_settle(rig);
    assert_int_equal(rig->confirmed, 0);
    members_remove(rig, 1, 2);
    rig_settle(rig);
    assert_int_equal(rig->confirmed, 1);
    rig_free(rig);
}

static void transfer(struct rig *rig, uint32_t from, uint32_t to)
{
    const struct lks_core_event event = {.kind = LKS_EVENT_TRANSFER, .peer = to};
    rig_event(rig, from, &event);
}

static void transfer__named_voter__leads(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    transfer(rig, 1, 4); /* a learner cannot */
    assert_false(rig_view(rig, 1)->transferring);
    transfer(rig, 1, 3);
    assert_true(rig_view(rig, 1)->transferring);
    assert_int_equal(rig_change(rig, 1, VOTERS_123, 0), -LKS_EBUSY);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_int_equal(rig_leader(rig), 3);
    rig_free(rig);
}

static void transfer__named_voter_does_not_take_over__is_given_up(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_123);
    rig_crash(rig, 3);
    rig_settle(rig);
    transfer(rig, 1, 3);
    assert_false(rig_view(rig, 1)->accepts);
    rig_advance(rig, 11 * RIG_TIMEOUT);
    assert_false(rig_view(rig, 1)->transferring);
    assert_true(rig_view(rig, 1)->accepts);
    assert_int_equal(rig_leader(rig), 1);
    assert_true(rig_append(rig, 1, 1));
    rig_free(rig);
}

int main(int argc, char **argv)
{
    golden_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add__fresh_replica__learns_then_counts),
        cmocka_unit_test(commit__learner_has_it_and_no_second_voter__waits),
        cmocka_unit_test(commit__even_sizes__take_more_than_half),
        cmocka_unit_test(check__not_the_next_change_of_one_server__is_refused),
        cmocka_unit_test(check__last_change_not_committed__waits),
        cmocka_unit_test(promote__not_caught_up_or_installing__is_refused),
        cmocka_unit_test(installed__members_at_the_base__are_in_force),
        cmocka_unit_test(remove__voter_that_is_up__gets_its_removal_then_its_path_ends),
        cmocka_unit_test(remove__silent_voter__is_dropped_and_told_when_it_wakes),
        cmocka_unit_test(remove__dead_voter_of_three__two_go_on),
        cmocka_unit_test(remove__one_of_the_two_left_loses_its_journal__nobody_leads),
        cmocka_unit_test(reads__fewer_voters_after_a_change__are_confirmed_by_them),
        cmocka_unit_test(transfer__named_voter__leads),
        cmocka_unit_test(transfer__named_voter_does_not_take_over__is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
