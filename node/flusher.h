/*
 * The flusher: a thread that makes ranges of the log durable where that blocks for a device's
 * flush, so that the replica's loop goes on meanwhile. The loop's thread posts and takes; the
 * flusher's thread alone calls `persist`. Ranges end in the order in which they were posted;
 * those that wait together are made durable by one call (a group commit).
 */
#ifndef LKS_NODE_FLUSHER_H
#define LKS_NODE_FLUSHER_H

#include "base/error.h"

#include <stdint.h>

#define LKS_FLUSHER_POSTED_MAX 8u /* posted and not yet taken; more is asserted impossible */

struct lks_flusher;

/* Makes [from, to) durable; 0 or a negative errno. Runs on the flusher's thread. */
typedef int (*lks_flusher_persist)(void *ctx, uint64_t from, uint64_t to);

/* Starts the thread. -ENOMEM, -EAGAIN, errno of eventfd. ctx stays the caller's until _free. */
int lks_flusher_new(struct lks_flusher **flusher, lks_flusher_persist persist, void *ctx,
                    struct lks_error *err);

/* Ends the thread after the range that it works on, drops the others, frees. NULL is allowed. */
void lks_flusher_free(struct lks_flusher *flusher);

/* Posts a range. flusher is a struct lks_flusher: the form of struct lks_persister's post. */
void lks_flusher_post(void *flusher, uint64_t from, uint64_t to, uint64_t id);

/* Readable when a range has ended that was not taken yet. */
int lks_flusher_fd(const struct lks_flusher *flusher);

struct lks_flusher_ended {
    uint64_t id;
    int status;
};

/* Takes what has ended; returns how many of ended_max were filled. */
uint32_t lks_flusher_take(struct lks_flusher *flusher, struct lks_flusher_ended *ended,
                          uint32_t ended_max);

#endif
