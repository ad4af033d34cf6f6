/*
 * The workers of a simulated replica's scheduler: which it has in each life, and when they go on,
 * by a stream of the seed that nothing else draws from. Virtual time's thread.
 */
#ifndef LKS_SIM_WORKERS_H
#define LKS_SIM_WORKERS_H

#include "node/replica.h"
#include "sim/random.h"

struct lks_sim_workers {
    struct lks_sim_random random;
    uint32_t count; /* in this life */
};

void lks_sim_workers_init(struct lks_sim_workers *workers, const struct lks_sim_random *parent,
                          uint32_t replica);

/* A new life: any scheduler with at most so many workers. (`adaptive` goes through its levels in
 * turn: there is no time to measure.) 0: none, and nothing is drawn. */
struct lks_replica_scheduler lks_sim_workers_draw(struct lks_sim_workers *workers, uint32_t most);

/* Workers go on, in any order; often none does, so that much is under way at a time; now and then
 * the replica is told to go on with another scheduler. Returns pieces of work. */
int lks_sim_workers_step(struct lks_sim_workers *workers, struct lks_replica *replica);

#endif
