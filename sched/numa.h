/*
 * NUMA nodes as the kernel sees them, behind a table of operations: areas of memory on a node, and
 * what a thread touches first. All of it is a wish: no memory is refused for want of a node's, and
 * nothing depends on where memory lies but how long it takes to reach it.
 *
 * Who has one may not be let (a container without CAP_SYS_NICE): then one warning says so, and
 * nothing more is asked. Machines with one node need none of this: a NULL stands for them.
 */
#ifndef LKS_SCHED_NUMA_H
#define LKS_SCHED_NUMA_H

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_NUMA_NODES_MAX 64u

/* Nodes are bits of a word, as the system numbers them. Each returns 0 or the kernel's errno,
 * negative. */
struct lks_numa_ops {
    /* What comes to [address, address + bytes) comes from the node; of several, page by page in
     * turn. moves: what is there already goes there, too. */
    int (*bind)(void *machine, void *address, uint64_t bytes, uint64_t nodes, bool moves);
    /* So does what the calling thread, and those that it makes, touch first from now on. nodes 0:
     * as it was when the machine was opened. */
    int (*prefer)(void *machine, uint64_t nodes);
    bool (*has)(void *machine, uint32_t node);
    void (*close)(void *machine);
};

struct lks_numa {
    const struct lks_numa_ops *ops;
    void *machine;
    const struct lks_log *log_sink; /* for the one warning; NULL: none. The caller's */
    uint64_t preferred;             /* by the thread that prefers; 0: nothing of its own */
    bool refused;                   /* once: nothing more is asked */
};

/* This machine, by hwloc. -ENOMEM, or errno with a sentence: hwloc cannot tell. */
int lks_numa_init(struct lks_numa *numa, const struct lks_log *log_sink, struct lks_error *err);
/* Another machine, for tests: what it is made of stays the caller's if `close` is NULL. */
void lks_numa_init_with(struct lks_numa *numa, const struct lks_numa_ops *ops, void *machine,
                        const struct lks_log *log_sink);
/* Gives the thread's preference back first. A zeroed one is accepted. */
void lks_numa_fini(struct lks_numa *numa);

/* The node's bit; 0 (wherever) for -1, and for one that has none. */
static inline uint64_t lks_numa_bit(int node)
{
    return node >= 0 && node < (int)LKS_NUMA_NODES_MAX ? UINT64_C(1) << node : 0;
}

/* Binds whole pages that nobody has touched. numa NULL, or nodes 0: nothing happens. */
void lks_numa_place(struct lks_numa *numa, void *address, uint64_t bytes, uint64_t nodes);

/* The thread's memory comes from these nodes, as far as it is fresh; 0: as before. Asks the kernel
 * only where that changes. numa NULL: nothing happens. One thread, and with 0 before it makes
 * another one. */
void lks_numa_prefer(struct lks_numa *numa, uint64_t nodes);

#endif
