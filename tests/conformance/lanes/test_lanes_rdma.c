/*
 * Clients' lanes over RDMA under the conformance suite: both ends in one process, over one device,
 * whose address LKS_TEST_RDMA_ADDRESS names (soft-roce/lab sets it in its guests). Without it the
 * test says so and is skipped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/lanes/suite.h"
#include "verbs/rdma_lane.h"

#define PORT 18601u
#define SKIPPED 77

static const char *g_address;

struct world {
    struct lks_log log_sink;
};

static void *world_new(void)
{
    struct world *world = calloc(1, sizeof *world);
    if (world != NULL && getenv("LKS_TEST_LOG") != NULL) {
        world->log_sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = lks_log_to_stderr};
    }
    return world;
}

static struct lks_rdma_place place(void)
{
    struct lks_rdma_place here = {.port = PORT};
    snprintf(here.address, sizeof here.address, "%s", g_address);
    return here;
}

static int lanes_new(void *ctx, struct lks_lanes **lanes, struct lks_error *err)
{
    const struct world *world = ctx;
    const struct lks_lanes_rdma_options options = {.place = place(),
                                                   .replica = LANES_REPLICA,
                                                   .cluster_id = {1, 2, 3},
                                                   .client_key = "a key of clients",
                                                   .area_bytes = LANES_AREA_BYTES,
                                                   .log_sink = &world->log_sink};
    return lks_lanes_rdma_new(lanes, &options, err);
}

static int attach(void *ctx, struct lks_lane **lane)
{
    const struct lks_lane_rdma_options options = {.place = place(),
                                                  .replica = LANES_REPLICA,
                                                  .cluster_id = {1, 2, 3},
                                                  .client_key = "a key of clients",
                                                  .area_bytes = LANES_AREA_BYTES,
                                                  .timeout_ns = LANES_ATTACH_NS};
    (void)ctx;
    return lks_lane_rdma_attach(lane, &options);
}

int main(void)
{
    const struct lanes_backend backend = {.world_new = world_new,
                                          .world_free = free,
                                          .lanes_new = lanes_new,
                                          .attach = attach};
    g_address = getenv("LKS_TEST_RDMA_ADDRESS");
    if (g_address == NULL) {
        puts("SKIP: no RDMA device: LKS_TEST_RDMA_ADDRESS is not set (soft-roce/lab sets it)");
        return SKIPPED;
    }
    return lanes_suite(&backend);
}
