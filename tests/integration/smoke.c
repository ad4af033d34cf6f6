/*
 * The main job on real processes, once for each size of cluster: write and read at every replica,
 * lose the leader, go on, take it back, lose the power, stop in order, start again; nothing
 * acknowledged is lost, nothing happens twice.
 */
#include "base/assert.h"
#include "tests/support/process_cluster.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVING_TIMEOUT_MS 20000
#define LARGE_BYTES 100000
#define PIPELINED 1000

struct fixture {
    struct lks_process_cluster cluster;
    redisContext *contexts[LKS_PROCESS_REPLICAS_MAX + 1];
};

static void hang_up(struct fixture *fixture)
{
    for (uint32_t id = 1; id <= LKS_PROCESS_REPLICAS_MAX; id++) {
        redisFree(fixture->contexts[id]);
        fixture->contexts[id] = NULL;
    }
}

static int set_up(struct fixture *fixture, const struct lks_process_cluster_options *options)
{
    memset(fixture, 0, sizeof(*fixture));
    if (lks_process_cluster_init(&fixture->cluster, options) != 0 ||
        lks_process_cluster_wait_serving(&fixture->cluster, SERVING_TIMEOUT_MS) != 0) {
        lks_process_cluster_fini(&fixture->cluster);
        return -1;
    }
    fixture->cluster.failed = true; /* until the test says otherwise */
    return 0;
}

static void tear_down(struct fixture *fixture)
{
    hang_up(fixture);
    lks_process_cluster_fini(&fixture->cluster);
}

static redisContext *at(struct fixture *fixture, uint32_t replica)
{
    if (fixture->contexts[replica] == NULL) {
        struct timeval timeout = {.tv_sec = 10};
        redisContext *context = redisConnectWithTimeout(
            "127.0.0.1", lks_process_cluster_port(&fixture->cluster, replica), timeout);
        assert_non_null(context);
        assert_int_equal(context->err, 0);
        redisSetTimeout(context, timeout);
        fixture->contexts[replica] = context;
    }
    return fixture->contexts[replica];
}

static void expect_text(redisReply *reply, int type, const char *text)
{
    assert_non_null(reply);
    if (reply->type != type) {
        fail_msg("reply of type %d, not %d: %s", reply->type, type,
                 reply->str != NULL ? reply->str : "");
    }
    assert_string_equal(reply->str, text);
    freeReplyObject(reply);
}

static void expect_integer(redisReply *reply, long long number)
{
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR) {
        fail_msg("error instead of %lld: %s", number, reply->str);
    }
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    assert_int_equal(reply->integer, number);
    freeReplyObject(reply);
}

/* Key k<n> was written at replica n; every replica must have them all. */
static void expect_all_keys(struct fixture *fixture)
{
    for (uint32_t id = 1; id <= fixture->cluster.replicas; id++) {
        for (uint32_t key = 1; key <= fixture->cluster.replicas; key++) {
            char value[32];
            snprintf(value, sizeof(value), "value%u", key);
            expect_text(redisCommand(at(fixture, id), "GET k%u", key), REDIS_REPLY_STRING, value);
        }
    }
}

static void write_everywhere(struct fixture *fixture)
{
    for (uint32_t id = 1; id <= fixture->cluster.replicas; id++) {
        expect_text(redisCommand(at(fixture, id), "SET k%u value%u", id, id), REDIS_REPLY_STATUS,
                    "OK");
        expect_integer(redisCommand(at(fixture, id), "INCR counter"), id);
    }
    expect_all_keys(fixture);
}

static void write_binary_and_large(struct fixture *fixture)
{
    uint32_t last = fixture->cluster.replicas;
    char *large = malloc(LARGE_BYTES);
    assert_non_null(large);
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        large[i] = (char)(i * 7 % 256);
    }
    redisReply *reply = redisCommand(at(fixture, last), "SET %b %b", "a\0b", (size_t)3, large,
                                     (size_t)LARGE_BYTES);
    expect_text(reply, REDIS_REPLY_STATUS, "OK");
    for (uint32_t id = 1; id <= fixture->cluster.replicas; id++) {
        reply = redisCommand(at(fixture, id), "GET %b", "a\0b", (size_t)3);
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_STRING);
        assert_int_equal(reply->len, LARGE_BYTES);
        assert_memory_equal(reply->str, large, LARGE_BYTES);
        freeReplyObject(reply);
    }
    free(large);
}

static void pipeline_keeps_order(struct fixture *fixture)
{
    for (uint32_t id = 1; id <= fixture->cluster.replicas; id++) {
        redisContext *context = at(fixture, id);
        for (int i = 0; i < PIPELINED; i++) {
            redisAppendCommand(context, "INCR pipelined:%u", id);
        }
        for (int i = 0; i < PIPELINED; i++) {
            redisReply *reply = NULL;
            assert_int_equal(redisGetReply(context, (void **)&reply), REDIS_OK);
            expect_integer(reply, i + 1);
        }
    }
}

