/*
 * Whether this replica can do what a leader must: take snapshots, so that its ring is written anew.
 * Where they fail for long (a disk that stays full, an area that could not be made durable), it
 * leaves the lead to others: as a leader it hands over before its ring is full, to a follower whose
 * own base shows that it has room; as a follower it stands for election only when nobody else does.
 *
 * A matter of progress alone: nothing that is safe depends on who leads. Replica's thread, once a
 * step. (A journal that cannot be made durable is another matter: see persist.c.)
 */
#include "node/replica_internal.h"

#include <inttypes.h>

#define UNFIT_TIMEOUTS 10u /* election timeouts for which no snapshot could be taken */
#define AGAIN_TIMEOUTS 20u /* ... before another follower is asked to take over */

static uint64_t failing_ns(const struct lks_replica *replica)
{
    const struct lks_taker *taker = &replica->taker;
    return taker->failing_since_ns != 0 ? replica->now_ns - taker->failing_since_ns : 0;
}

static bool has_become_unfit(const struct lks_replica *replica)
{
    return failing_ns(replica) >= UNFIT_TIMEOUTS * replica->options.election_timeout_ns;
}

/* The voter whose base is farthest ahead of the own one: it takes snapshots. By an eighth of the
 * ring at least, so that of two replicas without room neither hands over to the other. 0: none. */
static uint32_t successor(const struct lks_replica *replica)
{
    const struct lks_core_view *view = lks_core_view(replica->core); /* fills in the peers */
    uint64_t most = replica->base_offset + lks_journal_ring_bytes(replica->options.journal) / 8;
    uint32_t best = 0;
    for (uint32_t p = 1; p <= replica->options.replicas; p++) {
        if (lks_replica_is_peer(replica, p) && view->peers[p].voter && view->peers[p].path_open &&
            view->peers[p].counted && !view->peers[p].installing &&
            view->peers[p].base_offset >= most) {
            best = p;
            most = view->peers[p].base_offset;
        }
    }
    return best;
}

static void hand_over(struct lks_replica *replica)
{
    const struct lks_core_view *view = replica->view;
    const uint64_t ring = lks_journal_ring_bytes(replica->options.journal);
    const uint64_t used = view->tail.offset - replica->base_offset;
    if (view->role != LKS_CORE_LEADER || view->transferring || replica->stop_since_ns != 0 ||
        (used < ring / 4 * 3 && replica->full_since_ns == 0) ||
        replica->now_ns < replica->fitness.again_ns) {
        return;
    }
    const uint32_t p = successor(replica);
    if (p == 0) {
        return; /* nobody has more room: commands wait here as well as there */
    }
    struct lks_error err = {0};
    (void)lks_snapshots_explain(replica->options.snapshots, replica->taker.failed_code, &err);
    lks_log_warn(replica->options.log_sink,
                 "replica %" PRIu32 " is asked to lead: %" PRIu64 " %% of the log ring are used, "
                 "and for %" PRIu64 " ms no snapshot could be taken that would make room: %s",
                 p, used * 100 / ring, failing_ns(replica) / UINT64_C(1000000), err.text);
    replica->fitness.again_ns =
        replica->now_ns + AGAIN_TIMEOUTS * replica->options.election_timeout_ns;
    replica->fitness.hand_overs++;
    (void)lks_replica_event(replica, LKS_EVENT_TRANSFER, p);
}

void lks_replica_judge_fitness(struct lks_replica *replica)
{
    if (replica->taker.failing_since_ns == 0 && !replica->fitness.unfit) {
        return;
    }
    const bool unfit = has_become_unfit(replica);
    if (unfit != replica->fitness.unfit) {
        replica->fitness.unfit = unfit;
        lks_replica_event(replica, LKS_EVENT_FITNESS, 0)->status =
            unfit ? replica->taker.failed_code : 0;
        if (unfit) {
            lks_log_warn(replica->options.log_sink,
                         "no snapshot could be taken for %" PRIu64 " ms: this replica leaves the "
                         "lead to others", failing_ns(replica) / UINT64_C(1000000));
        }
    }
    if (unfit) {
        hand_over(replica);
    }
}
