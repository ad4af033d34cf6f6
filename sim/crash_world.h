/*
 * A small cluster that lives through a scripted workload: up to three operations of one client and
 * one change of leader, in a quiet and quick world. It can be stopped anywhere, its power cut, and
 * is then driven on until everything works again and all checkers have looked. Driven by
 * crash_points.c. One thread; one world at a time.
 */
#ifndef LKS_SIM_CRASH_WORLD_H
#define LKS_SIM_CRASH_WORLD_H

#include "node/replica.h"
#include "sim/cluster_internal.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_SCRIPT_OPERATIONS_MAX 3u

enum lks_sim_script_operation {
    LKS_SIM_SCRIPT_WRITE, /* of one key: the second one overwrites the first */
    LKS_SIM_SCRIPT_COUNT, /* an increment: done twice it would show */
    LKS_SIM_SCRIPT_READ,  /* of the key that is written */
    LKS_SIM_SCRIPT_FILL,  /* a write of a long value to any key: only with snapshots */
    LKS_SIM_SCRIPT_OPERATIONS
};

/* How the leader changes. */
enum lks_sim_script_change {
    LKS_SIM_SCRIPT_NO_CHANGE,
    LKS_SIM_SCRIPT_CRASH,   /* its process ends, and starts again some time later */
    LKS_SIM_SCRIPT_PAUSE,   /* it stands still, and wakes up some time later */
    LKS_SIM_SCRIPT_TRANSFER, /* it is stopped in order, and starts again */
    LKS_SIM_SCRIPT_CHANGES
};

/* What lies beside the journals. */
enum lks_sim_script_area {
    LKS_SIM_SCRIPT_NO_AREA,
    LKS_SIM_SCRIPT_SNAPSHOTS, /* areas; the log is so long already that each share of it is a reason
                                 for a snapshot, and the base moves with every few of them */
    LKS_SIM_SCRIPT_INSTALL,   /* as well, and one follower was away for so long that it has to
                                 install another's snapshots: it comes back as the script begins */
    LKS_SIM_SCRIPT_AREAS
};

struct lks_sim_script {
    enum lks_sim_script_area area;
    uint32_t operations_count;
    enum lks_sim_script_operation operations[LKS_SIM_SCRIPT_OPERATIONS_MAX];
    enum lks_sim_script_change change;
    uint32_t change_at; /* before operation number change_at, from 0 */
    bool around;        /* ... but with that operation under way */
    enum lks_durability durability;
};

/* "ack:write,count/crash@1": durability, operations, change and the operation it comes before; with
 * ~ instead of @, with that operation under way. "ack+snapshots:fill/none": with an area. */
void lks_sim_script_print(const struct lks_sim_script *script, char *text, size_t bytes);

/* Script number `place` of all there are, shortest first; false behind the last. */
bool lks_sim_script_at(uint32_t place, struct lks_sim_script *script);

struct lks_sim_world;

struct lks_sim_world_options {
    const struct lks_sim_script *script; /* outlives the world */
    uint32_t replicas;
    uint64_t seed;
};

/* Errors: errno of the journals. Nothing has run yet. */
int lks_sim_world_new(struct lks_sim_world **world, const struct lks_sim_world_options *options,
                      struct lks_error *err);
void lks_sim_world_free(struct lks_sim_world *world);

/* The cluster has established a leader, and its log is as long as the script wants it. */
bool lks_sim_world_started(const struct lks_sim_world *world);

/* Runs one action. False: the script has ended and everything works, or the verdict is broken. */
bool lks_sim_world_step(struct lks_sim_world *world);

/* What it is made of. */
struct lks_sim_cluster *lks_sim_world_cluster(struct lks_sim_world *world);

/* How many answers the client has got. */
uint64_t lks_sim_world_answers(const struct lks_sim_world *world);

/* The hosts of the replicas in the mask (bit r: replica r) lose power. What is uncertain in their
 * storages must have met its fate already. They start again, at times of their own. May be called
 * when a process was left in the middle of a call. */
void lks_sim_world_cut(struct lks_sim_world *world, uint32_t mask);

/* Everything heals; drives on until all replicas serve, two more operations are answered at each,
 * and the checkers have looked. The verdict is the cluster's. */
void lks_sim_world_recover(struct lks_sim_world *world);

#endif
