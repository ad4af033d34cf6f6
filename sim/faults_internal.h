/*
 * What the files of the faults share: processes, media and clocks (faults.c), links and
 * connections (link_faults.c). One thread.
 */
#ifndef LKS_SIM_FAULTS_INTERNAL_H
#define LKS_SIM_FAULTS_INTERNAL_H

#include "sim/faults.h"

/* A direction of a link that a fault has changed, until its time is over. */
struct lks_sim_changed_link {
    struct lks_sim_faults *faults;
    uint32_t from;
    uint32_t to;
    uint64_t generation;
};

/* What is still to happen to a replica that is being started. */
struct lks_sim_restarts {
    uint32_t left;
    bool by_power;
};

struct lks_sim_faults {
    struct lks_sim_faults_options options;
    struct lks_sim_random base;   /* parent of each fault's stream */
    struct lks_sim_random random; /* of the newest fault */
    struct lks_sim_changed_link links[LKS_REPLICAS_MAX + 1][LKS_REPLICAS_MAX + 1];
    struct lks_sim_restarts restarts[LKS_REPLICAS_MAX + 1];
    uint64_t laters; /* streams of what happens after a fault */
    uint64_t count;
    uint64_t counts[LKS_SIM_FAULTS]; /* by kind: those that happened */
    bool healed;
    uint32_t used; /* replicas that have ever been asked to join, as a mask */
};

/* As `lockstep init --rejoin` makes it: journal and snapshots are gone. */
void lks_sim_fault_make_anew(struct lks_sim_faults *faults, uint32_t replica);
/* Down: it will be started after a while. */
void lks_sim_fault_start_later(struct lks_sim_faults *faults, uint32_t replica);

/* Down: it is started at once. */
void lks_sim_fault_start_now(struct lks_sim_faults *faults, uint32_t replica);

/* True if a minority at most of the voters may have forgotten once this one is none any more. */
bool lks_sim_fault_may_shrink(struct lks_sim_faults *faults, uint32_t replica);

/* True if a minority at most may have forgotten even after this one does. */
bool lks_sim_fault_may_forget(struct lks_sim_faults *faults, uint32_t replica);
/* The host loses power, and starts again later if it was up. False: too many might forget. */
bool lks_sim_fault_cut_power(struct lks_sim_faults *faults, uint32_t replica);

/* The snapshot area of a replica cannot be made durable. */
static inline bool lks_sim_media_area_fails(const struct lks_sim_faults *faults, uint32_t replica)
{
    return lks_sim_storage_area_fails(
               lks_sim_process_storage(faults->options.processes[replica])) != 0;
}

/* media_faults.c: the reason that a medium gives, and the faults of its kinds. False: not now. */
int lks_sim_media_reason(struct lks_sim_random *random);
bool lks_sim_media_fail_area(struct lks_sim_faults *faults, uint32_t replica);
bool lks_sim_media_rot_journal(struct lks_sim_faults *faults, uint32_t replica);
bool lks_sim_media_rot_area(struct lks_sim_faults *faults, uint32_t replica);
bool lks_sim_media_rot_log(struct lks_sim_faults *faults, uint32_t replica);
bool lks_sim_media_flip(struct lks_sim_faults *faults, uint32_t replica);

/* operator.c: an operator's steps at the files. False: not now. */
bool lks_sim_operator_looks(struct lks_sim_faults *faults, uint32_t replica);
bool lks_sim_operator_ages(struct lks_sim_faults *faults, uint32_t replica);
/* Everybody is lost but the member with the latest log: a new cluster begins with that one alone,
 * whom the others may join anew. */
bool lks_sim_operator_recovers(struct lks_sim_faults *faults);

/* Asks the leader for a change that concerns the replica. False: refused, or nobody to ask. */
bool lks_sim_member_fault(struct lks_sim_faults *faults, uint32_t replica);

/* The time at which the newest fault ends. */
uint64_t lks_sim_fault_end(struct lks_sim_faults *faults);

/* Does a fault of links or connections to replica, or to any. False: there was nothing to do. */
bool lks_sim_link_fault(struct lks_sim_faults *faults, enum lks_sim_fault fault,
                        uint32_t replica);
/* All links are as they should be. */
void lks_sim_link_faults_heal(struct lks_sim_faults *faults);

#endif
