/*
 * The consensus core: a pure function from events to effects (design, section 2 and 3).
 *
 * It reads no clock, allocates nothing after start, takes no lock, makes no system call and knows
 * neither the fabric nor the journal. node/ and sim/ carry the effects out, in the order given,
 * and feed their completions back as events. One thread.
 *
 * A command's life here: APPENDED -> WRITE, FLUSH and PERSIST_LOG effects -> FLUSHED and
 * LOG_PERSISTED events -> commit_offset of the update rises -> COMMIT_WORD effects.
 */
#ifndef LKS_CONSENSUS_CORE_H
#define LKS_CONSENSUS_CORE_H

#include "consensus/runs.h"
#include "consensus/types.h"

#define LKS_CORE_WRITES_MAX 8u

struct lks_core;

struct lks_core_options {
    uint32_t replica;  /* own id, 1..replicas */
    uint32_t replicas; /* slots: the replica ids 1..replicas may exist; 1..7 */
    uint8_t members_voters; /* the bootstrap members, all of them voters; 0: 1..replicas */
    bool members_unknown;   /* ... or none: a journal that must learn of them from a leader */
    uint64_t incarnation;
    uint64_t promise_term; /* as the journal holds it */
    uint32_t promise_candidate;
    uint64_t promise_incarnation;
    bool amnesiac;
    bool promise_lost;
    uint64_t election_timeout_ns;
    uint64_t heartbeat_ns;
    uint64_t ring_bytes;      /* the same on all replicas */
    uint64_t reserve_bytes;   /* of each ring, for the no-ops of elections: commands never use it;
                                 the same on all replicas; a multiple of 64, less than half of it */
    uint64_t write_bytes_max; /* one WRITE effect moves at most this much */
    uint32_t writes_max;      /* flushes in flight to one peer, 1..LKS_CORE_WRITES_MAX */
    uint64_t seed;
    uint64_t now_ns;
};

enum lks_core_role {
    LKS_CORE_STARTING,      /* fencing the writers of an earlier life, then scanning */
    LKS_CORE_FOLLOWER,
    LKS_CORE_PRE_CANDIDATE, /* asking whether an election would succeed */
    LKS_CORE_CANDIDATE,     /* own ring handed over to itself, then asking for grants */
    LKS_CORE_ADOPTING,      /* majority granted: reading the best log */
    LKS_CORE_LEADER,
    LKS_CORE_ROLES
};

enum lks_core_event_kind {
    LKS_EVENT_TICK,           /* time; sent at least at the deadline of the last update */
    LKS_EVENT_CONNECTED,      /* peer */
    LKS_EVENT_DISCONNECTED,   /* peer, dead */
    LKS_EVENT_MESSAGE,        /* peer, message */
    LKS_EVENT_HEARTBEAT_READ, /* peer, status, beat, term, leading, amnesiac, waits,
                                 dead; offset: the base that the peer publishes */
    LKS_EVENT_REVOKED,        /* peer */
    LKS_EVENT_GRANTED,        /* peer, status, key */
    LKS_EVENT_OPENED,         /* peer, grant, status */
    LKS_EVENT_PROMISE_PERSISTED,
    LKS_EVENT_TAIL_PERSISTED, /* position: the tail; runs; members; offset: what the commit word
                                 says; the first one of a life also brings base: the own base,
                                 recovered */
    LKS_EVENT_LOG_PERSISTED,  /* offset, term: own log durable below it, appended in term */
    LKS_EVENT_FLUSHED,        /* end of a WRITE: peer, grant, status; offset: durable there below
                                 it, or 0 if the peer itself will say so (pmem-ack) */
    LKS_EVENT_PROBED,         /* peer, grant, status */
    LKS_EVENT_LOG_READ,       /* end of READ_LOG. status; position, runs, members: own log as it now
                                 is, all of it durable; after success it ends where the READ_LOG
                                 did */
    LKS_EVENT_APPENDED,       /* position: own tail after appending entries of the own term; offset:
                                 the same as position's if they are durable already, else 0;
                                 members: if one of them brought members, those; else zero */
    LKS_EVENT_COMMIT_SEEN,    /* offset: the commit word in own memory (followers) */
    LKS_EVENT_AMNESIA_CLEARED, /* the journal has recorded it */
    LKS_EVENT_TRANSFER,       /* hand over leadership: the owner wants to stop (peer 0), or wants
                                 that voter to lead (given up if it does not come to that soon) */
    LKS_EVENT_BASE_MOVED,     /* base: the own base, moved forward by own snapshots; durable, and
                                 not above the commit offset */
    LKS_EVENT_INSTALLED,      /* end of INSTALL, however it ended: status; base, position, runs,
                                 members: own base and own log as they now are, all of it durable.
                                 After success base lies at or above the INSTALL's `from`; after a
                                 failure it may have moved too, and never moves back; runs NULL: log
                                 unchanged */
    LKS_EVENT_READ,           /* the node wants a linearizable point: see view.reads */
    LKS_EVENT_MEMBERS_APPLIED, /* members: committed ones, which the node has applied */
    LKS_EVENT_FITNESS         /* status: 0, or why this replica should not lead if another can */
};

