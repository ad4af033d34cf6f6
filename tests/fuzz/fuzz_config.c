/*
 * The configuration file: any text. Held to: no crash and no leak; what is accepted is written
 * back as a file that is read as the same; what is refused comes with a text that names it.
 */
#include "base/assert.h"
#include "node/config.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/scratch.h"

#include <stdio.h>
#include <stdlib.h>

static void assert_same_replica(const struct lks_config_replica *loaded,
                                const struct lks_config_replica *config)
{
    LKS_ASSERT(strcmp(loaded->journal, config->journal) == 0);
    LKS_ASSERT(strcmp(loaded->snapshots, config->snapshots) == 0);
    LKS_ASSERT(strcmp(loaded->address, config->address) == 0);
    LKS_ASSERT(loaded->port == config->port);
    LKS_ASSERT(strcmp(loaded->rdma_address, config->rdma_address) == 0);
    LKS_ASSERT(loaded->rdma_port == config->rdma_port);
}

static void assert_same_rdma(const struct lks_config *loaded, const struct lks_config *config)
{
    LKS_ASSERT(memcmp(loaded->cluster_key, config->cluster_key, LKS_CONFIG_KEY_BYTES) == 0);
    LKS_ASSERT(loaded->rdma.traffic_class == config->rdma.traffic_class);
    LKS_ASSERT(loaded->rdma.service_level == config->rdma.service_level);
    LKS_ASSERT(loaded->rdma.pkey == config->rdma.pkey);
    LKS_ASSERT(loaded->rdma.gid_index == config->rdma.gid_index);
    LKS_ASSERT(loaded->rdma.ack_timeout_ns == config->rdma.ack_timeout_ns);
    LKS_ASSERT(loaded->rdma.retries == config->rdma.retries);
    LKS_ASSERT(loaded->rdma.direct_write_asserted == config->rdma.direct_write_asserted);
}

static void assert_same(const struct lks_config *loaded, const struct lks_config *config)
{
    LKS_ASSERT(strcmp(loaded->name, config->name) == 0);
    LKS_ASSERT(memcmp(loaded->cluster_id, config->cluster_id, sizeof config->cluster_id) == 0);
    LKS_ASSERT(strcmp(loaded->directory, config->directory) == 0);
    LKS_ASSERT(loaded->fabric == config->fabric);
    LKS_ASSERT(loaded->takes_clients == config->takes_clients);
    LKS_ASSERT(memcmp(loaded->client_key, config->client_key, LKS_CONFIG_KEY_BYTES) == 0);
    LKS_ASSERT(loaded->durability == config->durability);
    LKS_ASSERT(loaded->ring_bytes == config->ring_bytes);
    LKS_ASSERT(loaded->entry_bytes_max == config->entry_bytes_max);
    LKS_ASSERT(loaded->spin_ns == config->spin_ns);
    LKS_ASSERT(loaded->busy_poll == config->busy_poll);
    LKS_ASSERT(loaded->log_level == config->log_level);
    LKS_ASSERT(loaded->connections_max == config->connections_max);
    LKS_ASSERT(loaded->pending_bytes_max == config->pending_bytes_max);
    LKS_ASSERT(loaded->client_answers_bytes_max == config->client_answers_bytes_max);
    LKS_ASSERT(loaded->snapshots_bytes_max == config->snapshots_bytes_max);
    LKS_ASSERT(loaded->debug_commands == config->debug_commands);
    LKS_ASSERT(loaded->scheduler == config->scheduler);
    LKS_ASSERT(loaded->workers == config->workers);
    LKS_ASSERT(loaded->election_timeout_ns == config->election_timeout_ns);
    LKS_ASSERT(loaded->heartbeat_ns == config->heartbeat_ns);
    LKS_ASSERT(loaded->silent_writer_ns == config->silent_writer_ns);
    if (config->fabric == LKS_CONFIG_FABRIC_RDMA) { /* else left out: nothing asks for it */
        assert_same_rdma(loaded, config);
    }
    LKS_ASSERT(loaded->replicas_count == config->replicas_count);
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        assert_same_replica(&loaded->replicas[id], &config->replicas[id]);
    }
}

static void write_and_load(const struct lks_config *config)
{
    char path[256];
    struct lks_error err;
    struct lks_config *loaded = malloc(sizeof *loaded);
    LKS_ASSERT(loaded != NULL);
    (void)snprintf(path, sizeof path, "%s/fuzz-config-%d.yaml", scratch_folder(), (int)getpid());
    (void)unlink(path);
    LKS_ASSERT(lks_config_write(config, path, &err) == 0);
    LKS_ASSERT(lks_config_load(loaded, path, &err) == 0);
    (void)unlink(path);
    assert_same(loaded, config);
    free(loaded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lks_config config;
    struct lks_error err = {0};
    char file[256];
    (void)snprintf(file, sizeof file, "%s/cluster.yaml", scratch_folder());
    if (lks_config_parse(&config, (const char *)data, size, file, &err) == 0) {
        write_and_load(&config);
    } else {
        LKS_ASSERT(err.text[0] != '\0');
        LKS_ASSERT(memchr(err.text, '\0', sizeof err.text) != NULL);
    }
    return 0;
}
