/*
 * An administrator at a replica's client port: `MEMBER ...` and `SCHEDULER ...` as words, as they
 * come from a connection, and what the replica answers. One thread.
 */
#ifndef LKS_SIM_ADMINISTRATOR_H
#define LKS_SIM_ADMINISTRATOR_H

#include "node/replica.h"
#include "sim/random.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_ADMINISTRATOR_TEXT_MAX 128u

/* Asks replica `self` for the change of the request (its addresses and cookie are not used). Some
 * of those who are added are named with an address, drawn from random. True: it is under way; text
 * is what was answered, cut, "" while it is under way. */
bool lks_sim_administrator_asks(struct lks_replica *replica, uint32_t self,
                                const struct lks_member_request *request,
                                struct lks_sim_random *random,
                                char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX]);

/* Asks for the list of members, and, now and then, for what makes no sense: asserts that the first
 * names the members that the replica counts by, and that the second is refused and changes
 * nothing. */
void lks_sim_administrator_looks(struct lks_replica *replica, uint32_t self,
                                 struct lks_sim_random *random);

/* Has the replica, which has workers, execute by another scheduler; workers: how many of them, 0:
 * all. Asserts that this is accepted, and shown. */
void lks_sim_administrator_schedules(struct lks_replica *replica, enum lks_scheduler_kind kind,
                                     uint32_t workers);

/* Words for the scheduler that make no sense, or ask for what this replica does not have: asserts
 * that they are refused and change nothing. */
void lks_sim_administrator_errs(struct lks_replica *replica, struct lks_sim_random *random);

/* What a change that was under way came to, as its connection is told. */
void lks_sim_administrator_told(int status, const char *why,
                                char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX]);

#endif
