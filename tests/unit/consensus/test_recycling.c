/*
 * Rings that are written anew: how far a leader may append and write, for whom, and what happens
 * when a ring is full. Scenarios on the core rig, rings of 16 entries.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SLOTS 16u
#define ROOM 10u /* of them for commands */

static struct rig *led_by_1(void)
{
    const struct rig_options options = {.n = 3, .durability = RIG_FLUSH, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig->slots = SLOTS;
    rig_start_all(rig);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

static void fill(struct rig *rig, uint32_t n)
{
    while (rig_append(rig, n, 1)) {
        rig_settle(rig);
    }
}

static uint64_t written(const struct rig *rig, uint32_t p)
{
    return rig_view(rig, 1)->peers[p].written_offset / RIG_ENTRY;
}

static void append__ring_full__goes_on_when_the_base_has_moved(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    assert_int_equal(rig_index(rig, 1), ROOM);
    assert_int_equal(rig_view(rig, 1)->append_limit, SLOTS * RIG_ENTRY);
    rig_snapshot(rig, 1, 8);
    assert_int_equal(rig_view(rig, 1)->base.index, 8);
    assert_int_equal(rig_view(rig, 1)->append_limit, (8 + SLOTS) * RIG_ENTRY);
    fill(rig, 1);
    assert_int_equal(rig_index(rig, 1), 8 + ROOM);
    rig_free(rig);
}

static void write__peer_still_needs_its_ring__waits_for_its_base(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    rig_snapshot(rig, 1, 6);
    rig_snapshot(rig, 2, 4);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(3));
    fill(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_index(rig, 1), 6 + ROOM);
    assert_int_equal(written(rig, 2), 4 + ROOM);
    assert_int_equal(written(rig, 3), ROOM);
    assert_int_equal(rig_view(rig, 1)->keep_offset, ROOM * RIG_ENTRY);
    golden_say(rig, "3 takes a snapshot, and publishes its base");
    rig_snapshot(rig, 3, 8);
    rig_advance(rig, RIG_HEARTBEAT);
    golden_end(rig, "peer-room", "nothing that a follower may still need is overwritten there");
    assert_int_equal(written(rig, 3), 6 + ROOM);
    rig_free(rig);
}

static void append__a_write_in_flight__keeps_what_it_is_read_from(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 4);
    rig_settle(rig);
    rig_snapshot(rig, 1, 5);
    assert_int_equal(rig_view(rig, 1)->base.index, 5);
    /* The write of entries 2..5 to 3 is still in flight. */
    assert_int_equal(rig_view(rig, 1)->append_limit, (1 + SLOTS) * RIG_ENTRY);
    rig->nodes[3].paused = true; /* it gives no new grant */
    rig_advance(rig, 60 * RIG_TIMEOUT);
    assert_false(rig_view(rig, 1)->peers[3].path_open); /* given up, and yet in flight */
    assert_int_equal(rig_view(rig, 1)->append_limit, (1 + SLOTS) * RIG_ENTRY);
    rig->nodes[3].paused = false;
    rig_break(rig, 1, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->append_limit, (5 + SLOTS) * RIG_ENTRY);
    rig_free(rig);
}

static void base__passes_what_a_follower_lacks__it_is_granted_anew(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig->writes_max = 1;
    rig->nodes[1].sides[3].hold_path = true;
    fill(rig, 1);
    const uint64_t grant = rig->permission[3][1];
    assert_true(written(rig, 3) < ROOM);
    assert_int_equal(rig_view(rig, 1)->keep_offset, RIG_ENTRY);
    rig_snapshot(rig, 1, ROOM);
    assert_false(rig_view(rig, 1)->peers[3].path_open);
    rig->nodes[1].sides[3].hold_path = false;
    rig_advance(rig, 4 * RIG_HEARTBEAT);
    assert_int_not_equal(rig->permission[3][1], grant);
    assert_int_equal(written(rig, 3), ROOM);
    rig_free(rig);
}

/* Nothing tells it what it may give up before the term's first entry has committed. */
static void elected__a_followers_ring_is_full__it_installs_first(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig->nodes[3].hold_word = true; /* it does not know how much has committed */
    fill(rig, 1);
    rig_snapshot(rig, 1, 9);
    rig_snapshot(rig, 2, 9);
    rig->nodes[1].sides[3].hold_path = true;
    fill(rig, 1);
    rig_crash(rig, 1);
    rig->nodes[3].word = 0; /* (nor will it) */
    rig_settle(rig);
    assert_int_equal(rig_index(rig, 3), ROOM);
    assert_int_equal(rig_index(rig, 2), 9 + ROOM);
    golden_begin(rig, GOLDEN_NODE(3));
    rig_elect(rig, 2);
    golden_end(rig, "room-for-the-term",
               "a ring without room for a term's first entry gets it by a snapshot");
    assert_int_equal(rig_view(rig, 3)->base.index, 9);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_index(rig, 3), 9 + ROOM + 1);
    rig_free(rig);
}

