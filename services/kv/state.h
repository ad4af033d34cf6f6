/*
 * The state of the key-value service, and what its files share. Owned by kv.c; apply.c executes
 * commands on it, snapshot.c writes and reads partitions. Each partition is used by one thread at
 * a time; no command changes anything outside the partitions of its keys.
 */
#ifndef LKS_SERVICES_KV_STATE_H
#define LKS_SERVICES_KV_STATE_H

#include "lockstep/service.h"
#include "services/kv/hash.h"
#include "services/kv/table.h"

struct lks_kv {
    struct lks_kv_table partitions[LKS_KV_PARTITIONS];
};

void lks_kv_apply(void *state, const struct lks_command *command, struct lks_reply *reply);
void lks_kv_read(void *state, const struct lks_command *command, struct lks_reply *reply);

/* TIME is no read: as a logged command it can never be seen to go back. */
bool lks_kv_is_read(const void *data, size_t bytes);

int lks_kv_snapshot(void *state, uint32_t partition, const struct lks_snapshot_writer *writer);
int lks_kv_restore(void *state, uint32_t partition, const struct lks_snapshot_reader *reader);

#endif
