/*
 * What two replicas tell one another about a connection: 56 bytes in a request of rdma_cm, a few
 * more in its answer, and messages of fixed size over SEND/RECV on the control queue pair. Own
 * fields only; no thread, no state. Invariant: a key of memory travels in WELCOME and HELLO alone,
 * after the receiver has proved the cluster key.
 *
 *   dialing side                                  listening side
 *   request: who, challenge               ->      checks
 *   checks                                <-      answer: who, challenge
 *   PROOF over both challenges            ->      checks; cleans the inbox
 *   checks; cleans the inbox              <-      WELCOME: proof, keys, sizes, hello
 *   HELLO: proof, keys, sizes, hello      ->      checks; both are connected
 */
#ifndef LKS_VERBS_IBV_WIRE_H
#define LKS_VERBS_IBV_WIRE_H

#include "base/sha256.h"
#include "verbs/fabric.h"

#include <stddef.h>
#include <stdint.h>

#define LKS_IBV_MAGIC 0x61646b6cu /* "lkda" */
#define LKS_IBV_VERSION 1u
#define LKS_IBV_NONCE_BYTES 16u
#define LKS_IBV_CLUSTER_BYTES 8u
#define LKS_IBV_REGIONS 4u /* one for each enum lks_fabric_region */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the messages of this backend are little-endian"
#endif

enum lks_ibv_request_kind {
    LKS_IBV_REQUEST_CONNECT = 1,
    LKS_IBV_REQUEST_PROBE = 2 /* "which life of you listens here?": always rejected */
};

/* Private data of a request, and of its answer. The first two fields keep their place. */
struct lks_ibv_request {
    uint32_t magic;
    uint16_t version;
    uint8_t kind; /* enum lks_ibv_request_kind; in an answer that of the request */
    uint8_t from;
    uint8_t to;
    uint8_t replicas;
    uint8_t reserved[6];
    uint8_t cluster[LKS_IBV_CLUSTER_BYTES]; /* first bytes of the cluster id */
    uint64_t incarnation;
    uint64_t reserved2;
    uint8_t challenge[LKS_IBV_NONCE_BYTES];
};

_Static_assert(sizeof(struct lks_ibv_request) == 56, "rdma_cm leaves 56 bytes in a request");

/* Private data of a rejection. */
struct lks_ibv_reject {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    int32_t status; /* why: a negative code */
    uint32_t replica;
    uint64_t incarnation; /* of the life that rejects */
};

_Static_assert(sizeof(struct lks_ibv_reject) == 24, "rejection layout");

enum lks_ibv_message_kind {
    LKS_IBV_PROOF = 1,
    LKS_IBV_WELCOME = 2,
    LKS_IBV_HELLO = 3,
    LKS_IBV_REFUSE = 4,  /* status says why; the connection ends behind it */
    LKS_IBV_OFFER = 5,   /* owner to writer: here is a queue pair for this grant */
    LKS_IBV_ANSWER = 6,  /* writer to owner: and here is mine */
    LKS_IBV_CREDIT = 7,  /* that many wake-ups have been taken */
    LKS_IBV_WANT = 8,    /* the key of a chunk of your snapshots, please */
    LKS_IBV_CHUNK = 9    /* here it is; or status says why not */
};

struct lks_ibv_remote {
    uint64_t address;
    uint64_t bytes; /* 0: none */
    uint32_t rkey; /* snapshots: of their first chunk; 0: not registered yet */
    uint32_t reserved;
};

struct lks_ibv_message {
    uint8_t kind;
    uint8_t reserved[3];
    int32_t status;
    uint8_t proof[LKS_SHA256_BYTES]; /* PROOF, WELCOME, HELLO */
    union {
        struct { /* WELCOME, HELLO */
            uint8_t hello[LKS_FABRIC_HELLO_BYTES];
            struct lks_ibv_remote regions[LKS_IBV_REGIONS];
        } hello;
        struct { /* OFFER, ANSWER */
            uint64_t grant;
            uint32_t queue_pair;
            uint32_t first_packet;
        } path;
        struct { /* CREDIT */
            uint64_t control; /* taken on the control queue pair since it was connected */
            uint64_t grant;   /* and of this grant's queue pair */
            uint64_t path;
        } credit;
        struct { /* WANT, CHUNK */
            uint32_t number;
            uint32_t rkey;
        } chunk;
        uint8_t bytes[216];
    } body;
};

_Static_assert(sizeof(struct lks_ibv_remote) == 24, "region layout");
_Static_assert(offsetof(struct lks_ibv_message, body) == 40, "message layout");
_Static_assert(sizeof(struct lks_ibv_message) == 256, "message layout");

#endif
