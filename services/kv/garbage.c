/* Memory to be given back in steps; see garbage.h. */
#include "services/kv/garbage.h"

#include <stdlib.h>

#define COLLECT_STEPS 64u /* entries and buckets looked at by one call of _collect */

void *lks_kv_allocate(void *old, size_t bytes)
{
    void *block = realloc(old, bytes);
    if (block == NULL) {
        abort(); /* see table.h */
    }
    return block;
}

static struct lks_kv_garbage *new_garbage(void)
{
    struct lks_kv_garbage *garbage = lks_kv_allocate(NULL, sizeof *garbage);
    *garbage = (struct lks_kv_garbage){0};
    return garbage;
}

struct lks_kv_garbage *lks_kv_garbage_of_index(const struct lks_kv_index *index,
                                               const struct lks_kv_timers *timers,
                                               uint64_t entries)
{
    struct lks_kv_garbage *garbage = new_garbage();
    garbage->index = *index;
    garbage->timers = *timers;
    garbage->entries_left = entries;
    garbage->buckets_left = index->segments_count * LKS_KV_SEGMENT_BUCKETS;
    return garbage;
}

struct lks_kv_garbage *lks_kv_garbage_of_entries(struct lks_kv_entry *entries)
{
    struct lks_kv_garbage *garbage = new_garbage();
    garbage->loose = entries;
    return garbage;
}

void lks_kv_garbage_push(struct lks_kv_garbage **newest, struct lks_kv_garbage *garbage)
{
    garbage->older = *newest;
    *newest = garbage;
}

static void leave_bucket(struct lks_kv_garbage *garbage, struct lks_kv_entry **segment)
{
    garbage->buckets_left--;
    if (garbage->buckets_left % LKS_KV_SEGMENT_BUCKETS == 0) {
        free(segment);
    }
}

/* Leaves empty buckets of the last segment behind, steps_max at most; returns how many. */
static uint32_t pass_empty(struct lks_kv_garbage *garbage, uint32_t steps_max)
{
    uint32_t steps = 0;
    if (garbage->loose != NULL || garbage->buckets_left == 0) {
        return 0;
    }
    const uint32_t last = garbage->buckets_left - 1;
    const uint32_t here = last % LKS_KV_SEGMENT_BUCKETS;
    struct lks_kv_entry **segment = garbage->index.segments[last / LKS_KV_SEGMENT_BUCKETS];
    while (steps < steps_max && steps < here && segment[here - steps] == NULL) {
        steps++;
    }
    garbage->buckets_left -= steps;
    return steps;
}

/* Frees one entry, or one bucket that is empty, or a segment of timers; false: there is none. */
static bool collect_one(struct lks_kv_garbage *garbage)
{
    struct lks_kv_entry **first = &garbage->loose;
    if (*first == NULL && garbage->buckets_left > 0) {
        const uint32_t last = garbage->buckets_left - 1;
        struct lks_kv_entry **segment = garbage->index.segments[last / LKS_KV_SEGMENT_BUCKETS];
        first = &segment[last % LKS_KV_SEGMENT_BUCKETS];
        if (*first == NULL) {
            leave_bucket(garbage, segment);
            return true;
        }
    }
    struct lks_kv_entry *entry = *first;
    if (entry == NULL) {
        const bool more = garbage->timers.segments_count > 0;
        lks_kv_timers_drop(&garbage->timers);
        return more;
    }
    garbage->entries_left -= first == &garbage->loose ? 0 : 1;
    *first = entry->next;
    free(entry);
    return true;
}

bool lks_kv_garbage_collect(struct lks_kv_garbage **newest)
{
    struct lks_kv_garbage *garbage = *newest;
    if (garbage == NULL) {
        return false;
    }
    for (uint32_t step = 0; step < COLLECT_STEPS; step++) {
        step += pass_empty(garbage, COLLECT_STEPS - step - 1);
        if (!collect_one(garbage)) {
            *newest = garbage->older;
            free(garbage->index.segments);
            free(garbage);
            break;
        }
    }
    return true;
}

/* Frees the last segment with what is left in it; looks at no bucket when no entry is left. */
static void free_segment(struct lks_kv_garbage *garbage)
{
    const uint32_t number = (garbage->buckets_left - 1) / LKS_KV_SEGMENT_BUCKETS;
    struct lks_kv_entry **segment = garbage->index.segments[number];
    for (uint32_t i = 0; garbage->entries_left > 0 && i < LKS_KV_SEGMENT_BUCKETS; i++) {
        while (segment[i] != NULL) {
            struct lks_kv_entry *entry = segment[i];
            segment[i] = entry->next;
            garbage->entries_left--;
            free(entry);
        }
    }
    garbage->buckets_left = number * LKS_KV_SEGMENT_BUCKETS;
    free(segment);
}

void lks_kv_garbage_free(struct lks_kv_garbage **newest)
{
    while (*newest != NULL) {
        while ((*newest)->buckets_left > 0) {
            free_segment(*newest);
        }
        (void)lks_kv_garbage_collect(newest);
    }
}
