/*
 * SCHEDULER at a replica's client port: how this replica executes from now on. It concerns this
 * replica alone, needs no entry in the log, and lasts until the process ends. Loop's thread.
 */
#ifndef LKS_NODE_SCHEDULER_COMMAND_H
#define LKS_NODE_SCHEDULER_COMMAND_H

#include "lockstep/argument.h"
#include "lockstep/reply.h"
#include "node/replica.h"

#include <stddef.h>

/* SCHEDULER SET kind [WORKERS n], its name included in args, at least 3 of them. `reply` gets OK,
 * when the change is accepted (INFO's scheduler_wanted, then its scheduler, tell how far it is), or
 * an error that begins with ERR; then nothing has changed. */
void lks_scheduler_command(struct lks_replica *replica, const struct lks_argument *args,
                           size_t count, struct lks_reply *reply);

#endif
