/*
 * The benchmarks of `lockstep bench` as a user starts them, in small: each runs to its end, its
 * last line is one object whose figures can be true of one another, and nothing stays behind.
 * How fast anything is, no test says.
 */
#include "tests/support/process_cluster.h"
#include "tests/support/scratch.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX 8192
#define WORDS_MAX 20

struct fixture {
    char directory[64]; /* of the test; the benchmark's own is made in `made` below it */
    char made[80];
    char out[TEXT_MAX];
    const char *last; /* line of out */
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    snprintf(fixture->directory, sizeof fixture->directory, "%s/lockstep-benches.XXXXXX",
             scratch_folder());
    if (mkdtemp(fixture->directory) == NULL) {
        return -1;
    }
    snprintf(fixture->made, sizeof fixture->made, "%s/made", fixture->directory);
    char command[128];
    snprintf(command, sizeof command, "mkdir %s", fixture->made);
    return system(command);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf -- %s", fixture->directory);
    const int rc = system(command);
    free(fixture);
    return rc;
}

static void read_out(struct fixture *fixture, const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t bytes = fread(fixture->out, 1, TEXT_MAX - 1, file);
    fclose(file);
    fixture->out[bytes] = '\0';
    assert_true(bytes > 0 && fixture->out[bytes - 1] == '\n');
    fixture->out[bytes - 1] = '\0';
    const char *newline = strrchr(fixture->out, '\n');
    fixture->last = newline != NULL ? newline + 1 : fixture->out;
}

static int entries_of(const char *path)
{
    DIR *folder = opendir(path);
    assert_non_null(folder);
    int count = 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(folder);
    return count;
}

/* `lockstep bench WORDS... --dir <made> --json`. */
static void bench(struct fixture *fixture, const char *const *words)
{
    const char *arguments[WORDS_MAX] = {"bench"};
    size_t count = 1;
    for (; words[count - 1] != NULL; count++) {
        arguments[count] = words[count - 1];
    }
    arguments[count] = "--dir";
    arguments[count + 1] = fixture->made;
    arguments[count + 2] = "--json";
    char out[96];
    char error[96];
    snprintf(out, sizeof out, "%s/out", fixture->directory);
    snprintf(error, sizeof error, "%s/error", fixture->directory);
    const int code = lks_process_run(arguments, out, error);
    if (code != 0) {
        read_out(fixture, error);
        fail_msg("bench %s: exit code %d: %s", words[0], code, fixture->out);
    }
    read_out(fixture, out);
    assert_int_equal(fixture->last[0], '{');
    assert_int_equal(fixture->last[strlen(fixture->last) - 1], '}');
    assert_int_equal(entries_of(fixture->made), 0);
}

static double figure(const struct fixture *fixture, const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *found = strstr(fixture->last, key);
    if (found == NULL) {
        fail_msg("no %s in %s", name, fixture->last);
        return 0;
    }
    return strtod(found + strlen(key), NULL);
}

static void expect_percentiles(const struct fixture *fixture)
{
    assert_true(figure(fixture, "p50_ns") > 0);
    assert_true(figure(fixture, "p50_ns") <= figure(fixture, "p99_ns"));
    assert_true(figure(fixture, "p99_ns") <= figure(fixture, "p999_ns"));
    assert_true(figure(fixture, "p999_ns") <= figure(fixture, "max_ns"));
}

static void replicate__small__samples_and_a_floor(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {"replicate", "--samples",    "4000",   "--commands",
                                        "2000",      "--durability", "memory", NULL};
    bench(fixture, words);
    expect_percentiles(fixture);
    assert_true(figure(fixture, "samples") == 4000);
    assert_true(figure(fixture, "floor_p50_ns") > 0);
    assert_true(figure(fixture, "ops_per_s") > 0);
    assert_non_null(strstr(fixture->last, "\"durability\":\"memory\""));
}

