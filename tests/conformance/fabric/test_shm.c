/*
 * The shm backend under the conformance suite: three fabrics of one process, their log memories in
 * memfds. What needs real processes is in tests/unit/verbs.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/conformance/fabric/suite.h"
#include "tests/support/scratch.h"

struct world {
    char directory[64];
    struct lks_log log_sink;
    struct {
        struct lks_fabric *fabric;
        int fd;
        uint8_t *log;
        int snapshots_fd; /* can only be read */
        uint8_t *snapshots;
    } replicas[SUITE_REPLICAS + 1];
};

static void world_free(void *ctx)
{
    struct world *world = ctx;
    char path[96];
    for (uint32_t replica = 1; replica <= SUITE_REPLICAS; replica++) {
        if (world->replicas[replica].log != NULL) {
            (void)munmap(world->replicas[replica].log, SUITE_LOG_BYTES);
            (void)close(world->replicas[replica].fd);
        }
        if (world->replicas[replica].snapshots != NULL) {
            (void)munmap(world->replicas[replica].snapshots, SUITE_SNAPSHOTS_BYTES);
            (void)close(world->replicas[replica].snapshots_fd);
        }
        (void)snprintf(path, sizeof path, "%s/r%u.lock", world->directory, replica);
        (void)unlink(path);
    }
    (void)rmdir(world->directory);
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
    if (world == NULL) {
        return NULL;
    }
    (void)snprintf(world->directory, sizeof world->directory, "%s/lks-fabric-XXXXXX",
                   scratch_folder());
    if (mkdtemp(world->directory) == NULL) {
        free(world);
        return NULL;
    }
    if (getenv("LKS_TEST_LOG") != NULL) {
        world->log_sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = lks_log_to_stderr};
    }
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
        .directory = world->directory,
        .log = {.address = world->replicas[replica].log,
                .bytes = SUITE_LOG_BYTES,
                .fd = world->replicas[replica].fd},
        .words_bytes = SUITE_WORDS_BYTES,
        .inbox_bytes = SUITE_INBOX_BYTES,
        .scratch_bytes = SUITE_SCRATCH_BYTES,
        .outstanding_max = SUITE_OUTSTANDING_MAX,
        .shared_process = true,
        .log_sink = &world->log_sink,
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
    if (lks_fabric_shm_new(&world->replicas[replica].fabric, &options, &err) != 0) {
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
    (void)sched_yield();
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
        .name = "shm",
        .world_new = world_new,
        .world_free = world_free,
        .start = start,
        .crash = stop, /* one process: the end of the socket is all that tells of a crash */
        .stop = stop,
        .log = log_of,
        .snapshots = snapshots_of,
        .idle = idle,
        .readable = readable,
    };
    return suite_run(&backend);
}
