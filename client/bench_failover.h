/*
 * `lockstep bench failover`: a cluster of replica processes, whose leader is killed or stopped
 * again and again; the time from the signal to the first write acknowledged by another replica.
 * Blocking, main thread.
 */
#ifndef LKS_CLIENT_BENCH_FAILOVER_H
#define LKS_CLIENT_BENCH_FAILOVER_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_failover_options {
    uint32_t replicas;
    uint32_t rounds;
    uint16_t port;
    bool stop; /* SIGSTOP (and SIGCONT after the measurement) instead of SIGKILL */
    const char *directory; /* where the cluster's folder is made, and removed again */
    uint64_t ring_bytes;          /* 0: the default, and so below */
    uint64_t election_timeout_ns;
    bool rdma;                    /* the fabric is RDMA, over the device of: */
    const char *address;          /* numeric; NULL: this machine's first */
    bool json;
};

int lks_bench_failover(const struct lks_bench_failover_options *options, struct lks_error *err);

#endif
