/*
 * The members' part of chaos: one change at a time, between disturbances and in the middle of
 * them, by the command that administrators use. More replicas are added than the cluster began
 * with and become voters by themselves; any replica is removed, the leader too, ends by itself and
 * comes back with new files. Every wait is bounded. Main thread.
 */
#ifndef LKS_TESTS_INTEGRATION_CHAOS_MEMBERS_H
#define LKS_TESTS_INTEGRATION_CHAOS_MEMBERS_H

#include "tests/support/history_client.h"
#include "tests/support/process_cluster.h"

enum chaos_change {
    CHAOS_CHANGE_NONE,
    CHAOS_CHANGE_ADD,     /* the command runs */
    CHAOS_CHANGE_LEARNER, /* added and started; does not vote yet */
    CHAOS_CHANGE_REMOVE,  /* the command runs, or the replica has not ended yet */
};

struct chaos_members {
    bool on;
    struct lks_process_cluster *cluster;
    struct lks_history_run *run;
    uint64_t random;
    uint32_t voters;      /* bit n: replica n votes */
    uint32_t voters_next; /* after the change under way; else the same */
    uint32_t voters_min;
    enum chaos_change change;
    uint32_t id;   /* whom it is about */
    pid_t command; /* 0: none runs */
    uint32_t had_files; /* bit n: replica n was a member before */
    uint32_t added;
    uint32_t removed;
    uint32_t leaders_removed;
    uint32_t disturbed; /* changes whose command or learner met a disturbance */
};

/* After the cluster was made and before its clients start: they go to `extra` more replicas too,
 * none of which is a member. extra 0: the members stay what they are. */
void chaos_members_init(struct chaos_members *members, struct lks_process_cluster *cluster,
                        struct lks_history_run *run, uint64_t seed, uint32_t extra);

/* Before a disturbance: begins a change if none is under way; half of the time it is done when
 * this returns, else the disturbance meets it. -1: printed. */
int chaos_members_before(struct chaos_members *members);

/* After a disturbance, when all members serve: ends what was begun. A learner may be left to the
 * next disturbance unless `all`. -1: after 30 s, or it went wrong: printed. */
int chaos_members_after(struct chaos_members *members, bool all);

/* Starts the replica that the change is about if it may be needed for a majority. */
int chaos_members_start_needed(struct chaos_members *members, uint32_t left_out);

/* Whether a majority is left without those (bit n: replica n), before and after the change. */
bool chaos_members_majority_left(const struct chaos_members *members, uint32_t down);

/* From now on the replica's clients may see errors. */
void chaos_members_disturb(struct chaos_members *members, uint32_t replica);

/* At the end: every member says the same voters, the expected ones. -1: printed. */
int chaos_members_check(const struct chaos_members *members);

#endif
