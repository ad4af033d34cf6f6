/*
 * Installing a snapshot: a follower that is too far behind, a candidate below the best grantor's
 * base, and everything that may come between. Scenarios on the core rig, rings of 16 entries.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SLOTS 16u

static struct rig *led_by_1(uint32_t n, enum rig_durability durability)
{
    const struct rig_options options = {.n = n, .durability = durability, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig->slots = SLOTS;
    rig_start_all(rig);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

/* The others go on without 3 until their rings no longer hold what it lacks: 3 has 2 entries, they
 * have 18, and bases behind 12. */
static void leave_behind(struct rig *rig)
{
    rig_append(rig, 1, 1);
    rig_settle(rig);
    rig_crash(rig, 3);
    for (uint64_t base = 4; base <= 12; base += 4) {
        for (uint32_t i = 0; i < 4; i++) {
            rig_append(rig, 1, 1);
            rig_settle(rig);
        }
        for (uint32_t p = 1; p <= rig->n; p++) {
            if (p != 3) {
                rig_snapshot(rig, p, base);
            }
        }
    }
    rig_append(rig, 1, 4);
    rig_settle(rig);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_index(rig, 1), 18);
}

static void come_back(struct rig *rig, uint32_t n)
{
    rig_start(rig, n);
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig_connect(rig, n, p);
    }
    rig_settle(rig);
}

static void until_installing(struct rig *rig)
{
    rig->nodes[3].hold_install = true;
    come_back(rig, 3);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_true(rig_view(rig, 3)->installing);
    assert_true(rig_view(rig, 1)->peers[3].installing);
}

static void assert_caught_up(struct rig *rig, uint32_t leader)
{
    rig_advance(rig, 4 * RIG_HEARTBEAT);
    for (uint32_t p = 1; p <= rig->n; p++) {
        assert_int_equal(rig_index(rig, p), rig_index(rig, leader));
        assert_int_equal(rig_view(rig, p)->commit_offset, rig_view(rig, leader)->tail.offset);
    }
    assert_true(rig_view(rig, leader)->peers[leader == 3 ? 2 : 3].counted);
}

static void install__too_far_behind__snapshot_then_the_rest_of_the_log(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    come_back(rig, 3);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    golden_end(rig, "install",
               "a follower below the leader's base installs under its grant, then is written to");
    assert_int_equal(rig_view(rig, 3)->base.index, 12);
    assert_int_equal(rig->installs, 1);
    assert_caught_up(rig, 1);
    rig_free(rig);
}

static void install__while_it_lasts__nothing_is_written_or_told(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_installing(rig);
    rig_append(rig, 1, 1);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_int_equal(rig_index(rig, 3), 2);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 2 * RIG_ENTRY);
    assert_int_equal(rig_view(rig, 1)->keep_offset, 12 * RIG_ENTRY);
    assert_int_equal(rig_view(rig, 1)->commit_offset, 19 * RIG_ENTRY); /* by 1 and 2 */
    rig->nodes[3].hold_install = false;
    assert_caught_up(rig, 1);
    rig_free(rig);
}

static void say_install(struct rig *rig, uint32_t from, const struct lks_message *message)
{
    const struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = from, .message = message};
    rig_event(rig, 3, &event);
}

static void install__not_the_present_holder__is_ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    const struct lks_message good = {
        .kind = LKS_MESSAGE_INSTALL,
        .term = rig_view(rig, 3)->grant.term,
        .incarnation = rig_view(rig, 3)->grant.incarnation,
        .request = 100,
        .base = {.index = 1, .term = 1, .offset = RIG_ENTRY},
        .key = {rig_view(rig, 3)->grant.number, 1},
    };
    struct lks_message message = good;
    say_install(rig, 2, &message);
    message.term--;
    say_install(rig, 1, &message);
    message = good;
    message.incarnation++;
    say_install(rig, 1, &message);
    message = good;
    message.key[0]--; /* of its grant before */
    say_install(rig, 1, &message);
    assert_false(rig_view(rig, 3)->installing);
    say_install(rig, 1, &good);
    assert_true(rig_view(rig, 3)->installing);
    rig_free(rig);
}

