/*
 * The thread of a worker: works while there is work, then spins for a bounded time, then sleeps
 * until somebody who makes work wakes it (sched/park.h). Everything it does is the engine's work().
 */
#include "base/clock.h"
#include "sched/engine.h"
#include "sched/park.h"

#include <sched.h>

/* An idle worker looks again after this long even if nobody wakes it: a net, not a path. */
#define SLEEP_LONGEST_NS (50 * LKS_NS_PER_MS)
#define SPINS_PER_LOOK 32
/* A queue that takes its worker longer than this is worth waking somebody who may steal from it:
 * that takes as long. And how long a queue is that, where the pace of commands is not known. */
#define WORTH_A_THIEF_NS (100 * LKS_NS_PER_US)
#define BACKLOG_WORTH_A_THIEF 8u
#define MUCH 4u /* of the window: a quarter */

static bool work_once(struct lks_worker *worker)
{
    struct lks_scheduler *scheduler = worker->scheduler;
    /* Acquire: with the release store in set_engine; the engine is in the state that it expects. */
    const struct lks_engine *engine =
        atomic_load_explicit(&scheduler->engine, memory_order_acquire);
    return engine->work(scheduler, worker);
}

static bool stopped(const struct lks_worker *worker)
{
    /* Acquire: with the release store in lks_scheduler_free; nothing follows that needs it. */
    return atomic_load_explicit(&worker->scheduler->stop, memory_order_acquire);
}

/* Spins until there is work (then it is done, and true is returned), or time is over. */
static bool spin(struct lks_worker *worker, uint64_t until_ns)
{
    do {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            lks_clock_relax();
        }
        if (work_once(worker)) {
            return true;
        }
    } while (!stopped(worker) && lks_clock_monotonic_ns() < until_ns);
    return false;
}

/* Whether the window is mostly taken by what waits at other workers: then the dispatcher, awake,
 * would find room for little, and take a processor from one of them. Whoever has it comes here in
 * its turn. */
static bool others_have_much(const struct lks_worker *worker)
{
    const struct lks_scheduler *scheduler = worker->scheduler;
    /* Acquire: as in work_once. */
    const struct lks_engine *engine =
        atomic_load_explicit(&scheduler->engine, memory_order_acquire);
    uint64_t depth = 0;
    for (uint32_t i = 0; i < scheduler->options.workers; i++) {
        depth += i == worker->id ? 0 : engine->depth(scheduler, i);
    }
    return depth >= scheduler->window / MUCH;
}

static void tell_dispatcher(const struct lks_worker *worker)
{
    /* Of two that run out at once, the later one sees that the other has nothing: each has this
     * fence between the store that says so and its look at the other. */
    lks_wake_fence();
    if (!others_have_much(worker)) {
        lks_dispatcher_wake(worker->scheduler);
    }
}

void lks_worker_has_work(struct lks_worker *worker)
{
    const uint64_t since_ns = atomic_load_explicit(&worker->idle_since_ns, memory_order_relaxed);
    if (since_ns != 0) {
        const uint64_t idle_ns = atomic_load_explicit(&worker->idle_ns, memory_order_relaxed) +
                                 lks_clock_monotonic_ns() - since_ns;
        atomic_store_explicit(&worker->idle_since_ns, 0, memory_order_relaxed);
        atomic_store_explicit(&worker->idle_ns, idle_ns, memory_order_release);
    }
}

static void wait_for_work(struct lks_worker *worker)
{
    const uint64_t begun_ns = lks_clock_monotonic_ns();
    /* Relaxed, and release below: see idle_ns_of in scheduler.c, which reads both. */
    atomic_store_explicit(&worker->idle_since_ns, begun_ns, memory_order_relaxed);
    tell_dispatcher(worker);
    if (!spin(worker, begun_ns + worker->scheduler->options.spin_ns)) {
        lks_park_announce(&worker->parked);
        if (work_once(worker) || stopped(worker)) {
            lks_park_cancel(&worker->parked);
        } else {
            tell_dispatcher(worker);
            lks_counter_add(&worker->parks, 1);
            lks_park_wait(&worker->parked, SLEEP_LONGEST_NS);
        }
    }
    lks_worker_has_work(worker);
}

static void *run(void *argument)
{
    struct lks_worker *worker = argument;
    while (!stopped(worker)) {
        if (!work_once(worker)) {
            wait_for_work(worker);
        }
    }
    return NULL;
}

int lks_worker_start(struct lks_worker *worker)
{
    pthread_attr_t attributes;
    int rc = pthread_attr_init(&attributes);
    if (rc != 0) {
        return -rc;
    }
    if (worker->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)worker->cpu, &set);
        rc = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    }
    if (rc == 0) {
        rc = pthread_create(&worker->thread, &attributes, run, worker);
    }
    (void)pthread_attr_destroy(&attributes);
    return -rc;
}

void lks_worker_join(struct lks_worker *worker)
{
    lks_wake_fence();
    (void)lks_park_wake(&worker->parked);
    const int rc = pthread_join(worker->thread, NULL);
    LKS_ASSERT(rc == 0);
}

static uint64_t worth_a_thief(const struct lks_scheduler *scheduler)
{
    /* Relaxed: a weight; another engine's does no harm. */
    const struct lks_engine *engine =
        atomic_load_explicit(&scheduler->engine, memory_order_relaxed);
    const uint64_t commands =
        lks_scheduler_commands_in(scheduler, WORTH_A_THIEF_NS, BACKLOG_WORTH_A_THIEF);
    return commands > engine->backlog_least ? commands : engine->backlog_least;
}

/* It looks for work: what has just come it takes itself. */
static bool is_idle(const struct lks_scheduler *scheduler, uint32_t worker)
{
    /* Relaxed: a hint; who looks once more for all (share_backlogs in wait.c) sees it later. */
    return worker < scheduler->options.workers &&
           atomic_load_explicit(&scheduler->workers[worker]->idle_since_ns,
                                memory_order_relaxed) != 0;
}

void lks_worker_wake(struct lks_scheduler *scheduler, uint32_t worker, uint64_t backlog)
{
    if (scheduler->options.manual) {
        return;
    }
    const bool woken = worker < scheduler->options.workers &&
                       lks_park_wake(&scheduler->workers[worker]->parked);
    if (scheduler->options.no_steal || backlog < worth_a_thief(scheduler) ||
        (backlog == 1 && (woken || is_idle(scheduler, worker)))) {
        return;
    }
    const uint32_t active = lks_scheduler_active(scheduler);
    for (uint32_t i = 1; i < active; i++) {
        if (lks_park_wake(&scheduler->workers[(worker + i) % active]->parked)) {
            return;
        }
    }
}

void lks_dispatcher_wake(struct lks_scheduler *scheduler)
{
    if (!scheduler->options.manual) {
        lks_wake_fence();
        if (lks_park_wake(&scheduler->dispatcher_parked) && scheduler->options.wake != NULL) {
            scheduler->options.wake(scheduler->options.ctx);
        }
    }
}
