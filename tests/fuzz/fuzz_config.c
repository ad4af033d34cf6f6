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
    LKS_ASSERT(strcmp(loaded->name, config->name) == 0);
    LKS_ASSERT(loaded->ring_bytes == config->ring_bytes);
    LKS_ASSERT(loaded->entry_bytes_max == config->entry_bytes_max);
    LKS_ASSERT(loaded->election_timeout_ns == config->election_timeout_ns);
    LKS_ASSERT(loaded->heartbeat_ns == config->heartbeat_ns);
    LKS_ASSERT(loaded->spin_ns == config->spin_ns);
    LKS_ASSERT(loaded->replicas_count == config->replicas_count);
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        LKS_ASSERT(strcmp(loaded->replicas[id].journal, config->replicas[id].journal) == 0);
        LKS_ASSERT(loaded->replicas[id].port == config->replicas[id].port);
    }
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
