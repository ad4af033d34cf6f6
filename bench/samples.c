/* Measured durations; see samples.h. */
#include "bench/samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lks_samples_init(struct lks_samples *samples, size_t capacity)
{
    samples->values_ns = calloc(capacity, sizeof *samples->values_ns);
    samples->count = 0;
    samples->capacity = capacity;
    if (samples->values_ns == NULL) {
        return -ENOMEM;
    }
    memset(samples->values_ns, 1, capacity * sizeof *samples->values_ns); /* no page faults later */
    return 0;
}

void lks_samples_fini(struct lks_samples *samples)
{
    free(samples->values_ns);
    memset(samples, 0, sizeof *samples);
}

static int compare(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

void lks_samples_sort(struct lks_samples *samples)
{
    qsort(samples->values_ns, samples->count, sizeof *samples->values_ns, compare);
}

uint64_t lks_samples_percentile(const struct lks_samples *samples, double share)
{
    if (samples->count == 0) {
        return 0;
    }
    const size_t place = (size_t)((double)(samples->count - 1) * share + 0.5);
    return samples->values_ns[place];
}

uint64_t lks_samples_max(const struct lks_samples *samples)
{
    return samples->count == 0 ? 0 : samples->values_ns[samples->count - 1];
}
