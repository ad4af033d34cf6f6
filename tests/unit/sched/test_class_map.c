/* Maps of classes: the five rules on random loads, and what they should look like on known ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/class_map.h"

#include <errno.h>

#define MOST 64u

struct matrix {
    bool conflict[MOST][MOST];
};

static bool in_matrix(const void *ctx, uint32_t a, uint32_t b)
{
    const struct matrix *matrix = ctx;
    return matrix->conflict[a][b];
}

static bool shards_conflict(const void *ctx, uint32_t a, uint32_t b)
{
    (void)ctx;
    return a / 2 == b / 2 && (a % 2 == 1 || b % 2 == 1);
}

/* As in the papers: class 0 reads, class 1 writes, one list. */
static bool list_conflict(const void *ctx, uint32_t a, uint32_t b)
{
    (void)ctx;
    return a == 1 || b == 1;
}

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return *seed >> 33;
}

static void solve__random_conflicts__obeys_the_rules(void **state)
{
    (void)state;
    static struct matrix matrix;
    double weights[MOST];
    uint64_t seed = 5;
    for (uint32_t run = 0; run < 400; run++) {
        const uint32_t classes = 2 + (uint32_t)(next(&seed) % (MOST / 2)) * 2 % (MOST - 1);
        const uint64_t percent = next(&seed) % 40;
        for (uint32_t a = 0; a < classes; a++) {
            weights[a] = (double)(next(&seed) % 100);
            for (uint32_t b = a; b < classes; b++) {
                matrix.conflict[a][b] = next(&seed) % 100 < percent;
            }
        }
        const struct lks_class_load load = {
            .classes = classes / 2 * 2, .weights = weights, .conflict = in_matrix, .ctx = &matrix};
        struct lks_class_map *map = NULL;
        const uint32_t workers = 1 + (uint32_t)(next(&seed) % 16);
        assert_int_equal(lks_class_map_solve(&map, &load, workers), 0);
        assert_int_equal(lks_class_map_broken_rule(map, &load), 0);
        lks_class_map_free(map);
    }
}

static void solve__list_read_mostly__reads_have_all_workers(void **state)
{
    (void)state;
    const double weights[] = {95, 5};
    const struct lks_class_load load = {
        .classes = 2, .weights = weights, .conflict = list_conflict};
    struct lks_class_map *map = NULL;
    assert_int_equal(lks_class_map_solve(&map, &load, 4), 0);
    assert_false(lks_class_map_at(map, 0)->synchronised);
    assert_true(lks_class_map_at(map, 1)->synchronised);
    assert_int_equal(lks_class_map_at(map, 0)->workers, 15);
    assert_int_equal(lks_class_map_at(map, 1)->workers, 15);
    lks_class_map_free(map);
}

static void solve__list_write_mostly__one_worker(void **state)
{
    (void)state;
    const double weights[] = {10, 90};
    const struct lks_class_load load = {
        .classes = 2, .weights = weights, .conflict = list_conflict};
    struct lks_class_map *map = NULL;
    assert_int_equal(lks_class_map_solve(&map, &load, 4), 0);
    assert_int_equal(__builtin_popcountll(lks_class_map_at(map, 1)->workers), 1);
    lks_class_map_free(map);
}

static void solve__independent_classes__spread_by_weight(void **state)
{
    (void)state;
    const double weights[] = {0, 40, 0, 10, 0, 10, 0, 10, 0, 10};
    const struct lks_class_load load = {
        .classes = 10, .weights = weights, .conflict = shards_conflict};
    struct lks_class_map *map = NULL;
    assert_int_equal(lks_class_map_solve(&map, &load, 2), 0);
    for (uint32_t shard = 1; shard < 5; shard++) {
        assert_int_not_equal(lks_class_map_at(map, shard * 2 + 1)->workers,
                             lks_class_map_at(map, 1)->workers);
    }
    lks_class_map_free(map);
}

static void shards__any_number__obeys_the_rules(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= 64; shards += 9) {
        const struct lks_class_load load = {.classes = shards * 2, .conflict = shards_conflict};
        struct lks_class_map *map = NULL;
        assert_int_equal(lks_class_map_shards(&map, shards, NULL, 5), 0);
        assert_int_equal(lks_class_map_broken_rule(map, &load), 0);
        assert_int_equal(lks_class_map_components(map), shards);
        lks_class_map_free(map);
    }
}

static void broken_rule__map_of_other_conflicts__named(void **state)
{
    (void)state;
    struct lks_class_map *map = NULL;
    const struct lks_class_load list = {.classes = 4, .conflict = list_conflict};
    assert_int_equal(lks_class_map_shards(&map, 2, NULL, 2), 0);
    assert_int_equal(lks_class_map_broken_rule(map, &list), 4);
    lks_class_map_free(map);
}

static void any__number_out_of_range__refused(void **state)
{
    (void)state;
    struct lks_class_map *map = NULL;
    const struct lks_class_load odd = {.classes = 3, .conflict = list_conflict};
    assert_int_equal(lks_class_map_solve(&map, &odd, 2), -EINVAL);
    assert_int_equal(lks_class_map_shards(&map, 0, NULL, 2), -EINVAL);
    assert_int_equal(lks_class_map_shards(&map, 4, NULL, 0), -EINVAL);
    assert_int_equal(lks_class_map_shards(&map, 4, NULL, 64), -EINVAL);
    assert_int_equal(lks_class_map_shards(&map, LKS_CLASSES_MAX, NULL, 1), -EINVAL);
    assert_null(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solve__random_conflicts__obeys_the_rules),
        cmocka_unit_test(solve__list_read_mostly__reads_have_all_workers),
        cmocka_unit_test(solve__list_write_mostly__one_worker),
        cmocka_unit_test(solve__independent_classes__spread_by_weight),
        cmocka_unit_test(shards__any_number__obeys_the_rules),
        cmocka_unit_test(broken_rule__map_of_other_conflicts__named),
        cmocka_unit_test(any__number_out_of_range__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
