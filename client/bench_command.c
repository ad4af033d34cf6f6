/*
 * `lockstep bench` and the name of a benchmark: the figures of docs/performance.md, on
 * the machine at hand. Main thread; prints for people, or with --json one object on the last line.
 */
#include "base/assert.h"
#include "bench/permission.h"
#include "bench/replicate.h"
#include "client/bench_clients.h"
#include "client/bench_endurance.h"
#include "client/bench_execution.h"
#include "client/bench_failover.h"
#include "client/bench_recovery.h"
#include "client/cluster_options.h"
#include "client/command.h"

#include <argp.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FAILOVER_PORT 17101u
#define RECOVERY_PORT 17201u
#define ENDURANCE_PORT 17301u
#define CLIENT_PORT 17401u
#define EXECUTION_PORT 17501u
#define RECOVERY_VALUE_BYTES 1024u
#define STATE_BYTES_MIN (UINT64_C(1) << 20)
#define STATE_BYTES_MAX (UINT64_C(1) << 40)

enum { KEY_RATE = 0x100, KEY_SCHEDULER };

/* Rows of argp's that several benchmarks have. */
#define OPTION_JSON \
    {"json", 'j', NULL, 0, "One JSON object on the last line", 0}
#define OPTION_DIRECTORY \
    {"dir", 'd', "D", 0, "Where folders of clusters are made (default /dev/shm)", 0}
#define OPTION_ELECTION_TIMEOUT \
    {"election-timeout", 'E', "TIME", 0, \
     "Of the replicas (default 25ms; over software RDMA 500ms)", 0}
#define OPTION_REPLICAS \
    {"replicas", 'n', "N", 0, "1, 3, 5 or 7 (default 3)", 0}

struct bench_options {
    uint32_t replicas;
    uint32_t size;
    uint32_t samples;
    uint32_t commands;
    uint32_t rounds;
    uint32_t laps;
    uint32_t keys;
    uint32_t pipelined;
    uint32_t rate;
    uint32_t spin_us;
    uint32_t workers;
    uint32_t stretch_ms;
    uint32_t port;
    uint64_t ring_bytes;
    uint64_t election_timeout_ns;
    uint64_t state_bytes;
    bool stop;
    bool json;
    enum lks_durability durability;
    const char *directory;
    const char *load;
    const char *scheduler;
    bool rdma;
    const char *address;
    const char *devices[LKS_REPLICAS_MAX];
    uint32_t devices_count;
};

/* The options that are plain numbers, of 32 bits each. */
static const struct {
    int key;
    const char *name;
    uint64_t min;
    uint64_t max;
    size_t at;
} numbers[] = {
    {'s', "size", 1, 256u << 10, offsetof(struct bench_options, size)},
    {'S', "samples", 1000, 10000000, offsetof(struct bench_options, samples)},
    {'C', "commands", 1000, 10000000, offsetof(struct bench_options, commands)},
    {'r', "rounds", 1, 100000, offsetof(struct bench_options, rounds)},
    {'l', "laps", 1, 1000000, offsetof(struct bench_options, laps)},
    {'k', "keys", 1, 100000000, offsetof(struct bench_options, keys)},
    {'P', "pipeline", 1, 256, offsetof(struct bench_options, pipelined)},
    {'w', "workers", 1, 63, offsetof(struct bench_options, workers)},
    {'t', "time", 10, 60000, offsetof(struct bench_options, stretch_ms)},
    {'u', "spin", 0, 1000000, offsetof(struct bench_options, spin_us)},
    {KEY_RATE, "rate", 1, 100000000, offsetof(struct bench_options, rate)},
    {'p', "port", 1, 65528, offsetof(struct bench_options, port)},
};

