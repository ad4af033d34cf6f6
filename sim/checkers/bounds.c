/* Nothing grows without limit; see bounds.h. */
#include "sim/checkers/bounds.h"

#include <inttypes.h>

/* Commands: the gateway's ring of 256 KiB has room for so many of the least size. Heap: what a
 * replica allocates at its start, the service's tables with every key at its longest, and the
 * network's queues, which count here while the replica posts to them. */
static const struct {
    const char *name;
    uint64_t most;
} g_limits[LKS_SIM_BOUNDS] = {
    [LKS_SIM_BOUND_OPERATIONS] = {"operations under way", 2048},
    [LKS_SIM_BOUND_EVENTS] = {"events for the core", 4096},
    [LKS_SIM_BOUND_COMMANDS] = {"unanswered commands", 4096},
    [LKS_SIM_BOUND_DEFERRED] = {"deferred writes", 32},
    [LKS_SIM_BOUND_MESSAGES] = {"waiting messages", 32},
    [LKS_SIM_BOUND_HEAP_BYTES] = {"bytes of memory", UINT64_C(12) << 20},
};

const char *lks_sim_bounds_name(enum lks_sim_bound bound)
{
    return g_limits[bound].name;
}

void lks_sim_bounds_seen(struct lks_sim_bounds *bounds, uint32_t replica,
                         const uint64_t held[LKS_SIM_BOUNDS])
{
    for (uint32_t i = 0; i < LKS_SIM_BOUNDS; i++) {
        if (held[i] <= bounds->most[i]) {
            continue;
        }
        bounds->most[i] = held[i];
        const uint64_t most =
            i == LKS_SIM_BOUND_HEAP_BYTES ? g_limits[i].most * bounds->times : g_limits[i].most;
        if (held[i] > most) {
            lks_sim_verdict_break(bounds->verdict, "nothing grows without limit",
                                  "replica %" PRIu32 " holds %" PRIu64 " %s; the limit is %" PRIu64,
                                  replica, held[i], g_limits[i].name, most);
        }
    }
    bounds->verdict->checks++;
}
