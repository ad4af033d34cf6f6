/*
 * Bringing the service back from the snapshot area, partition by partition, while the replica
 * votes, follows or leads: after a restart, and after an installation from a peer.
 *
 * The log is dispatched in its order from the lowest point of the snapshots on; the sessions
 * decide there what takes effect. An entry is left out of a partition whose snapshot holds it
 * already; it is executed as soon as its partitions are restored and have executed what came
 * before. So each partition sees the log's order, and whoever asks for a ready partition does not
 * wait for the others. Replica's thread; bounded work a step.
 */
#include "node/recovery.h"

#include "node/replica_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RESTORE_BYTES_BUSY (UINT64_C(64) << 10)
#define RESTORE_BYTES_IDLE (UINT64_C(256) << 10)
#define RUNS_PER_STEP_MAX 1024u
#define WAITING_MIN 1024u
#define WAITING_MAX (1u << 19)

static void fail(struct lks_replica *replica, int code, const char *reason)
{
    lks_replica_fail(replica, code,
                     "%s; move journal and snapshots away and let the peers rebuild this replica: "
                     "`lockstep init CONFIG --replica %u --rejoin`",
                     reason, replica->options.replica);
}

/* ---- beginning ------------------------------------------------------------------------------ */

/* What the lowest snapshot says of its point. 0; -ENODATA: none was taken yet, the log begins at
 * its beginning; other: failed, and said so. */
static int read_lowest(struct lks_replica *replica, struct lks_snapshot_head *head,
                       struct lks_meta *meta)
{
    struct lks_snapshots *store = replica->options.snapshots;
    struct lks_snapshot_scan scan = {0};
    struct lks_error err = {0};
    const uint32_t lowest = lks_snapshots_lowest(store);
    int rc = lks_snapshot_scan_init(&scan, store, lowest, head, &err);
    if (rc == -ENODATA) {
        return rc;
    }
    if (rc == 0 && lks_meta_decode(meta, head->meta, head->meta_bytes) != 0) {
        rc = lks_error_set(&err, -LKS_EDAMAGED,
                           "snapshots %s: partition %u: sessions or members damaged, or of an "
                           "unknown form",
                           lks_snapshots_path(store), lowest);
    }
    lks_snapshot_scan_fini(&scan);
    if (rc != 0) {
        fail(replica, rc, err.text);
    }
    return rc;
}

/* The log is taken up at the lowest point, with what was so there. */
static bool take_up(struct lks_replica *replica)
{
    struct lks_snapshot_head head;
    struct lks_meta meta;
    const int rc = read_lowest(replica, &head, &meta);
    if (rc != 0) {
        return rc == -ENODATA; /* from the beginning, as _new left it */
    }
    replica->sessions = meta.sessions;
    replica->applied = head.point;
    replica->applied_time_ns = head.time_ns;
    lks_replica_take_members(replica, &meta.members, head.point.offset);
    return true;
}

bool lks_replica_members_in_snapshots(struct lks_replica *replica, struct lks_members *members)
{
    struct lks_snapshot_head head;
    struct lks_meta meta = {.members = {.version = LKS_MEMBERS_VERSION}};
    const int rc = read_lowest(replica, &head, &meta);
    *members = lks_members_of(&meta.members, rc == 0 ? head.point.offset : 0);
    return rc == 0 || rc == -ENODATA;
}

static bool make_queue(struct lks_replica *replica)
{
    const uint64_t entries = lks_journal_ring_bytes(replica->options.journal) / LKS_ENTRY_ALIGN;
    const uint64_t bounded = entries < WAITING_MAX ? entries : WAITING_MAX;
    const struct lks_waiting_options options = {
        .partitions = replica->options.service->partitions,
        .entries_max = (uint32_t)(bounded > WAITING_MIN ? bounded : WAITING_MIN) +
                       replica->options.service->partitions,
    };
    const int rc = lks_waiting_new(&replica->recovery.waiting, &options);
    if (rc != 0) {
        fail(replica, rc, "no memory for entries that wait for their partitions");
    }
    return rc == 0;
}

static void note_ready(struct lks_replica *replica, uint32_t partition)
{
    struct lks_recovery *recovery = &replica->recovery;
    recovery->phase[partition] = LKS_PARTITION_READY;
    recovery->ready++;
    lks_waiting_ready(recovery->waiting, partition);
}

