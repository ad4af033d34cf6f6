/*
 * `lockstep bench recovery`: a cluster of real processes is filled, killed as a whole and started
 * again. Measured from the start: until a command is served, until every replica serves all that it
 * has; beside it the floor, reading the same files once. Main thread.
 */
#ifndef LKS_CLIENT_BENCH_RECOVERY_H
#define LKS_CLIENT_BENCH_RECOVERY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_recovery_options {
    uint32_t replicas;
    uint64_t state_bytes;  /* of keys and values */
    uint32_t value_bytes;
    uint64_t ring_bytes;
    uint16_t port;
    const char *directory; /* where the cluster's folder is made, and removed again */
    bool json;
};

/* Prints a table, or one JSON object as the last line. Errors: err says which part failed; the
 * cluster's folder then stays. */
int lks_bench_recovery(const struct lks_bench_recovery_options *options, struct lks_error *err);

#endif
