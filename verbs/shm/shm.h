/*
 * What the files of the shm backend share: the fabric object. fabric.c owns its life and the ops
 * table, link.c checks and holds connections, meeting.c makes them, transfer.c moves bytes, wake.c
 * sleeps and wakes. One thread uses a fabric. Invariant: a peer's memory is touched only while
 * `connected` (its view is mapped), its log only while `path` is open, and written only inside a
 * section of its gate.
 */
#ifndef LKS_VERBS_SHM_SHM_H
#define LKS_VERBS_SHM_SHM_H

#include "verbs/fabric.h"
#include "verbs/shm/events.h"
#include "verbs/shm/gate.h"
#include "verbs/shm/process.h"
#include "verbs/shm/segment.h"
#include "verbs/shm/socket.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SHM_CONTROL_MAX LKS_SHM_GATE_POSTED_MAX /* grants, revokes and opens at a time */
#define LKS_SHM_SESSIONS_MAX 16u                    /* clients that have not said who they are */
#define LKS_SHM_NEVER UINT64_MAX
#define LKS_SHM_DIAL_PAUSE_MIN_NS UINT64_C(1000000)
#define LKS_SHM_KEY_MARK UINT64_C(0x6c6b732d6b657931) /* words[1] of a key; [0]: incarnation */

enum lks_shm_path {
    LKS_SHM_PATH_NONE,
    LKS_SHM_PATH_OPEN,
    LKS_SHM_PATH_BROKEN /* a write was refused: everything completes with an error */
};

/* One connection's descriptors and mappings, and who is at its other end. */
struct lks_shm_link {
    int socket; /* -1: none, and nothing else is valid; so too for the other two */
    int pidfd;
    int wake_fd;
    struct lks_shm_view view;
    struct lks_shm_process process;
    uint64_t incarnation;
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
};

/* How far a new connection has come. */
enum lks_shm_coming {
    LKS_SHM_COMING_NONE,
    LKS_SHM_COMING_DIALED,  /* own hello is out; the peer's is awaited */
    LKS_SHM_COMING_HEARD,   /* the peer called; the end of the old connection is awaited */
    LKS_SHM_COMING_ANSWERED /* own hello is out; READY is awaited */
};

enum lks_shm_phase {
    LKS_SHM_APART,
    LKS_SHM_TOGETHER,
    LKS_SHM_LOST /* the socket has ended: whether the process has is awaited, for a short time */
};

struct lks_shm_peer {
    /* Read by every operation. */
    enum lks_shm_path path;
    int path_status; /* BROKEN: what the next operation with an id completes with */
    uint64_t path_grant;
    struct lks_shm_gate *gate; /* own one, in the peer's head */
    uint8_t *log;
    bool connected; /* phase TOGETHER */
    uint32_t outstanding[LKS_SHM_LANES];
    uint64_t rung; /* own bell in the peer's segment */
    /* Connection. */
    enum lks_shm_phase phase;
    struct lks_shm_link link;
    uint64_t lost_deadline_ns;
    uint64_t connection;    /* counts up */
    bool farewell_pending;  /* DISCONNECTED is not handed out yet */
    bool inbox_used;        /* own area for this peer may hold an older connection's bytes */
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
    enum lks_shm_coming coming;
    struct lks_shm_link coming_link;
    uint64_t coming_deadline_ns;
    /* Dialing. */
    bool wanted;
    uint64_t dial_ns;
    uint64_t dial_pause_ns;
    bool unexpected;         /* dialed seldom */
    int complained;          /* code of the last refusal logged, */
    uint64_t complained_ns;  /* and when: the same one is not repeated at once */
};

struct lks_shm_session {
    int fd; /* -1: free */
    uint64_t deadline_ns;
};

struct lks_shm_fabric {
    struct lks_fabric base; /* first */
    uint32_t self;
    uint32_t replicas;
    uint32_t outstanding_max;
    uint32_t polls; /* until the next look at the clock */
    bool sockets_due;
    struct lks_fabric_memory log;
    struct lks_fabric_memory snapshots; /* bytes 0: none */
    uint8_t *scratch;
    struct lks_shm_peer peers[LKS_REPLICAS_MAX + 1]; /* by id */
    struct lks_shm_events events;
    struct lks_shm_gates gates;
    struct lks_shm_segment segment;
    /* Sleeping. */
    int epoll_fd;
    int wake_fd;  /* eventfd that peers signal */
    int timer_fd; /* readable at the earliest deadline while asleep */
    uint64_t timer_ns;
    uint64_t rung_seen[LKS_REPLICAS_MAX + 1];
    /* Meeting. */
    struct lks_shm_socket here;
    int pidfd; /* of this process */
    struct lks_shm_process process;
    struct lks_shm_session sessions[LKS_SHM_SESSIONS_MAX];
    uint64_t listen_again_ns; /* 0: listening; else when to try again after a lack of descriptors */
    uint64_t sockets_ns;      /* last look at the sockets */
    struct lks_shm_sizes sizes;
    struct lks_fabric_options options; /* its pointers are not used after _new, but log_sink */
};

