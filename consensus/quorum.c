/* Majorities; see quorum.h. */
#include "consensus/quorum.h"

#include "base/assert.h"

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t lks_quorum_reached(const uint64_t values[LKS_CORE_PEERS], uint32_t voters)
{
    LKS_ASSERT(voters != 0);
    LKS_ASSERT(voters < 1u << LKS_CORE_PEERS);
    uint64_t sorted[LKS_CORE_REPLICAS_MAX + 1];
    uint32_t n = 0;
    LKS_QUORUM_EACH (p, voters) {
        sorted[n] = values[p];
        n++;
    }
    if (n == 3) { /* the usual size, once a command: the median */
        const uint64_t high = greater(sorted[0], sorted[1]);
        return greater(lesser(sorted[0], sorted[1]), lesser(high, sorted[2]));
    }
    for (uint32_t i = 1; i < n; i++) { /* insertion sort, falling: at most 7 values */
        const uint64_t value = sorted[i];
        uint32_t j = i;
        while (j > 0 && sorted[j - 1] < value) {
            sorted[j] = sorted[j - 1];
            j--;
        }
        sorted[j] = value;
    }
    return sorted[lks_quorum_majority(n) - 1];
}