static void installed__not_the_answer_waited_for__is_ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_installing(rig);
    const struct lks_message good = {
        .kind = LKS_MESSAGE_INSTALLED,
        .term = rig_view(rig, 3)->grant.term,
        .incarnation = rig_view(rig, 3)->grant.incarnation,
        .request = 1000, /* no such number was given */
        .base = rig->nodes[1].snapshot,
        .tail = rig->nodes[1].snapshot,
        .commit_offset = rig->nodes[1].snapshot.offset,
        .key = {rig_view(rig, 3)->grant.number},
    };
    struct lks_core_event event = {.kind = LKS_EVENT_MESSAGE, .peer = 3, .message = &good};
    rig_event(rig, 1, &event);
    for (uint64_t request = 1; request <= 40; request++) { /* its own among them */
        for (uint32_t i = 0; i < 3; i++) {
            struct lks_message message = good;
            message.request = request;
            message.key[0] -= i == 0 ? 1 : 0; /* of its grant before */
            message.term -= i == 1 ? 1 : 0;
            message.incarnation += i == 2 ? 1 : 0;
            event.message = &message;
            rig_event(rig, 1, &event);
        }
    }
    assert_true(rig_view(rig, 1)->peers[3].installing);
    rig->nodes[3].hold_install = false;
    assert_caught_up(rig, 1);
    rig_free(rig);
}

static void install__said_twice__is_done_once_and_answered_twice(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_installing(rig);
    rig->nodes[1].sides[3].hold_ctl = true; /* the answer is late */
    rig_advance(rig, 12 * RIG_TIMEOUT);     /* it is said again */
    assert_int_equal(rig->nodes[3].install.from, 12 * RIG_ENTRY);
    rig->nodes[3].hold_install = false;
    rig_settle(rig);
    rig_advance(rig, 12 * RIG_TIMEOUT);
    assert_int_equal(rig->installs, 1);
    rig->nodes[1].sides[3].hold_ctl = false;
    assert_caught_up(rig, 1);
    assert_int_equal(rig->installs, 1);
    rig_free(rig);
}

static void install__cut_short_behind_the_manifest__the_base_follows_it(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_installing(rig);
    rig->nodes[3].snapshot = rig->nodes[1].snapshot; /* the manifest is durable ... */
    rig_power_cut(rig, 3, false);                    /* ... the base is not */
    assert_int_equal(rig->nodes[3].base.index, 0);
    rig->nodes[3].hold_install = false;
    rig_settle(rig);
    golden_begin(rig, GOLDEN_NODE(3));
    come_back(rig, 3);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    golden_end(rig, "install-cut-short",
               "the log begins at the lowest point of the manifest, whatever the base says");
    assert_int_equal(rig->installs, 0);
    assert_caught_up(rig, 1);
    rig_free(rig);
}

static void install__a_newer_candidate_asks__ends_before_the_ring_is_handed_over(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_installing(rig);
    golden_begin(rig, GOLDEN_NODE(3));
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig->permission[3][2], 0);
    golden_say(rig, "the installation ends: not cut short, as the manifest was written");
    rig->nodes[3].install.written = true;
    rig->nodes[3].snapshot = rig->nodes[1].snapshot;
    rig->nodes[3].hold_install = false;
    rig_settle(rig);
    golden_end(rig, "install-superseded",
               "own installations end before the ring is handed to anybody");
    assert_int_equal(rig_leader(rig), 2);
    assert_caught_up(rig, 2);
    rig_free(rig);
}

static void install__same_leader_renews__is_asked_again_under_the_new_grant(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_installing(rig);
    const uint64_t grant = rig_view(rig, 3)->grant.number;
    rig_break(rig, 1, 3);
    rig_settle(rig);
    rig_connect(rig, 1, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 3)->grant.number, grant); /* waits for the end */
    rig->nodes[3].hold_install = false;
    assert_caught_up(rig, 1);
    assert_int_not_equal(rig_view(rig, 3)->grant.number, grant);
    assert_int_equal(rig->installs, 1); /* the first was cancelled */
    rig_free(rig);
}

