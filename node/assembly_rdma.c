/*
 * The RDMA fabric of a replica, as its configuration has it; see assembly.h. Main thread, at start.
 * A build without the RDMA libraries says so.
 */
#include "node/assembly.h"

#include "node/placement.h"

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
    rdma.traffic_class = (uint8_t)config->rdma.traffic_class;
    rdma.service_level = (uint8_t)config->rdma.service_level;
    rdma.retry_count = (uint8_t)config->rdma.retries;
    rdma.ack_timeout_exponent = lks_rdma_timeout_exponent(config->rdma.ack_timeout_ns);
    rdma.pkey = config->rdma.pkey;
    rdma.gid_chosen = config->rdma.gid_index != LKS_CONFIG_GID_AUTO;
    rdma.gid_index = rdma.gid_chosen ? (uint8_t)config->rdma.gid_index : 0;
    return lks_fabric_rdma_new(&assembly->fabric, fabric, &rdma, err);
}

int lks_assembly_find_adapter(const struct lks_config *config, uint32_t replica,
                              struct lks_durability_adapter *adapter, struct lks_error *err)
{
    struct lks_rdma_device device = {0};
    const int code = lks_rdma_find_device(config->replicas[replica].rdma_address, &device, err);
    if (code == 0) {
        *adapter = (struct lks_durability_adapter){
            .hardware = device.hardware,
            .direct_write_asserted = config->rdma.direct_write_asserted};
    }
    return code;
}

int lks_assembly_device_node(const struct lks_config *config, uint32_t replica)
{
    struct lks_rdma_device device = {0};
    struct lks_error err = {0};
    char path[128];
    if (lks_rdma_find_device(config->replicas[replica].rdma_address, &device, &err) != 0) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "/sys/class/infiniband/%s/device/numa_node", device.name);
    return lks_placement_read_node(path);
}

#else

int lks_assembly_device_node(const struct lks_config *config, uint32_t replica)
{
    (void)config;
    (void)replica;
    return -1;
}

int lks_assembly_find_adapter(const struct lks_config *config, uint32_t replica,
                              struct lks_durability_adapter *adapter, struct lks_error *err)
{
    (void)config;
    (void)replica;
    (void)adapter;
    return lks_error_set(err, -ENOTSUP, "`fabric: rdma`: this build has no RDMA: build with "
                         "-DLKS_RDMA=ON, or use `fabric: shm` on one host");
}

int lks_assembly_rdma(struct lks_assembly *assembly, const struct lks_fabric_options *fabric,
                      struct lks_error *err)
{
    (void)assembly;
    (void)fabric;
    return lks_error_set(err, -ENOTSUP, "`fabric: rdma`: this build has no RDMA: build with "
                         "-DLKS_RDMA=ON, or use `fabric: shm` on one host");
}

#endif
