/* Random numbers of a run; see random.h. */
#include "sim/random.h"

#include "base/assert.h"

#define PPM_WHOLE 1000000u

static uint64_t splitmix(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t mixed = *state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

void lks_sim_random_init(struct lks_sim_random *random, uint64_t seed)
{
    uint64_t state = seed;
    for (unsigned i = 0; i < 4; i++) {
        random->state[i] = splitmix(&state);
    }
}

void lks_sim_random_fork(struct lks_sim_random *random, const struct lks_sim_random *parent,
                         uint64_t stream)
{
    uint64_t state = parent->state[0] ^ rotate(parent->state[3], 17);
    state ^= (stream + 1) * UINT64_C(0xd1342543de82ef95);
    lks_sim_random_init(random, splitmix(&state));
}

uint64_t lks_sim_random_next(struct lks_sim_random *random)
{
    uint64_t *s = random->state;
    const uint64_t result = rotate(s[1] * 5, 7) * 9;
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t lks_sim_random_below(struct lks_sim_random *random, uint64_t limit)
{
    LKS_ASSERT(limit > 0);
    /* The modulo's bias is below 2^-20 for every limit in use, and the same on every machine. */
    return lks_sim_random_next(random) % limit;
}

uint64_t lks_sim_random_range(struct lks_sim_random *random, uint64_t low, uint64_t high)
{
    LKS_ASSERT(low <= high);
    return low + lks_sim_random_below(random, high - low + 1);
}

uint64_t lks_sim_random_magnitude(struct lks_sim_random *random, uint64_t low, uint64_t high)
{
    LKS_ASSERT(low > 0);
    LKS_ASSERT(low <= high);
    uint64_t doublings = 0;
    while (high >> (doublings + 1) >= low) {
        doublings++;
    }
    const uint64_t from = low << lks_sim_random_below(random, doublings + 1);
    const uint64_t to = 2 * from - 1 < high ? 2 * from - 1 : high;
    return lks_sim_random_range(random, from, to);
}

bool lks_sim_random_chance(struct lks_sim_random *random, uint32_t ppm)
{
    return lks_sim_random_next(random) % PPM_WHOLE < ppm; /* by a constant: much cheaper */
}

uint64_t lks_sim_random_delay(struct lks_sim_random *random, const struct lks_sim_delay *delay)
{
    if (delay->tail_ppm == 0 || delay->tail_ns <= delay->max_ns ||
        !lks_sim_random_chance(random, delay->tail_ppm)) {
        return lks_sim_random_range(random, delay->min_ns, delay->max_ns);
    }
    /* Halving the span a random number of times makes every order of magnitude alike. */
    uint64_t span = delay->tail_ns - delay->max_ns;
    unsigned orders = 0;
    while ((span >> orders) > delay->max_ns + 1 && orders < 63) {
        orders++;
    }
    span >>= lks_sim_random_below(random, (uint64_t)orders + 1);
    return delay->max_ns + 1 + lks_sim_random_below(random, span > 0 ? span : 1);
}