/* The lights go out; 1, which alone knows how much had committed, does not come back. */
static void elected__nobody_knows_the_commit__the_reserve_has_room(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    rig_snapshot(rig, 1, 9);
    fill(rig, 1);
    assert_int_equal(rig_index(rig, 1), 9 + ROOM);
    assert_int_equal(written(rig, 2), ROOM); /* not 16: as in its own ring */
    for (uint32_t p = 1; p <= 3; p++) {
        rig_power_cut(rig, p, true);
    }
    rig_start(rig, 2);
    rig_start(rig, 3);
    rig_connect(rig, 2, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->commit_offset, 0);
    rig_elect(rig, 2);
    assert_int_equal(rig_index(rig, 2), ROOM + 1);
    rig_free(rig);
}

/* Commands behind a no-op that has not committed yet: the followers' reserve is not for them. */
static void write__commands_before_the_noop_commits__the_reserve_is_left(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    rig_snapshot(rig, 1, 9);
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    rig->nodes[2].sides[1].hold_ctl = rig->nodes[3].sides[1].hold_ctl = true;
    rig_coup(rig, 1);
    rig_settle(rig);
    rig->nodes[1].hold_local = true; /* its vote is cast: only the no-op is still to come */
    rig->nodes[2].sides[1].hold_ctl = rig->nodes[3].sides[1].hold_ctl = false;
    rig_settle(rig);
    rig->nodes[1].sides[2].hold_done = rig->nodes[1].sides[3].hold_done = true;
    rig->nodes[1].hold_local = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    fill(rig, 1);
    assert_false(rig_view(rig, 1)->established);
    assert_int_equal(rig_index(rig, 1), 9 + ROOM);
    assert_int_equal(written(rig, 2), ROOM + 2); /* with two no-ops; not 16 */
    rig->nodes[1].sides[2].hold_done = rig->nodes[1].sides[3].hold_done = false;
    rig_settle(rig);
    for (uint32_t p = 1; p <= 3; p++) {
        rig_power_cut(rig, p, true);
    }
    rig_start(rig, 2);
    rig_start(rig, 3);
    rig_connect(rig, 2, 3);
    rig_settle(rig);
    rig_elect(rig, 2);
    assert_int_equal(rig_index(rig, 2), ROOM + 3);
    rig_free(rig);
}

/* The same, when 1 has led once more before, with a log that nearly fills the others' rings: they
 * take its snapshots, so that their reserve is left for the term after that. */
static void elected__log_would_fill_a_followers_reserve__it_installs_first(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    rig_snapshot(rig, 1, 5);
    fill(rig, 1);
    assert_int_equal(rig_index(rig, 1), 5 + ROOM);
    assert_int_equal(written(rig, 2), ROOM);
    for (uint32_t p = 1; p <= 3; p++) {
        rig_power_cut(rig, p, true);
        rig->nodes[p].hold_word = p != 1;
    }
    for (uint32_t p = 1; p <= 3; p++) {
        rig_start(rig, p);
    }
    rig_connect(rig, 1, 2);
    rig_connect(rig, 1, 3);
    rig_connect(rig, 2, 3);
    rig_settle(rig);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_true(rig_view(rig, 1)->established);
    assert_int_equal(rig_index(rig, 1), SLOTS);
    for (uint32_t p = 1; p <= 3; p++) {
        rig_power_cut(rig, p, true);
        rig->nodes[p].hold_word = false;
    }
    rig_start(rig, 2);
    rig_start(rig, 3);
    rig_connect(rig, 2, 3);
    rig_settle(rig);
    rig_elect(rig, 2);
    assert_int_equal(rig_leader(rig), 2);
    assert_int_equal(rig_index(rig, 2), SLOTS + 1);
    rig_free(rig);
}

