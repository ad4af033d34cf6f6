/*
 * The state of a replica, shared by the files that join core, journal, fabric and service:
 *
 *   replica.c   life, one step, status        propose.c  commands -> log (leader)
 *   effects.c   what the core wants done      apply.c    log -> service -> answers
 *   arrivals.c  completions and messages      forward.c  commands -> leader (gateway)
 *   persist.c   making ranges durable         log_read.c reading a peer's log (adoption)
 *   fitness.c   whether it should lead      takeover.c  when it last came to lead
 *   install.c   a peer's snapshots into the own area
 *   reads.c     reads without entries, on any replica
 *   member_changes.c  who belongs to the cluster
 *   snapshot.c  service -> area, base         recovery.c area -> service, and what waits for it
 *   execution.c commands -> workers -> answers
 *
 * One thread. Completions become events in a queue; lks_replica_drain feeds them to the core and
 * carries out what comes back, until nothing is left.
 */
#ifndef LKS_NODE_REPLICA_INTERNAL_H
#define LKS_NODE_REPLICA_INTERNAL_H

#include "base/assert.h"
#include "consensus/core.h"
#include "consensus/quorum.h"
#include "node/execution.h"
#include "node/footprint.h"
#include "node/gateway.h"
#include "node/hello.h"
#include "node/ingress.h"
#include "node/install.h"
#include "node/mailbox.h"
#include "node/members.h"
#include "node/public_words.h"
#include "node/reads.h"
#include "node/recovery.h"
#include "node/replica.h"
#include "node/sessions.h"
#include "node/snapshot.h"

#define LKS_REPLICA_OPS_MAX 2048u    /* operations posted to the fabric and not yet completed */
#define LKS_REPLICA_EVENTS_MAX 4096u /* at least two for each of them */
#define LKS_REPLICA_DEFERRED_MAX 32u
#define LKS_REPLICA_WAITING_MAX 4u   /* core messages that wait for room in a mailbox */
#define LKS_REPLICA_READS_MAX 4u     /* chunks of a log read under way */
#define LKS_REPLICA_READ_BYTES (256u << 10)
#define LKS_REPLICA_RESERVE 16u      /* this part of a ring is for no-ops: see the core's options */

enum lks_op_kind {
    LKS_OP_FREE,
    LKS_OP_WRITE,
    LKS_OP_PROBE,
    LKS_OP_HEARTBEAT,
    LKS_OP_LOG_READ,
    LKS_OP_SNAPSHOT_READ,
    LKS_OP_REVOKE,
    LKS_OP_GRANT,
    LKS_OP_OPEN
};

/* A posted operation; its id on the fabric is its place + 1. */
struct lks_op {
    enum lks_op_kind kind;
    uint32_t peer;
    uint32_t next_free;
    uint64_t grant;
    uint64_t offset; /* WRITE: durable below it on success; LOG_READ: where the chunk begins;
                        SNAPSHOT_READ: the lane */
    uint64_t bytes;
};

/* Classes of ranges made durable; at most one of each is under way. */
enum lks_persist_class {
    LKS_PERSIST_LOG = 1, /* leader: own appended entries */
    LKS_PERSIST_TAIL,    /* hand-over: the visible tail */
    LKS_PERSIST_ACK,     /* follower: what the leader wrote, before acknowledging */
    LKS_PERSIST_READ,    /* adoption: what was read */
    LKS_PERSIST_CLASSES
};

struct lks_replica_peer {
    bool connected;
    enum lks_durability durability; /* of its medium, from its hello */
    char medium[16];
    struct lks_hello_known known; /* its newest life that greeted this one */
    uint64_t grant;          /* number of the path last opened */
    struct lks_mailbox mailbox;
    uint32_t waiting_count; /* core messages that found the mailbox full, oldest first */
    struct lks_message waiting[LKS_REPLICA_WAITING_MAX];
    struct lks_ingress_producer producer;
    struct lks_ingress_consumer consumer;
    uint64_t offered_term;   /* ingress offered to it in this term, over this connection */
    uint64_t offer_after_ns; /* not again before this time, after its ingress was closed */
    uint64_t command_end;    /* leader: end of its last command in the log */
    uint64_t woken_at;       /* leader: commit word that it was last woken for */
    uint64_t word_due;       /* leader: commit word to be sent; 0: none */
    uint64_t word_grant;     /* ... on this path */
    uint64_t whole;          /* leader: end of the last entry that was wholly written to it ... */
    uint64_t whole_grant;    /* ... on this path */
    struct lks_public_words *seen; /* in scratch memory: its words as last read */
    bool reading_words;
    uint64_t beat_seen;      /* its heartbeat counter, and when it last moved */
    uint64_t beat_seen_ns;
    uint64_t hold_began_ns; /* it reads the own snapshots, and has asked to hold them ... */
    uint64_t hold_last_ns;  /* ... last at that time */
};

