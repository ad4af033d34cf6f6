/*
 * The seam between the journal and its medium: every store to memory that must survive, every
 * write-back, fence and sync goes through these functions, and through nothing else in pmem/. The
 * simulator stands in for them when it is linked and so sees each of them; the lockstep binary,
 * optimised at link time, has them inline. Any thread; the ranges are the caller's business.
 *
 * A stored byte is visible at once and survives a power cut only by chance. Once its line has been
 * written back *and* a fence has followed, it survives for certain (where the medium does:
 * medium.h); and so it does after a sync.
 */
#ifndef LKS_PMEM_STORES_H
#define LKS_PMEM_STORES_H

#include <stddef.h>

/* Copies; the ranges do not overlap. Bytes become visible, and evicted, in any order. */
void lks_store_copy(void *to, const void *from, size_t bytes);
void lks_store_zero(void *to, size_t bytes);

/* Starts writing back the lines of a range; _fence waits for all that this thread started. */
void lks_store_write_back(const void *address, size_t bytes);
void lks_store_fence(void);

/* Where write-back does not reach the medium: waits until the pages are on it. Errors: errno. */
int lks_store_sync(const void *address, size_t bytes);

#endif