static error_t parse_number(int key, const char *argument, struct argp_state *state)
{
    for (size_t i = 0; i < LKS_COUNT_OF(numbers); i++) {
        if (numbers[i].key == key) {
            const uint32_t value = (uint32_t)lks_cluster_number(
                state, numbers[i].name, argument, numbers[i].min, numbers[i].max);
            memcpy((char *)state->input + numbers[i].at, &value, sizeof value);
            return 0;
        }
    }
    return ARGP_ERR_UNKNOWN;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct bench_options *options = state->input;
    switch (key) {
    case 'n':
        options->replicas = (uint32_t)lks_cluster_number(state, "replicas", argument, 1, 7);
        if (options->replicas % 2 == 0) {
            argp_error(state, "--replicas %s: must be 1, 3, 5 or 7", argument);
        }
        return 0;
    case 'g':
        if (strcmp(argument, "KILL") != 0 && strcmp(argument, "STOP") != 0) {
            argp_error(state, "--signal %s: must be KILL or STOP", argument);
        }
        options->stop = strcmp(argument, "STOP") == 0;
        return 0;
    case 'L':
        options->load = argument;
        return 0;
    case KEY_SCHEDULER:
        options->scheduler = argument;
        return 0;
    case 'D':
        if (lks_durability_parse(argument, &options->durability) != 0) {
            argp_error(state, "--durability %s: must be memory, writer-flush, pmem-ack or "
                              "pmem-read", argument);
        }
        return 0;
    case 'R':
        if (lks_value_size(argument, &options->ring_bytes) != 0 ||
            options->ring_bytes < LKS_JOURNAL_RING_MIN || options->ring_bytes % 4096 != 0) {
            argp_error(state, "--ring %s: must be a size such as 16M, at least 64K and a multiple "
                              "of 4096 bytes", argument);
        }
        return 0;
    case 'T':
        if (lks_value_size(argument, &options->state_bytes) != 0 ||
            options->state_bytes < STATE_BYTES_MIN || options->state_bytes > STATE_BYTES_MAX) {
            argp_error(state, "--state %s: must be a size from 1M to 1024G", argument);
        }
        return 0;
    case 'f':
        if (strcmp(argument, "shm") != 0 && strcmp(argument, "rdma") != 0) {
            argp_error(state, "--fabric %s: must be shm or rdma", argument);
        }
        options->rdma = strcmp(argument, "rdma") == 0;
        return 0;
    case 'a':
        options->address = argument;
        return 0;
    case 'E':
        options->election_timeout_ns = lks_cluster_election_timeout(state, argument);
        return 0;
    case 'J':
        if (options->devices_count == LKS_REPLICAS_MAX) {
            argp_error(state, "--device %s: more than %u", argument, LKS_REPLICAS_MAX);
        }
        options->devices[options->devices_count] = argument;
        options->devices_count++;
        return 0;
    case 'd':
        options->directory = argument;
        return 0;
    case 'j':
        options->json = true;
        return 0;
    default:
        return parse_number(key, argument, state);
    }
}

static int finish(const char *name, int rc, const struct lks_error *err)
{
    if (rc != 0) {
        fprintf(stderr, "lockstep bench %s: %s\n", name,
                err->text[0] != '\0' ? err->text : lks_error_text(rc));
    }
    return rc == 0 ? LKS_EXIT_OK : LKS_EXIT_FAILURE;
}

static int replicate_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        OPTION_REPLICAS,
        {"size", 's', "BYTES", 0, "Of a command (default 64)", 0},
        {"durability", 'D', "MODE", 0, "memory, writer-flush, pmem-ack or pmem-read (default "
         "writer-flush; with --fabric rdma memory)", 0},
        {"fabric", 'f', "NAME", 0, "shm or rdma (default shm)", 0},
        {"address", 'a', "A", 0, "rdma: numeric address of the RDMA device", 0},
        {"device", 'J', "PATH", 0, "Device DAX for a journal, once for each replica; what it holds "
         "is lost", 0},
        {"samples", 'S', "N", 0, "Of the closed loop (default 200000)", 0},
        {"commands", 'C', "N", 0, "For each batch size of the open loop (default 500000)", 0},
        {"ring", 'R', "SIZE", 0, "Of the log, to be written anew meanwhile (default: holds all)",
         0},
        {"dir", 'd', "D", 0, "Where the journals are made (default /dev/shm)", 0},
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Time from handing a command to the leader until it is committed and executed "
               "there, beside the raw floor of the same run.",
    };
    struct bench_options options = {.replicas = 3,
                                    .size = 64,
                                    .samples = 200000,
                                    .commands = 500000,
                                    .durability = LKS_DURABILITY_AUTO,
                                    .directory = "/dev/shm"};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    struct lks_error err = {0};
    if (options.rdma != (options.address != NULL)) {
        (void)lks_error_set(&err, -EINVAL, options.rdma
                                ? "--fabric rdma: give the device's address with --address"
                                : "--address: is for --fabric rdma only");
        return finish("replicate", -EINVAL, &err);
    }
    if (options.devices_count != 0 && options.devices_count != options.replicas) {
        (void)lks_error_set(&err, -EINVAL, "--device: given %u times, but there are %u replicas",
                            options.devices_count, options.replicas);
        return finish("replicate", -EINVAL, &err);
    }
    if (options.durability == LKS_DURABILITY_AUTO) {
        options.durability = options.rdma ? LKS_DURABILITY_MEMORY : LKS_DURABILITY_WRITER_FLUSH;
    }
    struct lks_bench_replicate_options bench = {
        .replicas = options.replicas,
        .size = options.size,
        .durability = options.durability,
        .samples = options.samples,
        .batch_commands = options.commands,
        .ring_bytes = options.ring_bytes,
        .directory = options.directory,
        .rdma_address = options.address,
        .json = options.json,
    };
    memcpy(bench.devices, options.devices, sizeof bench.devices);
    return finish("replicate", lks_bench_replicate(&bench, &err), &err);
}

