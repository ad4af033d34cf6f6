/*
 * Checks the history against one known order, that of the log: replayed in it by the reference
 * model, every command gives, byte by byte, the answer that its client got, and no command stands
 * before one that had returned before it was called. Decides every history whose reads go through
 * the log. One thread.
 */
#ifndef LKS_SIM_CHECKERS_ORDER_H
#define LKS_SIM_CHECKERS_ORDER_H

#include "sim/checkers/history.h"
#include "sim/checkers/model.h"
#include "sim/checkers/verdict.h"

#include <stdint.h>

/* One executed command, in the order of the log. */
struct lks_sim_ordered {
    uint64_t index;
    uint64_t number;
    uint64_t time_ns; /* as logged */
    const struct lks_sim_call *call;
};

struct lks_sim_order {
    struct lks_sim_verdict *verdict;
    struct lks_sim_model model;
    uint64_t latest_call_ns; /* of all commands so far */
    uint64_t latest_index;
    uint64_t latest_time_ns;
};

/* The next executed command; indexes must rise. */
void lks_sim_order_next(struct lks_sim_order *order, const struct lks_sim_ordered *next);

#endif
