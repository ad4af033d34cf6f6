/*
 * The steps of shared memory's gates over store buffers: with all of them nothing lands after its
 * revocation; without any one of them something does, and the observer is told.
 */
#include "tests/unit/sim/network_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define SEEDS 20u
#define ROUNDS 30u
#define DATA_BYTES 40960u

static uint32_t g_left_out;

static void make_steps(struct lks_sim_network_profile *profile)
{
    profile->writes_when_posted = true;
    profile->gate_steps = true;
    profile->gate_steps_left_out = g_left_out;
    profile->fence = (struct lks_sim_delay){.min_ns = 100, .max_ns = 20000};
}

struct outcome {
    uint64_t unfenced;
    uint64_t late;
    uint64_t refused;
    uint32_t changed; /* rounds in which the ring changed after REVOKED */
};

static void open_again(struct rig *rig, uint64_t round)
{
    rig->ends[1].events_count = rig->ends[2].events_count = 0;
    assert_int_equal(lks_fabric_grant(rig->ends[1].fabric, 2, round), 0);
    const struct lks_fabric_key key = rig_wait_for(rig, 1, LKS_FABRIC_GRANTED, 2, round)->key;
    assert_int_equal(lks_fabric_open(rig->ends[2].fabric, 1, &key, round), 0);
    assert_int_equal(rig_wait_for(rig, 2, LKS_FABRIC_OPENED, 1, round)->status, 0);
}

/* A writer streams, its owner revokes in the middle of it, again and again. */
static struct outcome stream_and_revoke(uint64_t seed, uint32_t left_out)
{
    g_left_out = left_out;
    struct rig *rig = rig_new(seed, make_steps);
    struct outcome outcome = {0};
    uint8_t *seen = malloc(RIG_LOG_BYTES);
    assert_non_null(seen);
    rig_give(rig, 1, 2, 1);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        memset(rig->ends[2].log + RIG_HEAD, (int)round + 1, DATA_BYTES);
        for (uint64_t i = 0; i < 30; i++) {
            (void)rig_write_log(rig, 2, 1, RIG_HEAD + i * 1024, 1024, 0);
        }
        rig_run_for(rig, lks_sim_timeline_now(rig->timeline) % 100000);
        assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 100 + round), 0);
        (void)rig_wait_for(rig, 1, LKS_FABRIC_REVOKED, 2, 100 + round);
        memcpy(seen, rig->ends[1].log, RIG_LOG_BYTES);
        rig_run_for(rig, 5 * RIG_MILLISECOND);
        outcome.changed += memcmp(seen, rig->ends[1].log, RIG_LOG_BYTES) != 0;
        open_again(rig, round);
    }
    struct lks_sim_network_counts counts;
    lks_sim_network_counts(rig->network, &counts);
    assert_int_equal(counts.unfenced_landed, rig->unfenced);
    outcome.unfenced = counts.unfenced_landed;
    outcome.late = counts.late_landed;
    outcome.refused = counts.refused;
    free(seen);
    rig_free(rig);
    return outcome;
}

static struct outcome sum_of(uint32_t left_out)
{
    struct outcome sum = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const struct outcome one = stream_and_revoke(seed, left_out);
        sum.unfenced += one.unfenced;
        sum.late += one.late;
        sum.refused += one.refused;
        sum.changed += one.changed;
    }
    return sum;
}

static void revoke__all_steps__nothing_lands_after_its_completion(void **state)
{
    (void)state;
    const struct outcome sum = sum_of(0);
    assert_int_equal(sum.unfenced, 0);
    assert_int_equal(sum.changed, 0);
    assert_true(sum.late > 50); /* it was met in the middle of its work */
    assert_true(sum.refused > 50);
}

static void revoke__a_step_left_out__a_write_lands_after_its_completion(void **state)
{
    (void)state;
    static const enum lks_sim_gate_step steps[] = {
        LKS_SIM_WRITER_STORES_BUSY, LKS_SIM_WRITER_FENCES, LKS_SIM_WRITER_LOOKS,
        LKS_SIM_WRITER_DRAINS,      LKS_SIM_OWNER_STORES_GENERATION,
        LKS_SIM_OWNER_FENCES,       LKS_SIM_OWNER_AWAITS};
    for (uint32_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        const struct outcome sum = sum_of(1u << steps[i]);
        print_message("without step %u: %u writes late, %u rounds\n", (unsigned)steps[i],
                      (unsigned)sum.unfenced, (unsigned)sum.changed);
        assert_true(sum.unfenced > 0);
    }
}

/* A writer that dies inside its section does not hold up the owner. */
static void revoke__writer_dies_inside__completes_and_nothing_lands_after(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        g_left_out = 0;
        struct rig *rig = rig_new(seed, make_steps);
        rig_give(rig, 1, 2, 1);
        memset(rig->ends[2].log + RIG_HEAD, 7, DATA_BYTES);
        for (uint64_t i = 0; i < 30; i++) {
            (void)rig_write_log(rig, 2, 1, RIG_HEAD + i * 1024, 1024, 0);
        }
        rig_run_for(rig, 20000 + seed * 1777);
        rig_stop(rig, 2);
        assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 9), 0);
        (void)rig_wait_for(rig, 1, LKS_FABRIC_REVOKED, 2, 9);
        struct lks_sim_network_counts before;
        struct lks_sim_network_counts after;
        lks_sim_network_counts(rig->network, &before);
        assert_true(before.landed > 0);
        rig_run_for(rig, RIG_SECOND);
        lks_sim_network_counts(rig->network, &after);
        assert_int_equal(before.landed, after.landed);
        rig_free(rig);
    }
}

/* The same suite of orders holds behind the gate: a flush covers what lies before it. */
static void flush__all_steps__covers_what_was_written(void **state)
{
    (void)state;
    g_left_out = 0;
    struct rig *rig = rig_new(3, make_steps);
    rig_give(rig, 1, 2, 1);
    memset(rig->ends[2].log + RIG_HEAD, 7, DATA_BYTES);
    assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD, 10000, 0), 0);
    assert_int_equal(lks_fabric_flush(rig->ends[2].fabric, 1, 9), 0);
    assert_int_equal(rig_wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 9)->status, 0);
    assert_memory_equal(rig->ends[1].log + RIG_HEAD, rig->ends[2].log + RIG_HEAD, 10000);
    assert_int_equal(rig->durable_bytes, 10000);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revoke__all_steps__nothing_lands_after_its_completion),
        cmocka_unit_test(revoke__a_step_left_out__a_write_lands_after_its_completion),
        cmocka_unit_test(revoke__writer_dies_inside__completes_and_nothing_lands_after),
        cmocka_unit_test(flush__all_steps__covers_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
