/*
 * What the files of the simulated network share: hosts (network.c), their ends of connections
 * (network.c), ordered operations (channel.c), write permission (gate.c) and the calls of a
 * process (fabric.c). Everything lives as long as the network, so that timeline actions may name
 * it; generations tell old actions from new ones.
 */
#ifndef LKS_SIM_NETWORK_INTERNAL_H
#define LKS_SIM_NETWORK_INTERNAL_H

#include "sim/network.h"
#include "verbs/fabric.h"

#define LKS_SIM_PIECES_MAX 8u
#define LKS_SIM_POOL_MAX 4u /* operations of one channel that land at the same time */
#define LKS_SIM_DISORDER_BYTES (32u << 10) /* a writer is never further ahead of itself */
#define LKS_SIM_STRAYS_MAX 65536u

enum lks_sim_op_kind {
    LKS_SIM_WRITE_LOG,
    LKS_SIM_FLUSH,
    LKS_SIM_WRITE_INBOX,
    LKS_SIM_READ
};

enum lks_sim_op_state {
    LKS_SIM_QUEUED,   /* posted; nothing of it has left */
    LKS_SIM_ADMITTED, /* passed the permission check; its pieces land one by one */
    LKS_SIM_SETTLED   /* landed or failed; the completion is under way */
};

struct lks_sim_piece {
    uint64_t from; /* within the operation */
    uint64_t to;
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
    const uint8_t *source; /* read when admitted, or when the process dies */
    uint8_t *data;         /* the bytes on their way; owned */
    void *destination;
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

/* The operations of one connection, or of one path, in one direction. */
struct lks_sim_channel {
    struct lks_sim_side *side;
    bool is_path;
    bool open;       /* posting is allowed */
    bool refused;    /* the target refused a write: everything behind it fails */
    uint64_t grant;  /* path: the number of the grant that was opened */
    struct lks_sim_op *ops; /* ring of capacity */
    uint32_t capacity;
    uint32_t head;
    uint32_t count;
    uint32_t settled;  /* ops in front that landed or failed */
    uint32_t unpolled; /* completions queued and not polled */
    uint64_t generation;
    bool stepping;   /* an action of this generation is on the timeline */
    bool completing; /* likewise */
    uint64_t completed_ns; /* time of the last completion handed out */
    struct lks_sim_range *unflushed; /* landed with LKS_FABRIC_DURABLE since the last flush */
    uint32_t unflushed_count;
    uint32_t unflushed_capacity;
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

/* A write whose path or writer has gone and that may still land. */
struct lks_sim_stray {
    uint64_t serial;
    uint64_t grant;
    uint64_t offset;
    uint64_t bytes;
    uint8_t *data;
    bool passed; /* the permission check; else it is made at landing */
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
};

/* The log memory of a replica: it outlives the process. */
struct lks_sim_store {
    uint8_t *bytes;
    uint64_t size;
    bool mapped; /* ours to unmap */
    uint64_t device;
    uint64_t inode;
};

/* Memory of one process, page by page, zero where it was not touched. */
struct lks_sim_memory {
    uint8_t *bytes;
    uint64_t size;
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
/* Makes memory `size` zero bytes; _release gives it back. */
void lks_sim_memory_renew(struct lks_sim_memory *memory, uint64_t size);
void lks_sim_memory_release(struct lks_sim_memory *memory);
/* Posts an action after a delay drawn from `delay`. */
void lks_sim_later(struct lks_sim_network *network, const struct lks_sim_delay *delay,
                   lks_sim_action action, void *ctx, uint64_t argument);
void lks_sim_trace_network(struct lks_sim_network *network, const struct lks_sim_record *record);
/* Queues an event for a living host; channel may be NULL. */
void lks_sim_host_push(struct lks_sim_network *network, uint32_t replica,
                       const struct lks_fabric_event *event, struct lks_sim_channel *channel);
/* A peer's write asks to wake the host. */
void lks_sim_host_wake(struct lks_sim_network *network, uint32_t replica);
/* The link in this direction carries nothing: starts the transport's timeout. */
void lks_sim_side_blocked(struct lks_sim_side *side);
/* Tries to connect two replicas if both want it. */
void lks_sim_pair_kick(struct lks_sim_network *network, uint32_t a, uint32_t b);
/* The process of a host ends; its peers will notice. */
void lks_sim_host_end(struct lks_sim_network *network, uint32_t replica, bool power_cut);

/* ---- channel.c ---- */

void lks_sim_channel_init(struct lks_sim_channel *channel, struct lks_sim_side *side,
                          bool is_path);
void lks_sim_channel_fini(struct lks_sim_channel *channel);
/* Empties the channel for a new connection or grant with room for capacity operations. */
void lks_sim_channel_open(struct lks_sim_channel *channel, uint32_t capacity);
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

/* ---- gate.c ---- */

void lks_sim_gate_fini(struct lks_sim_gate *gate);
/* True if a write under this grant passes the check now. */
bool lks_sim_gate_passes(const struct lks_sim_gate *gate, uint64_t grant);
/* Puts bytes into the owner's log memory. */
void lks_sim_gate_land(struct lks_sim_gate *gate, uint64_t offset, const uint8_t *data,
                       uint64_t bytes);
/* Takes over a write that is still under way; copies. due_ns: when it lands unless fenced. */
void lks_sim_gate_add_stray(struct lks_sim_gate *gate, const struct lks_sim_stray *stray,
                            uint64_t due_ns);
void lks_sim_gate_drop_strays(struct lks_sim_gate *gate);
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
