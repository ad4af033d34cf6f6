/*
 * Making ranges of the own log durable: inline where the processor can do it, posted to the
 * flusher elsewhere. At most one range of each class is under way; what arrives meanwhile is
 * merged (group commit). Replica's thread.
 *
 * In durability mode `memory` nothing is flushed but the promise: that is what the mode means.
 */
#include "node/replica_internal.h"

#include <inttypes.h>

#define FLOOR_FLUSH_BYTES (UINT64_C(64) << 10)
#define FLOOR_FLUSH_BYTES_MAX (UINT64_C(256) << 10) /* bounded work a step */
#define FLOOR_STEP_MIN (UINT64_C(1) << 20)

static void record_floor(struct lks_replica *replica, uint64_t floor);

static void start(struct lks_replica *replica, enum lks_persist_class class_, uint64_t from,
                  uint64_t to)
{
    LKS_ASSERT(!replica->persist_busy[class_]);
    replica->persist_busy[class_] = true;
    if (replica->options.durability == LKS_DURABILITY_MEMORY || from >= to) {
        lks_replica_persisted(replica, class_, 0);
    } else if (replica->options.persister.post != NULL) {
        replica->options.persister.post(replica->options.persister.ctx, from, to, class_);
    } else {
        lks_replica_persisted(replica, class_,
                              lks_journal_persist_range(replica->options.journal, from, to));
    }
}

void lks_replica_persist(struct lks_replica *replica, enum lks_persist_class class_, uint64_t from,
                         uint64_t to)
{
    start(replica, class_, from, to);
}

/* ---- the leader's own entries --------------------------------------------------------------- */

static void start_log(struct lks_replica *replica)
{
    struct lks_log_persist *log = &replica->log_persist;
    log->busy = true;
    log->busy_to = log->to;
    log->busy_term = log->term;
    /* (What lies below the base is in durable snapshots, and perhaps in the ring no more.) */
    const uint64_t from = log->from > replica->base_offset ? log->from : replica->base_offset;
    log->from = log->to;
    start(replica, LKS_PERSIST_LOG, from, log->busy_to);
}

void lks_replica_persist_log(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_log_persist *log = &replica->log_persist;
    if (effect->term != log->term) {
        log->term = effect->term;
        log->from = effect->from;
    }
    LKS_ASSERT(log->from <= effect->from);
    log->to = effect->to;
    if (!log->busy) {
        start_log(replica);
    }
}

static void log_persisted(struct lks_replica *replica)
{
    struct lks_log_persist *log = &replica->log_persist;
    log->busy = false;
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_LOG_PERSISTED, 0);
    event->offset = log->busy_to;
    event->term = log->busy_term;
    if (replica->view->role == LKS_CORE_LEADER && log->busy_term == replica->view->term) {
        replica->durable_mark = log->busy_to;
    }
    if (log->from < log->to) {
        start_log(replica);
    }
}

/* Where the processor makes bytes durable, own entries are before the core hears of them. False:
 * they are not, the core will ask for it. */
bool lks_replica_persist_appended(struct lks_replica *replica, uint64_t from, uint64_t to)
{
    if (replica->options.durability != LKS_DURABILITY_MEMORY) {
        if (replica->options.persister.post != NULL ||
            lks_journal_persist_range(replica->options.journal, from, to) != 0) {
            return false;
        }
    }
    replica->durable_mark = to;
    return true;
}

/* ---- the visible tail, at a hand-over ------------------------------------------------------- */

/* The log, then what the snapshots say of its beginning, then the service. */
static bool recover(struct lks_replica *replica)
{
    struct lks_log_point tail;
    struct lks_log_point base;
    struct lks_error err = {0};
    int rc = lks_journal_recover(replica->options.journal, &tail, &err);
    if (rc == 0 && replica->options.snapshots != NULL) {
        rc = lks_snapshots_settle(replica->options.snapshots, replica->options.journal, &tail,
                                  &err);
    }
    if (rc != 0) {
        lks_replica_fail(replica, rc, "%s", err.text);
        return false;
    }
    lks_journal_base(replica->options.journal, &base);
    replica->applied = base;
    replica->recovered = true;
    lks_replica_base_moved(replica, &base);
    lks_log_info(replica->options.log_sink, "log: entries up to %" PRIu64 ", %" PRIu64 " bytes",
                 tail.index, tail.offset - replica->base_offset);
    if (!lks_replica_recover_begin(replica)) {
        return false;
    }
    LKS_ASSERT(replica->applied.offset == base.offset); /* settled */
    lks_replica_snapshots_begin(replica);
    lks_replica_publish_applied(replica);
    return true;
}

