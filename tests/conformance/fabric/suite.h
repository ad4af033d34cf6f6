/*
 * The conformance suite of the fabric: what verbs/fabric.h promises, tested through that interface
 * alone. A backend brings a table that makes a world of three replicas and starts and ends their
 * lives; everything else is the suite's. All fabrics of a world are polled by one thread.
 */
#ifndef LKS_TESTS_FABRIC_SUITE_H
#define LKS_TESTS_FABRIC_SUITE_H

#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

#define SUITE_REPLICAS 3u
#define SUITE_LOG_BYTES (UINT64_C(256) << 10) /* head included */
#define SUITE_WORDS_BYTES UINT64_C(4096)
#define SUITE_INBOX_BYTES UINT64_C(8192)
#define SUITE_SCRATCH_BYTES (UINT64_C(64) << 10)
#define SUITE_SNAPSHOTS_BYTES (UINT64_C(128) << 10) /* of replicas 1 and 2; replica 3 has none */
#define SUITE_OUTSTANDING_MAX 16u

struct suite_backend {
    const char *name;

    /* A world in which no replica lives yet; log memories of SUITE_LOG_BYTES, zeroed. They keep
     * their bytes over the lives of their replica. */
    void *(*world_new)(void);
    void (*world_free)(void *world);

    /* Begins a life of a replica, with the sizes above; incarnation and hello as given. */
    struct lks_fabric *(*start)(void *world, uint32_t replica, uint64_t incarnation,
                                const uint8_t hello[LKS_FABRIC_HELLO_BYTES]);
    /* Ends it as a crash does, as far as the backend can: its peers are told peer_dead. */
    void (*crash)(void *world, uint32_t replica);
    /* Ends it by lks_fabric_free. */
    void (*stop)(void *world, uint32_t replica);

    /* Where the world keeps the log memory of a replica. */
    uint8_t *(*log)(void *world, uint32_t replica);
    /* Likewise its snapshots, writable here. */
    uint8_t *(*snapshots)(void *world, uint32_t replica);

    /* Called when a round of polls gave nothing: lets time pass. */
    void (*idle)(void *world);
    /* Rounds of polls in which an answer would have come, if one came; 0: 20,000. */
    uint32_t settle_rounds;
    /* True if the fabric's wake_fd is readable now. */
    bool (*readable)(void *world, struct lks_fabric *fabric);
};

/* Runs all cases; returns how many failed. */
int suite_run(const struct suite_backend *backend);

#endif
