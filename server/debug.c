/* Calibration of DEBUG BURN; see debug.h. */
#include "server/debug.h"

#include "base/clock.h"
#include "services/kv/burn.h"

#define TRIES 20u
#define ROUNDS UINT64_C(100000) /* some 100 us */

uint64_t lks_server_debug_calibrate(void)
{
    uint64_t shortest_ns = UINT64_MAX;
    volatile uint64_t kept = 0; /* so that the work is done */
    for (uint32_t i = 0; i < TRIES; i++) {
        const uint64_t began_ns = lks_clock_monotonic_ns();
        kept = lks_kv_burn(kept, ROUNDS);
        const uint64_t ns = lks_clock_monotonic_ns() - began_ns;
        shortest_ns = ns > 0 && ns < shortest_ns ? ns : shortest_ns;
    }
    const uint64_t rounds = ROUNDS * LKS_NS_PER_US / shortest_ns;
    const uint64_t most = LKS_KV_BURN_ROUNDS_MAX / LKS_KV_BURN_US_MAX;
    return rounds < 1 ? 1 : rounds > most ? most : rounds;
}
