/*
 * Sleeping without missing a wake-up, on a futex.
 *
 * The sleeper says that it will sleep, looks once more for work, and sleeps if there is none. Who
 * has made work looks afterwards whether somebody sleeps. Each side has a full fence between its
 * store and its load, so at least one of them sees the other.
 *
 *   sleeper: parked = 1; fence; look for work; none: futex_wait(parked == 1)
 *   maker:   publish work; fence; if parked: parked = 0, futex_wake
 */
#ifndef LKS_SCHED_PARK_H
#define LKS_SCHED_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The sleeper's first step. It must look for work between this and lks_park_wait. */
static inline void lks_park_announce(_Atomic uint32_t *parked)
{
    /* Relaxed store, then a full fence: with the one in lks_park_wake. */
    atomic_store_explicit(parked, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

/* There was work after all, or the sleep is over. */
static inline void lks_park_cancel(_Atomic uint32_t *parked)
{
    /* Relaxed: a wake-up in between costs its maker a system call, no more. */
    atomic_store_explicit(parked, 0, memory_order_relaxed);
}

/* Sleeps until woken, or for timeout_ns. */
void lks_park_wait(_Atomic uint32_t *parked, uint64_t timeout_ns);

/* Wakes a sleeper; the caller has issued a full fence since it published. True: it was asleep. */
bool lks_park_wake(_Atomic uint32_t *parked);

#endif
