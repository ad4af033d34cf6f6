/*
 * Many runs: a range of seeds, or seeds for a time, or those of a list; in one process or several.
 * Which profile and how many replicas a seed gets is decided by the seed unless it is said. The
 * calling thread; the worker processes are gone when the campaign returns.
 */
#ifndef LKS_SIM_CAMPAIGN_H
#define LKS_SIM_CAMPAIGN_H

#include "base/error.h"
#include "sim/cluster.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* One run to be made. */
struct lks_sim_task {
    uint64_t seed;
    uint32_t replicas;
    const char *profile;
    uint32_t commands_max; /* as in struct lks_sim_run_options */
    uint64_t run_ns_max;   /* likewise */
};

struct lks_sim_campaign {
    uint64_t first_seed;
    uint64_t last_seed;   /* included */
    uint32_t replicas;    /* 0: by the seed */
    const char *profile;  /* NULL: by the seed, those that are to be trusted by their shares */
    const struct lks_sim_task *tasks; /* instead of seeds; NULL: none */
    uint64_t tasks_count;
    uint32_t commands_max; /* as in struct lks_sim_run_options */
    uint64_t run_ns_max;   /* likewise */
    uint32_t jobs;        /* processes; 1: the calling one alone */
    uint64_t for_ns;      /* ends after this time; 0: when all is done */
    bool keep_going;      /* not only up to the first violation */
    bool verbose;
    bool hashes;          /* prints one line for each run */
    bool progress;        /* draws a bar on standard error */
    const volatile sig_atomic_t *interrupted; /* set: no further run is begun */
};

/* The task of a seed. */
void lks_sim_campaign_task(const struct lks_sim_campaign *campaign, uint64_t seed,
                           struct lks_sim_task *task);

/* What all runs have come to. */
struct lks_sim_sums {
    uint64_t runs;
    uint64_t violations;
    uint64_t hash; /* over (seed, trace) of all runs, in any order */
    uint64_t elapsed_ns;
    uint64_t processor_ns; /* of all processes together */
    struct lks_sim_run_result all; /* every count summed up */
    struct lks_sim_task first;      /* of the violations, the one with the least seed */
    struct lks_sim_verdict verdict; /* ... and what it was */
};

/* Runs. 0; negative: a run could not be made, err says why. A process that ends by a signal in the
 * middle of a run is a violation. */
int lks_sim_campaign_run(const struct lks_sim_campaign *campaign, struct lks_sim_sums *sums,
                         struct lks_error *err);

#endif
