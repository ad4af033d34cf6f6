/*
 * What must hold when recording clients have been joined and all replicas serve again: printed,
 * right or wrong. Replicas that are away are not asked. Main thread.
 */
#ifndef LKS_TESTS_SUPPORT_HISTORY_CHECKS_H
#define LKS_TESTS_SUPPORT_HISTORY_CHECKS_H

#include "tests/support/history_client.h"

/* Every acknowledged write of a client's own keys is at every replica, no refused one is. -1. */
int lks_history_check_own_keys(const struct lks_history_client *clients, uint32_t clients_count,
                               const struct lks_process_cluster *cluster);

/* No counter is below its acknowledged increments, nor above those and the unknown ones; and the
 * history, with last reads at every replica, is linearizable. -1. */
int lks_history_check(const struct lks_history_client *clients, uint32_t clients_count,
                      const struct lks_process_cluster *cluster);

#endif
