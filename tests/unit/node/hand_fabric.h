/*
 * A whole fabric in one process, moved by hand: replicas of a test share it, and the test decides
 * what lands when. Without further ado everything happens when it is posted, as on shared memory;
 * a lane that is held keeps its operations until the test lets them go. Any call can be made to
 * fail once, with any code. It checks the caller's side of verbs/fabric.h by assertions. One
 * thread, no clock, no randomness.
 */
#ifndef LKS_TESTS_UNIT_NODE_HAND_FABRIC_H
#define LKS_TESTS_UNIT_NODE_HAND_FABRIC_H

#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

struct hand_net;

/* What a replica posts to a peer goes by one of these. Reads of the log have a lane of their own,
 * so that they can be held while messages pass. */
enum hand_lane { HAND_CONNECTION, HAND_LOG_READS, HAND_PATH, HAND_CONTROL, HAND_LANES };

enum hand_call {
    HAND_GRANT,
    HAND_REVOKE,
    HAND_OPEN,
    HAND_WRITE_LOG,
    HAND_FLUSH,
    HAND_WRITE_INBOX,
    HAND_READ,
    HAND_CALLS
};

/* Told when a flush has made bytes durable that were written to owner's log memory. */
typedef void (*hand_durable)(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes);

struct hand_net *hand_net_new(uint32_t replicas, bool writes_when_posted, hand_durable durable,
                              void *ctx);
void hand_net_free(struct hand_net *net);
/* From now on the fabrics say that posting takes as long as writing (writes_while_posting). */
void hand_post_slowly(struct hand_net *net);

/* A life of a replica: connected to nobody. lks_fabric_free is its death: see hand_kill. */
struct lks_fabric *hand_fabric(struct hand_net *net, const struct lks_fabric_options *options);

/* Connects two living replicas, or breaks their connection: what is held on it fails. */
void hand_join(struct hand_net *net, uint32_t a, uint32_t b);
void hand_break(struct hand_net *net, uint32_t a, uint32_t b);
bool hand_joined(const struct hand_net *net, uint32_t a, uint32_t b);

/* The process has ended; the others' connections to it break, and they know why. Its fabric is
 * freed by its owner afterwards. */
void hand_kill(struct hand_net *net, uint32_t replica);

/* From now on operations of `from` towards `to` wait, or no longer. Control: of `from`'s own gate
 * for `to` (grant, revoke) and of its paths to `to` (open). What waits is done by _release, the
 * oldest ones first, at most `count`; returns how many. */
void hand_hold(struct hand_net *net, uint32_t from, uint32_t to, enum hand_lane lane, bool hold);
uint32_t hand_release(struct hand_net *net, uint32_t from, uint32_t to, enum hand_lane lane,
                      uint32_t count);
uint32_t hand_held(const struct hand_net *net, uint32_t from, uint32_t to, enum hand_lane lane);

/* From now on replica's fabric has failed for good. */
void hand_lose(struct hand_net *net, uint32_t replica);

/* The call of this kind that replica makes after `skip` others returns code, once. */
void hand_fail(struct hand_net *net, uint32_t replica, enum hand_call call, uint32_t skip,
               int code);
/* Its operation is taken, and completes with code; of grant, open, flush, read, and writes with an
 * id. A failed operation breaks the path or leaves the connection as it is. */
void hand_fail_completion(struct hand_net *net, uint32_t replica, enum hand_call call,
                          uint32_t skip, int code);
/* Calls of this kind so far; and whether an ordered failure has happened. */
uint64_t hand_calls(const struct hand_net *net, uint32_t replica, enum hand_call call);
bool hand_failed(const struct hand_net *net, uint32_t replica);

/* Where `replica` was last told that `peer` listens, as "address port"; "": never, in this life. */
const char *hand_place(const struct hand_net *net, uint32_t replica, uint32_t peer);

/* Whether writer may write owner's log now. */
bool hand_gate_open(const struct hand_net *net, uint32_t owner, uint32_t writer);

#endif
