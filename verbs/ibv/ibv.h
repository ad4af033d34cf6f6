/*
 * What the files of the RDMA backend share: the fabric object. fabric.c owns its life and the ops
 * table, device.c the device, device_events.c what happens to it, memory.c the registered memory,
 * meeting.c makes connections and link.c ends them, handshake.c proves the key, grant.c is the
 * owner's side of write permission, path.c the writer's, way.c how a path goes, transfer.c moves
 * bytes, arrival.c takes completions apart, wake.c sleeps.
 *
 * One thread uses a fabric; what may block is done by the helper's. Invariant: a queue pair is
 * posted to only while its queue has it, and a job's fields are touched by one thread at a time.
 */
#ifndef LKS_VERBS_IBV_IBV_H
#define LKS_VERBS_IBV_IBV_H

#include "verbs/fabric.h"
#include "verbs/ibv/fence.h"
#include "verbs/ibv/helper.h"
#include "verbs/ibv/queue.h"
#include "verbs/ibv/registration.h"
#include "verbs/ibv/wire.h"
#include "verbs/rdma.h"

#include <infiniband/verbs.h>
#include <netinet/in.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stdint.h>

#define LKS_IBV_HEAD_BYTES 4096u    /* of the log: never written by a peer */
#define LKS_IBV_WAKES_MAX 128u      /* wake-ups that a peer may send before some are taken */
#define LKS_IBV_MESSAGES_MAX 32u    /* own messages under way, and receives kept for them */
#define LKS_IBV_RECEIVES (LKS_IBV_WAKES_MAX + LKS_IBV_MESSAGES_MAX)
#define LKS_IBV_MESSAGE_BYTES 256u
#define LKS_IBV_OWNER_DEPTH 8u
#define LKS_IBV_PATHS 3u
#define LKS_IBV_CHUNKS_MAX 256u     /* of a snapshot area */
#define LKS_IBV_CHUNK_BYTES_MIN (UINT64_C(64) << 20)
#define LKS_IBV_PARKED_MAX 32u      /* reads that wait for a chunk's key, a peer */
#define LKS_IBV_GIDS_MAX 256
#define LKS_IBV_TROUBLE_BYTES 320u
#define LKS_IBV_NEVER UINT64_MAX
#define LKS_IBV_KEY_MARK UINT64_C(0x6c6b6b31) /* upper half of a key's words[1]; [0]: incarnation */
#define LKS_IBV_STEP_NS UINT64_C(3000000000) /* for each step of a meeting */
#define LKS_IBV_PAUSE_MIN_NS UINT64_C(2000000)
#define LKS_IBV_PAUSE_MAX_NS UINT64_C(200000000)
#define LKS_IBV_PAUSE_UNEXPECTED_NS UINT64_C(2000000000)

enum lks_ibv_lane {
    LKS_IBV_LANE_NONE,
    LKS_IBV_LANE_CONNECTION,
    LKS_IBV_LANE_PATH,
    LKS_IBV_LANE_CONTROL,
    LKS_IBV_LANES
};

struct lks_ibv_event {
    struct lks_fabric_event event;
    enum lks_ibv_lane lane;
};

struct lks_ibv_events {
    struct lks_ibv_event *slots;
    uint32_t mask;
    uint32_t first;
    uint32_t next;
};

/* Wake-ups that this side sends over one queue pair. Each takes a receive of the peer. */
struct lks_ibv_bell {
    uint64_t sent;
    uint64_t taken; /* as the peer last said */
    bool owed;      /* none could be sent for some write */
};

/* Wake-ups that the peer sent over one queue pair. */
struct lks_ibv_rung {
    uint64_t taken;
    uint64_t told;
};

enum lks_ibv_link_state {
    LKS_IBV_LINK_NONE,
    LKS_IBV_LINK_RESOLVING, /* dialing: address, then route */
    LKS_IBV_LINK_CALLING,   /* dialing: the request is out */
    LKS_IBV_LINK_PROVING,   /* dialing: PROOF is out, WELCOME awaited */
    LKS_IBV_LINK_ACCEPTED,  /* listening: PROOF awaited */
    LKS_IBV_LINK_WELCOMED,  /* listening: WELCOME is out, HELLO awaited */
    LKS_IBV_LINK_TOGETHER,
    LKS_IBV_LINK_REFUSED, /* REFUSE is out; the peer's hanging up is awaited */
    LKS_IBV_LINK_PROBING, /* the connection has ended: does the peer's life still listen? */
    LKS_IBV_LINK_CLOSING  /* the helper destroys it */
};

