/*
 * A client that writes keys which expire, and reads them at all replicas in turn: none may be gone
 * before its time, and none that was seen gone may come back. One thread a client; the test reads
 * its counts after lks_expiry_client_join.
 */
#ifndef LKS_TESTS_SUPPORT_EXPIRY_CLIENT_H
#define LKS_TESTS_SUPPORT_EXPIRY_CLIENT_H

#include "tests/support/history_client.h"

#define LKS_EXPIRY_KEYS 64u /* of one client, written again and again under new names */

struct lks_expiry_key {
    uint64_t number;     /* part of the name */
    uint64_t alive_ns;   /* monotonic: it must be there until then */
    bool acknowledged;
    bool gone;           /* a read said so */
};

struct lks_expiry_client {
    struct lks_history_run *run;
    uint32_t id;
    uint64_t seed;
    pthread_t thread;
    struct lks_expiry_key keys[LKS_EXPIRY_KEYS];
    uint64_t written;
    uint64_t reads;
    uint64_t seen_gone;
    uint64_t early;    /* absent before its time (printed) */
    uint64_t returned; /* there again after it was seen gone (printed) */
};

/* Starts the thread. -1: no thread. */
int lks_expiry_client_start(struct lks_expiry_client *client, struct lks_history_run *run,
                            uint32_t id, uint64_t seed);
/* After run->stop was set. */
void lks_expiry_client_join(struct lks_expiry_client *client);

/* Waits until every key of the client is gone at a replica; the number of those that are still
 * there after timeout_ms, or -1: no answer. */
int64_t lks_expiry_client_check_gone(const struct lks_expiry_client *client,
                                     const struct lks_process_cluster *cluster, uint32_t replica,
                                     uint32_t timeout_ms);

#endif