/* Reading the best grantor's log into the own ring (see log_read.c). */
struct lks_log_read {
    bool active;
    bool cancelled;
    uint32_t peer;
    uint64_t from;
    uint64_t to;
    uint64_t term;
    struct lks_position expect;
    uint64_t posted;   /* reads posted up to here */
    uint64_t received; /* contiguous bytes that have arrived up to here */
    uint32_t inflight;
    int status;
    struct lks_log_point start;  /* own log up to where the two part */
    struct lks_runs start_runs;
    struct lks_members start_members;
    struct lks_log_point cursor; /* checked up to here */
    struct lks_runs runs;
    struct lks_members members;
};

/* A range that the leader appends to and the journal follows. */
struct lks_log_persist {
    bool busy;
    uint64_t term;     /* of what is wanted */
    uint64_t from;
    uint64_t to;
    uint64_t busy_term; /* of what is under way */
    uint64_t busy_to;
};

struct lks_replica {
    struct lks_replica_options options;
    struct lks_core *core;
    const struct lks_core_view *view;
    struct lks_update update;
    struct lks_public_words *words;
    struct lks_control_words *control;
    uint64_t log_place; /* of the control page within the log memory */

    uint64_t now_ns;
    uint64_t executed_at_ns; /* now_ns when an entry was last dispatched */
    uint64_t realtime_ns;
    int fatal; /* negative: this replica must not go on; fatal_error says why */
    struct lks_error fatal_error;
    bool recovered;
    uint32_t connected; /* peers, as a mask */

    uint64_t events_head;
    uint64_t events_tail;
    struct lks_core_event events[LKS_REPLICA_EVENTS_MAX]; /* set when they are queued */
    struct lks_op ops[LKS_REPLICA_OPS_MAX];               /* set when they are taken */
    uint32_t ops_free; /* the next one to be taken */
    uint32_t ops_ever; /* so many were taken ever; those behind are free, one after the other */
    uint32_t ops_used;
    uint64_t probe_counter;
    bool words_due;             /* some peer's word_due is set */
    uint32_t writes_now;        /* WRITE effects carried out since the last _send_deferred */
    uint32_t deferred_count;    /* WRITE effects that wait for the end of the step */
    struct lks_effect deferred[LKS_REPLICA_DEFERRED_MAX];
    uint64_t messages_ns;       /* when the mailboxes were last looked into */

    /* applied state */
    void *service;
    struct lks_execution *execution; /* NULL: commands are executed where they are dispatched */
    uint64_t executed_in_place;      /* commands and reads that did not go to it */
    struct lks_reply reply;
    struct lks_log_point applied; /* dispatched below it: executed, but for what recovery.c still
                                     has waiting or execution.c has under way */
    struct lks_runs applied_runs;
    struct lks_sessions sessions;
    uint64_t applied_time_ns;

    /* the leader's own log */
    struct lks_log_point appended;      /* behind the last appended entry */
    struct lks_sessions appended_sessions;
    uint64_t appended_time_ns;
    uint64_t appended_term;             /* term for which the three above were prepared */
    uint64_t noop_due;      /* term whose no-op waits for room in the ring; 0: none */
    uint64_t full_since_ns; /* commands wait for room in the ring; 0: there is some */
    uint64_t slowed_ns;     /* when the log last said that they wait for a laggard's sake */
    bool ring_full;         /* they have waited for long: refused */

