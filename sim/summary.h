/* What a campaign has come to, for people and for programs. */
#ifndef LKS_SIM_SUMMARY_H
#define LKS_SIM_SUMMARY_H

#include "sim/campaign.h"

#include <stdio.h>

void lks_sim_summary_print(const struct lks_sim_campaign *campaign,
                           const struct lks_sim_sums *sums, FILE *out);

/* One line with one object. */
void lks_sim_summary_json(const struct lks_sim_campaign *campaign,
                          const struct lks_sim_sums *sums, FILE *out);

#endif
