/* Clients' lanes over shared memory under the conformance suite. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/conformance/lanes/suite.h"
#include "tests/support/scratch.h"
#include "verbs/shm/lane.h"

struct world {
    char directory[80];
};

static void *world_new(void)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) {
        return NULL;
    }
    snprintf(world->directory, sizeof world->directory, "%s/lockstep-lanes.XXXXXX",
             scratch_folder());
    if (mkdtemp(world->directory) == NULL) {
        free(world);
        return NULL;
    }
    return world;
}

static void world_free(void *ctx)
{
    struct world *world = ctx;
    (void)rmdir(world->directory);
    free(world);
}

static int lanes_new(void *ctx, struct lks_lanes **lanes, struct lks_error *err)
{
    const struct world *world = ctx;
    const struct lks_lanes_shm_options options = {.directory = world->directory,
                                                  .replica = LANES_REPLICA,
                                                  .cluster_id = {1, 2, 3},
                                                  .area_bytes = LANES_AREA_BYTES};
    return lks_lanes_shm_new(lanes, &options, err);
}

static int attach(void *ctx, struct lks_lane **lane)
{
    const struct world *world = ctx;
    const struct lks_lane_shm_options options = {.directory = world->directory,
                                                 .replica = LANES_REPLICA,
                                                 .cluster_id = {1, 2, 3},
                                                 .area_bytes = LANES_AREA_BYTES,
                                                 .timeout_ns = LANES_ATTACH_NS};
    return lks_lane_shm_attach(lane, &options);
}

int main(void)
{
    const struct lanes_backend backend = {.world_new = world_new,
                                          .world_free = world_free,
                                          .lanes_new = lanes_new,
                                          .attach = attach};
    return lanes_suite(&backend);
}
