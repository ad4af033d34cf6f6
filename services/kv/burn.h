/*
 * Work that is nothing but work: how long it takes depends on the processor, what comes out on the
 * numbers that go in alone. DEBUG BURN is made of it. Any thread.
 */
#ifndef LKS_SERVICES_KV_BURN_H
#define LKS_SERVICES_KV_BURN_H

#include <stdint.h>

#define LKS_KV_BURN_US_MAX 10000u
#define LKS_KV_BURN_ROUNDS_MAX UINT64_C(100000000) /* of one command */

/* So many rounds of a few dependent instructions each, from `seed`; what is returned needs all of
 * them. */
uint64_t lks_kv_burn(uint64_t seed, uint64_t rounds);

#endif
