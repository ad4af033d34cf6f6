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

static void execute(struct lks_replica *replica, const struct lks_entry *entry)
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
    const struct lks_command command = {
        .index = header->index,
        .time_ns = header->time_ns,
        .data = entry->payload,
        .bytes = header->payload_bytes,
    };
    lks_reply_clear(&replica->reply);
    replica->options.service->apply(replica->service, &command, &replica->reply);
    if (header->session == replica->session) {
        const uint64_t cookie = lks_gateway_answered(replica->gateway, header->sequence);
        replica->options.on_reply(replica->options.ctx, cookie, replica->reply.data,
                                  replica->reply.bytes);
    }
}

int lks_replica_apply(struct lks_replica *replica)
{
    const uint64_t limit = replica->view->commit_offset;
    int work = 0;
    while (replica->applied.offset < limit && work < (int)APPLY_PER_TURN_MAX) {
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
            execute(replica, &entry);
        }
    }
    if (work > 0 || replica->floor_flushed < replica->floor_target) {
        lks_replica_raise_floor(replica, false);
    }
    if (replica->options.service->tick(replica->service, replica->applied_time_ns)) {
        work++; /* more to give back */
    }
    if (work > 0) {
        lks_word_publish(&replica->words->applied_offset, replica->applied.offset);
        lks_word_publish(&replica->words->applied_index, replica->applied.index);
    }
    return work;
}

void lks_replica_scan(const struct lks_replica *replica, struct lks_log_point *cursor,
                      struct lks_runs *runs, uint64_t limit)
{
    struct lks_entry entry;
    uint64_t begin = cursor->offset;
    while (lks_journal_next(replica->options.journal, cursor, limit, &entry) == 0) {
        lks_runs_note(runs, entry.header->term, begin);
        begin = cursor->offset;
    }
}
