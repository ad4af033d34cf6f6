/*
 * Whole replicas of which one is too far behind: it installs another's snapshots by one-sided
 * reads, then gets the rest of the log; whatever breaks, dies, fills up or is replaced meanwhile.
 */
#include "pmem/snapshots_internal.h"
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RING (UINT64_C(64) << 10)
#define BATCH 20u
#define COMMAND_BYTES 200u

static const struct rig_options g_options = {
    .replicas = 3, .ring_bytes = RING, .snapshots = true, .partitions = 4};

enum { COPY_BEGIN, COPY_BLOCK, COPY_FINISH, PERSIST_STEP, REPLACE_ALL, CALLS };

/* What the next call returns; 0: it works. Put in place of the functions by the linker. */
static int g_fails[CALLS];
static int g_base_fails;

static int ordered(int call)
{
    const int code = g_fails[call];
    g_fails[call] = 0;
    return code;
}

int __real_lks_snapshot_copy_begin(struct lks_snapshots *store, uint32_t partition,
                                   const struct lks_snapshot_item *item);
int __wrap_lks_snapshot_copy_begin(struct lks_snapshots *store, uint32_t partition,
                                   const struct lks_snapshot_item *item);
int __wrap_lks_snapshot_copy_begin(struct lks_snapshots *store, uint32_t partition,
                                   const struct lks_snapshot_item *item)
{
    const int rc = ordered(COPY_BEGIN);
    return rc != 0 ? rc : __real_lks_snapshot_copy_begin(store, partition, item);
}

int __real_lks_snapshot_copy_block(struct lks_snapshots *store, uint32_t partition,
                                   const void *block);
int __wrap_lks_snapshot_copy_block(struct lks_snapshots *store, uint32_t partition,
                                   const void *block);
int __wrap_lks_snapshot_copy_block(struct lks_snapshots *store, uint32_t partition,
                                   const void *block)
{
    const int rc = ordered(COPY_BLOCK);
    return rc != 0 ? rc : __real_lks_snapshot_copy_block(store, partition, block);
}

int __real_lks_snapshot_copy_finish(struct lks_snapshots *store, uint32_t partition);
int __wrap_lks_snapshot_copy_finish(struct lks_snapshots *store, uint32_t partition);
int __wrap_lks_snapshot_copy_finish(struct lks_snapshots *store, uint32_t partition)
{
    const int rc = ordered(COPY_FINISH);
    return rc != 0 ? rc : __real_lks_snapshot_copy_finish(store, partition);
}

int __real_lks_snapshot_persist_step(struct lks_snapshots *store, uint32_t partition,
                                     uint64_t bytes_max, uint64_t *left);
int __wrap_lks_snapshot_persist_step(struct lks_snapshots *store, uint32_t partition,
                                     uint64_t bytes_max, uint64_t *left);
int __wrap_lks_snapshot_persist_step(struct lks_snapshots *store, uint32_t partition,
                                     uint64_t bytes_max, uint64_t *left)
{
    const int rc = ordered(PERSIST_STEP);
    return rc != 0 ? rc : __real_lks_snapshot_persist_step(store, partition, bytes_max, left);
}

int __real_lks_snapshots_replace_all(struct lks_snapshots *store);
int __wrap_lks_snapshots_replace_all(struct lks_snapshots *store);
int __wrap_lks_snapshots_replace_all(struct lks_snapshots *store)
{
    const int rc = ordered(REPLACE_ALL);
    return rc != 0 ? rc : __real_lks_snapshots_replace_all(store);
}

int __real_lks_journal_write_base(struct lks_journal *journal, const struct lks_log_point *base);
int __wrap_lks_journal_write_base(struct lks_journal *journal, const struct lks_log_point *base);
int __wrap_lks_journal_write_base(struct lks_journal *journal, const struct lks_log_point *base)
{
    const int rc = g_base_fails;
    g_base_fails = 0;
    return rc != 0 ? rc : __real_lks_journal_write_base(journal, base);
}

static bool g_log_is_short;

/* Whether the own log leads past the own snapshots: not, while the flag says so. */
bool __real_lks_replica_recover_ends(const struct lks_replica *replica);
bool __wrap_lks_replica_recover_ends(const struct lks_replica *replica);
bool __wrap_lks_replica_recover_ends(const struct lks_replica *replica)
{
    return !g_log_is_short && __real_lks_replica_recover_ends(replica);
}

