/*
 * Reads that wait: a request covers what came before it and nothing else, two are under way at
 * most, an answer counts only for a request that stands; what is ready comes out in its order, what
 * came before an own command comes out before it.
 */
#include "node/read_queue.h"

#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/expect_assert.h"

static struct lks_read_queue *make(void)
{
    struct lks_read_queue *queue = NULL;
    const struct lks_read_queue_options options = {.bytes_max = 65536};
    assert_int_equal(lks_read_queue_new(&queue, &options), 0);
    return queue;
}

static int add_bytes(struct lks_read_queue *queue, uint64_t cookie, uint64_t after, bool ordered,
                     size_t bytes)
{
    static uint8_t command[100000];
    memset(command, (int)cookie, bytes);
    return lks_read_queue_add(queue, &(struct lks_read_arrival){.command = command,
                                                                .bytes = bytes,
                                                                .cookie = cookie,
                                                                .after = after,
                                                                .ordered = ordered});
}

static void add(struct lks_read_queue *queue, uint64_t cookie)
{
    assert_int_equal(add_bytes(queue, cookie, 0, false, 20), 0);
}

/* The cookie of what comes out, or 0. */
static uint64_t end(struct lks_read_queue *queue, struct lks_read *read)
{
    if (read == NULL) {
        return 0;
    }
    const uint64_t cookie = read->cookie;
    const uint8_t *data = read->data;
    for (uint32_t i = 0; i < read->bytes; i++) {
        assert_int_equal(data[i], (uint8_t)cookie);
    }
    lks_read_queue_release(queue, read);
    return cookie;
}

static uint64_t ready(struct lks_read_queue *queue, uint64_t applied_offset, uint64_t answered)
{
    return end(queue, lks_read_queue_ready(queue, applied_offset, answered));
}

static uint64_t before(struct lks_read_queue *queue, uint64_t sequence)
{
    return end(queue, lks_read_queue_before(queue, sequence));
}

static void request__covers__what_came_before_it(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    assert_false(lks_read_queue_may_ask(queue));
    add(queue, 1);
    add(queue, 2);
    assert_true(lks_read_queue_may_ask(queue));
    assert_int_equal(lks_read_queue_ask(queue), 1);
    assert_false(lks_read_queue_may_ask(queue));
    add(queue, 3);
    assert_true(lks_read_queue_may_ask(queue));
    assert_int_equal(ready(queue, 1000, 0), 0);
    assert_true(lks_read_queue_confirm(queue, 1, 500));
    assert_int_equal(ready(queue, 499, 0), 0);
    assert_int_equal(ready(queue, 500, 0), 1);
    assert_int_equal(ready(queue, 500, 0), 2);
    assert_int_equal(ready(queue, 1000, 0), 0);
    assert_int_equal(lks_read_queue_ask(queue), 2);
    assert_true(lks_read_queue_confirm(queue, 2, 600));
    assert_int_equal(ready(queue, 600, 0), 3);
    lks_read_queue_free(queue);
}

static void requests__two_under_way__the_third_waits(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    add(queue, 1);
    assert_int_equal(lks_read_queue_ask(queue), 1);
    add(queue, 2);
    assert_int_equal(lks_read_queue_ask(queue), 2);
    add(queue, 3);
    assert_false(lks_read_queue_may_ask(queue));
    EXPECT_ASSERT(lks_read_queue_ask(queue));
    assert_true(lks_read_queue_confirm(queue, 2, 64)); /* and with it the first */
    assert_false(lks_read_queue_asking(queue));
    assert_int_equal(ready(queue, 64, 0), 1);
    assert_int_equal(ready(queue, 64, 0), 2);
    assert_int_equal(ready(queue, 64, 0), 0);
    assert_true(lks_read_queue_may_ask(queue));
    lks_read_queue_free(queue);
}

static void answer__to_no_request_under_way__changes_nothing(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    assert_false(lks_read_queue_confirm(queue, 0, 64));
    assert_false(lks_read_queue_confirm(queue, 1, 64));
    add(queue, 1);
    assert_int_equal(lks_read_queue_ask(queue), 1);
    assert_false(lks_read_queue_confirm(queue, 2, 64));
    assert_false(lks_read_queue_confirm(queue, 0, 64));
    lks_read_queue_void(queue);
    assert_false(lks_read_queue_confirm(queue, 1, 64));
    assert_int_equal(ready(queue, 1000, 0), 0);
    assert_true(lks_read_queue_may_ask(queue));
    assert_int_equal(lks_read_queue_ask(queue), 2);
    assert_true(lks_read_queue_confirm(queue, 2, 64));
    assert_false(lks_read_queue_confirm(queue, 2, 64));
    assert_int_equal(ready(queue, 64, 0), 1);
    lks_read_queue_free(queue);
}

static void void__some_have_their_point__they_keep_it(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    add(queue, 1);
    assert_int_equal(lks_read_queue_ask(queue), 1);
    add(queue, 2);
    assert_int_equal(lks_read_queue_ask(queue), 2);
    assert_true(lks_read_queue_confirm(queue, 1, 64));
    lks_read_queue_void(queue);
    assert_int_equal(ready(queue, 64, 0), 1);
    assert_int_equal(ready(queue, 64, 0), 0);
    assert_int_equal(lks_read_queue_ask(queue), 3);
    assert_true(lks_read_queue_confirm(queue, 3, 128));
    assert_int_equal(ready(queue, 128, 0), 2);
    lks_read_queue_free(queue);
}

