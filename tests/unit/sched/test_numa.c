/* Memory on NUMA nodes: who asks, how often, and what a refusal means. */
#include "sched/home.h"
#include "tests/unit/sched/numa_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096u

static struct numa_rig g_rig;

static int set_up(void **state)
{
    (void)state;
    numa_rig_init(&g_rig);
    return 0;
}

static void bit__any_number__of_one_node_or_wherever(void **state)
{
    (void)state;
    assert_int_equal(lks_numa_bit(0), 1);
    assert_true(lks_numa_bit(63) == UINT64_C(1) << 63);
    assert_int_equal(lks_numa_bit(64), 0);
    assert_int_equal(lks_numa_bit(-1), 0);
}

static void place__one_node_or_wherever__nobody_is_asked(void **state)
{
    (void)state;
    unsigned char area[64];
    lks_numa_place(NULL, area, sizeof area, 1);
    lks_numa_place(&g_rig.numa, area, sizeof area, 0);
    lks_numa_prefer(NULL, 1);
    lks_numa_prefer(&g_rig.numa, 0);
    assert_int_equal(g_rig.areas_count, 0);
    assert_int_equal(g_rig.prefers, 0);
}

static void place__refused__warns_once_and_asks_no_more(void **state)
{
    (void)state;
    unsigned char area[64];
    g_rig.answer = -EPERM;
    for (int i = 0; i < 5; i++) {
        lks_numa_place(&g_rig.numa, area, sizeof area, 2);
        lks_numa_prefer(&g_rig.numa, 2);
    }
    assert_int_equal(g_rig.areas_count, 1);
    assert_int_equal(g_rig.prefers, 0);
    assert_int_equal(g_rig.warnings, 1);
    assert_non_null(strstr(g_rig.warning, "the memory of workers is not placed by NUMA node"));
    assert_non_null(strstr(g_rig.warning, "not permitted"));
    assert_non_null(strstr(g_rig.warning, "--cap-add SYS_NICE"));
    lks_numa_fini(&g_rig.numa);
    assert_int_equal(g_rig.prefers, 0); /* nothing was preferred: nothing to give back */
}

static void prefer__the_same_again__is_asked_once_and_given_back(void **state)
{
    (void)state;
    lks_numa_prefer(&g_rig.numa, 2);
    lks_numa_prefer(&g_rig.numa, 2);
    assert_int_equal(g_rig.prefers, 1);
    lks_numa_prefer(&g_rig.numa, 1);
    assert_int_equal(g_rig.prefers, 2);
    lks_numa_fini(&g_rig.numa);
    assert_int_equal(g_rig.prefers, 3);
    assert_int_equal(g_rig.preferred, 0);
    struct lks_numa zeroed = {0};
    lks_numa_fini(&zeroed);
}

static void prefer__refused__warns_and_keeps_nothing(void **state)
{
    (void)state;
    g_rig.answer = -ENOSYS;
    lks_numa_prefer(&g_rig.numa, 2);
    lks_numa_prefer(&g_rig.numa, 0);
    assert_int_equal(g_rig.prefers, 1);
    assert_int_equal(g_rig.warnings, 1);
    assert_non_null(strstr(g_rig.warning, "the memory of partitions"));
}

static void init__this_machine__first_node_as_asked_or_why_not(void **state)
{
    (void)state;
    struct lks_error err = {0};
    struct lks_numa numa;
    assert_int_equal(lks_numa_init(&numa, &g_rig.log, &err), 0);
    assert_true(numa.ops->has(numa.machine, 0));
    assert_false(numa.ops->has(numa.machine, 4321));
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    lks_numa_place(&numa, page, PAGE, 1);
    *(unsigned char *)page = 1;
    int node = -1;
    const long rc = syscall(SYS_move_pages, 0, 1UL, &page, NULL, &node, 0);
    assert_int_equal(numa.refused ? 0 : node, 0);
    assert_true(numa.refused || rc == 0);
    lks_numa_prefer(&numa, 1);
    assert_true(numa.refused || numa.preferred == 1);
    assert_int_equal(g_rig.warnings, numa.refused);
    lks_numa_fini(&numa);
    assert_int_equal(munmap(page, PAGE), 0);
}

