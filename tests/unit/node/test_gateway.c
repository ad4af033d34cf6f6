/* The gateway: order, bounds, bytes kept until the answer, and a model under random rewinds. */
#include "node/gateway.h"

#include "base/error.h"
#include "tests/support/expect_assert.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RING_BYTES 4096u
#define COMMAND_MAX 1000u

static struct lks_gateway *make(uint64_t pending_bytes_max, uint32_t command_bytes_max)
{
    struct lks_gateway *gateway = NULL;
    const struct lks_gateway_options options = {.pending_bytes_max = pending_bytes_max,
                                                .command_bytes_max = command_bytes_max};
    assert_int_equal(lks_gateway_new(&gateway, &options), 0);
    return gateway;
}

/* The bytes of command n, different for each. */
static void fill(uint8_t *bytes, size_t count, uint64_t n)
{
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(n * 31 + i * 7 + (n >> 8));
    }
}

static void submit_small(struct lks_gateway *gateway, uint64_t expected)
{
    uint64_t sequence = 0;
    uint8_t bytes[16];
    fill(bytes, sizeof bytes, expected);
    assert_int_equal(
        lks_gateway_submit(gateway, bytes, sizeof bytes, 1000 + expected, &sequence), 0);
    assert_int_equal(sequence, expected);
}

static void expect_next(struct lks_gateway *gateway, uint64_t sequence)
{
    struct lks_gateway_command command;
    assert_true(lks_gateway_next(gateway, &command));
    assert_int_equal(command.sequence, sequence);
    uint8_t bytes[16];
    fill(bytes, sizeof bytes, sequence);
    assert_int_equal(command.bytes, sizeof bytes);
    assert_memory_equal(command.data, bytes, sizeof bytes);
    lks_gateway_sent(gateway);
}

static void new__impossible_size__returns_einval(void **state)
{
    (void)state;
    struct lks_gateway *gateway = NULL;
    struct lks_gateway_options options = {.command_bytes_max = 10};
    assert_int_equal(lks_gateway_new(&gateway, &options), -EINVAL);
    options.pending_bytes_max = (UINT64_C(1) << 40) + 1;
    assert_int_equal(lks_gateway_new(&gateway, &options), -EINVAL);
    assert_null(gateway);
    lks_gateway_free(NULL);
}

static void submit__several__numbered_and_handed_over_in_order(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(RING_BYTES, COMMAND_MAX);
    struct lks_gateway_command command;
    assert_false(lks_gateway_next(gateway, &command));
    for (uint64_t i = 1; i <= 3; i++) {
        submit_small(gateway, i);
    }
    for (uint64_t i = 1; i <= 3; i++) {
        expect_next(gateway, i);
    }
    assert_false(lks_gateway_next(gateway, &command));
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(lks_gateway_answered(gateway, i), 1000 + i);
    }
    lks_gateway_free(gateway);
}

static void submit__too_big__refused_without_a_sequence(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(RING_BYTES, 15);
    uint8_t bytes[16] = {0};
    uint64_t sequence = 77;
    assert_int_equal(lks_gateway_submit(gateway, bytes, 16, 0, &sequence), -LKS_ETOOBIG);
    assert_int_equal(sequence, 77);
    assert_int_equal(lks_gateway_submit(gateway, bytes, 15, 0, &sequence), 0);
    assert_int_equal(sequence, 1);
    lks_gateway_free(gateway);
}

static void submit__no_room__busy_until_an_answer(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(4 * 64, 32);
    for (uint64_t i = 1; i <= 4; i++) {
        submit_small(gateway, i);
    }
    uint64_t sequence = 77;
    assert_int_equal(lks_gateway_submit(gateway, "x", 1, 0, &sequence), -LKS_EBUSY);
    assert_int_equal(sequence, 77);
    expect_next(gateway, 1);
    assert_int_equal(lks_gateway_submit(gateway, "x", 1, 0, &sequence), -LKS_EBUSY);
    assert_int_equal(lks_gateway_answered(gateway, 1), 1001);
    submit_small(gateway, 5);
    struct lks_gateway_counts counts;
    lks_gateway_counts(gateway, &counts);
    assert_int_equal(counts.refused, 2);
    assert_int_equal(counts.submitted, 5);
    assert_int_equal(counts.answered, 1);
    assert_int_equal(counts.unsent, 4);
    lks_gateway_free(gateway);
}

static void submit__ring_smaller_than_one_command__still_takes_one(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(1, 5000);
    uint8_t bytes[5000];
    for (uint64_t i = 1; i <= 10; i++) {
        uint64_t sequence;
        struct lks_gateway_command command;
        fill(bytes, sizeof bytes, i);
        assert_int_equal(lks_gateway_submit(gateway, bytes, sizeof bytes, i, &sequence), 0);
        assert_true(lks_gateway_next(gateway, &command));
        assert_memory_equal(command.data, bytes, sizeof bytes);
        lks_gateway_sent(gateway);
        assert_int_equal(lks_gateway_answered(gateway, i), i);
    }
    lks_gateway_free(gateway);
}

static void submit__no_bytes__is_a_command_too(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(RING_BYTES, COMMAND_MAX);
    uint64_t sequence;
    struct lks_gateway_command command;
    assert_int_equal(lks_gateway_submit(gateway, NULL, 0, 5, &sequence), 0);
    assert_true(lks_gateway_next(gateway, &command));
    assert_int_equal(command.bytes, 0);
    lks_gateway_sent(gateway);
    assert_int_equal(lks_gateway_answered(gateway, 1), 5);
    lks_gateway_free(gateway);
}

