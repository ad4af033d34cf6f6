/*
 * The simulated network between the replicas of one run: hosts with their log memory, links,
 * connections, and what is under way on them. It outlives every process: sim/fabric.h gives a
 * process its end of it, the cluster breaks it. One thread, virtual time, one random stream.
 *
 * It does everything that verbs/fabric.h permits and nothing that it forbids: writes land in
 * pieces, late, also after their writer has died and after the owner has restarted, until the
 * owner's revocation has completed.
 */
#ifndef LKS_SIM_NETWORK_H
#define LKS_SIM_NETWORK_H

#include "sim/random.h"
#include "sim/timeline.h"
#include "sim/trace.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_network;

/* How a network behaves; all times are drawn anew for each use. */
struct lks_sim_network_profile {
    struct lks_sim_delay step;       /* between two actions of one connection or path */
    struct lks_sim_delay completion; /* from the last byte's landing to the completion */
    struct lks_sim_delay handshake;
    struct lks_sim_delay notice;     /* from a break to a side's noticing it */
    struct lks_sim_delay control;    /* grant, open */
    struct lks_sim_delay fence;      /* revoke to its effect; effect to REVOKED */
    struct lks_sim_delay stray;      /* how long writes of a broken path stay under way */
    uint64_t transport_timeout_ns;   /* blocked this long: the connection breaks */
    uint32_t pieces_max;             /* at most 8: a write becomes visible in this many pieces */
    uint32_t scatter_ppm;            /* chance that two of them are made of single words */
    uint32_t passes_ppm;             /* chance that a write does not wait for reads and flushes */
    uint32_t busy_ppm;               /* chance of -LKS_EBUSY while something is under way */
    bool writes_when_posted;         /* bytes are copied when posted, most of them land then */
    uint32_t lags_ppm;               /* ... and this chance that they land later */
    bool gate_steps; /* paths go by the steps of shared memory's gates, store buffers included */
    uint32_t gate_steps_left_out; /* bits of enum lks_sim_gate_step: for proving that the checkers
                                     see what each of them is there for */
    uint32_t carries_ppm;            /* chance that a broken side still works until it notices */
    uint32_t outlives_ppm;           /* chance that a dead process's log still takes writes */
    uint32_t death_known_ppm; /* chance that a break tells that the peer's process has ended */
    bool untrusted_fence;            /* REVOKED comes early: for proving that checkers see it */
};

/* What a writer and an owner do on shared memory (the design's 3.2), in this order. */
enum lks_sim_gate_step {
    LKS_SIM_WRITER_STORES_BUSY,
    LKS_SIM_WRITER_FENCES,
    LKS_SIM_WRITER_LOOKS, /* at the generation */
    LKS_SIM_WRITER_COPIES,
    LKS_SIM_WRITER_DRAINS, /* non-temporal stores */
    LKS_SIM_WRITER_LEAVES,
    LKS_SIM_OWNER_STORES_GENERATION,
    LKS_SIM_OWNER_FENCES,
    LKS_SIM_OWNER_AWAITS /* busy to be 0, or the writer's death */
};

/* A quick, mildly adverse network. */
void lks_sim_network_profile_default(struct lks_sim_network_profile *profile);

/* What the cluster and its checkers are told; any may be NULL. */
struct lks_sim_network_observer {
    /* The replica has something to poll, or a peer asked to wake it. */
    void (*wake)(void *ctx, uint32_t replica);
    /* From now on writer may write owner's log; until the REVOKED event for it (_revoked). */
    void (*granted)(void *ctx, uint32_t owner, uint32_t writer);
    void (*revoked)(void *ctx, uint32_t owner, uint32_t writer);
    /* The network is about to store to these bytes of owner's log memory: a write of a peer, or a
     * read of its own. */
    void (*stores)(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes);
    /* A write of writer is about to land in owner's log though its revocation has completed. Not
     * told where untrusted_fence is set: then others have to find what follows from it. */
    void (*unfenced)(void *ctx, uint32_t owner, uint32_t writer);
    /* A flush made these bytes of owner's log memory durable. */
    void (*durable)(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes);
    /* A caller broke the fabric's contract. */
    void (*misuse)(void *ctx, uint32_t replica, const char *text);
    void *ctx;
};

struct lks_sim_network_options {
    uint32_t replicas;
    struct lks_sim_timeline *timeline; /* outlives the network */
    struct lks_sim_trace *trace;       /* outlives the network; NULL: none */
    const struct lks_sim_random *random; /* a stream is forked from it */
    bool log_outlives; /* log memory without a descriptor is not the process's: it stays, and with
                          it what is under way to it, until the network is freed */
    struct lks_sim_network_profile profile;
    struct lks_sim_network_observer observer;
};

struct lks_sim_network *lks_sim_network_new(const struct lks_sim_network_options *options);
/* All fabrics must have been freed. What was posted on the timeline must not run any more. */
void lks_sim_network_free(struct lks_sim_network *network);

/* One direction of a link. Down: nothing passes; what waits longer than the transport's timeout
 * breaks its connection. slow_ns is added to every step. */
struct lks_sim_link {
    bool down;
    uint64_t slow_ns;
};
void lks_sim_network_set_link(struct lks_sim_network *network, uint32_t from, uint32_t to,
                              struct lks_sim_link link);

/* Breaks the connection of two replicas; each side notices at a time of its own. */
void lks_sim_network_break(struct lks_sim_network *network, uint32_t a, uint32_t b);

/* As _break, but a notices at once, and b's operations keep working until b notices. */
void lks_sim_network_break_one_way(struct lks_sim_network *network, uint32_t a, uint32_t b);

/* A paused process makes no handshake. Whether what it had posted goes on meanwhile is drawn. */
void lks_sim_network_freeze(struct lks_sim_network *network, uint32_t replica, bool frozen);

/* From now on the network is quick, and refuses nothing without need: what is slow by chance must
 * not be taken for a lack of progress. Order and pieces stay as they are. */
void lks_sim_network_clear_up(struct lks_sim_network *network);

/* The host of a replica loses power: its process's end of the fabric is dead (it must still be
 * freed), and nothing that was under way to its log memory lands any more. */
void lks_sim_network_lose_power(struct lks_sim_network *network, uint32_t replica);

/* The log memory of a replica, which is down, goes away for good: nothing lands in it any more. */
void lks_sim_network_forget_log(struct lks_sim_network *network, uint32_t replica);

/* The log memory of a replica, also while its process is down; NULL before its first life. */
void *lks_sim_network_log(struct lks_sim_network *network, uint32_t replica, uint64_t *bytes);

/* What has happened since the start. */
struct lks_sim_network_counts {
    uint64_t landed;        /* pieces of writes to logs */
    uint64_t refused;       /* operations behind a permission that was gone */
    uint64_t busy;          /* -LKS_EBUSY without need */
    uint64_t passed;        /* writes that did not wait for a read or flush before them */
    uint64_t scattered;     /* writes of which single words landed by themselves */
    uint64_t from_shared;   /* pieces read from a ring that another replica could write then */
    uint64_t disconnected;  /* connections that ended, each side counted */
    uint64_t strays_landed; /* after their path or their writer was gone */
    uint64_t late_landed;   /* between the effect of a revocation and its completion */
    uint64_t unfenced_landed; /* after its completion: only with untrusted_fence, or a step of the
                                 gate left out */
};
void lks_sim_network_counts(const struct lks_sim_network *network,
                            struct lks_sim_network_counts *counts);

#endif