/* Load at a replica, until its base has moved by some rings. */
static void load(struct rig *rig, uint32_t id, uint32_t rings)
{
    const uint64_t enough = rig_status(rig, id).base_offset + rings * RING;
    for (uint32_t i = 0; i < 1000 && rig_status(rig, id).base_offset < enough; i++) {
        rig_submit_many(rig, id, COMMAND_BYTES, BATCH);
        rig_run(rig, 20 * RIG_TICK_NS);
    }
    assert_true(rig_status(rig, id).base_offset >= enough);
}

/* 1 leads, 3 is down and too far behind. */
static struct rig *behind(const struct rig_options *options, bool lost_power)
{
    struct rig *rig = rig_new(options);
    rig_make_leader(rig, 1);
    load(rig, 1, 1);
    rig_crash(rig, 3, lost_power);
    load(rig, 1, 3);
    return rig;
}

static uint64_t installed(const struct rig *rig, uint32_t id)
{
    return rig_status(rig, id).snapshots.installed;
}

static void until_installing(struct rig *rig, uint32_t id)
{
    for (uint32_t i = 0; i < 4000 && rig->replicas[id].replica->install.phase !=
                                         LKS_INSTALL_FETCHING; i++) {
        rig_tick(rig);
    }
    assert_int_equal(rig->replicas[id].replica->install.phase, LKS_INSTALL_FETCHING);
}

static void install__too_far_behind__same_state_in_the_end(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_start(rig, 3);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    assert_int_equal(rig_status(rig, 3).snapshots.donor, 0);
    load(rig, 3, 1); /* ... and it goes on like the others */
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    rig_free(rig);
}

/* What is told of it never lies below the base, also while partitions are being restored. */
static void install__while_it_restores__tells_no_less_than_the_base(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 4000; /* more than one step restores */
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    for (uint32_t i = 0; i < 4000 && installed(rig, 3) == 0; i++) {
        rig_tick(rig);
        const struct lks_replica_status status = rig_status(rig, 3);
        assert_true(status.applied_offset >= status.base_offset);
    }
    assert_int_equal(installed(rig, 3), 1);
    rig_settle(rig);
    rig_free(rig);
}

static void install__under_load__catches_up(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_start(rig, 3);
    for (uint32_t i = 0; i < 200; i++) {
        rig_submit_many(rig, 1 + i % 2, COMMAND_BYTES, 4);
        rig_run(rig, 10 * RIG_TICK_NS);
    }
    rig_settle(rig);
    assert_true(installed(rig, 3) >= 1);
    rig_free(rig);
}

/* As many commands as the leader takes, for one tick in eight of which the laggard steps. */
static uint32_t press(struct rig *rig, uint32_t tick)
{
    uint32_t taken = 0;
    rig->replicas[3].stalled = tick % 8 != 0;
    while (taken < 4 && rig_status(rig, 1).pending < 40) {
        rig_submit_many(rig, 1, COMMAND_BYTES, 1); /* none is refused */
        taken++;
    }
    rig_tick(rig);
    return taken;
}

/* Its copy takes longer than the ring takes to be written anew, and the load does not end. */
static void install__ring_filled_faster_than_it_copies__catches_up_all_the_same(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 1000;
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    bool caught_up = false;
    for (uint32_t i = 0; i < 6000 && !caught_up; i++) {
        (void)press(rig, i);
        const struct lks_core_view *view = lks_core_view(rig->replicas[1].replica->core);
        caught_up = view->peers[3].path_open && !view->peers[3].installing &&
                    view->peers[3].durable_offset + RING / 8 > view->tail.offset;
    }
    assert_true(caught_up);
    assert_true(installed(rig, 3) <= 4);
    rig->replicas[3].stalled = false;
    rig_settle(rig);
    rig_free(rig);
}

