/*
 * What every backend of clients' lanes (verbs/lane.h) has to do, as tests over a world that the
 * backend's own test makes: lanes of one replica, and clients in this process that attach to them.
 */
#ifndef LKS_TESTS_LANES_SUITE_H
#define LKS_TESTS_LANES_SUITE_H

#include "verbs/lane.h"

#define LANES_AREA_BYTES (UINT64_C(16) << 10)
#define LANES_REPLICA 2u
#define LANES_ATTACH_NS UINT64_C(20000000000)

struct lanes_backend {
    void *(*world_new)(void);
    void (*world_free)(void *world); /* after the lanes */
    int (*lanes_new)(void *world, struct lks_lanes **lanes, struct lks_error *err);
    /* Blocks; on a thread of its own, while the replica's end is polled. */
    int (*attach)(void *world, struct lks_lane **lane);
};

int lanes_suite(const struct lanes_backend *backend);

#endif
