/*
 * One run: a cluster of replicas in one world, decided by one seed. Faults for a while, then
 * healing, then everything must work again and all checkers agree. The same seed, profile and
 * number of replicas give the same run, event by event. One run at a time; one thread.
 */
#ifndef LKS_SIM_CLUSTER_H
#define LKS_SIM_CLUSTER_H

#include "base/error.h"
#include "sim/checkers/bounds.h"
#include "sim/checkers/verdict.h"
#include "sim/profile.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A run, or a part of one: what minimising leaves out changes nothing else that is drawn. */
struct lks_sim_run_options {
    uint64_t seed;
    uint32_t replicas;
    const char *profile;
    uint64_t run_ns_max;   /* faults and commands for this long at most; 0: as the profile says */
    uint32_t commands_max; /* 0: as the profile says */
    const uint8_t *left_out; /* by number of the fault, from 1; NULL: none is left out */
    uint32_t left_out_count; /* faults beyond it take place */
    bool verbose;          /* prints all events to standard error as they happen */
    bool watch;            /* applied entries are checked again every millisecond: the same run,
                              slower, and what went wrong is seen when it did */
    bool tell;             /* the report is made of sentences */
    FILE *report;          /* on a violation: the newest events go here; NULL: nowhere */
    uint32_t report_events_max;
};

struct lks_sim_run_result {
    struct lks_sim_verdict verdict;
    uint64_t trace_hash;
    uint64_t events;        /* in the trace */
    uint64_t virtual_ns;
    uint64_t faults;        /* drawn, also those that were left out */
    uint64_t faults_of[LKS_SIM_FAULTS]; /* by kind, without those that were left out */
    uint64_t terms;         /* that had a leader: elections that were won */
    uint64_t snapshots;     /* of partitions, taken */
    uint64_t installs;      /* of a peer's snapshots, that ended well */
    uint64_t committed;     /* entries */
    uint64_t checks;        /* comparisons that checkers made */
    uint64_t called;
    uint64_t answered;
    uint64_t refused;
    uint64_t unknown;
    uint64_t executed;
    uint64_t compared;      /* states of two replicas at one index */
    uint64_t writes_landed;
    uint64_t writes_refused;
    uint64_t writes_late;     /* landed between a revocation's effect and its completion */
    uint64_t writes_stray;    /* landed after their path or writer was gone */
    uint64_t writes_unfenced; /* landed after a revocation's completion: untrusted fence only */
    uint64_t undecided;     /* histories too big for the search; the log's order decides them */
    uint64_t held_most[LKS_SIM_BOUNDS]; /* by one replica at one time */
    uint64_t broken_ns;     /* virtual time of the violation since the start */
};

/* Runs. 0: the result is filled, whatever the verdict. -EINVAL: no such profile or number of
 * replicas. An assertion in the code under test is a verdict;
 * what that run had allocated is then lost. */
int lks_sim_run(const struct lks_sim_run_options *options, struct lks_sim_run_result *result,
                struct lks_error *err);

#endif
