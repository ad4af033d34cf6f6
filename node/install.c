/*
 * Installing: a donor's snapshots, read one-sidedly, take the place of the own ones; then the base
 * moves to their lowest point, and what follows it by chain in the own ring is the log.
 *
 * Carries out the core's INSTALL on the replica's thread; however it ends, one INSTALLED event
 * tells the core what base and log now are. A replica without a snapshot area cannot install.
 */
#include "node/replica_internal.h"

#include <errno.h>

void lks_install_start(struct lks_replica *replica, const struct lks_effect *effect)
{
    struct lks_core_event *event =
        lks_replica_event(replica, LKS_EVENT_INSTALLED, effect->peer);
    event->status = -ENOTSUP;
    event->base = replica->view->base;
    event->position = replica->view->tail;
}

void lks_install_cancel(struct lks_replica *replica)
{
    LKS_ASSERT(replica->view->installing);
}
