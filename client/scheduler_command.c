/*
 * `lockstep scheduler show|set`: how the replicas of a running cluster execute, and changing that
 * on one or all of them, each by itself: it is no matter of the log. Asks their client ports. Main
 * thread.
 */
#include "base/clock.h"
#include "client/cluster_options.h"
#include "client/command.h"
#include "client/named_cluster.h"
#include "client/survey.h"
#include "client/workers_view.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ASK_TIMEOUT_NS (2 * LKS_NS_PER_S)
#define CHANGE_MAX_NS (10 * LKS_NS_PER_S) /* until what was under way is executed */
#define LOOK_NS (20 * LKS_NS_PER_MS)

struct scheduler_command {
    struct lks_named_cluster cluster;
    const char *action; /* "show", "set" */
    const char *kind;   /* set */
    const char *workers; /* set: a number, checked; NULL: all */
    uint32_t replica;   /* 0: all */
    bool json;
    char path[LKS_CONFIG_PATH_MAX];
    struct lks_config config;
};

/* ---- arguments ------------------------------------------------------------------------------ */

static void take_argument(struct scheduler_command *command, char *argument,
                          struct argp_state *state)
{
    enum lks_scheduler_kind kind;
    struct lks_error err = {0};
    if (command->action == NULL &&
        (strcmp(argument, "show") == 0 || strcmp(argument, "set") == 0)) {
        command->action = argument;
    } else if (command->action == NULL) {
        argp_error(state, "'%s': say show, or set and a scheduler", argument);
    } else if (strcmp(command->action, "set") != 0 || command->kind != NULL) {
        argp_error(state, "'%s' is too much", argument);
    } else if (lks_scheduler_kind_parse(argument, &kind, &err) != 0) {
        argp_error(state, "%s", err.text);
    } else {
        command->kind = argument;
    }
}

