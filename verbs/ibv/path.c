/*
 * Writer's end of write permission. An owner that grants offers a fresh queue pair; this side makes
 * its own, connects it, and says so; a key then opens it. Making and destroying is the helper's.
 * Fabric's thread. Invariant: while the peer is not connected no job of a path is submitted, so
 * that the link's closing, which destroys all of them, is the last to touch them.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

static struct lks_ibv_path *path_of(struct lks_ibv_job *job)
{
    return (struct lks_ibv_path *)(void *)((char *)job - offsetof(struct lks_ibv_path, job));
}

/* ---- helper --------------------------------------------------------------------------------- */

static void run_making(struct lks_ibv_job *job)
{
    struct lks_ibv_path *path = path_of(job);
    const struct lks_ibv_ends ends = {.way = &path->attributes,
                                      .peer_queue_pair = path->peer_queue_pair,
                                      .peer_first_packet = path->peer_first_packet,
                                      .first_packet = path->first_packet,
                                      .read_depth = path->ibv->read_depth};
    struct ibv_qp_init_attr attributes =
        lks_ibv_queue_attributes(path->ibv, path->queue.depth, 1);
    path->qp = ibv_create_qp(path->ibv->pd, &attributes);
    path->code = path->qp != NULL ? 0 : errno != 0 ? -errno : -EIO;
    if (path->code == 0) {
        path->code = lks_ibv_queue_pair_init(path->qp, &path->attributes, 0);
    }
    if (path->code == 0) {
        path->code = lks_ibv_queue_pair_connect(path->qp, &ends);
    }
}

static void run_destroying(struct lks_ibv_job *job)
{
    struct lks_ibv_path *path = path_of(job);
    if (path->qp != NULL) {
        (void)ibv_destroy_qp(path->qp);
        path->qp = NULL;
    }
}

/* ---- slots ---------------------------------------------------------------------------------- */

static void destroying_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_path *path = path_of(job);
    struct lks_ibv_peer *peer = &ibv->peers[path->queue.peer];
    if (path->state == LKS_IBV_PATH_CLOSING) {
        path->state = LKS_IBV_PATH_FREE;
    }
    if (peer->offer_waits && peer->connected) {
        peer->offer_waits = false;
        const struct lks_ibv_message offer = peer->offer;
        lks_ibv_path_offered(ibv, path->queue.peer, &offer);
    }
}

/* Everything on the path ends with an error; its queue pair is destroyed in time. An open path
 * keeps its slot, so that it can refuse what is still posted. */
static void end_path(struct lks_ibv_fabric *ibv, struct lks_ibv_path *path, bool keeps_slot)
{
    lks_ibv_queue_abandon(ibv, &path->queue);
    if (!keeps_slot) {
        path->state = LKS_IBV_PATH_CLOSING;
    }
    if (!path->job.busy) {
        path->job.run = run_destroying;
        path->job.done = destroying_done;
        lks_ibv_helper_submit(&ibv->helper, &path->job);
    }
}

static void making_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_path *path = path_of(job);
    struct lks_ibv_peer *peer = &ibv->peers[path->queue.peer];
    LKS_ASSERT(path->state == LKS_IBV_PATH_MAKING);
    if (!peer->connected) {
        return; /* the link's closing destroys it */
    }
    if (path->dropped) {
        end_path(ibv, path, false);
        return;
    }
    if (path->code == 0) {
        lks_ibv_queue_begin(ibv, &path->queue, path->qp);
    } else {
        lks_ibv_complain(ibv, path->queue.peer, path->code, "no path to it", "queue pair");
    }
    path->state = LKS_IBV_PATH_READY;
    path->announced = false;
    peer->due |= LKS_IBV_DUE_ANSWER;
}

bool lks_ibv_path_announce(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        struct lks_ibv_path *path = &peer->paths[i];
        if (path->state != LKS_IBV_PATH_READY || path->announced) {
            continue;
        }
        struct lks_ibv_message message = {.kind = LKS_IBV_ANSWER, .status = path->code};
        message.body.path.grant = path->grant;
        message.body.path.queue_pair = path->qp != NULL ? path->qp->qp_num : 0;
        message.body.path.first_packet = path->first_packet;
        if (!lks_ibv_send(ibv, id, &message)) {
            return false;
        }
        path->announced = true;
        if (path->code != 0) {
            end_path(ibv, path, false);
        }
    }
    return true;
}

