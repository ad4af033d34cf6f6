/*
 * Whole replicas that take snapshots: small rings are written anew many times under load, the
 * base follows durable manifests only, what fails is tried again and loses nothing, and replicas
 * that are restarted in the midst of it know all that they ever did.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RING (UINT64_C(64) << 10)
#define BATCH 20u
#define COMMAND_BYTES 200u

static const struct rig_options g_options = {
    .replicas = 3, .ring_bytes = RING, .snapshots = true, .partitions = 4};

/* Load without end, one batch at a time at a replica of its own; nothing is refused. */
static void load(struct rig *rig, uint32_t batches)
{
    for (uint32_t i = 0; i < batches; i++) {
        const uint32_t id = 1 + i % rig->options.replicas;
        if (rig->replicas[id].replica != NULL) {
            rig_submit_many(rig, id, COMMAND_BYTES, BATCH);
        }
        rig_run(rig, 20 * RIG_TICK_NS);
    }
}

static uint64_t laps(const struct rig *rig, uint32_t id)
{
    return rig_status(rig, id).base_offset / rig->options.ring_bytes;
}

static void ring__load_without_end__written_anew_and_never_full(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    (void)rig_lead(rig);
    load(rig, 300); /* 6000 commands of 320 bytes of log: 30 rings */
    rig_settle(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        const struct lks_replica_status status = rig_status(rig, id);
        assert_true(laps(rig, id) >= 25);
        assert_true(status.tail_offset - status.base_offset <= RING);
        assert_int_equal(status.snapshots.failed, 0);
        assert_true(status.snapshots.taken > 100);
        assert_int_equal(rig_executed(rig, id), 6000);
    }
    rig_free(rig);
}

static void ring__one_partition_and_one_replica__the_same(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.replicas = 1;
    options.partitions = 1;
    options.ring_bytes = 4 * RING;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 300);
    rig_settle(rig);
    assert_true(laps(rig, 1) >= 5);
    rig_free(rig);
}

static void ring__slow_medium__snapshots_by_the_flusher(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    for (uint32_t id = 1; id <= 3; id++) {
        options.slow_medium[id] = true;
        options.durability[id] = LKS_DURABILITY_PMEM_ACK;
    }
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 150);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_true(laps(rig, id) >= 10);
    }
    rig_free(rig);
}

static void base__manifest_not_durable_yet__stays(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.replicas = 1;
    options.slow_medium[1] = true;
    options.durability[1] = LKS_DURABILITY_PMEM_ACK;
    struct rig *rig = rig_new(&options);
    struct rig_replica *self = &rig->replicas[1];
    (void)rig_lead(rig);
    self->holds_persists = true;
    int code = 0;
    for (uint32_t i = 0; i < 2000 && code == 0; i++) {
        (void)rig_submit(rig, 1, COMMAND_BYTES, &code);
        rig_tick(rig);
        while (self->persists_count > 0) {
            rig_persist(rig, 1, 0, 0); /* the log's ranges alone */
        }
        rig_tick(rig);
    }
    /* Commands wait in the gateway for room that does not come: nobody is refused yet. */
    assert_true(self->area_posted);
    assert_int_equal(rig_status(rig, 1).base_offset, 0);
    assert_true(rig_status(rig, 1).pending > 0);
    self->holds_persists = false;
    rig_settle(rig);
    assert_true(rig_status(rig, 1).base_offset > 0);
    rig_free(rig);
}

/* Load at replica `id` while no snapshot can be taken at `failing`; until `done` says so, or the
 * rounds are over. */
static void load_while_failing(struct rig *rig, uint32_t id, uint32_t failing, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        int code = 0;
        (void)rig_submit(rig, id, COMMAND_BYTES, &code);
        assert_int_equal(code, 0); /* nothing is refused */
        for (uint32_t k = 0; k < 20; k++) {
            rig->replicas[failing].service.write_fails = -ENOSPC;
            rig_tick(rig);
        }
    }
}

