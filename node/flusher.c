/* The flusher's thread and its two rings; see flusher.h. */
#include "node/flusher.h"

#include "base/assert.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct range {
    uint64_t from;
    uint64_t to;
    uint64_t id;
};

/*
 * Counters only grow; a slot is counter mod LKS_FLUSHER_POSTED_MAX. A range is in exactly one of
 * the states posted >= begun >= ended >= taken, so that one array of slots serves both ways.
 */
struct lks_flusher {
    _Alignas(64) _Atomic uint32_t posted; /* the loop's thread writes */
    uint32_t taken;                       /* the loop's thread alone */
    _Atomic bool stop;                    /* the loop's thread writes */
    _Alignas(64) _Atomic uint32_t ended;  /* the flusher's thread writes */
    _Alignas(64) struct range ranges[LKS_FLUSHER_POSTED_MAX]; /* the loop's, before `posted` */
    int statuses[LKS_FLUSHER_POSTED_MAX];                     /* the flusher's, before `ended` */
    lks_flusher_persist persist;
    void *ctx;
    int work_fd;  /* wakes the flusher */
    int ended_fd; /* wakes the loop */
    pthread_t thread;
};

static void wake(int fd)
{
    const uint64_t one = 1;
    const ssize_t written = write(fd, &one, sizeof one);
    LKS_ASSERT(written == (ssize_t)sizeof one);
}

/* Waits until something was posted; returns `posted`. */
static uint32_t wait_for_work(struct lks_flusher *flusher, uint32_t begun)
{
    for (;;) {
        /* Pairs with the release in lks_flusher_post: the range is readable after it. */
        const uint32_t posted = atomic_load_explicit(&flusher->posted, memory_order_acquire);
        if (posted != begun || atomic_load_explicit(&flusher->stop, memory_order_acquire)) {
            return posted;
        }
        uint64_t count = 0;
        const ssize_t got = read(flusher->work_fd, &count, sizeof count);
        LKS_ASSERT(got == (ssize_t)sizeof count || errno == EINTR);
    }
}

/* Makes ranges [begun, posted) durable; those that touch one another by one call. */
static uint32_t persist_some(struct lks_flusher *flusher, uint32_t begun, uint32_t posted)
{
    const struct range *first = &flusher->ranges[begun % LKS_FLUSHER_POSTED_MAX];
    const uint64_t from = first->from;
    uint64_t to = first->to;
    uint32_t next = begun + 1;
    while (next != posted) {
        const struct range *range = &flusher->ranges[next % LKS_FLUSHER_POSTED_MAX];
        if (range->from < from || range->from > to) {
            break;
        }
        to = range->to > to ? range->to : to;
        next++;
    }
    const int status = flusher->persist(flusher->ctx, from, to);
    for (uint32_t i = begun; i != next; i++) {
        flusher->statuses[i % LKS_FLUSHER_POSTED_MAX] = status;
    }
    /* Pairs with the acquire in lks_flusher_take: statuses are readable after it. */
    atomic_store_explicit(&flusher->ended, next, memory_order_release);
    wake(flusher->ended_fd);
    return next;
}

static void *run_flusher(void *argument)
{
    struct lks_flusher *flusher = argument;
    uint32_t begun = 0;
    for (;;) {
        const uint32_t posted = wait_for_work(flusher, begun);
        if (atomic_load_explicit(&flusher->stop, memory_order_acquire)) {
            return NULL;
        }
        begun = persist_some(flusher, begun, posted);
    }
}

/* Signals are the main thread's; this one is created with all of them blocked. */
static int start_thread(struct lks_flusher *flusher)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&flusher->thread, NULL, run_flusher, flusher);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

int lks_flusher_new(struct lks_flusher **flusher, lks_flusher_persist persist, void *ctx,
                    struct lks_error *err)
{
    struct lks_flusher *made = aligned_alloc(64, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "flusher: out of memory");
    }
    *made = (struct lks_flusher){.persist = persist, .ctx = ctx};
    int rc = 0;
    made->work_fd = eventfd(0, EFD_CLOEXEC);
    if (made->work_fd < 0) {
        rc = -errno;
        goto free_flusher;
    }
    made->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->ended_fd < 0) {
        rc = -errno;
        goto close_work;
    }
    rc = start_thread(made);
    if (rc != 0) {
        goto close_ended;
    }
    *flusher = made;
    return 0;

close_ended:
    (void)close(made->ended_fd);
close_work:
    (void)close(made->work_fd);
free_flusher:
    free(made);
    return lks_error_set(err, rc, "flusher: cannot start its thread: %s", lks_error_text(rc));
}

void lks_flusher_free(struct lks_flusher *flusher)
{
    if (flusher == NULL) {
        return;
    }
    atomic_store_explicit(&flusher->stop, true, memory_order_release);
    wake(flusher->work_fd);
    const int rc = pthread_join(flusher->thread, NULL);
    LKS_ASSERT(rc == 0);
    (void)close(flusher->ended_fd);
    (void)close(flusher->work_fd);
    free(flusher);
}

void lks_flusher_post(void *ctx, uint64_t from, uint64_t to, uint64_t id)
{
    struct lks_flusher *flusher = ctx;
    const uint32_t posted = atomic_load_explicit(&flusher->posted, memory_order_relaxed);
    LKS_ASSERT(posted - flusher->taken < LKS_FLUSHER_POSTED_MAX);
    flusher->ranges[posted % LKS_FLUSHER_POSTED_MAX] = (struct range){from, to, id};
    /* Pairs with the acquire in wait_for_work. */
    atomic_store_explicit(&flusher->posted, posted + 1, memory_order_release);
    wake(flusher->work_fd);
}

int lks_flusher_fd(const struct lks_flusher *flusher)
{
    return flusher->ended_fd;
}

uint32_t lks_flusher_take(struct lks_flusher *flusher, struct lks_flusher_ended *ended,
                          uint32_t ended_max)
{
    if (atomic_load_explicit(&flusher->ended, memory_order_acquire) == flusher->taken) {
        return 0;
    }
    /* The descriptor is emptied before `ended` is read again: a range that ends between the two
     * makes it readable again. */
    uint64_t count = 0;
    const ssize_t got = read(flusher->ended_fd, &count, sizeof count);
    LKS_ASSERT(got == (ssize_t)sizeof count || errno == EAGAIN || errno == EINTR);
    const uint32_t last = atomic_load_explicit(&flusher->ended, memory_order_acquire);
    uint32_t filled = 0;
    while (flusher->taken != last && filled < ended_max) {
        const uint32_t slot = flusher->taken % LKS_FLUSHER_POSTED_MAX;
        ended[filled].id = flusher->ranges[slot].id;
        ended[filled].status = flusher->statuses[slot];
        flusher->taken++;
        filled++;
    }
    if (flusher->taken != last) {
        wake(flusher->ended_fd); /* ended_max was reached: stay readable */
    }
    return filled;
}
