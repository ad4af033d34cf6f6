/*
 * The history checker against histories known to be good and bad, against a naive checker that
 * tries every order on thousands of small random histories, and against large random histories
 * that are linearizable by construction, before and after one answer in them was falsified.
 */
#include "sim/checkers/linearizability.h"

#include "base/assert.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SMALL_OPERATIONS_MAX 7
#define LARGE_OPERATIONS 1500
#define LARGE_CLIENTS 6

typedef struct lks_history_operation operation;

static operation get(uint64_t call, uint64_t ret, bool present, int64_t value)
{
    return (operation){.call_ns = call, .return_ns = ret, .kind = LKS_HISTORY_GET, .known = true,
                       .present = present, .value = value};
}

static operation set(uint64_t call, uint64_t ret, int64_t value)
{
    return (operation){.call_ns = call, .return_ns = ret, .kind = LKS_HISTORY_SET, .known = true,
                       .argument = value};
}

static operation incr(uint64_t call, uint64_t ret, int64_t result)
{
    return (operation){.call_ns = call, .return_ns = ret, .kind = LKS_HISTORY_INCR, .known = true,
                       .argument = 1, .value = result};
}

static operation del(uint64_t call, uint64_t ret, bool was_present)
{
    return (operation){.call_ns = call, .return_ns = ret, .kind = LKS_HISTORY_DEL, .known = true,
                       .present = was_present};
}

static operation unknown(operation of)
{
    of.known = false;
    of.return_ns = 0;
    return of;
}

static enum lks_linearizability verdict_of(const operation *history, size_t count)
{
    struct lks_linearizability_report report;
    assert_int_equal(lks_linearizability_check(history, count, NULL, &report), 0);
    return report.verdict;
}

#define GOOD(...) \
    do { \
        const operation history[] = {__VA_ARGS__}; \
        assert_int_equal(verdict_of(history, LKS_COUNT_OF(history)), LKS_LINEARIZABLE); \
    } while (0)

#define BAD(...) \
    do { \
        const operation history[] = {__VA_ARGS__}; \
        assert_int_equal(verdict_of(history, LKS_COUNT_OF(history)), LKS_NOT_LINEARIZABLE); \
    } while (0)

static void check__empty_history__is_ok(void **ctx)
{
    (void)ctx;
    assert_int_equal(verdict_of(NULL, 0), LKS_LINEARIZABLE);
}

static void check__sequential_history__is_ok(void **ctx)
{
    (void)ctx;
    GOOD(get(1, 2, false, 0), set(3, 4, 7), get(5, 6, true, 7), del(7, 8, true), del(9, 10, false),
         incr(11, 12, 1), incr(13, 14, 2), get(15, 16, true, 2));
}

static void check__stale_read__is_reported(void **ctx)
{
    (void)ctx;
    BAD(set(1, 2, 1), set(3, 4, 2), get(5, 6, true, 1));
    BAD(set(1, 2, 1), get(3, 4, false, 0));
    BAD(set(1, 2, 1), del(3, 4, true), get(5, 6, true, 1));
}

static void check__read_goes_back__is_reported(void **ctx)
{
    (void)ctx;
    /* Both reads overlap the write; the later one must not see less than the earlier one. */
    BAD(set(1, 2, 1), set(3, 20, 2), get(4, 5, true, 2), get(6, 7, true, 1));
    GOOD(set(1, 2, 1), set(3, 20, 2), get(4, 5, true, 1), get(6, 7, true, 2));
}

static void check__lost_update__is_reported(void **ctx)
{
    (void)ctx;
    BAD(incr(1, 10, 1), incr(2, 11, 1));
    BAD(incr(1, 2, 1), incr(3, 4, 2), get(5, 6, true, 1));
}

static void check__double_increment__is_reported(void **ctx)
{
    (void)ctx;
    BAD(incr(1, 2, 1), get(3, 4, true, 2));
    BAD(incr(1, 2, 1), incr(3, 4, 3));
    BAD(unknown(incr(1, 0, 0)), get(3, 4, true, 2));
}

static void check__read_from_the_future__is_reported(void **ctx)
{
    (void)ctx;
    BAD(get(1, 2, true, 5), set(3, 4, 5));
    BAD(get(1, 2, true, 5), unknown(set(3, 0, 5)));
    BAD(get(1, 2, true, 9));
}

static void check__unknown_seen_later__is_ok(void **ctx)
{
    (void)ctx;
    GOOD(unknown(set(1, 0, 5)), get(2, 3, false, 0), get(4, 5, true, 5));
    GOOD(incr(1, 2, 1), unknown(incr(3, 0, 0)), get(4, 5, true, 1), get(6, 7, true, 2));
    GOOD(set(1, 2, 1), unknown(del(3, 0, false)), get(4, 5, true, 1), get(6, 7, false, 0));
}

