/*
 * When keys expire; see cursor.h. Whether a key has expired is a matter of its time and that of
 * the command alone, so all replicas agree; removing it is housekeeping, which nobody can see. It
 * has expired when the time is past, not yet when it has just come, as in Redis.
 */
#include "services/kv/cursor.h"

#include <string.h>

#define EXPIRE_PER_TICK 64u /* entries that one tick removes */

bool lks_kv_expiry_time(const struct lks_kv_cursor *cursor, bool relative, int64_t time_ms,
                        uint64_t *expires_ms)
{
    if (relative && __builtin_add_overflow(time_ms, (int64_t)lks_kv_now_ms(cursor), &time_ms)) {
        return false;
    }
    if (time_ms <= 0) {
        return false;
    }
    *expires_ms = (uint64_t)time_ms;
    return true;
}

/* What was wrong with the time that GETEX was given; false: nothing. */
static bool reply_bad_time(struct lks_kv_cursor *cursor, unsigned flags, bool bad)
{
    if ((flags & LKS_KV_GETEX_NOT_INTEGER) != 0) {
        lks_reply_error(cursor->reply, "ERR value is not an integer or out of range");
        return true;
    }
    if ((flags & LKS_KV_GETEX_BAD_TIME) != 0 || bad) {
        lks_reply_error(cursor->reply, "ERR invalid expire time in 'getex' command");
        return true;
    }
    return false;
}

void lks_kv_apply_getex(struct lks_kv_cursor *cursor)
{
    unsigned flags = 0;
    int64_t time_ms = 0;
    uint64_t expires_ms = 0;
    if (!lks_kv_take_flags(cursor, LKS_KV_GETEX_FLAGS, &flags) ||
        ((flags & LKS_KV_GETEX_EXPIRES) != 0 && !lks_kv_take_number(cursor, &time_ms))) {
        lks_kv_malformed(cursor);
        return;
    }
    const bool expires = (flags & LKS_KV_GETEX_EXPIRES) != 0;
    const bool relative = (flags & LKS_KV_GETEX_RELATIVE) != 0;
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    const bool bad = expires && !lks_kv_expiry_time(cursor, relative, time_ms, &expires_ms);
    if (entry == NULL) {
        lks_reply_null(cursor->reply);
        return;
    }
    if (reply_bad_time(cursor, flags, bad)) {
        return;
    }
    lks_kv_reply_value(cursor->reply, entry);
    if (expires && !relative && expires_ms <= lks_kv_now_ms(cursor)) {
        lks_kv_table_remove(key.table, entry);
    } else if (expires || (flags & LKS_KV_GETEX_PERSIST) != 0) {
        lks_kv_set_expiry(cursor, &key, entry, expires_ms);
    }
}

/* The conditions of EXPIRE; a key without a time expires later than any other. */
static bool expire_allowed(unsigned flags, uint64_t present_ms, int64_t wanted_ms)
{
    const bool later = present_ms != 0 && wanted_ms > (int64_t)present_ms;
    const bool earlier = present_ms == 0 || wanted_ms < (int64_t)present_ms;
    return ((flags & LKS_KV_EXPIRE_NX) == 0 || present_ms == 0) &&
           ((flags & LKS_KV_EXPIRE_XX) == 0 || present_ms != 0) &&
           ((flags & LKS_KV_EXPIRE_GT) == 0 || later) &&
           ((flags & LKS_KV_EXPIRE_LT) == 0 || earlier);
}

void lks_kv_apply_expire(struct lks_kv_cursor *cursor)
{
    static const char *const names[] = {"expire", "pexpire", "expireat", "pexpireat"};
    unsigned flags = 0;
    int64_t time_ms = 0;
    if (!lks_kv_take_flags(cursor, LKS_KV_EXPIRE_FLAGS, &flags) ||
        !lks_kv_take_number(cursor, &time_ms)) {
        lks_kv_malformed(cursor);
        return;
    }
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    const int64_t now_ms = (int64_t)lks_kv_now_ms(cursor);
    if ((flags & LKS_KV_EXPIRE_RELATIVE) != 0 &&
        __builtin_add_overflow(time_ms, now_ms, &time_ms)) {
        lks_reply_error(cursor->reply, "ERR invalid expire time in '%s' command",
                        names[flags >> LKS_KV_EXPIRE_NAME_SHIFT]);
        return;
    }
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    if (entry == NULL ||
        !expire_allowed(flags, lks_kv_table_expiry(key.table, entry), time_ms)) {
        lks_reply_integer(cursor->reply, 0);
        return;
    }
    if (time_ms <= now_ms) {
        lks_kv_table_remove(key.table, entry);
    } else {
        lks_kv_set_expiry(cursor, &key, entry, (uint64_t)time_ms);
    }
    lks_reply_integer(cursor->reply, 1);
}

