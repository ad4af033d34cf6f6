/*
 * Which thread runs where: a plan from the machine's topology, by hwloc. Runs before the threads
 * start; any thread.
 *
 * The core thread (the dispatcher) comes first; workers follow, a core each before any core has
 * two, those that share a cache with the core thread first, then by NUMA distance. Where there are
 * fewer cores than threads the last workers are not pinned, and the plan says so.
 */
#ifndef LKS_SCHED_TOPOLOGY_H
#define LKS_SCHED_TOPOLOGY_H

#include "base/error.h"
#include "sched/scheduler.h"

#include <stdio.h>

/* Where one thread runs, and why. */
struct lks_placement {
    int cpu;      /* as the system numbers it; -1: not pinned */
    int core;     /* physical core, by hwloc's order */
    int numa;     /* its NUMA node; -1: the machine has none */
    char why[96]; /* one clause */
};

struct lks_topology_plan {
    uint32_t workers;
    uint32_t cores;  /* physical ones that this process may use */
    uint32_t cpus;   /* hardware threads that it may use */
    bool crowded;    /* fewer cores than threads: some are not pinned, waiting is short */
    struct lks_placement dispatcher;
    struct lks_placement worker[LKS_WORKERS_MAX];
};

/* Makes a plan for this process (its affinity is respected). -EINVAL: too many workers; -ENOTSUP:
 * hwloc cannot tell. */
int lks_topology_plan_make(struct lks_topology_plan *plan, uint32_t workers,
                           struct lks_error *err);

/* Fills cpus[workers] for struct lks_scheduler_options. */
void lks_topology_plan_cpus(const struct lks_topology_plan *plan, int *cpus);

/* A table, one line a thread; and the same as a drawing. */
void lks_topology_plan_print(const struct lks_topology_plan *plan, FILE *to);
void lks_topology_plan_draw(const struct lks_topology_plan *plan, FILE *to);

#endif