static void leader__snapshots_fail_for_long__another_leads_and_nothing_is_refused(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    load_while_failing(rig, 2, 1, 600); /* three rings */
    assert_int_not_equal(rig_leader(rig), 0);
    assert_int_not_equal(rig_leader(rig), 1);
    assert_true(rig_status(rig, 1).snapshots.unfit);
    assert_true(rig_status(rig, 1).snapshots.hand_overs >= 1);
    const uint32_t elections = (uint32_t)rig_status(rig, 1).elections;
    load_while_failing(rig, 2, 1, 200);
    assert_int_equal(rig_status(rig, 1).elections, elections); /* it does not take it back */
    rig->replicas[1].service.write_fails = 0; /* there is space again */
    for (uint32_t i = 0; i < 20; i++) {
        rig_submit_many(rig, 2, COMMAND_BYTES, BATCH);
        rig_run(rig, RIG_ELECTION_NS);
    }
    rig_run(rig, 1100 * UINT64_C(1000000)); /* beyond its back-off */
    rig_settle(rig);
    assert_false(rig_status(rig, 1).snapshots.unfit);
    rig_free(rig);
}

/* Without room anywhere, leadership does not wander. */
static void leader__snapshots_fail_everywhere__it_stays(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    for (uint32_t i = 0; i < 2000; i++) {
        int code = 0;
        (void)rig_submit(rig, 1, COMMAND_BYTES, &code);
        for (uint32_t id = 1; id <= 3; id++) {
            rig->replicas[id].service.write_fails = -ENOSPC;
        }
        rig_tick(rig);
        rig_run(rig, i > 250 ? RIG_HEARTBEAT_NS : 0);
        for (uint32_t id = 1; id <= 3; id++) {
            rig->replicas[id].service.write_fails = -ENOSPC;
        }
    }
    assert_int_equal(rig_leader(rig), 1);
    assert_int_equal(rig_status(rig, 1).snapshots.hand_overs, 0);
    rig_free(rig);
}

static void snapshots__fail__old_ones_stay_and_ring_fills(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.replicas = 1;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    int code = 0;
    for (uint32_t i = 0; i < 4000 && code == 0; i++) {
        rig->replicas[1].service.write_fails = -ENOSPC;
        (void)rig_submit(rig, 1, COMMAND_BYTES, &code);
        rig_tick(rig);
        rig_run(rig, i > 250 ? RIG_ELECTION_NS : 0);
    }
    assert_int_equal(code, -LKS_ERINGFULL);
    assert_true(rig_status(rig, 1).snapshots.failed >= 2);
    assert_int_equal(rig_status(rig, 1).base_offset, 0);
    rig->replicas[1].service.write_fails = 0; /* there is space again */
    rig_run(rig, UINT64_C(20) * 1000 * 1000 * 1000 / 100);
    rig_settle(rig);
    assert_true(rig_status(rig, 1).base_offset > 0);
    (void)rig_submit(rig, 1, COMMAND_BYTES, &code);
    assert_int_equal(code, 0);
    rig_settle(rig);
    rig_free(rig);
}

static void area__too_small__old_snapshots_stay(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.replicas = 1;
    options.area_bytes = UINT64_C(2) << 20;
    options.record_bytes = 1024;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    int code = 0;
    for (uint32_t i = 0; i < 8000 && code == 0; i++) {
        (void)rig_submit(rig, 1, COMMAND_BYTES, &code);
        rig_tick(rig);
        rig_tick(rig);
    }
    for (uint32_t i = 0; i < 100 && code == 0; i++) { /* it waits, then it is refused */
        rig_run(rig, RIG_ELECTION_NS);
        (void)rig_submit(rig, 1, COMMAND_BYTES, &code);
    }
    assert_int_equal(code, -LKS_ERINGFULL);
    assert_true(rig_status(rig, 1).base_offset > 0); /* while it was enough */
    const uint32_t before = rig_executed(rig, 1);
    rig_crash(rig, 1, false);
    rig_start(rig, 1);
    rig_run(rig, 20 * RIG_ELECTION_NS);
    assert_int_equal(rig->replicas[1].status >= 0, 1);
    assert_true(rig_executed(rig, 1) >= before);
    rig_check(rig);
    rig_free(rig);
}

/* A follower is cut off when its commands are logged, and the log goes on for laps. What it
 * installs covers them: whether they took effect it cannot know, and says so, once each. */
