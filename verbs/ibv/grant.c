/*
 * Owner's side of write permission: grants and revocations of each peer, one after another.
 *
 *   grant:      region, window and a fresh queue pair (helper) - OFFER - ANSWER - queue pair to RTS
 *               (helper) - BIND - GRANTED
 *   revocation: LOCAL_INV while the queue pair lives - what the fence's table wants (helper) -
 *               REVOKED
 *
 * Fabric's thread, but for the run_ functions. Invariant: REVOKED with status 0 is said only after
 * everything that the fence's table names for this driver has ended; nothing of a grant is used
 * again by a later one but the region's memory. A queue pair whose window is gone stays until the
 * next grant, so that its writer is told at once that it is refused.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "verbs/shm/process.h"

#define INVALIDATE_NS (UINT64_C(20) * LKS_NS_PER_MS) /* then the queue pair counts as dead */

static struct lks_ibv_grant *grant_of(struct lks_ibv_job *job)
{
    return (struct lks_ibv_grant *)(void *)((char *)job - offsetof(struct lks_ibv_grant, job));
}

/* ---- helper --------------------------------------------------------------------------------- */

static int last_error(void)
{
    return errno != 0 ? -errno : -EIO;
}

static void destroy_queue_pair(struct lks_ibv_grant *grant)
{
    if (grant->qp != NULL && ibv_destroy_qp(grant->qp) == 0) {
        grant->qp = NULL;
    }
}

static void run_making(struct lks_ibv_job *job)
{
    struct lks_ibv_grant *grant = grant_of(job);
    const struct lks_ibv_fabric *ibv = grant->ibv;
    struct ibv_qp_init_attr attributes =
        lks_ibv_queue_attributes(ibv, LKS_IBV_OWNER_DEPTH, LKS_IBV_RECEIVES);
    grant->code = 0;
    if (grant->window != NULL) {
        grant->code = -EBUSY; /* an earlier one could not be deallocated */
        return;
    }
    destroy_queue_pair(grant);
    if (grant->region == NULL) {
        grant->region = lks_ibv_register_grant(ibv, grant->pd);
    }
    if (grant->region == NULL || grant->qp != NULL) {
        grant->code = last_error();
        return;
    }
    /* The window last: of a process that is killed the kernel destroys the youngest object first,
     * and a queue pair that goes before its window keeps the process for 51 s (Linux 6.1). */
    grant->qp = ibv_create_qp(grant->pd, &attributes);
    if (grant->qp != NULL && ibv->fence->window) {
        grant->window = ibv_alloc_mw(grant->pd, IBV_MW_TYPE_2);
    }
    if (grant->qp == NULL || (ibv->fence->window && grant->window == NULL)) {
        grant->code = last_error();
        return;
    }
    grant->code = lks_ibv_queue_pair_init(grant->qp, &grant->attributes,
                                          IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
}

static void run_connecting(struct lks_ibv_job *job)
{
    struct lks_ibv_grant *grant = grant_of(job);
    const struct lks_ibv_ends ends = {.way = &grant->attributes,
                                      .peer_queue_pair = grant->peer_queue_pair,
                                      .peer_first_packet = grant->peer_first_packet,
                                      .first_packet = grant->first_packet,
                                      .read_depth = grant->ibv->read_depth};
    grant->code = lks_ibv_queue_pair_connect(grant->qp, &ends);
}

/* A window goes before its queue pair (destroying one with a bound window took 51 s), and before
 * its region, which is not deregistered while a window is bound to it. */
static void run_fencing(struct lks_ibv_job *job)
{
    struct lks_ibv_grant *grant = grant_of(job);
    const struct lks_ibv_fence *fence = grant->ibv->fence;
    grant->code = 0;
    if (grant->window != NULL) {
        grant->code = -ibv_dealloc_mw(grant->window);
        if (grant->code == 0) {
            grant->window = NULL;
        }
    }
    if (grant->code == 0 && fence->destroy_queue) {
        destroy_queue_pair(grant);
        grant->code = grant->qp == NULL ? 0 : last_error();
    }
    if (grant->code == 0 && fence->deregister && grant->region != NULL) {
        grant->code = -ibv_dereg_mr(grant->region);
        if (grant->code == 0) {
            grant->region = NULL;
        }
    }
}

/* What the next grant needs anyway, and this revocation did not. */
static void run_clearing(struct lks_ibv_job *job)
{
    struct lks_ibv_grant *grant = grant_of(job);
    if (grant->window != NULL && ibv_dealloc_mw(grant->window) == 0) {
        grant->window = NULL;
    }
    if (grant->region == NULL) {
        grant->region = lks_ibv_register_grant(grant->ibv, grant->pd);
    }
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* The first change has ended. */
static void end_change(struct lks_ibv_fabric *ibv, uint32_t id, int status)
{
    struct lks_ibv_grant *grant = &ibv->peers[id].grant;
    LKS_ASSERT(grant->changes_count > 0);
    const struct lks_ibv_change change = grant->changes[0];
    grant->changes_count--;
    memmove(grant->changes, grant->changes + 1, grant->changes_count * sizeof change);
    if (change.grant && status != 0 && grant->changes_count == 0) {
        grant->standing = false;
    }
    struct lks_ibv_event *event = lks_ibv_push(
        ibv, change.grant ? LKS_FABRIC_GRANTED : LKS_FABRIC_REVOKED, id, LKS_IBV_LANE_CONTROL);
    event->event.id = change.id;
    event->event.status = status;
    if (change.grant && status == 0) {
        event->event.key.grant = grant->number;
        event->event.key.words[0] = ibv->options.incarnation;
        event->event.key.words[1] = LKS_IBV_KEY_MARK << 32 | grant->rkey;
    }
}

static void submit(struct lks_ibv_fabric *ibv, struct lks_ibv_grant *grant,
                   enum lks_ibv_grant_state state, void (*run)(struct lks_ibv_job *job),
                   void (*done)(void *ctx, struct lks_ibv_job *job))
{
    grant->state = state;
    grant->job.run = run;
    grant->job.done = done;
    lks_ibv_helper_submit(&ibv->helper, &grant->job);
}

static void clearing_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_grant *grant = grant_of(job);
    grant->state = LKS_IBV_GRANT_NONE;
    lks_ibv_grant_advance(ibv, grant->queue.peer);
}

static void fencing_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_grant *grant = grant_of(job);
    const uint32_t id = grant->queue.peer;
    const int failure = grant->failure;
    grant->failure = 0;
    lks_ibv_queue_fail(&grant->queue, -LKS_EREVOKED);
    grant->unfenced = grant->code != 0;
    if (grant->unfenced) {
        lks_log_error(ibv->options.log_sink, "r%u: its permission to write the log could not be "
                      "taken away: %s", id, lks_error_text(grant->code));
        grant->state = LKS_IBV_GRANT_NONE;
        end_change(ibv, id, failure != 0 ? failure : grant->code);
        return;
    }
    submit(ibv, grant, LKS_IBV_GRANT_CLEARING, run_clearing, clearing_done);
    end_change(ibv, id, failure);
}

