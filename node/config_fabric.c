/*
 * What the configuration says of the fabric: its name, and the key by which replicas know one
 * another over RDMA. Pure; see config.h.
 */
#include "node/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/assert.h"

static const char *const fabric_names[] = {
    [LKS_CONFIG_FABRIC_SHM] = "shm",
    [LKS_CONFIG_FABRIC_RDMA] = "rdma",
};

int lks_config_fabric_parse(const char *name, enum lks_config_fabric *fabric)
{
    for (size_t i = 0; i < LKS_COUNT_OF(fabric_names); i++) {
        if (strcmp(name, fabric_names[i]) == 0) {
            *fabric = (enum lks_config_fabric)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *lks_config_fabric_name(enum lks_config_fabric fabric)
{
    LKS_ASSERT((size_t)fabric < LKS_COUNT_OF(fabric_names));
    return fabric_names[fabric];
}

static unsigned digit_of(char letter)
{
    const int lower = tolower((unsigned char)letter);
    return lower >= 'a' ? (unsigned)(lower - 'a' + 10) : (unsigned)(lower - '0');
}

int lks_config_key_parse(const char *text, uint8_t key[LKS_CONFIG_KEY_BYTES])
{
    if (strlen(text) != 2 * LKS_CONFIG_KEY_BYTES) {
        return -EINVAL;
    }
    for (size_t i = 0; i < 2 * LKS_CONFIG_KEY_BYTES; i++) {
        if (isxdigit((unsigned char)text[i]) == 0) {
            return -EINVAL;
        }
    }
    for (size_t i = 0; i < LKS_CONFIG_KEY_BYTES; i++) {
        key[i] = (uint8_t)(digit_of(text[2 * i]) << 4 | digit_of(text[2 * i + 1]));
    }
    return 0;
}

bool lks_config_share_host(const struct lks_config *config, uint32_t a, uint32_t b)
{
    return config->fabric != LKS_CONFIG_FABRIC_RDMA ||
           strcmp(config->replicas[a].rdma_address, config->replicas[b].rdma_address) == 0;
}
