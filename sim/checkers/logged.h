/*
 * Checks the commands in the log itself: each stands there once, those of a gateway's life in the
 * order of their sequences, without a hole, and none behind a later life's. What the sessions of
 * the replicas would make of a log that is not so, nobody needs to ask.
 */
#ifndef LKS_SIM_CHECKERS_LOGGED_H
#define LKS_SIM_CHECKERS_LOGGED_H

#include "sim/checkers/verdict.h"
#include "verbs/fabric.h"

#include <stdint.h>

struct lks_sim_logged {
    uint64_t life[LKS_REPLICAS_MAX + 1]; /* of each gateway, the newest logged; 0: none */
    uint64_t last[LKS_REPLICAS_MAX + 1]; /* its last sequence */
};

/* A committed command, of the gateway at replica `gateway` in its life `life`. */
struct lks_sim_logged_command {
    uint64_t index;
    uint32_t gateway;
    uint64_t life;
    uint64_t sequence;
};

/* The next command of the log; each index once. */
void lks_sim_logged_next(struct lks_sim_logged *logged, struct lks_sim_verdict *verdict,
                         const struct lks_sim_logged_command *command);

#endif
