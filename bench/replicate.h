/*
 * `lockstep bench replicate`: from handing a command to the leader until it has committed and
 * executed there, inside the leader's process, against follower processes that are awake and
 * applying; and the throughput at growing batches. Beside it the floor of the same run: over shm
 * the copying alone (floor.h), over RDMA bare verbs (raw/).
 */
#ifndef LKS_BENCH_REPLICATE_H
#define LKS_BENCH_REPLICATE_H

#include "base/error.h"
#include "node/replica.h"

struct lks_bench_replicate_options {
    uint32_t replicas;
    uint32_t size;       /* bytes of a command */
    enum lks_durability durability;
    uint32_t samples;    /* closed loop */
    uint32_t batch_commands; /* open loop: commands for each batch size */
    uint64_t ring_bytes; /* 0: large enough for everything; else it is written anew meanwhile */
    const char *directory; /* where the journals are made (and removed again) */
    const char *rdma_address; /* NULL: shm; else numeric, of the RDMA device that all share */
    const char *devices[LKS_REPLICAS_MAX]; /* journals in place of files, the first replica's first;
                                              all NULL: files. What they hold is lost */
    bool json;
};

/* Prints a table, or one JSON object as the last line. Errors: err says which part failed. */
int lks_bench_replicate(const struct lks_bench_replicate_options *options, struct lks_error *err);

#endif
