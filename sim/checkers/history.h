/*
 * The history of all clients, and its check: one order of the operations explains every answer
 * and respects the times of calls and returns. The search is linearizability.h.
 */
#ifndef LKS_SIM_CHECKERS_HISTORY_H
#define LKS_SIM_CHECKERS_HISTORY_H

#include "sim/checkers/linearizability.h"
#include "sim/checkers/verdict.h"

#include <stdint.h>

#define LKS_SIM_HISTORY_MAX 32768u

struct lks_sim_history {
    struct lks_sim_verdict *verdict;
    struct lks_history_operation operations[LKS_SIM_HISTORY_MAX];
    uint32_t count;
    uint64_t undecided; /* checks that needed more than their share of memory */
};

/* Adds a call without an answer; returns its place. */
uint32_t lks_sim_history_call(struct lks_sim_history *history,
                              const struct lks_history_operation *operation);

/* The call never took effect and never will. */
void lks_sim_history_refused(struct lks_sim_history *history, uint32_t place);

/* The answer of the call at place. */
void lks_sim_history_return(struct lks_sim_history *history, uint32_t place,
                            const struct lks_history_operation *answer);

void lks_sim_history_check(struct lks_sim_history *history);

#endif
