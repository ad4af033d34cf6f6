/*
 * One run of a random workload under a scheduler whose options are drawn by the seed, and its
 * comparison with sequential execution; a test fails with the seed and the options.
 */
#ifndef LKS_TESTS_UNIT_SCHED_EQUAL_H
#define LKS_TESTS_UNIT_SCHED_EQUAL_H

#include "tests/unit/sched/workload.h"

/* What `between` gets as its ctx. */
struct equal_run_state {
    uint64_t random;
    struct workload *workload;
};

/* `between` (may be NULL) comes before each command, and while there is no room. */
void equal_run(uint64_t seed, enum lks_scheduler_kind kind, bool manual,
               void (*between)(void *ctx, struct lks_scheduler *scheduler, uint32_t command));

/* What all runs of this process came across: a test that finds nothing must have looked. */
extern struct equal_totals {
    uint64_t everything, refused, synchronised, dependent, switches, stolen, given, waited;
    uint64_t in_place;
} equal_totals;

/* A `between`: another kind, or number of workers, now and then. */
void equal_change_kind(void *ctx, struct lks_scheduler *scheduler, uint32_t command);

#endif
