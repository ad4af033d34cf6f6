/*
 * Reads at a replica that comes back with partitions to be restored: those of ready partitions are
 * answered at once, the others take their turn between the entries of their partitions, and all
 * see one state of the whole.
 */
#include "tests/unit/node/replica_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PARTITIONS 8u
#define COMMAND_BYTES 200u
#define ALL 1000u

static const struct rig_options g_alone = {.replicas = 1,
                                           .ring_bytes = UINT64_C(64) << 10,
                                           .snapshots = true,
                                           .partitions = PARTITIONS,
                                           .record_bytes = 32768};

static uint64_t g_counts[PARTITIONS]; /* what each partition had executed */
static uint64_t g_sum;

/* A replica alone, killed with many records in each partition and started again: it leads, and has
 * not restored all. */
static struct rig *restarted(void)
{
    struct rig *rig = rig_new(&g_alone);
    (void)rig_lead(rig);
    for (uint32_t i = 0; i < 400; i++) {
        rig_submit_many(rig, 1, COMMAND_BYTES, 1);
        rig_tick(rig);
    }
    rig_settle(rig);
    g_sum = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        g_counts[p] = rig->replicas[1].service.lists[p].count;
        g_sum += g_counts[p];
    }
    rig_crash(rig, 1, false);
    rig_start(rig, 1);
    while (!rig->replicas[1].replica->view->established) {
        rig_tick(rig);
    }
    assert_true(rig->replicas[1].replica->recovery.active);
    return rig;
}

static const struct lks_recovery *recovery_of(const struct rig *rig)
{
    return &rig->replicas[1].replica->recovery;
}

static bool is_ready(const struct rig *rig, uint32_t partition)
{
    return !recovery_of(rig)->active ||
           recovery_of(rig)->phase[partition] == LKS_PARTITION_READY;
}

static void wait_for(struct rig *rig, uint32_t read)
{
    while (rig->reads[read].answered == 0) {
        rig_tick(rig);
    }
    assert_int_equal(rig->reads[read].answered, 1);
}

static void read__ready_partition__answered_while_others_are_restored(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    while (recovery_of(rig)->ready == 0) {
        rig_tick(rig);
    }
    uint32_t p = 0;
    while (!is_ready(rig, p)) {
        p++;
    }
    const uint32_t read = rig_read(rig, 1, p, false);
    wait_for(rig, read);
    assert_true(recovery_of(rig)->active);
    assert_int_equal(rig->reads[read].value, g_counts[p]);
    rig_free(rig);
}

static void read__partition_is_not_restored__wanted_first_and_whole(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    assert_false(is_ready(rig, PARTITIONS - 1));
    const uint32_t read = rig_read(rig, 1, PARTITIONS - 1, false);
    const uint32_t all = rig_read(rig, 1, ALL, false);
    wait_for(rig, read);
    assert_true(is_ready(rig, PARTITIONS - 1));
    assert_int_equal(rig->reads[read].value, g_counts[PARTITIONS - 1]);
    wait_for(rig, all);
    assert_int_equal(rig->reads[all].value, g_sum);
    rig_free(rig);
}

/* Submits a command that touches at least this partition. */
static uint64_t submit_to(struct rig *rig, uint32_t partition)
{
    int code = 0;
    for (;; rig->submitted++) {
        uint16_t touched[RIG_PARTITIONS_MAX];
        bool tied = false;
        if (rig_service_touches(rig->submitted + 1, touched, &tied) == 1 &&
            touched[0] == partition) {
            return rig_submit(rig, 1, COMMAND_BYTES, &code);
        }
    }
}

/* Reads and commands take turns: each read sees just the commands before it, whether it waits for
 * them or they wait for it. */
