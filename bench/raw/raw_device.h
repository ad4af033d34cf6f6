/*
 * Bare verbs, for the floor: a device found by an IP address, registered memory, and RC queue pairs
 * connected by hand. Nothing of Lockstep in it. One thread. Errors are negative errno.
 */
#ifndef LKS_BENCH_RAW_DEVICE_H
#define LKS_BENCH_RAW_DEVICE_H

#include <infiniband/verbs.h>
#include <stdint.h>

#define LKS_RAW_DEPTH 64
#define LKS_RAW_INLINE_MAX 256u

struct lks_raw_device {
    struct ibv_context *context;
    struct ibv_pd *pd;
    struct ibv_cq *cq;
    uint8_t port;
    uint8_t gid_index;
    union ibv_gid gid;
    uint16_t lid;
    enum ibv_mtu mtu;
};

/* One end of a connection, as the other end has to know it. */
struct lks_raw_end {
    union ibv_gid gid;
    uint64_t address; /* of the memory that may be written */
    uint32_t rkey;
    uint32_t queue_pair;
    uint16_t lid;
    uint16_t failed; /* errno of the side that could not be made; 0: all is there */
    uint32_t reserved;
};

/* Opens the device that has this numeric IPv4 or IPv6 address: -EINVAL, -ENODEV, errno. */
int lks_raw_device_open(struct lks_raw_device *device, const char *address);
/* Accepts a zeroed object. */
void lks_raw_device_close(struct lks_raw_device *device);

/* A queue pair in state INIT that lets its peer write and read; *inline_max: bytes that it copies
 * itself. NULL and errno. */
struct ibv_qp *lks_raw_queue_pair(struct lks_raw_device *device, uint32_t *inline_max);
/* To RTS, towards the other end. */
int lks_raw_connect(struct lks_raw_device *device, struct ibv_qp *qp,
                    const struct lks_raw_end *peer);

#endif
