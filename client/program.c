/* Chooses a command of the program and hands it its arguments; see program.h. */
#include "client/program.h"

#include "base/assert.h"
#include "client/command.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

static const struct lks_program_command commands[] = {
    {"local", lks_local_cluster_command, "run a whole cluster on this machine, in the foreground"},
    {"init", lks_init_command, "write a configuration, create journals and snapshot areas"},
    {"serve", lks_serve_command, "run one replica"},
    {"status", lks_status_command, "ask every replica how it is"},
    {"member", lks_member_command_line, "list, add, promote, remove members; hand leadership over"},
    {"scheduler", lks_scheduler_command_line, "show or change who executes the commands"},
    {"topology", lks_topology_command, "which thread runs on which core, and why"},
    {"journal", lks_journal_command, "look into a replica's journal: dump, verify"},
    {"recover", lks_recover_command, "start again after a majority has forgotten entries"},
};

#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])

static const struct lks_program *g_program;

const struct lks_program *lks_program(void)
{
    LKS_ASSERT(g_program != NULL);
    return g_program;
}

static void print_commands(FILE *out, const struct lks_program_command *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "  %-10s %s\n", list[i].name, list[i].summary);
    }
}

static void print_help(FILE *out)
{
    const char *name = g_program->name;
    fprintf(out, "Usage: %s COMMAND [OPTION...]\n%s\n\n", name, g_program->purpose);
    print_commands(out, commands, COMMANDS_COUNT);
    print_commands(out, g_program->more, g_program->more_count);
    fprintf(out, "  %-10s %s\n", "help", "this text, or a command's own");
    fprintf(out, "\n"
                 "`%s COMMAND --help` tells a command's options; `%s --version` the version.\n"
                 "Exit codes: 0 done; 1 failed; 2 wrong arguments or configuration; 3 `status`: "
                 "no leader\nor no majority; 4 `serve`: removed from the cluster.\n",
            name, name);
}

static const struct lks_program_command *find(const char *name)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    for (size_t i = 0; i < g_program->more_count; i++) {
        if (strcmp(g_program->more[i].name, name) == 0) {
            return &g_program->more[i];
        }
    }
    return NULL;
}

static int run_command(const struct lks_program_command *command, int argc, char **argv)
{
    char title[96];
    (void)snprintf(title, sizeof title, "%s %s", g_program->name, command->name);
    argv[0] = title;
    return command->run(argc, argv);
}

static int refuse(const char *what, const char *name)
{
    fprintf(stderr, "%s: no command '%s'; `%s help` lists them\n", what, name, g_program->name);
    return LKS_EXIT_USAGE;
}

static int run_help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return LKS_EXIT_OK;
    }
    const struct lks_program_command *command = find(argv[1]);
    if (command == NULL) {
        char title[64];
        (void)snprintf(title, sizeof title, "%s help", g_program->name);
        return refuse(title, argv[1]);
    }
    char option[] = "--help";
    char *arguments[] = {argv[1], option, NULL};
    return run_command(command, 2, arguments);
}

int lks_program_run(const struct lks_program *program, int argc, char **argv)
{
    g_program = program;
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
        printf("%s\n", program->version);
        return LKS_EXIT_OK;
    }
    if (strcmp(name, "help") == 0) {
        return run_help(argc - 1, argv + 1);
    }
    const struct lks_program_command *command = find(name);
    return command == NULL ? refuse(program->name, name)
                           : run_command(command, argc - 1, argv + 1);
}