    /* own clients */
    struct lks_gateway *gateway;
    uint64_t session;
    uint64_t routed_term; /* term in which everything unanswered was last rewound for this replica
                             as leader */
    uint64_t leaderless_since_ns;
    bool clients_wait;          /* not leading, and own commands are unanswered */
    uint64_t unoffered_since_ns; /* a leader is known, but no ingress offered; 0: not so */
    uint64_t answered_seen;     /* sequence last answered, and since when nothing else was */
    uint64_t answered_seen_ns;

    /* hand-over and durability */
    struct lks_core_event tail_event; /* waits for LKS_PERSIST_TAIL */
    struct lks_runs tail_runs;
    struct lks_members tail_members;
    struct lks_log_persist log_persist;
    bool persist_busy[LKS_PERSIST_CLASSES];
    uint64_t durable_mark;  /* own log durable below it, as leader or under the present grant */
    uint64_t floor;         /* as last recorded in the journal */
    uint64_t floor_flushed; /* written back by this replica itself, on its way ... */
    uint64_t floor_target;  /* ... to the end of an applied entry */
    struct lks_log_read log_read;
    struct lks_runs log_read_runs; /* of the LOG_READ event under way */
    struct {
        uint64_t grant;
        uint64_t term;
        uint64_t incarnation;
        uint32_t peer;
        uint64_t done;    /* durable and acknowledged below it */
        uint64_t busy_to;    /* of the range under way ... */
        uint64_t busy_grant; /* ... and the grant under which its bytes came */
        uint64_t owed;    /* durable below it, message not yet sent; 0: none */
    } ack;

    struct lks_takeover takeover;
    struct {
        bool unfit;          /* no snapshot could be taken for long: others are to lead */
        uint64_t again_ns;   /* no follower is asked to lead before this time */
        uint64_t hand_overs; /* how often one was, in this life */
    } fitness;

    uint64_t stop_since_ns; /* 0: not stopping */
    uint64_t warned_ns;
    uint64_t base_offset;   /* of the log that the ring still holds */
    uint8_t *ingress_buffer;
    struct lks_replica_peer peers[LKS_REPLICAS_MAX + 1];

    struct lks_replica_members members;
    struct lks_reads reads;
    struct lks_taker taker;
    struct lks_recovery recovery;
    struct lks_install install;
};

static inline bool lks_replica_is_peer(const struct lks_replica *replica, uint32_t peer)
{
    return peer >= 1 && peer <= replica->options.replicas && peer != replica->options.replica;
}

