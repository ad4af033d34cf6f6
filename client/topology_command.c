/*
 * `lockstep topology`: on which core each thread of a replica would run, on which NUMA node its
 * memory would lie, and why, as text and as a drawing; for a configuration's replicas, for this
 * machine, or for another one. Main thread.
 */
#include "client/cluster_options.h"
#include "client/command.h"
#include "client/named_cluster.h"
#include "client/program.h"
#include "node/placement.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN UINT32_MAX

struct topology_command {
    struct lks_named_cluster cluster; /* none: the host alone */
    const char *machine;
    const char *svg;
    uint32_t replica;  /* 0: all of the configuration */
    uint32_t replicas; /* without a configuration: on the host */
    uint32_t workers;  /* UNKNOWN: those of the configuration, else 1 */
    enum lks_scheduler_kind kind; /* the configuration's, else early, if none was named */
    bool kind_named;
    char path[LKS_CONFIG_PATH_MAX];
    struct lks_config config;
    uint32_t count; /* of plans */
    struct lks_topology_plan plans[LKS_REPLICAS_MAX];
    struct lks_memory_plan memories[LKS_REPLICAS_MAX];
    char titles[LKS_REPLICAS_MAX][24];
};

static void check(const struct topology_command *command, struct argp_state *state)
{
    if (!lks_cluster_is_named(&command->cluster) && command->replica != 0) {
        argp_error(state, "--replica goes with --config FILE or --dir D");
    }
    if (lks_cluster_is_named(&command->cluster) && command->replicas != 0) {
        argp_error(state, "--replicas: the configuration says how many there are");
    }
}

