/* Checks: replicas that have applied the same prefix have the same state (service and sessions). */
#ifndef LKS_SIM_CHECKERS_STATES_H
#define LKS_SIM_CHECKERS_STATES_H

#include "sim/checkers/verdict.h"

#include <stdint.h>

#define LKS_SIM_STATES_MAX 65536u

struct lks_sim_states {
    struct lks_sim_verdict *verdict;
    uint64_t hash_at[LKS_SIM_STATES_MAX]; /* by applied index; 0: not seen */
    uint32_t replica_at[LKS_SIM_STATES_MAX];
    uint64_t compared;
};

void lks_sim_states_seen(struct lks_sim_states *states, uint32_t replica, uint64_t index,
                         uint64_t hash);

#endif
