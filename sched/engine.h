/*
 * Inside of sched/: what a scheduler and its workers are made of, and what an engine (a way of
 * deciding who executes what and when) has to offer. Nothing here is for other folders.
 *
 * An engine's work() never waits: a worker that cannot go on says so and is called again. That is
 * what lets the same code run on threads and, step by step, under a simulator's seed.
 */
#ifndef LKS_SCHED_ENGINE_H
#define LKS_SCHED_ENGINE_H

#include "base/assert.h"
#include "sched/home.h"
#include "sched/scheduler.h"

#include <pthread.h>
#include <stdatomic.h>

/* Commands that the dispatcher holds back before it publishes them together. */
#define LKS_PUBLISH_BATCH 16u
#define RATE_SHIFT 20 /* of lks_scheduler.rate: per millisecond, about */

struct lks_early;
struct lks_graph;

/* One executor. workers[0..workers-1] have threads; the last one is the dispatcher. */
struct lks_worker {
    _Alignas(64) struct lks_scheduler *scheduler;
    uint32_t id;
    pthread_t thread;
    int cpu;        /* -1: not pinned */
    uint64_t nodes; /* its NUMA node's bit; 0: not known */
    /* Written by this worker alone, read by anybody, all relaxed: counters, no order needed. */
    _Atomic uint64_t executed;
    _Atomic uint64_t stolen;
    _Atomic uint64_t given;
    _Atomic uint64_t waited;
    _Atomic uint64_t dependent;
    _Atomic uint64_t parks;
    _Atomic uint64_t idle_ns;
    _Atomic uint64_t idle_since_ns; /* 0: it has work; not yet in idle_ns */
    _Alignas(64) _Atomic uint32_t parked; /* see sched/park.h; set by its worker, cleared by all */
};

struct lks_engine {
    /* A worker that is idle finds something to take where so many wait. */
    uint32_t backlog_least;
    /* Dispatcher. False: no room. Not called with LKS_ACCESS_ALL, nor with words beyond the limit.
     * */
    bool (*submit)(struct lks_scheduler *scheduler, uint64_t command, const lks_access *words,
                   uint32_t count);
    /* Dispatcher: hands over what is held back, and wakes who is needed for it. */
    void (*publish)(struct lks_scheduler *scheduler);
    /* Dispatcher: moves scheduler->low as far up as it can be seen. */
    void (*advance)(struct lks_scheduler *scheduler);
    /* One bounded piece of work for this worker; false: there was none. */
    bool (*work)(struct lks_scheduler *scheduler, struct lks_worker *worker);
    /* The dispatcher has helped, and goes away: nothing may be left that waits for it. */
    void (*leave)(struct lks_scheduler *scheduler, struct lks_worker *worker);
    /* Commands queued at this worker, about. Any thread. */
    uint64_t (*depth)(const struct lks_scheduler *scheduler, uint32_t worker);
};

extern const struct lks_engine lks_inline_engine;
extern const struct lks_engine lks_early_engine;
extern const struct lks_engine lks_graph_engine;

/* See adaptive.c. The dispatcher's own. */
struct lks_adaptive {
    uint32_t level;    /* 0: inline; k: k workers */
    uint32_t most;     /* the greatest level */
    uint32_t wanted;   /* the level to go to when nothing is under way */
    uint32_t best;     /* the level to come back to after a trial */
    bool trial;        /* `level` is only being tried */
    bool upwards;      /* the last trial was of more workers */
    bool idle;         /* nothing is under way, and the caller has nothing: no time counts */
    uint32_t patience; /* stretches until the next trial */
    uint32_t backoff;  /* what patience becomes */
    uint32_t stretches; /* that the trial still takes */
    uint32_t settling; /* stretches to be ignored after a change */
    uint32_t commands; /* of this stretch */
    uint32_t look;     /* commands between two looks at the clock */
    uint32_t look_at;  /* what `commands` is at the next one */
    uint64_t looked_ns; /* what busy_ns was at the last one */
    uint64_t low;      /* what was executed when this stretch began */
    uint64_t busy_ns;  /* of this stretch */
    uint64_t mark_ns;  /* since when time counts that busy_ns does not have yet */
    uint64_t trial_ns; /* that the trial has taken so far, or took */
    uint64_t rest_ns;  /* of busy time until the next one may begin */
    double judged_ns; /* what the best level cost when it was found to be that; 0: never */
    double cost_ns[LKS_WORKERS_MAX + 1]; /* wall time a command at each level; 0: unknown */
};

