/*
 * The fabric: one-sided access between the replicas of a cluster, and write permission.
 *
 * Backends: shm (processes of one host), later ibv; the simulator and tests wrap or replace the
 * ops table. All calls of one fabric come from one thread, and none blocks: what takes time is
 * posted, and its end is an event of lks_fabric_poll. docs/decisions/ maps each call to verbs.
 *
 * Between two replicas there is one *connection*, made by both sides' lks_fabric_connect, and
 * over it at most one *path* in each direction: the right to write the peer's log. The peer
 * grants it, hands its key over in a message, and this side opens it.
 *  - Connection: reads of any region, and writes to the peer's inbox. In order. Breaks as a whole.
 *  - Path: writes to the peer's log, and flushes. In order. A refused write breaks the path: it
 *    and everything posted after it complete with an error; nothing after it lands.
 * Operations of a connection and of a path are not ordered with one another.
 *
 * An aligned 8-byte write is single-copy atomic and is seen only after all earlier writes of the
 * same connection or path. Longer writes become visible in pieces of any number of aligned words,
 * in any order: within one write, and also between a write and those posted after it. But nothing
 * is seen LKS_FABRIC_DISORDER_BYTES or more behind a byte that is still missing.
 *
 * A read of SNAPSHOTS may be overtaken by operations posted after it.
 *
 * A read or a flush waits for the writes posted before it, not the other way round: a write may
 * land before a read, or a flush, that was posted earlier has taken effect. The read may then
 * return what that write wrote; a flush covers the writes before it, whatever else has landed.
 *
 * Where writes_when_posted is false, the bytes of a write without LKS_FABRIC_INLINE are read from
 * their source when they leave, piece by piece, at any time until it completes: also after the
 * source was handed to another writer. What lands then is what stands there then.
 */
#ifndef LKS_VERBS_FABRIC_H
#define LKS_VERBS_FABRIC_H

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_REPLICAS_MAX 7u
#define LKS_FABRIC_HELLO_BYTES 64u
#define LKS_FABRIC_INLINE_MAX 256u /* bytes that a write copies when posted, if asked to */
#define LKS_FABRIC_DISORDER_BYTES (64u << 10)
#define LKS_FABRIC_CHANGES_MAX 8u /* grants, revocations and openings under way with one peer */

enum lks_fabric_region {
    LKS_FABRIC_LOG,   /* read by every peer; written by the holder of the grant */
    LKS_FABRIC_WORDS, /* read by every peer; written by its owner */
    LKS_FABRIC_INBOX, /* one area a peer, which that peer alone writes and reads */
    LKS_FABRIC_SNAPSHOTS /* read by every peer; written by its owner; sizes differ. What its owner
                            has not allocated must not be read */
};

enum lks_fabric_event_kind {
    LKS_FABRIC_CONNECTED,    /* peer, connection; lks_fabric_hello(peer) is valid */
    LKS_FABRIC_DISCONNECTED, /* peer, connection, peer_dead. All operations on it and its paths
                                have completed (with errors) before this event. Own grants to that
                                peer stand until revoked. */
    LKS_FABRIC_GRANTED,      /* peer, id, status, key */
    LKS_FABRIC_REVOKED,      /* peer, id, status. 0: nothing written under any earlier grant to this
                                peer, also of earlier lives of this replica, can land any more */
    LKS_FABRIC_OPENED,       /* peer, id, status */
    LKS_FABRIC_COMPLETED     /* peer, id, status: a write, read or flush that had an id */
};

/* Opaque outside the backend: what a holder needs to open a path. Travels in messages. */
struct lks_fabric_key {
    uint64_t grant; /* number of this grant, never used again by this owner's journal */
    uint64_t words[3];
};

struct lks_fabric_event {
    enum lks_fabric_event_kind kind;
    uint32_t peer;
    uint64_t id;
    int status; /* 0, -LKS_EREVOKED, -LKS_EBROKEN, -EINVAL */
    bool peer_dead; /* DISCONNECTED: the peer's process is known to have ended */
    uint64_t connection; /* CONNECTED, DISCONNECTED: counts up from 1 */
    struct lks_fabric_key key;
};

