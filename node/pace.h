/*
 * When the next snapshot begins and how fast it is written, measured in the log's own growth: the
 * ring is recycled before it is full, whatever the load, and snapshots are spread over the log
 * instead of coming in bursts. Pure functions over plain values; no clock.
 *
 * In a round of half a ring each partition is snapshotted once, the oldest first, each within its
 * *share* of that half (at most an eighth of the ring). A partition's snapshot is at most about 5/8
 * of a ring old when the next one takes its place; the rest is for what bursts and what followers
 * need.
 */
#ifndef LKS_NODE_PACE_H
#define LKS_NODE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct lks_pace_options {
    uint32_t partitions;
    uint32_t replica;  /* 1..replicas: they begin at different moments of a share */
    uint32_t replicas;
    uint64_t ring_bytes;
};

struct lks_pace {
    uint32_t partitions;
    uint64_t ring_bytes;
    uint64_t share; /* bytes of log for each snapshot */
    uint64_t phase; /* of this replica, below a share */
};

void lks_pace_init(struct lks_pace *pace, const struct lks_pace_options *options);

/* The log offset at which the next snapshot must begin, so that each of the others can have its
 * share before it is too old. points: log offsets of the partitions' snapshots, oldest first. */
uint64_t lks_pace_due(const struct lks_pace *pace, const uint64_t *points);

/* What is known of the snapshots being written. */
struct lks_pace_progress {
    uint32_t count;    /* of partitions written together */
    uint64_t expected; /* bytes of all of them, as the service guessed */
    uint64_t written;
    uint64_t grown;    /* bytes of log since they were frozen */
    uint64_t used;     /* bytes of log since the oldest snapshot */
    uint64_t kept;     /* bytes of old content that the service keeps for them */
    bool pressed;      /* somebody waits for them */
};

/* About how many bytes to write now; 0: it is ahead. Never more than costs a command a fraction of
 * a millisecond. */
uint64_t lks_pace_bytes(const struct lks_pace *pace, const struct lks_pace_progress *progress);

#endif
