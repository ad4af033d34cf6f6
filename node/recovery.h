/*
 * What a replica keeps while it brings its service back from the snapshot area: which partitions
 * are restored, which entries wait for the others. Part of struct lks_replica; see recovery.c.
 */
#ifndef LKS_NODE_RECOVERY_H
#define LKS_NODE_RECOVERY_H

#include "lockstep/service.h"
#include "node/waiting.h"
#include "pmem/snapshots.h"

#include <stdbool.h>
#include <stdint.h>

enum lks_partition_phase {
    LKS_PARTITION_ABSENT,  /* to be restored */
    LKS_PARTITION_WANTED,  /* the same, and an own client waits for it: before the others */
    LKS_PARTITION_READING, /* at most one */
    LKS_PARTITION_READY
};

struct lks_recovery {
    bool active;       /* false: all partitions stand at the applied point */
    uint32_t ready;    /* partitions that are restored */
    uint32_t wanted;   /* partitions in that phase */
    uint32_t next;     /* where the search for the next one begins */
    uint64_t left_out_most; /* the highest of left_out, or reached: whole from there on */
    uint64_t left_out_end;  /* offset: where the entry of the youngest snapshot ends */
    uint64_t reached;       /* index: applied before an installation of this life went back */
    uint64_t began_ns;
    uint64_t restored_bytes; /* of the service's content */
    struct lks_waiting *waiting;
    struct lks_snapshot_scan scan; /* of the partition being read */
    uint32_t reading;              /* that partition, if phase says so */
    bool scanning;
    uint64_t only[LKS_PARTITIONS_MAX / 64];

    /* Tables: as many places as there are partitions are set. */
    uint8_t phase[LKS_PARTITIONS_MAX];     /* enum lks_partition_phase */
    uint64_t left_out[LKS_PARTITIONS_MAX]; /* index: entries up to here are in its snapshot */
    uint16_t list[LKS_PARTITIONS_MAX];
};

#endif
