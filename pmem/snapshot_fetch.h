/*
 * Reading a peer's snapshot area by one-sided reads: pure functions over bytes that were fetched
 * into local memory. The caller (node/install.c) posts the reads; nothing here touches a fabric, a
 * file or the own area.
 *
 *   1. read [0, preface_bytes) of region LKS_FABRIC_SNAPSHOTS; lks_snapshots_choose_manifest
 *   2. for each partition: lks_snapshot_fetch_init with its item, then until _done:
 *      _plan says what to read next, _take says how much of that is good
 *
 * The donor goes on writing meanwhile. Whatever was replaced under the reader shows by id, number
 * or checksum; then the reader begins again at 1. Nothing fetched is trusted. Format:
 * docs/snapshot-format.md.
 */
#ifndef LKS_PMEM_SNAPSHOT_FETCH_H
#define LKS_PMEM_SNAPSHOT_FETCH_H

#include "pmem/snapshots.h"

#include <stdbool.h>
#include <stdint.h>

/* Where things lie in an area; a function of the number of partitions alone. */
struct lks_snapshots_geometry {
    uint32_t partitions;
    uint64_t slot_bytes;    /* of one manifest slot */
    uint64_t slots_at;      /* the first; the second follows */
    uint64_t preface_bytes; /* header page and both slots */
    uint64_t blocks_at;     /* block 0; a multiple of 64 KiB */
};
void lks_snapshots_geometry(uint32_t partitions, struct lks_snapshots_geometry *geometry);

/* A manifest that was found whole; items lie in the bytes that it was found in. */
struct lks_snapshots_manifest {
    uint64_t generation;
    uint64_t area_bytes;
    uint64_t blocks_end; /* number of blocks that are allocated: no other may be read */
    uint32_t partitions;
    const struct lks_snapshot_item *items; /* by partition */
};

/*
 * Finds the newest whole manifest in a fetched preface (8-byte aligned) and checks that every item
 * could be true. Errors: -EAGAIN (no slot is whole: the donor is writing, or they are damaged: read
 * again, a bounded number of times), -LKS_EFORMAT, -LKS_ECLUSTER, -LKS_ESIZE, -LKS_EDAMAGED; err
 * names the value.
 */
int lks_snapshots_choose_manifest(const void *preface,
                                  const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES],
                                  uint32_t partitions, struct lks_snapshots_manifest *manifest,
                                  struct lks_error *err);

/* The item with the smallest offset: the base of what is installed from this manifest. */
uint32_t lks_snapshots_manifest_lowest(const struct lks_snapshots_manifest *manifest);

/* Progress through one partition's chain; a plain value. */
struct lks_snapshot_fetch {
    struct lks_snapshot_item item;
    uint32_t partition;
    uint32_t sequence; /* of the next block */
    uint32_t next;     /* its number */
    uint32_t checksum; /* over the blocks so far */
    uint64_t bytes;    /* of content so far */
    uint64_t blocks_end;
    uint64_t blocks_at;
};
void lks_snapshot_fetch_init(struct lks_snapshot_fetch *fetch,
                             const struct lks_snapshots_manifest *manifest, uint32_t partition);

/* True when all blocks were taken and the whole is as its item says. */
bool lks_snapshot_fetch_done(const struct lks_snapshot_fetch *fetch);

/* What to read next: the wanted block, and up to blocks_max - 1 behind it, on the guess that the
 * chain is contiguous. Returns the number of blocks, at least 1 (asserted: not done). */
uint32_t lks_snapshot_fetch_plan(const struct lks_snapshot_fetch *fetch, uint32_t blocks_max,
                                 uint64_t *offset);

/*
 * Takes what was read as planned: `blocks` blocks at bytes, in memory that nobody writes any more.
 * Returns how many of them, from the first one on, are the next ones of the chain (at least 1);
 * those may go to lks_snapshot_copy_block. Or -ESTALE: the first one is not what the manifest named
 * (replaced, or damaged): begin again with a fresh manifest; if that names the same id, the donor's
 * block is damaged.
 */
int lks_snapshot_fetch_take(struct lks_snapshot_fetch *fetch, const void *bytes, uint32_t blocks);

#endif
