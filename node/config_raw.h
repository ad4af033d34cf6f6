/*
 * A configuration file as libcyaml brings it in: every value a string, NULL where its key is not
 * there. Between config_raw.c, which has the keys, and config.c, which checks the values. One
 * thread; the strings are libcyaml's until cyaml_free.
 */
#ifndef LKS_NODE_CONFIG_RAW_H
#define LKS_NODE_CONFIG_RAW_H

#include <cyaml/cyaml.h>

struct lks_config_raw_replica {
    char *id;
    char *journal;
    char *snapshots;
    char *listen;
    char *rdma;
};

struct lks_config_raw_rdma {
    char *traffic_class;
    char *service_level;
    char *pkey;
    char *gid_index;
    char *ack_timeout;
    char *retries;
    char *direct_write_to_pmem;
};

struct lks_config_raw_scheduler {
    char *kind;
    char *workers;
};

struct lks_config_raw_timing {
    char *election_timeout;
    char *heartbeat;
    char *silent_writer;
};

struct lks_config_raw {
    char *name;
    char *id;
    char *directory;
    char *fabric;
    char *cluster_key;
    char *client_key;
    char *durability;
    char *ring;
    char *entry_max;
    char *spin;
    char *busy_poll;
    char *log;
    char *connections_max;
    char *pending_max;
    char *client_answers_max;
    char *snapshots_max;
    char *debug_commands;
    struct lks_config_raw_scheduler scheduler;
    struct lks_config_raw_timing timing;
    struct lks_config_raw_rdma rdma;
    struct lks_config_raw_replica *replicas;
    unsigned replicas_count;
};

extern const cyaml_schema_value_t lks_config_schema; /* of a struct lks_config_raw */

#endif
