/*
 * lockstep-sim as its users meet it: arguments, exit codes, the last line of --json, the trace of
 * a violation, kept seeds; and that a seed's run depends on nothing but the seed: every profile
 * gives the same hashes in two processes with other addresses, environments and heaps.
 */
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define OUTPUT_MAX (1u << 18)
#define COMMAND_MAX 1024u

#ifdef LKS_SANITIZED
#define HASHED_SEEDS 1
#else
#define HASHED_SEEDS 2
#endif

static char g_output[OUTPUT_MAX];
static char g_other[OUTPUT_MAX];

/* Runs `ENVIRONMENT lockstep-sim ARGUMENTS`; both streams go to output. Returns the exit code. */
static int run(char *output, const char *environment, const char *arguments)
{
    char command[COMMAND_MAX];
    (void)snprintf(command, sizeof command, "%s '%s' %s 2>&1", environment, LKS_SIM_BINARY,
                   arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t bytes = fread(output, 1, OUTPUT_MAX - 1, pipe);
    output[bytes] = '\0';
    const int how = pclose(pipe);
    assert_true(WIFEXITED(how));
    return WEXITSTATUS(how);
}

static void assert_says(const char *wanted)
{
    if (strstr(g_output, wanted) == NULL) {
        fail_msg("\"%s\" is not said in: %s", wanted, g_output);
    }
}

static void arguments__wrong__one_clear_error(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        const char *error;
    } cases[] = {
        {"--seeds x", "--seeds x: A:B is expected"},
        {"--seeds 7:3", "--seeds 7:3: the last seed is below the first"},
        {"--seeds -1:3", "--seeds -1:3: A:B is expected"},
        {"--replicas 8", "--replicas 8: a number from 1 to 7 is expected"},
        {"--replicas 0", "--replicas 0: a number from 1 to 7 is expected"},
        {"--profile nothing", "--profile nothing: there is no such profile"},
        {"--jobs many", "--jobs many: a number from 0 to 256 is expected"},
        {"--for 0", "--for 0: a number from 1 to 1000000 is expected"},
        {"--replay 1 --seeds 1:2", "only one of --seeds or --for"},
        {"--faults 1", "--faults belongs to --replay"},
        {"--replay 1 --faults 3-1", "--faults 3-1: a list as 3,7-9"},
        {"--verbose --jobs 2", "--verbose: the events of one process only"},
        {"--kept /nowhere/list", "/nowhere/list: No such file or directory"},
        {"--record /nowhere/book", "--record /nowhere/book: No such file or directory"},
        {"--record book --replay 1", "--record book: belongs to --seeds or --for"},
        {"more", "more: no such argument"},
        {"--nothing", "unrecognized option '--nothing'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(run(g_output, "", cases[i].arguments), 2);
        assert_says(cases[i].error);
    }
}

static void profiles__listed__each_with_its_share(void **state)
{
    (void)state;
    assert_int_equal(run(g_output, "", "--profile list"), 0);
    assert_says("chaos ");
    assert_says(" 0 %  a storm in which REVOKED comes early");
}

static void json__some_seeds__last_line_has_the_sums(void **state)
{
    (void)state;
    assert_int_equal(run(g_output, "", "--seeds 1:3 --json"), 0);
    assert_says("3 seeds in ");
    static const char *const names[] = {"{\"seeds\":3,\"violations\":0,\"seeds_per_s\":",
                                        "\"commits\":", "\"elections\":", "\"crashes\":",
                                        "\"power_cuts\":", "\"partitions\":", "\"commit\":\""};
    const char *line = strstr(g_output, "\n{");
    assert_non_null(line);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_non_null(strstr(line, names[i]));
    }
    assert_string_equal(strstr(line, "}\n") != NULL ? "}" : line, "}");
}

/* Two campaigns: the names of the columns once, then a line each. */
static void record__two_campaigns__a_line_each(void **state)
{
    (void)state;
    char path[128];
    char arguments[256];
    char text[8192] = "";
    (void)snprintf(path, sizeof path, "%s/lockstep-book-%ld", scratch_folder(), (long)getpid());
    (void)snprintf(arguments, sizeof arguments, "--seeds 1:2 --record %s", path);
    assert_int_equal(run(g_output, "", arguments), 0);
    (void)snprintf(arguments, sizeof arguments, "--seeds 7:9 --profile crash --record %s", path);
    assert_int_equal(run(g_output, "", arguments), 0);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, sizeof text - 1, file);
    assert_true(bytes > 0 && bytes < sizeof text - 1);
    (void)fclose(file);
    assert_int_equal(unlink(path), 0);
    const char *first = strchr(text, '\n') + 1;
    const char *second = strchr(first, '\n') + 1;
    assert_int_equal(strncmp(text, "time\tcommit\tprofile\t", 20), 0);
    assert_non_null(strstr(first, "\tall\t0\t1\t2\t0\t"));
    assert_non_null(strstr(second, "\tcrash\t0\t7\t3\t0\t"));
    assert_non_null(strstr(second, "\tcrash="));
    assert_string_equal(strchr(second, '\n'), "\n");
}

