/*
 * Whatever the scheduler and the number of workers, state and replies equal those of executing the
 * commands one by one. Workers are threads. Arguments: how many workloads (60, each under one of
 * the schedulers; a number given: each under all), and the first seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "tests/unit/sched/equal.h"

#include <stdlib.h>

#define RUNS 60u

static uint32_t runs = RUNS;
static bool under_all;
static uint64_t first_seed = 1;

static const enum lks_scheduler_kind parallel[] = {LKS_EARLY, LKS_LATE, LKS_HYBRID, LKS_ADAPTIVE};

/* Now and then the dispatcher looks how far all is executed, and it is. */
static void look(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    const struct equal_run_state *run = ctx;
    if (command % 37 == 0) {
        const uint64_t applied = lks_scheduler_applied(scheduler);
        assert_null(workload_not_executed(run->workload, applied));
    }
}

static void threads__random_workloads__equal_sequential(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < runs; i++) {
        const uint32_t first = i % LKS_COUNT_OF(parallel);
        for (uint32_t k = 0; k < (under_all ? LKS_COUNT_OF(parallel) : 1); k++) {
            equal_run(first_seed + i, parallel[(first + k) % LKS_COUNT_OF(parallel)], false, look);
        }
    }
}

static void switching__random_workloads__equal_sequential(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < runs / 4 + 1; i++) {
        equal_run(first_seed + 7000 + i, LKS_LATE, false, equal_change_kind);
    }
}

static void adaptive__all_runs_together__tried_levels(void **state)
{
    (void)state;
    assert_true(equal_totals.switches > 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        runs = (uint32_t)strtoul(argv[1], NULL, 10);
        under_all = true;
    }
    if (argc > 2) {
        first_seed = strtoull(argv[2], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads__random_workloads__equal_sequential),
        cmocka_unit_test(adaptive__all_runs_together__tried_levels),
        cmocka_unit_test(switching__random_workloads__equal_sequential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
