/*
 * Lanes: how client processes reach a replica of this host over shared memory. A *lane* belongs to
 * one client: one area in which the client writes and the replica reads, and one the other way
 * round. To whoever uses it, it looks like the inbox of a fabric (verbs/fabric.h) with that one
 * peer: lks_fabric_inbox and lks_fabric_write_inbox; nothing else of a fabric is there. Clients are
 * no peers: they reach no log, no words, no snapshots.
 *
 *   client                               replica, <directory>/c<replica>.sock
 *   HELLO                          ->    same user? right cluster? a lane free?
 *   maps                           <-    WELCOME: number of the lane, its memory's descriptor
 *
 * The replica makes the memory, new for each client and sealed: what an earlier client of the same
 * number still writes lands where nobody looks. The socket stays: one byte in it wakes the other
 * side, its end is the end of the lane. Nothing that a client does blocks the replica.
 */
#ifndef LKS_VERBS_SHM_LANE_H
#define LKS_VERBS_SHM_LANE_H

#include "base/error.h"
#include "base/log.h"
#include "base/remote_memory.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_LANE_NUMBER_MAX 32u /* clients of one replica at a time */
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

struct lks_lanes;

struct lks_lanes_options {
    const char *directory; /* of the sockets: mode 0700, owned by the user */
    uint32_t replica;      /* whose name is locked by the fabric of this process */
    uint8_t cluster_id[16];
    uint64_t area_bytes; /* a multiple of 4096 */
    const struct lks_log *log_sink;
};

/* Listens. Errors: -EACCES (directory not the user's alone), -ENAMETOOLONG, errno; err says the
 * way out. */
int lks_lanes_new(struct lks_lanes **lanes, const struct lks_lanes_options *options,
                  struct lks_error *err);
/* Ends all lanes; NULL is allowed. */
void lks_lanes_free(struct lks_lanes *lanes);

/* Its inboxes and writes, by the lane's number as peer; a lane that is not there: -LKS_EBROKEN. */
struct lks_fabric *lks_lanes_fabric(struct lks_lanes *lanes);

struct lks_lanes_changes {
    uint64_t attached; /* bit n: lane n has a new client; its memory is zero */
    uint64_t detached; /* bit n: it has ended (before `attached`, where both are set) */
};

/* Takes new clients and notices the end of old ones. Looks at sockets only when `look`: some
 * system calls. */
void lks_lanes_poll(struct lks_lanes *lanes, bool look, struct lks_lanes_changes *changes);

/* Ends a lane at once; no `detached` follows. Nothing if it has ended. */
void lks_lanes_detach(struct lks_lanes *lanes, uint32_t lane);

/* Wakes the lane's client if it sleeps. After writes. */
void lks_lanes_wake(struct lks_lanes *lanes, uint32_t lane);

/* An epoll descriptor: readable when sockets want a look, or a client wakes. _arm announces sleep:
 * look into the areas once more after it, before sleeping. */
int lks_lanes_fd(const struct lks_lanes *lanes);
void lks_lanes_arm(struct lks_lanes *lanes);
void lks_lanes_disarm(struct lks_lanes *lanes);

/* ---- a client's end ------------------------------------------------------------------------- */

struct lks_lane;

struct lks_lane_options {
    const char *directory;
    uint32_t replica;
    bool any_cluster;
    uint8_t cluster_id[16];
    uint64_t area_bytes; /* as the replica must have it */
    uint64_t timeout_ns; /* for the welcome */
};

/* Attaches; blocks for timeout_ns at most. -ENOENT, -ECONNREFUSED (no replica there), -ETIMEDOUT,
 * -LKS_ECLUSTER, -LKS_EVERSION, -LKS_EBUSY (all lanes are taken), -EACCES, -EBADMSG, errno. */
int lks_lane_attach(struct lks_lane **lane, const struct lks_lane_options *options);
void lks_lane_free(struct lks_lane *lane);

uint32_t lks_lane_number(const struct lks_lane *lane);
/* Inbox and writes, with the lane's number as peer. */
struct lks_fabric *lks_lane_fabric(struct lks_lane *lane);
/* Wakes the replica if it sleeps. After writes. */
void lks_lane_wake(struct lks_lane *lane);
/* False: the replica has ended, or this lane. One system call. */
bool lks_lane_is_alive(struct lks_lane *lane);
/* Announces sleep: look into the inbox once more after it. */
void lks_lane_arm(struct lks_lane *lane);
/* Sleeps until the replica wakes this side, or the lane has ended, or for timeout_ns. After _arm;
 * ends it. */
void lks_lane_sleep(struct lks_lane *lane, uint64_t timeout_ns);
void lks_lane_disarm(struct lks_lane *lane);

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
