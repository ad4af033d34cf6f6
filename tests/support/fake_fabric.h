/*
 * A fabric in one process for tests of what works over the inbox: replicas whose writes are under
 * way until the test delivers them, piece by piece, in any order that the fabric's contract
 * allows. A seed decides everything. It has the calls around connections and the inbox only; the
 * others are NULL. Bytes land only in fake_net_deliver, so a test owns every interleaving.
 */
#ifndef LKS_TESTS_SUPPORT_FAKE_FABRIC_H
#define LKS_TESTS_SUPPORT_FAKE_FABRIC_H

#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

struct fake_net;

struct fake_net_options {
    uint32_t replicas;
    uint64_t seed;
    uint64_t inbox_bytes;
    uint32_t outstanding_max; /* writes under way on one way between two replicas */
    uint32_t busy_percent;    /* of the writes are refused with -LKS_EBUSY for nothing */
    bool late;      /* what is under way when a connection breaks may land at any later time */
    bool zero_late; /* an area is zeroed when its owner polls CONNECTED, not before */
};

struct fake_net *fake_net_new(const struct fake_net_options *options);
void fake_net_free(struct fake_net *net);

/* The fabric of one replica (1..replicas). Writes take id 0 and LKS_FABRIC_INLINE only. */
struct lks_fabric *fake_net_fabric(struct fake_net *net, uint32_t replica);

/* Lands one piece of one write, chosen at random; false: nothing is under way. */
bool fake_net_deliver(struct fake_net *net);
void fake_net_deliver_all(struct fake_net *net);

/* Connects or breaks two replicas; both sides get their events in their own time. */
void fake_net_join(struct fake_net *net, uint32_t a, uint32_t b);
void fake_net_break(struct fake_net *net, uint32_t a, uint32_t b);
bool fake_net_joined(const struct fake_net *net, uint32_t a, uint32_t b);

/* A new life: connections break, its inboxes are new memory, its events are forgotten. */
void fake_net_restart(struct fake_net *net, uint32_t replica);

/* Writes with LKS_FABRIC_WAKE that have landed at a replica. */
uint64_t fake_net_wakes(const struct fake_net *net, uint32_t replica);

/* The net's random numbers, for the test's own choices. */
uint64_t fake_net_random(struct fake_net *net, uint64_t below);

#endif
