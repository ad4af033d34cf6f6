/*
 * How much of the last second or two each worker had work, from how long it has been idle since it
 * began: looked at once a second, so that a figure is at hand whenever INFO asks. Pure. Replica's
 * thread.
 */
#ifndef LKS_NODE_UTILISATION_H
#define LKS_NODE_UTILISATION_H

#include "sched/scheduler.h"

#include <stdbool.h>
#include <stdint.h>

/* Two looks, at least a second apart; zeroed: none yet. */
struct lks_utilisation {
    uint64_t at_ns[2]; /* [0] the older one */
    uint64_t idle_ns[2][LKS_WORKERS_MAX];
};

/* The first look, before anything was idle. */
void lks_utilisation_begin(struct lks_utilisation *utilisation, uint64_t now_ns);

/* Whether a look is due. */
bool lks_utilisation_is_due(const struct lks_utilisation *utilisation, uint64_t now_ns);

/* A look. idle_ns: of each of the workers, in all. */
void lks_utilisation_look(struct lks_utilisation *utilisation, uint64_t now_ns,
                          const uint64_t *idle_ns, uint32_t workers);

/* Percent of the time since the older look in which the worker was not idle; 0 where no time has
 * passed. idle_ns: as it is now. */
uint32_t lks_utilisation_percent(const struct lks_utilisation *utilisation, uint64_t now_ns,
                                 uint32_t worker, uint64_t idle_ns);

#endif