bool lks_replica_recover_begin(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    const struct lks_snapshots *store = replica->options.snapshots;
    LKS_ASSERT(!recovery->active);
    if (store == NULL) {
        return true;
    }
    if (!take_up(replica) || !make_queue(replica)) {
        return false;
    }
    const uint32_t partitions = replica->options.service->partitions;
    recovery->active = true;
    recovery->ready = 0;
    recovery->wanted = 0;
    recovery->next = 0;
    recovery->left_out_most = recovery->reached;
    recovery->left_out_end = 0;
    recovery->restored_bytes = 0;
    recovery->began_ns = replica->now_ns;
    for (uint32_t p = 0; p < partitions; p++) {
        const struct lks_snapshot_item *item = lks_snapshots_item(store, p);
        recovery->left_out[p] = item->index;
        recovery->phase[p] = LKS_PARTITION_ABSENT;
        if (item->index > recovery->left_out_most) {
            recovery->left_out_most = item->index;
        }
        if (item->offset > recovery->left_out_end) {
            recovery->left_out_end = item->offset;
        }
        if (item->blocks == 0) {
            note_ready(replica, p); /* empty, as the service was opened */
        }
    }
    return true;
}

/* Everything that waited lies below what was installed: the outcome of own commands among it will
 * not be known here. */
static void drop_queue(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    const struct lks_waiting_entry *entry;
    while (recovery->waiting != NULL &&
           (entry = lks_waiting_forget(recovery->waiting)) != NULL) {
        if (entry->own) {
            replica->options.on_reply(replica->options.ctx, entry->cookie, NULL, 0);
        }
        if (entry->read != NULL) {
            lks_reads_wait_again(replica, entry->read);
        }
    }
    lks_waiting_free(recovery->waiting);
    recovery->waiting = NULL;
    lks_snapshot_scan_fini(&recovery->scan);
    recovery->scan = (struct lks_snapshot_scan){0};
    recovery->scanning = false;
    recovery->active = false;
}

void lks_replica_recover_again(struct lks_replica *replica)
{
    LKS_ASSERT(replica->options.snapshots != NULL);
    LKS_ASSERT(lks_execution_is_quiet(replica));
    drop_queue(replica);
    if (replica->applied.index > replica->recovery.reached) {
        replica->recovery.reached = replica->applied.index; /* the snapshots may be older */
    }
    replica->applied_runs = (struct lks_runs){0};
    if (!lks_replica_recover_begin(replica)) {
        return;
    }
    LKS_ASSERT(replica->recovery.ready == 0); /* an installation brings every partition */
    for (;;) {
        struct lks_gateway_counts counts;
        lks_gateway_counts(replica->gateway, &counts);
        const uint64_t sequence = counts.answered + 1;
        if (counts.answered == counts.submitted ||
            lks_sessions_expect(&replica->sessions, replica->session, sequence) !=
                LKS_SESSION_DUPLICATE) {
            break;
        }
        const uint64_t cookie = lks_gateway_answered(replica->gateway, sequence);
        replica->options.on_reply(replica->options.ctx, cookie, NULL, 0);
    }
    lks_replica_publish_applied(replica); /* as at a start: what was told lies below the base now */
}

void lks_replica_recover_fini(struct lks_replica *replica)
{
    lks_waiting_free(replica->recovery.waiting);
    lks_snapshot_scan_fini(&replica->recovery.scan);
}

/* ---- dispatching ---------------------------------------------------------------------------- */

/* What an entry still has to do here. */
struct share {
    uint32_t count;       /* partitions in recovery->list */
    const uint64_t *only; /* NULL: it touches no others */
};

static void include(struct lks_recovery *recovery, struct share *share, uint32_t partition,
                    uint64_t index)
{
    if (index > recovery->left_out[partition]) {
        recovery->list[share->count] = (uint16_t)partition;
        share->count++;
        recovery->only[partition / 64] |= UINT64_C(1) << partition % 64;
    }
}

