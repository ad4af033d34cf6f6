/*
 * Memory of the key-value service that is to be given back in bounded steps: emptied indices with
 * their timers, and lists of entries. Owned by the table that it came from; used on its thread.
 */
#ifndef LKS_SERVICES_KV_GARBAGE_H
#define LKS_SERVICES_KV_GARBAGE_H

#include "services/kv/table.h"

#include <stdbool.h>

struct lks_kv_garbage {
    struct lks_kv_garbage *older;
    struct lks_kv_index index;
    struct lks_kv_timers timers;
    uint64_t entries_left;      /* in the buckets */
    uint32_t buckets_left;      /* of all that its segments have; those below are to be freed */
    struct lks_kv_entry *loose; /* entries that lie in no bucket */
};

/* realloc that ends the process instead of failing; see table.h. */
void *lks_kv_allocate(void *old, size_t bytes);

/* Takes the index over, with all `entries` entries in it and their timers. The garbage is the
 * caller's, to be pushed. */
struct lks_kv_garbage *lks_kv_garbage_of_index(const struct lks_kv_index *index,
                                               const struct lks_kv_timers *timers,
                                               uint64_t entries);
/* The same for a list of entries. */
struct lks_kv_garbage *lks_kv_garbage_of_entries(struct lks_kv_entry *entries);

/* Puts it on top of the list. */
void lks_kv_garbage_push(struct lks_kv_garbage **newest, struct lks_kv_garbage *garbage);

/* Frees a bounded part of the list; false: it is empty. */
bool lks_kv_garbage_collect(struct lks_kv_garbage **newest);

/* Frees all of the list. */
void lks_kv_garbage_free(struct lks_kv_garbage **newest);

#endif
