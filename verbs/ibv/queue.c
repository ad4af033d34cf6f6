/* The send side of a queue pair; see queue.h. */
#include "verbs/ibv/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "verbs/ibv/ibv.h"

#define DEPTH_MIN 8u

int lks_ibv_queue_init(struct lks_ibv_queue *queue, uint32_t depth)
{
    uint32_t rounded = DEPTH_MIN;
    while (rounded < depth) {
        LKS_ASSERT(rounded <= UINT32_MAX / 2);
        rounded *= 2;
    }
    queue->depth = rounded;
    queue->operations = calloc(rounded, sizeof *queue->operations);
    return queue->operations != NULL ? 0 : -ENOMEM;
}

void lks_ibv_queue_fini(struct lks_ibv_queue *queue)
{
    free(queue->operations);
    queue->operations = NULL;
}

static bool has_generation(const struct lks_ibv_peer *peer, uint16_t generation)
{
    bool found = peer->link.queue.generation == generation ||
                 peer->grant.queue.generation == generation;
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        found = found || peer->paths[i].queue.generation == generation;
    }
    return found;
}

/* None that another queue pair of this peer has: a connection may outlast as many grants as there
 * are generations, and completions are told apart by them. */
static uint16_t next_generation(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    do {
        ibv->last_generation++;
    } while (ibv->last_generation == 0 ||
             has_generation(&ibv->peers[peer], ibv->last_generation));
    return ibv->last_generation;
}

void lks_ibv_queue_begin(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                         struct ibv_qp *qp)
{
    LKS_ASSERT(queue->first == queue->next);
    LKS_ASSERT(qp != NULL);
    queue->generation = next_generation(ibv, queue->peer);
    queue->qp = qp;
    queue->unsignalled = 0;
    queue->chained = 0;
    queue->failed = false;
    queue->told = 0;
}

static enum lks_ibv_lane lane_of(const struct lks_ibv_queue *queue)
{
    return queue->role == LKS_IBV_ROLE_CONTROL ? LKS_IBV_LANE_CONNECTION : LKS_IBV_LANE_PATH;
}

/* Ends the first operation. */
static void end_first(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue, int status)
{
    LKS_ASSERT(queue->first != queue->next);
    const struct lks_ibv_operation operation =
        queue->operations[queue->first & (queue->depth - 1)];
    queue->first++;
    if (status != 0) {
        lks_ibv_queue_fail(queue, status);
    }
    switch ((enum lks_ibv_purpose)operation.purpose) {
    case LKS_IBV_FOR_USER:
        if (operation.id != 0) {
            struct lks_ibv_event *event =
                lks_ibv_push(ibv, LKS_FABRIC_COMPLETED, queue->peer, lane_of(queue));
            event->event.id = operation.id;
            if (status != 0) {
                event->event.status = queue->told;
                queue->told = -LKS_EBROKEN;
            }
        }
        break;
    case LKS_IBV_FOR_MESSAGE:
        break;
    case LKS_IBV_FOR_BIND:
    case LKS_IBV_FOR_INVALIDATE:
        lks_ibv_grant_completed(ibv, queue->peer, operation.purpose, status);
        break;
    }
}

/* Those that were taken after the failure end when nothing posted is before them. */
static void end_unposted(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue)
{
    while (queue->first != queue->next &&
           !queue->operations[queue->first & (queue->depth - 1)].posted) {
        end_first(ibv, queue, -LKS_EBROKEN);
    }
}

/* What the device was not told of, from the chain's place `from` on, will not complete. */
static void forget_chain(struct lks_ibv_queue *queue, uint32_t from)
{
    for (uint32_t i = from; i < queue->chained; i++) {
        queue->operations[(uint32_t)queue->chain[i].wr_id & (queue->depth - 1)].posted = false;
    }
    queue->chained = 0;
}

void lks_ibv_queue_fail(struct lks_ibv_queue *queue, int status)
{
    if (!queue->failed) {
        queue->failed = true;
        queue->told = status;
    }
    forget_chain(queue, 0);
}

void lks_ibv_queue_completed(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                             uint32_t sequence, int status)
{
    if (sequence - queue->first >= queue->next - queue->first) {
        return; /* ended already */
    }
    while (queue->first != sequence) {
        /* In order, and without a completion of their own: they have succeeded. */
        end_first(ibv, queue, queue->failed ? -LKS_EBROKEN : 0);
    }
    end_first(ibv, queue, status);
    end_unposted(ibv, queue);
}

void lks_ibv_queue_abandon(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue)
{
    queue->qp = NULL;
    queue->generation = 0;
    lks_ibv_queue_fail(queue, -LKS_EBROKEN);
    while (queue->first != queue->next) {
        end_first(ibv, queue, -LKS_EBROKEN);
    }
}

/* The next operation's place; its number is queue->next - 1 afterwards. */
static void take_place(struct lks_ibv_queue *queue, uint8_t purpose, uint64_t id, bool posted)
{
    LKS_ASSERT(lks_ibv_queue_room(queue) > 0);
    queue->operations[queue->next & (queue->depth - 1)] =
        (struct lks_ibv_operation){.id = id, .purpose = purpose, .posted = posted};
    queue->next++;
}

static uint64_t work_id(const struct lks_ibv_queue *queue, uint32_t sequence)
{
    return (uint64_t)queue->peer << 48 | (uint64_t)queue->generation << 32 | sequence;
}

