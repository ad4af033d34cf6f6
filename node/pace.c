/* When snapshots begin and how fast they go; see pace.h. */
#include "node/pace.h"

#include "base/assert.h"

#define STEP_BYTES_MIN (UINT64_C(4) << 10)   /* less is not worth a step */
#define STEP_BYTES_MAX (UINT64_C(128) << 10) /* in one step while commands come */
#define KEPT_BYTES_HURRY (UINT64_C(8) << 20)
#define SHARE_MIN UINT64_C(64)

void lks_pace_init(struct lks_pace *pace, const struct lks_pace_options *options)
{
    LKS_ASSERT(options->partitions >= 1);
    LKS_ASSERT(options->replica >= 1 && options->replica <= options->replicas);
    const uint64_t even = options->ring_bytes / 2 / options->partitions;
    const uint64_t most = options->ring_bytes / 8; /* or few partitions would come too often */
    const uint64_t share = even < most ? even : most;
    *pace = (struct lks_pace){.partitions = options->partitions,
                              .ring_bytes = options->ring_bytes,
                              .share = share > SHARE_MIN ? share : SHARE_MIN};
    pace->phase = pace->share / 4 * (options->replica - 1) / options->replicas;
}

uint64_t lks_pace_due(const struct lks_pace *pace, const uint64_t *points)
{
    const uint64_t oldest_max = pace->ring_bytes / 8 * 5;
    uint64_t due = UINT64_MAX;
    uint64_t before = pace->phase; /* what this one and those before it need */
    for (uint32_t i = 0; i < pace->partitions; i++) {
        before += pace->share;
        const uint64_t at = points[i] + (before < oldest_max ? oldest_max - before : 0);
        due = at < due ? at : due;
    }
    /* Whatever the figures say, a snapshot that changes next to nothing is not worth its price. */
    const uint64_t least = points[0] + pace->ring_bytes / 16;
    return due > least ? due : least;
}

static uint64_t target(const struct lks_pace *pace, const struct lks_pace_progress *progress)
{
    /* Half of the share: the guess may be low, and making it durable takes its time too. */
    const uint64_t share = pace->share * progress->count / 2;
    if (progress->grown >= share || progress->used > pace->ring_bytes / 4 * 3 ||
        progress->kept > KEPT_BYTES_HURRY || progress->pressed) {
        return UINT64_MAX;
    }
    const double part = (double)progress->grown / (double)share;
    return (uint64_t)((double)progress->expected * part);
}

/* A log that does not grow needs no snapshots either: idle time is left to others, who share the
 * processor. */
uint64_t lks_pace_bytes(const struct lks_pace *pace, const struct lks_pace_progress *progress)
{
    const uint64_t goal = target(pace, progress);
    uint64_t bytes = goal > progress->written ? goal - progress->written : 0;
    if (bytes < STEP_BYTES_MIN) {
        /* What fits into one step is not worth waiting for. */
        return progress->expected <= STEP_BYTES_MIN ? STEP_BYTES_MIN : 0;
    }
    return bytes < STEP_BYTES_MAX ? bytes : STEP_BYTES_MAX;
}
