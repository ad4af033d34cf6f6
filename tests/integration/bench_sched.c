/*
 * lockstep-bench-sched as a user starts it, in small: its array has what is promised, its figures
 * are drawn and well-formed, and what it cannot do it says. How fast anything is, no test says.
 */
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define COMMAND_MAX 1200

struct fixture {
    char directory[64];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    snprintf(fixture->directory, sizeof fixture->directory, "%s/lockstep-bench-sched.XXXXXX",
             scratch_folder());
    return mkdtemp(fixture->directory) == NULL ? -1 : 0;
}

/* Exit code of a shell command in the test's folder; $BENCH is the benchmark. */
static int shell(const struct fixture *fixture, const char *command)
{
    char whole[COMMAND_MAX];
    const int length = snprintf(whole, sizeof whole, "cd %s && BENCH='%s' && %s",
                                fixture->directory, LKS_BENCH_SCHED_BINARY, command);
    assert_true(length > 0 && length < COMMAND_MAX);
    const int rc = system(whole);
    assert_true(WIFEXITED(rc));
    return WEXITSTATUS(rc);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    const int rc = shell(fixture, "rm -rf -- \"$PWD\"");
    free(fixture);
    return rc;
}

static void suite__json__array_of_what_is_promised(void **state)
{
    assert_int_equal(
        shell(*state,
              "\"$BENCH\" --quick --repeats 1 --suite all-conflict --json > out && "
              "jq -e 'type == \"array\" and length == 7 and all(.[]; .equal == true and "
              "(.scheduler | IN(\"late\", \"adaptive\")) and .workers == 2 and .lanes == 1 and "
              ".conflict == 100 and .ns_per_command > 0 and .speedup > 0) and "
              "([.[].cost_ns] | unique) == [0, 100, 1000] and "
              "([.[].workload] | unique | length) == 4' out > verdict"),
        0);
}

static void suite__plots__well_formed_figure(void **state)
{
    assert_int_equal(
        shell(*state,
              "\"$BENCH\" --quick --repeats 1 --suite keys --plots figures --json file > table && "
              "jq -e 'length >= 18' file > verdict && grep -q '^hybrid .* yes$' table && "
              "grep -q 'hybrid (ours)' figures/keys.svg && "
              "grep -q 'floor (floor)' figures/keys.svg && "
              "python3 -c 'import sys, xml.dom.minidom as x; "
              "sys.exit(x.parse(sys.argv[1]).documentElement.tagName != \"svg\")' "
              "figures/keys.svg"),
        0);
}

static void plots__no_gnuplot__says_what_to_install(void **state)
{
    assert_int_equal(shell(*state, "PATH=/nonexistent \"$BENCH\" --quick --suite keys --plots d "
                                   "2> said"),
                     2);
    assert_int_equal(shell(*state, "grep -q 'install gnuplot-nox' said"), 0);
}

/* What would be left out of a measurement in silence, or measured as something else. */
static void options__without_effect_or_sense__refused_with_the_way_out(void **state)
{
    static const struct {
        const char *options;
        const char *said;
    } cases[] = {
        {"--cost 1000", "--cost: the suite sets that .* --scheduler NAME"},
        {"-s late --commands 0", "commands 0, .* all from 1"},
        {"-s late --zipf x", "--zipf x: a number from 0 to 10"},
        {"-s late --zipf -1", "--zipf -1: a number from 0 to 10"},
        {"-s late --zipf nan", "--zipf nan: a number from 0 to 10"},
        {"-s early --classes 3", "--classes 3: a power of two"},
        {"-s early --classes 1 --several 5", "--several 5: .* --classes 2"},
        {"-s cbase --in-turns", "are of our schedulers"},
        {"-s fastest", "--scheduler fastest: .* floor sequential early late hybrid adaptive cbase"},
        {"-s late --quick", "--quick .* of the suite"},
        {"--draw figure.svg", "--draw is of --topology"},
        {"--suite none", "suite none: .* overhead cheap costs "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[400];
        snprintf(command, sizeof command,
                 "\"$BENCH\" %s > table 2> said; test $? = 2 && ! test -s table && "
                 "tr '\\n' ' ' < said | grep -q -e '%s'",
                 cases[i].options, cases[i].said);
        assert_int_equal(shell(*state, command), 0);
    }
}

/* One thread: wall time is not times two. */
static void sequential__wall_overhead__of_one_core(void **state)
{
    assert_int_equal(
        shell(*state, "\"$BENCH\" -s sequential --commands 20000 --repeats 1 --json > out && "
                      "jq -e '.[0] | (.wall_overhead_ns - (.ns_per_command - .sequential_ns)) "
                      "| fabs < 0.1' out > verdict"),
        0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(suite__json__array_of_what_is_promised, set_up, tear_down),
        cmocka_unit_test_setup_teardown(suite__plots__well_formed_figure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plots__no_gnuplot__says_what_to_install, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            options__without_effect_or_sense__refused_with_the_way_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sequential__wall_overhead__of_one_core, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
