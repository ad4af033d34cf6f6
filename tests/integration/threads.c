/*
 * A whole cluster as threads of one process, for the thread sanitizer: it sees both sides of every
 * shared word. Clients record their history while replicas are ended in order and started again;
 * nobody can be killed here, which is what chaos with processes is for.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "node/assembly.h"
#include "node/daemon.h"
#include "services/kv/kv.h"
#include "tests/support/history_client.h"
#include "tests/support/process_cluster.h"

#include <hiredis/hiredis.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define REPLICAS 3u
#define CLIENTS 3u
#define WORKERS 2u
#define ROUNDS 6u
#define OPERATIONS_MAX 20000u
#define TIMEOUT_MS 60000u /* the sanitizer makes everything slow */

struct replica {
    const struct lks_config *config;
    uint32_t id;
    int stop_fd;
    bool running;
    pthread_t thread;
    int rc;
    struct lks_error err;
    struct lks_log log;
    char name[8];
};

struct fixture {
    struct lks_process_cluster cluster; /* folder and ports only: there are no processes */
    struct lks_config config;
    struct replica replicas[REPLICAS + 1];
    struct lks_history_run run;
    struct lks_history_client clients[CLIENTS];
};

/* ---- replicas -------------------------------------------------------------------------------- */

static void *live(void *ctx)
{
    struct replica *replica = ctx;
    const struct lks_daemon_options options = {
        .config = replica->config,
        .replica = replica->id,
        .service = &lks_kv_service,
        .stop_fd = replica->stop_fd,
        .shared_process = true,
        .log_sink = &replica->log,
    };
    replica->rc = lks_daemon_run(&options, &replica->err);
    return NULL;
}

static void start(struct fixture *fixture, uint32_t id)
{
    struct replica *replica = &fixture->replicas[id];
    *replica = (struct replica){.config = &fixture->config, .id = id};
    snprintf(replica->name, sizeof(replica->name), "r%u", id);
    replica->log = (struct lks_log){LKS_LOG_WARN, lks_log_to_stderr, replica->name};
    replica->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(replica->stop_fd >= 0);
    assert_int_equal(pthread_create(&replica->thread, NULL, live, replica), 0);
    replica->running = true;
}

static void stop(struct fixture *fixture, uint32_t id)
{
    struct replica *replica = &fixture->replicas[id];
    if (!replica->running) {
        return;
    }
    assert_int_equal(eventfd_write(replica->stop_fd, 1), 0);
    pthread_join(replica->thread, NULL);
    close(replica->stop_fd);
    replica->running = false;
    if (replica->rc != 0) {
        fail_msg("replica %u ended with %d: %s", id, replica->rc, replica->err.text);
    }
}

static bool answers(const struct fixture *fixture, uint32_t id)
{
    struct timeval timeout = {.tv_sec = 2};
    redisContext *context = redisConnectWithTimeout(
        "127.0.0.1", lks_process_cluster_port(&fixture->cluster, id), timeout);
    bool good = false;
    if (context != NULL && context->err == 0) {
        redisSetTimeout(context, timeout);
        redisReply *reply = redisCommand(context, "GET serving");
        good = reply != NULL && reply->type != REDIS_REPLY_ERROR;
        freeReplyObject(reply);
    }
    redisFree(context);
    return good;
}

static void wait_serving(const struct fixture *fixture)
{
    uint64_t end_ns = lks_clock_monotonic_ns() + TIMEOUT_MS * LKS_NS_PER_MS;
    for (uint32_t id = 1; id <= REPLICAS;) {
        if (answers(fixture, id)) {
            id++;
            continue;
        }
        if (lks_clock_monotonic_ns() > end_ns) {
            fail_msg("replica %u does not serve", id);
        }
        usleep(5000);
    }
}

/* ---- the cluster ----------------------------------------------------------------------------- */

static void make_cluster(struct fixture *fixture, enum lks_scheduler_kind scheduler)
{
    const struct lks_process_cluster_options options = {.replicas = REPLICAS, .ring = "64M"};
    assert_int_equal(lks_process_cluster_init(&fixture->cluster, &options), 0);
    char path[320];
    struct lks_error err = {0};
    snprintf(path, sizeof(path), "%s/cluster.yaml", fixture->cluster.directory);
    assert_int_equal(lks_config_load(&fixture->config, path, &err), 0);
    /* Threads of one sanitized process on few cores: slow is not dead. */
    fixture->config.election_timeout_ns = 500 * LKS_NS_PER_MS;
    fixture->config.heartbeat_ns = 50 * LKS_NS_PER_MS;
    fixture->config.scheduler = scheduler;
    fixture->config.workers = scheduler == LKS_SEQUENTIAL ? 0 : WORKERS;
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        start(fixture, id);
    }
    wait_serving(fixture);
}

static void start_clients(struct fixture *fixture)
{
    fixture->run.cluster = &fixture->cluster;
    fixture->run.think_us_max = 2000;
    fixture->run.operations_max = OPERATIONS_MAX;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(lks_history_client_start(&fixture->clients[i], &fixture->run, i, i), 0);
    }
}

static size_t join_clients(struct fixture *fixture)
{
    size_t count = 0;
    atomic_store_explicit(&fixture->run.stop, true, memory_order_relaxed);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        lks_history_client_join(&fixture->clients[i]);
        assert_int_equal(fixture->clients[i].unexpected, 0);
        assert_int_equal(fixture->clients[i].malformed, 0);
        count += fixture->clients[i].count;
    }
    return count;
}