static void install__donor_fails__another_is_named(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    rig_block(rig, 2, 3); /* the first donor named is 2: it spares the leader */
    rig->nodes[3].hold_install = true;
    come_back(rig, 3);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_int_equal(rig->nodes[3].install.peer, 2);
    rig->nodes[3].hold_install = false;
    rig_advance(rig, 4 * RIG_HEARTBEAT);
    assert_int_equal(rig->installs, 1);
    assert_int_equal(rig->nodes[3].install.peer, 1);
    assert_caught_up(rig, 1);
    rig_free(rig);
}

static void install__amnesiac__counts_by_the_same_rule_as_before(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    rig_lose_journal(rig, 3);
    rig->nodes[1].sides[2].hold_path = true; /* the proof without it cannot commit */
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    come_back(rig, 3);
    rig_advance(rig, 3 * RIG_HEARTBEAT);
    assert_int_equal(rig->installs, 1);
    assert_int_equal(rig_index(rig, 3), rig_index(rig, 1));
    assert_true(rig_view(rig, 3)->amnesiac);
    assert_false(rig_view(rig, 1)->peers[3].counted);
    golden_say(rig, "the write that proves the leader's place completes on 2");
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "amnesia-install",
               "an amnesiac that installed counts only when it holds the leader's whole log");
    assert_false(rig_view(rig, 3)->amnesiac);
    assert_caught_up(rig, 1);
    rig_free(rig);
}

/* 1 is gone; 3 lacks what 2 no longer has in its ring, and stands for election. */
static void until_candidate_installs(struct rig *rig)
{
    rig_crash(rig, 1);
    rig_settle(rig);
    rig->nodes[3].hold_install = true;
    come_back(rig, 3);
    rig->nodes[2].paused = true;
    for (uint32_t i = 0; i < 60 && rig_view(rig, 3)->role == LKS_CORE_FOLLOWER; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    const struct lks_message accepted = {
        .kind = LKS_MESSAGE_PREVOTE_REPLY,
        .flags = LKS_MESSAGE_ACCEPTED,
        .request = 1,
    };
    const struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = 2, .message = &accepted};
    rig_event(rig, 3, &event); /* (2, whose log is better, would not have yielded) */
    rig->nodes[2].paused = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_ADOPTING);
    assert_true(rig_view(rig, 3)->installing);
}

static void adopt__below_the_best_grantors_base__installs_then_reads(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    golden_begin(rig, GOLDEN_NODE(3));
    until_candidate_installs(rig);
    rig->nodes[3].hold_install = false;
    rig_settle(rig);
    golden_end(rig, "candidate-installs",
               "a candidate below the best log's base takes its snapshot, then reads on");
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig_view(rig, 3)->base.index, 12);
    assert_int_equal(rig_index(rig, 3), 19);
    come_back(rig, 1);
    assert_caught_up(rig, 3);
    rig_free(rig);
}

static void adopt__grantor_dies_while_its_snapshot_is_read__chooses_again(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    until_candidate_installs(rig);
    rig_crash(rig, 2);
    rig->nodes[3].hold_install = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_ADOPTING);
    assert_int_equal(rig_index(rig, 3), 2);
    come_back(rig, 1); /* has the log, too */
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig->installs, 1);
    assert_int_equal(rig_leader(rig), 3);
    come_back(rig, 2);
    assert_caught_up(rig, 3);
    rig_free(rig);
}

