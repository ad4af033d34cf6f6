/* Commands on the value of one key; see cursor.h. Everything that must be refused is refused before
 * anything is changed. */
#include "services/kv/cursor.h"

#include <math.h>
#include <string.h>

void lks_kv_apply_get(struct lks_kv_cursor *cursor)
{
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    lks_kv_reply_value(cursor->reply, lks_kv_find(cursor, &key));
}

void lks_kv_apply_strlen(struct lks_kv_cursor *cursor)
{
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    const struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    lks_reply_integer(cursor->reply, entry != NULL ? (int64_t)entry->value_bytes : 0);
}

/* What SET answers when its condition does not hold, or does. */
static void reply_set(struct lks_kv_cursor *cursor, unsigned flags, bool done)
{
    if ((flags & LKS_KV_SET_GET) != 0) {
        return; /* the old value, already */
    }
    if (done) {
        lks_reply_status(cursor->reply, "OK");
    } else {
        lks_reply_null(cursor->reply);
    }
}

void lks_kv_apply_set(struct lks_kv_cursor *cursor)
{
    static const char *const names[LKS_KV_SET_NAMES] = {"set", "setex", "psetex"};
    struct lks_kv_key key;
    unsigned flags = 0;
    int64_t time_ms = 0;
    uint64_t expires_ms = 0;
    if (!lks_kv_take_flags(cursor, 0xffu, &flags) ||
        flags >> LKS_KV_SET_NAME_SHIFT >= LKS_KV_SET_NAMES ||
        ((flags & LKS_KV_SET_EXPIRES) != 0 && !lks_kv_take_number(cursor, &time_ms)) ||
        !lks_kv_take_prefixed_key(cursor, &key)) {
        lks_kv_malformed(cursor);
        return;
    }
    if ((flags & LKS_KV_SET_EXPIRES) != 0 &&
        !lks_kv_expiry_time(cursor, (flags & LKS_KV_SET_RELATIVE) != 0, time_ms, &expires_ms)) {
        lks_reply_error(cursor->reply, "ERR invalid expire time in '%s' command",
                        names[flags >> LKS_KV_SET_NAME_SHIFT]);
        return;
    }
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    if ((flags & LKS_KV_SET_GET) != 0) {
        lks_kv_reply_value(cursor->reply, entry);
    }
    const unsigned against = entry != NULL ? LKS_KV_SET_NX : LKS_KV_SET_XX;
    const bool done = (flags & against) == 0;
    if (done) {
        entry = lks_kv_set(&key, entry, cursor->in, lks_kv_rest(cursor));
        if ((flags & LKS_KV_SET_KEEPTTL) == 0 && (entry->timer != 0 || expires_ms != 0)) {
            lks_kv_set_expiry(cursor, &key, entry, expires_ms);
        }
    }
    reply_set(cursor, flags, done);
}

void lks_kv_apply_setnx(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    if (!lks_kv_take_prefixed_key(cursor, &key)) {
        lks_kv_malformed(cursor);
        return;
    }
    const bool absent = lks_kv_find(cursor, &key) == NULL;
    if (absent) {
        (void)lks_kv_set(&key, NULL, cursor->in, lks_kv_rest(cursor));
    }
    lks_reply_integer(cursor->reply, absent ? 1 : 0);
}

/* Takes the greatest length that the value may grow to. */
static bool take_limit(struct lks_kv_cursor *cursor, uint64_t *limit)
{
    const uint8_t *in = lks_kv_length_read(cursor->in, cursor->end, limit);
    if (in == NULL || *limit > LKS_KV_VALUE_BYTES_MAX) {
        return false;
    }
    cursor->in = in;
    return true;
}

static void reply_too_long(struct lks_kv_cursor *cursor)
{
    lks_reply_error(cursor->reply, "ERR string exceeds maximum allowed size (entry_max)");
}

