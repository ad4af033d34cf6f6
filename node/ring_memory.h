/*
 * What a log lies in where a device is to reach it: the NUMA node of the device, and huge pages,
 * both as far as the kernel gives them, and one line for `status` that says what came of it. Main
 * thread, at start, before the fabric registers the memory: pinned pages neither move nor merge.
 */
#ifndef LKS_NODE_RING_MEMORY_H
#define LKS_NODE_RING_MEMORY_H

#include "pmem/journal.h"

#include <stdint.h>

#define LKS_RING_MEMORY_TEXT_MAX 200u

struct lks_memory_node;

struct lks_ring_memory {
    struct lks_memory_node *near; /* until _settled: what is allocated comes from the node */
    char text[LKS_RING_MEMORY_TEXT_MAX];
};

/* node: the device's; -1: it has none. Nothing here fails: what cannot be had is said. */
void lks_ring_memory_prepare(struct lks_ring_memory *ring, const struct lks_medium *medium,
                             const struct lks_log_memory *memory, int node);
/* The fabric is made: memory comes from anywhere again. */
void lks_ring_memory_settled(struct lks_ring_memory *ring);

#endif
