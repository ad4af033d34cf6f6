/*
 * Exhaustive crash points: a scripted workload runs once, and before every store, write-back and
 * fence of every replica, and after every step in which the network stored something or a client
 * was answered, the whole simulated world is forked. In the copy the power goes, for that replica
 * alone or for more; of the lines that were not certain each subset survives in turn; everything
 * starts again, must work again, and all checkers look. One thread; it forks.
 */
#ifndef LKS_SIM_CRASH_POINTS_H
#define LKS_SIM_CRASH_POINTS_H

#include "base/error.h"
#include "sim/crash_world.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LKS_SIM_SUBSET_LINES_MAX 6u /* all subsets of so many lines; of more, of the newest ones */
#define LKS_SIM_SUBSET_LINES_MANY 24u /* of more than so many lines, of half as many of them */

struct lks_sim_crash_options {
    uint32_t replicas;
    uint64_t seed;
    uint32_t every;        /* of the cases, one in so many is run; 1: all */
    bool from_start;       /* also while the cluster starts */
    FILE *report;          /* the violations, with the end of the trace; NULL: nowhere */
    uint32_t report_events_max;
    uint32_t violations_max; /* after so many the script is given up */
    const volatile sig_atomic_t *stop; /* nonzero: give up now; NULL: never */
};

struct lks_sim_crash_sums {
    uint64_t scripts;
    uint64_t stores;      /* accesses before which the power was cut */
    uint64_t write_backs;
    uint64_t fences;
    uint64_t remote;      /* steps after which it was cut: network's stores and flushes, answers */
    uint64_t points;      /* all of these together */
    uint64_t subsets;     /* that were to be tried */
    uint64_t same;        /* of them: led to a world that was tried already */
    uint64_t skipped;     /* of them: left out by `every` */
    uint64_t runs;
    uint64_t runs_twice;  /* of them: with a second cut while recovering */
    uint64_t points_partial; /* more than LKS_SIM_SUBSET_LINES_MAX lines: not all subsets */
    uint64_t lines_max;   /* uncertain lines at one point */
    uint64_t snapshots;   /* of partitions, taken while the power was cut at every step */
    uint64_t installs;    /* of a peer's snapshots, likewise */
    uint64_t violations;
    uint64_t real_us;     /* time it took */
    uint64_t own_us;      /* of a processor: the scripts themselves, up to each point */
    uint64_t runs_us;     /* of a processor: the runs after the cuts */
};

void lks_sim_crash_sums_add(struct lks_sim_crash_sums *sums,
                            const struct lks_sim_crash_sums *added);

/* Runs one script and adds to sums. Errors: errno of fork, and of making the journals. */
int lks_sim_crash_points(const struct lks_sim_crash_options *options,
                         const struct lks_sim_script *script, struct lks_sim_crash_sums *sums,
                         struct lks_error *err);

#endif
