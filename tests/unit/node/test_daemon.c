/* Whole replicas, each a thread of this process with its own loop, over journals in memory or in
 * files: they elect, replicate, answer, end in order and come back. */
#include "node/assembly.h"
#include "node/daemon.h"
#include "services/kv/kv.h"

#include "base/clock.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS (30 * LKS_NS_PER_S)

struct member {
    struct lks_daemon_options options;
    struct lks_error err;
    struct lks_log log;
    char name[8];
    int stop_fd;
    int rc; /* the member's thread writes, read after joining */
    bool running;
    pthread_t thread;
};

struct cluster {
    struct lks_config config;
    char folder[64];
    struct member members[LKS_REPLICAS_MAX + 1];
};

/* ---- the cluster -------------------------------------------------------------------------- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static struct cluster *make_cluster(const char *parent, uint32_t replicas,
                                    enum lks_durability durability)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    struct lks_error err = {0};
    assert_non_null(cluster);
    (void)snprintf(cluster->folder, sizeof cluster->folder, "%s/lockstep-daemon-XXXXXX", parent);
    assert_non_null(mkdtemp(cluster->folder));
    struct lks_config *config = &cluster->config;
    lks_config_defaults(config);
    (void)snprintf(config->name, sizeof config->name, "test");
    (void)snprintf(config->directory, sizeof config->directory, "%s", cluster->folder);
    memcpy(config->cluster_id, cluster->folder + strlen(cluster->folder) - 6, 6);
    config->ring_bytes = 1 << 20;
    config->entry_bytes_max = 64 << 10;
    config->durability = durability;
    /* Threads under a sanitizer are slow: suspicion must not come from that alone. */
    config->election_timeout_ns = 300 * LKS_NS_PER_MS;
    config->heartbeat_ns = 20 * LKS_NS_PER_MS;
    config->log_level = LKS_LOG_WARN;
    config->replicas_count = replicas;
    for (uint32_t id = 1; id <= replicas; id++) {
        struct lks_config_replica *replica = &config->replicas[id];
        (void)snprintf(replica->journal, sizeof replica->journal, "%s/r%u.journal",
                       cluster->folder, id);
        assert_true(lks_config_default_snapshots(replica));
        (void)snprintf(replica->address, sizeof replica->address, "127.0.0.1");
        replica->port = free_port();
        struct lks_journal_options options;
        lks_assembly_journal_options(config, id, &options);
        assert_int_equal(lks_journal_create(&options, true, &err), 0);
    }
    return cluster;
}

static void *run_member(void *argument)
{
    struct member *member = argument;
    member->rc = lks_daemon_run(&member->options, &member->err);
    return NULL;
}

static void start(struct cluster *cluster, uint32_t id)
{
    struct member *member = &cluster->members[id];
    (void)snprintf(member->name, sizeof member->name, "r%u", id);
    member->log =
        (struct lks_log){cluster->config.log_level, lks_log_to_stderr, member->name};
    member->err = (struct lks_error){0};
    member->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    member->options = (struct lks_daemon_options){
        .config = &cluster->config,
        .replica = id,
        .service = &lks_kv_service,
        .stop_fd = member->stop_fd,
        .shared_process = true,
        .log_sink = &member->log,
    };
    assert_int_equal(pthread_create(&member->thread, NULL, run_member, member), 0);
    member->running = true;
}

/* Returns what the daemon returned. */
static int stop(struct cluster *cluster, uint32_t id)
{
    struct member *member = &cluster->members[id];
    const uint64_t one = 1;
    if (!member->running) {
        return 0;
    }
    assert_int_equal(write(member->stop_fd, &one, sizeof one), (int)sizeof one);
    assert_int_equal(pthread_join(member->thread, NULL), 0);
    (void)close(member->stop_fd);
    member->running = false;
    if (member->rc != 0) {
        fprintf(stderr, "replica %u: %s\n", id, member->err.text);
    }
    return member->rc;
}

static void free_cluster(struct cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->config.replicas_count; id++) {
        static const char *const endings[] = {"journal", "journal.snapshots", "sock", "lock",
                                              "pid"};
        assert_int_equal(stop(cluster, id), 0);
        for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
            char path[128];
            (void)snprintf(path, sizeof path, "%s/r%u.%s", cluster->folder, id, endings[i]);
            (void)unlink(path);
        }
    }
    assert_int_equal(rmdir(cluster->folder), 0);
    free(cluster);
}

/* ---- its clients -------------------------------------------------------------------------- */

static void pause_a_little(void)
{
    const struct timespec pause = {.tv_nsec = (long)(5 * LKS_NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
}

static redisContext *connect_to(const struct cluster *cluster, uint32_t id)
{
    const struct timeval patience = {.tv_sec = 20};
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        redisContext *context =
            redisConnectWithTimeout("127.0.0.1", cluster->config.replicas[id].port, patience);
        if (context != NULL && context->err == 0) {
            assert_int_equal(redisSetTimeout(context, patience), REDIS_OK);
            return context;
        }
        redisFree(context);
        assert_true(lks_clock_monotonic_ns() < deadline_ns);
        pause_a_little();
    }
}

/* Sends a command until it is answered without an error (a leader may have to be found). */
static void expect_reply(redisContext *context, const char *expected, const char *command)
{
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        redisReply *reply = redisCommand(context, command);
        assert_non_null(reply);
        if (reply->type != REDIS_REPLY_ERROR) {
            assert_non_null(reply->str);
            assert_string_equal(reply->str, expected);
            freeReplyObject(reply);
            return;
        }
        if (lks_clock_monotonic_ns() >= deadline_ns) {
            fail_msg("%s: %s", command, reply->str);
        }
        freeReplyObject(reply);
        pause_a_little();
    }
}

