/*
 * Whole replicas in one process, stepped by hand: real journals in a folder of their own, the
 * fabric of hand_fabric.h, time that the test moves, a service that notes what it executed. The
 * tests of the code that joins journal, core, fabric and service share it. One thread.
 */
#ifndef LKS_TESTS_UNIT_NODE_REPLICA_RIG_H
#define LKS_TESTS_UNIT_NODE_REPLICA_RIG_H

#include "node/replica_internal.h"
#include "tests/unit/node/hand_fabric.h"
#include "tests/unit/node/rig_service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RIG_HEARTBEAT_NS UINT64_C(1000000)
#define RIG_ELECTION_NS UINT64_C(10000000)
#define RIG_TICK_NS UINT64_C(50000)
#define RIG_PERSISTS_MAX 8u

struct numa_rig;

struct rig_options {
    uint32_t replicas;
    uint64_t ring_bytes;      /* 0: 1 MiB */
    uint64_t entry_bytes_max; /* 0: an eighth of the ring */
    uint64_t write_bytes_max; /* 0: the replica's own default */
    bool writes_when_posted;
    bool on_file[LKS_REPLICAS_MAX + 1]; /* journal on the working folder's file system */
    enum lks_durability durability[LKS_REPLICAS_MAX + 1]; /* AUTO (0): writer-flush */
    bool slow_medium[LKS_REPLICAS_MAX + 1]; /* ranges are posted, see rig_persist */
    bool snapshots;           /* areas beside the journals: the rings are recycled */
    uint64_t area_bytes;      /* 0: 64 MiB */
    uint32_t partitions;      /* of the service; 0: 1 */
    uint32_t record_bytes;    /* of a command in a snapshot; 0: 8 */
    uint64_t (*realtime_clock_ns)(void); /* within a step; NULL: the step's */
    uint64_t (*clock_ns)(void);          /* the same of the monotonic clock */
    uint32_t workers[LKS_REPLICAS_MAX + 1]; /* of each replica's scheduler, stepped by hand */
    enum lks_scheduler_kind scheduler[LKS_REPLICAS_MAX + 1];
    struct numa_rig *numa; /* the machine that replicas place their memory on; NULL: none */
    const int *nodes;      /* of workers and the replica's thread there */
};

/* A range that waits to be made durable. */
struct rig_persist {
    uint64_t from;
    uint64_t to;
    uint64_t id;
};

#define RIG_READS_MAX 4096u

/* A read of a client of one replica, by its number from 1. */
struct rig_read {
    uint32_t answered; /* how often */
    bool unknown;      /* its connection was closed instead */
    uint64_t value;    /* commands executed where it looked */
    uint32_t answers;  /* commands that had been answered, at all replicas, before it was */
};

struct rig_replica {
    struct rig *rig;
    uint32_t id;
    char path[128];
    char boot_id[40];
    char area_path[128];
    struct lks_journal *journal;
    struct lks_snapshots *snapshots;
    struct lks_fabric *fabric;
    struct lks_replica *replica; /* NULL while down */
    int status; /* what the last step returned; negative: it failed, and err says why */
    struct lks_error err;
    bool stalled; /* takes no step */
    bool holds_workers; /* they take no step; else a few, drawn, after each of the replica's */
    bool holds_persists;
    struct rig_persist persists[RIG_PERSISTS_MAX];
    uint32_t persists_count;
    uint8_t *durable; /* the ring as a power cut would leave it */
    struct rig_persist area_persist; /* id 0: none; held as the others are */
    bool area_posted;
    struct rig_service service; /* what it executed */
    uint32_t replies; /* to its own clients, in this life */
    uint64_t writes_at_reply; /* writes to logs that it had posted when it gave the last one */
    uint32_t unknown; /* commands of its own clients whose outcome is not known, in this life */
};

struct rig {
    struct rig_options options;
    struct hand_net *net;
    uint64_t answers[RIG_SUBMITTED_MAX]; /* numbers in the order of their answers */
    uint32_t answers_count;
    struct rig_read reads[RIG_READS_MAX];
    uint32_t reads_count;
    char folder[96];
    uint64_t now_ns;
    uint64_t realtime_ns;
    uint64_t replacements;                /* of journals */
    uint64_t random;                      /* state of what is drawn at power cuts */
    uint64_t submitted;                   /* numbers given so far */
    uint8_t answered[RIG_SUBMITTED_MAX];  /* by number: how often */
    struct rig_replica replicas[LKS_REPLICAS_MAX + 1];
};

/* All up and connected; nobody has taken a step. */
struct rig *rig_new(const struct rig_options *options);
void rig_free(struct rig *rig);

/* A life begins: opens the journal, joins everybody that is up. An open that fails leaves its code
 * in `status`. */
void rig_start(struct rig *rig, uint32_t id);
/* The process ends. `lost_power`: its host starts anew, and what was not made durable is lost, or
 * some lines of it (drawn). */
void rig_crash(struct rig *rig, uint32_t id, bool lost_power);
/* Zeroes log bytes [from, to) of a replica that is down. */
void rig_spoil(struct rig *rig, uint32_t id, uint64_t from, uint64_t to);

/* One step of one replica, or of all that are up, then time moves on. */
void rig_step(struct rig *rig, uint32_t id);
void rig_tick(struct rig *rig);
void rig_run(struct rig *rig, uint64_t ns);

/* Ends a range that waits at this replica (place 0: the oldest), made durable first if status is
 * 0. */
void rig_persist(struct rig *rig, uint32_t id, uint32_t place, int status);
/* The same for the range of the snapshot area that waits. */
void rig_persist_area(struct rig *rig, uint32_t id, int status);
/* A new journal (and area) under the old name, for a replica that is down. */
void rig_replace(struct rig *rig, uint32_t id);

/* Ticks until one replica leads and is established; fails the test after 2 s. Returns it. */
uint32_t rig_lead(struct rig *rig);
/* The same, with this replica as leader. */
void rig_make_leader(struct rig *rig, uint32_t id);
/* The established leader of the highest term; 0: none. */
uint32_t rig_leader(const struct rig *rig);

/* Submits a command of so many bytes (at least 8) at a replica: its number, or 0 and *code. */
uint64_t rig_submit(struct rig *rig, uint32_t id, size_t bytes, int *code);
/* The same `count` times; all must be taken. */
void rig_submit_many(struct rig *rig, uint32_t id, size_t bytes, uint32_t count);

/* Submits a read of a partition at a replica, which must take it: its number. Partitions beyond
 * the last: all of them. */
uint32_t rig_read(struct rig *rig, uint32_t id, uint32_t partition, bool ordered);

/* Ticks until everything submitted was answered, once, and all that are up have applied the same
 * commands; fails the test after 2 s. Commands of lives that ended need no answer. */
void rig_settle(struct rig *rig);
/* All that are up have executed the same commands in the same order, none twice, and nobody
 * failed; as far as each has come. */
void rig_check(const struct rig *rig);

/* Put in place of the journal's function by the linker, to know what is durable. */
int __real_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to);
int __wrap_lks_journal_persist_range(const struct lks_journal *journal, uint64_t from,
                                     uint64_t to);

/* Commands that a replica's service executed, in whatever partition, each counted once. */
uint32_t rig_executed(const struct rig *rig, uint32_t id);

struct lks_replica_status rig_status(const struct rig *rig, uint32_t id);
struct lks_control_words *rig_control(const struct rig *rig, uint32_t id);

#endif
