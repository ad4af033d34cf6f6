/* One leader per term; see leaders.h. */
#include "sim/checkers/leaders.h"

#include "base/assert.h"

#include <inttypes.h>
#include <string.h>

void lks_sim_leaders_founded(struct lks_sim_leaders *leaders)
{
    memset(leaders->leads, 0, sizeof leaders->leads);
}

void lks_sim_leaders_seen(struct lks_sim_leaders *leaders, uint64_t term, uint32_t replica,
                          uint64_t life)
{
    LKS_ASSERT(term < LKS_SIM_TERMS_MAX);
    const uint64_t who = ((uint64_t)replica << 32) | (uint32_t)life;
    if (leaders->leads[term] == 0) {
        leaders->leads[term] = who;
        leaders->terms++;
    }
    leaders->verdict->checks++;
    const uint64_t first = leaders->leads[term];
    if (first != who) {
        lks_sim_verdict_break(leaders->verdict, "one leader per term",
                              "term %" PRIu64 " is led by replica %" PRIu32 " (life %" PRIu64
                              ") and was led by replica %" PRIu64 " (life %" PRIu64 ")",
                              term, replica, life, first >> 32, first & UINT32_MAX);
    }
}
