/* Measures schedulers in whole replicas; see bench_execution.h. */
#include "client/bench_execution.h"

#include "base/assert.h"
#include "base/clock.h"
#include "client/bench_cluster.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_MAX_NS (30 * LKS_NS_PER_S)
#define ASK_TIMEOUT_NS (5 * LKS_NS_PER_S)
#define WARM_UP_SHARE 5u /* of a measurement, before it */
#define BATCH 64u        /* commands in one send */
#define BATCHES 4u       /* in flight */
#define COMMAND_BYTES_MAX 96u
#define RING_BYTES (UINT64_C(64) << 20)
#define PORTS_BETWEEN 10u
#define ROUNDS_MAX 1000u

static const struct {
    const char *name;
    int32_t burn_us; /* -1: a SET */
} loads[] = {{"set", -1}, {"burn 1 us", 1}, {"burn 5 us", 5}, {"burn 50 us", 50}};

static const enum lks_scheduler_kind kinds[] = {LKS_SEQUENTIAL, LKS_EARLY, LKS_LATE, LKS_ADAPTIVE};

#define LOADS LKS_COUNT_OF(loads)
#define KINDS LKS_COUNT_OF(kinds)

/* Of one load and scheduler, in each round. */
struct row {
    double per_s[ROUNDS_MAX];
    double reference_per_s[ROUNDS_MAX]; /* without workers */
    double ratio[ROUNDS_MAX];
};

struct execution {
    const struct lks_bench_execution_options *options;
    struct lks_bench_cluster plain; /* has no workers */
    struct lks_bench_cluster with;
    uint64_t random;
    uint64_t elections; /* when both clusters were whole first */
    int kind; /* of the cluster with workers; -1: not chosen yet */
    struct row rows[LOADS][KINDS];
};

/* ---- load ----------------------------------------------------------------------------------- */

static uint32_t draw_key(struct execution *execution)
{
    execution->random = execution->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)((execution->random >> 33) % execution->options->keys);
}

static size_t write_command(struct execution *execution, int32_t burn_us, char *text)
{
    const uint32_t key = draw_key(execution);
    int bytes = 0;
    if (burn_us < 0) {
        bytes = snprintf(text, COMMAND_BYTES_MAX,
                         "*3\r\n$3\r\nSET\r\n$9\r\nk%08u\r\n$8\r\nv%07u\r\n", key, key % 10000000);
    } else {
        bytes = snprintf(text, COMMAND_BYTES_MAX,
                         "*4\r\n$5\r\nDEBUG\r\n$4\r\nBURN\r\n$%d\r\n%d\r\n$9\r\nk%08u\r\n",
                         burn_us < 10 ? 1 : 2, (int)burn_us, key);
    }
    LKS_ASSERT(bytes > 0 && (size_t)bytes < COMMAND_BYTES_MAX);
    return (size_t)bytes;
}

static int send_batch(struct execution *execution, int fd, int32_t burn_us)
{
    char text[BATCH * COMMAND_BYTES_MAX];
    size_t bytes = 0;
    for (uint32_t i = 0; i < BATCH; i++) {
        bytes += write_command(execution, burn_us, text + bytes);
    }
    return lks_bench_send(fd, text, bytes);
}

/* Batches for so long, some in flight; counts those answered. */
static int run_batches(struct execution *execution, int fd, int32_t burn_us, uint64_t run_ns,
                       double *per_s)
{
    const uint64_t began_ns = lks_clock_monotonic_ns();
    uint64_t answered = 0;
    uint32_t in_flight = 0;
    int rc = 0;
    while (rc == 0 && lks_clock_monotonic_ns() < began_ns + run_ns) {
        while (rc == 0 && in_flight < BATCHES) {
            rc = send_batch(execution, fd, burn_us);
            in_flight++;
        }
        rc = rc == 0 ? lks_bench_take_ok(fd, BATCH) : rc;
        answered += BATCH;
        in_flight--;
    }
    const uint64_t took_ns = lks_clock_monotonic_ns() - began_ns;
    for (; rc == 0 && in_flight > 0; in_flight--) {
        rc = lks_bench_take_ok(fd, BATCH);
    }
    *per_s = (double)answered * (double)LKS_NS_PER_S / (double)took_ns;
    return rc;
}

