/*
 * Takes snapshots of the service, one partition (or tied group) at a time, in small steps between
 * commands, and moves the log's base up behind them, so that the ring never fills.
 *
 *   due -> freeze at the applied point -> write, persist, in steps -> one manifest write -> base
 *
 * When and how fast is a matter of the log's growth alone (pace.h). What fails is given up and
 * tried again after a while; the old snapshots stay. A base is published only when it is durable,
 * and it is durable only behind the manifest that covers it (docs/protocol.md). Replica's thread.
 */
#include "node/snapshot.h"

#include "node/replica_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define BACK_OFF_MIN_NS UINT64_C(100000000)
#define BACK_OFF_MAX_NS UINT64_C(10000000000)
#define POSTED_BYTES_MAX (UINT64_C(1) << 20)
#define BASE_STEPS 16u  /* of the ring: the base moves by at least one, while there is room */
#define BASE_CHECKS 64u /* a lap: how often a base that was held back is tried again */

/* ---- when ----------------------------------------------------------------------------------- */

static void set_due(struct lks_taker *taker)
{
    taker->due_offset = lks_pace_due(&taker->pace, taker->points);
    if (taker->points[0] < taker->pressed_offset || taker->again_count != 0) {
        taker->due_offset = 0;
    }
    taker->check_offset = taker->due_offset;
}

/* Partitions with the oldest snapshots first; equal ones in an order of this replica's own, so that
 * replicas write different partitions at a time. */
static void put_in_order(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    const uint32_t partitions = replica->options.service->partitions;
    const uint32_t first = partitions * (replica->options.replica - 1) / replica->options.replicas;
    uint32_t count = 0;
    for (uint32_t i = 0; i < partitions; i++) {
        const uint32_t p = (first + i) % partitions;
        const uint64_t offset = lks_snapshots_item(replica->options.snapshots, p)->offset;
        uint32_t at = count;
        while (at > 0 && taker->points[at - 1] > offset) {
            taker->points[at] = taker->points[at - 1];
            taker->order[at] = taker->order[at - 1];
            at--;
        }
        taker->points[at] = offset;
        taker->order[at] = (uint16_t)p;
        count++;
    }
    set_due(taker);
}

static bool is_member(const struct lks_taker *taker, uint32_t partition)
{
    uint32_t low = 0;
    uint32_t high = taker->count;
    while (low < high) { /* members rise */
        const uint32_t middle = (low + high) / 2;
        if (taker->members[middle] < partition) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < taker->count && taker->members[low] == partition;
}

/* Members go to the end, which keeps the order: their points are the newest. */
static void put_last(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    const uint32_t partitions = replica->options.service->partitions;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < partitions; i++) {
        if (!is_member(taker, taker->order[i])) {
            taker->order[kept] = taker->order[i];
            taker->points[kept] = taker->points[i];
            kept++;
        }
    }
    LKS_ASSERT(kept + taker->count == partitions);
    for (uint32_t i = 0; i < taker->count; i++) {
        taker->order[kept + i] = (uint16_t)taker->members[i];
        taker->points[kept + i] = taker->point.offset;
        taker->again_count -= taker->again[taker->members[i]];
        taker->again[taker->members[i]] = false;
    }
    set_due(taker);
}

void lks_replica_snapshots_begin(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    LKS_ASSERT(taker->phase == LKS_TAKER_IDLE);
    taker->check_offset = UINT64_MAX;
    if (replica->options.snapshots == NULL) {
        return;
    }
    const struct lks_pace_options pace = {
        .partitions = replica->options.service->partitions,
        .replica = replica->options.replica,
        .replicas = replica->options.replicas,
        .ring_bytes = lks_journal_ring_bytes(replica->options.journal),
    };
    lks_pace_init(&taker->pace, &pace);
    lks_ties_init(&taker->ties, pace.partitions);
    taker->ties_matter = pace.partitions > 1;
    taker->again_count = 0; /* whatever was damaged is not there any more */
    memset(taker->again, 0, pace.partitions * sizeof taker->again[0]);
    put_in_order(replica);
}

void lks_replica_snapshots_press(struct lks_replica *replica, uint64_t offset)
{
    struct lks_taker *taker = &replica->taker;
    if (replica->options.snapshots != NULL && offset > taker->pressed_offset) {
        LKS_ASSERT(offset <= replica->applied.offset);
        taker->pressed_offset = offset;
        set_due(taker);
    }
}

bool lks_replica_snapshot_again(struct lks_replica *replica, uint32_t partition)
{
    struct lks_taker *taker = &replica->taker;
    LKS_ASSERT(partition < replica->options.service->partitions);
    if (!replica->recovered || taker->again[partition]) {
        return false;
    }
    taker->again[partition] = true;
    taker->again_count++;
    set_due(taker);
    return true;
}

