/*
 * Checks, from what the services executed: every replica executes the same command at the same
 * index; no command is executed at two indexes (exactly once); and what a client was told to
 * have happened was executed, and is still there at the end (nothing acknowledged is lost).
 */
#ifndef LKS_SIM_CHECKERS_COMMANDS_H
#define LKS_SIM_CHECKERS_COMMANDS_H

#include "sim/checkers/history.h"
#include "sim/checkers/verdict.h"
#include "sim/service.h"

#include <stdint.h>

#define LKS_SIM_INDEXES_MAX 65536u

struct lks_sim_commands {
    struct lks_sim_verdict *verdict;
    struct lks_sim_executed at[LKS_SIM_INDEXES_MAX]; /* by index; number 0: none seen */
    uint64_t index_of[LKS_SIM_COMMANDS_MAX]; /* by command number; 0: not executed */
    uint8_t acknowledged[LKS_SIM_COMMANDS_MAX];
    uint64_t acknowledged_count;
    uint64_t executed_count; /* commands, not executions */
    uint64_t last_index;     /* the greatest seen */
    uint64_t last_number;    /* the greatest acknowledged */
};

void lks_sim_commands_applied(struct lks_sim_commands *commands, uint32_t replica,
                              const struct lks_sim_executed *executed);

/* A client got the answer to a command. */
void lks_sim_commands_acknowledged(struct lks_sim_commands *commands, uint64_t number);

/* At the end: a replica that applied everything up to `applied_index`. */
void lks_sim_commands_kept(struct lks_sim_commands *commands, uint32_t replica,
                           uint64_t applied_index);

#endif