static void take_kind(struct topology_command *command, const char *argument,
                      struct argp_state *state)
{
    struct lks_error err = {0};
    if (lks_scheduler_kind_parse(argument, &command->kind, &err) != 0) {
        argp_error(state, "--scheduler: %s", err.text);
    }
    command->kind_named = true;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct topology_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->cluster;
        return 0;
    case 'm':
        command->machine = argument;
        return 0;
    case 'n':
        command->replicas =
            (uint32_t)lks_cluster_number(state, "replicas", argument, 1, LKS_REPLICAS_MAX);
        return 0;
    case 'r':
        command->replica =
            (uint32_t)lks_cluster_number(state, "replica", argument, 1, LKS_REPLICAS_MAX);
        return 0;
    case 's':
        command->svg = argument;
        return 0;
    case 'w':
        command->workers =
            (uint32_t)lks_cluster_number(state, "workers", argument, 0, LKS_WORKERS_MAX);
        return 0;
    case 'k':
        take_kind(command, argument, state);
        return 0;
    case ARGP_KEY_END:
        check(command, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- plans ---------------------------------------------------------------------------------- */

/* Where the memory of the newest plan lies. */
static int add_memory(struct topology_command *command, enum lks_scheduler_kind kind,
                      struct lks_error *err)
{
    const uint32_t at = command->count++;
    return lks_memory_plan_make(&command->memories[at], &command->plans[at],
                                command->kind_named ? command->kind : kind,
                                lks_program()->service->partitions, err);
}

static int plan_config(struct topology_command *command, struct lks_error *err)
{
    const struct lks_config *config = &command->config;
    const uint32_t workers =
        command->workers != UNKNOWN ? command->workers : (uint32_t)config->workers;
    if (command->replica > config->replicas_count) {
        return lks_error_set(err, -LKS_ECONFIG,
                             "replica %" PRIu32 ": %s has replicas 1 to %" PRIu32,
                             command->replica, command->path, config->replicas_count);
    }
    for (uint32_t id = 1; id <= config->replicas_count; id++) {
        if (command->replica != 0 && command->replica != id) {
            continue;
        }
        (void)snprintf(command->titles[command->count], sizeof command->titles[0],
                       "replica %" PRIu32, id);
        int rc = lks_placement_make(&command->plans[command->count], config, id, workers,
                                    command->machine, err);
        rc = rc == 0 ? add_memory(command, config->scheduler, err) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int plan_machine(struct topology_command *command, struct lks_error *err)
{
    struct lks_topology_options options = {
        .workers = command->workers != UNKNOWN ? command->workers : 1,
        .places = command->replicas != 0 ? command->replicas : 1,
        .machine = command->machine,
    };
    for (; options.place < options.places; options.place++) {
        (void)snprintf(command->titles[command->count], sizeof command->titles[0],
                       "replica %" PRIu32, options.place + 1);
        int rc = lks_topology_plan_make(&command->plans[command->count], &options, err);
        rc = rc == 0 ? add_memory(command, LKS_EARLY, err) : rc;
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* ---- output --------------------------------------------------------------------------------- */

static void print(const struct topology_command *command)
{
    for (uint32_t i = 0; i < command->count; i++) {
        printf("%s: ", command->titles[i]);
        lks_topology_plan_print(&command->plans[i], stdout);
        lks_memory_plan_print(&command->memories[i], stdout);
    }
    printf("Clients and peers are the core thread's too. Threads that sync a slow medium, and the "
           "one that frees RDMA memory,\nmostly sleep: the system places them.\n");
}

static int draw(const struct topology_command *command, struct lks_error *err)
{
    struct lks_topology_drawing drawings[LKS_REPLICAS_MAX];
    for (uint32_t i = 0; i < command->count; i++) {
        drawings[i] = (struct lks_topology_drawing){command->titles[i], &command->plans[i],
                                                    &command->memories[i]};
    }
    FILE *file = fopen(command->svg, "we");
    if (file == NULL) {
        return lks_error_set(err, -errno, "%s: cannot be written: %s", command->svg,
                             lks_error_text(-errno));
    }
    lks_topology_plan_draw(drawings, command->count, file);
    const bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        return lks_error_set(err, -EIO, "%s: cannot be written", command->svg);
    }
    return 0;
}

static int run(struct topology_command *command, struct lks_error *err)
{
    int rc = 0;
    if (lks_cluster_is_named(&command->cluster)) {
        rc = lks_cluster_load(&command->config, &command->cluster, command->path, err);
        rc = rc == 0 ? plan_config(command, err) : rc;
    } else {
        rc = plan_machine(command, err);
    }
    if (rc == 0) {
        print(command);
    }
    return rc == 0 && command->svg != NULL ? draw(command, err) : rc;
}

int lks_topology_command(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"replica", 'r', "N", 0, "This one alone (default: all)", 0},
        {"replicas", 'n', "N", 0, "Without a configuration: so many on the host (default: 1)", 0},
        {"workers", 'w', "N", 0, "So many workers (default: the configuration's, else 1)", 0},
        {"machine", 'm', "TEXT", 0,
         "Another machine: hwloc's synthetic description, such as 'numa:2 core:8 pu:2', or an XML "
         "file of lstopo", 0},
        {"scheduler", 'k', "KIND", 0,
         "Memory as for this scheduler (default: the configuration's, else early)", 0},
        {"svg", 's', "FILE", 0, "Draw it as well", 0},
        {0},
    };
    static const struct argp_child children[] = {LKS_NAMED_CLUSTER_CHILD, {0}};
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .children = children,
        .doc = "Tells on which core each thread of a replica runs, on which NUMA node its memory "
               "lies, and why.\vA replica with workers keeps to this plan when it starts. Exit "
               "codes: 0 done; 1 failed; 2 wrong "
               "arguments or configuration.",
    };
    struct lks_error err = {0};
    struct topology_command *command = calloc(1, sizeof *command);
    if (command == NULL) {
        fprintf(stderr, "lockstep topology: out of memory\n");
        return LKS_EXIT_FAILURE;
    }
    command->workers = UNKNOWN;
    command->cluster.optional = true;
    (void)argp_parse(&argp, argc, argv, 0, NULL, command);
    const int rc = run(command, &err);
    free(command);
    if (rc != 0) {
        fprintf(stderr, "lockstep topology: %s\n", err.text);
    }
    if (rc == -LKS_ECONFIG || rc == -EINVAL) {
        return LKS_EXIT_USAGE;
    }
    return rc == 0 ? LKS_EXIT_OK : LKS_EXIT_FAILURE;
}
