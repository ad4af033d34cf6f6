/*
 * The ingress: the ring in the leader's memory into which one gateway writes its clients'
 * commands, one-sidedly. A *producer* is the gateway's end towards one leader, a *consumer* the
 * leader's end for one gateway.
 *
 * The leader first *offers* the ring: it starts anew at place 0 under an epoch that was never
 * used before, and only then tells the gateway (by a control message). The gateway writes only
 * under the epoch of the last offer that it received over the present connection. So bytes of an
 * earlier term, offer or connection carry another epoch and are never taken for new ones. Should
 * one of those land late, over a new word or record, it can only hide what stands there: the
 * gateway's commands then stay unanswered, or the ring is closed, until the next offer.
 * What is taken out was copied to private memory and checked there: the leader survives anything
 * that stands in the ring. Used on the replica's one thread.
 */
#ifndef LKS_NODE_INGRESS_H
#define LKS_NODE_INGRESS_H

#include "node/inbox_layout.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

/* What the leader tells a gateway; travels in a control message as it is. */
struct lks_ingress_offer {
    uint64_t term;
    uint64_t epoch;
};

/* ---- the gateway's end --------------------------------------------------------------------- */

/* Private to ingress.c; given here so that the replica can embed one. */
struct lks_ingress_producer {
    struct lks_fabric *fabric;
    uint32_t peer;
    bool open;
    uint64_t term;
    uint64_t epoch;
    uint64_t written;   /* lines written since the offer, skips included */
    uint64_t published; /* of these, lines below the tail word */
    uint64_t taken;     /* of these, lines that the leader has given back */
    uint32_t place;     /* written, as a byte offset in the ring */
    uint64_t unfinished_sequence; /* of a record begun at `place` and not yet whole; or 0 */
    uint32_t unfinished_checksum; /* over its header and contents */
    uint32_t unfinished_bytes;    /* of it, header included, already staged or posted */
    uint64_t pushed;    /* commands, over the life of the producer */
    uint8_t staged[LKS_FABRIC_INLINE_MAX]; /* bytes that will be posted in one write */
    uint32_t staged_place;
    uint32_t staged_bytes;
};

/* Closed. fabric stays the caller's. peer: the replica that may become leader. */
void lks_ingress_producer_init(struct lks_ingress_producer *producer, struct lks_fabric *fabric,
                               uint32_t peer);

/* At an offer of peer, received over the present connection: the ring is empty, all credits are
 * there. Everything unanswered must be pushed again. */
void lks_ingress_producer_open(struct lks_ingress_producer *producer,
                               const struct lks_ingress_offer *offer);

/* At a broken connection, or when another replica leads. */
void lks_ingress_producer_close(struct lks_ingress_producer *producer);

static inline bool lks_ingress_producer_is_open(const struct lks_ingress_producer *producer)
{
    return producer->open;
}

/* A command on its way to the leader. */
struct lks_ingress_command {
    uint64_t session;  /* the gateway: replica << 48 | incarnation */
    uint64_t sequence; /* 1, 2, ... within the session */
    const void *data;
    uint32_t bytes;
};

/*
 * Writes a command behind the others; the leader sees it after the next _publish. -LKS_EBUSY: no
 * credit, or too much work outstanding: publish what there is, and push the same command again
 * later, which goes on where this stopped; or another one, whose record takes the place of what is
 * written of this one. -LKS_ETOOBIG above LKS_INGRESS_COMMAND_MAX.
 * -LKS_EBROKEN: closed, or the connection is broken (the producer is closed then).
 */
int lks_ingress_push(struct lks_ingress_producer *producer,
                     const struct lks_ingress_command *command);

/* Shows everything pushed to the leader by one word; wake: wake it if it sleeps. 0 also when
 * there is nothing new. -LKS_EBUSY: call again later. -LKS_EBROKEN as above. */
int lks_ingress_publish(struct lks_ingress_producer *producer, bool wake);

/* ---- the leader's end ---------------------------------------------------------------------- */

/* Private to ingress.c; given here so that the replica can embed one. */
struct lks_ingress_consumer {
    struct lks_fabric *fabric;
    uint32_t peer;
    uint64_t incarnation;
    uint64_t offers; /* of this life: half of the epoch */
    bool open;
    uint64_t term;
    uint64_t epoch;
    uint64_t taken;     /* lines taken out since the offer */
    uint64_t available; /* lines below the tail word as last read */
    uint64_t returned;  /* lines given back to the gateway */
    uint32_t place;     /* taken, as a byte offset in the ring */
    uint64_t popped;    /* commands, over the life of the consumer */
    uint64_t damaged;   /* times that the ring was closed for what stood in it */
    uint8_t *buffer;
};

/*
 * Closed. incarnation: of this replica. buffer: LKS_INGRESS_COMMAND_MAX bytes, stays the
 * caller's; the consumers of one thread may share it, since a command popped is valid only until
 * the next _pop with the same buffer.
 */
void lks_ingress_consumer_init(struct lks_ingress_consumer *consumer, struct lks_fabric *fabric,
                               uint32_t peer, uint64_t incarnation, void *buffer);

/* Empties the ring, opens it under a new epoch and fills the offer that must be sent to the
 * gateway now: at each new term, after each reconnection, and whenever the gateway is to repeat
 * what is unanswered. */
void lks_ingress_consumer_offer(struct lks_ingress_consumer *consumer, uint64_t term,
                                struct lks_ingress_offer *offer);

/* No longer leader, or the connection is broken. */
void lks_ingress_consumer_close(struct lks_ingress_consumer *consumer);

/* Whether there is something to pop: a look at one word, without a copy. */
bool lks_ingress_waits(const struct lks_ingress_consumer *consumer);

/*
 * Takes the next command out. -ENODATA: none there, or closed. -EBADMSG: what stands in the ring
 * is no command of this gateway: the ring is closed now, nothing of it was taken; a new offer
 * repairs it.
 */
int lks_ingress_pop(struct lks_ingress_consumer *consumer, struct lks_ingress_command *command);

/* Gives credits back if enough have come together; call it after a batch of _pop. 0, or what
 * posting said (-LKS_EBUSY: the next call tries again). */
int lks_ingress_return_credits(struct lks_ingress_consumer *consumer);

#endif