void lks_ibv_path_offered(struct lks_ibv_fabric *ibv, uint32_t id,
                          const struct lks_ibv_message *offer)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_path *free_path = NULL;
    if (!peer->connected) {
        return;
    }
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        struct lks_ibv_path *path = &peer->paths[i];
        if (path->state == LKS_IBV_PATH_FREE) {
            free_path = path;
        } else if (path->state == LKS_IBV_PATH_MAKING) {
            path->dropped = true;
        } else if (path == peer->path) {
            /* The owner grants anew only after it has revoked. */
            lks_ibv_queue_fail(&path->queue, -LKS_EREVOKED);
            if (!path->job.busy && path->qp != NULL) {
                end_path(ibv, path, true);
            }
        } else if (path->state == LKS_IBV_PATH_READY) {
            end_path(ibv, path, false);
        }
    }
    if (free_path == NULL) {
        peer->offer = *offer;
        peer->offer_waits = true;
        return;
    }
    free_path->state = LKS_IBV_PATH_MAKING;
    free_path->dropped = false;
    free_path->grant = offer->body.path.grant;
    free_path->bell = (struct lks_ibv_bell){0};
    free_path->attributes = peer->link.attributes;
    free_path->peer_queue_pair = offer->body.path.queue_pair;
    free_path->peer_first_packet = offer->body.path.first_packet;
    free_path->first_packet = lks_ibv_random_packet();
    free_path->job.run = run_making;
    free_path->job.done = making_done;
    lks_ibv_helper_submit(&ibv->helper, &free_path->job);
}

void lks_ibv_paths_leave(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    /* What is under way ends when the queue pairs are destroyed. */
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        lks_ibv_queue_fail(&peer->paths[i].queue, -LKS_EBROKEN);
        peer->paths[i].queue.qp = NULL;
    }
    peer->path = NULL;
    peer->offer_waits = false;
}

void lks_ibv_paths_gone(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        struct lks_ibv_path *path = &peer->paths[i];
        LKS_ASSERT(!path->job.busy);
        LKS_ASSERT(path->qp == NULL);
        lks_ibv_queue_abandon(ibv, &path->queue);
        path->state = LKS_IBV_PATH_FREE;
    }
}

/* ---- opening -------------------------------------------------------------------------------- */

static struct lks_ibv_path *find_path(struct lks_ibv_peer *peer, uint64_t grant)
{
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        struct lks_ibv_path *path = &peer->paths[i];
        if (path->state == LKS_IBV_PATH_READY && path->grant == grant && !path->queue.failed) {
            return path;
        }
    }
    return NULL;
}

/* Whether a key opens something; what it opens. */
static int try_key(struct lks_ibv_peer *peer, const struct lks_fabric_key *key,
                   struct lks_ibv_path **path)
{
    if (!peer->connected) {
        return -LKS_EBROKEN;
    }
    if (key->words[1] >> 32 != LKS_IBV_KEY_MARK || key->grant == 0) {
        return -EINVAL;
    }
    if (key->words[0] != peer->link.incarnation) {
        return -LKS_EREVOKED; /* of an earlier life of that peer */
    }
    *path = find_path(peer, key->grant);
    return *path != NULL ? 0 : -LKS_EREVOKED;
}

int lks_ibv_open(struct lks_fabric *fabric, uint32_t id, const struct lks_fabric_key *key,
                 uint64_t open_id)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (!lks_ibv_is_peer(ibv, id) || key == NULL) {
        return -EINVAL;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_path *path = NULL;
    if (peer->outstanding[LKS_IBV_LANE_CONTROL] >= LKS_FABRIC_CHANGES_MAX) {
        return -LKS_EBUSY;
    }
    const int status = try_key(peer, key, &path);
    if (peer->path != NULL && peer->path != path) {
        end_path(ibv, peer->path, false);
    }
    peer->path = path;
    if (path != NULL) {
        path->rkey = (uint32_t)key->words[1];
    }
    struct lks_ibv_event *event =
        lks_ibv_push(ibv, LKS_FABRIC_OPENED, id, LKS_IBV_LANE_CONTROL);
    event->event.id = open_id;
    event->event.status = status;
    peer->outstanding[LKS_IBV_LANE_CONTROL]++;
    return 0;
}
