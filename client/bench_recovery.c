/* Measures a restart with real processes; see bench_recovery.h. */
#include "client/bench_recovery.h"

#include "base/clock.h"
#include "bench/guard.h"
#include "client/cluster_files.h"
#include "client/processes.h"
#include "client/survey.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define ASK_TIMEOUT_NS (2 * LKS_NS_PER_S)
#define SETTLE_MAX_NS (60 * LKS_NS_PER_S)
#define RECOVER_MAX_NS (600 * LKS_NS_PER_S)
#define ANSWER_MAX_S 60
#define PIPELINED 256u
#define READ_BYTES (1u << 20)
#define SNAPSHOTS_BYTES_MIN (UINT64_C(256) << 20)
#define MIB (1024.0 * 1024.0)

struct recovery {
    const struct lks_bench_recovery_options *options;
    struct lks_config config;
    char config_path[LKS_CONFIG_PATH_MAX];
    char directory[LKS_CONFIG_PATH_MAX];
    struct lks_guard guard;
    struct lks_process processes[LKS_REPLICAS_MAX + 1];
    struct lks_survey survey;
    uint64_t keys;
    char *request; /* PIPELINED commands */
    size_t request_max;
    /* results */
    double fill_s;
    uint64_t first_ns;
    uint64_t full_ns;
    uint64_t restored_bytes; /* of one replica, out of its snapshots */
    uint64_t replayed_bytes; /* of its log */
    uint64_t floor_ns;
    uint64_t floor_bytes;
};

static void nap(uint64_t ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                   .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}

/* ---- the cluster -------------------------------------------------------------------------- */

static int start_all(struct recovery *recovery, struct lks_error *err)
{
    int rc = 0;
    for (uint32_t id = 1; rc == 0 && id <= recovery->config.replicas_count; id++) {
        char log[LKS_CONFIG_PATH_MAX + 16];
        (void)snprintf(log, sizeof log, "%s/r%u.log", recovery->directory, id);
        rc = lks_process_start(&recovery->processes[id], recovery->config_path, id, log, err);
    }
    return rc;
}

static void kill_all(struct recovery *recovery)
{
    for (uint32_t id = 1; id <= recovery->config.replicas_count; id++) {
        if (recovery->processes[id].pid > 0) {
            (void)kill(recovery->processes[id].pid, SIGKILL);
        }
    }
    for (uint32_t id = 1; id <= recovery->config.replicas_count; id++) {
        if (recovery->processes[id].pid > 0) {
            (void)lks_process_stop(&recovery->processes[id], LKS_NS_PER_S);
        }
    }
}

/* Every replica follows one leader, has all partitions and has executed what it knows of. */
static bool is_whole(struct recovery *recovery)
{
    const uint32_t replicas = recovery->config.replicas_count;
    lks_survey_take(&recovery->survey, &recovery->config, ASK_TIMEOUT_NS);
    bool whole = recovery->survey.leader != 0 && recovery->survey.followers == replicas;
    for (uint32_t id = 1; whole && id <= replicas; id++) {
        const char *info = recovery->survey.replicas[id].info;
        whole = lks_ask_number(info, "partitions_ready") == lks_ask_number(info, "partitions") &&
                lks_ask_number(info, "commands_waiting") == 0 &&
                lks_ask_number(info, "apply_lag_bytes") == 0;
    }
    return whole;
}

static int await_whole(struct recovery *recovery, uint64_t most_ns, struct lks_error *err)
{
    const uint64_t until = lks_clock_monotonic_ns() + most_ns;
    while (!is_whole(recovery)) {
        if (lks_clock_monotonic_ns() >= until) {
            return lks_error_set(err, -ETIMEDOUT,
                                 "the cluster in %s was not whole within %" PRIu64
                                 " s; its logs are there",
                                 recovery->directory, most_ns / LKS_NS_PER_S);
        }
        nap(5 * LKS_NS_PER_MS);
    }
    return 0;
}

static int make_cluster(struct recovery *recovery, struct lks_error *err)
{
    const struct lks_bench_recovery_options *options = recovery->options;
    (void)snprintf(recovery->directory, sizeof recovery->directory,
                   "%s/lockstep-recovery-XXXXXX", options->directory);
    if (mkdtemp(recovery->directory) == NULL) {
        recovery->directory[0] = '\0';
        return lks_error_set(err, -errno, "%s: no folder can be made there: %s",
                             options->directory, lks_error_text(-errno));
    }
    const uint64_t most = 4 * options->state_bytes;
    const uint64_t area = most > SNAPSHOTS_BYTES_MIN ? most : SNAPSHOTS_BYTES_MIN;
    const struct lks_cluster_options cluster = {
        .directory = recovery->directory,
        .replicas = options->replicas,
        .port = options->port,
        .ring_bytes = options->ring_bytes,
        .snapshots_bytes = area & ~(LKS_SNAPSHOTS_AREA_UNIT - 1)};
    int rc = lks_guard_start(&recovery->guard, recovery->directory, err);
    if (rc == 0) {
        rc = lks_cluster_config_path(recovery->directory, recovery->config_path, err);
    }
    if (rc == 0) {
        rc = lks_cluster_new_config(&recovery->config, &cluster, recovery->config_path, err);
    }
    if (rc == 0) {
        rc = lks_cluster_create_replicas(&recovery->config, err);
    }
    if (rc == 0) {
        rc = start_all(recovery, err);
    }
    return rc == 0 ? await_whole(recovery, SETTLE_MAX_NS, err) : rc;
}

