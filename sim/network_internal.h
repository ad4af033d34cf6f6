/*
 * What the files of the simulated network share: links (network.c), hosts (host.c), their ends of
 * connections (connection.c), ordered operations (channel.c) and how they land (pieces.c), writes
 * that outlive their path (strays.c), write permission (gate.c), the steps by which shared memory
 * keeps to it (section.c), and the calls of a process (fabric.c). Everything lives as long as the
 * network, so that timeline actions may name it; generations tell old actions from new ones.
 */
#ifndef LKS_SIM_NETWORK_INTERNAL_H
#define LKS_SIM_NETWORK_INTERNAL_H

#include "sim/memory.h"
#include "sim/network.h"
#include "verbs/fabric.h"

#define LKS_SIM_PIECES_MAX 8u
#define LKS_SIM_POOL_MAX 4u /* operations of one channel that land at the same time */
#define LKS_SIM_STRAYS_MAX 65536u

enum lks_sim_op_kind {
    LKS_SIM_WRITE_LOG,
    LKS_SIM_FLUSH,
    LKS_SIM_WRITE_INBOX,
    LKS_SIM_READ
};

enum lks_sim_op_state {
    LKS_SIM_QUEUED,   /* posted; nothing of it has left */
    LKS_SIM_ADMITTED, /* has left: passed the permission check; its pieces land one by one */
    LKS_SIM_SETTLED   /* landed or failed; the completion is under way */
};

/* A part of an operation's bytes that lands at one instant. */
struct lks_sim_piece {
    uint32_t from; /* within the operation */
    uint32_t to;
    uint8_t words; /* which of its words: 0 all, else those whose bit in `scatter` is words - 1 */
    bool landed;
};

struct lks_sim_op {
    enum lks_sim_op_kind kind;
    enum lks_sim_op_state state;
    uint64_t id;
    uint32_t flags;
    enum lks_fabric_region region;
    uint64_t offset;
    uint64_t bytes;
    const uint8_t *source; /* a write's bytes: memory of the process, or `data` */
    uint8_t *data;         /* bytes copied when posted; owned; NULL: read from source at landing */
    uint8_t *destination;  /* a read's */
    uint64_t flush_end;    /* a flush: how many unflushed ranges of the path it covers */
    uint64_t scatter;
    struct lks_sim_piece pieces[LKS_SIM_PIECES_MAX];
    uint32_t pieces_count;
    uint32_t pieces_left;
    bool in_order; /* too long for its pieces to land in any order */
    int status;
    uint64_t completes_ns;
};

struct lks_sim_range {
    uint64_t offset;
    uint64_t bytes;
};

struct lks_sim_side;

/* A piece in a writer's write-combining buffers: stored, not yet to be seen. */
struct lks_sim_combined {
    uint8_t *data; /* owned */
    uint64_t offset;
    uint64_t bytes;
};

#define LKS_SIM_BUSY_STORES_MAX 4u
#define LKS_SIM_COMBINED_MAX 32u

/* A writer on shared memory, at the gate of one owner; see section.c. */
struct lks_sim_section {
    uint32_t step;     /* of the writer's list that comes next */
    uint64_t from;     /* of the operation in front: copied already */
    uint64_t busy_stores[LKS_SIM_BUSY_STORES_MAX]; /* to the busy word, still in the store buffer */
    uint32_t busy_stores_count;
    struct lks_sim_combined combined[LKS_SIM_COMBINED_MAX];
    uint32_t combined_count;
};

/* The operations of one connection, or of one path, in one direction. */
struct lks_sim_channel {
    struct lks_sim_side *side;
    bool is_path;
    bool open;       /* posting is allowed */
    bool refused;    /* the target refused a write: everything behind it fails */
    uint64_t grant;  /* path: the number of the grant that was opened */
    struct lks_sim_op *ops; /* ring of `room` */
    uint32_t room;          /* grows, up to capacity or a little above */
    uint32_t capacity;      /* operations that may be posted and not yet polled */
    uint32_t head;
    uint32_t count;
    uint32_t settled;  /* ops in front that landed or failed */
    uint32_t unpolled; /* completions queued and not polled */
    uint64_t generation;
    bool stepping;   /* an action of this generation is on the timeline */
    bool completing; /* likewise */
    uint64_t completed_ns; /* time of the last completion handed out */
    struct lks_sim_range *unflushed; /* sent with LKS_FABRIC_DURABLE since the last flush */
    uint32_t unflushed_count;
    uint32_t unflushed_capacity;
    uint64_t unflushed_begin; /* number of the first one */
    bool unflushed_closed;    /* a flush has left: what comes does not join the last one */
    struct lks_sim_section section;
};