static void check_history(struct fixture *fixture, size_t count)
{
    struct lks_history_operation *history =
        calloc(count + LKS_HISTORY_KEYS * REPLICAS, sizeof(*history));
    assert_non_null(history);
    size_t used = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        memcpy(&history[used], fixture->clients[i].operations,
               fixture->clients[i].count * sizeof(*history));
        used += fixture->clients[i].count;
    }
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        assert_int_equal(lks_history_read_all(&fixture->cluster, id, &history[used]), 0);
        used += LKS_HISTORY_KEYS;
        for (uint32_t i = 0; i < CLIENTS; i++) {
            assert_int_equal(
                lks_history_client_check_own(&fixture->clients[i], &fixture->cluster, id), 0);
        }
    }
    struct lks_linearizability_report report;
    assert_int_equal(lks_linearizability_check(history, used, NULL, &report), 0);
    assert_int_equal(report.verdict, LKS_LINEARIZABLE);
    free(history);
}

static void end_and_come_back(enum lks_scheduler_kind scheduler)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    make_cluster(fixture, scheduler);
    start_clients(fixture);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        usleep(100000);
        uint32_t id = round % REPLICAS + 1;
        atomic_fetch_add_explicit(&fixture->run.disturbances[id], 1, memory_order_acq_rel);
        stop(fixture, id);
        usleep(50000);
        start(fixture, id);
        wait_serving(fixture);
        atomic_fetch_add_explicit(&fixture->run.disturbances[id], 1, memory_order_acq_rel);
    }
    check_history(fixture, join_clients(fixture));
    for (uint32_t i = 0; i < CLIENTS; i++) {
        lks_history_client_fini(&fixture->clients[i]);
    }
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        stop(fixture, id);
    }
    lks_process_cluster_fini(&fixture->cluster);
    free(fixture);
}

static void threads__replicas_end_and_come_back__history_is_linearizable(void **state)
{
    (void)state;
    end_and_come_back(LKS_SEQUENTIAL);
}

static void threads__workers_of_early__history_is_linearizable(void **state)
{
    (void)state;
    end_and_come_back(LKS_EARLY);
}

static void threads__workers_of_late__history_is_linearizable(void **state)
{
    (void)state;
    end_and_come_back(LKS_LATE);
}

/* One INFO field of each replica; false: not all say this. */
static bool all_say(const struct fixture *fixture, const char *field, const char *wanted)
{
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        char value[64];
        if (lks_process_cluster_info(&fixture->cluster, id, "lockstep", field, value,
                                     sizeof(value)) != 0 ||
            strcmp(value, wanted) != 0) {
            return false;
        }
    }
    return true;
}

/* The command line, as an operator calls it, on all replicas of the running cluster. */
static int set_scheduler(const struct fixture *fixture, const char *kind, const char *workers)
{
    const char *const all[] = {"scheduler", "set", kind, "--dir", fixture->cluster.directory, NULL};
    const char *const some[] = {"scheduler", "set", kind, "--dir", fixture->cluster.directory,
                                "--workers", workers, NULL};
    return lks_process_run(workers == NULL ? all : some, "", "");
}

static void check_states(struct fixture *fixture)
{
    char index[64] = "0";
    for (int tries = 0; tries < 1000 && strcmp(index, "0") == 0; tries++) { /* at rest */
        assert_int_equal(lks_process_cluster_check_hashes(&fixture->cluster, TIMEOUT_MS), 0);
        assert_int_equal(lks_process_cluster_info(&fixture->cluster, 1, "lockstep_hash",
                                                  "state_hash_index", index, sizeof(index)), 0);
    }
    assert_string_not_equal(index, "0");
}

static void threads__scheduler_set_under_load__states_stay_equal(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        const char *workers;
    } steps[] = {{"late", NULL},     {"hybrid", NULL}, {"sequential", NULL}, {"late", "1"},
                 {"adaptive", NULL}, {"early", NULL},  {"adaptive", "1"},    {"late", "2"}};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    make_cluster(fixture, LKS_EARLY);
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        fixture->cluster.hosts[id] = "127.0.0.1"; /* asked though they are no processes */
    }
    start_clients(fixture);
    for (size_t i = 0; i < LKS_COUNT_OF(steps); i++) {
        usleep(50000);
        assert_int_equal(set_scheduler(fixture, steps[i].kind, steps[i].workers), 0);
        assert_true(all_say(fixture, "scheduler", steps[i].kind));
    }
    assert_true(all_say(fixture, "workers_active", "2"));
    assert_int_not_equal(set_scheduler(fixture, "late", "3"), 0); /* they have two */
    assert_int_not_equal(set_scheduler(fixture, "early", "1"), 0);
    assert_true(all_say(fixture, "scheduler_wanted", "late"));
    check_history(fixture, join_clients(fixture));
    check_states(fixture);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        lks_history_client_fini(&fixture->clients[i]);
    }
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        stop(fixture, id);
        start(fixture, id); /* begins with what the configuration says */
    }
    wait_serving(fixture);
    assert_true(all_say(fixture, "scheduler", "early"));
    for (uint32_t id = 1; id <= REPLICAS; id++) {
        stop(fixture, id);
    }
    lks_process_cluster_fini(&fixture->cluster);
    free(fixture);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads__replicas_end_and_come_back__history_is_linearizable),
        cmocka_unit_test(threads__workers_of_early__history_is_linearizable),
        cmocka_unit_test(threads__workers_of_late__history_is_linearizable),
        cmocka_unit_test(threads__scheduler_set_under_load__states_stay_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
