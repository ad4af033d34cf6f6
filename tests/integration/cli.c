/*
 * The command line as a user meets it: every wrong argument, configuration or file gives one clear
 * line on standard error and the documented exit code, and leaves nothing behind that was not
 * there; and what `local` starts, it stops.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "tests/support/process_cluster.h"
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT_MAX 8192
#define WORDS_MAX 16
#define READY_TIMEOUT_MS 20000

/* One call: "%D" in a word stands for the test's folder. */
struct call {
    const char *words[WORDS_MAX];
    int code;
    const char *says; /* part of the first line on standard error; NULL: nothing is said there */
};

struct fixture {
    char directory[64];
    char out[TEXT_MAX];
    char error[TEXT_MAX];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    snprintf(fixture->directory, sizeof(fixture->directory), "%s/lockstep-cli.XXXXXX",
             scratch_folder());
    *state = fixture;
    return mkdtemp(fixture->directory) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[96];
    snprintf(command, sizeof(command), "rm -rf -- %s", fixture->directory);
    int rc = system(command);
    free(fixture);
    return rc;
}

static void read_file(const char *path, char text[TEXT_MAX])
{
    FILE *file = fopen(path, "r");
    size_t bytes = file != NULL ? fread(text, 1, TEXT_MAX - 1, file) : 0;
    text[bytes] = '\0';
    if (file != NULL) {
        fclose(file);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) < 0, 0);
    assert_int_equal(fclose(file), 0);
}

/* Puts the test's folder where a word says %D. */
static void expand(const struct fixture *fixture, const char *word, char into[256])
{
    const char *mark = strstr(word, "%D");
    if (mark == NULL) {
        snprintf(into, 256, "%s", word);
    } else {
        snprintf(into, 256, "%.*s%s%s", (int)(mark - word), word, fixture->directory, mark + 2);
    }
}

static int call(struct fixture *fixture, const char *const *words)
{
    char expanded[WORDS_MAX][256];
    const char *arguments[WORDS_MAX + 1] = {NULL};
    for (size_t i = 0; i < WORDS_MAX && words[i] != NULL; i++) {
        expand(fixture, words[i], expanded[i]);
        arguments[i] = expanded[i];
    }
    char out[96];
    char error[96];
    snprintf(out, sizeof(out), "%s/.out", fixture->directory);
    snprintf(error, sizeof(error), "%s/.error", fixture->directory);
    unlink(out);
    unlink(error);
    int code = lks_process_run(arguments, out, error);
    read_file(out, fixture->out);
    read_file(error, fixture->error);
    return code;
}

static int lines_of(const char *text)
{
    int lines = 0;
    for (; *text != '\0'; text++) {
        lines += *text == '\n';
    }
    return lines;
}

/* The first line says it; what follows may only point to --help. */
static void expect_call(struct fixture *fixture, const struct call *wanted)
{
    char words[512] = "";
    for (size_t i = 0; i < WORDS_MAX && wanted->words[i] != NULL; i++) {
        size_t used = strlen(words);
        snprintf(words + used, sizeof(words) - used, " %s", wanted->words[i]);
    }
    int code = call(fixture, wanted->words);
    if (code != wanted->code) {
        fail_msg("lockstep%s: exit code %d, not %d\n%s", words, code, wanted->code,
                 fixture->error);
    }
    if (wanted->says == NULL) {
        if (fixture->error[0] != '\0') {
            fail_msg("lockstep%s: says %s", words, fixture->error);
        }
        return;
    }
    char *second = strchr(fixture->error, '\n');
    assert_non_null(second);
    bool pointed = strncmp(second + 1, "Try ", 4) == 0;
    if (strstr(fixture->error, wanted->says) == NULL ||
        strstr(fixture->error, wanted->says) > second ||
        (lines_of(fixture->error) != 1 && !pointed) ||
        strncmp(fixture->error, "lockstep", strlen("lockstep")) != 0) {
        fail_msg("lockstep%s: expected one line with '%s', got:\n%s", words, wanted->says,
                 fixture->error);
    }
}

static void expect_calls(struct fixture *fixture, const struct call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect_call(fixture, &calls[i]);
    }
}

#define EXPECT(fixture, ...) \
    do { \
        const struct call calls[] = {__VA_ARGS__}; \
        expect_calls(fixture, calls, LKS_COUNT_OF(calls)); \
    } while (0)

/* ---- arguments ------------------------------------------------------------------------------- */