/* Commands are slowed down for a follower that does not come to an end for a bounded time only. */
static void install__slowed_down_in_vain__goes_on_as_before(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 1000;
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    const struct lks_core_view *view = rig->replicas[1].replica->view;
    for (uint32_t i = 0; i < 6000 && !view->braking; i++) {
        (void)press(rig, i);
    }
    assert_true(view->braking);
    uint32_t ticks = 0;
    while (view->braking) {
        assert_true(ticks < 2000);
        (void)press(rig, 8 * ticks + 1); /* 3 does nothing any more */
        ticks++;
    }
    const uint64_t base = rig_status(rig, 1).base_offset;
    for (uint32_t i = 0; i < 2000; i++) {
        (void)press(rig, 8 * i + 1);
    }
    assert_true(rig_status(rig, 1).base_offset > base + 4 * RING);
    rig->replicas[3].stalled = false;
    rig_settle(rig);
    rig_free(rig);
}

static void install__slow_medium__by_the_flusher(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    for (uint32_t id = 1; id <= 3; id++) {
        options.slow_medium[id] = true;
        options.durability[id] = LKS_DURABILITY_PMEM_ACK;
    }
    struct rig *rig = behind(&options, true);
    rig_start(rig, 3);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    rig_free(rig);
}

static void install__journal_replaced__rebuilt_from_the_peers(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, true);
    rig_replace(rig, 3);
    rig_start(rig, 3);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    rig_run(rig, RIG_ELECTION_NS);
    assert_false(rig_status(rig, 3).amnesiac);
    rig_free(rig);
}

static void install__own_process_dies_at_any_moment__goes_on_after_the_restart(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 4000; /* some blocks a partition */
    struct rig *rig = behind(&options, false);
    for (uint32_t ticks = 1; ticks < 60; ticks += 3) {
        rig_start(rig, 3);
        for (uint32_t i = 0; i < ticks; i++) {
            rig_tick(rig);
        }
        rig_crash(rig, 3, ticks % 2 == 0);
    }
    rig_start(rig, 3);
    rig_settle(rig);
    rig_free(rig);
}

static void install__donor_dies_in_the_middle__another_one_is_read(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 4000;
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    const uint32_t donor = rig_status(rig, 3).snapshots.donor;
    rig_crash(rig, donor, false);
    if (donor == 1) {
        rig_start(rig, 1);
    }
    rig_settle(rig);
    if (donor == 2) {
        rig_start(rig, 2);
        rig_settle(rig);
    }
    assert_true(installed(rig, 3) >= 1);
    rig_free(rig);
}

static void install__a_new_leader_asks_meanwhile__it_ends_first(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 4000;
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    (void)lks_replica_stop(rig->replicas[1].replica, rig->now_ns); /* hands over to 2 */
    rig_settle(rig);
    assert_true(installed(rig, 3) >= 1);
    rig_free(rig);
}

static void install__donor_replaces_what_is_read__held_or_read_again(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 400;
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    rig->replicas[3].stalled = true; /* longer than anything is held */
    load(rig, 1, 12);
    rig_run(rig, 40 * RIG_ELECTION_NS);
    rig->replicas[3].stalled = false;
    rig_settle(rig);
    assert_true(installed(rig, 3) >= 1);
    rig_free(rig);
}

/* Each call of the own area that can fail does so once: the attempt is given up, the next works. */
static void install__own_area_refuses_once__tried_again(void **state)
{
    (void)state;
    for (int call = 0; call < CALLS; call++) {
        struct rig *rig = behind(&g_options, false);
        rig_start(rig, 3);
        g_fails[call] = -ENOSPC;
        rig_settle(rig);
        assert_int_equal(g_fails[call], 0);
        assert_int_equal(installed(rig, 3), 1);
        rig_free(rig);
    }
}

static uint64_t used(const struct rig *rig, uint32_t id)
{
    return rig_status(rig, id).snapshots.used_bytes;
}

static void until_idle(struct rig *rig, uint32_t id)
{
    for (uint32_t i = 0; i < 4000 && rig->replicas[id].replica->install.phase !=
                                         LKS_INSTALL_IDLE; i++) {
        rig_tick(rig);
    }
    assert_int_equal(rig->replicas[id].replica->install.phase, LKS_INSTALL_IDLE);
}

