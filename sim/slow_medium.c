/* Slow media; see slow_medium.h. */
#include "sim/slow_medium.h"

#include "base/assert.h"

#include <string.h>

void lks_sim_slow_medium_begin(struct lks_sim_slow_medium *medium, uint64_t life)
{
    medium->life = life;
}

void lks_sim_slow_medium_end(struct lks_sim_slow_medium *medium)
{
    memset(medium->ranges, 0, sizeof medium->ranges);
}

static int persist_now(const struct lks_sim_slow_range *range)
{
    const struct lks_sim_slow_medium *medium = range->medium;
    const struct lks_snapshots_range part = {.offset = range->from,
                                             .bytes = range->to - range->from};
    return range->snapshots
               ? lks_snapshots_persist(lks_sim_area_store(medium->area), &part)
               : lks_journal_persist_range(lks_sim_storage_journal(medium->storage), range->from,
                                           range->to);
}

static void go_on(void *ctx, uint64_t life);

static void wait(struct lks_sim_slow_range *range)
{
    struct lks_sim_slow_medium *medium = range->medium;
    const uint64_t wait_ns = lks_sim_random_delay(medium->random, medium->delay);
    lks_sim_timeline_post(medium->timeline, lks_sim_timeline_now(medium->timeline) + wait_ns,
                          go_on, range, range->life);
}

static void go_on(void *ctx, uint64_t life)
{
    struct lks_sim_slow_range *range = ctx;
    struct lks_sim_slow_medium *medium = range->medium;
    if (!range->used || range->life != life || medium->life != life || *medium->replica == NULL) {
        return;
    }
    if (!range->durable) {
        range->durable = true;
        range->status = persist_now(range);
        wait(range);
        return;
    }
    range->used = false;
    if (range->snapshots) {
        lks_replica_snapshot_persisted(*medium->replica, range->id, range->status);
    } else {
        lks_replica_persisted(*medium->replica, range->id, range->status);
    }
    medium->told(medium->ctx);
}

static void post(struct lks_sim_slow_medium *medium, const struct lks_sim_slow_range *posted)
{
    uint32_t place = 0;
    while (place < LKS_SIM_SLOW_RANGES_MAX && medium->ranges[place].used) {
        place++;
    }
    LKS_ASSERT(place < LKS_SIM_SLOW_RANGES_MAX);
    struct lks_sim_slow_range *range = &medium->ranges[place];
    *range = *posted;
    range->medium = medium;
    range->used = true;
    range->life = medium->life;
    wait(range);
}

static void post_journal(void *ctx, uint64_t from, uint64_t to, uint64_t id)
{
    post(ctx, &(struct lks_sim_slow_range){.from = from, .to = to, .id = id});
}

static void post_snapshots(void *ctx, uint64_t from, uint64_t to, uint64_t id)
{
    post(ctx, &(struct lks_sim_slow_range){.snapshots = true, .from = from, .to = to, .id = id});
}

struct lks_persister lks_sim_slow_medium_of_journal(struct lks_sim_slow_medium *medium)
{
    return (struct lks_persister){.post = post_journal, .ctx = medium};
}

struct lks_persister lks_sim_slow_medium_of_snapshots(struct lks_sim_slow_medium *medium)
{
    return (struct lks_persister){.post = post_snapshots, .ctx = medium};
}
