/*
 * Clients on the fabric of a cluster of real processes: each call takes effect once and in order,
 * whoever is killed meanwhile: the replica that the client is attached to, the leader, all of them.
 * Over shared memory; with the argument `rdma` over the device that LKS_TEST_RDMA_ADDRESS names.
 */
#include "node/client_places.h"
#include "tests/support/fabric_client.h"
#include "tests/support/process_cluster.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVING_MS 20000
#define PATIENCE_NS UINT64_C(30000000000)

static bool g_rdma;

struct fixture {
    struct lks_process_cluster cluster;
    struct lks_client_places places; /* over RDMA */
    struct lks_client *client;
    struct lks_client_answer answer;
};

static int find_places(struct fixture *fixture)
{
    char path[300];
    struct lks_error err = {0};
    struct lks_config *config = calloc(1, sizeof *config);
    (void)snprintf(path, sizeof path, "%s/cluster.yaml", fixture->cluster.directory);
    int rc = lks_config_load(config, path, &err);
    rc = rc == 0 ? lks_client_places_of(config, &fixture->places) : rc;
    free(config);
    return rc;
}

static uint32_t patience(const struct fixture *fixture)
{
    return lks_process_cluster_patience(&fixture->cluster, SERVING_MS);
}

static int connect_client(struct fixture *fixture, const struct lks_client_options *options)
{
    const struct lks_client_rdma_options rdma = {.addresses = fixture->places.addresses,
                                                 .client_key = fixture->places.client_key};
    return g_rdma ? lks_client_connect_rdma(&fixture->client, options, &rdma)
                  : lks_client_connect(&fixture->client, options);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    const struct lks_process_cluster_options options = {.replicas = 3, .ring = "1M", .rdma = g_rdma,
                                                        .election_timeout =
                                                            g_rdma ? "500ms" : NULL};
    *state = fixture;
    if (lks_process_cluster_init(&fixture->cluster, &options) != 0) {
        return -1;
    }
    return g_rdma && find_places(fixture) != 0
               ? -1
               : lks_process_cluster_wait_serving(&fixture->cluster, patience(fixture));
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    lks_client_close(fixture->client);
    free(fixture->answer.data);
    lks_process_cluster_fini(&fixture->cluster);
    free(fixture);
    return 0;
}

static struct lks_client_options client_options(const struct fixture *fixture, uint32_t first)
{
    return (struct lks_client_options){.directory = fixture->cluster.directory,
                                       .replicas = fixture->cluster.replicas,
                                       .first = first,
                                       .timeout_ns = PATIENCE_NS};
}

static void attach(struct fixture *fixture, uint32_t first)
{
    const struct lks_client_options options = client_options(fixture, first);
    fixture->cluster.failed = true; /* until the test's end: its folder is kept */
    assert_int_equal(connect_client(fixture, &options), LKS_CLIENT_OK);
}

static void expect_call(struct fixture *fixture, const struct fabric_command *command,
                        const char *reply)
{
    const int status =
        lks_client_call(fixture->client, command->data, command->bytes, &fixture->answer);
    assert_string_equal(lks_client_status_text(status), lks_client_status_text(LKS_CLIENT_OK));
    assert_int_equal(fixture->answer.bytes, strlen(reply));
    assert_memory_equal(fixture->answer.data, reply, strlen(reply));
}

static void expect_count(struct fixture *fixture, uint64_t count)
{
    char reply[32];
    const struct fabric_command incr = fabric_command(LKS_KV_REQUEST_INCR, "count", NULL);
    snprintf(reply, sizeof reply, ":%llu\r\n", (unsigned long long)count);
    expect_call(fixture, &incr, reply);
}

static uint32_t attached_to(const struct fixture *fixture)
{
    struct lks_client_state state;
    lks_client_state(fixture->client, &state);
    return state.replica;
}

static void kill_and_restart(struct fixture *fixture, uint32_t replica)
{
    lks_process_cluster_kill(&fixture->cluster, replica);
    assert_int_equal(lks_process_cluster_start(&fixture->cluster, replica), 0);
}

static void finish(struct fixture *fixture)
{
    assert_int_equal(lks_process_cluster_wait_serving(&fixture->cluster, patience(fixture)), 0);
    assert_int_equal(lks_process_cluster_check_hashes(&fixture->cluster, patience(fixture)), 0);
    fixture->cluster.failed = false;
}

static void call__then_read__sees_it(void **state)
{
    struct fixture *fixture = *state;
    const struct fabric_command set = fabric_command(LKS_KV_REQUEST_SET, "greeting", "hello");
    const struct fabric_command get = fabric_command(LKS_KV_REQUEST_GET, "greeting", NULL);
    attach(fixture, 2);
    expect_call(fixture, &set, "+OK\r\n");
    assert_int_equal(lks_client_read(fixture->client, get.data, get.bytes, &fixture->answer), 0);
    assert_int_equal(fixture->answer.bytes, 11);
    assert_memory_equal(fixture->answer.data, "$5\r\nhello\r\n", 11);
    assert_int_equal(lks_client_read(fixture->client, set.data, set.bytes, &fixture->answer),
                     LKS_CLIENT_NOT_A_READ);
    finish(fixture);
}

