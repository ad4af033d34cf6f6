/* Checks a service's accesses against its footprints, in debug builds; see lockstep/touch.h. */
#include "lockstep/touch.h"

#ifdef LKS_TOUCH_CHECKS

#include "base/assert.h"

static _Thread_local const struct lks_footprint *t_declared;
static _Thread_local uint32_t t_partitions;

void lks_touch_expect(const struct lks_footprint *footprint, uint32_t partitions)
{
    t_declared = footprint;
    t_partitions = partitions;
}

static bool key_declared(uint64_t identity, bool write)
{
    for (uint32_t i = 0; i < t_declared->keys_count; i++) {
        const uint64_t key = t_declared->keys[i];
        /* The logged form keeps some bits of an identity only: equal where both are cut alike. */
        if (lks_footprint_identity(key >> 1, t_partitions) ==
                lks_footprint_identity(identity, t_partitions) &&
            (!write || (key & 1) != 0)) {
            return true;
        }
    }
    return false;
}

static bool partition_declared(uint64_t partition, bool write)
{
    for (uint32_t i = 0; i < t_declared->count; i++) {
        if (t_declared->partitions[i] == partition) {
            return !write || (t_declared->reads >> i & 1) == 0;
        }
    }
    return false;
}

void lks_touch(uint64_t identity, bool write)
{
    if (t_declared == NULL || t_declared->count == LKS_FOOTPRINT_ALL) {
        return;
    }
    LKS_ASSERT(partition_declared(identity % t_partitions, write));
    LKS_ASSERT(t_declared->keys_count == 0 || key_declared(identity, write));
}

#endif