/* Copies of what the donor has replaced since are of no use, and room may be short. */
static void install__copies_of_an_older_manifest__give_their_room_back(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 4000; /* some blocks a partition */
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    const uint64_t own = used(rig, 3);
    g_fails[PERSIST_STEP] = -EIO;
    until_idle(rig, 3);
    assert_true(used(rig, 3) > own + 8 * LKS_SNAPSHOT_BLOCK_BYTES); /* to go on with */
    rig->replicas[3].stalled = true;
    load(rig, 1, 4); /* every partition is replaced */
    rig->replicas[3].stalled = false;
    until_installing(rig, 3);
    assert_true(used(rig, 3) <= own + LKS_INSTALL_LANES * LKS_SNAPSHOT_BLOCK_BYTES);
    rig_settle(rig);
    rig_free(rig);
}

static void install__no_room__all_that_was_copied_is_given_back(void **state)
{
    (void)state;
    struct rig_options options = g_options;
    options.record_bytes = 4000;
    struct rig *rig = behind(&options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    const uint64_t own = used(rig, 3);
    g_fails[PERSIST_STEP] = -ENOSPC; /* when all is copied */
    until_idle(rig, 3);
    assert_int_equal(used(rig, 3), own);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    rig_free(rig);
}

/* What a reader has asked to hold here gives way, too. */
static void install__no_room_but_what_is_held__read_again(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    struct lks_snapshots *store = rig->replicas[3].snapshots;
    store->retired = (struct lks_block_chain){0};
    lks_snapshots_hold(store, UINT64_MAX);
    struct lks_block_chain chain = {0};
    assert_int_equal(lks_blocks_take(store, &chain), 0);
    lks_blocks_retire(store, &chain);
    g_fails[COPY_BLOCK] = -ENOSPC;
    const uint32_t tries = rig->replicas[3].replica->install.tries;
    for (uint32_t i = 0; i < 4000 && g_fails[COPY_BLOCK] != 0; i++) {
        rig_tick(rig);
    }
    assert_true(rig->replicas[3].replica->install.tries > tries); /* the same attempt */
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    rig_free(rig);
}

/* A bit of a partition's snapshot flips, on the medium of one that may be asked for it. */
static void rot(const struct rig *rig, uint32_t id, uint32_t partition)
{
    const struct lks_snapshots *store = rig->replicas[id].snapshots;
    const struct lks_snapshot_item *item = lks_snapshots_item(store, partition);
    assert_true(item->blocks != 0);
    lks_snapshots_block(store, item->first_block)[100] ^= 1;
}

/* No command comes, so no donor would take a new snapshot by itself. */
static void install__every_donor_is_rotten_and_idle__takes_a_new_snapshot(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_settle(rig);
    uint64_t ids[3];
    for (uint32_t id = 1; id <= 2; id++) {
        rot(rig, id, 1);
        rot(rig, id, 2);
        ids[id] = lks_snapshots_item(rig->replicas[id].snapshots, 1)->id;
    }
    rig_start(rig, 3);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    const uint32_t donor = rig->replicas[3].replica->install.donor;
    const struct lks_snapshots *store = rig->replicas[donor].snapshots;
    assert_int_not_equal(lks_snapshots_item(store, 1)->id, ids[donor]);
    rig_free(rig);
}

static void install__manifest_of_the_donor_is_rotten__written_again(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 2; id++) {
        const struct lks_snapshots *store = rig->replicas[id].snapshots;
        for (uint32_t slot = 0; slot < 2; slot++) {
            store->mapping.address[store->geometry.slots_at + slot * store->geometry.slot_bytes +
                                   64] ^= 1;
        }
    }
    rig_start(rig, 3);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 1);
    rig_free(rig);
}

/* Said once more, or of a snapshot that is there no more: nothing happens. */
static void again__known_or_replaced__ignored(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_settle(rig);
    struct lks_replica *replica = rig->replicas[1].replica;
    const uint64_t id = lks_snapshots_item(rig->replicas[1].snapshots, 3)->id;
    assert_true(lks_replica_snapshot_again(replica, 3));
    assert_false(lks_replica_snapshot_again(replica, 3));
    rig_run(rig, RIG_ELECTION_NS);
    assert_int_not_equal(lks_snapshots_item(rig->replicas[1].snapshots, 3)->id, id);
    const uint64_t taken = rig_status(rig, 1).snapshots.taken; /* (others were tied to it) */
    assert_true(lks_replica_send_spoilt(rig->replicas[2].replica, 1, 3, id));
    assert_true(lks_replica_send_spoilt(rig->replicas[2].replica, 1, 4, id)); /* there are four */
    rig_run(rig, RIG_ELECTION_NS);
    assert_int_equal(rig_status(rig, 1).snapshots.taken, taken);
    rig_free(rig);
}

