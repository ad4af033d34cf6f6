/*
 * Each allocation of what sched/ makes fails once, in turn: a clean error, nothing left behind, and
 * what was there before goes on. Changing a running scheduler allocates nothing.
 */
#include "base/assert.h"
#include "sched/class_map.h"
#include "sched/memory_node.h"
#include "sched/memory_plan.h"
#include "tests/support/allocations.h"
#include "tests/unit/sched/numa_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 3u

static struct numa_rig g_rig;
static const int g_nodes[WORKERS + 1] = {0, 1, 1, 0};
static uint32_t g_executed;

static void execute(void *ctx, uint32_t worker, uint64_t command)
{
    (void)ctx;
    (void)worker;
    (void)command;
    g_executed++;
}

static void run(struct lks_scheduler *scheduler, uint32_t commands)
{
    for (uint32_t i = 0; i < commands; i++) {
        const lks_access words[] = {lks_access_of(i % 8, i % 3 == 0), lks_access_of(3, false)};
        while (!lks_scheduler_submit(scheduler, i, words, 1 + i % 2)) {
            lks_scheduler_flush(scheduler);
        }
    }
    lks_scheduler_flush(scheduler);
}

/* What is made, and given back if that succeeds. Its code. */
typedef int (*make)(void *ctx, struct lks_error *err);

/* Makes it with the first allocation failing, the second, ... until there is none that could. */
static uint64_t fail_each(make make_it, void *ctx, const int *codes, size_t codes_count)
{
    for (uint64_t number = 1;; number++) {
        struct lks_error err = {0};
        allocations_begin(number);
        const int rc = make_it(ctx, &err);
        const bool failed = allocations_end();
        const int64_t live = allocations_live();
        if (live != 0) {
            fail_msg("allocation %u: %d not given back", (unsigned)number, (int)live);
        }
        if (!failed) {
            assert_int_equal(rc, 0);
            return number - 1;
        }
        bool known = false;
        for (size_t i = 0; i < codes_count; i++) {
            known |= rc == codes[i];
        }
        if (!known || strlen(err.text) < 10) {
            fail_msg("allocation %u: %d, '%s'", (unsigned)number, rc, err.text);
        }
    }
}

static int make_scheduler(void *ctx, struct lks_error *err)
{
    struct lks_scheduler *const none = NULL;
    struct lks_scheduler *scheduler = none;
    const int rc = lks_scheduler_new(&scheduler, ctx, err);
    assert_true((rc == 0) == (scheduler != none));
    lks_scheduler_free(scheduler);
    return rc;
}

static void new__each_allocation_fails__clean_error(void **state)
{
    (void)state;
    static const int codes[] = {-ENOMEM, -EAGAIN}; /* the latter: no thread */
    for (unsigned kind = 0; kind <= LKS_ADAPTIVE; kind++) {
        for (unsigned variant = 0; variant < 4; variant++) {
            numa_rig_init(&g_rig);
            struct lks_scheduler_options options = {.kind = (enum lks_scheduler_kind)kind,
                                                    .workers = WORKERS,
                                                    .window = 64,
                                                    .slots = 1u << 16,
                                                    .classes = 8,
                                                    .manual = (variant & 1) != 0,
                                                    .execute = execute};
            if ((variant & 2) != 0) {
                options.numa = &g_rig.numa;
                options.nodes = g_nodes;
            }
            const uint64_t failed = fail_each(make_scheduler, &options, codes, 2);
            assert_true(failed >= (options.manual ? 8 : 8 + WORKERS));
        }
    }
}

static int make_map(void *ctx, struct lks_error *err)
{
    struct lks_class_map *map = NULL;
    struct lks_class_map *copy = NULL;
    const struct lks_class_load *load = ctx;
    int rc = load == NULL ? lks_class_map_shards(&map, 8, NULL, WORKERS)
                          : lks_class_map_solve(&map, load, WORKERS);
    rc = rc == 0 ? lks_class_map_copy(&copy, map) : rc;
    lks_class_map_free(map);
    lks_class_map_free(copy);
    return rc == 0 ? 0 : lks_error_set(err, rc, "the map of classes: %s", lks_error_text(rc));
}

