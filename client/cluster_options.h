/*
 * The options that shape a new cluster, shared by `init` and `local`: an argp child parser and
 * what it read. Text was checked when it was read; usage errors end the process as argp does.
 */
#ifndef LKS_CLIENT_CLUSTER_OPTIONS_H
#define LKS_CLIENT_CLUSTER_OPTIONS_H

#include "node/config.h"

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#define LKS_LOCAL_PORT 7001u

struct lks_cluster_options {
    const char *directory; /* NULL: not given */
    uint32_t replicas;     /* 0: not given; likewise below */
    uint16_t port;
    uint64_t ring_bytes;
    uint64_t snapshots_bytes; /* of the snapshot area, at most; no option for it */
    enum lks_scheduler_kind scheduler; /* no options for these three either */
    uint32_t workers;
    bool debug_commands;
    enum lks_durability durability; /* AUTO unless durability_given */
    bool durability_given;
    enum lks_config_fabric fabric; /* SHM unless fabric_given */
    bool fabric_given;
    const char *rdma_address; /* numeric; NULL: that of this machine's first device */
    uint64_t election_timeout_ns;
};

/* Whether anything is given beside the folder: what shapes a new configuration. */
bool lks_cluster_options_given(const struct lks_cluster_options *options);

/* Its input is a struct lks_cluster_options, zeroed. */
extern const struct argp lks_cluster_argp;

/* Parses a number from `min` to `max` or ends with argp's usage error that names the option. */
uint64_t lks_cluster_number(struct argp_state *state, const char *option, const char *text,
                            uint64_t min, uint64_t max);

/* Parses the value of --election-timeout, or ends with argp's usage error. */
uint64_t lks_cluster_election_timeout(struct argp_state *state, const char *text);

#endif