static void own_commands__covered_by_an_installation__outcome_unknown(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    load(rig, 3);
    rig_settle(rig);
    struct rig_replica *sleeper = &rig->replicas[3];
    hand_hold(rig->net, 1, 3, HAND_PATH, true);
    rig_submit_many(rig, 3, COMMAND_BYTES, BATCH);
    rig_step(rig, 3); /* into the leader's ingress */
    rig_step(rig, 1);
    sleeper->stalled = true;
    hand_break(rig->net, 1, 3);
    hand_hold(rig->net, 1, 3, HAND_PATH, false);
    for (uint32_t i = 0; i < 200; i++) {
        rig_submit_many(rig, 1, COMMAND_BYTES, BATCH / 2);
        rig_run(rig, 20 * RIG_TICK_NS);
    }
    assert_true(rig_status(rig, 1).base_offset > rig_status(rig, 3).tail_offset);
    sleeper->stalled = false;
    hand_join(rig->net, 1, 3);
    rig_settle(rig);
    assert_true(rig_status(rig, 3).snapshots.installed > 0);
    assert_int_equal(sleeper->unknown, BATCH);
    assert_int_equal(rig_executed(rig, 3), rig_executed(rig, 1)); /* they did, this time */
    rig_submit_many(rig, 3, COMMAND_BYTES, BATCH);
    rig_settle(rig);
    assert_int_equal(sleeper->unknown, BATCH);
    rig_free(rig);
}

/* ---- lives that end in the midst of it ------------------------------------------------------ */

static void restart__all_after_many_laps__everything_is_there(void **state)
{
    (void)state;
    for (uint32_t lost_power = 0; lost_power < 2; lost_power++) {
        struct rig *rig = rig_new(&g_options);
        (void)rig_lead(rig);
        load(rig, 60);
        rig_settle(rig);
        for (uint32_t id = 1; id <= 3; id++) {
            rig_crash(rig, id, lost_power != 0);
        }
        for (uint32_t id = 1; id <= 3; id++) {
            rig_start(rig, id);
        }
        (void)rig_lead(rig);
        load(rig, 60);
        rig_settle(rig);
        for (uint32_t id = 1; id <= 3; id++) {
            assert_int_equal(rig_executed(rig, id), 2400);
            assert_true(laps(rig, id) >= 8);
        }
        rig_free(rig);
    }
}

/* At each phase of a snapshot, and at each step within, a replica dies. */
static void crash__at_every_step_of_a_snapshot__nothing_is_lost(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 256; /* several steps each */
    for (uint32_t steps = 0; steps < 24; steps++) {
        struct rig *rig = rig_new(&options);
        struct rig_replica *self = &rig->replicas[2];
        (void)rig_lead(rig);
        load(rig, 12 + steps);
        uint32_t seen = 0;
        for (uint32_t i = 0; i < 4000 && seen <= steps; i++) {
            if (i % 20 == 0 && rig->submitted < RIG_SUBMITTED_MAX - 100) {
                rig_submit_many(rig, 1, COMMAND_BYTES, 2);
            }
            rig_tick(rig);
            seen += self->replica->taker.phase != LKS_TAKER_IDLE ? 1 : 0;
        }
        assert_true(seen > steps);
        rig_crash(rig, 2, steps % 2 != 0);
        rig_run(rig, 3 * RIG_ELECTION_NS);
        rig_start(rig, 2);
        (void)rig_lead(rig);
        load(rig, 30);
        rig_settle(rig);
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring__load_without_end__written_anew_and_never_full),
        cmocka_unit_test(ring__one_partition_and_one_replica__the_same),
        cmocka_unit_test(ring__slow_medium__snapshots_by_the_flusher),
        cmocka_unit_test(base__manifest_not_durable_yet__stays),
        cmocka_unit_test(leader__snapshots_fail_for_long__another_leads_and_nothing_is_refused),
        cmocka_unit_test(leader__snapshots_fail_everywhere__it_stays),
        cmocka_unit_test(snapshots__fail__old_ones_stay_and_ring_fills),
        cmocka_unit_test(area__too_small__old_snapshots_stay),
        cmocka_unit_test(own_commands__covered_by_an_installation__outcome_unknown),
        cmocka_unit_test(restart__all_after_many_laps__everything_is_there),
        cmocka_unit_test(crash__at_every_step_of_a_snapshot__nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
