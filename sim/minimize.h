/*
 * Makes a run that breaks an invariant as short as it can: fewer commands of clients, fewer
 * faults, less time, as long as the same invariant breaks. Each attempt is a run in a process of
 * its own, so that one that ends by a signal is seen and one that was abandoned leaves nothing.
 */
#ifndef LKS_SIM_MINIMIZE_H
#define LKS_SIM_MINIMIZE_H

#include "base/error.h"
#include "sim/campaign.h"
#include "sim/cluster.h"

#include <stdint.h>
#include <stdio.h>

#define LKS_SIM_MINIMIZE_FAULTS_MAX 4096u

/* What is left of a run. */
struct lks_sim_minimum {
    struct lks_sim_task task;
    uint32_t commands_max; /* 0: all */
    uint64_t run_ns_max;   /* 0: all */
    uint8_t left_out[LKS_SIM_MINIMIZE_FAULTS_MAX]; /* by number of the fault, from 1 */
    uint32_t left_out_count;
    uint32_t attempts;     /* runs made */
    struct lks_sim_run_result result; /* of the shortest one */
};

/*
 * task is a run that breaks an invariant. Makes at most attempts_max runs. 0; -ENOENT: the task
 * breaks nothing (now); other negative: no process could be made, err says why.
 */
int lks_sim_minimize(const struct lks_sim_task *task, uint32_t attempts_max,
                     struct lks_sim_minimum *minimum, struct lks_error *err);

/* Runs what is left once more and prints it, one line an event, and the options that repeat it. */
int lks_sim_minimum_print(const struct lks_sim_minimum *minimum, FILE *out,
                          struct lks_error *err);

/* The faults that are left, as --faults takes them: "none", "all" or "3,7-9". */
void lks_sim_minimum_faults(const struct lks_sim_minimum *minimum, char *text, size_t bytes);

#endif
