/*
 * The history of all clients, by number of the command, and its check: one order of the
 * operations explains every answer and respects the times of calls and returns. The search is
 * linearizability.h; it knows nothing of the log. One thread.
 */
#ifndef LKS_SIM_CHECKERS_HISTORY_H
#define LKS_SIM_CHECKERS_HISTORY_H

#include "sim/checkers/verdict.h"
#include "sim/operation.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_COMMANDS_MAX 16384u

/* What a client did, and what it was told. */
struct lks_sim_call {
    struct lks_sim_operation operation;
    uint64_t call_ns;
    uint64_t return_ns;
    uint64_t state_ns; /* of a read without an entry: the log's time in the state that answered it;
                          0: not known */
    uint32_t connection; /* whose calls take effect in the order that they were made in; 0: none */
    bool refused; /* never took effect and never will */
    struct lks_sim_answer answer;
};

struct lks_sim_history {
    struct lks_sim_verdict *verdict;
    struct lks_sim_call calls[LKS_SIM_COMMANDS_MAX]; /* by number, from 1 */
    uint32_t count;     /* the greatest number */
    uint64_t undecided; /* checks that needed more than their share of memory */
};

/* Adds a call; returns its number. The answer is unknown until lks_sim_history_return. */
uint32_t lks_sim_history_call(struct lks_sim_history *history,
                              const struct lks_sim_operation *operation, uint64_t now_ns);

/* The call never took effect and never will. */
void lks_sim_history_refused(struct lks_sim_history *history, uint32_t number);

/* The answer of the call. */
void lks_sim_history_return(struct lks_sim_history *history, uint32_t number,
                            const struct lks_sim_answer *answer, uint64_t now_ns);

void lks_sim_history_check(struct lks_sim_history *history);

#endif
