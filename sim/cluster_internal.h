/*
 * A run's parts, shared by cluster.c (making, running, ending it) and observe.c (what its parts
 * tell the checkers).
 */
#ifndef LKS_SIM_CLUSTER_INTERNAL_H
#define LKS_SIM_CLUSTER_INTERNAL_H

#include "sim/checkers/bounds.h"
#include "sim/checkers/commands.h"
#include "sim/checkers/history.h"
#include "sim/checkers/leaders.h"
#include "sim/checkers/prefix.h"
#include "sim/checkers/progress.h"
#include "sim/checkers/states.h"
#include "sim/checkers/writers.h"
#include "sim/clients.h"
#include "sim/cluster.h"
#include "sim/faults.h"
#include "sim/members.h"
#include "sim/network.h"
#include "sim/process.h"
#include "sim/profile.h"
#include "sim/trace.h"

struct lks_sim_cluster {
    struct lks_sim_run_options options;
    struct lks_sim_profile profile;
    struct lks_sim_verdict verdict;
    bool abandoned; /* an assertion has ended the run inside a step */
    struct lks_sim_random random;
    struct lks_sim_timeline *timeline;
    struct lks_sim_trace *trace;
    struct lks_sim_network *network;
    struct lks_sim_process *processes[LKS_REPLICAS_MAX + 1];
    struct lks_sim_clients *clients;
    struct lks_sim_faults *faults;

    /* what was last seen of each replica */
    uint64_t applied_index[LKS_REPLICAS_MAX + 1];
    uint64_t ahead_offset[LKS_REPLICAS_MAX + 1]; /* its base lies below it, but for installations;
                                                    UINT64_MAX: it is still reading its log */
    uint64_t installs;
    uint64_t leading_term[LKS_REPLICAS_MAX + 1]; /* 0: does not lead */
    uint64_t watched_ns; /* when applied entries were last checked again */
    enum lks_role role[LKS_REPLICAS_MAX + 1];
    uint64_t commit_offset[LKS_REPLICAS_MAX + 1];

    uint32_t first_voters; /* the members at the beginning, as a mask */
    struct lks_sim_members members;
    struct lks_sim_writers writers;
    struct lks_sim_leaders leaders;
    struct lks_sim_commands commands;
    struct lks_sim_prefix prefix;
    struct lks_sim_states states;
    struct lks_sim_bounds bounds;
    struct lks_sim_progress progress;
    struct lks_sim_history history;
};

/* What still keeps the cluster from being well; "" for nothing. */
void lks_sim_cluster_missing(struct lks_sim_cluster *cluster, char *text, size_t bytes);
/* All checks that look at a whole run. */
void lks_sim_cluster_check_end(struct lks_sim_cluster *cluster);

/* The observers of a cluster's parts. */
void lks_sim_observe_network(struct lks_sim_cluster *cluster,
                             struct lks_sim_network_observer *observer);
void lks_sim_observe_process(struct lks_sim_cluster *cluster,
                             struct lks_sim_process_observer *observer);
void lks_sim_observe_faults(struct lks_sim_cluster *cluster,
                            struct lks_sim_faults_options *options);
void lks_sim_observe_clients(struct lks_sim_cluster *cluster,
                             struct lks_sim_clients_options *options);

/* A process was started: its whole prefix is checked again. */
void lks_sim_observe_start(struct lks_sim_cluster *cluster, uint32_t replica);

#endif
