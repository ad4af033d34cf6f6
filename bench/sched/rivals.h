/*
 * Other ways of executing a log in parallel, to compare with: re-creations from the published
 * descriptions, written for this benchmark alone and in C where the originals are Java, and what
 * compilers and libraries offer. Each executes the whole load on `workers` workers beside the
 * calling thread, which inserts, and returns when all is done.
 */
#ifndef LKS_BENCH_SCHED_RIVALS_H
#define LKS_BENCH_SCHED_RIVALS_H

#include "bench/sched/load.h"

/* Commands that the graphs of the papers hold; their own experiments use 150. */
#define LKS_RIVAL_WINDOW 150u

/* CBASE (Kotla, Dahlin, DSN'04): one graph behind one mutex, conflicts found by comparing. */
void lks_rival_cbase(struct lks_load *load, uint32_t workers);

/* The lock-free graph (Escobar, Alchieri, Dotti, Pedone, Middleware'19): a list in the order of the
 * log, walked by who inserts and by who looks for something ready; states by compare-and-swap. */
void lks_rival_lock_free(struct lks_load *load, uint32_t workers);

/* Early scheduling with two barriers for each synchronised command, and no stealing (SoCC'18). */
void lks_rival_barriers(struct lks_load *load, uint32_t workers);

/* OpenMP tasks with `depend`. */
void lks_rival_openmp(struct lks_load *load, uint32_t workers);

/* oneTBB's flow graph, built and run in batches; where libtbb-dev is installed. */
void lks_rival_tbb(struct lks_load *load, uint32_t workers);

/* No rival but the floor: the commands' own cost, dealt out to the workers without looking at what
 * they touch. No scheduler can be faster; state and replies mean nothing. */
void lks_rival_floor(struct lks_load *load, uint32_t workers);

/* Whether two commands conflict, word by word, as the papers' graphs compare them. */
static inline bool lks_rival_conflict(const struct lks_load_entry *a,
                                      const struct lks_load_entry *b)
{
    for (uint32_t i = 0; i < a->count; i++) {
        for (uint32_t j = 0; j < b->count; j++) {
            if (a->words[i] >> 1 == b->words[j] >> 1 && ((a->words[i] | b->words[j]) & 1) != 0) {
                return true;
            }
        }
    }
    return false;
}

#endif
