/* The plan of threads on cores, on whatever machine the test runs, and on described ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct lks_topology_plan g_plan;

static void plan_for(const struct lks_topology_options *options)
{
    struct lks_error err = {0};
    if (lks_topology_plan_make(&g_plan, options, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

static void make__any_number__each_on_a_thread_of_its_own_then_none(void **state)
{
    (void)state;
    const uint32_t counts[] = {0, 1, 4, LKS_WORKERS_MAX};
    for (size_t i = 0; i < 4; i++) {
        plan_for(&(struct lks_topology_options){.workers = counts[i]});
        assert_true(g_plan.cores >= 1);
        assert_int_equal(g_plan.dispatcher.cpu, lks_topology_plan_core_cpu(&g_plan));
        assert_int_equal(g_plan.dispatcher.cpu >= 0, counts[i] > 0 && counts[i] < g_plan.cpus);
        assert_int_equal(g_plan.crowded, counts[i] + 1 > g_plan.cpus);
        for (uint32_t w = 0; w < counts[i]; w++) {
            const int cpu = g_plan.worker[w].cpu;
            assert_int_equal(cpu >= 0, w + 1 < g_plan.cpus);
            assert_true(cpu < 0 || cpu != g_plan.dispatcher.cpu);
            for (uint32_t v = 0; v < w && cpu >= 0; v++) {
                assert_int_not_equal(g_plan.worker[v].cpu, cpu);
                assert_true(w + 1 >= g_plan.cores ||
                            g_plan.worker[v].core != g_plan.worker[w].core);
            }
        }
    }
}

static void make__too_many_or_no_machine__refused(void **state)
{
    (void)state;
    struct lks_error err = {0};
    const struct lks_topology_options many = {.workers = LKS_WORKERS_MAX + 1};
    assert_int_equal(lks_topology_plan_make(&g_plan, &many, &err), -EINVAL);
    assert_non_null(strstr(err.text, "64 workers"));
    const struct lks_topology_options strange = {.workers = 1, .machine = "a house"};
    assert_int_equal(lks_topology_plan_make(&g_plan, &strange, &err), -EINVAL);
    assert_non_null(strstr(err.text, "machine 'a house'"));
}

static void make__caches_of_four__those_of_the_core_thread_first(void **state)
{
    (void)state;
    plan_for(&(struct lks_topology_options){.workers = 5, .machine = "numa:2 l3:2 core:4 pu:1"});
    assert_int_equal(g_plan.cores, 16);
    assert_false(g_plan.crowded);
    assert_int_equal(g_plan.dispatcher.core, 0);
    for (int w = 0; w < 3; w++) {
        assert_int_equal(g_plan.worker[w].core, w + 1);
        assert_non_null(strstr(g_plan.worker[w].why, "shares a cache"));
    }
    assert_int_equal(g_plan.worker[3].core, 4);
    assert_non_null(strstr(g_plan.worker[3].why, "same NUMA node"));
    plan_for(&(struct lks_topology_options){.workers = 8, .machine = "numa:2 l3:2 core:4 pu:1"});
    assert_int_equal(g_plan.worker[7].core, 8);
    assert_int_equal(g_plan.worker[7].numa, 1);
    assert_non_null(strstr(g_plan.worker[7].why, "another NUMA node"));
}

static void make__cores_run_out__takes_second_threads_the_core_threads_last(void **state)
{
    (void)state;
    plan_for(&(struct lks_topology_options){.workers = 7, .machine = "numa:1 core:4 pu:2"});
    assert_int_equal(g_plan.cpus, 8);
    assert_false(g_plan.crowded);
    for (int w = 0; w < 3; w++) {
        assert_int_equal(g_plan.worker[w].core, w + 1);
    }
    for (int w = 3; w < 6; w++) {
        assert_int_equal(g_plan.worker[w].core, w - 2);
        assert_int_not_equal(g_plan.worker[w].cpu, g_plan.worker[w - 3].cpu);
        assert_non_null(strstr(g_plan.worker[w].why, "cores have run out"));
    }
    assert_int_equal(g_plan.worker[6].core, g_plan.dispatcher.core);
    assert_int_not_equal(g_plan.worker[6].cpu, g_plan.dispatcher.cpu);
    assert_true(lks_topology_plan_core_cpu(&g_plan) >= 0);
    plan_for(&(struct lks_topology_options){.workers = 8, .machine = "numa:1 core:4 pu:2"});
    assert_true(g_plan.crowded);
    assert_int_equal(g_plan.worker[7].cpu, -1);
    assert_int_equal(lks_topology_plan_core_cpu(&g_plan), -1);
}

static void make__device_on_a_node__begins_there(void **state)
{
    (void)state;
    struct lks_topology_options options = {
        .workers = 3, .near_node = true, .node = 1, .machine = "numa:2 core:4 pu:1"};
    plan_for(&options);
    assert_int_equal(g_plan.dispatcher.numa, 1);
    assert_non_null(strstr(g_plan.dispatcher.why, "NUMA node 1"));
    for (int w = 0; w < 3; w++) {
        assert_int_equal(g_plan.worker[w].numa, 1);
    }
    options.places = 2;
    options.place = 1; /* the other replica has taken that node */
    plan_for(&options);
    assert_int_equal(g_plan.dispatcher.numa, 0);
    assert_non_null(strstr(g_plan.dispatcher.why, "no core is left on NUMA node 1"));
    options.node = 7;
    options.place = 0;
    plan_for(&options);
    assert_int_equal(g_plan.dispatcher.core, 0);
}

