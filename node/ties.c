/* Which partitions are tied; see ties.h. A group has a name, one of the partitions. */
#include "node/ties.h"

#include "base/assert.h"

#include <stddef.h>

void lks_ties_init(struct lks_ties *ties, uint32_t partitions)
{
    LKS_ASSERT(partitions >= 1);
    LKS_ASSERT(partitions <= LKS_TIES_PARTITIONS_MAX);
    ties->partitions = partitions;
    for (uint32_t p = 0; p < partitions; p++) {
        ties->group[p] = (uint16_t)p;
    }
}

static void rename_group(struct lks_ties *ties, uint16_t from, uint16_t to)
{
    for (uint32_t p = 0; p < ties->partitions; p++) {
        if (ties->group[p] == from) {
            ties->group[p] = to;
        }
    }
}

void lks_ties_join(struct lks_ties *ties, const uint16_t *members, uint32_t count)
{
    if (members == NULL) {
        for (uint32_t p = 0; p < ties->partitions; p++) {
            ties->group[p] = 0;
        }
        return;
    }
    for (uint32_t i = 1; i < count; i++) {
        LKS_ASSERT(members[i] < ties->partitions);
        if (!lks_ties_same(ties, members[0], members[i])) {
            rename_group(ties, ties->group[members[i]], ties->group[members[0]]);
        }
    }
}

uint32_t lks_ties_members(const struct lks_ties *ties, uint32_t partition, uint32_t *members)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < ties->partitions; p++) {
        if (lks_ties_same(ties, p, partition)) {
            members[count] = p;
            count++;
        }
    }
    return count;
}

void lks_ties_release(struct lks_ties *ties, const uint32_t *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ties->group[members[i]] = (uint16_t)members[i];
    }
}

void lks_ties_restore(struct lks_ties *ties, const uint32_t *members, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const uint16_t pair[] = {(uint16_t)members[0], (uint16_t)members[i]};
        lks_ties_join(ties, pair, 2);
    }
}
