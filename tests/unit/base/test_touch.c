/* Accesses of a service against the footprint of its command, as debug builds check them. */
#include "lockstep/touch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/expect_assert.h"

#define PARTITIONS 64u

/* Reads partition 3, writes partition 5. */
static const struct lks_footprint g_two = {.count = 2, .reads = 1, .partitions = {3, 5}};

static int forget(void **state)
{
    (void)state;
    lks_touch_expect(NULL, 0);
    return 0;
}

static void touch__as_declared__nothing_happens(void **state)
{
    (void)state;
    lks_touch_expect(&g_two, PARTITIONS);
    lks_touch(3, false);
    lks_touch(5, false);
    lks_touch(5 + 7 * PARTITIONS, true);
}

static void touch__another_partition__asserted(void **state)
{
    (void)state;
    lks_touch_expect(&g_two, PARTITIONS);
    EXPECT_ASSERT(lks_touch(4, false));
    EXPECT_ASSERT(lks_touch(4 + PARTITIONS, true));
}

static void touch__written_but_declared_as_read__asserted(void **state)
{
    (void)state;
    lks_touch_expect(&g_two, PARTITIONS);
    EXPECT_ASSERT(lks_touch(3, true));
}

static void touch__declared_nothing__each_access_asserted(void **state)
{
    (void)state;
    struct lks_footprint nothing;
    lks_footprint_clear(&nothing);
    lks_touch_expect(&nothing, PARTITIONS);
    EXPECT_ASSERT(lks_touch(0, false));
}

static void touch__keys_are_named__others_of_their_partition_asserted(void **state)
{
    (void)state;
    const uint64_t key = 9 * PARTITIONS + 5;
    const struct lks_footprint keys = {.count = 1, .partitions = {5}, .keys_count = 2,
                                       .keys = {key << 1 | 1, (key + PARTITIONS) << 1}};
    lks_touch_expect(&keys, PARTITIONS);
    lks_touch(key, true);
    lks_touch(key + PARTITIONS, false);
    EXPECT_ASSERT(lks_touch(key + PARTITIONS, true)); /* only read */
    EXPECT_ASSERT(lks_touch(key + 2 * PARTITIONS, false));
    EXPECT_ASSERT(lks_touch(5, false)); /* the whole partition */
}

static void touch__all_or_no_command__anything_goes(void **state)
{
    (void)state;
    const struct lks_footprint all = {.count = LKS_FOOTPRINT_ALL};
    lks_touch_expect(&all, PARTITIONS);
    lks_touch(77, true);
    lks_touch_expect(NULL, 0);
    lks_touch(77, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(touch__as_declared__nothing_happens, forget),
        cmocka_unit_test_teardown(touch__another_partition__asserted, forget),
        cmocka_unit_test_teardown(touch__written_but_declared_as_read__asserted, forget),
        cmocka_unit_test_teardown(touch__declared_nothing__each_access_asserted, forget),
        cmocka_unit_test_teardown(touch__keys_are_named__others_of_their_partition_asserted,
                                  forget),
        cmocka_unit_test_teardown(touch__all_or_no_command__anything_goes, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
