/*
 * What comes in: events of the fabric and control messages, turned into events of the core.
 *
 * Called once a turn on the replica's thread. Nothing that a peer wrote is trusted before it was
 * checked here; what fails the check is dropped and said once in the log.
 */
#include "node/replica_internal.h"

#include <inttypes.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/durability.h"
#include "node/hello.h"

#define FABRIC_EVENTS_MAX 64
#define MESSAGES_PER_TURN_MAX 16u
#define PREVOTES_PENDING_MAX (LKS_MAILBOX_SLOTS / 2)
#define HOLD_NS UINT64_C(2000000000)
#define HOLD_PAUSE_NS UINT64_C(10000000000)
#define HOLD_MAX_NS UINT64_C(300000000000)

enum envelope_type {
    ENVELOPE_CORE = 1,
    ENVELOPE_OFFER = 2,        /* leader to gateway: write commands under this epoch */
    ENVELOPE_OFFER_REQUEST = 3, /* gateway to leader: nothing is answered, offer anew; no body */
    ENVELOPE_HOLD = 4, /* to a donor: do not reuse what you replace for a while; no body */
    ENVELOPE_SPOILT = 5 /* to a donor: one of your snapshots is damaged */
};

struct spoilt {
    uint32_t partition; /* LKS_PARTITIONS_MAX: both slots of the manifest are */
    uint32_t reserved;
    uint64_t id;        /* of its snapshot */
};

struct envelope {
    uint32_t type;
    uint32_t reserved;
    union {
        struct lks_message core;
        struct lks_ingress_offer offer;
        struct spoilt spoilt;
    } body;
};

_Static_assert(sizeof(struct envelope) <= LKS_MAILBOX_MESSAGE_MAX, "an envelope is one message");

static bool send_envelope(struct lks_replica *replica, uint32_t p, struct envelope *envelope,
                          size_t body_bytes)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    if (!peer->connected) {
        return false;
    }
    const uint32_t bytes = (uint32_t)(offsetof(struct envelope, body) + body_bytes);
    const int rc = lks_mailbox_send(&peer->mailbox, envelope, bytes, true);
    if (rc != 0) {
        lks_log_debug(replica->options.log_sink, "message to replica %u not sent: %s", p,
                      lks_error_text(rc));
    }
    return rc == 0;
}

static bool send_core(struct lks_replica *replica, uint32_t peer,
                      const struct lks_message *message)
{
    struct envelope envelope = {.type = ENVELOPE_CORE, .body.core = *message};
    return send_envelope(replica, peer, &envelope, sizeof *message);
}

/* The core says most things once: what finds the mailbox full waits. Of a peer that takes nothing
 * for long only the newest are worth keeping. */
static void keep_waiting(struct lks_replica_peer *peer, const struct lks_message *message)
{
    if (peer->waiting_count == LKS_REPLICA_WAITING_MAX) {
        peer->waiting_count--;
        memmove(peer->waiting, peer->waiting + 1, peer->waiting_count * sizeof *peer->waiting);
    }
    peer->waiting[peer->waiting_count] = *message;
    peer->waiting_count++;
}

/* False: not sent, and not kept either, because the sender will say it again. */
bool lks_replica_send_core_message(struct lks_replica *replica, uint32_t p,
                                   const struct lks_message *message)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    const bool prevote = message->kind == LKS_MESSAGE_PREVOTE_REQUEST ||
                         message->kind == LKS_MESSAGE_PREVOTE_REPLY;
    const bool repeated = prevote || message->kind == LKS_MESSAGE_DURABLE;
    if (!peer->connected) {
        return false;
    }
    if (peer->waiting_count == 0) {
        /* (Pre-votes are repeated quickly: they leave room for what follows them.) */
        const uint32_t most = prevote ? PREVOTES_PENDING_MAX : LKS_MAILBOX_SLOTS;
        if (lks_mailbox_pending(&peer->mailbox) < most && send_core(replica, p, message)) {
            return true;
        }
    }
    if (!repeated) {
        keep_waiting(peer, message);
    }
    return !repeated;
}

/* Sends what waits and still belongs to the present term. */
static int send_waiting(struct lks_replica *replica, uint32_t p)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    uint32_t done = 0;
    while (done < peer->waiting_count && (peer->waiting[done].term < replica->view->term ||
                                          send_core(replica, p, &peer->waiting[done]))) {
        done++;
    }
    peer->waiting_count -= done;
    memmove(peer->waiting, peer->waiting + done, peer->waiting_count * sizeof *peer->waiting);
    return (int)done;
}