static void fence(struct lks_ibv_fabric *ibv, struct lks_ibv_grant *grant, int failure)
{
    grant->failure = failure;
    grant->queue.qp = NULL; /* the helper's: nothing is posted to it any more */
    submit(ibv, grant, LKS_IBV_GRANT_FENCING, run_fencing, fencing_done);
}

/* ---- grant ---------------------------------------------------------------------------------- */

static bool same_connection(const struct lks_ibv_fabric *ibv, const struct lks_ibv_grant *grant)
{
    const struct lks_ibv_peer *peer = &ibv->peers[grant->queue.peer];
    return peer->connected && peer->connection == grant->connection;
}

static void connecting_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_grant *grant = grant_of(job);
    if (grant->code != 0 || !same_connection(ibv, grant)) {
        fence(ibv, grant, grant->code != 0 ? grant->code : -LKS_EBROKEN);
        return;
    }
    if (!ibv->fence->window) {
        grant->rkey = grant->region->rkey;
        grant->state = LKS_IBV_GRANT_GIVEN;
        end_change(ibv, grant->queue.peer, 0);
        return;
    }
    const struct ibv_mw_bind_info info = {
        .mr = grant->region,
        .addr = (uintptr_t)grant->region->addr,
        .length = grant->region->length,
        .mw_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ};
    grant->rkey = ibv_inc_rkey(grant->window->rkey);
    grant->state = LKS_IBV_GRANT_BINDING;
    const int code = lks_ibv_queue_post_bind(&grant->queue, grant->window, &info, grant->rkey);
    if (code != 0) {
        fence(ibv, grant, code);
    }
}

