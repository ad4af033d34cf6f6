/*
 * The replica processes that `local` starts: one each, in a process group of its own so that a
 * Ctrl-C reaches `local` alone, and ended by the kernel should `local` die. Main thread.
 */
#ifndef LKS_CLIENT_PROCESSES_H
#define LKS_CLIENT_PROCESSES_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct lks_process {
    pid_t pid;   /* 0: none */
    bool ended;
    int status;  /* of waitpid, once ended */
};

/* Starts `serve --config config --replica replica`, its output appended to log. errno. */
int lks_process_start(struct lks_process *process, const char *config, uint32_t replica,
                      const char *log, struct lks_error *err);

/* Notes without waiting whether it has ended. */
void lks_process_check(struct lks_process *process);

/* Asks it to end, waits up to wait_ns, then kills it. True if it ended in order. */
bool lks_process_stop(struct lks_process *process, uint64_t wait_ns);

/* Whether it ended by itself, with this code. */
bool lks_process_exited_with(const struct lks_process *process, int code);

/* "exited with code 1", "was killed by signal 9 (Killed)". Returns text. */
const char *lks_process_end_text(const struct lks_process *process, char *text, size_t bytes);

#endif
