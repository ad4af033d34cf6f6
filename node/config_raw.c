/* The keys of a configuration file; see config_raw.h. Keys that are not here are refused. */
#include "node/config_raw.h"

#include "node/config.h"

#define TEXT_FIELD(type, member) \
    CYAML_FIELD_STRING_PTR(#member, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, \
                           LKS_CONFIG_PATH_MAX - 1)

static const cyaml_schema_field_t replica_fields[] = {
    TEXT_FIELD(struct lks_config_raw_replica, id),
    TEXT_FIELD(struct lks_config_raw_replica, journal),
    TEXT_FIELD(struct lks_config_raw_replica, snapshots),
    TEXT_FIELD(struct lks_config_raw_replica, listen),
    TEXT_FIELD(struct lks_config_raw_replica, rdma),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t replica_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct lks_config_raw_replica, replica_fields),
};

static const cyaml_schema_field_t scheduler_fields[] = {
    TEXT_FIELD(struct lks_config_raw_scheduler, kind),
    TEXT_FIELD(struct lks_config_raw_scheduler, workers),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t timing_fields[] = {
    TEXT_FIELD(struct lks_config_raw_timing, election_timeout),
    TEXT_FIELD(struct lks_config_raw_timing, heartbeat),
    TEXT_FIELD(struct lks_config_raw_timing, silent_writer),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t rdma_fields[] = {
    TEXT_FIELD(struct lks_config_raw_rdma, traffic_class),
    TEXT_FIELD(struct lks_config_raw_rdma, service_level),
    TEXT_FIELD(struct lks_config_raw_rdma, pkey),
    TEXT_FIELD(struct lks_config_raw_rdma, gid_index),
    TEXT_FIELD(struct lks_config_raw_rdma, ack_timeout),
    TEXT_FIELD(struct lks_config_raw_rdma, retries),
    TEXT_FIELD(struct lks_config_raw_rdma, direct_write_to_pmem),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t config_fields[] = {
    TEXT_FIELD(struct lks_config_raw, name),
    TEXT_FIELD(struct lks_config_raw, id),
    TEXT_FIELD(struct lks_config_raw, directory),
    TEXT_FIELD(struct lks_config_raw, fabric),
    TEXT_FIELD(struct lks_config_raw, cluster_key),
    TEXT_FIELD(struct lks_config_raw, client_key),
    TEXT_FIELD(struct lks_config_raw, durability),
    TEXT_FIELD(struct lks_config_raw, ring),
    TEXT_FIELD(struct lks_config_raw, entry_max),
    TEXT_FIELD(struct lks_config_raw, spin),
    TEXT_FIELD(struct lks_config_raw, busy_poll),
    TEXT_FIELD(struct lks_config_raw, log),
    TEXT_FIELD(struct lks_config_raw, connections_max),
    TEXT_FIELD(struct lks_config_raw, pending_max),
    TEXT_FIELD(struct lks_config_raw, client_answers_max),
    TEXT_FIELD(struct lks_config_raw, snapshots_max),
    TEXT_FIELD(struct lks_config_raw, debug_commands),
    CYAML_FIELD_MAPPING("scheduler", CYAML_FLAG_OPTIONAL, struct lks_config_raw, scheduler,
                        scheduler_fields),
    CYAML_FIELD_MAPPING("timing", CYAML_FLAG_OPTIONAL, struct lks_config_raw, timing,
                        timing_fields),
    CYAML_FIELD_MAPPING("rdma", CYAML_FLAG_OPTIONAL, struct lks_config_raw, rdma, rdma_fields),
    CYAML_FIELD_SEQUENCE("replicas", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
                         struct lks_config_raw, replicas, &replica_schema, 0, CYAML_UNLIMITED),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t lks_config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct lks_config_raw, config_fields),
};