/* Kills the leader and goes on at another replica; then the killed one comes back. */
static void lose_the_leader(struct fixture *fixture, long long *counter)
{
    struct lks_process_cluster *cluster = &fixture->cluster;
    uint32_t leader = lks_process_cluster_leader(cluster);
    assert_in_range(leader, 1, cluster->replicas);
    uint32_t survivor = leader % cluster->replicas + 1;
    expect_integer(redisCommand(at(fixture, survivor), "INCR counter"), ++*counter);
    lks_process_cluster_kill(cluster, leader);
    redisFree(fixture->contexts[leader]);
    fixture->contexts[leader] = NULL;
    expect_integer(redisCommand(at(fixture, survivor), "INCR counter"), ++*counter);
    assert_int_equal(lks_process_cluster_wait_serving(cluster, SERVING_TIMEOUT_MS), 0);
    expect_integer(redisCommand(at(fixture, leader), "INCR counter"), ++*counter);
    assert_int_equal(lks_process_cluster_check_hashes(cluster, SERVING_TIMEOUT_MS), 0);
}

static void lose_the_power(struct fixture *fixture, long long *counter)
{
    hang_up(fixture);
    lks_process_cluster_kill_all(&fixture->cluster);
    assert_int_equal(lks_process_cluster_wait_serving(&fixture->cluster, SERVING_TIMEOUT_MS), 0);
    expect_all_keys(fixture);
    expect_integer(redisCommand(at(fixture, 1), "INCR counter"), ++*counter);
}

static void stop_in_order_and_start(struct fixture *fixture, long long *counter)
{
    hang_up(fixture);
    for (uint32_t id = 1; id <= fixture->cluster.replicas; id++) {
        assert_int_equal(lks_process_cluster_stop(&fixture->cluster, id), 0);
    }
    assert_int_equal(lks_process_cluster_wait_serving(&fixture->cluster, SERVING_TIMEOUT_MS), 0);
    expect_all_keys(fixture);
    expect_integer(redisCommand(at(fixture, 1), "INCR counter"), ++*counter);
    assert_int_equal(lks_process_cluster_check_hashes(&fixture->cluster, SERVING_TIMEOUT_MS), 0);
}

static void cluster__main_job__keeps_what_it_acknowledged(void **state)
{
    const struct lks_process_cluster_options *options = *state;
    struct fixture fixture;
    assert_int_equal(set_up(&fixture, options), 0);
    long long counter = options->replicas;
    write_everywhere(&fixture);
    write_binary_and_large(&fixture);
    pipeline_keeps_order(&fixture);
    if (options->replicas >= 3) {
        lose_the_leader(&fixture, &counter);
        lose_the_leader(&fixture, &counter);
    }
    lose_the_power(&fixture, &counter);
    lose_the_power(&fixture, &counter);
    stop_in_order_and_start(&fixture, &counter);
    fixture.cluster.failed = false;
    tear_down(&fixture);
}

/* Without a majority nothing is acknowledged; with one again, everything goes on. */
static void cluster__majority_lost__refuses_until_it_is_back(void **state)
{
    (void)state;
    struct fixture fixture;
    const struct lks_process_cluster_options options = {.replicas = 3, .ring = "16M"};
    assert_int_equal(set_up(&fixture, &options), 0);
    expect_integer(redisCommand(at(&fixture, 1), "INCR counter"), 1);
    lks_process_cluster_kill(&fixture.cluster, 2);
    lks_process_cluster_kill(&fixture.cluster, 3);
    struct timeval short_timeout = {.tv_sec = 2};
    redisSetTimeout(at(&fixture, 1), short_timeout);
    /* Until the survivor notices, one-sided writes still reach the dead replicas' logs: they are
     * durable there, they count, and they must be found after the restart. */
    long long counted = 1;
    redisReply *reply = redisCommand(at(&fixture, 1), "INCR counter");
    for (int i = 0; i < 1000 && reply != NULL && reply->type == REDIS_REPLY_INTEGER; i++) {
        assert_int_equal(reply->integer, ++counted);
        freeReplyObject(reply);
        reply = redisCommand(at(&fixture, 1), "INCR counter");
    }
    assert_true(reply == NULL || reply->type == REDIS_REPLY_ERROR);
    const long long taken_at_most = reply == NULL ? counted + 1 : counted;
    freeReplyObject(reply);
    hang_up(&fixture);
    assert_int_equal(lks_process_cluster_wait_serving(&fixture.cluster, SERVING_TIMEOUT_MS), 0);
    reply = redisCommand(at(&fixture, 2), "INCR counter");
    assert_non_null(reply);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    assert_in_range(reply->integer, counted + 1, taken_at_most + 1);
    freeReplyObject(reply);
    fixture.cluster.failed = false;
    tear_down(&fixture);
}

static long long info_number(struct fixture *fixture, uint32_t id, const char *field)
{
    char value[32] = "";
    assert_int_equal(lks_process_cluster_info(&fixture->cluster, id, "lockstep", field, value,
                                              sizeof value),
                     0);
    return strtoll(value, NULL, 10);
}