static void help__everywhere__is_printed_and_exits_0(void **state)
{
    static const char *const commands[] = {"local",   "init",    "serve", "status",
                                           "journal", "recover", "bench", "scheduler",
                                           "topology"};
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"--help"}, 0, NULL}, {{"help"}, 0, NULL}, {{"--version"}, 0, NULL});
    for (size_t i = 0; i < LKS_COUNT_OF(commands); i++) {
        struct call help = {{commands[i], "--help"}, 0, NULL};
        expect_call(fixture, &help);
        if (strstr(fixture->out, "Usage: lockstep") == NULL ||
            strstr(fixture->out, commands[i]) == NULL) {
            fail_msg("lockstep %s --help: %s", commands[i], fixture->out);
        }
    }
}

static void no_command__exits_2(void **state)
{
    struct fixture *fixture = *state;
    const char *const nothing[] = {NULL};
    assert_int_equal(call(fixture, nothing), 2);
    assert_non_null(strstr(fixture->error, "Usage: lockstep"));
    EXPECT(fixture, {{"strange"}, 2, "strange"}, {{"help", "strange"}, 2, "strange"});
}

static void init__wrong_arguments__exit_2(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init"}, 2, "--dir"},
           {{"init", "--dir", "%D/c", "--replicas", "2"}, 2, "1, 3, 5 or 7"},
           {{"init", "--dir", "%D/c", "--replicas", "9"}, 2, "--replicas"},
           {{"init", "--dir", "%D/c", "--replicas", "three"}, 2, "three"},
           {{"init", "--dir", "%D/c", "--port", "0"}, 2, "--port"},
           {{"init", "--dir", "%D/c", "--port", "70000"}, 2, "70000"},
           {{"init", "--dir", "%D/c", "--ring", "1"}, 2, "--ring"},
           {{"init", "--dir", "%D/c", "--ring", "10Q"}, 2, "10Q"},
           {{"init", "%D/c/cluster.yaml", "--rejoin"}, 2, "--replica"},
           {{"bench", "replicate", "--ring", "10K"}, 2, "--ring 10K"},
           {{"bench", "recovery", "--state", "10Q"}, 2, "--state 10Q"},
           {{"init", "--dir", "%D/c", "--ring", "-64M"}, 2, "-64M"},
           {{"init", "--dir", "%D/c", "--durability", "strange"}, 2, "strange"},
           {{"init", "--dir", "%D/c", "--durability", "pmem-read"}, 2, "pmem-read"},
           {{"init", "--dir", "%D/c", "--fabric", "strange"}, 2, "none of shm, rdma"},
           {{"init", "--dir", "%D/c", "--rdma", "10.0.0.1"}, 2, "--fabric rdma"},
           {{"init", "--dir", "%D/c", "--fabric", "rdma", "--rdma", "host"}, 2, "numeric"},
           {{"init", "--dir", "%D/c", "--election-timeout", "1ms"}, 2, "5ms to 50s"},
           {{"init", "cluster.yaml", "--fabric", "rdma"}, 2, "--fabric"},
           {{"init", "--dir", "%D/c", "--strange"}, 2, "--strange"},
           {{"init", "--dir", "%D/c", "cluster.yaml"}, 2, "either"},
           {{"init", "cluster.yaml", "--replicas", "3"}, 2, "--replicas"},
           {{"init", "--dir", "%D/c", "--replica", "1"}, 2, "--replica"},
           {{"init", "%D/missing.yaml"}, 2, "missing.yaml"});
    char path[96];
    snprintf(path, sizeof(path), "%s/c", fixture->directory);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void init__existing_cluster__is_not_overwritten(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M"}, 0, NULL},
           {{"init", "--dir", "%D/c", "--ring", "1M"}, 1, "exist"},
           {{"init", "%D/c/cluster.yaml"}, 1, "exist"},
           {{"init", "%D/c/cluster.yaml", "--replica", "1"}, 1, "exist"},
           {{"init", "%D/c/cluster.yaml", "--replica", "5"}, 2, "1 to 3"});
}

/* Rings are not all of it: messages and clients are locked, too. */
static void init__over_rdma__budget_of_locked_memory_and_the_limit(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    struct rlimit low = before;
    low.rlim_cur = before.rlim_max < (178u << 20) ? before.rlim_max : 178u << 20;
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M", "--fabric", "rdma", "--rdma",
                      "10.0.0.1"}, 0, NULL});
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &before), 0);
    assert_non_null(strstr(fixture->out, "3 x 1M for the ring, 109M for messages, up to 67M for "
                                         "clients over RDMA: 179M;"));
    assert_non_null(strstr(fixture->out, ": raise it (ulimit -l"));
}

