/*
 * The RDMA backend under the conformance suite: three fabrics of one process over one device, whose
 * address LKS_TEST_RDMA_ADDRESS names (soft-roce/lab sets it in its guests). Without it the test
 * says so and is skipped. What needs real processes is in tests/unit/verbs.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/conformance/fabric/suite.h"
#include "verbs/rdma.h"

#define FIRST_PORT 18500u
#define SKIPPED 77
#define IDLE_NS 50000L
#define SETTLE_ROUNDS 600u /* with that pause each: at least 30 ms */

struct world {
    struct lks_log log_sink;
    struct {
        struct lks_fabric *fabric;
        uint8_t *log;
        uint8_t *snapshots;
    } replicas[SUITE_REPLICAS + 1];
};

static const char *g_address;

static void world_free(void *ctx)
{
    struct world *world = ctx;
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        if (world->replicas[replica].log != NULL) {
            (void)munmap(world->replicas[replica].log, SUITE_LOG_BYTES);
        }
        if (world->replicas[replica].snapshots != NULL) {
            (void)munmap(world->replicas[replica].snapshots, SUITE_SNAPSHOTS_BYTES);
        }
    }
    free(world);
}

static uint8_t *map_shared(size_t bytes)
{
    void *mapped =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return mapped != MAP_FAILED ? mapped : NULL;
}

static void *world_new(void)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        return NULL;
    }
    if (getenv("LKS_TEST_LOG") != NULL) {
        world->log_sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = lks_log_to_stderr};
    }
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        world->replicas[replica].log = map_shared(SUITE_LOG_BYTES);
        if (replica != 3) {
            world->replicas[replica].snapshots = map_shared(SUITE_SNAPSHOTS_BYTES);
        }
        if (world->replicas[replica].log == NULL ||
            (replica != 3 && world->replicas[replica].snapshots == NULL)) {
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
        .log = {.address = world->replicas[replica].log, .bytes = SUITE_LOG_BYTES, .fd = -1},
        .words_bytes = SUITE_WORDS_BYTES,
        .inbox_bytes = SUITE_INBOX_BYTES,
        .scratch_bytes = SUITE_SCRATCH_BYTES,
        .outstanding_max = SUITE_OUTSTANDING_MAX,
        .shared_process = true,
        .log_sink = &world->log_sink,
    };
    struct lks_rdma_options rdma = {.cluster_key = "of the conformance suite"};
    if (replica != 3) {
        options.snapshots =
            (struct lks_fabric_memory){.address = world->replicas[replica].snapshots,
                                       .bytes = SUITE_SNAPSHOTS_BYTES,
                                       .fd = -1};
    }
    for (uint32_t id = 1; id <= SUITE_REPLICAS; id++) {
        (void)snprintf(rdma.places[id].address, sizeof rdma.places[id].address, "%s", g_address);
        rdma.places[id].port = (uint16_t)(FIRST_PORT + id);
    }
    for (unsigned i = 0; i < LKS_FABRIC_HELLO_BYTES; i++) {
        options.hello[i] = hello[i];
    }
    if (lks_fabric_rdma_new(&world->replicas[replica].fabric, &options, &rdma, &err) != 0) {
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
    (void)ctx;
    /* The kernel's part of a software device needs a processor too. */
    const struct timespec moment = {.tv_nsec = IDLE_NS};
    (void)ppoll(NULL, 0, &moment, NULL);
}

static bool readable(void *ctx, struct lks_fabric *fabric)
{
    (void)ctx;
    struct pollfd wanted = {.fd = lks_fabric_wake_fd(fabric), .events = POLLIN};
    return poll(&wanted, 1, 0) == 1;
}

int main(void)
{
    static const struct suite_backend backend = {
        .name = "rdma",
        .world_new = world_new,
        .world_free = world_free,
        .start = start,
        .crash = stop, /* one process: that nobody listens any more is what tells of a crash */
        .stop = stop,
        .log = log_of,
        .snapshots = snapshots_of,
        .idle = idle,
        .settle_rounds = SETTLE_ROUNDS,
        .readable = readable,
    };
    g_address = getenv("LKS_TEST_RDMA_ADDRESS");
    if (g_address == NULL) {
        (void)printf("SKIP: no RDMA device: LKS_TEST_RDMA_ADDRESS names no address of one\n");
        return SKIPPED;
    }
    return suite_run(&backend) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
