/*
 * Followers' processors take no part in commits: over RDMA, in `memory` mode, a leader whose two
 * followers are stopped goes on committing until their rings are full of what they have not
 * applied, and goes on beyond that once they run again. Needs a device (LKS_TEST_RDMA_ADDRESS;
 * else skipped); journals on tmpfs, followers in processes of their own.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bench/null_service.h"
#include "node/assembly.h"
#include "tests/support/scratch.h"

#define SKIPPED 77
#define FIRST_PORT 18900u
#define RING_BYTES (UINT64_C(1) << 20)
#define COMMAND_BYTES 1000u
#define PATIENCE_NS (60 * LKS_NS_PER_S) /* of a loaded emulated machine: then the test fails */
#define ALL UINT64_MAX
#define QUIET_TURNS 2000u /* with nothing committed: the window is full */

struct cluster {
    char directory[64];
    struct lks_config config;
    struct lks_assembly leader;
    pid_t followers[4];
    uint64_t answered;
};

static const char *g_address;

static void count_reply(void *ctx, uint64_t cookie, const void *reply, size_t bytes)
{
    struct cluster *cluster = ctx;
    (void)cookie;
    (void)reply;
    (void)bytes;
    cluster->answered++;
}

static void moment(void)
{
    const struct timespec while_ns = {.tv_nsec = 200000};
    (void)ppoll(NULL, 0, &while_ns, NULL);
}

static struct lks_assembly_options options_of(struct cluster *cluster, uint32_t id)
{
    static const struct lks_log log = {LKS_LOG_WARN, lks_log_to_stderr, NULL};
    return (struct lks_assembly_options){.config = &cluster->config,
                                         .replica = id,
                                         .service = &lks_null_service,
                                         .log_sink = &log,
                                         .on_reply = count_reply,
                                         .ctx = cluster};
}

/* A follower's whole life. */
static _Noreturn void run_follower(struct cluster *cluster, uint32_t id, pid_t parent)
{
    struct lks_assembly follower;
    struct lks_error err = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    cluster->config.election_timeout_ns = 10 * LKS_NS_PER_S; /* the test's process leads */
    const struct lks_assembly_options options = options_of(cluster, id);
    int rc = getppid() == parent ? lks_assembly_init(&follower, &options, &err) : -ECANCELED;
    while (rc >= 0) {
        rc = lks_replica_step(follower.replica, lks_clock_monotonic_ns(), lks_clock_realtime_ns(),
                              &err);
        if (rc == 0) {
            moment();
        }
    }
    (void)fprintf(stderr, "follower %u: %s\n", id, err.text);
    _exit(1);
}

static void make_config(struct cluster *cluster)
{
    struct lks_config *config = &cluster->config;
    struct lks_error err = {0};
    (void)snprintf(cluster->directory, sizeof cluster->directory, "%s/lockstep-stopped-XXXXXX",
                   scratch_folder());
    assert_non_null(mkdtemp(cluster->directory));
    lks_config_defaults(config);
    (void)strcpy(config->name, "stopped");
    (void)strcpy((char *)config->cluster_id, "stopped");
    (void)strcpy(config->directory, cluster->directory);
    (void)strcpy((char *)config->cluster_key, "of a test");
    config->fabric = LKS_CONFIG_FABRIC_RDMA;
    config->durability = LKS_DURABILITY_MEMORY;
    config->ring_bytes = RING_BYTES;
    config->entry_bytes_max = RING_BYTES / 8;
    config->election_timeout_ns = 2 * LKS_NS_PER_S;
    config->replicas_count = 3;
    for (uint32_t id = 1; id <= 3; id++) {
        struct lks_config_replica *replica = &config->replicas[id];
        struct lks_journal_options journal;
        (void)snprintf(replica->journal, sizeof replica->journal, "%s/r%u.journal",
                       cluster->directory, id);
        assert_true(lks_config_default_snapshots(replica));
        (void)snprintf(replica->rdma_address, sizeof replica->rdma_address, "%s", g_address);
        replica->rdma_port = (uint16_t)(FIRST_PORT + id);
        lks_assembly_journal_options(config, id, &journal);
        assert_int_equal(lks_journal_create(&journal, true, &err), 0);
    }
}

/* One turn of the leader; what it has committed so far. */
static uint64_t turn(struct cluster *cluster, struct lks_replica_status *status)
{
    struct lks_error err = {0};
    const int rc = lks_replica_step(cluster->leader.replica, lks_clock_monotonic_ns(),
                                    lks_clock_realtime_ns(), &err);
    if (rc < 0) {
        fail_msg("the leader: %s", err.text);
    }
    lks_replica_status(cluster->leader.replica, status);
    return status->commit_offset;
}

