/*
 * Reads of a replica's own clients, from their arrival to their answer: which of them wait for a
 * request to the leader, which are covered by one under way, which have their point, the offset up
 * to which the log must be applied before they may be answered. Two lists, each in the order of
 * arrival: a read behind commands of its own connection waits for those, the others do not wait
 * for it. Slots are reserved at start; long reads take memory of their own, up to a bound. Used by
 * reads.c on the replica's thread.
 */
#ifndef LKS_NODE_READ_QUEUE_H
#define LKS_NODE_READ_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_READ_INLINE_BYTES 184u
#define LKS_READ_REQUESTS_MAX 2u /* under way at a time */
#define LKS_READ_UNCONFIRMED UINT64_MAX

struct lks_read_queue;

struct lks_read {
    struct lks_read *next;
    uint64_t arrival; /* 1, 2, ... in the order of coming */
    uint64_t after;   /* own commands submitted before it came */
    uint64_t point;   /* log offset, or LKS_READ_UNCONFIRMED */
    uint64_t time_ns; /* the caller's: of the state that it reads */
    uint64_t cookie;
    const void *data;
    uint32_t bytes;
    bool ordered; /* its connection waits for others: not before the `after` own commands are
                     answered, nor before an earlier ordered one */
    uint8_t inlined[LKS_READ_INLINE_BYTES];
};

struct lks_read_queue_options {
    uint64_t bytes_max; /* of slots, and of long reads beside them */
};

/* -ENOMEM. */
int lks_read_queue_new(struct lks_read_queue **queue,
                       const struct lks_read_queue_options *options);
void lks_read_queue_free(struct lks_read_queue *queue); /* NULL is allowed; reads are forgotten */

struct lks_read_arrival {
    const void *command; /* copied */
    size_t bytes;
    uint64_t cookie;
    uint64_t after;
    bool ordered;
};

/* Takes a read in. -LKS_EBUSY: no room; nothing has changed then. */
int lks_read_queue_add(struct lks_read_queue *queue, const struct lks_read_arrival *arrival);

/* Whether a read waits that no request covers, and another request may be made. */
bool lks_read_queue_may_ask(const struct lks_read_queue *queue);
/* Makes the next request: its number, 1, 2, ..., never used again. It covers every read so far. */
uint64_t lks_read_queue_ask(struct lks_read_queue *queue);
/* The last request made. */
uint64_t lks_read_queue_asked(const struct lks_read_queue *queue);
/* Whether a request is without an answer. */
bool lks_read_queue_asking(const struct lks_read_queue *queue);
/* A request under way was answered, and with it those before: all that they cover has its point.
 * False: no such request is under way, and nothing has changed. */
bool lks_read_queue_confirm(struct lks_read_queue *queue, uint64_t request, uint64_t point);
/* No request under way will be answered: what they cover waits for another one. */
void lks_read_queue_void(struct lks_read_queue *queue);

/* Takes out a read whose point is applied: all below applied_offset is, and own commands up to
 * sequence `answered`. Of one connection never a later one before an earlier one. NULL: none. */
struct lks_read *lks_read_queue_ready(struct lks_read_queue *queue, uint64_t applied_offset,
                                      uint64_t answered);
/* Takes out the oldest read that came before own command `sequence` was submitted, whether or not
 * it has its point. NULL: none. */
struct lks_read *lks_read_queue_before(struct lks_read_queue *queue, uint64_t sequence);

/* What was taken out and not answered goes back to its place; it must have its point. */
void lks_read_queue_put_back(struct lks_read_queue *queue, struct lks_read *read);
/* It is answered. */
void lks_read_queue_release(struct lks_read_queue *queue, struct lks_read *read);

struct lks_read_queue_counts {
    uint64_t waiting;  /* not released, taken out or not */
    uint64_t arrived;  /* in this life */
    uint64_t requests; /* made in this life */
    uint64_t refused;  /* -LKS_EBUSY */
};

void lks_read_queue_counts(const struct lks_read_queue *queue,
                           struct lks_read_queue_counts *counts);

#endif
