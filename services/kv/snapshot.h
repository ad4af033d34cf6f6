/*
 * Snapshots of partitions of the key-value service, written and read in steps as
 * lockstep/service.h says; for kv.c's table of functions. A snapshot is a sequence of chunks,
 * little-endian, each a head of 32 bytes and whole records:
 *
 *   head    XXH3 (8) of all that follows in the chunk, seeded with that of the chunk before;
 *           magic (4); partition (2); flags (2), 1: this is the last; records before this chunk
 *           (8); records in it (4); zero (4)
 *   record  key bytes (4; the top bit: it expires), value bytes (4), if it expires when, in
 *           milliseconds (8), key, value; in no order
 *
 * Nothing read is trusted: the checksums must chain, a record must lie wholly in its chunk, a key
 * must belong to this partition and come once, the chunks must end with the last.
 */
#ifndef LKS_SERVICES_KV_SNAPSHOT_H
#define LKS_SERVICES_KV_SNAPSHOT_H

#include "lockstep/service.h"

/* What a partition's snapshot or restore under way must remember. */
struct lks_kv_progress {
    bool writing;
    bool reading;
    bool complete; /* the last chunk is written, or was read */
    uint64_t chain;
    uint64_t records;
};

uint64_t lks_kv_snapshot_begin(void *state, uint32_t partition);
int lks_kv_snapshot_step(void *state, uint32_t partition,
                         const struct lks_snapshot_writer *writer, size_t bytes_max, bool *done);
void lks_kv_snapshot_end(void *state, uint32_t partition);
uint64_t lks_kv_snapshot_kept(void *state);

void lks_kv_restore_begin(void *state, uint32_t partition);
int lks_kv_restore_chunk(void *state, uint32_t partition, const void *data, size_t bytes);
int lks_kv_restore_end(void *state, uint32_t partition);

#endif
