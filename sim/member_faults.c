/*
 * Changes of the members while everything else goes wrong: an administrator asks whoever leads to
 * add, promote or remove some replica, or to hand over. Who joins has a new journal, also if it was
 * a member before. One thread.
 */
#include "sim/faults_internal.h"

#include "base/clock.h"
#include "node/members.h"
#include "sim/administrator.h"

#define ELSEWHERE_PPM 100000u

/* Now and then the administrator asks somebody who follows, and has to be told where to go; or who
 * still believes that it leads, and then it is as with any other leader. */
static uint32_t choose_asked(struct lks_sim_faults *faults, uint32_t leader)
{
    const uint32_t drawn =
        1 + (uint32_t)lks_sim_random_below(&faults->random, faults->options.replicas);
    const bool elsewhere = lks_sim_random_chance(&faults->random, ELSEWHERE_PPM);
    return elsewhere && lks_sim_process_state(faults->options.processes[drawn]) == LKS_SIM_RUNNING
               ? drawn
               : leader;
}

static bool ask(struct lks_sim_faults *faults, uint32_t leader,
                const struct lks_member_request *request)
{
    const uint32_t asked = choose_asked(faults, leader);
    struct lks_sim_process *process = faults->options.processes[asked];
    struct lks_replica *replica = lks_sim_process_replica(process);
    char answer[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    const bool under_way =
        lks_sim_administrator_asks(replica, asked, request, &faults->random, answer);
    lks_sim_trace_note(faults->options.trace, lks_sim_timeline_now(faults->options.timeline),
                       asked, "is asked to %s replica %u: %s",
                       request->action == LKS_MEMBER_ADD       ? "add"
                       : request->action == LKS_MEMBER_PROMOTE ? "promote"
                       : request->action == LKS_MEMBER_REMOVE  ? "remove"
                                                               : "hand over to",
                       request->id, under_way ? "yes" : answer);
    lks_sim_administrator_looks(replica, asked, &faults->random);
    /* With one voter left, the change has committed by now, and who was removed may hear so
     * before the leader's next step. */
    lks_sim_process_observe(process);
    lks_sim_process_wake(process);
    return under_way;
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
