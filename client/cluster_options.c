/* The options that shape a new cluster; see cluster_options.h. */
#include "client/cluster_options.h"

#include <inttypes.h>

uint64_t lks_cluster_number(struct argp_state *state, const char *option, const char *text,
                            uint64_t min, uint64_t max)
{
    uint64_t number = 0;
    if (lks_value_count(text, &number) != 0 || number < min || number > max) {
        argp_error(state, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, option, text,
                   min, max);
    }
    return number;
}

static void read_ring(struct argp_state *state, const char *text, uint64_t *bytes)
{
    if (lks_value_size(text, bytes) != 0 || *bytes < LKS_JOURNAL_RING_MIN ||
        *bytes > LKS_JOURNAL_RING_MAX || *bytes % 4096 != 0) {
        argp_error(state, "--ring: '%s' is not a size from 64K to 1T in steps of 4K", text);
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct lks_cluster_options *options = state->input;
    switch (key) {
    case 'd':
        options->directory = argument;
        return 0;
    case 'n':
        options->replicas =
            (uint32_t)lks_cluster_number(state, "replicas", argument, 1, LKS_REPLICAS_MAX);
        if (options->replicas % 2 == 0) {
            argp_error(state, "--replicas: a cluster has 1, 3, 5 or 7 replicas, not %s", argument);
        }
        return 0;
    case 'p':
        options->port = (uint16_t)lks_cluster_number(state, "port", argument, 1,
                                                     UINT16_MAX - LKS_REPLICAS_MAX);
        return 0;
    case 'r':
        read_ring(state, argument, &options->ring_bytes);
        return 0;
    case 'm':
        if (lks_durability_parse(argument, &options->durability) != 0 ||
            options->durability == LKS_DURABILITY_PMEM_READ) {
            argp_error(state, "--durability: '%s' is none of auto, memory, writer-flush, pmem-ack",
                       argument);
        }
        options->durability_given = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_table[] = {
    {"dir", 'd', "D", 0, "Folder of the cluster: cluster.yaml, journals, sockets, logs", 1},
    {"replicas", 'n', "N", 0, "1, 3, 5 or 7 replicas (default 3)", 1},
    {"port", 'p', "P", 0, "First client port; the others follow it (default 7001)", 1},
    {"ring", 'r', "SIZE", 0, "Bytes of log that each replica keeps (default 64M)", 1},
    {"durability", 'm', "MODE", 0, "auto, memory, writer-flush or pmem-ack (default auto)", 1},
    {0},
};

const struct argp lks_cluster_argp = {.options = option_table, .parser = parse};
