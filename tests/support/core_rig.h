/*
 * A rig for the consensus core alone: up to seven cores in one process over a model of everything
 * around them, which carries their effects out literally as consensus/core.h documents them.
 *
 * The model: a log of 64-byte entries per replica, chained by a hash, in a ring of slots, each with
 * what is visible and what is durable; a snapshot (known by its point) and a base below which the
 * ring is written anew; write permission as grant numbers that a fence ends; one-sided writes that
 * land slot by slot, in any order, until the fence completes; control messages in order per
 * connection, lost with it. Checkers (core_rig_check.c) run after every step. Used by
 * tests only, one thread. Driven by a script (settle, advance, hold) or by a seed (explore).
 */
#ifndef LKS_TESTS_SUPPORT_CORE_RIG_H
#define LKS_TESTS_SUPPORT_CORE_RIG_H

#include "consensus/core.h"

#define RIG_NODES 8u   /* by replica id, 1..7 */
#define RIG_LOG 256u   /* entries that a log may ever have */
#define RIG_SLOTS 96u  /* entries that a ring may hold; rig.slots: does hold */
#define RIG_READS 16u  /* reads that wait for their round */
#define RIG_ENTRY 64u  /* bytes of an entry */
#define RIG_QUEUE 32u
#define RIG_TERMS 128u
#define RIG_MEMBERS_MAX 200u /* changes of members in one run */
#define RIG_NOT_NOW 1        /* rig_change: the log has no place, or is about to move */
#define RIG_WRITE_ENTRIES 4u
#define RIG_TORN UINT64_C(2) /* the chain value of a slot that a power cut tore */

#define RIG_HEARTBEAT UINT64_C(1000)
#define RIG_TIMEOUT UINT64_C(4000)

enum rig_durability { RIG_FLUSH, RIG_ACK, RIG_MEMORY };

struct rig_entry {
    uint64_t index; /* entries before it */
    uint64_t term;
    uint64_t value;
    uint64_t before; /* chain of the entry before */
    uint64_t chain;  /* 0: nothing was ever written here */
};

/* An event for a core, waiting. Work of the replica's own is executed first, delivered later. */
struct rig_item {
    struct lks_core_event event;
    struct lks_message message;
    struct lks_effect work;
    bool executed;
};

struct rig_queue {
    uint32_t first;
    uint32_t count;
    struct rig_item items[RIG_QUEUE];
};

/* A one-sided operation on a path. */
struct rig_op {
    enum lks_effect_kind kind;
    uint64_t from;
    uint64_t to;
    uint32_t landed; /* bit i: entry i of the write has landed */
    bool complete;   /* all has landed, the flush is to come */
    struct rig_entry bytes[RIG_WRITE_ENTRIES];
};

/* What one replica has towards one peer. */
struct rig_side {
    bool up;          /* has not noticed a break */
    bool hold_ctl;    /* nothing arrives from this peer */
    bool hold_path;   /* own writes to this peer do not land */
    bool hold_done;   /* ... or have, and their completions are late */
    bool fencing;     /* REVOKE under way */
    bool path_broken;
    uint64_t path;    /* grant number in use; 0: none */
    uint32_t ops_first;
    uint32_t ops_count;
    struct rig_op ops[RIG_QUEUE];
    struct rig_queue ctl;  /* connection events, messages, heartbeat reads */
    struct rig_queue done; /* completions of the path */
};

struct rig_read {
    bool active;
    bool cancelled;
    uint32_t peer;
    uint64_t next;
    struct lks_effect effect;
};

/* A donor's snapshot on its way into the place of the own one. */
struct rig_install {
    bool active;
    bool cancelled;
    bool read;    /* the donor's snapshot is here */
    bool written; /* the own manifest names it: from now on the base must follow */
    uint32_t peer;
    uint64_t from;
    struct lks_position target;
    struct lks_members members;
};

/* A read of a client: what had been committed, by any leader, when it came. */
struct rig_read_wait {
    uint64_t term;
    uint64_t round;
    uint32_t committed;
};

