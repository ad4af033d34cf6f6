/*
 * Notes when this replica passes the steps to leadership; see takeover.h. Called after each step of
 * the core by whoever drives it, on its thread; it changes nothing but its notes.
 */
#include "node/replica_internal.h"

static uint64_t clock_ns(const struct lks_replica *replica)
{
    return replica->options.clock_ns != NULL ? replica->options.clock_ns() : replica->now_ns;
}

/* An attempt begins with the first suspicion; those that fail are part of the one that does not. */
static void note_attempt(struct lks_replica *replica, enum lks_core_role before)
{
    struct lks_takeover *takeover = &replica->takeover;
    const enum lks_core_role role = replica->view->role;
    if (role == before) {
        return;
    }
    if ((role == LKS_CORE_PRE_CANDIDATE || role == LKS_CORE_CANDIDATE) && !takeover->pending) {
        takeover->pending = true;
        takeover->present = (struct lks_takeover_status){.suspected_ns = clock_ns(replica)};
    } else if (role == LKS_CORE_ADOPTING) {
        takeover->present.granted_ns = clock_ns(replica);
    } else if (role == LKS_CORE_LEADER) {
        takeover->present.adopted_ns = clock_ns(replica);
        if (before == LKS_CORE_CANDIDATE) { /* in one step: its own log was the latest */
            takeover->present.granted_ns = takeover->present.adopted_ns;
        }
        takeover->present.term = replica->view->term;
    }
}

void lks_replica_note_takeover(struct lks_replica *replica, enum lks_core_role before,
                               enum lks_core_event_kind event)
{
    struct lks_takeover *takeover = &replica->takeover;
    const struct lks_core_view *view = replica->view;
    note_attempt(replica, before);
    if (!takeover->pending) {
        return;
    }
    if (event == LKS_EVENT_TAIL_PERSISTED && before == LKS_CORE_CANDIDATE) {
        takeover->present.fenced_ns = clock_ns(replica);
    } else if (view->role == LKS_CORE_FOLLOWER && view->leader != 0) {
        takeover->pending = false; /* it follows another */
    } else if (view->role == LKS_CORE_LEADER && view->established) {
        takeover->present.committed_ns = clock_ns(replica);
        takeover->last = takeover->present;
        takeover->pending = false;
    }
}
