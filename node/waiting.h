/*
 * Committed entries that cannot be executed yet, because a partition that they touch is not
 * restored, or because an earlier entry of that partition waits. One queue a partition, in the
 * order of the log; an entry may run when it is the first in all queues that it stands in and
 * their partitions are ready. So each partition sees its entries in the order of the log, and
 * what touches ready partitions alone never waits. Used by recovery.c on the replica's thread.
 */
#ifndef LKS_NODE_WAITING_H
#define LKS_NODE_WAITING_H

#include <stdbool.h>
#include <stdint.h>

struct lks_waiting;

#define LKS_WAITING_WHOLE UINT32_MAX

struct lks_waiting_entry {
    uint64_t offset; /* where it begins in the log, which keeps its bytes meanwhile */
    uint64_t index;
    uint64_t cookie; /* of an own client's command; see `own` */
    uint32_t part;   /* the only partition that it is to be executed in; or LKS_WAITING_WHOLE */
    bool own;        /* an own client waits for its answer */
    void *read;      /* not an entry, but a read, which stands between two; offset and index are
                        not above those of the entry before it */
    bool done;
    uint32_t blocked;     /* queues in which it is not first, or whose partition is not ready */
    uint32_t first_link;
    uint32_t next_runnable;
};

struct lks_waiting_options {
    uint32_t partitions;  /* 1..4096; none of them is ready */
    uint32_t entries_max; /* at least `partitions` */
};

/* Reserves memory for entries_max entries; it costs only what was ever used. -ENOMEM. */
int lks_waiting_new(struct lks_waiting **waiting, const struct lks_waiting_options *options);
void lks_waiting_free(struct lks_waiting *waiting); /* NULL is allowed */

/* Whether an entry of these partitions has to wait. partitions NULL: all of them. */
bool lks_waiting_must(const struct lks_waiting *waiting, const uint16_t *partitions,
                      uint32_t count);

/* Whether an entry of whatever partitions could be queued now, also in parts, one a partition. */
bool lks_waiting_has_room(const struct lks_waiting *waiting);
/* The same behind another entry. An empty queue has it. */
bool lks_waiting_has_room_for_two(const struct lks_waiting *waiting);

/*
 * Queues an entry behind all others; the caller fills in offset, index, cookie, part and own. Its
 * address is valid until lks_waiting_done. partitions NULL: all of them; else `count` of them, at
 * least one, each once. NULL: no room, try again when others have run.
 */
struct lks_waiting_entry *lks_waiting_add(struct lks_waiting *waiting, const uint16_t *partitions,
                                          uint32_t count);

/* The partition is restored: what waits for nothing else may run. Once a partition. */
void lks_waiting_ready(struct lks_waiting *waiting, uint32_t partition);

/* An entry that may run now, or NULL. The caller calls _done before anything else. */
struct lks_waiting_entry *lks_waiting_next(struct lks_waiting *waiting);
void lks_waiting_done(struct lks_waiting *waiting, struct lks_waiting_entry *entry);

/* The oldest entry that has not run; NULL: none waits. */
struct lks_waiting_entry *lks_waiting_oldest(const struct lks_waiting *waiting);

/* Entries that have not run; and whether any waits for this partition. */
uint32_t lks_waiting_count(const struct lks_waiting *waiting);
bool lks_waiting_for(const struct lks_waiting *waiting, uint32_t partition);

/* Takes the oldest entry out whether or not it may run; for forgetting all of them, after which the
 * queue must be freed. NULL: none is left. Valid until the next call. */
struct lks_waiting_entry *lks_waiting_forget(struct lks_waiting *waiting);

#endif
