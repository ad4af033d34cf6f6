/*
 * Workers are steps, in an order that the seed draws: rare orders come up, and a run repeats
 * exactly. Here planted bugs are hunted (tests/mutations).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "tests/unit/sched/equal.h"

#define RUNS 300u

static const enum lks_scheduler_kind parallel[] = {LKS_EARLY, LKS_LATE, LKS_HYBRID, LKS_ADAPTIVE};

/* Some steps of some workers, one of which may be left out for long: a stalled one. */
static void some_steps(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    struct equal_run_state *run = ctx;
    uint64_t *random = &run->random;
    struct lks_scheduler_statistics statistics;
    lks_scheduler_statistics(scheduler, &statistics);
    const uint32_t stalled = command / 97 % (statistics.workers + 2);
    for (uint64_t steps = workload_random(random) % 4; steps > 0; steps--) {
        const uint32_t worker = (uint32_t)(workload_random(random) % statistics.workers);
        if (worker != stalled || workload_random(random) % 16 == 0) {
            (void)lks_scheduler_step(scheduler, worker);
        }
    }
    if (workload_random(random) % 8 == 0) {
        const uint64_t applied = lks_scheduler_applied(scheduler);
        assert_null(workload_not_executed(run->workload, applied));
    }
}

static void steps__random_workloads__equal_sequential(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        equal_run(seed, parallel[seed % LKS_COUNT_OF(parallel)], true, some_steps);
    }
}

static void change_kind(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    equal_change_kind(ctx, scheduler, command);
    some_steps(ctx, scheduler, command);
}

static void switching__random_workloads__equal_sequential(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RUNS / 3; seed++) {
        equal_run(seed, LKS_EARLY, true, change_kind);
    }
}

static void runs__all_together__came_across_everything(void **state)
{
    (void)state;
    assert_true(equal_totals.everything > 0);
    assert_true(equal_totals.refused > 0);
    assert_true(equal_totals.synchronised > 0);
    assert_true(equal_totals.dependent > 0);
    assert_true(equal_totals.stolen > 0);
    assert_true(equal_totals.given > 0);
    assert_true(equal_totals.waited > 0);
    assert_true(equal_totals.in_place > 0);
    assert_true(equal_totals.switches > 0);
    print_message("given %llu, stolen %llu, met %llu, dependent %llu\n",
                  (unsigned long long)equal_totals.given, (unsigned long long)equal_totals.stolen,
                  (unsigned long long)equal_totals.synchronised,
                  (unsigned long long)equal_totals.dependent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps__random_workloads__equal_sequential),
        cmocka_unit_test(switching__random_workloads__equal_sequential),
        cmocka_unit_test(runs__all_together__came_across_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
