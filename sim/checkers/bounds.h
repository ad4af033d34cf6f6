/*
 * Checks: what a replica holds stays under a stated limit at all times: operations, events,
 * commands of its clients, messages, its memory; and so does the simulated world around it. The
 * limits stand here, not in the code that is checked. One thread.
 */
#ifndef LKS_SIM_CHECKERS_BOUNDS_H
#define LKS_SIM_CHECKERS_BOUNDS_H

#include "sim/checkers/verdict.h"

#include <stdint.h>

enum lks_sim_bound {
    LKS_SIM_BOUND_OPERATIONS, /* posted to the fabric and not completed */
    LKS_SIM_BOUND_EVENTS,     /* for the core */
    LKS_SIM_BOUND_COMMANDS,   /* of own clients, unanswered */
    LKS_SIM_BOUND_DEFERRED,   /* writes that wait for the end of the step */
    LKS_SIM_BOUND_MESSAGES,   /* to all peers, that wait for room */
    LKS_SIM_BOUND_HEAP_BYTES,
    LKS_SIM_BOUNDS
};

#define LKS_SIM_BOUND_ENTRY_BYTES 4096u /* entries that the limit of memory is for */

struct lks_sim_bounds {
    struct lks_sim_verdict *verdict;
    uint64_t times; /* as long may entries be, and as much memory may be held */
    uint64_t most[LKS_SIM_BOUNDS]; /* seen so far */
};

/* "operations under way", ... */
const char *lks_sim_bounds_name(enum lks_sim_bound bound);

void lks_sim_bounds_seen(struct lks_sim_bounds *bounds, uint32_t replica,
                         const uint64_t held[LKS_SIM_BOUNDS]);

#endif
