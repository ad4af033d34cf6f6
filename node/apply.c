/*
 * Committed entries, in the order of the log, to the service; the answers of own clients' commands
 * back to them. Every replica runs this over the same bytes. Replica's thread.
 *
 * An entry is applied only below the commit offset and after its checksum and chain were checked
 * again: what is executed is what was committed.
 */
#include "node/replica_internal.h"

#include <inttypes.h>

#define APPLY_PER_TURN_MAX 1024u

void lks_replica_run(struct lks_replica *replica, const struct lks_entry *entry,
                     const uint64_t *only, const struct lks_asker *asker)
{
    const struct lks_entry_header *header = entry->header;
    const struct lks_command command = {
        .index = header->index,
        .time_ns = header->time_ns,
        .data = entry->payload,
        .bytes = header->payload_bytes,
        .only = only,
    };
    if (replica->taker.ties_matter) {
        lks_replica_note_ties(replica, command.data, command.bytes);
    }
    lks_reply_clear(&replica->reply);
    replica->options.service->apply(replica->service, &command, &replica->reply);
    if (asker->own) { /* (of a part of a command there is no reply) */
        replica->options.on_reply(replica->options.ctx, asker->cookie, replica->reply.data,
                                  only == NULL ? replica->reply.bytes : 0);
    }
}

/* Own commands that were answered are executed once more where an installation went back. */
static bool is_answered(const struct lks_replica *replica, uint64_t sequence)
{
    struct lks_gateway_counts counts;
    lks_gateway_counts(replica->gateway, &counts);
    return sequence <= counts.answered;
}

static void execute(struct lks_replica *replica, const struct lks_entry *entry, uint64_t offset)
{
    const struct lks_entry_header *header = entry->header;
    if (lks_session_replica(header->session) == replica->options.replica &&
        header->session > replica->session) {
        lks_replica_fail(replica, -LKS_EDAMAGED,
                         "entry %" PRIu64 " was logged for life %" PRIu64
                         " of this replica, which is in its life %" PRIu64
                         ": its journal is an old copy: move it away and create it anew with "
                         "`lockstep init CONFIG --replica %" PRIu32 "`", header->index,
                         lks_session_incarnation(header->session),
                         lks_session_incarnation(replica->session), replica->options.replica);
        return;
    }
    if (lks_sessions_apply(&replica->sessions, header->session, header->sequence) !=
        LKS_SESSION_NEXT) {
        return; /* logged twice, by two leaders: takes effect once */
    }
    struct lks_asker asker = {.own = header->session == replica->session &&
                                     !is_answered(replica, header->sequence)};
    if (asker.own) {
        lks_reads_before(replica, header->sequence);
        asker.cookie = lks_gateway_answered(replica->gateway, header->sequence);
    }
    if (replica->recovery.active) {
        lks_replica_recover_dispatch(replica, entry, offset, &asker);
    } else {
        lks_replica_run(replica, entry, NULL, &asker);
    }
}

void lks_replica_publish_applied(struct lks_replica *replica)
{
    const struct lks_waiting_entry *oldest =
        replica->recovery.active ? lks_waiting_oldest(replica->recovery.waiting) : NULL;
    if (oldest != NULL && oldest->read != NULL) {
        return; /* it stands where an entry was executed long ago: what was told stays true */
    }
    const uint64_t index = oldest != NULL ? oldest->index - 1 : replica->applied.index;
    if (index < lks_word_read(&replica->words->applied_index)) {
        return; /* an installation went back behind what was told */
    }
    lks_word_publish(&replica->words->applied_offset,
                     oldest != NULL ? oldest->offset : replica->applied.offset);
    lks_word_publish(&replica->words->applied_index, index);
}

static bool may_go_on(const struct lks_replica *replica, uint64_t limit)
{
    return replica->applied.offset < limit &&
           (!replica->recovery.active || lks_replica_recover_has_room(replica));
}

int lks_replica_apply(struct lks_replica *replica)
{
    const uint64_t limit = replica->view->commit_offset;
    int work = 0;
    while (work < (int)APPLY_PER_TURN_MAX && may_go_on(replica, limit)) {
        struct lks_entry entry;
        const uint64_t begin = replica->applied.offset;
        if (lks_journal_next(replica->options.journal, &replica->applied, limit, &entry) != 0) {
            /* A commit offset is the end of an entry, which was wholly written before it. */
            lks_replica_fail(replica, -LKS_EDAMAGED,
                             "committed entry %" PRIu64 " (offset %" PRIu64
                             ") fails its check: the log is damaged; restore this replica's "
                             "journal from a peer",
                             replica->applied.index + 1, begin);
            break;
        }
        work++;
        lks_runs_note(&replica->applied_runs, entry.header->term, begin);
        if (entry.header->time_ns > replica->applied_time_ns) {
            replica->applied_time_ns = entry.header->time_ns;
        }
        if (entry.header->kind == LKS_ENTRY_COMMAND) {
            execute(replica, &entry, begin);
        } else if (entry.header->kind == LKS_ENTRY_MEMBERS) {
            lks_replica_apply_members(replica, &entry);
        }
    }
    if (work > 0 || replica->floor_flushed < replica->floor_target) {
        lks_replica_raise_floor(replica, false);
    }
    if (!replica->recovery.active &&
        replica->options.service->tick(replica->service, replica->applied_time_ns)) {
        work++; /* more to give back */
    }
    if (work > 0) {
        lks_replica_publish_applied(replica);
    }
    return work;
}

void lks_replica_base_moved(struct lks_replica *replica, const struct lks_log_point *base)
{
    LKS_ASSERT(base->offset >= replica->base_offset);
    replica->base_offset = base->offset;
    /* What was flushed below it lies in the ring no more. */
    if (replica->floor_flushed < base->offset) {
        replica->floor_flushed = base->offset;
    }
    if (replica->floor_target < replica->floor_flushed) {
        replica->floor_target = replica->floor_flushed;
    }
    lks_word_publish(&replica->words->base_offset, base->offset);
}

void lks_replica_scan(struct lks_replica *replica, const struct lks_log_walk *walk,
                      uint64_t limit)
{
    struct lks_entry entry;
    uint64_t begin = walk->cursor->offset;
    while (lks_journal_next(replica->options.journal, walk->cursor, limit, &entry) == 0) {
        lks_runs_note(walk->runs, entry.header->term, begin);
        begin = walk->cursor->offset;
        lks_replica_note_members(replica, &entry, begin, walk->members);
    }
}
