/*
 * One replica without its surroundings: journal, core, fabric, gateway and service, driven by
 * lks_replica_step. It reads no clock and opens no socket: the caller gives the time and the
 * fabric, so that the node's loop and a simulator drive the same code. One thread.
 */
#ifndef LKS_NODE_REPLICA_H
#define LKS_NODE_REPLICA_H

#include "base/error.h"
#include "base/log.h"
#include "lockstep/service.h"
#include "node/takeover.h"
#include "pmem/journal.h"
#include "pmem/snapshots.h"
#include "sched/scheduler.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_replica;
struct lks_member_request; /* node/members.h */

/* How acknowledged entries are made durable on one replica's medium (design 3.3). */
enum lks_durability {
    LKS_DURABILITY_AUTO,         /* configuration only: the best that the medium allows */
    LKS_DURABILITY_MEMORY,       /* no flush */
    LKS_DURABILITY_WRITER_FLUSH, /* shm: the writer writes the lines back */
    LKS_DURABILITY_PMEM_ACK,     /* the follower's core persists and acknowledges */
    LKS_DURABILITY_PMEM_READ     /* rdma: a READ behind the writes */
};

/* "auto", "memory", "writer-flush", "pmem-ack", "pmem-read". */
const char *lks_durability_name(enum lks_durability durability);
/* The reverse; -EINVAL. */
int lks_durability_parse(const char *name, enum lks_durability *durability);

/* What takes time on a slow medium is posted here; the node gives a flusher thread, a simulator a
 * queue. NULL functions: the replica persists inline (memory-like media). */
struct lks_persister {
    /* Starts making [from, to) durable; exactly one `lks_replica_persisted` with this id follows.
     * Never more than 4 at a time are posted. */
    void (*post)(void *ctx, uint64_t from, uint64_t to, uint64_t id);
    void *ctx;
};

/* Who executes committed commands (docs/scheduling.md). */
struct lks_replica_scheduler {
    enum lks_scheduler_kind kind;
    uint32_t workers; /* threads, at most LKS_WORKERS_MAX; 0: the replica's own thread executes */
    const int *cpus;  /* worker i runs on this processor; NULL: wherever; used during _new */
    /* Machines of several NUMA nodes: as in struct lks_scheduler_options; NULL: wherever. numa has
     * to outlive the replica, which places what it restores; nodes are used during _new. */
    struct lks_numa *numa;
    const int *nodes;
    bool manual;      /* no threads: lks_replica_work is each worker */
};

struct lks_replica_options {
    uint32_t replica;
    uint32_t replicas; /* slots: ids 1..replicas may exist, and the fabric has them */
    uint32_t bootstrap_voters; /* the cluster's first members, where the journal is too old to know
                                  them; else 0 */
    struct lks_journal *journal;        /* opened, not recovered; stays the caller's */
    struct lks_snapshots *snapshots;    /* opened, of as many partitions as the service has; stays
                                           the caller's. NULL: none are taken, the log's base does
                                           not move, and a full ring stays full */
    struct lks_fabric *fabric;          /* stays the caller's */
    const struct lks_service *service;
    enum lks_durability durability;     /* of this replica's own medium, already resolved */
    uint64_t entry_bytes_max;
    uint64_t election_timeout_ns;       /* leader's counter unmoved this long: suspicion */
    uint64_t heartbeat_ns;              /* how often the counter moves at least */
    uint64_t pending_bytes_max;         /* commands of own clients not yet answered */
    uint64_t restore_bytes_max;         /* of snapshots, in one step after a restart; 0: 64 KiB, or
                                           256 KiB if nothing else is to be done */
    uint64_t write_bytes_max;           /* of the log in one write, a multiple of 64; 0: 1 MiB */
    uint64_t seed;                      /* of the core's random delays */
    struct lks_replica_scheduler scheduler;
    struct lks_persister persister;
    /* The same for ranges of the snapshot area (lks_snapshots_persist); never more than one is
     * posted, ended by lks_replica_snapshot_persisted. */
    struct lks_persister snapshot_persister;
    uint64_t (*clock_ns)(void);         /* the clock that gives _step its time, within a step: for
                                           the times of a take-over, and to end a step that has
                                           executed for long; NULL: the time given to _step */
    uint64_t (*realtime_clock_ns)(void); /* when another gateway's command was found, for the time
                                            that is logged with it; NULL: the time given to _step */
    const struct lks_log *log_sink;
    /* An answer to lks_replica_submit. In the order of submission, unless partitions are being
     * restored: then what touches ready ones is answered first. reply: one RESP3 value; bytes 0:
     * whether the command took effect will not be known here, as a snapshot of a peer, installed
     * here, covers it. */
    void (*on_reply)(void *ctx, uint64_t cookie, const void *reply, size_t bytes);
    /* The end of what lks_replica_change_members began: status 0, or negative and `text` says why,
     * or that the outcome is not known. NULL: nobody asks. */
    void (*on_member_change)(void *ctx, uint64_t cookie, int status, const char *text);
    void *ctx;
};

