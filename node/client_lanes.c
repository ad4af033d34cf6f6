/* The lanes of a replica's clients; see client_lanes.h. */
#include "node/client_lanes.h"

#include "node/client_wire.h"
#include "verbs/shm/lane.h"

#include <errno.h>
#include <string.h>

static int open_shm(struct lks_lanes **lanes, const struct lks_config *config, uint32_t replica,
                    const struct lks_log *log_sink, struct lks_error *err)
{
    struct lks_lanes_shm_options options = {.directory = config->directory,
                                            .replica = replica,
                                            .area_bytes = LKS_CLIENT_AREA_BYTES,
                                            .log_sink = log_sink};
    memcpy(options.cluster_id, config->cluster_id, sizeof options.cluster_id);
    return lks_lanes_shm_new(lanes, &options, err);
}

#ifdef LKS_WITH_RDMA
#include "verbs/rdma_lane.h"

static int open_rdma(struct lks_lanes **lanes, const struct lks_config *config, uint32_t replica,
                     const struct lks_log *log_sink, struct lks_error *err)
{
    const struct lks_config_replica *own = &config->replicas[replica];
    struct lks_lanes_rdma_options options = {
        .replica = replica,
        .area_bytes = LKS_CLIENT_AREA_BYTES,
        .traffic_class = (uint8_t)config->rdma.traffic_class,
        .retry_count = (uint8_t)config->rdma.retries,
        .ack_timeout_exponent = lks_rdma_timeout_exponent(config->rdma.ack_timeout_ns),
        .log_sink = log_sink};
    memcpy(options.place.address, own->rdma_address, sizeof options.place.address);
    options.place.port = own->port; /* the number of `listen`: a space of its own beside TCP's */
    memcpy(options.cluster_id, config->cluster_id, sizeof options.cluster_id);
    memcpy(options.client_key, config->client_key, sizeof options.client_key);
    const int rc = lks_lanes_rdma_new(lanes, &options, err);
    if (rc == 0) {
        lks_log_info(log_sink, "clients over RDMA at %s:%u", own->rdma_address, own->port);
    }
    return rc;
}

#else

static int open_rdma(struct lks_lanes **lanes, const struct lks_config *config, uint32_t replica,
                     const struct lks_log *log_sink, struct lks_error *err)
{
    (void)lanes;
    (void)config;
    (void)replica;
    (void)log_sink;
    return lks_error_set(err, -ENOTSUP, "clients over RDMA: this build has no RDMA: build with "
                         "-DLKS_RDMA=ON");
}

#endif

int lks_client_lanes_open(struct lks_lanes **lanes, const struct lks_config *config,
                          uint32_t replica, const struct lks_log *log_sink,
                          struct lks_error *err)
{
    if (config->fabric == LKS_CONFIG_FABRIC_SHM) {
        return open_shm(lanes, config, replica, log_sink, err);
    }
    return config->takes_clients ? open_rdma(lanes, config, replica, log_sink, err) : 0;
}
