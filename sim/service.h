/*
 * The replicated service of the simulator: a few registers and counters, where every command
 * carries a number of its own. Whoever applies a command tells an observer, so that checkers see
 * what each replica really executed. One thread.
 */
#ifndef LKS_SIM_SERVICE_H
#define LKS_SIM_SERVICE_H

#include "lockstep/service.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_SIM_KEYS 8u
#define LKS_SIM_COMMAND_BYTES_MAX 384u

enum lks_sim_command_kind { LKS_SIM_GET, LKS_SIM_SET, LKS_SIM_INCR, LKS_SIM_DEL };

/* A command as the client encodes it; filler bytes may follow. */
struct lks_sim_command {
    uint64_t number; /* never used twice in a run */
    uint32_t kind;   /* enum lks_sim_command_kind */
    uint32_t key;
    int64_t argument;
};

struct lks_sim_service_observer {
    /* number: of the command; hash: over its bytes. */
    void (*applied)(void *ctx, uint64_t index, uint64_t number, uint64_t hash);
    void *ctx;
};

/* The observer of every state that is opened from now on. */
void lks_sim_service_bind(const struct lks_sim_service_observer *observer);

/* What a reply means. Returns false for an error reply. */
struct lks_sim_answer {
    bool present;
    int64_t value;
};
bool lks_sim_service_parse(const void *reply, size_t bytes, struct lks_sim_answer *answer);

extern const struct lks_service lks_sim_service;

#endif
