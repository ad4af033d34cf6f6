/*
 * When the entries of one partition expire: a heap with the earliest on top, four children a
 * node, in segments of 4 KiB that are never moved. Each entry that expires knows its place, so
 * that a change costs the depth of the heap. Belongs to a table; used on its thread.
 */
#ifndef LKS_SERVICES_KV_TIMERS_H
#define LKS_SERVICES_KV_TIMERS_H

#include <stdint.h>

#define LKS_KV_TIMERS_SEGMENT 256u

struct lks_kv_entry;

struct lks_kv_timer {
    uint64_t expires_ms;
    struct lks_kv_entry *entry;
};

/* Zeroed: empty. */
struct lks_kv_timers {
    struct lks_kv_timer **segments;
    uint32_t segments_count;
    uint32_t segments_capacity;
    uint32_t count; /* places 1..count are in use */
};

static inline struct lks_kv_timer *lks_kv_timers_at(const struct lks_kv_timers *timers,
                                                    uint32_t place)
{
    return &timers->segments[(place - 1) / LKS_KV_TIMERS_SEGMENT]
                            [(place - 1) % LKS_KV_TIMERS_SEGMENT];
}

/* The earliest time; UINT64_MAX: there is none. */
static inline uint64_t lks_kv_timers_first(const struct lks_kv_timers *timers)
{
    return timers->count == 0 ? UINT64_MAX : timers->segments[0][0].expires_ms;
}

/* Gives an entry a time, or another one. */
void lks_kv_timers_set(struct lks_kv_timers *timers, struct lks_kv_entry *entry,
                       uint64_t expires_ms);
/* Takes the time of an entry away; it may have none. */
void lks_kv_timers_remove(struct lks_kv_timers *timers, struct lks_kv_entry *entry);
/* The entry, with its place in it, has moved to where it is now. */
void lks_kv_timers_moved(struct lks_kv_timers *timers, struct lks_kv_entry *entry);

/* How many expire before a time: as much work as that. */
uint32_t lks_kv_timers_count_before(const struct lks_kv_timers *timers, uint64_t before_ms);

/* Frees a segment; the last one also the list of them. Entries keep their places. */
void lks_kv_timers_drop(struct lks_kv_timers *timers);

#endif
