/*
 * The RDMA fabric of a replica, as its configuration has it; see assembly.h. Main thread, at start.
 * A build without the RDMA libraries says so.
 */
#include "node/assembly.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef LKS_WITH_RDMA
#include "verbs/rdma.h"

int lks_assembly_rdma(struct lks_assembly *assembly, const struct lks_fabric_options *fabric,
                      struct lks_error *err)
{
    const struct lks_config *config = assembly->config;
    struct lks_rdma_options rdma = {0};
    _Static_assert(sizeof rdma.cluster_key == sizeof config->cluster_key, "one key");
    _Static_assert(LKS_RDMA_ADDRESS_MAX == LKS_ADDRESS_TEXT_MAX, "one kind of address");
    memcpy(rdma.cluster_key, config->cluster_key, sizeof rdma.cluster_key);
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        memcpy(rdma.places[id].address, config->replicas[id].rdma_address,
               sizeof rdma.places[id].address);
        rdma.places[id].port = config->replicas[id].rdma_port;
    }
    return lks_fabric_rdma_new(&assembly->fabric, fabric, &rdma, err);
}

#else

int lks_assembly_rdma(struct lks_assembly *assembly, const struct lks_fabric_options *fabric,
                      struct lks_error *err)
{
    (void)assembly;
    (void)fabric;
    return lks_error_set(err, -ENOTSUP, "`fabric: rdma`: this build has no RDMA: build with "
                         "-DLKS_RDMA=ON, or use `fabric: shm` on one host");
}

#endif
