/*
 * Measures replication inside the leader's process; see replicate.h.
 *
 * Closed loop: one command at a time. Samples of Lockstep and of the floor alternate in blocks of
 * one run, so that both see the same machine. Open loop: batches handed over at once.
 */
#include "bench/replicate.h"

#include "base/clock.h"
#include "bench/floor.h"
#include "bench/guard.h"
#include "bench/null_service.h"
#include "bench/rdma_floor.h"
#include "bench/samples.h"
#include "node/assembly.h"
#include "node/durability.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_SAMPLES 2000u
#define RDMA_BLOCK_SAMPLES 100u /* shorter: one takes a thousand times as long */
#define WARM_UP 20000u
#define RDMA_WARM_UP 1000u
#define DEVICE_UNIT (UINT64_C(2) << 20) /* device DAX is mapped in such pieces */
#define TURNS_BETWEEN_CLOCKS 8u /* while waiting: an emulated machine's clock is slow to read */
#define RDMA_PORT 17480u
#define RDMA_ELECTION_NS (2 * LKS_NS_PER_S) /* software RDMA beside busy processors is slow */
#define START_PATIENCE_NS (20 * LKS_NS_PER_S)
#define RDMA_START_PATIENCE_NS (120 * LKS_NS_PER_S) /* of an emulated machine that is busy */
#define FOLLOWER_NAP_NS 50000
#define RDMA_FOLLOWER_NAP_NS 1000000 /* their processors take no part; software RDMA needs them */
#define COMMAND_MAX (256u << 10)
#define BATCHES 7u

static const uint32_t batch_sizes[BATCHES] = {1, 4, 16, 64, 256, 1024, 4096};

struct bench {
    const struct lks_bench_replicate_options *options;
    struct lks_config config;
    char directory[LKS_CONFIG_PATH_MAX];
    struct lks_guard guard;
    pid_t followers[LKS_REPLICAS_MAX + 1];
    struct lks_assembly leader;
    uint64_t answered;
    uint64_t answered_ns; /* closed loop: when the last answer came */
    bool timed;           /* a closed loop is running: answers are timed */
    int64_t realtime_offset_ns;
    uint64_t now_ns;      /* last reading of the clock: one for each command */
    struct lks_samples samples;
    struct lks_samples floor_samples;
    struct lks_samples turn_samples;  /* RDMA: the floor, one peer after the other */
    struct lks_floor floor;           /* shm */
    struct lks_rdma_floor rdma_floor; /* RDMA */
    uint32_t warm_up;
    double batch_rate[BATCHES];
    uint64_t private_before;   /* bytes of memory, after the closed loop */
    uint64_t followers_behind; /* commands that some follower had not applied at the end */
    char command[COMMAND_MAX];
};

static void count_reply(void *ctx, uint64_t cookie, const void *reply, size_t bytes)
{
    struct bench *bench = ctx;
    (void)cookie;
    (void)reply;
    (void)bytes;
    bench->answered++;
    if (bench->timed) {
        bench->answered_ns = lks_clock_monotonic_ns();
    }
}

static void ignore_reply(void *ctx, uint64_t cookie, const void *reply, size_t bytes)
{
    (void)ctx;
    (void)cookie;
    (void)reply;
    (void)bytes;
}

/* A follower's whole life, in its own process; ends with its parent. */
static _Noreturn void run_follower(struct bench *bench, uint32_t id, pid_t parent)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    bench->config.election_timeout_ns = 10 * LKS_NS_PER_S; /* the bench's process leads */
    struct lks_assembly follower;
    struct lks_error err = {0};
    const struct lks_log log = {LKS_LOG_WARN, lks_log_to_stderr, NULL};
    const struct lks_assembly_options options = {
        .config = &bench->config,
        .replica = id,
        .service = &lks_null_service,
        .log_sink = &log,
        .on_reply = ignore_reply,
    };
    if (lks_assembly_init(&follower, &options, &err) != 0) {
        fprintf(stderr, "follower %u: %s\n", id, err.text);
        _exit(1);
    }
    for (;;) {
        const int work = lks_replica_step(follower.replica, lks_clock_monotonic_ns(),
                                          lks_clock_realtime_ns(), &err);
        if (work < 0) {
            fprintf(stderr, "follower %u: %s\n", id, err.text);
            _exit(1);
        }
        if (work == 0) {
            const struct timespec nap = {.tv_nsec = bench->options->rdma_address != NULL
                                                        ? RDMA_FOLLOWER_NAP_NS
                                                        : FOLLOWER_NAP_NS};
            (void)nanosleep(&nap, NULL);
        }
    }
}

