/*
 * Executes commands of the key-value service; see state.h and cursor.h. Replies and error texts
 * are those of Redis 7. Bytes that encode.c cannot have made get an error, the same on every
 * replica.
 */
#include "services/kv/cursor.h"
#include "services/kv/kv.h"

#include <endian.h>
#include <string.h>

#define NS_PER_US UINT64_C(1000)
#define US_PER_S UINT64_C(1000000)

void lks_kv_malformed(const struct lks_kv_cursor *cursor)
{
    lks_reply_error(cursor->reply, "ERR malformed command");
}

bool lks_kv_take_flags(struct lks_kv_cursor *cursor, unsigned allowed, unsigned *flags)
{
    if (cursor->in == cursor->end || (*cursor->in & ~allowed) != 0) {
        return false;
    }
    *flags = *cursor->in++;
    return true;
}

bool lks_kv_take_number(struct lks_kv_cursor *cursor, int64_t *number)
{
    uint64_t bits;
    if (lks_kv_rest(cursor) < sizeof bits) {
        return false;
    }
    memcpy(&bits, cursor->in, sizeof bits);
    *number = (int64_t)le64toh(bits);
    cursor->in += sizeof bits;
    return true;
}

bool lks_kv_take_prefixed(struct lks_kv_cursor *cursor, const char **data, size_t *bytes)
{
    uint64_t length;
    const uint8_t *in = lks_kv_length_read(cursor->in, cursor->end, &length);
    if (in == NULL || length > (size_t)(cursor->end - in)) {
        return false;
    }
    *data = (const char *)in;
    *bytes = (size_t)length;
    cursor->in = in + length;
    return true;
}

bool lks_kv_take_prefixed_key(struct lks_kv_cursor *cursor, struct lks_kv_key *key)
{
    const char *data;
    size_t bytes;
    if (!lks_kv_take_prefixed(cursor, &data, &bytes)) {
        return false;
    }
    *key = lks_kv_key_of(cursor, data, bytes);
    return true;
}

struct lks_kv_entry *lks_kv_find_aging(const struct lks_kv_cursor *cursor,
                                       const struct lks_kv_key *key, struct lks_kv_entry *entry)
{
    if (!lks_kv_expired(cursor, key->table, entry)) {
        return entry;
    }
    if (cursor->changes && key->included) {
        lks_kv_table_remove(key->table, entry);
    }
    return NULL;
}

struct lks_kv_entry *lks_kv_set(const struct lks_kv_key *key, struct lks_kv_entry *found,
                                const void *value, size_t bytes)
{
    return lks_kv_table_set(key->table, found, key->hash, key->data, key->bytes, value, bytes);
}

void lks_kv_set_expiry(struct lks_kv_cursor *cursor, const struct lks_kv_key *key,
                       struct lks_kv_entry *entry, uint64_t expires_ms)
{
    (void)lks_kv_table_set_expiry(key->table, entry, expires_ms);
    if (expires_ms != 0) {
        lks_kv_note_expiry(cursor->kv, expires_ms);
    }
}

void lks_kv_reply_value(struct lks_reply *reply, struct lks_kv_entry *entry)
{
    if (entry == NULL) {
        lks_reply_null(reply);
    } else {
        lks_reply_bulk(reply, lks_kv_entry_value(entry), entry->value_bytes);
    }
}

static void apply_time(struct lks_kv_cursor *cursor)
{
    char text[LKS_KV_INTEGER_BYTES_MAX];
    const uint64_t time_us = cursor->command->time_ns / NS_PER_US;
    lks_reply_array(cursor->reply, 2);
    size_t bytes = lks_kv_integer_print(text, (int64_t)(time_us / US_PER_S));
    lks_reply_bulk(cursor->reply, text, bytes);
    bytes = lks_kv_integer_print(text, (int64_t)(time_us % US_PER_S));
    lks_reply_bulk(cursor->reply, text, bytes);
}

