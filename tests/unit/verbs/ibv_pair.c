/* A pair of fabrics; see ibv_pair.h. */
#include "tests/unit/verbs/ibv_pair.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define FIRST_PORT 18700u
#define SCRATCH_BYTES (UINT64_C(64) << 10)
#define OUTSTANDING_MAX 64u

static const char *used_address;

static void keep_line(void *ctx, enum lks_log_level level, const char *line)
{
    char *lines = ctx;
    (void)level;
    const size_t used = strlen(lines);
    (void)snprintf(lines + used, PAIR_LINES_BYTES - used, "%s\n", line);
}

static uint8_t *map_shared(uint64_t bytes)
{
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    return mapped;
}

int pair_setup(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    assert_non_null(pair);
    for (uint32_t id = 1; id <= 2; id++) {
        pair->logs[id] = map_shared(PAIR_LOG_BYTES);
        pair->sinks[id] =
            (struct lks_log){.level = LKS_LOG_DEBUG, .sink = keep_line, .ctx = pair->lines[id]};
    }
    pair->area = map_shared(PAIR_AREA_BYTES);
    *state = pair;
    return 0;
}

int pair_teardown(void **state)
{
    struct pair *pair = *state;
    for (uint32_t id = 1; id <= 2; id++) {
        lks_fabric_free(pair->fabrics[id]);
        (void)munmap(pair->logs[id], PAIR_LOG_BYTES);
    }
    (void)munmap(pair->area, PAIR_AREA_BYTES);
    free(pair);
    return 0;
}

int pair_start(struct pair *pair, uint32_t id, const char *key, uint64_t words_bytes)
{
    struct lks_error err = {0};
    struct lks_fabric_options options = {
        .replica = id,
        .replicas = 2,
        .cluster_id = "pair",
        .incarnation = 1,
        .log = {.address = pair->logs[id], .bytes = PAIR_LOG_BYTES, .fd = -1},
        .words_bytes = words_bytes,
        .inbox_bytes = 4096,
        .scratch_bytes = SCRATCH_BYTES,
        .outstanding_max = OUTSTANDING_MAX,
        .log_sink = &pair->sinks[id],
    };
    struct lks_rdma_options rdma = pair->rdma;
    if (id == 2) {
        options.snapshots =
            (struct lks_fabric_memory){.address = pair->area, .bytes = PAIR_AREA_BYTES, .fd = -1};
    }
    (void)snprintf((char *)rdma.cluster_key, sizeof rdma.cluster_key, "%s", key);
    for (uint32_t peer = 1; peer <= 2; peer++) {
        (void)snprintf(rdma.places[peer].address, sizeof rdma.places[peer].address, "%s",
                       used_address);
        rdma.places[peer].port = (uint16_t)(FIRST_PORT + peer);
    }
    const int code = lks_fabric_rdma_new(&pair->fabrics[id], &options, &rdma, &err);
    if (code != 0) {
        keep_line(pair->lines[id], LKS_LOG_ERROR, err.text);
        return code;
    }
    return lks_fabric_connect(pair->fabrics[id], 3 - id);
}

void pair_turn(struct pair *pair)
{
    const struct timespec moment = {.tv_nsec = 50000};
    for (uint32_t id = 1; id <= 2; id++) {
        struct lks_fabric_event event;
        while (pair->fabrics[id] != NULL && lks_fabric_poll(pair->fabrics[id], &event, 1) == 1) {
            pair->last[id] = event;
            pair->seen[id][event.kind] = true;
            pair->events[id][event.kind] = event;
            pair->completed[id] += event.kind == LKS_FABRIC_COMPLETED;
            pair->connected[id] = pair->connected[id] || event.kind == LKS_FABRIC_CONNECTED;
            pair->disconnected[id] =
                pair->disconnected[id] || event.kind == LKS_FABRIC_DISCONNECTED;
        }
    }
    (void)ppoll(NULL, 0, &moment, NULL);
}

void pair_await_lines(struct pair *pair, uint32_t id, const char *text)
{
    for (unsigned i = 0; strstr(pair->lines[id], text) == NULL; i++) {
        if (i == PAIR_ROUNDS_MAX) {
            fail_msg("replica %u does not say \"%s\" but: %s", id, text, pair->lines[id]);
        }
        pair_turn(pair);
    }
}

void pair_connect(struct pair *pair)
{
    assert_int_equal(pair_start(pair, 1, "secret", 4096), 0);
    assert_int_equal(pair_start(pair, 2, "secret", 4096), 0);
    for (unsigned i = 0; !pair->connected[1] || !pair->connected[2]; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
}

struct lks_fabric_event pair_await(struct pair *pair, uint32_t id,
                                   enum lks_fabric_event_kind kind)
{
    pair->seen[id][kind] = false;
    for (unsigned i = 0; !pair->seen[id][kind]; i++) {
        if (i == PAIR_ROUNDS_MAX) {
            fail_msg("replica %u waits in vain for event %d", id, (int)kind);
        }
        pair_turn(pair);
    }
    return pair->events[id][kind];
}

const char *pair_address(void)
{
    used_address = getenv("LKS_TEST_RDMA_ADDRESS");
    if (used_address == NULL) {
        (void)printf("SKIP: no RDMA device: LKS_TEST_RDMA_ADDRESS names no address of one\n");
    }
    return used_address;
}

void pair_use_address(const char *address)
{
    used_address = address;
}