bool lks_replica_send_offer(struct lks_replica *replica, uint32_t peer,
                            const struct lks_ingress_offer *offer)
{
    struct envelope envelope = {.type = ENVELOPE_OFFER, .body.offer = *offer};
    return send_envelope(replica, peer, &envelope, sizeof *offer);
}

bool lks_replica_send_offer_request(struct lks_replica *replica, uint32_t peer)
{
    struct envelope envelope = {.type = ENVELOPE_OFFER_REQUEST};
    return send_envelope(replica, peer, &envelope, 0);
}

/* An old copy of a journal has forgotten promises and acknowledged entries: without a word said to
 * it, it can neither vote nor count. */
static bool is_outlived(struct lks_replica *replica, uint32_t p, const struct lks_hello *hello)
{
    struct lks_hello_known known = replica->peers[p].known;
    const uint64_t logged = replica->sessions.gateways[p].incarnation;
    if (logged > known.incarnation) {
        known = (struct lks_hello_known){.incarnation = logged};
    }
    if (!lks_hello_is_outlived(hello, &known)) {
        return false;
    }
    lks_log_error(replica->options.log_sink,
                  "replica %" PRIu32 " comes with an old copy of its journal: this is its life "
                  "%" PRIu32 ", and life %" PRIu64 " was seen before: ignored; stop it, move the "
                  "journal away and create it anew with `lockstep init CONFIG --replica %" PRIu32
                  "`", p, hello->incarnation, known.incarnation, p);
    return true;
}

bool lks_replica_send_hold(struct lks_replica *replica, uint32_t peer)
{
    struct envelope envelope = {.type = ENVELOPE_HOLD};
    return send_envelope(replica, peer, &envelope, 0);
}

bool lks_replica_send_spoilt(struct lks_replica *replica, uint32_t peer, uint32_t partition,
                             uint64_t id)
{
    struct envelope envelope = {.type = ENVELOPE_SPOILT,
                                .body.spoilt = {.partition = partition, .id = id}};
    return send_envelope(replica, peer, &envelope, sizeof envelope.body.spoilt);
}

static void connected(struct lks_replica *replica, uint32_t p)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    struct lks_hello hello;
    const int rc = lks_hello_read(&hello, lks_fabric_hello(replica->options.fabric, p));
    if (rc != 0) {
        lks_log_error(replica->options.log_sink,
                      "replica %u greets in an unknown way (%s): ignored", p, lks_error_text(rc));
        return;
    }
    if (is_outlived(replica, p, &hello)) {
        return;
    }
    peer->known =
        (struct lks_hello_known){.incarnation = hello.incarnation, .life = hello.life};
    peer->connected = true;
    replica->connected |= 1u << p;
    peer->durability = (enum lks_durability)hello.durability;
    (void)strncpy(peer->medium, lks_medium_name((enum lks_medium_kind)hello.medium),
                  sizeof peer->medium - 1);
    peer->offered_term = 0;
    peer->waiting_count = 0;
    peer->reading_words = false;
    lks_mailbox_connected(&peer->mailbox);
    (void)lks_replica_event(replica, LKS_EVENT_CONNECTED, p);
    lks_log_info(replica->options.log_sink, "connected to replica %u", p);
}

static void disconnected(struct lks_replica *replica, const struct lks_fabric_event *arrived)
{
    struct lks_replica_peer *peer = &replica->peers[arrived->peer];
    if (!peer->connected) {
        return;
    }
    peer->connected = false;
    peer->word_due = 0;
    replica->connected &= ~(1u << arrived->peer);
    peer->grant = 0;
    peer->offered_term = 0;
    lks_mailbox_disconnected(&peer->mailbox);
    lks_ingress_producer_close(&peer->producer);
    lks_ingress_consumer_close(&peer->consumer);
    struct lks_core_event *event =
        lks_replica_event(replica, LKS_EVENT_DISCONNECTED, arrived->peer);
    event->dead = arrived->peer_dead;
    lks_log_info(replica->options.log_sink, "lost replica %u%s", arrived->peer,
                 arrived->peer_dead ? ": its process has ended" : "");
}

