/*
 * Virtual time; see timeline.h. A heap of four children each: its keys are small and lie together,
 * the actions lie elsewhere and do not move. Alarms are few: the next one is remembered.
 */
#include "sim/timeline.h"

#include "base/assert.h"

#include <stdlib.h>

#define ENTRIES_FIRST 1024u
#define PLACE_BITS 22
#define ENTRIES_MAX (1u << PLACE_BITS)
#define CHILDREN 4u

/* What was posted first runs first: `order` is a number, and below it the action's place. */
struct key {
    uint64_t at_ns;
    uint64_t order;
};

struct entry {
    lks_sim_action action;
    void *ctx;
    uint64_t argument;
};

struct lks_sim_timeline {
    struct key *keys; /* the heap */
    struct entry *entries; /* by place */
    uint32_t *free_places; /* those of `count` entries are not among them */
    uint32_t count;
    uint32_t capacity;
    struct key alarm_keys[LKS_SIM_ALARMS_MAX]; /* at_ns UINT64_MAX: not set */
    struct entry alarms[LKS_SIM_ALARMS_MAX];
    uint32_t alarm_next;
    uint64_t now_ns;
    uint64_t posted;
    uint64_t ran;
};

static bool before(const struct key *a, const struct key *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void make_room(struct lks_sim_timeline *timeline, uint32_t capacity)
{
    timeline->keys = realloc(timeline->keys, capacity * sizeof *timeline->keys);
    timeline->entries = realloc(timeline->entries, capacity * sizeof *timeline->entries);
    timeline->free_places = realloc(timeline->free_places,
                                    capacity * sizeof *timeline->free_places);
    LKS_ASSERT(timeline->keys != NULL);
    LKS_ASSERT(timeline->entries != NULL);
    LKS_ASSERT(timeline->free_places != NULL);
    for (uint32_t place = timeline->capacity; place < capacity; place++) {
        timeline->free_places[place] = place;
    }
    timeline->capacity = capacity;
}

struct lks_sim_timeline *lks_sim_timeline_new(uint64_t start_ns)
{
    struct lks_sim_timeline *timeline = calloc(1, sizeof *timeline);
    LKS_ASSERT(timeline != NULL);
    timeline->now_ns = start_ns;
    make_room(timeline, ENTRIES_FIRST);
    for (uint32_t alarm = 0; alarm < LKS_SIM_ALARMS_MAX; alarm++) {
        timeline->alarm_keys[alarm].at_ns = UINT64_MAX;
    }
    return timeline;
}

void lks_sim_timeline_free(struct lks_sim_timeline *timeline)
{
    if (timeline != NULL) {
        free(timeline->keys);
        free(timeline->entries);
        free(timeline->free_places);
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

static struct key make_key(struct lks_sim_timeline *timeline, uint64_t at_ns, uint32_t place)
{
    return (struct key){.at_ns = at_ns > timeline->now_ns ? at_ns : timeline->now_ns,
                        .order = timeline->posted++ << PLACE_BITS | place};
}

void lks_sim_timeline_post(struct lks_sim_timeline *timeline, uint64_t at_ns,
                           lks_sim_action action, void *ctx, uint64_t argument)
{
    if (timeline->count == timeline->capacity) {
        LKS_ASSERT(timeline->capacity < ENTRIES_MAX);
        make_room(timeline, timeline->capacity * 2);
    }
    const uint32_t place = timeline->free_places[timeline->count];
    timeline->entries[place] =
        (struct entry){.action = action, .ctx = ctx, .argument = argument};
    const struct key added = make_key(timeline, at_ns, place);
    struct key *keys = timeline->keys;
    uint32_t node = timeline->count++;
    while (node > 0 && before(&added, &keys[(node - 1) / CHILDREN])) {
        keys[node] = keys[(node - 1) / CHILDREN];
        node = (node - 1) / CHILDREN;
    }
    keys[node] = added;
}

/* The first of the heap goes; its place is free. */
static struct entry take_first(struct lks_sim_timeline *timeline)
{
    struct key *keys = timeline->keys;
    const uint32_t place = (uint32_t)(keys[0].order & (ENTRIES_MAX - 1));
    const uint32_t count = --timeline->count;
    const struct key moved = keys[count];
    uint32_t node = 0;
    for (;;) {
        const uint32_t first = CHILDREN * node + 1;
        if (first >= count) {
            break;
        }
        const uint32_t end = first + CHILDREN < count ? first + CHILDREN : count;
        uint32_t least = first;
        for (uint32_t child = first + 1; child < end; child++) {
            least = before(&keys[child], &keys[least]) ? child : least;
        }
        if (!before(&keys[least], &moved)) {
            break;
        }
        keys[node] = keys[least];
        node = least;
    }
    keys[node] = moved;
    timeline->free_places[count] = place;
    return timeline->entries[place];
}

/* ---- alarms ------------------------------------------------------------------------------- */

static void find_next_alarm(struct lks_sim_timeline *timeline)
{
    uint32_t next = 0;
    for (uint32_t alarm = 1; alarm < LKS_SIM_ALARMS_MAX; alarm++) {
        next = before(&timeline->alarm_keys[alarm], &timeline->alarm_keys[next]) ? alarm : next;
    }
    timeline->alarm_next = next;
}

void lks_sim_timeline_set_alarm(struct lks_sim_timeline *timeline, uint32_t alarm,
                                uint64_t at_ns, lks_sim_action action, void *ctx)
{
    LKS_ASSERT(alarm < LKS_SIM_ALARMS_MAX);
    LKS_ASSERT(at_ns < UINT64_MAX);
    timeline->alarms[alarm] = (struct entry){.action = action, .ctx = ctx, .argument = alarm};
    timeline->alarm_keys[alarm] = make_key(timeline, at_ns, 0);
    find_next_alarm(timeline);
}

void lks_sim_timeline_clear_alarm(struct lks_sim_timeline *timeline, uint32_t alarm)
{
    LKS_ASSERT(alarm < LKS_SIM_ALARMS_MAX);
    timeline->alarm_keys[alarm].at_ns = UINT64_MAX;
    find_next_alarm(timeline);
}

/* ---- running ------------------------------------------------------------------------------ */

bool lks_sim_timeline_step(struct lks_sim_timeline *timeline, uint64_t limit_ns)
{
    LKS_ASSERT(limit_ns >= timeline->now_ns);
    const uint32_t alarm = timeline->alarm_next;
    const struct key *const next_alarm = &timeline->alarm_keys[alarm];
    const bool rings = timeline->count == 0 || before(next_alarm, &timeline->keys[0]);
    const uint64_t at_ns = rings ? next_alarm->at_ns : timeline->keys[0].at_ns;
    if (at_ns > limit_ns || at_ns == UINT64_MAX) {
        timeline->now_ns = limit_ns;
        return false;
    }
    LKS_ASSERT(at_ns >= timeline->now_ns);
    timeline->now_ns = at_ns;
    timeline->ran++;
    if (rings) {
        const struct entry next = timeline->alarms[alarm];
        lks_sim_timeline_clear_alarm(timeline, alarm);
        next.action(next.ctx, next.argument);
    } else {
        const struct entry next = take_first(timeline);
        next.action(next.ctx, next.argument);
    }
    return true;
}
