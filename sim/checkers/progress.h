/* Checks: once all faults have healed, within a bound of virtual time every client gets an answer
 * to a new command, and every replica applies everything and has answered all that it took in. */
#ifndef LKS_SIM_CHECKERS_PROGRESS_H
#define LKS_SIM_CHECKERS_PROGRESS_H

#include "sim/checkers/verdict.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_progress {
    struct lks_sim_verdict *verdict;
    uint64_t healed_ns;
    uint64_t bound_ns;
};

/* What is still missing at now_ns, or "" for nothing. Returns true when nothing is missing, or
 * when the bound has passed, which is a violation. */
bool lks_sim_progress_done(struct lks_sim_progress *progress, uint64_t now_ns,
                           const char *missing);

#endif