static bool must_signal(struct lks_ibv_queue *queue, bool wanted)
{
    queue->unsignalled++;
    if (wanted || queue->unsignalled >= queue->depth / 4) {
        queue->unsignalled = 0;
        return true;
    }
    return false;
}

/* Takes an operation that the queue pair would not: it ends with an error, in its place. */
static void take_failed(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue, uint8_t purpose,
                        uint64_t id)
{
    take_place(queue, purpose, id, false);
    end_unposted(ibv, queue);
}

/* A copy that the device does not make itself lies in the operation's slot. */
static void copy_to_slot(struct lks_ibv_queue *queue, const struct lks_ibv_work *work,
                         struct ibv_sge *piece)
{
    LKS_ASSERT(queue->slots != NULL);
    LKS_ASSERT(work->bytes <= LKS_FABRIC_INLINE_MAX);
    uint8_t *slot =
        queue->slots + (uint64_t)(queue->next & (queue->depth - 1)) * LKS_FABRIC_INLINE_MAX;
    memcpy(slot, work->local, work->bytes);
    piece->addr = (uintptr_t)slot;
    piece->lkey = queue->slots_lkey;
}

/* One doorbell for the whole chain. */
static int ring(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue)
{
    struct ibv_send_wr *bad = NULL;
    for (uint32_t i = 0; i < queue->chained; i++) {
        queue->chain[i].sg_list = &queue->pieces[i];
        queue->chain[i].next = i + 1 < queue->chained ? &queue->chain[i + 1] : NULL;
    }
    const int code = ibv_post_send(queue->qp, queue->chain, &bad);
    if (code != 0) {
        uint32_t taken = 0; /* those before the bad one are under way */
        while (taken < queue->chained && &queue->chain[taken] != bad) {
            taken++;
        }
        forget_chain(queue, taken);
        lks_ibv_queue_fail(queue, -LKS_EBROKEN);
        end_unposted(ibv, queue);
    }
    queue->chained = 0;
    return -code;
}

void lks_ibv_queue_ring(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue)
{
    if (queue->chained != 0) {
        (void)ring(ibv, queue); /* a failure breaks the queue, and its operations end with it */
    }
}

int lks_ibv_queue_post(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                       const struct lks_ibv_work *work, enum lks_ibv_purpose purpose,
                       uint64_t id)
{
    LKS_ASSERT(!work->copy || !work->more);
    if (queue->failed || queue->qp == NULL) {
        take_failed(ibv, queue, (uint8_t)purpose, id);
        return 0;
    }
    struct ibv_sge *piece = &queue->pieces[queue->chained];
    struct ibv_send_wr *request = &queue->chain[queue->chained];
    *piece = (struct ibv_sge){
        .addr = (uintptr_t)work->local, .length = work->bytes, .lkey = work->lkey};
    *request = (struct ibv_send_wr){.wr_id = work_id(queue, queue->next),
                                    .num_sge = work->bytes != 0 ? 1 : 0,
                                    .opcode = work->opcode};
    request->wr.rdma.remote_addr = work->remote;
    request->wr.rdma.rkey = work->rkey;
    if (work->bytes != 0 && work->bytes <= queue->inline_max &&
        work->opcode != IBV_WR_RDMA_READ) {
        request->send_flags |= IBV_SEND_INLINE; /* the device need not fetch them */
    } else if (work->copy) {
        copy_to_slot(queue, work, piece);
    }
    if (must_signal(queue, id != 0)) {
        request->send_flags |= IBV_SEND_SIGNALED;
    }
    take_place(queue, (uint8_t)purpose, id, true);
    queue->chained++;
    return work->more && queue->chained < LKS_IBV_CHAIN_MAX ? 0 : ring(ibv, queue);
}

int lks_ibv_queue_post_bind(struct lks_ibv_queue *queue, struct ibv_mw *window,
                            const struct ibv_mw_bind_info *info, uint32_t rkey)
{
    LKS_ASSERT(queue->chained == 0);
    struct ibv_send_wr request = {.wr_id = work_id(queue, queue->next),
                                  .opcode = IBV_WR_BIND_MW,
                                  .send_flags = IBV_SEND_SIGNALED};
    struct ibv_send_wr *bad = NULL;
    request.bind_mw.mw = window;
    request.bind_mw.rkey = rkey;
    request.bind_mw.bind_info = *info;
    const int code = ibv_post_send(queue->qp, &request, &bad);
    if (code == 0) {
        take_place(queue, LKS_IBV_FOR_BIND, 0, true);
    }
    return -code;
}

int lks_ibv_queue_post_invalidate(struct lks_ibv_queue *queue, uint32_t rkey)
{
    LKS_ASSERT(queue->chained == 0);
    struct ibv_send_wr request = {.wr_id = work_id(queue, queue->next),
                                  .opcode = IBV_WR_LOCAL_INV,
                                  .send_flags = IBV_SEND_SIGNALED};
    struct ibv_send_wr *bad = NULL;
    request.invalidate_rkey = rkey;
    const int code = ibv_post_send(queue->qp, &request, &bad);
    if (code == 0) {
        take_place(queue, LKS_IBV_FOR_INVALIDATE, 0, true);
    }
    return -code;
}
