/*
 * A client that records what it did and what it was told, for the history checker: reads, writes
 * and increments of a few contended keys, and writes of keys of its own that must never get lost.
 * One thread a client; the test reads its fields after lks_history_client_join.
 */
#ifndef LKS_TESTS_SUPPORT_HISTORY_CLIENT_H
#define LKS_TESTS_SUPPORT_HISTORY_CLIENT_H

#include "sim/checkers/linearizability.h"
#include "tests/support/process_cluster.h"

#include <pthread.h>
#include <stdatomic.h>

#define LKS_HISTORY_REGISTERS 3u /* keys 0..2: GET, SET, and on key 2 also DEL */
#define LKS_HISTORY_COUNTERS 2u  /* keys 3..4: GET, INCR */
#define LKS_HISTORY_KEYS (LKS_HISTORY_REGISTERS + LKS_HISTORY_COUNTERS)

/* What all clients of a run share. The test makes a replica's word odd before it does anything to
 * it, and even again when it serves: a client whose replica was left alone (the word is even and
 * was the same when it connected) must not see an error. */
struct lks_history_run {
    const struct lks_process_cluster *cluster;
    atomic_bool stop;
    _Atomic uint64_t disturbances[LKS_PROCESS_REPLICAS_MAX + 1];
    _Atomic uint64_t standstills; /* likewise odd while no majority is left alone: only then may a
                                     replica that is left alone refuse a command */
    _Atomic uint64_t acknowledged; /* by all clients so far */
    uint64_t think_us_max; /* pause between operations, random up to this */
    uint64_t operations_max; /* of one client */
};

struct lks_history_client {
    struct lks_history_run *run;
    uint32_t id;
    uint64_t seed;
    pthread_t thread;
    struct lks_history_operation *operations;
    size_t count;
    char *own;         /* outcome of own key i: 'A'cknowledged, 'U'nknown, 'R'efused */
    uint64_t own_count;
    uint64_t acknowledged;
    uint64_t unknown;
    uint64_t refused;    /* error replies: nothing happened */
    uint64_t unexpected; /* broken connections although the replica was left alone; and refusals
                            although a majority was too (printed) */
    uint64_t malformed;  /* replies of another type than the command has */
    char refusal[128];   /* the last error reply */
};

/* Starts the thread. -1: no memory or no thread. */
int lks_history_client_start(struct lks_history_client *client, struct lks_history_run *run,
                             uint32_t id, uint64_t seed);
/* After run->stop was set. */
void lks_history_client_join(struct lks_history_client *client);
void lks_history_client_fini(struct lks_history_client *client);

/* Reads every contended key at a replica and appends the answers to `into` (room for
 * LKS_HISTORY_KEYS). -1: no answer, though asked again many times. */
int lks_history_read_all(const struct lks_process_cluster *cluster, uint32_t replica,
                         struct lks_history_operation *into);

/* Reads client's own keys at a replica: an acknowledged one must be there, a refused one must not.
 * Returns how many are wrong (printed), or -1: no answer, though asked again many times (printed),
 * as a new leader may be under way. */
int64_t lks_history_client_check_own(const struct lks_history_client *client,
                                     const struct lks_process_cluster *cluster, uint32_t replica);

#endif
