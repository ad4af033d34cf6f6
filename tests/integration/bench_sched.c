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

static void suite__unknown_group__names_those_there_are(void **state)
{
    assert_int_equal(shell(*state, "\"$BENCH\" --suite none > table 2> said"), 2);
    assert_int_equal(shell(*state, "grep -q 'suite none: .* overhead cheap costs ' said"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(suite__json__array_of_what_is_promised, set_up, tear_down),
        cmocka_unit_test_setup_teardown(suite__plots__well_formed_figure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plots__no_gnuplot__says_what_to_install, set_up, tear_down),
        cmocka_unit_test_setup_teardown(suite__unknown_group__names_those_there_are, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
