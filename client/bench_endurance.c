/*
 * See bench_endurance.h. One thread a replica keeps a pipeline of SETs of random keys full, or
 * sends it at the rate asked for; one more, the probe, sends one SET at a time to the leader and
 * measures it, beside the witness. The main thread looks at the leader's log, its snapshots and
 * the memory of all replicas.
 */
#include "client/bench_endurance.h"

#include "base/clock.h"
#include "bench/samples.h"
#include "client/bench_cluster.h"
#include "client/bench_witness.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_MAX_NS (60 * LKS_NS_PER_S)
#define STILL_MAX_NS (30 * LKS_NS_PER_S) /* the log must have grown within it */
#define LOOK_NS (200 * LKS_NS_PER_MS)
#define PROBES_MAX 4000000u
#define SLOW_NS (500 * LKS_NS_PER_US) /* a probe that took longer is kept with its time */
#define SLOW_MAX 1000000u
#define CLOSED_IN_A_ROW_MAX 10u /* more are no catching up: the load ends with the error */
#define SPIKE 5 /* times the 99th percentile */
#define WARM_LAPS 4.0 /* every replica has written its areas and tables once */
#define COMMAND_ROOM 128u
#define MIB (1024.0 * 1024.0)

struct endurance;

struct worker {
    struct endurance *endurance;
    pthread_t thread;
    uint32_t replica;
    uint32_t pipelined;
    uint64_t random;
    uint64_t commands;
    uint64_t closed; /* connections, by the replica */
    uint32_t closed_in_a_row; /* without an answer between them */
    int rc;
};

/* Memory of one replica, in bytes. */
struct memory {
    uint64_t resident;
    uint64_t anonymous;
};

struct look {
    double laps;
    struct memory memory[LKS_REPLICAS_MAX + 1];
};

/* A probe that was slow. */
struct slow {
    uint64_t begin_ns;
    uint64_t end_ns;
};

/* Those that took more than SPIKE times the 99th percentile. */
struct spikes {
    size_t count;
    size_t unexplained; /* without a processor that was gone meanwhile */
    uint64_t longest_unexplained_ns;
};

struct endurance {
    const struct lks_bench_endurance_options *options;
    struct lks_bench_cluster cluster;
    struct worker workers[LKS_REPLICAS_MAX + 1]; /* by replica; [0]: the probe */
    atomic_bool stop;
    struct lks_samples probes;
    struct slow *slow; /* SLOW_MAX, in the order of time */
    size_t slow_count;
    struct lks_bench_witness *witness;
    struct look start, middle, end;
    uint64_t begin_offset;
    uint64_t snapshots;
    double seconds;
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* ---- the load ------------------------------------------------------------------------------ */

static size_t put_set(struct worker *worker, char *out)
{
    const struct lks_bench_endurance_options *options = worker->endurance->options;
    const uint64_t key = next_random(&worker->random) % options->keys;
    const int head = snprintf(out, COMMAND_ROOM, "*3\r\n$3\r\nSET\r\n$14\r\nkey:%010" PRIu64
                              "\r\n$%u\r\n", key, options->value_bytes);
    memset(out + head, 'a' + (int)(worker->commands % 26), options->value_bytes);
    memcpy(out + head + options->value_bytes, "\r\n", 2);
    worker->commands++;
    return (size_t)head + options->value_bytes + 2;
}

static int send_some(struct worker *worker, int fd, char *request)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < worker->pipelined; i++) {
        bytes += put_set(worker, request + bytes);
    }
    const int rc = lks_bench_send(fd, request, bytes);
    return rc == 0 ? lks_bench_take_ok(fd, worker->pipelined) : rc;
}

static void measure_one(struct worker *worker, int fd, char *request)
{
    struct endurance *endurance = worker->endurance;
    const uint64_t begin = lks_clock_monotonic_ns();
    worker->rc = send_some(worker, fd, request);
    const uint64_t end = lks_clock_monotonic_ns();
    lks_samples_add(&endurance->probes, end - begin);
    if (end - begin >= SLOW_NS && endurance->slow_count < SLOW_MAX) {
        endurance->slow[endurance->slow_count] = (struct slow){begin, end};
        endurance->slow_count++;
    }
}

static bool ended(struct endurance *endurance)
{
    return atomic_load_explicit(&endurance->stop, memory_order_relaxed);
}

/* Sleeps until the next pipeline is due, where a rate is asked for. What came late is not made up
 * for by haste: the load stays at the rate or below it. */
static void await_turn(const struct worker *worker, uint64_t *due_ns)
{
    const struct lks_bench_endurance_options *options = worker->endurance->options;
    if (options->rate == 0) {
        return;
    }
    const uint64_t now = lks_clock_monotonic_ns();
    if (now < *due_ns) {
        lks_bench_nap(*due_ns - now);
    } else {
        *due_ns = now;
    }
    *due_ns += LKS_NS_PER_S * worker->pipelined * options->replicas / options->rate;
}

