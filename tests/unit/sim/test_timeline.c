/* Virtual time, random streams and the trace. */
#include "sim/random.h"
#include "sim/timeline.h"
#include "sim/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct seen {
    uint64_t values[8];
    uint32_t count;
};

static void see(void *ctx, uint64_t value)
{
    struct seen *seen = ctx;
    seen->values[seen->count++] = value;
}

struct order {
    struct lks_sim_timeline *timeline;
    uint64_t at_ns[6000];
    uint64_t last; /* number of the one that ran before */
    uint32_t count;
    uint64_t posted; /* where actions post: so many in all */
};

static void check_order(void *ctx, uint64_t number)
{
    struct order *order = ctx;
    assert_int_equal(lks_sim_timeline_now(order->timeline), order->at_ns[number]);
    if (order->count > 0 && order->at_ns[order->last] == order->at_ns[number]) {
        assert_true(order->last < number);
    }
    order->last = number;
    order->count++;
}

static void step__several_posted__run_by_time_then_by_order_of_posting(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lks_sim_timeline *timeline = lks_sim_timeline_new(100);
    lks_sim_timeline_post(timeline, 300, see, &seen, 3);
    lks_sim_timeline_post(timeline, 200, see, &seen, 1);
    lks_sim_timeline_post(timeline, 200, see, &seen, 2);
    lks_sim_timeline_post(timeline, 50, see, &seen, 0);
    while (lks_sim_timeline_step(timeline, 250)) {
    }
    assert_int_equal(seen.count, 3);
    assert_int_equal(lks_sim_timeline_now(timeline), 250);
    assert_true(lks_sim_timeline_step(timeline, 400));
    assert_int_equal(lks_sim_timeline_now(timeline), 300);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(seen.values[i], i);
    }
    lks_sim_timeline_free(timeline);
}

static void alarm__moved_and_cleared__rings_once_and_in_the_order_of_setting(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct lks_sim_timeline *timeline = lks_sim_timeline_new(0);
    lks_sim_timeline_set_alarm(timeline, 5, 400, see, &seen);
    lks_sim_timeline_set_alarm(timeline, 6, 100, see, &seen);
    lks_sim_timeline_set_alarm(timeline, 7, 200, see, &seen);
    lks_sim_timeline_post(timeline, 300, see, &seen, 0);
    lks_sim_timeline_set_alarm(timeline, 5, 300, see, &seen); /* behind what was posted before */
    lks_sim_timeline_post(timeline, 300, see, &seen, 1);
    lks_sim_timeline_clear_alarm(timeline, 6);
    lks_sim_timeline_clear_alarm(timeline, 6);
    while (lks_sim_timeline_step(timeline, 1000)) {
    }
    static const uint64_t expected[] = {7, 0, 5, 1};
    assert_int_equal(seen.count, 4);
    assert_memory_equal(seen.values, expected, sizeof expected);
    assert_int_equal(lks_sim_timeline_count(timeline), 4);
    assert_false(lks_sim_timeline_step(timeline, 2000));
    lks_sim_timeline_free(timeline);
}

/* So many that the queue grows, at times of which many are equal. */
static void step__thousands_posted_while_it_runs__order_is_that_of_time_and_posting(void **state)
{
    (void)state;
    struct lks_sim_random random;
    struct lks_sim_timeline *timeline = lks_sim_timeline_new(0);
    struct order order = {.timeline = timeline};
    lks_sim_random_init(&random, 3);
    for (uint64_t number = 0; number < 6000; number++) {
        order.at_ns[number] = lks_sim_timeline_now(timeline) + lks_sim_random_below(&random, 400);
        lks_sim_timeline_post(timeline, order.at_ns[number], check_order, &order, number);
        if (number % 3 == 0) {
            (void)lks_sim_timeline_step(timeline, lks_sim_timeline_now(timeline) + 50);
        }
    }
    while (lks_sim_timeline_step(timeline, 1000000)) {
    }
    assert_int_equal(order.count, 6000);
    lks_sim_timeline_free(timeline);
}

/* Posts up to three more, of which the first takes the place of the one that runs. */
static void check_order_and_post(void *ctx, uint64_t number)
{
    struct order *order = ctx;
    check_order(ctx, number);
    for (uint64_t more = number % 4; more > 0 && order->posted < 6000; more--) {
        const uint64_t posted = order->posted++;
        order->at_ns[posted] = lks_sim_timeline_now(order->timeline) + (posted * 7919) % 50;
        lks_sim_timeline_post(order->timeline, order->at_ns[posted], check_order_and_post, order,
                              posted);
    }
}

static void step__actions_that_post__order_is_that_of_time_and_posting(void **state)
{
    (void)state;
    struct lks_sim_timeline *timeline = lks_sim_timeline_new(0);
    struct order order = {.timeline = timeline, .posted = 100};
    for (uint64_t number = 0; number < 100; number++) {
        order.at_ns[number] = number % 10;
        lks_sim_timeline_post(timeline, order.at_ns[number], check_order_and_post, &order, number);
    }
    while (lks_sim_timeline_step(timeline, 1000000)) {
    }
    assert_int_equal(order.posted, 6000);
    assert_int_equal(order.count, 6000);
    lks_sim_timeline_free(timeline);
}

