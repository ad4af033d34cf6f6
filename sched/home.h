/*
 * Inside of sched/: memory of one home, which is a NUMA node, several in turns, or wherever the
 * system likes. What is taken from it is zeroed, begins at a cache line, and is given back at once
 * with the home. At start, one thread.
 *
 * Where nodes matter the home is made of whole pages, so that nothing of another home lies between;
 * elsewhere each piece comes from the allocator, and no call to the kernel is made for it.
 */
#ifndef LKS_SCHED_HOME_H
#define LKS_SCHED_HOME_H

#include "sched/numa.h"

#include <stddef.h>

struct lks_home_piece;

struct lks_home {
    struct lks_numa *numa; /* NULL: wherever. The caller's, until the last piece is taken */
    uint64_t nodes;        /* 0: wherever */
    uint32_t number;       /* of several homes: where in a page the first piece begins, so that
                              those of all do not fall on the same lines of a cache */
    struct lks_home_piece *pieces; /* to be given back */
    unsigned char *rest;           /* of the newest pages */
    size_t rest_bytes;
};

void lks_home_init(struct lks_home *home, struct lks_numa *numa, uint64_t nodes, uint32_t number);

/* count * bytes, zeroed and aligned to a cache line; NULL: no memory, what was taken is still
 * there. Pieces of a mebibyte and more are mapped, and not touched before they are used. */
void *lks_home_take(struct lks_home *home, size_t count, size_t bytes);

/* Gives everything back. A zeroed one is accepted. */
void lks_home_fini(struct lks_home *home);

#endif
