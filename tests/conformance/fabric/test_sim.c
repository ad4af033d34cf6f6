/*
 * The simulated fabric under the conformance suite: the same cases, each in a world of its own
 * seed, under virtual time. `test_sim N` runs the suite N times over other seeds.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/fabric.h"
#include "tests/conformance/fabric/suite.h"

#define ROUNDS 20ul
#define YEAR_NS (UINT64_C(365) * 24 * 3600 * 1000000000)

struct world {
    struct lks_sim_timeline *timeline;
    struct lks_sim_network *network;
    struct {
        struct lks_fabric *fabric;
        int fd;
        uint8_t *log;
        int snapshots_fd; /* can only be read */
        uint8_t *snapshots;
    } replicas[SUITE_REPLICAS + 1];
};

static uint64_t g_seed;

static void world_free(void *ctx)
{
    struct world *world = ctx;
    lks_sim_network_free(world->network);
    lks_sim_timeline_free(world->timeline);
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        if (world->replicas[replica].log != NULL) {
            (void)munmap(world->replicas[replica].log, SUITE_LOG_BYTES);
            (void)close(world->replicas[replica].fd);
        }
        if (world->replicas[replica].snapshots != NULL) {
            (void)munmap(world->replicas[replica].snapshots, SUITE_SNAPSHOTS_BYTES);
            (void)close(world->replicas[replica].snapshots_fd);
        }
    }
    free(world);
}

/* A file that its owner writes by a mapping, and a descriptor of it that can only be read. */
static bool make_snapshots(struct world *world, uint32_t replica)
{
    char path[64];
    const int fd = memfd_create("snapshots", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)SUITE_SNAPSHOTS_BYTES) != 0) {
        return false;
    }
    void *mapped = mmap(NULL, SUITE_SNAPSHOTS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    world->replicas[replica].snapshots_fd = open(path, O_RDONLY | O_CLOEXEC);
    world->replicas[replica].snapshots = mapped != MAP_FAILED ? mapped : NULL;
    (void)close(fd);
    return mapped != MAP_FAILED && world->replicas[replica].snapshots_fd >= 0;
}

static void *world_new(void)
{
    struct world *world = calloc(1, sizeof *world);
    struct lks_sim_random random;
    if (world == NULL) {
        return NULL;
    }
    lks_sim_random_init(&random, g_seed++);
    world->timeline = lks_sim_timeline_new(1);
    struct lks_sim_network_options options = {
        .replicas = SUITE_REPLICAS, .timeline = world->timeline, .random = &random};
    lks_sim_network_profile_default(&options.profile);
    options.profile.death_known_ppm = 1000000;
    world->network = lks_sim_network_new(&options);
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        const int fd = memfd_create("log", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t)SUITE_LOG_BYTES) != 0) {
            world_free(world);
            return NULL;
        }
        world->replicas[replica].fd = fd;
        world->replicas[replica].log =
            mmap(NULL, SUITE_LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (replica != 3 && !make_snapshots(world, replica)) {
            world_free(world);
            return NULL;
        }
    }
    return world;
}

static struct lks_fabric *start(void *ctx, uint32_t replica, uint64_t incarnation,
                                const uint8_t hello[LKS_FABRIC_HELLO_BYTES])
{
    struct world *world = ctx;
    struct lks_error err = {0};
    struct lks_fabric_options options = {
        .replica = replica,
        .replicas = SUITE_REPLICAS,
        .cluster_id = "conformance",
        .incarnation = incarnation,
        .log = {.address = world->replicas[replica].log,
                .bytes = SUITE_LOG_BYTES,
                .fd = world->replicas[replica].fd},
        .words_bytes = SUITE_WORDS_BYTES,
        .inbox_bytes = SUITE_INBOX_BYTES,
        .scratch_bytes = SUITE_SCRATCH_BYTES,
        .outstanding_max = SUITE_OUTSTANDING_MAX,
    };
    if (replica != 3) {
        options.snapshots =
            (struct lks_fabric_memory){.address = world->replicas[replica].snapshots,
                                       .bytes = SUITE_SNAPSHOTS_BYTES,
                                       .fd = world->replicas[replica].snapshots_fd};
    }
    for (unsigned i = 0; i < LKS_FABRIC_HELLO_BYTES; i++) {
        options.hello[i] = hello[i];
    }
    if (lks_fabric_sim_new(&world->replicas[replica].fabric, world->network, &options, &err) !=
        0) {
        (void)fprintf(stderr, "r%u: %s\n", replica, err.text);
        return NULL;
    }
    return world->replicas[replica].fabric;
}

static void stop(void *ctx, uint32_t replica)
{
    struct world *world = ctx;
    lks_fabric_free(world->replicas[replica].fabric);
    world->replicas[replica].fabric = NULL;
}

static uint8_t *log_of(void *ctx, uint32_t replica)
{
    const struct world *world = ctx;
    return world->replicas[replica].log;
}

static uint8_t *snapshots_of(void *ctx, uint32_t replica)
{
    const struct world *world = ctx;
    return world->replicas[replica].snapshots;
}

static void idle(void *ctx)
{
    struct world *world = ctx;
    /* The next thing that happens, or nothing for a moment. */
    const uint64_t limit_ns = lks_sim_timeline_now(world->timeline) + 10000000;
    if (limit_ns < YEAR_NS) {
        (void)lks_sim_timeline_step(world->timeline, limit_ns);
    }
}

static bool readable(void *ctx, struct lks_fabric *fabric)
{
    (void)ctx;
    struct pollfd wanted = {.fd = lks_fabric_wake_fd(fabric), .events = POLLIN};
    return poll(&wanted, 1, 0) == 1;
}

int main(int argc, char **argv)
{
    static const struct suite_backend sim = {
        .name = "sim",
        .world_new = world_new,
        .world_free = world_free,
        .start = start,
        .crash = stop,
        .stop = stop,
        .log = log_of,
        .snapshots = snapshots_of,
        .idle = idle,
        .readable = readable,
    };
    const unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : ROUNDS;
    int failed = 0;
    for (unsigned long round = 0; round < rounds && failed == 0; round++) {
        g_seed = round * 1000;
        failed = suite_run(&sim);
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