struct lks_ibv_link {
    enum lks_ibv_link_state state;
    struct rdma_cm_id *id;     /* CLOSING: NULL */
    struct rdma_cm_id *doomed; /* CLOSING: the helper's */
    struct lks_ibv_queue queue;
    uint64_t deadline_ns;
    struct lks_ibv_request request; /* of the dialing side */
    struct lks_ibv_request answer;  /* of the listening side */
    uint64_t incarnation;           /* the peer's */
    struct lks_ibv_remote regions[LKS_IBV_REGIONS];
    struct ibv_qp_attr attributes; /* TOGETHER: way to the peer; its paths go the same */
    struct lks_ibv_bell bell;
    struct lks_ibv_rung rung;
    bool together; /* after TOGETHER: its end is an event */
    bool probed;   /* no probe of the peer's life is to follow */
    bool peer_dead;
    uint64_t probe_end_ns; /* 0: no probe yet */
    struct lks_ibv_job closing;
};

enum lks_ibv_path_state {
    LKS_IBV_PATH_FREE,
    LKS_IBV_PATH_MAKING, /* by the helper */
    LKS_IBV_PATH_READY,  /* connected, and the owner told; a key may open it */
    LKS_IBV_PATH_CLOSING /* by the helper */
};

/* Writer's end of a grant. */
struct lks_ibv_path {
    enum lks_ibv_path_state state;
    struct lks_ibv_queue queue;
    uint64_t grant;
    uint32_t rkey;
    bool dropped;   /* while MAKING: not wanted any more */
    bool announced; /* ANSWER is sent */
    struct lks_ibv_bell bell;
    /* For the helper. */
    struct lks_ibv_job job;
    struct lks_ibv_fabric *ibv;
    struct ibv_qp *qp;
    struct ibv_qp_attr attributes;
    uint32_t peer_queue_pair;
    uint32_t peer_first_packet;
    uint32_t first_packet;
    int code;
};

enum lks_ibv_grant_state {
    LKS_IBV_GRANT_NONE,
    LKS_IBV_GRANT_MAKING,       /* helper: region, window, queue pair */
    LKS_IBV_GRANT_OFFERED,      /* the writer's answer is awaited */
    LKS_IBV_GRANT_CONNECTING,   /* helper: queue pair to RTS */
    LKS_IBV_GRANT_BINDING,      /* BIND is posted */
    LKS_IBV_GRANT_GIVEN,
    LKS_IBV_GRANT_INVALIDATING, /* LOCAL_INV is posted */
    LKS_IBV_GRANT_FENCING,      /* helper: what proves that nothing can land any more */
    LKS_IBV_GRANT_CLEARING      /* helper: the rest; nothing can land already */
};

struct lks_ibv_change {
    bool grant;
    uint64_t id;
};

/* Owner's side of one peer's permission. */
struct lks_ibv_grant {
    enum lks_ibv_grant_state state;
    struct lks_ibv_change changes[LKS_FABRIC_CHANGES_MAX]; /* in order, not ended */
    uint32_t changes_count;
    bool standing; /* a grant stands once all changes have ended */
    bool unfenced; /* a revocation failed: nothing is granted before one has succeeded */
    int failure;   /* FENCING: what the grant that failed ends with; 0: a revocation */
    uint64_t connection; /* over which it was offered */
    uint64_t number;
    uint64_t deadline_ns; /* INVALIDATING */
    struct lks_ibv_queue queue;
    struct lks_ibv_rung rung;
    struct ibv_pd *pd;
    uint32_t rkey;
    /* For the helper. */
    struct lks_ibv_job job;
    struct lks_ibv_fabric *ibv;
    struct ibv_mr *region; /* over the log without its head; NULL: deregistered */
    struct ibv_mw *window;
    struct ibv_qp *qp;
    struct ibv_qp_attr attributes;
    uint32_t peer_queue_pair;
    uint32_t peer_first_packet;
    uint32_t first_packet;
    int code;
};

enum lks_ibv_due {
    LKS_IBV_DUE_OFFER = 1,
    LKS_IBV_DUE_ANSWER = 2,
    LKS_IBV_DUE_CREDIT = 4,
    LKS_IBV_DUE_WAKE = 8,   /* a wake-up is owed */
    LKS_IBV_DUE_CHUNK = 16, /* keys of chunks that the peer wanted */
    LKS_IBV_DUE_PARKED = 32 /* own reads that wait for keys */
};

