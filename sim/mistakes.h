/* What an operator may get wrong at a replica's files. One thread. */
#ifndef LKS_SIM_MISTAKES_H
#define LKS_SIM_MISTAKES_H

#include "sim/checkers/verdict.h"
#include "sim/process.h"

/* Makes one of them, drawn from random, at the files of a process. The verdict is broken if it is
 * not refused for what it is. False: not that one now. */
bool lks_sim_mistake(struct lks_sim_process *process, struct lks_sim_random *random,
                     struct lks_sim_verdict *verdict);

#endif