void lks_replica_note_ties(struct lks_replica *replica, const struct lks_footprint *touched)
{
    if (touched->tied && replica->taker.ties_matter) {
        const bool all = touched->count == LKS_FOOTPRINT_ALL;
        lks_ties_join(&replica->taker.ties, all ? NULL : touched->partitions, touched->count);
    }
}

/* ---- giving up ------------------------------------------------------------------------------ */

static void forget_drafts(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    for (uint32_t i = 0; i < taker->count; i++) {
        if (i >= taker->at) {
            replica->options.service->snapshot_end(replica->service, taker->members[i]);
        }
        lks_snapshot_abandon(replica->options.snapshots, taker->members[i]);
    }
    if (taker->count > 1) { /* still tied, as their old snapshots stay */
        lks_ties_restore(&taker->ties, taker->members, taker->count);
    }
    taker->phase = LKS_TAKER_IDLE;
    taker->count = 0;
}

static void give_up(struct lks_replica *replica)
{
    if (replica->taker.posted || !lks_execution_is_quiet(replica)) {
        replica->taker.phase = LKS_TAKER_GIVING_UP;
    } else {
        forget_drafts(replica);
    }
}

bool lks_replica_snapshots_release(struct lks_replica *replica)
{
    struct lks_snapshots_counts counts;
    lks_snapshots_counts(replica->options.snapshots, &counts);
    if (counts.retired_bytes == 0) {
        return false;
    }
    lks_snapshots_tick(replica->options.snapshots, UINT64_MAX);
    return true;
}

static void fail(struct lks_replica *replica, int code)
{
    struct lks_taker *taker = &replica->taker;
    struct lks_error err = {0};
    if (code == -ENOSPC && lks_replica_snapshots_release(replica)) {
        give_up(replica); /* and begin again at once */
        return;
    }
    taker->failed++;
    taker->failed_code = code;
    if (taker->failing_since_ns == 0) {
        taker->failing_since_ns = replica->now_ns > 0 ? replica->now_ns : 1;
    }
    taker->back_off_ns = taker->back_off_ns == 0 ? BACK_OFF_MIN_NS : 2 * taker->back_off_ns;
    if (taker->back_off_ns > BACK_OFF_MAX_NS) {
        taker->back_off_ns = BACK_OFF_MAX_NS;
    }
    taker->retry_ns = replica->now_ns + taker->back_off_ns;
    if (!taker->warned) {
        taker->warned = true;
        (void)lks_snapshots_explain(replica->options.snapshots, code, &err);
        lks_log_error(replica->options.log_sink,
                      "no snapshot can be taken, the older ones stay and the log grows: %s",
                      err.text);
    }
    give_up(replica);
}

bool lks_replica_snapshots_stop(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    if (taker->phase == LKS_TAKER_REPLACING) {
        return false; /* the manifest is on its way: it must arrive */
    }
    if (taker->phase != LKS_TAKER_IDLE && taker->phase != LKS_TAKER_GIVING_UP) {
        give_up(replica);
    }
    return taker->phase == LKS_TAKER_IDLE;
}

/* ---- the base ------------------------------------------------------------------------------- */

/*
 * Whether it is too early. A leader keeps entries for followers that are granted but behind, up to
 * three quarters of its ring, or as long as it slows down for one: they would need a snapshot
 * otherwise. And a base costs a durable write: it moves in steps.
 */
static bool too_early(const struct lks_replica *replica, uint64_t offset)
{
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    const struct lks_core_view *view = replica->view;
    const bool leads = view->role == LKS_CORE_LEADER;
    if (leads && offset > view->keep_offset &&
        (view->braking || view->tail.offset - replica->base_offset <= ring / 4 * 3)) {
        return true;
    }
    return offset - replica->base_offset < ring / BASE_STEPS &&
           replica->applied.offset - replica->base_offset < ring / 2;
}

void lks_replica_advance_base(struct lks_replica *replica, bool pressed)
{
    const struct lks_snapshots *store = replica->options.snapshots;
    if (store == NULL || !replica->recovered) {
        return;
    }
    const struct lks_log_point lowest = lks_snapshots_point(store, lks_snapshots_lowest(store));
    if (lowest.offset <= replica->base_offset || (!pressed && too_early(replica, lowest.offset))) {
        return;
    }
    LKS_ASSERT(lowest.offset <= replica->applied.offset); /* committed, and executed here */
    const int rc = lks_journal_write_base(replica->options.journal, &lowest);
    if (rc != 0) {
        lks_replica_fail(replica, rc, "the log's base cannot be moved: %s", lks_error_text(rc));
        return;
    }
    lks_replica_base_moved(replica, &lowest);
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_BASE_MOVED, 0);
    event->base = lks_replica_position(&lowest);
}

