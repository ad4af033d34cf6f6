/*
 * Checks the history against one known order, that of the log: replayed in it, every command
 * gives the answer that its client got, and no command stands before one that had returned
 * before it was called. Decides every history whose reads go through the log.
 */
#ifndef LKS_SIM_CHECKERS_ORDER_H
#define LKS_SIM_CHECKERS_ORDER_H

#include "sim/checkers/linearizability.h"
#include "sim/checkers/verdict.h"

#include <stdint.h>

/* One executed command, in the order of the log. */
struct lks_sim_ordered {
    uint64_t index;
    const struct lks_history_operation *operation;
};

struct lks_sim_order {
    struct lks_sim_verdict *verdict;
    struct {
        bool present;
        int64_t value;
    } keys[64];
    uint64_t latest_call_ns; /* of all commands so far */
    uint64_t latest_index;
};

/* The next executed command; indexes must rise. */
void lks_sim_order_next(struct lks_sim_order *order, const struct lks_sim_ordered *next);

#endif