static bool conflict(const void *ctx, uint32_t a, uint32_t b)
{
    (void)ctx;
    return a / 2 == b / 2 && (a | b) % 2 != 0;
}

static void class_map__each_allocation_fails__no_map(void **state)
{
    (void)state;
    static const int codes[] = {-ENOMEM};
    struct lks_class_load load = {.classes = 16, .conflict = conflict};
    assert_int_equal(fail_each(make_map, NULL, codes, 1), 2);
    assert_int_equal(fail_each(make_map, &load, codes, 1), 4);
}

static int make_plan(void *ctx, struct lks_error *err)
{
    static struct lks_topology_plan plan;
    static struct lks_memory_plan memory;
    const struct lks_topology_options options = {.workers = WORKERS, .machine = ctx};
    const int rc = lks_topology_plan_make(&plan, &options, err);
    return rc != 0 ? rc : lks_memory_plan_make(&memory, &plan, LKS_EARLY, 64, err);
}

static void topology__each_allocation_fails__no_plan(void **state)
{
    (void)state;
    static const int codes[] = {-ENOMEM, -ENOTSUP}; /* the latter: hwloc's own */
    char machine[] = "numa:2 core:4 pu:1";
    assert_true(fail_each(make_plan, machine, codes, 2) >= 5);
    assert_true(fail_each(make_plan, NULL, codes, 2) >= 4);
}

static int make_memory_node(void *ctx, struct lks_error *err)
{
    struct lks_memory_node *memory = NULL;
    (void)ctx;
    const int rc = lks_memory_node_begin(&memory, 0, err);
    lks_memory_node_end(memory);
    return rc == -EPERM || rc == -ENOSYS ? 0 : rc; /* (it may not choose: no allocation failed) */
}

static void numa__each_allocation_fails__no_machine(void **state)
{
    (void)state;
    static const int codes[] = {-ENOMEM};
    assert_int_equal(fail_each(make_memory_node, NULL, codes, 1), 5);
}

static void switch__no_allocation_possible__goes_through_all_kinds(void **state)
{
    (void)state;
    struct lks_error err = {0};
    for (unsigned variant = 0; variant < 2; variant++) {
        struct lks_scheduler *scheduler = NULL;
        const struct lks_scheduler_options options = {.kind = LKS_EARLY,
                                                      .workers = WORKERS,
                                                      .window = 64,
                                                      .slots = 1024,
                                                      .classes = 8,
                                                      .manual = variant == 0,
                                                      .execute = execute};
        assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
        g_executed = 0;
        allocations_begin(ALLOCATIONS_ALL);
        for (unsigned i = 0; i < 25; i++) {
            const enum lks_scheduler_kind kind = (enum lks_scheduler_kind)(i * 7 / 5 % 5);
            assert_int_equal(lks_scheduler_switch(scheduler, kind, 0, &err), 0);
            if (variant == 0) { /* (where workers are threads, they would count without order) */
                run(scheduler, 300);
            }
        }
        assert_int_equal(lks_scheduler_switch(scheduler, LKS_EARLY, 1, &err), -EINVAL);
        if (variant == 0) {
            run(scheduler, 300); /* as before the refusal */
            assert_int_equal(g_executed, 26 * 300);
        }
        const bool any = allocations_end();
        assert_false(any);
        assert_int_equal(allocations_calls(), 0);
        lks_scheduler_free(scheduler);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new__each_allocation_fails__clean_error),
        cmocka_unit_test(class_map__each_allocation_fails__no_map),
        cmocka_unit_test(topology__each_allocation_fails__no_plan),
        cmocka_unit_test(numa__each_allocation_fails__no_machine),
        cmocka_unit_test(switch__no_allocation_possible__goes_through_all_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