/* A read of a peer's snapshots. */
struct lks_ibv_parked {
    uint64_t id;
    uint64_t offset;
    uint64_t bytes;
    void *destination;
    uint32_t lkey;
};

/* The own snapshot area. */
struct lks_ibv_snapshots {
    uint8_t *address;
    uint64_t bytes; /* 0: none */
    uint32_t count; /* of chunks */
    struct ibv_pd *pd;
    struct lks_ibv_job job; /* busy: chunk, its region and code are the helper's */
    uint32_t chunk;
    int code;
    struct ibv_mr *regions[LKS_IBV_CHUNKS_MAX];
};

struct lks_ibv_peer {
    bool connected; /* link TOGETHER, and usable */
    uint32_t outstanding[LKS_IBV_LANES];
    struct lks_ibv_link link;
    struct lks_ibv_path *path; /* open; or NULL */
    struct lks_ibv_path paths[LKS_IBV_PATHS];
    struct lks_ibv_message offer; /* waits for a free path */
    bool offer_waits;
    struct lks_ibv_grant grant;
    uint32_t due; /* enum lks_ibv_due */
    uint32_t chunk_keys[LKS_IBV_CHUNKS_MAX]; /* of the peer's snapshots; 0: not known */
    uint64_t asked_chunks[LKS_IBV_CHUNKS_MAX / 64];
    uint64_t wanted_chunks[LKS_IBV_CHUNKS_MAX / 64]; /* of the own, by the peer */
    uint64_t due_chunks[LKS_IBV_CHUNKS_MAX / 64];    /* likewise; their keys are to be told */
    struct lks_ibv_parked parked[LKS_IBV_PARKED_MAX];
    uint32_t parked_count;
    uint64_t connection;
    bool farewell_pending; /* DISCONNECTED is not handed out yet */
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
    struct ibv_mr *inbox_region;
    /* Dialing. */
    bool wanted;
    bool unexpected; /* dialed seldom */
    uint64_t dial_ns;
    uint64_t dial_pause_ns;
    struct sockaddr_storage place;
    int complained;
    uint64_t complained_ns;
};

#define LKS_IBV_HEAD_OFFSET 2048u /* in the log's first page */
#define LKS_IBV_HEAD_MAGIC UINT64_C(0x6c6b732d72646d61) /* "lks-rdma" */

/* Where this backend keeps what its next life must know: in the log's head, behind the shm
 * backend's gates. Native byte order: it means nothing to another boot. */
struct lks_ibv_head {
    uint64_t magic;
    uint8_t boot_id[16];
    uint32_t pid;
    uint32_t reserved;
    uint64_t start_time;
};

/* What can wake this side. */
enum lks_ibv_source {
    LKS_IBV_SOURCE_TIMER,
    LKS_IBV_SOURCE_COMPLETIONS,
    LKS_IBV_SOURCE_MANAGER,
    LKS_IBV_SOURCE_DEVICE,
    LKS_IBV_SOURCE_HELPER,
    LKS_IBV_SOURCE_PREDECESSOR,
    LKS_IBV_SOURCES
};

struct lks_ibv_fabric {
    struct lks_fabric base; /* first */
    struct lks_fabric_ops ops; /* as the device wants them */
    uint32_t self;
    uint32_t replicas;
    uint32_t outstanding_max;
    uint32_t depth; /* of control and path queues */
    struct lks_fabric_options options; /* its pointers are not used after _new, but log_sink */
    struct lks_rdma_options rdma;
    struct lks_ibv_peer peers[LKS_REPLICAS_MAX + 1];
    struct lks_ibv_events events;
    struct lks_ibv_helper helper;
    const struct lks_ibv_fence *fence;
    uint64_t last_grant;
    uint16_t last_generation;
    int predecessor_fd; /* pidfd of an earlier life that may not have ended; -1: none */
    /* Device. */
    struct rdma_event_channel *channel;
    struct rdma_cm_id *listener;
    struct ibv_context *context; /* librdmacm's */
    struct ibv_pd *pd;           /* of control queue pairs and of writers' ends */
    struct ibv_comp_channel *completions;
    struct ibv_cq *cq;
    uint64_t message_bytes_max; /* of one work request */
    uint32_t inline_max;
    uint16_t pkey_index; /* of the configured partition */
    uint8_t read_depth; /* reads under way, a queue pair */
    char driver[32];
    struct lks_ibv_abilities abilities;
    bool device_lost; /* for good: nobody is called any more */
    char trouble[LKS_IBV_TROUBLE_BYTES]; /* why nobody reaches this replica, for people; "": none */
    /* Registered memory. */
    uint8_t *words;
    uint8_t *inboxes; /* inbox_stride bytes a peer */
    uint64_t inbox_stride;
    uint8_t *scratch;
    uint8_t *local; /* receives, slots, and a sink for flushes */
    uint64_t local_bytes;
    uint64_t *sink;
    struct ibv_mr *log_region;
    struct ibv_mr *words_region;
    struct ibv_mr *scratch_region;
    struct ibv_mr *local_region;
    struct lks_ibv_snapshots snapshots;
    /* Sleeping. */
    int epoll_fd;
    int timer_fd;
    uint64_t timer_ns; /* set to; or LKS_IBV_NEVER */
    bool look; /* at descriptors, in the next poll */
    bool rung; /* a peer has woken this side since the last arm */
    uint32_t polls;
    uint64_t looked_ns;
};

