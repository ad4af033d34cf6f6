/*
 * Measured durations and their percentiles. One thread; memory is allocated once, at _init.
 */
#ifndef LKS_BENCH_SAMPLES_H
#define LKS_BENCH_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct lks_samples {
    uint64_t *values_ns;
    size_t count;
    size_t capacity;
};

/* Room for capacity values. -ENOMEM. */
int lks_samples_init(struct lks_samples *samples, size_t capacity);
void lks_samples_fini(struct lks_samples *samples);

/* Adds one; ignored when full. */
static inline void lks_samples_add(struct lks_samples *samples, uint64_t value_ns)
{
    if (samples->count < samples->capacity) {
        samples->values_ns[samples->count] = value_ns;
        samples->count++;
    }
}

/* Sorts the values; _percentile and _max are valid after it, until the next _add. */
void lks_samples_sort(struct lks_samples *samples);

/* The value that a share (0..1) of all values does not exceed; 0 if there are none. */
uint64_t lks_samples_percentile(const struct lks_samples *samples, double share);
uint64_t lks_samples_max(const struct lks_samples *samples);

#endif
