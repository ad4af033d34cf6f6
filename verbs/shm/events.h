/*
 * The ring of events that poll has not handed out yet: bounded, allocated at start, filled and
 * drained by the fabric's one thread. Invariant: it never overflows, because each kind of event is
 * bounded where it is posted; that is asserted.
 */
#ifndef LKS_VERBS_SHM_EVENTS_H
#define LKS_VERBS_SHM_EVENTS_H

#include "base/assert.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

/* Which bound an event counts against until it is handed out. */
enum lks_shm_lane {
    LKS_SHM_LANE_NONE,
    LKS_SHM_LANE_CONNECTION,
    LKS_SHM_LANE_PATH,
    LKS_SHM_LANE_CONTROL,
    LKS_SHM_LANES
};

/* An event, packed: the hot path writes one for each operation. */
struct lks_shm_event {
    uint64_t id;
    uint64_t number; /* connection, or generation of a grant */
    int32_t status;
    uint8_t kind; /* enum lks_fabric_event_kind */
    uint8_t peer;
    uint8_t lane;
    uint8_t peer_dead;
};

struct lks_shm_events {
    struct lks_shm_event *slots;
    uint32_t mask;
    uint32_t first; /* both count on and wrap */
    uint32_t next;
};

static inline int lks_shm_events_init(struct lks_shm_events *events, uint32_t slots_min)
{
    uint32_t slots = 64;
    while (slots < slots_min) {
        LKS_ASSERT(slots <= UINT32_MAX / 2);
        slots *= 2;
    }
    events->slots = calloc(slots, sizeof *events->slots);
    events->mask = slots - 1;
    events->first = 0;
    events->next = 0;
    return events->slots != NULL ? 0 : -ENOMEM;
}

static inline void lks_shm_events_fini(struct lks_shm_events *events)
{
    free(events->slots);
    events->slots = NULL;
}

/* Room for one more event, to be filled in by the caller. */
static inline struct lks_shm_event *lks_shm_events_push(struct lks_shm_events *events)
{
    LKS_ASSERT(events->next - events->first <= events->mask);
    return &events->slots[events->next++ & events->mask];
}

static inline const struct lks_shm_event *lks_shm_events_pop(struct lks_shm_events *events)
{
    if (events->first == events->next) {
        return NULL;
    }
    return &events->slots[events->first++ & events->mask];
}

#endif
