/*
 * The table of one partition against a plain array: random sets, appends and removals, growing
 * to many segments and shrinking again; and that no single step does unbounded work.
 */
#include "services/kv/hash.h"
#include "services/kv/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 6000
#define STEPS 200000
#define VALUE_BYTES_MAX 600

struct model {
    char *value; /* NULL: not there */
    size_t bytes;
};

static struct model g_model[KEYS];

static size_t make_key(char *key, int number)
{
    return (size_t)sprintf(key, "key:%d", number);
}

static void check_key(struct lks_kv_table *table, int number)
{
    char key[32];
    const size_t bytes = make_key(key, number);
    struct lks_kv_entry *entry =
        lks_kv_table_find(table, lks_kv_hash(key, bytes), key, bytes);
    if (g_model[number].value == NULL) {
        assert_null(entry);
        return;
    }
    assert_non_null(entry);
    assert_int_equal(entry->key_bytes, bytes);
    assert_memory_equal(lks_kv_entry_key(entry), key, bytes);
    assert_int_equal(entry->value_bytes, g_model[number].bytes);
    assert_memory_equal(lks_kv_entry_value(entry), g_model[number].value, g_model[number].bytes);
}

static void model_set(int number, const char *value, size_t bytes, size_t keep)
{
    struct model *model = &g_model[number];
    model->value = realloc(model->value, keep + bytes + 1);
    assert_non_null(model->value);
    memcpy(model->value + keep, value, bytes);
    model->bytes = keep + bytes;
}

static void set_key(struct lks_kv_table *table, int number, unsigned *seed)
{
    char key[32];
    char value[VALUE_BYTES_MAX];
    const size_t key_bytes = make_key(key, number);
    const size_t bytes = (size_t)rand_r(seed) % (rand_r(seed) % 4 == 0 ? VALUE_BYTES_MAX : 40);
    memset(value, rand_r(seed), sizeof value);
    const uint64_t hash = lks_kv_hash(key, key_bytes);
    struct lks_kv_entry *found = lks_kv_table_find(table, hash, key, key_bytes);
    if (found != NULL && rand_r(seed) % 3 == 0 && g_model[number].bytes < VALUE_BYTES_MAX) {
        found = lks_kv_table_append(table, found, value, bytes);
        model_set(number, value, bytes, g_model[number].bytes);
        assert_int_equal(found->value_bytes, g_model[number].bytes);
    } else {
        lks_kv_table_set(table, found, hash, key, key_bytes, value, bytes);
        model_set(number, value, bytes, 0);
    }
}

static void remove_key(struct lks_kv_table *table, int number)
{
    char key[32];
    const size_t bytes = make_key(key, number);
    struct lks_kv_entry *found =
        lks_kv_table_find(table, lks_kv_hash(key, bytes), key, bytes);
    assert_int_equal(found != NULL, g_model[number].value != NULL);
    if (found != NULL) {
        lks_kv_table_remove(table, found);
    }
    free(g_model[number].value);
    g_model[number].value = NULL;
}

static int count_entry(void *ctx, struct lks_kv_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return 0;
}

static void check_all(struct lks_kv_table *table)
{
    uint64_t there = 0;
    for (int i = 0; i < KEYS; i++) {
        check_key(table, i);
        there += g_model[i].value != NULL ? 1 : 0;
    }
    assert_int_equal(table->count, there);
    uint64_t visited = 0;
    assert_int_equal(lks_kv_table_each(table, count_entry, &visited), 0);
    assert_int_equal(visited, there);
    assert_true(table->index.buckets - 1 <= table->index.mask);
    assert_true(table->index.buckets == 0 || table->index.buckets - 1 > table->index.mask >> 1);
}

static void random_steps__as_a_plain_array(void **state)
{
    (void)state;
    struct lks_kv_table table = {0};
    unsigned seed = 42;
    for (int step = 0; step < STEPS; step++) {
        const int number = rand_r(&seed) % KEYS;
        /* Waves: mostly filling, then mostly emptying. */
        const bool filling = step / (STEPS / 6) % 2 == 0;
        if (rand_r(&seed) % 10 < (filling ? 8 : 2)) {
            set_key(&table, number, &seed);
        } else {
            remove_key(&table, number);
        }
        check_key(&table, number);
        if (step % 20000 == 0) {
            check_all(&table);
        }
    }
    check_all(&table);
    for (int i = 0; i < KEYS; i++) {
        remove_key(&table, i);
    }
    assert_int_equal(table.count, 0);
    lks_kv_table_fini(&table);
    assert_null(table.index.segments);
}

/* Buckets and segments follow the number of entries up and down, one at a time. */
static void size__follows_entries(void **state)
{
    (void)state;
    struct lks_kv_table table = {0};
    const int keys = 50000;
    char key[32];
    for (int i = 0; i < keys; i++) {
        const size_t bytes = make_key(key, i);
        const uint32_t before = table.index.buckets;
        lks_kv_table_set(&table, NULL, lks_kv_hash(key, bytes), key, bytes, "v", 1);
        assert_true(table.index.buckets <= before + 1 || before == 0);
    }
    assert_true(table.index.buckets + 1 >= (uint32_t)keys);
    for (int i = 0; i < keys; i++) {
        const size_t bytes = make_key(key, i);
        const uint32_t before = table.index.buckets;
        struct lks_kv_entry *found =
            lks_kv_table_find(&table, lks_kv_hash(key, bytes), key, bytes);
        assert_non_null(found);
        lks_kv_table_remove(&table, found);
        assert_true(before - table.index.buckets <= 4);
    }
    assert_true(table.index.buckets < 600);
    lks_kv_table_fini(&table);
}

static void empty__memory_given_back_in_steps(void **state)
{
    (void)state;
    struct lks_kv_table table = {0};
    char key[32];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++) {
            const size_t bytes = make_key(key, i);
            lks_kv_table_set(&table, NULL, lks_kv_hash(key, bytes), key, bytes, "v", 1);
        }
        lks_kv_table_empty(&table);
        assert_int_equal(table.count, 0);
        const size_t bytes = make_key(key, 17);
        assert_null(lks_kv_table_find(&table, lks_kv_hash(key, bytes), key, bytes));
    }
    int steps = 0;
    while (lks_kv_table_collect(&table)) {
        steps++;
    }
    assert_true(steps >= 3 * 5000 / 64);
    assert_null(table.garbage);
    lks_kv_table_fini(&table);
}

static void value__shorter__memory_given_back(void **state)
{
    (void)state;
    struct lks_kv_table table = {0};
    static char large[100000];
    const uint64_t hash = lks_kv_hash("k", 1);
    lks_kv_table_set(&table, NULL, hash, "k", 1, large, sizeof large);
    struct lks_kv_entry *entry = lks_kv_table_find(&table, hash, "k", 1);
    lks_kv_table_set(&table, entry, hash, "k", 1, "short", 5);
    entry = lks_kv_table_find(&table, hash, "k", 1);
    assert_int_equal(entry->value_bytes, 5);
    assert_int_equal(entry->value_capacity, 5);
    assert_memory_equal(lks_kv_entry_value(entry), "short", 5);
    lks_kv_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps__as_a_plain_array),
        cmocka_unit_test(size__follows_entries),
        cmocka_unit_test(empty__memory_given_back_in_steps),
        cmocka_unit_test(value__shorter__memory_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