static void heartbeat_read(struct lks_replica *replica, uint32_t p, int status)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    peer->reading_words = false;
    struct lks_core_event *event = lks_replica_event(replica, LKS_EVENT_HEARTBEAT_READ, p);
    event->status = status;
    if (status == 0) {
        const uint64_t flags = lks_word_read(&peer->seen->flags);
        event->beat = lks_word_read(&peer->seen->beat);
        event->term = lks_word_read(&peer->seen->term);
        event->leading = (flags & LKS_PUBLIC_LEADING) != 0;
        event->amnesiac = (flags & LKS_PUBLIC_AMNESIAC) != 0;
        event->offset = lks_word_read(&peer->seen->base_offset);
        event->dead = lks_fabric_peer_ends(replica->options.fabric, p);
        if (event->beat != peer->beat_seen || peer->beat_seen_ns == 0) {
            peer->beat_seen = event->beat;
            peer->beat_seen_ns = replica->now_ns;
        } else if (event->leading && replica->now_ns - peer->beat_seen_ns >=
                                         replica->options.election_timeout_ns / 2) {
            event->waits = lks_fabric_peer_waits(replica->options.fabric, p);
        }
    }
}

static void completed(struct lks_replica *replica, const struct lks_fabric_event *arrived)
{
    LKS_ASSERT(arrived->id >= 1);
    LKS_ASSERT(arrived->id <= LKS_REPLICA_OPS_MAX);
    struct lks_op *op = &replica->ops[arrived->id - 1];
    struct lks_core_event *event = NULL;
    switch (op->kind) {
    case LKS_OP_WRITE:
        event = lks_replica_event(replica, LKS_EVENT_FLUSHED, op->peer);
        event->grant = op->grant;
        event->status = arrived->status;
        event->offset = op->offset;
        break;
    case LKS_OP_PROBE:
        event = lks_replica_event(replica, LKS_EVENT_PROBED, op->peer);
        event->grant = op->grant;
        event->status = arrived->status;
        break;
    case LKS_OP_HEARTBEAT:
        heartbeat_read(replica, op->peer, arrived->status);
        break;
    case LKS_OP_LOG_READ:
        lks_log_read_arrived(replica, op, arrived->status);
        break;
    case LKS_OP_SNAPSHOT_READ:
        lks_install_arrived(replica, op, arrived->status);
        break;
    case LKS_OP_REVOKE:
        if (arrived->status != 0) {
            lks_replica_fail(replica, arrived->status,
                             "write permission of replica %u could not be revoked: %s", op->peer,
                             lks_error_text(arrived->status));
        } else {
            (void)lks_replica_event(replica, LKS_EVENT_REVOKED, op->peer);
        }
        break;
    case LKS_OP_GRANT:
        event = lks_replica_event(replica, LKS_EVENT_GRANTED, op->peer);
        event->status = arrived->status;
        event->key[0] = arrived->key.grant;
        memcpy(&event->key[1], arrived->key.words, sizeof arrived->key.words);
        break;
    case LKS_OP_OPEN:
        if (arrived->status == 0) {
            replica->peers[op->peer].grant = op->grant;
        }
        event = lks_replica_event(replica, LKS_EVENT_OPENED, op->peer);
        event->status = arrived->status;
        event->grant = op->grant;
        break;
    case LKS_OP_FREE:
        LKS_ASSERT(op->kind != LKS_OP_FREE); /* one completion for each operation */
    }
    lks_replica_op_free(replica, op);
}

/* Who reaches nobody any more serves nobody: clients go to others, and who watches over processes
 * starts this one again. */
static void fabric_failed(struct lks_replica *replica, int code)
{
    char why[LKS_ERROR_TEXT_MAX];
    if (!lks_fabric_describe(replica->options.fabric, why, sizeof why)) {
        (void)snprintf(why, sizeof why, "the fabric has failed: %s", lks_error_text(code));
    }
    lks_replica_fail(replica, code, "%s", why);
}

int lks_replica_poll_fabric(struct lks_replica *replica)
{
    struct lks_fabric_event arrived[FABRIC_EVENTS_MAX];
    const int count = lks_fabric_poll(replica->options.fabric, arrived, FABRIC_EVENTS_MAX);
    if (count < 0) {
        fabric_failed(replica, count);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        if (!lks_replica_is_peer(replica, arrived[i].peer)) {
            lks_replica_fail(replica, -EINVAL, "the fabric reports a replica %u that is no peer",
                             arrived[i].peer);
            return count;
        }
        if (arrived[i].kind == LKS_FABRIC_CONNECTED) {
            connected(replica, arrived[i].peer);
        } else if (arrived[i].kind == LKS_FABRIC_DISCONNECTED) {
            disconnected(replica, &arrived[i]);
        } else {
            completed(replica, &arrived[i]);
        }
    }
    return count + lks_replica_drain(replica);
}