struct operation {
    void (*apply)(struct lks_kv_cursor *cursor); /* NULL: there is no such operation */
    bool reads; /* changes nothing, and may be answered without being logged */
    bool changes;
};

/* TIME is no read: as a logged command it can never be seen to go back. RANDOMKEY is none either:
 * its place in the log is what it draws from. */
static const struct operation g_operations[] = {
    [LKS_KV_GET] = {lks_kv_apply_get, true, false},
    [LKS_KV_SET] = {lks_kv_apply_set, false, true},
    [LKS_KV_DEL] = {lks_kv_apply_del, false, true},
    [LKS_KV_EXISTS] = {lks_kv_apply_exists, true, false},
    [LKS_KV_INCRBY] = {lks_kv_apply_incrby, false, true},
    [LKS_KV_STRLEN] = {lks_kv_apply_strlen, true, false},
    [LKS_KV_APPEND] = {lks_kv_apply_append, false, true},
    [LKS_KV_DBSIZE] = {lks_kv_apply_dbsize, true, false},
    [LKS_KV_FLUSHALL] = {lks_kv_apply_flushall, false, true},
    [LKS_KV_TIME] = {apply_time, false, false},
    [LKS_KV_SETNX] = {lks_kv_apply_setnx, false, true},
    [LKS_KV_GETDEL] = {lks_kv_apply_getdel, false, true},
    [LKS_KV_GETEX] = {lks_kv_apply_getex, false, true},
    [LKS_KV_GETRANGE] = {lks_kv_apply_getrange, true, false},
    [LKS_KV_SETRANGE] = {lks_kv_apply_setrange, false, true},
    [LKS_KV_INCRBYFLOAT] = {lks_kv_apply_incrbyfloat, false, true},
    [LKS_KV_MGET] = {lks_kv_apply_mget, true, false},
    [LKS_KV_MSET] = {lks_kv_apply_mset, false, true},
    [LKS_KV_MSETNX] = {lks_kv_apply_msetnx, false, true},
    [LKS_KV_EXPIRE] = {lks_kv_apply_expire, false, true},
    [LKS_KV_TTL] = {lks_kv_apply_ttl, true, false},
    [LKS_KV_PERSIST] = {lks_kv_apply_persist, false, true},
    [LKS_KV_TYPE] = {lks_kv_apply_type, true, false},
    [LKS_KV_KEYS] = {lks_kv_apply_keys, true, false},
    [LKS_KV_SCAN] = {lks_kv_apply_scan, true, false},
    [LKS_KV_RANDOMKEY] = {lks_kv_apply_randomkey, false, false},
    [LKS_KV_BURN] = {lks_kv_apply_burn, false, true},
};

static const struct operation *operation_of(const uint8_t *data, size_t bytes)
{
    const size_t count = sizeof g_operations / sizeof g_operations[0];
    if (bytes == 0 || data[0] >= count || g_operations[data[0]].apply == NULL) {
        return NULL;
    }
    return &g_operations[data[0]];
}

static void execute(struct lks_kv *kv, const struct lks_command *command, bool read,
                    struct lks_reply *reply)
{
    const uint8_t *data = command->data;
    const struct operation *operation = operation_of(data, command->bytes);
    if (operation == NULL) {
        lks_reply_error(reply, "ERR malformed command");
        return;
    }
    struct lks_kv_cursor cursor = {
        kv, command, data + 1, data + command->bytes, reply, operation->changes && !read};
    operation->apply(&cursor);
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
    execute(state, command, false, reply);
}

void lks_kv_read(void *state, const struct lks_command *command, struct lks_reply *reply)
{
    execute(state, command, true, reply);
}

bool lks_kv_is_debug(const void *data, size_t bytes)
{
    return bytes > 0 && *(const uint8_t *)data == LKS_KV_BURN;
}

bool lks_kv_is_read(const void *data, size_t bytes)
{
    const struct operation *operation = operation_of(data, bytes);
    return operation != NULL && operation->reads;
}
