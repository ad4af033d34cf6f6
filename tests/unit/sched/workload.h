/*
 * Random commands over a few keys, their execution, and the comparison with executing them one by
 * one. The state is plain memory: under the thread sanitizer every pair of conflicting commands
 * that is not ordered is a report; without it, guards beside each key see commands that overlap.
 */
#ifndef LKS_TESTS_UNIT_SCHED_WORKLOAD_H
#define LKS_TESTS_UNIT_SCHED_WORKLOAD_H

#include "sched/scheduler.h"

#include <stdatomic.h>
#include <stddef.h>

struct workload_options {
    uint64_t seed;
    uint32_t commands;
    uint32_t keys;           /* of the state */
    uint32_t accesses_max;   /* of one command; 0 is drawn as well now and then */
    uint32_t write_percent;
    uint32_t all_permille;   /* commands that conflict with all */
    uint32_t hot_percent;    /* accesses to key 0 */
    bool by_class;           /* identities are the classes themselves: few, and no hash */
    uint32_t burn_ns_max;    /* some commands take that long */
    uint32_t stall_permille; /* commands that give the processor away in their middle */
};

struct command {
    uint32_t count; /* or LKS_ACCESS_ALL */
    uint32_t burn_ns;
    bool stall;
    lks_access words[LKS_ACCESS_MAX];
    uint32_t keys[LKS_ACCESS_MAX];
};

struct workload {
    struct workload_options options;
    struct command *commands;
    uint64_t *state;           /* [keys] */
    uint64_t *replies;         /* [commands] */
    uint64_t *state_wanted;
    uint64_t *replies_wanted;
    _Atomic int32_t *guards;   /* [keys]: readers inside, or -1 */
    _Atomic uint32_t overlaps; /* conflicting commands that were inside together */
    _Atomic bool *finished;    /* [commands] */
    _Atomic uint32_t executed;
    uint32_t in_place; /* of these: by the dispatcher, without being submitted */
};

/* The next number of a sequence that a seed begins. */
uint64_t workload_random(uint64_t *seed);
/* From seed to seed everything is different: sizes, shares, how long commands take. */
struct workload_options workload_draw(uint64_t seed);

void workload_init(struct workload *workload, const struct workload_options *options);
void workload_fini(struct workload *workload);

/* The callback of struct lks_scheduler_options: ctx is the workload, command the number of one. */
void workload_execute(void *ctx, uint32_t worker, uint64_t command);

/* Submits all of it on this thread, waiting where there is no room; where it may, it executes most
 * commands itself instead. `between` (may be NULL) is called before each. Returns when all is
 * executed. */
void workload_run(struct workload *workload, struct lks_scheduler *scheduler,
                  void (*between)(void *ctx, struct lks_scheduler *scheduler, uint32_t command),
                  void *ctx);

/* NULL if the commands of all tickets up to this one are executed; else what is not. */
const char *workload_not_executed(const struct workload *workload, uint64_t ticket);

/* NULL if state and replies are those of sequential execution and nothing overlapped; else what is
 * not, in static memory. */
const char *workload_difference(const struct workload *workload);

#endif
