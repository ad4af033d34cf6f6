/*
 * Two replicas that talk by mailbox over the fake fabric, for the tests of the mailbox. Messages
 * carry their number and the connection over which they were sent, so that pair_hear can check
 * what arrives: unchanged, in order, at most once.
 */
#ifndef LKS_TESTS_UNIT_NODE_MAILBOX_PAIR_H
#define LKS_TESTS_UNIT_NODE_MAILBOX_PAIR_H

#include "node/mailbox.h"
#include "tests/support/fake_fabric.h"

#include <stdint.h>

#define A 1u
#define B 2u

/* Two replicas, a mailbox at each, and what the test knows about what they say. */
struct side {
    struct lks_mailbox mailbox;
    uint64_t incarnation;
    uint64_t connection; /* as this side's mailbox was told; 0: none */
    uint64_t sent_id;    /* the last message sent, over all lives */
    uint64_t heard_id;   /* the last message heard, over all lives */
    uint64_t heard;      /* messages heard over the present connection */
};

struct pair {
    struct fake_net *net;
    struct side sides[3];
};

/* A message: who sent it over which connection, its number, and bytes that follow from both. */
struct message {
    uint64_t connection;
    uint64_t id;
    uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX - 16];
};

_Static_assert(sizeof(struct message) == LKS_MAILBOX_MESSAGE_MAX, "fills a slot");

void pair_new(struct pair *pair, const struct fake_net_options *given);
void pair_free(struct pair *pair);

/* Connected, and the greeting is over. */
void pair_joined(struct pair *pair);

/* Hands a replica's fabric events to its mailbox. */
void pair_take_events(struct pair *pair, uint32_t replica, uint32_t events_max);

/* Sends the next message: what lks_mailbox_send says. */
int pair_say(struct pair *pair, uint32_t replica, uint32_t bytes);

/* Hears one message, checks its bytes and that it is newer than all before: its length, or
 * -ENODATA. */
int pair_hear(struct pair *pair, uint32_t replica, struct message *message);

/* Lets both sides take their events and poll, with everything landing, until it is quiet. */
void pair_settle(struct pair *pair);

/* The area that replica's peer writes. */
struct lks_mailbox_area *pair_area(struct pair *pair, uint32_t replica);

/* Polls a side often enough that it repeats what is unacknowledged. */
void pair_let_repeat(struct pair *pair, uint32_t replica);

#endif