static inline struct lks_ibv_fabric *lks_ibv_of(struct lks_fabric *fabric)
{
    return (struct lks_ibv_fabric *)(void *)fabric;
}

static inline const struct lks_ibv_fabric *lks_ibv_of_const(const struct lks_fabric *fabric)
{
    return (const struct lks_ibv_fabric *)(const void *)fabric;
}

static inline bool lks_ibv_is_peer(const struct lks_ibv_fabric *ibv, uint32_t peer)
{
    return peer >= 1 && peer <= ibv->replicas && peer != ibv->self;
}

/* ---- events (fabric.c) ----------------------------------------------------------------------- */

/* Room for one more event, zeroed. */
struct lks_ibv_event *lks_ibv_push(struct lks_ibv_fabric *ibv, enum lks_fabric_event_kind kind,
                                   uint32_t peer, enum lks_ibv_lane lane);

/* ---- device.c, memory.c ---------------------------------------------------------------------- */

/* A numeric address and a port above 0. -EINVAL. */
int lks_ibv_parse_place(const struct lks_rdma_place *place, struct sockaddr_storage *into);
int lks_ibv_device_init(struct lks_ibv_fabric *ibv, struct lks_error *err);
void lks_ibv_device_fini(struct lks_ibv_fabric *ibv);
/* Listens no more. */
void lks_ibv_deafen(struct lks_ibv_fabric *ibv);
/* Registers what peers may read and write, and what is sent from; after the device. */
int lks_ibv_memory_init(struct lks_ibv_fabric *ibv, struct lks_error *err);
void lks_ibv_memory_fini(struct lks_ibv_fabric *ibv);
/* Memory that was to be registered. */
struct lks_ibv_piece {
    const char *what; /* for people */
    const void *address;
    uint64_t bytes;
};
/* Why a registration failed, and what helps; returns code. */
int lks_ibv_explain(const struct lks_ibv_fabric *ibv, const struct lks_ibv_piece *piece, int code,
                    struct lks_error *err);
uint8_t *lks_ibv_inbox(const struct lks_ibv_fabric *ibv, uint32_t peer);
/* Receive buffer of a peer. */
uint8_t *lks_ibv_receive_slot(const struct lks_ibv_fabric *ibv, uint32_t peer, uint32_t slot);
/* Registers a peer's region over the log, as the fence wants it; NULL and errno. Any thread. */
struct ibv_mr *lks_ibv_register_grant(const struct lks_ibv_fabric *ibv, struct ibv_pd *pd);
/* Attributes of a new queue pair. */
struct ibv_qp_init_attr lks_ibv_queue_attributes(const struct lks_ibv_fabric *ibv, uint32_t sends,
                                                 uint32_t receives);
uint32_t lks_ibv_random_packet(void);

/* ---- device_events.c ------------------------------------------------------------------------- */

/* Takes what the device has to tell; bounded work. */
void lks_ibv_device_events(struct lks_ibv_fabric *ibv);
/* It has failed or been removed: all connections end, and none is made any more. Said once. */
void lks_ibv_device_lost(struct lks_ibv_fabric *ibv, const char *why);

/* ---- meeting.c ------------------------------------------------------------------------------- */

