/*
 * Members of a cluster of real processes come and go while clients write: nothing acknowledged is
 * lost, clients of replicas that stay see no error, who was removed ends and says so, and whatever
 * happens to a leader in the middle of a change, the same command finishes it.
 */
#include "base/clock.h"
#include "tests/support/history_client.h"
#include "tests/support/process_cluster.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 30000u
#define REMOVED_CODE 4
#define CLIENTS 4u
#define PATH_BYTES 384

struct fixture {
    struct lks_process_cluster cluster;
    char config[PATH_BYTES];
    char output[PATH_BYTES]; /* of the last command */
};

/* ---- commands ------------------------------------------------------------------------------- */

static void make(struct fixture *f, uint32_t replicas, const char *ring)
{
    const struct lks_process_cluster_options options = {
        .replicas = replicas, .ring = ring, .spare_ports = true};
    memset(f, 0, sizeof *f);
    assert_int_equal(lks_process_cluster_init(&f->cluster, &options), 0);
    assert_int_equal(lks_process_cluster_wait_serving(&f->cluster, TIMEOUT_MS), 0);
    f->cluster.failed = true; /* until the test says otherwise */
    (void)snprintf(f->config, sizeof f->config, "%s/cluster.yaml", f->cluster.directory);
    (void)snprintf(f->output, sizeof f->output, "%s/command.out", f->cluster.directory);
}

static void end(struct fixture *f)
{
    f->cluster.failed = false;
    for (uint32_t id = 1; id <= LKS_PROCESS_REPLICAS_MAX; id++) {
        lks_process_cluster_kill(&f->cluster, id);
    }
    lks_process_cluster_fini(&f->cluster);
}

static int member(struct fixture *f, const char *action, uint32_t id)
{
    char text[8] = "";
    (void)snprintf(text, sizeof text, "%u", id);
    const char *const arguments[] = {"member", "--config", f->config, action,
                                     id != 0 ? text : NULL, NULL};
    return lks_process_run(arguments, f->output, f->output);
}

/* A replica that was removed comes back with new files. */
static int add_again(struct fixture *f, uint32_t id)
{
    char text[8];
    (void)snprintf(text, sizeof text, "%u", id);
    const char *const arguments[] = {"member",  "add",      text,        "--config",
                                     f->config, "--rejoin", "--no-wait", NULL};
    return lks_process_run(arguments, f->output, f->output);
}

/* Its block, its journal, the cluster's word; then it runs. */
static void add(struct fixture *f, uint32_t id, bool manual)
{
    char text[8];
    char journal[16];
    char listen[32];
    (void)snprintf(text, sizeof text, "%u", id);
    (void)snprintf(journal, sizeof journal, "r%u.journal", id);
    (void)snprintf(listen, sizeof listen, "127.0.0.1:%d",
                   lks_process_cluster_port(&f->cluster, id));
    const char *const arguments[] = {"member",    "add",     text,        "--config",
                                     f->config,   "--journal", journal,   "--listen",
                                     listen,      "--no-wait", manual ? "--manual" : NULL, NULL};
    assert_int_equal(lks_process_run(arguments, f->output, f->output), 0);
    assert_int_equal(lks_process_cluster_start(&f->cluster, id), 0);
}

/* Waits until the replica says this of `field`. */
static void wait_for(struct fixture *f, uint32_t id, const char *field, const char *wanted)
{
    const uint64_t end_ns = lks_clock_monotonic_ns() + TIMEOUT_MS * LKS_NS_PER_MS;
    char value[64] = "";
    for (;;) {
        if (lks_process_cluster_info(&f->cluster, id, "lockstep", field, value, sizeof value) ==
                0 && strcmp(value, wanted) == 0) {
            return;
        }
        if (lks_clock_monotonic_ns() > end_ns) {
            fail_msg("replica %u: %s is '%s', not '%s'", id, field, value, wanted);
        }
        (void)usleep(20000);
    }
}

