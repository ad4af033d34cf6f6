/*
 * Replicas that come back with partitions to be restored: what touches restored ones is answered
 * at once, what touches others waits its turn, each partition sees the order of the log and no
 * entry twice, wherever its snapshot stood, and however often the recovery itself is cut short.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PARTITIONS 8u
#define COMMAND_BYTES 200u

static const struct rig_options g_alone = {.replicas = 1,
                                           .ring_bytes = UINT64_C(64) << 10,
                                           .snapshots = true,
                                           .partitions = PARTITIONS,
                                           .record_bytes = 32768};

static void load(struct rig *rig, uint32_t id, uint32_t commands)
{
    for (uint32_t i = 0; i < commands; i++) {
        rig_submit_many(rig, id, COMMAND_BYTES, 1);
        rig_tick(rig);
    }
}

/* A replica alone, killed with about 60 records of 32 KiB in each partition, and started again;
 * it leads, and restores no further for now: steps are the test's. */
static struct rig *restarted(void)
{
    struct rig *rig = rig_new(&g_alone);
    (void)rig_lead(rig);
    load(rig, 1, 400);
    rig_settle(rig);
    rig_crash(rig, 1, false);
    rig_start(rig, 1);
    return rig;
}

static const struct lks_recovery *recovery_of(const struct rig *rig)
{
    return &rig->replicas[1].replica->recovery;
}

/* The next command's number is one that touches just this partition. */
static void aim(struct rig *rig, uint32_t partition)
{
    for (;; rig->submitted++) {
        uint16_t touched[RIG_PARTITIONS_MAX];
        bool tied = false;
        if (rig_service_touches(rig->submitted + 1, touched, &tied) == 1 &&
            touched[0] == partition) {
            return;
        }
        rig->answered[rig->submitted + 1] = 0;
    }
}

static bool is_answered(const struct rig *rig, uint64_t number)
{
    return rig->answered[number] == 1;
}

static void commands__touch_ready_partitions__answered_while_others_are_restored(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    int code = 0;
    while (!rig->replicas[1].replica->view->accepts) {
        rig_tick(rig);
    }
    assert_true(recovery_of(rig)->active);
    assert_true(rig_status(rig, 1).snapshots.partitions_ready < PARTITIONS);
    aim(rig, 1); /* tied to 0 alone, which is restored first */
    const uint64_t number = rig_submit(rig, 1, COMMAND_BYTES, &code);
    while (!is_answered(rig, number)) {
        rig_tick(rig);
    }
    assert_true(recovery_of(rig)->active);
    assert_int_equal(recovery_of(rig)->phase[1], LKS_PARTITION_READY);
    assert_true(recovery_of(rig)->ready < PARTITIONS);
    uint64_t index = 1;
    (void)lks_replica_hash(rig->replicas[1].replica, &index);
    assert_int_equal(index, 0); /* no state of one moment to speak of */
    rig_settle(rig);
    assert_false(recovery_of(rig)->active);
    rig_free(rig);
}

static void commands__wait_for_a_partition__hold_up_only_their_own(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    int code = 0;
    while (!rig->replicas[1].replica->view->accepts) {
        rig_tick(rig);
    }
    uint64_t numbers[PARTITIONS][2];
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t i = 0; i < 2; i++) {
            aim(rig, p);
            numbers[p][i] = rig_submit(rig, 1, COMMAND_BYTES, &code);
        }
    }
    uint32_t orders = 0;
    while (recovery_of(rig)->active) {
        rig_tick(rig);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            assert_true(is_answered(rig, numbers[p][0]) || !is_answered(rig, numbers[p][1]));
            const bool ready = recovery_of(rig)->phase[p] == LKS_PARTITION_READY;
            assert_true(ready || !is_answered(rig, numbers[p][0]));
            orders += ready && recovery_of(rig)->active ? 1 : 0;
        }
    }
    assert_true(orders > 0);
    rig_settle(rig);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_true(is_answered(rig, numbers[p][1]));
    }
    rig_free(rig);
}

/* Snapshots of partitions stand at different points: entries between them are left out where they
 * are known, also of commands that touch several. */
