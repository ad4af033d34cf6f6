/*
 * `lockstep bench permission`: what giving and taking write permission costs on an RDMA device,
 * step by step and by mechanism, as verbs/ibv/fence.c chooses among them by the driver. One thread.
 */
#ifndef LKS_BENCH_PERMISSION_H
#define LKS_BENCH_PERMISSION_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_permission_options {
    const char *address; /* numeric, of the RDMA device */
    uint64_t ring_bytes;
    uint32_t rounds;
    bool json;
};

/* Prints a table, or one JSON object as the last line. -ENOTSUP (a build without RDMA), those of
 * lks_raw_permission_new and _round; err says which part failed. */
int lks_bench_permission(const struct lks_bench_permission_options *options,
                         struct lks_error *err);

#endif
