/* The table of fences; see fence.h. */
#include "verbs/ibv/fence.h"

#include <stddef.h>
#include <string.h>

static const struct lks_ibv_fence software = {
    .window = true,
    .invalidate = true,
    .deregister = true,
    .name = "window invalidated, then region deregistered",
    .evidence = "Soft-RoCE of Linux 6.1: LOCAL_INV alone lets late writes land, deregistering "
                "does not (tests/unit/verbs/test_ibv_hammer.c)",
};

static const struct lks_ibv_fence hardware = {
    .window = true,
    .invalidate = true,
    .invalidated_is_enough = true,
    .destroy_queue = true,
    .name = "window invalidated; on a dead queue pair window and queue pair destroyed",
    .evidence = "the Linux NFS/RDMA client trusts the completion of LOCAL_INV; not measured here",
};

static const struct lks_ibv_fence windowless = {
    .deregister = true,
    .name = "region deregistered",
    .evidence = "deregistering waits for all users of a region (verbs specification; measured on "
                "Soft-RoCE)",
};

/* Drivers in whose hardware the completion of LOCAL_INV is trusted. */
static const char *const hardware_drivers[] = {"mlx5_core", "mlx4_core"};

const struct lks_ibv_fence *lks_ibv_fence_for(const char *driver, bool windows)
{
    if (!windows) {
        return &windowless;
    }
    for (size_t i = 0; i < sizeof hardware_drivers / sizeof hardware_drivers[0]; i++) {
        if (strcmp(driver, hardware_drivers[i]) == 0) {
            return &hardware;
        }
    }
    return &software; /* rdma_rxe, siw, and whatever is not known */
}

bool lks_ibv_fence_is_sound(const struct lks_ibv_fence *fence)
{
    return fence == &software || fence == &hardware || fence == &windowless;
}
