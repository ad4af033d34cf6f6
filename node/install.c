/*
 * Installing: a donor's snapshots, read one-sidedly, take the place of the own ones; then the base
 * moves to their lowest point, and what follows it by chain in the own ring is the log.
 *
 *   own taker still -> donor's manifest -> blocks, checked and copied -> durable -> own manifest
 *   -> base -> log durable -> INSTALLED
 *
 * Carries out the core's INSTALL on the replica's thread, in bounded steps; however it ends, one
 * INSTALLED event tells the core what base and log now are. The donor's processor takes no part
 * but for a message now and then: it asks it not to reuse what it replaces, or to take again what
 * is damaged there. What was copied before an attempt failed is not fetched again. Reasons:
 * docs/protocol.md, "Installing".
 */
#include "node/install.h"

#include "node/replica_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 64u /* manifests of one attempt */
#define HOLD_EVERY_NS UINT64_C(500000000)
#define WARN_EVERY_NS UINT64_C(1000000000) /* of one and the same failure */
#define PERSIST_BYTES (UINT64_C(1) << 20) /* a step */
#define PERSIST_ALL UINT32_MAX            /* id of the manifest's range with the flusher */

_Static_assert(LKS_INSTALL_SCRATCH_AT + LKS_INSTALL_LANES * LKS_INSTALL_BLOCKS_MAX *
                       LKS_SNAPSHOT_BLOCK_BYTES <= LKS_REPLICA_SCRATCH_BYTES,
               "the lanes' buffers fit");

static struct lks_snapshots *store_of(const struct lks_replica *replica)
{
    return replica->options.snapshots;
}

