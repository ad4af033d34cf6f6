/*
 * A command being executed: what is left of its bytes, and how the files that execute commands
 * (strings.c, several.c, expiry.c, keyspace.c; apply.c chooses among them) take keys and numbers
 * from it. A key that has expired by the command's time is not there.
 */
#ifndef LKS_SERVICES_KV_CURSOR_H
#define LKS_SERVICES_KV_CURSOR_H

#include "lockstep/touch.h"
#include "services/kv/format.h"
#include "services/kv/state.h"

#define LKS_KV_NS_PER_MS UINT64_C(1000000)

struct lks_kv_cursor {
    struct lks_kv *kv;
    const struct lks_command *command;
    const uint8_t *in;
    const uint8_t *end;
    struct lks_reply *reply;
    bool changes; /* false: a read, which leaves everything as it is */
};

struct lks_kv_key {
    const char *data;
    size_t bytes;
    uint64_t hash;
    struct lks_kv_table *table;
    bool included; /* false: the command must leave it alone */
};

static inline size_t lks_kv_rest(const struct lks_kv_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->in);
}

static inline uint64_t lks_kv_now_ms(const struct lks_kv_cursor *cursor)
{
    return cursor->command->time_ns / LKS_KV_NS_PER_MS;
}

static inline bool lks_kv_expired(const struct lks_kv_cursor *cursor,
                                  const struct lks_kv_table *table,
                                  const struct lks_kv_entry *entry)
{
    return entry->timer != 0 && lks_kv_table_expiry(table, entry) < lks_kv_now_ms(cursor);
}

void lks_kv_malformed(const struct lks_kv_cursor *cursor);

/* Takes a byte of flags, all among `allowed`, or 8 bytes of a number; false: there is none. */
bool lks_kv_take_flags(struct lks_kv_cursor *cursor, unsigned allowed, unsigned *flags);
bool lks_kv_take_number(struct lks_kv_cursor *cursor, int64_t *number);
/* Takes a length and so many bytes. */
bool lks_kv_take_prefixed(struct lks_kv_cursor *cursor, const char **data, size_t *bytes);
static inline struct lks_kv_key lks_kv_key_of(const struct lks_kv_cursor *cursor,
                                              const char *data, size_t bytes)
{
    const uint64_t hash = lks_kv_hash(data, bytes);
    const uint32_t partition = lks_kv_partition(hash);
    const struct lks_kv_key key = {data, bytes, hash, &cursor->kv->partitions[partition],
                                   lks_command_includes(cursor->command, partition)};
    lks_touch(lks_kv_identity(hash), cursor->changes);
    if (cursor->changes && key.table->garbage != NULL) {
        (void)lks_kv_table_collect(key.table); /* memory of emptied tables, on the way */
    }
    return key;
}

/* A whole partition, for a command that looks at more than its keys. */
static inline struct lks_kv_table *lks_kv_table_at(const struct lks_kv_cursor *cursor,
                                                   uint32_t partition)
{
    lks_touch(partition, cursor->changes);
    return &cursor->kv->partitions[partition];
}

/* Takes the rest, or a length and so many bytes, as a key. */
static inline struct lks_kv_key lks_kv_take_key(struct lks_kv_cursor *cursor)
{
    const char *data = (const char *)cursor->in;
    const size_t bytes = lks_kv_rest(cursor);
    cursor->in = cursor->end;
    return lks_kv_key_of(cursor, data, bytes);
}

bool lks_kv_take_prefixed_key(struct lks_kv_cursor *cursor, struct lks_kv_key *key);

/* The same for an entry that expires some time. */
struct lks_kv_entry *lks_kv_find_aging(const struct lks_kv_cursor *cursor,
                                       const struct lks_kv_key *key, struct lks_kv_entry *entry);

/* The key's entry, or NULL; a command that changes removes one that has expired. */
static inline struct lks_kv_entry *lks_kv_find(const struct lks_kv_cursor *cursor,
                                               const struct lks_kv_key *key)
{
    struct lks_kv_entry *entry =
        lks_kv_table_find(key->table, key->hash, key->data, key->bytes);
    return entry == NULL || entry->timer == 0 ? entry : lks_kv_find_aging(cursor, key, entry);
}

/* Sets, removes and ages what lks_kv_find gave; 0: never. */
struct lks_kv_entry *lks_kv_set(const struct lks_kv_key *key, struct lks_kv_entry *found,
                                const void *value, size_t bytes);
void lks_kv_set_expiry(struct lks_kv_cursor *cursor, const struct lks_kv_key *key,
                       struct lks_kv_entry *entry, uint64_t expires_ms);

void lks_kv_reply_value(struct lks_reply *reply, struct lks_kv_entry *entry);

/* strings.c: one key, its value. */
void lks_kv_apply_get(struct lks_kv_cursor *cursor);
void lks_kv_apply_strlen(struct lks_kv_cursor *cursor);
void lks_kv_apply_set(struct lks_kv_cursor *cursor);
void lks_kv_apply_setnx(struct lks_kv_cursor *cursor);
void lks_kv_apply_append(struct lks_kv_cursor *cursor);
void lks_kv_apply_setrange(struct lks_kv_cursor *cursor);
void lks_kv_apply_getrange(struct lks_kv_cursor *cursor);
void lks_kv_apply_incrby(struct lks_kv_cursor *cursor);
void lks_kv_apply_incrbyfloat(struct lks_kv_cursor *cursor);
void lks_kv_apply_getdel(struct lks_kv_cursor *cursor);

/* expiry.c: when keys expire. */
void lks_kv_apply_getex(struct lks_kv_cursor *cursor);
void lks_kv_apply_expire(struct lks_kv_cursor *cursor);
void lks_kv_apply_ttl(struct lks_kv_cursor *cursor);
void lks_kv_apply_persist(struct lks_kv_cursor *cursor);
/* A time that is positive, or relative to the command's; false: neither, or too far away. */
bool lks_kv_expiry_time(const struct lks_kv_cursor *cursor, bool relative, int64_t time_ms,
                        uint64_t *expires_ms);
bool lks_kv_tick(void *state, uint64_t time_ns);
uint64_t lks_kv_next_expiry_ns(void *state);

/* burn.c: work. */
void lks_kv_apply_burn(struct lks_kv_cursor *cursor);

/* several.c: several keys. */
/* Counts the keys that are left, each with a value if `values`; -1: bytes that make no sense, or
 * none. */
int64_t lks_kv_count_keys(struct lks_kv_cursor cursor, bool values);
void lks_kv_apply_del(struct lks_kv_cursor *cursor);
void lks_kv_apply_exists(struct lks_kv_cursor *cursor);
void lks_kv_apply_mget(struct lks_kv_cursor *cursor);
void lks_kv_apply_mset(struct lks_kv_cursor *cursor);
void lks_kv_apply_msetnx(struct lks_kv_cursor *cursor);

/* keyspace.c: which keys there are. */
void lks_kv_apply_type(struct lks_kv_cursor *cursor);
void lks_kv_apply_keys(struct lks_kv_cursor *cursor);
void lks_kv_apply_scan(struct lks_kv_cursor *cursor);
void lks_kv_apply_randomkey(struct lks_kv_cursor *cursor);
void lks_kv_apply_dbsize(struct lks_kv_cursor *cursor);
void lks_kv_apply_flushall(struct lks_kv_cursor *cursor);

#endif