static void expect_end(struct fixture *f, uint32_t id, int code)
{
    const uint64_t end_ns = lks_clock_monotonic_ns() + TIMEOUT_MS * LKS_NS_PER_MS;
    int status = 0;
    while (waitpid(f->cluster.pids[id], &status, WNOHANG) == 0) {
        if (lks_clock_monotonic_ns() > end_ns) {
            fail_msg("replica %u has not ended", id);
        }
        (void)usleep(5000);
    }
    f->cluster.pids[id] = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static uint32_t leader_of(struct fixture *f)
{
    const uint64_t end_ns = lks_clock_monotonic_ns() + TIMEOUT_MS * LKS_NS_PER_MS;
    uint32_t leader = 0;
    const uint32_t replicas = f->cluster.replicas;
    while (leader == 0 && lks_clock_monotonic_ns() < end_ns) {
        f->cluster.replicas = LKS_PROCESS_REPLICAS_MAX;
        leader = lks_process_cluster_leader(&f->cluster);
        f->cluster.replicas = replicas;
    }
    assert_int_not_equal(leader, 0);
    return leader;
}

static void expect_reply(struct fixture *f, uint32_t id, const char *command, const char *wanted)
{
    const struct timeval timeout = {.tv_sec = 10};
    redisContext *context = redisConnectWithTimeout(
        "127.0.0.1", lks_process_cluster_port(&f->cluster, id), timeout);
    assert_non_null(context);
    assert_int_equal(context->err, 0);
    redisReply *reply = redisCommand(context, command);
    assert_non_null(reply);
    assert_string_equal(reply->str != NULL ? reply->str : "", wanted);
    freeReplyObject(reply);
    redisFree(context);
}

/* ---- under load ----------------------------------------------------------------------------- */

struct load {
    struct lks_history_run run;
    struct lks_history_client clients[CLIENTS];
};

static void start_load(struct load *load, struct fixture *f)
{
    memset(load, 0, sizeof *load);
    load->run.cluster = &f->cluster;
    load->run.think_us_max = 3000;
    load->run.operations_max = 20000;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(lks_history_client_start(&load->clients[i], &load->run, i, 7 + i), 0);
    }
}

/* Its clients may see errors from now on. */
static void disturb(struct load *load, uint32_t id)
{
    atomic_fetch_add(&load->run.disturbances[id], 1);
}

static size_t gather(struct load *load, struct lks_history_operation *history)
{
    size_t count = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (history != NULL) {
            memcpy(&history[count], load->clients[i].operations,
                   load->clients[i].count * sizeof *history);
        }
        count += load->clients[i].count;
    }
    return count;
}

static void end_load(struct load *load, struct fixture *f, const uint32_t *alive, uint32_t count)
{
    atomic_store(&load->run.stop, true);
    uint64_t acknowledged = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        lks_history_client_join(&load->clients[i]);
        acknowledged += load->clients[i].acknowledged;
        assert_int_equal(load->clients[i].unexpected, 0);
        assert_int_equal(load->clients[i].malformed, 0);
    }
    assert_true(acknowledged > 0);
    size_t operations = gather(load, NULL);
    struct lks_history_operation *history =
        calloc(operations + count * LKS_HISTORY_KEYS, sizeof *history);
    assert_non_null(history);
    (void)gather(load, history);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(lks_history_read_all(&f->cluster, alive[i], &history[operations]), 0);
        operations += LKS_HISTORY_KEYS;
        for (uint32_t client = 0; client < CLIENTS; client++) {
            assert_int_equal(
                lks_history_client_check_own(&load->clients[client], &f->cluster, alive[i]), 0);
        }
    }
    struct lks_linearizability_report report;
    assert_int_equal(lks_linearizability_check(history, operations, NULL, &report), 0);
    assert_int_equal(report.verdict, LKS_LINEARIZABLE);
    free(history);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        lks_history_client_fini(&load->clients[i]);
    }
}

static void cluster__grows_and_shrinks_under_load__loses_nothing(void **state)
{
    (void)state;
    static struct fixture f;
    static struct load load;
    make(&f, 3, "256K");
    start_load(&load, &f);
    add(&f, 4, false);
    wait_for(&f, 4, "voters", "1,2,3,4");
    add(&f, 5, false);
    wait_for(&f, 5, "voters", "1,2,3,4,5");

    const uint32_t leader = leader_of(&f);
    const uint32_t follower = leader == 1 ? 2 : 1;
    disturb(&load, follower);
    assert_int_equal(member(&f, "remove", follower), 0);
    expect_end(&f, follower, REMOVED_CODE);

    const uint32_t next = leader_of(&f);
    disturb(&load, next <= 3 ? next : leader);
    const uint32_t second = next <= 3 ? next : leader;
    assert_int_equal(member(&f, "remove", second), 0); /* the leader hands over first */
    expect_end(&f, second, REMOVED_CODE);

    const uint32_t alive[] = {6 - follower - second, 4, 5};
    end_load(&load, &f, alive, 3);
    /* Whoever is there or not: a removed replica says so again. */
    assert_int_equal(lks_process_cluster_start(&f.cluster, second), 0);
    expect_end(&f, second, REMOVED_CODE);
    assert_int_equal(member(&f, "list", 0), 0);
    end(&f);
}

/* ---- a leader that dies in the middle of a change ------------------------------------------- */

