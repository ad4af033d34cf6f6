/*
 * Lanes: how client processes reach a replica. A *lane* belongs to one client: one area in which
 * the client writes and the replica reads, and one the other way round. To whoever uses it, each
 * end looks like the inbox of a fabric (verbs/fabric.h) with that one peer: lks_fabric_inbox and
 * lks_fabric_write_inbox; nothing else of a fabric is there. Clients are no peers: they reach no
 * log, no words, no snapshots. What is made by whom, and how the two find one another, is the
 * backend's: verbs/shm/lane.h (processes of one host), verbs/rdma_lane.h (hosts of one RDMA
 * fabric).
 *
 * What every backend keeps: a lane's memory is new for each client, so what an earlier client of
 * the same number still writes lands where nobody looks. Nothing that a client does, or leaves
 * undone, blocks the replica. Each end is used by one thread.
 */
#ifndef LKS_VERBS_LANE_H
#define LKS_VERBS_LANE_H

#include "base/error.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_LANE_NUMBER_MAX 32u /* clients of one replica at a time */

/* ---- the replica's end --------------------------------------------------------------------- */

struct lks_lanes;

struct lks_lanes_changes {
    uint64_t attached; /* bit n: lane n has a new client; its memory is zero */
    uint64_t detached; /* bit n: it has ended (before `attached`, where both are set) */
};

struct lks_lanes_ops {
    void (*free)(struct lks_lanes *lanes);
    void (*poll)(struct lks_lanes *lanes, bool look, struct lks_lanes_changes *changes);
    void (*detach)(struct lks_lanes *lanes, uint32_t lane);
    int (*fd)(const struct lks_lanes *lanes);
    bool (*arm)(struct lks_lanes *lanes);
    void (*disarm)(struct lks_lanes *lanes);
    /* NULL: nothing is known. */
    bool (*who)(const struct lks_lanes *lanes, uint32_t lane, char *text, size_t bytes);
};

/* What every backend begins with. */
struct lks_lanes {
    struct lks_fabric fabric; /* first: its functions get it */
    const struct lks_lanes_ops *ops;
};

/* Ends all lanes; NULL is allowed. */
static inline void lks_lanes_free(struct lks_lanes *lanes)
{
    if (lanes != NULL) {
        lanes->ops->free(lanes);
    }
}

/* Its inboxes and writes, by the lane's number as peer; a lane that is not there: -LKS_EBROKEN.
 * -LKS_EBUSY: as much is under way as may be; again later. */
static inline struct lks_fabric *lks_lanes_fabric(struct lks_lanes *lanes)
{
    return &lanes->fabric;
}

/* Takes new clients and notices the end of old ones. Looks around only when `look`: some system
 * calls. */
static inline void lks_lanes_poll(struct lks_lanes *lanes, bool look,
                                  struct lks_lanes_changes *changes)
{
    lanes->ops->poll(lanes, look, changes);
}

/* Ends a lane at once; no `detached` follows. Nothing if it has ended. */
static inline void lks_lanes_detach(struct lks_lanes *lanes, uint32_t lane)
{
    lanes->ops->detach(lanes, lane);
}

/* Who is at the other end, for people: "pid=7,uid=0". False, and an empty text: not known. */
static inline bool lks_lanes_who(const struct lks_lanes *lanes, uint32_t lane, char *text,
                                 size_t bytes)
{
    text[0] = '\0';
    return lanes->ops->who != NULL && lanes->ops->who(lanes, lane, text, bytes);
}

/* An epoll descriptor: readable when something wants a look, or a client wakes. _arm announces
 * sleep: look into the areas once more after it, before sleeping; false: do not sleep, poll. */
static inline int lks_lanes_fd(const struct lks_lanes *lanes)
{
    return lanes->ops->fd(lanes);
}
static inline bool lks_lanes_arm(struct lks_lanes *lanes)
{
    return lanes->ops->arm(lanes);
}
static inline void lks_lanes_disarm(struct lks_lanes *lanes)
{
    lanes->ops->disarm(lanes);
}

/* ---- a client's end ------------------------------------------------------------------------- */

struct lks_lane;

struct lks_lane_ops {
    void (*free)(struct lks_lane *lane);
    bool (*is_alive)(struct lks_lane *lane);
    bool (*arm)(struct lks_lane *lane);
    void (*sleep)(struct lks_lane *lane, uint64_t timeout_ns);
    void (*disarm)(struct lks_lane *lane);
};

/* What every backend begins with. */
struct lks_lane {
    struct lks_fabric fabric; /* first: its functions get it */
    const struct lks_lane_ops *ops;
    uint32_t number; /* 1..LKS_LANE_NUMBER_MAX */
};

static inline void lks_lane_free(struct lks_lane *lane)
{
    if (lane != NULL) {
        lane->ops->free(lane);
    }
}

static inline uint32_t lks_lane_number(const struct lks_lane *lane)
{
    return lane->number;
}

/* Inbox and writes, with the lane's number as peer. -LKS_EBUSY as for the replica. */
static inline struct lks_fabric *lks_lane_fabric(struct lks_lane *lane)
{
    return &lane->fabric;
}

/* False: the replica has ended, or this lane. A system call. */
static inline bool lks_lane_is_alive(struct lks_lane *lane)
{
    return lane->ops->is_alive(lane);
}

/* Announces sleep: look into the inbox once more after it. False: do not sleep. */
static inline bool lks_lane_arm(struct lks_lane *lane)
{
    return lane->ops->arm(lane);
}

/* Sleeps until the replica wakes this side, or the lane has ended, or for timeout_ns. After _arm;
 * ends it. */
static inline void lks_lane_sleep(struct lks_lane *lane, uint64_t timeout_ns)
{
    lane->ops->sleep(lane, timeout_ns);
}
static inline void lks_lane_disarm(struct lks_lane *lane)
{
    lane->ops->disarm(lane);
}

#endif
