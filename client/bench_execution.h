/*
 * `lockstep bench execution`: what workers gain in whole replicas. Two clusters of replica
 * processes, one without workers and one whose scheduler is changed while it runs; the same load to
 * both in turns. Blocking, main thread.
 */
#ifndef LKS_CLIENT_BENCH_EXECUTION_H
#define LKS_CLIENT_BENCH_EXECUTION_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_execution_options {
    uint32_t replicas;
    uint32_t workers;    /* of each replica */
    uint32_t rounds;     /* of all loads and schedulers */
    uint32_t stretch_ms; /* of one measurement */
    const char *load;    /* only this one; NULL: all */
    const char *scheduler; /* only this one, by name; NULL: all */
    uint32_t keys;
    uint16_t port; /* the clusters' first ones are this, and 10 above */
    const char *directory; /* where the clusters' folders are made, and removed again */
    bool json;
};

int lks_bench_execution(const struct lks_bench_execution_options *options, struct lks_error *err);

#endif