static void check__unknown_never_seen__is_ok(void **ctx)
{
    (void)ctx;
    GOOD(set(1, 2, 1), unknown(set(3, 0, 5)), get(4, 5, true, 1), get(6, 7, true, 1));
    GOOD(incr(1, 2, 1), unknown(incr(3, 0, 0)), get(4, 5, true, 1), incr(6, 7, 2));
    GOOD(unknown(set(3, 0, 5)), del(4, 5, true));
    GOOD(unknown(set(3, 0, 5)), del(4, 5, false));
}

static void check__unknown_taking_effect_twice__is_reported(void **ctx)
{
    (void)ctx;
    BAD(unknown(set(1, 0, 5)), get(2, 3, true, 5), set(4, 5, 6), get(6, 7, true, 5));
    BAD(unknown(set(1, 0, 5)), del(2, 3, true), del(4, 5, true));
}

static void check__unknown_may_happen_late_over_known_write__is_ok(void **ctx)
{
    (void)ctx;
    GOOD(unknown(set(1, 0, 5)), set(2, 3, 6), get(4, 5, true, 6), get(6, 7, true, 5));
}

static void check__concurrent_operations__find_their_order(void **ctx)
{
    (void)ctx;
    GOOD(incr(1, 10, 3), incr(1, 10, 1), incr(1, 10, 2), get(5, 9, true, 2));
    GOOD(set(1, 10, 1), set(1, 10, 2), set(1, 10, 3), get(11, 12, true, 2));
    BAD(set(1, 10, 1), set(1, 10, 2), get(11, 12, true, 2), get(13, 14, true, 1));
}

static void check__same_nanosecond__counts_as_concurrent(void **ctx)
{
    (void)ctx;
    GOOD(set(1, 5, 1), get(5, 6, false, 0));
}

static void check__keys__are_independent_and_the_bad_one_is_named(void **ctx)
{
    (void)ctx;
    operation history[] = {set(1, 2, 1), set(1, 2, 1), get(3, 4, true, 1), get(3, 4, false, 0)};
    history[1].key = 9;
    history[3].key = 9;
    struct lks_linearizability_report report;
    assert_int_equal(lks_linearizability_check(history, LKS_COUNT_OF(history), NULL, &report), 0);
    assert_int_equal(report.verdict, LKS_NOT_LINEARIZABLE);
    assert_int_equal(report.key, 9);
    assert_int_equal(report.operation, 3);
}

static void check__return_before_call__is_refused(void **ctx)
{
    (void)ctx;
    operation history[] = {set(5, 4, 1)};
    struct lks_linearizability_report report;
    assert_int_equal(lks_linearizability_check(history, 1, NULL, &report), -EINVAL);
}

static void check__more_than_configurations_max__is_too_big(void **ctx)
{
    (void)ctx;
    operation history[16];
    for (int64_t i = 0; i < 16; i++) {
        history[i] = set(1, 100, i);
    }
    history[15] = get(101, 102, true, 77); /* no order explains it: all subsets are tried */
    struct lks_linearizability_report report;
    struct lks_linearizability_options options = {.configurations_max = 1000};
    assert_int_equal(lks_linearizability_check(history, 16, &options, &report), 0);
    assert_int_equal(report.verdict, LKS_LINEARIZABILITY_TOO_BIG);
    assert_int_equal(lks_linearizability_check(history, 16, NULL, &report), 0);
    assert_int_equal(report.verdict, LKS_NOT_LINEARIZABLE);
}

static void check__hundreds_of_unknown_operations__stay_small(void **ctx)
{
    (void)ctx;
    operation history[900];
    for (uint64_t i = 0; i < 300; i++) {
        history[3 * i] = unknown(set(10 * i, 0, (int64_t)(1000 + i)));
        history[3 * i + 1] = set(10 * i + 1, 10 * i + 2, (int64_t)i);
        history[3 * i + 2] = i % 50 == 7 ? del(10 * i + 3, 10 * i + 4, true)
                                         : get(10 * i + 3, 10 * i + 4, true, (int64_t)i);
    }
    struct lks_linearizability_report report;
    assert_int_equal(lks_linearizability_check(history, 900, NULL, &report), 0);
    assert_int_equal(report.verdict, LKS_LINEARIZABLE);
    for (uint64_t i = 0; i < 300; i++) {
        history[3 * i] = unknown(incr(10 * i, 0, 0));
        history[3 * i + 1] = incr(10 * i + 1, 10 * i + 2, (int64_t)(i + i / 3 + 1));
        history[3 * i + 2] = get(10 * i + 3, 10 * i + 4, true, (int64_t)(i + i / 3 + 1));
    }
    assert_int_equal(lks_linearizability_check(history, 900, NULL, &report), 0);
    assert_int_equal(report.verdict, LKS_LINEARIZABLE);
}

