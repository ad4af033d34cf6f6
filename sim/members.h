/*
 * What the replicas of a run say of the cluster's members, seen from outside: which changes there
 * were, and which of them have committed. A checker (committed members agree; nobody ends as
 * removed who is a member), and what faults go by. One thread.
 */
#ifndef LKS_SIM_MEMBERS_H
#define LKS_SIM_MEMBERS_H

#include "consensus/types.h"
#include "sim/checkers/verdict.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_MEMBERS_MAX 1024u /* changes in one run */

struct lks_sim_members {
    struct lks_sim_verdict *verdict;
    uint64_t committed; /* highest number known to be committed */
    uint64_t last;      /* highest number seen */
    uint64_t changes;   /* that have committed */
    struct {
        uint8_t voters;     /* of any that were proposed under this number */
        uint8_t learners;
        uint8_t voters_least; /* how many, of the smallest of those */
        bool is_committed;
        uint8_t committed_voters;
        uint8_t committed_learners;
    } at[LKS_SIM_MEMBERS_MAX];
};

/* The cluster begins with these voters. */
void lks_sim_members_init(struct lks_sim_members *members, struct lks_sim_verdict *verdict,
                          uint32_t voters);

/* A replica has these in force. */
void lks_sim_members_seen(struct lks_sim_members *members, const struct lks_members *seen,
                          bool committed);

/* A new cluster begins: by the members of that number `voter` is the only one. What was proposed
 * before, and has not committed, is gone. */
void lks_sim_members_founded(struct lks_sim_members *members, uint64_t number, uint32_t voter);

/* Who is a member as far as anybody knows: under the last committed ones and all that followed. */
uint32_t lks_sim_members_named(const struct lks_sim_members *members);
/* Likewise the voters; *least: how many there are at least. */
uint32_t lks_sim_members_voters(const struct lks_sim_members *members, uint32_t *least);
/* Members for certain: under the last committed ones. */
uint32_t lks_sim_members_certain(const struct lks_sim_members *members);

/* A replica ended, saying that it was removed. */
void lks_sim_members_removed(struct lks_sim_members *members, uint32_t replica);

#endif