/* What an epoll event is about: kind << 32 | index. */
enum lks_shm_source {
    LKS_SHM_SOURCE_LISTEN,
    LKS_SHM_SOURCE_WAKE,
    LKS_SHM_SOURCE_TIMER,
    LKS_SHM_SOURCE_SESSION,    /* index: session */
    LKS_SHM_SOURCE_COMING,     /* index: peer */
    LKS_SHM_SOURCE_CONNECTION, /* index: peer */
    LKS_SHM_SOURCE_PROCESS     /* index: peer */
};

static inline struct lks_shm_fabric *lks_shm_of(struct lks_fabric *fabric)
{
    return (struct lks_shm_fabric *)(void *)fabric;
}

static inline const struct lks_shm_fabric *lks_shm_of_const(const struct lks_fabric *fabric)
{
    return (const struct lks_shm_fabric *)(const void *)fabric;
}

/* True for a replica other than this one. */
static inline bool lks_shm_is_peer(const struct lks_shm_fabric *shm, uint32_t peer)
{
    return peer >= 1 && peer <= shm->replicas && peer != shm->self;
}

/* ---- transfer.c ------------------------------------------------------------------------------ */

int lks_shm_open(struct lks_fabric *fabric, uint32_t peer, const struct lks_fabric_key *key,
                 uint64_t id);
int lks_shm_write_log(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                      const void *source, uint64_t bytes, uint32_t flags, uint64_t id);
int lks_shm_flush(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
int lks_shm_write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                        const void *source, uint64_t bytes, uint32_t flags, uint64_t id);
int lks_shm_read(struct lks_fabric *fabric, uint32_t peer, enum lks_fabric_region region,
                 uint64_t offset, void *destination, uint64_t bytes, uint64_t id);

/* ---- wake.c ---------------------------------------------------------------------------------- */

int lks_shm_wake_init(struct lks_shm_fabric *shm);
void lks_shm_wake_fini(struct lks_shm_fabric *shm);
/* After a write to peer: rings its bell, and signals it if it sleeps. */
void lks_shm_wake_peer(struct lks_shm_fabric *shm, struct lks_shm_peer *peer);
int lks_shm_arm(struct lks_fabric *fabric);
void lks_shm_disarm(struct lks_fabric *fabric);
/* Watches fd for input; 0 or errno. _unwatch must come before the fd is closed. */
int lks_shm_watch(struct lks_shm_fabric *shm, int fd, enum lks_shm_source source, uint32_t index);
void lks_shm_unwatch(struct lks_shm_fabric *shm, int fd);

/* ---- link.c ---------------------------------------------------------------------------------- */

struct lks_shm_link lks_shm_link_none(void);
void lks_shm_link_close(struct lks_shm_fabric *shm, struct lks_shm_link *link);
/* Unwatches and closes; -1 is allowed, and left behind. */
void lks_shm_close_watched(struct lks_shm_fabric *shm, int *fd);

struct lks_shm_message lks_shm_make_message(const struct lks_shm_fabric *shm, uint32_t to,
                                            enum lks_shm_message_kind kind);
int lks_shm_send_hello(const struct lks_shm_fabric *shm, uint32_t to, int fd);
/* One line about a refusal, unless the same was said a moment ago. index: the claimed replica, or
 * 0. -ENOTCONN (a peer that is still starting) is no news. */
void lks_shm_complain(struct lks_shm_fabric *shm, uint32_t index, int code, const char *who,
                      const char *detail);
/* Tells the client why, and logs it. The socket stays the caller's. */
void lks_shm_refuse(struct lks_shm_fabric *shm, int fd, uint32_t claimed, int code,
                    const char *detail);
/* Takes a hello's descriptors and makes them a link; on failure nothing of them is left open, and
 * detail says why. The socket stays the caller's. */
int lks_shm_accept_hello(const struct lks_shm_fabric *shm, const struct lks_shm_message *hello,
                         int socket, const int *fds, struct lks_shm_link *link,
                         const char **detail);

/* The coming link becomes the connection. */
void lks_shm_come_together(struct lks_shm_fabric *shm, uint32_t id);
/* From now on nothing of this peer is touched; no event. */
void lks_shm_let_go(struct lks_shm_peer *peer);
/* Ends a connection, with its event. */
void lks_shm_part(struct lks_shm_fabric *shm, uint32_t id, bool peer_dead);
/* The socket of a connection has ended: in order, or with the process, or for no good reason. */
void lks_shm_lose(struct lks_shm_fabric *shm, uint32_t id, bool goodbye, uint64_t now_ns);

/* ---- meeting.c ------------------------------------------------------------------------------- */

void lks_shm_meeting_init(struct lks_shm_fabric *shm);
/* Says goodbye to all and closes everything; no events. */
void lks_shm_meeting_fini(struct lks_shm_fabric *shm);
int lks_shm_connect(struct lks_fabric *fabric, uint32_t peer);
void lks_shm_expect(struct lks_fabric *fabric, uint32_t peer, bool expected);
/* Handles what the descriptors and the clock have for this side; bounded work. */
void lks_shm_meeting_serve(struct lks_shm_fabric *shm, uint64_t now_ns);
/* Earliest time at which _serve has something to do though no descriptor is ready. */
uint64_t lks_shm_meeting_deadline(const struct lks_shm_fabric *shm);

#endif