/* Finds the partitions whose snapshots do not hold the entry. */
static struct share find_share(struct lks_replica *replica, const struct lks_entry *entry,
                               const struct lks_footprint *touched)
{
    struct lks_recovery *recovery = &replica->recovery;
    const struct lks_service *service = replica->options.service;
    const uint64_t index = entry->header->index;
    struct share share = {0};
    const bool all = touched->count == LKS_FOOTPRINT_ALL;
    const uint32_t count = all ? service->partitions : touched->count;
    LKS_ASSERT(all || count <= LKS_FOOTPRINT_MAX);
    memset(recovery->only, 0, sizeof recovery->only);
    for (uint32_t i = 0; i < count; i++) {
        include(recovery, &share, all ? i : touched->partitions[i], index);
    }
    share.only = share.count == count ? NULL : recovery->only;
    if (touched->tied) { /* tied partitions were snapshotted at one point: snapshot.c */
        LKS_ASSERT(share.count == 0 || share.count == count);
    }
    return share;
}

static void want(struct lks_recovery *recovery, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *phase = &recovery->phase[recovery->list[i]];
        if (*phase == LKS_PARTITION_ABSENT) {
            *phase = LKS_PARTITION_WANTED;
            recovery->wanted++;
        }
    }
}

bool lks_replica_recover_has_room(const struct lks_replica *replica)
{
    return lks_waiting_has_room(replica->recovery.waiting);
}

/*
 * Effects on several partitions that do not depend on one another are executed in each partition by
 * itself, so that none waits for another. Here, at once, in those that need not wait at all.
 */
static void dispatch_parts(struct lks_replica *replica,
                           const struct lks_execution_command *command, uint64_t offset,
                           const struct share *share)
{
    struct lks_recovery *recovery = &replica->recovery;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < share->count; i++) {
        const uint16_t partition = recovery->list[i];
        if (!lks_waiting_must(recovery->waiting, &partition, 1)) {
            continue;
        }
        struct lks_waiting_entry *part = lks_waiting_add(recovery->waiting, &partition, 1);
        LKS_ASSERT(part != NULL); /* the caller has asked for room */
        part->offset = offset;
        part->index = command->entry->header->index;
        part->part = partition;
        recovery->only[partition / 64] &= ~(UINT64_C(1) << partition % 64);
        waiting++;
    }
    if (waiting < share->count) {
        const struct lks_execution_command parts = {.entry = command->entry,
                                                    .touched = command->touched};
        lks_replica_run(replica, &parts, recovery->only);
    }
}

void lks_replica_recover_dispatch(struct lks_replica *replica,
                                  const struct lks_execution_command *command, uint64_t offset)
{
    struct lks_recovery *recovery = &replica->recovery;
    const struct lks_asker *asker = &command->asker;
    const struct lks_footprint *touched = command->touched;
    const struct share share = find_share(replica, command->entry, touched);
    if (share.count == 0 && touched->count != 0) {
        if (asker->own) { /* logged before the installation that brought its effect */
            replica->options.on_reply(replica->options.ctx, asker->cookie, NULL, 0);
        }
        return;
    }
    if (!lks_waiting_must(recovery->waiting, recovery->list, share.count)) {
        lks_replica_run(replica, command, share.only);
        return;
    }
    if (!asker->own && !touched->tied) { /* (whose answer counts, that is executed as a whole) */
        dispatch_parts(replica, command, offset, &share);
        return;
    }
    struct lks_waiting_entry *waiting =
        lks_waiting_add(recovery->waiting, recovery->list, share.count);
    LKS_ASSERT(waiting != NULL); /* the caller has asked for room */
    waiting->offset = offset;
    waiting->index = command->entry->header->index;
    waiting->own = asker->own;
    waiting->cookie = asker->cookie;
    if (asker->own) {
        want(recovery, share.count);
    }
}

/* Committed entries that lead past the youngest snapshot are in the own log: nothing more has to
 * come for all partitions to stand at one point. */
bool lks_replica_recover_ends(const struct lks_replica *replica)
{
    return !replica->recovery.active ||
           replica->view->commit_offset >= replica->recovery.left_out_end;
}

/* ---- reads ---------------------------------------------------------------------------------- */

/* Every partition is, or will be when it is restored, at the applied point. */
bool lks_replica_recover_may_read(const struct lks_replica *replica)
{
    return !replica->recovery.active ||
           replica->applied.index >= replica->recovery.left_out_most;
}

