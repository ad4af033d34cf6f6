/* Term runs: noting, cutting, and the point where two logs part. */
#include "consensus/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A log as the terms of its entries, each 64 bytes long: "1123" has runs 1@0, 2@128, 3@192. */
struct log {
    struct lks_runs runs;
    uint64_t tail;
};

static struct log log_of(const char *terms)
{
    struct log log = {.tail = 0};
    for (const char *term = terms; *term != '\0'; term++) {
        lks_runs_note(&log.runs, (uint64_t)(*term - '0'), log.tail);
        log.tail += 64;
    }
    return log;
}

static uint64_t common(const char *a, const char *b, uint64_t floor)
{
    const struct log x = log_of(a);
    const struct log y = log_of(b);
    const struct lks_outline outlines[2] = {
        {.tail = x.tail, .runs = x.runs.items, .count = x.runs.count},
        {.tail = y.tail, .runs = y.runs.items, .count = y.runs.count},
    };
    const uint64_t one = lks_runs_common(&outlines[0], &outlines[1], floor * 64);
    assert_int_equal(one, lks_runs_common(&outlines[1], &outlines[0], floor * 64));
    return one / 64;
}

/* The same, one log kept from behind its first `base` entries on, the other whole. */
static uint64_t common_above(const char *a, uint64_t base, const char *b, uint64_t floor)
{
    struct log x = log_of(a);
    const struct log y = log_of(b);
    lks_runs_raise(&x.runs, base * 64, x.tail);
    const struct lks_outline outlines[2] = {
        {.base = base * 64,
         .base_term = base > 0 ? (uint64_t)(a[base - 1] - '0') : 0,
         .tail = x.tail,
         .runs = x.runs.items,
         .count = x.runs.count},
        {.tail = y.tail, .runs = y.runs.items, .count = y.runs.count},
    };
    const uint64_t one = lks_runs_common(&outlines[0], &outlines[1], floor * 64);
    assert_int_equal(one, lks_runs_common(&outlines[1], &outlines[0], floor * 64));
    return one / 64;
}

static void common__sound_logs__is_where_they_part(void **state)
{
    (void)state;
    assert_int_equal(common("", "", 0), 0);
    assert_int_equal(common("11", "", 0), 0);
    assert_int_equal(common("11", "11", 0), 2);
    assert_int_equal(common("111", "1", 0), 1);
    assert_int_equal(common("111", "1122", 0), 2);
    assert_int_equal(common("1133", "1122", 0), 2);
    assert_int_equal(common("11355", "1136", 0), 3);
    assert_int_equal(common("1", "2", 0), 0);
    assert_int_equal(common("123", "124", 0), 2);
}

static void common__nothing_in_common_above_floor__is_floor(void **state)
{
    (void)state;
    assert_int_equal(common("1", "2", 1), 1);
    assert_int_equal(common("113", "112", 2), 2);
}

static void common__first_run_begins_at_a_base__is_where_they_part(void **state)
{
    (void)state;
    assert_int_equal(common_above("1111133", 2, "1111122", 0), 5);
    assert_int_equal(common_above("1122", 3, "11222", 0), 4);
}

static void common__a_log_that_ends_below_the_base__is_found_by_the_entry_before(void **state)
{
    (void)state;
    assert_int_equal(common_above("1111", 4, "1111", 0), 4); /* nothing but a base */
    assert_int_equal(common_above("1111", 4, "11112", 0), 4);
    assert_int_equal(common_above("111133", 4, "111", 0), 3); /* below the base: a snapshot */
    assert_int_equal(common_above("111133", 4, "11112", 0), 4);
    assert_int_equal(common_above("112233", 4, "111", 1), 1); /* its term is not known here */
}

static void common__runs_between_base_and_those_kept_forgotten__is_floor(void **state)
{
    (void)state;
    /* "1 2 3 3" above a base behind term 1, run 2 forgotten; and "1 1". */
    const struct lks_run kept[1] = {{.term = 3, .first_offset = 128}};
    const struct lks_run other[1] = {{.term = 1, .first_offset = 0}};
    const struct lks_outline a = {
        .base = 64, .base_term = 1, .tail = 256, .runs = kept, .count = 1};
    const struct lks_outline b = {.tail = 128, .runs = other, .count = 1};
    assert_int_equal(lks_runs_common(&a, &b, 0), 0);
    assert_int_equal(lks_runs_common(&b, &a, 64), 64);
}

static void common__impossible_logs__believe_the_floor_only(void **state)
{
    (void)state;
    const struct lks_run a[2] = {{.term = 1, .first_offset = 0}, {3, 128}};
    const struct lks_run b[2] = {{.term = 1, .first_offset = 0}, {3, 192}};
    const struct lks_outline x = {.tail = 448, .runs = a, .count = 2};
    const struct lks_outline y = {.tail = 448, .runs = b, .count = 2};
    assert_int_equal(lks_runs_common(&x, &y, 64), 64);
}

static void note__more_runs_than_kept__forgets_the_oldest(void **state)
{
    (void)state;
    struct lks_runs runs = {.count = 0};
    for (uint64_t term = 1; term <= LKS_RUNS_MAX + 3; term++) {
        lks_runs_note(&runs, term, term * 64);
        lks_runs_note(&runs, term, term * 64 + 32); /* the same run */
    }
    assert_int_equal(runs.count, LKS_RUNS_MAX);
    assert_int_equal(runs.items[0].term, 4);
    assert_int_equal(runs.items[LKS_RUNS_MAX - 1].first_offset, (LKS_RUNS_MAX + 3) * 64);
}

static void cut__at_offset__keeps_what_begins_below(void **state)
{
    (void)state;
    struct log log = log_of("112233");
    lks_runs_cut(&log.runs, 256);
    assert_int_equal(log.runs.count, 2);
    lks_runs_cut(&log.runs, 129);
    assert_int_equal(log.runs.count, 2);
    lks_runs_cut(&log.runs, 128);
    assert_int_equal(log.runs.count, 1);
    lks_runs_cut(&log.runs, 0);
    assert_int_equal(log.runs.count, 0);
}

static void raise__to_a_base__forgets_what_ends_below(void **state)
{
    (void)state;
    struct log log = log_of("112233");
    lks_runs_raise(&log.runs, 64, log.tail);
    assert_int_equal(log.runs.count, 3);
    assert_int_equal(log.runs.items[0].first_offset, 64);
    lks_runs_raise(&log.runs, 128, log.tail);
    assert_int_equal(log.runs.count, 2);
    assert_int_equal(log.runs.items[0].term, 2);
    lks_runs_raise(&log.runs, 320, log.tail);
    assert_int_equal(log.runs.count, 1);
    assert_int_equal(log.runs.items[0].first_offset, 320);
    lks_runs_raise(&log.runs, 384, log.tail);
    assert_int_equal(log.runs.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common__sound_logs__is_where_they_part),
        cmocka_unit_test(common__nothing_in_common_above_floor__is_floor),
        cmocka_unit_test(common__first_run_begins_at_a_base__is_where_they_part),
        cmocka_unit_test(
            common__a_log_that_ends_below_the_base__is_found_by_the_entry_before),
        cmocka_unit_test(common__runs_between_base_and_those_kept_forgotten__is_floor),
        cmocka_unit_test(common__impossible_logs__believe_the_floor_only),
        cmocka_unit_test(note__more_runs_than_kept__forgets_the_oldest),
        cmocka_unit_test(raise__to_a_base__forgets_what_ends_below),
        cmocka_unit_test(cut__at_offset__keeps_what_begins_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