/* ---- random histories ----------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = random_state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % limit;
}

/* The naive checker: every order, no memory, none of the shortcuts. */
static bool naive(const operation *history, size_t count, uint32_t taken, bool present,
                  int64_t value)
{
    bool all_known_taken = true;
    for (size_t i = 0; i < count; i++) {
        all_known_taken = all_known_taken && (!history[i].known || (taken >> i & 1) != 0);
    }
    if (all_known_taken) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        const operation *o = &history[i];
        bool first = (taken >> i & 1) == 0;
        for (size_t j = 0; j < count && first; j++) {
            first = !((taken >> j & 1) == 0 && history[j].known &&
                      history[j].return_ns < o->call_ns);
        }
        if (!first) {
            continue;
        }
        bool present_after = o->kind == LKS_HISTORY_GET ? present : o->kind != LKS_HISTORY_DEL;
        int64_t value_after = o->kind == LKS_HISTORY_SET    ? o->argument
                              : o->kind == LKS_HISTORY_INCR ? value + o->argument
                              : o->kind == LKS_HISTORY_DEL  ? 0
                                                            : value;
        bool fits = !o->known || o->kind == LKS_HISTORY_SET ||
                    (o->kind == LKS_HISTORY_GET && o->present == present &&
                     (!present || o->value == value)) ||
                    (o->kind == LKS_HISTORY_INCR && o->value == value_after) ||
                    (o->kind == LKS_HISTORY_DEL && o->present == present);
        if (fits && naive(history, count, taken | 1u << i, present_after, value_after)) {
            return true;
        }
    }
    return false;
}

static operation random_operation(uint32_t kinds)
{
    operation o = {.kind = (enum lks_history_kind)random_below(4)};
    while ((kinds >> o.kind & 1) == 0) {
        o.kind = (enum lks_history_kind)random_below(4);
    }
    o.call_ns = random_below(20);
    o.return_ns = o.call_ns + random_below(8);
    o.known = random_below(3) > 0;
    o.present = random_below(3) > 0;
    o.argument = o.kind == LKS_HISTORY_INCR ? 1 : (int64_t)random_below(4);
    o.value = (int64_t)random_below(4);
    return o;
}

static void check__random_small_histories__agree_with_every_order_tried(void **ctx)
{
    (void)ctx;
    random_state = 1;
    size_t good = 0;
    size_t bad = 0;
    for (int round = 0; round < 30000; round++) {
        operation history[SMALL_OPERATIONS_MAX];
        size_t count = 1 + random_below(SMALL_OPERATIONS_MAX);
        uint32_t kinds = (uint32_t)(1 + random_below(15));
        for (size_t i = 0; i < count; i++) {
            history[i] = random_operation(kinds);
        }
        bool expected = naive(history, count, 0, false, 0);
        enum lks_linearizability verdict = verdict_of(history, count);
        if (verdict != (expected ? LKS_LINEARIZABLE : LKS_NOT_LINEARIZABLE)) {
            fail_msg("round %d: expected %d", round, expected);
        }
        good += expected;
        bad += !expected;
    }
    assert_true(good > 3000);
    assert_true(bad > 3000);
}

struct point {
    uint64_t at_ns;
    size_t operation;
};

static int compare_points(const void *left, const void *right)
{
    const struct point *a = left;
    const struct point *b = right;
    return (a->at_ns > b->at_ns) - (a->at_ns < b->at_ns);
}

/* Each operation takes effect at a moment between its call and its return; that is the order. */
static void make_linearizable(operation *history, size_t count, bool counter)
{
    struct point *points = calloc(count, sizeof(*points));
    assert_non_null(points);
    uint64_t clocks[LARGE_CLIENTS] = {0};
    size_t points_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t *clock = &clocks[i % LARGE_CLIENTS];
        operation *o = &history[i];
        *o = (operation){.call_ns = *clock + random_below(200), .known = random_below(40) != 0};
        bool reads = random_below(2) == 0;
        bool deletes = random_below(10) == 0;
        o->kind = reads ? LKS_HISTORY_GET : counter ? LKS_HISTORY_INCR
                        : deletes                   ? LKS_HISTORY_DEL
                                                    : LKS_HISTORY_SET;
        o->argument = counter ? 1 : (int64_t)i;
        uint64_t effect_ns = o->call_ns + random_below(o->known ? 200 : 5000);
        o->return_ns = effect_ns + random_below(200);
        *clock = o->known ? o->return_ns + 1 : o->call_ns + 200;
        if (o->known || random_below(2) == 0) {
            points[points_count++] = (struct point){effect_ns, i};
        }
    }
    qsort(points, points_count, sizeof(*points), compare_points);
    bool present = false;
    int64_t value = 0;
    for (size_t i = 0; i < points_count; i++) {
        operation *o = &history[points[i].operation];
        o->present = present;
        value = o->kind == LKS_HISTORY_SET    ? o->argument
                : o->kind == LKS_HISTORY_INCR ? (present ? value : 0) + 1
                : o->kind == LKS_HISTORY_DEL  ? 0
                                              : value;
        present = o->kind == LKS_HISTORY_GET ? present : o->kind != LKS_HISTORY_DEL;
        o->value = value;
    }
    free(points);
}

