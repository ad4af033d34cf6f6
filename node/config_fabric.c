/*
 * What the configuration says of the fabric: its name, the key by which replicas know one another
 * over RDMA, partition and GID. Pure; see config.h.
 */
#include "node/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
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

/* A whole number, also in hexadecimal. */
static int parse_number(const char *text, unsigned long most, unsigned long *value)
{
    char *end = NULL;
    if (isdigit((unsigned char)text[0]) == 0) {
        return -EINVAL;
    }
    errno = 0;
    *value = strtoul(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
    return errno == 0 && *end == '\0' && *value <= most ? 0 : -EINVAL;
}

int lks_config_pkey_parse(const char *text, uint16_t *pkey)
{
    unsigned long value = 0;
    if (parse_number(text, UINT16_MAX, &value) != 0 || value == 0) {
        return -EINVAL;
    }
    *pkey = (uint16_t)value;
    return 0;
}

int lks_config_gid_index_parse(const char *text, uint32_t *index)
{
    unsigned long value = 0;
    if (strcmp(text, "auto") == 0) {
        *index = LKS_CONFIG_GID_AUTO;
        return 0;
    }
    if (parse_number(text, UINT8_MAX, &value) != 0) {
        return -EINVAL;
    }
    *index = (uint32_t)value;
    return 0;
}

bool lks_config_share_host(const struct lks_config *config, uint32_t a, uint32_t b)
{
    return config->fabric != LKS_CONFIG_FABRIC_RDMA ||
           strcmp(config->replicas[a].rdma_address, config->replicas[b].rdma_address) == 0;
}