static int measure(struct execution *execution, struct lks_bench_cluster *cluster, int32_t burn_us,
                   double *per_s, struct lks_error *err)
{
    const uint64_t run_ns = execution->options->stretch_ms * LKS_NS_PER_MS;
    int rc = lks_bench_cluster_await_whole(cluster, SETTLE_MAX_NS, err);
    if (rc != 0) {
        return rc;
    }
    const uint32_t leader = cluster->survey.leader;
    const int fd = lks_bench_dial(&cluster->config.replicas[leader]);
    rc = fd < 0 ? fd : run_batches(execution, fd, burn_us, run_ns / WARM_UP_SHARE, per_s);
    rc = rc == 0 ? run_batches(execution, fd, burn_us, run_ns, per_s) : rc;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc == 0 ? 0
                   : lks_error_set(err, rc, "replica %u: %s", leader,
                                   rc == -EBADMSG ? "a command was refused" : lks_error_text(rc));
}

/* ---- schedulers ----------------------------------------------------------------------------- */

static int set_kind(struct execution *execution, const char *kind, struct lks_error *err)
{
    static char text[LKS_ASK_TEXT_MAX];
    const char *const args[] = {"SCHEDULER", "SET", kind, NULL};
    for (uint32_t id = 1; id <= execution->options->replicas; id++) {
        const struct lks_config_replica *where = &execution->with.config.replicas[id];
        const int rc =
            lks_ask_command(where->address, where->port, args, ASK_TIMEOUT_NS, text, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* The cluster without workers and the other one, in turns; which goes first changes. */
static int measure_pair(struct execution *execution, uint32_t round, size_t load, size_t kind,
                        struct lks_error *err)
{
    struct row *row = &execution->rows[load][kind];
    const int32_t burn_us = loads[load].burn_us;
    int rc = 0;
    if (execution->kind != (int)kind) { /* else `adaptive` would begin its trials anew */
        rc = set_kind(execution, lks_scheduler_kind_name(kinds[kind]), err);
        execution->kind = (int)kind;
    }
    if (rc == 0 && round % 2 == 0) {
        rc = measure(execution, &execution->plain, burn_us, &row->reference_per_s[round], err);
    }
    rc = rc == 0 ? measure(execution, &execution->with, burn_us, &row->per_s[round], err) : rc;
    if (rc == 0 && round % 2 != 0) {
        rc = measure(execution, &execution->plain, burn_us, &row->reference_per_s[round], err);
    }
    if (rc == 0) {
        row->ratio[round] = row->per_s[round] / row->reference_per_s[round];
    }
    return rc;
}

static bool is_wanted(const struct execution *execution, size_t load, size_t kind)
{
    const char *load_only = execution->options->load;
    const char *kind_only = execution->options->scheduler;
    return (load_only == NULL || strcmp(load_only, loads[load].name) == 0) &&
           (kind_only == NULL || strcmp(kind_only, lks_scheduler_kind_name(kinds[kind])) == 0);
}

static int run_round(struct execution *execution, uint32_t round, struct lks_error *err)
{
    for (size_t load = 0; load < LOADS; load++) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            const int rc = is_wanted(execution, load, kind)
                               ? measure_pair(execution, round, load, kind, err)
                               : 0;
            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

/* ---- the clusters --------------------------------------------------------------------------- */

static int start(struct execution *execution, struct lks_bench_cluster *cluster, uint32_t workers,
                 struct lks_error *err)
{
    const struct lks_bench_execution_options *options = execution->options;
    const struct lks_cluster_options made = {
        .directory = options->directory,
        .replicas = options->replicas,
        .port = (uint16_t)(options->port + (workers > 0 ? PORTS_BETWEEN : 0)),
        .ring_bytes = RING_BYTES,
        .scheduler = LKS_SEQUENTIAL,
        .workers = workers,
        .debug_commands = true};
    int rc = lks_bench_cluster_make(cluster, "execution", &made, err);
    rc = rc == 0 ? lks_bench_cluster_start_all(cluster, err) : rc;
    return rc == 0 ? lks_bench_cluster_await_whole(cluster, SETTLE_MAX_NS, err) : rc;
}

/* How often anybody has come to lead, in both clusters. */
static uint64_t count_elections(struct execution *execution)
{
    uint64_t count = 0;
    struct lks_bench_cluster *clusters[] = {&execution->plain, &execution->with};
    for (size_t i = 0; i < LKS_COUNT_OF(clusters); i++) {
        (void)lks_bench_cluster_is_whole(clusters[i]);
        for (uint32_t id = 1; id <= execution->options->replicas; id++) {
            count += lks_ask_number(clusters[i]->survey.replicas[id].info, "elections");
        }
    }
    return count;
}

/* ---- results -------------------------------------------------------------------------------- */

static int smaller_first(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Sorts them. */
static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, smaller_first);
    return count % 2 != 0 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static void print_row(struct row *row, const char *load, const char *kind, uint32_t rounds)
{
    const double ratio = median(row->ratio, rounds);
    printf("%-12s %-11s %12.0f %12.0f %8.2f %8.2f %8.2f\n", load, kind,
           median(row->reference_per_s, rounds), median(row->per_s, rounds), ratio, row->ratio[0],
           row->ratio[rounds - 1]);
}

static void print_table(struct execution *execution, uint64_t changes)
{
    const struct lks_bench_execution_options *options = execution->options;
    printf("%u replicas, %u workers each, %u rounds of %u ms, %u keys; commands a second, medians; "
           "ratios of pairs\n",
           options->replicas, options->workers, options->rounds, options->stretch_ms,
           options->keys);
    printf("%-12s %-11s %12s %12s %8s %8s %8s\n", "load", "scheduler", "no workers", "workers",
           "ratio", "least", "most");
    for (size_t load = 0; load < LOADS; load++) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            if (is_wanted(execution, load, kind)) {
                print_row(&execution->rows[load][kind], loads[load].name,
                          lks_scheduler_kind_name(kinds[kind]), options->rounds);
            }
        }
    }
    printf("changes of leader meanwhile: %" PRIu64 "\n", changes);
}

static void print_json(struct execution *execution, uint64_t changes)
{
    const struct lks_bench_execution_options *options = execution->options;
    const uint32_t rounds = options->rounds;
    printf("{\"replicas\":%u,\"workers\":%u,\"rounds\":%u,\"stretch_ms\":%u,\"keys\":%u,"
           "\"leader_changes\":%" PRIu64 ",\"rows\":[",
           options->replicas, options->workers, rounds, options->stretch_ms, options->keys,
           changes);
    const char *between = "";
    for (size_t i = 0; i < LOADS * KINDS; i++) {
        struct row *row = &execution->rows[i / KINDS][i % KINDS];
        if (!is_wanted(execution, i / KINDS, i % KINDS)) {
            continue;
        }
        printf("%s{\"load\":\"%s\",\"scheduler\":\"%s\",\"reference_per_s\":%.0f,"
               "\"per_s\":%.0f,\"ratio\":%.3f}",
               between, loads[i / KINDS].name,
               lks_scheduler_kind_name(kinds[i % KINDS]), median(row->reference_per_s, rounds),
               median(row->per_s, rounds), median(row->ratio, rounds));
        between = ",";
    }
    printf("]}\n");
}

static bool is_scheduler(const char *name)
{
    bool is = name == NULL;
    for (size_t kind = 0; kind < KINDS; kind++) {
        is = is || strcmp(name, lks_scheduler_kind_name(kinds[kind])) == 0;
    }
    return is;
}

static bool is_load(const char *name)
{
    bool is = name == NULL;
    for (size_t load = 0; load < LOADS; load++) {
        is = is || strcmp(name, loads[load].name) == 0;
    }
    return is;
}

int lks_bench_execution(const struct lks_bench_execution_options *options, struct lks_error *err)
{
    if (options->rounds > ROUNDS_MAX) {
        return lks_error_set(err, -EINVAL, "--rounds %u: at most %u", options->rounds, ROUNDS_MAX);
    }
    if (!is_load(options->load)) {
        return lks_error_set(err, -EINVAL,
                             "--load %s: is one of set, burn 1 us, burn 5 us, burn 50 us",
                             options->load);
    }
    if (!is_scheduler(options->scheduler)) {
        return lks_error_set(err, -EINVAL,
                             "--scheduler %s: is one of sequential, early, late, adaptive",
                             options->scheduler);
    }
    struct execution *execution = calloc(1, sizeof *execution);
    if (execution == NULL) {
        return lks_error_set(err, -ENOMEM, "out of memory");
    }
    execution->options = options;
    execution->random = 1;
    execution->kind = -1;
    int rc = start(execution, &execution->plain, 0, err);
    rc = rc == 0 ? start(execution, &execution->with, options->workers, err) : rc;
    execution->elections = rc == 0 ? count_elections(execution) : 0;
    for (uint32_t round = 0; rc == 0 && round < options->rounds; round++) {
        rc = run_round(execution, round, err);
    }
    if (rc == 0) {
        const uint64_t changes = count_elections(execution) - execution->elections;
        print_table(execution, changes);
        if (options->json) {
            print_json(execution, changes);
        }
    }
    lks_bench_cluster_end(&execution->plain, rc == -ETIMEDOUT);
    lks_bench_cluster_end(&execution->with, rc == -ETIMEDOUT);
    free(execution);
    return rc;
}
