/*
 * The options by which commands name a cluster that exists, --config FILE and --dir D: an argp
 * child parser and what it read. Usage errors end the process as argp does. Main thread.
 */
#ifndef LKS_CLIENT_NAMED_CLUSTER_H
#define LKS_CLIENT_NAMED_CLUSTER_H

#include "base/error.h"
#include "node/config.h"

#include <argp.h>
#include <stdbool.h>

struct lks_named_cluster {
    const char *file;      /* NULL: not given */
    const char *directory; /* NULL: not given; its cluster.yaml, unless a file is given */
    bool optional;         /* set before parsing: neither is no error */
};

/* A row of argp's children for the two options. The parser that has it hands over a struct
 * lks_named_cluster as the first of its child inputs on ARGP_KEY_INIT. */
#define LKS_NAMED_CLUSTER_CHILD {.argp = &lks_named_cluster_argp}
extern const struct argp lks_named_cluster_argp;

/* Whether either is given. */
bool lks_cluster_is_named(const struct lks_named_cluster *named);

/* Loads the configuration; *path is its file. Fails with -LKS_ECONFIG only. */
int lks_cluster_load(struct lks_config *config, const struct lks_named_cluster *named,
                     char path[LKS_CONFIG_PATH_MAX], struct lks_error *err);

#endif