struct lks_scheduler {
    struct lks_scheduler_options options;
    _Atomic uint32_t kind; /* written by the dispatcher, read by anybody for figures: relaxed */
    /* Written by the dispatcher when nothing is under way, read by workers. */
    const struct lks_engine *_Atomic engine;
    _Atomic bool stop;
    _Atomic uint32_t active;
    /* About how many commands a worker executes in 2^RATE_SHIFT ns; 0: not known. Written by the
     * dispatcher when it waits or finds all executed, read by who weighs what moving work costs:
     * relaxed. */
    _Atomic uint32_t rate;
    uint32_t executors; /* workers + 1 */
    struct lks_early *early; /* NULL where the kind cannot be switched to */
    struct lks_graph *graph;
    uint32_t next_step; /* manual: whose turn it is in _flush */
    struct lks_worker *workers[LKS_WORKERS_MAX + 1]; /* [executors]; each in its own home */

    /* The dispatcher's own: on lines that workers do not read. */
    _Alignas(64) struct lks_adaptive adaptive;
    _Alignas(64) uint64_t head; /* the next ticket */
    uint64_t low;               /* every ticket below it is executed */
    uint64_t window;
    uint64_t pace_low;      /* what was executed when it last looked, when that was, */
    uint64_t pace_since_ns; /* and how long a command took before */
    double pace_ns;
    bool resting; /* all is executed, and nothing was published since: no time of any command */
    uint32_t held; /* the newest commands, not published yet */

    /* Relaxed counters, written by the dispatcher. */
    _Atomic uint64_t submitted;
    _Atomic uint64_t applied;
    _Atomic uint64_t everything;
    _Atomic uint64_t refused;
    _Atomic uint64_t synchronised;
    _Atomic uint64_t switches;

    _Alignas(64) _Atomic uint32_t dispatcher_parked; /* see sched/park.h */

    /* Where its memory comes from, and goes back to: each worker's, the dispatcher's (like
     * workers), and what lanes share. Used at the beginning and the end. */
    _Alignas(64) struct lks_home homes[LKS_WORKERS_MAX + 1];
    struct lks_home lanes_home;
};

/* Adds to a counter that only the caller's thread writes; relaxed, no order is meant. */
static inline void lks_counter_add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

/* worker.c: its idle time is over. That worker. */
void lks_worker_has_work(struct lks_worker *worker);

static inline void lks_worker_execute(struct lks_worker *worker, uint64_t command)
{
    const struct lks_scheduler_options *options = &worker->scheduler->options;
    /* Relaxed: its own, on the line of `executed`. */
    if (__builtin_expect(
            atomic_load_explicit(&worker->idle_since_ns, memory_order_relaxed) != 0, 0)) {
        lks_worker_has_work(worker);
    }
    options->execute(options->ctx, worker->id, command);
    lks_counter_add(&worker->executed, 1);
}

/* About how many commands a worker executes in `ns`, begun ones included; `unknown` where their
 * pace is not known. */
static inline uint64_t lks_scheduler_commands_in(const struct lks_scheduler *scheduler,
                                                 uint64_t ns, uint64_t unknown)
{
    /* Relaxed: a weight, nothing depends on it. */
    const uint64_t rate = atomic_load_explicit(&scheduler->rate, memory_order_relaxed);
    return rate == 0 ? unknown : (rate * ns + (UINT64_C(1) << RATE_SHIFT) - 1) >> RATE_SHIFT;
}

