/*
 * What must be true of one replica's core after every step (design 3.7, as far as one replica can
 * see it). Run always: it is a few comparisons a peer.
 */
#include "consensus/core_internal.h"

void lks_core_check_invariants(const struct lks_core *core)
{
    const struct lks_core_view *view = &core->view;
    LKS_ASSERT(core->tail_from <= view->commit_offset);
    LKS_ASSERT(view->base.offset <= view->commit_offset); /* below a base all is committed */
    LKS_ASSERT(core->runs.count == 0 || core->runs.items[0].first_offset >= view->base.offset);
    LKS_ASSERT(core->granted_to != core->options.replica);
    LKS_ASSERT(view->grant.peer == 0 || view->grant.peer == core->granted_to);

    /* Members that have committed stay in force or are followed by younger ones. */
    LKS_ASSERT(view->members.number >= core->committed.number);
    LKS_ASSERT((view->members.voters & view->members.learners) == 0);
    /* Who is removed is not named by younger ones of its own log. */
    LKS_ASSERT(!view->removed || core->no_member_number >= view->members.number ||
               ((view->members.voters | view->members.learners) &
                1u << core->options.replica) == 0);

    const bool seeks = view->role == LKS_CORE_ADOPTING || view->role == LKS_CORE_LEADER;
    if (seeks) {
        /* (A follower's tail is only known as of its last hand-over: others write behind it.) */
        LKS_ASSERT(view->tail.offset >= view->commit_offset);
        /* Nobody else may write the ring that a leader, or one about to lead, appends to. */
        LKS_ASSERT(core->granted_to == 0);
        LKS_ASSERT(core->handover.phase == HANDOVER_IDLE);
        LKS_ASSERT(core->promise_candidate == core->options.replica);
        LKS_ASSERT(core->promise_incarnation == core->options.incarnation);
        LKS_ASSERT(!view->amnesiac);
    } else {
        LKS_ASSERT(!view->accepts);
    }
    if (view->role == LKS_CORE_LEADER) {
        LKS_ASSERT(core->own_durable <= view->tail.offset);
        LKS_ASSERT(!lks_core_ring_busy(core));
        LKS_ASSERT(view->tail.offset <= view->base.offset + core->options.ring_bytes);
        LKS_ASSERT(view->leader == core->options.replica);
        LKS_ASSERT((view->members.voters & 1u << core->options.replica) != 0);
        LKS_ASSERT(!view->members_committed ||
                   view->commit_offset >= view->members.end_offset);
        LKS_QUORUM_EACH (p, core->met) {
            const struct peer *peer = &core->peers[p];
            LKS_ASSERT(peer->written <= view->tail.offset);
            /* Nothing that the peer may still need is overwritten in its ring. */
            LKS_ASSERT(peer->written <= peer->base + core->options.ring_bytes);
            /* A write's source is in the own ring, and the peer is told where its log begins. */
            LKS_ASSERT(!peer->path_open || peer->behind ||
                       peer->written >= view->base.offset);
            LKS_ASSERT(!peer->behind || peer->inflight == 0);
            LKS_ASSERT(peer->commit_sent <= peer->written);
            LKS_ASSERT(peer->durable <= view->tail.offset);
        }
    } else {
        LKS_ASSERT(!view->established);
        LKS_ASSERT(view->leader != core->options.replica);
    }
}