struct lks_core_event {
    enum lks_core_event_kind kind;
    uint32_t peer;
    uint64_t now_ns; /* in every event; never goes back */
    int status;
    bool dead;
    bool leading;
    bool amnesiac;
    bool waits; /* the peer is known to be slow, not stopped: it waits for a processor */
    uint64_t beat;
    uint64_t term;
    uint64_t grant;
    uint64_t offset;
    union {
        uint64_t key[LKS_KEY_WORDS];  /* GRANTED */
        struct lks_position position; /* TAIL_PERSISTED, LOG_READ, APPENDED */
    };
    struct lks_position base;          /* TAIL_PERSISTED, BASE_MOVED, INSTALLED */
    struct lks_members members;        /* the last ones in the own log, or at its base if there are
                                          none above; number 0: neither has any, so that the
                                          bootstrap members are in force (the masks are ignored) */
    const struct lks_runs *runs;       /* valid during the step; of the log above the base (what
                                          it says below the base is ignored) */
    const struct lks_message *message; /* valid during the step, checked */
};

enum lks_effect_kind {
    LKS_EFFECT_WRITE,          /* peer, from, to: log bytes and a flush; completes as FLUSHED */
    LKS_EFFECT_COMMIT_WORD,    /* peer, to: write the commit word after the entries */
    LKS_EFFECT_PROBE,          /* peer: zero-effect write; completes as PROBED */
    LKS_EFFECT_READ_HEARTBEAT, /* peer; may be left out if one is under way */
    LKS_EFFECT_READ_LOG,       /* peer, from, to, expect: read into own ring, check, persist */
    LKS_EFFECT_CANCEL_READ,    /* end the READ_LOG under way; its LOG_READ still comes */
    LKS_EFFECT_REVOKE,         /* peer */
    LKS_EFFECT_GRANT,          /* peer */
    LKS_EFFECT_OPEN,           /* peer, key */
    LKS_EFFECT_PERSIST_PROMISE, /* term, candidate (peer), incarnation */
    LKS_EFFECT_PERSIST_TAIL,   /* from: scan the visible tail, make all of it durable */
    LKS_EFFECT_PERSIST_LOG,    /* from, to, term: own appended entries */
    LKS_EFFECT_APPEND_NOOP,    /* term; as soon as the ring has room for it (the base may have to
                                  move first), if the term is still led then; APPENDED follows */
    LKS_EFFECT_SEND,           /* peer, message */
    LKS_EFFECT_BEAT,           /* advance the own heartbeat counter */
    LKS_EFFECT_CLEAR_AMNESIA,  /* durably; AMNESIA_CLEARED follows; voters: the bootstrap members,
                                  to be recorded with it where the journal knows none */
    LKS_EFFECT_INSTALL,        /* peer: the donor; from: bring the own base to this offset or above.
                                  Where what is applied here reaches that far, by own snapshots;
                                  else by the donor's, read one-sidedly and put in the place of the
                                  own ones: manifest durable, then the base durable, then what
                                  follows the base by chain in the own ring is the log, made
                                  durable; completes as INSTALLED. Nobody writes the ring
                                  meanwhile */
    LKS_EFFECT_CANCEL_INSTALL  /* end the INSTALL under way as soon as its state is whole: before
                                  the manifest is written, or after the base is; INSTALLED comes */
};

struct lks_effect {
    enum lks_effect_kind kind;
    uint32_t peer;
    uint8_t message; /* SEND: its place in update.messages */
    bool ends_entry; /* WRITE: `to` was the end of the log */
    uint8_t voters;  /* CLEAR_AMNESIA */
    uint64_t from;
    uint64_t to;
    uint64_t term;
    uint64_t incarnation;
    uint64_t grant; /* WRITE, COMMIT_WORD, PROBE: the path's */
    union {
        uint64_t key[LKS_KEY_WORDS]; /* OPEN */
        struct lks_position expect;  /* READ_LOG: the tail that must result; term: read below it */
    };
};

#define LKS_EFFECTS_MAX 80u
#define LKS_UPDATE_MESSAGES_MAX 16u

/* What a step wants done. Owned by the caller, filled by the step, valid until the next. */
struct lks_update {
    uint32_t count;
    uint32_t messages_count;
    struct lks_effect effects[LKS_EFFECTS_MAX];
    struct lks_message messages[LKS_UPDATE_MESSAGES_MAX];
};