static void entries__known_to_some_partitions__executed_in_the_others_alone(void **state)
{
    (void)state;
    struct rig_options options = g_alone;
    options.record_bytes = 8;
    uint32_t partial = 0;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    for (uint32_t round = 0; round < 20; round++) {
        load(rig, 1, 40 + 13 * round);
        rig_settle(rig);
        rig_crash(rig, 1, round % 2 != 0);
        rig_start(rig, 1);
        (void)rig_lead(rig);
        rig_settle(rig);
        partial += rig->replicas[1].service.partial;
    }
    assert_true(partial > 5);
    rig_free(rig);
}

/* Each recovery is cut short after one step more than the one before. */
static void recovery__cut_short_at_every_step__begins_again(void **state)
{
    (void)state;
    struct rig_options options = g_alone;
    options.replicas = 3;
    options.record_bytes = 8192;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 1, 400);
    rig_settle(rig);
    for (uint32_t steps = 1; steps < 60; steps++) {
        rig_crash(rig, 2, steps % 2 != 0);
        rig_start(rig, 2);
        for (uint32_t i = 0; i < steps; i++) {
            if (i % 8 == 0) {
                load(rig, 1 + 2 * (steps % 2), 1);
            } else {
                rig_tick(rig);
            }
        }
    }
    rig_settle(rig);
    assert_true(rig_executed(rig, 2) > 400);
    rig_free(rig);
}

/* The log goes on meanwhile, through the ring several times if need be: what waits keeps its place
 * in the log. */
static void log__grows_during_recovery__what_waits_is_not_overwritten(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    while (!rig->replicas[1].replica->view->accepts) {
        rig_tick(rig);
    }
    uint32_t taken = 0;
    while (recovery_of(rig)->active || taken < 300) {
        int code = 0;
        taken += rig_submit(rig, 1, COMMAND_BYTES, &code) != 0 ? 1 : 0;
        rig_tick(rig);
        const struct lks_replica_status status = rig_status(rig, 1);
        assert_true(status.tail_offset - status.base_offset <= status.ring_bytes);
        assert_true(status.applied_offset >= status.base_offset);
    }
    rig_settle(rig);
    rig_free(rig);
}

/* The next command's number is one that touches all partitions, each by itself. */
static void aim_at_all(struct rig *rig)
{
    for (;; rig->submitted++) {
        uint16_t touched[RIG_PARTITIONS_MAX];
        bool tied = false;
        if (rig_service_touches(rig->submitted + 1, touched, &tied) == PARTITIONS && !tied) {
            return;
        }
        rig->answered[rig->submitted + 1] = 0;
    }
}

/* Commands on all partitions stand in the queue once for each of them: it is full long before the
 * log ends. */
static void entries__more_than_may_wait__the_rest_is_dispatched_later(void **state)
{
    (void)state;
    struct rig_options options = g_alone;
    options.entry_bytes_max = 512;
    struct rig *rig = rig_new(&options);
    (void)rig_lead(rig);
    load(rig, 1, 400);
    rig_settle(rig);
    for (uint32_t i = 0; i < 160; i++) {
        int code = 0;
        rig->replicas[1].service.write_fails = -ENOSPC; /* no newer snapshot holds them */
        aim_at_all(rig);
        assert_int_not_equal(rig_submit(rig, 1, sizeof(uint64_t), &code), 0);
        rig_tick(rig);
    }
    rig_settle(rig);
    rig->replicas[1].service.write_fails = 0;
    const uint32_t executed = rig_executed(rig, 1);
    rig_crash(rig, 1, false);
    rig_start(rig, 1);
    bool was_full = false;
    while (!rig->replicas[1].replica->view->established || recovery_of(rig)->active) {
        rig_tick(rig);
        was_full = was_full || (recovery_of(rig)->active &&
                                !lks_waiting_has_room(recovery_of(rig)->waiting));
    }
    assert_true(was_full);
    while (rig_status(rig, 1).applied_offset < rig_status(rig, 1).commit_offset) {
        rig_tick(rig);
    }
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 1), executed);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands__touch_ready_partitions__answered_while_others_are_restored),
        cmocka_unit_test(commands__wait_for_a_partition__hold_up_only_their_own),
        cmocka_unit_test(entries__known_to_some_partitions__executed_in_the_others_alone),
        cmocka_unit_test(recovery__cut_short_at_every_step__begins_again),
        cmocka_unit_test(log__grows_during_recovery__what_waits_is_not_overwritten),
        cmocka_unit_test(entries__more_than_may_wait__the_rest_is_dispatched_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
