/*
 * One replica's process in the simulation: its journal's medium, its end of the network, the
 * replica, its clocks, and when its next step is due. It can be started, crashed, paused, stopped
 * in order, and lose power, at any moment between two steps. One thread, virtual time.
 */
#ifndef LKS_SIM_PROCESS_H
#define LKS_SIM_PROCESS_H

#include "node/replica.h"
#include "sim/area.h"
#include "sim/network.h"
#include "sim/random.h"
#include "sim/service.h"
#include "sim/storage.h"
#include "sim/timeline.h"
#include "sim/trace.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_process;

/* What a replica's journal lies on. */
struct lks_sim_medium_profile {
    enum lks_durability durability;
    bool slow; /* ranges are made durable by posting them */
    bool disk; /* a file system on a disk, not memory; for pmem-ack */
};

/* How processes and their hosts behave. */
struct lks_sim_process_profile {
    struct lks_sim_delay spin;    /* from a step that did something to the next one */
    struct lks_sim_delay wake;    /* from a wake to the step that it causes */
    struct lks_sim_delay persist; /* slow media: a posted range, half and half */
    struct lks_sim_medium_profile media[LKS_REPLICAS_MAX + 1]; /* by replica, from 1 */
    uint64_t write_bytes_max;     /* as in struct lks_replica_options */
    uint32_t outstanding_max;     /* of the fabric */
    uint64_t election_timeout_ns;
    uint64_t heartbeat_ns;
    uint32_t drift_ppm_max;       /* of the monotonic clock, either way */
    uint64_t area_bytes;          /* for snapshots; 0: none are taken, the ring is not recycled */
    uint32_t workers_max;         /* each life of a replica has a scheduler and up to so many
                                     workers, drawn; the seed steps them. 0: none has */
};

enum lks_sim_process_state { LKS_SIM_DOWN, LKS_SIM_RUNNING, LKS_SIM_PAUSED };

/* What the cluster is told. None of them may end the process. */
struct lks_sim_process_observer {
    /* After each step of a running process. */
    void (*stepped)(void *ctx, uint32_t replica);
    void (*replied)(void *ctx, uint32_t replica, uint64_t cookie, const void *reply,
                    size_t bytes);
    /* A command was executed by this replica. */
    void (*applied)(void *ctx, uint32_t replica, const struct lks_sim_executed *executed);
    /* A command was answered from a state of this (logged) time, without an entry. */
    void (*read)(void *ctx, uint32_t replica, uint64_t number, uint64_t time_ns);
    /* The process has ended by itself: in order, because its medium does not work, or since it was
     * removed from the cluster (lks_sim_process_is_removed). */
    void (*stopped)(void *ctx, uint32_t replica);
    /* The replica must not go on, or could not start. */
    void (*failed)(void *ctx, uint32_t replica, int code, const char *text);
    void *ctx;
};

struct lks_sim_process_options {
    uint32_t replica;
    uint32_t replicas;
    struct lks_sim_timeline *timeline;
    struct lks_sim_trace *trace;
    struct lks_sim_network *network;
    const struct lks_sim_random *random; /* a stream is forked from it */
    const struct lks_sim_process_profile *profile; /* outlives the process */
    struct lks_journal_options journal;
    struct lks_sim_process_observer observer;
};

struct lks_sim_process *lks_sim_process_new(const struct lks_sim_process_options *options);
/* Crashes it first if it is up; removes its journal. */
void lks_sim_process_free(struct lks_sim_process *process);

/* Formats its journal and its snapshot area. What lay there is gone: not fresh_cluster is what
 * `lockstep init --rejoin` does. */
int lks_sim_process_format(struct lks_sim_process *process, bool fresh_cluster,
                           struct lks_error *err);

enum lks_sim_process_state lks_sim_process_state(const struct lks_sim_process *process);

/* Up: a bit of a snapshot changes by itself; false: there is none. The process may fail at it from
 * now on, by saying so. */
bool lks_sim_process_rot(struct lks_sim_process *process, struct lks_sim_random *random);
/* Down: bits of its journal have changed. It may fail at them from now on, or not start, by saying
 * so. */
void lks_sim_process_note_rot(struct lks_sim_process *process);
/* Its snapshots or its journal may be rotten. */
bool lks_sim_process_is_rotten(const struct lks_sim_process *process);
/* It has failed at what is rotten: to be formatted before it is started again. */
bool lks_sim_process_is_lost(const struct lks_sim_process *process);

/* It has ended since its replica was removed from the cluster, and was not formatted since. */
bool lks_sim_process_is_removed(const struct lks_sim_process *process);

/* Snapshots of partitions that were taken, in all its lives. */
uint64_t lks_sim_process_snapshots(const struct lks_sim_process *process);

/* Down: opens the journal and starts the replica. -errno: could not start, and `failed` said so. */
int lks_sim_process_start(struct lks_sim_process *process);
/* Up: ends at once; what it had posted may still land. */
void lks_sim_process_crash(struct lks_sim_process *process);
/* Down, but left in the middle of a call that starts or ends it: its open files are forgotten. */
void lks_sim_process_abandon(struct lks_sim_process *process);
/* Any state: as a crash, and what was not durable may be lost. */
void lks_sim_process_power_cut(struct lks_sim_process *process);
/* Running: takes no step until resumed. */
void lks_sim_process_pause(struct lks_sim_process *process);
void lks_sim_process_resume(struct lks_sim_process *process);
/* Running: ends in order, soon; `stopped` follows unless something else ends it first. */
void lks_sim_process_stop(struct lks_sim_process *process);

/* Running: the observer looks at it as after a step. For a call that may have ended a vote or a
 * commit by itself: its messages may be heard before its next step. */
void lks_sim_process_observe(struct lks_sim_process *process);

/* The network has something for it. */
void lks_sim_process_wake(struct lks_sim_process *process);

/* Moves CLOCK_REALTIME by jump_ns. */
void lks_sim_process_jump(struct lks_sim_process *process, int64_t jump_ns);
/* The monotonic clock goes ppm / 10^6 too fast from now on, until the process ends. Steps that are
 * on the timeline stay where they are. */
void lks_sim_process_drift(struct lks_sim_process *process, int64_t ppm);

/* From now on nothing is made durable, and `status` (a negative errno) says so; the process has to
 * end, or not to start, for that reason. Its medium works again at the next start. */
void lks_sim_process_fail_medium(struct lks_sim_process *process, int status);
bool lks_sim_process_medium_fails(const struct lks_sim_process *process);

/* The replica (NULL while down) and its storage. */
struct lks_replica *lks_sim_process_replica(const struct lks_sim_process *process);
struct lks_sim_storage *lks_sim_process_storage(const struct lks_sim_process *process);
/* NULL: it takes no snapshots. */
const struct lks_sim_area *lks_sim_process_area(const struct lks_sim_process *process);

/* Down: its files are of that cluster from now on, or will be when they are formatted. */
void lks_sim_process_set_cluster(struct lks_sim_process *process,
                                 const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);

/* Raised at each start. */
uint64_t lks_sim_process_life(const struct lks_sim_process *process);

/* May have forgotten acknowledged entries, as far as its journal knows. */
bool lks_sim_process_amnesiac(struct lks_sim_process *process);
/* A power cut makes it so. */
bool lks_sim_process_forgets(const struct lks_sim_process *process);

#endif
