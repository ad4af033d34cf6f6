/*
 * A simulated replica's slow medium: ranges of its journal and of its snapshot area become durable
 * some time after they were posted, and the replica is told some time after that. Virtual time's
 * thread.
 */
#ifndef LKS_SIM_SLOW_MEDIUM_H
#define LKS_SIM_SLOW_MEDIUM_H

#include "node/replica.h"
#include "sim/area.h"
#include "sim/random.h"
#include "sim/storage.h"
#include "sim/timeline.h"

#define LKS_SIM_SLOW_RANGES_MAX 8u

/* A range on its way. */
struct lks_sim_slow_range {
    struct lks_sim_slow_medium *medium;
    bool used;
    bool snapshots; /* of the snapshot area, not of the journal */
    bool durable; /* the first half is over: bytes are on the medium, the replica not told */
    uint64_t life;
    uint64_t from;
    uint64_t to;
    uint64_t id;
    int status;
};

/* The owner fills what stands above `life` once; all of it outlives the medium. */
struct lks_sim_slow_medium {
    struct lks_sim_timeline *timeline;
    struct lks_sim_random *random;     /* delays are drawn from it */
    const struct lks_sim_delay *delay; /* half of the way of a range */
    struct lks_sim_storage *storage;
    struct lks_sim_area *area;            /* NULL: no snapshots */
    struct lks_replica *const *replica;   /* that is told */
    void (*told)(void *ctx);              /* the replica was told */
    void *ctx;
    uint64_t life;
    struct lks_sim_slow_range ranges[LKS_SIM_SLOW_RANGES_MAX];
};

/* The replica starts for the life'th time, over this medium. */
void lks_sim_slow_medium_begin(struct lks_sim_slow_medium *medium, uint64_t life);
/* It has ended: what is on its way is not told, and what was not durable does not become so. */
void lks_sim_slow_medium_end(struct lks_sim_slow_medium *medium);

/* What the replica posts to. Valid as long as the medium. */
struct lks_persister lks_sim_slow_medium_of_journal(struct lks_sim_slow_medium *medium);
struct lks_persister lks_sim_slow_medium_of_snapshots(struct lks_sim_slow_medium *medium);

#endif