/* One replica's view of its connection with one peer. */
struct lks_sim_side {
    struct lks_sim_network *network;
    uint32_t self;
    uint32_t peer;
    bool wanted;    /* lks_fabric_connect was called in this life */
    bool connected; /* the handshake is done */
    bool announced; /* CONNECTED was handed out */
    bool broken;    /* will be noticed */
    bool carries;   /* broken, but operations still work */
    uint64_t epoch; /* of the pair's handshake */
    uint64_t peer_life;
    uint64_t connection; /* as the events count it */
    uint64_t watch;      /* generation of the transport's timeout */
    bool watching;
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
    struct lks_sim_channel reads_and_inbox;
    struct lks_sim_channel path;
};

/* A piece whose path or writer has gone and that may still land. */
struct lks_sim_stray {
    uint64_t serial;
    uint64_t grant;
    uint64_t op_offset; /* of the write that it belongs to */
    uint64_t scatter;
    struct lks_sim_piece piece;
    uint8_t *data; /* of the piece; owned */
    bool passed;   /* the permission check; else it is made at landing */
};

/* The right of `writer` to write the log of `owner`. */
struct lks_sim_gate {
    struct lks_sim_network *network;
    uint32_t owner;
    uint32_t writer;
    bool standing; /* until a revocation's completion */
    bool closing;  /* nothing passes the check any more */
    struct lks_sim_control *changes; /* posted grants and revocations: one after the other */
    uint64_t grant;
    uint64_t epoch; /* connection that the grant was made on */
    struct lks_sim_stray *strays;
    uint32_t strays_count;
    uint32_t strays_capacity;
    uint64_t strays_serial;
    /* Shared memory's words, as everybody sees them; see section.c. */
    uint64_t generation;
    uint64_t busy;
    bool generation_stored; /* in the owner's store buffer: 0, for revoked */
};

/* The log memory of a replica: it outlives the process. */
struct lks_sim_store {
    uint8_t *bytes;
    uint64_t size;
    bool mapped; /* ours to unmap */
    uint64_t device;
    uint64_t inode;
};

struct lks_sim_queued_event {
    struct lks_fabric_event event;
    struct lks_sim_channel *channel; /* counts it as unpolled; or NULL */
};

struct lks_sim_host {
    uint32_t id;
    bool alive;
    bool frozen;
    bool stalled;  /* frozen, and what it posted stands still too */
    bool outlives; /* dead, and its log memory still takes writes */
    uint64_t life;
    struct lks_fabric_options options;
    struct lks_sim_store store;
    struct lks_sim_memory words;
    struct lks_sim_memory inbox[LKS_REPLICAS_MAX + 1];
    struct lks_sim_memory scratch;
    uint64_t grants; /* numbers are never used again */
    struct lks_sim_queued_event *events; /* ring */
    uint32_t events_head;
    uint32_t events_count;
    uint32_t events_capacity;
    int event_fd;
    bool armed;
    bool signalled; /* the descriptor is readable */
    bool woken;     /* by a peer, and arming has not told yet */
};

/* A grant, revocation or opening that has been posted. */
struct lks_sim_control {
    struct lks_sim_network *network;
    struct lks_sim_control *next; /* of all, for the network's end */
    struct lks_sim_control *previous;
    struct lks_sim_control *successor; /* of the same gate; the first one is under way */
    enum lks_fabric_event_kind kind;
    uint32_t self;
    uint32_t peer;
    uint64_t life;
    uint64_t id;
    uint64_t epoch;
    struct lks_fabric_key key;
    bool cancelled; /* its event has been handed out */
    uint32_t step;  /* a revocation on shared memory: of the owner's list that comes next */
};

