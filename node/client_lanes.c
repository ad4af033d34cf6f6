/* The lanes of a replica's clients; see client_lanes.h. */
#include "node/client_lanes.h"

#include "node/client_wire.h"
#include "verbs/shm/lane.h"

#include <string.h>

int lks_client_lanes_open(struct lks_lanes **lanes, const struct lks_config *config,
                          uint32_t replica, const struct lks_log *log_sink,
                          struct lks_error *err)
{
    if (config->fabric != LKS_CONFIG_FABRIC_SHM) {
        return 0;
    }
    struct lks_lanes_shm_options options = {.directory = config->directory,
                                            .replica = replica,
                                            .area_bytes = LKS_CLIENT_AREA_BYTES,
                                            .log_sink = log_sink};
    memcpy(options.cluster_id, config->cluster_id, sizeof options.cluster_id);
    return lks_lanes_shm_new(lanes, &options, err);
}
