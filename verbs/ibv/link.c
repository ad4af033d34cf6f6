/*
 * A connection's control queue pair: made, joined, ended; and the messages over it. Fabric's
 * thread; destroying is the helper's. Invariant: DISCONNECTED is said only when the queue pairs of
 * the connection and of its paths are destroyed and everything on them has ended, so that nothing
 * of it can land, or be read from its source, any more.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"

int lks_ibv_post_receive(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue, uint32_t slot)
{
    const uint64_t mark = UINT64_C(1) << 63; /* see arrival.c */
    struct ibv_sge piece = {.addr = (uintptr_t)lks_ibv_receive_slot(ibv, queue->peer, slot),
                            .length = LKS_IBV_MESSAGE_BYTES,
                            .lkey = ibv->local_region->lkey};
    struct ibv_recv_wr request = {
        .wr_id = mark | (uint64_t)queue->peer << 48 | (uint64_t)queue->generation << 32 | slot,
        .sg_list = &piece,
        .num_sge = queue->role == LKS_IBV_ROLE_CONTROL ? 1 : 0};
    struct ibv_recv_wr *bad = NULL;
    return -ibv_post_recv(queue->qp, &request, &bad);
}

int lks_ibv_link_prepare(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    struct ibv_qp_init_attr attributes =
        lks_ibv_queue_attributes(ibv, link->queue.depth, LKS_IBV_RECEIVES);
    if (rdma_create_qp(link->id, ibv->pd, &attributes) != 0) {
        return errno != 0 ? -errno : -EIO;
    }
    lks_ibv_queue_begin(ibv, &link->queue, link->id->qp);
    for (uint32_t slot = 0; slot < LKS_IBV_RECEIVES; slot++) {
        const int code = lks_ibv_post_receive(ibv, &link->queue, slot);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

/* How the control queue pair reaches the peer: its paths take the same way. */
static int learn_way(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    struct ibv_qp_init_attr ignored;
    const int mask = IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_PORT | IBV_QP_PKEY_INDEX |
                     IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT;
    const int code = -ibv_query_qp(link->queue.qp, &link->attributes, mask, &ignored);
    if (code == 0) {
        lks_ibv_way_choose(ibv, peer, &link->attributes);
    }
    return code;
}

void lks_ibv_link_join(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const int code = learn_way(ibv, id);
    if (code != 0) {
        lks_ibv_complain(ibv, id, code, "connection given up", "its queue pair tells no way");
        lks_ibv_link_close(ibv, id);
        return;
    }
    LKS_ASSERT(!peer->connected);
    LKS_ASSERT(peer->path == NULL);
    peer->link.state = LKS_IBV_LINK_TOGETHER;
    peer->link.together = true;
    peer->link.bell = (struct lks_ibv_bell){0};
    peer->link.rung = (struct lks_ibv_rung){0};
    lks_ibv_chunks_reset(ibv, id);
    peer->connected = true;
    peer->connection++;
    peer->dial_pause_ns = LKS_IBV_PAUSE_MIN_NS;
    peer->complained = 0;
    lks_ibv_push(ibv, LKS_FABRIC_CONNECTED, id, LKS_IBV_LANE_NONE)->event.connection =
        peer->connection;
}

/* ---- messages ------------------------------------------------------------------------------- */

bool lks_ibv_send(struct lks_ibv_fabric *ibv, uint32_t peer, const struct lks_ibv_message *message)
{
    struct lks_ibv_queue *queue = &ibv->peers[peer].link.queue;
    const struct lks_ibv_work work = {
        .opcode = IBV_WR_SEND, .local = message, .bytes = sizeof *message, .copy = true};
    return queue->qp != NULL && lks_ibv_queue_room(queue) > 0 &&
           lks_ibv_queue_post(ibv, queue, &work, LKS_IBV_FOR_MESSAGE, 0) == 0;
}

static bool send_offer(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    const struct lks_ibv_grant *grant = &ibv->peers[peer].grant;
    if (grant->state != LKS_IBV_GRANT_OFFERED) {
        return true; /* it was given up */
    }
    struct lks_ibv_message message = {.kind = LKS_IBV_OFFER};
    message.body.path.grant = grant->number;
    message.body.path.queue_pair = grant->qp->qp_num;
    message.body.path.first_packet = grant->first_packet;
    return lks_ibv_send(ibv, peer, &message);
}

static bool send_credit(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_message message = {.kind = LKS_IBV_CREDIT};
    message.body.credit.control = peer->link.rung.taken;
    message.body.credit.grant = peer->grant.number;
    message.body.credit.path = peer->grant.rung.taken;
    if (!lks_ibv_send(ibv, id, &message)) {
        return false;
    }
    peer->link.rung.told = peer->link.rung.taken;
    peer->grant.rung.told = peer->grant.rung.taken;
    return true;
}

void lks_ibv_send_due(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (!peer->connected) {
        peer->due = 0;
        return;
    }
    if ((peer->due & LKS_IBV_DUE_OFFER) != 0 && send_offer(ibv, id)) {
        peer->due &= ~(uint32_t)LKS_IBV_DUE_OFFER;
    }
    if ((peer->due & LKS_IBV_DUE_ANSWER) != 0 && lks_ibv_path_announce(ibv, id)) {
        peer->due &= ~(uint32_t)LKS_IBV_DUE_ANSWER;
    }
    if ((peer->due & LKS_IBV_DUE_WAKE) != 0 && lks_ibv_ring_owed(ibv, id)) {
        peer->due &= ~(uint32_t)LKS_IBV_DUE_WAKE;
    }
    if ((peer->due & LKS_IBV_DUE_CHUNK) != 0 && lks_ibv_chunks_answer(ibv, id)) {
        peer->due &= ~(uint32_t)LKS_IBV_DUE_CHUNK;
    }
    if ((peer->due & LKS_IBV_DUE_PARKED) != 0 && lks_ibv_parked_go_on(ibv, id)) {
        peer->due &= ~(uint32_t)LKS_IBV_DUE_PARKED;
    }
    if ((peer->due & LKS_IBV_DUE_CREDIT) != 0 && send_credit(ibv, id)) {
        peer->due &= ~(uint32_t)LKS_IBV_DUE_CREDIT;
    }
}

void lks_ibv_link_try(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_link *link = &ibv->peers[id].link;
    const struct lks_ibv_remote *inbox = &link->regions[LKS_FABRIC_INBOX];
    const struct lks_ibv_work nothing = {
        .opcode = IBV_WR_RDMA_WRITE, .remote = inbox->address, .rkey = inbox->rkey};
    if (link->state == LKS_IBV_LINK_TOGETHER && lks_ibv_queue_room(&link->queue) > 0) {
        /* (An id makes it signalled; its purpose, that nobody is told.) */
        (void)lks_ibv_queue_post(ibv, &link->queue, &nothing, LKS_IBV_FOR_MESSAGE, 1);
    }
}

/* ---- end ------------------------------------------------------------------------------------ */

/* Helper: the jobs that made the paths' queue pairs came before this one. */
static void run_closing(struct lks_ibv_job *job)
{
    struct lks_ibv_link *link =
        (struct lks_ibv_link *)(void *)((char *)job - offsetof(struct lks_ibv_link, closing));
    struct lks_ibv_peer *peer =
        (struct lks_ibv_peer *)(void *)((char *)link - offsetof(struct lks_ibv_peer, link));
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        if (peer->paths[i].qp != NULL) {
            (void)ibv_destroy_qp(peer->paths[i].qp);
            peer->paths[i].qp = NULL;
        }
    }
    if (link->doomed->qp != NULL) {
        (void)rdma_disconnect(link->doomed);
        rdma_destroy_qp(link->doomed);
    }
    (void)rdma_destroy_id(link->doomed);
}

static void closing_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    uint32_t id = 1;
    while (&ibv->peers[id].link.closing != job) {
        id++;
        LKS_ASSERT(id <= ibv->replicas);
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    peer->link.doomed = NULL;
    peer->link.state = LKS_IBV_LINK_NONE;
    lks_ibv_queue_abandon(ibv, &peer->link.queue);
    lks_ibv_parked_end(ibv, id);
    lks_ibv_paths_gone(ibv, id);
    peer->dial_ns = lks_clock_monotonic_ns() + peer->dial_pause_ns;
    if (!peer->link.together) {
        return;
    }
    if (!peer->link.probed && lks_ibv_probe(ibv, id)) {
        return; /* the end is told when it is known whether the peer's life has ended too */
    }
    struct lks_ibv_event *event =
        lks_ibv_push(ibv, LKS_FABRIC_DISCONNECTED, id, LKS_IBV_LANE_NONE);
    event->event.connection = peer->connection;
    event->event.peer_dead = peer->link.peer_dead;
    peer->link.together = false;
    peer->farewell_pending = true;
}

void lks_ibv_link_close(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_link *link = &peer->link;
    if (link->state == LKS_IBV_LINK_NONE || link->state == LKS_IBV_LINK_CLOSING) {
        return;
    }
    LKS_ASSERT(link->id != NULL);
    if (link->state == LKS_IBV_LINK_TOGETHER) {
        peer->connected = false;
        peer->due = 0;
        peer->offer_waits = false;
        link->probed = false;
        link->peer_dead = false;
        link->probe_end_ns = 0;
        lks_ibv_paths_leave(ibv, id);
    }
    /* From here on both are the helper's: nothing is posted to the queue pair, and the next id may
     * lie where this one did. */
    link->state = LKS_IBV_LINK_CLOSING;
    link->doomed = link->id;
    link->id = NULL;
    link->queue.qp = NULL;
    lks_ibv_queue_fail(&link->queue, -LKS_EBROKEN);
    link->closing.run = run_closing;
    link->closing.done = closing_done;
    lks_ibv_helper_submit(&ibv->helper, &link->closing);
}