static void take_offer(struct lks_replica *replica, uint32_t p,
                       const struct lks_ingress_offer *offer)
{
    if (offer->term < replica->view->term || replica->view->role == LKS_CORE_LEADER) {
        return; /* of a leader that is leader no more */
    }
    for (uint32_t q = 1; q <= replica->options.replicas; q++) {
        lks_ingress_producer_close(&replica->peers[q].producer);
    }
    lks_ingress_producer_open(&replica->peers[p].producer, offer);
    lks_gateway_rewind(replica->gateway); /* everything unanswered first, in order */
}

/* A peer reads the own snapshots. It may go on asking, but not for ever: held blocks take room. */
static void take_hold(struct lks_replica *replica, uint32_t p)
{
    struct lks_replica_peer *peer = &replica->peers[p];
    if (replica->options.snapshots == NULL) {
        return;
    }
    if (peer->hold_last_ns == 0 || replica->now_ns - peer->hold_last_ns > HOLD_PAUSE_NS) {
        peer->hold_began_ns = replica->now_ns;
    }
    peer->hold_last_ns = replica->now_ns > 0 ? replica->now_ns : 1;
    if (replica->now_ns - peer->hold_began_ns < HOLD_MAX_NS) {
        lks_snapshots_hold(replica->options.snapshots, replica->now_ns + HOLD_NS);
    }
}

/* A peer has found damage where this replica does not look. Said of an older snapshot, it says
 * nothing any more; so a peer makes this replica take one more at most. */
static void take_spoilt(struct lks_replica *replica, uint32_t p, const struct spoilt *spoilt)
{
    const struct lks_snapshots *store = replica->options.snapshots;
    if (store == NULL || spoilt->partition > LKS_PARTITIONS_MAX ||
        (spoilt->partition < LKS_PARTITIONS_MAX &&
         (spoilt->partition >= lks_snapshots_partitions(store) ||
          lks_snapshots_item(store, spoilt->partition)->id != spoilt->id))) {
        return;
    }
    const bool manifest = spoilt->partition == LKS_PARTITIONS_MAX;
    const uint32_t partition = manifest ? lks_snapshots_lowest(store) : spoilt->partition;
    if (lks_replica_snapshot_again(replica, partition)) {
        lks_log_warn(replica->options.log_sink,
                     "replica %" PRIu32 " finds %s%" PRIu32 " damaged here: it is taken again; "
                     "look after the medium of %s", p,
                     manifest ? "the manifest of the snapshots, with that of partition "
                              : "the snapshot of partition ",
                     partition, lks_snapshots_path(store));
    }
}

static void take_message(struct lks_replica *replica, uint32_t p, const struct envelope *envelope,
                         size_t bytes)
{
    const size_t head = offsetof(struct envelope, body);
    if (bytes == head + sizeof(struct lks_message) && envelope->type == ENVELOPE_CORE &&
        lks_message_check(&envelope->body.core) &&
        lks_core_plausible(replica->core, &envelope->body.core)) {
        /* The message lives in the buffer of the caller: it is fed to the core at once. */
        lks_replica_event(replica, LKS_EVENT_MESSAGE, p)->message = &envelope->body.core;
        (void)lks_replica_drain(replica);
    } else if (bytes == head + sizeof(struct lks_ingress_offer) &&
               envelope->type == ENVELOPE_OFFER) {
        take_offer(replica, p, &envelope->body.offer);
    } else if (bytes == head && envelope->type == ENVELOPE_OFFER_REQUEST) {
        replica->peers[p].offered_term = 0;
    } else if (bytes == head && envelope->type == ENVELOPE_HOLD) {
        take_hold(replica, p);
    } else if (bytes == head + sizeof(struct spoilt) && envelope->type == ENVELOPE_SPOILT) {
        take_spoilt(replica, p, &envelope->body.spoilt);
    } else {
        lks_log_warn(replica->options.log_sink,
                     "replica %u sent a message of unknown form, or with impossible numbers: "
                     "dropped",
                     p);
    }
}

int lks_replica_poll_messages(struct lks_replica *replica)
{
    int work = 0;
    LKS_QUORUM_EACH(p, replica->connected)
    {
        struct lks_replica_peer *peer = &replica->peers[p];
        for (uint32_t i = 0; i < MESSAGES_PER_TURN_MAX && peer->connected; i++) {
            union {
                struct envelope envelope;
                uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX];
            } buffer;
            const int bytes = lks_mailbox_receive(&peer->mailbox, buffer.bytes);
            if (bytes <= 0) {
                break;
            }
            take_message(replica, p, &buffer.envelope, (size_t)bytes);
            work++;
        }
        if (peer->connected) {
            work += lks_mailbox_poll(&peer->mailbox);
            work += peer->waiting_count != 0 ? send_waiting(replica, p) : 0;
        }
    }
    return work;
}
