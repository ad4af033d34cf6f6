/*
 * Lanes over RDMA: how client processes of other hosts reach a replica, by libibverbs and
 * librdmacm. The interface is verbs/lane.h; docs/client-protocol.md tells what goes over the wire
 * and why nobody without the client key gets a lane.
 *
 * A replica's lanes have a device context of the connection manager, a thread, protection domains,
 * queue pairs and completion queues of their own: nothing of them is shared with its fabric.
 */
#ifndef LKS_VERBS_RDMA_LANE_H
#define LKS_VERBS_RDMA_LANE_H

#include "base/error.h"
#include "base/log.h"
#include "verbs/lane.h"
#include "verbs/rdma.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_lanes_rdma_options {
    struct lks_rdma_place place; /* the replica's RDMA address; a port of the connection manager */
    uint32_t replica;
    uint8_t cluster_id[16];
    uint8_t client_key[LKS_RDMA_KEY_BYTES]; /* secret; not the replicas' key */
    uint64_t area_bytes;                    /* a multiple of 4096; locked while a lane is taken */
    uint8_t traffic_class;                  /* as in struct lks_rdma_options, likewise: */
    uint8_t ack_timeout_exponent;           /* 0: 13 */
    uint8_t retry_count;                    /* 0: 6 */
    const struct lks_log *log_sink;         /* also from the lanes' own thread */
};

/* Listens, and starts a thread. -EINVAL (no address), -ENODEV (no RDMA device has it), -EADDRINUSE,
 * errno; err says the way out. */
int lks_lanes_rdma_new(struct lks_lanes **lanes, const struct lks_lanes_rdma_options *options,
                       struct lks_error *err);

struct lks_lane_rdma_options {
    struct lks_rdma_place place; /* where the replica's lanes listen */
    uint32_t replica;
    bool any_cluster;
    uint8_t cluster_id[16];
    uint8_t client_key[LKS_RDMA_KEY_BYTES];
    uint64_t area_bytes; /* as the replica must have it */
    uint64_t timeout_ns; /* until the lane is there */
};

/* Attaches; blocks for timeout_ns at most. The process must not fork afterwards while the lane is
 * there, but to execute another program at once. -EINVAL (no address), -ENODEV (no RDMA device
 * reaches it), -EHOSTUNREACH, -ECONNREFUSED (nobody listens there), -ETIMEDOUT, -LKS_ECLUSTER,
 * -LKS_EVERSION, -LKS_ESIZE, -LKS_EBUSY (all lanes are taken), -EACCES (not the same client key),
 * -EBADMSG, -ENOMEM (locked memory, here or there), errno. */
int lks_lane_rdma_attach(struct lks_lane **lane, const struct lks_lane_rdma_options *options);

#endif