bool lks_replica_recover_read(struct lks_replica *replica, struct lks_read *read)
{
    struct lks_recovery *recovery = &replica->recovery;
    struct lks_footprint touched;
    const struct lks_service *service = replica->options.service;
    if (!lks_replica_recover_may_read(replica)) {
        return false;
    }
    lks_footprint_clear(&touched);
    service->footprint(read->data, read->bytes, &touched);
    const bool all = touched.count == LKS_FOOTPRINT_ALL;
    const uint32_t count = all ? service->partitions : touched.count;
    for (uint32_t i = 0; i < count; i++) {
        recovery->list[i] = all ? (uint16_t)i : touched.partitions[i];
    }
    if (!lks_waiting_must(recovery->waiting, recovery->list, count)) {
        lks_reads_run_waited(replica, read);
        return true;
    }
    /* The command before which it is read was found to have room: it keeps it. */
    if (!lks_waiting_has_room_for_two(recovery->waiting)) {
        return false;
    }
    struct lks_waiting_entry *waiting = lks_waiting_add(recovery->waiting, recovery->list, count);
    LKS_ASSERT(waiting != NULL);
    waiting->read = read;
    waiting->offset = lks_word_read(&replica->words->applied_offset);
    waiting->index = lks_word_read(&replica->words->applied_index);
    want(recovery, count);
    return true;
}

/* ---- running what has waited ---------------------------------------------------------------- */

/* It was checked when it was dispatched, and lies above the base since. */
static struct lks_entry entry_at(const struct lks_replica *replica, uint64_t offset)
{
    const struct lks_entry_header *header =
        lks_journal_address(replica->options.journal, offset);
    return (struct lks_entry){.header = header, .payload = header + 1};
}

static void run_waiting(struct lks_replica *replica, const struct lks_entry *entry, uint32_t part,
                        const struct lks_asker *asker)
{
    struct lks_recovery *recovery = &replica->recovery;
    struct lks_footprint touched;
    (void)lks_replica_footprint(replica, entry, &touched);
    const struct lks_execution_command command = {
        .entry = entry, .touched = &touched, .asker = *asker};
    if (part != LKS_WAITING_WHOLE) {
        memset(recovery->only, 0, sizeof recovery->only);
        recovery->only[part / 64] |= UINT64_C(1) << part % 64;
        lks_replica_run(replica, &command, recovery->only);
        return;
    }
    const struct share share = find_share(replica, entry, &touched);
    lks_replica_run(replica, &command, share.only);
}

static int run_some(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    uint32_t work = 0;
    while (work < RUNS_PER_STEP_MAX && !(work > 0 && lks_replica_is_out_of_time(replica))) {
        struct lks_waiting_entry *waiting = lks_waiting_next(recovery->waiting);
        if (waiting == NULL) {
            break;
        }
        work++;
        replica->executed_at_ns = replica->now_ns;
        if (waiting->read != NULL) {
            struct lks_read *read = waiting->read;
            lks_waiting_done(recovery->waiting, waiting);
            lks_reads_run_waited(replica, read);
            continue;
        }
        const struct lks_entry entry = entry_at(replica, waiting->offset);
        LKS_ASSERT(entry.header->index == waiting->index);
        const struct lks_asker asker = {.own = waiting->own, .cookie = waiting->cookie};
        const uint32_t part = waiting->part;
        lks_waiting_done(recovery->waiting, waiting);
        run_waiting(replica, &entry, part, &asker);
    }
    return (int)work;
}

/* ---- restoring ------------------------------------------------------------------------------ */

static uint32_t choose(struct lks_recovery *recovery, uint32_t partitions)
{
    const uint8_t phase = recovery->wanted != 0 ? LKS_PARTITION_WANTED : LKS_PARTITION_ABSENT;
    for (uint32_t i = 0; i < partitions; i++) {
        const uint32_t p = (recovery->next + i) % partitions;
        if (recovery->phase[p] == phase) {
            recovery->next = p;
            return p;
        }
    }
    LKS_ASSERT(false); /* the caller knows that one is left */
    return 0;
}

