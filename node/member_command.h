/*
 * MEMBER at a replica's client port, and how members are shown: text in, text out. The replica
 * decides (node/replica.h, lks_replica_change_members). Loop's thread.
 */
#ifndef LKS_NODE_MEMBER_COMMAND_H
#define LKS_NODE_MEMBER_COMMAND_H

#include "lockstep/argument.h"
#include "lockstep/reply.h"
#include "node/assembly.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * MEMBER LIST|ADD id [ADDRESS] [FABRIC ADDRESS] [MANUAL]|PROMOTE id|REMOVE id|TRANSFER [id]. True:
 * `reply` holds the answer. False: the change is under way, and on_member_change with this cookie
 * follows. Errors begin with NOTLEADER (and the leader's address, if known), BUSY (try again),
 * NOTREADY (a learner has not caught up), or ERR.
 *
 * LIST answers, as far as this replica knows, with lines of key=value pairs: first the members'
 * number and the leader, then one line for each member.
 */
bool lks_member_command(const struct lks_assembly *assembly, const struct lks_argument *args,
                        size_t count, uint64_t cookie, struct lks_reply *reply);

/* What follows, as a reply: OK, or an error that begins with UNKNOWN (the outcome is not known: ask
 * again) or ERR. */
void lks_member_command_ended(int status, const char *text, struct lks_reply *reply);

/* Where the clients of a replica connect: as its addition said, else as configured. False: neither
 * says; text is untouched. */
bool lks_member_address(const struct lks_assembly *assembly, uint32_t id, char *text,
                        size_t bytes_max);

/* "1,2,3": the replicas of a mask; "": none. */
const char *lks_member_mask_text(uint32_t mask, char text[32]);

#endif
