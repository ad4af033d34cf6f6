/*
 * How much memory each simulated replica holds: the allocator is stood in for at link time (--wrap)
 * and what is allocated and freed while a replica is entered is counted as its own. One thread.
 */
#ifndef LKS_SIM_HEAP_H
#define LKS_SIM_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* From now on allocations are this replica's, from 1; 0: nobody's. Returns who was entered. */
uint32_t lks_sim_heap_enter(uint32_t replica);

/* Bytes that a replica holds, as the allocator rounds them; _forget begins again with none. */
int64_t lks_sim_heap_bytes(uint32_t replica);
void lks_sim_heap_forget(uint32_t replica);

/* The names that the linker puts in place. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *block);

#endif
