/*
 * Early scheduling as in SoCC'18, re-created: a queue a worker, each behind a mutex as Java's
 * blocking queues are; a command of several workers goes to all of them, which meet at a barrier,
 * the first executes, and they meet at another one. No stealing.
 */
#include "bench/sched/rivals.h"

#include <pthread.h>
#include <stdlib.h>

#define QUEUE_COMMANDS 1024u
#define MEETINGS (QUEUE_COMMANDS * (LKS_WORKERS_MAX + 1)) /* more than can be in flight */

struct item {
    uint64_t command;
    uint64_t workers; /* that synchronise; 0: none */
};

struct queue {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct item items[QUEUE_COMMANDS];
    uint64_t head;
    uint64_t tail;
    bool ended;
};

/* One command of several workers is at its barrier at a time: each worker set has one barrier. */
struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t arrived;  /* how often a worker came to the first barrier of the present command */
    uint64_t executed; /* commands + 1 of the last one that is done */
};

struct crowd {
    struct lks_load *load;
    struct queue *queues;
    struct meeting *meetings; /* by command, in turn */
};

struct crowd_worker {
    struct crowd *crowd;
    uint32_t id;
    pthread_t thread;
};

static void push(struct queue *queue, struct item item)
{
    (void)pthread_mutex_lock(&queue->mutex);
    while (queue->tail - queue->head == QUEUE_COMMANDS) {
        (void)pthread_cond_wait(&queue->changed, &queue->mutex);
    }
    queue->items[queue->tail++ % QUEUE_COMMANDS] = item;
    (void)pthread_cond_broadcast(&queue->changed);
    (void)pthread_mutex_unlock(&queue->mutex);
}

static bool pop(struct queue *queue, struct item *item)
{
    (void)pthread_mutex_lock(&queue->mutex);
    while (queue->tail == queue->head && !queue->ended) {
        (void)pthread_cond_wait(&queue->changed, &queue->mutex);
    }
    const bool any = queue->tail != queue->head;
    if (any) {
        *item = queue->items[queue->head++ % QUEUE_COMMANDS];
        (void)pthread_cond_broadcast(&queue->changed);
    }
    (void)pthread_mutex_unlock(&queue->mutex);
    return any;
}

static void meet(struct crowd *crowd, uint32_t worker, const struct item *item)
{
    struct meeting *meeting = &crowd->meetings[item->command % MEETINGS];
    const uint64_t members = (uint64_t)__builtin_popcountll(item->workers);
    const bool first = (uint32_t)__builtin_ctzll(item->workers) == worker;
    (void)pthread_mutex_lock(&meeting->mutex);
    meeting->arrived++;
    (void)pthread_cond_broadcast(&meeting->changed);
    while (first ? meeting->arrived != members : meeting->executed < item->command + 1) {
        (void)pthread_cond_wait(&meeting->changed, &meeting->mutex);
    }
    if (first) {
        lks_load_execute(crowd->load, worker, item->command);
        meeting->arrived = 0;
        meeting->executed = item->command + 1;
        (void)pthread_cond_broadcast(&meeting->changed);
    }
    (void)pthread_mutex_unlock(&meeting->mutex);
}

static void *work(void *argument)
{
    struct crowd_worker *worker = argument;
    struct crowd *crowd = worker->crowd;
    struct item item;
    while (pop(&crowd->queues[worker->id], &item)) {
        if (item.workers != 0) {
            meet(crowd, worker->id, &item);
        } else {
            lks_load_execute(crowd->load, worker->id, item.command);
        }
    }
    return NULL;
}

static void dispatch(struct crowd *crowd, uint32_t workers)
{
    const struct lks_load_options *options = lks_load_options_of(crowd->load);
    for (uint64_t i = 0; i < options->commands; i++) {
        const struct lks_load_entry *entry =
            &lks_load_log(crowd->load)[i & lks_load_mask(options)];
        uint64_t set = 0;
        for (uint32_t k = 0; k < entry->count; k++) {
            const uint64_t shard = lks_access_identity(entry->words[k]) % options->classes;
            set |= UINT64_C(1) << shard % workers;
        }
        const bool several = (set & (set - 1)) != 0;
        for (uint64_t left = set; left != 0; left &= left - 1) {
            push(&crowd->queues[__builtin_ctzll(left)],
                 (struct item){.command = i, .workers = several ? set : 0});
        }
    }
}

void lks_rival_barriers(struct lks_load *load, uint32_t workers)
{
    struct crowd crowd = {.load = load,
                          .queues = calloc(workers, sizeof *crowd.queues),
                          .meetings = calloc(MEETINGS, sizeof *crowd.meetings)};
    struct crowd_worker worker[LKS_WORKERS_MAX];
    if (crowd.queues == NULL || crowd.meetings == NULL) {
        abort();
    }
    for (uint32_t i = 0; i < MEETINGS; i++) {
        (void)pthread_mutex_init(&crowd.meetings[i].mutex, NULL);
        (void)pthread_cond_init(&crowd.meetings[i].changed, NULL);
    }
    for (uint32_t i = 0; i < workers; i++) {
        (void)pthread_mutex_init(&crowd.queues[i].mutex, NULL);
        (void)pthread_cond_init(&crowd.queues[i].changed, NULL);
    }
    for (uint32_t i = 0; i < workers; i++) {
        worker[i] = (struct crowd_worker){.crowd = &crowd, .id = i};
        if (pthread_create(&worker[i].thread, NULL, work, &worker[i]) != 0) {
            abort();
        }
    }
    dispatch(&crowd, workers);
    for (uint32_t i = 0; i < workers; i++) {
        (void)pthread_mutex_lock(&crowd.queues[i].mutex);
        crowd.queues[i].ended = true;
        (void)pthread_cond_broadcast(&crowd.queues[i].changed);
        (void)pthread_mutex_unlock(&crowd.queues[i].mutex);
    }
    for (uint32_t i = 0; i < workers; i++) {
        (void)pthread_join(worker[i].thread, NULL);
    }
    free(crowd.queues);
    free(crowd.meetings);
}