/* The engine of the kind that is in force. Dispatcher. */
static inline const struct lks_engine *lks_engine_now(const struct lks_scheduler *scheduler)
{
    /* Relaxed: on the thread which stores it. */
    return atomic_load_explicit(&scheduler->engine, memory_order_relaxed);
}

static inline struct lks_worker *lks_scheduler_helper(const struct lks_scheduler *scheduler)
{
    return scheduler->workers[scheduler->options.workers];
}

static inline uint32_t lks_scheduler_active(const struct lks_scheduler *scheduler)
{
    /* Relaxed: a worker that learns of it late only works, or sleeps, a moment longer. */
    return atomic_load_explicit(&scheduler->active, memory_order_relaxed);
}

/* Memory that an executor reads most: of a worker, or, behind them, of the dispatcher. */
static inline void *lks_scheduler_take(struct lks_scheduler *scheduler, uint32_t executor,
                                       size_t count, size_t bytes)
{
    return lks_home_take(&scheduler->homes[executor], count, bytes);
}

/* Starts the thread of a worker; negative code of pthread_create. */
int lks_worker_start(struct lks_worker *worker);
void lks_worker_join(struct lks_worker *worker);

/* wait.c: the pace of commands. After a rest time counts from here on; and how long one takes by
 * now. Dispatcher. */
void lks_pace_begin(struct lks_scheduler *scheduler);
double lks_pace_measure(struct lks_scheduler *scheduler);

/* Between publishing and waking: see sched/park.h. */
static inline void lks_wake_fence(void)
{
    atomic_thread_fence(memory_order_seq_cst); /* with lks_park_announce */
}

/* After publishing something for `worker`, and lks_wake_fence: wakes it. If `backlog` commands wait
 * there, and that is worth it, wakes another one as well, who may steal. Any thread. */
void lks_worker_wake(struct lks_scheduler *scheduler, uint32_t worker, uint64_t backlog);
/* A worker has nothing left to do: the dispatcher may be asleep until then. */
void lks_dispatcher_wake(struct lks_scheduler *scheduler);

/* early.c. Makes scheduler->early of the homes, with which it goes; the map is copied, and freed by
 * _fini. -ENOMEM: a half-made one is left to it. */
int lks_early_init(struct lks_scheduler *scheduler, const struct lks_class_map *map);
void lks_early_fini(struct lks_early *early);
/* The workers that the map gives the identity's writing commands. */
uint64_t lks_early_owners(const struct lks_early *early, uint64_t identity);

/* graph.c. Makes scheduler->graph of the homes, with which it goes. -ENOMEM. */
int lks_graph_init(struct lks_scheduler *scheduler);
/* Before the graph is used (again), nothing being under way: `ticket` is the next one. One lane
 * that is not by class is the dispatcher's own, others are walked by the workers. */
void lks_graph_reset(struct lks_graph *graph, uint64_t ticket, uint32_t lanes, bool by_class);
/* Lane l inserts what falls to the classes c for which lane_of_class[c] == l; `classes` is a power
 * of two, at most the number of slots. It lives as long as the graph. */
void lks_graph_set_classes(struct lks_graph *graph, const uint8_t *lane_of_class,
                           uint32_t classes);

/* adaptive.c. */
/* Before each submit: false while it waits for what is under way, to change its level. */
void lks_adaptive_begin(struct lks_scheduler *scheduler);
bool lks_adaptive_submit(struct lks_scheduler *scheduler);
/* After each submit that found room. */
void lks_adaptive_submitted(struct lks_scheduler *scheduler);
/* As lks_scheduler_is_inline and _ran; everything is executed. */
bool lks_adaptive_is_inline(const struct lks_scheduler *scheduler);
void lks_adaptive_ran(struct lks_scheduler *scheduler, uint32_t commands);
/* The caller has nothing more: what follows is no cost of this level. */
void lks_adaptive_idle(struct lks_scheduler *scheduler);
/* scheduler.c: another engine and number of workers, when nothing is under way. */
void lks_scheduler_set_level(struct lks_scheduler *scheduler, uint32_t level);

#endif
