/*
 * Between C and C++: what rival_tbb.cpp calls and what it offers. Includes nothing of ours, since
 * C11 atomics in headers are not C++.
 */
#ifndef LKS_BENCH_SCHED_RIVAL_TBB_H
#define LKS_BENCH_SCHED_RIVAL_TBB_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lks_load;

struct lks_tbb_command {
    uint32_t count;
    uint64_t words[12];
};

/* What a command of the load touches. */
void lks_rival_tbb_read(const struct lks_load *load, uint64_t command, struct lks_tbb_command *to);
/* Executes `commands` commands on `workers` threads, the calling one among them. */
void lks_rival_tbb_run(struct lks_load *load, uint32_t workers, uint64_t commands);

#ifdef __cplusplus
}
#endif

#endif