static uint8_t *scratch(const struct lks_replica *replica, uint64_t at)
{
    return (uint8_t *)lks_fabric_scratch(replica->options.fabric) + at;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void tell_core(struct lks_replica *replica, bool log_changed)
{
    struct lks_install *install = &replica->install;
    struct lks_log_point base;
    lks_journal_base(replica->options.journal, &base);
    struct lks_core_event *event =
        lks_replica_event(replica, LKS_EVENT_INSTALLED, install->donor);
    event->status = install->status;
    event->base = lks_replica_position(&base);
    event->position = replica->view->tail;
    event->members = replica->view->members;
    if (log_changed) {
        event->members = install->members;
        event->position = lks_replica_position(&install->cursor);
        event->runs = &install->runs;
        lks_replica_tell_members(replica);
    }
    free(install->preface);
    install->preface = NULL;
    install->phase = LKS_INSTALL_IDLE;
    if (install->status == -ENOSPC) {
        lks_install_forget(replica); /* all the room is the next attempt's, or own snapshots' */
    }
}

static bool reads_are_out(const struct lks_install *install)
{
    bool out = install->manifest_read;
    for (uint32_t i = 0; i < LKS_INSTALL_LANES; i++) {
        out = out || install->lanes[i].reading;
    }
    return out;
}

/* An attempt that cannot go on ends when everything that is out has come back. */
static void try_end(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    if (install->phase == LKS_INSTALL_ENDING && !install->posted && !reads_are_out(install)) {
        tell_core(replica, false);
    }
}

static void fail(struct lks_replica *replica, int status, const char *reason)
{
    struct lks_install *install = &replica->install;
    LKS_ASSERT(status < 0);
    LKS_ASSERT(install->phase < LKS_INSTALL_REPLACING);
    const bool again = install->warned_ns != 0 && status == install->warned_status &&
                       replica->now_ns - install->warned_ns < WARN_EVERY_NS;
    if (reason != NULL && !again) {
        install->warned_ns = replica->now_ns > 0 ? replica->now_ns : 1;
        install->warned_status = status;
        lks_log_warn(replica->options.log_sink, "snapshots of replica %u are not installed: %s",
                     install->donor, reason);
    }
    install->status = status;
    install->phase = LKS_INSTALL_ENDING;
    try_end(replica);
}

/* Copies that are of no use any more make room for own snapshots. */
void lks_install_forget(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    LKS_ASSERT(install->phase == LKS_INSTALL_IDLE || install->phase == LKS_INSTALL_OWN);
    if (!install->drafts) {
        return;
    }
    for (uint32_t p = 0; p < lks_snapshots_partitions(store_of(replica)); p++) {
        lks_snapshot_abandon(store_of(replica), p);
    }
    install->drafts = false;
}

/* The area refuses, also once what it held for readers is free. */
static void fail_area(struct lks_replica *replica, int status)
{
    struct lks_error err = {0};
    (void)lks_snapshots_explain(store_of(replica), status, &err);
    fail(replica, status, err.text);
}

/* ---- the donor's manifest ------------------------------------------------------------------- */

static int post_read(struct lks_replica *replica, uint64_t lane, uint64_t from, uint64_t at,
                     uint64_t bytes)
{
    uint64_t id = 0;
    struct lks_op *op =
        lks_replica_op(replica, LKS_OP_SNAPSHOT_READ, replica->install.donor, &id);
    op->offset = lane;
    op->bytes = bytes;
    const int rc = lks_fabric_read(replica->options.fabric, replica->install.donor,
                                   LKS_FABRIC_SNAPSHOTS, from, scratch(replica, at), bytes, id);
    if (rc != 0) {
        lks_replica_op_free(replica, op);
    }
    return rc;
}

static void read_manifest(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots_geometry geometry;
    lks_snapshots_geometry(lks_snapshots_partitions(store_of(replica)), &geometry);
    LKS_ASSERT(geometry.preface_bytes <= LKS_INSTALL_LANES * LKS_INSTALL_BLOCKS_MAX *
                                             (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES);
    install->phase = LKS_INSTALL_PREFACE;
    if (install->tries == TRIES_MAX) {
        if (install->unread) {
            (void)lks_replica_send_spoilt(replica, install->donor, LKS_PARTITIONS_MAX, 0);
        }
        fail(replica, -ESTALE, install->unread ? "no manifest of it can be read"
                                               : "it replaces them faster than they can be read");
        return;
    }
    install->tries++;
    if (install->preface == NULL) {
        install->preface = aligned_alloc(64, geometry.preface_bytes);
    }
    if (install->preface == NULL) {
        fail(replica, -ENOMEM, "no memory for its manifest");
        return;
    }
    const int rc =
        post_read(replica, LKS_INSTALL_LANES, 0, LKS_INSTALL_SCRATCH_AT, geometry.preface_bytes);
    if (rc != 0) {
        fail(replica, rc, lks_error_text(rc));
        return;
    }
    install->manifest_read = true;
}

/*
 * Whether the manifest brings the base far enough. Single partitions may go back, to a point that
 * the log above the new base leads on from: an installation that was cut short, or whose log never
 * came, left snapshots that are younger than this donor's, and no log that leads up to them.
 */
static int judge(struct lks_replica *replica, struct lks_error *err)
{
    struct lks_install *install = &replica->install;
    const struct lks_snapshots_manifest *manifest = &install->manifest;
    const uint64_t lowest = manifest->items[lks_snapshots_manifest_lowest(manifest)].offset;
    if (lowest < install->from) {
        return lks_error_set(err, -ENODATA,
                             "they reach from offset %" PRIu64 ", but %" PRIu64 " is needed",
                             lowest, install->from);
    }
    install->bytes_expected = 0;
    install->bytes_done = 0;
    for (uint32_t p = 0; p < manifest->partitions; p++) {
        install->bytes_expected += manifest->items[p].bytes;
    }
    return 0;
}

static void begin_lane(struct lks_replica *replica, struct lks_install_lane *lane);

/*
 * A block was not as it should be, and a manifest that was read after that still names its
 * snapshot: so it was not replaced under the reader, it is damaged. The donor does not look at its
 * own blocks, and takes no new snapshot while no commands come: it is told to. The leader may name
 * another one meanwhile.
 */
static int find_spoilt(struct lks_replica *replica, struct lks_error *err)
{
    struct lks_install *install = &replica->install;
    for (uint32_t i = 0; i < LKS_INSTALL_LANES; i++) {
        struct lks_install_lane *lane = &install->lanes[i];
        const uint64_t id = lane->spoilt_id;
        lane->spoilt_id = 0;
        if (id != 0 && install->manifest.items[lane->spoilt].id == id) {
            (void)lks_replica_send_spoilt(replica, install->donor, lane->spoilt, id);
            return lks_error_set(err, -LKS_EDAMAGED,
                                 "that of partition %" PRIu32 " is damaged: replica %" PRIu32
                                 " was told to take another one", lane->spoilt, install->donor);
        }
    }
    return 0;
}

/* What earlier attempts copied, and this manifest does not name, gives its room back: the copies
 * of another donor, or of an older manifest, would leave too little in a small area, for good. */
static void drop_stale_copies(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots *store = store_of(replica);
    for (uint32_t p = 0; p < install->manifest.partitions; p++) {
        if (!lks_snapshot_is_copy_of(store, p, &install->manifest.items[p])) {
            lks_snapshot_abandon(store, p);
        }
    }
}

static void manifest_arrived(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots_geometry geometry;
    struct lks_journal_facts facts;
    struct lks_error err = {0};
    lks_snapshots_geometry(lks_snapshots_partitions(store_of(replica)), &geometry);
    lks_journal_facts(replica->options.journal, &facts);
    memcpy(install->preface, scratch(replica, LKS_INSTALL_SCRATCH_AT), geometry.preface_bytes);
    int rc = lks_snapshots_choose_manifest(install->preface, facts.cluster_id,
                                           geometry.partitions, &install->manifest, &err);
    install->unread = rc == -EAGAIN;
    if (rc == -EAGAIN) {
        read_manifest(replica);
        return;
    }
    rc = rc == 0 ? judge(replica, &err) : rc;
    rc = rc == 0 ? find_spoilt(replica, &err) : rc;
    if (rc != 0) {
        fail(replica, rc, err.text);
        return;
    }
    drop_stale_copies(replica);
    install->phase = LKS_INSTALL_FETCHING;
    install->next = 0;
    for (uint32_t i = 0; i < LKS_INSTALL_LANES && install->phase == LKS_INSTALL_FETCHING; i++) {
        begin_lane(replica, &install->lanes[i]);
    }
}

/* ---- its blocks ----------------------------------------------------------------------------- */

/* Something was replaced under the reader: the other lane stops too, then a fresh manifest. */
static void begin_again(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    install->phase = LKS_INSTALL_PREFACE;
    for (uint32_t i = 0; i < LKS_INSTALL_LANES; i++) {
        install->lanes[i].active = false;
    }
    if (!reads_are_out(install)) {
        read_manifest(replica);
    }
}

static void read_more(struct lks_replica *replica, struct lks_install_lane *lane)
{
    uint64_t offset = 0;
    lane->blocks = lks_snapshot_fetch_plan(&lane->fetch, LKS_INSTALL_BLOCKS_MAX, &offset);
    const uint64_t index = (uint64_t)(lane - replica->install.lanes);
    lane->at = LKS_INSTALL_SCRATCH_AT +
               index * LKS_INSTALL_BLOCKS_MAX * LKS_SNAPSHOT_BLOCK_BYTES;
    const int rc = post_read(replica, index, offset, lane->at,
                             lane->blocks * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES);
    if (rc != 0) {
        fail(replica, rc, lks_error_text(rc));
        return;
    }
    lane->reading = true;
}

/* Finds the next partition that is not here yet, and begins to read it. */
static void begin_lane(struct lks_replica *replica, struct lks_install_lane *lane)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots *store = store_of(replica);
    lane->active = false;
    while (install->next < install->manifest.partitions) {
        const uint32_t p = install->next;
        const struct lks_snapshot_item *item = &install->manifest.items[p];
        install->next++;
        if (lks_snapshot_is_copy_of(store, p, item)) {
            install->bytes_done += item->bytes;
            continue;
        }
        const int rc = lks_snapshot_copy_begin(store, p, item);
        install->drafts = true;
        if (rc != 0) {
            fail_area(replica, rc);
            return;
        }
        if (item->blocks != 0) {
            lks_snapshot_fetch_init(&lane->fetch, &install->manifest, p);
            lane->active = true;
            read_more(replica, lane);
            return;
        }
    }
}

static void take_blocks(struct lks_replica *replica, struct lks_install_lane *lane)
{
    struct lks_install *install = &replica->install;
    const uint8_t *bytes = scratch(replica, lane->at);
    const uint64_t before = lane->fetch.bytes;
    const int good = lks_snapshot_fetch_take(&lane->fetch, bytes, lane->blocks);
    if (good < 0) {
        lane->spoilt = lane->fetch.partition;
        lane->spoilt_id = lane->fetch.item.id;
        begin_again(replica);
        return;
    }
    const uint32_t p = lane->fetch.partition;
    int rc = 0;
    for (int i = 0; i < good && rc == 0; i++) {
        rc = lks_snapshot_copy_block(store_of(replica), p,
                                     bytes + (uint64_t)i * LKS_SNAPSHOT_BLOCK_BYTES);
    }
    install->bytes_done += lane->fetch.bytes - before;
    const bool done = lks_snapshot_fetch_done(&lane->fetch);
    if (rc == 0 && done) {
        rc = lks_snapshot_copy_finish(store_of(replica), p);
    }
    if (rc == -ENOSPC && lks_replica_snapshots_release(replica)) {
        begin_again(replica);
    } else if (rc != 0) {
        fail_area(replica, rc);
    } else if (done) {
        begin_lane(replica, lane);
    } else {
        read_more(replica, lane);
    }
}

void lks_install_arrived(struct lks_replica *replica, const struct lks_op *op, int status)
{
    struct lks_install *install = &replica->install;
    const bool manifest = op->offset == LKS_INSTALL_LANES;
    struct lks_install_lane *lane = manifest ? NULL : &install->lanes[op->offset];
    if (manifest) {
        install->manifest_read = false;
    } else {
        lane->reading = false;
    }
    if (install->phase == LKS_INSTALL_ENDING) {
        try_end(replica);
    } else if (status != 0) {
        fail(replica, status, lks_error_text(status));
    } else if (manifest) {
        manifest_arrived(replica);
    } else if (lane->active) {
        take_blocks(replica, lane);
    } else if (!reads_are_out(install)) {
        read_manifest(replica);
    }
    if (install->phase == LKS_INSTALL_FETCHING && !install->lanes[0].active &&
        !install->lanes[1].active) {
        install->phase = LKS_INSTALL_PERSISTING;
        install->next = 0;
    }
}

/* ---- into the place of the own ones --------------------------------------------------------- */

static void post_range(struct lks_replica *replica, const struct lks_snapshots_range *range,
                       uint64_t id)
{
    replica->install.posted = true;
    replica->options.snapshot_persister.post(replica->options.snapshot_persister.ctx,
                                             range->offset, range->offset + range->bytes, id);
}

/* The base follows the manifest, and the log the base; from now on this is the own state. */
static void move_base(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots *store = store_of(replica);
    const struct lks_log_point base = lks_snapshots_point(store, lks_snapshots_lowest(store));
    if (base.offset > replica->base_offset) {
        const int rc = lks_journal_write_base(replica->options.journal, &base);
        if (rc != 0) {
            lks_replica_fail(replica, rc, "the log's base cannot be moved: %s",
                             lks_error_text(rc));
            return;
        }
        lks_replica_base_moved(replica, &base);
    }
    install->cursor = base;
    install->runs = (struct lks_runs){0};
    if (!lks_replica_members_in_snapshots(replica, &install->members)) {
        return;
    }
    lks_replica_scan(
        replica, &(struct lks_log_walk){&install->cursor, &install->runs, &install->members},
        UINT64_MAX);
    install->phase = LKS_INSTALL_LOG;
    lks_replica_persist(replica, LKS_PERSIST_READ, base.offset, install->cursor.offset);
}

static void replaced(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    install->drafts = false;
    install->ended++;
    lks_log_info(replica->options.log_sink,
                 "installed the snapshots of replica %u: %" PRIu64 " bytes, %" PRIu64 " ms",
                 install->donor, install->bytes_expected,
                 (replica->now_ns - install->began_ns) / UINT64_C(1000000));
    move_base(replica);
    if (replica->fatal == 0) {
        lks_replica_recover_again(replica);
        lks_replica_snapshots_begin(replica);
    }
}

static void replace(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots *store = store_of(replica);
    if (replica->options.snapshot_persister.post == NULL) {
        const int rc = lks_snapshots_replace_all(store);
        if (rc != 0) {
            fail_area(replica, rc);
            return;
        }
        replaced(replica);
        return;
    }
    const uint32_t partitions = lks_snapshots_partitions(store);
    uint32_t *all = malloc(partitions * sizeof *all);
    if (all == NULL) {
        fail(replica, -ENOMEM, "no memory");
        return;
    }
    for (uint32_t p = 0; p < partitions; p++) {
        all[p] = p;
    }
    struct lks_snapshots_range range;
    const int rc = lks_snapshots_replace_begin(store, all, partitions, &range);
    free(all);
    if (rc != 0) {
        fail_area(replica, rc);
        return;
    }
    install->phase = LKS_INSTALL_REPLACING;
    post_range(replica, &range, PERSIST_ALL);
}

/* A bounded piece of what is not durable yet; then the manifest. */
static int persist_step(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots *store = store_of(replica);
    const uint32_t partitions = lks_snapshots_partitions(store);
    while (install->next < partitions && lks_snapshot_is_durable(store, install->next)) {
        install->next++;
    }
    if (install->posted) {
        return 0;
    }
    if (install->next == partitions) {
        replace(replica);
        return 1;
    }
    if (replica->options.snapshot_persister.post == NULL) {
        uint64_t left = 0;
        const int rc = lks_snapshot_persist_step(store, install->next, PERSIST_BYTES, &left);
        if (rc != 0) {
            fail_area(replica, rc);
        }
        return 1;
    }
    struct lks_snapshots_range range;
    const int rc = lks_snapshot_persist_begin(store, install->next, PERSIST_BYTES, &range);
    if (rc != 0) {
        fail_area(replica, rc);
        return 1;
    }
    post_range(replica, &range, install->next);
    return 1;
}

/* A range of the own area has come back from the flusher. */
void lks_install_persisted(struct lks_replica *replica, uint64_t id, int status)
{
    struct lks_install *install = &replica->install;
    LKS_ASSERT(install->posted);
    install->posted = false;
    if (id == PERSIST_ALL) {
        LKS_ASSERT(install->phase == LKS_INSTALL_REPLACING);
        if (status != 0) {
            /* The manifest may be there or not: which snapshots are the newest is not known. */
            lks_replica_fail(replica, status, "the manifest of the snapshots cannot be made "
                             "durable: %s", lks_error_text(status));
            return;
        }
        lks_snapshots_replace_end(store_of(replica));
        replaced(replica);
        return;
    }
    lks_snapshot_persist_end(store_of(replica), (uint32_t)id);
    if (install->phase == LKS_INSTALL_ENDING) {
        try_end(replica);
    } else if (status != 0) {
        fail_area(replica, status);
    }
}

/* What follows the new base is durable (a range of the log has come back). */
void lks_install_log_persisted(struct lks_replica *replica)
{
    LKS_ASSERT(replica->install.phase == LKS_INSTALL_LOG);
    replica->install.status = 0;
    tell_core(replica, true);
}

/* ---- begin, go on, cancel ------------------------------------------------------------------- */

void lks_install_start(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_install *install = &replica->install;
    LKS_ASSERT(install->phase == LKS_INSTALL_IDLE);
    install->donor = effect->peer;
    install->from = effect->from;
    install->status = 0;
    install->tries = 0;
    install->unread = false;
    install->held_ns = 0;
    install->began_ns = replica->now_ns;
    install->bytes_expected = 0;
    install->bytes_done = 0;
    install->phase = LKS_INSTALL_STOPPING;
    for (uint32_t i = 0; i < LKS_INSTALL_LANES; i++) {
        install->lanes[i].spoilt_id = 0;
    }
    if (store_of(replica) == NULL) {
        fail(replica, -ENOTSUP, "this replica has no snapshot area");
    } else if (replica->applied.offset >= effect->from && lks_replica_recover_ends(replica)) {
        install->phase = LKS_INSTALL_OWN;
        lks_replica_snapshots_press(replica, effect->from);
    }
}

/* Where none can be taken, there is nothing to wait for: a candidate would hold the grants of all,
 * and nobody could lead. */
static int own_ones_fail(struct lks_replica *replica)
{
    const struct lks_taker *taker = &replica->taker;
    if (taker->failing_since_ns == 0 ||
        replica->now_ns - taker->failing_since_ns < replica->options.election_timeout_ns) {
        return 0;
    }
    fail_area(replica, taker->failed_code);
    return 1;
}

/* Own snapshots that reach far enough move the base, as they do at any time. */
static int own_step(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    struct lks_snapshots *store = store_of(replica);
    if (lks_snapshots_point(store, lks_snapshots_lowest(store)).offset < install->from) {
        return own_ones_fail(replica);
    }
    move_base(replica);
    return 1;
}

static void hold(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    if (install->held_ns == 0 || replica->now_ns - install->held_ns >= HOLD_EVERY_NS) {
        install->held_ns = replica->now_ns > 0 ? replica->now_ns : 1;
        (void)lks_replica_send_hold(replica, install->donor); /* if not: more is read twice */
    }
}

int lks_install_step(struct lks_replica *replica)
{
    struct lks_install *install = &replica->install;
    if (install->phase == LKS_INSTALL_IDLE || replica->fatal != 0) {
        return 0;
    }
    switch (install->phase) {
    case LKS_INSTALL_OWN:
        return own_step(replica);
    case LKS_INSTALL_STOPPING:
        /* From here on nothing is given to workers, and nothing of before may be under way. */
        if (!lks_execution_is_quiet(replica) || !lks_replica_snapshots_stop(replica)) {
            return 0;
        }
        hold(replica);
        read_manifest(replica);
        return 1;
    case LKS_INSTALL_PREFACE:
    case LKS_INSTALL_FETCHING:
        hold(replica);
        return 0; /* arrivals drive it */
    case LKS_INSTALL_PERSISTING:
        return persist_step(replica);
    case LKS_INSTALL_IDLE:
    case LKS_INSTALL_REPLACING:
    case LKS_INSTALL_LOG:
    case LKS_INSTALL_ENDING:
        break;
    }
    return 0;
}

/* Ends as soon as the state is whole: before the own manifest is written, or after the base is. */
void lks_install_cancel(struct lks_replica *replica)
{
    const struct lks_install *install = &replica->install;
    if (install->phase != LKS_INSTALL_IDLE && install->phase < LKS_INSTALL_REPLACING) {
        fail(replica, -ECANCELED, NULL);
    }
}

void lks_install_fini(struct lks_replica *replica)
{
    free(replica->install.preface);
}