/* Sizes of the regions that the caller's fabric must expose for a replica. */
#define LKS_REPLICA_WORDS_BYTES 4096u
#define LKS_REPLICA_INBOX_BYTES (2u << 20)
#define LKS_REPLICA_SCRATCH_BYTES (1u << 20)

int lks_replica_new(struct lks_replica **replica, const struct lks_replica_options *options,
                    struct lks_error *err);
void lks_replica_free(struct lks_replica *replica);

/*
 * Does everything that is ready at time now_ns (monotonic) and returns how many pieces of work
 * were done (0: nothing to do). realtime_ns is the time that a leader logs. A negative return is
 * fatal for this replica: err says why (damaged history, no durable promise, ...).
 */
int lks_replica_step(struct lks_replica *replica, uint64_t now_ns, uint64_t realtime_ns,
                     struct lks_error *err);

/* Latest time at which _step must be called again though nothing arrives. */
uint64_t lks_replica_deadline_ns(const struct lks_replica *replica);

/* Where the caller sleeps until a descriptor is readable: it arms, looks at lks_replica_wake_fd
 * (-1: none) beside its own, and disarms. False: there is something to do at once. */
bool lks_replica_arm(struct lks_replica *replica);
void lks_replica_disarm(struct lks_replica *replica);
int lks_replica_wake_fd(const struct lks_replica *replica);

/* With a manual scheduler: one bounded step of a worker (worker == workers: the replica's thread as
 * a helper). Says whether it did anything. */
bool lks_replica_work(struct lks_replica *replica, uint32_t worker);

/* Executes with another scheduler, from between two entries on, as soon as what is under way is
 * executed. workers: of those that it has, with `adaptive` at most; 0: all (lks_scheduler_switch).
 * The next life begins with the options' again. -EINVAL with a sentence: there are not as many
 * workers as it needs. */
int lks_replica_set_scheduler(struct lks_replica *replica, enum lks_scheduler_kind kind,
                              uint32_t workers, struct lks_error *err);

/* A posted persist has ended: status 0 or the errno that made it fail. */
void lks_replica_persisted(struct lks_replica *replica, uint64_t id, int status);
void lks_replica_snapshot_persisted(struct lks_replica *replica, uint64_t id, int status);

/*
 * Takes a command of an own client; copies it. Its answer comes by on_reply, exactly once, maybe
 * after a change of leader; it takes effect exactly once. Refused before it gets a sequence
 * number: -LKS_EBUSY (pending_bytes_max), -LKS_ETOOBIG, -LKS_ERINGFULL, -LKS_ENOLEADER (none for 10
 * election timeouts or more).
 */
int lks_replica_submit(struct lks_replica *replica, const void *command, size_t bytes,
                       uint64_t cookie);

/*
 * The same for a client that says whether this command has to come after others. A read (the
 * service's is_read) gets no entry in the log: it is answered, linearizably, from a state of this
 * replica that the leader has vouched for (node/reads.h), never with what was submitted after it.
 * ordered: also not before what was submitted before it has been applied here; without, only what
 * had been answered is sure to be seen. (lks_replica_submit: ordered.) It is never refused with
 * -LKS_ERINGFULL. Commands that change something always take effect in the order of submission.
 */
int lks_replica_submit_ordered(struct lks_replica *replica, const void *command, size_t bytes,
                               uint64_t cookie, bool ordered);

/*
 * Changes the cluster's members, or hands leadership over, on the leader. 0: under way, one
 * on_member_change follows; 1: that is how it is already. Else err says why not: -LKS_ENOLEADER
 * (this replica does not lead), -LKS_EBUSY (try again), -LKS_ERINGFULL, -EINVAL, -EPERM (it would
 * remove itself), -EAGAIN (a learner has not caught up), -ENOLINK (no live majority would be left).
 * Copies the request.
 */
int lks_replica_change_members(struct lks_replica *replica,
                               const struct lks_member_request *request, struct lks_error *err);

/* Asks for an end in order: a leader hands over to the best follower first. True once done (or
 * 2 s after the first call); call _step in between. */
bool lks_replica_stop(struct lks_replica *replica, uint64_t now_ns);

enum lks_role {
    LKS_ROLE_STARTING,
    LKS_ROLE_FOLLOWER,
    LKS_ROLE_PRE_CANDIDATE,
    LKS_ROLE_CANDIDATE,
    LKS_ROLE_ADOPTING,
    LKS_ROLE_LEADER
};

