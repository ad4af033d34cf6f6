/* Measures failover with real processes; see bench_failover.h. */
#include "client/bench_failover.h"

#include "base/clock.h"
#include "bench/guard.h"
#include "bench/samples.h"
#include "client/cluster_files.h"
#include "client/failover_phases.h"
#include "client/processes.h"
#include "client/survey.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ASK_TIMEOUT_NS (500 * LKS_NS_PER_MS)
#define SETTLE_MAX_NS (30 * LKS_NS_PER_S)
#define ANSWER_MAX_S 20
#define CALM_NS (100 * LKS_NS_PER_MS) /* between a settled cluster and the next signal */

struct failover {
    const struct lks_bench_failover_options *options;
    struct lks_config config;
    char config_path[LKS_CONFIG_PATH_MAX];
    char directory[LKS_CONFIG_PATH_MAX];
    struct lks_guard guard;
    struct lks_process processes[LKS_REPLICAS_MAX + 1];
    struct lks_survey survey;
    struct lks_samples samples;
    struct lks_failover_round *rounds; /* options->rounds of them */
    uint32_t rounds_done;
};

static void nap(uint64_t ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                   .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}

static int start_replica(struct failover *failover, uint32_t id, struct lks_error *err)
{
    char log[LKS_CONFIG_PATH_MAX + 16];
    (void)snprintf(log, sizeof log, "%s/r%u.log", failover->directory, id);
    return lks_process_start(&failover->processes[id], failover->config_path, id, log, err);
}

/* Until there is a leader, and every replica follows it and has applied nearly all. */
static int settle(struct failover *failover, struct lks_error *err)
{
    const uint64_t until = lks_clock_monotonic_ns() + SETTLE_MAX_NS;
    while (lks_clock_monotonic_ns() < until) {
        lks_survey_take(&failover->survey, &failover->config, ASK_TIMEOUT_NS);
        if (failover->survey.leader != 0 &&
            failover->survey.followers == failover->config.replicas_count) {
            nap(CALM_NS);
            return 0;
        }
        nap(10 * LKS_NS_PER_MS);
    }
    return lks_error_set(err, -ETIMEDOUT, "the cluster in %s did not settle within %" PRIu64
                         " s; its logs are there",
                         failover->directory, SETTLE_MAX_NS / LKS_NS_PER_S);
}

static int dial(const struct lks_config_replica *replica)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(replica->port)};
    (void)inet_pton(AF_INET, replica->address, &to.sin_addr);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    const int on = 1;
    const struct timeval patience = {.tv_sec = ANSWER_MAX_S};
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        const int code = -errno;
        (void)close(fd);
        return code;
    }
    return fd;
}

/* One acknowledged write; -EBADMSG: answered by something else than +OK. */
static int set_once(int fd, uint32_t round)
{
    char text[64];
    char key[16];
    const int key_bytes = snprintf(key, sizeof key, "failover%u", round % 100);
    const int bytes = snprintf(text, sizeof text, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$1\r\n1\r\n",
                               key_bytes, key);
    if (write(fd, text, (size_t)bytes) != bytes) {
        return -errno;
    }
    char answer[64] = "";
    const ssize_t got = read(fd, answer, sizeof answer - 1);
    if (got <= 0) {
        return got == 0 ? -ECONNRESET : -errno;
    }
    return strncmp(answer, "+OK\r\n", 5) == 0 ? 0 : -EBADMSG;
}

static int one_round(struct failover *failover, uint32_t round, struct lks_error *err)
{
    const uint32_t leader = failover->survey.leader;
    const uint32_t other = leader % failover->config.replicas_count + 1;
    struct lks_process *victim = &failover->processes[leader];
    const int fd = dial(&failover->config.replicas[other]);
    if (fd < 0) {
        return lks_error_set(err, fd, "replica %u: %s", other, lks_error_text(fd));
    }
    int rc = set_once(fd, round); /* the connection and its session are warm */
    const uint64_t before = lks_clock_monotonic_ns();
    if (rc == 0) {
        (void)kill(victim->pid, failover->options->stop ? SIGSTOP : SIGKILL);
        rc = set_once(fd, round);
    }
    const uint64_t after = lks_clock_monotonic_ns();
    (void)close(fd);
    if (rc != 0) {
        return lks_error_set(err, rc, "round %u: no write was acknowledged by replica %u: %s",
                             round, other, lks_error_text(rc));
    }
    lks_samples_add(&failover->samples, after - before);
    lks_survey_take(&failover->survey, &failover->config, ASK_TIMEOUT_NS);
    lks_failover_round_take(&failover->rounds[failover->rounds_done],
                            failover->survey.replicas[failover->survey.leader].info, before,
                            after);
    failover->rounds_done++;
    lks_process_check(victim);
    if (failover->options->stop && !victim->ended) {
        (void)kill(victim->pid, SIGCONT);
    } else { /* killed by us, or stopped inside a write and therefore fenced by its kill */
        (void)lks_process_stop(victim, LKS_NS_PER_S);
        rc = start_replica(failover, leader, err);
    }
    return rc == 0 ? settle(failover, err) : rc;
}