/* A replica that fell behind and installed snapshots over commands of this connection has closed
 * it, since it cannot tell what they answered. The load goes on with another one. */
static void reconnect_if_closed(struct worker *worker, int *fd)
{
    const bool is_closed = worker->rc == -ECONNRESET || worker->rc == -EPIPE;
    worker->closed_in_a_row = is_closed ? worker->closed_in_a_row + 1 : 0;
    if (!is_closed || worker->closed_in_a_row > CLOSED_IN_A_ROW_MAX) {
        return;
    }
    (void)close(*fd);
    worker->closed++;
    *fd = lks_bench_dial(&worker->endurance->cluster.config.replicas[worker->replica]);
    worker->rc = *fd < 0 ? *fd : 0;
}

static void *work(void *ctx)
{
    struct worker *worker = ctx;
    struct endurance *endurance = worker->endurance;
    uint64_t due_ns = lks_clock_monotonic_ns();
    const size_t room = COMMAND_ROOM + endurance->options->value_bytes;
    char *request = malloc(room * worker->pipelined);
    int fd = lks_bench_dial(&endurance->cluster.config.replicas[worker->replica]);
    worker->rc = request == NULL ? -ENOMEM : fd < 0 ? fd : 0;
    while (worker->rc == 0 && !ended(endurance)) {
        if (worker == &endurance->workers[0]) {
            measure_one(worker, fd, request);
        } else {
            await_turn(worker, &due_ns);
            worker->rc = send_some(worker, fd, request);
        }
        reconnect_if_closed(worker, &fd);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(request);
    return NULL;
}

static int start_workers(struct endurance *endurance, struct lks_error *err)
{
    for (uint32_t id = 0; id <= endurance->options->replicas; id++) {
        struct worker *worker = &endurance->workers[id];
        *worker = (struct worker){.endurance = endurance,
                                  .replica = id == 0 ? endurance->cluster.survey.leader : id,
                                  .pipelined = id == 0 ? 1 : endurance->options->pipelined,
                                  .random = id + 1};
        const int code = pthread_create(&worker->thread, NULL, work, worker);
        if (code != 0) {
            worker->endurance = NULL;
            return lks_error_set(err, -code, "no thread for the load: %s", lks_error_text(-code));
        }
    }
    return 0;
}

static int join_workers(struct endurance *endurance, struct lks_error *err)
{
    int rc = 0;
    atomic_store_explicit(&endurance->stop, true, memory_order_relaxed);
    for (uint32_t id = 0; id <= endurance->options->replicas; id++) {
        struct worker *worker = &endurance->workers[id];
        if (worker->endurance == NULL) {
            break;
        }
        (void)pthread_join(worker->thread, NULL);
        if (worker->rc != 0 && rc == 0) {
            rc = lks_error_set(err, worker->rc, "the load at replica %u: %s", worker->replica,
                               lks_error_text(worker->rc));
        }
    }
    return rc;
}

/* ---- looking on ---------------------------------------------------------------------------- */

static void read_memory(pid_t pid, struct memory *memory)
{
    char path[64];
    char line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)sscanf(line, "VmRSS: %" SCNu64, &memory->resident);
        (void)sscanf(line, "RssAnon: %" SCNu64, &memory->anonymous);
    }
    memory->resident *= 1024;
    memory->anonymous *= 1024;
    if (file != NULL) {
        (void)fclose(file);
    }
}

static void take_look(struct endurance *endurance, double laps, struct look *look)
{
    look->laps = laps;
    for (uint32_t id = 1; id <= endurance->options->replicas; id++) {
        read_memory(endurance->cluster.processes[id].pid, &look->memory[id]);
    }
}

/* The leader's log now; 0: it did not answer. */
static uint64_t look_at_leader(struct endurance *endurance)
{
    struct lks_bench_cluster *cluster = &endurance->cluster;
    const struct lks_config_replica *leader =
        &cluster->config.replicas[endurance->workers[0].replica];
    static char info[LKS_ASK_TEXT_MAX];
    struct lks_error unused = {0};
    if (lks_ask_info(leader->address, leader->port, "all", LKS_NS_PER_S, info, &unused) != 0) {
        return 0;
    }
    endurance->snapshots = lks_ask_number(info, "snapshots_taken");
    return lks_ask_number(info, "tail_offset");
}

