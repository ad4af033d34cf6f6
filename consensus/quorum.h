/*
 * Majorities. Pure functions.
 */
#ifndef LKS_CONSENSUS_QUORUM_H
#define LKS_CONSENSUS_QUORUM_H

#include "consensus/types.h"

/* Replicas that make a majority of n. */
static inline uint32_t lks_quorum_majority(uint32_t n)
{
    return n / 2 + 1;
}

/* The greatest value that at least a majority of n reached; values[0..n-1] in any order; n odd or
 * even, 1..7. */
uint64_t lks_quorum_reached(const uint64_t *values, uint32_t n);

#endif
