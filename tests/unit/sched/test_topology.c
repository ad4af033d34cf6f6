/* The plan of threads on cores, on whatever machine the test runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void make__any_number__a_core_each_then_none(void **state)
{
    (void)state;
    static struct lks_topology_plan plan;
    const uint32_t counts[] = {0, 1, 4, LKS_WORKERS_MAX};
    for (size_t i = 0; i < 4; i++) {
        struct lks_error err = {0};
        if (lks_topology_plan_make(&plan, counts[i], &err) != 0) {
            fail_msg("%s", err.text);
        }
        assert_true(plan.cores >= 1);
        assert_true(plan.dispatcher.cpu >= 0);
        assert_int_equal(plan.crowded, counts[i] + 1 > plan.cores);
        for (uint32_t w = 0; w < counts[i]; w++) {
            assert_int_equal(plan.worker[w].cpu >= 0, w + 1 < plan.cores);
            assert_true(plan.worker[w].cpu < 0 || plan.worker[w].cpu != plan.dispatcher.cpu);
            for (uint32_t v = 0; v < w && plan.worker[w].cpu >= 0; v++) {
                assert_int_not_equal(plan.worker[v].core, plan.worker[w].core);
            }
        }
    }
}

static void make__too_many__refused(void **state)
{
    (void)state;
    static struct lks_topology_plan plan;
    struct lks_error err = {0};
    assert_int_equal(lks_topology_plan_make(&plan, LKS_WORKERS_MAX + 1, &err), -EINVAL);
    assert_non_null(strstr(err.text, "64 workers"));
}

static void print__crowded__warns(void **state)
{
    (void)state;
    static struct lks_topology_plan plan;
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(lks_topology_plan_make(&plan, LKS_WORKERS_MAX, NULL), 0);
    plan.crowded = true;
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    lks_topology_plan_print(&plan, to);
    lks_topology_plan_draw(&plan, to);
    (void)fclose(to);
    assert_non_null(strstr(text, "core thread"));
    assert_non_null(strstr(text, "worker 62"));
    assert_non_null(strstr(text, "warning:"));
    assert_non_null(strstr(text, "</svg>"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(make__any_number__a_core_each_then_none),
        cmocka_unit_test(make__too_many__refused),
        cmocka_unit_test(print__crowded__warns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
