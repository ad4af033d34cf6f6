/*
 * `lockstep recover --accept-loss`: the way out when a majority of replicas may have forgotten
 * acknowledged entries, and the cluster therefore refuses to start. Says what is given up, asks for
 * the cluster's name, and takes the journals of this machine as they are. Replicas must be
 * stopped: each journal is opened under its lock.
 */
#include "client/cluster_options.h"
#include "client/command.h"
#include "client/named_cluster.h"
#include "client/survivor.h"
#include "node/assembly.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { KEY_ACCEPT_LOSS = 0x100, KEY_CLUSTER, KEY_SURVIVORS };

struct recover_options {
    struct lks_named_cluster named;
    const char *cluster;
    uint32_t replica; /* 0: every journal that is on this machine */
    bool accept_loss;
    uint32_t survivors; /* mask; 0: not given */
};

/* "1" or "1,3". */
static uint32_t survivors_option(struct argp_state *state, const char *text)
{
    uint32_t mask = 0;
    const char *at = text;
    while (*at >= '1' && *at <= '0' + (int)LKS_REPLICAS_MAX && (at[1] == ',' || at[1] == '\0')) {
        mask |= 1u << (*at - '0');
        at += at[1] == ',' ? 2 : 1;
    }
    if (*at != '\0' || mask == 0) {
        argp_error(state, "--survivors: '%s' is no list of replicas such as 1 or 1,3", text);
    }
    return mask;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct recover_options *options = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->named;
        return 0;
    case 'i':
        options->replica =
            (uint32_t)lks_cluster_number(state, "replica", argument, 1, LKS_REPLICAS_MAX);
        return 0;
    case KEY_ACCEPT_LOSS:
        options->accept_loss = true;
        return 0;
    case KEY_CLUSTER:
        options->cluster = argument;
        return 0;
    case KEY_SURVIVORS:
        options->survivors = survivors_option(state, argument);
        return 0;
    case ARGP_KEY_END:
        if (!options->accept_loss) {
            argp_error(state, "--accept-loss is needed: writes that clients saw acknowledged may "
                              "be given up");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The name must be typed, or given: this is not to happen by accident. */
static int confirm(const struct recover_options *options, const struct lks_config *config,
                   struct lks_error *err)
{
    char typed[LKS_CONFIG_NAME_MAX + 2] = "";
    const char *name = options->cluster;
    if (name == NULL) {
        printf("Type the cluster's name to go on: ");
        (void)fflush(stdout);
        if (fgets(typed, sizeof typed, stdin) != NULL) {
            typed[strcspn(typed, "\n")] = '\0';
        }
        name = typed;
    }
    if (strcmp(name, config->name) != 0) {
        return lks_error_set(err, -EINVAL, "'%s' is not the name of this cluster ('%s'): nothing "
                             "was changed", name, config->name);
    }
    return 0;
}

static int accept_loss(const struct lks_config *config, uint32_t id, struct lks_error *err)
{
    struct lks_journal_options options;
    struct lks_journal *journal = NULL;
    struct lks_identity identity;
    struct lks_log_point tail;
    lks_assembly_journal_options(config, id, &options);
    int rc = lks_journal_open(&journal, &options, err);
    if (rc != 0) {
        return rc;
    }
    lks_journal_identity(journal, &identity);
    rc = lks_journal_recover(journal, &tail, err);
    if (rc == 0 && !identity.amnesiac) {
        printf("replica %u: has forgotten nothing; unchanged (entries up to %" PRIu64 ")\n", id,
               tail.index);
    } else if (rc == 0) {
        rc = lks_journal_clear_amnesia(journal, lks_config_members(config));
        if (rc != 0) {
            (void)lks_error_set(err, rc, "%s: %s", options.path, lks_error_text(rc));
        } else {
            printf("replica %u: taken as it is, entries up to %" PRIu64 "%s\n", id, tail.index,
                   identity.promise_lost ? " (a new journal under an old name)" : "");
        }
    }
    lks_journal_close(journal, false);
    return rc;
}

static void print_mask(uint32_t mask)
{
    for (uint32_t id = 1; id <= LKS_REPLICAS_MAX; id++) {
        if ((mask >> id & 1u) != 0) {
            printf(" %u", id);
        }
    }
}

/* The majority is lost for good: a new cluster begins with what one survivor holds. */
static int found(const struct recover_options *options, const struct lks_config *config,
                 const char *path, struct lks_error *err)
{
    struct lks_survivor survivor;
    int rc = lks_survivor_choose(&survivor, config, options->survivors, err);
    if (rc != 0) {
        return rc;
    }
    const uint32_t dropped = (survivor.voters | survivor.learners) & ~(1u << survivor.id);
    printf("Cluster %s begins anew with replica %u alone, which holds entries up to %" PRIu64
           " of term %" PRIu64 ".\nEverything acknowledged after that is given up for good. No "
           "members any more:", config->name, survivor.id, survivor.last_index,
           survivor.last_term);
    print_mask(dropped);
    printf(";\nthe cluster gets a new id, so that they cannot meet it again.\n");
    rc = confirm(options, config, err);
    if (rc == 0) {
        rc = lks_survivor_found(&survivor, config, path, err);
    }
    if (rc == 0) {
        printf("done: start it with `lockstep serve --config %s --replica %u`, then add others "
               "with `lockstep member add N --rejoin`\n", path, survivor.id);
    }
    return rc;
}

static int recover(const struct recover_options *options, struct lks_error *err)
{
    struct lks_config config;
    char path[LKS_CONFIG_PATH_MAX];
    int rc = lks_cluster_load(&config, &options->named, path, err);
    if (rc == 0 && options->replica > config.replicas_count) {
        rc = lks_error_set(err, -LKS_ECONFIG, "--replica %u: this cluster has replicas 1 to %u",
                           options->replica, config.replicas_count);
    }
    if (rc == 0 && options->survivors != 0) {
        return found(options, &config, path, err);
    }
    if (rc == 0) {
        printf("Cluster %s: entries that were acknowledged and that no journal below holds are "
               "given up for good.\nIf another replica still has them, start that one instead.\n",
               config.name);
        rc = confirm(options, &config, err);
    }
    uint32_t done = 0;
    for (uint32_t id = 1; rc == 0 && id <= config.replicas_count; id++) {
        if (options->replica != 0 && options->replica != id) {
            continue;
        }
        rc = accept_loss(&config, id, err);
        if (rc == -ENOENT && options->replica == 0) {
            printf("replica %u: its journal is not on this machine\n", id);
            rc = 0;
        } else if (rc == 0) {
            done++;
        }
    }
    if (rc == 0 && done == 0) {
        rc = lks_error_set(err, -ENOENT, "%s: none of its journals is on this machine", path);
    }
    return rc;
}

int lks_recover_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"replica", 'i', "N", 0, "Only replica N's journal (default: all on this machine)", 0},
        {"accept-loss", KEY_ACCEPT_LOSS, NULL, 0, "Needed: say that the loss is accepted", 0},
        {"survivors", KEY_SURVIVORS, "LIST", 0,
         "A majority is lost for good: of these replicas (as 1 or 1,3), the one with the latest "
         "log becomes the only member of the cluster, which gets a new id", 0},
        {"cluster", KEY_CLUSTER, "NAME", 0, "The cluster's name, instead of being asked for it",
         0},
        {0},
    };
    static const struct argp_child children[] = {LKS_NAMED_CLUSTER_CHILD, {0}};
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .children = children,
        .args_doc = "--config FILE --accept-loss",
        .doc = "Lets a cluster start again of which a majority may have forgotten acknowledged "
               "entries (power lost in durability mode memory, or journals replaced), or is lost "
               "for good.\vThe "
               "replicas must be stopped. Exit codes: 0 done; 1 failed; 2 wrong arguments or "
               "configuration.",
    };
    struct recover_options options = {0};
    (void)argp_parse(&argp, argc, argv, 0, NULL, &options);
    struct lks_error err = {0};
    const int rc = recover(&options, &err);
    if (rc != 0) {
        fprintf(stderr, "lockstep recover: %s\n",
                err.text[0] != '\0' ? err.text : lks_error_text(rc));
    }
    return rc == 0 ? LKS_EXIT_OK : rc == -LKS_ECONFIG ? LKS_EXIT_USAGE : LKS_EXIT_FAILURE;
}
