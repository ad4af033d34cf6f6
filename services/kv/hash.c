/* Hashes of the key-value service; see hash.h. */
#include "services/kv/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t lks_kv_hash(const void *data, size_t bytes)
{
    return XXH3_64bits(data, bytes);
}

uint64_t lks_kv_hash_pair(const void *key, size_t key_bytes, const void *value,
                          size_t value_bytes)
{
    return XXH3_64bits_withSeed(value, value_bytes, XXH3_64bits(key, key_bytes));
}