static void gateway_and_leader_killed__each_call_takes_effect_once(void **state)
{
    struct fixture *fixture = *state;
    uint64_t count = 0;
    attach(fixture, 1);
    for (uint32_t round = 0; round < 8; round++) {
        for (uint32_t i = 0; i < 50; i++) {
            expect_count(fixture, ++count);
        }
        const uint32_t leader = lks_process_cluster_leader(&fixture->cluster);
        const uint32_t victim = round % 2 == 0 || leader == 0 ? attached_to(fixture) : leader;
        kill_and_restart(fixture, victim);
    }
    expect_count(fixture, ++count);
    struct lks_client_state after;
    lks_client_state(fixture->client, &after);
    assert_true(after.attachments >= 4);
    finish(fixture);
}

/* ---- many under way ------------------------------------------------------------------------- */

#define APPENDS 3000u

struct stream {
    uint32_t answered;
    bool wrong;
};

static void on_append(void *ctx, int status, const void *reply, size_t bytes)
{
    struct stream *stream = ctx;
    char expected[32];
    stream->answered++;
    const int length = snprintf(expected, sizeof expected, ":%u\r\n", 5 * stream->answered);
    stream->wrong = stream->wrong || status != LKS_CLIENT_OK || bytes != (size_t)length ||
                    memcmp(reply, expected, bytes) != 0;
}

static void append_all(struct fixture *fixture, struct stream *stream)
{
    uint32_t given = 0;
    uint32_t killed = 0;
    while (stream->answered < APPENDS) {
        while (given < APPENDS) {
            char text[16];
            snprintf(text, sizeof text, "%04u,", given);
            const struct fabric_command append =
                fabric_command(LKS_KV_REQUEST_APPEND, "log", text);
            const int rc = lks_client_call_async(fixture->client, append.data, append.bytes,
                                                 on_append, stream);
            if (rc == LKS_CLIENT_BUSY) {
                break;
            }
            assert_int_equal(rc, 0);
            given++;
        }
        if (killed < 4 && stream->answered > (killed + 1) * APPENDS / 5) {
            const uint32_t leader = lks_process_cluster_leader(&fixture->cluster);
            kill_and_restart(fixture, killed % 2 == 0 || leader == 0 ? attached_to(fixture)
                                                                     : leader);
            killed++;
        }
        assert_true(lks_client_poll(fixture->client, PATIENCE_NS) > 0);
    }
    assert_int_equal(killed, 4);
}

static void many_under_way_at_a_kill__none_is_lost_doubled_or_reordered(void **state)
{
    struct fixture *fixture = *state;
    struct stream stream = {0};
    attach(fixture, 3);
    append_all(fixture, &stream);
    assert_false(stream.wrong);
    const struct fabric_command get = fabric_command(LKS_KV_REQUEST_GET, "log", NULL);
    assert_int_equal(lks_client_read(fixture->client, get.data, get.bytes, &fixture->answer), 0);
    const char *value = (const char *)fixture->answer.data + strlen("$15000\r\n");
    assert_int_equal(fixture->answer.bytes, strlen("$15000\r\n") + 15000 + 2);
    for (uint32_t i = 0; i < APPENDS; i++) {
        char text[16];
        snprintf(text, sizeof text, "%04u,", i);
        assert_memory_equal(value + 5 * (size_t)i, text, 5);
    }
    struct lks_client_state after;
    lks_client_state(fixture->client, &after);
    assert_true(after.repeated > 0);
    finish(fixture);
}

/* ---- answers that take more room than the ring has ------------------------------------------- */

#define PART_BYTES 3900u
#define PARTS 52u

static void on_large(void *ctx, int status, const void *reply, size_t bytes)
{
    uint32_t *answered = ctx;
    (void)reply;
    assert_int_equal(status, LKS_CLIENT_OK);
    assert_true(bytes > PARTS * PART_BYTES);
    ++*answered;
}

/* As many as may be under way: 13 MB, seven times the ring. */
static void large_answers_under_way__all_come_over_one_attachment(void **state)
{
    struct fixture *fixture = *state;
    const struct fabric_command get = fabric_command(LKS_KV_REQUEST_GET, "large", NULL);
    char part[PART_BYTES + 1];
    uint32_t answered = 0;
    memset(part, 'p', PART_BYTES);
    part[PART_BYTES] = '\0';
    attach(fixture, 1);
    for (uint32_t i = 1; i <= PARTS; i++) {
        char reply[32];
        const struct fabric_command append =
            fabric_command(LKS_KV_REQUEST_APPEND, "large", part);
        snprintf(reply, sizeof reply, ":%u\r\n", i * PART_BYTES);
        expect_call(fixture, &append, reply);
    }
    for (uint32_t i = 0; i < LKS_CLIENT_OUTSTANDING_MAX; i++) {
        assert_int_equal(lks_client_read_async(fixture->client, get.data, get.bytes, on_large,
                                               &answered), 0);
    }
    while (answered < LKS_CLIENT_OUTSTANDING_MAX) {
        assert_true(lks_client_poll(fixture->client, PATIENCE_NS) > 0);
    }
    struct lks_client_state after;
    lks_client_state(fixture->client, &after);
    assert_int_equal(after.attachments, 1);
    assert_int_equal(lks_client_call(fixture->client, get.data, get.bytes, &fixture->answer),
                     LKS_CLIENT_REFUSED); /* a read is no call */
    finish(fixture);
}

