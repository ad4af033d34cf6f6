/*
 * Committed entries, in the order of the log, to the service; the answers of own clients' commands
 * back to them. Every replica runs this over the same bytes. Replica's thread.
 *
 * An entry is applied only below the commit offset and after its checksum and chain were checked
 * again: what is executed is what was committed.
 */
#include "lockstep/touch.h"
#include "node/replica_internal.h"

#include <inttypes.h>

#define APPLY_PER_TURN_MAX 1024u
/* Commands executed between two looks at the clock, at most. */
#define LOOK_EVERY_MAX 16

#ifdef LKS_TOUCH_CHECKS
#define EACH_FOOTPRINT true /* accesses are checked against it */
#else
#define EACH_FOOTPRINT false
#endif

bool lks_replica_footprint(const struct lks_replica *replica, const struct lks_entry *entry,
                           struct lks_footprint *touched)
{
    const struct lks_service *service = replica->options.service;
    if (lks_footprint_decode(touched, service->partitions, entry)) {
        return true;
    }
    size_t bytes = 0;
    const void *data = lks_entry_command(entry, &bytes);
    lks_footprint_clear(touched);
    service->footprint(data, bytes, touched);
    return false;
}

void lks_replica_run(struct lks_replica *replica, const struct lks_execution_command *command,
                     const uint64_t *only)
{
    const struct lks_entry_header *header = command->entry->header;
    struct lks_command given = {
        .index = header->index,
        .time_ns = header->time_ns,
        .only = only,
    };
    given.data = lks_entry_command(command->entry, &given.bytes);
    if (command->touched != NULL) {
        lks_replica_note_ties(replica, command->touched);
    }
    lks_reply_clear(&replica->reply);
    lks_touch_expect(command->touched, replica->options.service->partitions);
    replica->options.service->apply(replica->service, &given, &replica->reply);
    lks_touch_expect(NULL, 0);
    replica->executed_in_place++;
    if (command->asker.own) { /* (of a part of a command there is no reply) */
        replica->options.on_reply(replica->options.ctx, command->asker.cookie, replica->reply.data,
                                  only == NULL ? replica->reply.bytes : 0);
    }
}

/* Whether who executes it has to know what it touches. One key in the header ties nothing. */
static inline bool needs_footprint(const struct lks_replica *replica,
                                   const struct lks_entry *entry)
{
    return EACH_FOOTPRINT || replica->recovery.active || lks_execution_is_parallel(replica) ||
           (replica->taker.ties_matter &&
            entry->header->footprint_bytes != LKS_ENTRY_FOOTPRINT_HERE);
}

