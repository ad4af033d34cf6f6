/* The key-value service; see kv.h. Opens, closes and hashes the state. */
#include "services/kv/kv.h"

#include "services/kv/state.h"

#include <errno.h>
#include <stdlib.h>

static int kv_open(void **state, const struct lks_service_options *options)
{
    (void)options; /* no outcome may depend on them: see format.h */
    struct lks_kv *kv = calloc(1, sizeof *kv);
    if (kv == NULL) {
        return -ENOMEM;
    }
    kv->chunk_capacity = LKS_SNAPSHOT_CHUNK_BYTES;
    kv->chunk = malloc(kv->chunk_capacity);
    if (kv->chunk == NULL) {
        free(kv);
        return -ENOMEM;
    }
    *state = kv;
    return 0;
}

static void kv_close(void *state)
{
    struct lks_kv *kv = state;
    if (kv == NULL) {
        return;
    }
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        lks_kv_table_fini(&kv->partitions[i]);
    }
    free(kv->chunk);
    free(kv);
}

/* Gives back memory of emptied tables, of one partition a call. */
static bool kv_tick(void *state, uint64_t time_ns)
{
    struct lks_kv *kv = state;
    (void)time_ns;
    for (uint32_t i = 0; kv->litter && i < LKS_KV_PARTITIONS; i++) {
        if (lks_kv_table_collect(&kv->partitions[kv->litter_at])) {
            return true;
        }
        kv->litter_at = (kv->litter_at + 1) % LKS_KV_PARTITIONS;
    }
    kv->litter = false;
    return false;
}

static uint64_t kv_next_expiry_ns(void *state)
{
    (void)state;
    return UINT64_MAX;
}

static int add_hash(void *ctx, struct lks_kv_entry *entry)
{
    uint64_t *sum = ctx;
    *sum += lks_kv_hash_pair(lks_kv_entry_key(entry), entry->key_bytes, lks_kv_entry_value(entry),
                             entry->value_bytes);
    return 0;
}

/* A sum, so that neither the order of the entries nor the shape of the table matters. */
static uint64_t kv_hash(void *state, uint32_t partition)
{
    const struct lks_kv *kv = state;
    const struct lks_kv_table *table = &kv->partitions[partition];
    uint64_t sums[2] = {table->count, 0};
    (void)lks_kv_table_each(table, add_hash, &sums[1]);
    return lks_kv_hash(sums, sizeof sums);
}

const struct lks_service lks_kv_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "kv",
    .partitions = LKS_KV_PARTITIONS,
    .open = kv_open,
    .close = kv_close,
    .footprint = lks_kv_footprint,
    .apply = lks_kv_apply,
    .read = lks_kv_read,
    .is_read = lks_kv_is_read,
    .tick = kv_tick,
    .next_expiry_ns = kv_next_expiry_ns,
    .snapshot_begin = lks_kv_snapshot_begin,
    .snapshot_step = lks_kv_snapshot_step,
    .snapshot_end = lks_kv_snapshot_end,
    .snapshot_kept = lks_kv_snapshot_kept,
    .restore_begin = lks_kv_restore_begin,
    .restore_chunk = lks_kv_restore_chunk,
    .restore_end = lks_kv_restore_end,
    .hash = kv_hash,
};
