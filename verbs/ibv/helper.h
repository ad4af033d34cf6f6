/*
 * A thread for calls that may block: deregistering, destroying, modifying. Jobs run one after
 * another in the order in which they were given, so a job sees what the jobs before it left. The
 * fabric's thread submits and takes the ended ones back; nothing else is shared. Invariant: a job
 * is the helper's from _submit until _take returns it.
 */
#ifndef LKS_VERBS_IBV_HELPER_H
#define LKS_VERBS_IBV_HELPER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct lks_ibv_job {
    struct lks_ibv_job *next;               /* the helper's */
    void (*run)(struct lks_ibv_job *job);   /* on the helper's thread */
    void (*done)(void *ctx, struct lks_ibv_job *job); /* on the fabric's, by its poll */
    bool busy;                              /* fabric's thread: submitted and not yet taken */
};

struct lks_ibv_helper {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct lks_ibv_job *waiting; /* under lock: first of those to run, in order */
    struct lks_ibv_job **waiting_end;
    struct lks_ibv_job *ended; /* under lock: first of those that ran, in order */
    struct lks_ibv_job **ended_end;
    bool stops;            /* under lock */
    atomic_bool any_ended; /* a hint that spares the lock; written under it */
    int fd;                /* eventfd, readable when a job has ended; -1: none */
};

/* Starts the thread. Errors: errno; then _fini is allowed. */
int lks_ibv_helper_init(struct lks_ibv_helper *helper);

/* Runs what was submitted, then ends the thread. Ended jobs can still be taken. Accepts a zeroed
 * object. */
void lks_ibv_helper_stop(struct lks_ibv_helper *helper);
void lks_ibv_helper_fini(struct lks_ibv_helper *helper);

/* job->busy must be false. */
void lks_ibv_helper_submit(struct lks_ibv_helper *helper, struct lks_ibv_job *job);

/* The next job that has ended, no longer busy; or NULL. Cheap when there is none. */
struct lks_ibv_job *lks_ibv_helper_take(struct lks_ibv_helper *helper);

#endif
