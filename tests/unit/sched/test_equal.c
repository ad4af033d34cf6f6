/*
 * Whatever the scheduler and the number of workers, state and replies equal those of executing the
 * commands one by one. Threads: as many runs as the first argument says (60). Steps: workers are
 * steps in an order that the seed draws, so a run repeats exactly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "tests/unit/sched/workload.h"

#include <stdlib.h>
#include <time.h>

#define RUNS 60u
#define STEPPED_RUNS 200u

static uint32_t runs = RUNS;
static uint64_t first_seed = 1;

static const enum lks_scheduler_kind parallel[] = {LKS_EARLY, LKS_LATE, LKS_HYBRID, LKS_ADAPTIVE};

/* Everything but the kind is drawn by the seed. */
static struct lks_scheduler_options draw_options(uint64_t seed, struct workload *workload)
{
    static const uint32_t windows[] = {64, 128, 1024};
    static const uint32_t slots[] = {64, 1024, 1u << 16};
    uint64_t random = seed * 31 + 7;
    return (struct lks_scheduler_options){
        .workers = 1 + (uint32_t)(workload_random(&random) % 8),
        .window = windows[workload_random(&random) % LKS_COUNT_OF(windows)],
        .slots = slots[workload_random(&random) % LKS_COUNT_OF(slots)],
        .lanes = 1 + (uint32_t)(workload_random(&random) % 2 * (workload_random(&random) % 4)),
        .classes = 1u << workload_random(&random) % 7,
        .no_steal = workload_random(&random) % 4 == 0,
        .help = workload_random(&random) % 2 == 0,
        .spin_ns = 1 + workload_random(&random) % 20000,
        .execute = workload_execute,
        .ctx = workload,
    };
}

static void fail_run(uint64_t seed, const struct lks_scheduler_options *options,
                     const char *difference)
{
    print_message("seed %llu, %s, %u workers, window %u, slots %u, lanes %u, classes %u%s%s\n",
                  (unsigned long long)seed, lks_scheduler_kind_name(options->kind),
                  options->workers, options->window, options->slots, options->lanes,
                  options->classes, options->help ? ", help" : "",
                  options->no_steal ? ", no stealing" : "");
    fail_msg("seed %llu: %s", (unsigned long long)seed, difference);
}

static void run_one(uint64_t seed, enum lks_scheduler_kind kind, bool manual,
                    void (*between)(void *, struct lks_scheduler *, uint32_t))
{
    struct workload workload;
    struct workload_options drawn = workload_draw(seed);
    if (manual) {
        drawn.burn_ns_max = 0;
        drawn.stall_permille = 0;
    }
    workload_init(&workload, &drawn);
    struct lks_scheduler_options options = draw_options(seed, &workload);
    options.kind = kind;
    options.manual = manual;
    struct lks_scheduler *scheduler = NULL;
    struct lks_error err = {0};
    if (lks_scheduler_new(&scheduler, &options, &err) != 0) {
        fail_msg("%s", err.text);
    }
    uint64_t random = seed;
    workload_run(&workload, scheduler, between, &random);
    assert_int_equal(lks_scheduler_applied(scheduler), drawn.commands);
    lks_scheduler_free(scheduler);
    const char *difference = workload_difference(&workload);
    if (difference != NULL) {
        fail_run(seed, &options, difference);
    }
    workload_fini(&workload);
}

static void threads__random_workloads__equal_sequential(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < runs; i++) {
        run_one(first_seed + i, parallel[i % LKS_COUNT_OF(parallel)], false, NULL);
    }
}

/* Some steps of some workers, one of which may be left out for long: a stalled one. */
static void some_steps(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    uint64_t *random = ctx;
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
        (void)lks_scheduler_applied(scheduler);
    }
}

static void steps__random_workloads__equal_sequential(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= STEPPED_RUNS; seed++) {
        run_one(seed, parallel[seed % 3], true, some_steps);
    }
}

/* Another kind, or number of workers, now and then. */
static void change_kind(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    uint64_t *random = ctx;
    if (workload_random(random) % 400 == 0) {
        const unsigned kind = (unsigned)(workload_random(random) % (LKS_ADAPTIVE + 1));
        assert_int_equal(
            lks_scheduler_switch(scheduler, (enum lks_scheduler_kind)kind, NULL), 0);
    }
    if (workload_random(random) % 300 == 0) {
        lks_scheduler_set_active(scheduler, 1 + command % 8);
    }
}

static void change_kind_stepped(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    change_kind(ctx, scheduler, command);
    some_steps(ctx, scheduler, command);
}

static void switching__threads__equal_sequential(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < runs / 4 + 1; i++) {
        run_one(first_seed + 7000 + i, LKS_LATE, false, change_kind);
    }
}

static void switching__steps__equal_sequential(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= STEPPED_RUNS / 2; seed++) {
        run_one(seed, LKS_EARLY, true, change_kind_stepped);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        runs = (uint32_t)strtoul(argv[1], NULL, 10);
    }
    if (argc > 2) {
        first_seed = strtoull(argv[2], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads__random_workloads__equal_sequential),
        cmocka_unit_test(steps__random_workloads__equal_sequential),
        cmocka_unit_test(switching__threads__equal_sequential),
        cmocka_unit_test(switching__steps__equal_sequential),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
