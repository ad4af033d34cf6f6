/* The members as a run shows them; see members.h. */
#include "sim/members.h"

#include "base/assert.h"

#include <inttypes.h>

static uint8_t count_of(uint32_t mask)
{
    return (uint8_t)__builtin_popcount(mask);
}

void lks_sim_members_init(struct lks_sim_members *members, struct lks_sim_verdict *verdict,
                          uint32_t voters)
{
    *members = (struct lks_sim_members){.verdict = verdict};
    members->at[0].voters = (uint8_t)voters;
    members->at[0].voters_least = count_of(voters);
    members->at[0].is_committed = true;
    members->at[0].committed_voters = (uint8_t)voters;
}

static void note_committed(struct lks_sim_members *members, const struct lks_members *seen)
{
    const uint64_t number = seen->number;
    members->verdict->checks++;
    if (!members->at[number].is_committed) {
        members->at[number].is_committed = true;
        members->at[number].committed_voters = seen->voters;
        members->at[number].committed_learners = seen->learners;
        members->changes++;
    }
    if (members->at[number].committed_voters != seen->voters ||
        members->at[number].committed_learners != seen->learners) {
        lks_sim_verdict_break(members->verdict, "committed members agree",
                              "members %" PRIu64 ": voters %#x and %#x, learners %#x and %#x",
                              number, members->at[number].committed_voters, seen->voters,
                              members->at[number].committed_learners, seen->learners);
    }
    if (number > members->committed) {
        members->committed = number;
    }
}

void lks_sim_members_seen(struct lks_sim_members *members, const struct lks_members *seen,
                          bool committed)
{
    const uint64_t number = seen->number;
    if (seen->voters == 0) {
        return; /* it knows none */
    }
    LKS_ASSERT(number < LKS_SIM_MEMBERS_MAX);
    const bool first = members->at[number].voters == 0;
    members->at[number].voters |= seen->voters;
    members->at[number].learners |= seen->learners;
    if (first || count_of(seen->voters) < members->at[number].voters_least) {
        members->at[number].voters_least = count_of(seen->voters);
    }
    if (number > members->last) {
        members->last = number;
    }
    if (committed) {
        note_committed(members, seen);
    }
}

void lks_sim_members_founded(struct lks_sim_members *members, uint64_t number, uint32_t voter)
{
    LKS_ASSERT(number > members->committed && number < LKS_SIM_MEMBERS_MAX);
    for (uint64_t gone = members->committed + 1; gone <= members->last; gone++) {
        members->at[gone].voters = members->at[gone].learners = 0;
    }
    members->last = number;
    members->at[number].voters = (uint8_t)(1u << voter);
    members->at[number].learners = 0;
    members->at[number].voters_least = 1;
    note_committed(members, &(struct lks_members){.number = number,
                                                  .voters = (uint8_t)(1u << voter)});
}

uint32_t lks_sim_members_named(const struct lks_sim_members *members)
{
    uint32_t named = 0;
    for (uint64_t number = members->committed; number <= members->last; number++) {
        named |= (uint32_t)members->at[number].voters | members->at[number].learners;
    }
    return named;
}

uint32_t lks_sim_members_voters(const struct lks_sim_members *members, uint32_t *least)
{
    uint32_t voters = 0;
    *least = LKS_CORE_REPLICAS_MAX;
    for (uint64_t number = members->committed; number <= members->last; number++) {
        voters |= members->at[number].voters;
        if (members->at[number].voters != 0 && members->at[number].voters_least < *least) {
            *least = members->at[number].voters_least;
        }
    }
    return voters;
}

uint32_t lks_sim_members_certain(const struct lks_sim_members *members)
{
    return (uint32_t)members->at[members->committed].committed_voters |
           members->at[members->committed].committed_learners;
}

void lks_sim_members_removed(struct lks_sim_members *members, uint32_t replica)
{
    members->verdict->checks++;
    if ((lks_sim_members_certain(members) >> replica & 1u) != 0) {
        lks_sim_verdict_break(members->verdict, "only who was removed ends",
                              "replica %" PRIu32 " ends as removed, but is a member under members "
                              "%" PRIu64, replica, members->committed);
    }
}
