/*
 * `lockstep init`: writes a configuration if asked to, creates journals and snapshot areas, says
 * what each medium survives. Never overwrites anything.
 */
#include "client/cluster_files.h"
#include "client/cluster_options.h"
#include "client/command.h"
#include "client/named_cluster.h"

#include <argp.h>
#include <stdio.h>
#include <unistd.h>

enum { KEY_NEW_CLUSTER = 0x100, KEY_REJOIN };

struct init_options {
    struct lks_cluster_options cluster;
    const char *config;
    uint32_t replica;
    bool new_cluster;
    bool rejoin;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct init_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->cluster;
        return 0;
    case 'c':
    case ARGP_KEY_ARG:
        if (options->config != NULL) {
            argp_error(state, "one configuration only");
        }
        options->config = argument;
        return 0;
    case 'i':
        options->replica =
            (uint32_t)lks_cluster_number(state, "replica", argument, 1, LKS_REPLICAS_MAX);
        return 0;
    case KEY_NEW_CLUSTER:
        options->new_cluster = true;
        return 0;
    case KEY_REJOIN:
        options->rejoin = true;
        return 0;
    case ARGP_KEY_END:
        if ((options->config == NULL) == (options->cluster.directory == NULL)) {
            argp_error(state, "give either a configuration or --dir D");
        }
        if (options->config != NULL && lks_cluster_options_given(&options->cluster)) {
            argp_error(state, "--replicas, --port, --ring, --durability, --fabric and "
                              "--election-timeout shape a new configuration: use them with --dir");
        }
        if (options->replica != 0 && options->config == NULL) {
            argp_error(state, "--replica needs the cluster's configuration");
        }
        if (options->new_cluster && options->replica == 0) {
            argp_error(state, "--new-cluster goes with --replica");
        }
        if (options->rejoin && (options->replica == 0 || options->new_cluster)) {
            argp_error(state, "--rejoin goes with --replica, and not with --new-cluster");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int print_media(const struct lks_config *config, struct lks_error *err)
{
    int rc = 0;
    for (uint32_t id = 1; rc == 0 && id <= config->replicas_count; id++) {
        rc = lks_cluster_print_medium(config, id, err);
    }
    return rc;
}

/* Journals for a configuration that exists: all, or one. */
static int init_old(const struct init_options *options, struct lks_error *err)
{
    struct lks_config config;
    char path[LKS_CONFIG_PATH_MAX];
    const struct lks_named_cluster named = {.file = options->config};
    int rc = lks_cluster_load(&config, &named, path, err);
    if (rc == 0) {
        rc = lks_cluster_make_directory(config.directory, err);
    }
    if (rc != 0) {
        return rc;
    }
    const uint32_t replica = options->replica;
    if (replica > config.replicas_count) {
        return lks_error_set(err, -LKS_ECONFIG, "--replica %u: this cluster has replicas 1 to %u",
                             replica, config.replicas_count);
    }
    if (replica == 0) {
        rc = lks_cluster_create_replicas(&config, err);
        return rc == 0 ? print_media(&config, err) : rc;
    }
    uint64_t lives = 0;
    rc = options->rejoin ? lks_cluster_set_aside(&config, replica, &lives, err) : 0;
    if (rc == 0) {
        rc = lks_cluster_create_replica(&config, replica, options->new_cluster, lives, err);
    }
    return rc == 0 ? lks_cluster_print_medium(&config, replica, err) : rc;
}

/* A new folder with everything in it, or nothing. */
static int init_new(const struct init_options *options, struct lks_error *err)
{
    struct lks_config config;
    char path[LKS_CONFIG_PATH_MAX];
    int rc = lks_cluster_make_directory(options->cluster.directory, err);
    if (rc == 0) {
        rc = lks_cluster_new_config(&config, &options->cluster, path, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = lks_cluster_create_replicas(&config, err);
    if (rc != 0) {
        (void)unlink(path);
        (void)rmdir(options->cluster.directory); /* only if nothing else is in it */
        return rc;
    }
    printf("configuration: %s\n", path);
    return print_media(&config, err);
}

int lks_init_command(int argc, char **argv)
{
    static const struct argp_option option_table[] = {
        {"config", 'c', "FILE", 0, "The cluster's configuration, instead of an argument", 2},
        {"replica", 'i', "N", 0,
         "Only replica N's files: they take the place of lost ones and get their content from "
         "the others", 2},
        {"rejoin", KEY_REJOIN, NULL, 0,
         "With --replica: what is left of its journal and snapshots is set aside, under another "
         "name, first; for a replica that is damaged", 2},
        {"new-cluster", KEY_NEW_CLUSTER, NULL, 0,
         "With --replica: the cluster never ran before (one init on each machine)", 2},
        {0},
    };
    static const struct argp_child children[] = {{&lks_cluster_argp, 0, "A new cluster:", 0}, {0}};
    static const struct argp argp = {
        .options = option_table,
        .parser = parse,
        .args_doc = "CONFIG\n--dir D",
        .doc = "Creates the journals and snapshot areas of a cluster; with --dir also its "
               "configuration D/cluster.yaml.\vNothing that exists is overwritten. Exit codes: 0 "
               "done; 1 failed; 2 wrong arguments or configuration.",
        .children = children,
    };
    struct init_options options = {0};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    struct lks_error err = {0};
    const int rc = options.config != NULL ? init_old(&options, &err) : init_new(&options, &err);
    if (rc != 0) {
        fprintf(stderr, "lockstep init: %s\n", err.text);
    }
    return rc == 0 ? LKS_EXIT_OK : rc == -LKS_ECONFIG ? LKS_EXIT_USAGE : LKS_EXIT_FAILURE;
}
