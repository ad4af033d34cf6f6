/*
 * `lockstep bench endurance`: a load without end through a small ring, shortened: whole lengths of
 * the ring are written again and again while snapshots recycle it. Shows that memory stays flat
 * and what the snapshots do to latency. Real processes; main thread.
 */
#ifndef LKS_CLIENT_BENCH_ENDURANCE_H
#define LKS_CLIENT_BENCH_ENDURANCE_H

#include "base/error.h"
#include "node/replica.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_endurance_options {
    uint32_t replicas;
    uint64_t ring_bytes;
    uint32_t laps;        /* lengths of the ring to write */
    uint32_t keys;        /* distinct ones: they bound the state */
    uint32_t value_bytes;
    uint32_t pipelined;   /* commands in flight of each of the load's connections, one a replica */
    uint32_t rate;        /* commands a second of all of them together; 0: as fast as they go */
    uint16_t port;
    const char *directory;
    bool json;
};

/* Runs and prints. Errors: errno, with err; the cluster's folder stays then. */
int lks_bench_endurance(const struct lks_bench_endurance_options *options, struct lks_error *err);

#endif
