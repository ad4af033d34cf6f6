/* Partitions that commands have tied together, until their snapshots are taken. */
#include "node/ties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void expect(const struct lks_ties *ties, uint32_t partition, uint32_t count,
                   const uint32_t *wanted)
{
    uint32_t members[LKS_TIES_PARTITIONS_MAX];
    assert_int_equal(lks_ties_members(ties, partition, members), count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(members[i], wanted[i]);
    }
}

static void ties__through_others__are_one_group(void **state)
{
    (void)state;
    struct lks_ties ties;
    lks_ties_init(&ties, 8);
    expect(&ties, 3, 1, (const uint32_t[]){3});
    lks_ties_join(&ties, (const uint16_t[]){1, 5}, 2);
    lks_ties_join(&ties, (const uint16_t[]){2, 6, 7}, 3);
    lks_ties_join(&ties, (const uint16_t[]){5, 6}, 2);
    expect(&ties, 7, 5, (const uint32_t[]){1, 2, 5, 6, 7});
    expect(&ties, 1, 5, (const uint32_t[]){1, 2, 5, 6, 7});
    expect(&ties, 4, 1, (const uint32_t[]){4});
    lks_ties_join(&ties, NULL, 0);
    assert_true(lks_ties_same(&ties, 0, 7));
}

static void release__group__later_ties_are_its_only_ones(void **state)
{
    (void)state;
    struct lks_ties ties;
    uint32_t members[8];
    lks_ties_init(&ties, 8);
    lks_ties_join(&ties, (const uint16_t[]){0, 4}, 2);
    const uint32_t count = lks_ties_members(&ties, 4, members);
    lks_ties_release(&ties, members, count);
    expect(&ties, 0, 1, (const uint32_t[]){0});
    lks_ties_join(&ties, (const uint16_t[]){4, 6}, 2);
    expect(&ties, 6, 2, (const uint32_t[]){4, 6});
    lks_ties_restore(&ties, members, count); /* they were not written after all */
    expect(&ties, 6, 3, (const uint32_t[]){0, 4, 6});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties__through_others__are_one_group),
        cmocka_unit_test(release__group__later_ties_are_its_only_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
