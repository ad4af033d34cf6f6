/* Where a configuration's threads run; see placement.h. */
#include "node/placement.h"

#include "node/assembly.h"

#include <stdio.h>

int lks_placement_read_node(const char *path)
{
    int node = -1;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -1;
    }
    const int read = fscanf(file, "%9d", &node);
    (void)fclose(file);
    return read == 1 && node >= 0 ? node : -1;
}

int lks_placement_make(struct lks_topology_plan *plan, const struct lks_config *config,
                       uint32_t replica, uint32_t workers, const char *machine,
                       struct lks_error *err)
{
    struct lks_topology_options options = {.workers = workers, .machine = machine};
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        if (lks_config_share_host(config, replica, id)) {
            options.place += id < replica ? 1 : 0;
            options.places++;
        }
    }
    const int node = config->fabric == LKS_CONFIG_FABRIC_RDMA && machine == NULL
                         ? lks_assembly_device_node(config, replica)
                         : -1;
    if (node >= 0) {
        options.near_node = true;
        options.node = (uint32_t)node;
    }
    return lks_topology_plan_make(plan, &options, err);
}
