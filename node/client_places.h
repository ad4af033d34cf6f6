/*
 * Where clients over RDMA reach the replicas of a configuration, as the client library wants to be
 * told (lockstep/client.h). Any thread.
 */
#ifndef LKS_NODE_CLIENT_PLACES_H
#define LKS_NODE_CLIENT_PLACES_H

#include "node/config.h"

struct lks_client_places {
    char addresses[LKS_REPLICAS_MAX * (LKS_ADDRESS_TEXT_MAX + 9)];
    char client_key[2 * LKS_CONFIG_KEY_BYTES + 1];
};

/* -ENOENT: the configuration takes no clients over RDMA. */
int lks_client_places_of(const struct lks_config *config, struct lks_client_places *places);

#endif
