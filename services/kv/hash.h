/*
 * Hashes of keys and contents: XXH3, the same on every replica and in every snapshot. The top
 * six bits of a key's hash choose its partition, the low 32 bits its bucket. No state.
 */
#ifndef LKS_SERVICES_KV_HASH_H
#define LKS_SERVICES_KV_HASH_H

#include <stddef.h>
#include <stdint.h>

#define LKS_KV_PARTITION_BITS 6
#define LKS_KV_PARTITIONS (1u << LKS_KV_PARTITION_BITS)

uint64_t lks_kv_hash(const void *data, size_t bytes);

struct lks_kv_pair {
    const void *key;
    size_t key_bytes;
    const void *value;
    size_t value_bytes;
    uint64_t expires_ms; /* 0: never */
};

/* The part that one key with its value has in the hash of a partition. */
uint64_t lks_kv_hash_pair(const struct lks_kv_pair *pair);

static inline uint32_t lks_kv_partition(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - LKS_KV_PARTITION_BITS));
}

/* What a footprint calls a key: 63 bits, modulo the number of partitions its partition. */
static inline uint64_t lks_kv_identity(uint64_t hash)
{
    return (hash << LKS_KV_PARTITION_BITS | lks_kv_partition(hash)) & (UINT64_MAX >> 1);
}

#endif
