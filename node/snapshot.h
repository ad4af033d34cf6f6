/*
 * What a replica keeps while it takes snapshots of its service; part of struct lks_replica, see
 * snapshot.c. All of it lies in one place that no command touches unless a snapshot is due.
 */
#ifndef LKS_NODE_SNAPSHOT_H
#define LKS_NODE_SNAPSHOT_H

#include "lockstep/service.h"
#include "node/pace.h"
#include "node/members.h"
#include "node/ties.h"
#include "pmem/snapshots.h"

#include <stdbool.h>
#include <stdint.h>

enum lks_taker_phase {
    LKS_TAKER_IDLE,       /* until the log has grown to check_offset */
    LKS_TAKER_WRITING,    /* a member's frozen content into its draft */
    LKS_TAKER_PERSISTING, /* the rest of that draft */
    LKS_TAKER_REPLACING,  /* the manifest, on a slow medium */
    LKS_TAKER_GIVING_UP   /* until the flusher gives a range back, and workers are done */
};

struct lks_taker {
    enum lks_taker_phase phase;
    uint64_t check_offset; /* of the log: nothing to do before it is applied; UINT64_MAX: never */
    uint64_t due_offset;   /* when the next snapshot begins */
    uint32_t again_count;    /* partitions whose present snapshot is damaged: due at once */
    uint64_t pressed_offset; /* of the log: all snapshots must reach it, without delay */
    uint64_t retry_ns;   /* after a failure: not before this time */
    uint64_t back_off_ns;
    bool warned;         /* of a failure that still lasts */
    int failed_code;     /* the last one's */
    uint64_t failing_since_ns; /* none could be taken since; 0: not so */
    struct lks_pace pace;
    bool ties_matter;    /* more than one partition */

    /* the snapshots under way, all of one point */
    struct lks_log_point point;
    uint64_t time_ns;
    uint8_t meta[LKS_META_BYTES];
    uint32_t count; /* of partitions in `members` */
    uint32_t at;    /* the one being written; those before it are durable */
    uint64_t expected;
    uint64_t written;
    bool posted; /* a range is with the flusher */

    uint64_t began_ns;
    uint64_t taken;      /* snapshots of partitions, in this life */
    uint64_t failed;     /* attempts given up */
    uint64_t last_bytes; /* of the last round's content */
    uint64_t last_ns;    /* and how long it took */

    /* Tables: as many places as there are partitions are set. */
    struct lks_ties ties;
    bool again[LKS_PARTITIONS_MAX];      /* the partition's present snapshot is damaged */
    uint16_t order[LKS_PARTITIONS_MAX];  /* partitions, those with the oldest snapshots first */
    uint64_t points[LKS_PARTITIONS_MAX]; /* their snapshots' log offsets, in that order */
    uint32_t members[LKS_PARTITIONS_MAX];
};

#endif
