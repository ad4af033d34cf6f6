/* Commands on several keys; see cursor.h. That all keys are there is checked before the first of
 * them takes effect. */
#include "services/kv/cursor.h"

int64_t lks_kv_count_keys(struct lks_kv_cursor cursor, bool values)
{
    int64_t count = 0;
    while (cursor.in < cursor.end) {
        const char *data;
        size_t bytes;
        if (!lks_kv_take_prefixed(&cursor, &data, &bytes) ||
            (values && !lks_kv_take_prefixed(&cursor, &data, &bytes))) {
            return -1;
        }
        count++;
    }
    return count > 0 ? count : -1;
}

void lks_kv_apply_del(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    int64_t removed = 0;
    if (lks_kv_count_keys(*cursor, false) < 0) {
        lks_kv_malformed(cursor);
        return;
    }
    while (cursor->in < cursor->end && lks_kv_take_prefixed_key(cursor, &key)) {
        struct lks_kv_entry *entry = key.included ? lks_kv_find(cursor, &key) : NULL;
        if (entry != NULL) {
            lks_kv_table_remove(key.table, entry);
            removed++;
        }
    }
    lks_reply_integer(cursor->reply, removed);
}

void lks_kv_apply_exists(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    int64_t count = 0;
    if (lks_kv_count_keys(*cursor, false) < 0) {
        lks_kv_malformed(cursor);
        return;
    }
    while (cursor->in < cursor->end && lks_kv_take_prefixed_key(cursor, &key)) {
        count += lks_kv_find(cursor, &key) != NULL ? 1 : 0;
    }
    lks_reply_integer(cursor->reply, count);
}

void lks_kv_apply_mget(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    const int64_t count = lks_kv_count_keys(*cursor, false);
    if (count < 0) {
        lks_kv_malformed(cursor);
        return;
    }
    lks_reply_array(cursor->reply, (size_t)count);
    while (cursor->in < cursor->end && lks_kv_take_prefixed_key(cursor, &key)) {
        lks_kv_reply_value(cursor->reply, lks_kv_find(cursor, &key));
    }
}

static void set_all(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    const char *value = NULL;
    size_t bytes = 0;
    while (cursor->in < cursor->end && lks_kv_take_prefixed_key(cursor, &key) &&
           lks_kv_take_prefixed(cursor, &value, &bytes)) {
        if (!key.included) {
            continue;
        }
        struct lks_kv_entry *entry =
            lks_kv_set(&key, lks_kv_find(cursor, &key), value, bytes);
        if (entry->timer != 0) {
            lks_kv_set_expiry(cursor, &key, entry, 0);
        }
    }
}

void lks_kv_apply_mset(struct lks_kv_cursor *cursor)
{
    if (lks_kv_count_keys(*cursor, true) < 0) {
        lks_kv_malformed(cursor);
        return;
    }
    set_all(cursor);
    lks_reply_status(cursor->reply, "OK");
}

static bool any_exists(struct lks_kv_cursor cursor)
{
    struct lks_kv_key key;
    const char *value;
    size_t bytes;
    while (cursor.in < cursor.end && lks_kv_take_prefixed_key(&cursor, &key) &&
           lks_kv_take_prefixed(&cursor, &value, &bytes)) {
        if (lks_kv_find(&cursor, &key) != NULL) {
            return true;
        }
    }
    return false;
}

void lks_kv_apply_msetnx(struct lks_kv_cursor *cursor)
{
    if (lks_kv_count_keys(*cursor, true) < 0) {
        lks_kv_malformed(cursor);
        return;
    }
    const bool free_to_set = !any_exists(*cursor);
    if (free_to_set) {
        set_all(cursor);
    }
    lks_reply_integer(cursor->reply, free_to_set ? 1 : 0);
}
