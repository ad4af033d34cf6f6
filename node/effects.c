/*
 * Carries out what the core wants done: the only place where effects meet fabric and journal.
 *
 * Called by lks_replica_drain on the replica's thread; never blocks on a peer. Every effect that
 * the core documents as having a completion leads to exactly one event.
 */
#include "node/replica_internal.h"

#include <stddef.h>


/* A log that ends in disorder of the fabric must not look damaged (pmem/recovery.c). */
_Static_assert(LKS_JOURNAL_DISORDER_BYTES >= LKS_FABRIC_DISORDER_BYTES, "disorder is bounded");

static uint32_t durable_flag(const struct lks_replica_peer *peer)
{
    return peer->durability == LKS_DURABILITY_WRITER_FLUSH ? LKS_FABRIC_DURABLE : 0;
}

static void flushed_event(struct lks_replica *replica, const struct lks_effect *effect, int status)
{
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_FLUSHED, effect->peer);
    event->grant = effect->grant;
    event->status = status;
}

/* Posts one contiguous piece; id 0: its success shows in what follows. */
static int write_piece(struct lks_replica *replica, uint32_t peer, uint64_t from, uint64_t bytes,
                       uint64_t id)
{
    struct lks_journal *journal = replica->options.journal;
    const uint32_t more = id == 0 ? LKS_FABRIC_MORE : 0; /* what carries the id follows at once */
    return lks_fabric_write_log(replica->options.fabric, peer, lks_journal_place(journal, from),
                                lks_journal_address(journal, from), bytes,
                                durable_flag(&replica->peers[peer]) | more, id);
}

static int write_word(struct lks_replica *replica, uint32_t peer, size_t field, uint64_t value,
                      uint32_t flags, uint64_t id)
{
    return lks_fabric_write_log(replica->options.fabric, peer, replica->log_place + field, &value,
                                sizeof value, LKS_FABRIC_INLINE | flags, id);
}

/*
 * Notes the end of the last entry that will lie wholly in the peer's ring after this write. A
 * write that does not reach the end of the log may end inside an entry; but whatever is said about
 * a log (written, durable, committed) is said of whole entries: the peer could not find its log's
 * end there.
 */
static void note_whole(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_replica_peer *peer = &replica->peers[effect->peer];
    if (peer->whole_grant != effect->grant) {
        peer->whole_grant = effect->grant;
        peer->whole = effect->from; /* a path begins between two entries */
    }
    LKS_ASSERT(peer->whole <= effect->from);
    if (effect->ends_entry) {
        peer->whole = effect->to;
        return;
    }
    while (peer->whole < effect->to) { /* own entries: at least 64 bytes each, up to 1 MiB */
        const struct lks_entry_header *header =
            lks_journal_address(replica->options.journal, peer->whole);
        const uint64_t end = peer->whole + lks_entry_span(header->payload_bytes);
        if (end > effect->to) {
            break;
        }
        peer->whole = end;
    }
}

/*
 * Log bytes, then what makes them durable there: a flush, or (pmem-ack) the written word that
 * tells the follower how far to persist. The last operation posted carries the id: operations of
 * a path complete in order, and a refused write fails everything behind it.
 */
static void write_log(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_replica_peer *peer = &replica->peers[effect->peer];
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    const uint64_t to_end = ring - effect->from % ring;
    const uint64_t bytes = effect->to - effect->from;
    const uint64_t first = bytes < to_end ? bytes : to_end;
    LKS_ASSERT(effect->to > effect->from);
    LKS_ASSERT(bytes <= ring);
    if (effect->grant != peer->grant) {
        flushed_event(replica, effect, -LKS_EBROKEN);
        return;
    }
    note_whole(replica, effect);
    uint64_t id = 0;
    struct lks_op *op = lks_replica_op(replica, LKS_OP_WRITE, effect->peer, &id);
    op->grant = effect->grant;
    op->offset = peer->durability == LKS_DURABILITY_PMEM_ACK ? 0 : peer->whole;
    const bool last_is_write = peer->durability == LKS_DURABILITY_MEMORY;
    int rc = write_piece(replica, effect->peer, effect->from, first,
                         last_is_write && first == bytes ? id : 0);
    if (rc == 0 && first < bytes) {
        rc = write_piece(replica, effect->peer, effect->from + first, bytes - first,
                         last_is_write ? id : 0);
    }
    if (rc == 0 && peer->durability == LKS_DURABILITY_PMEM_ACK) {
        rc = write_word(replica, effect->peer, offsetof(struct lks_control_words, written),
                        peer->whole, LKS_FABRIC_WAKE, id);
    } else if (rc == 0 && !last_is_write) {
        rc = lks_fabric_flush(replica->options.fabric, effect->peer, id);
    }
    if (rc != 0) {
        /* A part of it may be on its way, the rest is not: nothing may follow on this path, least
         * of all a commit word that counts on it. */
        peer->grant = 0;
        lks_replica_op_free(replica, op);
        flushed_event(replica, effect, rc);
    }
}

