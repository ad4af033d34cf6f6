/*
 * The mailbox to one peer: control messages in both directions, by one-sided writes alone. Eight
 * messages may be under way each way; they arrive in order, at most once, and only over the
 * connection on which they were sent: nothing survives a reconnection. What arrives is checked
 * (tokens of this connection, sequence, length, CRC32C) before a byte of it is handed out; what
 * fails the check is left until the sender repeats it.
 * Owned by the replica, one for each peer, used on its one thread.
 */
#ifndef LKS_NODE_MAILBOX_H
#define LKS_NODE_MAILBOX_H

#include "node/inbox_layout.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

/* A message that was accepted, until the peer has acknowledged it. */
struct lks_mailbox_staged {
    struct lks_mailbox_header header;
    uint8_t body[LKS_MAILBOX_MESSAGE_MAX];
    bool wake;
};

struct lks_mailbox_counts {
    uint64_t sent;
    uint64_t received;
    uint64_t damaged;  /* messages that stood in their slot other than they were sent */
    uint64_t repeated; /* times that unacknowledged messages were posted again */
};

/* Private to mailbox.c; given here so that the replica can embed one. */
struct lks_mailbox {
    struct lks_fabric *fabric;
    const struct lks_mailbox_area *area; /* own: the peer writes there */
    uint32_t peer;
    uint64_t incarnation;
    uint64_t connections; /* of this life: half of the own token */

    bool connected;
    bool established;      /* the peer has echoed the own token under peer_token */
    bool peer_established; /* and says that it has seen the echo of its own */
    uint64_t token;        /* own, of this connection */
    uint64_t peer_token;   /* the highest seen over this connection */
    uint64_t word_in;      /* of the two: what the peer's words carry beside a sequence ... */
    uint64_t word_out;     /* ... and the own ones */
    uint64_t start;        /* sequence behind which messages begin for peer_token */
    uint64_t peer_repeats; /* as its hello last said */
    bool hello_due;        /* what the hello says has changed */
    uint32_t hello_wait;   /* polls until the hello is repeated */
    uint32_t hello_delay;

    uint64_t accepted;     /* sequence of the last message taken by _send */
    uint64_t posted;       /* the last message ever wholly posted to peer_token */
    uint64_t cursor;       /* the last message wholly posted, since they are being repeated */
    uint32_t cursor_bytes; /* of message cursor + 1: header and body bytes already posted */
    uint64_t acknowledged; /* the last message that the peer has taken */
    uint32_t repeat_wait;  /* polls until the unacknowledged messages are posted again */
    uint32_t repeat_delay;

    uint64_t received;          /* the last message taken out of the own inbox */
    uint64_t received_reported; /* the same, as last written to the peer */
    bool report_due;            /* the peer asks for it once more */
    uint64_t damaged_sequence;  /* the last message that was counted as damaged */

    struct lks_mailbox_counts counts;
    struct lks_mailbox_staged staged[LKS_MAILBOX_SLOTS];
};

/* Not connected. incarnation: of this replica, raised at every boot; fabric stays the caller's. */
void lks_mailbox_init(struct lks_mailbox *mailbox, struct lks_fabric *fabric, uint32_t peer,
                      uint64_t incarnation);

/* At LKS_FABRIC_CONNECTED, before anything else is done with the mailbox. */
void lks_mailbox_connected(struct lks_mailbox *mailbox);

/* At LKS_FABRIC_DISCONNECTED: what was under way is gone. Allowed at any time. */
void lks_mailbox_disconnected(struct lks_mailbox *mailbox);

/*
 * Takes a copy of a message of 1..LKS_MAILBOX_MESSAGE_MAX bytes (asserted) and posts it, or keeps
 * it for _poll while the two sides still greet each other. wake: wake the peer if it sleeps.
 * -LKS_EBUSY: eight messages are unacknowledged. -LKS_EBROKEN: not connected.
 */
int lks_mailbox_send(struct lks_mailbox *mailbox, const void *message, uint32_t bytes, bool wake);

/* Takes the next message out: its length (1 or more) with buffer filled, or -ENODATA. The buffer
 * holds LKS_MAILBOX_MESSAGE_MAX bytes. */
int lks_mailbox_receive(struct lks_mailbox *mailbox, void *buffer);

/*
 * Carries on what is under way: greeting, messages that were kept, acknowledgements. Call it once
 * in every turn of the loop, after the messages were received. Returns how many pieces of work
 * were done; 0 when there was nothing to do.
 */
int lks_mailbox_poll(struct lks_mailbox *mailbox);

/* Messages accepted and not yet acknowledged. */
uint32_t lks_mailbox_pending(const struct lks_mailbox *mailbox);

#endif