void lks_ibv_grant_answered(struct lks_ibv_fabric *ibv, uint32_t id,
                            const struct lks_ibv_message *answer)
{
    struct lks_ibv_grant *grant = &ibv->peers[id].grant;
    if (grant->state != LKS_IBV_GRANT_OFFERED || answer->body.path.grant != grant->number) {
        return; /* of one that was given up */
    }
    if (answer->status != 0) {
        fence(ibv, grant, -LKS_EBROKEN);
        return;
    }
    grant->peer_queue_pair = answer->body.path.queue_pair;
    grant->peer_first_packet = answer->body.path.first_packet;
    submit(ibv, grant, LKS_IBV_GRANT_CONNECTING, run_connecting, connecting_done);
}

static void making_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_grant *grant = grant_of(job);
    int code = grant->code;
    if (code == 0) {
        lks_ibv_queue_begin(ibv, &grant->queue, grant->qp);
        for (uint32_t slot = 0; slot < LKS_IBV_WAKES_MAX && code == 0; slot++) {
            code = lks_ibv_post_receive(ibv, &grant->queue, slot);
        }
    } else {
        lks_ibv_complain(ibv, grant->queue.peer, code, "permission cannot be granted",
                         "region, window or queue pair");
    }
    if (code != 0 || !same_connection(ibv, grant)) {
        fence(ibv, grant, code != 0 ? code : -LKS_EBROKEN);
        return;
    }
    grant->state = LKS_IBV_GRANT_OFFERED;
    ibv->peers[grant->queue.peer].due |= LKS_IBV_DUE_OFFER;
}

static void begin_grant(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_grant *grant = &peer->grant;
    if (!peer->connected) {
        end_change(ibv, id, -LKS_EBROKEN);
        return;
    }
    lks_ibv_queue_abandon(ibv, &grant->queue);
    ibv->last_grant++;
    grant->number = ibv->last_grant;
    grant->connection = peer->connection;
    grant->attributes = peer->link.attributes;
    grant->first_packet = lks_ibv_random_packet();
    grant->rung = (struct lks_ibv_rung){0};
    submit(ibv, grant, LKS_IBV_GRANT_MAKING, run_making, making_done);
}

/* ---- revocation ----------------------------------------------------------------------------- */

static void begin_revocation(struct lks_ibv_fabric *ibv, struct lks_ibv_grant *grant)
{
    if (ibv->fence->invalidate && !grant->queue.failed &&
        lks_ibv_queue_post_invalidate(&grant->queue, grant->rkey) == 0) {
        grant->state = LKS_IBV_GRANT_INVALIDATING;
        grant->deadline_ns = lks_clock_monotonic_ns() + INVALIDATE_NS;
        return;
    }
    fence(ibv, grant, 0);
}

void lks_ibv_grant_completed(struct lks_ibv_fabric *ibv, uint32_t id,
                             enum lks_ibv_purpose purpose, int status)
{
    struct lks_ibv_grant *grant = &ibv->peers[id].grant;
    if (purpose == LKS_IBV_FOR_BIND && grant->state == LKS_IBV_GRANT_BINDING) {
        if (status != 0 || !same_connection(ibv, grant)) {
            fence(ibv, grant, -LKS_EBROKEN);
            return;
        }
        grant->state = LKS_IBV_GRANT_GIVEN;
        end_change(ibv, id, 0);
    } else if (purpose == LKS_IBV_FOR_INVALIDATE && grant->state == LKS_IBV_GRANT_INVALIDATING) {
        if (status != 0 || !ibv->fence->invalidated_is_enough) {
            fence(ibv, grant, 0);
            return;
        }
        submit(ibv, grant, LKS_IBV_GRANT_CLEARING, run_clearing, clearing_done);
        end_change(ibv, id, 0);
    }
}

/* An earlier life of this replica, in another process: its permissions end with it, and not before
 * its last thread. */
static bool predecessor_ended(struct lks_ibv_fabric *ibv)
{
    if (ibv->predecessor_fd >= 0 && lks_shm_process_ended(ibv->predecessor_fd)) {
        (void)close(ibv->predecessor_fd);
        ibv->predecessor_fd = -1;
    }
    return ibv->predecessor_fd < 0;
}