static void rewind__some_answered__repeats_the_rest_before_new_ones(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(RING_BYTES, COMMAND_MAX);
    for (uint64_t i = 1; i <= 4; i++) {
        submit_small(gateway, i);
        expect_next(gateway, i);
    }
    assert_int_equal(lks_gateway_answered(gateway, 1), 1001);
    lks_gateway_rewind(gateway);
    submit_small(gateway, 5);
    for (uint64_t i = 2; i <= 5; i++) {
        expect_next(gateway, i);
    }
    struct lks_gateway_counts counts;
    lks_gateway_counts(gateway, &counts);
    assert_int_equal(counts.repeated, 3);
    lks_gateway_free(gateway);
}

static void answered__before_it_was_repeated__is_not_repeated(void **state)
{
    (void)state;
    struct lks_gateway *gateway = make(RING_BYTES, COMMAND_MAX);
    for (uint64_t i = 1; i <= 3; i++) {
        submit_small(gateway, i);
        expect_next(gateway, i);
    }
    lks_gateway_rewind(gateway);
    assert_int_equal(lks_gateway_answered(gateway, 1), 1001);
    assert_int_equal(lks_gateway_answered(gateway, 2), 1002);
    expect_next(gateway, 3);
    lks_gateway_free(gateway);
}

static void answered__not_the_oldest_or_never_sent__asserts(void **state)
{
    (void)state;
    static struct lks_gateway *gateway;
    gateway = make(RING_BYTES, COMMAND_MAX);
    EXPECT_ASSERT(lks_gateway_answered(gateway, 1));
    EXPECT_ASSERT(lks_gateway_sent(gateway));
    submit_small(gateway, 1);
    submit_small(gateway, 2);
    EXPECT_ASSERT(lks_gateway_answered(gateway, 1)); /* no leader has seen it */
    expect_next(gateway, 1);
    expect_next(gateway, 2);
    EXPECT_ASSERT(lks_gateway_answered(gateway, 2));
    EXPECT_ASSERT(lks_gateway_answered(gateway, 0));
    lks_gateway_free(gateway);
}

/* A straightforward model beside it: sizes, cookies and three marks. */
struct model {
    uint32_t bytes[1 << 16];
    uint64_t submitted;
    uint64_t answered;
    uint64_t cursor; /* the last handed over since the last rewind */
    uint64_t sent;
};

static void model_submit(struct lks_gateway *gateway, struct model *model, uint32_t bytes)
{
    uint8_t data[COMMAND_MAX];
    uint64_t sequence = 0;
    fill(data, bytes, model->submitted + 1);
    const int rc =
        lks_gateway_submit(gateway, data, bytes, (model->submitted + 1) * 3, &sequence);
    if (rc != 0) {
        assert_int_equal(rc, -LKS_EBUSY);
        assert_int_not_equal(model->submitted, model->answered);
        return;
    }
    model->submitted++;
    assert_int_equal(sequence, model->submitted);
    model->bytes[sequence] = bytes;
}

static void model_send(struct lks_gateway *gateway, struct model *model)
{
    struct lks_gateway_command command;
    const uint64_t next = model->cursor + 1;
    assert_int_equal(lks_gateway_next(gateway, &command), next <= model->submitted);
    if (next > model->submitted) {
        return;
    }
    uint8_t data[COMMAND_MAX];
    fill(data, model->bytes[next], next);
    assert_int_equal(command.sequence, next);
    assert_int_equal(command.bytes, model->bytes[next]);
    assert_memory_equal(command.data, data, command.bytes);
    lks_gateway_sent(gateway);
    model->cursor = next;
    model->sent = model->sent < next ? next : model->sent;
}

static void gateway__random_calls__behaves_as_the_model(void **state)
{
    (void)state;
    static struct model model;
    for (unsigned seed = 1; seed <= 20; seed++) {
        srand(seed);
        memset(&model, 0, sizeof model);
        struct lks_gateway *gateway = make(RING_BYTES, COMMAND_MAX);
        const uint32_t bytes_max = seed % 2 == 0 ? COMMAND_MAX : 100;
        while (model.submitted < 5000) {
            const int choice = rand() % 100;
            if (choice < 40) {
                model_submit(gateway, &model, (uint32_t)rand() % (bytes_max + 1));
            } else if (choice < 70) {
                model_send(gateway, &model);
            } else if (choice < 98 && model.answered < model.sent) {
                model.answered++;
                assert_int_equal(lks_gateway_answered(gateway, model.answered),
                                 model.answered * 3);
                model.cursor = model.cursor < model.answered ? model.answered : model.cursor;
            } else if (choice >= 98) {
                lks_gateway_rewind(gateway);
                model.cursor = model.answered;
            }
            struct lks_gateway_counts counts;
            lks_gateway_counts(gateway, &counts);
            assert_int_equal(counts.submitted, model.submitted);
            assert_int_equal(counts.answered, model.answered);
            assert_int_equal(counts.unsent, model.submitted - model.cursor);
        }
        lks_gateway_free(gateway);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new__impossible_size__returns_einval),
        cmocka_unit_test(submit__several__numbered_and_handed_over_in_order),
        cmocka_unit_test(submit__too_big__refused_without_a_sequence),
        cmocka_unit_test(submit__no_room__busy_until_an_answer),
        cmocka_unit_test(submit__ring_smaller_than_one_command__still_takes_one),
        cmocka_unit_test(submit__no_bytes__is_a_command_too),
        cmocka_unit_test(rewind__some_answered__repeats_the_rest_before_new_ones),
        cmocka_unit_test(answered__before_it_was_repeated__is_not_repeated),
        cmocka_unit_test(answered__not_the_oldest_or_never_sent__asserts),
        cmocka_unit_test(gateway__random_calls__behaves_as_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