struct lks_sim_network {
    struct lks_sim_network_options options;
    struct lks_sim_random random;
    struct lks_sim_host hosts[LKS_REPLICAS_MAX + 1];
    struct lks_sim_side sides[LKS_REPLICAS_MAX + 1][LKS_REPLICAS_MAX + 1];
    struct lks_sim_gate gates[LKS_REPLICAS_MAX + 1][LKS_REPLICAS_MAX + 1]; /* [owner][writer] */
    struct lks_sim_link links[LKS_REPLICAS_MAX + 1][LKS_REPLICAS_MAX + 1]; /* [from][to] */
    bool attempting[LKS_REPLICAS_MAX + 1][LKS_REPLICAS_MAX + 1]; /* [smaller][greater] */
    uint64_t epochs;
    struct lks_sim_control *controls;
    struct lks_sim_network_counts counts;
};

/* ---- network.c ---- */

uint64_t lks_sim_now(const struct lks_sim_network *network);
/* Posts an action after a delay drawn from `delay`. */
void lks_sim_later(struct lks_sim_network *network, const struct lks_sim_delay *delay,
                   lks_sim_action action, void *ctx, uint64_t argument);
void lks_sim_trace_network(struct lks_sim_network *network, const struct lks_sim_record *record);

/* ---- host.c ---- */

/* Queues an event for a living host; channel may be NULL. */
void lks_sim_host_push(struct lks_sim_network *network, uint32_t replica,
                       const struct lks_fabric_event *event, struct lks_sim_channel *channel);
/* A peer's write asks to wake the host. */
void lks_sim_host_wake(struct lks_sim_network *network, uint32_t replica);
/* A life begins. The log memory is set already. */
void lks_sim_host_start(struct lks_sim_network *network, struct lks_sim_host *host,
                        const struct lks_fabric_options *options);
/* The process of a host ends; its peers will notice. */
void lks_sim_host_end(struct lks_sim_network *network, uint32_t replica, bool power_cut);
/* What was under way to its log memory goes nowhere: the memory is not its log any more. */
void lks_sim_host_forget_writes(struct lks_sim_network *network, uint32_t replica);
void lks_sim_store_release(struct lks_sim_store *store);
void lks_sim_host_fini(struct lks_sim_network *network, struct lks_sim_host *host);

/* ---- connection.c ---- */

/* The link in this direction carries nothing: starts the transport's timeout. */
void lks_sim_side_blocked(struct lks_sim_side *side);
/* The side's connection is broken; it will notice. carries: until then operations work. */
void lks_sim_side_break(struct lks_sim_side *side, bool carries);
/* This side knows at once; the other one will. Must be connected. */
void lks_sim_side_break_now(struct lks_sim_side *side);
/* Tries to connect two replicas if both want it. */
void lks_sim_pair_kick(struct lks_sim_network *network, uint32_t a, uint32_t b);

/* ---- channel.c ---- */

void lks_sim_channel_init(struct lks_sim_channel *channel, struct lks_sim_side *side,
                          bool is_path);
void lks_sim_channel_fini(struct lks_sim_channel *channel);
/* Empties the channel for a new connection or grant with room for capacity operations. */
void lks_sim_channel_open(struct lks_sim_channel *channel, uint32_t capacity);
/* Takes over op->data if it is posted. -LKS_EBUSY. */
int lks_sim_channel_post(struct lks_sim_channel *channel, const struct lks_sim_op *op);
/* Gives the channel a push: a link or process works again. */
void lks_sim_channel_kick(struct lks_sim_channel *channel);
/* Ends everything on it: what is under way to a log becomes strays, inbox writes land up to a
 * point; with `report`, completions with status are queued, oldest first. */
void lks_sim_channel_fail(struct lks_sim_channel *channel, int status, bool report);
/* The revocation of what `channel` (a path) wrote completes: what passed the check lands now, or
 * is cut off. */
void lks_sim_channel_fence(struct lks_sim_channel *channel);
/* Nothing on this path lands any more. */
void lks_sim_channel_drop(struct lks_sim_channel *channel);

/* The bytes of a write that are copied when it is posted: most are few, and their memory is used
 * again at once. */
uint8_t *lks_sim_bytes_copy(const void *source, uint64_t bytes);
void lks_sim_bytes_free(uint8_t *data, uint64_t bytes); /* NULL is allowed */

