/*
 * Elections while members change: by whose majority a candidate leads, who votes for whom, what
 * becomes of changes whose leader dies, and that old members disturb nobody. Scenarios on the core
 * rig; its checkers see to it that no committed entry is lost.
 */
#include "tests/support/core_members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/error.h"

#define VOTERS_12 0x06
#define VOTERS_123 0x0e
#define VOTERS_1234 0x1e

static void mute_both(struct rig *rig, uint32_t a, uint32_t b, bool muted)
{
    members_mute(rig, a, b, muted);
    members_mute(rig, b, a, muted);
}

/*
 * Why a change waits for an entry of the leader's own term (Raft's single-server changes had this
 * wrong at first). 1 promotes 5, which reaches 5 alone; 2 is elected by 2, 3 and 4, whose members
 * do not know of it. If 2 could now remove 1 at once, {2,3,4} would commit by 2 and 3, and
 * {1,2,3,4,5} could elect 1 by 1, 4 and 5: no replica is in both.
 */
static void check__two_leaders_change_the_same_members__second_waits_for_own_term(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_1234);
    members_add(rig, 1, 5);
    rig_advance(rig, 3 * RIG_HEARTBEAT);
    for (uint32_t p = 2; p <= 4; p++) {
        mute_both(rig, 1, p, true);
    }
    members_promote(rig, 1, 5);
    rig_settle(rig);
    assert_int_equal(rig_members(rig, 5, UINT64_MAX).number, 2);
    rig->durability = RIG_ACK; /* 3 and 4 do not say yet that they hold the first entry of 2 */
    rig->nodes[3].hold_ack = true;
    rig->nodes[4].hold_ack = true;
    members_mute(rig, 2, 5, true);
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_LEADER);
    assert_int_equal(rig_view(rig, 2)->members.number, 1);
    assert_true(rig_view(rig, 2)->members_committed);
    assert_int_equal(rig_change(rig, 2, 0x1c, BIT(5)), -LKS_EBUSY);
    rig->nodes[3].hold_ack = false;
    rig->nodes[4].hold_ack = false;
    rig_settle(rig);
    assert_int_equal(rig_change(rig, 2, 0x1c, BIT(5)), 0);
    for (uint32_t p = 2; p <= 4; p++) {
        mute_both(rig, 1, p, false);
    }
    members_mute(rig, 2, 5, false);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 2);
    assert_true(rig_view(rig, 1)->removed);
    assert_int_equal(rig_members(rig, 5, UINT64_MAX).voters, 0x1c);
    rig_free(rig);
}

static void elect__two_changes_behind__counts_by_the_adopted_members(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    rig->nodes[3].paused = true; /* 3 knows the bootstrap members alone, and 1 as its leader */
    rig->nodes[1].sides[3].hold_path = true;
    members_join(rig, 1, 4);
    members_join(rig, 1, 5);
    rig_crash(rig, 1);
    for (uint32_t p = 4; p <= 5; p++) {
        members_mute(rig, 3, p, true);
        members_mute(rig, p, 2, true);
    }
    rig->nodes[3].paused = false;
    golden_begin(rig, GOLDEN_NODE(3));
    golden_say(rig, "3 asks 2, a majority of the members that it knows");
    rig_coup(rig, 3);
    rig_settle(rig);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_ADOPTING);
    assert_int_equal(rig_view(rig, 3)->members.voters, 0x3e);
    golden_say(rig, "4 is heard, which 3 had not known: with 2 and 3 a majority of five");
    members_mute(rig, 3, 4, false);
    rig_advance(rig, RIG_HEARTBEAT);
    golden_end(rig, "members-adopted",
               "a candidate that adopts younger members needs a majority of those");
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig_view(rig, 3)->members.voters, 0x3e);
    rig_free(rig);
}

/* Among three bootstrap voters the proof of an older leader needs the candidate itself; once
 * members have changed it may not. */
static void elect__three_voters_that_changed__grants_are_seen_to_stand(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    rig_crash(rig, 1);
    rig->nodes[2].sides[3].hold_path = true;
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_ADOPTING);
    assert_true(rig_view(rig, 2)->peers[3].path_open);
    rig->nodes[2].sides[3].hold_path = false;
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    rig_free(rig);
}

static void elect__adopted_log_names_it_no_voter__gives_up(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_1234);
    rig->nodes[4].paused = true;
    rig->nodes[1].sides[4].hold_path = true;
    members_remove(rig, 1, 4);
    rig->nodes[2].hold_word = true; /* 2 and 3 hold the removal, and do not know it committed */
    rig->nodes[3].hold_word = true;
    rig_settle(rig);
    rig_crash(rig, 1);
    rig->nodes[4].paused = false;
    rig_coup(rig, 4);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 4)->role, LKS_CORE_FOLLOWER);
    assert_int_equal(rig_view(rig, 4)->members.voters, VOTERS_123);
    rig->nodes[2].hold_word = false;
    rig->nodes[3].hold_word = false;
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_true(rig_leader(rig) == 2 || rig_leader(rig) == 3);
    assert_true(rig_view(rig, 4)->removed);
    rig_free(rig);
}

