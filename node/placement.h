/*
 * Which threads of a configuration's replica run where (sched/topology.h), and where their memory
 * belongs (sched/memory_plan.h): how many replicas share its host, and on which NUMA node its RDMA
 * device is. Any thread, at start.
 */
#ifndef LKS_NODE_PLACEMENT_H
#define LKS_NODE_PLACEMENT_H

#include "node/config.h"
#include "sched/memory_plan.h"

/* The plan for a replica with so many workers. machine: as in struct lks_topology_options. Errors:
 * those of lks_topology_plan_make. A device that is not here counts as having no node. */
int lks_placement_make(struct lks_topology_plan *plan, const struct lks_config *config,
                       uint32_t replica, uint32_t workers, const char *machine,
                       struct lks_error *err);

/* The number in a file such as /sys/class/infiniband/DEV/device/numa_node; -1: it says so, or
 * cannot be read. */
int lks_placement_read_node(const char *path);

#endif