/* The candidate's log reaches the grantor's base, but its own ring has no room for the rest. */
static void adopt__own_base_too_low_for_the_log__keeps_what_follows_the_snapshot(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    for (uint32_t i = 0; i < 9; i++) {
        rig_append(rig, 1, 1);
        rig_settle(rig);
    }
    rig_crash(rig, 3); /* it has 10 entries, from the first one on */
    rig_snapshot(rig, 1, 8);
    rig_snapshot(rig, 2, 8);
    for (uint32_t i = 0; i < 8; i++) {
        rig_append(rig, 1, 1);
        rig_settle(rig);
    }
    until_candidate_installs(rig);
    rig->nodes[3].hold_install = false;
    rig->nodes[3].hold_read = true;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 3)->base.index, 8);
    assert_int_equal(rig_view(rig, 3)->tail.index, 10); /* not read again */
    assert_int_equal(rig->nodes[3].read.effect.from, 10 * RIG_ENTRY);
    rig->nodes[3].hold_read = false;
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig_index(rig, 3), 19);
    rig_free(rig);
}

static void elected__grantor_below_the_base__installs_after_the_hand_over(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3, RIG_FLUSH);
    leave_behind(rig);
    rig_crash(rig, 1);
    rig_settle(rig);
    come_back(rig, 3);
    rig_elect(rig, 2); /* 3 is its majority: nothing commits before it has installed */
    assert_int_equal(rig->installs, 1);
    assert_int_equal(rig_index(rig, 3), 19);
    rig_free(rig);
}

/* 2 leads by the grants of 3 and 4, and 3 installs, with no end. 5, which could do without it, has
 * promised the same term to itself. */
static void elected__grantor_cannot_install__term_is_left_for_who_promised_it(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(5, RIG_FLUSH);
    leave_behind(rig);
    for (uint32_t p = 2; p <= 4; p++) {
        rig->nodes[p].sides[5].hold_ctl = true;
        rig->nodes[5].sides[p].hold_ctl = true;
    }
    rig_crash(rig, 1);
    rig_coup(rig, 2);
    rig_coup(rig, 5);
    rig->nodes[3].hold_install = true;
    come_back(rig, 3);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_LEADER);
    assert_int_equal(rig_view(rig, 2)->term, 2);
    assert_true(rig_view(rig, 2)->peers[3].installing);
    assert_int_equal(rig->nodes[5].promise_term, 2);
    for (uint32_t p = 2; p <= 4; p++) {
        rig->nodes[p].sides[5].hold_ctl = false;
        rig->nodes[5].sides[p].hold_ctl = false;
    }
    rig_advance(rig, RIG_TIMEOUT / 2);
    assert_int_equal(rig_view(rig, 2)->term, 2); /* it may commit yet */
    assert_false(rig_view(rig, 2)->established);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_true(rig_view(rig, 3)->installing);
    assert_int_equal(rig_leader(rig), 2);
    assert_int_equal(rig_view(rig, 2)->term, 3);
    rig->nodes[3].hold_install = false;
    come_back(rig, 1);
    assert_caught_up(rig, 2);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(install__too_far_behind__snapshot_then_the_rest_of_the_log),
        cmocka_unit_test(install__while_it_lasts__nothing_is_written_or_told),
        cmocka_unit_test(install__not_the_present_holder__is_ignored),
        cmocka_unit_test(installed__not_the_answer_waited_for__is_ignored),
        cmocka_unit_test(install__said_twice__is_done_once_and_answered_twice),
        cmocka_unit_test(install__cut_short_behind_the_manifest__the_base_follows_it),
        cmocka_unit_test(install__a_newer_candidate_asks__ends_before_the_ring_is_handed_over),
        cmocka_unit_test(install__same_leader_renews__is_asked_again_under_the_new_grant),
        cmocka_unit_test(install__donor_fails__another_is_named),
        cmocka_unit_test(install__amnesiac__counts_by_the_same_rule_as_before),
        cmocka_unit_test(adopt__below_the_best_grantors_base__installs_then_reads),
        cmocka_unit_test(adopt__grantor_dies_while_its_snapshot_is_read__chooses_again),
        cmocka_unit_test(adopt__own_base_too_low_for_the_log__keeps_what_follows_the_snapshot),
        cmocka_unit_test(elected__grantor_below_the_base__installs_after_the_hand_over),
        cmocka_unit_test(elected__grantor_cannot_install__term_is_left_for_who_promised_it),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
