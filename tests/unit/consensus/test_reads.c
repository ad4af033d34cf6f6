/*
 * Reads without logging: rounds of probes under the write permission. Scenarios on the core rig,
 * which also judges each confirmed read by what had been committed when it came.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct rig *led_by_1(void)
{
    struct rig *rig = rig_cluster(3, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

static void hold(struct rig *rig, bool held)
{
    rig->nodes[1].sides[2].hold_path = held;
    rig->nodes[1].sides[3].hold_path = held;
}

static void read__established_leader__is_confirmed_by_a_majority(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig_append(rig, 1, 2);
    rig_settle(rig);
    hold(rig, true);
    golden_begin(rig, GOLDEN_NODE(1));
    rig->trace_probes = true;
    assert_true(rig_read_point(rig, 1));
    assert_int_equal(rig_view(rig, 1)->reads.begun, 1);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 0);
    golden_say(rig, "the probe lands at 2: with the leader itself that is a majority");
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "read", "a commit offset, then probes; what a majority of them confirms");
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 1);
    assert_int_equal(rig_view(rig, 1)->reads.point, 3 * RIG_ENTRY);
    rig_free(rig);
}

static void read__probes_are_posted_already__belongs_to_the_next_round(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    hold(rig, true);
    for (uint64_t round = 1; round <= 4; round++) {
        assert_true(rig_read_point(rig, 1));
        assert_int_equal(rig_view(rig, 1)->reads.begun, round);
    }
    /* No more are posted at a time: these two share one that is not. */
    assert_true(rig_read_point(rig, 1));
    assert_true(rig_read_point(rig, 1));
    assert_int_equal(rig_view(rig, 1)->reads.begun, 5);
    rig_append(rig, 1, 1);
    hold(rig, false);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 5);
    assert_int_equal(rig->nodes[1].reads_count, 0);
    rig_free(rig);
}

static void read__nobody_else_needed__is_confirmed_at_once(void **state)
{
    (void)state;
    struct rig *rig = rig_cluster(1, RIG_FLUSH);
    rig_elect(rig, 1);
    assert_true(rig_read_point(rig, 1));
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 1);
    assert_int_equal(rig_view(rig, 1)->reads.point, RIG_ENTRY);
    rig_free(rig);
}

static void read__not_established__is_refused(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    assert_false(rig_read_point(rig, 2));
    assert_int_equal(rig_view(rig, 2)->reads.begun, 0);
    /* 2 is elected, but its no-op cannot commit yet. */
    rig->nodes[2].sides[1].hold_path = true;
    rig->nodes[2].sides[3].hold_path = true;
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_LEADER);
    assert_false(rig_view(rig, 2)->established);
    assert_false(rig_read_point(rig, 2));
    rig_free(rig);
}

/* The old leader wakes up and still believes; a newer one has committed meanwhile. */
static void read__a_newer_leader_exists__is_never_confirmed(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig->nodes[1].sides[2].hold_ctl = true; /* nobody tells it */
    rig->nodes[1].sides[3].hold_ctl = true;
    rig_coup(rig, 2);
    rig_settle(rig);
    rig_append(rig, 2, 3);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    golden_begin(rig, GOLDEN_NODE(1));
    rig->trace_probes = true;
    assert_true(rig_read_point(rig, 1));
    rig_settle(rig);
    golden_end(rig, "read-deposed", "probes of a leader that is none any more are refused");
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 0);
    rig_advance(rig, 3 * RIG_TIMEOUT);
    assert_int_not_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    assert_int_equal(rig_view(rig, 1)->reads.begun, 0); /* failed: ask the new leader */
    rig_free(rig);
}

static void read__path_opens_later__its_probe_counts(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig_crash(rig, 3);
    rig_settle(rig);
    rig->nodes[1].sides[2].hold_path = true;
    assert_true(rig_read_point(rig, 1));
    rig_start(rig, 3);
    rig_connect(rig, 1, 3);
    for (uint32_t i = 0; i < 8; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 2);
    }
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 1);
    rig_free(rig);
}

static void read__of_five__one_follower_is_not_enough(void **state)
{
    (void)state;
    struct rig *rig = rig_cluster(5, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    for (uint32_t p = 3; p <= 5; p++) {
        rig->nodes[1].sides[p].hold_path = true;
    }
    assert_true(rig_read_point(rig, 1));
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 0);
    rig->nodes[1].sides[4].hold_path = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 1);
    rig_free(rig);
}

/* 3 helped to elect 2, forgot it with its journal, and serves the old leader again. */
static void read__newer_leader_elected_by_one_that_forgot__is_not_confirmed(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig->nodes[1].sides[2].hold_ctl = true; /* nobody tells 1 */
    rig->nodes[1].sides[3].hold_ctl = true;
    rig_coup(rig, 2);
    rig_settle(rig);
    rig_append(rig, 2, 3);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    rig_block(rig, 2, 3);
    rig_lose_journal(rig, 3);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_ctl = false;
    rig_settle(rig);
    rig_start(rig, 3);
    rig_connect(rig, 1, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    assert_true(rig_view(rig, 1)->peers[3].path_open);
    (void)rig_read_point(rig, 1);
    rig_advance(rig, 3 * RIG_HEARTBEAT / 2); /* probes of idle paths complete at 3, too */
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 0);
    rig_free(rig);
}

/* One that may have forgotten its promise may have forgotten a newer leader too. */
static void read__majority_only_with_one_that_does_not_count__waits(void **state)
{
    (void)state;
    struct rig *rig = led_by_1();
    rig_lose_journal(rig, 3);
    rig_settle(rig);
    rig->nodes[1].sides[2].hold_path = true;
    rig_start(rig, 3);
    rig_connect(rig, 1, 3);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_true(rig_view(rig, 1)->peers[3].path_open);
    assert_true(rig_read_point(rig, 1));
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 0);
    rig->nodes[1].sides[2].hold_path = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->reads.confirmed, 1);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__established_leader__is_confirmed_by_a_majority),
        cmocka_unit_test(read__probes_are_posted_already__belongs_to_the_next_round),
        cmocka_unit_test(read__nobody_else_needed__is_confirmed_at_once),
        cmocka_unit_test(read__not_established__is_refused),
        cmocka_unit_test(read__a_newer_leader_exists__is_never_confirmed),
        cmocka_unit_test(read__path_opens_later__its_probe_counts),
        cmocka_unit_test(read__of_five__one_follower_is_not_enough),
        cmocka_unit_test(read__newer_leader_elected_by_one_that_forgot__is_not_confirmed),
        cmocka_unit_test(read__majority_only_with_one_that_does_not_count__waits),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
