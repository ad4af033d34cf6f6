/* Hashes of the key-value service; see hash.h. */
#include "services/kv/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t lks_kv_hash(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t lks_kv_hash_pair(const struct lks_kv_pair *pair)
{
    const uint64_t key = XXH3_64bits(pair->key, pair->key_bytes);
    const uint64_t seed = key + pair->expires_ms * UINT64_C(0x9E3779B97F4A7C15);
    return XXH3_64bits_withSeed(pair->value, pair->value_bytes, seed);
}
