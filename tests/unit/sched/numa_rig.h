/* A machine of several NUMA nodes that is not there: it notes what it is asked, and may refuse. */
#ifndef LKS_TESTS_UNIT_SCHED_NUMA_RIG_H
#define LKS_TESTS_UNIT_SCHED_NUMA_RIG_H

#include "sched/numa.h"

#define NUMA_RIG_AREAS 1024u

struct numa_rig_area {
    const unsigned char *address;
    uint64_t bytes;
    uint64_t nodes;
};

struct numa_rig {
    int answer; /* to every request; 0: done */
    uint32_t areas_count;
    struct numa_rig_area areas[NUMA_RIG_AREAS];
    uint32_t prefers; /* requests */
    uint64_t preferred;
    uint32_t warnings;
    char warning[LKS_LOG_LINE_MAX];
    struct lks_log log;
    struct lks_numa numa;
};

/* Zeroes it, and makes `numa` of it. */
void numa_rig_init(struct numa_rig *rig);

/* The nodes to which the memory at `address` was bound; 0: none. */
uint64_t numa_rig_nodes_of(const struct numa_rig *rig, const void *address);

#endif