static void check(const struct scheduler_command *command, struct argp_state *state)
{
    const bool set = command->action != NULL && strcmp(command->action, "set") == 0;
    if (command->action == NULL || (set && command->kind == NULL)) {
        argp_error(state, "say show, or set and a scheduler");
    }
    if (!set && command->workers != NULL) {
        argp_error(state, "--workers goes with set");
    }
    if (set && command->json) {
        argp_error(state, "--json goes with show");
    }
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct scheduler_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->cluster;
        return 0;
    case 'j':
        command->json = true;
        return 0;
    case 'r':
        command->replica =
            (uint32_t)lks_cluster_number(state, "replica", argument, 1, LKS_REPLICAS_MAX);
        return 0;
    case 'w':
        (void)lks_cluster_number(state, "workers", argument, 1, LKS_WORKERS_MAX);
        command->workers = argument;
        return 0;
    case ARGP_KEY_ARG:
        take_argument(command, argument, state);
        return 0;
    case ARGP_KEY_END:
        check(command, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- show ----------------------------------------------------------------------------------- */

static bool is_chosen(const struct scheduler_command *command, uint32_t id)
{
    return command->replica == 0 || command->replica == id;
}

static void print_one(const struct lks_survey_replica *replica, uint32_t id)
{
    printf("  %" PRIu32 ": ", id);
    if (replica->reachable) {
        lks_workers_view_print(replica->info);
    } else {
        printf("unreachable: %s\n", replica->problem);
    }
}

static void print_one_json(const struct lks_survey_replica *replica, uint32_t id, bool first)
{
    char kind[32];
    char wanted[32];
    printf("%s{\"id\":%" PRIu32 ",\"reachable\":%s", first ? "" : ",", id,
           replica->reachable ? "true" : "false");
    if (replica->reachable) {
        (void)lks_ask_value(replica->info, "scheduler", kind, sizeof kind);
        (void)lks_ask_value(replica->info, "scheduler_wanted", wanted, sizeof wanted);
        printf(",\"scheduler\":\"%.20s\",\"wanted\":\"%.20s\",\"workers\":%" PRIu64
               ",\"active\":%" PRIu64 ",\"executors\":",
               kind, wanted, lks_ask_number(replica->info, "workers"),
               lks_ask_number(replica->info, "workers_active"));
        lks_workers_view_print_json(replica->info);
    }
    putchar('}');
}

/* 0, or -EHOSTUNREACH: one of them could not be asked. */
static int show(const struct scheduler_command *command, struct lks_survey *survey)
{
    int rc = 0;
    bool first = true;
    lks_survey_take(survey, &command->config, ASK_TIMEOUT_NS);
    fputs(command->json ? "[" : "", stdout);
    for (uint32_t id = 1; id <= command->config.replicas_count; id++) {
        const struct lks_survey_replica *replica = &survey->replicas[id];
        if (!is_chosen(command, id)) {
            continue;
        }
        if (command->json) {
            print_one_json(replica, id, first);
        } else {
            print_one(replica, id);
        }
        first = false;
        rc = replica->reachable ? rc : -EHOSTUNREACH;
    }
    fputs(command->json ? "]\n" : "", stdout);
    return rc;
}

/* ---- set ------------------------------------------------------------------------------------ */

/* Until the replica executes so. */
static int await_change(const struct lks_config_replica *where, const char *kind,
                        struct lks_error *err)
{
    static char info[LKS_ASK_TEXT_MAX];
    const uint64_t deadline_ns = lks_clock_monotonic_ns() + CHANGE_MAX_NS;
    for (;;) {
        char now[32];
        char wanted[32];
        const int rc =
            lks_ask_info(where->address, where->port, "lockstep", ASK_TIMEOUT_NS, info, err);
        if (rc != 0) {
            return rc;
        }
        (void)lks_ask_value(info, "scheduler", now, sizeof now);
        (void)lks_ask_value(info, "scheduler_wanted", wanted, sizeof wanted);
        if (strcmp(wanted, kind) != 0) {
            return lks_error_set(err, -EBUSY, "another change, to %s, has come meanwhile", wanted);
        }
        if (strcmp(now, kind) == 0) {
            return 0;
        }
        if (lks_clock_monotonic_ns() > deadline_ns) {
            return lks_error_set(err, -ETIMEDOUT,
                                 "it still executes what was under way: the change, accepted, "
                                 "comes after that");
        }
        const struct timespec pause = {.tv_nsec = (long)LOOK_NS};
        (void)nanosleep(&pause, NULL);
    }
}

static int set_one(const struct scheduler_command *command, uint32_t id, struct lks_error *err)
{
    static char text[LKS_ASK_TEXT_MAX];
    const struct lks_config_replica *where = &command->config.replicas[id];
    const char *const args[] = {"SCHEDULER", "SET", command->kind,
                                command->workers != NULL ? "WORKERS" : NULL, command->workers,
                                NULL};
    const int rc =
        lks_ask_command(where->address, where->port, args, ASK_TIMEOUT_NS, text, err);
    return rc == 0 ? await_change(where, command->kind, err) : rc;
}

/* Every one that can be changed is changed; the first error is returned. */
static int set(const struct scheduler_command *command)
{
    int first = 0;
    for (uint32_t id = 1; id <= command->config.replicas_count; id++) {
        struct lks_error err = {0};
        if (!is_chosen(command, id)) {
            continue;
        }
        const int rc = set_one(command, id, &err);
        if (rc == 0) {
            printf("replica %" PRIu32 " executes with %s, until its next start\n", id,
                   command->kind);
        } else {
            const bool own = strncmp(err.text, "ERR ", 4) == 0;
            fprintf(stderr, "lockstep scheduler: replica %" PRIu32 ": %s\n", id,
                    own ? err.text + 4 : err.text);
            first = first == 0 ? rc : first;
        }
    }
    return first;
}

/* ---- the command ---------------------------------------------------------------------------- */

static int run(struct scheduler_command *command)
{
    struct lks_error err = {0};
    if (lks_cluster_load(&command->config, &command->cluster, command->path, &err) != 0) {
        fprintf(stderr, "lockstep scheduler: %s\n", err.text);
        return LKS_EXIT_USAGE;
    }
    if (command->replica > command->config.replicas_count) {
        fprintf(stderr, "lockstep scheduler: replica %" PRIu32 ": %s has replicas 1 to %" PRIu32
                "\n", command->replica, command->path, command->config.replicas_count);
        return LKS_EXIT_USAGE;
    }
    if (strcmp(command->action, "set") == 0) {
        return set(command) == 0 ? LKS_EXIT_OK : LKS_EXIT_FAILURE;
    }
    struct lks_survey *survey = malloc(sizeof *survey);
    if (survey == NULL) {
        fprintf(stderr, "lockstep scheduler: out of memory\n");
        return LKS_EXIT_FAILURE;
    }
    const int rc = show(command, survey);
    free(survey);
    return rc == 0 ? LKS_EXIT_OK : LKS_EXIT_FAILURE;
}

int lks_scheduler_command_line(int argc, char **argv)
{
    static const struct argp_option table[] = {
        {"replica", 'r', "N", 0, "This one alone (default: all)", 0},
        {"workers", 'w', "N", 0,
         "set late, adaptive: on so many of its workers (default: all that it has)", 0},
        {"json", 'j', NULL, 0, "show: one JSON array, on one line", 0},
        {0},
    };
    static const struct argp_child children[] = {LKS_NAMED_CLUSTER_CHILD, {0}};
    static const struct argp argp = {
        .options = table,
        .parser = parse,
        .children = children,
        .args_doc = "show\nset KIND",
        .doc = "Shows who executes the commands of a running cluster, and changes it between two "
               "entries of the log.\vKIND: sequential, early, late, hybrid or adaptive. Replicas "
               "need not agree. A replica that starts again does as its configuration says. Exit "
               "codes: 0 done; 1 failed for a replica; 2 wrong arguments or configuration.",
    };
    struct scheduler_command *command = calloc(1, sizeof *command);
    if (command == NULL) {
        fprintf(stderr, "lockstep scheduler: out of memory\n");
        return LKS_EXIT_FAILURE;
    }
    (void)argp_parse(&argp, argc, argv, 0, NULL, command);
    const int code = run(command);
    free(command);
    return code;
}