/*
 * Where a write takes its time when it is posted, a majority is served first: what has committed
 * is answered, and the other followers get the same bytes before the step ends. Per peer the
 * order stays: once one write waits, all later ones do.
 */
static bool can_wait(const struct lks_replica *replica)
{
    const uint32_t others = lks_quorum_count(replica->view->members.voters) / 2;
    const struct lks_fabric_ops *ops = replica->options.fabric->ops;
    return (ops->writes_when_posted || ops->writes_while_posting) &&
           replica->writes_now >= others && replica->deferred_count < LKS_REPLICA_DEFERRED_MAX;
}

static void write_or_defer(struct lks_replica *replica, const struct lks_effect *effect)
{
    if (can_wait(replica)) {
        replica->deferred[replica->deferred_count] = *effect;
        replica->deferred_count++;
        return;
    }
    if (replica->deferred_count != 0) {
        lks_replica_send_deferred(replica);
    }
    replica->writes_now++;
    write_log(replica, effect);
}

void lks_replica_send_deferred(struct lks_replica *replica)
{
    for (uint32_t i = 0; i < replica->deferred_count; i++) {
        write_log(replica, &replica->deferred[i]);
    }
    replica->deferred_count = 0;
    replica->writes_now = 0;
}

/* The word waits for the end of the step: answers go first, and only the last value is sent. */
static void note_commit_word(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_replica_peer *peer = &replica->peers[effect->peer];
    peer->word_due = effect->to;
    peer->word_grant = effect->grant;
    replica->words_due = true;
}

/* Wakes a sleeping follower only if its own clients wait for something below this word. */
void lks_replica_send_commit_words(struct lks_replica *replica)
{
    if (!replica->words_due) {
        return;
    }
    LKS_ASSERT(replica->deferred_count == 0); /* a word that is cut is not sent again */
    replica->words_due = false;
    LKS_QUORUM_EACH(p, replica->connected)
    {
        struct lks_replica_peer *peer = &replica->peers[p];
        if (peer->word_due == 0) {
            continue;
        }
        if (peer->word_grant != peer->grant) {
            peer->word_due = 0; /* of a path that is gone */
            continue;
        }
        const bool cut = peer->whole_grant == peer->grant && peer->whole < peer->word_due;
        const uint64_t word = cut ? peer->whole : peer->word_due;
        const bool wake = peer->command_end > peer->woken_at;
        const int rc = write_word(replica, p, offsetof(struct lks_control_words, commit), word,
                                  wake ? LKS_FABRIC_WAKE : 0, 0);
        if (rc == -LKS_EBUSY) {
            replica->words_due = true; /* nobody but this word says what is committed: later */
            continue;
        }
        /* (Any other failure broke the path, which the next write or probe reports.) */
        peer->word_due = 0;
        peer->woken_at = wake ? word : peer->woken_at;
    }
}

static void probe(struct lks_replica *replica, const struct lks_effect *effect)
{
    uint64_t id = 0;
    struct lks_op *op = lks_replica_op(replica, LKS_OP_PROBE, effect->peer, &id);
    op->grant = effect->grant;
    replica->probe_counter++;
    int rc = -LKS_EBROKEN;
    if (effect->grant == replica->peers[effect->peer].grant) {
        rc = write_word(replica, effect->peer, offsetof(struct lks_control_words, probe),
                        replica->probe_counter, 0, id);
    }
    if (rc != 0) {
        lks_replica_op_free(replica, op);
        struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_PROBED, effect->peer);
        event->grant = effect->grant;
        event->status = rc;
    }
}

void lks_replica_read_words(struct lks_replica *replica, uint32_t p)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    if (!peer->connected || peer->reading_words) {
        return;
    }
    uint64_t id = 0;
    struct lks_op *op = lks_replica_op(replica, LKS_OP_HEARTBEAT, p, &id);
    const int rc = lks_fabric_read(replica->options.fabric, p, LKS_FABRIC_WORDS, 0, peer->seen,
                                   sizeof *peer->seen, id);
    if (rc != 0) {
        lks_replica_op_free(replica, op);
        return; /* broken: the event of that follows */
    }
    peer->reading_words = true;
}

static void revoke(struct lks_replica *replica, uint32_t peer)
{
    uint64_t id = 0;
    (void)lks_replica_op(replica, LKS_OP_REVOKE, peer, &id);
    const int rc = lks_fabric_revoke(replica->options.fabric, peer, id);
    if (rc != 0) {
        lks_replica_fail(replica, rc, "write permission of replica %u cannot be revoked: %s", peer,
                         lks_error_text(rc));
    }
}

