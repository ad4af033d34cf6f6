/* Majorities; see quorum.h. */
#include "consensus/quorum.h"

#include "base/assert.h"

uint64_t lks_quorum_reached(const uint64_t *values, uint32_t n)
{
    LKS_ASSERT(n >= 1);
    LKS_ASSERT(n <= LKS_CORE_REPLICAS_MAX);
    uint64_t sorted[LKS_CORE_REPLICAS_MAX];
    for (uint32_t i = 0; i < n; i++) { /* insertion sort, falling: at most 7 values */
        uint32_t j = i;
        while (j > 0 && sorted[j - 1] < values[i]) {
            sorted[j] = sorted[j - 1];
            j--;
        }
        sorted[j] = values[i];
    }
    return sorted[lks_quorum_majority(n) - 1];
}