static int watch(struct endurance *endurance, struct lks_error *err)
{
    const struct lks_bench_endurance_options *options = endurance->options;
    uint64_t seen = endurance->begin_offset;
    uint64_t grown_ns = lks_clock_monotonic_ns();
    const double warm = options->laps < 2 * WARM_LAPS ? options->laps / 2.0 : WARM_LAPS;
    double laps = 0;
    while (laps < options->laps) {
        lks_bench_nap(LOOK_NS);
        const uint64_t tail = look_at_leader(endurance);
        const uint64_t now = lks_clock_monotonic_ns();
        if (tail > seen) {
            seen = tail;
            grown_ns = now;
        } else if (now - grown_ns > STILL_MAX_NS) {
            return lks_error_set(err, -ETIMEDOUT, "the log stands still at offset %" PRIu64
                                 "; the cluster's folder %s stays", seen,
                                 endurance->cluster.directory);
        }
        laps = (double)(seen - endurance->begin_offset) / (double)options->ring_bytes;
        if (endurance->start.laps == 0 && laps >= warm) {
            take_look(endurance, laps, &endurance->start);
        }
        if (endurance->middle.laps == 0 && laps >= (options->laps + warm) / 2) {
            take_look(endurance, laps, &endurance->middle);
        }
    }
    take_look(endurance, laps, &endurance->end);
    return 0;
}

/* ---- the report ---------------------------------------------------------------------------- */

static void print_look(FILE *table, const struct endurance *endurance, const char *name,
                       const struct look *look)
{
    fprintf(table, "  %-7s %7.1f ", name, look->laps);
    for (uint32_t id = 1; id <= endurance->options->replicas; id++) {
        fprintf(table, "  %8.1f (%.1f)", (double)look->memory[id].resident / MIB,
                (double)look->memory[id].anonymous / MIB);
    }
    fputc('\n', table);
}

static uint64_t most_resident(const struct endurance *endurance, const struct look *look)
{
    uint64_t most = 0;
    for (uint32_t id = 1; id <= endurance->options->replicas; id++) {
        most = look->memory[id].resident > most ? look->memory[id].resident : most;
    }
    return most;
}

static struct spikes spikes_of(const struct endurance *endurance, uint64_t p99_ns)
{
    struct spikes spikes = {0};
    for (size_t i = 0; i < endurance->slow_count; i++) {
        const struct slow *slow = &endurance->slow[i];
        const uint64_t passed = slow->end_ns - slow->begin_ns;
        if (passed <= SPIKE * p99_ns) {
            continue;
        }
        spikes.count++;
        if (!lks_bench_witness_saw(endurance->witness, slow->begin_ns, slow->end_ns)) {
            spikes.unexplained++;
            spikes.longest_unexplained_ns =
                passed > spikes.longest_unexplained_ns ? passed : spikes.longest_unexplained_ns;
        }
    }
    return spikes;
}

static void report_memory(FILE *table, const struct endurance *endurance, uint64_t commands)
{
    const struct lks_bench_endurance_options *options = endurance->options;
    fprintf(table,
            "endurance: %u replicas, ring %.0f MiB, %.0f of its lengths written in %.1f s; %" PRIu64
            " commands (%.0f/s), %" PRIu64 " snapshots of partitions at the leader\n",
            options->replicas, (double)options->ring_bytes / MIB, endurance->end.laps,
            endurance->seconds, commands, (double)commands / endurance->seconds,
            endurance->snapshots);
    fprintf(table, "  resident memory (of it anonymous), MiB, by replica\n");
    print_look(table, endurance, "start", &endurance->start);
    print_look(table, endurance, "middle", &endurance->middle);
    print_look(table, endurance, "end", &endurance->end);
}

static void report_spikes(FILE *table, const struct endurance *endurance,
                          const struct spikes *spikes, uint64_t late_p99_ns, uint64_t late_max_ns)
{
    fprintf(table, "  longer than %d times p99: %zu", SPIKE, spikes->count);
    if (lks_bench_witness_privileged(endurance->witness)) {
        fprintf(table, "; of them %zu while no processor was taken away (the longest %.1f us)",
                spikes->unexplained, (double)spikes->longest_unexplained_ns / 1e3);
    }
    fprintf(table, "\n  a thread on each processor that only sleeps%s woke late by p99 %.1f us, "
                   "max %.1f us\n",
            lks_bench_witness_privileged(endurance->witness) ? ", ahead of all others," : "",
            (double)late_p99_ns / 1e3, (double)late_max_ns / 1e3);
}

