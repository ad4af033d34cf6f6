/*
 * A prepared log for the schedulers, and what its commands do. State and the sum of all replies
 * tell whether a run equals sequential execution: the sum does not depend on who executed what
 * when, each reply does on the content that its command found.
 */
#ifndef LKS_BENCH_SCHED_LOAD_H
#define LKS_BENCH_SCHED_LOAD_H

#include "sched/scheduler.h"

#include <stddef.h>
#include <stdint.h>

struct lks_load_options {
    uint64_t commands;      /* executed in a run */
    uint32_t log_entries;   /* a power of two; the log is walked again from its start */
    uint32_t keys;
    uint32_t accesses;      /* keys of a command */
    uint32_t several_percent; /* commands with two keys of different classes instead */
    uint32_t write_percent;
    uint32_t conflict_percent; /* commands that write one key, the same for all of them */
    uint32_t skew_percent;  /* commands on keys of the classes that worker 0 of two has */
    double zipf;            /* 0: uniform */
    uint32_t cost_ns;       /* what a command burns, on the processor */
    uint32_t list;          /* elements of a list that each command walks; 0: none. All commands are
                               of one class then, as in the papers */
    uint32_t classes;
};

/* A command of one key is one cache line. */
struct lks_load_entry {
    _Alignas(64) uint32_t count;
    uint32_t keys[LKS_ACCESS_MAX];
    lks_access words[LKS_ACCESS_MAX];
};
_Static_assert(offsetof(struct lks_load_entry, words) + sizeof(lks_access) <= 64,
               "what a command of one key needs");

struct lks_load;

/* Ends the process where there is no memory: a benchmark has no other way. */
struct lks_load *lks_load_new(const struct lks_load_options *options);
void lks_load_free(struct lks_load *load);

const struct lks_load_options *lks_load_options_of(const struct lks_load *load);
static inline uint32_t lks_load_mask(const struct lks_load_options *options)
{
    return options->log_entries - 1;
}
const struct lks_load_entry *lks_load_log(const struct lks_load *load);

/* The callback of a scheduler; ctx is the load. worker <= LKS_WORKERS_MAX. */
void lks_load_execute(void *ctx, uint32_t worker, uint64_t command);

/* What a command burns, without touching anything: for the floor. */
uint64_t lks_load_burn(const struct lks_load *load, uint64_t command);

/* Before a run, and after one: what state and replies come to. */
void lks_load_reset(struct lks_load *load);
uint64_t lks_load_digest(const struct lks_load *load);

#endif
