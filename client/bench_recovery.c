/* Measures a restart with real processes; see bench_recovery.h. */
#include "client/bench_recovery.h"

#include "base/clock.h"
#include "client/bench_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_MAX_NS (60 * LKS_NS_PER_S)
#define RECOVER_MAX_NS (600 * LKS_NS_PER_S)
#define READ_BYTES (1u << 20)
#define SNAPSHOTS_BYTES_MIN (UINT64_C(256) << 20)
#define MIB (1024.0 * 1024.0)

struct recovery {
    const struct lks_bench_recovery_options *options;
    struct lks_bench_cluster cluster;
    uint64_t keys;
    char *request; /* LKS_BENCH_PIPELINED_MAX commands */
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

static int make_cluster(struct recovery *recovery, struct lks_error *err)
{
    const struct lks_bench_recovery_options *options = recovery->options;
    const uint64_t most = 4 * options->state_bytes;
    const uint64_t area = most > SNAPSHOTS_BYTES_MIN ? most : SNAPSHOTS_BYTES_MIN;
    const struct lks_cluster_options cluster = {
        .directory = options->directory,
        .replicas = options->replicas,
        .port = options->port,
        .ring_bytes = options->ring_bytes,
        .snapshots_bytes = area & ~(LKS_SNAPSHOTS_AREA_UNIT - 1)};
    int rc = lks_bench_cluster_make(&recovery->cluster, "recovery", &cluster, err);
    if (rc == 0) {
        rc = lks_bench_cluster_start_all(&recovery->cluster, err);
    }
    return rc == 0 ? lks_bench_cluster_await_whole(&recovery->cluster, SETTLE_MAX_NS, err) : rc;
}

/* ---- filling ------------------------------------------------------------------------------ */

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
    const uint32_t leader = recovery->cluster.survey.leader;
    const int fd = lks_bench_dial(&recovery->cluster.config.replicas[leader]);
    int rc = fd < 0 ? fd : 0;
    for (uint64_t key = 0; rc == 0 && key < recovery->keys; key += LKS_BENCH_PIPELINED_MAX) {
        const uint64_t left = recovery->keys - key;
        const uint32_t count =
            left < LKS_BENCH_PIPELINED_MAX ? (uint32_t)left : LKS_BENCH_PIPELINED_MAX;
        size_t bytes = 0;
        for (uint32_t i = 0; i < count; i++) {
            bytes = put_set(recovery, bytes, key + i);
        }
        rc = lks_bench_send(fd, recovery->request, bytes);
        rc = rc == 0 ? lks_bench_take_ok(fd, count) : rc;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    recovery->fill_s = (double)(lks_clock_monotonic_ns() - before) / 1e9;
    return rc == 0 ? lks_bench_cluster_await_whole(&recovery->cluster, SETTLE_MAX_NS, err)
                   : lks_error_set(err, rc, "filling the cluster: %s", lks_error_text(rc));
}

/* ---- measuring ---------------------------------------------------------------------------- */

/* One write that is acknowledged. */
static bool serves(struct recovery *recovery, uint32_t id)
{
    const int fd = lks_bench_dial(&recovery->cluster.config.replicas[id]);
    if (fd < 0) {
        return false;
    }
    const size_t bytes = put_set(recovery, 0, 0);
    const bool served =
        lks_bench_send(fd, recovery->request, bytes) == 0 && lks_bench_take_ok(fd, 1) == 0;
    (void)close(fd);
    return served;
}

static int measure(struct recovery *recovery, struct lks_error *err)
{
    lks_bench_cluster_kill_all(&recovery->cluster);
    const uint64_t before = lks_clock_monotonic_ns();
    int rc = lks_bench_cluster_start_all(&recovery->cluster, err);
    while (rc == 0 && !serves(recovery, 1)) {
        if (lks_clock_monotonic_ns() - before > RECOVER_MAX_NS) {
            rc = lks_error_set(err, -ETIMEDOUT, "no command was served in %" PRIu64 " s",
                               RECOVER_MAX_NS / LKS_NS_PER_S);
        }
        lks_bench_nap(LKS_NS_PER_MS);
    }
    recovery->first_ns = lks_clock_monotonic_ns() - before;
    if (rc == 0) {
        rc = lks_bench_cluster_await_whole(&recovery->cluster, RECOVER_MAX_NS, err);
    }
    recovery->full_ns = lks_clock_monotonic_ns() - before;
    const char *info = recovery->cluster.survey.replicas[1].info;
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
    const char *path = recovery->cluster.config.replicas[1].snapshots;
    const int rc = read_file(path, buffer, &recovery->floor_bytes);
    recovery->floor_ns = lks_clock_monotonic_ns() - before;
    free(buffer);
    return rc == 0 ? 0 : lks_error_set(err, rc, "%s: %s", path, lks_error_text(rc));
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

int lks_bench_recovery(const struct lks_bench_recovery_options *options, struct lks_error *err)
{
    struct recovery *recovery = calloc(1, sizeof *recovery);
    if (recovery == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    recovery->options = options;
    recovery->keys = options->state_bytes / (options->value_bytes + 19u) + 1;
    recovery->request_max = (size_t)LKS_BENCH_PIPELINED_MAX * (options->value_bytes + 128u);
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
    lks_bench_cluster_end(&recovery->cluster, rc != 0);
    free(recovery->request);
    free(recovery);
    return rc;
}
