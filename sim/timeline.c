/* Virtual time; see timeline.h. A binary heap. */
#include "sim/timeline.h"

#include "base/assert.h"

#include <stdlib.h>

#define ENTRIES_FIRST 1024u
#define ENTRIES_MAX (1u << 22)

struct entry {
    uint64_t at_ns;
    uint64_t order; /* breaks ties: what was posted first runs first */
    lks_sim_action action;
    void *ctx;
    uint64_t argument;
};

struct lks_sim_timeline {
    struct entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint64_t now_ns;
    uint64_t posted;
    uint64_t ran;
};

static bool before(const struct entry *a, const struct entry *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

struct lks_sim_timeline *lks_sim_timeline_new(uint64_t start_ns)
{
    struct lks_sim_timeline *timeline = calloc(1, sizeof *timeline);
    LKS_ASSERT(timeline != NULL);
    timeline->now_ns = start_ns;
    timeline->capacity = ENTRIES_FIRST;
    timeline->entries = calloc(timeline->capacity, sizeof *timeline->entries);
    LKS_ASSERT(timeline->entries != NULL);
    return timeline;
}

void lks_sim_timeline_free(struct lks_sim_timeline *timeline)
{
    if (timeline != NULL) {
        free(timeline->entries);
        free(timeline);
    }
}

uint64_t lks_sim_timeline_now(const struct lks_sim_timeline *timeline)
{
    return timeline->now_ns;
}

uint64_t lks_sim_timeline_count(const struct lks_sim_timeline *timeline)
{
    return timeline->ran;
}

void lks_sim_timeline_post(struct lks_sim_timeline *timeline, uint64_t at_ns,
                           lks_sim_action action, void *ctx, uint64_t argument)
{
    if (timeline->count == timeline->capacity) {
        LKS_ASSERT(timeline->capacity < ENTRIES_MAX);
        timeline->capacity *= 2;
        timeline->entries =
            realloc(timeline->entries, timeline->capacity * sizeof *timeline->entries);
        LKS_ASSERT(timeline->entries != NULL);
    }
    const struct entry added = {.at_ns = at_ns > timeline->now_ns ? at_ns : timeline->now_ns,
                                .order = timeline->posted++,
                                .action = action,
                                .ctx = ctx,
                                .argument = argument};
    uint32_t place = timeline->count++;
    while (place > 0 && before(&added, &timeline->entries[(place - 1) / 2])) {
        timeline->entries[place] = timeline->entries[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    timeline->entries[place] = added;
}

static struct entry take_first(struct lks_sim_timeline *timeline)
{
    const struct entry first = timeline->entries[0];
    const struct entry moved = timeline->entries[--timeline->count];
    uint32_t place = 0;
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= timeline->count) {
            break;
        }
        if (child + 1 < timeline->count &&
            before(&timeline->entries[child + 1], &timeline->entries[child])) {
            child++;
        }
        if (!before(&timeline->entries[child], &moved)) {
            break;
        }
        timeline->entries[place] = timeline->entries[child];
        place = child;
    }
    timeline->entries[place] = moved;
    return first;
}

bool lks_sim_timeline_step(struct lks_sim_timeline *timeline, uint64_t limit_ns)
{
    LKS_ASSERT(limit_ns >= timeline->now_ns);
    if (timeline->count == 0 || timeline->entries[0].at_ns > limit_ns) {
        timeline->now_ns = limit_ns;
        return false;
    }
    const struct entry next = take_first(timeline);
    LKS_ASSERT(next.at_ns >= timeline->now_ns);
    timeline->now_ns = next.at_ns;
    timeline->ran++;
    next.action(next.ctx, next.argument);
    return true;
}