static void serve__wrong_arguments__exit_2(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M"}, 0, NULL},
           {{"serve"}, 2, "--config"}, {{"serve", "--config", "%D/c/cluster.yaml"}, 2, "--replica"},
           {{"serve", "--config", "%D/c/cluster.yaml", "--replica", "0"}, 2, "--replica"},
           {{"serve", "--config", "%D/c/cluster.yaml", "--replica", "4"}, 2, "4"},
           {{"serve", "--config", "%D/missing.yaml", "--replica", "1"}, 2, "missing.yaml"});
}

static void status__wrong_arguments__exit_2_and_no_cluster_3(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M", "--port", "19871"}, 0, NULL},
           {{"status"}, 2, "--config"}, {{"status", "--dir", "%D/missing"}, 2, "missing"},
           {{"status", "--dir", "%D/c"}, 3, NULL},
           {{"status", "--dir", "%D/c", "--json"}, 3, NULL});
    assert_int_equal(fixture->out[0], '{');
    assert_int_equal(lines_of(fixture->out), 1);
    assert_non_null(strstr(fixture->out, "\"leader\":0"));
}

static void scheduler__wrong_arguments__exit_2_and_no_cluster_1(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M", "--port", "19873"}, 0, NULL},
           {{"scheduler", "--dir", "%D/c"}, 2, "say show, or set"},
           {{"scheduler", "show"}, 2, "--config FILE"},
           {{"scheduler", "change", "--dir", "%D/c"}, 2, "'change'"},
           {{"scheduler", "set", "--dir", "%D/c"}, 2, "say show, or set"},
           {{"scheduler", "set", "fast", "--dir", "%D/c"}, 2, "scheduler fast"},
           {{"scheduler", "set", "late", "early", "--dir", "%D/c"}, 2, "'early' is too much"},
           {{"scheduler", "set", "late", "--workers", "64", "--dir", "%D/c"}, 2, "64"},
           {{"scheduler", "show", "--workers", "2", "--dir", "%D/c"}, 2, "--workers goes with set"},
           {{"scheduler", "set", "late", "--json", "--dir", "%D/c"}, 2, "--json goes with show"},
           {{"scheduler", "show", "--replica", "4", "--dir", "%D/c"}, 2, "replica 4"},
           {{"scheduler", "show", "--dir", "%D/nowhere"}, 2, "nowhere"},
           {{"scheduler", "set", "late", "--replica", "2", "--dir", "%D/c"}, 1, "replica 2"},
           {{"scheduler", "show", "--dir", "%D/c"}, 1, NULL});
    assert_non_null(strstr(fixture->out, "1: unreachable"));
}

static void topology__machines_and_configurations__are_told_and_drawn(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M", "--port", "19875"}, 0, NULL},
           {{"topology", "--replica", "1"}, 2, "--replica goes with"},
           {{"topology", "--dir", "%D/c", "--replicas", "3"}, 2, "--replicas"},
           {{"topology", "--dir", "%D/c", "--replica", "4"}, 2, "replica 4"},
           {{"topology", "--workers", "64"}, 2, "64"},
           {{"topology", "--machine", "a house"}, 2, "machine 'a house'"},
           {{"topology", "--svg", "%D/missing/plan.svg"}, 1, "plan.svg"},
           {{"topology"}, 0, NULL},
           {{"topology", "--dir", "%D/c", "--workers", "2", "--machine", "numa:1 core:9 pu:1",
             "--svg", "%D/plan.svg"}, 0, NULL});
    assert_non_null(strstr(fixture->out, "replica 3: 9 cores"));
    assert_non_null(strstr(fixture->out, "worker 1          8      8      0  same NUMA node"));
    char path[96];
    char text[TEXT_MAX];
    snprintf(path, sizeof(path), "%s/plan.svg", fixture->directory);
    read_file(path, text);
    assert_non_null(strstr(text, "<svg xmlns="));
    assert_non_null(strstr(text, "cpu 8, core 8, numa 0"));
}

/* ---- configuration --------------------------------------------------------------------------- */

#define ID "id: 000102030405060708090a0b0c0d0e0f\n"
#define REPLICA "replicas:\n  - id: 1\n    journal: r1.journal\n    listen: 127.0.0.1:19881\n"

