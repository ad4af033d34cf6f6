/*
 * Commands about which keys there are; see cursor.h. SCAN goes through the partitions one after
 * the other, and through each by positions (table.h), which never change: a key that is there all
 * the time is seen, and seen once, however the tables grow and shrink, and on whichever replica
 * the scan goes on. Its cursor is the partition (from bit 32) and the position.
 */
#include "services/kv/cursor.h"
#include "services/kv/glob.h"

#include <string.h>

#define FLUSH_COLLECTS 9    /* enough for a table of the least size */
#define SCAN_EMPTY_FACTOR 10 /* buckets looked at for each entry that was asked for */
#define CURSOR_BYTES_MAX 20

void lks_kv_apply_type(struct lks_kv_cursor *cursor)
{
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    lks_reply_status(cursor->reply, lks_kv_find(cursor, &key) != NULL ? "string" : "none");
}

void lks_kv_apply_dbsize(struct lks_kv_cursor *cursor)
{
    uint64_t count = 0;
    const uint64_t now_ms = lks_kv_now_ms(cursor);
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        const struct lks_kv_table *table = lks_kv_table_at(cursor, i);
        count += table->count;
        if (lks_kv_timers_first(&table->timers) < now_ms) {
            count -= lks_kv_timers_count_before(&table->timers, now_ms);
        }
    }
    lks_reply_integer(cursor->reply, (int64_t)count);
}

/* The rest of the memory is given back by later commands and ticks. */
void lks_kv_apply_flushall(struct lks_kv_cursor *cursor)
{
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        struct lks_kv_table *table = lks_kv_table_at(cursor, i);
        if (!lks_command_includes(cursor->command, i)) {
            continue;
        }
        lks_kv_table_empty(table);
        for (int j = 0; j < FLUSH_COLLECTS && lks_kv_table_collect(table); j++) {
        }
    }
    cursor->kv->litter = true;
    lks_reply_status(cursor->reply, "OK");
}

/* Keys that match, for a reply whose length is known only at its end. */
struct found {
    struct lks_kv_cursor *cursor;
    struct lks_kv_table *table;
    struct lks_kv_glob glob;
    bool all;
    bool none;
    uint64_t count;
    struct lks_reply keys;
};

static int add_if_found(void *ctx, struct lks_kv_entry *entry)
{
    struct found *found = ctx;
    const char *key = lks_kv_entry_key(entry);
    if (!lks_kv_expired(found->cursor, found->table, entry) && !found->none &&
        (found->all || lks_kv_glob_matches(&found->glob, key, entry->key_bytes))) {
        lks_reply_bulk(&found->keys, key, entry->key_bytes);
        found->count++;
    }
    return 0;
}

static void reply_found(struct found *found)
{
    struct lks_reply *reply = found->cursor->reply;
    lks_reply_array(reply, (size_t)found->count);
    lks_reply_append(reply, &found->keys);
    lks_reply_fini(&found->keys);
}

static struct found look_for(struct lks_kv_cursor *cursor)
{
    struct found found = {.cursor = cursor};
    found.glob.pattern = (const char *)cursor->in;
    found.glob.bytes = lks_kv_rest(cursor);
    found.all = found.glob.bytes == 1 && found.glob.pattern[0] == '*';
    lks_reply_init(&found.keys);
    return found;
}

void lks_kv_apply_keys(struct lks_kv_cursor *cursor)
{
    struct found found = look_for(cursor);
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        found.table = lks_kv_table_at(cursor, i);
        (void)lks_kv_table_each(found.table, add_if_found, &found);
    }
    reply_found(&found);
}

/* Looks at the entries of one bucket from a position on; returns how many they are. */
static uint64_t scan_bucket(struct found *found, uint64_t *position)
{
    uint64_t end;
    uint64_t count = 0;
    struct lks_kv_entry *entry = lks_kv_index_at(&found->table->index, *position, &end);
    for (; entry != NULL; entry = entry->next) {
        if (lks_kv_position(entry->hash) >= *position) {
            (void)add_if_found(found, entry);
            count++;
        }
    }
    *position = end;
    return count;
}