/* Executes a command that takes effect, or sees to it that it will be. */
static __attribute__((noinline)) void dispatch(struct lks_replica *replica,
                                               struct lks_execution_command *command,
                                               uint64_t offset)
{
    struct lks_footprint touched;
    const bool declared = lks_replica_footprint(replica, command->entry, &touched);
    command->touched = &touched;
    if (lks_execution_is_parallel(replica)) {
        lks_replica_note_ties(replica, &touched);
        lks_execution_command(replica, command, declared);
    } else if (replica->recovery.active) {
        lks_replica_recover_dispatch(replica, command, offset);
    } else {
        lks_replica_run(replica, command, NULL);
        lks_execution_ran(replica);
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
    struct lks_execution_command command = {
        .entry = entry,
        .asker = {.own = header->session == replica->session &&
                         !is_answered(replica, header->sequence)}};
    if (command.asker.own) {
        const bool all = lks_reads_before(replica, header);
        LKS_ASSERT(all); /* takes_entry has seen to it */
        command.asker.cookie = lks_gateway_answered(replica->gateway, header->sequence);
    }
    if (needs_footprint(replica, entry)) {
        dispatch(replica, &command, offset);
    } else {
        lks_replica_run(replica, &command, NULL);
        lks_execution_ran(replica);
    }
}

/* Whether the entry may be dispatched now. With workers not always: a command needs room, also for
 * the reads that come before it, and what concerns the whole replica is alone. */
static __attribute__((noinline)) bool takes_entry(struct lks_replica *replica,
                                                  const struct lks_entry *entry)
{
    const struct lks_entry_header *header = entry->header;
    if (header->kind == LKS_ENTRY_MEMBERS) {
        return lks_execution_is_quiet(replica);
    }
    if (header->kind != LKS_ENTRY_COMMAND) {
        return true;
    }
    if (!lks_execution_takes_command(replica)) {
        return false;
    }
    const bool next = lks_sessions_expect(&replica->sessions, header->session,
                                          header->sequence) == LKS_SESSION_NEXT;
    return header->session != replica->session || !next ||
           is_answered(replica, header->sequence) ||
           (lks_reads_before(replica, header) && lks_execution_has_room(replica));
}

void lks_replica_publish_applied(struct lks_replica *replica)
{
    const struct lks_waiting_entry *oldest =
        replica->recovery.active ? lks_waiting_oldest(replica->recovery.waiting) : NULL;
    if (oldest != NULL && oldest->read != NULL) {
        return; /* it stands where an entry was executed long ago: what was told stays true */
    }
    const struct lks_execution_mark mark =
        replica->execution != NULL
            ? lks_execution_mark(replica)
            : (struct lks_execution_mark){replica->applied.index, replica->applied.offset};
    const uint64_t index = oldest != NULL ? oldest->index - 1 : mark.index;
    if (index < lks_word_read(&replica->words->applied_index)) {
        return; /* an installation went back behind what was told */
    }
    lks_word_publish(&replica->words->applied_offset,
                     oldest != NULL ? oldest->offset : mark.offset);
    lks_word_publish(&replica->words->applied_index, index);
}

static bool may_go_on(const struct lks_replica *replica, uint64_t limit)
{
    return replica->applied.offset < limit &&
           (!replica->recovery.active || lks_replica_recover_has_room(replica));
}

static void note_passed(struct lks_replica *replica, const struct lks_entry *entry,
                        uint64_t begin)
{
    lks_runs_note(&replica->applied_runs, entry->header->term, begin);
    if (entry->header->time_ns > replica->applied_time_ns) {
        replica->applied_time_ns = entry->header->time_ns;
    }
    if (entry->header->kind == LKS_ENTRY_COMMAND) {
        execute(replica, entry, begin);
    } else if (entry->header->kind == LKS_ENTRY_MEMBERS) {
        lks_replica_apply_members(replica, entry);
    }
}

/* Executing has had its share of this turn of the loop, the steps of one time: half of a heartbeat,
 * so that however long commands are the leader beats in time, and followers answer. One command at
 * least is executed in each turn. (docs/scheduling.md, In the replica) */
bool lks_replica_is_out_of_time(const struct lks_replica *replica)
{
    uint64_t (*const clock_ns)(void) = replica->options.clock_ns;
    const uint64_t share_ns = replica->options.heartbeat_ns / 2;
    return clock_ns != NULL && replica->executed_at_ns == replica->now_ns &&
           clock_ns() >= replica->now_ns + share_ns;
}

/* Dispatches what has committed; returns entries. */
static int go_on(struct lks_replica *replica)
{
    const uint64_t limit = replica->view->commit_offset;
    int work = 0;
    int look_at = 0;
    while (work < (int)APPLY_PER_TURN_MAX && may_go_on(replica, limit)) {
        if (work == look_at) {
            if (lks_replica_is_out_of_time(replica)) {
                break;
            }
            look_at += work < 1 ? 1 : 3 * work < LOOK_EVERY_MAX ? 3 * work : LOOK_EVERY_MAX;
        }
        struct lks_entry entry;
        struct lks_log_point cursor = replica->applied;
        if (lks_journal_next(replica->options.journal, &cursor, limit, &entry) != 0) {
            /* A commit offset is the end of an entry, which was wholly written before it. */
            lks_replica_fail(replica, -LKS_EDAMAGED,
                             "committed entry %" PRIu64 " (offset %" PRIu64
                             ") fails its check: the log is damaged; restore this replica's "
                             "journal from a peer",
                             replica->applied.index + 1, replica->applied.offset);
            break;
        }
        if (!lks_execution_is_in_place(replica) && !takes_entry(replica, &entry)) {
            break;
        }
        const uint64_t begin = replica->applied.offset;
        replica->applied = cursor;
        replica->executed_at_ns = replica->now_ns;
        work++;
        note_passed(replica, &entry, begin);
    }
    return work;
}

int lks_replica_apply(struct lks_replica *replica)
{
    int work = replica->execution != NULL ? lks_execution_collect(replica) : 0;
    work += go_on(replica);
    work += replica->execution != NULL ? lks_execution_collect(replica) : 0;
    if (work > 0 || replica->floor_flushed < replica->floor_target) {
        lks_replica_raise_floor(replica, false);
    }
    if (!replica->recovery.active && lks_execution_is_quiet(replica) &&
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