static void report(struct failover *failover)
{
    struct lks_samples *samples = &failover->samples;
    const char *signal_name = failover->options->stop ? "STOP" : "KILL";
    FILE *table = failover->options->json ? stderr : stdout;
    lks_samples_sort(samples);
    fprintf(table,
            "failover (%s), %u replicas, %zu rounds: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n",
            signal_name, failover->config.replicas_count, samples->count,
            (double)lks_samples_percentile(samples, 0.5) / 1e6,
            (double)lks_samples_percentile(samples, 0.99) / 1e6,
            (double)lks_samples_max(samples) / 1e6);
    lks_failover_print_text(table, failover->rounds, failover->rounds_done);
    if (failover->options->json) {
        printf("{\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"p999_ns\":%" PRIu64
               ",\"max_ns\":%" PRIu64 ",\"samples\":%zu,\"signal\":\"%s\",\"fabric\":\"shm\","
               "\"replicas\":%u,",
               lks_samples_percentile(samples, 0.5), lks_samples_percentile(samples, 0.99),
               lks_samples_percentile(samples, 0.999), lks_samples_max(samples), samples->count,
               signal_name, failover->config.replicas_count);
        lks_failover_print_json(stdout, failover->rounds, failover->rounds_done);
        printf(",\"commit\":\"%s\"}\n", LKS_COMMIT);
    }
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void clean_up(struct failover *failover, bool keep_files)
{
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        if (failover->processes[id].pid > 0) {
            (void)kill(failover->processes[id].pid, SIGCONT);
            (void)lks_process_stop(&failover->processes[id], 4 * LKS_NS_PER_S);
        }
    }
    if (!keep_files && failover->directory[0] != '\0') {
        (void)nftw(failover->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    lks_guard_dismiss(&failover->guard);
    lks_samples_fini(&failover->samples);
    free(failover->rounds);
}

static int start(struct failover *failover, struct lks_error *err)
{
    const struct lks_bench_failover_options *options = failover->options;
    (void)snprintf(failover->directory, sizeof failover->directory, "%s/lockstep-failover-XXXXXX",
                   options->directory);
    if (mkdtemp(failover->directory) == NULL) {
        failover->directory[0] = '\0';
        return lks_error_set(err, -errno, "%s: no folder can be made there: %s",
                             options->directory, lks_error_text(-errno));
    }
    const struct lks_cluster_options cluster = {.directory = failover->directory,
                                                .replicas = options->replicas,
                                                .port = options->port};
    int rc = lks_guard_start(&failover->guard, failover->directory, err);
    if (rc == 0) {
        rc = lks_cluster_config_path(failover->directory, failover->config_path, err);
    }
    if (rc == 0) {
        rc = lks_cluster_new_config(&failover->config, &cluster, failover->config_path, err);
    }
    if (rc == 0) {
        rc = lks_cluster_create_replicas(&failover->config, err);
    }
    for (uint32_t id = 1; rc == 0 && id <= failover->config.replicas_count; id++) {
        rc = start_replica(failover, id, err);
    }
    return rc == 0 ? settle(failover, err) : rc;
}

int lks_bench_failover(const struct lks_bench_failover_options *options, struct lks_error *err)
{
    struct failover *failover = calloc(1, sizeof *failover);
    if (failover == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    failover->options = options;
    failover->rounds = calloc(options->rounds, sizeof *failover->rounds);
    int rc = failover->rounds == NULL ? -ENOMEM
                                      : lks_samples_init(&failover->samples, options->rounds);
    if (rc == 0) {
        rc = start(failover, err);
    }
    for (uint32_t round = 1; rc == 0 && round <= options->rounds; round++) {
        rc = one_round(failover, round, err);
    }
    if (rc == 0) {
        report(failover);
    }
    clean_up(failover, rc != 0);
    free(failover);
    return rc;
}
