/*
 * One measurement: a scheduler or a rival, and sequential execution, in turns on the same load. The
 * machine may be busy with other things, so each pair is compared by itself, and medians are told.
 */
#ifndef LKS_BENCH_SCHED_MEASURE_H
#define LKS_BENCH_SCHED_MEASURE_H

#include "bench/sched/load.h"

#define LKS_MEASURE_REPEATS_MAX 64u

struct lks_contestant {
    const char *name;
    const char *origin; /* "ours", "re-creation", "library", "compiler", "floor" */
    /* One of ours, or a rival's function. */
    enum lks_scheduler_kind kind;
    void (*rival)(struct lks_load *load, uint32_t workers);
};

/* All of them; NULL name ends it. */
extern const struct lks_contestant lks_contestants[];

struct lks_measure_options {
    const struct lks_contestant *contestant;
    uint32_t workers;
    uint32_t lanes;
    uint32_t window;
    uint32_t repeats; /* pairs, 1..MAX */
    bool help;
    bool no_steal;
    bool pin;
    bool in_turns; /* one thread is dispatcher and workers in turns; ours only */
};

struct lks_measurement {
    double sequential_ns; /* wall time a command, one by one, without any scheduler */
    double ns_per_command; /* wall time */
    double cpu_ns_per_command; /* processor time, all threads */
    double best_ns;       /* the shortest wall time of a run: what others disturbed least */
    double overhead_best_ns; /* least processor time of all runs, less the least sequential one */
    double overhead_ns;   /* processor time of a pair's run less that of its sequential one */
    double wall_overhead_ns; /* wall time x cores used, less the sequential wall time */
    double wall_overhead_best_ns; /* the same of the shortest run of each */
    double speedup;       /* median of the pairs' ratios */
    bool equal;           /* state and replies, in every run */
    uint64_t stolen;      /* in the last run */
    uint64_t dependent;
};

/* Runs 1 warm-up pair, then the repeats. Ends the process if a scheduler cannot be made. */
void lks_measure(struct lks_load *load, const struct lks_measure_options *options,
                 struct lks_measurement *measurement);

#endif