static void endurance__small_ring__is_written_many_times_over(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {"endurance", "--ring", "1M",    "--laps", "10",
                                        "--keys",    "500",    "--rate", "60000",  NULL};
    bench(fixture, words);
    expect_percentiles(fixture);
    assert_true(figure(fixture, "laps") >= 10);
    assert_true(figure(fixture, "ring_bytes") == 1 << 20);
    assert_true(figure(fixture, "rate") == 60000);
    assert_true(figure(fixture, "snapshots") >= 10); /* or the ring could not be written anew */
    assert_true(figure(fixture, "rss_start_bytes") > 0);
    assert_true(figure(fixture, "rss_end_bytes") > 0);
    assert_true(figure(fixture, "spikes_unexplained") <= figure(fixture, "spikes"));
    assert_true(figure(fixture, "spikes") <= figure(fixture, "samples"));
}

static void failover__two_rounds__parts_do_not_exceed_the_whole(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {"failover", "--rounds", "2", NULL};
    static const char *const parts[] = {"detect_ns", "fence_ns",  "vote_ns",
                                        "adopt_ns",  "commit_ns", "answer_ns"};
    bench(fixture, words);
    assert_true(figure(fixture, "samples") == 2);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        assert_true(figure(fixture, parts[i]) <= figure(fixture, "max_ns"));
    }
}

/* The options of RDMA are understood; whether there is a device is another matter. */
static void failover__address_without_rdma__refused(void **state)
{
    struct fixture *fixture = *state;
    char error[96];
    snprintf(error, sizeof error, "%s/error", fixture->directory);
    const char *const words[] = {"bench", "failover", "--address", "10.0.0.1", "--dir",
                                 fixture->made, NULL};
    assert_int_equal(lks_process_run(words, "/dev/null", error), 1);
    read_out(fixture, error);
    assert_non_null(strstr(fixture->last, "--address: is for --fabric rdma only"));
    assert_int_equal(entries_of(fixture->made), 0);
}

static void recovery__small_state__is_served_in_time_order(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {"recovery", "--state", "4M", NULL};
    bench(fixture, words);
    assert_true(figure(fixture, "state_bytes") >= 4 << 20);
    assert_true(figure(fixture, "first_command_ns") > 0);
    assert_true(figure(fixture, "first_command_ns") <= figure(fixture, "full_recovery_ns"));
    assert_true(figure(fixture, "floor_ns") > 0);
}

static void client__both_ways__figures_of_each(void **state)
{
    struct fixture *fixture = *state;
    static const char *const words[] = {"client", "--samples", "1000", "--pipeline", "8", NULL};
    static const char *const ways[] = {"tcp_one", "fabric_one", "tcp_several", "fabric_several"};
    bench(fixture, words);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s_p50_ns", ways[i]);
        const double p50 = figure(fixture, name);
        snprintf(name, sizeof name, "%s_p99_ns", ways[i]);
        assert_true(p50 > 0);
        assert_true(p50 <= figure(fixture, name));
        snprintf(name, sizeof name, "%s_per_s", ways[i]);
        assert_true(figure(fixture, name) > 0);
    }
}

static void execution__in_small__every_pair_is_measured(void **state)
{
    static const char *const kinds[] = {"sequential", "early", "late", "adaptive"};
    struct fixture *fixture = *state;
    const char *const words[] = {"execution", "--replicas", "1", "--rounds", "2", "--time", "20",
                                 "--keys", "100", "--port", "19891", NULL};
    bench(fixture, words);
    assert_int_equal((int)figure(fixture, "workers"), 2);
    const char *row = strstr(fixture->last, "\"rows\":[");
    for (int i = 0; i < 16; i++) { /* 4 loads, 4 schedulers */
        assert_non_null(row);
        row = strstr(row + 1, "{\"load\":");
        assert_non_null(row);
        char kind[64];
        snprintf(kind, sizeof kind, "\"scheduler\":\"%s\",\"reference_per_s\":", kinds[i % 4]);
        const char *reference = strstr(row, kind);
        assert_non_null(reference);
        assert_true(strtod(reference + strlen(kind), NULL) > 0);
        assert_true(strtod(strstr(reference, "\"per_s\":") + strlen("\"per_s\":"), NULL) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replicate__small__samples_and_a_floor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endurance__small_ring__is_written_many_times_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(failover__two_rounds__parts_do_not_exceed_the_whole,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(failover__address_without_rdma__refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(recovery__small_state__is_served_in_time_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(client__both_ways__figures_of_each, set_up, tear_down),
        cmocka_unit_test_setup_teardown(execution__in_small__every_pair_is_measured, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
