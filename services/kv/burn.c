/* DEBUG BURN; see burn.h and cursor.h. The log says how many rounds, so no replica looks at a
 * clock. */
#include "services/kv/burn.h"

#include "services/kv/cursor.h"

#define RESULT_DIGITS 16u

uint64_t lks_kv_burn(uint64_t seed, uint64_t rounds)
{
    uint64_t value = seed;
    for (uint64_t i = 0; i < rounds; i++) {
        value = (value ^ value >> 29) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    }
    return value;
}

static void print_result(uint64_t result, char text[RESULT_DIGITS])
{
    for (uint32_t i = 0; i < RESULT_DIGITS; i++) {
        text[i] = "0123456789abcdef"[result >> (60 - 4 * i) & 15];
    }
}

/* Each key's value becomes what its old one and the rounds give: whoever executes two of them in
 * another order, or one twice, ends with another value. */
static void stamp(const struct lks_kv_cursor *cursor, const struct lks_kv_key *key, uint64_t burnt)
{
    char text[RESULT_DIGITS];
    struct lks_kv_entry *found = lks_kv_find(cursor, key);
    const uint64_t old =
        found != NULL ? lks_kv_hash(lks_kv_entry_value(found), found->value_bytes) : 0;
    print_result(lks_kv_burn(burnt ^ old, 1), text);
    (void)lks_kv_set(key, found, text, sizeof text);
}

void lks_kv_apply_burn(struct lks_kv_cursor *cursor)
{
    struct lks_kv_key key;
    int64_t rounds = 0;
    if (!lks_kv_take_number(cursor, &rounds) || rounds < 0 ||
        (uint64_t)rounds > LKS_KV_BURN_ROUNDS_MAX || lks_kv_count_keys(*cursor, false) < 0) {
        lks_kv_malformed(cursor);
        return;
    }
    const uint64_t burnt = lks_kv_burn((uint64_t)rounds, (uint64_t)rounds);
    while (cursor->in < cursor->end && lks_kv_take_prefixed_key(cursor, &key)) {
        if (key.included) {
            stamp(cursor, &key, burnt);
        }
    }
    lks_reply_status(cursor->reply, "OK");
}
