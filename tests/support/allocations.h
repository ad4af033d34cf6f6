/*
 * Allocations that fail when a test says so, and a count of what is not given back. A program that
 * links it has these functions wrapped by the linker (lks_test_allocations of tests/sched.cmake):
 * malloc, calloc, aligned_alloc, mmap, pthread_create, eventfd, and those of hwloc that the tree
 * calls. One thread.
 */
#ifndef LKS_TESTS_SUPPORT_ALLOCATIONS_H
#define LKS_TESTS_SUPPORT_ALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

#define ALLOCATIONS_ALL UINT64_MAX

/* From now on the call with this number, from 1, fails; 0: none; ALLOCATIONS_ALL: each. */
void allocations_begin(uint64_t failing);

/* Ends it. Whether that call came about. */
bool allocations_end(void);

/* Since _begin: calls, and what they gave that was not given back. */
uint64_t allocations_calls(void);
int64_t allocations_live(void);

#endif
