/*
 * The lanes by which a replica's clients on its fabric reach it, as its configuration has them.
 * Main thread, at start.
 */
#ifndef LKS_NODE_CLIENT_LANES_H
#define LKS_NODE_CLIENT_LANES_H

#include "base/log.h"
#include "node/config.h"
#include "verbs/lane.h"

/* *lanes: the caller's; untouched where this fabric has none: clients come over TCP only. Errors:
 * those of lks_lanes_shm_new and lks_lanes_rdma_new; err says the way out. */
int lks_client_lanes_open(struct lks_lanes **lanes, const struct lks_config *config,
                          uint32_t replica, const struct lks_log *log_sink,
                          struct lks_error *err);

#endif
