/* Checks: at any instant at most one replica may write to a ring: one remote writer with an
 * unrevoked permission, or the owner itself while it leads. */
#ifndef LKS_SIM_CHECKERS_WRITERS_H
#define LKS_SIM_CHECKERS_WRITERS_H

#include "sim/checkers/verdict.h"
#include "verbs/fabric.h"

#include <stdint.h>

struct lks_sim_writers {
    struct lks_sim_verdict *verdict;
    uint32_t standing[LKS_REPLICAS_MAX + 1]; /* bit w: replica w may write this ring */
};

void lks_sim_writers_granted(struct lks_sim_writers *writers, uint32_t owner, uint32_t writer);
void lks_sim_writers_revoked(struct lks_sim_writers *writers, uint32_t owner, uint32_t writer);
/* A write of writer is landing in owner's ring though its permission has been revoked. */
void lks_sim_writers_unfenced(struct lks_sim_writers *writers, uint32_t owner, uint32_t writer);
/* owner leads and so appends to its own ring. */
void lks_sim_writers_leads(struct lks_sim_writers *writers, uint32_t owner);

#endif
