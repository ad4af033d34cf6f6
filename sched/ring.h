/*
 * A bounded ring of small numbers with one producer, from which any thread takes: the oldest first.
 * It stands where a deque of Chase and Lev could: here the oldest command is also the one that
 * holds the window up, so nobody wants the newest first, and the producer needs no end of its own.
 *
 * The producer's thread may change only by an acquire/release hand-over (a lock). It never fills:
 * its owner makes it as long as everything that can be in it.
 */
#ifndef LKS_SCHED_RING_H
#define LKS_SCHED_RING_H

#include "base/assert.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lks_ring {
    _Alignas(64) _Atomic uint64_t head; /* takers, by compare-and-swap */
    _Alignas(64) _Atomic uint64_t tail; /* the producer; what lies below it may be taken */
    _Alignas(64) uint64_t filled;       /* the producer's own: filled, not yet published */
    _Alignas(64) _Atomic uint32_t *items; /* never changed, like mask */
    uint32_t mask; /* items - 1 */
};

/* Adds an item; nobody sees it before lks_ring_publish. Producer. */
static inline void lks_ring_add(struct lks_ring *ring, uint32_t item)
{
    /* Relaxed: published by the release store of tail; a taker that still reads what lay here
     * before loses its compare-and-swap on head. */
    atomic_store_explicit(&ring->items[ring->filled & ring->mask], item, memory_order_relaxed);
    ring->filled++;
}

/* Producer. */
static inline void lks_ring_publish(struct lks_ring *ring)
{
    /* Release: with the acquire load of tail in lks_ring_take. */
    atomic_store_explicit(&ring->tail, ring->filled, memory_order_release);
}

/* About how many there are. Any thread. */
static inline uint64_t lks_ring_depth(const struct lks_ring *ring)
{
    /* Relaxed: a hint. Head first: tail never falls behind it. */
    const uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    const uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    return tail > head ? tail - head : 0;
}

/*
 * Takes the oldest items, at most `wanted`, and at most one of `share` of all (so that some are
 * left for others; 1: all). Returns how many; 0 also if another thread was faster. Any thread.
 */
static inline uint32_t lks_ring_take(struct lks_ring *ring, uint32_t *items, uint32_t wanted,
                                     uint32_t share)
{
    /* Acquire: with the release half of the compare-and-swap below, so that a tail that is read
     * after it is not older than this head. */
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    /* Acquire: with the release store in lks_ring_publish. */
    const uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (tail <= head) {
        return 0;
    }
    uint64_t count = (tail - head + share - 1) / share;
    count = count < wanted ? count : wanted;
    for (uint64_t i = 0; i < count; i++) {
        items[i] = atomic_load_explicit(&ring->items[(head + i) & ring->mask],
                                        memory_order_relaxed);
    }
    /* Release: the loads above are done before another lap may overwrite what they read; the
     * producer learns that these are gone by the window, whose low end is read with acquire. */
    if (!atomic_compare_exchange_strong_explicit(&ring->head, &head, head + count,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        return 0;
    }
    return (uint32_t)count;
}

#endif