/* Its own log still calls it a learner; without its vote the other is no majority of three. */
static void vote__promoted_learner_that_does_not_know_it__grants(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_12);
    members_add(rig, 1, 3);
    rig_advance(rig, 3 * RIG_HEARTBEAT);
    rig->nodes[1].sides[3].hold_path = true;
    members_promote(rig, 1, 3);
    rig_settle(rig);
    assert_true(rig_view(rig, 1)->members_committed);
    assert_int_equal(rig_members(rig, 3, UINT64_MAX).number, 1);
    rig_crash(rig, 1);
    rig_advance(rig, 6 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 2);
    assert_int_equal(rig_view(rig, 2)->members.voters, VOTERS_123);
    rig_free(rig);
}

/* 2 has the promotion in its ring and has not looked since its grant: it knows {1,2}. */
static void prevote__members_not_heard_of__stands_in_the_end(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_12);
    members_add(rig, 1, 3);
    rig_advance(rig, 3 * RIG_HEARTBEAT);
    rig->nodes[2].hold_word = true;
    rig->nodes[3].hold_word = true;
    members_promote(rig, 1, 3);
    rig_settle(rig);
    rig_crash(rig, 1);
    assert_int_equal(rig_view(rig, 2)->members.number, 1);
    rig_advance(rig, 8 * RIG_TIMEOUT);
    assert_int_not_equal(rig_leader(rig), 0);
    assert_int_equal(rig_view(rig, rig_leader(rig))->members.voters, VOTERS_123);
    rig_free(rig);
}

/* 3 was a voter, was removed, and is a learner with a fresh journal; 2 has slept through it all. */
static void vote__id_used_again__refuses_a_candidate_of_old_members(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    rig->nodes[2].paused = true;
    rig->nodes[1].sides[2].hold_path = true;
    members_join(rig, 1, 4);
    members_join(rig, 1, 5);
    members_remove(rig, 1, 3);
    rig_advance(rig, RIG_HEARTBEAT);
    rig_lose_journal(rig, 3);
    members_come_back(rig, 3);
    members_add(rig, 1, 3);
    rig_advance(rig, 4 * RIG_HEARTBEAT);
    assert_false(rig->nodes[3].amnesiac);
    assert_false(rig_view(rig, 3)->removed);
    rig_block(rig, 2, 1);
    rig_block(rig, 2, 4);
    rig_block(rig, 2, 5);
    rig->nodes[2].paused = false;
    golden_begin(rig, GOLDEN_NODE(2) | GOLDEN_NODE(3));
    rig_coup(rig, 2); /* by {1,2,3}, of which it reaches 3 */
    rig_settle(rig);
    golden_end(rig, "vote-of-no-voter",
               "a replica that committed members call no voter refuses a candidate of older ones");
    assert_int_equal(rig_view(rig, 3)->grant.peer, 1);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_CANDIDATE);
    rig_free(rig);
}

static const struct lks_core_event *request_of_3(struct lks_message *message, uint32_t number)
{
    static struct lks_core_event event;
    *message = (struct lks_message){.kind = LKS_MESSAGE_VOTE_REQUEST,
                                    .term = 9,
                                    .incarnation = 9,
                                    .request = 99,
                                    .members_number = number};
    event = (struct lks_core_event){.kind = LKS_EVENT_MESSAGE, .peer = 3, .message = message};
    return &event;
}