/* ---- homes ---- */

static void take__wherever__zeroed_by_lines_and_unbound(void **state)
{
    (void)state;
    struct lks_home home;
    lks_home_init(&home, &g_rig.numa, 0, 3);
    for (size_t bytes = 1; bytes < 300000; bytes *= 3) {
        unsigned char *taken = lks_home_take(&home, bytes, 5);
        assert_non_null(taken);
        assert_int_equal((uintptr_t)taken % 64, 0);
        for (size_t i = 0; i < bytes * 5; i++) {
            assert_int_equal(taken[i], 0);
        }
        memset(taken, 'x', bytes * 5);
    }
    assert_int_equal(g_rig.areas_count, 0);
    lks_home_fini(&home);
    lks_home_fini(&home);
}

static void take__on_a_node__whole_pages_shared_with_no_other(void **state)
{
    (void)state;
    struct lks_home homes[2];
    lks_home_init(&homes[0], &g_rig.numa, 1, 0);
    lks_home_init(&homes[1], &g_rig.numa, 2, 1);
    for (uint32_t i = 0; i < 40; i++) {
        unsigned char *taken = lks_home_take(&homes[i % 2], 1000 + i * 900, 7);
        assert_non_null(taken);
        const size_t bytes = (1000 + i * 900) * 7;
        assert_int_equal((uintptr_t)taken % 64, 0);
        assert_int_equal(taken[0] | taken[bytes - 1], 0);
        memset(taken, 'x', bytes);
        assert_int_equal(numa_rig_nodes_of(&g_rig, taken), 1u << i % 2);
        assert_int_equal(numa_rig_nodes_of(&g_rig, taken + bytes - 1), 1u << i % 2);
    }
    for (uint32_t i = 0; i < g_rig.areas_count; i++) {
        assert_int_equal((uintptr_t)g_rig.areas[i].address % PAGE, 0);
        assert_int_equal(g_rig.areas[i].bytes % PAGE, 0);
    }
    lks_home_fini(&homes[0]);
    lks_home_fini(&homes[1]);
}

static void take__large__mapped_and_in_turns(void **state)
{
    (void)state;
    struct lks_home home;
    lks_home_init(&home, &g_rig.numa, 3, 0);
    unsigned char *taken = lks_home_take(&home, 1u << 20, 8);
    assert_non_null(taken);
    assert_int_equal(g_rig.areas_count, 1);
    assert_int_equal(g_rig.areas[0].nodes, 3);
    assert_int_equal(g_rig.areas[0].bytes, UINT64_C(8) << 20);
    assert_int_equal(taken[(8u << 20) - 1], 0);
    lks_home_fini(&home);
}

static void take__refused__memory_all_the_same(void **state)
{
    (void)state;
    struct lks_home home;
    g_rig.answer = -EPERM;
    lks_home_init(&home, &g_rig.numa, 2, 0);
    for (int i = 0; i < 8; i++) {
        unsigned char *taken = lks_home_take(&home, 60000, 1);
        assert_non_null(taken);
        memset(taken, 'x', 60000);
    }
    assert_int_equal(g_rig.areas_count, 1);
    assert_int_equal(g_rig.warnings, 1);
    lks_home_fini(&home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bit__any_number__of_one_node_or_wherever),
        cmocka_unit_test_setup(place__one_node_or_wherever__nobody_is_asked, set_up),
        cmocka_unit_test_setup(place__refused__warns_once_and_asks_no_more, set_up),
        cmocka_unit_test_setup(prefer__the_same_again__is_asked_once_and_given_back, set_up),
        cmocka_unit_test_setup(prefer__refused__warns_and_keeps_nothing, set_up),
        cmocka_unit_test_setup(init__this_machine__first_node_as_asked_or_why_not, set_up),
        cmocka_unit_test_setup(take__wherever__zeroed_by_lines_and_unbound, set_up),
        cmocka_unit_test_setup(take__on_a_node__whole_pages_shared_with_no_other, set_up),
        cmocka_unit_test_setup(take__large__mapped_and_in_turns, set_up),
        cmocka_unit_test_setup(take__refused__memory_all_the_same, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