/* The manifest names the copies, and the base cannot follow: it stops, and goes on from there. */
static void install__base_not_written__stops_and_is_whole_after_the_restart(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_start(rig, 3);
    until_installing(rig, 3);
    g_base_fails = -EIO;
    for (uint32_t i = 0; i < 400 && rig->replicas[3].status >= 0; i++) {
        rig_tick(rig);
    }
    assert_int_equal(rig->replicas[3].status, -EIO);
    rig_crash(rig, 3, true);
    rig_start(rig, 3);
    rig_settle(rig);
    assert_int_equal(installed(rig, 3), 0); /* not again */
    rig_free(rig);
}

/* A candidate below the best grantor's base. */
static void adopt__below_the_grantors_base__installs_and_leads(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_crash(rig, 1, false);
    rig_start(rig, 3);
    rig_run(rig, 4 * RIG_ELECTION_NS);
    (void)rig_lead(rig);
    rig_start(rig, 1);
    rig_settle(rig);
    assert_true(installed(rig, 3) >= 1);
    rig_free(rig);
}

/* What an installation brought leads up to different points, and the log ends before the youngest:
 * own snapshots have to wait for more of the log, which the holder of the ring does not write. */
static void install__own_snapshots_are_younger_than_the_log__copies_others(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_start(rig, 3);
    for (uint32_t i = 0; i < 4000 && installed(rig, 3) == 0; i++) {
        rig_tick(rig);
    }
    struct lks_replica *replica = rig->replicas[3].replica;
    const struct lks_effect effect = {
        .kind = LKS_EFFECT_INSTALL, .peer = 1, .from = replica->applied.offset};
    until_idle(rig, 3);
    assert_true(replica->view->commit_offset < replica->recovery.left_out_end);
    lks_install_start(replica, &effect);
    assert_int_equal(replica->install.phase, LKS_INSTALL_STOPPING);
    rig_free(rig);
}

/* It may be a candidate, and hold the grants of all while it waits. */
static void install__own_snapshots_cannot_be_taken__is_given_up(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    rig_submit_many(rig, 1, COMMAND_BYTES, BATCH);
    rig_settle(rig);
    struct lks_replica *replica = rig->replicas[3].replica;
    const struct lks_effect effect = {
        .kind = LKS_EFFECT_INSTALL, .peer = 1, .from = replica->applied.offset};
    replica->taker.failing_since_ns = replica->now_ns;
    replica->taker.failed_code = -EIO;
    lks_install_start(replica, &effect);
    assert_int_equal(replica->install.phase, LKS_INSTALL_OWN);
    assert_int_equal(lks_install_step(replica), 0);
    replica->now_ns += RIG_ELECTION_NS;
    assert_int_equal(lks_install_step(replica), 1);
    assert_int_equal(replica->install.phase, LKS_INSTALL_IDLE);
    assert_int_equal(replica->install.status, -EIO);
    rig_free(rig);
}

/* The copies may be older than what was applied: it is applied again, and nothing that was told,
 * or answered, is taken back. */
