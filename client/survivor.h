/*
 * Making a cluster out of what is left of one that lost its majority for good: one journal becomes
 * the only member's, under a new cluster id, so that nobody of the old cluster can ever meet it.
 * For `lockstep recover`; replicas must be stopped. Main thread.
 */
#ifndef LKS_CLIENT_SURVIVOR_H
#define LKS_CLIENT_SURVIVOR_H

#include "base/error.h"
#include "node/config.h"

#include <stdint.h>

/* What a survivor's journal holds. */
struct lks_survivor {
    uint32_t id;
    uint64_t last_index;
    uint64_t last_term;
    uint64_t members_number;
    uint32_t voters; /* the last members that it knows, as masks */
    uint32_t learners;
};

/* Looks into each journal of the mask and chooses the latest log; prints a line on each. -EBUSY: a
 * replica of this cluster runs on this machine; else as lks_journal_open. */
int lks_survivor_choose(struct lks_survivor *chosen, const struct lks_config *config,
                        uint32_t survivors, struct lks_error *err);

/* Makes it the only member of a cluster with a new id, in journal, snapshots and configuration; the
 * old configuration stays beside as <name>.old-<seconds>. What was done before a failure can be
 * done again. Errors: -LKS_ERINGFULL, -LKS_EDAMAGED, errno; err says the way out. */
int lks_survivor_found(const struct lks_survivor *survivor, const struct lks_config *config,
                       const char *path, struct lks_error *err);

#endif