static void serve__wrong_configuration__names_line_and_key(void **state)
{
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"name: x\n" ID "strange: 1\n" REPLICA, "strange"},
        {"name: x\n" ID "ring: 10Q\n" REPLICA, "cluster.yaml:3: ring"},
        {"name: x\n" ID "fabric: tcp\n" REPLICA, "cluster.yaml:3: fabric"},
        {"name: x\n" ID "durability: maybe\n" REPLICA, "cluster.yaml:3: durability"},
        {"name: x\n" ID "timing:\n  heartbeat: soon\n" REPLICA, "cluster.yaml:4: timing.heartbeat"},
        {"name: x\n" REPLICA, "id"},
        {"name: x\nid: zz\n" REPLICA, "cluster.yaml:2: id"},
        {"name: x\n" ID, "replicas"},
        {"name: x\n" ID "replicas:\n  - id: 1\n    journal: j\n    listen: 127.0.0.1:99999\n",
         "listen"},
        {"name: [\n", "cluster.yaml"},
        {"", "cluster.yaml"},
    };
    struct fixture *fixture = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s/cluster.yaml", fixture->directory);
    for (size_t i = 0; i < LKS_COUNT_OF(cases); i++) {
        write_file(path, cases[i].text);
        struct call serve = {{"serve", "--dir", "%D", "--replica", "1"}, 2, cases[i].says};
        expect_call(fixture, &serve);
    }
}

/* ---- journals -------------------------------------------------------------------------------- */

static void serve__unusable_journal__exits_1_and_names_it(void **state)
{
    struct fixture *fixture = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s/c/r1.journal", fixture->directory);
    EXPECT(fixture,
           {{"init", "--dir", "%D/c", "--ring", "1M", "--replicas", "1", "--port", "19891"}, 0,
            NULL});
    assert_int_equal(truncate(path, 4096), 0);
    EXPECT(fixture, {{"serve", "--dir", "%D/c", "--replica", "1"}, 1, "r1.journal"});
    assert_int_equal(unlink(path), 0);
    EXPECT(fixture, {{"serve", "--dir", "%D/c", "--replica", "1"}, 1, "r1.journal"});
    write_file(path, "this is no journal\n");
    EXPECT(fixture, {{"serve", "--dir", "%D/c", "--replica", "1"}, 1, "r1.journal"});
    EXPECT(fixture, {{"local", "--dir", "%D/c"}, 1, ""});
}

static void journal__wrong_files__exit_with_one_line(void **state)
{
    struct fixture *fixture = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s/text", fixture->directory);
    write_file(path, "this is no journal\n");
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M", "--replicas", "1"}, 0, NULL},
           {{"journal", "verify", "%D/c/r1.journal"}, 0, NULL},
           {{"journal", "dump", "%D/c/r1.journal"}, 0, NULL},
           {{"journal"}, 2, ""}, {{"journal", "strange", "%D/text"}, 2, "strange"},
           {{"journal", "verify"}, 2, ""}, {{"journal", "verify", "%D/missing"}, 1, "missing"},
           {{"journal", "verify", "%D/text"}, 1, "text"});
}

static void recover__wrong_arguments__change_nothing(void **state)
{
    struct fixture *fixture = *state;
    EXPECT(fixture, {{"init", "--dir", "%D/c", "--ring", "1M", "--replicas", "1"}, 0, NULL},
           {{"recover"}, 2, ""}, {{"recover", "--dir", "%D/c"}, 2, "--accept-loss"},
           {{"recover", "--dir", "%D/missing", "--accept-loss"}, 2, "missing"},
           {{"recover", "--dir", "%D/c", "--accept-loss", "--cluster", "strange"}, 1, "strange"},
           {{"recover", "--dir", "%D/c", "--accept-loss", "--replica", "2"}, 2, "2"});
}

/* ---- running --------------------------------------------------------------------------------- */

static void two_processes__one_replica__second_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct lks_process_cluster cluster;
    const struct lks_process_cluster_options options = {.replicas = 1, .ring = "1M"};
    assert_int_equal(lks_process_cluster_init(&cluster, &options), 0);
    assert_int_equal(lks_process_cluster_wait_serving(&cluster, READY_TIMEOUT_MS), 0);
    const char *const again[] = {"serve", "--dir", cluster.directory, "--replica", "1", NULL};
    assert_int_equal(call(fixture, again), 1);
    assert_non_null(strstr(fixture->error, "r1.journal"));
    const char *const local[] = {"local", "--dir", cluster.directory, NULL};
    assert_int_equal(call(fixture, local), 1);
    assert_non_null(strstr(fixture->error, "in use"));
    const char *const differs[] = {"local", "--dir", cluster.directory, "--replicas", "3", NULL};
    assert_int_equal(call(fixture, differs), 2);
    assert_non_null(strstr(fixture->error, "--replicas"));
    lks_process_cluster_fini(&cluster);
}

