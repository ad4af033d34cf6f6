/* What a run shows of the members: who may still count on whom, and what must never be. */
#include "sim/members.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct lks_sim_verdict verdict;
static struct lks_sim_members members;

static int setup(void **state)
{
    (void)state;
    memset(&verdict, 0, sizeof verdict);
    lks_sim_members_init(&members, &verdict, 0x0e);
    return 0;
}

static void see(uint64_t number, uint8_t voters, uint8_t learners, bool committed)
{
    const struct lks_members seen = {.number = number, .voters = voters, .learners = learners};
    lks_sim_members_seen(&members, &seen, committed);
}

static void seen__uncommitted_removal__still_names_both(void **state)
{
    (void)state;
    uint32_t least = 0;
    see(1, 0x06, 0, false);
    assert_int_equal(lks_sim_members_named(&members), 0x0e);
    assert_int_equal(lks_sim_members_voters(&members, &least), 0x0e);
    assert_int_equal(least, 2);
    assert_int_equal(lks_sim_members_certain(&members), 0x0e);
    see(1, 0x06, 0, true);
    assert_int_equal(lks_sim_members_named(&members), 0x06);
    assert_int_equal(members.changes, 1);
}

static void seen__none_known__says_nothing(void **state)
{
    (void)state;
    see(0, 0, 0, true);
    assert_int_equal(lks_sim_members_certain(&members), 0x0e);
    assert_false(verdict.broken);
}

static void seen__two_committed_under_one_number__is_a_violation(void **state)
{
    (void)state;
    see(1, 0x06, 0, true);
    assert_false(verdict.broken);
    see(1, 0x0e, 0x10, true);
    assert_true(verdict.broken);
}

static void founded__proposals_of_the_old_cluster__are_gone(void **state)
{
    (void)state;
    uint32_t least = 0;
    see(1, 0x06, 0, true);
    see(2, 0x06, 0x10, false);
    lks_sim_members_founded(&members, 2, 2);
    assert_int_equal(lks_sim_members_named(&members), 0x04);
    assert_int_equal(lks_sim_members_voters(&members, &least), 0x04);
    assert_int_equal(least, 1);
    see(2, 0x04, 0, true);
    assert_false(verdict.broken);
}

static void removed__member__is_a_violation(void **state)
{
    (void)state;
    see(1, 0x06, 0, true);
    lks_sim_members_removed(&members, 3);
    assert_false(verdict.broken);
    lks_sim_members_removed(&members, 2);
    assert_true(verdict.broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(seen__uncommitted_removal__still_names_both, setup),
        cmocka_unit_test_setup(seen__none_known__says_nothing, setup),
        cmocka_unit_test_setup(seen__two_committed_under_one_number__is_a_violation, setup),
        cmocka_unit_test_setup(founded__proposals_of_the_old_cluster__are_gone, setup),
        cmocka_unit_test_setup(removed__member__is_a_violation, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
