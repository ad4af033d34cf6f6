/*
 * Named barriers for memory that another process or a NIC writes (design: such memory is read
 * only through this header). A word is 8 bytes, aligned; it is the only unit whose arrival is
 * single-copy atomic. Whatever lies around a word is valid only as far as a word, or a checksum,
 * says so. Any thread.
 */
#ifndef LKS_BASE_REMOTE_MEMORY_H
#define LKS_BASE_REMOTE_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* A word in memory that a peer writes or reads. One writer each; say which at the field. */
typedef _Atomic uint64_t lks_word;

_Static_assert(sizeof(lks_word) == 8, "a word is eight bytes");

/* Reads a word; what its writer stored before it is visible after. Pairs with _publish. */
static inline uint64_t lks_word_read(const lks_word *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* Writes a word after everything stored before. Pairs with _read on the other side. */
static inline void lks_word_publish(lks_word *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

/* A full fence: later loads are not done before earlier stores are visible. */
static inline void lks_fence_full(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

#endif