/* Elections have used its reserve up. What a grantor knows to be committed makes room. */
static void noop__ring_full__comes_when_the_base_has_moved(void **state)
{
    (void)state;
    const struct rig_options options = {.n = 3, .durability = RIG_FLUSH, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig->slots = SLOTS;
    for (uint32_t p = 1; p <= 2; p++) {
        for (uint32_t i = 0; i < SLOTS; i++) {
            rig_put(rig, p, 1, 100 + i);
        }
        rig->nodes[p].promise_term = 1;
    }
    for (uint32_t i = 0; i < 8; i++) {
        rig->committed[i] = rig->nodes[2].ring[i].chain;
    }
    rig->committed_count = 8;
    rig->nodes[2].snapshot = rig_scan_to(rig, 2, NULL, 8 * RIG_ENTRY);
    rig_start(rig, 1);
    rig_start(rig, 2);
    rig_connect(rig, 1, 2);
    golden_begin(rig, GOLDEN_NODE(1));
    while (rig_view(rig, 1)->role != LKS_CORE_LEADER) {
        rig->nodes[2].paused = rig_view(rig, 1)->role == LKS_CORE_FOLLOWER;
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    assert_int_equal(rig_view(rig, 1)->commit_offset, 8 * RIG_ENTRY);
    assert_int_equal(rig_index(rig, 1), SLOTS);
    golden_say(rig, "no room for the no-op; but 2 has said that 8 entries are committed");
    rig_snapshot(rig, 1, 8);
    golden_end(rig, "room-for-the-noop", "a new leader whose ring is full finds room by snapshots");
    assert_int_equal(rig_leader(rig), 1);
    rig_free(rig);
}

/* 3, which promised this term to itself, knows what has committed: so it must be able to grant. */
static void noop__ring_full_and_the_term_taken_elsewhere__leader_takes_the_next(void **state)
{
    (void)state;
    const struct rig_options options = {.n = 3, .durability = RIG_FLUSH, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig->slots = SLOTS;
    for (uint32_t p = 1; p <= 3; p++) {
        for (uint32_t i = 0; i < SLOTS; i++) {
            rig_put(rig, p, 1, 100 + i);
        }
        rig->nodes[p].promise_term = 1;
    }
    for (uint32_t i = 0; i < 8; i++) {
        rig->committed[i] = rig->nodes[3].ring[i].chain;
    }
    rig->committed_count = 8;
    rig->nodes[3].snapshot = rig_scan_to(rig, 3, NULL, 8 * RIG_ENTRY);
    rig->nodes[3].promise_term = 2;
    rig->nodes[3].promise_candidate = 3;
    rig->nodes[3].promise_incarnation = 1;
    rig_start(rig, 1);
    rig_start(rig, 2);
    rig_connect(rig, 1, 2);
    while (rig_view(rig, 1)->role != LKS_CORE_LEADER) {
        rig->nodes[2].paused = rig_view(rig, 1)->role == LKS_CORE_FOLLOWER;
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    assert_int_equal(rig_view(rig, 1)->term, 2);
    assert_int_equal(rig_view(rig, 1)->commit_offset, 0);
    rig_start(rig, 3);
    rig_connect(rig, 1, 3);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    assert_int_equal(rig_view(rig, 1)->term, 3);
    assert_int_equal(rig_view(rig, 1)->commit_offset, 8 * RIG_ENTRY);
    rig_snapshot(rig, 1, 8);
    assert_int_equal(rig_leader(rig), 1);
    rig_free(rig);
}

static void adopt__own_ring_has_no_room__installs_first(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    rig_snapshot(rig, 1, 9);
    rig_snapshot(rig, 2, 9);
    fill(rig, 1);
    assert_int_equal(rig_index(rig, 1), 9 + ROOM);
    /* 3 has 10 entries and room for 16; the others have 19. It takes a snapshot to read them. */
    rig_coup(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig_index(rig, 3), 9 + ROOM + 1);
    assert_int_equal(rig_view(rig, 3)->base.index, 9);
    rig_free(rig);
}

/* It could hold that log, and no entry more: the next term would have none. */
static void adopt__log_would_fill_the_own_reserve__installs_first(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    fill(rig, 1);
    rig_snapshot(rig, 1, 5);
    fill(rig, 1);
    rig_snapshot(rig, 2, 5);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(written(rig, 2), 5 + ROOM);
    assert_int_equal(written(rig, 3), ROOM);
    rig_coup(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig_index(rig, 3), SLOTS);
    assert_int_equal(rig_view(rig, 3)->base.index, 5);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append__ring_full__goes_on_when_the_base_has_moved),
        cmocka_unit_test(write__peer_still_needs_its_ring__waits_for_its_base),
        cmocka_unit_test(append__a_write_in_flight__keeps_what_it_is_read_from),
        cmocka_unit_test(base__passes_what_a_follower_lacks__it_is_granted_anew),
        cmocka_unit_test(elected__a_followers_ring_is_full__it_installs_first),
        cmocka_unit_test(elected__nobody_knows_the_commit__the_reserve_has_room),
        cmocka_unit_test(write__commands_before_the_noop_commits__the_reserve_is_left),
        cmocka_unit_test(elected__log_would_fill_a_followers_reserve__it_installs_first),
        cmocka_unit_test(noop__ring_full__comes_when_the_base_has_moved),
        cmocka_unit_test(noop__ring_full_and_the_term_taken_elsewhere__leader_takes_the_next),
        cmocka_unit_test(adopt__own_ring_has_no_room__installs_first),
        cmocka_unit_test(adopt__log_would_fill_the_own_reserve__installs_first),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
