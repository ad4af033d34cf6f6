/* Replica processes for benchmarks; see the header. */
#include "client/bench_cluster.h"

#include "base/clock.h"

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

#define ASK_TIMEOUT_NS (2 * LKS_NS_PER_S)
#define ANSWER_MAX_S 60
#define OK_REPLY "+OK\r\n"
#define OK_BYTES (sizeof OK_REPLY - 1)

void lks_bench_nap(uint64_t ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                   .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}

int lks_bench_cluster_make(struct lks_bench_cluster *cluster, const char *name,
                           const struct lks_cluster_options *options, struct lks_error *err)
{
    (void)snprintf(cluster->directory, sizeof cluster->directory, "%s/lockstep-%s-XXXXXX",
                   options->directory, name);
    if (mkdtemp(cluster->directory) == NULL) {
        cluster->directory[0] = '\0';
        return lks_error_set(err, -errno, "%s: no folder can be made there: %s",
                             options->directory, lks_error_text(-errno));
    }
    struct lks_cluster_options inside = *options;
    inside.directory = cluster->directory;
    int rc = lks_guard_start(&cluster->guard, cluster->directory, err);
    if (rc == 0) {
        rc = lks_cluster_config_path(cluster->directory, cluster->config_path, err);
    }
    if (rc == 0) {
        rc = lks_cluster_new_config(&cluster->config, &inside, cluster->config_path, err);
    }
    return rc == 0 ? lks_cluster_create_replicas(&cluster->config, err) : rc;
}

int lks_bench_cluster_start(struct lks_bench_cluster *cluster, uint32_t id, struct lks_error *err)
{
    char log[LKS_CONFIG_PATH_MAX + 16];
    (void)snprintf(log, sizeof log, "%s/r%u.log", cluster->directory, id);
    return lks_process_start(&cluster->processes[id], cluster->config_path, id, log, err);
}

int lks_bench_cluster_start_all(struct lks_bench_cluster *cluster, struct lks_error *err)
{
    int rc = 0;
    for (uint32_t id = 1; rc == 0 && id <= cluster->config.replicas_count; id++) {
        rc = lks_bench_cluster_start(cluster, id, err);
    }
    return rc;
}

void lks_bench_cluster_kill_all(struct lks_bench_cluster *cluster)
{
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        if (cluster->processes[id].pid > 0) {
            (void)kill(cluster->processes[id].pid, SIGKILL);
        }
    }
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        if (cluster->processes[id].pid > 0) {
            (void)lks_process_stop(&cluster->processes[id], LKS_NS_PER_S);
        }
    }
}

bool lks_bench_cluster_is_whole(struct lks_bench_cluster *cluster)
{
    const uint32_t replicas = cluster->config.replicas_count;
    lks_survey_take(&cluster->survey, &cluster->config, ASK_TIMEOUT_NS);
    bool whole = cluster->survey.leader != 0 && cluster->survey.followers == replicas;
    for (uint32_t id = 1; whole && id <= replicas; id++) {
        const char *info = cluster->survey.replicas[id].info;
        whole = lks_ask_number(info, "partitions_ready") == lks_ask_number(info, "partitions") &&
                lks_ask_number(info, "commands_waiting") == 0 &&
                lks_ask_number(info, "apply_lag_bytes") == 0;
    }
    return whole;
}

int lks_bench_cluster_await_whole(struct lks_bench_cluster *cluster, uint64_t most_ns,
                                  struct lks_error *err)
{
    const uint64_t until = lks_clock_monotonic_ns() + most_ns;
    while (!lks_bench_cluster_is_whole(cluster)) {
        if (lks_clock_monotonic_ns() >= until) {
            return lks_error_set(err, -ETIMEDOUT,
                                 "the cluster in %s was not whole within %" PRIu64
                                 " s; its logs are there",
                                 cluster->directory, most_ns / LKS_NS_PER_S);
        }
        lks_bench_nap(5 * LKS_NS_PER_MS);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void lks_bench_cluster_end(struct lks_bench_cluster *cluster, bool keep_files)
{
    lks_bench_cluster_kill_all(cluster);
    if (!keep_files && cluster->directory[0] != '\0') {
        (void)nftw(cluster->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    lks_guard_dismiss(&cluster->guard);
}

/* ---- one connection ----------------------------------------------------------------------- */

int lks_bench_dial(const struct lks_config_replica *replica)
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

int lks_bench_send(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t sent = write(fd, bytes, count);
        if (sent <= 0) {
            return sent == 0 ? -ECONNRESET : -errno;
        }
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

int lks_bench_take_ok(int fd, uint32_t count)
{
    char answers[LKS_BENCH_PIPELINED_MAX * OK_BYTES];
    const size_t wanted = count * OK_BYTES;
    size_t got = 0;
    while (got < wanted) {
        const ssize_t part = read(fd, answers + got, wanted - got);
        if (part <= 0) {
            return part == 0 ? -ECONNRESET : -errno;
        }
        got += (size_t)part;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(answers + i * OK_BYTES, OK_REPLY, OK_BYTES) != 0) {
            return -EBADMSG;
        }
    }
    return 0;
}
