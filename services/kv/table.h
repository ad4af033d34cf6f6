/*
 * The hash table of one partition: linear hashing. It grows and shrinks by one bucket at a
 * time, so that no command ever waits for a rehash; buckets lie in segments of 4 KiB that are
 * never moved. An entry holds key and value in one block behind a 24-byte head. A table that is
 * emptied gives its memory back in steps that its owner asks for.
 *
 * Used by one thread at a time. Memory exhaustion ends the process: a replica that cannot hold
 * the state cannot stay equal to the others.
 */
#ifndef LKS_SERVICES_KV_TABLE_H
#define LKS_SERVICES_KV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lks_kv_entry {
    struct lks_kv_entry *next; /* in its bucket */
    uint32_t hash;             /* low half of the key's hash */
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint32_t value_capacity;
    char data[]; /* the key, then the value */
};

struct lks_kv_table {
    struct lks_kv_entry ***segments;
    uint32_t segments_count;
    uint32_t segments_capacity;
    uint32_t buckets; /* in use; 0: no segment either */
    uint32_t mask;    /* smallest 2^k - 1 >= buckets - 1 */
    uint64_t count;   /* entries */
    /* Emptied tables whose memory is still to be given back, newest first. */
    struct lks_kv_garbage *garbage;
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
 * Sets a key to a value, neither longer than UINT32_MAX and neither part of the table. found: what
 * _find returned for this key just now (NULL: it is not there).
 */
void lks_kv_table_set(struct lks_kv_table *table, struct lks_kv_entry *found, uint64_t hash,
                      const void *key, size_t key_bytes, const void *value, size_t value_bytes);

/* Appends to the value of an entry, which may move: use what is returned. */
struct lks_kv_entry *lks_kv_table_append(struct lks_kv_table *table, struct lks_kv_entry *entry,
                                         const void *data, size_t bytes);

/* Removes a key; false: it was not there. */
bool lks_kv_table_remove(struct lks_kv_table *table, uint64_t hash, const void *key,
                         size_t key_bytes);

/* Empties the table at once; its memory is given back by _collect. */
void lks_kv_table_empty(struct lks_kv_table *table);

/* Gives back a bounded part of the memory of emptied tables; false: nothing is left. */
bool lks_kv_table_collect(struct lks_kv_table *table);

/* Calls visit for each entry, in no order, until one returns other than 0; returns that. */
int lks_kv_table_each(const struct lks_kv_table *table,
                      int (*visit)(void *ctx, struct lks_kv_entry *entry), void *ctx);

#endif
