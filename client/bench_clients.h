/*
 * `lockstep bench client`: a cluster of replica processes on this machine, and one client of its
 * leader in a closed loop: over TCP, then over the fabric, with one call and with several
 * outstanding, in one run. Blocking, main thread.
 */
#ifndef LKS_CLIENT_BENCH_CLIENTS_H
#define LKS_CLIENT_BENCH_CLIENTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_clients_options {
    uint32_t replicas;
    uint32_t value_bytes;
    uint32_t samples;     /* of each loop */
    uint32_t outstanding; /* of the second pair of loops, at most 64 */
    uint32_t spin_us;     /* the fabric's client looks so long before it sleeps */
    uint16_t port;
    uint64_t election_timeout_ns; /* 0: that of a new cluster */
    const char *directory; /* where the cluster's folder is made, and removed again */
    bool rdma;            /* the fabric is RDMA, over the device of: */
    const char *address;  /* numeric; NULL: this machine's first device */
    bool json;
};

int lks_bench_clients(const struct lks_bench_clients_options *options, struct lks_error *err);

#endif