static void install__copies_are_older_than_what_was_applied__nothing_is_taken_back(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    struct lks_replica *replica = rig->replicas[3].replica;
    const struct lks_snapshots *donor = rig->replicas[1].snapshots;
    struct lks_log_point lowest = {0};
    for (uint32_t i = 0; i < 1000 && lowest.offset <= replica->base_offset; i++) {
        rig_submit_many(rig, 3, COMMAND_BYTES, BATCH);
        rig_settle(rig);
        lowest = lks_snapshots_point(donor, lks_snapshots_lowest(donor));
    }
    const struct lks_core_view *view = replica->view;
    const struct lks_message message = {.kind = LKS_MESSAGE_INSTALL,
                                        .term = view->grant.term,
                                        .incarnation = view->grant.incarnation,
                                        .request = UINT64_C(1) << 40,
                                        .key = {view->grant.number, 1},
                                        .base = lks_replica_position(&lowest)};
    const uint64_t told = rig_status(rig, 3).applied_offset;
    const uint64_t index = replica->applied.index;
    assert_int_equal(view->grant.peer, 1);
    assert_true(lowest.offset > replica->base_offset);
    assert_true(lowest.offset + BATCH * COMMAND_BYTES / 2 < told);
    rig->replicas[1].stalled = true; /* the holder of the ring writes nothing meanwhile */
    g_log_is_short = true;
    lks_replica_event(replica, LKS_EVENT_MESSAGE, 1)->message = &message;
    for (uint32_t i = 0; i < 4000 && installed(rig, 3) == 0; i++) {
        rig_step(rig, 3);
        assert_int_equal(rig_status(rig, 3).applied_offset, told);
    }
    assert_int_equal(installed(rig, 3), 1);
    assert_int_equal(replica->applied.offset, lowest.offset);
    assert_true(replica->recovery.left_out_most >= index); /* no read before it is there again */
    assert_false(lks_replica_recover_may_read(replica));
    g_log_is_short = false;
    rig->replicas[1].stalled = false;
    rig_submit_many(rig, 3, COMMAND_BYTES, BATCH);
    rig_settle(rig);
    assert_true(lks_replica_recover_may_read(replica));
    assert_int_equal(rig->replicas[3].unknown, 0);
    rig_free(rig);
}

static void install__no_area__fails_with_the_reason(void **state)
{
    (void)state;
    struct rig *rig = behind(&g_options, false);
    rig_start(rig, 3);
    struct lks_replica *replica = rig->replicas[3].replica;
    struct lks_snapshots *store = replica->options.snapshots;
    replica->options.snapshots = NULL;
    const struct lks_effect effect = {.kind = LKS_EFFECT_INSTALL, .peer = 1, .from = 64};
    lks_install_start(replica, &effect);
    assert_int_equal(replica->install.phase, LKS_INSTALL_IDLE);
    assert_int_equal(replica->install.status, -ENOTSUP);
    replica->options.snapshots = store;
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(install__too_far_behind__same_state_in_the_end),
        cmocka_unit_test(install__while_it_restores__tells_no_less_than_the_base),
        cmocka_unit_test(install__under_load__catches_up),
        cmocka_unit_test(install__ring_filled_faster_than_it_copies__catches_up_all_the_same),
        cmocka_unit_test(install__slowed_down_in_vain__goes_on_as_before),
        cmocka_unit_test(install__slow_medium__by_the_flusher),
        cmocka_unit_test(install__journal_replaced__rebuilt_from_the_peers),
        cmocka_unit_test(install__own_process_dies_at_any_moment__goes_on_after_the_restart),
        cmocka_unit_test(install__donor_dies_in_the_middle__another_one_is_read),
        cmocka_unit_test(install__a_new_leader_asks_meanwhile__it_ends_first),
        cmocka_unit_test(install__donor_replaces_what_is_read__held_or_read_again),
        cmocka_unit_test(install__own_area_refuses_once__tried_again),
        cmocka_unit_test(install__copies_of_an_older_manifest__give_their_room_back),
        cmocka_unit_test(install__no_room__all_that_was_copied_is_given_back),
        cmocka_unit_test(install__no_room_but_what_is_held__read_again),
        cmocka_unit_test(install__every_donor_is_rotten_and_idle__takes_a_new_snapshot),
        cmocka_unit_test(install__manifest_of_the_donor_is_rotten__written_again),
        cmocka_unit_test(again__known_or_replaced__ignored),
        cmocka_unit_test(install__base_not_written__stops_and_is_whole_after_the_restart),
        cmocka_unit_test(adopt__below_the_grantors_base__installs_and_leads),
        cmocka_unit_test(install__own_snapshots_are_younger_than_the_log__copies_others),
        cmocka_unit_test(install__own_snapshots_cannot_be_taken__is_given_up),
        cmocka_unit_test(install__copies_are_older_than_what_was_applied__nothing_is_taken_back),
        cmocka_unit_test(install__no_area__fails_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
