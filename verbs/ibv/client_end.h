/*
 * One end of a lane over RDMA, a replica's or a client's: a queue pair with a protection domain, a
 * completion queue and an area of its own. The other end writes the area by RDMA writes and wakes
 * this one by writes with immediate data. An end is used by one thread at a time.
 *
 * Invariant: nothing of an end is shared with another one, so what goes wrong here (a completion
 * with an error, a queue that stands still, a flood of wake-ups) ends this end and nothing else.
 */
#ifndef LKS_VERBS_IBV_CLIENT_END_H
#define LKS_VERBS_IBV_CLIENT_END_H

#include "verbs/ibv/client_meeting.h"

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

#define LKS_CLIENT_IBV_DEPTH 256u   /* slots of what is under way; a power of two */
#define LKS_CLIENT_IBV_CHAIN_MAX 8u /* work requests that one doorbell tells of */
#define LKS_CLIENT_IBV_JOINED_MAX 4096u /* bytes of neighbouring writes that become one */
#define LKS_CLIENT_IBV_MESSAGES 2u  /* the first receives: of the meeting */
/* Wake-ups that may come before some are taken. A side that has taken them looks into its area, and
 * the other one sends at most one for each request or reply (128) and for each eighth of a ring
 * that it has read: what is beyond waits at the sender's adapter. */
#define LKS_CLIENT_IBV_RECEIVES 256u

struct lks_client_ibv_end {
    struct rdma_cm_id *id; /* with its queue pair */
    struct ibv_pd *pd;
    struct ibv_cq *cq;
    uint8_t *local; /* messages, and slots for what the device does not copy itself */
    uint64_t local_bytes;
    struct ibv_mr *local_region;
    uint32_t inline_max;
    uint8_t *area;
    uint64_t area_bytes;
    struct ibv_mr *area_region; /* the other end may write it; NULL: it may write nothing here */
    struct lks_client_ibv_remote remote;
    uint32_t posted; /* slots, of 256 bytes, that work requests took; both count on and wrap */
    uint32_t ended;
    uint32_t unsignalled; /* the last ones */
    uint32_t chained; /* work requests that the device has not been told of */
    struct ibv_send_wr chain[LKS_CLIENT_IBV_CHAIN_MAX];
    struct ibv_sge pieces[LKS_CLIENT_IBV_CHAIN_MAX];
    bool asked;           /* by _check: */
    uint32_t question;    /* its work request ... */
    uint64_t asked_ns;    /* ... and when it was posted */
    bool failed;
    const char *why; /* failed: for people */
};

/* Makes the queue pair of an id that is bound to a device, with its receives; the area is not there
 * yet. Errors: errno; then _fini. The id is the end's from here on, in any case. */
int lks_client_ibv_end_init(struct lks_client_ibv_end *end, struct rdma_cm_id *id,
                            struct ibv_comp_channel *completions);

/* Makes the area, new and zero, and lets the other end write it, and nothing else. -ENOMEM: memory,
 * or locked memory; errno. May block. */
int lks_client_ibv_end_open(struct lks_client_ibv_end *end, uint64_t area_bytes);

/* Ends the connection and frees; accepts a zeroed object. Blocks. Behind it nothing of this
 * connection can land here any more: the queue pair is destroyed first, then the region is
 * deregistered, then the memory is given back. */
void lks_client_ibv_end_fini(struct lks_client_ibv_end *end);

/* A message of the meeting. False: it failed. */
bool lks_client_ibv_end_say(struct lks_client_ibv_end *end,
                            const struct lks_client_ibv_message *message);
/* The next one. -EAGAIN: none yet; -EBADMSG: something else came; -LKS_EBROKEN. */
int lks_client_ibv_end_hear(struct lks_client_ibv_end *end,
                            struct lks_client_ibv_message *message);

/* Copies at most LKS_FABRIC_INLINE_MAX bytes into the other end's area. flags: LKS_FABRIC_WAKE;
 * with LKS_FABRIC_MORE the device is told by the next write without it, or by _poll, and what lies
 * side by side becomes one write. -EINVAL, -LKS_EBUSY (no room), -LKS_EBROKEN. */
int lks_client_ibv_end_write(struct lks_client_ibv_end *end, uint64_t offset, const void *source,
                             uint64_t bytes, uint32_t flags);

/* Tells the device of what was kept back, and takes completions; bounded work. */
void lks_client_ibv_end_poll(struct lks_client_ibv_end *end);

/* From now on the next completion is an event of the channel; takes those that have come. */
void lks_client_ibv_end_arm(struct lks_client_ibv_end *end);

/* Once in a while: asks by an empty write whether the other side's adapter takes anything; an end
 * whose question has no answer within LKS_CLIENT_IBV_STALL_NS fails. (How often an adapter sends
 * again is the other side's to choose: "for ever" must not last for ever.) */
#define LKS_CLIENT_IBV_STALL_NS UINT64_C(5000000000)
void lks_client_ibv_end_check(struct lks_client_ibv_end *end, uint64_t now_ns);

#endif