static void all_killed__session_survives(void **state)
{
    struct fixture *fixture = *state;
    attach(fixture, 1);
    expect_count(fixture, 1);
    lks_process_cluster_kill_all(&fixture->cluster);
    for (uint32_t replica = 1; replica <= 3; replica++) {
        assert_int_equal(lks_process_cluster_start(&fixture->cluster, replica), 0);
    }
    expect_count(fixture, 2);
    finish(fixture);
}

/* For measurements only, and the configuration does not say that they are made here. */
static void debug_command__not_allowed__refused_and_calls_go_on(void **state)
{
    struct fixture *fixture = *state;
    const struct lks_argument arguments[] = {{"DEBUG", 5}, {"BURN", 4}, {"5", 1}, {"key", 3}};
    const struct lks_kv_arguments burn = {.items = arguments,
                                          .count = 4,
                                          .value_bytes_max = 1000,
                                          .burn_rounds_per_us = 10};
    uint8_t command[256];
    struct lks_reply error;
    lks_reply_init(&error);
    const size_t bytes = lks_kv_encode(LKS_KV_REQUEST_BURN, &burn, command, &error);
    lks_reply_fini(&error);
    assert_true(bytes > 0);
    attach(fixture, 2);
    expect_count(fixture, 1);
    assert_int_equal(lks_client_call(fixture->client, command, bytes, &fixture->answer),
                     LKS_CLIENT_FORBIDDEN);
    expect_count(fixture, 2);
    finish(fixture);
}

/* The whole of a file that a command wrote. */
static void read_all(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    const size_t length = fread(text, 1, bytes - 1, file);
    text[length] = '\0';
    (void)fclose(file);
}

static void status__client_attached__is_shown_at_its_replica(void **state)
{
    struct fixture *fixture = *state;
    static char text[65536];
    char path[sizeof fixture->cluster.directory + 16];
    char who[64];
    attach(fixture, 2);
    expect_count(fixture, 1);
    snprintf(path, sizeof path, "%s/status.out", fixture->cluster.directory);
    if (g_rdma) { /* from any host: its process is not known */
        snprintf(who, sizeof who, "\"clients\":[{\"lane\":1,");
    } else {
        snprintf(who, sizeof who, "\"clients\":[{\"lane\":1,\"pid\":%ld,\"uid\":", (long)getpid());
    }
    const char *json[] = {"status", "--json", "--dir",
                          fixture->cluster.directory, NULL};
    assert_int_equal(lks_process_run(json, path, ""), 0);
    read_all(path, text, sizeof text);
    const char *second = strstr(text, "\"id\":2,");
    const char *third = strstr(text, "\"id\":3,");
    const char *shown = strstr(text, who);
    assert_true(second != NULL && third != NULL && shown != NULL);
    assert_true(second < shown && shown < third);
    assert_null(strstr(shown + 1, who)); /* nowhere else */
    const char *plain[] = {"status", "--dir",
                           fixture->cluster.directory, NULL};
    assert_int_equal(lks_process_run(plain, path, ""), 0);
    read_all(path, text, sizeof text);
    if (g_rdma) {
        snprintf(who, sizeof who, "lane 1");
    } else {
        snprintf(who, sizeof who, "lane 1: pid %ld uid ", (long)getpid());
    }
    assert_non_null(strstr(text, who));
    finish(fixture);
}

static void gateway_stopped__call_goes_elsewhere(void **state)
{
    struct fixture *fixture = *state;
    attach(fixture, 2);
    expect_count(fixture, 1);
    const uint32_t stopped = attached_to(fixture);
    lks_process_cluster_pause(&fixture->cluster, stopped);
    expect_count(fixture, 2);
    assert_int_not_equal(attached_to(fixture), stopped);
    lks_process_cluster_resume(&fixture->cluster, stopped);
    finish(fixture);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(call__then_read__sees_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(gateway_and_leader_killed__each_call_takes_effect_once,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            many_under_way_at_a_kill__none_is_lost_doubled_or_reordered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_answers_under_way__all_come_over_one_attachment,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_killed__session_survives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(debug_command__not_allowed__refused_and_calls_go_on,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(status__client_attached__is_shown_at_its_replica, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(gateway_stopped__call_goes_elsewhere, set_up, tear_down),
    };
    g_rdma = argc > 1 && strcmp(argv[1], "rdma") == 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