struct rig_node {
    bool alive;
    bool paused;
    bool waits; /* ... and its fabric tells that it waits for a processor */
    bool hold_local;
    uint32_t hold_work; /* 1 + kind of own work that is not carried out; 0: none */
    bool hold_fence;
    bool hold_read;
    bool hold_install;
    bool hold_word;
    bool hold_ack;
    /* persistent */
    uint64_t incarnation;
    uint64_t promise_term;
    uint32_t promise_candidate;
    uint64_t promise_incarnation;
    bool amnesiac;
    bool promise_lost;
    struct lks_position snapshot; /* everything up to here is in it; durable */
    struct lks_position base;     /* of the log; durable, never above the snapshot */
    struct lks_members snapshot_members; /* in force there; number 0: the bootstrap ones */
    struct lks_members base_members;
    uint8_t bootstrap;            /* voters; 0: not known */
    struct rig_entry disk[RIG_SLOTS];
    /* in memory that outlives the process */
    struct rig_entry ring[RIG_SLOTS];
    uint64_t forgotten[RIG_LOG]; /* checkers: chains that it held when it became amnesiac */
    uint64_t word; /* commit word */
    uint64_t hint; /* pmem-ack: how far the holder of the grant says it has written */
    /* of the process */
    struct lks_core *core;
    _Alignas(64) uint8_t memory[12288];
    struct lks_update update;
    uint64_t beat;
    struct lks_position tail; /* where the own log ends, as the owner knows it */
    uint64_t acked;
    uint64_t checked_commit;
    uint64_t members_applied; /* number of the last ones */
    uint64_t noop_due; /* term whose no-op waits for room in the ring; 0: none */
    uint32_t reads_count;
    struct rig_read_wait reads[RIG_READS];
    struct rig_install install;
    struct lks_runs runs;      /* of the TAIL_PERSISTED under way */
    struct lks_runs read_runs; /* of the LOG_READ under way */
    struct rig_read read;
    struct rig_queue local; /* promise, tail, no-op, amnesia; fences and grants */
    struct rig_queue disk_work;
    struct rig_side sides[RIG_NODES];
};

struct rig_link {
    bool whole;
    bool blocked;
};

/* A leader as it was elected. */
struct rig_leader {
    uint32_t replica;
    uint64_t incarnation;
    uint32_t length;
    uint64_t chains[RIG_LOG];
};

struct rig {
    uint32_t n;
    enum rig_durability durability;
    bool exploring;
    uint32_t slots;   /* of each ring */
    bool recycling;   /* snapshots are taken as the rings fill, also when settling */
    bool late_source; /* a write reads its source when it lands, not when it is posted */
    uint32_t writes_max;
    uint64_t now;
    uint64_t seed;
    uint64_t random;
    uint64_t grants;
    uint64_t values;
    uint64_t steps;
    struct rig_node nodes[RIG_NODES];
    uint64_t permission[RIG_NODES][RIG_NODES]; /* [owner][writer]: grant number, 0: none */
    struct rig_link links[RIG_NODES][RIG_NODES];
    /* checkers */
    uint32_t committed_count;
    uint64_t committed[RIG_LOG]; /* chains */
    struct lks_members members;  /* the last committed ones */
    uint32_t installs;  /* that ended well */
    uint32_t confirmed; /* reads that were */
    struct rig_leader leaders[RIG_TERMS];
    uint64_t term_max;
    char *trace; /* NULL: none */
    size_t trace_bytes;
    size_t trace_used;
    uint32_t trace_nodes; /* bit i: replica i is traced */
    bool trace_probes;    /* ... their probes too, until the next golden_begin */
};

struct rig_options {
    uint32_t n;
    enum rig_durability durability;
    uint64_t seed;
    uint8_t bootstrap; /* voters; 0: all n. The others are slots with fresh journals */
};

/* Scripted use. rig_new starts nobody; a failed check prints the seed and aborts. */
struct rig *rig_new(const struct rig_options *options);
struct rig *rig_cluster(uint32_t n, enum rig_durability durability); /* started, connected */
void rig_free(struct rig *rig);
void rig_reset(struct rig *rig, const struct rig_options *options);
void rig_start(struct rig *rig, uint32_t n);
void rig_start_all(struct rig *rig); /* and connects all, settles */
void rig_crash(struct rig *rig, uint32_t n);                /* the process: memory stays */
void rig_power_cut(struct rig *rig, uint32_t n, bool keep); /* keep: unflushed bytes survive */
void rig_lose_journal(struct rig *rig, uint32_t n);
void rig_connect(struct rig *rig, uint32_t a, uint32_t b);
void rig_break(struct rig *rig, uint32_t a, uint32_t b);
void rig_block(struct rig *rig, uint32_t a, uint32_t b); /* break, and stay broken */
void rig_unblock(struct rig *rig, uint32_t a, uint32_t b);
void rig_settle(struct rig *rig);                 /* everything but time, until quiet */
void rig_advance(struct rig *rig, uint64_t ns);   /* time in small steps, settling */
bool rig_append(struct rig *rig, uint32_t n, uint32_t count);
void rig_event(struct rig *rig, uint32_t n, const struct lks_core_event *event);
const struct lks_core_view *rig_view(const struct rig *rig, uint32_t n);
uint32_t rig_leader(const struct rig *rig); /* established, of the highest term; 0: none */
/* Makes n the established leader of a cluster that is settled; aborts if it does not come so. */
void rig_elect(struct rig *rig, uint32_t n);
/* A follower is told by its leader to take over: an election at any moment. */
void rig_coup(struct rig *rig, uint32_t n);
/* The log that ring n shows, from its base on. */
struct lks_position rig_scan(const struct rig *rig, uint32_t n, struct lks_runs *runs);
struct lks_position rig_scan_to(const struct rig *rig, uint32_t n, struct lks_runs *runs,
                                uint64_t limit);