static void leader__killed_during_a_change__the_command_finishes_it(void **state)
{
    (void)state;
    static struct fixture f;
    make(&f, 3, "256K");
    expect_reply(&f, 1, "SET k before", "OK");
    add(&f, 4, true);
    for (uint32_t round = 0; round < 3; round++) {
        const uint32_t leader = leader_of(&f);
        const pid_t child = fork();
        if (child == 0) {
            (void)usleep(round * 3000);
            (void)kill(f.cluster.pids[leader], SIGKILL);
            _exit(0);
        }
        /* Promoted, or removed and added again: alternately, each while a leader dies. */
        const int rc = member(&f, round == 1 ? "remove" : "promote", 4);
        (void)waitpid(child, NULL, 0);
        (void)waitpid(f.cluster.pids[leader], NULL, 0);
        f.cluster.pids[leader] = 0;
        assert_int_equal(lks_process_cluster_start(&f.cluster, leader), 0);
        if (rc != 0) {
            assert_int_equal(member(&f, round == 1 ? "remove" : "promote", 4), 0);
        }
        if (round == 1) {
            if (f.cluster.pids[4] != 0) {
                expect_end(&f, 4, REMOVED_CODE);
            }
            assert_int_equal(add_again(&f, 4), 0);
            assert_int_equal(lks_process_cluster_start(&f.cluster, 4), 0);
        }
    }
    wait_for(&f, 4, "voters", "1,2,3,4");
    expect_reply(&f, 4, "GET k", "before");
    end(&f);
}

/* ---- a learner that needs a snapshot --------------------------------------------------------- */

static void learner__installs_a_snapshot__becomes_a_voter(void **state)
{
    (void)state;
    static struct fixture f;
    make(&f, 3, "64K");
    const struct timeval timeout = {.tv_sec = 10};
    redisContext *context = redisConnectWithTimeout(
        "127.0.0.1", lks_process_cluster_port(&f.cluster, 1), timeout);
    assert_non_null(context);
    for (int i = 0; i < 3000; i++) {
        redisReply *reply = redisCommand(context, "SET key%d %0100d", i % 50, i);
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_STATUS);
        freeReplyObject(reply);
        if (i == 2000) {
            add(&f, 4, false);
        }
        if (i == 2300) {
            add(&f, 5, true); /* one more change while the first one copies */
        }
    }
    redisFree(context);
    wait_for(&f, 4, "voters", "1,2,3,4");
    wait_for(&f, 5, "learners", "5");
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, "%0100d", 2999);
    expect_reply(&f, 4, "GET key49", wanted);
    expect_reply(&f, 5, "GET key49", wanted);
    end(&f);
}

/* ---- a majority that is lost for good -------------------------------------------------------- */

static int recover(struct fixture *f, const char *name)
{
    const char *const arguments[] = {"recover",     "--config", f->config, "--accept-loss",
                                     "--survivors", "1",        "--cluster", name, NULL};
    return lks_process_run(arguments, f->output, f->output);
}

static void majority__lost_for_good__one_survivor_begins_anew(void **state)
{
    (void)state;
    static struct fixture f;
    char path[PATH_BYTES + 64];
    make(&f, 3, "256K");
    expect_reply(&f, 2, "SET k kept", "OK");
    wait_for(&f, 1, "apply_lag_bytes", "0");
    assert_int_equal(recover(&f, "local"), 1); /* it runs */
    for (uint32_t id = 1; id <= 3; id++) {
        (void)lks_process_cluster_stop(&f.cluster, id);
    }
    for (uint32_t id = 2; id <= 3; id++) {
        (void)snprintf(path, sizeof path, "%s/r%u.journal", f.cluster.directory, id);
        assert_int_equal(unlink(path), 0);
        (void)strncat(path, ".snapshots", sizeof path - strlen(path) - 1);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(recover(&f, "another"), 1); /* not its name */
    assert_int_equal(recover(&f, "local"), 0);
    assert_int_equal(lks_process_cluster_start(&f.cluster, 1), 0);
    wait_for(&f, 1, "serving", "1");
    expect_reply(&f, 1, "GET k", "kept");
    for (uint32_t id = 2; id <= 3; id++) {
        assert_int_equal(add_again(&f, id), 0);
        assert_int_equal(lks_process_cluster_start(&f.cluster, id), 0);
        wait_for(&f, id, "voters", id == 2 ? "1,2" : "1,2,3");
        expect_reply(&f, id, "GET k", "kept");
    }
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cluster__grows_and_shrinks_under_load__loses_nothing),
        cmocka_unit_test(leader__killed_during_a_change__the_command_finishes_it),
        cmocka_unit_test(learner__installs_a_snapshot__becomes_a_voter),
        cmocka_unit_test(majority__lost_for_good__one_survivor_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