static void vote__removed_candidate__is_refused_and_told(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(3, VOTERS_123);
    rig_crash(rig, 3);
    rig_settle(rig);
    members_remove(rig, 1, 3);
    rig_append(rig, 1, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    members_come_back(rig, 3);
    rig_crash(rig, 3);
    rig_settle(rig);
    struct lks_message message;
    rig->nodes[2].hold_local = true;
    rig_event(rig, 2, request_of_3(&message, 0)); /* as if sent before it crashed */
    assert_int_equal(rig_view(rig, 2)->grant.peer, 1);
    rig_event(rig, 1, request_of_3(&message, 0));
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    rig->nodes[2].hold_local = false;
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_int_equal(rig_view(rig, 1)->term, 1);
    rig_free(rig);
}

static void change__leader_dies_and_it_reached_a_follower__is_adopted(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    rig->nodes[1].sides[3].hold_path = true;
    rig->nodes[2].hold_word = true;
    members_add(rig, 1, 4);
    rig_settle(rig);
    rig_crash(rig, 1);
    rig->nodes[2].hold_word = false;
    rig_advance(rig, 6 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_int_not_equal(leader, 0);
    assert_int_equal(rig_view(rig, leader)->members.learners, BIT(4));
    assert_true(rig_view(rig, leader)->members_committed);
    assert_true(rig_view(rig, leader)->peers[4].counted);
    rig_free(rig);
}

static void change__leader_dies_and_nobody_has_it__is_overwritten(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[1].sides[3].hold_path = true;
    members_remove(rig, 1, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->members.number, 1);
    rig_crash(rig, 1);
    rig_advance(rig, 6 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_int_not_equal(leader, 0);
    assert_int_equal(rig_view(rig, leader)->members.number, 0);
    rig->nodes[1].sides[2].hold_path = false;
    rig->nodes[1].sides[3].hold_path = false;
    members_come_back(rig, 1); /* finds its change in its log, and hands the ring over */
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_int_equal(rig_members(rig, 1, UINT64_MAX).number, 0);
    members_add(rig, leader, 4); /* another first change */
    rig_append(rig, leader, 1);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, 1)->members.number, 1);
    assert_int_equal(rig_view(rig, 1)->members.voters, VOTERS_123);
    assert_int_equal(rig_view(rig, 1)->members.learners, BIT(4));
    rig_free(rig);
}

/* Four, one being removed, one down: the three that are left serve, whoever has the removal. */
static void change__removal_reached_only_the_removed__is_found_there(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_1234);
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[1].sides[3].hold_path = true;
    members_remove(rig, 1, 4);
    rig_settle(rig);
    assert_int_equal(rig_members(rig, 4, UINT64_MAX).number, 1);
    rig_crash(rig, 1);
    rig_advance(rig, 10 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_true(leader == 2 || leader == 3);
    assert_int_equal(rig_view(rig, leader)->members.voters, VOTERS_123);
    rig_free(rig);
}

/* 3 was a voter, was removed (2), is back as a learner (3), with a new journal; the log from its
 * base on begins where it was a voter still. 4 removes it again, but stands only in the logs of 1
 * and 3. Then 2 and 3 start anew, 2 leads instead of 1, and takes 4 over. Nothing commits yet. */
static struct rig *led_by_2_that_replays(void)
{
    struct rig *rig = members_cluster(4, VOTERS_123);
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    const uint64_t first = rig_view(rig, 1)->members.end_offset / RIG_ENTRY;
    rig_snapshot(rig, 1, first);
    members_remove(rig, 1, 3);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_true(rig_view(rig, 3)->removed);
    rig_lose_journal(rig, 3);
    rig_settle(rig);
    members_add(rig, 1, 3);
    rig_settle(rig);
    members_come_back(rig, 3);
    rig_advance(rig, 4 * RIG_HEARTBEAT);
    assert_false(rig_view(rig, 3)->amnesiac);
    assert_false(rig_view(rig, 3)->removed);
    assert_int_equal(rig_view(rig, 3)->base.index, first);
    rig->nodes[1].sides[2].hold_path = true;
    members_remove(rig, 1, 3);
    rig_settle(rig);
    rig_crash(rig, 2);
    rig_crash(rig, 3);
    const struct lks_core_event unfit = {.kind = LKS_EVENT_FITNESS, .status = -ENOSPC};
    rig_event(rig, 1, &unfit);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    members_come_back(rig, 3);
    members_come_back(rig, 2);
    rig->nodes[2].hold_work = 1 + LKS_EFFECT_PERSIST_LOG;
    rig_advance(rig, 3 * RIG_TIMEOUT);
    return rig;
}

static void told__members_older_than_one_that_has_committed__is_not_removed(void **state)
{
    (void)state;
    struct rig *rig = led_by_2_that_replays();
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_LEADER);
    assert_int_equal(rig_view(rig, 2)->members.number, 4);
    assert_int_equal(rig->nodes[2].members_applied, 3); /* and so did not speak of 2 */
    assert_int_equal(rig_view(rig, 3)->members.number, 4);
    assert_false(rig_view(rig, 3)->removed);
    const struct lks_message message = {.kind = LKS_MESSAGE_PREVOTE_REPLY,
                                        .flags = LKS_MESSAGE_NOT_MEMBER,
                                        .members_number = 2};
    const struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = 4, .message = &message};
    rig_event(rig, 3, &event); /* (a replica that knows no younger ones might) */
    assert_false(rig_view(rig, 3)->removed);
    rig->nodes[2].hold_work = 0;
    rig_advance(rig, RIG_HEARTBEAT);
    assert_true(rig_view(rig, 2)->members_committed);
    assert_true(rig_view(rig, 3)->removed);
    rig_free(rig);
}