struct lks_sim_op *lks_sim_channel_at(struct lks_sim_channel *channel, uint32_t place);
/* How many operations behind the settled ones have left. */
uint32_t lks_sim_channel_pooled(struct lks_sim_channel *channel);
/* Operations can act on the peer's memory now; if not, a kick or a break follows. */
bool lks_sim_channel_reachable(struct lks_sim_channel *channel);
/* Whatever of the operation has not landed never will, and all behind it fails. */
void lks_sim_channel_refuse(struct lks_sim_channel *channel, struct lks_sim_op *op, int status);
struct lks_sim_gate *lks_sim_gate_of(const struct lks_sim_channel *channel);

/* ---- pieces.c ---- */

/* Lets operations leave, as far as order allows. */
void lks_sim_pieces_admit(struct lks_sim_channel *channel);
/* Lands at least one of the pieces under way, in any order. */
void lks_sim_pieces_land_some(struct lks_sim_channel *channel);
/* Lands all that is left of an operation that has left. */
void lks_sim_pieces_land_rest(struct lks_sim_channel *channel, struct lks_sim_op *op);
/* Cuts an operation that has not left yet into pieces. */
void lks_sim_pieces_cut(struct lks_sim_network *network, struct lks_sim_op *op);
/* The last operation of `pool` of which something has landed, + 1: all before it must land. */
uint32_t lks_sim_pieces_landed_until(struct lks_sim_channel *channel, uint32_t pool);
/* Copies the bytes of a piece, or of those of its words that it consists of. target_offset: of
 * the operation's first byte, which decides what its words are. */
void lks_sim_pieces_copy(const struct lks_sim_op *op, const struct lks_sim_piece *piece,
                         uint8_t *target, const uint8_t *source);
bool lks_sim_op_is_write(const struct lks_sim_op *op);

/* ---- strays.c ---- */

/* The path ends while its writes are under way: some of them, in order, may still land. */
void lks_sim_strays_leave(struct lks_sim_channel *path);
/* From now on nothing passes the check: a first part of the strays has passed it already. */
void lks_sim_strays_close(struct lks_sim_gate *gate);
/* Everything that has passed lands, up to a random point, and nothing else ever will. */
void lks_sim_strays_fence(struct lks_sim_gate *gate);
void lks_sim_strays_drop(struct lks_sim_gate *gate);

/* ---- section.c ---- */

/* One step of a writer on shared memory, or of its store buffers. False: nothing is left to do. */
bool lks_sim_section_step(struct lks_sim_channel *path);
/* Stores that were done are seen, all of them, and no step follows: the path or writer is gone. */
void lks_sim_section_end(struct lks_sim_channel *path);
/* Stores that were done are lost with the memory that they went to. */
void lks_sim_section_drop(struct lks_sim_channel *path);
/* True while stores wait in its buffers. */
bool lks_sim_section_buffers(const struct lks_sim_channel *path);
/* One step of an owner that revokes, or of its store buffer; true: revoked. */
bool lks_sim_section_revoke_step(struct lks_sim_control *control);
/* What the owner has stored is seen. */
void lks_sim_section_drain_owner(struct lks_sim_gate *gate);

/* ---- gate.c ---- */

void lks_sim_gate_fini(struct lks_sim_gate *gate);
/* True if a write under this grant passes the check now. */
bool lks_sim_gate_passes(const struct lks_sim_gate *gate, uint64_t grant);
/* The log memory to land bytes of a writer in; NULL: there is none. Counts them and tells the
 * observer, so that what follows must be the copying. */
uint8_t *lks_sim_gate_landing(struct lks_sim_gate *gate, uint64_t offset, uint64_t bytes);
/* A new life of the owner: nothing passes any more. */
void lks_sim_gate_close(struct lks_sim_gate *gate);
int lks_sim_gate_grant(struct lks_sim_network *network, uint32_t owner, uint32_t writer,
                       uint64_t id);
int lks_sim_gate_revoke(struct lks_sim_network *network, uint32_t owner, uint32_t writer,
                        uint64_t id);
int lks_sim_gate_open(struct lks_sim_network *network, uint32_t writer, uint32_t owner,
                      const struct lks_fabric_key *key, uint64_t id);
/* Hands out -LKS_EBROKEN for the pending grants and openings of a connection. */
void lks_sim_gate_fail_controls(struct lks_sim_network *network, uint32_t self, uint32_t peer);

#endif
