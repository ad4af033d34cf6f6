/* The clients' commands, against the service itself: the reference model gives every answer that
 * the key-value service gives. */
#include "sim/checkers/model.h"
#include "sim/operation.h"
#include "sim/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COMMANDS 20000u

static struct lks_sim_executed g_executed;

static void on_applied(void *ctx, const struct lks_sim_executed *executed)
{
    (void)ctx;
    g_executed = *executed;
}

static void *service_new(void)
{
    void *service = NULL;
    const struct lks_sim_service_observer observer = {.applied = on_applied};
    const struct lks_service_options options = {.command_bytes_max = LKS_SIM_COMMAND_BYTES_MAX};
    lks_sim_service_bind(&observer);
    assert_int_equal(lks_sim_service.open(&service, &options), 0);
    return service;
}

static void model__random_commands__answers_as_the_service(void **state)
{
    (void)state;
    void *service = service_new();
    struct lks_sim_model *model = calloc(1, sizeof *model);
    struct lks_sim_random random;
    struct lks_reply reply;
    uint32_t errors = 0;
    lks_sim_random_init(&random, 7);
    lks_reply_init(&reply);
    for (uint32_t number = 1; number <= COMMANDS; number++) {
        uint8_t bytes[LKS_SIM_COMMAND_BYTES_MAX];
        struct lks_sim_operation operation;
        struct lks_sim_answer got;
        struct lks_sim_answer expected;
        char words[64];
        lks_sim_operation_draw(&operation, &random, number, LKS_SIM_FILLER_BYTES_MAX);
        const struct lks_command command = {
            .index = number,
            .time_ns = number * 1000003ull,
            .data = bytes,
            .bytes = lks_sim_operation_encode(&operation, number, bytes)};
        lks_reply_clear(&reply);
        lks_sim_service.apply(service, &command, &reply);
        lks_sim_answer_read(&got, reply.data, reply.bytes);
        lks_sim_model_apply(model, &operation, command.time_ns, &expected);
        lks_sim_operation_print(&operation, words, sizeof words);
        if (got.type != expected.type || (got.type != '-' && got.hash != expected.hash)) {
            fail_msg("%u: %s: %s, expected %s", number, words, got.text, expected.text);
        }
        errors += got.type == '-';
        assert_int_equal(g_executed.number, number);
        assert_int_equal(lks_sim_operation_is_read(&operation),
                         lks_sim_service.is_read(bytes, command.bytes));
    }
    assert_true(errors > 0); /* a text at its greatest length */
    lks_reply_fini(&reply);
    free(model);
    lks_sim_service.close(service);
}

static void hash__remembered_or_computed__the_same(void **state)
{
    (void)state;
    void *service = service_new();
    struct lks_sim_random random;
    struct lks_reply reply;
    lks_sim_random_init(&random, 8);
    lks_reply_init(&reply);
    for (uint32_t number = 1; number <= COMMANDS / 20; number++) {
        uint8_t bytes[LKS_SIM_COMMAND_BYTES_MAX];
        uint64_t remembered[64];
        struct lks_sim_operation operation;
        lks_sim_operation_draw(&operation, &random, number, 10);
        const struct lks_command command = {
            .index = number,
            .data = bytes,
            .bytes = lks_sim_operation_encode(&operation, number, bytes)};
        lks_reply_clear(&reply);
        lks_sim_service.apply(service, &command, &reply);
        for (uint32_t i = 0; i < lks_sim_service.partitions; i++) {
            remembered[i] = lks_sim_service.hash(service, i);
        }
        lks_sim_service_rehash();
        for (uint32_t i = 0; i < lks_sim_service.partitions; i++) {
            assert_int_equal(lks_sim_service.hash(service, i), remembered[i]);
        }
    }
    lks_reply_fini(&reply);
    lks_sim_service.close(service);
}

static void print__long_value__is_cut(void **state)
{
    (void)state;
    struct lks_sim_operation operation = {.row = 1, .key = 2, .filler_bytes = 40, .argument = 17};
    char words[64];
    lks_sim_operation_print(&operation, words, sizeof words);
    assert_string_equal(words, "SET r2 17.rrrrrrrrr...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model__random_commands__answers_as_the_service),
        cmocka_unit_test(hash__remembered_or_computed__the_same),
        cmocka_unit_test(print__long_value__is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
