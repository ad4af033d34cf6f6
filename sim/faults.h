/*
 * What goes wrong in a run, and when: faults are drawn one after another, each for a time of its
 * own. Safety is tested with anything down at once; only what the durability mode does not claim
 * to survive is left out (more than a minority that may have forgotten). One thread.
 */
#ifndef LKS_SIM_FAULTS_H
#define LKS_SIM_FAULTS_H

#include "sim/members.h"
#include "sim/network.h"
#include "sim/process.h"
#include "sim/profile.h"

#include <stdint.h>

struct lks_sim_faults;

struct lks_sim_faults_options {
    uint32_t replicas;
    struct lks_sim_timeline *timeline;
    struct lks_sim_trace *trace;
    struct lks_sim_network *network;
    const struct lks_sim_random *random;           /* a stream is forked from it */
    const struct lks_sim_faults_profile *profile;  /* outlives the faults */
    struct lks_sim_process *const *processes;      /* by replica, from 1 */
    uint32_t used; /* replicas that are members at the beginning, as a mask */
    const struct lks_sim_members *members;         /* as the run shows them */
    /* A replica's process has ended by a fault. */
    void (*ended)(void *ctx, uint32_t replica);
    /* A replica's process was started again. */
    void (*started)(void *ctx, uint32_t replica);
    /* A new cluster begins with this replica alone, by members of that number. */
    void (*founded)(void *ctx, uint32_t replica, uint64_t number);
    /* A replica that believes it leads; 0: none. */
    uint32_t (*leader)(void *ctx);
    /* Fault `number` (1, 2, ... in the order of time) is left out; NULL: none is. The others stay
     * what and when they were: each is drawn from a stream of its own. */
    bool (*left_out)(void *ctx, uint64_t number);
    void *ctx;
};

struct lks_sim_faults *lks_sim_faults_new(const struct lks_sim_faults_options *options);
void lks_sim_faults_free(struct lks_sim_faults *faults);

/* A process ended in order, as a fault had asked it to: it will be started again. */
void lks_sim_faults_stopped(struct lks_sim_faults *faults, uint32_t replica);

/* No more faults; everything is up and connected again, but for snapshot areas that fail on if the
 * profile says so: _mend_areas ends that too. */
void lks_sim_faults_heal(struct lks_sim_faults *faults);
void lks_sim_faults_mend_areas(struct lks_sim_faults *faults);

/* Faults that were drawn, also those that were left out. */
uint64_t lks_sim_faults_count(const struct lks_sim_faults *faults);
/* Those that were drawn and not left out, by kind. */
uint64_t lks_sim_faults_of(const struct lks_sim_faults *faults, enum lks_sim_fault fault);

/* "crash", "power cut", ...: one or two words for people. */
const char *lks_sim_fault_name(enum lks_sim_fault fault);

#endif
