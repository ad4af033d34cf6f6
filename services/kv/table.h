/*
 * The hash table of one partition: linear hashing. It grows and shrinks by one bucket at a
 * time, so that no command ever waits for a rehash; buckets lie in segments of 4 KiB that are
 * never moved. An entry holds key and value in one block behind its head. A table that is
 * emptied gives its memory back in steps that its owner asks for.
 *
 * Its content can be frozen and then visited in steps, in the order of *positions*: the bits of a
 * hash, lowest first. A bucket holds an interval of positions, growing cuts one in two and
 * shrinking joins two, so the order of the entries never changes: what lies below the position
 * that the visit has reached has been visited, what lies above has not. A frozen entry above it
 * that is changed or removed is kept aside, as it was, until the visit has seen it; what came
 * later carries the number of the freeze and is not visited. See freeze.c.
 *
 * Used by one thread at a time. Memory exhaustion ends the process: a replica that cannot hold
 * the state cannot stay equal to the others.
 */
#ifndef LKS_SERVICES_KV_TABLE_H
#define LKS_SERVICES_KV_TABLE_H

#include "services/kv/timers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_KV_SEGMENT_BUCKETS 512u
#define LKS_KV_POSITIONS (UINT64_C(1) << 32)

struct lks_kv_entry {
    struct lks_kv_entry *next; /* in its bucket, or among the kept ones */
    uint32_t hash;             /* low half of the key's hash */
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t value_capacity;
    union {
        struct {
            uint32_t version; /* the freeze after which it was made */
            uint32_t timer;   /* its place among the timers, from 1; 0: it never expires */
        };
        uint64_t kept_expires_ms; /* of one that is kept aside; 0: never */
    };
    char data[]; /* the key, then the value */
};

_Static_assert(sizeof(struct lks_kv_entry) == 32, "the head of an entry is half a cache line");

/* Where the entries lie. */
struct lks_kv_index {
    struct lks_kv_entry ***segments;
    uint32_t segments_count;
    uint32_t segments_capacity;
    uint32_t buckets; /* in use; 0: no segment either */
    uint32_t mask;    /* smallest 2^k - 1 >= buckets - 1 */
};

struct lks_kv_garbage;

struct lks_kv_table {
    struct lks_kv_index index;
    struct lks_kv_timers timers;
    uint64_t count;      /* entries */
    uint64_t data_bytes; /* of all keys and values */
    /* What is still to be given back, newest first. */
    struct lks_kv_garbage *garbage;
    /* While frozen: the number of this freeze, the position that the visit has reached, entries
     * kept aside, and the frozen entries themselves if the table was emptied meanwhile. */
    bool frozen;
    uint32_t version;
    uint64_t visited;
    struct lks_kv_entry *kept;
    uint64_t kept_bytes;
    struct lks_kv_garbage *emptied;
};

static inline char *lks_kv_entry_key(struct lks_kv_entry *entry)
{
    return entry->data;
}
static inline char *lks_kv_entry_value(struct lks_kv_entry *entry)
{
    return entry->data + entry->key_bytes;
}

/* Frees everything; a zeroed table is empty and valid. */
void lks_kv_table_fini(struct lks_kv_table *table);

/* The entry of a key, or NULL. hash: lks_kv_hash of the key, here and below. */
struct lks_kv_entry *lks_kv_table_find(const struct lks_kv_table *table, uint64_t hash,
                                       const void *key, size_t key_bytes);

/*
 * Sets a key to a value, neither longer than UINT32_MAX and neither part of the table; when it
 * expires does not change. found: what _find returned for this key just now (NULL: it is not
 * there). Returns the entry.
 */
struct lks_kv_entry *
lks_kv_table_set(struct lks_kv_table *table, struct lks_kv_entry *found, uint64_t hash,
                 const void *key, size_t key_bytes, const void *value, size_t value_bytes);

/* Appends to the value of an entry, which may move: use what is returned. */
struct lks_kv_entry *lks_kv_table_append(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                         const void *data, size_t bytes);

/* Writes into the value of an entry, which grows with zeros as far as is needed, and may move: use
 * what is returned. */
struct lks_kv_entry *lks_kv_table_write(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                        size_t offset, const void *data, size_t bytes);

/* When an entry expires, in milliseconds of the leader's time; 0: never. */
static inline uint64_t lks_kv_table_expiry(const struct lks_kv_table *table,
                                           const struct lks_kv_entry *entry)
{
    return entry->timer == 0 ? 0 : lks_kv_timers_at(&table->timers, entry->timer)->expires_ms;
}

/* Sets that; the entry may move: use what is returned. */
struct lks_kv_entry *lks_kv_table_set_expiry(struct lks_kv_table *table,
                                             struct lks_kv_entry *entry, uint64_t expires_ms);

/* Removes an entry. */
void lks_kv_table_remove(struct lks_kv_table *table, struct lks_kv_entry *entry);

/* Removes up to entries_max entries that expire before a time, the earliest first; returns how
 * many. */
uint32_t lks_kv_table_expire(struct lks_kv_table *table, uint64_t before_ms,
                             uint32_t entries_max);

/* Empties the table at once; its memory is given back by _collect. */
void lks_kv_table_empty(struct lks_kv_table *table);

/* Gives back a bounded part of what is to be given back; false: nothing is left. */
bool lks_kv_table_collect(struct lks_kv_table *table);

/* Calls visit for each entry, in no order, until one returns other than 0; returns that. */
int lks_kv_table_each(const struct lks_kv_table *table,
                      int (*visit)(void *ctx, struct lks_kv_entry *entry), void *ctx);

/* The first entry of the bucket that a position (below LKS_KV_POSITIONS) belongs to, and the
 * position behind that bucket. An index without buckets is one empty bucket. */
struct lks_kv_entry *lks_kv_index_at(const struct lks_kv_index *index, uint64_t position,
                                     uint64_t *end);

/* The position of an entry. */
uint64_t lks_kv_position(uint32_t hash);

/* Freezes the content; it is not frozen now. */
void lks_kv_table_freeze(struct lks_kv_table *table);

/*
 * Calls visit for frozen entries that it has not been called for, each once, the head of each
 * unchanged by what has happened since, until work_bytes_max bytes (and bits of work that count
 * like bytes) are done, at least one; or until visit returns other than 0: that is returned, and
 * only _thaw may follow. done: there are no more.
 */
int lks_kv_table_visit_frozen(struct lks_kv_table *table, size_t work_bytes_max,
                              int (*visit)(void *ctx, struct lks_kv_entry *entry,
                                           uint64_t expires_ms),
                              void *ctx, bool *done);

/* Ends the freeze, whether all was visited or not; nothing happens if there is none. */
void lks_kv_table_thaw(struct lks_kv_table *table);

/* An entry that is about to be changed or removed must be kept as it is. */
static inline bool lks_kv_table_must_keep(const struct lks_kv_table *table,
                                          const struct lks_kv_entry *entry)
{
    return table->frozen && entry->version != table->version &&
           lks_kv_position(entry->hash) >= table->visited;
}

/* Puts an entry that was just taken out of its bucket aside; expires_ms: 0 for never. */
void lks_kv_table_keep(struct lks_kv_table *table, struct lks_kv_entry *entry,
                       uint64_t expires_ms);

#endif