static void ordered__commands_unanswered__waits_and_others_do_not(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    assert_int_equal(add_bytes(queue, 1, 7, true, 20), 0);
    assert_int_equal(add_bytes(queue, 2, 7, false, 20), 0);
    assert_int_equal(add_bytes(queue, 3, 8, true, 20), 0);
    assert_int_equal(lks_read_queue_ask(queue), 1);
    assert_true(lks_read_queue_confirm(queue, 1, 64));
    assert_int_equal(ready(queue, 64, 6), 2);
    assert_int_equal(ready(queue, 64, 6), 0);
    assert_int_equal(ready(queue, 64, 7), 1);
    assert_int_equal(ready(queue, 64, 7), 0);
    assert_int_equal(ready(queue, 64, 8), 3);
    lks_read_queue_free(queue);
}

static void before__own_command__all_that_came_earlier_in_order(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    assert_int_equal(add_bytes(queue, 1, 4, false, 20), 0);
    assert_int_equal(add_bytes(queue, 2, 4, true, 20), 0);
    assert_int_equal(add_bytes(queue, 3, 4, false, 20), 0);
    assert_int_equal(lks_read_queue_ask(queue), 1);
    assert_int_equal(add_bytes(queue, 4, 5, false, 20), 0);
    assert_int_equal(add_bytes(queue, 5, 5, true, 20), 0);
    assert_int_equal(before(queue, 4), 0);
    assert_int_equal(before(queue, 5), 1);
    assert_int_equal(before(queue, 5), 2);
    assert_int_equal(before(queue, 5), 3);
    assert_int_equal(before(queue, 5), 0);
    assert_true(lks_read_queue_confirm(queue, 1, 64)); /* nothing that it covers is left */
    assert_int_equal(ready(queue, 1000, 9), 0);
    assert_int_equal(lks_read_queue_ask(queue), 2);
    assert_true(lks_read_queue_confirm(queue, 2, 64));
    assert_int_equal(ready(queue, 64, 9), 5);
    assert_int_equal(ready(queue, 64, 9), 4);
    lks_read_queue_free(queue);
}

static void put_back__read_with_its_point__comes_out_in_its_place(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    for (uint64_t cookie = 1; cookie <= 4; cookie++) {
        add(queue, cookie);
    }
    assert_int_equal(lks_read_queue_ask(queue), 1);
    add(queue, 5);
    assert_true(lks_read_queue_confirm(queue, 1, 64));
    struct lks_read *first = lks_read_queue_ready(queue, 64, 0);
    struct lks_read *second = lks_read_queue_ready(queue, 64, 0);
    lks_read_queue_put_back(queue, first);
    lks_read_queue_put_back(queue, second);
    for (uint64_t cookie = 1; cookie <= 4; cookie++) {
        assert_int_equal(ready(queue, 64, 0), cookie);
    }
    struct lks_read *fifth = lks_read_queue_before(queue, 1);
    fifth->point = 64;
    lks_read_queue_put_back(queue, fifth); /* into an empty list */
    add(queue, 6);
    assert_int_equal(ready(queue, 64, 0), 5);
    assert_int_equal(lks_read_queue_ask(queue), 2);
    assert_true(lks_read_queue_confirm(queue, 2, 128));
    assert_int_equal(ready(queue, 128, 0), 6);
    lks_read_queue_free(queue);
}

static void add__slots_or_bytes_used_up__refused_until_one_is_released(void **state)
{
    (void)state;
    struct lks_read_queue *queue = make();
    struct lks_read_queue_counts counts;
    assert_int_equal(add_bytes(queue, 1, 0, false, 40000), 0);
    assert_int_equal(add_bytes(queue, 2, 0, false, 40000), -LKS_EBUSY);
    assert_int_equal(add_bytes(queue, 3, 0, false, 0), 0);
    assert_int_equal(add_bytes(queue, 4, 0, false, LKS_READ_INLINE_BYTES), 0);
    assert_int_equal(add_bytes(queue, 5, 0, false, LKS_READ_INLINE_BYTES + 1), 0);
    assert_int_equal(before(queue, 1), 1);
    assert_int_equal(add_bytes(queue, 2, 0, false, 40000), 0);
    uint64_t taken = 4;
    while (add_bytes(queue, 7, 0, false, 30) == 0) {
        taken++;
    }
    assert_int_equal(taken, 65536 / sizeof(struct lks_read));
    assert_int_equal(before(queue, 1), 3);
    assert_int_equal(add_bytes(queue, 8, 0, false, 30), 0);
    lks_read_queue_counts(queue, &counts);
    assert_int_equal(counts.waiting, taken);
    assert_int_equal(counts.refused, 2);
    lks_read_queue_free(queue); /* with long reads in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request__covers__what_came_before_it),
        cmocka_unit_test(requests__two_under_way__the_third_waits),
        cmocka_unit_test(answer__to_no_request_under_way__changes_nothing),
        cmocka_unit_test(void__some_have_their_point__they_keep_it),
        cmocka_unit_test(ordered__commands_unanswered__waits_and_others_do_not),
        cmocka_unit_test(before__own_command__all_that_came_earlier_in_order),
        cmocka_unit_test(put_back__read_with_its_point__comes_out_in_its_place),
        cmocka_unit_test(add__slots_or_bytes_used_up__refused_until_one_is_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
