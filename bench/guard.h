/*
 * Removes a benchmark's folder, rings in memory among them, once every process that works in it is
 * gone without having removed it: after Ctrl-C, a kill or a failed assertion. A guard process waits
 * for the end of a socket whose other end the benchmark and its replicas hold. Called by the
 * benchmark's main thread, before it starts replicas.
 */
#ifndef LKS_BENCH_GUARD_H
#define LKS_BENCH_GUARD_H

#include "base/error.h"

struct lks_guard {
    int fd; /* the socket's other end; 0: no guard */
};

/* Begins to guard. -errno if there is no room for a socket or a process. */
int lks_guard_start(struct lks_guard *guard, const char *directory, struct lks_error *err);

/* The folder is removed already, or shall stay. Nothing to do if there is no guard. */
void lks_guard_dismiss(struct lks_guard *guard);

#endif
