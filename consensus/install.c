/*
 * Installing a snapshot, from both sides: a follower on the word of the present holder of its
 * grant, a candidate from the best grantor, and the leader that asks for it.
 *
 * Why it is safe (docs/protocol.md, "Installing"): everything in a snapshot is committed, so no
 * log that it replaces held anything else at those places that could ever commit; what follows
 * its point by chain stays. It happens only while nobody writes the ring: the holder of the grant
 * writes nothing before it is answered, and whoever asks for the ring next waits for its end.
 */
#include "consensus/core_internal.h"

#include <string.h>

#define RETRY_HEARTBEATS 2u
#define BRAKES_MAX 4u       /* installations in a row for which the leader slows down */
#define BRAKE_PART 8u       /* ... to this part of a ring ... */
#define BRAKE_PERIODS 2u    /* ... in this many times what the last one took */
#define BRAKE_STEPS 1024u
#define REPEAT_TIMEOUTS 10u /* election timeouts after which an unanswered INSTALL is repeated */

bool lks_core_ring_busy(const struct lks_core *core)
{
    return core->reading || core->view.installing;
}

/* Ends the own read or installation under way; its completion still comes. */
void lks_core_cancel(struct lks_core *core)
{
    if (!lks_core_ring_busy(core) || core->cancelled) {
        return;
    }
    core->cancelled = true;
    lks_core_emit(core, core->reading ? LKS_EFFECT_CANCEL_READ : LKS_EFFECT_CANCEL_INSTALL,
                  core->reading_peer);
}

void lks_install_begin(struct lks_core *core, uint32_t donor, uint64_t from)
{
    LKS_ASSERT(!lks_core_ring_busy(core));
    LKS_ASSERT(lks_core_is_peer(core, donor));
    core->view.installing = true;
    core->reading_peer = donor;
    core->cancelled = false;
    lks_core_emit(core, LKS_EFFECT_INSTALL, donor)->from = from;
}

/* ---- the follower --------------------------------------------------------------------------- */

static void answer(struct lks_core *core)
{
    struct lks_message *message =
        lks_core_send(core, core->view.grant.peer, LKS_MESSAGE_INSTALLED);
    message->term = core->view.grant.term;
    message->incarnation = core->view.grant.incarnation;
    message->request = core->install_done;
    message->key[0] = core->view.grant.number;
    message->flags = core->install_failed ? LKS_MESSAGE_FAILED : 0;
    lks_core_report_log(core, message);
}

static void ended_for_holder(struct lks_core *core, int status)
{
    if (core->install == 0) {
        return; /* a candidate's, which has stepped down since */
    }
    core->install_done = core->install;
    core->install = 0;
    core->install_failed = status != 0;
    LKS_ASSERT(core->view.grant.peer != 0);
    answer(core);
}

/*
 * Only the present holder of the grant may ask: it writes nothing until it is answered. An older
 * leader's word, or one of an earlier grant of this leader, does not fit the grant that stands.
 */
void lks_install_requested(struct lks_core *core, uint32_t peer,
                           const struct lks_message *message)
{
    if (core->view.grant.peer != peer || message->term != core->view.grant.term ||
        message->incarnation != core->view.grant.incarnation ||
        message->key[0] != core->view.grant.number || core->handover.phase != HANDOVER_IDLE) {
        return;
    }
    if (message->request == core->install_done &&
        core->view.tail.offset >= core->view.commit_offset) {
        answer(core); /* it may not have been heard (else this is not, as it is of no use) */
        return;
    }
    if (core->view.installing || message->request <= core->install_done) {
        return;
    }
    if (core->view.base.offset >= message->base.offset &&
        core->view.tail.offset >= core->view.commit_offset) {
        core->install = message->request;
        ended_for_holder(core, 0); /* its own snapshots were faster */
        return;
    }
    const bool named = message->key[1] <= core->options.replicas &&
                       lks_core_is_peer(core, (uint32_t)message->key[1]);
    core->install = message->request;
    lks_install_begin(core, named ? (uint32_t)message->key[1] : peer, message->base.offset);
}

void lks_install_ended(struct lks_core *core, const struct lks_core_event *event)
{
    LKS_ASSERT(core->view.installing);
    core->view.installing = false;
    core->cancelled = false;
    lks_core_set_base(core, &event->base);
    lks_core_set_log(core, &event->position, event->runs);
    lks_members_scanned(core, &event->members);
    core->own_durable = event->position.offset;
    if (core->view.role == LKS_CORE_ADOPTING) {
        lks_adoption_installed(core, event->status);
    } else if (core->handover.phase == HANDOVER_DRAINING) {
        core->install = 0;
        lks_handover_drained(core);
    } else {
        ended_for_holder(core, event->status);
    }
}

/* ---- the leader ----------------------------------------------------------------------------- */