static void sum_of(const char *output, char *hash)
{
    const char *found = strstr(output, "\"trace_hash\":\"");
    assert_non_null(found);
    memcpy(hash, found, 32);
    hash[32] = '\0';
}

static void jobs__several__same_runs_as_one(void **state)
{
    (void)state;
    char one[33];
    char several[33];
    assert_int_equal(run(g_output, "", "--seeds 10:15 --json"), 0);
    assert_int_equal(run(g_other, "", "--seeds 10:15 --json --jobs 3"), 0);
    sum_of(g_output, one);
    sum_of(g_other, several);
    assert_string_equal(one, several);
}

/* Hashes of a few seeds of every profile that is to be trusted. */
static void hash_all(char *output, const char *environment)
{
    char arguments[2 * COMMAND_MAX];
    char names[64][24];
    size_t count = 0;
    assert_int_equal(run(g_other, "", "--profile list"), 0);
    for (const char *line = g_other; *line != '\0' && count < 64; line = strchr(line, '\n') + 1) {
        unsigned share = 0;
        assert_int_equal(sscanf(line, "%23s %u", names[count], &share), 2);
        count += share != 0;
    }
    assert_true(count > 5);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(arguments, sizeof arguments, "--hashes --seeds 1:%d --profile %.23s",
                       HASHED_SEEDS, names[i]);
        assert_int_equal(run(g_other, environment, arguments), 0);
        /* The summary, with its times, is not compared. */
        const size_t bytes = (size_t)(strstr(g_other, " seeds in ") - g_other);
        assert_true(used + bytes < OUTPUT_MAX);
        memcpy(output + used, g_other, bytes);
        used += bytes;
    }
    output[used] = '\0';
}

static void runs__other_addresses_environment_and_heap__same_hashes(void **state)
{
    (void)state;
    static char first[OUTPUT_MAX];
    hash_all(first, "env -i PATH=/usr/bin:/bin");
    hash_all(g_output, "env MALLOC_PERTURB_=165 MALLOC_TOP_PAD_=200000 LANG=C TZ=Asia/Tokyo "
                       "FILLER=\"$(printf %5000s x)\"");
    assert_string_equal(first, g_output);
    assert_non_null(strstr(first, " trace "));
}

static void violation__untrusted_fence__short_trace_and_how_to_repeat(void **state)
{
    (void)state;
    assert_int_equal(run(g_output, "", "--profile untrusted-fence --replicas 3 --seeds 1:400"), 1);
    assert_says("VIOLATION of \"");
    assert_says("  commit    ");
    assert_says("the shortest run found by ");
    assert_says("BROKEN: ");
    const char *repeat = strstr(g_output, "repeat it: lockstep-sim ");
    assert_non_null(repeat);
    char arguments[COMMAND_MAX / 2];
    assert_int_equal(sscanf(repeat, "repeat it: lockstep-sim %511[^\n]", arguments), 1);
    assert_int_equal(run(g_output, "", arguments), 1);
    assert_says("VIOLATION of \"");
}

static void write_list(char *path, size_t bytes, const char *text)
{
    (void)snprintf(path, bytes, "%s/lockstep-kept-XXXXXX", scratch_folder());
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static void kept__list__each_line_is_run_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *says;
    } cases[] = {
        {"# seeds\n\n4 crash 3 lost a command\n9 power 5 two leaders\n", 0, "2 seeds in "},
        {"4 crash 3\n", 2, " line 1: expected SEED PROFILE REPLICAS WHY, found: 4 crash 3"},
        {"4 crash 3 why\n5 nothing 3 why\n", 2, " line 2: no profile nothing"},
        {"4 crash 9 why\n", 2, " line 1: 9 replicas: 1 to 7 are possible"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[256];
        char arguments[300];
        write_list(path, sizeof path, cases[i].text);
        (void)snprintf(arguments, sizeof arguments, "--kept %s", path);
        const int code = run(g_output, "", arguments);
        (void)unlink(path);
        assert_int_equal(code, cases[i].code);
        assert_says(cases[i].says);
    }
}

static void for__a_second__first_seed_is_printed(void **state)
{
    (void)state;
    assert_int_equal(run(g_output, "", "--for 1 --profile calm"), 0);
    assert_int_equal(strncmp(g_output, "first seed ", 11), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments__wrong__one_clear_error),
        cmocka_unit_test(profiles__listed__each_with_its_share),
        cmocka_unit_test(json__some_seeds__last_line_has_the_sums),
        cmocka_unit_test(jobs__several__same_runs_as_one),
        cmocka_unit_test(runs__other_addresses_environment_and_heap__same_hashes),
        cmocka_unit_test(violation__untrusted_fence__short_trace_and_how_to_repeat),
        cmocka_unit_test(kept__list__each_line_is_run_or_refused),
        cmocka_unit_test(record__two_campaigns__a_line_each),
        cmocka_unit_test(for__a_second__first_seed_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
