/*
 * The hash table of one partition; see table.h. Linear hashing: with b buckets and mask m, the
 * smallest 2^k - 1 >= b - 1, a hash belongs to bucket (hash & m), or to (hash & m / 2) where that
 * bucket does not exist yet. Adding bucket b therefore only splits bucket b & m / 2, and taking
 * the last one away only joins those two again.
 */
#include "services/kv/garbage.h"
#include "services/kv/table.h"

#include <stdlib.h>
#include <string.h>

#define SEGMENT_BUCKETS LKS_KV_SEGMENT_BUCKETS
#define SEGMENTS_FIRST 8u
#define BUCKETS_PASSED 8u    /* empty ones that are passed at once */
#define BUCKETS_MAX (1u << 31)
#define SHRINK_FACTOR 4u     /* a bucket goes when there are this many buckets an entry */
#define SPARE_SHIFT 3        /* an appended value keeps an eighth of its size spare */
#define WASTE_BYTES_MAX 256u /* a shorter value stays in its block up to this or half of it */

static struct lks_kv_entry **bucket_at(const struct lks_kv_index *index, uint32_t bucket)
{
    return &index->segments[bucket / SEGMENT_BUCKETS][bucket % SEGMENT_BUCKETS];
}

static struct lks_kv_entry **bucket_of(const struct lks_kv_index *index, uint32_t hash)
{
    uint32_t bucket = hash & index->mask;
    if (bucket >= index->buckets) {
        bucket = hash & (index->mask >> 1);
    }
    return bucket_at(index, bucket);
}

