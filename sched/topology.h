/*
 * Which thread runs where: a plan from the machine's topology, by hwloc. Runs before the threads
 * start; any thread.
 *
 * The core thread (the dispatcher) comes first, on the NUMA node of the network's device if one is
 * named. Workers follow, a core each before any core has two, those that share a cache with the
 * core thread first, then by NUMA distance; then second hardware threads of the workers' cores, and
 * last of the core thread's. Where there are fewer hardware threads than threads the last workers
 * are not pinned, and the plan says so: then the core thread is not pinned either, since it would
 * wait for whoever the system puts there. Several replicas on one host get cores of their own, as
 * long as there is one for each; else nothing is pinned.
 */
#ifndef LKS_SCHED_TOPOLOGY_H
#define LKS_SCHED_TOPOLOGY_H

#include "base/error.h"
#include "sched/scheduler.h"

#include <stdio.h>

struct lks_memory_plan;

struct lks_topology_options {
    uint32_t workers;
    uint32_t place;      /* which of the replicas on this host, from 0 ... */
    uint32_t places;     /* ... of so many; 0: one */
    bool near_node;      /* the core thread belongs on this NUMA node, if it may run there */
    uint32_t node;       /* as the system numbers it */
    const char *machine; /* another one: hwloc's synthetic description, or the path of an XML file
                            of lstopo; NULL: this one */
};

/* Where one thread runs, and why. */
struct lks_placement {
    int cpu;      /* as the system numbers it; -1: not pinned */
    int core;     /* physical core, by hwloc's order */
    int numa;     /* its NUMA node; -1: the machine has none */
    char why[96]; /* one clause */
};

struct lks_topology_plan {
    uint32_t workers;
    uint32_t places; /* replicas on this host */
    uint32_t cores;  /* physical ones that this process may use */
    uint32_t cpus;   /* hardware threads that it may use */
    uint32_t nodes;  /* NUMA nodes of the machine; 1: where memory lies does not matter */
    bool crowded;    /* some thread is not pinned: waiting is short, and the core thread roams */
    struct lks_placement dispatcher;
    struct lks_placement worker[LKS_WORKERS_MAX];
};

/* Makes a plan; of this machine for this process (its affinity is respected). -EINVAL: too many
 * workers, or a machine that hwloc does not understand; -ENOTSUP: hwloc cannot tell; -ENOMEM. */
int lks_topology_plan_make(struct lks_topology_plan *plan,
                           const struct lks_topology_options *options, struct lks_error *err);

/* Fills cpus[workers] for struct lks_scheduler_options. */
void lks_topology_plan_cpus(const struct lks_topology_plan *plan, int *cpus);

/* Where the core thread is to be pinned; -1: nowhere. */
static inline int lks_topology_plan_core_cpu(const struct lks_topology_plan *plan)
{
    return plan->crowded || plan->workers == 0 ? -1 : plan->dispatcher.cpu;
}

/* Fills nodes[workers + 1] for struct lks_scheduler_options: -1 for who is not pinned. */
void lks_topology_plan_nodes(const struct lks_topology_plan *plan, int *nodes);

/* One plan of a drawing. */
struct lks_topology_drawing {
    const char *title;
    const struct lks_topology_plan *threads;
    const struct lks_memory_plan *memory; /* memory_plan.h; NULL: not drawn */
};

/* topology_draw.c: a table, one line a thread; and `count` plans as one drawing, SVG. */
void lks_topology_plan_print(const struct lks_topology_plan *plan, FILE *to);
void lks_topology_plan_draw(const struct lks_topology_drawing *drawings, uint32_t count, FILE *to);

#endif