/* So many writes of 1000 bytes, over 100 keys, by turns at the first `replicas` replicas. */
static void write_values(struct fixture *fixture, int from, int to, int replicas)
{
    char value[1001];
    memset(value, 'x', 1000);
    value[1000] = '\0';
    for (int written = from; written < to; written++) {
        char number[16];
        const int digits = snprintf(number, sizeof number, "%06d", written);
        memcpy(value, number, (size_t)digits);
        redisReply *reply = redisCommand(at(fixture, 1 + (uint32_t)(written % replicas)),
                                         "SET full:%d %s", written % 100, value);
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_STATUS);
        freeReplyObject(reply);
    }
}

static void expect_values(struct fixture *fixture, int first)
{
    for (int key = 0; key < 100; key++) {
        redisReply *reply = redisCommand(at(fixture, 1 + (uint32_t)key % 3), "GET full:%d", key);
        assert_non_null(reply);
        assert_int_equal(reply->type, REDIS_REPLY_STRING);
        assert_int_equal(strtol(reply->str, NULL, 10), first + key);
        freeReplyObject(reply);
    }
}

/* More is written than the ring holds, many times over: nothing is refused, the log's base moves up
 * behind snapshots, and a restart finds everything. */
static void cluster__small_ring__written_anew_and_restarted(void **state)
{
    (void)state;
    const struct lks_process_cluster_options options = {.replicas = 3, .ring = "1M"};
    struct fixture fixture;
    assert_int_equal(set_up(&fixture, &options), 0);
    write_values(&fixture, 0, 8000, 3);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_true(info_number(&fixture, id, "base_offset") > 6 << 20);
        assert_int_equal(info_number(&fixture, id, "snapshots_failed"), 0);
    }
    hang_up(&fixture);
    lks_process_cluster_kill_all(&fixture.cluster);
    assert_int_equal(lks_process_cluster_wait_serving(&fixture.cluster, SERVING_TIMEOUT_MS), 0);
    expect_values(&fixture, 7900);
    assert_int_equal(lks_process_cluster_check_hashes(&fixture.cluster, SERVING_TIMEOUT_MS), 0);
    fixture.cluster.failed = false;
    tear_down(&fixture);
}

/* A replica whose journal is spoilt is made anew, and gets everything from its peers, though their
 * rings hold only the end of the log. */
static void cluster__journal_spoilt__rejoins_with_everything(void **state)
{
    (void)state;
    const struct lks_process_cluster_options options = {.replicas = 3, .ring = "1M"};
    struct fixture fixture;
    char config[288];
    char journal[288];
    assert_int_equal(set_up(&fixture, &options), 0);
    (void)snprintf(config, sizeof config, "%s/cluster.yaml", fixture.cluster.directory);
    (void)snprintf(journal, sizeof journal, "%s/r3.journal", fixture.cluster.directory);
    const char *const rejoin[] = {"init", config, "--replica", "3", "--rejoin", NULL};
    write_values(&fixture, 0, 2000, 3);
    assert_int_equal(lks_process_run(rejoin, "", ""), 1); /* it runs: nothing is touched */
    lks_process_cluster_kill(&fixture.cluster, 3);
    hang_up(&fixture);
    FILE *file = fopen(journal, "r+");
    assert_non_null(file);
    assert_int_equal(fputs("spoilt", file) < 0, 0);
    assert_int_equal(fclose(file), 0);
    write_values(&fixture, 2000, 8000, 2);
    assert_int_equal(lks_process_run(rejoin, "", ""), 0);
    assert_int_equal(lks_process_cluster_wait_serving(&fixture.cluster, SERVING_TIMEOUT_MS), 0);
    assert_int_equal(lks_process_cluster_check_hashes(&fixture.cluster, SERVING_TIMEOUT_MS), 0);
    assert_int_equal(info_number(&fixture, 3, "installations"), 1);
    expect_values(&fixture, 7900);
    write_values(&fixture, 8000, 8100, 3);
    expect_values(&fixture, 8000);
    fixture.cluster.failed = false;
    tear_down(&fixture);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    static struct lks_process_cluster_options kinds[] = {
        {.replicas = 1, .ring = "16M"},
        {.replicas = 3, .ring = "16M"},
        {.replicas = 5, .ring = "16M"},
        {.replicas = 7, .ring = "16M"},
        {.replicas = 3, .ring = "16M", .durability = "memory"},
        {.replicas = 3, .ring = "16M", .durability = "pmem-ack"},
        {.replicas = 3, .ring = "16M", .parent = "."}, /* the build's folder: an ordinary disk */
    };
#define MAIN_JOB(kind) \
    cmocka_unit_test_prestate(cluster__main_job__keeps_what_it_acknowledged, &kinds[kind])
    const struct CMUnitTest tests[] = {
        MAIN_JOB(0),
        MAIN_JOB(1),
        MAIN_JOB(2),
        MAIN_JOB(3),
        MAIN_JOB(4),
        MAIN_JOB(5),
        MAIN_JOB(6),
        cmocka_unit_test(cluster__majority_lost__refuses_until_it_is_back),
        cmocka_unit_test(cluster__small_ring__written_anew_and_restarted),
        cmocka_unit_test(cluster__journal_spoilt__rejoins_with_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
