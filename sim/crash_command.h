/*
 * `lockstep-sim --crash-points`: runs the crash points of many scripts, on several processors, and
 * prints what was found.
 */
#ifndef LKS_SIM_CRASH_COMMAND_H
#define LKS_SIM_CRASH_COMMAND_H

#include <stdbool.h>

/* True if the arguments ask for it. */
bool lks_sim_crash_command_meant(int argc, char **argv);

/* Returns the exit code: 0 no violation, 1 violation or failure, 2 wrong usage, 130
 * interrupted. */
int lks_sim_crash_command(int argc, char **argv);

#endif
