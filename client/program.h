/*
 * What program this is: the commands that it has, and the service that its replicas run. The
 * `lockstep` binary (main.c) has the key-value service and the benchmarks; a program with a service
 * of its own (include/lockstep/replica.h) has the rest of the commands. Main thread.
 */
#ifndef LKS_CLIENT_PROGRAM_H
#define LKS_CLIENT_PROGRAM_H

#include "lockstep/service.h"

#include <stdbool.h>
#include <stddef.h>

struct lks_program_command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

struct lks_program {
    const char *name;
    const char *version; /* a line */
    const char *purpose; /* a line of the help */
    const struct lks_service *service; /* sessions around it */
    bool key_value; /* the Redis port takes the key-value service's commands */
    bool (*is_debug)(const void *command, size_t bytes); /* as in lks_daemon_options */
    const struct lks_program_command *more; /* commands that not every program has */
    size_t more_count;
};

/* Runs the command that the arguments name. Its exit code (command.h). The program stays the
 * caller's. */
int lks_program_run(const struct lks_program *program, int argc, char **argv);

/* The program that runs. */
const struct lks_program *lks_program(void);

#endif
