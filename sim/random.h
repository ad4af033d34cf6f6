/*
 * The simulator's only source of chance: xoshiro256**, seeded through splitmix64. One seed gives
 * one run, on every machine. Streams are forked by name, so that drawing more in one part of the
 * simulator does not move what another part draws. One thread.
 */
#ifndef LKS_SIM_RANDOM_H
#define LKS_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_random {
    uint64_t state[4];
};

/* A span of time to draw from: uniform in [min_ns, max_ns], and with tail_ppm / 10^6 chance from
 * (max_ns, tail_ns], every order of magnitude alike. */
struct lks_sim_delay {
    uint64_t min_ns;
    uint64_t max_ns;
    uint64_t tail_ns;
    uint32_t tail_ppm;
};

void lks_sim_random_init(struct lks_sim_random *random, uint64_t seed);

/* Starts an independent stream; `stream` is its name. Does not advance parent. */
void lks_sim_random_fork(struct lks_sim_random *random, const struct lks_sim_random *parent,
                         uint64_t stream);

uint64_t lks_sim_random_next(struct lks_sim_random *random);

/* Uniform in [0, limit); limit > 0. */
uint64_t lks_sim_random_below(struct lks_sim_random *random, uint64_t limit);

/* Uniform in [low, high]. */
uint64_t lks_sim_random_range(struct lks_sim_random *random, uint64_t low, uint64_t high);

/* In [low, high], 0 < low: every order of magnitude alike. */
uint64_t lks_sim_random_magnitude(struct lks_sim_random *random, uint64_t low, uint64_t high);

/* True ppm times in a million. */
bool lks_sim_random_chance(struct lks_sim_random *random, uint32_t ppm);

uint64_t lks_sim_random_delay(struct lks_sim_random *random, const struct lks_sim_delay *delay);

#endif
