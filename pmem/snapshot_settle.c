/*
 * Log and snapshots after a restart: which of the two is ahead; see snapshots.h. Runs on the
 * journal's thread, once, after recovery. Invariant: the base never lies above a partition's point,
 * since it moves only after the manifest that allows it is durable.
 */
#include "base/assert.h"
#include "pmem/snapshots_internal.h"

#include <inttypes.h>

static bool same(const struct lks_log_point *a, const struct lks_log_point *b)
{
    return a->offset == b->offset && a->index == b->index && a->term == b->term &&
           a->chain == b->chain;
}

static int not_its_own(const struct lks_snapshots *store, const struct lks_log_point *base,
                       const struct lks_log_point *low, struct lks_error *err)
{
    return lks_error_set(err, -LKS_EDAMAGED,
                         "snapshots %s: they reach to index %" PRIu64 " (offset %" PRIu64
                         "), but the journal keeps its log from index %" PRIu64 " (offset %" PRIu64
                         ") on: the file is an older copy, or belongs elsewhere; put the right one "
                         "back, or let this replica rebuild itself from its peers with `lockstep "
                         "init CONFIG --rejoin`",
                         store->path, low->index, low->offset, base->index, base->offset);
}

/* The point of the log at which `low` should lie: the first one not below it. */
static struct lks_log_point find(const struct lks_journal *journal,
                                 const struct lks_log_point *base, const struct lks_log_point *low,
                                 const struct lks_log_point *tail)
{
    struct lks_log_point cursor = *base;
    struct lks_entry entry;
    while (cursor.offset < low->offset &&
           lks_journal_next(journal, &cursor, tail->offset, &entry) == 0) {
        /* each turn moves the cursor on by 64 bytes at least */
    }
    return cursor;
}

int lks_snapshots_settle(const struct lks_snapshots *store, struct lks_journal *journal,
                         struct lks_log_point *tail, struct lks_error *err)
{
    struct lks_log_point base;
    const struct lks_log_point low = lks_snapshots_point(store, lks_snapshots_lowest(store));
    lks_journal_base(journal, &base);
    if (low.offset < base.offset || (low.offset == base.offset && !same(&low, &base))) {
        return not_its_own(store, &base, &low, err);
    }
    if (low.offset == base.offset) {
        return 0;
    }
    const struct lks_log_point there = find(journal, &base, &low, tail);
    const bool contained = same(&there, &low);
    const int rc = lks_journal_write_base(journal, &low);
    if (rc < 0) {
        return lks_error_set(err, rc, "snapshots %s: the journal's base cannot be moved: %s",
                             store->path, lks_error_text(rc));
    }
    if (!contained) {
        struct lks_entry entry;
        struct lks_log_point end = low;
        while (lks_journal_next(journal, &end, low.offset + lks_journal_ring_bytes(journal),
                                &entry) == 0) {
            /* what chains on that point belongs to the same log */
        }
        *tail = end;
    }
    LKS_ASSERT(tail->offset >= low.offset);
    return 0;
}
