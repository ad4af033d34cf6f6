/*
 * What lies where in one peer's area of the inbox: mailbox, words of ingress and of reads, ingress
 * ring. The peer alone writes the area, one-sidedly; its owner only reads it, and trusts nothing
 * in it. Offsets and sizes are part of the wire format between replicas. Constants only; any
 * thread.
 */
#ifndef LKS_NODE_INBOX_LAYOUT_H
#define LKS_NODE_INBOX_LAYOUT_H

#include "base/remote_memory.h"
#include "node/replica.h"

#include <stddef.h>
#include <stdint.h>

/* ---- mailbox: [0, 64 KiB) ------------------------------------------------------------------ */

#define LKS_MAILBOX_OFFSET 0u
#define LKS_MAILBOX_AREA_BYTES (64u << 10)
#define LKS_MAILBOX_SLOTS 8u
#define LKS_MAILBOX_MESSAGE_MAX 960u

/* How the two sides of a new connection recognise each other; see mailbox.c. */
struct lks_mailbox_hello {
    lks_word token;       /* the writer's, new and higher at each of its connections */
    lks_word echo;        /* the reader's token as the writer sees it; 0: not seen yet */
    lks_word start;       /* the writer's messages begin behind this sequence */
    lks_word established; /* 1: the writer has seen an echo of its own token */
    lks_word repeats;     /* a change asks the reader to acknowledge once more */
    lks_word check;       /* over the words before */
};

/* Written together with the body that follows it, before the slot's word. */
struct lks_mailbox_header {
    uint32_t checksum; /* CRC32C over the rest of the header and the body */
    uint32_t bytes;    /* of the body */
    uint64_t reader;   /* token of the side that reads it */
    uint64_t writer;   /* token of the side that wrote it */
    uint64_t sequence; /* 1, 2, ... within the writer's life */
};

struct lks_mailbox_slot {
    lks_word word; /* tag of both tokens, and sequence: the message is there */
    uint8_t unused[24];
    struct lks_mailbox_header header;
    uint8_t body[LKS_MAILBOX_MESSAGE_MAX];
};

struct lks_mailbox_area {
    _Alignas(64) struct lks_mailbox_hello hello;
    _Alignas(64) lks_word acknowledged; /* tag of both tokens, and the last sequence taken */
    _Alignas(64) uint8_t unused[896];
    struct lks_mailbox_slot slots[LKS_MAILBOX_SLOTS];
};

_Static_assert(sizeof(struct lks_mailbox_header) == 32, "mailbox header layout");
_Static_assert(sizeof(struct lks_mailbox_slot) == 1024, "mailbox slot layout");
_Static_assert(offsetof(struct lks_mailbox_slot, body) == 64, "mailbox slot layout");
_Static_assert(offsetof(struct lks_mailbox_area, slots) == 1024, "mailbox layout");
_Static_assert(sizeof(struct lks_mailbox_area) <= LKS_MAILBOX_AREA_BYTES, "mailbox fits");

/* ---- ingress: the rest --------------------------------------------------------------------- */

#define LKS_INGRESS_OFFSET LKS_MAILBOX_AREA_BYTES
#define LKS_INGRESS_WORDS_BYTES 4096u
#define LKS_INGRESS_RING_OFFSET (LKS_INGRESS_OFFSET + LKS_INGRESS_WORDS_BYTES)
#define LKS_INGRESS_RING_BYTES (LKS_REPLICA_INBOX_BYTES - LKS_INGRESS_RING_OFFSET)
#define LKS_INGRESS_ALIGN 64u
#define LKS_INGRESS_COMMAND_MAX (512u << 10)

struct lks_ingress_words {
    _Alignas(64) lks_word tail; /* by the gateway, in the leader's memory: tag of the epoch, and
                                   the end of the records written, in lines of 64 bytes */
    _Alignas(64) lks_word head; /* by the leader, in the gateway's memory: tag of the epoch, and
                                   the end of the records taken, in lines: the credits */
};

/* Reads (reads.c): each is one write of its owner; the check, over the epoch of the ingress offer
 * and the words before it, says that all of them are of that write. */
struct lks_read_request {
    lks_word number; /* 1, 2, ... */
    lks_word check;
};

struct lks_read_answer {
    lks_word number; /* of the request: it, and all before it, are answered */
    lks_word term;   /* of the leader */
    lks_word point;  /* log offset: what is answered from a state that holds everything below is
                        linearizable */
    lks_word check;
};

struct lks_read_words {
    _Alignas(64) struct lks_read_request request; /* by the gateway, in the leader's memory */
    _Alignas(64) struct lks_read_answer answer;   /* by the leader, in the gateway's memory */
};

#define LKS_READ_WORDS_OFFSET (LKS_INGRESS_OFFSET + LKS_INGRESS_WORDS_BYTES / 2)

_Static_assert(sizeof(struct lks_read_request) == 16, "read request layout");
_Static_assert(sizeof(struct lks_read_answer) == 32, "read answer layout");
_Static_assert(offsetof(struct lks_read_words, answer) == 64, "read words layout");
_Static_assert(sizeof(struct lks_read_words) <= LKS_INGRESS_WORDS_BYTES / 2, "read words fit");

/* At a 64-byte boundary, followed by the command and zeros to 64. Never wraps: where the rest of
 * the ring is too short, a record with `bytes` LKS_INGRESS_SKIP leads back to the beginning. */
struct lks_ingress_header {
    uint32_t checksum; /* CRC32C over the rest of the header and the command */
    uint32_t bytes;    /* of the command */
    uint64_t epoch;    /* of the leader's offer */
    uint64_t session;
    uint64_t sequence;
};

#define LKS_INGRESS_SKIP UINT32_MAX

_Static_assert(sizeof(struct lks_ingress_words) <= LKS_INGRESS_WORDS_BYTES / 2,
               "ingress words fit");
_Static_assert(sizeof(struct lks_ingress_header) == 32, "ingress header layout");
_Static_assert(LKS_INGRESS_RING_BYTES % LKS_INGRESS_ALIGN == 0, "whole lines");
/* The largest record, the skip before it and credits not yet returned fit at the same time. */
_Static_assert(LKS_INGRESS_RING_BYTES - LKS_INGRESS_RING_BYTES / 8 >
                   2 * (LKS_INGRESS_COMMAND_MAX + LKS_INGRESS_ALIGN),
               "the largest command always gets its credit");

#endif