static void check__large_linearizable_histories__are_ok(void **ctx)
{
    (void)ctx;
    random_state = 2;
    operation *history = calloc(LARGE_OPERATIONS, sizeof(*history));
    assert_non_null(history);
    for (int round = 0; round < 10; round++) {
        make_linearizable(history, LARGE_OPERATIONS, round % 2 == 0);
        assert_int_equal(verdict_of(history, LARGE_OPERATIONS), LKS_LINEARIZABLE);
    }
    free(history);
}

/* Makes a read return what a write that had returned before it had overwritten long ago. */
static bool falsify_read(operation *history, size_t count)
{
    for (size_t tries = 0; tries < 10 * count; tries++) {
        operation *read = &history[random_below(count)];
        const operation *old = &history[random_below(count)];
        const operation *newer = &history[random_below(count)];
        if (read->kind == LKS_HISTORY_GET && read->known && old->kind == LKS_HISTORY_SET &&
            newer->kind == LKS_HISTORY_SET && old->known && newer->known &&
            old->return_ns < newer->call_ns && newer->return_ns < read->call_ns) {
            read->present = true;
            read->value = old->argument;
            return true;
        }
    }
    return false;
}

/* Lets two increments that did not overlap give the same answer. */
static bool falsify_increment(operation *history, size_t count)
{
    for (size_t tries = 0; tries < 10 * count; tries++) {
        const operation *one = &history[random_below(count)];
        operation *other = &history[random_below(count)];
        if (one != other && one->kind == LKS_HISTORY_INCR && other->kind == LKS_HISTORY_INCR &&
            one->known && other->known) {
            other->value = one->value;
            return true;
        }
    }
    return false;
}

static void check__large_histories_with_one_false_answer__are_reported(void **ctx)
{
    (void)ctx;
    random_state = 3;
    operation *history = calloc(LARGE_OPERATIONS, sizeof(*history));
    assert_non_null(history);
    for (int round = 0; round < 10; round++) {
        bool counter = round % 2 == 0;
        make_linearizable(history, LARGE_OPERATIONS, counter);
        assert_true(counter ? falsify_increment(history, LARGE_OPERATIONS)
                            : falsify_read(history, LARGE_OPERATIONS));
        assert_int_equal(verdict_of(history, LARGE_OPERATIONS), LKS_NOT_LINEARIZABLE);
    }
    free(history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check__empty_history__is_ok),
        cmocka_unit_test(check__sequential_history__is_ok),
        cmocka_unit_test(check__stale_read__is_reported),
        cmocka_unit_test(check__read_goes_back__is_reported),
        cmocka_unit_test(check__lost_update__is_reported),
        cmocka_unit_test(check__double_increment__is_reported),
        cmocka_unit_test(check__read_from_the_future__is_reported),
        cmocka_unit_test(check__unknown_seen_later__is_ok),
        cmocka_unit_test(check__unknown_never_seen__is_ok),
        cmocka_unit_test(check__unknown_taking_effect_twice__is_reported),
        cmocka_unit_test(check__unknown_may_happen_late_over_known_write__is_ok),
        cmocka_unit_test(check__concurrent_operations__find_their_order),
        cmocka_unit_test(check__same_nanosecond__counts_as_concurrent),
        cmocka_unit_test(check__keys__are_independent_and_the_bad_one_is_named),
        cmocka_unit_test(check__return_before_call__is_refused),
        cmocka_unit_test(check__more_than_configurations_max__is_too_big),
        cmocka_unit_test(check__hundreds_of_unknown_operations__stay_small),
        cmocka_unit_test(check__random_small_histories__agree_with_every_order_tried),
        cmocka_unit_test(check__large_linearizable_histories__are_ok),
        cmocka_unit_test(check__large_histories_with_one_false_answer__are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
