/*
 * Scripts for scenarios of membership on the core rig: a cluster with more slots than voters, and
 * changes that are carried to their end. Test thread only.
 */
#ifndef LKS_TESTS_SUPPORT_CORE_MEMBERS_H
#define LKS_TESTS_SUPPORT_CORE_MEMBERS_H

#include "tests/support/core_golden.h"

#define BIT(p) ((uint8_t)(1u << (p)))

/* `slots` replicas, those of the mask voters, 1 the established leader; all connected. */
struct rig *members_cluster(uint32_t slots, uint8_t voters);

/* The leader's changes: appended (aborts if refused); not yet committed. */
void members_add(struct rig *rig, uint32_t leader, uint32_t p);
void members_promote(struct rig *rig, uint32_t leader, uint32_t p);
void members_remove(struct rig *rig, uint32_t leader, uint32_t p);

/* ... and carried to their end: p a voter that holds everything. */
void members_join(struct rig *rig, uint32_t leader, uint32_t p);

/* Starts n, and connects it to everybody that is up. */
void members_come_back(struct rig *rig, uint32_t n);

/* From now on nothing that n says, or writes, reaches p. */
void members_mute(struct rig *rig, uint32_t n, uint32_t p, bool muted);

#endif
