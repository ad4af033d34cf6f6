/* The options that shape a new cluster; see cluster_options.h. */
#include "client/cluster_options.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

enum { KEY_FABRIC = 0x300, KEY_RDMA, KEY_ELECTION_TIMEOUT }; /* beyond those of the commands */

#define ELECTION_TIMEOUT_MIN_NS (5 * LKS_NS_PER_MS)
#define ELECTION_TIMEOUT_MAX_NS (50 * LKS_NS_PER_S)

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

static void read_rdma_address(struct argp_state *state, const char *text, const char **address)
{
    struct in6_addr number;
    if (inet_pton(AF_INET, text, &number) != 1 && inet_pton(AF_INET6, text, &number) != 1) {
        argp_error(state, "--rdma: '%s' is no numeric address, such as 10.0.0.1", text);
    }
    *address = text;
}

uint64_t lks_cluster_election_timeout(struct argp_state *state, const char *text)
{
    uint64_t ns = 0;
    if (lks_value_duration(text, &ns) != 0 || ns < ELECTION_TIMEOUT_MIN_NS ||
        ns > ELECTION_TIMEOUT_MAX_NS) {
        argp_error(state, "--election-timeout: '%s' is not a time from 5ms to 50s", text);
    }
    return ns;
}

static void check(const struct lks_cluster_options *options, struct argp_state *state)
{
    if (options->rdma_address != NULL && options->fabric != LKS_CONFIG_FABRIC_RDMA) {
        argp_error(state, "--rdma goes with --fabric rdma");
    }
}

bool lks_cluster_options_given(const struct lks_cluster_options *options)
{
    return options->replicas != 0 || options->port != 0 || options->ring_bytes != 0 ||
           options->durability_given || options->fabric_given ||
           options->election_timeout_ns != 0;
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
    case KEY_FABRIC:
        if (lks_config_fabric_parse(argument, &options->fabric) != 0) {
            argp_error(state, "--fabric: '%s' is none of shm, rdma", argument);
        }
        options->fabric_given = true;
        return 0;
    case KEY_RDMA:
        read_rdma_address(state, argument, &options->rdma_address);
        return 0;
    case KEY_ELECTION_TIMEOUT:
        options->election_timeout_ns = lks_cluster_election_timeout(state, argument);
        return 0;
    case ARGP_KEY_END:
        check(options, state);
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
    {"fabric", KEY_FABRIC, "F", 0,
     "shm, or rdma: over this machine's RDMA device, as hosts would (default shm)", 1},
    {"rdma", KEY_RDMA, "ADDRESS", 0,
     "With --fabric rdma: the address of the RDMA port (default: of the first device)", 1},
    {"election-timeout", KEY_ELECTION_TIMEOUT, "TIME", 0,
     "A leader silent this long is suspicious; heartbeats come five times as often (default "
     "25ms; over software RDMA 500ms)", 1},
    {0},
};

const struct argp lks_cluster_argp = {.options = option_table, .parser = parse};
