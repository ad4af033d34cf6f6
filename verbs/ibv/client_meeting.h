/*
 * The meeting of a client and a replica, without the device: what each side says, and whether what
 * it hears may be believed. Pure but for random challenges; any thread.
 *
 * Invariant: whoever has not proved the client key over this meeting's two challenges is told no
 * key of memory, and nothing that it said is used.
 */
#ifndef LKS_VERBS_IBV_CLIENT_MEETING_H
#define LKS_VERBS_IBV_CLIENT_MEETING_H

#include "verbs/ibv/client_wire.h"
#include "verbs/rdma.h"

#include <stdbool.h>

enum lks_client_ibv_step {
    LKS_CLIENT_IBV_AWAITS_PROOF,   /* the replica, in the beginning */
    LKS_CLIENT_IBV_AWAITS_WELCOME, /* the client, in the beginning */
    LKS_CLIENT_IBV_AWAITS_HELLO,   /* the replica: the client has proved the key */
    LKS_CLIENT_IBV_PROVED,         /* the client: the replica has; HELLO is to be said */
    LKS_CLIENT_IBV_TOGETHER        /* the replica */
};

/* Where the other side's area lies. */
struct lks_client_ibv_remote {
    uint64_t address;
    uint32_t rkey;
};

struct lks_client_ibv_meeting {
    uint8_t key[LKS_RDMA_KEY_BYTES];
    struct lks_client_ibv_request request; /* the client's */
    struct lks_client_ibv_request answer;  /* the replica's */
    enum lks_client_ibv_step step;
    struct lks_client_ibv_remote remote; /* from PROVED, TOGETHER on */
    uint32_t lane;                       /* the client's: likewise */
};

/* Who is met: the replica itself, or whom a client wants. */
struct lks_client_ibv_identity {
    uint32_t replica;
    bool any_cluster; /* the client's */
    uint8_t cluster[16];
    uint64_t area_bytes;
};

/* The client's request, with a fresh challenge. -EIO. */
int lks_client_ibv_ask(struct lks_client_ibv_meeting *meeting,
                       const struct lks_client_ibv_identity *wanted);

/* The replica's: takes a request and makes the answer, with a fresh challenge. -EBADMSG,
 * -LKS_EVERSION, -LKS_ECLUSTER, -LKS_ESIZE, -EIO; detail says what does not fit. */
int lks_client_ibv_take_request(struct lks_client_ibv_meeting *meeting,
                                const struct lks_client_ibv_identity *self, const void *data,
                                size_t bytes, const char **detail);

/* The client's: takes the answer. Errors as above. */
int lks_client_ibv_take_answer(struct lks_client_ibv_meeting *meeting, const void *data,
                               size_t bytes);

/* Puts the proof into a message of this meeting that is to be sent. */
void lks_client_ibv_prove(const struct lks_client_ibv_meeting *meeting,
                          struct lks_client_ibv_message *message);

/* Takes PROOF, WELCOME or HELLO, and goes a step on. Negative, and then the meeting is over:
 * -EBADMSG (out of turn, or no such message), -EACCES (no proof of the key), -LKS_ESIZE; of a
 * REFUSE its status. detail as above. */
int lks_client_ibv_hear(struct lks_client_ibv_meeting *meeting,
                        const struct lks_client_ibv_message *message, const char **detail);

#endif