/* Until this process leads, and both followers have everything and have applied it. */
static void settle(struct cluster *cluster, struct lks_replica_status *status)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    for (;;) {
        (void)turn(cluster, status);
        bool all = status->role == LKS_ROLE_LEADER && status->serving;
        for (uint32_t id = 2; id <= 3; id++) {
            all = all && status->peers[id].granted && status->peers[id].lag_bytes == 0 &&
                  status->peers[id].applied_index >= status->applied_index;
        }
        if (all) {
            return;
        }
        assert_true(lks_clock_monotonic_ns() < until_ns);
        moment();
    }
}

static void start(struct cluster *cluster, struct lks_replica_status *status)
{
    const pid_t parent = getpid();
    struct lks_error err = {0};
    make_config(cluster);
    for (uint32_t id = 2; id <= 3; id++) {
        cluster->followers[id] = fork();
        assert_true(cluster->followers[id] >= 0);
        if (cluster->followers[id] == 0) {
            run_follower(cluster, id, parent);
        }
    }
    const struct lks_assembly_options options = options_of(cluster, 1);
    if (lks_assembly_init(&cluster->leader, &options, &err) != 0) {
        fail_msg("the leader: %s", err.text);
    }
    settle(cluster, status);
}

static void stop(struct cluster *cluster)
{
    char path[LKS_CONFIG_PATH_MAX + 32];
    lks_assembly_fini(&cluster->leader, false);
    for (uint32_t id = 1; id <= 3; id++) {
        if (cluster->followers[id] > 0) {
            (void)kill(cluster->followers[id], SIGKILL);
            (void)waitpid(cluster->followers[id], NULL, 0);
        }
        (void)unlink(cluster->config.replicas[id].journal);
        (void)unlink(cluster->config.replicas[id].snapshots);
        (void)snprintf(path, sizeof path, "%s/r%u.lock", cluster->directory, id);
        (void)unlink(path);
    }
    (void)rmdir(cluster->directory);
}

static void signal_both(struct cluster *cluster, int number)
{
    for (uint32_t id = 2; id <= 3; id++) {
        int how = 0;
        assert_int_equal(kill(cluster->followers[id], number), 0);
        assert_int_equal(waitpid(cluster->followers[id], &how, WUNTRACED | WCONTINUED),
                         cluster->followers[id]);
        assert_true(number == SIGSTOP ? WIFSTOPPED(how) : WIFCONTINUED(how));
    }
}

/* Hands over commands until `enough` is committed, or (ALL) nothing any more. */
static uint64_t fill(struct cluster *cluster, uint64_t enough)
{
    static const char command[COMMAND_BYTES] = "none";
    struct lks_replica_status status;
    uint64_t committed = turn(cluster, &status);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    for (uint32_t quiet = 0; (enough != ALL || quiet < QUIET_TURNS) && committed < enough;
         quiet++) {
        (void)lks_replica_submit(cluster->leader.replica, command, sizeof command, 0);
        const uint64_t now_committed = turn(cluster, &status);
        assert_int_equal(status.role, LKS_ROLE_LEADER);
        if (now_committed > committed) {
            quiet = 0;
        } else {
            moment();
        }
        committed = now_committed;
        assert_true(lks_clock_monotonic_ns() < until_ns);
    }
    return committed;
}

static void commits__both_followers_stopped__go_on_until_the_window_is_full(void **state)
{
    (void)state;
    struct cluster cluster = {0};
    struct lks_replica_status status;
    start(&cluster, &status);
    const uint64_t applied = status.commit_offset; /* by everybody */
    signal_both(&cluster, SIGSTOP);
    const uint64_t full = fill(&cluster, ALL);
    (void)printf("committed with both followers stopped: %" PRIu64 " of a ring of %" PRIu64
                 " bytes, %" PRIu64 " commands\n",
                 full - applied, RING_BYTES, cluster.answered);
    assert_true(full - applied >= RING_BYTES / 2);
    assert_true(full - applied <= RING_BYTES); /* nothing they have not applied is overwritten */
    assert_true(cluster.answered >= RING_BYTES / 2 / lks_entry_span(COMMAND_BYTES));
    signal_both(&cluster, SIGCONT);
    assert_true(fill(&cluster, full + 2 * RING_BYTES) >= full + 2 * RING_BYTES);
    stop(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits__both_followers_stopped__go_on_until_the_window_is_full),
    };
    g_address = getenv("LKS_TEST_RDMA_ADDRESS");
    if (g_address == NULL || g_address[0] == '\0') {
        (void)printf("SKIP: no RDMA device: LKS_TEST_RDMA_ADDRESS names no address of one\n");
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
