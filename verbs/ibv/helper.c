/* The helper thread; see helper.h. */
#include "verbs/ibv/helper.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

/* The first waiting job, once there is one; NULL: the end. */
static struct lks_ibv_job *next_job(struct lks_ibv_helper *helper)
{
    (void)pthread_mutex_lock(&helper->lock);
    while (helper->waiting == NULL && !helper->stops) {
        (void)pthread_cond_wait(&helper->filled, &helper->lock);
    }
    struct lks_ibv_job *job = helper->waiting;
    if (job != NULL) {
        helper->waiting = job->next;
        if (helper->waiting == NULL) {
            helper->waiting_end = &helper->waiting;
        }
    }
    (void)pthread_mutex_unlock(&helper->lock);
    return job;
}

static void *help(void *ctx)
{
    struct lks_ibv_helper *helper = ctx;
    const uint64_t one = 1;
    struct lks_ibv_job *job;
    while ((job = next_job(helper)) != NULL) {
        job->run(job);
        (void)pthread_mutex_lock(&helper->lock);
        job->next = NULL;
        *helper->ended_end = job;
        helper->ended_end = &job->next;
        /* Relaxed: it is a hint; the lock orders what it hints at. */
        atomic_store_explicit(&helper->any_ended, true, memory_order_relaxed);
        (void)pthread_mutex_unlock(&helper->lock);
        const ssize_t written = write(helper->fd, &one, sizeof one);
        (void)written; /* full means that it is readable already */
    }
    return NULL;
}

int lks_ibv_helper_init(struct lks_ibv_helper *helper)
{
    sigset_t all;
    sigset_t before;
    helper->waiting_end = &helper->waiting;
    helper->ended_end = &helper->ended;
    helper->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (helper->fd < 0) {
        return -errno;
    }
    (void)pthread_mutex_init(&helper->lock, NULL);
    (void)pthread_cond_init(&helper->filled, NULL);
    /* Signals are for the threads that know of them. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int code = pthread_create(&helper->thread, NULL, help, helper);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    helper->started = code == 0;
    return -code;
}

void lks_ibv_helper_stop(struct lks_ibv_helper *helper)
{
    if (!helper->started) {
        return;
    }
    (void)pthread_mutex_lock(&helper->lock);
    helper->stops = true;
    (void)pthread_cond_signal(&helper->filled);
    (void)pthread_mutex_unlock(&helper->lock);
    (void)pthread_join(helper->thread, NULL);
    helper->started = false;
}

void lks_ibv_helper_fini(struct lks_ibv_helper *helper)
{
    lks_ibv_helper_stop(helper);
    if (helper->waiting_end != NULL && helper->fd >= 0) {
        (void)close(helper->fd);
        (void)pthread_cond_destroy(&helper->filled);
        (void)pthread_mutex_destroy(&helper->lock);
    }
    helper->fd = -1;
    helper->waiting_end = NULL;
}

void lks_ibv_helper_submit(struct lks_ibv_helper *helper, struct lks_ibv_job *job)
{
    LKS_ASSERT(!job->busy);
    LKS_ASSERT(helper->started);
    job->busy = true;
    job->next = NULL;
    (void)pthread_mutex_lock(&helper->lock);
    *helper->waiting_end = job;
    helper->waiting_end = &job->next;
    (void)pthread_cond_signal(&helper->filled);
    (void)pthread_mutex_unlock(&helper->lock);
}

struct lks_ibv_job *lks_ibv_helper_take(struct lks_ibv_helper *helper)
{
    if (!atomic_load_explicit(&helper->any_ended, memory_order_relaxed)) {
        return NULL;
    }
    (void)pthread_mutex_lock(&helper->lock);
    struct lks_ibv_job *job = helper->ended;
    if (job != NULL) {
        helper->ended = job->next;
        if (helper->ended == NULL) {
            helper->ended_end = &helper->ended;
        }
    }
    atomic_store_explicit(&helper->any_ended, helper->ended != NULL, memory_order_relaxed);
    (void)pthread_mutex_unlock(&helper->lock);
    if (job != NULL) {
        job->busy = false;
    }
    return job;
}