int lks_ibv_listen(struct lks_ibv_fabric *ibv, struct lks_error *err);
int lks_ibv_connect(struct lks_fabric *fabric, uint32_t peer);
void lks_ibv_expect(struct lks_fabric *fabric, uint32_t peer, bool expected);
int lks_ibv_place(struct lks_fabric *fabric, uint32_t peer, const char *address, uint16_t port);
/* Handles what the clock and (if `events`) the connection manager have; bounded work. */
void lks_ibv_meeting_serve(struct lks_ibv_fabric *ibv, bool events, uint64_t now_ns);
/* Earliest time at which _serve has something to do though no descriptor is ready. */
uint64_t lks_ibv_meeting_deadline(const struct lks_ibv_fabric *ibv);
/* Asks whether the life at the other end of a connection that has ended still listens; the link is
 * closed once more when that is known. False: it cannot be asked. */
bool lks_ibv_probe(struct lks_ibv_fabric *ibv, uint32_t peer);
/* One line about a peer, unless the same was said a moment ago. */
void lks_ibv_complain(struct lks_ibv_fabric *ibv, uint32_t peer, int code, const char *what,
                      const char *detail);

/* ---- handshake.c ----------------------------------------------------------------------------- */

/* Own request, or answer to one. */
int lks_ibv_make_request(const struct lks_ibv_fabric *ibv, uint32_t to,
                         enum lks_ibv_request_kind kind, struct lks_ibv_request *request);
/* Whether a request (or an answer) fits this replica and cluster; detail says what does not. */
int lks_ibv_check_request(const struct lks_ibv_fabric *ibv, const void *data, size_t bytes,
                          struct lks_ibv_request *request, const char **detail);
/* What a person compares whose replica is refused so; "": nothing more to say. A constant. */
const char *lks_ibv_refusal_hint(int status);
/* Dialing side, connected: sends the proof. */
void lks_ibv_handshake_begin(struct lks_ibv_fabric *ibv, uint32_t peer, uint64_t now_ns);
/* Takes PROOF, WELCOME, HELLO and REFUSE. */
void lks_ibv_handshake_hear(struct lks_ibv_fabric *ibv, uint32_t peer,
                            const struct lks_ibv_message *message);

/* ---- link.c ---------------------------------------------------------------------------------- */

/* Makes the control queue pair of the link's id and posts its receives. */
int lks_ibv_link_prepare(struct lks_ibv_fabric *ibv, uint32_t peer);
/* Both hellos have been heard. */
void lks_ibv_link_join(struct lks_ibv_fabric *ibv, uint32_t peer);
/* Ends the link in whatever state it is; if it was together, DISCONNECTED follows. */
void lks_ibv_link_close(struct lks_ibv_fabric *ibv, uint32_t peer);
/* Writes nothing to the peer: if it does not answer, the connection ends. */
void lks_ibv_link_try(struct lks_ibv_fabric *ibv, uint32_t peer);
/* Sends a message over the control queue pair. False: no room; say it again later. */
bool lks_ibv_send(struct lks_ibv_fabric *ibv, uint32_t peer, const struct lks_ibv_message *message);
/* Sends what is due to a peer. */
void lks_ibv_send_due(struct lks_ibv_fabric *ibv, uint32_t peer);
int lks_ibv_post_receive(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue, uint32_t slot);

/* ---- grant.c --------------------------------------------------------------------------------- */