static int failover_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"replicas", 'n', "N", 0, "3, 5 or 7 (default 3)", 0},
        {"rounds", 'r', "N", 0, "Leaders to lose (default 50)", 0},
        {"signal", 'g', "KILL|STOP", 0, "How (default KILL)", 0},
        {"fabric", 'f', "NAME", 0, "shm or rdma (default shm)", 0},
        {"address", 'a', "A", 0, "rdma: numeric address of the RDMA device (default: of the first)",
         0},
        OPTION_ELECTION_TIMEOUT,
        {"ring", 'R', "SIZE", 0, "Of the log (default 64M)", 0},
        {"port", 'p', "P", 0, "First client port (default 17101)", 0},
        OPTION_DIRECTORY,
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Time from killing or stopping the leader to the first write that another replica "
               "acknowledges.",
    };
    struct bench_options options = {
        .replicas = 3, .rounds = 50, .port = FAILOVER_PORT, .directory = "/dev/shm"};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    const struct lks_bench_failover_options bench = {
        .replicas = options.replicas,
        .rounds = options.rounds,
        .port = (uint16_t)options.port,
        .stop = options.stop,
        .directory = options.directory,
        .ring_bytes = options.ring_bytes,
        .election_timeout_ns = options.election_timeout_ns,
        .rdma = options.rdma,
        .address = options.address,
        .json = options.json,
    };
    struct lks_error err = {0};
    if (options.address != NULL && !options.rdma) {
        (void)lks_error_set(&err, -EINVAL, "--address: is for --fabric rdma only");
        return finish("failover", -EINVAL, &err);
    }
    if (options.replicas == 1) {
        (void)lks_error_set(&err, -EINVAL, "--replicas 1: nobody could take over");
        return finish("failover", -EINVAL, &err);
    }
    return finish("failover", lks_bench_failover(&bench, &err), &err);
}

static int recovery_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"state", 'T', "SIZE", 0, "Of keys and values (default 1G)", 0},
        {"size", 's', "BYTES", 0, "Of a value (default 1024)", 0},
        {"replicas", 'n', "N", 0, "1, 3, 5 or 7, each with all of it (default 1)", 0},
        {"ring", 'R', "SIZE", 0, "Of the log (default 64M)", 0},
        {"port", 'p', "P", 0, "First client port (default 17201)", 0},
        OPTION_DIRECTORY,
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Time from the restart of a filled cluster that was killed until it serves a "
               "command, and until all replicas serve everything.",
    };
    struct bench_options options = {.replicas = 1,
                                    .size = RECOVERY_VALUE_BYTES,
                                    .state_bytes = UINT64_C(1) << 30,
                                    .ring_bytes = UINT64_C(64) << 20,
                                    .port = RECOVERY_PORT,
                                    .directory = "/dev/shm"};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    const struct lks_bench_recovery_options bench = {
        .replicas = options.replicas,
        .state_bytes = options.state_bytes,
        .value_bytes = options.size,
        .ring_bytes = options.ring_bytes,
        .port = (uint16_t)options.port,
        .directory = options.directory,
        .json = options.json,
    };
    struct lks_error err = {0};
    return finish("recovery", lks_bench_recovery(&bench, &err), &err);
}