/*
 * Nobody can write the ring now: every earlier permission is revoked and this replica appends
 * nothing. Everything above what was applied is scanned; the durable part begins where the core
 * says, never at a durable index.
 */
void lks_replica_persist_tail(struct lks_replica *replica, uint64_t from)
{
    if (!replica->recovered && !recover(replica)) {
        return;
    }
    const uint64_t commit = lks_word_read(&replica->control->commit);
    lks_word_publish(&replica->control->written, 0); /* a hint of the next holder alone */
    struct lks_log_point cursor = replica->applied;
    replica->tail_runs = replica->applied_runs;
    replica->tail_members = lks_replica_applied_members(replica);
    lks_replica_scan(
        replica, &(struct lks_log_walk){&cursor, &replica->tail_runs, &replica->tail_members},
        UINT64_MAX);
    if (commit > cursor.offset) {
        lks_replica_fail(replica, -LKS_EDAMAGED,
                         "the log is damaged behind entry %" PRIu64 " (offset %" PRIu64
                         "): bytes up to offset %" PRIu64
                         " were committed; restore this replica's journal from a peer",
                         cursor.index, cursor.offset, commit);
        return;
    }
    replica->tail_event.position = lks_replica_position(&cursor);
    replica->tail_event.offset = commit;
    if (from < replica->base_offset) {
        from = replica->base_offset;
    }
    start(replica, LKS_PERSIST_TAIL, from, cursor.offset);
}

static void tail_persisted(struct lks_replica *replica)
{
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_TAIL_PERSISTED, 0);
    event->position = replica->tail_event.position;
    event->offset = replica->tail_event.offset;
    event->runs = &replica->tail_runs;
    event->members = replica->tail_members;
    lks_replica_tell_members(replica); /* after it: those may be a snapshot's */
    struct lks_log_point base;
    lks_journal_base(replica->options.journal, &base);
    event->base = lks_replica_position(&base);
    lks_word_publish(&replica->words->durable_offset, event->position.offset);
    replica->durable_mark = 0; /* the next holder may write from the commit word on */
    if (event->offset > replica->floor && replica->options.durability != LKS_DURABILITY_MEMORY) {
        record_floor(replica, event->offset); /* committed, and durable here by now */
    }
}

/* ---- pmem-ack: persist what the leader wrote, then say so ----------------------------------- */

static int send_owed(struct lks_replica *replica)
{
    const struct lks_message message = {
        .kind = LKS_MESSAGE_DURABLE,
        .term = replica->ack.term,
        .incarnation = replica->ack.incarnation,
        .durable_offset = replica->ack.owed,
        .key = {replica->ack.grant},
    };
    if (!lks_replica_send_core_message(replica, replica->ack.peer, &message)) {
        return 0; /* its mailbox is full: the next turn tries again, with a newer offset */
    }
    replica->ack.owed = 0;
    return 1;
}

/*
 * Acknowledgements are sent only while the grant under which the bytes came stands; they carry
 * its number. The first range of a grant begins at the commit offset known when it was given:
 * the leader writes from there on, also over bytes that were durable with other content.
 */
int lks_replica_acknowledge(struct lks_replica *replica)
{
    if (replica->options.durability != LKS_DURABILITY_PMEM_ACK || replica->view->grant.peer == 0) {
        replica->ack.grant = 0;
        replica->ack.owed = 0;
        return 0;
    }
    if (replica->view->grant.number != replica->ack.grant) {
        replica->ack.peer = replica->view->grant.peer;
        replica->ack.grant = replica->view->grant.number;
        replica->ack.term = replica->view->grant.term;
        replica->ack.incarnation = replica->view->grant.incarnation;
        replica->ack.done = replica->view->grant.commit_offset;
        replica->ack.owed = 0;
    }
    if (replica->ack.done < replica->base_offset) {
        replica->ack.done = replica->base_offset; /* an installation has brought what is below */
    }
    int work = replica->ack.owed != 0 ? send_owed(replica) : 0;
    const uint64_t written = lks_word_read(&replica->control->written);
    const uint64_t most = replica->base_offset + lks_journal_ring_bytes(replica->options.journal);
    if (written > replica->ack.done && written <= most && !replica->persist_busy[LKS_PERSIST_ACK]) {
        replica->ack.busy_to = written;
        replica->ack.busy_grant = replica->ack.grant;
        start(replica, LKS_PERSIST_ACK, replica->ack.done, written);
        work++;
    }
    return work;
}

