/*
 * What a replica keeps while it installs a donor's snapshots; part of struct lks_replica, see
 * install.c.
 */
#ifndef LKS_NODE_INSTALL_H
#define LKS_NODE_INSTALL_H

#include "consensus/core.h"
#include "pmem/snapshot_fetch.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_INSTALL_LANES 2u         /* partitions that are fetched at a time */
#define LKS_INSTALL_BLOCKS_MAX 7u    /* of one read */
#define LKS_INSTALL_SCRATCH_AT 65536u /* where the lanes' buffers lie in the fabric's scratch */

enum lks_install_phase {
    LKS_INSTALL_IDLE,
    LKS_INSTALL_OWN,        /* own snapshots reach far enough: wait for them */
    LKS_INSTALL_STOPPING,   /* the own taker gives up what is under way */
    LKS_INSTALL_PREFACE,    /* the donor's manifest is read */
    LKS_INSTALL_FETCHING,   /* blocks are read, checked, copied */
    LKS_INSTALL_PERSISTING, /* all are here: the rest is made durable */
    LKS_INSTALL_REPLACING,  /* the own manifest: from here on there is no way back */
    LKS_INSTALL_LOG,        /* base moved: what follows it is made durable */
    LKS_INSTALL_ENDING      /* failed or cancelled: reads and ranges that are out come back */
};

/* One partition on its way. */
struct lks_install_lane {
    bool active;
    bool reading;    /* a read is out */
    uint32_t blocks; /* of it */
    uint64_t at;     /* of its buffer in the scratch memory */
    struct lks_snapshot_fetch fetch;
    uint64_t spoilt_id; /* of the snapshot whose block was not as it should be; 0: none was */
    uint32_t spoilt;    /* ... and its partition */
};

struct lks_install {
    enum lks_install_phase phase;
    uint32_t donor;
    uint64_t from;  /* the base must come to lie here or above */
    int status;     /* why it ends, once it does */
    bool posted;    /* a range of the own area is with the flusher */
    bool manifest_read; /* the read of the preface is out */
    uint32_t tries; /* manifests read */
    uint32_t next;  /* partition: to be fetched; then to be made durable */
    bool unread;    /* the last of them was not whole */
    void *preface;  /* the donor's, a copy in memory of our own */
    struct lks_snapshots_manifest manifest;
    struct lks_install_lane lanes[LKS_INSTALL_LANES];
    struct lks_log_point cursor; /* of the log behind the new base */
    struct lks_runs runs;
    struct lks_members members; /* the last ones there */
    uint64_t held_ns;        /* when the donor was last asked to hold what it replaces */
    uint64_t began_ns;
    uint64_t bytes_expected; /* content of the donor's snapshots ... */
    uint64_t bytes_done;     /* ... of which so much is here */
    uint64_t ended;          /* installations that ended well, in this life */
    uint64_t warned_ns;      /* when the log last said why one failed ... */
    int warned_status;       /* ... and that */
    bool drafts;             /* copies lie in the area, to go on with should it begin again */
};

#endif