/* Starts a command with its output in a file; dies with the test. */
static pid_t start(const char *const *arguments, const char *out)
{
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execv(lks_process_cluster_binary(), (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    return pid;
}

static pid_t start_local(const char *directory, const char *port, const char *out)
{
    const char *const arguments[] = {"lockstep", "local",  "--dir", directory, "--port",
                                     port,       "--ring", "1M",    NULL};
    return start(arguments, out);
}

static bool wait_for_text(const char *path, const char *text, char content[TEXT_MAX])
{
    uint64_t end_ns = lks_clock_monotonic_ns() + READY_TIMEOUT_MS * LKS_NS_PER_MS;
    do {
        read_file(path, content);
        if (strstr(content, text) != NULL) {
            return true;
        }
        usleep(5000);
    } while (lks_clock_monotonic_ns() < end_ns);
    return false;
}

#ifdef LKS_WITH_RDMA
/* 127.0.0.1 is no RDMA device's address, with a device or without. */
static void serve__rdma_device_is_not_there_yet__waits_until_a_signal(void **state)
{
    struct fixture *fixture = *state;
    char config[96];
    char journal[96];
    char out[96];
    char text[768];
    snprintf(config, sizeof(config), "%s/c.yaml", fixture->directory);
    snprintf(journal, sizeof(journal), "%s/r1.journal", fixture->directory);
    snprintf(out, sizeof(out), "%s/serve", fixture->directory);
    snprintf(text, sizeof(text),
             "name: late\nid: 00112233445566778899aabbccddeeff\ndirectory: %s\nfabric: rdma\n"
             "cluster_key: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
             "replicas:\n  - {id: 1, journal: r1.journal, listen: '127.0.0.1:19871', "
             "rdma: '127.0.0.1:19872'}\n",
             fixture->directory);
    write_file(config, text);
    const char *const arguments[] = {"lockstep", "serve",     "--config", config,
                                     "--replica", "1", NULL};
    pid_t pid = start(arguments, out);
    if (!wait_for_text(out, "looking again in 500 ms", fixture->out)) {
        fail_msg("serve does not wait: %s", fixture->out);
    }
    int status;
    kill(pid, SIGTERM);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    /* Its journal, which is not even there, was not looked at yet. */
    read_file(out, fixture->out);
    assert_null(strstr(fixture->out, "r1.journal"));
    assert_int_not_equal(access(journal, F_OK), 0);
}
#endif

static long pid_in(const char *directory, int replica)
{
    char path[128];
    char text[TEXT_MAX];
    snprintf(path, sizeof(path), "%s/r%d.pid", directory, replica);
    read_file(path, text);
    return strtol(text, NULL, 10);
}

static void local__signal__stops_every_replica(void **state)
{
    struct fixture *fixture = *state;
    char directory[80];
    char out[80];
    snprintf(directory, sizeof(directory), "%s/c", fixture->directory);
    snprintf(out, sizeof(out), "%s/local", fixture->directory);
    static const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    for (size_t i = 0; i < LKS_COUNT_OF(signals); i++) {
        unlink(out);
        pid_t pid = start_local(directory, "19861", out);
        if (!wait_for_text(out, "ready:", fixture->out)) {
            fail_msg("local is not ready: %s", fixture->out);
        }
        long pids[4] = {0};
        for (int id = 1; id <= 3; id++) {
            pids[id] = pid_in(directory, id);
            assert_true(pids[id] > 1);
            assert_int_equal(kill((pid_t)pids[id], 0), 0);
        }
        int status;
        kill(pid, signals[i]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (signals[i] != SIGKILL) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
        }
        for (int id = 1; id <= 3; id++) {
            for (int tries = 0; tries < 1000 && kill((pid_t)pids[id], 0) == 0; tries++) {
                usleep(5000);
            }
            assert_int_not_equal(kill((pid_t)pids[id], 0), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(help__everywhere__is_printed_and_exits_0),
        TEST(no_command__exits_2),
        TEST(init__wrong_arguments__exit_2),
        TEST(init__existing_cluster__is_not_overwritten),
        TEST(init__over_rdma__budget_of_locked_memory_and_the_limit),
        TEST(serve__wrong_arguments__exit_2),
        TEST(status__wrong_arguments__exit_2_and_no_cluster_3),
        TEST(scheduler__wrong_arguments__exit_2_and_no_cluster_1),
        TEST(topology__machines_and_configurations__are_told_and_drawn),
        TEST(serve__wrong_configuration__names_line_and_key),
        TEST(serve__unusable_journal__exits_1_and_names_it),
        TEST(journal__wrong_files__exit_with_one_line),
        TEST(recover__wrong_arguments__change_nothing),
        TEST(two_processes__one_replica__second_is_refused),
        TEST(local__signal__stops_every_replica),
#ifdef LKS_WITH_RDMA
        TEST(serve__rdma_device_is_not_there_yet__waits_until_a_signal),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
