/*
 * Majorities. Pure functions over masks of replicas: bit p is replica p, bit 0 is unused.
 */
#ifndef LKS_CONSENSUS_QUORUM_H
#define LKS_CONSENSUS_QUORUM_H

#include "consensus/types.h"

/* Replicas that make a majority of n. */
static inline uint32_t lks_quorum_majority(uint32_t n)
{
    return n / 2 + 1;
}

/* Replicas in the mask. */
static inline uint32_t lks_quorum_count(uint32_t mask)
{
    mask = mask - (mask >> 1 & 0x55u);
    mask = (mask & 0x33u) + (mask >> 2 & 0x33u);
    return (mask + (mask >> 4)) & 0x0fu;
}

/* Whether `some` holds a majority of the voters; of no voters there is none. */
static inline bool lks_quorum_has_majority(uint32_t some, uint32_t voters)
{
    return voters != 0 &&
           lks_quorum_count(some & voters) >= lks_quorum_majority(lks_quorum_count(voters));
}

/* The greatest value that at least a majority of the voters (some) reached; values[p] is replica
 * p's. */
uint64_t lks_quorum_reached(const uint64_t values[LKS_CORE_PEERS], uint32_t voters);

/* Runs the statement after it for each replica p of the mask, rising. */
#define LKS_QUORUM_EACH(p, mask) \
    for (uint32_t p##_rest = (mask), p = 0; \
         p##_rest != 0 && (p = (uint32_t)__builtin_ctz(p##_rest), true); \
         p##_rest &= p##_rest - 1u)

#endif
