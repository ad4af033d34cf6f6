/*
 * The RDMA backend of the fabric: libibverbs and librdmacm, over RoCE v2 or InfiniBand. What it is
 * given beside struct lks_fabric_options, and how it is made. The contract of its calls is
 * verbs/fabric.h; docs/rdma.md tells what a machine needs and what each message means.
 */
#ifndef LKS_VERBS_RDMA_H
#define LKS_VERBS_RDMA_H

#include "base/error.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_RDMA_ADDRESS_MAX 64u
#define LKS_RDMA_KEY_BYTES 32u

/* Where a replica listens: a numeric IPv4 or IPv6 address of an RDMA port, and a port of the
 * connection manager (a space of its own, beside those of TCP). */
struct lks_rdma_place {
    char address[LKS_RDMA_ADDRESS_MAX]; /* "": not in use, or not known: then it has to call */
    uint16_t port;
};

struct lks_rdma_options {
    struct lks_rdma_place places[LKS_REPLICAS_MAX + 1]; /* by id; [replica] is the own one */
    uint8_t cluster_key[LKS_RDMA_KEY_BYTES]; /* the same on all replicas, secret */
    uint8_t traffic_class;        /* of all packets; RoCE v2: DSCP << 2. 0: the system's */
    uint8_t ack_timeout_exponent; /* 4.096 us << this, 1..31; 0: 13, which is 34 ms */
    uint8_t retry_count;          /* 1..7 repetitions before a peer counts as gone; 0: 6 */
    uint8_t service_level;        /* 0..15, of the paths: what writes the logs */
    uint16_t pkey;                /* partition of the paths; 0: that of the own address */
    bool gid_chosen;              /* gid_index is the entry of the paths; else the address's entry,
                                     RoCE v2 where there is one */
    uint8_t gid_index;
};

/* The exponent of the least acknowledgement timeout that is not below ns: 1..31. */
uint8_t lks_rdma_timeout_exponent(uint64_t ns);

struct lks_rdma_device {
    char name[64];
    char driver[32]; /* the kernel's; "": a device without hardware */
    bool hardware;
};

/*
 * Finds the RDMA device behind a numeric address, and lets go of it again. Any thread. -EINVAL (no
 * address), -ENODEV (none has it, or the connection manager's module is not loaded: it may come
 * yet), errno; err says the way out.
 */
int lks_rdma_find_device(const char *address, struct lks_rdma_device *device,
                         struct lks_error *err);

/*
 * Binds to the own place, opens the device behind it, registers memory (the log once to be read
 * and once for each peer to be written: count (replicas) * log bytes against RLIMIT_MEMLOCK), and
 * listens. Connects to nobody yet. options->directory, silent_writer_ns and shared_process are not
 * used. Everything in both options is copied, but log_sink.
 * Errors: -EINVAL (options), -ENODEV (no RDMA device has that address), -EADDRINUSE, -ENOMEM
 * (locked memory), -ENOTSUP (the device lacks something), errno; err says the way out.
 */
int lks_fabric_rdma_new(struct lks_fabric **fabric, const struct lks_fabric_options *options,
                        const struct lks_rdma_options *rdma, struct lks_error *err);

#endif