static void wait_for_info(const struct cluster *cluster, uint32_t id, const char *line)
{
    redisContext *context = connect_to(cluster, id);
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    for (bool found = false; !found;) {
        redisReply *reply = redisCommand(context, "INFO lockstep");
        assert_non_null(reply);
        assert_non_null(reply->str);
        found = strstr(reply->str, line) != NULL;
        if (lks_clock_monotonic_ns() >= deadline_ns) {
            fail_msg("no '%s' in: %s", line, reply->str);
        }
        freeReplyObject(reply);
        if (!found) {
            pause_a_little();
        }
    }
    redisFree(context);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void three_replicas__any_takes_commands__all_have_them(void **state)
{
    (void)state;
    struct cluster *cluster = make_cluster(scratch_folder(), 3, LKS_DURABILITY_AUTO);
    for (uint32_t id = 1; id <= 3; id++) {
        start(cluster, id);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        char command[64];
        redisContext *context = connect_to(cluster, id);
        (void)snprintf(command, sizeof command, "SET key%u value%u", id, id);
        expect_reply(context, "OK", command);
        redisFree(context);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        redisContext *context = connect_to(cluster, id);
        expect_reply(context, "value1", "GET key1");
        expect_reply(context, "value2", "GET key2");
        expect_reply(context, "value3", "GET key3");
        redisFree(context);
        wait_for_info(cluster, id, "serving:1");
        wait_for_info(cluster, id, "durability:writer-flush");
    }
    free_cluster(cluster);
}

static void three_replicas__each_stops_and_returns__nothing_is_lost(void **state)
{
    (void)state;
    struct cluster *cluster = make_cluster(scratch_folder(), 3, LKS_DURABILITY_AUTO);
    for (uint32_t id = 1; id <= 3; id++) {
        start(cluster, id);
    }
    redisContext *context = connect_to(cluster, 1);
    expect_reply(context, "OK", "SET kept yes");
    redisFree(context);
    for (uint32_t id = 1; id <= 3; id++) {
        wait_for_info(cluster, id, "serving:1");
    }
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(stop(cluster, id), 0);
        context = connect_to(cluster, id % 3 + 1);
        expect_reply(context, "yes", "GET kept");
        redisFree(context);
        start(cluster, id);
        context = connect_to(cluster, id);
        expect_reply(context, "yes", "GET kept");
        redisFree(context);
        wait_for_info(cluster, id, "serving:1");
    }
    free_cluster(cluster);
}

static void one_replica_on_a_file__stops_and_returns__nothing_is_lost(void **state)
{
    (void)state;
    struct cluster *cluster = make_cluster(".", 1, LKS_DURABILITY_PMEM_ACK);
    start(cluster, 1);
    redisContext *context = connect_to(cluster, 1);
    expect_reply(context, "OK", "SET kept yes");
    redisFree(context);
    wait_for_info(cluster, 1, "durability:pmem-ack");
    assert_int_equal(stop(cluster, 1), 0);
    start(cluster, 1);
    context = connect_to(cluster, 1);
    expect_reply(context, "yes", "GET kept");
    redisFree(context);
    free_cluster(cluster);
}

static void run__cannot_start__says_why_and_leaves_nothing_open(void **state)
{
    (void)state;
    struct cluster *cluster = make_cluster(scratch_folder(), 1, LKS_DURABILITY_AUTO);
    struct lks_error err = {0};
    struct lks_daemon_options options = {
        .config = &cluster->config, .replica = 2, .service = &lks_kv_service, .stop_fd = -1};
    assert_int_equal(lks_daemon_run(&options, &err), -LKS_ECONFIG);
    assert_non_null(strstr(err.text, "replica 2: the configuration names replicas 1 to 1 only"));
    assert_non_null(strstr(err.text, "`lockstep member add 2 "));

    options.replica = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(cluster->config.replicas[1].port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(lks_daemon_run(&options, &err), -EADDRINUSE);
    (void)close(fd);

    start(cluster, 1); /* nothing of the failed starts is in its way */
    redisContext *context = connect_to(cluster, 1);
    expect_reply(context, "OK", "SET a b");
    redisFree(context);
    assert_int_equal(lks_daemon_run(&options, &err), -EBUSY); /* the journal is locked */
    free_cluster(cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_replicas__any_takes_commands__all_have_them),
        cmocka_unit_test(three_replicas__each_stops_and_returns__nothing_is_lost),
        cmocka_unit_test(one_replica_on_a_file__stops_and_returns__nothing_is_lost),
        cmocka_unit_test(run__cannot_start__says_why_and_leaves_nothing_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