/* Goes on from a cursor until `count` entries have been looked at; returns the next cursor. */
static uint64_t scan(struct found *found, uint64_t from, uint64_t count)
{
    uint64_t partition = from >> 32;
    uint64_t position = from & (LKS_KV_POSITIONS - 1);
    uint64_t looked = 0;
    uint64_t buckets_left = count > UINT64_MAX / SCAN_EMPTY_FACTOR ? UINT64_MAX
                                                                   : count * SCAN_EMPTY_FACTOR;
    while (partition < LKS_KV_PARTITIONS && looked < count && buckets_left > 0) {
        found->table = lks_kv_table_at(found->cursor, (uint32_t)partition);
        looked += scan_bucket(found, &position);
        buckets_left--;
        if (position >= LKS_KV_POSITIONS) {
            partition++;
            position = 0;
        }
    }
    return partition < LKS_KV_PARTITIONS ? partition << 32 | position : 0;
}

void lks_kv_apply_scan(struct lks_kv_cursor *cursor)
{
    unsigned flags = 0;
    int64_t from = 0;
    int64_t count = 0;
    if (!lks_kv_take_flags(cursor, LKS_KV_SCAN_FLAGS, &flags) ||
        !lks_kv_take_number(cursor, &from) || !lks_kv_take_number(cursor, &count) || count < 1) {
        lks_kv_malformed(cursor);
        return;
    }
    struct found found = look_for(cursor);
    found.all = found.all || (flags & LKS_KV_SCAN_MATCH) == 0;
    found.none = (flags & LKS_KV_SCAN_NO_TYPE) != 0;
    const uint64_t next = scan(&found, (uint64_t)from, (uint64_t)count);
    char text[LKS_KV_INTEGER_BYTES_MAX];
    lks_reply_array(cursor->reply, 2);
    lks_reply_bulk(cursor->reply, text, lks_kv_integer_print(text, (int64_t)next));
    reply_found(&found);
}

/* A number that follows from the entry alone, the same on every replica (splitmix64). */
static uint64_t draw(const struct lks_command *command)
{
    uint64_t mixed = command->index * UINT64_C(0x9E3779B97F4A7C15) ^ command->time_ns;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

/* By position, then by key: an order that the content alone gives. */
static bool comes_before(struct lks_kv_entry *a, struct lks_kv_entry *b)
{
    if (a->hash != b->hash) {
        return lks_kv_position(a->hash) < lks_kv_position(b->hash);
    }
    const size_t both = a->key_bytes < b->key_bytes ? a->key_bytes : b->key_bytes;
    const int order = memcmp(lks_kv_entry_key(a), lks_kv_entry_key(b), both);
    return order != 0 ? order < 0 : a->key_bytes < b->key_bytes;
}

/* The first entry from a position on that has not expired. */
static struct lks_kv_entry *first_from(struct lks_kv_cursor *cursor, struct lks_kv_table *table,
                                       uint64_t position)
{
    struct lks_kv_entry *first = NULL;
    while (position < LKS_KV_POSITIONS && first == NULL && table->count > 0) {
        uint64_t end;
        struct lks_kv_entry *entry = lks_kv_index_at(&table->index, position, &end);
        for (; entry != NULL; entry = entry->next) {
            if (lks_kv_position(entry->hash) >= position &&
                !lks_kv_expired(cursor, table, entry) &&
                (first == NULL || comes_before(entry, first))) {
                first = entry;
            }
        }
        position = end;
    }
    return first;
}

void lks_kv_apply_randomkey(struct lks_kv_cursor *cursor)
{
    const uint64_t drawn = draw(cursor->command);
    uint64_t position = drawn & (LKS_KV_POSITIONS - 1);
    struct lks_kv_entry *entry = NULL;
    /* One more than there are partitions: the first one's entries before the position. */
    for (uint64_t i = 0; entry == NULL && i <= LKS_KV_PARTITIONS; i++) {
        const uint64_t partition = ((drawn >> 32) + i) % LKS_KV_PARTITIONS;
        entry = first_from(cursor, lks_kv_table_at(cursor, (uint32_t)partition), position);
        position = 0;
    }
    if (entry == NULL) {
        lks_reply_null(cursor->reply);
    } else {
        lks_reply_bulk(cursor->reply, lks_kv_entry_key(entry), entry->key_bytes);
    }
}
