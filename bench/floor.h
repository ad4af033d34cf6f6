/*
 * The raw floor of replication: the same bytes copied into one region a replica, on the medium
 * that the journals lie on, and (where the mode says so) written back and drained; nothing else.
 * Measured by the same thread in the same run. One thread.
 */
#ifndef LKS_BENCH_FLOOR_H
#define LKS_BENCH_FLOOR_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_FLOOR_REGIONS_MAX 7u

struct lks_floor {
    uint32_t regions;
    uint64_t region_bytes;
    uint64_t offset;
    bool durable; /* write lines back and drain */
    void *address[LKS_FLOOR_REGIONS_MAX];
};

/* Maps `regions` populated files of region_bytes in directory (unlinked at once). errno. */
int lks_floor_init(struct lks_floor *lowest, const char *directory, uint32_t regions,
                   uint64_t region_bytes, bool durable, struct lks_error *err);
void lks_floor_fini(struct lks_floor *lowest);

/* Copies bytes to the next place of every region, as a log would. */
void lks_floor_copy(struct lks_floor *lowest, const void *source, uint64_t bytes);

#endif
