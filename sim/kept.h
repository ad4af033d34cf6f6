/*
 * A list of seeds that once found something, kept for good: one line each, "SEED PROFILE REPLICAS
 * WHY", where # begins a comment and empty lines count for nothing.
 */
#ifndef LKS_SIM_KEPT_H
#define LKS_SIM_KEPT_H

#include "base/error.h"
#include "sim/campaign.h"

#include <stdint.h>

/* Reads a list; free *tasks with free(). Errors: errno; -EINVAL: err names the line and what is
 * wrong with it. */
int lks_sim_kept_read(const char *path, struct lks_sim_task **tasks, uint64_t *count,
                      struct lks_error *err);

#endif