enum lks_fabric_flags {
    LKS_FABRIC_INLINE = 1,  /* copy the bytes when posted; at most LKS_FABRIC_INLINE_MAX */
    LKS_FABRIC_WAKE = 2,    /* after this write, wake the peer if it sleeps */
    LKS_FABRIC_DURABLE = 4, /* a flush will follow: the shm writer writes the lines back */
    LKS_FABRIC_MORE = 8     /* another operation of this path (write_inbox: another write to this
                               inbox) follows at once. The device may be told of both then, and of
                               neighbouring bytes as of one write; by the next poll at the latest.
                               write_log: not with INLINE */
};

/* A memory area given to the fabric; owned by the caller until lks_fabric_free. */
struct lks_fabric_memory {
    void *address;
    uint64_t bytes;
    int fd;             /* the object behind it, for backends that hand it to peers; or -1 */
    uint64_t fd_offset;
};

struct lks_fabric_options {
    uint32_t replica;  /* own id, 1..7 */
    uint32_t replicas; /* size of the cluster; ids are 1..replicas */
    uint8_t cluster_id[16];
    uint64_t incarnation;
    const char *directory;        /* shm: where the sockets are; mode 0700, owned by the user */
    struct lks_fabric_memory log; /* its first 4096 bytes belong to the fabric (shm: gates) */
    struct lks_fabric_memory snapshots; /* address NULL: none, and peers' reads of it are refused;
                                           shm: fd may be one that can only be read */
    uint64_t words_bytes;
    uint64_t inbox_bytes;         /* for each peer */
    uint64_t scratch_bytes;       /* local memory that reads may land in */
    uint32_t outstanding_max;     /* operations with an id posted and not yet polled: per
                                     connection, and per path */
    uint64_t silent_writer_ns;    /* shm: kill a writer that is silent this long inside a section */
    bool shared_process;          /* shm: peers are threads of this process (thread sanitizer):
                                     nobody is killed, and a peer's end is seen by its socket */
    uint8_t hello[LKS_FABRIC_HELLO_BYTES]; /* handed to every peer at connection */
    const struct lks_log *log_sink;
};

struct lks_fabric_ops;

/* What every backend begins with. */
struct lks_fabric {
    const struct lks_fabric_ops *ops;
};