static void jump(void *ctx, uint64_t value)
{
    (void)value;
    longjmp(*(jmp_buf *)ctx, 1);
}

static void step__action_left_by_a_jump__the_others_run_in_their_order(void **state)
{
    (void)state;
    struct seen seen = {0};
    static jmp_buf leave;
    static struct lks_sim_timeline *timeline;
    timeline = lks_sim_timeline_new(0);
    lks_sim_timeline_post(timeline, 2, see, &seen, 1);
    lks_sim_timeline_post(timeline, 1, jump, &leave, 0);
    lks_sim_timeline_post(timeline, 3, see, &seen, 2);
    if (setjmp(leave) == 0) {
        (void)lks_sim_timeline_step(timeline, 10);
        fail_msg("the action did not jump");
    }
    while (lks_sim_timeline_step(timeline, 10)) {
    }
    static const uint64_t expected[] = {1, 2};
    assert_int_equal(seen.count, 2);
    assert_memory_equal(seen.values, expected, sizeof expected);
    lks_sim_timeline_free(timeline);
}

static void random__magnitude__every_order_comes_and_the_bounds_hold(void **state)
{
    (void)state;
    struct lks_sim_random random;
    lks_sim_random_init(&random, 5);
    uint32_t below[4] = {0};
    for (uint32_t i = 0; i < 4000; i++) {
        const uint64_t drawn = lks_sim_random_magnitude(&random, 1000, 1000000);
        assert_true(drawn >= 1000 && drawn <= 1000000);
        below[0] += drawn < 4000;
        below[1] += drawn < 32000;
        below[2] += drawn < 256000;
    }
    assert_true(below[0] > 500 && below[1] > 1500 && below[2] > 2500 && below[2] < 4000);
    assert_int_equal(lks_sim_random_magnitude(&random, 7, 7), 7);
}

static void random__same_seed__same_stream_and_forks_differ(void **state)
{
    (void)state;
    struct lks_sim_random one;
    struct lks_sim_random two;
    struct lks_sim_random fork;
    lks_sim_random_init(&one, 7);
    lks_sim_random_init(&two, 7);
    lks_sim_random_fork(&fork, &one, 1);
    for (int i = 0; i < 100; i++) {
        const uint64_t value = lks_sim_random_next(&one);
        assert_int_equal(value, lks_sim_random_next(&two));
        assert_int_not_equal(value, lks_sim_random_next(&fork));
    }
}

static void random_delay__with_a_tail__stays_within_its_limits_and_uses_them(void **state)
{
    (void)state;
    const struct lks_sim_delay delay = {
        .min_ns = 10, .max_ns = 20, .tail_ns = 100000, .tail_ppm = 500000};
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    uint32_t near = 0;
    uint32_t far = 0;
    for (int i = 0; i < 10000; i++) {
        const uint64_t value = lks_sim_random_delay(&random, &delay);
        assert_in_range(value, 10, 100000);
        near += value <= 20;
        far += value > 50000;
    }
    assert_in_range(near, 4000, 6500);
    assert_true(far > 50);
}

static void trace__one_value_differs__another_hash(void **state)
{
    (void)state;
    struct lks_sim_trace *one = lks_sim_trace_new(4, false);
    struct lks_sim_trace *two = lks_sim_trace_new(4, false);
    for (uint64_t i = 0; i < 20; i++) {
        lks_sim_trace_add(one, i, &(struct lks_sim_record){.what = "x", .a = 1, .x = i});
        lks_sim_trace_add(two, i, &(struct lks_sim_record){.what = "x", .a = 1, .x = i});
        lks_sim_trace_note(one, i, 2, "note %d", 1);
        lks_sim_trace_note(two, i, 2, "note %d", 1);
    }
    assert_int_equal(lks_sim_trace_hash(one), lks_sim_trace_hash(two));
    assert_int_equal(lks_sim_trace_count(one), 40);
    lks_sim_trace_note(one, 21, 2, "note a");
    lks_sim_trace_note(two, 21, 2, "note b");
    assert_int_not_equal(lks_sim_trace_hash(one), lks_sim_trace_hash(two));
    lks_sim_trace_free(one);
    lks_sim_trace_free(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step__several_posted__run_by_time_then_by_order_of_posting),
        cmocka_unit_test(alarm__moved_and_cleared__rings_once_and_in_the_order_of_setting),
        cmocka_unit_test(step__thousands_posted_while_it_runs__order_is_that_of_time_and_posting),
        cmocka_unit_test(step__actions_that_post__order_is_that_of_time_and_posting),
        cmocka_unit_test(step__action_left_by_a_jump__the_others_run_in_their_order),
        cmocka_unit_test(random__magnitude__every_order_comes_and_the_bounds_hold),
        cmocka_unit_test(random__same_seed__same_stream_and_forks_differ),
        cmocka_unit_test(random_delay__with_a_tail__stays_within_its_limits_and_uses_them),
        cmocka_unit_test(trace__one_value_differs__another_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
