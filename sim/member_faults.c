/*
 * Changes of the members while everything else goes wrong: an administrator asks whoever leads to
 * add, promote or remove some replica, or to hand over. Who joins has a new journal, also if it was
 * a member before. One thread.
 */
#include "sim/faults_internal.h"

#include "base/clock.h"
#include "node/members.h"

static bool ask(struct lks_sim_faults *faults, uint32_t leader,
                const struct lks_member_request *request)
{
    struct lks_sim_process *process = faults->options.processes[leader];
    struct lks_error err;
    const int rc = lks_replica_change_members(lks_sim_process_replica(process), request, &err);
    lks_sim_trace_note(faults->options.trace, lks_sim_timeline_now(faults->options.timeline),
                       leader, "is asked to %s replica %u: %s",
                       request->action == LKS_MEMBER_ADD       ? "add"
                       : request->action == LKS_MEMBER_PROMOTE ? "promote"
                       : request->action == LKS_MEMBER_REMOVE  ? "remove"
                                                               : "hand over to",
                       request->id, rc >= 0 ? "yes" : lks_error_text(rc));
    /* With one voter left, the change has committed by now, and who was removed may hear so
     * before the leader's next step. */
    lks_sim_process_observe(process);
    lks_sim_process_wake(process);
    return rc == 0;
}

/* Nobody may still take it for a member: then its old journal means nothing. */
static void join_anew(struct lks_sim_faults *faults, uint32_t replica)
{
    if ((faults->used >> replica & 1u) == 0) {
        faults->used |= 1u << replica;
        return; /* it was created so */
    }
    const bool was_up =
        lks_sim_process_state(faults->options.processes[replica]) != LKS_SIM_DOWN;
    lks_sim_fault_make_anew(faults, replica);
    if (was_up) {
        faults->options.ended(faults->options.ctx, replica);
    }
    lks_sim_fault_start_later(faults, replica);
}

bool lks_sim_member_fault(struct lks_sim_faults *faults, uint32_t replica)
{
    const uint32_t leader = faults->options.leader(faults->options.ctx);
    struct lks_member_request request = {.id = replica};
    if (leader == 0 ||
        lks_sim_process_state(faults->options.processes[leader]) != LKS_SIM_RUNNING) {
        return false;
    }
    struct lks_replica_status status;
    lks_replica_status(lks_sim_process_replica(faults->options.processes[leader]), &status);
    const bool named = ((status.voters | status.learners) >> replica & 1u) != 0;
    const uint64_t drawn = lks_sim_random_below(&faults->random, 100);
    const bool manual = lks_sim_random_chance(&faults->random, 200000);
    if (replica == leader || drawn < 10) {
        request.action = LKS_MEMBER_TRANSFER;
        request.id = replica == leader ? 0 : replica;
    } else if (!named) {
        if ((lks_sim_members_named(faults->options.members) >> replica & 1u) != 0) {
            return false; /* somebody may count on it still */
        }
        request.action = LKS_MEMBER_ADD;
        request.manual = manual;
        join_anew(faults, replica);
    } else if ((status.learners >> replica & 1u) != 0 && drawn < 50) {
        request.action = LKS_MEMBER_PROMOTE;
    } else if (lks_sim_fault_may_shrink(faults, replica)) {
        request.action = LKS_MEMBER_REMOVE;
    } else {
        return false; /* what is rotten, no leader knows */
    }
    return ask(faults, leader, &request);
}
