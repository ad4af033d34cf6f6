/*
 * When this replica last took the lead, step by step: where the time of a failover goes. Kept by
 * takeover.c, part of struct lks_replica; told by lks_replica_status. Replica's thread.
 */
#ifndef LKS_NODE_TAKEOVER_H
#define LKS_NODE_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>

/* Times of the clock of the replica's options. All of one leadership; 0: there was none yet. */
struct lks_takeover_status {
    uint64_t term;
    uint64_t suspected_ns; /* the leader before was taken for gone, or had asked to be followed */
    uint64_t fenced_ns;    /* pre-vote won, own ring fenced, its whole tail durable */
    uint64_t granted_ns;   /* a majority had granted */
    uint64_t adopted_ns;   /* its latest log was here, durable */
    uint64_t committed_ns; /* the term's first entry had committed */
};

struct lks_takeover {
    bool pending;                       /* suspected, and not led since */
    struct lks_takeover_status present; /* the attempt under way */
    struct lks_takeover_status last;    /* the last that ended well */
};

#endif
