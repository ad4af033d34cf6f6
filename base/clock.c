/* Clocks; see clock.h. */
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec now;
    (void)clock_gettime(id, &now); /* cannot fail for these two clocks */
    return (uint64_t)now.tv_sec * LKS_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t lks_clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t lks_clock_realtime_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

void lks_clock_sleep_ns(uint64_t ns)
{
    const struct timespec pause = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                   .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    (void)nanosleep(&pause, NULL);
}