void lks_kv_apply_ttl(struct lks_kv_cursor *cursor)
{
    unsigned flags = 0;
    if (!lks_kv_take_flags(cursor, LKS_KV_TTL_FLAGS, &flags)) {
        lks_kv_malformed(cursor);
        return;
    }
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    const struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    const uint64_t expires_ms = entry != NULL ? lks_kv_table_expiry(key.table, entry) : 0;
    if (expires_ms == 0) {
        lks_reply_integer(cursor->reply, entry != NULL ? -1 : -2);
        return;
    }
    const bool absolute = (flags & LKS_KV_TTL_ABSOLUTE) != 0;
    const uint64_t time_ms = absolute ? expires_ms : expires_ms - lks_kv_now_ms(cursor);
    const bool milliseconds = (flags & LKS_KV_TTL_MILLISECONDS) != 0;
    lks_reply_integer(cursor->reply, (int64_t)(milliseconds ? time_ms : (time_ms + 500) / 1000));
}

void lks_kv_apply_persist(struct lks_kv_cursor *cursor)
{
    const struct lks_kv_key key = lks_kv_take_key(cursor);
    struct lks_kv_entry *entry = lks_kv_find(cursor, &key);
    const bool expires = entry != NULL && entry->timer != 0;
    if (expires) {
        lks_kv_set_expiry(cursor, &key, entry, 0);
    }
    lks_reply_integer(cursor->reply, expires ? 1 : 0);
}

/* Removes some of what has expired, and finds out what expires next. */
static bool expire_some(struct lks_kv *kv)
{
    if (atomic_load_explicit(&kv->next_expiry_ms, memory_order_relaxed) >= kv->time_ms) {
        return false;
    }
    uint32_t left = EXPIRE_PER_TICK;
    uint64_t next_ms = UINT64_MAX;
    for (uint32_t i = 0; i < LKS_KV_PARTITIONS; i++) {
        struct lks_kv_table *table = &kv->partitions[i];
        left -= lks_kv_table_expire(table, kv->time_ms, left);
        const uint64_t first_ms = lks_kv_timers_first(&table->timers);
        next_ms = first_ms < next_ms ? first_ms : next_ms;
    }
    atomic_store_explicit(&kv->next_expiry_ms, next_ms, memory_order_relaxed);
    return next_ms < kv->time_ms;
}

/* Gives back memory of emptied tables, of one partition a call. */
static bool collect_some(struct lks_kv *kv)
{
    for (uint32_t i = 0; kv->litter && i < LKS_KV_PARTITIONS; i++) {
        if (lks_kv_table_collect(&kv->partitions[kv->litter_at])) {
            return true;
        }
        kv->litter_at = (kv->litter_at + 1) % LKS_KV_PARTITIONS;
    }
    kv->litter = false;
    return false;
}

bool lks_kv_tick(void *state, uint64_t time_ns)
{
    struct lks_kv *kv = state;
    kv->time_ms = time_ns / LKS_KV_NS_PER_MS;
    const bool expired = expire_some(kv);
    const bool litter = collect_some(kv);
    return expired || litter;
}

uint64_t lks_kv_next_expiry_ns(void *state)
{
    const struct lks_kv *kv = state;
    const uint64_t last_ms = UINT64_MAX / LKS_KV_NS_PER_MS;
    const uint64_t next_ms = atomic_load_explicit(&kv->next_expiry_ms, memory_order_relaxed);
    /* It has expired when the time is past. */
    return next_ms < last_ms ? (next_ms + 1) * LKS_KV_NS_PER_MS : UINT64_MAX;
}
