/*
 * What the machine itself does to latency, beside a measurement: one thread for each processor,
 * bound to it and, where the system allows it, ahead of everything else there, that sleeps and
 * notes how late it wakes. Nothing that the measured processes do can delay such a thread; what
 * delays it (a hypervisor that gives the processor to somebody else, an interrupt) delays every
 * process of that processor, too.
 */
#ifndef LKS_CLIENT_BENCH_WITNESS_H
#define LKS_CLIENT_BENCH_WITNESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_bench_witness;

/* Starts the threads. *out is the caller's, for lks_bench_witness_end. Errors: -ENOMEM, -EAGAIN
 * and those of sched_getaffinity, with err; *out is NULL then. */
int lks_bench_witness_start(struct lks_bench_witness **out, struct lks_error *err);

/* Ends the threads; may be called once more, and with NULL. What they noted stays readable. */
void lks_bench_witness_stop(struct lks_bench_witness *witness);

/* After _stop. Whether all threads ran ahead of everything else: only then does _saw mean
 * anything. */
bool lks_bench_witness_privileged(const struct lks_bench_witness *witness);

/* After _stop. How late a thread woke: the 99th percentile and the most, in nanoseconds. */
void lks_bench_witness_lates(struct lks_bench_witness *witness, uint64_t *p99_ns,
                             uint64_t *max_ns);

/* After _stop. Whether a processor was gone for at least half of the time between two readings of
 * the monotonic clock, in nanoseconds. */
bool lks_bench_witness_saw(const struct lks_bench_witness *witness, uint64_t begin_ns,
                           uint64_t end_ns);

/* Stops, too. */
void lks_bench_witness_end(struct lks_bench_witness *witness);

#endif