static uint64_t ring_bytes_needed(const struct lks_bench_replicate_options *options)
{
    uint64_t commands = options->samples + WARM_UP + UINT64_C(1024);
    commands += (uint64_t)BATCHES * (options->batch_commands + batch_sizes[BATCHES - 1]);
    const uint64_t bytes = commands * lks_entry_span(options->size);
    const uint64_t with_reserve = bytes + bytes / 8 + (UINT64_C(8) << 20);
    return (with_reserve + (UINT64_C(2) << 20) - 1) & ~((UINT64_C(2) << 20) - 1);
}

/* A device that holds a journal is not made one again: its first page goes first. */
static int clear_device(const char *device, struct lks_error *err)
{
    const int fd = open(device, O_RDWR | O_CLOEXEC);
    void *head = fd >= 0 ? mmap(NULL, DEVICE_UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                         : MAP_FAILED;
    const int code = head != MAP_FAILED ? 0 : -errno;
    if (head != MAP_FAILED) {
        memset(head, 0, 4096);
        (void)munmap(head, DEVICE_UNIT);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return code == 0 ? 0
                     : lks_error_set(err, code, "--device %s: %s", device, lks_error_text(code));
}

/* A journal for each replica: a file of the benchmark's folder, or the device given for it. */
static int make_journal(struct bench *bench, uint32_t id, struct lks_error *err)
{
    struct lks_config *config = &bench->config;
    struct lks_config_replica *replica = &config->replicas[id];
    const char *device = bench->options->devices[id - 1];
    char file[LKS_CONFIG_PATH_MAX + 16];
    (void)snprintf(file, sizeof file, "%s/r%u.journal", bench->directory, id);
    if (strlen(device != NULL ? device : file) >= sizeof replica->journal) {
        return lks_error_set(err, -ENAMETOOLONG, "%s: too long", device != NULL ? device : file);
    }
    (void)strcpy(replica->journal, file);
    if (!lks_config_default_snapshots(replica)) {
        return lks_error_set(err, -ENAMETOOLONG, "%s: too long", bench->directory);
    }
    int rc = 0;
    if (device != NULL) {
        (void)strcpy(replica->journal, device);
        rc = clear_device(device, err);
    }
    struct lks_journal_options journal;
    lks_assembly_journal_options(config, id, &journal);
    return rc == 0 ? lks_journal_create(&journal, true, err) : rc;
}

static int use_rdma(struct bench *bench, struct lks_error *err)
{
    struct lks_config *config = &bench->config;
    const char *address = bench->options->rdma_address;
    config->fabric = LKS_CONFIG_FABRIC_RDMA;
    config->election_timeout_ns = RDMA_ELECTION_NS;
    if (getrandom(config->cluster_key, sizeof config->cluster_key, 0) !=
        (ssize_t)sizeof config->cluster_key) {
        return lks_error_set(err, -EIO, "no random bytes for the cluster's key");
    }
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        struct lks_config_replica *replica = &config->replicas[id];
        if (strlen(address) >= sizeof replica->rdma_address) {
            return lks_error_set(err, -ENAMETOOLONG, "%s: no numeric address", address);
        }
        (void)strcpy(replica->rdma_address, address);
        replica->rdma_port = (uint16_t)(RDMA_PORT + id);
    }
    return 0;
}

static int make_config(struct bench *bench, struct lks_error *err)
{
    const struct lks_bench_replicate_options *options = bench->options;
    (void)snprintf(bench->directory, sizeof bench->directory, "%s/lockstep-bench-XXXXXX",
                   options->directory);
    if (mkdtemp(bench->directory) == NULL) {
        return lks_error_set(err, -errno, "%s: no folder can be made there: %s",
                             options->directory, lks_error_text(-errno));
    }
    int rc = lks_guard_start(&bench->guard, bench->directory, err);
    struct lks_config *config = &bench->config;
    lks_config_defaults(config);
    (void)strcpy(config->name, "bench");
    for (size_t i = 0; i < sizeof config->cluster_id; i++) {
        config->cluster_id[i] = (uint8_t)(lks_clock_monotonic_ns() >> (i % 8));
    }
    (void)strcpy(config->directory, bench->directory);
    config->durability = options->durability;
    config->ring_bytes = options->ring_bytes != 0 ? options->ring_bytes
                                                  : ring_bytes_needed(options);
    config->entry_bytes_max =
        COMMAND_MAX < config->ring_bytes / 8 ? COMMAND_MAX : config->ring_bytes / 8;
    config->replicas_count = options->replicas;
    if (rc == 0 && options->rdma_address != NULL) {
        rc = use_rdma(bench, err);
    }
    for (uint32_t id = 1; id <= options->replicas && rc == 0; id++) {
        rc = make_journal(bench, id, err);
    }
    return rc;
}

static int step(struct bench *bench, struct lks_error *err)
{
    return lks_replica_step(bench->leader.replica, bench->now_ns,
                            bench->now_ns + (uint64_t)bench->realtime_offset_ns, err);
}

/* Until this process leads and every follower is granted and has applied everything. */
static int settle(struct bench *bench, struct lks_error *err)
{
    const uint64_t patience_ns =
        bench->options->rdma_address != NULL ? RDMA_START_PATIENCE_NS : START_PATIENCE_NS;
    const uint64_t until = lks_clock_monotonic_ns() + patience_ns;
    bench->realtime_offset_ns =
        (int64_t)lks_clock_realtime_ns() - (int64_t)lks_clock_monotonic_ns();
    while (bench->now_ns < until) {
        bench->now_ns = lks_clock_monotonic_ns();
        const int rc = step(bench, err);
        if (rc < 0) {
            return rc;
        }
        struct lks_replica_status status;
        lks_replica_status(bench->leader.replica, &status);
        uint32_t ready = status.role == LKS_ROLE_LEADER && status.serving ? 1 : 0;
        bench->followers_behind = 0;
        for (uint32_t id = 2; id <= bench->options->replicas; id++) {
            ready += status.peers[id].granted && status.peers[id].lag_bytes == 0 ? 1 : 0;
            if (status.peers[id].applied_index < status.applied_index) {
                bench->followers_behind += status.applied_index - status.peers[id].applied_index;
            }
        }
        if (ready == bench->options->replicas && bench->followers_behind == 0) {
            return 0;
        }
        const struct timespec nap = {.tv_nsec = FOLLOWER_NAP_NS};
        (void)nanosleep(&nap, NULL);
    }
    return lks_error_set(err, -ETIMEDOUT, "the cluster did not settle within %" PRIu64 " s",
                         patience_ns / LKS_NS_PER_S);
}

static int start(struct bench *bench, struct lks_error *err)
{
    const pid_t parent = getpid();
    for (uint32_t id = 2; id <= bench->options->replicas; id++) {
        bench->followers[id] = fork();
        if (bench->followers[id] < 0) {
            return lks_error_set(err, -errno, "no process for a follower: %s",
                                 lks_error_text(-errno));
        }
        if (bench->followers[id] == 0) {
            run_follower(bench, id, parent);
        }
    }
    static const struct lks_log log = {LKS_LOG_WARN, lks_log_to_stderr, NULL};
    const struct lks_assembly_options options = {
        .config = &bench->config,
        .replica = 1,
        .service = &lks_null_service,
        .log_sink = &log,
        .on_reply = count_reply,
        .ctx = bench,
    };
    const int rc = lks_assembly_init(&bench->leader, &options, err);
    if (rc == 0 && bench->options->durability == LKS_DURABILITY_PMEM_READ &&
        bench->leader.durability.durability != LKS_DURABILITY_PMEM_READ) {
        return lks_error_set(err, -ENOTSUP, "--durability pmem-read: not there: %s",
                             bench->leader.durability.reason);
    }
    return rc != 0 ? rc : settle(bench, err);
}

/* Hands over `count` commands and waits until all have been answered. */
static int run_batch(struct bench *bench, uint32_t count, struct lks_error *err)
{
    const uint64_t target = bench->answered + count;
    uint32_t submitted = 0;
    for (uint32_t turn = 1; bench->answered < target; turn++) {
        while (submitted < count) {
            const int rc = lks_replica_submit(bench->leader.replica, bench->command,
                                              bench->options->size, submitted);
            if (rc == -LKS_EBUSY) {
                break;
            }
            if (rc != 0) {
                return lks_error_set(err, rc, "a command was refused: %s", lks_error_text(rc));
            }
            submitted++;
        }
        const int rc = step(bench, err);
        if (rc < 0) {
            return rc;
        }
        if (bench->answered < target && turn % TURNS_BETWEEN_CLOCKS == 0) {
            bench->now_ns = lks_clock_monotonic_ns();
        }
    }
    return 0;
}

static int start_floor(struct bench *bench, struct lks_error *err)
{
    const bool durable = bench->leader.durability.durability != LKS_DURABILITY_MEMORY;
    return bench->options->rdma_address != NULL
               ? lks_rdma_floor_connect(&bench->rdma_floor, &bench->config, err)
               : lks_floor_init(&bench->floor, bench->directory, bench->options->replicas,
                                UINT64_C(64) << 20, durable, err);
}

/* What the floor takes for the bytes of one command's entry. */
static int run_floor(struct bench *bench, bool in_turn, uint64_t *taken_ns, struct lks_error *err)
{
    const uint64_t span = lks_entry_span(bench->options->size);
    if (bench->options->rdma_address != NULL) {
        return lks_rdma_floor_write(&bench->rdma_floor, (uint32_t)span, in_turn, taken_ns, err);
    }
    const uint64_t before = lks_clock_monotonic_ns();
    lks_floor_copy(&bench->floor, bench->command, span);
    *taken_ns = lks_clock_monotonic_ns() - before;
    return 0;
}

static int closed_loop(struct bench *bench, struct lks_error *err)
{
    uint64_t taken_ns = 0;
    int rc = 0;
    bench->timed = true;
    for (uint32_t i = 0; i < bench->warm_up && rc == 0; i++) {
        rc = run_batch(bench, 1, err);
        rc = rc == 0 ? run_floor(bench, false, &taken_ns, err) : rc;
    }
    const uint32_t block =
        bench->options->rdma_address != NULL ? RDMA_BLOCK_SAMPLES : BLOCK_SAMPLES;
    while (bench->samples.count < bench->options->samples && rc == 0) {
        for (uint32_t i = 0; i < block && rc == 0; i++) {
            bench->now_ns = lks_clock_monotonic_ns();
            const uint64_t before = bench->now_ns;
            rc = run_batch(bench, 1, err);
            lks_samples_add(&bench->samples, bench->answered_ns - before);
        }
        for (uint32_t i = 0; i < block && rc == 0; i++) {
            rc = run_floor(bench, false, &taken_ns, err);
            lks_samples_add(&bench->floor_samples, taken_ns);
        }
        for (uint32_t i = 0; i < block && rc == 0 && bench->options->rdma_address != NULL; i++) {
            rc = run_floor(bench, true, &taken_ns, err);
            lks_samples_add(&bench->turn_samples, taken_ns);
        }
    }
    return rc;
}

static int open_loop(struct bench *bench, struct lks_error *err)
{
    bench->timed = false;
    for (uint32_t b = 0; b < BATCHES; b++) {
        uint32_t done = 0;
        const uint64_t before = lks_clock_monotonic_ns();
        while (done < bench->options->batch_commands) {
            bench->now_ns = lks_clock_monotonic_ns();
            const int rc = run_batch(bench, batch_sizes[b], err);
            if (rc != 0) {
                return rc;
            }
            done += batch_sizes[b];
        }
        const uint64_t passed = lks_clock_monotonic_ns() - before;
        bench->batch_rate[b] = (double)done * 1e9 / (double)passed;
    }
    return 0;
}

/* Memory of this process that is its own: rings and areas are shared. */
static uint64_t private_bytes(void)
{
    unsigned long long total = 0;
    unsigned long long resident = 0;
    unsigned long long shared = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%llu %llu %llu", &total, &resident, &shared) != 3) {
        resident = shared = 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* How often the ring was written anew, and what that took. */
static void report_laps(const struct bench *bench, FILE *table)
{
    struct lks_replica_status status;
    lks_replica_status(bench->leader.replica, &status);
    fprintf(table,
            "ring: %" PRIu64 " bytes, written anew %" PRIu64 " times, %" PRIu64
            " snapshots; private memory %" PRIu64 " KiB after the closed loop, %" PRIu64
            " KiB at the end\n",
            status.ring_bytes, status.tail_offset / status.ring_bytes, status.snapshots.taken,
            bench->private_before >> 10, private_bytes() >> 10);
}

static void report(struct bench *bench)
{
    const struct lks_bench_replicate_options *options = bench->options;
    lks_samples_sort(&bench->samples);
    lks_samples_sort(&bench->floor_samples);
    lks_samples_sort(&bench->turn_samples);
    const uint64_t p50 = lks_samples_percentile(&bench->samples, 0.50);
    const uint64_t floor_p50 = lks_samples_percentile(&bench->floor_samples, 0.50);
    const char *durability = lks_durability_name(bench->leader.durability.durability);
    double best = 0;
    for (uint32_t b = 0; b < BATCHES; b++) {
        best = bench->batch_rate[b] > best ? bench->batch_rate[b] : best;
    }
    FILE *table = options->json ? stderr : stdout;
    const char *fabric = lks_config_fabric_name(bench->config.fabric);
    fprintf(table, "replicate: %u replicas, %u bytes, %s, %s; closed loop, %zu samples\n",
            options->replicas, options->size, durability, fabric, bench->samples.count);
    fprintf(table, "  %-9s %10s %10s %10s %10s\n", "ns", "p50", "p99", "p99.9", "max");
    fprintf(table, "  %-9s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n",
            "commit", p50,
            lks_samples_percentile(&bench->samples, 0.99),
            lks_samples_percentile(&bench->samples, 0.999), lks_samples_max(&bench->samples));
    fprintf(table, "  %-9s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n", "floor",
            floor_p50, lks_samples_percentile(&bench->floor_samples, 0.99),
            lks_samples_percentile(&bench->floor_samples, 0.999),
            lks_samples_max(&bench->floor_samples));
    if (bench->turn_samples.count != 0) {
        fprintf(table, "  %-9s %10" PRIu64 " (one peer after the other)\n", "floor",
                lks_samples_percentile(&bench->turn_samples, 0.50));
    }
    fprintf(table, "  commit / floor at p50: %.2f\nopen loop: commands/s by batch\n",
            (double)p50 / (double)(floor_p50 != 0 ? floor_p50 : 1));
    for (uint32_t b = 0; b < BATCHES; b++) {
        fprintf(table, "  %5u  %10.0f\n", batch_sizes[b], bench->batch_rate[b]);
    }
    report_laps(bench, table);
    if (options->json) {
        printf("{\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"p999_ns\":%" PRIu64
               ",\"max_ns\":%" PRIu64 ",\"floor_p50_ns\":%" PRIu64
               ",\"floor_in_turn_p50_ns\":%" PRIu64
               ",\"ops_per_s\":%.0f,\"samples\":%zu,\"durability\":\"%s\",\"fabric\":\"%s\","
               "\"replicas\":%u,\"size\":%u,\"commit\":\"%s\"}\n",
               p50, lks_samples_percentile(&bench->samples, 0.99),
               lks_samples_percentile(&bench->samples, 0.999), lks_samples_max(&bench->samples),
               floor_p50, lks_samples_percentile(&bench->turn_samples, 0.50), best,
               bench->samples.count, durability, fabric, options->replicas, options->size,
               LKS_COMMIT);
    }
}

static void clean_up(struct bench *bench)
{
    lks_assembly_fini(&bench->leader, false);
    for (uint32_t id = 1; id <= bench->options->replicas; id++) {
        if (bench->followers[id] > 0) {
            (void)kill(bench->followers[id], SIGKILL);
            (void)waitpid(bench->followers[id], NULL, 0);
        }
        if (bench->config.replicas[id].journal[0] != '\0') {
            if (bench->options->devices[id - 1] == NULL) {
                (void)unlink(bench->config.replicas[id].journal);
            }
            (void)unlink(bench->config.replicas[id].snapshots);
        }
        char socket[LKS_CONFIG_PATH_MAX + 16];
        (void)snprintf(socket, sizeof socket, "%s/r%u.sock", bench->directory, id);
        (void)unlink(socket);
        (void)snprintf(socket, sizeof socket, "%s/r%u.lock", bench->directory, id);
        (void)unlink(socket);
    }
    lks_floor_fini(&bench->floor);
    lks_rdma_floor_fini(&bench->rdma_floor);
    (void)rmdir(bench->directory);
    lks_guard_dismiss(&bench->guard);
    lks_samples_fini(&bench->samples);
    lks_samples_fini(&bench->floor_samples);
    lks_samples_fini(&bench->turn_samples);
}

int lks_bench_replicate(const struct lks_bench_replicate_options *options, struct lks_error *err)
{
    if (options->size == 0 || options->size > COMMAND_MAX) {
        return lks_error_set(err, -EINVAL, "--size %u: must be 1 to %u bytes", options->size,
                             COMMAND_MAX);
    }
    if (options->ring_bytes != 0 && options->size > options->ring_bytes / 8) {
        return lks_error_set(err, -EINVAL, "--size %u: at most an eighth of the ring",
                             options->size);
    }
    struct bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the benchmark");
    }
    bench->options = options;
    bench->warm_up = options->rdma_address != NULL ? RDMA_WARM_UP : WARM_UP;
    memset(bench->command, 'x', sizeof bench->command);
    int rc = lks_samples_init(&bench->samples, options->samples);
    if (rc == 0) {
        rc = lks_samples_init(&bench->floor_samples, options->samples);
    }
    if (rc == 0) {
        rc = lks_samples_init(&bench->turn_samples, options->samples);
    }
    if (rc == 0) {
        rc = make_config(bench, err);
    }
    if (rc == 0 && options->rdma_address != NULL) {
        /* Its processes begin before this one has opened a device. */
        rc = lks_rdma_floor_init(&bench->rdma_floor, &bench->config,
                                 options->durability == LKS_DURABILITY_PMEM_READ, err);
    }
    if (rc == 0) {
        rc = start(bench, err);
    }
    if (rc == 0) {
        rc = start_floor(bench, err);
    }
    if (rc == 0) {
        rc = closed_loop(bench, err);
    }
    if (rc == 0) {
        bench->private_before = private_bytes();
        rc = open_loop(bench, err);
    }
    if (rc == 0) {
        rc = settle(bench, err); /* every follower has applied every command */
    }
    if (rc == 0) {
        report(bench);
    }
    clean_up(bench);
    free(bench);
    return rc;
}