static int endurance_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"ring", 'R', "SIZE", 0, "Of the log (default 16M)", 0},
        {"laps", 'l', "N", 0, "Lengths of the ring to write (default 100)", 0},
        {"keys", 'k', "N", 0, "Different ones (default 50000)", 0},
        {"size", 's', "BYTES", 0, "Of a value (default 64)", 0},
        {"pipeline", 'P', "N", 0, "Commands in flight at each replica (default 32)", 0},
        {"rate", KEY_RATE, "N", 0, "Commands a second in all (default: as fast as they go)", 0},
        OPTION_REPLICAS,
        {"port", 'p', "P", 0, "First client port (default 17301)", 0},
        OPTION_DIRECTORY,
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "A load without end, shortened: memory at start, middle and end, and the time of "
               "a write, while snapshots recycle the ring.",
    };
    struct bench_options options = {.replicas = 3,
                                    .size = 64,
                                    .laps = 100,
                                    .keys = 50000,
                                    .pipelined = 32,
                                    .ring_bytes = UINT64_C(16) << 20,
                                    .port = ENDURANCE_PORT,
                                    .directory = "/dev/shm"};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    const struct lks_bench_endurance_options bench = {
        .replicas = options.replicas,
        .ring_bytes = options.ring_bytes,
        .laps = options.laps,
        .keys = options.keys,
        .value_bytes = options.size,
        .pipelined = options.pipelined,
        .rate = options.rate,
        .port = (uint16_t)options.port,
        .directory = options.directory,
        .json = options.json,
    };
    struct lks_error err = {0};
    return finish("endurance", lks_bench_endurance(&bench, &err), &err);
}

static int client_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"samples", 'S', "N", 0, "Of each loop (default 50000)", 0},
        {"size", 's', "BYTES", 0, "Of a value (default 64)", 0},
        {"pipeline", 'P', "N", 0, "Calls outstanding in the second loops, up to 64 (default 16)",
         0},
        {"fabric", 'f', "NAME", 0, "shm or rdma (default shm)", 0},
        {"address", 'a', "A", 0, "rdma: numeric address of the RDMA device (default: of the first)",
         0},
        {"spin", 'u', "US", 0, "The fabric's client looks so long before it sleeps (default 0)", 0},
        OPTION_ELECTION_TIMEOUT,
        OPTION_REPLICAS,
        {"port", 'p', "P", 0, "First client port (default 17401)", 0},
        OPTION_DIRECTORY,
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Time from giving a command to its answer, for one client of the leader, over TCP "
               "and over the fabric in one run.",
    };
    struct bench_options options = {.replicas = 3,
                                    .size = 64,
                                    .samples = 50000,
                                    .pipelined = 16,
                                    .port = CLIENT_PORT,
                                    .directory = "/dev/shm"};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    const struct lks_bench_clients_options bench = {
        .replicas = options.replicas,
        .value_bytes = options.size,
        .samples = options.samples,
        .outstanding = options.pipelined,
        .spin_us = options.spin_us,
        .port = (uint16_t)options.port,
        .election_timeout_ns = options.election_timeout_ns,
        .directory = options.directory,
        .rdma = options.rdma,
        .address = options.address,
        .json = options.json,
    };
    struct lks_error err = {0};
    if (options.address != NULL && !options.rdma) {
        (void)lks_error_set(&err, -EINVAL, "--address: is for --fabric rdma only");
        return finish("client", -EINVAL, &err);
    }
    if (options.pipelined > 64) {
        (void)lks_error_set(&err, -EINVAL, "--pipeline %u: a session has at most 64 calls "
                                           "outstanding", options.pipelined);
        return finish("client", -EINVAL, &err);
    }
    return finish("client", lks_bench_clients(&bench, &err), &err);
}

