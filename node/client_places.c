/* Where clients over RDMA reach replicas; see client_places.h. */
#include "node/client_places.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int lks_client_places_of(const struct lks_config *config, struct lks_client_places *places)
{
    size_t length = 0;
    if (!config->takes_clients) {
        return -ENOENT;
    }
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        const struct lks_config_replica *replica = &config->replicas[id];
        const bool brackets = strchr(replica->rdma_address, ':') != NULL;
        length += (size_t)snprintf(places->addresses + length, sizeof places->addresses - length,
                                   "%s%s%s%s:%u", id > 1 ? "," : "", brackets ? "[" : "",
                                   replica->rdma_address, brackets ? "]" : "", replica->port);
    }
    for (size_t i = 0; i < sizeof config->client_key; i++) {
        (void)snprintf(places->client_key + 2 * i, 3, "%02x", config->client_key[i]);
    }
    return 0;
}