const char *lks_role_name(enum lks_role role);

struct lks_peer_status {
    bool connected;
    bool voter;
    bool learner;
    bool manual;    /* a learner that is not promoted automatically */
    bool caught_up; /* as the leader sees it */
    bool installing;
    bool granted;   /* this leader may write there */
    uint64_t written_offset;
    uint64_t durable_offset;
    uint64_t applied_index; /* as the peer publishes it */
    uint64_t lag_bytes;
    enum lks_durability durability; /* of the peer's medium, from its handshake */
    char medium[16];
};

/* What lies in the snapshot area, and what is done with it. */
struct lks_snapshots_status {
    bool enabled;
    uint32_t partitions;
    uint32_t partitions_ready;  /* restored and served */
    uint64_t waiting;           /* committed commands that wait for the others */
    uint64_t restored_bytes;
    bool writing;               /* a snapshot is under way */
    uint64_t writing_bytes;     /* of it that is written ... */
    uint64_t writing_expected;  /* ... of about so many */
    uint64_t taken;             /* snapshots of partitions, in this life */
    uint64_t failed;            /* attempts given up */
    uint64_t failing_ns;        /* for so long none could be taken; 0: not so */
    bool unfit;                 /* ... for so long that others are to lead */
    uint64_t hand_overs;        /* how often another was asked to lead for that, in this life */
    uint64_t newest_offset;     /* log offsets of the oldest and newest one */
    uint64_t oldest_offset;
    uint64_t area_bytes;        /* limit */
    uint64_t used_bytes;
    uint32_t donor;             /* whose snapshots are being installed; 0: none are */
    uint64_t install_bytes;     /* of them that are here ... */
    uint64_t install_expected;  /* ... of so many; 0: not known yet */
    uint64_t installed;         /* installations that ended well, in this life */
};

/* Reads of own clients that need no entry. */
struct lks_reads_status {
    uint64_t taken;
    uint64_t waiting;
    uint64_t requests; /* for a point, that this replica has made */
    uint64_t rounds;   /* of probes, that it has begun as leader */
};

struct lks_replica_status {
    enum lks_role role;
    uint32_t leader; /* 0: unknown */
    uint64_t term;
    uint64_t incarnation;
    uint64_t commit_offset;
    uint64_t applied_index;
    uint64_t applied_offset;
    uint64_t last_index;  /* of the own log */
    uint64_t tail_offset;
    uint64_t base_offset;
    uint64_t ring_bytes;
    uint64_t pending; /* commands of own clients without an answer, reads too, but for commands that
                         wait for a partition */
    uint64_t elections; /* times that this replica became leader in this life */
    bool amnesiac;
    uint64_t members; /* number of the members in force here; 0: the bootstrap ones ... */
    bool members_committed;
    uint32_t voters;  /* ... as masks, bit p is replica p; both 0: none are known */
    uint32_t learners;
    bool removed;     /* this replica is no member any more, and ends */
    bool serving; /* knows a leader and has applied up to its start of term */
    enum lks_durability durability;
    struct lks_reads_status reads;
    struct lks_snapshots_status snapshots;
    struct lks_takeover_status takeover;
    struct lks_peer_status peers[LKS_REPLICAS_MAX + 1]; /* by id; leader only but `connected` */
};

void lks_replica_status(const struct lks_replica *replica, struct lks_replica_status *status);

/* Who executes, and how busy they are. */
struct lks_scheduler_status {
    enum lks_scheduler_kind kind;
    enum lks_scheduler_kind wanted; /* what comes next, once everything is at rest; else as kind */
    uint32_t workers;
    uint64_t under_way; /* commands and reads dispatched, and not answered yet */
    /* Commands and reads that the replica's thread executed itself, without handing them over: no
     * workers, or adaptive that wants none now, or partitions are missing (then each part of a
     * command counts). all.submitted has the others. */
    uint64_t in_place;
    struct lks_scheduler_statistics all;
    struct lks_worker_statistics worker[LKS_WORKERS_MAX + 1]; /* the last: the replica's thread */
    uint32_t busy_percent[LKS_WORKERS_MAX]; /* of the last second or two in which a worker had work;
                                               0 with a manual scheduler */
};

void lks_replica_scheduler_status(const struct lks_replica *replica,
                                  struct lks_scheduler_status *status);

/* Where the clients of a member connect, if its addition said so; else "". Valid until the next
 * step. */
const char *lks_replica_member_address(const struct lks_replica *replica, uint32_t id);

/* A hash of the service's state and the session table, with the index that it belongs to; index 0
 * while partitions are being restored, or commands are under way on workers. */
uint64_t lks_replica_hash(struct lks_replica *replica, uint64_t *index);

#endif
