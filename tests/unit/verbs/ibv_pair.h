/*
 * Two fabrics of the RDMA backend in one process, over one device, polled by one thread: what the
 * tests of that backend share. LKS_TEST_RDMA_ADDRESS names the device's address.
 */
#ifndef LKS_TESTS_VERBS_IBV_PAIR_H
#define LKS_TESTS_VERBS_IBV_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verbs/ibv/ibv.h"

#define PAIR_SKIPPED 77
#define PAIR_LOG_BYTES (UINT64_C(64) << 10)
#define PAIR_AREA_BYTES (UINT64_C(160) << 20) /* three chunks, hardly any of it ever touched */
#define PAIR_ROUNDS_MAX 100000u
#define PAIR_LINES_BYTES 4096u
#define PAIR_KINDS (LKS_FABRIC_COMPLETED + 1)

/* Replicas 1 and 2; nothing lives at first. */
struct pair {
    struct lks_fabric *fabrics[3]; /* by id */
    uint8_t *logs[3];
    uint8_t *area; /* replica 2's snapshots */
    char lines[3][PAIR_LINES_BYTES]; /* what each has logged */
    struct lks_log sinks[3];
    struct lks_rdma_options rdma; /* for the next start; places and key are the pair's */
    struct lks_fabric_event last[3];
    bool seen[3][PAIR_KINDS]; /* since the last _await of that kind */
    struct lks_fabric_event events[3][PAIR_KINDS];
    uint64_t completed[3];
    bool connected[3];
    bool disconnected[3];
};

/* The device's address; NULL, and a line that says so: there is none. */
const char *pair_address(void);
void pair_use_address(const char *address);

int pair_setup(void **state);
int pair_teardown(void **state);
/* What lks_fabric_rdma_new returns; its error is a line of the replica's. */
int pair_start(struct pair *pair, uint32_t id, const char *key, uint64_t words_bytes);
/* Polls both until nothing is left, and lets a moment pass. */
void pair_turn(struct pair *pair);
void pair_await_lines(struct pair *pair, uint32_t id, const char *text);
void pair_connect(struct pair *pair);
/* Waits for the next event of this kind; each replica keeps its last event only. */
struct lks_fabric_event pair_await(struct pair *pair, uint32_t id,
                                   enum lks_fabric_event_kind kind);

#endif