/* ---- one round ------------------------------------------------------------------------------ */

/* The one with the oldest snapshot; before it, those that must be taken again. */
static uint32_t next_partition(const struct lks_taker *taker)
{
    for (uint32_t i = 0; taker->again_count != 0; i++) {
        LKS_ASSERT(i < taker->pace.partitions);
        if (taker->again[taker->order[i]]) {
            return taker->order[i];
        }
    }
    return taker->order[0];
}

static void freeze(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    LKS_ASSERT(lks_execution_is_quiet(replica)); /* all below the point is executed */
    taker->point = replica->applied;
    taker->time_ns = replica->applied_time_ns;
    lks_meta_encode(&replica->sessions, &replica->members.applied, taker->meta);
    taker->count = lks_ties_members(&taker->ties, next_partition(taker), taker->members);
    taker->at = 0;
    taker->expected = 0;
    taker->written = 0;
    taker->began_ns = replica->now_ns;
    for (uint32_t i = 0; i < taker->count; i++) {
        taker->expected +=
            replica->options.service->snapshot_begin(replica->service, taker->members[i]);
    }
    lks_ties_release(&taker->ties, taker->members, taker->count);
}

/* Opens the draft of the member at `at`. */
static int open_draft(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    const struct lks_snapshot_head head = {
        .point = taker->point,
        .time_ns = taker->time_ns,
        .meta = taker->meta,
        .meta_bytes = sizeof taker->meta,
    };
    taker->phase = LKS_TAKER_WRITING;
    return lks_snapshot_write_begin(replica->options.snapshots, taker->members[taker->at], &head);
}

static int write_chunk(void *ctx, const void *data, size_t bytes)
{
    struct lks_replica *replica = ctx;
    struct lks_taker *taker = &replica->taker;
    taker->written += bytes;
    return lks_snapshot_write_chunk(replica->options.snapshots, taker->members[taker->at], data,
                                    bytes);
}

static uint64_t bytes_now(struct lks_replica *replica)
{
    const struct lks_taker *taker = &replica->taker;
    const struct lks_pace_progress progress = {
        .count = taker->count,
        .expected = taker->expected,
        .written = taker->written,
        .grown = replica->applied.offset - taker->point.offset,
        .used = replica->applied.offset - replica->base_offset,
        .kept = replica->options.service->snapshot_kept(replica->service),
        .pressed = taker->points[0] < taker->pressed_offset || taker->again_count != 0 ||
                   replica->full_since_ns != 0,
    };
    return lks_pace_bytes(&taker->pace, &progress);
}

static int write_some(struct lks_replica *replica, uint64_t bytes)
{
    struct lks_taker *taker = &replica->taker;
    const struct lks_snapshot_writer writer = {write_chunk, replica};
    const uint32_t partition = taker->members[taker->at];
    bool done = false;
    int rc = replica->options.service->snapshot_step(replica->service, partition, &writer, bytes,
                                                     &done);
    if (rc == 0 && done) {
        replica->options.service->snapshot_end(replica->service, partition);
        taker->at++; /* its content is no longer frozen, whatever comes */
        taker->phase = LKS_TAKER_PERSISTING;
        rc = lks_snapshot_write_finish(replica->options.snapshots, partition);
    }
    return rc;
}

/* The draft that is written or was written last. */
static uint32_t present(const struct lks_taker *taker)
{
    return taker->members[taker->phase == LKS_TAKER_WRITING ? taker->at : taker->at - 1];
}

/* Makes written blocks durable: here, or by posting them. */
static int persist_some(struct lks_replica *replica, uint64_t bytes)
{
    struct lks_taker *taker = &replica->taker;
    struct lks_snapshots *store = replica->options.snapshots;
    if (replica->options.snapshot_persister.post == NULL) {
        uint64_t left = 0;
        return lks_snapshot_persist_step(store, present(taker), bytes, &left);
    }
    struct lks_snapshots_range range;
    const int rc = lks_snapshot_persist_begin(store, present(taker), POSTED_BYTES_MAX, &range);
    if (rc == 0) {
        taker->posted = true;
        replica->options.snapshot_persister.post(replica->options.snapshot_persister.ctx,
                                                 range.offset, range.offset + range.bytes,
                                                 present(taker));
    }
    return rc == -ENODATA ? 0 : rc;
}

static void replaced(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    put_last(replica);
    taker->taken += taker->count;
    taker->last_bytes = taker->written;
    taker->last_ns = replica->now_ns - taker->began_ns;
    taker->phase = LKS_TAKER_IDLE;
    taker->count = 0;
    taker->back_off_ns = 0;
    taker->failing_since_ns = 0;
    if (taker->warned) {
        taker->warned = false;
        lks_log_info(replica->options.log_sink, "snapshots are taken again");
    }
    lks_replica_advance_base(replica, false);
}