/* A snapshot of n up to its first `index` entries, durable; then the base moves there. */
void rig_snapshot(struct rig *rig, uint32_t n, uint64_t index);
/* A client's read at n; true if it was taken. rig_check_step judges the answer. */
bool rig_read_point(struct rig *rig, uint32_t n);
uint64_t rig_index(const struct rig *rig, uint32_t n); /* entries visible in the own ring */
/* Members change at leader n, by one server: 0, RIG_NOT_NOW, or lks_core_members_check's word. */
int rig_change(struct rig *rig, uint32_t n, uint8_t voters, uint8_t learners);
/* In force in the log that ring n shows below limit; number 0: the bootstrap ones (no masks). */
struct lks_members rig_members(const struct rig *rig, uint32_t n, uint64_t limit);
/* Puts an entry into a stopped replica's log, visible and durable, as a history to start from. */
void rig_put(struct rig *rig, uint32_t n, uint64_t term, uint64_t value);

/* Seeded use: one random schedule, then healing, then progress. */
void rig_explore(struct rig *rig, uint64_t seed);

/* Shared by the files of the rig. */
_Noreturn void rig_fail(const struct rig *rig, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
uint64_t rig_random(struct rig *rig, uint64_t bound);
void rig_execute(struct rig *rig, uint32_t n);
void rig_step(struct rig *rig, uint32_t n, struct lks_core_event *event);
bool rig_do_ctl(struct rig *rig, uint32_t n, uint32_t p);
bool rig_do_done(struct rig *rig, uint32_t n, uint32_t p);
bool rig_do_local(struct rig *rig, uint32_t n, bool at_once);
bool rig_do_disk(struct rig *rig, uint32_t n, bool at_once);
bool rig_do_path(struct rig *rig, uint32_t n, uint32_t p, bool whole);
bool rig_do_fence(struct rig *rig, uint32_t n, uint32_t p);
bool rig_do_read(struct rig *rig, uint32_t n, bool whole);
bool rig_do_install(struct rig *rig, uint32_t n, bool whole);
bool rig_do_snapshot(struct rig *rig, uint32_t n, bool whole);
bool rig_do_word(struct rig *rig, uint32_t n);
bool rig_do_ack(struct rig *rig, uint32_t n);
bool rig_do_apply(struct rig *rig, uint32_t n);
bool rig_remembers(const struct rig *rig, uint8_t voters);
bool rig_may_lose(const struct rig *rig, uint32_t n);
uint64_t rig_members_value(uint64_t value, const struct lks_members *members);
struct lks_position rig_append_members(struct rig *rig, uint32_t n, uint64_t term,
                                       const struct lks_members *members);
void rig_members_committed(struct rig *rig, uint32_t n, uint64_t index);
void rig_check_members(struct rig *rig, uint32_t n);
bool rig_do_notice(struct rig *rig, uint32_t n, uint32_t p);
bool rig_do_tick(struct rig *rig, uint32_t n, bool due_only);
struct rig_item *rig_push(struct rig *rig, struct rig_queue *queue);
void rig_break_path(struct rig *rig, uint32_t n, uint32_t p);
void rig_write_slot(struct rig *rig, uint32_t owner, uint64_t index,
                    const struct rig_entry *entry);
struct rig_entry *rig_slot(struct rig *rig, uint32_t n, uint64_t index);
void rig_begin_install(struct rig *rig, uint32_t n, const struct lks_effect *effect);
uint64_t rig_reserve(const struct rig *rig); /* bytes of a ring, for no-ops */
uint64_t rig_chain_at(const struct rig *rig, uint32_t n, uint64_t index, bool durable);
void rig_check_snapshot(const struct rig *rig, uint32_t n, const struct lks_position *point);
void rig_check_source(const struct rig *rig, uint32_t n, uint64_t index);
void rig_make_durable(struct rig *rig, uint32_t n, uint64_t from, uint64_t to);
void rig_push_event(struct rig *rig, struct rig_queue *queue, enum lks_core_event_kind kind,
                    uint32_t peer, uint64_t grant, int status);
void rig_check_step(struct rig *rig, uint32_t n);
void rig_check_amnesia_over(struct rig *rig, uint32_t n);
void rig_check_grant(struct rig *rig, uint32_t owner, uint32_t writer);
void rig_trace_event(struct rig *rig, uint32_t n, const struct lks_core_event *event);
void rig_trace_role(struct rig *rig, uint32_t n, enum lks_core_role before);
void rig_trace_effects(struct rig *rig, uint32_t n);
void rig_trace_line(struct rig *rig, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