/* ---- filling ------------------------------------------------------------------------------ */

static int dial(const struct lks_config_replica *replica)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(replica->port)};
    (void)inet_pton(AF_INET, replica->address, &to.sin_addr);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    const struct timeval patience = {.tv_sec = ANSWER_MAX_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        const int code = -errno;
        (void)close(fd);
        return code;
    }
    return fd;
}

static int send_all(int fd, const char *bytes, size_t count)
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

/* Answers of "+OK\r\n" each; anything else fails. */
static int take_answers(int fd, uint32_t count)
{
    static const char ok[] = "+OK\r\n";
    char answers[PIPELINED * (sizeof ok - 1)];
    const size_t wanted = count * (sizeof ok - 1);
    size_t got = 0;
    while (got < wanted) {
        const ssize_t part = read(fd, answers + got, wanted - got);
        if (part <= 0) {
            return part == 0 ? -ECONNRESET : -errno;
        }
        got += (size_t)part;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (memcmp(answers + i * (sizeof ok - 1), ok, sizeof ok - 1) != 0) {
            return -EBADMSG;
        }
    }
    return 0;
}

static size_t put_set(struct recovery *recovery, size_t at, uint64_t key)
{
    char *out = recovery->request + at;
    const size_t room = recovery->request_max - at;
    const uint32_t value = recovery->options->value_bytes;
    const int head = snprintf(out, room, "*3\r\n$3\r\nSET\r\n$19\r\nrecovery:%010" PRIu64
                              "\r\n$%u\r\n", key, value);
    memset(out + head, 'a' + (int)(key % 26), value);
    memcpy(out + head + value, "\r\n", 2);
    return at + (size_t)head + value + 2;
}

static int fill(struct recovery *recovery, struct lks_error *err)
{
    const uint64_t before = lks_clock_monotonic_ns();
    const int fd = dial(&recovery->config.replicas[recovery->survey.leader]);
    int rc = fd < 0 ? fd : 0;
    for (uint64_t key = 0; rc == 0 && key < recovery->keys; key += PIPELINED) {
        const uint64_t left = recovery->keys - key;
        const uint32_t count = left < PIPELINED ? (uint32_t)left : PIPELINED;
        size_t bytes = 0;
        for (uint32_t i = 0; i < count; i++) {
            bytes = put_set(recovery, bytes, key + i);
        }
        rc = send_all(fd, recovery->request, bytes);
        rc = rc == 0 ? take_answers(fd, count) : rc;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    recovery->fill_s = (double)(lks_clock_monotonic_ns() - before) / 1e9;
    return rc == 0 ? await_whole(recovery, SETTLE_MAX_NS, err)
                   : lks_error_set(err, rc, "filling the cluster: %s", lks_error_text(rc));
}

/* ---- measuring ---------------------------------------------------------------------------- */

/* One write that is acknowledged. */
static bool serves(struct recovery *recovery, uint32_t id)
{
    const int fd = dial(&recovery->config.replicas[id]);
    if (fd < 0) {
        return false;
    }
    const size_t bytes = put_set(recovery, 0, 0);
    const bool served = send_all(fd, recovery->request, bytes) == 0 && take_answers(fd, 1) == 0;
    (void)close(fd);
    return served;
}

static int measure(struct recovery *recovery, struct lks_error *err)
{
    kill_all(recovery);
    const uint64_t before = lks_clock_monotonic_ns();
    int rc = start_all(recovery, err);
    while (rc == 0 && !serves(recovery, 1)) {
        if (lks_clock_monotonic_ns() - before > RECOVER_MAX_NS) {
            rc = lks_error_set(err, -ETIMEDOUT, "no command was served in %" PRIu64 " s",
                               RECOVER_MAX_NS / LKS_NS_PER_S);
        }
        nap(LKS_NS_PER_MS);
    }
    recovery->first_ns = lks_clock_monotonic_ns() - before;
    if (rc == 0) {
        rc = await_whole(recovery, RECOVER_MAX_NS, err);
    }
    recovery->full_ns = lks_clock_monotonic_ns() - before;
    const char *info = recovery->survey.replicas[1].info;
    recovery->restored_bytes = lks_ask_number(info, "restored_bytes");
    recovery->replayed_bytes =
        lks_ask_number(info, "tail_offset") - lks_ask_number(info, "base_offset");
    return rc;
}

/* Reads every byte of a file that is not a hole. */
static int read_file(const char *path, char *buffer, uint64_t *bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    off_t at = 0;
    while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
        const off_t end = lseek(fd, at, SEEK_HOLE);
        while (at < end) {
            const off_t left = end - at;
            const ssize_t got =
                pread(fd, buffer, left < READ_BYTES ? (size_t)left : READ_BYTES, at);
            if (got <= 0) {
                (void)close(fd);
                return got == 0 ? -EIO : -errno;
            }
            at += got;
            *bytes += (uint64_t)got;
        }
    }
    (void)close(fd);
    return 0;
}

