/*
 * What the cases of the suite share: a world with its fabrics, the events seen so far, and ways to
 * wait for one. One thread. Waiting is bounded by a number of rounds, never by a clock.
 */
#ifndef LKS_TESTS_FABRIC_STAGE_H
#define LKS_TESTS_FABRIC_STAGE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/conformance/fabric/suite.h"

#define STAGE_EVENTS_MAX 4096u

struct stage_life {
    struct lks_fabric *fabric; /* NULL: does not live */
    uint64_t incarnation;
    uint8_t hello[LKS_FABRIC_HELLO_BYTES];
    struct lks_fabric_event events[STAGE_EVENTS_MAX]; /* seen and not yet taken, in order */
    uint32_t events_count;
};

struct stage {
    const struct suite_backend *backend;
    void *world;
    struct stage_life lives[SUITE_REPLICAS + 1]; /* by replica */
};

/* Group of cases: each gets a fresh stage without lives as *state. */
int stage_setup(void **state);
int stage_teardown(void **state);
/* The backend that stage_setup uses. */
void stage_use(const struct suite_backend *backend);

struct lks_fabric *stage_start(struct stage *stage, uint32_t replica);
void stage_crash(struct stage *stage, uint32_t replica);
void stage_stop(struct stage *stage, uint32_t replica);

/* Polls every fabric once and keeps what they gave. */
void stage_round(struct stage *stage);
/* As many rounds as an answer could possibly take, if one came. */
void stage_settle(struct stage *stage);

/* Waits for the first event of this kind about this peer and takes it out. */
struct lks_fabric_event stage_await(struct stage *stage, uint32_t replica,
                                    enum lks_fabric_event_kind kind, uint32_t peer);
/* True if such an event was seen and not taken. */
bool stage_has(const struct stage *stage, uint32_t replica, enum lks_fabric_event_kind kind,
               uint32_t peer);
/* Waits for the completion with this id, which must be the first one of that peer. */
int stage_completion(struct stage *stage, uint32_t replica, uint32_t peer, uint64_t id);

/* Starts all replicas and connects them pairwise; takes the CONNECTED events. */
void stage_connect_all(struct stage *stage);
/* Connects two living replicas. */
void stage_connect(struct stage *stage, uint32_t a, uint32_t b);

/* owner revokes, then grants to writer; the key. */
struct lks_fabric_key stage_grant(struct stage *stage, uint32_t owner, uint32_t writer);
/* The writer opens that key; the status. */
int stage_open(struct stage *stage, uint32_t writer, uint32_t owner,
               const struct lks_fabric_key *key);
/* Both: a path from writer to owner stands. */
void stage_path(struct stage *stage, uint32_t writer, uint32_t owner);
void stage_revoke(struct stage *stage, uint32_t owner, uint32_t writer);

/* Reads a word of a peer's log through the fabric, as any peer may. */
uint64_t stage_read_word(struct stage *stage, uint32_t reader, uint32_t owner, uint64_t offset);

#endif