/* Bits the other way round: then an interval is what a bucket holds. */
static uint32_t reverse(uint32_t bits)
{
    bits = (bits >> 1 & 0x55555555u) | (bits & 0x55555555u) << 1;
    bits = (bits >> 2 & 0x33333333u) | (bits & 0x33333333u) << 2;
    bits = (bits >> 4 & 0x0f0f0f0fu) | (bits & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(bits);
}

uint64_t lks_kv_position(uint32_t hash)
{
    return reverse(hash);
}

struct lks_kv_entry *lks_kv_index_at(const struct lks_kv_index *index, uint64_t position,
                                     uint64_t *end)
{
    if (index->buckets == 0) {
        *end = LKS_KV_POSITIONS;
        return NULL;
    }
    const uint32_t half = index->mask >> 1;
    uint32_t bucket = reverse((uint32_t)position) & index->mask;
    uint32_t bits = index->mask; /* of the hash that all entries of the bucket share */
    if (bucket >= index->buckets || (bucket <= half && bucket + half + 1 >= index->buckets)) {
        bucket &= half;
        bits = half;
    }
    *end = (position | ~reverse(bits)) + 1;
    return *bucket_at(index, bucket);
}

static void add_segment(struct lks_kv_index *index)
{
    if (index->segments_count == index->segments_capacity) {
        const uint32_t capacity =
            index->segments_capacity != 0 ? index->segments_capacity * 2 : SEGMENTS_FIRST;
        index->segments = lks_kv_allocate(index->segments, capacity * sizeof *index->segments);
        index->segments_capacity = capacity;
    }
    const size_t bytes = SEGMENT_BUCKETS * sizeof(struct lks_kv_entry *);
    index->segments[index->segments_count] = lks_kv_allocate(NULL, bytes);
    memset(index->segments[index->segments_count], 0, bytes);
    index->segments_count++;
}

/* Adds one bucket and splits the one that its hashes lay in so far. */
static void grow(struct lks_kv_index *index, uint64_t count)
{
    if (index->buckets == 0) {
        add_segment(index);
        index->buckets = SEGMENT_BUCKETS;
        index->mask = SEGMENT_BUCKETS - 1;
        return;
    }
    if (count <= index->buckets || index->buckets == BUCKETS_MAX) {
        return;
    }
    const uint32_t added = index->buckets;
    if (added == index->segments_count * SEGMENT_BUCKETS) {
        add_segment(index);
    }
    if (added > index->mask) {
        index->mask = index->mask * 2 + 1;
    }
    index->buckets++;
    struct lks_kv_entry **from = bucket_at(index, added & (index->mask >> 1));
    struct lks_kv_entry **to = bucket_at(index, added);
    while (*from != NULL) {
        struct lks_kv_entry *entry = *from;
        if ((entry->hash & index->mask) == added) {
            *from = entry->next;
            entry->next = *to;
            *to = entry;
        } else {
            from = &entry->next;
        }
    }
}

/* Takes the last bucket away. */
static void drop_bucket(struct lks_kv_index *index)
{
    const uint32_t last = index->buckets - 1;
    struct lks_kv_entry **to = bucket_at(index, last & (index->mask >> 1));
    while (*to != NULL) {
        to = &(*to)->next;
    }
    *to = *bucket_at(index, last);
    *bucket_at(index, last) = NULL;
    index->buckets = last;
    if (last - 1 <= index->mask >> 1) {
        index->mask >>= 1;
    }
    if ((last & (SEGMENT_BUCKETS - 1)) == 0) {
        index->segments_count--;
        free(index->segments[index->segments_count]);
    }
}

/* Takes as many buckets away as keeps step with the entries, when the table is sparse. */
static void shrink(struct lks_kv_table *table)
{
    for (uint32_t i = 0; i < SHRINK_FACTOR; i++) {
        if (table->index.buckets <= SEGMENT_BUCKETS ||
            table->count > table->index.buckets / SHRINK_FACTOR) {
            return;
        }
        drop_bucket(&table->index);
    }
}

struct lks_kv_entry *lks_kv_table_find(const struct lks_kv_table *table, uint64_t hash,
                                       const void *key, size_t key_bytes)
{
    if (table->index.buckets == 0) {
        return NULL;
    }
    struct lks_kv_entry *entry = *bucket_of(&table->index, (uint32_t)hash);
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
    struct lks_kv_entry **link = bucket_of(&table->index, entry->hash);
    while (*link != entry) {
        link = &(*link)->next;
    }
    return link;
}

/* Gives the entry's value room for exactly `capacity` bytes, keeping the first `bytes` bytes. What
 * is returned may be changed, also while the table is frozen. */
static struct lks_kv_entry *resize(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                   size_t capacity, size_t bytes)
{
    struct lks_kv_entry **link = link_to(table, entry);
    const size_t size = sizeof *entry + entry->key_bytes + capacity;
    if (lks_kv_table_must_keep(table, entry)) {
        struct lks_kv_entry *changed = lks_kv_allocate(NULL, size);
        memcpy(changed, entry, sizeof *entry + entry->key_bytes + bytes);
        changed->version = table->version;
        lks_kv_table_keep(table, entry, lks_kv_table_expiry(table, entry));
        entry = changed;
    } else {
        entry = lks_kv_allocate(entry, size);
    }
    *link = entry;
    lks_kv_timers_moved(&table->timers, entry);
    entry->value_capacity = (uint32_t)capacity;
    return entry;
}

static struct lks_kv_entry *insert(struct lks_kv_table *table, uint64_t hash, const void *key,
                                   size_t key_bytes, const void *value, size_t value_bytes)
{
    grow(&table->index, table->count);
    struct lks_kv_entry *entry = lks_kv_allocate(NULL, sizeof *entry + key_bytes + value_bytes);
    struct lks_kv_entry **bucket = bucket_of(&table->index, (uint32_t)hash);
    entry->next = *bucket;
    entry->hash = (uint32_t)hash;
    entry->key_bytes = (uint32_t)key_bytes;
    entry->value_bytes = (uint32_t)value_bytes;
    entry->value_capacity = (uint32_t)value_bytes;
    entry->version = table->version;
    entry->timer = 0;
    memcpy(entry->data, key, key_bytes);
    memcpy(entry->data + key_bytes, value, value_bytes);
    *bucket = entry;
    table->count++;
    table->data_bytes += key_bytes + value_bytes;
    return entry;
}

struct lks_kv_entry *lks_kv_table_set(struct lks_kv_table *table, struct lks_kv_entry *found,
                                      uint64_t hash, const void *key, size_t key_bytes,
                                      const void *value, size_t value_bytes)
{
    if (found == NULL) {
        return insert(table, hash, key, key_bytes, value, value_bytes);
    }
    const size_t spare = found->value_capacity >= value_bytes
                             ? found->value_capacity - value_bytes
                             : SIZE_MAX;
    if ((spare > WASTE_BYTES_MAX && spare > value_bytes) || lks_kv_table_must_keep(table, found)) {
        found = resize(table, found, value_bytes, 0);
    }
    table->data_bytes += value_bytes - (uint64_t)found->value_bytes;
    memcpy(lks_kv_entry_value(found), value, value_bytes);
    found->value_bytes = (uint32_t)value_bytes;
    return found;
}

struct lks_kv_entry *lks_kv_table_write(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                        size_t offset, const void *data, size_t bytes)
{
    const size_t before = entry->value_bytes;
    const size_t total = offset + bytes > before ? offset + bytes : before;
    if (total > entry->value_capacity || lks_kv_table_must_keep(table, entry)) {
        const size_t spare = total > before ? total >> SPARE_SHIFT : 0;
        entry = resize(table, entry, total + spare, before);
    }
    if (offset > before) {
        memset(lks_kv_entry_value(entry) + before, 0, offset - before);
    }
    memcpy(lks_kv_entry_value(entry) + offset, data, bytes);
    entry->value_bytes = (uint32_t)total;
    table->data_bytes += total - before;
    return entry;
}

struct lks_kv_entry *lks_kv_table_append(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                         const void *data, size_t bytes)
{
    return lks_kv_table_write(table, entry, entry->value_bytes, data, bytes);
}

struct lks_kv_entry *lks_kv_table_set_expiry(struct lks_kv_table *table,
                                             struct lks_kv_entry *entry, uint64_t expires_ms)
{
    if (expires_ms == lks_kv_table_expiry(table, entry)) {
        return entry;
    }
    if (lks_kv_table_must_keep(table, entry)) {
        entry = resize(table, entry, entry->value_capacity, entry->value_bytes);
    }
    if (expires_ms == 0) {
        lks_kv_timers_remove(&table->timers, entry);
    } else {
        lks_kv_timers_set(&table->timers, entry, expires_ms);
    }
    return entry;
}

void lks_kv_table_remove(struct lks_kv_table *table, struct lks_kv_entry *entry)
{
    const uint64_t expires_ms = lks_kv_table_expiry(table, entry);
    *link_to(table, entry) = entry->next;
    table->count--;
    table->data_bytes -= (uint64_t)entry->key_bytes + entry->value_bytes;
    lks_kv_timers_remove(&table->timers, entry);
    if (lks_kv_table_must_keep(table, entry)) {
        lks_kv_table_keep(table, entry, expires_ms);
    } else {
        free(entry);
    }
    shrink(table);
}

uint32_t lks_kv_table_expire(struct lks_kv_table *table, uint64_t before_ms, uint32_t entries_max)
{
    uint32_t count = 0;
    while (count < entries_max && lks_kv_timers_first(&table->timers) < before_ms) {
        lks_kv_table_remove(table, lks_kv_timers_at(&table->timers, 1)->entry);
        count++;
    }
    return count;
}

void lks_kv_table_empty(struct lks_kv_table *table)
{
    if (table->index.buckets == 0) {
        return;
    }
    struct lks_kv_garbage *garbage =
        lks_kv_garbage_of_index(&table->index, &table->timers, table->count);
    if (table->frozen && table->emptied == NULL) {
        table->emptied = garbage; /* the visit goes on there */
        table->kept_bytes += table->data_bytes + table->count * sizeof(struct lks_kv_entry);
    } else {
        lks_kv_garbage_push(&table->garbage, garbage);
    }
    memset(&table->index, 0, sizeof table->index);
    memset(&table->timers, 0, sizeof table->timers);
    table->count = 0;
    table->data_bytes = 0;
}

bool lks_kv_table_collect(struct lks_kv_table *table)
{
    return lks_kv_garbage_collect(&table->garbage);
}

void lks_kv_table_fini(struct lks_kv_table *table)
{
    lks_kv_table_thaw(table);
    lks_kv_table_empty(table);
    lks_kv_garbage_free(&table->garbage);
}

/* BUCKETS_PASSED of them: a small table's mostly are. */
static bool are_empty(struct lks_kv_entry *const *buckets)
{
    uintptr_t any = 0;
    for (uint32_t i = 0; i < BUCKETS_PASSED; i++) {
        any |= (uintptr_t)buckets[i];
    }
    return any == 0;
}

int lks_kv_table_each(const struct lks_kv_table *table,
                      int (*visit)(void *ctx, struct lks_kv_entry *entry), void *ctx)
{
    uint64_t left = table->count;
    for (uint32_t number = 0; left > 0 && number < table->index.segments_count; number++) {
        struct lks_kv_entry *const *segment = table->index.segments[number];
        for (uint32_t bucket = 0; left > 0 && bucket < SEGMENT_BUCKETS; bucket++) {
            if (bucket % BUCKETS_PASSED == 0 && are_empty(segment + bucket)) {
                bucket += BUCKETS_PASSED - 1;
                continue;
            }
            for (struct lks_kv_entry *entry = segment[bucket]; entry != NULL; left--) {
                const int result = visit(ctx, entry);
                if (result != 0) {
                    return result;
                }
                entry = entry->next;
            }
        }
    }
    return 0;
}
