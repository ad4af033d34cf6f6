/* Which partitions a command touches, by its bytes alone; see state.h. */
#include "services/kv/format.h"
#include "services/kv/state.h"

/* Adds up what keys touch. */
struct naming {
    struct lks_footprint *footprint;
    bool write;
    bool many; /* more keys than can be named: partitions alone are */
};

static void add_partition(struct lks_footprint *footprint, uint16_t partition)
{
    uint32_t place = 0;
    if (footprint->count == LKS_FOOTPRINT_ALL) {
        return;
    }
    while (place < footprint->count && footprint->partitions[place] < partition) {
        place++;
    }
    if (place < footprint->count && footprint->partitions[place] == partition) {
        return;
    }
    if (footprint->count == LKS_FOOTPRINT_MAX) {
        footprint->count = LKS_FOOTPRINT_ALL;
        return;
    }
    for (uint32_t i = footprint->count; i > place; i--) {
        footprint->partitions[i] = footprint->partitions[i - 1];
    }
    footprint->partitions[place] = partition;
    footprint->count++;
}

static void add_key(struct naming *naming, const void *key, size_t bytes)
{
    struct lks_footprint *footprint = naming->footprint;
    const uint64_t hash = lks_kv_hash(key, bytes);
    add_partition(footprint, (uint16_t)lks_kv_partition(hash));
    naming->many = naming->many || footprint->keys_count == LKS_FOOTPRINT_MAX;
    if (naming->many) {
        footprint->keys_count = 0;
        return;
    }
    footprint->keys[footprint->keys_count] = lks_kv_identity(hash) << 1 | (naming->write ? 1 : 0);
    footprint->keys_count++;
}

/* Adds the prefixed key at `in`; the byte behind it, or NULL: there is none. */
static const uint8_t *add_prefixed(struct naming *naming, const uint8_t *in, const uint8_t *end)
{
    uint64_t bytes = 0;
    in = lks_kv_length_read(in, end, &bytes);
    if (in == NULL || bytes > (size_t)(end - in)) {
        return NULL;
    }
    add_key(naming, in, (size_t)bytes);
    return in + bytes;
}

/* What stands before the key, or the first one. */
static size_t fixed_bytes(const uint8_t *data, size_t bytes)
{
    const unsigned flags = bytes > 1 ? data[1] : 0;
    switch (data[0]) {
    case LKS_KV_INCRBY:
    case LKS_KV_BURN:
        return 8;
    case LKS_KV_GETRANGE:
        return 16;
    case LKS_KV_EXPIRE:
        return 9;
    case LKS_KV_TTL:
        return 1;
    case LKS_KV_GETEX:
        return (flags & LKS_KV_GETEX_EXPIRES) != 0 ? 9 : 1;
    case LKS_KV_SET:
        return (flags & LKS_KV_SET_EXPIRES) != 0 ? 9 : 1;
    case LKS_KV_SETRANGE:
        return 8; /* behind the limit */
    default:
        return 0;
    }
}

/* Skips what stands before the key; NULL: nothing is left. */
static const uint8_t *skip_to_key(const uint8_t *data, size_t bytes)
{
    const uint8_t *in = data + 1;
    const uint8_t *end = data + bytes;
    const size_t fixed = fixed_bytes(data, bytes);
    uint64_t length = 0;
    if (data[0] == LKS_KV_APPEND || data[0] == LKS_KV_SETRANGE) {
        in = lks_kv_length_read(in, end, &length);
    } else if (data[0] == LKS_KV_INCRBYFLOAT) {
        in = lks_kv_length_read(in, end, &length);
        in = in != NULL && length <= (size_t)(end - in) ? in + length : NULL;
    }
    return in != NULL && fixed <= (size_t)(end - in) ? in + fixed : NULL;
}

/* Adds each key; values: behind each stands one. */
static void add_keys(struct naming *naming, const uint8_t *in, const uint8_t *end, bool values)
{
    while (in != NULL && in < end) {
        uint64_t bytes = 0;
        in = add_prefixed(naming, in, end);
        if (values && in != NULL) {
            in = lks_kv_length_read(in, end, &bytes);
            in = in != NULL && bytes <= (size_t)(end - in) ? in + bytes : NULL;
        }
    }
}

static bool only_reads(uint8_t operation)
{
    switch (operation) {
    case LKS_KV_GET:
    case LKS_KV_STRLEN:
    case LKS_KV_GETRANGE:
    case LKS_KV_TTL:
    case LKS_KV_TYPE:
    case LKS_KV_EXISTS:
    case LKS_KV_MGET:
        return true;
    default:
        return false;
    }
}

static void add_all_keys(struct naming *naming, uint8_t operation, const uint8_t *in,
                         const uint8_t *end)
{
    struct lks_footprint *footprint = naming->footprint;
    switch (operation) {
    case LKS_KV_GET:
    case LKS_KV_STRLEN:
    case LKS_KV_INCRBY:
    case LKS_KV_INCRBYFLOAT:
    case LKS_KV_GETDEL:
    case LKS_KV_GETEX:
    case LKS_KV_GETRANGE:
    case LKS_KV_EXPIRE:
    case LKS_KV_TTL:
    case LKS_KV_PERSIST:
    case LKS_KV_TYPE:
        add_key(naming, in, (size_t)(end - in));
        break;
    case LKS_KV_SET:
    case LKS_KV_SETNX:
    case LKS_KV_APPEND:
    case LKS_KV_SETRANGE:
        (void)add_prefixed(naming, in, end);
        break;
    case LKS_KV_DEL:
    case LKS_KV_EXISTS:
    case LKS_KV_MGET:
    case LKS_KV_BURN:
        add_keys(naming, in, end, false);
        break;
    case LKS_KV_MSET:
    case LKS_KV_MSETNX:
        add_keys(naming, in, end, true);
        footprint->tied = operation == LKS_KV_MSETNX && footprint->count > 1;
        break;
    case LKS_KV_DBSIZE:
    case LKS_KV_FLUSHALL:
    case LKS_KV_KEYS:
    case LKS_KV_SCAN:
    case LKS_KV_RANDOMKEY:
        footprint->count = LKS_FOOTPRINT_ALL;
        break;
    default: /* TIME, and what is none */
        break;
    }
}

void lks_kv_footprint(const void *data, size_t bytes, struct lks_footprint *footprint)
{
    const uint8_t *command = data;
    const uint8_t *end = command + bytes;
    lks_footprint_clear(footprint);
    const uint8_t *in = bytes > 0 ? skip_to_key(command, bytes) : NULL;
    if (in == NULL) {
        return;
    }
    struct naming naming = {.footprint = footprint, .write = !only_reads(command[0])};
    add_all_keys(&naming, command[0], in, end);
    if (footprint->count == LKS_FOOTPRINT_ALL) {
        footprint->keys_count = 0;
    } else if (!naming.write) {
        footprint->reads = (uint16_t)((1u << footprint->count) - 1);
    }
}