static void reads__between_commands_of_a_partition__see_those_before_them(void **state)
{
    (void)state;
    struct rig *rig = restarted();
    uint32_t reads[PARTITIONS][6];
    assert_false(is_ready(rig, PARTITIONS - 1));
    for (uint32_t i = 0; i < 6; i++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            reads[p][i] = rig_read(rig, 1, p, true);
            (void)submit_to(rig, p);
        }
        if (i % 2 == 0) {
            rig_tick(rig);
        }
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t i = 0; i < 6; i++) {
            wait_for(rig, reads[p][i]);
            assert_int_equal(rig->reads[reads[p][i]].value, g_counts[p] + i);
        }
    }
    rig_settle(rig);
    assert_false(recovery_of(rig)->active);
    rig_free(rig);
}

/* 1 leads, and 3 has not followed for some rings. It has a connection, but its grant does not come,
 * so it is not told to install yet. */
static struct rig *left_behind(void)
{
    static const struct rig_options options = {.replicas = 3,
                                               .ring_bytes = UINT64_C(64) << 10,
                                               .snapshots = true,
                                               .partitions = PARTITIONS};
    struct rig *rig = rig_new(&options);
    rig_make_leader(rig, 1);
    rig_run(rig, RIG_ELECTION_NS);
    hand_hold(rig->net, 3, 1, HAND_CONTROL, true);
    hand_break(rig->net, 1, 3);
    hand_join(rig->net, 1, 3);
    while (rig_status(rig, 1).base_offset < 3 * (UINT64_C(64) << 10)) {
        rig_submit_many(rig, 1, COMMAND_BYTES, 4);
        rig_run(rig, 4 * RIG_TICK_NS);
    }
    rig_run(rig, RIG_ELECTION_NS);
    assert_int_equal(rig_leader(rig), 1);
    assert_false(lks_core_view(rig->replicas[1].replica->core)->peers[3].path_open);
    return rig;
}

static uint64_t newest_snapshot(const struct rig *rig, uint32_t id)
{
    const struct lks_snapshots *store = rig->replicas[id].snapshots;
    uint64_t newest = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        const uint64_t index = lks_snapshots_item(store, p)->index;
        newest = index > newest ? index : newest;
    }
    return newest;
}

/* 3 reads, and writes behind that. What it installs ends, in one partition, with that write. */
static void read__own_write_behind_it_ends_what_is_installed__is_not_answered(void **state)
{
    (void)state;
    struct rig *rig = left_behind();
    const uint32_t read = rig_read(rig, 3, ALL, true);
    rig_submit_many(rig, 3, COMMAND_BYTES, 1);
    const uint64_t before = rig_status(rig, 1).applied_index;
    while (rig_status(rig, 1).applied_index == before ||
           rig_status(rig, 2).applied_index == before) {
        rig_tick(rig);
    }
    assert_int_equal(rig_status(rig, 1).applied_index, before + 1); /* the write */
    const uint64_t index = rig_status(rig, 1).applied_index;
    const uint64_t offset = rig_status(rig, 1).applied_offset;
    for (uint32_t id = 1; id <= 2; id++) {
        lks_replica_snapshots_press(rig->replicas[id].replica, offset);
    }
    while (newest_snapshot(rig, 1) != index) {
        rig_tick(rig);
    }
    hand_hold(rig->net, 3, 1, HAND_CONTROL, false);
    (void)hand_release(rig->net, 3, 1, HAND_CONTROL, UINT32_MAX);
    while (rig_status(rig, 3).snapshots.installed == 0) {
        rig_tick(rig);
    }
    const struct lks_recovery *recovery = &rig->replicas[3].replica->recovery;
    assert_true(recovery->active);
    assert_int_equal(recovery->left_out_most, index);
    assert_true(rig->replicas[3].replica->base_offset < offset);
    assert_int_equal(rig->reads[read].answered, 0);
    rig_settle(rig);
    assert_int_equal(rig->reads[read].answered, 0);
    assert_true(rig->reads[read].unknown);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__ready_partition__answered_while_others_are_restored),
        cmocka_unit_test(read__partition_is_not_restored__wanted_first_and_whole),
        cmocka_unit_test(reads__between_commands_of_a_partition__see_those_before_them),
        cmocka_unit_test(read__own_write_behind_it_ends_what_is_installed__is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