static void grant(struct lks_replica *replica, uint32_t peer)
{
    uint64_t id = 0;
    struct lks_op *op = lks_replica_op(replica, LKS_OP_GRANT, peer, &id);
    const int rc = lks_fabric_grant(replica->options.fabric, peer, id);
    if (rc != 0) {
        lks_replica_op_free(replica, op);
        lks_replica_event(replica, LKS_EVENT_GRANTED, peer)->status = rc;
    }
}

static void open_path(struct lks_replica *replica, const struct lks_effect *effect)
{
    uint64_t id = 0;
    struct lks_op *op = lks_replica_op(replica, LKS_OP_OPEN, effect->peer, &id);
    const struct lks_fabric_key key = {
        .grant = effect->key[0], .words = {effect->key[1], effect->key[2], effect->key[3]}};
    op->grant = key.grant;
    replica->peers[effect->peer].grant = 0; /* the older path ends here */
    const int rc = lks_fabric_open(replica->options.fabric, effect->peer, &key, id);
    if (rc != 0) {
        lks_replica_op_free(replica, op);
        struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_OPENED, effect->peer);
        event->grant = key.grant;
        event->status = rc;
    }
}

static void persist_promise(struct lks_replica *replica, const struct lks_effect *effect)
{
    /* The own ring is about to be handed over: what waits was read from it as it is now. */
    lks_replica_send_deferred(replica);
    const struct lks_promise promise = {
        .term = effect->term, .candidate = effect->peer, .incarnation = effect->incarnation};
    const int rc = lks_journal_write_promise(replica->options.journal, &promise);
    if (rc != 0) {
        lks_replica_fail(replica, rc, "the promise of term %llu cannot be made durable: %s",
                         (unsigned long long)effect->term, lks_error_text(rc));
        return;
    }
    (void)lks_replica_event(replica, LKS_EVENT_PROMISE_PERSISTED, 0);
}

static void clear_amnesia(struct lks_replica *replica, uint32_t voters)
{
    const int rc = lks_journal_clear_amnesia(replica->options.journal, voters);
    if (rc != 0) {
        lks_replica_fail(replica, rc, "the end of the amnesia cannot be recorded: %s",
                         lks_error_text(rc));
        return;
    }
    lks_log_info(replica->options.log_sink, "holds everything that it may have forgotten");
    (void)lks_replica_event(replica, LKS_EVENT_AMNESIA_CLEARED, 0);
}

static void beat(struct lks_replica *replica)
{
    lks_word_publish(&replica->words->beat, lks_word_read(&replica->words->beat) + 1);
}

static void carry_out(struct lks_replica *replica, const struct lks_update *update,
                      const struct lks_effect *effect)
{
    switch (effect->kind) {
    case LKS_EFFECT_WRITE:
        write_or_defer(replica, effect);
        break;
    case LKS_EFFECT_COMMIT_WORD:
        note_commit_word(replica, effect);
        break;
    case LKS_EFFECT_PROBE:
        probe(replica, effect);
        break;
    case LKS_EFFECT_READ_HEARTBEAT:
        lks_replica_read_words(replica, effect->peer);
        break;
    case LKS_EFFECT_READ_LOG:
        lks_log_read_start(replica, effect);
        break;
    case LKS_EFFECT_CANCEL_READ:
        lks_log_read_cancel(replica);
        break;
    case LKS_EFFECT_REVOKE:
        revoke(replica, effect->peer);
        break;
    case LKS_EFFECT_GRANT:
        grant(replica, effect->peer);
        break;
    case LKS_EFFECT_OPEN:
        open_path(replica, effect);
        break;
    case LKS_EFFECT_PERSIST_PROMISE:
        persist_promise(replica, effect);
        break;
    case LKS_EFFECT_PERSIST_TAIL:
        lks_replica_persist_tail(replica, effect->from);
        break;
    case LKS_EFFECT_PERSIST_LOG:
        lks_replica_persist_log(replica, effect);
        break;
    case LKS_EFFECT_APPEND_NOOP:
        lks_replica_append_noop(replica, effect->term);
        break;
    case LKS_EFFECT_SEND:
        (void)lks_replica_send_core_message(replica, effect->peer,
                                            &update->messages[effect->message]);
        break;
    case LKS_EFFECT_BEAT:
        beat(replica);
        break;
    case LKS_EFFECT_CLEAR_AMNESIA:
        clear_amnesia(replica, effect->voters);
        break;
    case LKS_EFFECT_INSTALL:
        lks_install_start(replica, effect);
        break;
    case LKS_EFFECT_CANCEL_INSTALL:
        lks_install_cancel(replica);
        break;
    }
}

void lks_replica_carry_out(struct lks_replica *replica, const struct lks_update *update)
{
    for (uint32_t i = 0; i < update->count && replica->fatal == 0; i++) {
        carry_out(replica, update, &update->effects[i]);
    }
}