static void ack_persisted(struct lks_replica *replica)
{
    const uint64_t grant = replica->ack.busy_grant;
    if (replica->view->grant.peer == 0 || replica->view->grant.number != grant ||
        replica->ack.grant != grant) {
        return; /* of an older grant: its bytes may have been overwritten since */
    }
    replica->ack.done = replica->ack.busy_to;
    replica->durable_mark = replica->ack.done;
    replica->ack.owed = replica->ack.busy_to;
    lks_word_publish(&replica->words->durable_offset, replica->ack.done);
    (void)send_owed(replica);
}

/* ---- the floor: below it, whatever is missing is damage -------------------------------------- */

/* Writes back, a piece at a time, up to where the last applied entry ended when the round began.
 * Returns that place when it was reached, else 0: a piece may end inside an entry. */
static uint64_t flush_for_floor(struct lks_replica *replica)
{
    const uint64_t applied = replica->applied.offset;
    if (replica->floor_flushed == replica->floor_target &&
        applied >= replica->floor_flushed + FLOOR_FLUSH_BYTES) {
        replica->floor_target = applied;
    }
    const uint64_t most = replica->floor_flushed + FLOOR_FLUSH_BYTES_MAX;
    const uint64_t to = replica->floor_target < most ? replica->floor_target : most;
    if (replica->floor_flushed < to &&
        lks_journal_persist_range(replica->options.journal, replica->floor_flushed, to) == 0) {
        replica->floor_flushed = to;
    }
    return replica->floor_flushed == replica->floor_target ? replica->floor_target : 0;
}

/* The greatest applied offset below which everything is durable here, with its final content; an
 * entry's end, since a recovery finds no other. Where lines are written back by the processor, a
 * follower does that for itself: what the leader flushed is known to the leader only, and a commit
 * needs only a majority. */
static uint64_t durable_and_applied(struct lks_replica *replica)
{
    const uint64_t applied = replica->applied.offset;
    uint64_t mark = replica->durable_mark;
    if (replica->options.persister.post == NULL && replica->view->role != LKS_CORE_LEADER) {
        const uint64_t flushed = flush_for_floor(replica);
        mark = mark > flushed ? mark : flushed;
    }
    return mark < applied ? mark : applied;
}

static void record_floor(struct lks_replica *replica, uint64_t floor)
{
    const int rc = lks_journal_raise_floor(replica->options.journal, floor);
    if (rc != 0) {
        lks_replica_fail(replica, rc, "the journal's floor cannot be recorded: %s",
                         lks_error_text(rc));
        return;
    }
    replica->floor = floor;
    if (replica->floor_flushed < floor) {
        replica->floor_flushed = floor;
    }
    if (replica->floor_target < replica->floor_flushed) {
        replica->floor_target = replica->floor_flushed;
    }
}

void lks_replica_raise_floor(struct lks_replica *replica, bool now)
{
    if (replica->options.durability == LKS_DURABILITY_MEMORY || !replica->recovered) {
        return;
    }
    const uint64_t floor = durable_and_applied(replica);
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    const uint64_t step = ring / 16 > FLOOR_STEP_MIN ? ring / 16 : FLOOR_STEP_MIN;
    if (floor >= replica->floor + step || (now && floor > replica->floor)) {
        record_floor(replica, floor);
    }
}

void lks_replica_persisted(struct lks_replica *replica, uint64_t id, int status)
{
    LKS_ASSERT(id >= 1);
    LKS_ASSERT(id < LKS_PERSIST_CLASSES);
    LKS_ASSERT(replica->persist_busy[id]);
    replica->persist_busy[id] = false;
    if (status != 0) {
        lks_replica_fail(replica, status,
                         "the log cannot be made durable: %s: what was not flushed may be lost, so "
                         "this replica stops",
                         lks_error_text(status));
        return;
    }
    switch ((enum lks_persist_class)id) {
    case LKS_PERSIST_LOG:
        log_persisted(replica);
        break;
    case LKS_PERSIST_TAIL:
        tail_persisted(replica);
        break;
    case LKS_PERSIST_ACK:
        ack_persisted(replica);
        break;
    case LKS_PERSIST_READ:
        lks_log_read_persisted(replica);
        break;
    case LKS_PERSIST_CLASSES:
        break;
    }
}
