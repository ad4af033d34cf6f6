/* Random workloads under drawn options; see equal.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/sched/equal.h"

#include "base/assert.h"

#include <sched.h>

/* Long enough for several levels to be tried. */
#define ADAPTIVE_TIMES 8u

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

struct equal_totals equal_totals;

static void note_totals(const struct lks_scheduler *scheduler)
{
    struct lks_scheduler_statistics statistics;
    lks_scheduler_statistics(scheduler, &statistics);
    equal_totals.everything += statistics.everything;
    equal_totals.refused += statistics.refused;
    equal_totals.synchronised += statistics.synchronised;
    equal_totals.dependent += statistics.dependent;
    equal_totals.switches += statistics.switches;
    for (uint32_t worker = 0; worker <= statistics.workers; worker++) {
        struct lks_worker_statistics of;
        lks_scheduler_worker_statistics(scheduler, worker, &of);
        equal_totals.stolen += of.stolen;
        equal_totals.given += of.given;
        equal_totals.waited += of.waited;
        assert_int_equal(of.depth, 0);
    }
}

/* The first processor that this process may use: workers that are all pinned to it take turns. */
static int first_cpu(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    int cpu = 0;
    while (!CPU_ISSET((unsigned)cpu, &set)) {
        cpu++;
    }
    return cpu;
}

void equal_run(uint64_t seed, enum lks_scheduler_kind kind, bool manual,
               void (*between)(void *ctx, struct lks_scheduler *scheduler, uint32_t command))
{
    struct workload workload;
    struct workload_options drawn = workload_draw(seed);
    if (kind == LKS_ADAPTIVE && !manual) {
        drawn.commands *= ADAPTIVE_TIMES;
    }
    if (manual) {
        drawn.burn_ns_max = 0;
        drawn.stall_permille = 0;
    }
    workload_init(&workload, &drawn);
    struct lks_scheduler_options options = draw_options(seed, &workload);
    options.kind = kind;
    options.manual = manual;
    int cpus[8];
    for (uint32_t i = 0; i < LKS_COUNT_OF(cpus); i++) {
        cpus[i] = i % 3 == 2 ? -1 : first_cpu();
    }
    options.cpus = seed % 5 == 0 ? cpus : NULL;
    struct lks_scheduler *scheduler = NULL;
    struct lks_error err = {0};
    if (lks_scheduler_new(&scheduler, &options, &err) != 0) {
        fail_msg("%s", err.text);
    }
    struct equal_run_state run = {.random = seed, .workload = &workload};
    workload_run(&workload, scheduler, between, &run);
    const char *early = workload_not_executed(&workload, lks_scheduler_applied(scheduler));
    assert_null(early);
    assert_int_equal(lks_scheduler_applied(scheduler) + workload.in_place, drawn.commands);
    equal_totals.in_place += workload.in_place;
    note_totals(scheduler);
    lks_scheduler_free(scheduler);
    const char *difference = workload_difference(&workload);
    if (difference != NULL) {
        fail_run(seed, &options, difference);
    }
    workload_fini(&workload);
}

/* Another kind, or number of workers, now and then. */
void equal_change_kind(void *ctx, struct lks_scheduler *scheduler, uint32_t command)
{
    uint64_t *random = &((struct equal_run_state *)ctx)->random;
    if (workload_random(random) % 400 == 0) {
        const unsigned kind = (unsigned)(workload_random(random) % (LKS_ADAPTIVE + 1));
        assert_int_equal(
            lks_scheduler_switch(scheduler, (enum lks_scheduler_kind)kind, 0, NULL), 0);
    }
    if (workload_random(random) % 300 == 0) {
        lks_scheduler_set_active(scheduler, 1 + command % 8);
    }
}
