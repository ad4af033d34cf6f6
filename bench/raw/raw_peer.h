/*
 * A peer of the floor: a process of its own that lends its memory to be written and does nothing
 * else. It tells its end of the connection over a socket, hears the other end, and sleeps until the
 * socket, or its parent, ends.
 */
#ifndef LKS_BENCH_RAW_PEER_H
#define LKS_BENCH_RAW_PEER_H

#include <stdint.h>

struct lks_raw_peer_options {
    const char *address;  /* numeric, of the RDMA device */
    const char *medium;   /* a file or device DAX that its memory lies on; NULL: plain memory */
    uint64_t offset;      /* in the medium */
    uint64_t region_bytes;
};

/* The peer's whole life, in its own process; returns its exit status. */
int lks_raw_peer_run(const struct lks_raw_peer_options *options, int socket);

#endif
