/*
 * The replicated service of the simulator: the key-value service as it is, with an envelope
 * around each command, so that checkers see what every replica really executes, and know which
 * partitions' hashes may have changed. Around all stand sessions of clients, as in the product:
 * the envelope lies inside a session's command. One thread.
 */
#ifndef LKS_SIM_SERVICE_H
#define LKS_SIM_SERVICE_H

#include "lockstep/service.h"

#include <stdint.h>

/* Stands before the bytes of a command. */
struct lks_sim_envelope {
    uint64_t number;     /* never used twice in a run; big-endian: its first byte is 0, so that it
                            is never taken for a session's command */
    uint64_t partitions; /* bit p: the command may change partition p */
};

/* A command that a replica executes. */
struct lks_sim_executed {
    uint64_t index;
    uint64_t number;
    uint64_t time_ns; /* the leader's, as logged */
    uint64_t hash;    /* over all of it */
};

struct lks_sim_service_observer {
    void (*applied)(void *ctx, const struct lks_sim_executed *executed);
    /* A command was answered without an entry, from a state of this (logged) time. */
    void (*read)(void *ctx, uint64_t number, uint64_t time_ns);
    void *ctx;
};

/* The observer of every state that is opened from now on. */
void lks_sim_service_bind(const struct lks_sim_service_observer *observer);

/* Hashes asked for from now on are computed from the whole state. */
void lks_sim_service_rehash(void);

extern const struct lks_service lks_sim_service;

#endif
