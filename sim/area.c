/* One replica's snapshot area; see area.h. */
#include "sim/area.h"

#include "base/assert.h"
#include "pmem/snapshot_fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lks_sim_area {
    struct lks_sim_storage *storage;
    struct lks_snapshots_options options;
    char path[256];
    struct lks_snapshots *store; /* NULL while closed */
};

struct lks_sim_area *lks_sim_area_new(struct lks_sim_storage *storage,
                                      const struct lks_snapshots_options *options)
{
    struct lks_sim_area *area = calloc(1, sizeof *area);
    LKS_ASSERT(area != NULL);
    area->storage = storage;
    area->options = *options;
    const int length = snprintf(area->path, sizeof area->path, "%s.snapshots",
                                lks_sim_storage_path(storage));
    LKS_ASSERT(length > 0 && (size_t)length < sizeof area->path);
    area->options.path = area->path;
    return area;
}

void lks_sim_area_free(struct lks_sim_area *area)
{
    if (area != NULL) {
        lks_snapshots_close(area->store);
        lks_sim_storage_remove(area->storage, area->path);
        free(area);
    }
}

int lks_sim_area_create(struct lks_sim_area *area, struct lks_error *err)
{
    LKS_ASSERT(area->store == NULL);
    lks_sim_storage_remove(area->storage, area->path);
    struct lks_sim_storage *before = lks_sim_storage_enter(area->storage);
    const int status = lks_snapshots_create(&area->options, err);
    (void)lks_sim_storage_enter(before);
    return status;
}

int lks_sim_area_open(struct lks_sim_area *area, struct lks_error *err)
{
    LKS_ASSERT(area->store == NULL);
    struct lks_sim_storage *before = lks_sim_storage_enter(area->storage);
    const int status = lks_snapshots_open(&area->store, &area->options, err);
    (void)lks_sim_storage_enter(before);
    if (status < 0) {
        area->store = NULL;
    }
    return status;
}

void lks_sim_area_close(struct lks_sim_area *area)
{
    lks_snapshots_close(area->store);
    area->store = NULL;
}

void lks_sim_area_abandon(struct lks_sim_area *area)
{
    area->store = NULL;
}

const struct lks_snapshots_options *lks_sim_area_options(const struct lks_sim_area *area)
{
    return &area->options;
}

void lks_sim_area_set_cluster(struct lks_sim_area *area,
                              const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    memcpy(area->options.cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES);
}

struct lks_snapshots *lks_sim_area_store(const struct lks_sim_area *area)
{
    return area->store;
}

bool lks_sim_area_rot(struct lks_sim_area *area, struct lks_sim_random *random)
{
    LKS_ASSERT(area->store != NULL);
    const uint32_t partitions = area->options.partitions;
    const uint32_t first = (uint32_t)lks_sim_random_below(random, partitions);
    struct lks_snapshots_memory memory;
    struct lks_snapshots_geometry geometry;
    lks_snapshots_memory(area->store, &memory);
    lks_snapshots_geometry(partitions, &geometry);
    for (uint32_t i = 0; i < partitions; i++) {
        const struct lks_snapshot_item *item =
            lks_snapshots_item(area->store, (first + i) % partitions);
        if (item->blocks == 0) {
            continue;
        }
        const uint64_t filled =
            item->bytes < LKS_SNAPSHOT_BLOCK_BYTES ? item->bytes : LKS_SNAPSHOT_BLOCK_BYTES;
        uint8_t *place = (uint8_t *)memory.address + geometry.blocks_at +
                         (uint64_t)item->first_block * LKS_SNAPSHOT_BLOCK_BYTES;
        lks_sim_storage_rot_at(area->storage, place + lks_sim_random_below(random, filled),
                               (uint32_t)lks_sim_random_below(random, 8));
        return true;
    }
    return false;
}
