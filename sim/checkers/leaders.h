/* Checks: at most one replica, in one life, leads a term. */
#ifndef LKS_SIM_CHECKERS_LEADERS_H
#define LKS_SIM_CHECKERS_LEADERS_H

#include "sim/checkers/verdict.h"

#include <stdint.h>

#define LKS_SIM_TERMS_MAX 65536u

struct lks_sim_leaders {
    struct lks_sim_verdict *verdict;
    uint64_t leads[LKS_SIM_TERMS_MAX]; /* by term: replica << 32 | life; 0 for none */
    uint64_t terms; /* how many had a leader */
};

/* A new cluster begins, of which nobody of the old one hears: its terms are others. */
void lks_sim_leaders_founded(struct lks_sim_leaders *leaders);

void lks_sim_leaders_seen(struct lks_sim_leaders *leaders, uint64_t term, uint32_t replica,
                          uint64_t life);

#endif
