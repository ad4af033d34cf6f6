/* Equal states at equal indexes; see states.h. */
#include "sim/checkers/states.h"

#include "base/assert.h"

#include <inttypes.h>

void lks_sim_states_seen(struct lks_sim_states *states, uint32_t replica, uint64_t index,
                         uint64_t hash)
{
    LKS_ASSERT(index < LKS_SIM_STATES_MAX);
    if (states->replica_at[index] == 0) {
        states->replica_at[index] = replica;
        states->hash_at[index] = hash;
        return;
    }
    states->verdict->checks++;
    states->compared += states->replica_at[index] != replica ? 1 : 0;
    if (states->hash_at[index] != hash) {
        lks_sim_verdict_break(states->verdict, "equal states",
                              "replica %" PRIu32 " and replica %" PRIu32
                              " differ after entry %" PRIu64,
                              replica, states->replica_at[index], index);
    }
}