static bool begin_partition(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    struct lks_snapshot_head head;
    struct lks_error err = {0};
    const uint32_t p = choose(recovery, replica->options.service->partitions);
    const int rc =
        lks_snapshot_scan_init(&recovery->scan, replica->options.snapshots, p, &head, &err);
    if (rc != 0) {
        fail(replica, rc, err.text);
        return false;
    }
    LKS_ASSERT(head.point.index == recovery->left_out[p]);
    recovery->wanted -= recovery->phase[p] == LKS_PARTITION_WANTED ? 1 : 0;
    recovery->phase[p] = LKS_PARTITION_READING;
    recovery->reading = p;
    recovery->scanning = true;
    replica->options.service->restore_begin(replica->service, p);
    return true;
}

static void end_partition(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    const uint32_t p = recovery->reading;
    lks_snapshot_scan_fini(&recovery->scan);
    recovery->scan = (struct lks_snapshot_scan){0};
    recovery->scanning = false;
    const int rc = replica->options.service->restore_end(replica->service, p);
    if (rc != 0) {
        char reason[128];
        (void)snprintf(reason, sizeof reason, "the snapshot of partition %u is not whole: %s", p,
                       lks_error_text(rc));
        fail(replica, rc, reason);
        return;
    }
    note_ready(replica, p);
}

/* One chunk; returns its bytes, at least 1, or 0 after a failure. */
static uint64_t restore_chunk(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    struct lks_error err = {0};
    const void *data = NULL;
    uint64_t bytes = 0;
    int rc = lks_snapshot_scan_next(&recovery->scan, &data, &bytes, &err);
    if (rc == -ENODATA) {
        end_partition(replica);
        return replica->fatal == 0 ? 1 : 0;
    }
    if (rc == 0) {
        rc = replica->options.service->restore_chunk(replica->service, recovery->reading, data,
                                                     bytes);
        if (rc != 0) {
            (void)lks_error_set(&err, rc, "the service refuses the snapshot of partition %u: %s",
                                recovery->reading, lks_error_text(rc));
        }
    }
    if (rc != 0) {
        fail(replica, rc, err.text);
        return 0;
    }
    recovery->restored_bytes += bytes;
    return bytes > 0 ? bytes : 1;
}

static int restore_some(struct lks_replica *replica, uint64_t bytes_max)
{
    struct lks_recovery *recovery = &replica->recovery;
    const uint32_t partitions = replica->options.service->partitions;
    uint64_t bytes = 0;
    int work = 0;
    while (bytes < bytes_max && recovery->ready < partitions) {
        if (!recovery->scanning && !begin_partition(replica)) {
            break;
        }
        lks_execution_place_begin(replica, recovery->reading);
        const uint64_t taken = restore_chunk(replica);
        if (taken == 0) {
            break;
        }
        bytes += taken;
        work++;
    }
    lks_execution_place_end(replica);
    return work;
}

static void finish(struct lks_replica *replica)
{
    struct lks_recovery *recovery = &replica->recovery;
    lks_waiting_free(recovery->waiting);
    recovery->waiting = NULL;
    recovery->active = false;
    /* What expired meanwhile goes now, in all partitions alike, and not with the next entry. */
    (void)replica->options.service->tick(replica->service, replica->applied_time_ns);
    if (recovery->restored_bytes != 0) {
        lks_log_info(replica->options.log_sink,
                     "all partitions are restored and replayed: %" PRIu64 " bytes, %" PRIu64 " ms",
                     recovery->restored_bytes,
                     (replica->now_ns - recovery->began_ns) / UINT64_C(1000000));
    }
}

int lks_replica_recover_step(struct lks_replica *replica, bool busy)
{
    struct lks_recovery *recovery = &replica->recovery;
    if (!recovery->active || replica->fatal != 0) {
        return 0;
    }
    const uint64_t bytes_max = busy ? RESTORE_BYTES_BUSY : RESTORE_BYTES_IDLE;
    const uint64_t asked = replica->options.restore_bytes_max;
    int work = restore_some(replica, asked != 0 ? asked : bytes_max);
    if (replica->fatal != 0) {
        return work;
    }
    work += run_some(replica);
    if (recovery->ready == replica->options.service->partitions &&
        lks_waiting_count(recovery->waiting) == 0 &&
        replica->applied.index >= recovery->left_out_most) {
        finish(replica);
    }
    if (work > 0) {
        lks_replica_publish_applied(replica);
    }
    return work;
}
