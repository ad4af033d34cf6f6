/*
 * Which memory of the schedulers, and of the service's partitions, lies on which NUMA node, and
 * why: by who reads it most, as the plan of threads (topology.h) has them. The schedulers are made
 * by these rules; `lockstep topology` shows them. Pure.
 *
 *   queues, rings, packets, counters of a worker   its node: it reads each command there, while the
 *                                                  dispatcher only stores, and waits for no store
 *   commands under way, meetings, map of classes   the dispatcher's: it fills them, and looks at
 *                                                  them until they are executed
 *   the table of keys of late                      the dispatcher's, who inserts; with lanes all
 *                                                  nodes in turns, since a page has slots of each
 *   partitions of the service                      their worker's by the map (early, hybrid); all
 *                                                  workers' in turns, where any of them executes;
 *                                                  the dispatcher's with sequential
 *
 * What lies where is settled when it is made. Another scheduler, at runtime, finds it where it is:
 * to move it would stop the replica for as long as copying it takes, for what may be switched back.
 * What comes after that, values and restored partitions, follows the kind of that moment.
 */
#ifndef LKS_SCHED_MEMORY_PLAN_H
#define LKS_SCHED_MEMORY_PLAN_H

#include "sched/topology.h"

/* Nodes are bits of a word; 0: wherever the system likes. */
struct lks_memory_nodes {
    uint32_t workers;
    uint64_t executor[LKS_WORKERS_MAX + 1]; /* workers, and behind them the dispatcher */
};

/* nodes: as in struct lks_scheduler_options; may be NULL. */
void lks_memory_nodes_of(struct lks_memory_nodes *of, const int *nodes, uint32_t workers);

/* Those of the table of keys. lanes: as in struct lks_scheduler_options, 1 or more. */
uint64_t lks_memory_nodes_of_keys(const struct lks_memory_nodes *nodes,
                                  enum lks_scheduler_kind kind, uint32_t lanes);

/* The workers (bits) that execute the commands of a partition for which the map names `mapped`; 0:
 * the dispatcher does. */
uint64_t lks_memory_owners(enum lks_scheduler_kind kind, uint32_t workers, uint64_t mapped);

struct lks_memory_line {
    uint64_t nodes;
    char what[80];
    char why[80];
};

/* For people. */
struct lks_memory_plan {
    uint32_t machine_nodes; /* 1: there are no lines, since nothing is placed */
    uint32_t count;
    struct lks_memory_line line[LKS_WORKERS_MAX + 3];
};

/* Of a service of so many partitions, at least one. -ENOMEM with a sentence. */
int lks_memory_plan_make(struct lks_memory_plan *memory, const struct lks_topology_plan *threads,
                         enum lks_scheduler_kind kind, uint32_t partitions,
                         struct lks_error *err);

/* "0", "0, 1 in turns", "-". */
#define LKS_MEMORY_NODES_TEXT 256u
const char *lks_memory_nodes_text(uint64_t nodes, char text[LKS_MEMORY_NODES_TEXT]);

/* A table behind that of the threads. */
void lks_memory_plan_print(const struct lks_memory_plan *memory, FILE *to);

#endif