/* Everything about the core that its surroundings may read. */
struct lks_core_view {
    enum lks_core_role role;
    uint64_t term;          /* the promise's */
    uint32_t leader;        /* 0: unknown */
    uint64_t commit_offset; /* entries below are committed: apply them */
    uint64_t deadline_ns;   /* send a TICK at the latest then */
    struct lks_position base; /* own: everything below is committed, and in snapshots */
    struct lks_position tail;
    /* Leader: entries may not reach beyond this offset, commands not beyond reserve_bytes below it.
     * A ring below it lies what is above the base, or what writes in flight are read from. */
    uint64_t append_limit;
    /* Leader: the lowest offset that a follower, which keeps up or has just installed, still needs
     * from this log. A base that passes it makes that follower install a snapshot. UINT64_MAX:
     * nobody needs anything. */
    uint64_t keep_offset;
    bool braking;           /* append_limit rises slowly, so that a follower which installs catches
                               up: the base is not to pass keep_offset meanwhile. Ends by itself */
    bool installing;        /* an INSTALL is under way */
    bool accepts;           /* leader: commands may be appended */
    bool established;       /* leader: an entry of the own term has committed */
    bool amnesiac;
    bool majority_amnesiac; /* nobody can be elected without accepting a loss */
    bool transferring;
    uint64_t noop_offset;   /* leader: end of the term's first entry */
    struct {                /* the write permission that stands on the own ring */
        uint32_t peer;      /* 0: none */
        uint64_t number;
        uint64_t term;
        uint64_t incarnation;
        uint64_t commit_offset; /* known when it was granted: writes start at or above it */
    } grant;
    uint64_t elected_count;
    struct lks_members members; /* in force here: the last in the own log as far as it was looked
                                   at, committed or not; all zero: none are known */
    bool members_committed;     /* they are */
    bool removed;               /* this replica was a member once and learnt that it is none under
                                   younger members that are committed: it is to stop */
    struct {
        bool voter;     /* under the members in force */
        bool learner;
        bool caught_up; /* leader: it holds what was committed an election timeout ago */
        bool connected;
        bool path_open;
        bool counted; /* its durability counts towards commits */
        bool installing; /* told to take a snapshot, and not done */
        uint64_t base_offset; /* as far as known here */
        uint64_t written_offset;
        uint64_t durable_offset;
    } peers[LKS_CORE_PEERS];
    /*
     * Linearizable reads without logging (docs/protocol.md, "Reads"). After the step of a READ
     * event a read belongs to round `begun` of the present term; 0: refused, this replica is no
     * established leader. It may be answered from a state in which everything below `point` is
     * applied once confirmed >= its round, while this replica is still established in that term.
     * It has failed as soon as that is over; rounds count from 1 again in another term.
     */
    struct {
        uint64_t begun;
        uint64_t confirmed;
        uint64_t point; /* of the last confirmed round; only grows within a term */
    } reads;
};

/* The bytes a core takes: the caller gives the memory, aligned to 64. */
size_t lks_core_bytes(void);

/* Makes a core in role STARTING and fills the first update. Options are trusted. */
struct lks_core *lks_core_init(void *memory, const struct lks_core_options *options,
                               struct lks_update *update);

/* One event in, effects out: bounded work. Asserts the invariants of design 3.7 that one replica
 * can see. */
void lks_core_step(struct lks_core *core, const struct lks_core_event *event,
                   struct lks_update *update);

/* The same address for the core's life. Live after every step, but for `peers`, which is filled in
 * by this call. */
const struct lks_core_view *lks_core_view(struct lks_core *core);

/*
 * False for a message, checked by lks_message_check, that cannot be true whatever happened: a term
 * beyond all elections there can have been, a log longer than a ring. It must be dropped, and named
 * in the log: memory or a wire has garbled it. (lks_core_step ignores it too.)
 */
bool lks_core_plausible(const struct lks_core *core, const struct lks_message *message);

/*
 * Whether this replica may append an entry that brings `proposed` now (number: the next one;
 * end_offset is ignored). Whoever appends it posts APPENDED before any other event and before it
 * asks again. 0, or:
 *   -LKS_ENOLEADER  it does not lead
 *   -LKS_EBUSY      nothing of its term, or the last change, has committed yet; or it hands over
 *   -EINVAL         not the next number; or more or less than one server changes (new learner;
 *                   learner to voter; learner or voter to nothing), or a slot that does not exist
 *   -EPERM          it would remove itself: leadership is to be handed over first
 *   -EAGAIN         the learner to be promoted has not caught up
 *   -ENOLINK        of the voters that would remain, no majority is connected and counts
 */
int lks_core_members_check(struct lks_core *core, const struct lks_members *proposed);

const char *lks_core_role_name(enum lks_core_role role);
const char *lks_effect_name(enum lks_effect_kind kind);
const char *lks_core_event_name(enum lks_core_event_kind kind);
const char *lks_message_name(uint32_t kind);

#endif