static int replace(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    struct lks_snapshots *store = replica->options.snapshots;
    if (replica->options.snapshot_persister.post == NULL) {
        const int rc = lks_snapshots_replace(store, taker->members, taker->count);
        if (rc == 0) {
            replaced(replica);
        }
        return rc;
    }
    struct lks_snapshots_range range;
    const int rc = lks_snapshots_replace_begin(store, taker->members, taker->count, &range);
    if (rc == 0) {
        taker->phase = LKS_TAKER_REPLACING;
        taker->posted = true;
        replica->options.snapshot_persister.post(replica->options.snapshot_persister.ctx,
                                                 range.offset, range.offset + range.bytes,
                                                 LKS_PARTITIONS_MAX);
    }
    return rc;
}

/* All of the present draft is written: the next one, or the manifest, once it is durable. */
static int next_member(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    if (taker->posted || !lks_snapshot_is_durable(replica->options.snapshots, present(taker))) {
        return 0;
    }
    return taker->at < taker->count ? open_draft(replica) : replace(replica);
}

/* Between two rounds: the base may follow, the next round may be due. */
static int idle_step(struct lks_replica *replica)
{
    struct lks_taker *taker = &replica->taker;
    if (replica->applied.offset < taker->check_offset || replica->recovery.active) {
        return 0;
    }
    const bool due = replica->applied.offset >= taker->due_offset;
    if (due && replica->now_ns < taker->retry_ns) {
        return 0;
    }
    lks_replica_advance_base(replica, false);
    if (!due) {
        const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
        const uint64_t next = replica->applied.offset + ring / BASE_CHECKS;
        taker->check_offset = taker->due_offset < next ? taker->due_offset : next;
        return 0;
    }
    lks_snapshots_tick(replica->options.snapshots, replica->now_ns);
    lks_install_forget(replica);
    freeze(replica);
    const int rc = open_draft(replica);
    if (rc != 0) {
        fail(replica, rc);
    }
    return 1;
}

/* Some bytes of the round under way. */
static int write_step(struct lks_replica *replica, uint64_t bytes)
{
    struct lks_taker *taker = &replica->taker;
    int work = 0;
    int rc = 0;
    if (taker->phase == LKS_TAKER_WRITING) {
        rc = write_some(replica, bytes);
        work = 1;
    }
    if (rc == 0 && !taker->posted) {
        rc = persist_some(replica, bytes);
        work = 1;
    }
    if (rc == 0 && taker->phase == LKS_TAKER_PERSISTING) {
        rc = next_member(replica);
    }
    if (rc != 0) {
        fail(replica, rc);
    }
    return work; /* none: it waits for the flusher */
}

int lks_replica_snapshot_step(struct lks_replica *replica)
{
    const struct lks_taker *taker = &replica->taker;
    if (!lks_execution_is_quiet(replica)) {
        return 0; /* the service's partitions belong to workers now */
    }
    if (taker->phase == LKS_TAKER_GIVING_UP && !taker->posted) {
        forget_drafts(replica);
        return 1;
    }
    if (replica->fatal != 0 || taker->phase >= LKS_TAKER_REPLACING ||
        replica->install.phase > LKS_INSTALL_OWN) {
        return 0;
    }
    if (taker->phase == LKS_TAKER_IDLE) {
        return idle_step(replica);
    }
    const uint64_t bytes = bytes_now(replica);
    return bytes != 0 ? write_step(replica, bytes) : 0;
}

void lks_replica_snapshot_persisted(struct lks_replica *replica, uint64_t id, int status)
{
    struct lks_taker *taker = &replica->taker;
    struct lks_snapshots *store = replica->options.snapshots;
    if (replica->install.posted) {
        lks_install_persisted(replica, id, status);
        return;
    }
    LKS_ASSERT(taker->posted);
    taker->posted = false;
    if (id == LKS_PARTITIONS_MAX) {
        LKS_ASSERT(taker->phase == LKS_TAKER_REPLACING);
        if (status != 0) {
            /* The manifest may be there or not: which snapshots are the newest is not known. */
            lks_replica_fail(replica, status, "the manifest of the snapshots cannot be made "
                             "durable: %s", lks_error_text(status));
            return;
        }
        lks_snapshots_replace_end(store);
        replaced(replica);
        return;
    }
    lks_snapshot_persist_end(store, (uint32_t)id); /* (after a failure nothing counts as durable) */
    if (taker->phase == LKS_TAKER_GIVING_UP) {
        give_up(replica);
    } else if (status != 0) {
        fail(replica, status);
    }
}
