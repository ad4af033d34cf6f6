/*
 * The state of the key-value service, and what its files share. Owned by kv.c; apply.c executes
 * commands on it, snapshot.c writes and reads partitions, footprint.c says what a command touches.
 * Each partition is used by one thread at a time; no command changes anything outside the
 * partitions of its keys.
 */
#ifndef LKS_SERVICES_KV_STATE_H
#define LKS_SERVICES_KV_STATE_H

#include "lockstep/service.h"
#include "services/kv/hash.h"
#include "services/kv/snapshot.h"
#include "services/kv/table.h"

struct lks_kv {
    struct lks_kv_table partitions[LKS_KV_PARTITIONS];
    struct lks_kv_progress progress[LKS_KV_PARTITIONS];
    char *chunk; /* being filled by a step of a snapshot; empty between two */
    size_t chunk_capacity;
    bool litter;           /* some partition may have memory to give back */
    uint32_t litter_at;    /* where tick goes on looking for it */
};

void lks_kv_apply(void *state, const struct lks_command *command, struct lks_reply *reply);
void lks_kv_read(void *state, const struct lks_command *command, struct lks_reply *reply);

/* TIME is no read: as a logged command it can never be seen to go back. */
bool lks_kv_is_read(const void *data, size_t bytes);

void lks_kv_footprint(const void *data, size_t bytes, struct lks_footprint *footprint);

#endif
