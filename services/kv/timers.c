/* When entries expire; see timers.h. */
#include "services/kv/timers.h"

#include "services/kv/garbage.h"
#include "services/kv/table.h"

#include <stdlib.h>

#define CHILDREN 4u
#define SEGMENTS_FIRST 4u

static uint32_t parent_of(uint32_t place)
{
    return (place - 2) / CHILDREN + 1;
}

static uint32_t first_child_of(uint32_t place)
{
    return (place - 1) * CHILDREN + 2;
}

static void put(struct lks_kv_timers *timers, uint32_t place, struct lks_kv_timer timer)
{
    *lks_kv_timers_at(timers, place) = timer;
    timer.entry->timer = place;
}

static void sift_up(struct lks_kv_timers *timers, uint32_t place, struct lks_kv_timer timer)
{
    while (place > 1) {
        const struct lks_kv_timer above = *lks_kv_timers_at(timers, parent_of(place));
        if (above.expires_ms <= timer.expires_ms) {
            break;
        }
        put(timers, place, above);
        place = parent_of(place);
    }
    put(timers, place, timer);
}

static void sift_down(struct lks_kv_timers *timers, uint32_t place, struct lks_kv_timer timer)
{
    for (uint32_t child = first_child_of(place); child <= timers->count;
         child = first_child_of(place)) {
        uint32_t least = child;
        for (uint32_t i = child + 1; i < child + CHILDREN && i <= timers->count; i++) {
            if (lks_kv_timers_at(timers, i)->expires_ms <
                lks_kv_timers_at(timers, least)->expires_ms) {
                least = i;
            }
        }
        const struct lks_kv_timer below = *lks_kv_timers_at(timers, least);
        if (below.expires_ms >= timer.expires_ms) {
            break;
        }
        put(timers, place, below);
        place = least;
    }
    put(timers, place, timer);
}

/* Puts a timer where there is a gap. */
static void settle(struct lks_kv_timers *timers, uint32_t place, struct lks_kv_timer timer)
{
    if (place > 1 &&
        lks_kv_timers_at(timers, parent_of(place))->expires_ms > timer.expires_ms) {
        sift_up(timers, place, timer);
    } else {
        sift_down(timers, place, timer);
    }
}

static void make_room(struct lks_kv_timers *timers)
{
    if (timers->count < timers->segments_count * LKS_KV_TIMERS_SEGMENT) {
        return;
    }
    if (timers->segments_count == timers->segments_capacity) {
        const uint32_t capacity =
            timers->segments_capacity != 0 ? timers->segments_capacity * 2 : SEGMENTS_FIRST;
        timers->segments = lks_kv_allocate(timers->segments, capacity * sizeof *timers->segments);
        timers->segments_capacity = capacity;
    }
    timers->segments[timers->segments_count] =
        lks_kv_allocate(NULL, LKS_KV_TIMERS_SEGMENT * sizeof(struct lks_kv_timer));
    timers->segments_count++;
}

void lks_kv_timers_set(struct lks_kv_timers *timers, struct lks_kv_entry *entry,
                       uint64_t expires_ms)
{
    const struct lks_kv_timer timer = {expires_ms, entry};
    if (entry->timer != 0) {
        settle(timers, entry->timer, timer);
        return;
    }
    make_room(timers);
    timers->count++;
    sift_up(timers, timers->count, timer);
}

void lks_kv_timers_remove(struct lks_kv_timers *timers, struct lks_kv_entry *entry)
{
    const uint32_t place = entry->timer;
    if (place == 0) {
        return;
    }
    const struct lks_kv_timer last = *lks_kv_timers_at(timers, timers->count);
    timers->count--;
    entry->timer = 0;
    if (place <= timers->count) {
        settle(timers, place, last);
    }
    /* One spare segment, so that a count that swings about its end costs nothing. */
    if (timers->count + 2 * LKS_KV_TIMERS_SEGMENT <=
        timers->segments_count * LKS_KV_TIMERS_SEGMENT) {
        lks_kv_timers_drop(timers);
    }
}

void lks_kv_timers_moved(struct lks_kv_timers *timers, struct lks_kv_entry *entry)
{
    if (entry->timer != 0) {
        lks_kv_timers_at(timers, entry->timer)->entry = entry;
    }
}

/* Depth first, into nothing that is late enough. */
uint32_t lks_kv_timers_count_before(const struct lks_kv_timers *timers, uint64_t before_ms)
{
    uint32_t count = 0;
    uint32_t place = 1;
    while (place != 0 && timers->count > 0) {
        const bool before = place <= timers->count &&
                            lks_kv_timers_at(timers, place)->expires_ms < before_ms;
        count += before ? 1 : 0;
        if (before && first_child_of(place) <= timers->count) {
            place = first_child_of(place);
            continue;
        }
        while (place > 1 && place == first_child_of(parent_of(place)) + CHILDREN - 1) {
            place = parent_of(place);
        }
        place = place > 1 ? place + 1 : 0;
    }
    return count;
}

void lks_kv_timers_drop(struct lks_kv_timers *timers)
{
    if (timers->segments_count > 0) {
        timers->segments_count--;
        free(timers->segments[timers->segments_count]);
    }
    if (timers->segments_count == 0) {
        free(timers->segments);
        *timers = (struct lks_kv_timers){0};
    }
}
