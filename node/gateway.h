/*
 * The gateway: the commands of a replica's own clients, from their submission to their answer.
 * It numbers them 1, 2, ... within the replica's session, keeps their bytes until they are
 * answered, and says which one goes to the leader next; after a change of leader or a broken
 * connection it begins again with the oldest unanswered one, before anything new. So the leader
 * sees every sequence in order, and each command takes effect once however often it is sent.
 * One ring of bytes, allocated at start; every call takes constant time. The replica's thread.
 */
#ifndef LKS_NODE_GATEWAY_H
#define LKS_NODE_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lks_gateway;

struct lks_gateway_options {
    uint64_t pending_bytes_max; /* unanswered commands, with 32 bytes for each and rounded up to
                                   64; raised to what one largest command needs */
    uint32_t command_bytes_max;
};

/* -ENOMEM; -EINVAL: pending_bytes_max is 0 or above 2^40. */
int lks_gateway_new(struct lks_gateway **gateway, const struct lks_gateway_options *options);

/* Frees; NULL is allowed. Unanswered commands are forgotten. */
void lks_gateway_free(struct lks_gateway *gateway);

/* Copies a command and gives it the next sequence. Before that: -LKS_EBUSY (no room), -LKS_ETOOBIG
 * (command_bytes_max); nothing has changed then. */
int lks_gateway_submit(struct lks_gateway *gateway, const void *command, size_t bytes,
                       uint64_t cookie, uint64_t *sequence);

/* Bytes belong to the gateway and stay until the command is answered. */
struct lks_gateway_command {
    uint64_t sequence;
    const void *data;
    uint32_t bytes;
};

/* The next command to hand to the leader; false: all were handed over. */
bool lks_gateway_next(const struct lks_gateway *gateway, struct lks_gateway_command *command);

/* The command that _next shows was handed over. */
void lks_gateway_sent(struct lks_gateway *gateway);

/* Another leader, or the way to it broke: _next begins again with the oldest unanswered one. */
void lks_gateway_rewind(struct lks_gateway *gateway);

/* The command with this sequence took effect: it is the oldest unanswered one (asserted), whether
 * or not it was handed over (again) since the last _rewind. Returns its cookie and forgets it. */
uint64_t lks_gateway_answered(struct lks_gateway *gateway, uint64_t sequence);

struct lks_gateway_counts {
    uint64_t submitted; /* the last sequence given */
    uint64_t answered;  /* the last sequence answered */
    uint64_t unsent;    /* submitted, not handed over since the last _rewind */
    uint64_t repeated;  /* times that a command was handed over again */
    uint64_t refused;   /* -LKS_EBUSY */
};

void lks_gateway_counts(const struct lks_gateway *gateway, struct lks_gateway_counts *counts);

#endif