static void report(struct endurance *endurance)
{
    const struct lks_bench_endurance_options *options = endurance->options;
    FILE *table = options->json ? stderr : stdout;
    uint64_t commands = 0;
    uint64_t closed = 0;
    for (uint32_t id = 0; id <= options->replicas; id++) {
        commands += endurance->workers[id].commands;
        closed += endurance->workers[id].closed;
    }
    struct lks_samples *probes = &endurance->probes;
    lks_samples_sort(probes);
    const uint64_t p50 = lks_samples_percentile(probes, 0.5);
    const uint64_t p99 = lks_samples_percentile(probes, 0.99);
    const uint64_t p999 = lks_samples_percentile(probes, 0.999);
    const uint64_t most = lks_samples_max(probes);
    const struct spikes spikes = spikes_of(endurance, p99);
    uint64_t late_p99 = 0;
    uint64_t late_max = 0;
    lks_bench_witness_lates(endurance->witness, &late_p99, &late_max);
    report_memory(table, endurance, commands);
    fprintf(table,
            "  probe's SET: %zu samples, p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n",
            probes->count, (double)p50 / 1e3, (double)p99 / 1e3, (double)p999 / 1e3,
            (double)most / 1e3);
    report_spikes(table, endurance, &spikes, late_p99, late_max);
    if (closed > 0) {
        fprintf(table, "  connections closed by a replica that had fallen behind: %" PRIu64 "\n",
                closed);
    }
    if (options->json) {
        printf("{\"laps\":%.1f,\"ring_bytes\":%" PRIu64 ",\"rate\":%" PRIu32
               ",\"commands\":%" PRIu64 ",\"seconds\":%.1f,\"snapshots\":%" PRIu64
               ",\"rss_start_bytes\":%" PRIu64 ",\"rss_middle_bytes\":%" PRIu64
               ",\"rss_end_bytes\":%" PRIu64 ",\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64
               ",\"p999_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64
               ",\"samples\":%zu,\"spikes\":%zu,\"spikes_unexplained\":%zu"
               ",\"witness_privileged\":%s,\"witness_max_ns\":%" PRIu64 ",\"closed\":%" PRIu64
               ",\"replicas\":%u,\"fabric\":\"shm\",\"commit\":\"%s\"}\n",
               endurance->end.laps, options->ring_bytes, options->rate, commands,
               endurance->seconds, endurance->snapshots,
               most_resident(endurance, &endurance->start),
               most_resident(endurance, &endurance->middle),
               most_resident(endurance, &endurance->end), p50, p99, p999, most, probes->count,
               spikes.count, spikes.unexplained,
               lks_bench_witness_privileged(endurance->witness) ? "true" : "false", late_max,
               closed, options->replicas, LKS_COMMIT);
    }
}

static int run(struct endurance *endurance, struct lks_error *err)
{
    const struct lks_bench_endurance_options *options = endurance->options;
    const struct lks_cluster_options cluster = {.directory = options->directory,
                                                .replicas = options->replicas,
                                                .port = options->port,
                                                .ring_bytes = options->ring_bytes};
    int rc = lks_bench_cluster_make(&endurance->cluster, "endurance", &cluster, err);
    if (rc == 0) {
        rc = lks_bench_cluster_start_all(&endurance->cluster, err);
    }
    if (rc == 0) {
        rc = lks_bench_cluster_await_whole(&endurance->cluster, SETTLE_MAX_NS, err);
    }
    if (rc != 0) {
        return rc;
    }
    const char *info = endurance->cluster.survey.replicas[endurance->cluster.survey.leader].info;
    endurance->begin_offset = lks_ask_number(info, "tail_offset");
    rc = lks_bench_witness_start(&endurance->witness, err);
    if (rc != 0) {
        return rc;
    }
    const uint64_t begin = lks_clock_monotonic_ns();
    rc = start_workers(endurance, err);
    rc = rc == 0 ? watch(endurance, err) : rc;
    endurance->seconds = (double)(lks_clock_monotonic_ns() - begin) / 1e9;
    const int joined = join_workers(endurance, err);
    lks_bench_witness_stop(endurance->witness);
    rc = rc == 0 ? joined : rc;
    return rc == 0 ? lks_bench_cluster_await_whole(&endurance->cluster, SETTLE_MAX_NS, err) : rc;
}

int lks_bench_endurance(const struct lks_bench_endurance_options *options, struct lks_error *err)
{
    struct endurance *endurance = calloc(1, sizeof *endurance);
    if (endurance == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    endurance->options = options;
    int rc = lks_samples_init(&endurance->probes, PROBES_MAX);
    endurance->slow = malloc(SLOW_MAX * sizeof *endurance->slow);
    rc = endurance->slow == NULL ? -ENOMEM : rc;
    rc = rc == 0 ? run(endurance, err)
                 : lks_error_set(err, rc, "no memory for the benchmark's samples");
    if (rc == 0) {
        report(endurance);
    }
    lks_bench_cluster_end(&endurance->cluster, rc != 0);
    lks_samples_fini(&endurance->probes);
    lks_bench_witness_end(endurance->witness);
    free(endurance->slow);
    free(endurance);
    return rc;
}
