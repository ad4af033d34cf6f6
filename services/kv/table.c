/*
 * The hash table of one partition; see table.h. Linear hashing: with b buckets and mask m, the
 * smallest 2^k - 1 >= b - 1, a hash belongs to bucket (hash & m), or to (hash & m / 2) where that
 * bucket does not exist yet. Adding bucket b therefore only splits bucket b & m / 2, and taking
 * the last one away only joins those two again.
 */
#include "services/kv/table.h"

#include <stdlib.h>
#include <string.h>

#define SEGMENT_BITS 9
#define SEGMENT_BUCKETS (1u << SEGMENT_BITS)
#define SEGMENTS_FIRST 8u
#define BUCKETS_MAX (1u << 31)
#define SHRINK_FACTOR 4u     /* a bucket goes when there are this many buckets an entry */
#define COLLECT_STEPS 64u    /* entries and buckets looked at by one call of _collect */
#define SPARE_SHIFT 3        /* an appended value keeps an eighth of its size spare */
#define WASTE_BYTES_MAX 256u /* a shorter value stays in its block up to this or half of it */

/* An emptied table; its buckets from the last one down are freed step by step. */
struct lks_kv_garbage {
    struct lks_kv_garbage *older;
    struct lks_kv_entry ***segments;
    uint32_t segments_count;
    uint32_t buckets;
};

static void *allocate(void *old, size_t bytes)
{
    void *block = realloc(old, bytes);
    if (block == NULL) {
        abort(); /* see table.h */
    }
    return block;
}

static struct lks_kv_entry **bucket_at(const struct lks_kv_table *table, uint32_t bucket)
{
    return &table->segments[bucket >> SEGMENT_BITS][bucket & (SEGMENT_BUCKETS - 1)];
}

static struct lks_kv_entry **bucket_of(const struct lks_kv_table *table, uint32_t hash)
{
    uint32_t bucket = hash & table->mask;
    if (bucket >= table->buckets) {
        bucket = hash & (table->mask >> 1);
    }
    return bucket_at(table, bucket);
}

static void add_segment(struct lks_kv_table *table)
{
    if (table->segments_count == table->segments_capacity) {
        const uint32_t capacity =
            table->segments_capacity != 0 ? table->segments_capacity * 2 : SEGMENTS_FIRST;
        table->segments = allocate(table->segments, capacity * sizeof *table->segments);
        table->segments_capacity = capacity;
    }
    const size_t bytes = SEGMENT_BUCKETS * sizeof(struct lks_kv_entry *);
    table->segments[table->segments_count] = allocate(NULL, bytes);
    memset(table->segments[table->segments_count], 0, bytes);
    table->segments_count++;
}

/* Adds one bucket and splits the one that its hashes lay in so far. */
static void grow(struct lks_kv_table *table)
{
    if (table->buckets == 0) {
        add_segment(table);
        table->buckets = SEGMENT_BUCKETS;
        table->mask = SEGMENT_BUCKETS - 1;
        return;
    }
    if (table->count <= table->buckets || table->buckets == BUCKETS_MAX) {
        return;
    }
    const uint32_t added = table->buckets;
    if (added == table->segments_count << SEGMENT_BITS) {
        add_segment(table);
    }
    if (added > table->mask) {
        table->mask = table->mask * 2 + 1;
    }
    table->buckets++;
    struct lks_kv_entry **from = bucket_at(table, added & (table->mask >> 1));
    struct lks_kv_entry **to = bucket_at(table, added);
    while (*from != NULL) {
        struct lks_kv_entry *entry = *from;
        if ((entry->hash & table->mask) == added) {
            *from = entry->next;
            entry->next = *to;
            *to = entry;
        } else {
            from = &entry->next;
        }
    }
}

/* Takes the last bucket away. */
static void drop_bucket(struct lks_kv_table *table)
{
    const uint32_t last = table->buckets - 1;
    struct lks_kv_entry **to = bucket_at(table, last & (table->mask >> 1));
    while (*to != NULL) {
        to = &(*to)->next;
    }
    *to = *bucket_at(table, last);
    *bucket_at(table, last) = NULL;
    table->buckets = last;
    if (last - 1 <= table->mask >> 1) {
        table->mask >>= 1;
    }
    if ((last & (SEGMENT_BUCKETS - 1)) == 0) {
        table->segments_count--;
        free(table->segments[table->segments_count]);
    }
}

/* Takes as many buckets away as keeps step with the entries, when the table is sparse. */
static void shrink(struct lks_kv_table *table)
{
    for (uint32_t i = 0; i < SHRINK_FACTOR; i++) {
        if (table->buckets <= SEGMENT_BUCKETS ||
            table->count > table->buckets / SHRINK_FACTOR) {
            return;
        }
        drop_bucket(table);
    }
}

struct lks_kv_entry *lks_kv_table_find(const struct lks_kv_table *table, uint64_t hash,
                                       const void *key, size_t key_bytes)
{
    if (table->buckets == 0) {
        return NULL;
    }
    struct lks_kv_entry *entry = *bucket_of(table, (uint32_t)hash);
    while (entry != NULL) {
        if (entry->hash == (uint32_t)hash && entry->key_bytes == key_bytes &&
            memcmp(entry->data, key, key_bytes) == 0) {
            return entry;
        }
        entry = entry->next;
    }
    return NULL;
}

