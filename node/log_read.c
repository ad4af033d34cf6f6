/*
 * A candidate reads what it lacks from the best grantor's log into its own ring, one-sidedly, and
 * believes nothing but the chain: every entry is checked from the point where the logs part, and
 * the result must be exactly the tail that was reported. Replica's thread; several chunks fly.
 *
 * However it ends (success, broken connection, cancelled), one LOG_READ event tells the core what
 * the own log now is: the visible chain in the own ring, made durable.
 */
#include "node/replica_internal.h"

#include <errno.h>

static bool equal(const struct lks_position *a, const struct lks_position *b)
{
    return a->index == b->index && a->term == b->term && a->offset == b->offset &&
           a->chain == b->chain;
}

/* All reads have come back: find out what the own ring holds and make it durable. */
static void finish(struct lks_replica *replica)
{
    struct lks_log_read *read = &replica->log_read;
    const struct lks_position reached = lks_replica_position(&read->cursor);
    if (read->status == 0 && !equal(&reached, &read->expect)) {
        read->status = -LKS_EDAMAGED; /* overwritten meanwhile: the grant there is gone */
    }
    if (read->status != 0) {
        read->cursor = read->start;
        read->runs = read->start_runs;
        read->members = read->start_members;
        lks_replica_scan(
            replica, &(struct lks_log_walk){&read->cursor, &read->runs, &read->members},
            UINT64_MAX);
    }
    lks_replica_persist(replica, LKS_PERSIST_READ, read->start.offset, read->cursor.offset);
}

void lks_log_read_persisted(struct lks_replica *replica)
{
    struct lks_log_read *read = &replica->log_read;
    if (replica->install.phase == LKS_INSTALL_LOG) {
        lks_install_log_persisted(replica); /* never at the same time */
        return;
    }
    LKS_ASSERT(read->active);
    read->active = false;
    replica->log_read_runs = read->runs;
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_LOG_READ, read->peer);
    event->status = read->status;
    event->position = lks_replica_position(&read->cursor);
    event->runs = &replica->log_read_runs;
    event->members = read->members;
}

static void post_more(struct lks_replica *replica)
{
    struct lks_log_read *read = &replica->log_read;
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    while (read->status == 0 && read->posted < read->to &&
           read->inflight < LKS_REPLICA_READS_MAX) {
        uint64_t bytes = read->to - read->posted;
        const uint64_t to_end = ring - read->posted % ring;
        bytes = bytes < to_end ? bytes : to_end;
        bytes = bytes < LKS_REPLICA_READ_BYTES ? bytes : LKS_REPLICA_READ_BYTES;
        uint64_t id = 0;
        struct lks_op *op = lks_replica_op(replica, LKS_OP_LOG_READ, read->peer, &id);
        op->offset = read->posted;
        op->bytes = bytes;
        const int rc = lks_fabric_read(replica->options.fabric, read->peer, LKS_FABRIC_LOG,
                                       lks_journal_place(replica->options.journal, read->posted),
                                       lks_journal_address(replica->options.journal, read->posted),
                                       bytes, id);
        if (rc != 0) {
            lks_replica_op_free(replica, op);
            read->status = rc;
            break;
        }
        read->posted += bytes;
        read->inflight++;
    }
    if (read->inflight == 0) {
        finish(replica);
    }
}

void lks_log_read_start(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_log_read *read = &replica->log_read;
    LKS_ASSERT(!read->active);
    *read = (struct lks_log_read){
        .active = true,
        .peer = effect->peer,
        .to = effect->to,
        .term = effect->term,
        .expect = effect->expect,
        .start = replica->applied,
        .start_runs = replica->applied_runs,
        .start_members = lks_replica_applied_members(replica),
    };
    /* The own log up to the parting point: where the check of the chain begins. */
    lks_replica_scan(
        replica, &(struct lks_log_walk){&read->start, &read->start_runs, &read->start_members},
        effect->from);
    read->from = read->start.offset;
    read->posted = read->from;
    read->received = read->from;
    read->cursor = read->start;
    read->runs = read->start_runs;
    read->members = read->start_members;
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    LKS_ASSERT(read->to <= replica->base_offset + ring); /* else an installation came before */
    post_more(replica);
}

void lks_log_read_cancel(struct lks_replica *replica)
{
    struct lks_log_read *read = &replica->log_read;
    if (read->active && read->status == 0) {
        read->status = -ECANCELED; /* what is under way still lands; then it finishes */
    }
}

/* Checks what has arrived without a gap. An entry of this candidate's term, or above, can only
 * come from somebody newer. */
static void check(struct lks_replica *replica)
{
    struct lks_log_read *read = &replica->log_read;
    struct lks_entry entry;
    uint64_t begin = read->cursor.offset;
    while (read->status == 0 && lks_journal_next(replica->options.journal, &read->cursor,
                                                 read->received, &entry) == 0) {
        if (entry.header->term >= read->term) {
            read->status = -EPERM;
            return;
        }
        lks_runs_note(&read->runs, entry.header->term, begin);
        begin = read->cursor.offset;
        lks_replica_note_members(replica, &entry, begin, &read->members);
    }
}

void lks_log_read_arrived(struct lks_replica *replica, const struct lks_op *op, int status)
{
    struct lks_log_read *read = &replica->log_read;
    LKS_ASSERT(read->active);
    LKS_ASSERT(read->inflight > 0);
    read->inflight--;
    if (status != 0 && read->status == 0) {
        read->status = status;
    }
    if (status == 0 && op->offset == read->received) { /* one connection: in order */
        read->received += op->bytes;
        check(replica);
    }
    post_more(replica);
}