/* Another follower that keeps up and holds as young a snapshot spares this leader's link. */
static uint32_t choose_donor(const struct lks_core *core, uint32_t p)
{
    for (uint32_t q = 1; core->peers[p].install_elsewhere && q <= core->options.replicas; q++) {
        const struct peer *donor = &core->peers[q];
        if (q != p && lks_core_is_peer(core, q) && donor->path_open && !donor->behind &&
            donor->counted && donor->base >= core->view.base.offset) {
            return q;
        }
    }
    return core->options.replica;
}

static void send_install(struct lks_core *core, uint32_t p, uint32_t donor)
{
    struct peer *peer = &core->peers[p];
    peer->install_ns = core->observed_ns;
    struct lks_message *message = lks_core_send(core, p, LKS_MESSAGE_INSTALL);
    message->request = peer->install;
    message->key[0] = peer->grant;
    message->key[1] = donor;
    message->base = core->view.base;
}

/*
 * A copy that takes longer than the ring takes to be written anew is of no use when it is there:
 * the base has passed what it brings. So after one that came too late the log grows more slowly
 * during the next, and its base waits. Bounded: for twice the time that the last one took, a few
 * times in a row, then not for one. A matter of progress: nothing that is safe depends on it.
 */
static void begin_brake(const struct lks_core *core, struct peer *peer)
{
    peer->missed = peer->missed > BRAKES_MAX ? 0 : peer->missed;
    peer->brake_from = core->view.tail.offset;
    peer->brake_ns = peer->missed != 0 ? BRAKE_PERIODS * peer->install_took_ns : 0;
}

/* Up to which offset the log may grow now for the sake of this peer; UINT64_MAX: no matter. */
uint64_t lks_install_brake(const struct lks_core *core, uint32_t p)
{
    const struct peer *peer = &core->peers[p];
    const uint64_t passed = core->observed_ns - peer->install_began_ns;
    if (!peer->path_open || !peer->behind || passed >= peer->brake_ns) {
        return UINT64_MAX;
    }
    const uint64_t steps = passed * BRAKE_STEPS / peer->brake_ns;
    return peer->brake_from + core->options.ring_bytes * steps / (BRAKE_PART * BRAKE_STEPS);
}

static void note_missed(const struct lks_core *core, struct peer *peer)
{
    if (core->view.base.offset > peer->install_from) {
        peer->missed++;
        peer->install_took_ns = core->observed_ns - peer->install_began_ns;
    } else {
        peer->missed = 0;
    }
}

void lks_install_ask(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    LKS_ASSERT(peer->path_open);
    LKS_ASSERT(peer->behind);
    LKS_ASSERT(peer->inflight == 0);
    const uint32_t donor = choose_donor(core, p);
    core->requests++;
    peer->install = core->requests;
    peer->install_from = core->view.base.offset;
    peer->install_began_ns = core->observed_ns;
    begin_brake(core, peer);
    peer->install_elsewhere = !peer->install_elsewhere; /* in turn, should one not be reached */
    send_install(core, p, donor);
}

/* Its report is as good as a fresh grant's: nothing was written there since the grant. */
void lks_install_answered(struct lks_core *core, uint32_t p, const struct lks_message *message)
{
    struct peer *peer = &core->peers[p];
    if (core->view.role != LKS_CORE_LEADER || !peer->path_open || !peer->behind ||
        peer->install == 0 || message->request != peer->install ||
        message->key[0] != peer->grant || message->term != core->promise_term ||
        message->incarnation != core->options.incarnation) {
        return;
    }
    LKS_ASSERT(peer->inflight == 0);
    peer->install = 0;
    peer->install_ns = core->observed_ns;
    peer->ok_ns = core->observed_ns;
    peer->report.base = message->base;
    peer->report.tail = message->tail;
    peer->report.commit_offset = message->commit_offset;
    peer->report.runs_count = message->runs_count;
    memcpy(peer->report.runs, message->runs, sizeof peer->report.runs);
    note_missed(core, peer);
    if ((message->flags & LKS_MESSAGE_FAILED) == 0) {
        lks_leader_report(core, p);
        peer->missed = peer->behind ? peer->missed : 0;
    }
}

void lks_install_tick(struct lks_core *core, uint32_t p)
{
    struct peer *peer = &core->peers[p];
    if (!peer->path_open || !peer->behind) {
        return;
    }
    const uint64_t since = core->observed_ns - peer->install_ns;
    if (peer->install == 0 && since >= RETRY_HEARTBEATS * core->options.heartbeat_ns) {
        lks_leader_report(core, p); /* asks again, unless its own snapshots have helped */
    } else if (peer->install != 0 &&
               since >= REPEAT_TIMEOUTS * core->options.election_timeout_ns) {
        send_install(core, p, choose_donor(core, p)); /* the same number: heard once at most */
    }
}