/* The pointer that leads to this entry. */
static struct lks_kv_entry **link_to(struct lks_kv_table *table, const struct lks_kv_entry *entry)
{
    struct lks_kv_entry **link = bucket_of(table, entry->hash);
    while (*link != entry) {
        link = &(*link)->next;
    }
    return link;
}

/* Gives the entry's value room for exactly `capacity` bytes, keeping what it holds. */
static struct lks_kv_entry *resize(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                   size_t capacity)
{
    struct lks_kv_entry **link = link_to(table, entry);
    entry = allocate(entry, sizeof *entry + entry->key_bytes + capacity);
    entry->value_capacity = (uint32_t)capacity;
    *link = entry;
    return entry;
}

static void insert(struct lks_kv_table *table, uint64_t hash, const void *key, size_t key_bytes,
                   const void *value, size_t value_bytes)
{
    grow(table);
    struct lks_kv_entry *entry = allocate(NULL, sizeof *entry + key_bytes + value_bytes);
    struct lks_kv_entry **bucket = bucket_of(table, (uint32_t)hash);
    entry->next = *bucket;
    entry->hash = (uint32_t)hash;
    entry->key_bytes = (uint32_t)key_bytes;
    entry->value_bytes = (uint32_t)value_bytes;
    entry->value_capacity = (uint32_t)value_bytes;
    memcpy(entry->data, key, key_bytes);
    memcpy(entry->data + key_bytes, value, value_bytes);
    *bucket = entry;
    table->count++;
}

void lks_kv_table_set(struct lks_kv_table *table, struct lks_kv_entry *found, uint64_t hash,
                      const void *key, size_t key_bytes, const void *value, size_t value_bytes)
{
    if (found == NULL) {
        insert(table, hash, key, key_bytes, value, value_bytes);
        return;
    }
    const size_t spare = found->value_capacity >= value_bytes
                             ? found->value_capacity - value_bytes
                             : SIZE_MAX;
    if (spare > WASTE_BYTES_MAX && spare > value_bytes) {
        found->value_bytes = 0; /* nothing of it needs to be kept */
        found = resize(table, found, value_bytes);
    }
    memcpy(lks_kv_entry_value(found), value, value_bytes);
    found->value_bytes = (uint32_t)value_bytes;
}

struct lks_kv_entry *lks_kv_table_append(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                         const void *data, size_t bytes)
{
    const size_t total = (size_t)entry->value_bytes + bytes;
    if (total > entry->value_capacity) {
        entry = resize(table, entry, total + (total >> SPARE_SHIFT));
    }
    memcpy(lks_kv_entry_value(entry) + entry->value_bytes, data, bytes);
    entry->value_bytes = (uint32_t)total;
    return entry;
}

bool lks_kv_table_remove(struct lks_kv_table *table, uint64_t hash, const void *key,
                         size_t key_bytes)
{
    struct lks_kv_entry *entry = lks_kv_table_find(table, hash, key, key_bytes);
    if (entry == NULL) {
        return false;
    }
    *link_to(table, entry) = entry->next;
    free(entry);
    table->count--;
    shrink(table);
    return true;
}

void lks_kv_table_empty(struct lks_kv_table *table)
{
    if (table->buckets == 0) {
        return;
    }
    struct lks_kv_garbage *garbage = allocate(NULL, sizeof *garbage);
    garbage->older = table->garbage;
    garbage->segments = table->segments;
    garbage->segments_count = table->segments_count;
    garbage->buckets = table->segments_count << SEGMENT_BITS;
    memset(table, 0, sizeof *table);
    table->garbage = garbage;
}

bool lks_kv_table_collect(struct lks_kv_table *table)
{
    struct lks_kv_garbage *garbage = table->garbage;
    if (garbage == NULL) {
        return false;
    }
    for (uint32_t step = 0; step < COLLECT_STEPS && garbage->buckets > 0; step++) {
        const uint32_t last = garbage->buckets - 1;
        struct lks_kv_entry **segment = garbage->segments[last >> SEGMENT_BITS];
        struct lks_kv_entry **bucket = &segment[last & (SEGMENT_BUCKETS - 1)];
        if (*bucket != NULL) {
            struct lks_kv_entry *entry = *bucket;
            *bucket = entry->next;
            free(entry);
            continue;
        }
        garbage->buckets = last;
        if ((last & (SEGMENT_BUCKETS - 1)) == 0) {
            free(segment);
        }
    }
    if (garbage->buckets == 0) {
        table->garbage = garbage->older;
        free(garbage->segments);
        free(garbage);
    }
    return true;
}

void lks_kv_table_fini(struct lks_kv_table *table)
{
    lks_kv_table_empty(table);
    while (lks_kv_table_collect(table)) {
    }
}

int lks_kv_table_each(const struct lks_kv_table *table,
                      int (*visit)(void *ctx, struct lks_kv_entry *entry), void *ctx)
{
    for (uint32_t bucket = 0; bucket < table->buckets; bucket++) {
        struct lks_kv_entry *entry = *bucket_at(table, bucket);
        while (entry != NULL) {
            const int result = visit(ctx, entry);
            if (result != 0) {
                return result;
            }
            entry = entry->next;
        }
    }
    return 0;
}
