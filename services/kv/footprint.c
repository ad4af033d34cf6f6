/* Which partitions a command touches, by its bytes alone; see state.h. */
#include "services/kv/format.h"
#include "services/kv/state.h"

static void add_key(struct lks_footprint *footprint, const void *key, size_t bytes)
{
    const uint16_t partition = (uint16_t)lks_kv_partition(lks_kv_hash(key, bytes));
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

/* Adds the prefixed key at `in`; the byte behind it, or NULL: there is none. */
static const uint8_t *add_prefixed(struct lks_footprint *footprint, const uint8_t *in,
                                   const uint8_t *end)
{
    uint64_t bytes = 0;
    in = lks_kv_length_read(in, end, &bytes);
    if (in == NULL || bytes > (size_t)(end - in)) {
        return NULL;
    }
    add_key(footprint, in, (size_t)bytes);
    return in + bytes;
}

void lks_kv_footprint(const void *data, size_t bytes, struct lks_footprint *footprint)
{
    const uint8_t *in = data;
    const uint8_t *end = in + bytes;
    footprint->count = 0;
    footprint->tied = false;
    if (bytes == 0) {
        return;
    }
    uint64_t limit = 0;
    switch (*in++) {
    case LKS_KV_GET:
    case LKS_KV_STRLEN:
        add_key(footprint, in, (size_t)(end - in));
        break;
    case LKS_KV_INCRBY:
        if (end - in >= (ptrdiff_t)sizeof(int64_t)) {
            in += sizeof(int64_t);
            add_key(footprint, in, (size_t)(end - in));
        }
        break;
    case LKS_KV_SET:
        if (in < end) {
            (void)add_prefixed(footprint, in + 1, end);
        }
        break;
    case LKS_KV_APPEND:
        in = lks_kv_length_read(in, end, &limit);
        if (in != NULL) {
            (void)add_prefixed(footprint, in, end);
        }
        break;
    case LKS_KV_DEL:
    case LKS_KV_EXISTS:
        while (in != NULL && in < end) {
            in = add_prefixed(footprint, in, end);
        }
        break;
    case LKS_KV_DBSIZE:
    case LKS_KV_FLUSHALL:
        footprint->count = LKS_FOOTPRINT_ALL;
        break;
    default:
        break;
    }
}
