/* The phases of a failover: together the whole time, or none told. */
#include "client/failover_phases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char g_info[] = "role:leader\r\ntakeover_term:2\r\ntakeover_suspected_ns:1100\r\n"
                             "takeover_fenced_ns:1130\r\ntakeover_granted_ns:1170\r\n"
                             "takeover_adopted_ns:1170\r\ntakeover_committed_ns:1200\r\n";

static void take__whole_takeover__phases_sum_to_the_total(void **state)
{
    (void)state;
    struct lks_failover_round round;
    lks_failover_round_take(&round, g_info, 1000, 1250);
    static const uint64_t wanted[LKS_FAILOVER_PHASES] = {100, 30, 40, 0, 30, 50};
    uint64_t sum = 0;
    assert_true(round.told);
    for (uint32_t i = 0; i < LKS_FAILOVER_PHASES; i++) {
        assert_int_equal(round.phases_ns[i], wanted[i]);
        sum += round.phases_ns[i];
    }
    assert_int_equal(sum, round.total_ns);
}

static void take__takeover_of_another_loss__not_told(void **state)
{
    (void)state;
    static const struct {
        const char *info;
        uint64_t lost_ns;
        uint64_t answered_ns;
    } cases[] = {
        {g_info, 1110, 1250},              /* suspected before the loss */
        {g_info, 1000, 1199},              /* answered before it led */
        {"role:follower\r\n", 1000, 1250}, /* never led */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lks_failover_round round;
        lks_failover_round_take(&round, cases[i].info, cases[i].lost_ns, cases[i].answered_ns);
        assert_false(round.told);
        assert_int_equal(round.total_ns, cases[i].answered_ns - cases[i].lost_ns);
        assert_int_equal(round.phases_ns[LKS_FAILOVER_DETECT], 0);
    }
}

static void print__medians_of_what_was_told__and_each_round(void **state)
{
    (void)state;
    struct lks_failover_round rounds[3];
    char text[1024] = "";
    lks_failover_round_take(&rounds[0], g_info, 1000, 1250);
    lks_failover_round_take(&rounds[1], "", 1000, 9000);
    lks_failover_round_take(&rounds[2], g_info, 1050, 1300);
    FILE *file = fmemopen(text, sizeof text, "w");
    assert_non_null(file);
    lks_failover_print_json(file, rounds, 3);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, "\"detect_ns\":100,\"fence_ns\":30,\"vote_ns\":40,\"adopt_ns\":0,"
                              "\"commit_ns\":30,\"answer_ns\":100,\"rounds\":{"
                              "\"total_ns\":[250,250],\"detect_ns\":[100,50],"
                              "\"fence_ns\":[30,30],\"vote_ns\":[40,40],\"adopt_ns\":[0,0],"
                              "\"commit_ns\":[30,30],\"answer_ns\":[50,100]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take__whole_takeover__phases_sum_to_the_total),
        cmocka_unit_test(take__takeover_of_another_loss__not_told),
        cmocka_unit_test(print__medians_of_what_was_told__and_each_round),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
