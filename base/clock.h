/*
 * Clocks. Only node/, client/, bench/ and the fabric's own timeouts read them; the core gets
 * time as an event, and the simulator replaces it. Any thread.
 */
#ifndef LKS_BASE_CLOCK_H
#define LKS_BASE_CLOCK_H

#include <stdint.h>

#define LKS_NS_PER_US UINT64_C(1000)
#define LKS_NS_PER_MS UINT64_C(1000000)
#define LKS_NS_PER_S UINT64_C(1000000000)

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t lks_clock_monotonic_ns(void);

/* CLOCK_REALTIME in nanoseconds since 1970. */
uint64_t lks_clock_realtime_ns(void);

/* Sleeps for ns, or less where a signal comes. */
void lks_clock_sleep_ns(uint64_t ns);

/* Tells the processor that this is a spin loop. */
static inline void lks_clock_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
