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
    const uint64_t one = lks_runs_common(x.runs.items, x.runs.count, x.tail, y.runs.items,
                                         y.runs.count, y.tail, floor * 64);
    const uint64_t other = lks_runs_common(y.runs.items, y.runs.count, y.tail, x.runs.items,
                                           x.runs.count, x.tail, floor * 64);
    assert_int_equal(one, other);
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
    /* The same log, "1111133" and "1111122", one kept from its third entry on. */
    const struct lks_run kept[2] = {{.term = 1, .first_offset = 128}, {3, 320}};
    const struct lks_run whole[2] = {{.term = 1, .first_offset = 0}, {2, 320}};
    assert_int_equal(lks_runs_common(kept, 2, 448, whole, 2, 448, 0), 320);
    assert_int_equal(lks_runs_common(whole, 2, 448, kept, 2, 448, 0), 320);
}

static void common__impossible_logs__believe_the_floor_only(void **state)
{
    (void)state;
    const struct lks_run a[2] = {{.term = 1, .first_offset = 0}, {3, 128}};
    const struct lks_run b[2] = {{.term = 1, .first_offset = 0}, {3, 192}};
    assert_int_equal(lks_runs_common(a, 2, 448, b, 2, 448, 64), 64);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common__sound_logs__is_where_they_part),
        cmocka_unit_test(common__nothing_in_common_above_floor__is_floor),
        cmocka_unit_test(common__first_run_begins_at_a_base__is_where_they_part),
        cmocka_unit_test(common__impossible_logs__believe_the_floor_only),
        cmocka_unit_test(note__more_runs_than_kept__forgets_the_oldest),
        cmocka_unit_test(cut__at_offset__keeps_what_begins_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
