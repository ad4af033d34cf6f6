/*
 * Lanes over shared memory: how client processes of a replica's host reach it. The interface is
 * verbs/lane.h.
 *
 *   client                               replica, <directory>/c<replica>.sock
 *   HELLO                          ->    same user? right cluster? a lane free?
 *   maps                           <-    WELCOME: number of the lane, its memory's descriptor
 *
 * The replica makes the memory, new for each client and sealed. The socket stays: one byte in it
 * wakes the other side, its end is the end of the lane.
 */
#ifndef LKS_VERBS_SHM_LANE_H
#define LKS_VERBS_SHM_LANE_H

#include "base/error.h"
#include "base/log.h"
#include "base/remote_memory.h"
#include "verbs/lane.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_LANE_WAITING_MAX 8u /* callers that have not said HELLO; the oldest gives way */

#define LKS_LANE_MAGIC UINT64_C(0x6c6b732d6c616e65) /* "lks-lane" */
#define LKS_LANE_VERSION 1u

/* Both ends are processes of one host: native byte order. Magic and version keep their place. */
struct lks_lane_hello {
    uint64_t magic;
    uint32_t version;
    uint32_t replica; /* that is called */
    uint32_t any_cluster; /* 1: cluster_id does not matter */
    uint32_t zero;
    uint8_t cluster_id[16];
};

struct lks_lane_welcome {
    uint64_t magic;
    uint32_t version;
    int32_t status; /* 0; negative: refused, no descriptor comes along */
    uint32_t lane;  /* 1..LKS_LANE_NUMBER_MAX */
    uint32_t zero;
    uint64_t area_bytes; /* of each of the two */
};

_Static_assert(sizeof(struct lks_lane_hello) == 40, "lane hello layout");
_Static_assert(sizeof(struct lks_lane_welcome) == 32, "lane welcome layout");

/* The memory: this page, the replica's area (the client writes it), the client's area. */
struct lks_lane_page {
    _Alignas(64) lks_word replica_sleeps; /* 1: set by the replica, taken back by who wakes it */
    _Alignas(64) lks_word client_sleeps;  /* the same for the client */
};

/* ---- the replica's end --------------------------------------------------------------------- */

struct lks_lanes_shm_options {
    const char *directory; /* of the sockets: mode 0700, owned by the user */
    uint32_t replica;      /* whose name is locked by the fabric of this process */
    uint8_t cluster_id[16];
    uint64_t area_bytes; /* a multiple of 4096 */
    const struct lks_log *log_sink;
};

/* Listens. Errors: -EACCES (directory not the user's alone), -ENAMETOOLONG, errno; err says the
 * way out. */
int lks_lanes_shm_new(struct lks_lanes **lanes, const struct lks_lanes_shm_options *options,
                      struct lks_error *err);

/* ---- a client's end ------------------------------------------------------------------------- */

struct lks_lane_shm_options {
    const char *directory;
    uint32_t replica;
    bool any_cluster;
    uint8_t cluster_id[16];
    uint64_t area_bytes; /* as the replica must have it */
    uint64_t timeout_ns; /* for the welcome */
};

/* Attaches; blocks for timeout_ns at most. -ENOENT, -ECONNREFUSED (no replica there), -ETIMEDOUT,
 * -LKS_ECLUSTER, -LKS_EVERSION, -LKS_EBUSY (all lanes are taken), -EACCES, -EBADMSG, errno. */
int lks_lane_shm_attach(struct lks_lane **lane, const struct lks_lane_shm_options *options);

/* ---- shared by both ends -------------------------------------------------------------------- */

#define LKS_LANE_PAGE_BYTES 4096u

/* Bytes of a lane's memory. */
static inline uint64_t lks_lane_bytes(uint64_t area_bytes)
{
    return LKS_LANE_PAGE_BYTES + 2 * area_bytes;
}

/* Opens the directory, which must be the user's alone, and makes the socket's address below it.
 * The descriptor is the caller's. -EACCES, errno. */
struct sockaddr_un;
int lks_lane_address(const char *directory, uint32_t replica, struct sockaddr_un *address,
                     int *directory_fd);

/* Stores bytes in the other side's area, after everything stored there before; an aligned word as
 * one. -EINVAL: out of bounds. */
int lks_lane_store(uint8_t *area, uint64_t area_bytes, uint64_t offset, const void *source,
                   uint64_t bytes);

/* Whoever has written wakes the other side by this: sends a byte if `sleeps` was set. */
void lks_lane_ring(lks_word *sleeps, int socket);

/* True if the process at the other end is this user's. */
bool lks_lane_same_user(int socket);

#endif
