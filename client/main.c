/*
 * The `lockstep` binary: chooses the command and hands it its arguments. The only place that
 * knows all commands.
 */
#include "client/command.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

static const struct command commands[] = {
    {"local", lks_local_cluster_command, "run a whole cluster on this machine, in the foreground"},
    {"init", lks_init_command, "write a configuration, create journals and snapshot areas"},
    {"serve", lks_serve_command, "run one replica"},
    {"status", lks_status_command, "ask every replica how it is"},
    {"member", lks_member_command_line, "list, add, promote, remove members; hand leadership over"},
    {"scheduler", lks_scheduler_command_line, "show or change who executes the commands"},
    {"topology", lks_topology_command, "which thread runs on which core, and why"},
    {"journal", lks_journal_command, "look into a replica's journal: dump, verify"},
    {"bench", lks_bench_command, "measure replication, failover, recovery, endurance"},
    {"recover", lks_recover_command, "start again after a majority has forgotten entries"},
};

#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fprintf(out, "Usage: lockstep COMMAND [OPTION...]\n"
                 "Replicates a service over one-sided writes into persistent logs.\n\n");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(out, "  %-10s %s\n", "help", "this text, or a command's own");
    fprintf(out, "\n"
                 "`lockstep COMMAND --help` tells a command's options; `lockstep --version` the "
                 "version.\n"
                 "Exit codes: 0 done; 1 failed; 2 wrong arguments or configuration; 3 `status`: "
                 "no leader\nor no majority; 4 `serve`: removed from the cluster.\n");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    char title[64];
    (void)snprintf(title, sizeof title, "lockstep %s", command->name);
    argv[0] = title;
    return command->run(argc, argv);
}

static int run_help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return LKS_EXIT_OK;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL) {
        fprintf(stderr, "lockstep help: no command '%s'; `lockstep help` lists them\n", argv[1]);
        return LKS_EXIT_USAGE;
    }
    char option[] = "--help";
    char *arguments[] = {argv[1], option, NULL};
    return run_command(command, 2, arguments);
}

int main(int argc, char **argv)
{
    argp_err_exit_status = LKS_EXIT_USAGE;
    if (argc < 2) {
        print_help(stderr);
        return LKS_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "-?") == 0) {
        print_help(stdout);
        return LKS_EXIT_OK;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("lockstep %s (%s)\n", LKS_VERSION, LKS_COMMIT);
        return LKS_EXIT_OK;
    }
    if (strcmp(name, "help") == 0) {
        return run_help(argc - 1, argv + 1);
    }
    const struct command *command = find_command(name);
    if (command == NULL) {
        fprintf(stderr, "lockstep: no command '%s'; `lockstep help` lists them\n", name);
        return LKS_EXIT_USAGE;
    }
    return run_command(command, argc - 1, argv + 1);
}