struct lks_fabric_ops {
    const char *name;
    bool writes_when_posted; /* a write costs its copying when posted, and is done then (shm) */
    bool writes_while_posting; /* posting a write takes about as long as the write, which is often
                                  done then, though nothing promises it: software RDMA */
    void (*free)(struct lks_fabric *fabric);
    int (*connect)(struct lks_fabric *fabric, uint32_t peer);
    const uint8_t *(*hello)(const struct lks_fabric *fabric, uint32_t peer);
    void *(*words)(const struct lks_fabric *fabric);
    void *(*inbox)(const struct lks_fabric *fabric, uint32_t peer);
    void *(*scratch)(const struct lks_fabric *fabric);
    int (*grant)(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
    int (*revoke)(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
    int (*open)(struct lks_fabric *fabric, uint32_t peer, const struct lks_fabric_key *key,
                uint64_t id);
    int (*write_log)(struct lks_fabric *fabric, uint32_t peer, uint64_t offset, const void *source,
                     uint64_t bytes, uint32_t flags, uint64_t id);
    int (*flush)(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
    int (*write_inbox)(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                       const void *source, uint64_t bytes, uint32_t flags, uint64_t id);
    int (*read)(struct lks_fabric *fabric, uint32_t peer, enum lks_fabric_region region,
                uint64_t offset, void *destination, uint64_t bytes, uint64_t id);
    int (*poll)(struct lks_fabric *fabric, struct lks_fabric_event *events, uint32_t events_max);
    int (*wake_fd)(const struct lks_fabric *fabric);
    int (*arm)(struct lks_fabric *fabric);
    void (*disarm)(struct lks_fabric *fabric);
    void (*describe)(const struct lks_fabric *fabric, char *text,
                     size_t bytes); /* NULL: nothing to say */
    bool (*peer_waits)(const struct lks_fabric *fabric, uint32_t peer); /* NULL: cannot tell */
    bool (*peer_ends)(const struct lks_fabric *fabric, uint32_t peer);  /* NULL: cannot tell */
    void (*expect)(struct lks_fabric *fabric, uint32_t peer, bool expected); /* NULL: no matter */
    int (*place)(struct lks_fabric *fabric, uint32_t peer, const char *address,
                 uint16_t port); /* NULL: peers are found without */
};

/*
 * The shm backend. Listens on <directory>/r<replica>.sock, fences in its memory all writers of
 * earlier lives (their revocation must still be posted and awaited), connects to nobody yet.
 * Errors: -EINVAL, -EACCES (directory not ours), -EADDRINUSE (another living process is this
 * replica), errno; err says the way out.
 */
int lks_fabric_shm_new(struct lks_fabric **fabric, const struct lks_fabric_options *options,
                       struct lks_error *err);

/* Disconnects from all and frees. Peers see a broken connection. Local regions are unmapped. */
static inline void lks_fabric_free(struct lks_fabric *fabric)
{
    if (fabric != NULL) {
        fabric->ops->free(fabric);
    }
}

/* From now on keep trying (with back-off) to be connected to peer; again after each break.
 * -EINVAL: no such peer. */
static inline int lks_fabric_connect(struct lks_fabric *fabric, uint32_t peer)
{
    return fabric->ops->connect(fabric, peer);
}

/* A hint: whether peer is thought to run and to be needed. Where it is not, tries to be connected
 * to it come seldom (seconds). At the beginning every peer is expected. */
static inline void lks_fabric_expect(struct lks_fabric *fabric, uint32_t peer, bool expected)
{
    if (fabric->ops->expect != NULL) {
        fabric->ops->expect(fabric, peer, expected);
    }
}

/* Where a peer listens from now on, instead of what the options said: a numeric address and a port,
 * copied. A connection that stands is kept; the next call goes there. Fabrics that find their peers
 * without an address take any. -EINVAL: no such peer, or no such address; nothing is changed. */
static inline int lks_fabric_place(struct lks_fabric *fabric, uint32_t peer, const char *address,
                                   uint16_t port)
{
    return fabric->ops->place != NULL ? fabric->ops->place(fabric, peer, address, port) : 0;
}

/* The 64 bytes that the peer gave at its last connection; valid until it connects again. */
static inline const uint8_t *lks_fabric_hello(const struct lks_fabric *fabric, uint32_t peer)
{
    return fabric->ops->hello(fabric, peer);
}

/* Own regions as this replica sees them: zeroed at start; the peer's inbox area again at each new
 * connection, before CONNECTED. */
static inline void *lks_fabric_words(const struct lks_fabric *fabric)
{
    return fabric->ops->words(fabric);
}
static inline void *lks_fabric_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    return fabric->ops->inbox(fabric, peer);
}
static inline void *lks_fabric_scratch(const struct lks_fabric *fabric)
{
    return fabric->ops->scratch(fabric);
}

/*
 * Posts: let peer write the own log. Needs: no grant to this peer stands that was not revoked
 * (asserted). Ends with GRANTED; status -LKS_EBROKEN if the peer is not connected.
 * Invariant 1 (one writer a ring) is the caller's: revoke the others first.
 */
static inline int lks_fabric_grant(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return fabric->ops->grant(fabric, peer, id);
}

/* Posts: take every permission of peer on the own log away. Ends with REVOKED, always; never
 * needs the peer's help or a connection. Ends also when nothing was granted. Of grant, revoke and
 * open together LKS_FABRIC_CHANGES_MAX may be under way with one peer; more: -LKS_EBUSY. */
static inline int lks_fabric_revoke(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return fabric->ops->revoke(fabric, peer, id);
}

/* Posts: use a key that peer handed over. Anything under way on an older path to this peer
 * completes with -LKS_EBROKEN first. Ends with OPENED. */
static inline int lks_fabric_open(struct lks_fabric *fabric, uint32_t peer,
                                  const struct lks_fabric_key *key, uint64_t id)
{
    return fabric->ops->open(fabric, peer, key, id);
}

/*
 * Posts a write of [source, source + bytes) to the peer's log memory at offset (from its start,
 * head included; the head itself is refused). Without LKS_FABRIC_INLINE source must lie in the
 * own log memory and not be changed by this replica until completion. id 0: no completion event
 * unless it fails, in which case the failure shows in the next operation with an id. A path that
 * a refused write broke still takes operations, and completes them with errors, until it is opened
 * anew.
 * Returns 0, -LKS_EBUSY (poll first: something is under way or unpolled, at most outstanding_max
 * operations; a fabric may refuse earlier), -LKS_EBROKEN (no path), -EINVAL (bounds, flags, no
 * bytes).
 */
static inline int lks_fabric_write_log(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                                       const void *source, uint64_t bytes, uint32_t flags,
                                       uint64_t id)
{
    return fabric->ops->write_log(fabric, peer, offset, source, bytes, flags, id);
}

/* Posts a flush: completes with 0 when every earlier DURABLE write of this path has succeeded
 * and is durable as far as this fabric can make it so on the medium. Errors as _write_log. */
static inline int lks_fabric_flush(struct lks_fabric *fabric, uint32_t peer, uint64_t id)
{
    return fabric->ops->flush(fabric, peer, id);
}

/* Posts a write to the own area in the peer's inbox. INLINE or from scratch memory. */
static inline int lks_fabric_write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                                         const void *source, uint64_t bytes, uint32_t flags,
                                         uint64_t id)
{
    return fabric->ops->write_inbox(fabric, peer, offset, source, bytes, flags, id);
}

/* Posts a read of the peer's region into own log or scratch memory. Bytes are single-copy atomic
 * only per aligned word; check what you read. */
static inline int lks_fabric_read(struct lks_fabric *fabric, uint32_t peer,
                                  enum lks_fabric_region region, uint64_t offset,
                                  void *destination, uint64_t bytes, uint64_t id)
{
    return fabric->ops->read(fabric, peer, region, offset, destination, bytes, id);
}

/* Fills up to events_max events in the order in which they happened; returns how many, or
 * -LKS_EBROKEN once the fabric has failed for good: what was under way has no event then,
 * lks_fabric_describe says why, and only lks_fabric_free makes sense any more. A peer's
 * DISCONNECTED and its next CONNECTED never come out of one call: what is posted while a batch is
 * worked off cannot reach a connection that its poster does not know of. */
static inline int lks_fabric_poll(struct lks_fabric *fabric, struct lks_fabric_event *events,
                                  uint32_t events_max)
{
    return fabric->ops->poll(fabric, events, events_max);
}

/* Sleeping: _arm announces that this side will wait on wake_fd (readable when there is something
 * to do); -EAGAIN: something is there already, poll and look into the own regions instead: an
 * event, or a peer has written with LKS_FABRIC_WAKE since the last _arm. _disarm after waking. */
static inline int lks_fabric_wake_fd(const struct lks_fabric *fabric)
{
    return fabric->ops->wake_fd(fabric);
}
static inline int lks_fabric_arm(struct lks_fabric *fabric)
{
    return fabric->ops->arm(fabric);
}
/* One line for people: on what this fabric works, and why its fences are trusted. False: nothing
 * beyond its name; text is then untouched. */
static inline bool lks_fabric_describe(const struct lks_fabric *fabric, char *text, size_t bytes)
{
    if (fabric->ops->describe == NULL) {
        return false;
    }
    fabric->ops->describe(fabric, text, bytes);
    return true;
}

/* A hint: true if the peer is known to be ready to run and to wait for a processor (or its disk);
 * so it is slow, not stopped. Costs a system call; never needed for safety. */
static inline bool lks_fabric_peer_waits(const struct lks_fabric *fabric, uint32_t peer)
{
    return fabric->ops->peer_waits != NULL && fabric->ops->peer_waits(fabric, peer);
}
/* A hint: true if the peer's thread is known to have ended, while DISCONNECTED, which comes when
 * its process is gone altogether, may still take a while. Cheap; never needed for safety. */
static inline bool lks_fabric_peer_ends(const struct lks_fabric *fabric, uint32_t peer)
{
    return fabric->ops->peer_ends != NULL && fabric->ops->peer_ends(fabric, peer);
}
static inline void lks_fabric_disarm(struct lks_fabric *fabric)
{
    fabric->ops->disarm(fabric);
}

#endif
