/*
 * Executes commands of the key-value service; see state.h. Replies and error texts are those of
 * Redis 7. Bytes that encode.c cannot have made get an error, the same on every replica.
 */
#include "services/kv/format.h"
#include "services/kv/state.h"

#include <endian.h>
#include <string.h>

#define NS_PER_US UINT64_C(1000)
#define US_PER_S UINT64_C(1000000)
#define FLUSH_COLLECTS 9 /* enough for a table of the least size */

/* What is left of a command, and where it runs. */
struct cursor {
    struct lks_kv *kv;
    const struct lks_command *command;
    const uint8_t *in;
    const uint8_t *end;
    struct lks_reply *reply;
    bool collect; /* give back memory of emptied tables on the way */
};

struct key {
    const char *data;
    size_t bytes;
    uint64_t hash;
    struct lks_kv_table *table;
    bool included; /* false: the command must leave it alone */
};

static void malformed(const struct cursor *cursor)
{
    lks_reply_error(cursor->reply, "ERR malformed command");
}

static size_t rest_bytes(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->in);
}

/* Takes the next `bytes` bytes as a key. */
static struct key take_key(struct cursor *cursor, size_t bytes)
{
    struct key key = {.data = (const char *)cursor->in, .bytes = bytes};
    key.hash = lks_kv_hash(key.data, key.bytes);
    key.table = &cursor->kv->partitions[lks_kv_partition(key.hash)];
    key.included = lks_command_includes(cursor->command, lks_kv_partition(key.hash));
    if (cursor->collect) {
        (void)lks_kv_table_collect(key.table);
    }
    cursor->in += bytes;
    return key;
}

/* Takes a length and a key of that length; false: there is none. */
static bool take_prefixed_key(struct cursor *cursor, struct key *key)
{
    uint64_t bytes;
    const uint8_t *in = lks_kv_length_read(cursor->in, cursor->end, &bytes);
    if (in == NULL || bytes > (size_t)(cursor->end - in)) {
        return false;
    }
    cursor->in = in;
    *key = take_key(cursor, (size_t)bytes);
    return true;
}

static struct lks_kv_entry *find(const struct key *key)
{
    return lks_kv_table_find(key->table, key->hash, key->data, key->bytes);
}

static void reply_value(struct lks_reply *reply, struct lks_kv_entry *entry)
{
    if (entry == NULL) {
        lks_reply_null(reply);
    } else {
        lks_reply_bulk(reply, lks_kv_entry_value(entry), entry->value_bytes);
    }
}

static void apply_get(struct cursor *cursor)
{
    const struct key key = take_key(cursor, rest_bytes(cursor));
    reply_value(cursor->reply, find(&key));
}

static void apply_strlen(struct cursor *cursor)
{
    const struct key key = take_key(cursor, rest_bytes(cursor));
    const struct lks_kv_entry *entry = find(&key);
    lks_reply_integer(cursor->reply, entry != NULL ? (int64_t)entry->value_bytes : 0);
}

static void apply_set(struct cursor *cursor)
{
    struct key key;
    const unsigned flags = cursor->in < cursor->end ? *cursor->in++ : ~0u;
    if (flags > LKS_KV_SET_FLAGS || !take_prefixed_key(cursor, &key)) {
        malformed(cursor);
        return;
    }
    struct lks_kv_entry *entry = find(&key);
    if ((flags & LKS_KV_SET_GET) != 0) {
        reply_value(cursor->reply, entry);
    }
    if (((flags & LKS_KV_SET_NX) != 0 && entry != NULL) ||
        ((flags & LKS_KV_SET_XX) != 0 && entry == NULL)) {
        if ((flags & LKS_KV_SET_GET) == 0) {
            lks_reply_null(cursor->reply);
        }
        return;
    }
    lks_kv_table_set(key.table, entry, key.hash, key.data, key.bytes, cursor->in,
                     rest_bytes(cursor));
    if ((flags & LKS_KV_SET_GET) == 0) {
        lks_reply_status(cursor->reply, "OK");
    }
}

static void apply_append(struct cursor *cursor)
{
    struct key key;
    uint64_t limit = 0;
    cursor->in = lks_kv_length_read(cursor->in, cursor->end, &limit);
    if (cursor->in == NULL || limit > UINT32_MAX || !take_prefixed_key(cursor, &key)) {
        malformed(cursor);
        return;
    }
    const size_t bytes = rest_bytes(cursor);
    struct lks_kv_entry *entry = find(&key);
    const size_t total = (entry != NULL ? entry->value_bytes : 0) + bytes;
    if (total > limit) {
        lks_reply_error(cursor->reply, "ERR string exceeds maximum allowed size (entry_max)");
        return;
    }
    if (entry == NULL) {
        lks_kv_table_set(key.table, NULL, key.hash, key.data, key.bytes, cursor->in, bytes);
    } else {
        (void)lks_kv_table_append(key.table, entry, cursor->in, bytes);
    }
    lks_reply_integer(cursor->reply, (int64_t)total);
}

