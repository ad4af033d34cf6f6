/*
 * Completions, taken apart: what of this side has ended, what the peers have said, and who has
 * woken this side. Fabric's thread, called by poll. Invariant: a completion of a queue pair that is
 * gone, or of an earlier one, changes nothing: its generation tells.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

#define COMPLETIONS_AT_ONCE 16
#define BATCHES_MAX 8

/* A work request's id: bit 63 a receive, 48 the peer, 32 the generation, 0 the number. */
#define IS_RECEIVE(work_id) ((work_id) >> 63 != 0)
#define PEER_OF(work_id) ((uint32_t)((work_id) >> 48 & 0x7f))
#define GENERATION_OF(work_id) ((uint16_t)((work_id) >> 32))

static struct lks_ibv_queue *find_queue(struct lks_ibv_fabric *ibv, uint32_t id,
                                        uint16_t generation)
{
    if (!lks_ibv_is_peer(ibv, id) || generation == 0) {
        return NULL;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (peer->link.queue.generation == generation) {
        return &peer->link.queue;
    }
    if (peer->grant.queue.generation == generation) {
        return &peer->grant.queue;
    }
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        if (peer->paths[i].queue.generation == generation) {
            return &peer->paths[i].queue;
        }
    }
    return NULL;
}

static int status_of(const struct ibv_wc *completion, const struct lks_ibv_queue *queue)
{
    if (completion->status == IBV_WC_SUCCESS) {
        return 0;
    }
    const bool refused = completion->status == IBV_WC_REM_ACCESS_ERR ||
                         completion->status == IBV_WC_REM_INV_REQ_ERR;
    return refused && queue->role == LKS_IBV_ROLE_PATH ? -LKS_EREVOKED : -LKS_EBROKEN;
}

/* ---- what peers say ------------------------------------------------------------------------- */

/* The peer has taken wake-ups: as many may follow. */
static void on_credit(struct lks_ibv_fabric *ibv, uint32_t id,
                      const struct lks_ibv_message *message)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (message->body.credit.control <= peer->link.bell.sent) {
        peer->link.bell.taken = message->body.credit.control;
    }
    if (peer->path != NULL && peer->path->grant == message->body.credit.grant &&
        message->body.credit.path <= peer->path->bell.sent) {
        peer->path->bell.taken = message->body.credit.path;
    }
}

static void on_message(struct lks_ibv_fabric *ibv, uint32_t id,
                       const struct lks_ibv_message *message)
{
    const struct lks_ibv_peer *peer = &ibv->peers[id];
    if (peer->link.state == LKS_IBV_LINK_CLOSING) {
        return;
    }
    if (!peer->connected) {
        lks_ibv_handshake_hear(ibv, id, message);
        return;
    }
    switch ((enum lks_ibv_message_kind)message->kind) {
    case LKS_IBV_OFFER:
        lks_ibv_path_offered(ibv, id, message);
        break;
    case LKS_IBV_ANSWER:
        lks_ibv_grant_answered(ibv, id, message);
        break;
    case LKS_IBV_CREDIT:
        on_credit(ibv, id, message);
        break;
    case LKS_IBV_WANT:
        lks_ibv_chunk_wanted(ibv, id, message);
        break;
    case LKS_IBV_CHUNK:
        lks_ibv_chunk_answered(ibv, id, message);
        break;
    default:
        lks_ibv_complain(ibv, id, -EBADMSG, "connection given up", "a message out of turn");
        lks_ibv_link_close(ibv, id);
        break;
    }
}

/* A wake-up: its receive is posted anew, and in time the peer is told so. */
static void on_wake(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue)
{
    struct lks_ibv_peer *peer = &ibv->peers[queue->peer];
    struct lks_ibv_rung *rung =
        queue->role == LKS_IBV_ROLE_CONTROL ? &peer->link.rung : &peer->grant.rung;
    ibv->rung = true;
    rung->taken++;
    if (rung->taken - rung->told >= LKS_IBV_WAKES_MAX / 2) {
        peer->due |= LKS_IBV_DUE_CREDIT;
    }
}

static void on_receive(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                       const struct ibv_wc *completion)
{
    const uint32_t id = queue->peer;
    const uint32_t slot = (uint32_t)completion->wr_id;
    if (completion->status != IBV_WC_SUCCESS) {
        if (queue->role == LKS_IBV_ROLE_CONTROL) {
            lks_ibv_link_close(ibv, id);
        }
        return; /* a writer that was refused has broken its path's queue pairs */
    }
    if (queue->qp == NULL) {
        return; /* it is being destroyed */
    }
    struct lks_ibv_message message;
    const bool wake = (completion->wc_flags & IBV_WC_WITH_IMM) != 0;
    const bool whole = !wake && completion->byte_len == sizeof message;
    if (whole) {
        memcpy(&message, lks_ibv_receive_slot(ibv, id, slot), sizeof message);
    }
    if (lks_ibv_post_receive(ibv, queue, slot) != 0 && queue->role == LKS_IBV_ROLE_CONTROL) {
        lks_ibv_link_close(ibv, id);
        return;
    }
    if (wake) {
        on_wake(ibv, queue);
    } else if (whole && queue->role == LKS_IBV_ROLE_CONTROL) {
        on_message(ibv, id, &message);
    }
}

/* ---- completions ---------------------------------------------------------------------------- */

static void on_completion(struct lks_ibv_fabric *ibv, const struct ibv_wc *completion)
{
    const uint64_t work_id = completion->wr_id;
    struct lks_ibv_queue *queue =
        find_queue(ibv, PEER_OF(work_id), GENERATION_OF(work_id));
    if (queue == NULL) {
        return;
    }
    if (IS_RECEIVE(work_id)) {
        on_receive(ibv, queue, completion);
        return;
    }
    const int status = status_of(completion, queue);
    lks_ibv_queue_completed(ibv, queue, (uint32_t)work_id, status);
    if (status != 0 && queue->role == LKS_IBV_ROLE_CONTROL) {
        if (completion->status != IBV_WC_WR_FLUSH_ERR) {
            lks_ibv_complain(ibv, queue->peer, -LKS_EBROKEN, "connection lost",
                             ibv_wc_status_str(completion->status));
        }
        lks_ibv_link_close(ibv, queue->peer);
    }
}

bool lks_ibv_take_completions(struct lks_ibv_fabric *ibv)
{
    struct ibv_wc batch[COMPLETIONS_AT_ONCE];
    bool any = false;
    for (int round = 0; round < BATCHES_MAX; round++) {
        const int count = ibv_poll_cq(ibv->cq, COMPLETIONS_AT_ONCE, batch);
        for (int i = 0; i < count; i++) {
            on_completion(ibv, &batch[i]);
        }
        any = any || count > 0;
        if (count < COMPLETIONS_AT_ONCE) {
            return any;
        }
    }
    return any;
}
