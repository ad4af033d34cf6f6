/*
 * What a client and a replica tell one another about a lane: 56 bytes in a request of rdma_cm and
 * as many in its answer, and messages of one size over SEND/RECV. The numbers are other ones than
 * those of the replicas' wire.h, so that neither can be taken for the other. Own fields only; no
 * thread, no state. Invariant: a key of memory travels in WELCOME and HELLO alone, after the
 * receiver has proved the client key.
 *
 *   client                                        replica
 *   request: which replica, challenge     ->      checks
 *   checks                                <-      answer: who, cluster, challenge
 *   PROOF over both challenges            ->      checks; makes a lane
 *   checks; registers its memory          <-      WELCOME: proof, lane, its memory's key
 *   HELLO: proof, its memory's key        ->      checks; the lane is there
 */
#ifndef LKS_VERBS_IBV_CLIENT_WIRE_H
#define LKS_VERBS_IBV_CLIENT_WIRE_H

#include "base/sha256.h"

#include <stddef.h>
#include <stdint.h>

#define LKS_CLIENT_IBV_MAGIC 0x6c636b6cu /* "lkcl" */
#define LKS_CLIENT_IBV_VERSION 1u
#define LKS_CLIENT_IBV_LABEL "lockstep client lane, version 1" /* of its proofs */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the messages of this backend are little-endian"
#endif

enum lks_client_ibv_kind {
    LKS_CLIENT_IBV_REQUEST = 1,
    LKS_CLIENT_IBV_ANSWER = 2
};

/* Private data of a request, and of its answer. The first two fields keep their place. */
struct lks_client_ibv_request {
    uint32_t magic;
    uint16_t version;
    uint8_t kind;
    uint8_t replica;     /* that is called */
    uint8_t any_cluster; /* of a request: 1: cluster does not matter */
    uint8_t reserved[7]; /* zero */
    uint8_t cluster[16];
    uint64_t area_bytes; /* of each side's area */
    uint8_t challenge[16];
};

_Static_assert(sizeof(struct lks_client_ibv_request) == 56, "rdma_cm leaves 56 bytes in a request");

/* Private data of a rejection. */
struct lks_client_ibv_reject {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    int32_t status; /* why: a negative code */
    uint32_t replica;
};

_Static_assert(sizeof(struct lks_client_ibv_reject) == 16, "rejection layout");

enum lks_client_ibv_message_kind {
    LKS_CLIENT_IBV_PROOF = 1,
    LKS_CLIENT_IBV_WELCOME = 2,
    LKS_CLIENT_IBV_HELLO = 3,
    LKS_CLIENT_IBV_REFUSE = 4 /* status says why; the connection ends behind it */
};

struct lks_client_ibv_message {
    uint8_t kind;
    uint8_t reserved[3];
    int32_t status;
    uint8_t proof[LKS_SHA256_BYTES]; /* over all but itself */
    uint64_t address;                /* WELCOME, HELLO: of the sender's area */
    uint64_t bytes;
    uint32_t rkey;
    uint32_t lane; /* WELCOME */
};

_Static_assert(offsetof(struct lks_client_ibv_message, address) == 40, "message layout");
_Static_assert(sizeof(struct lks_client_ibv_message) == 64, "message layout");

#endif
