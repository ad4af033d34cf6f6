/* --config and --dir; see named_cluster.h. */
#include "client/named_cluster.h"

#include "client/cluster_files.h"

#include <stdio.h>

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct lks_named_cluster *named = state->input;
    switch (key) {
    case 'c':
        named->file = argument;
        return 0;
    case 'd':
        named->directory = argument;
        return 0;
    case ARGP_KEY_END:
        if (!lks_cluster_is_named(named) && !named->optional) {
            argp_error(state, "name the cluster: --config FILE or --dir D");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option table[] = {
    {"config", 'c', "FILE", 0, "The cluster's configuration", 0},
    {"dir", 'd', "D", 0, "The same as --config D/cluster.yaml", 0},
    {0},
};

const struct argp lks_named_cluster_argp = {.options = table, .parser = parse};

bool lks_cluster_is_named(const struct lks_named_cluster *named)
{
    return named->file != NULL || named->directory != NULL;
}

int lks_cluster_load(struct lks_config *config, const struct lks_named_cluster *named,
                     char path[LKS_CONFIG_PATH_MAX], struct lks_error *err)
{
    if (named->file != NULL) {
        (void)snprintf(path, LKS_CONFIG_PATH_MAX, "%s", named->file);
    } else if (lks_cluster_config_path(named->directory, path, err) != 0) {
        return -LKS_ECONFIG;
    }
    /* Whatever keeps the file from being read, the arguments named the wrong one. */
    return lks_config_load(config, path, err) == 0 ? 0 : -LKS_ECONFIG;
}