/* What the disk and the kernel alone take: one replica's files, read from beginning to end. */
static int measure_floor(struct recovery *recovery, struct lks_error *err)
{
    char *buffer = malloc(READ_BYTES);
    if (buffer == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the floor");
    }
    memset(buffer, 0, READ_BYTES);
    const uint64_t before = lks_clock_monotonic_ns();
    const int rc = read_file(recovery->config.replicas[1].snapshots, buffer,
                             &recovery->floor_bytes);
    recovery->floor_ns = lks_clock_monotonic_ns() - before;
    free(buffer);
    return rc == 0 ? 0
                   : lks_error_set(err, rc, "%s: %s", recovery->config.replicas[1].snapshots,
                                   lks_error_text(rc));
}

static void report(const struct recovery *recovery)
{
    const struct lks_bench_recovery_options *options = recovery->options;
    const double full_s = (double)recovery->full_ns / 1e9;
    const uint64_t bytes = recovery->restored_bytes + recovery->replayed_bytes;
    const double rate = (double)bytes / full_s;
    const double floor_rate =
        (double)recovery->floor_bytes / ((double)recovery->floor_ns / 1e9);
    const double floor_s = (double)bytes / floor_rate;
    FILE *table = options->json ? stderr : stdout;
    fprintf(table, "recovery: %u replicas, %" PRIu64 " values of %u bytes, filled in %.1f s\n",
            options->replicas, recovery->keys, options->value_bytes, recovery->fill_s);
    fprintf(table, "  first command served  %8.3f s\n  all served            %8.3f s\n",
            (double)recovery->first_ns / 1e9, full_s);
    fprintf(table,
            "  restored, replayed    %8.0f MiB, %.0f MiB of log: %.0f MiB/s a replica\n",
            (double)recovery->restored_bytes / MIB, (double)recovery->replayed_bytes / MIB,
            rate / MIB);
    fprintf(table, "  floor: the same bytes, read once: %.3f s, %.0f MiB/s\n", floor_s,
            floor_rate / MIB);
    if (options->json) {
        printf("{\"first_command_ns\":%" PRIu64 ",\"full_recovery_ns\":%" PRIu64
               ",\"restored_bytes\":%" PRIu64 ",\"replayed_bytes\":%" PRIu64
               ",\"bytes_per_s\":%.0f,\"floor_ns\":%.0f,\"floor_bytes_per_s\":%.0f,"
               "\"state_bytes\":%" PRIu64 ",\"value_bytes\":%u,\"replicas\":%u,\"fabric\":\"shm\","
               "\"commit\":\"%s\"}\n",
               recovery->first_ns, recovery->full_ns, recovery->restored_bytes,
               recovery->replayed_bytes, rate, floor_s * 1e9, floor_rate, options->state_bytes,
               options->value_bytes, options->replicas, LKS_COMMIT);
    }
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void clean_up(struct recovery *recovery, bool keep_files)
{
    kill_all(recovery);
    if (!keep_files && recovery->directory[0] != '\0') {
        (void)nftw(recovery->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    lks_guard_dismiss(&recovery->guard);
    free(recovery->request);
}

int lks_bench_recovery(const struct lks_bench_recovery_options *options, struct lks_error *err)
{
    struct recovery *recovery = calloc(1, sizeof *recovery);
    if (recovery == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    recovery->options = options;
    recovery->keys = options->state_bytes / (options->value_bytes + 19u) + 1;
    recovery->request_max = (size_t)PIPELINED * (options->value_bytes + 128u);
    recovery->request = malloc(recovery->request_max);
    int rc = recovery->request == NULL
                 ? lks_error_set(err, -ENOMEM, "no memory for the benchmark")
                 : make_cluster(recovery, err);
    if (rc == 0) {
        rc = fill(recovery, err);
    }
    if (rc == 0) {
        rc = measure(recovery, err);
    }
    if (rc == 0) {
        rc = measure_floor(recovery, err);
    }
    if (rc == 0) {
        report(recovery);
    }
    clean_up(recovery, rc != 0);
    free(recovery);
    return rc;
}