int lks_ibv_grants_init(struct lks_ibv_fabric *ibv, struct lks_error *err);
void lks_ibv_grants_fini(struct lks_ibv_fabric *ibv);
/* Time at which a grant must be looked at though nothing has happened. */
uint64_t lks_ibv_grants_deadline(const struct lks_ibv_fabric *ibv);
int lks_ibv_grant(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
int lks_ibv_revoke(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
void lks_ibv_grant_advance(struct lks_ibv_fabric *ibv, uint32_t peer);
void lks_ibv_grant_answered(struct lks_ibv_fabric *ibv, uint32_t peer,
                            const struct lks_ibv_message *answer);
/* BIND or LOCAL_INV has ended. */
void lks_ibv_grant_completed(struct lks_ibv_fabric *ibv, uint32_t peer,
                             enum lks_ibv_purpose purpose, int status);

/* ---- queue_pair.c ---------------------------------------------------------------------------- */

/* What connects two queue pairs without the connection manager. */
struct lks_ibv_ends {
    const struct ibv_qp_attr *way; /* address, MTU, timeouts */
    uint32_t peer_queue_pair;
    uint32_t peer_first_packet;
    uint32_t first_packet;
    uint8_t read_depth;
};

/* Any thread. Errors: errno of the device. */
int lks_ibv_queue_pair_init(struct ibv_qp *qp, const struct ibv_qp_attr *way, int access);
int lks_ibv_queue_pair_connect(struct ibv_qp *qp, const struct lks_ibv_ends *ends);

/* ---- way.c ----------------------------------------------------------------------------------- */

/* The own address, as RoCE has it in its tables. */
void lks_ibv_own_gid(const struct lks_ibv_fabric *ibv, union ibv_gid *gid);
/* Finds what the configuration names at the port, also anew; -EINVAL: it is not there. */
int lks_ibv_way_init(struct lks_ibv_fabric *ibv, struct lks_error *err);
/* The way of the paths to a peer, beginning with that of its control queue pair. */
void lks_ibv_way_choose(const struct lks_ibv_fabric *ibv, uint32_t peer, struct ibv_qp_attr *way);

/* ---- path.c ---------------------------------------------------------------------------------- */

int lks_ibv_open(struct lks_fabric *fabric, uint32_t peer, const struct lks_fabric_key *key,
                 uint64_t id);
void lks_ibv_path_offered(struct lks_ibv_fabric *ibv, uint32_t peer,
                          const struct lks_ibv_message *offer);
/* Tells the owner of paths that have become ready; false: later. */
bool lks_ibv_path_announce(struct lks_ibv_fabric *ibv, uint32_t peer);
/* Connection lost: nothing is open any more. The queue pairs go with the link. */
void lks_ibv_paths_leave(struct lks_ibv_fabric *ibv, uint32_t peer);
/* The helper has destroyed them: everything on them ends. */
void lks_ibv_paths_gone(struct lks_ibv_fabric *ibv, uint32_t peer);

/* ---- transfer.c ------------------------------------------------------------------------------ */

int lks_ibv_write_log(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                      const void *source, uint64_t bytes, uint32_t flags, uint64_t id);
int lks_ibv_flush(struct lks_fabric *fabric, uint32_t peer, uint64_t id);
int lks_ibv_write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                        const void *source, uint64_t bytes, uint32_t flags, uint64_t id);
int lks_ibv_read(struct lks_fabric *fabric, uint32_t peer, enum lks_fabric_region region,
                 uint64_t offset, void *destination, uint64_t bytes, uint64_t id);
/* Sends wake-ups that are owed; false: not all could be sent. */
bool lks_ibv_ring_owed(struct lks_ibv_fabric *ibv, uint32_t peer);

/* ---- snapshots.c ----------------------------------------------------------------------------- */

int lks_ibv_snapshots_init(struct lks_ibv_fabric *ibv, struct lks_error *err);
void lks_ibv_snapshots_fini(struct lks_ibv_fabric *ibv);
/* Owner's side: a peer wants a chunk's key; keys that are due are told (false: later). */
void lks_ibv_chunk_wanted(struct lks_ibv_fabric *ibv, uint32_t peer,
                          const struct lks_ibv_message *message);
bool lks_ibv_chunks_answer(struct lks_ibv_fabric *ibv, uint32_t peer);
/* Reader's side: a new connection; a key has come; a read, within bounds; reads that waited go on
 * (false: some still wait); all that wait end. */
void lks_ibv_chunks_reset(struct lks_ibv_fabric *ibv, uint32_t peer);
void lks_ibv_chunk_answered(struct lks_ibv_fabric *ibv, uint32_t peer,
                            const struct lks_ibv_message *message);
int lks_ibv_read_snapshots(struct lks_ibv_fabric *ibv, uint32_t peer,
                           const struct lks_ibv_parked *read);
bool lks_ibv_parked_go_on(struct lks_ibv_fabric *ibv, uint32_t peer);
void lks_ibv_parked_end(struct lks_ibv_fabric *ibv, uint32_t peer);

/* ---- arrival.c ------------------------------------------------------------------------------- */

/* Takes completions; true if there was any. Bounded work. */
bool lks_ibv_take_completions(struct lks_ibv_fabric *ibv);

/* ---- wake.c ---------------------------------------------------------------------------------- */

int lks_ibv_wake_init(struct lks_ibv_fabric *ibv);
void lks_ibv_wake_fini(struct lks_ibv_fabric *ibv);
int lks_ibv_watch(struct lks_ibv_fabric *ibv, int fd, enum lks_ibv_source source);
int lks_ibv_arm(struct lks_fabric *fabric);
void lks_ibv_disarm(struct lks_fabric *fabric);
/* Which sources (bit by enum lks_ibv_source) are readable; those that only wake are quiet then. */
uint32_t lks_ibv_ready(struct lks_ibv_fabric *ibv);

#endif
