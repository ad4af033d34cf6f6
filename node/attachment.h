/*
 * A client's end of its attachment to one replica: requests out, replies in, sleeping in between.
 * Knows no sessions and repeats nothing: that is the client library's (client/library/). One
 * thread.
 */
#ifndef LKS_NODE_ATTACHMENT_H
#define LKS_NODE_ATTACHMENT_H

#include "node/client_wire.h"
#include "verbs/lane.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_attachment;

/* By a new lane, of areas of LKS_CLIENT_AREA_BYTES, which is the attachment's from then on.
 * -ENOMEM: the lane is the caller's still. */
int lks_attachment_open(struct lks_attachment **attachment, struct lks_lane *lane);

struct lks_attachment_shm_options {
    const char *directory; /* of the cluster, on this host */
    uint32_t replica;
    uint64_t timeout_ns;
};

/* By a lane over shared memory, to a replica of any cluster. Blocks for timeout_ns at most. Errors:
 * those of lks_lane_shm_attach. */
int lks_attachment_open_shm(struct lks_attachment **attachment,
                            const struct lks_attachment_shm_options *options);

/* Ends it, and its lane; NULL is allowed. */
void lks_attachment_close(struct lks_attachment *attachment);

struct lks_attachment_request {
    enum lks_client_request kind;
    uint64_t number; /* from 1; the reply carries it */
    const void *data;
    uint32_t bytes;
};

/* Writes a request; the replica sees it after the next _publish. -LKS_EBUSY: no room, push the
 * same again later; -LKS_ETOOBIG; -LKS_EBROKEN. */
int lks_attachment_push(struct lks_attachment *attachment,
                        const struct lks_attachment_request *request);
void lks_attachment_publish(struct lks_attachment *attachment);

struct lks_attachment_reply {
    uint64_t number;
    uint64_t status; /* one of enum lks_client_said, or what no replica of this version says */
    const void *data; /* until the next _pop */
    uint32_t bytes;
};

/* 0; -ENODATA: none now; -EBADMSG: what stands there is no reply. */
int lks_attachment_pop(struct lks_attachment *attachment, struct lks_attachment_reply *reply);

/* Until a reply is there, or for timeout_ns: spins for spin_ns, then sleeps. False: the replica
 * has ended. */
bool lks_attachment_wait(struct lks_attachment *attachment, uint64_t timeout_ns, uint64_t spin_ns);

/* False: the replica has ended. A system call. */
bool lks_attachment_is_alive(struct lks_attachment *attachment);

#endif
