/* The key-value service; see kv.h. Opens, closes and hashes the state. */
#include "services/kv/kv.h"

#include "services/kv/cursor.h"

#include <errno.h>
#include <stdlib.h>

static int kv_open(void **state, const struct lks_service_options *options)
{
    (void)options; /* no outcome may depend on them: see format.h */
    struct lks_kv *kv = calloc(1, sizeof *kv);
    if (kv == NULL) {
        return -ENOMEM;
    }
    atomic_init(&kv->next_expiry_ms, UINT64_MAX);
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

struct hashing {
    const struct lks_kv_table *table;
    uint64_t time_ms;
    uint64_t sums[2]; /* entries, and of their hashes */
};

static int add_hash(void *ctx, struct lks_kv_entry *entry)
{
    struct hashing *hashing = ctx;
    const uint64_t expires_ms = lks_kv_table_expiry(hashing->table, entry);
    if (expires_ms == 0 || expires_ms >= hashing->time_ms) {
        const struct lks_kv_pair pair = {lks_kv_entry_key(entry), entry->key_bytes,
                                         lks_kv_entry_value(entry), entry->value_bytes,
                                         expires_ms};
        hashing->sums[0]++;
        hashing->sums[1] += lks_kv_hash_pair(&pair);
    }
    return 0;
}

/* A sum, so that neither the order of the entries nor the shape of the table matters. What has
 * expired by the last tick does not count, whether it has been removed or not. */
static uint64_t kv_hash(void *state, uint32_t partition)
{
    const struct lks_kv *kv = state;
    struct hashing hashing = {&kv->partitions[partition], kv->time_ms, {0, 0}};
    (void)lks_kv_table_each(hashing.table, add_hash, &hashing);
    return lks_kv_hash(hashing.sums, sizeof hashing.sums);
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
    .tick = lks_kv_tick,
    .next_expiry_ns = lks_kv_next_expiry_ns,
    .snapshot_begin = lks_kv_snapshot_begin,
    .snapshot_step = lks_kv_snapshot_step,
    .snapshot_end = lks_kv_snapshot_end,
    .snapshot_kept = lks_kv_snapshot_kept,
    .restore_begin = lks_kv_restore_begin,
    .restore_chunk = lks_kv_restore_chunk,
    .restore_end = lks_kv_restore_end,
    .hash = kv_hash,
};
