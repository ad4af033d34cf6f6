/*
 * Short runs of every profile: no violation, the same seed gives the same run, faults really
 * happen, and a fence that cannot be trusted is found out. `test_runs FIRST LAST` runs those
 * seeds of every profile instead.
 */
#include "sim/cluster.h"
#include "sim/profile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef LKS_SANITIZED
#define SEEDS 2u
#else
#define SEEDS 3u
#endif
#define UNTRUSTED "untrusted-fence"
#define UNTRUSTED_FIRST 28u /* about one seed in seven is found out: begin with such a one */
#define UNTRUSTED_SEEDS_MAX 200u

static struct lks_sim_run_result run(const char *profile, uint64_t seed, uint32_t replicas)
{
    const struct lks_sim_run_options options = {.seed = seed,
                                                .replicas = replicas,
                                                .profile = profile,
                                                .report = stderr,
                                                .report_events_max = 100};
    struct lks_sim_run_result result;
    struct lks_error err;
    assert_int_equal(lks_sim_run(&options, &result, &err), 0);
    return result;
}

static void run_clean(const char *profile, uint64_t seed, uint32_t replicas)
{
    const struct lks_sim_run_result result = run(profile, seed, replicas);
    if (result.verdict.broken) {
        fail_msg("seed %llu, %u replicas, profile %s: %s: %s", (unsigned long long)seed, replicas,
                 profile, result.verdict.invariant, result.verdict.text);
    }
    assert_true(result.executed > 0);
    assert_true(result.answered > 0);
}

static uint64_t g_first = 1;
static uint64_t g_last = SEEDS;

static void run__every_profile__no_violation(void **state)
{
    (void)state;
    static const uint32_t replicas[] = {3, 3, 5, 3, 1, 7};
    const char *name = NULL;
    const char *purpose = NULL;
    for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
        for (uint64_t seed = g_first; lks_sim_profile_share(i) != 0 && seed <= g_last; seed++) {
            run_clean(name, seed, replicas[seed % 6]);
        }
    }
}

static void run__same_seed_twice__same_trace(void **state)
{
    (void)state;
    for (uint64_t seed = 2; seed <= 3; seed++) {
        const struct lks_sim_run_result one = run("chaos", seed, 3);
        const struct lks_sim_run_result two = run("chaos", seed, 3);
        assert_int_equal(one.trace_hash, two.trace_hash);
        assert_int_equal(one.events, two.events);
        assert_true(one.events > 1000);
    }
    assert_int_not_equal(run("calm", 1, 3).trace_hash, run("calm", 2, 3).trace_hash);
}

static void run__chaos__faults_and_elections_happen(void **state)
{
    (void)state;
    const struct lks_sim_run_result result = run("chaos", 3, 3);
    assert_true(result.faults > 5);
    assert_true(result.terms > 1);
    assert_true(result.compared > 100);
}

static void run__untrusted_fence__violation_found(void **state)
{
    (void)state;
    uint64_t unfenced = 0;
    for (uint64_t i = 0; i < UNTRUSTED_SEEDS_MAX; i++) {
        const struct lks_sim_run_options options = {
            .seed = UNTRUSTED_FIRST + i, .replicas = 3, .profile = UNTRUSTED};
        struct lks_sim_run_result result;
        struct lks_error err;
        assert_int_equal(lks_sim_run(&options, &result, &err), 0);
        unfenced += result.writes_unfenced;
        if (result.verdict.broken) {
            assert_true(unfenced > 0);
            return;
        }
    }
    fail_msg("no violation in %u seeds, though %llu writes landed after their revocation",
             UNTRUSTED_SEEDS_MAX, (unsigned long long)unfenced);
}

static void run__bad_options__einval(void **state)
{
    (void)state;
    struct lks_sim_run_result result;
    struct lks_error err;
    struct lks_sim_run_options options = {.seed = 1, .replicas = 3, .profile = "nothing"};
    assert_int_equal(lks_sim_run(&options, &result, &err), -EINVAL);
    options.profile = "calm";
    options.replicas = 8;
    assert_int_equal(lks_sim_run(&options, &result, &err), -EINVAL);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(run__every_profile__no_violation),
        cmocka_unit_test(run__same_seed_twice__same_trace),
        cmocka_unit_test(run__chaos__faults_and_elections_happen),
        cmocka_unit_test(run__untrusted_fence__violation_found),
        cmocka_unit_test(run__bad_options__einval),
    };
    if (argc == 3) {
        g_first = strtoull(argv[1], NULL, 10);
        g_last = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
