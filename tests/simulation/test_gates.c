/*
 * Whole clusters over shared memory's gates: each step that keeps late writes out is left out in
 * a profile of its own, and the checkers find what follows; with all steps they find nothing.
 */
#include "sim/cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define SEEDS_MAX 100u

static struct lks_sim_run_result run(const char *profile, uint64_t seed)
{
    const struct lks_sim_run_options options = {
        .seed = seed, .replicas = 3, .profile = profile};
    struct lks_sim_run_result result;
    struct lks_error err;
    assert_int_equal(lks_sim_run(&options, &result, &err), 0);
    return result;
}

/* About one seed in five is found out. */
static void find_out(const char *profile)
{
    for (uint64_t seed = 1; seed <= SEEDS_MAX; seed++) {
        const struct lks_sim_run_result result = run(profile, seed);
        if (result.verdict.broken) {
            assert_true(result.writes_unfenced > 0);
            assert_string_equal(result.verdict.invariant, "one writer per ring");
            return;
        }
        assert_int_equal(result.writes_unfenced, 0);
    }
    fail_msg("%s: no violation in %u seeds", profile, SEEDS_MAX);
}

static void gate__no_writer_fence__found(void **state)
{
    (void)state;
    find_out("no-writer-fence");
}

static void gate__no_owner_fence__found(void **state)
{
    (void)state;
    find_out("no-owner-fence");
}

static void gate__no_drain__found(void **state)
{
    (void)state;
    find_out("no-drain");
}

static void gate__all_steps__writers_are_met_inside_and_nothing_is_late(void **state)
{
    (void)state;
    uint64_t late = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        const struct lks_sim_run_result result = run("gate", seed);
        assert_false(result.verdict.broken);
        assert_int_equal(result.writes_unfenced, 0);
        late += result.writes_late;
    }
    assert_true(late > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate__no_writer_fence__found),
        cmocka_unit_test(gate__no_owner_fence__found),
        cmocka_unit_test(gate__no_drain__found),
        cmocka_unit_test(gate__all_steps__writers_are_met_inside_and_nothing_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
