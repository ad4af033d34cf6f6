/*
 * Memory on the NUMA node of a device: what a thread allocates from now on, and what is there
 * already. hwloc asks the kernel (mbind, set_mempolicy); no memory is refused for want of a node's.
 * At start, one thread; between _begin and _end that thread's new memory comes from the node.
 */
#ifndef LKS_SCHED_MEMORY_NODE_H
#define LKS_SCHED_MEMORY_NODE_H

#include "base/error.h"

#include <stdint.h>

struct lks_memory_node;

/* node: as the system numbers it. -ENOENT: this machine has no such node; -ENOMEM; errno of the
 * kernel, where it does not let this process choose. */
int lks_memory_node_begin(struct lks_memory_node **memory, uint32_t node, struct lks_error *err);

/* Moves [address, address + bytes) there, and has what comes to it later from there. Before a
 * device has pinned it. errno of the kernel: where it lies has not changed, or only in part. */
int lks_memory_node_take(const struct lks_memory_node *memory, void *address, uint64_t bytes);

/* The thread's memory comes from where it came from before. NULL is allowed. */
void lks_memory_node_end(struct lks_memory_node *memory);

#endif
