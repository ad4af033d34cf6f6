/*
 * A gateway and a leader joined by an ingress ring over the fake fabric, for the tests of the
 * ring. The bytes of a command follow from its sequence and size, so that rig_pop can check what
 * arrives: unchanged, in order, each once.
 */
#ifndef LKS_TESTS_UNIT_NODE_INGRESS_RIG_H
#define LKS_TESTS_UNIT_NODE_INGRESS_RIG_H

#include "node/ingress.h"
#include "node/sessions.h"
#include "tests/support/fake_fabric.h"

#include <stdint.h>

#define GATEWAY 1u
#define LEADER 2u
#define SESSION ((uint64_t)GATEWAY << LKS_SESSION_INCARNATION_BITS | 9)

struct ingress_rig {
    struct fake_net *net;
    struct lks_ingress_producer producer;
    struct lks_ingress_consumer consumer;
    struct lks_ingress_offer offer;
    uint8_t *buffer; /* of the consumer */
    uint8_t *data;   /* of the command being pushed */
    uint64_t pushed; /* sequences */
    uint64_t popped;
};

/* Connected; nothing is offered. */
void rig_new(struct ingress_rig *f, const struct fake_net_options *given);

/* Connected, and the offer has arrived. */
void rig_open(struct ingress_rig *f);
void rig_free(struct ingress_rig *f);

/* Pushes the next sequence; with -LKS_EBUSY nothing has changed for the caller. */
int rig_push(struct ingress_rig *f, uint32_t bytes);

/* Pushes and publishes with as many deliveries as it takes. */
void rig_push_through(struct ingress_rig *f, uint32_t bytes);

/* Takes the next command and checks it: what lks_ingress_pop says. */
int rig_pop(struct ingress_rig *f);

/* The ring in the leader's memory; the words in a replica's memory. */
uint8_t *rig_ring(struct ingress_rig *f);
struct lks_ingress_words *rig_words(struct ingress_rig *f, uint32_t replica);

#endif
