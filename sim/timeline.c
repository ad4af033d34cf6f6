/*
 * Virtual time; see timeline.h. A heap of four children each: its keys are small and lie together,
 * the actions lie elsewhere and do not move. What an action posts mostly takes the place that the
 * action leaves at the top, so that the heap is put in order once. Alarms are few: the next one is
 * remembered.
 */
#include "sim/timeline.h"

#include "base/assert.h"

#include <stdlib.h>

#define ENTRIES_FIRST 1024u
#define PLACE_BITS 22
#define ENTRIES_MAX (1u << PLACE_BITS)
#define CHILDREN 4u

/* Time, and below it the order: a number that rises, and below that the action's place. So what was
 * posted first runs first, and one comparison, without a branch, says what comes before what. */
__extension__ typedef unsigned __int128 key;

#define NEVER (~(key)0)

struct entry {
    lks_sim_action action;
    void *ctx;
    uint64_t argument;
};

struct lks_sim_timeline {
    key *keys; /* the heap */
    struct entry *entries; /* by place */
    uint32_t *free_places; /* those of `count` entries are not among them */
    uint32_t count;
    uint32_t capacity;
    bool top_left; /* the action at the top runs, or has run: its place there is free */
    key alarm_keys[LKS_SIM_ALARMS_MAX]; /* NEVER: not set */
    struct entry alarms[LKS_SIM_ALARMS_MAX];
    uint32_t alarm_next;  /* if it is known: what runs mostly sets its own alarm again */
    bool alarm_known;
    uint64_t now_ns;
    uint64_t posted;
    uint64_t ran;
};

static uint64_t time_of(key when)
{
    return (uint64_t)(when >> 64);
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
        timeline->alarm_keys[alarm] = NEVER;
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

static key make_key(struct lks_sim_timeline *timeline, uint64_t at_ns, uint32_t place)
{
    const uint64_t time_ns = at_ns > timeline->now_ns ? at_ns : timeline->now_ns;
    return (key)time_ns << 64 | (timeline->posted++ << PLACE_BITS | place);
}

/* Puts a key into the free place at the top, or where it belongs below. */
static void sift_down(struct lks_sim_timeline *timeline, key moved)
{
    key *keys = timeline->keys;
    const uint32_t count = timeline->count;
    uint32_t node = 0;
    for (;;) {
        const uint32_t first = CHILDREN * node + 1;
        if (first >= count) {
            break;
        }
        const uint32_t end = first + CHILDREN < count ? first + CHILDREN : count;
        uint32_t least = first;
        for (uint32_t child = first + 1; child < end; child++) {
            least = keys[child] < keys[least] ? child : least;
        }
        if (keys[least] >= moved) {
            break;
        }
        keys[node] = keys[least];
        node = least;
    }
    keys[node] = moved;
}

void lks_sim_timeline_post(struct lks_sim_timeline *timeline, uint64_t at_ns,
                           lks_sim_action action, void *ctx, uint64_t argument)
{
    const struct entry entry = {.action = action, .ctx = ctx, .argument = argument};
    if (timeline->top_left) {
        const uint32_t place = (uint32_t)(timeline->keys[0] & (ENTRIES_MAX - 1));
        timeline->entries[place] = entry;
        timeline->top_left = false;
        sift_down(timeline, make_key(timeline, at_ns, place));
        return;
    }
    if (timeline->count == timeline->capacity) {
        LKS_ASSERT(timeline->capacity < ENTRIES_MAX);
        make_room(timeline, timeline->capacity * 2);
    }
    const uint32_t place = timeline->free_places[timeline->count];
    timeline->entries[place] = entry;
    const key added = make_key(timeline, at_ns, place);
    key *keys = timeline->keys;
    uint32_t node = timeline->count++;
    while (node > 0 && added < keys[(node - 1) / CHILDREN]) {
        keys[node] = keys[(node - 1) / CHILDREN];
        node = (node - 1) / CHILDREN;
    }
    keys[node] = added;
}

/* Nothing has been posted into the place at the top: the last key takes it. */
static void close_top(struct lks_sim_timeline *timeline)
{
    const uint32_t place = (uint32_t)(timeline->keys[0] & (ENTRIES_MAX - 1));
    const uint32_t count = --timeline->count;
    timeline->top_left = false;
    if (count > 0) {
        sift_down(timeline, timeline->keys[count]);
    }
    timeline->free_places[count] = place;
}

/* ---- alarms ------------------------------------------------------------------------------- */

static uint32_t next_alarm(struct lks_sim_timeline *timeline)
{
    uint32_t next = timeline->alarm_next;
    if (!timeline->alarm_known) {
        next = 0;
        for (uint32_t alarm = 1; alarm < LKS_SIM_ALARMS_MAX; alarm++) {
            next = timeline->alarm_keys[alarm] < timeline->alarm_keys[next] ? alarm : next;
        }
        timeline->alarm_next = next;
        timeline->alarm_known = true;
    }
    return next;
}

void lks_sim_timeline_set_alarm(struct lks_sim_timeline *timeline, uint32_t alarm,
                                uint64_t at_ns, lks_sim_action action, void *ctx)
{
    LKS_ASSERT(alarm < LKS_SIM_ALARMS_MAX);
    LKS_ASSERT(at_ns < UINT64_MAX);
    timeline->alarms[alarm] = (struct entry){.action = action, .ctx = ctx, .argument = alarm};
    const key when = make_key(timeline, at_ns, 0);
    timeline->alarm_keys[alarm] = when;
    if (alarm == timeline->alarm_next) {
        timeline->alarm_known = false;
    } else if (timeline->alarm_known && when < timeline->alarm_keys[timeline->alarm_next]) {
        timeline->alarm_next = alarm;
    }
}

void lks_sim_timeline_clear_alarm(struct lks_sim_timeline *timeline, uint32_t alarm)
{
    LKS_ASSERT(alarm < LKS_SIM_ALARMS_MAX);
    timeline->alarm_keys[alarm] = NEVER;
    timeline->alarm_known = timeline->alarm_known && alarm != timeline->alarm_next;
}

/* ---- running ------------------------------------------------------------------------------ */

bool lks_sim_timeline_step(struct lks_sim_timeline *timeline, uint64_t limit_ns)
{
    LKS_ASSERT(limit_ns >= timeline->now_ns);
    if (timeline->top_left) {
        close_top(timeline); /* of an action that was left by a jump */
    }
    const uint32_t alarm = next_alarm(timeline);
    const key first = timeline->count == 0 ? NEVER : timeline->keys[0];
    const key alarm_key = timeline->alarm_keys[alarm];
    const uint64_t at_ns = time_of(alarm_key < first ? alarm_key : first);
    if (at_ns > limit_ns || at_ns == UINT64_MAX) {
        timeline->now_ns = limit_ns;
        return false;
    }
    LKS_ASSERT(at_ns >= timeline->now_ns);
    timeline->now_ns = at_ns;
    timeline->ran++;
    if (alarm_key < first) {
        const struct entry next = timeline->alarms[alarm];
        lks_sim_timeline_clear_alarm(timeline, alarm);
        next.action(next.ctx, next.argument);
        return true;
    }
    const struct entry next = timeline->entries[(uint32_t)(first & (ENTRIES_MAX - 1))];
    timeline->top_left = true;
    next.action(next.ctx, next.argument);
    if (timeline->top_left) {
        close_top(timeline);
    }
    return true;
}
