/*
 * The book of campaigns: a line for each that was run, in a file of tab-separated values that only
 * grows, so that a million seeds can be run in pieces, over several sittings and machines.
 */
#ifndef LKS_SIM_RECORD_H
#define LKS_SIM_RECORD_H

#include "base/error.h"
#include "sim/campaign.h"

/* Opens the book, or begins one; before the campaign, so that a wrong path costs nothing. Returns a
 * descriptor, the caller's to close; errno. */
int lks_sim_record_open(const char *path, struct lks_error *err);

/* Adds the line of a campaign that has ended, with the names of the columns above it if it is the
 * first. Columns: time (UTC, of the end), commit, profile ("all": by their shares), replicas (0: by
 * the seed), first seed, seeds, violations, events, entries committed, faults, simulated seconds,
 * hours of a processor, and the faults by kind. 0; errno: nothing was added. */
int lks_sim_record_add(int fd, const struct lks_sim_campaign *campaign,
                       const struct lks_sim_sums *sums, const char *commit,
                       struct lks_error *err);

#endif