void lks_ibv_grant_advance(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_grant *grant = &ibv->peers[id].grant;
    while (grant->changes_count > 0) {
        const bool wants_grant = grant->changes[0].grant;
        switch (grant->state) {
        case LKS_IBV_GRANT_NONE:
        case LKS_IBV_GRANT_CLEARING:
            if (!predecessor_ended(ibv) ||
                (wants_grant && grant->state == LKS_IBV_GRANT_CLEARING)) {
                return;
            }
            if (wants_grant && grant->unfenced) {
                end_change(ibv, id, -EIO);
            } else if (wants_grant) {
                begin_grant(ibv, id);
            } else if (grant->unfenced) {
                fence(ibv, grant, 0); /* an earlier revocation failed: once more */
            } else {
                end_change(ibv, id, 0);
            }
            break;
        case LKS_IBV_GRANT_OFFERED:
            /* A revocation never waits for the peer. */
            if (grant->changes_count == 1 && same_connection(ibv, grant)) {
                return;
            }
            fence(ibv, grant, -LKS_EBROKEN);
            break;
        case LKS_IBV_GRANT_GIVEN:
            LKS_ASSERT(!wants_grant);
            begin_revocation(ibv, grant);
            break;
        case LKS_IBV_GRANT_INVALIDATING:
            if (lks_clock_monotonic_ns() < grant->deadline_ns) {
                return;
            }
            fence(ibv, grant, 0);
            break;
        default:
            return; /* the helper or the device is at work */
        }
    }
}

/* ---- calls ---------------------------------------------------------------------------------- */

static int post_change(struct lks_fabric *fabric, uint32_t id, bool wants_grant,
                       uint64_t change_id)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (!lks_ibv_is_peer(ibv, id)) {
        return -EINVAL;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_grant *grant = &peer->grant;
    if (peer->outstanding[LKS_IBV_LANE_CONTROL] >= LKS_FABRIC_CHANGES_MAX) {
        return -LKS_EBUSY;
    }
    LKS_ASSERT(!wants_grant || !grant->standing);
    LKS_ASSERT(grant->changes_count < LKS_FABRIC_CHANGES_MAX);
    grant->standing = wants_grant;
    grant->changes[grant->changes_count] =
        (struct lks_ibv_change){.grant = wants_grant, .id = change_id};
    grant->changes_count++;
    peer->outstanding[LKS_IBV_LANE_CONTROL]++;
    lks_ibv_grant_advance(ibv, id);
    return 0;
}

int lks_ibv_grant(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return post_change(fabric, peer, true, id);
}

int lks_ibv_revoke(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return post_change(fabric, peer, false, id);
}

uint64_t lks_ibv_grants_deadline(const struct lks_ibv_fabric *ibv)
{
    uint64_t deadline_ns = LKS_IBV_NEVER;
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        const struct lks_ibv_grant *grant = &ibv->peers[id].grant;
        if (grant->state == LKS_IBV_GRANT_INVALIDATING && grant->deadline_ns < deadline_ns) {
            deadline_ns = grant->deadline_ns;
        }
    }
    return deadline_ns;
}

/* ---- life ----------------------------------------------------------------------------------- */

int lks_ibv_grants_init(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    ibv->last_grant = ibv->options.incarnation << 32;
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_grant *grant = &ibv->peers[id].grant;
        if (!lks_ibv_is_peer(ibv, id)) {
            continue;
        }
        grant->ibv = ibv;
        grant->pd = ibv_alloc_pd(ibv->context);
        /* For who is not in use yet it is registered at the first grant. */
        const bool used = ibv->rdma.places[id].address[0] != '\0';
        if (grant->pd != NULL && used) {
            grant->region = lks_ibv_register_grant(ibv, grant->pd);
        }
        if (grant->pd == NULL || (used && grant->region == NULL)) {
            const int code = last_error();
            const struct lks_ibv_piece piece = {"the log, for one peer to write",
                                                ibv->options.log.address,
                                                ibv->options.log.bytes};
            return lks_ibv_explain(ibv, &piece, code, err);
        }
    }
    return 0;
}

void lks_ibv_grants_fini(struct lks_ibv_fabric *ibv)
{
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_grant *grant = &ibv->peers[id].grant;
        if (grant->window != NULL) {
            (void)ibv_dealloc_mw(grant->window);
        }
        if (grant->qp != NULL) {
            (void)ibv_destroy_qp(grant->qp);
        }
        if (grant->region != NULL) {
            (void)ibv_dereg_mr(grant->region);
        }
        if (grant->pd != NULL) {
            (void)ibv_dealloc_pd(grant->pd);
        }
    }
}