static void make__replicas_of_one_host__have_cores_of_their_own(void **state)
{
    (void)state;
    struct lks_topology_options options = {
        .workers = 2, .places = 3, .machine = "numa:1 core:10 pu:1"};
    uint32_t used = 0;
    for (options.place = 0; options.place < 3; options.place++) {
        plan_for(&options);
        used |= 1u << g_plan.dispatcher.cpu | 1u << g_plan.worker[0].cpu |
                1u << g_plan.worker[1].cpu;
        assert_false(g_plan.crowded);
    }
    assert_int_equal(__builtin_popcount(used), 9);
    options.machine = "numa:1 core:2 pu:1"; /* fewer cores than replicas: nothing is pinned */
    options.place = 1;
    plan_for(&options);
    assert_true(g_plan.crowded);
    assert_int_equal(g_plan.dispatcher.cpu, -1);
    assert_int_equal(g_plan.worker[0].cpu, -1);
}

static void print__crowded__warns(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    plan_for(&(struct lks_topology_options){.workers = LKS_WORKERS_MAX,
                                            .machine = "numa:1 core:8 pu:2"});
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    lks_topology_plan_print(&g_plan, to);
    lks_topology_plan_draw(&(struct lks_topology_drawing){"replica 1", &g_plan, NULL}, 1, to);
    (void)fclose(to);
    assert_non_null(strstr(text, "core thread       -      -      -  cores are shared"));
    assert_non_null(strstr(text, "worker 62"));
    assert_non_null(strstr(text, "warning: 16 hardware threads for 64 threads"));
    assert_non_null(strstr(text, "replica 1: 8 cores"));
    assert_non_null(strstr(text, "</svg>"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make__any_number__each_on_a_thread_of_its_own_then_none),
        cmocka_unit_test(make__too_many_or_no_machine__refused),
        cmocka_unit_test(make__caches_of_four__those_of_the_core_thread_first),
        cmocka_unit_test(make__cores_run_out__takes_second_threads_the_core_threads_last),
        cmocka_unit_test(make__device_on_a_node__begins_there),
        cmocka_unit_test(make__replicas_of_one_host__have_cores_of_their_own),
        cmocka_unit_test(print__crowded__warns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