/* A fatal condition: remembered, reported by the present or next _step. */
void lks_replica_fail(struct lks_replica *replica, int code, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* replica.c: the event queue. */
struct lks_core_event *lks_replica_event(struct lks_replica *replica,
                                         enum lks_core_event_kind kind, uint32_t peer);
int lks_replica_drain(struct lks_replica *replica);
struct lks_op *lks_replica_op(struct lks_replica *replica, enum lks_op_kind kind, uint32_t peer,
                              uint64_t *id);
void lks_replica_op_free(struct lks_replica *replica, struct lks_op *op);
struct lks_position lks_replica_position(const struct lks_log_point *point);

/* effects.c */
void lks_replica_carry_out(struct lks_replica *replica, const struct lks_update *update);
void lks_replica_send_deferred(struct lks_replica *replica);
void lks_replica_send_commit_words(struct lks_replica *replica);
void lks_replica_read_words(struct lks_replica *replica, uint32_t peer);

/* arrivals.c */
int lks_replica_poll_fabric(struct lks_replica *replica);
int lks_replica_poll_messages(struct lks_replica *replica);
bool lks_replica_send_core_message(struct lks_replica *replica, uint32_t peer,
                                   const struct lks_message *message);
bool lks_replica_send_offer(struct lks_replica *replica, uint32_t peer,
                            const struct lks_ingress_offer *offer);

bool lks_replica_send_offer_request(struct lks_replica *replica, uint32_t peer);
/* Asks a donor not to reuse, for some seconds, what it replaces in its snapshot area. */
bool lks_replica_send_hold(struct lks_replica *replica, uint32_t peer);
/* Tells a donor that its snapshot with this id cannot be read; LKS_PARTITIONS_MAX, 0: none of its
 * manifests. */
bool lks_replica_send_spoilt(struct lks_replica *replica, uint32_t peer, uint32_t partition,
                             uint64_t id);

/* persist.c */
void lks_replica_persist(struct lks_replica *replica, enum lks_persist_class class_, uint64_t from,
                         uint64_t to);
bool lks_replica_persist_appended(struct lks_replica *replica, uint64_t from, uint64_t to);
void lks_replica_persist_log(struct lks_replica *replica, const struct lks_effect *effect);
void lks_replica_persist_tail(struct lks_replica *replica, uint64_t from);
int lks_replica_acknowledge(struct lks_replica *replica);
void lks_replica_raise_floor(struct lks_replica *replica, bool now);

/* log_read.c */
void lks_log_read_start(struct lks_replica *replica, const struct lks_effect *effect);
void lks_log_read_cancel(struct lks_replica *replica);
void lks_log_read_arrived(struct lks_replica *replica, const struct lks_op *op, int status);
void lks_log_read_persisted(struct lks_replica *replica);

/* install.c */
void lks_install_start(struct lks_replica *replica, const struct lks_effect *effect);
void lks_install_cancel(struct lks_replica *replica);
int lks_install_step(struct lks_replica *replica);
void lks_install_arrived(struct lks_replica *replica, const struct lks_op *op, int status);
void lks_install_persisted(struct lks_replica *replica, uint64_t id, int status);
void lks_install_log_persisted(struct lks_replica *replica);
void lks_install_forget(struct lks_replica *replica); /* before own snapshots are begun */
void lks_install_fini(struct lks_replica *replica);

/* propose.c */
int lks_replica_propose(struct lks_replica *replica);
void lks_replica_append_noop(struct lks_replica *replica, uint64_t term);
bool lks_replica_offer_ingress(struct lks_replica *replica);
/* Leader, after the core's word that it may: appends an entry that brings members. False: the ring
 * has no room. */
bool lks_replica_append_members(struct lks_replica *replica,
                                const struct lks_members_record *record);
/* Leader: whether what had expired at wanted_ns (realtime) has expired in the applied log, whose
 * time is not far behind either. False: that is under way. True also where nothing expires, and
 * where nothing can be logged. */
bool lks_replica_time_is_logged(struct lks_replica *replica, uint64_t wanted_ns);
/* When a tick is due, on the replica's clock; UINT64_MAX: not as things are. */
uint64_t lks_replica_tick_deadline_ns(const struct lks_replica *replica);

/* Whose command it is. */
struct lks_asker {
    bool own; /* an own client's, which waits for the answer */
    uint64_t cookie;
};

/* A committed command as it is executed. Pointers are good during the call. */
struct lks_execution_command {
    const struct lks_entry *entry;
    const struct lks_footprint *touched; /* lks_replica_footprint */
    struct lks_asker asker;
};

/* apply.c */
int lks_replica_apply(struct lks_replica *replica);
bool lks_replica_is_out_of_time(const struct lks_replica *replica); /* for executing, this turn */
/* What an entry's command touches, by the log; an entry without a footprint (of an older version,
 * or a very long command) touches as much as the service says of its bytes: false, it then
 * conflicts with all in execution. */
bool lks_replica_footprint(const struct lks_replica *replica, const struct lks_entry *entry,
                           struct lks_footprint *touched);
/* Executes a command here and now, in its partitions but for those outside `only` (NULL: all). */
void lks_replica_run(struct lks_replica *replica, const struct lks_execution_command *command,
                     const uint64_t *only);
/* Tells the peers up to where everything is executed here. */
void lks_replica_publish_applied(struct lks_replica *replica);
/* The base was moved, durably: everything here follows; the core is told by the caller. */
void lks_replica_base_moved(struct lks_replica *replica, const struct lks_log_point *base);
/* Goes on along the own log: from a point, with what is known there. */
struct lks_log_walk {
    struct lks_log_point *cursor;
    struct lks_runs *runs;
    struct lks_members *members; /* the last ones so far */
};
void lks_replica_scan(struct lks_replica *replica, const struct lks_log_walk *walk,
                      uint64_t limit);

/* member_changes.c */
struct lks_members lks_replica_applied_members(const struct lks_replica *replica);
/* Notes what the entry, which ends at end_offset, brings. */
void lks_replica_note_members(struct lks_replica *replica, const struct lks_entry *entry,
                              uint64_t end_offset, struct lks_members *members);
/* A committed entry brings members, at the applied point. */
void lks_replica_apply_members(struct lks_replica *replica, const struct lks_entry *entry);
/* The same from a snapshot; the core is told when it knows the base. */
void lks_replica_take_members(struct lks_replica *replica,
                              const struct lks_members_record *record, uint64_t end_offset);
/* Tells the core which members are applied. */
void lks_replica_tell_members(struct lks_replica *replica);
/* Reads the record; false: failed, said by lks_replica_fail. */
bool lks_replica_read_members(struct lks_replica *replica, const struct lks_entry *entry,
                              struct lks_members_record *record);
int lks_replica_members_step(struct lks_replica *replica);
uint64_t lks_replica_members_deadline_ns(const struct lks_replica *replica);

/* execution.c */
uint64_t lks_replica_execution_deadline_ns(const struct lks_replica *replica);

/* takeover.c: after a step of the core, in whose beginning it had the role `before` */
void lks_replica_note_takeover(struct lks_replica *replica, enum lks_core_role before,
                               enum lks_core_event_kind event);

/* fitness.c */
void lks_replica_judge_fitness(struct lks_replica *replica);

/* forward.c */
int lks_replica_forward(struct lks_replica *replica);

/* recovery.c */
/* After the log was recovered: takes it up at the lowest snapshot and begins to restore. False:
 * failed, said by lks_replica_fail. */
bool lks_replica_recover_begin(struct lks_replica *replica);
/* What the lowest snapshot says of members, at its point. False: failed. */
bool lks_replica_members_in_snapshots(struct lks_replica *replica, struct lks_members *members);
/* After an installation (area replaced, base moved): the same, in place of all that was there. The
 * outcome of own commands that it covers is unknown, and their clients are told so. */
void lks_replica_recover_again(struct lks_replica *replica);
bool lks_replica_recover_has_room(const struct lks_replica *replica);
/* A committed command that takes effect now, begun at `offset`: runs it, or lets it wait. */
void lks_replica_recover_dispatch(struct lks_replica *replica,
                                  const struct lks_execution_command *command, uint64_t offset);
int lks_replica_recover_step(struct lks_replica *replica, bool busy);
void lks_replica_recover_fini(struct lks_replica *replica);

/* Whether the recovery under way, if there is one, ends without more of the log than is known to
 * have committed; own snapshots wait for its end. */
bool lks_replica_recover_ends(const struct lks_replica *replica);
/* Whether reads may be answered from what is restored and applied: see recovery.c. */
bool lks_replica_recover_may_read(const struct lks_replica *replica);
/* A read whose turn has come: answers it, or lets it wait for its partitions, before all that comes
 * later. False: neither is possible. */
bool lks_replica_recover_read(struct lks_replica *replica, struct lks_read *read);

/* snapshot.c */
/* The area is as it will be: after the recovery of the log, after an installation. */
void lks_replica_snapshots_begin(struct lks_replica *replica);
int lks_replica_snapshot_step(struct lks_replica *replica);
/* Gives up what is under way; true once the area is still: before an installation. */
bool lks_replica_snapshots_stop(struct lks_replica *replica);
/* An area may be full of what a peer that installs has asked to hold: room for what is written here
 * comes first, the peer reads again what it misses. False: nothing is held. */
bool lks_replica_snapshots_release(struct lks_replica *replica);
void lks_replica_note_ties(struct lks_replica *replica, const struct lks_footprint *touched);
/* Snapshots of everything below offset, which is applied, are wanted now. */
void lks_replica_snapshots_press(struct lks_replica *replica, uint64_t offset);
/* The partition's present snapshot is of no use: another one is wanted now, though no commands came
 * since. False: that was known, or no snapshots are taken yet. */
bool lks_replica_snapshot_again(struct lks_replica *replica, uint32_t partition);
/* Moves the base up to the lowest snapshot. pressed: also if it is early, or others still need what
 * lies below. */
void lks_replica_advance_base(struct lks_replica *replica, bool pressed);

#endif
