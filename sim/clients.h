/*
 * The clients of a run: each is connected to one replica, has a few commands under way, and
 * records what it was told. A command without an answer, because its gateway died or was too
 * slow, may or may not have happened; the client goes on elsewhere, with the same words again or
 * with others. A closed client calls again some time after an answer; an open one calls when its
 * time comes, whatever is still under way. A client with a session (docs/client-protocol.md) sends
 * what has no answer again elsewhere, as the client library does, until it has one. One thread.
 */
#ifndef LKS_SIM_CLIENTS_H
#define LKS_SIM_CLIENTS_H

#include "sim/checkers/commands.h"
#include "sim/checkers/history.h"
#include "sim/random.h"
#include "sim/timeline.h"
#include "sim/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_SIM_CLIENTS_MAX 32u
#define LKS_SIM_WINDOW_MAX 8u

struct lks_sim_clients;

struct lks_sim_clients_profile {
    uint32_t count;
    uint32_t window;           /* commands of one client under way at a time */
    struct lks_sim_delay think;
    struct lks_sim_delay patience;
    uint32_t commands_max;     /* in all; below LKS_SIM_COMMANDS_MAX */
    uint32_t filler_bytes_max; /* at most LKS_SIM_FILLER_BYTES_MAX */
    uint32_t open_ppm;         /* how many clients are open */
    uint32_t sessions_ppm;     /* how many clients have sessions */
    uint32_t again_ppm;        /* how often what became unknown is called again, as a new command */
};

struct lks_sim_clients_options {
    uint32_t replicas;
    struct lks_sim_timeline *timeline;
    struct lks_sim_trace *trace;
    const struct lks_sim_random *random; /* a stream is forked from it */
    const struct lks_sim_clients_profile *profile; /* outlives the clients */
    uint32_t commands_max; /* fewer than the profile's; 0: the profile's */
    struct lks_sim_history *history;
    struct lks_sim_commands *commands;
    /* Hands a command to a replica; false: it is down. *status as from lks_replica_submit. */
    bool (*submit)(void *ctx, uint32_t replica, const void *command, size_t bytes,
                   uint64_t cookie, int *status);
    void *ctx;
};

struct lks_sim_clients *lks_sim_clients_new(const struct lks_sim_clients_options *options);
void lks_sim_clients_free(struct lks_sim_clients *clients);

/* An answer from a replica. */
void lks_sim_clients_replied(struct lks_sim_clients *clients, uint64_t cookie, const void *reply,
                             size_t bytes);

/* A replica's process has ended: its clients' connections are broken. */
void lks_sim_clients_disconnected(struct lks_sim_clients *clients, uint32_t replica);

/* From now on every client must get one answer to a command that it calls from now on. */
void lks_sim_clients_expect(struct lks_sim_clients *clients);
/* The first client that has not; 0: all have. */
uint32_t lks_sim_clients_waiting(const struct lks_sim_clients *clients);

/* No more commands are called. */
void lks_sim_clients_stop(struct lks_sim_clients *clients);

struct lks_sim_clients_counts {
    uint64_t called;
    uint64_t answered;
    uint64_t refused;
    uint64_t unknown; /* given up, or the connection broke */
    uint64_t again;   /* unknown ones whose words were called again */
    uint64_t repeated; /* sent again in a session */
    uint64_t sessions_lost;
};
void lks_sim_clients_counts(const struct lks_sim_clients *clients,
                            struct lks_sim_clients_counts *counts);

#endif
