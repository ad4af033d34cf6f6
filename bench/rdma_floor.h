/*
 * The raw floor of replication over RDMA (bench/raw), for a benchmark of Lockstep: finds room for
 * the peers' memory on the media that the journals lie on, and says what fails. One thread.
 */
#ifndef LKS_BENCH_RDMA_FLOOR_H
#define LKS_BENCH_RDMA_FLOOR_H

#include "base/error.h"
#include "node/config.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_raw_write;

struct lks_rdma_floor {
    struct lks_raw_write *raw;
};

/*
 * Starts one peer's process for each replica but the first; before this process opens a device. The
 * peer of a replica whose journal is a device has its memory at the end of that device, behind the
 * journal, else in plain memory. config outlives the floor.
 * Errors: -ENOTSUP (a build without RDMA), -ENOSPC (no room behind a journal), errno.
 */
int lks_rdma_floor_init(struct lks_rdma_floor *lowest, const struct lks_config *config,
                        bool read_behind, struct lks_error *err);
/* Opens the device. -ENODEV, errno. */
int lks_rdma_floor_connect(struct lks_rdma_floor *lowest, const struct lks_config *config,
                           struct lks_error *err);
/* Accepts a zeroed object. */
void lks_rdma_floor_fini(struct lks_rdma_floor *lowest);

/* One write to all peers, at once or (in_turn) to the first alone before the others; *first_ns
 * until the first of them has completed. */
int lks_rdma_floor_write(struct lks_rdma_floor *lowest, uint32_t bytes, bool in_turn,
                         uint64_t *first_ns, struct lks_error *err);

#endif