void lks_kv_apply_append(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    uint64_t limit = 0;
    if (!take_limit(cursor, &limit) || !lks_kv_take_prefixed_key(cursor, &key)) {
        lks_kv_malformed(cursor);
        return;
    }
    const size_t bytes = lks_kv_rest(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    const size_t total = (entry != NULL ? entry->value_bytes : 0) + bytes;
    if (total > limit) {
        reply_too_long(cursor);
        return;
    }
    if (entry == NULL) {
        (void)lks_kv_set(&key, NULL, cursor->in, bytes);
    } else {
        (void)lks_kv_table_append(key.table, entry, cursor->in, bytes);
    }
    lks_reply_integer(cursor->reply, (int64_t)total);
}

void lks_kv_apply_setrange(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    uint64_t limit = 0;
    int64_t offset = 0;
    if (!take_limit(cursor, &limit) || !lks_kv_take_number(cursor, &offset) || offset < 0 ||
        !lks_kv_take_prefixed_key(cursor, &key)) {
        lks_kv_malformed(cursor);
        return;
    }
    const size_t bytes = lks_kv_rest(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    if (bytes == 0) {
        lks_reply_integer(cursor->reply, entry != NULL ? (int64_t)entry->value_bytes : 0);
        return;
    }
    if (bytes > limit || (uint64_t)offset > limit - bytes) {
        reply_too_long(cursor);
        return;
    }
    if (entry == NULL) {
        entry = lks_kv_set(&key, NULL, "", 0);
    }
    entry = lks_kv_table_write(key.table, entry, (size_t)offset, cursor->in, bytes);
    lks_reply_integer(cursor->reply, (int64_t)entry->value_bytes);
}

void lks_kv_apply_getrange(struct lks_kv_cursor *cursor)
{
    int64_t first = 0;
    int64_t last = 0;
    if (!lks_kv_take_number(cursor, &first) || !lks_kv_take_number(cursor, &last)) {
        lks_kv_malformed(cursor);
        return;
    }
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    const int64_t length = entry != NULL ? (int64_t)entry->value_bytes : 0;
    if (first < 0 && last < 0 && first > last) {
        lks_reply_bulk(cursor->reply, "", 0);
        return;
    }
    first = first < 0 ? first + length : first;
    last = last < 0 ? last + length : last;
    first = first < 0 ? 0 : first;
    last = last < 0 ? 0 : last;
    last = last >= length ? length - 1 : last;
    if (first > last || length == 0) {
        lks_reply_bulk(cursor->reply, "", 0);
    } else {
        lks_reply_bulk(cursor->reply, lks_kv_entry_value(entry) + first,
                       (size_t)(last - first + 1));
    }
}

void lks_kv_apply_incrby(struct lks_kv_cursor *cursor)
{
    int64_t delta = 0;
    if (!lks_kv_take_number(cursor, &delta)) {
        lks_kv_malformed(cursor);
        return;
    }
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
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
    (void)lks_kv_set(&key, entry, text, bytes);
    lks_reply_integer(cursor->reply, value);
}

void lks_kv_apply_incrbyfloat(struct lks_kv_cursor *cursor)
{
    const char *text = NULL;
    size_t bytes = 0;
    long double delta = 0;
    if (!lks_kv_take_prefixed(cursor, &text, &bytes) ||
        !lks_kv_float_parse(text, bytes, &delta)) {
        lks_kv_malformed(cursor);
        return;
    }
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    long double value = 0;
    if (entry != NULL &&
        !lks_kv_float_parse(lks_kv_entry_value(entry), entry->value_bytes, &value)) {
        lks_reply_error(cursor->reply, "ERR value is not a valid float");
        return;
    }
    value += delta;
    if (isnan(value) || isinf(value)) {
        lks_reply_error(cursor->reply, "ERR increment would produce NaN or Infinity");
        return;
    }
    char printed[LKS_KV_FLOAT_BYTES_MAX];
    bytes = lks_kv_float_print(printed, value);
    (void)lks_kv_set(&key, entry, printed, bytes);
    lks_reply_bulk(cursor->reply, printed, bytes);
}

void lks_kv_apply_getdel(struct lks_kv_cursor *cursor)
{
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    lks_kv_reply_value(cursor->reply, entry);
    if (entry != NULL) {
        lks_kv_table_remove(key.table, entry);
    }
}
