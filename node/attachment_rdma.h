/*
 * An attachment over RDMA: an object of its own, so that whoever does not use it needs neither of
 * the RDMA libraries.
 */
#ifndef LKS_NODE_ATTACHMENT_RDMA_H
#define LKS_NODE_ATTACHMENT_RDMA_H

#include "node/attachment.h"

#define LKS_ATTACHMENT_ADDRESS_MAX 64u
#define LKS_ATTACHMENT_KEY_BYTES 32u

struct lks_attachment_rdma_options {
    char address[LKS_ATTACHMENT_ADDRESS_MAX]; /* numeric, of the replica's RDMA port */
    uint16_t port;                            /* that of `listen` */
    uint32_t replica;
    uint8_t client_key[LKS_ATTACHMENT_KEY_BYTES];
    uint64_t timeout_ns;
};

/* To a replica of any cluster that knows the key. Blocks for timeout_ns at most. Errors: those of
 * lks_lane_rdma_attach; -ENOTSUP: a build without RDMA. */
int lks_attachment_open_rdma(struct lks_attachment **attachment,
                             const struct lks_attachment_rdma_options *options);

#endif