/* 2 replays three changes while a fourth stands in its log: it is silent about 3, which the first
 * of them removed, until it has come to the last that has committed. */
static void told__by_one_that_replays__hears_it_in_the_end(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    rig_block(rig, 1, 3);
    rig_crash(rig, 3);
    rig_settle(rig);
    members_remove(rig, 1, 3);
    rig_settle(rig);
    members_add(rig, 1, 4);
    rig_settle(rig);
    members_remove(rig, 1, 4);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    rig_block(rig, 3, 4);
    rig_block(rig, 3, 5);
    rig->nodes[1].sides[2].hold_path = true;
    members_add(rig, 1, 5);
    rig_settle(rig);
    rig_crash(rig, 2);
    const struct lks_core_event unfit = {.kind = LKS_EVENT_FITNESS, .status = -ENOSPC};
    rig_event(rig, 1, &unfit);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    members_come_back(rig, 2);
    members_come_back(rig, 3);
    assert_int_equal(rig->nodes[2].members_applied, 0);
    assert_false(rig_view(rig, 3)->removed);
    rig->nodes[2].sides[3].hold_ctl = true; /* whatever 3 asks */
    rig->nodes[2].hold_work = 1 + LKS_EFFECT_PERSIST_LOG;
    rig_advance(rig, 3 * RIG_TIMEOUT);
    assert_int_equal(rig_view(rig, 2)->members.number, 4);
    assert_int_equal(rig->nodes[2].members_applied, 3);
    assert_true(rig_view(rig, 3)->removed);
    rig_free(rig);
}

/* 3 was removed, and added again; 2 has applied no more than the removal when 3 asks for votes. */
static void refused__by_members_that_are_outdated__is_not_removed(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(5, VOTERS_123);
    rig_crash(rig, 3);
    rig_settle(rig);
    members_remove(rig, 1, 3);
    rig_settle(rig);
    const uint64_t removal = rig_view(rig, 1)->members.end_offset;
    members_add(rig, 1, 3);
    rig_settle(rig);
    members_add(rig, 1, 4);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    rig_crash(rig, 1);
    rig_crash(rig, 2);
    members_come_back(rig, 2);
    rig->nodes[2].word = removal;
    rig_settle(rig);
    assert_int_equal(rig->nodes[2].members_applied, 1);
    assert_int_equal(rig_view(rig, 2)->members.number, 3);
    members_come_back(rig, 3);
    rig_advance(rig, 3 * RIG_TIMEOUT);
    assert_false(rig_view(rig, 3)->removed);
    members_come_back(rig, 1);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_equal(rig_view(rig, 3)->members.number, 3);
    assert_false(rig_view(rig, 3)->removed);
    rig_free(rig);
}

static void learner__without_a_leader__never_stands(void **state)
{
    (void)state;
    struct rig *rig = members_cluster(4, VOTERS_123);
    members_add(rig, 1, 4);
    rig_advance(rig, 3 * RIG_HEARTBEAT);
    for (uint32_t p = 1; p <= 3; p++) {
        rig_crash(rig, p);
    }
    rig_advance(rig, 10 * RIG_TIMEOUT);
    assert_int_equal(rig_view(rig, 4)->term, 1);
    rig_crash(rig, 4);
    members_come_back(rig, 4);
    rig_advance(rig, 10 * RIG_TIMEOUT);
    assert_int_equal(rig_view(rig, 4)->role, LKS_CORE_FOLLOWER);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    golden_init(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check__two_leaders_change_the_same_members__second_waits_for_own_term),
        cmocka_unit_test(elect__two_changes_behind__counts_by_the_adopted_members),
        cmocka_unit_test(elect__three_voters_that_changed__grants_are_seen_to_stand),
        cmocka_unit_test(elect__adopted_log_names_it_no_voter__gives_up),
        cmocka_unit_test(vote__promoted_learner_that_does_not_know_it__grants),
        cmocka_unit_test(prevote__members_not_heard_of__stands_in_the_end),
        cmocka_unit_test(vote__id_used_again__refuses_a_candidate_of_old_members),
        cmocka_unit_test(vote__removed_candidate__is_refused_and_told),
        cmocka_unit_test(change__leader_dies_and_it_reached_a_follower__is_adopted),
        cmocka_unit_test(change__leader_dies_and_nobody_has_it__is_overwritten),
        cmocka_unit_test(change__removal_reached_only_the_removed__is_found_there),
        cmocka_unit_test(told__members_older_than_one_that_has_committed__is_not_removed),
        cmocka_unit_test(told__by_one_that_replays__hears_it_in_the_end),
        cmocka_unit_test(refused__by_members_that_are_outdated__is_not_removed),
        cmocka_unit_test(learner__without_a_leader__never_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