static void apply_incrby(struct cursor *cursor)
{
    int64_t delta;
    if (rest_bytes(cursor) < sizeof delta) {
        malformed(cursor);
        return;
    }
    memcpy(&delta, cursor->in, sizeof delta);
    delta = (int64_t)le64toh((uint64_t)delta);
    cursor->in += sizeof delta;
    const struct key key = take_key(cursor, rest_bytes(cursor));
    struct lks_kv_entry *entry = find(&key);
    int64_t value = 0;
    if (entry != NULL &&
        !lks_kv_integer_parse(lks_kv_entry_value(entry), entry->value_bytes, &value)) {
        lks_reply_error(cursor->reply, "ERR value is not an integer or out of range");
        return;
    }
    if (__builtin_add_overflow(value, delta, &value)) {
        lks_reply_error(cursor->reply, "ERR increment or decrement would overflow");
        return;
    }
    char text[LKS_KV_INTEGER_BYTES_MAX];
    const size_t bytes = lks_kv_integer_print(text, value);
    lks_kv_table_set(key.table, entry, key.hash, key.data, key.bytes, text, bytes);
    lks_reply_integer(cursor->reply, value);
}

/* All keys of DEL and EXISTS are there: checked before the first of them takes effect. */
static bool keys_complete(struct cursor cursor)
{
    struct key key;
    bool complete = cursor.in < cursor.end;
    cursor.collect = false;
    while (complete && cursor.in < cursor.end) {
        complete = take_prefixed_key(&cursor, &key);
    }
    return complete;
}

static void apply_keys(struct cursor *cursor, bool remove)
{
    if (!keys_complete(*cursor)) {
        malformed(cursor);
        return;
    }
    int64_t count = 0;
    struct key key;
    while (cursor->in < cursor->end && take_prefixed_key(cursor, &key)) {
        if (!key.included) {
            continue;
        }
        const bool present = remove ? lks_kv_table_remove(key.table, key.hash, key.data, key.bytes)
                                    : find(&key) != NULL;
        count += present ? 1 : 0;
    }
    lks_reply_integer(cursor->reply, count);
}

static void apply_dbsize(struct cursor *cursor)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        count += cursor->kv->partitions[i].count;
    }
    lks_reply_integer(cursor->reply, (int64_t)count);
}

/* The rest of the memory is given back by later commands and ticks. */
static void apply_flushall(struct cursor *cursor)
{
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        struct lks_kv_table *table = &cursor->kv->partitions[i];
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

static void apply_time(struct cursor *cursor, uint64_t time_ns)
{
    char text[LKS_KV_INTEGER_BYTES_MAX];
    const uint64_t time_us = time_ns / NS_PER_US;
    lks_reply_array(cursor->reply, 2);
    size_t bytes = lks_kv_integer_print(text, (int64_t)(time_us / US_PER_S));
    lks_reply_bulk(cursor->reply, text, bytes);
    bytes = lks_kv_integer_print(text, (int64_t)(time_us % US_PER_S));
    lks_reply_bulk(cursor->reply, text, bytes);
}

static void execute(struct lks_kv *kv, const struct lks_command *command, bool collect,
                    struct lks_reply *reply)
{
    const uint8_t *data = command->data;
    if (command->bytes == 0) {
        lks_reply_error(reply, "ERR malformed command");
        return;
    }
    struct cursor cursor = {kv, command, data + 1, data + command->bytes, reply, collect};
    switch (data[0]) {
    case LKS_KV_GET:
        apply_get(&cursor);
        break;
    case LKS_KV_SET:
        apply_set(&cursor);
        break;
    case LKS_KV_DEL:
        apply_keys(&cursor, true);
        break;
    case LKS_KV_EXISTS:
        apply_keys(&cursor, false);
        break;
    case LKS_KV_INCRBY:
        apply_incrby(&cursor);
        break;
    case LKS_KV_STRLEN:
        apply_strlen(&cursor);
        break;
    case LKS_KV_APPEND:
        apply_append(&cursor);
        break;
    case LKS_KV_DBSIZE:
        apply_dbsize(&cursor);
        break;
    case LKS_KV_FLUSHALL:
        apply_flushall(&cursor);
        break;
    case LKS_KV_TIME:
        apply_time(&cursor, command->time_ns);
        break;
    default:
        malformed(&cursor);
    }
}

/* The command finds a partition that it touches as it should be; otherwise it must not run. */
static bool touches_included(const struct lks_command *command)
{
    struct lks_footprint footprint;
    lks_kv_footprint(command->data, command->bytes, &footprint);
    bool included = footprint.count == 0 || footprint.count == LKS_FOOTPRINT_ALL;
    for (uint32_t i = 0; !included && i < footprint.count; i++) {
        included = lks_command_includes(command, footprint.partitions[i]);
    }
    return included;
}

void lks_kv_apply(void *state, const struct lks_command *command, struct lks_reply *reply)
{
    if (command->only != NULL && !touches_included(command)) {
        lks_reply_null(reply);
        return;
    }
    execute(state, command, true, reply);
}

void lks_kv_read(void *state, const struct lks_command *command, struct lks_reply *reply)
{
    execute(state, command, false, reply);
}

bool lks_kv_is_read(const void *data, size_t bytes)
{
    if (bytes == 0) {
        return false;
    }
    switch (*(const uint8_t *)data) {
    case LKS_KV_GET:
    case LKS_KV_STRLEN:
    case LKS_KV_EXISTS:
    case LKS_KV_DBSIZE:
        return true;
    default:
        return false;
    }
}
