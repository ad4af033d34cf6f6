/*
 * The state of the key-value service, and what its files share. Owned by kv.c; apply.c executes
 * commands on it (with the files that cursor.h names), snapshot.c writes and reads partitions,
 * footprint.c says what a command touches. Commands of different partitions may be executed by
 * several threads at once: none changes anything outside the partitions of its keys but
 * next_expiry_ms. FLUSHALL and all that is no command has the whole state for itself.
 */
#ifndef LKS_SERVICES_KV_STATE_H
#define LKS_SERVICES_KV_STATE_H

#include "lockstep/service.h"
#include "services/kv/hash.h"
#include "services/kv/snapshot.h"
#include "services/kv/table.h"

#include <stdatomic.h>

struct lks_kv {
    struct lks_kv_table partitions[LKS_KV_PARTITIONS];
    struct lks_kv_progress progress[LKS_KV_PARTITIONS];
    char *chunk; /* being filled by a step of a snapshot; empty between two */
    size_t chunk_capacity;
    uint64_t time_ms;        /* of the last tick */
    _Atomic uint64_t next_expiry_ms; /* nothing expires earlier; UINT64_MAX: nothing does */
    bool litter;             /* some partition may have memory to give back */
    uint32_t litter_at;      /* where tick goes on looking for it */
};

/* Something expires at that time now. Any thread. */
static inline void lks_kv_note_expiry(struct lks_kv *kv, uint64_t expires_ms)
{
    /* Relaxed: who needs it right (tick) is alone, and ordered behind all commands by whoever calls
     * it; everybody else may learn of it a moment later. */
    uint64_t known_ms = atomic_load_explicit(&kv->next_expiry_ms, memory_order_relaxed);
    while (expires_ms < known_ms &&
           !atomic_compare_exchange_weak_explicit(&kv->next_expiry_ms, &known_ms, expires_ms,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void lks_kv_apply(void *state, const struct lks_command *command, struct lks_reply *reply);
void lks_kv_read(void *state, const struct lks_command *command, struct lks_reply *reply);

bool lks_kv_is_read(const void *data, size_t bytes);

void lks_kv_footprint(const void *data, size_t bytes, struct lks_footprint *footprint);

#endif
