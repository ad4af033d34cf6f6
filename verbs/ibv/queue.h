/*
 * The send side of one queue pair: what was posted and has not completed, in order. Operations
 * without an id are signalled only now and then; the completion of a later one ends them. What is
 * followed at once by more waits for it, so that the device is told of both by one doorbell. After
 * a failure nothing is posted any more: operations are taken and end with an error, in their place.
 * Fabric's thread; the queue pair itself is made and destroyed by others. Invariant: each posted
 * work request ends exactly once, by its completion, by a later one's, or by _abandon.
 */
#ifndef LKS_VERBS_IBV_QUEUE_H
#define LKS_VERBS_IBV_QUEUE_H

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stdint.h>

struct lks_ibv_fabric;

enum lks_ibv_role {
    LKS_IBV_ROLE_CONTROL,
    LKS_IBV_ROLE_PATH, /* writer's end of a path */
    LKS_IBV_ROLE_OWNER /* owner's end: BIND and LOCAL_INV only */
};

enum lks_ibv_purpose {
    LKS_IBV_FOR_USER,    /* ends with COMPLETED if it has an id */
    LKS_IBV_FOR_MESSAGE, /* own message or wake-up */
    LKS_IBV_FOR_BIND,
    LKS_IBV_FOR_INVALIDATE
};

struct lks_ibv_operation {
    uint64_t id;
    uint8_t purpose;
    bool posted; /* a completion, or _abandon, will end it; else the failure before it does */
};

#define LKS_IBV_CHAIN_MAX 4u

struct lks_ibv_queue {
    struct ibv_qp *qp; /* NULL: none */
    uint8_t peer;
    uint8_t role;
    uint16_t generation; /* of the queue pair, in its work requests' ids; 0: none */
    uint32_t depth;      /* a power of two */
    uint32_t first;      /* operations [first, next) are under way; both count on and wrap */
    uint32_t next;
    uint32_t unsignalled;
    uint32_t chained; /* the last operations that the device has not been told of */
    struct ibv_send_wr chain[LKS_IBV_CHAIN_MAX];
    struct ibv_sge pieces[LKS_IBV_CHAIN_MAX];
    bool failed;
    int told;      /* failed: status of the next operation with an id; then -LKS_EBROKEN */
    uint32_t inline_max;
    struct lks_ibv_operation *operations;
    uint8_t *slots; /* depth of them, for copies that the device does not take; or NULL */
    uint32_t slots_lkey;
};

/* What is to be posted. */
struct lks_ibv_work {
    enum ibv_wr_opcode opcode;
    const void *local;
    uint32_t lkey;
    uint32_t bytes;
    uint64_t remote;
    uint32_t rkey;
    bool copy; /* local may change as soon as it is posted; at most LKS_FABRIC_INLINE_MAX bytes */
    bool more; /* another post follows at once: the device is told of both then; not with copy */
};

/* depth: at least that many operations at a time. -ENOMEM. The slots are the caller's. */
int lks_ibv_queue_init(struct lks_ibv_queue *queue, uint32_t depth);
void lks_ibv_queue_fini(struct lks_ibv_queue *queue);

/* A new queue pair, in state RTS or on its way to it. */
void lks_ibv_queue_begin(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                         struct ibv_qp *qp);

/* How many more operations fit. */
static inline uint32_t lks_ibv_queue_room(const struct lks_ibv_queue *queue)
{
    return queue->depth - (queue->next - queue->first);
}

/* Posts; there must be room. 0, or errno of the device (then what the device has not taken is not
 * under way, and the queue counts as failed). */
int lks_ibv_queue_post(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                       const struct lks_ibv_work *work, enum lks_ibv_purpose purpose,
                       uint64_t id);
/* Tells the device of what waits for more; usually nothing. */
void lks_ibv_queue_ring(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue);
int lks_ibv_queue_post_bind(struct lks_ibv_queue *queue, struct ibv_mw *window,
                            const struct ibv_mw_bind_info *info, uint32_t rkey);
int lks_ibv_queue_post_invalidate(struct lks_ibv_queue *queue, uint32_t rkey);

/* From now on nothing is posted; what is posted later ends with status, told once. */
void lks_ibv_queue_fail(struct lks_ibv_queue *queue, int status);

/* A completion of work request sequence. */
void lks_ibv_queue_completed(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                             uint32_t sequence, int status);

/* The queue pair is gone, or nothing of it matters: everything ends with an error. */
void lks_ibv_queue_abandon(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue);

#endif