static int execution_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"workers", 'w', "N", 0, "Of each replica (default 2)", 0},
        {"rounds", 'r', "N", 0, "Of all loads and schedulers (default 5)", 0},
        {"time", 't', "MS", 0, "Of one measurement (default 500)", 0},
        {"load", 'L', "NAME", 0, "Only this one: set, \"burn 1 us\", ... (default all)", 0},
        {"scheduler", KEY_SCHEDULER, "NAME", 0,
         "Only this one: sequential, early, late or adaptive (default all)", 0},
        {"keys", 'k', "N", 0, "Different ones, taken evenly (default 10000)", 0},
        OPTION_REPLICAS,
        {"port", 'p', "P", 0, "First client port (default 17501)", 0},
        OPTION_DIRECTORY,
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Throughput of cheap (SET) and expensive commands (DEBUG BURN of 1, 5, 50 us) with "
               "each scheduler, in turns with a cluster that has no workers.",
    };
    struct bench_options options = {.replicas = 3,
                                    .workers = 2,
                                    .rounds = 5,
                                    .stretch_ms = 500,
                                    .keys = 10000,
                                    .port = EXECUTION_PORT,
                                    .directory = "/dev/shm"};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    const struct lks_bench_execution_options bench = {
        .replicas = options.replicas,
        .workers = options.workers,
        .rounds = options.rounds,
        .stretch_ms = options.stretch_ms,
        .load = options.load,
        .scheduler = options.scheduler,
        .keys = options.keys,
        .port = (uint16_t)options.port,
        .directory = options.directory,
        .json = options.json,
    };
    struct lks_error err = {0};
    return finish("execution", lks_bench_execution(&bench, &err), &err);
}

static int permission_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"address", 'a', "A", 0, "Numeric address of the RDMA device", 0},
        {"ring", 'R', "SIZE", 0, "Of the log (default 64M)", 0},
        {"rounds", 'r', "N", 0, "Times to give and take it (default 200)", 0},
        OPTION_JSON,
        {0},
    };
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .doc = "Time that giving write permission on a log and taking it away takes on an RDMA "
               "device, by step and by mechanism.",
    };
    struct bench_options options = {.rounds = 200, .ring_bytes = UINT64_C(64) << 20};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    const struct lks_bench_permission_options bench = {
        .address = options.address,
        .ring_bytes = options.ring_bytes,
        .rounds = options.rounds,
        .json = options.json,
    };
    struct lks_error err = {0};
    if (options.address == NULL) {
        (void)lks_error_set(&err, -EINVAL, "give the RDMA device's address with --address");
        return finish("permission", -EINVAL, &err);
    }
    return finish("permission", lks_bench_permission(&bench, &err), &err);
}

int lks_bench_command(int argc, char **argv)
{
    static const char help[] =
        "Usage: lockstep bench BENCHMARK [OPTION...]\n"
        "  replicate  propose-to-commit time and throughput inside the leader's process\n"
        "  client     a client of the leader, over TCP and over the fabric\n"
        "  failover   from the loss of the leader to the next acknowledged write\n"
        "  recovery   from the start of a filled cluster until it serves\n"
        "  endurance  a ring written many times over: memory and latency under snapshots\n"
        "  execution  cheap and expensive commands with each scheduler\n"
        "  permission giving and taking write permission on an RDMA device\n"
        "Each has --help. Exit codes: 0 measured; 1 failed; 2 wrong arguments.\n";
    static const struct {
        const char *word;
        const char *name;
        int (*run)(int argc, char **argv);
    } benches[] = {
        {"replicate", "lockstep bench replicate", replicate_command},
        {"client", "lockstep bench client", client_command},
        {"failover", "lockstep bench failover", failover_command},
        {"recovery", "lockstep bench recovery", recovery_command},
        {"permission", "lockstep bench permission", permission_command},
        {"endurance", "lockstep bench endurance", endurance_command},
        {"execution", "lockstep bench execution", execution_command},
    };
    for (size_t i = 0; argc >= 2 && i < LKS_COUNT_OF(benches); i++) {
        if (strcmp(argv[1], benches[i].word) == 0) {
            char name[32];
            (void)snprintf(name, sizeof name, "%s", benches[i].name);
            argv[1] = name;
            return benches[i].run(argc - 1, argv + 1);
        }
    }
    const bool asked = argc >= 2 && strcmp(argv[1], "--help") == 0;
    fputs(help, asked ? stdout : stderr);
    return asked ? LKS_EXIT_OK : LKS_EXIT_USAGE;
}
