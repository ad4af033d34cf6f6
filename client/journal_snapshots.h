/*
 * What `lockstep journal dump|verify` says of the snapshots beside a journal. They are looked at
 * without locking or changing them, whether a replica runs or not. Main thread.
 */
#ifndef LKS_CLIENT_JOURNAL_SNAPSHOTS_H
#define LKS_CLIENT_JOURNAL_SNAPSHOTS_H

#include "pmem/snapshots.h"

#include <limits.h>
#include <stdbool.h>

struct lks_journal_snapshots {
    char path[PATH_MAX];
    bool there;   /* false: no such file, and none is needed */
    bool damaged; /* problem says how; also: it does not belong to the journal */
    struct lks_error problem;
    struct lks_snapshots_counts counts;
    uint32_t partitions;
    uint32_t taken;  /* partitions that have a snapshot */
    uint64_t blocks;
    uint64_t bytes; /* of content */
    struct lks_log_point lowest;
};

/*
 * Opens the area at `given` or, if that is NULL, at <journal>.snapshots, and reads all of it. base
 * is the journal's: a log that does not begin at 0 needs snapshots. While a replica replaces
 * snapshots the reading begins anew, a few times. Prints one line a partition if `print`.
 */
void lks_journal_snapshots_read(struct lks_journal_snapshots *found, const char *journal,
                                const char *given, const struct lks_log_point *base, bool print);

/* One or two lines for people; nothing if there are none. */
void lks_journal_snapshots_print(const struct lks_journal_snapshots *found);

/* ,"snapshots":{...} or ,"snapshots":null */
void lks_journal_snapshots_print_json(const struct lks_journal_snapshots *found);

#endif
