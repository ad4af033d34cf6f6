/*
 * Power cuts before every store, write-back and fence of a few workloads: a bounded share of what
 * `lockstep-sim --crash-points` does.
 */
#include "sim/crash_points.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef LKS_SANITIZED
#define EVERY 16u
#else
#define EVERY 4u
#endif

static struct lks_sim_crash_sums run(const char *name, uint32_t every, bool from_start)
{
    struct lks_sim_crash_sums sums = {0};
    struct lks_sim_script script;
    struct lks_error err = {0};
    char found[128] = "";
    const struct lks_sim_crash_options options = {.replicas = 3,
                                                  .seed = 1,
                                                  .every = every,
                                                  .from_start = from_start,
                                                  .report = stderr,
                                                  .report_events_max = 60,
                                                  .violations_max = 1};
    for (uint32_t place = 0; strcmp(found, name) != 0; place++) {
        assert_true(lks_sim_script_at(place, &script));
        lks_sim_script_print(&script, found, sizeof found);
    }
    assert_int_equal(lks_sim_crash_points(&options, &script, &sums, &err), 0);
    assert_int_equal(sums.violations, 0);
    assert_int_equal(sums.same + sums.skipped + sums.runs, sums.subsets);
    return sums;
}

static void cut__around_a_crash_of_the_leader__nothing_lost(void **state)
{
    (void)state;
    const struct lks_sim_crash_sums sums = run("flush:write,count/crash~1", EVERY, false);
    assert_true(sums.runs > 20);
    assert_true(sums.runs_twice > 0);
    assert_true(sums.same > 0);
    assert_true(sums.skipped > 0);
    assert_true(sums.stores > 0);
    assert_true(sums.write_backs > 0);
    assert_true(sums.fences > 0);
    assert_true(sums.remote > 0);
}

static void cut__around_a_pause_of_the_leader__nothing_lost(void **state)
{
    (void)state;
    (void)run("ack:count,read/pause@1", EVERY, false);
}

static void cut__around_a_transfer__nothing_lost(void **state)
{
    (void)state;
    (void)run("flush:write,read,count/transfer~2", 2 * EVERY, false);
}

/* Stores of snapshots, of manifests, of the base that follows them. */
static void cut__while_snapshots_are_taken__nothing_lost(void **state)
{
    (void)state;
    const struct lks_sim_crash_sums sums = run("flush+snapshots:fill/none", 40 * EVERY, false);
    assert_true(sums.runs > 4);
    assert_true(sums.snapshots > 5);
    assert_int_equal(sums.installs, 0);
}

/* A follower that was away for long copies another's snapshots, and the copying is cut. */
static void cut__while_a_peers_snapshots_are_installed__nothing_lost(void **state)
{
    (void)state;
    const struct lks_sim_crash_sums sums = run("flush+install:/none", 80 * EVERY, false);
    assert_true(sums.runs > 4);
    assert_int_equal(sums.installs, 1);
}

/* Also while journals are opened for the first time and the first leader is elected. */
static void cut__from_the_start__nothing_lost(void **state)
{
    (void)state;
    const struct lks_sim_crash_sums part = run("flush:/none", 4 * EVERY, false);
    const struct lks_sim_crash_sums whole = run("flush:/none", 4 * EVERY, true);
    assert_true(whole.stores > part.stores + 10);
}

static void script_at__all__different_names(void **state)
{
    (void)state;
    enum { MOST = 4096 };
    static char names[MOST][64];
    struct lks_sim_script script;
    uint32_t count = 0;
    for (; lks_sim_script_at(count, &script); count++) {
        assert_true(count < MOST);
        lks_sim_script_print(&script, names[count], sizeof names[count]);
        assert_true(script.change == LKS_SIM_SCRIPT_NO_CHANGE ||
                    script.change_at <= script.operations_count);
    }
    const uint32_t journals_alone = 2 * (4 + 3 * 10 + 9 * 16 + 27 * 22);
    const uint32_t snapshots = 2 * (4 + 2 * 10 + 4 * 16);
    const uint32_t installs = 2 * (4 + 2 * 10);
    assert_int_equal(count, journals_alone + snapshots + installs);
    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t b = 0; b < a; b++) {
            assert_string_not_equal(names[a], names[b]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut__around_a_crash_of_the_leader__nothing_lost),
        cmocka_unit_test(cut__around_a_pause_of_the_leader__nothing_lost),
        cmocka_unit_test(cut__around_a_transfer__nothing_lost),
        cmocka_unit_test(cut__while_snapshots_are_taken__nothing_lost),
        cmocka_unit_test(cut__while_a_peers_snapshots_are_installed__nothing_lost),
        cmocka_unit_test(cut__from_the_start__nothing_lost),
        cmocka_unit_test(script_at__all__different_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
