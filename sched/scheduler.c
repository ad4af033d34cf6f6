/*
 * The scheduler as its users see it: options, the engine of each kind, tickets, waiting. Runs on
 * the dispatcher's thread. It keeps this invariant: every ticket below `low` is executed, and at
 * most `window` tickets lie between `low` and `head`; the engines' rings rely on it.
 */
#include "sched/scheduler.h"

#include "base/clock.h"
#include "sched/class_map.h"
#include "sched/engine.h"
#include "sched/memory_plan.h"

#include <errno.h>
#include <string.h>

#define WINDOW_DEFAULT 8192u
#define SLOTS_DEFAULT (1u << 18)
#define CLASSES_DEFAULT 64u
#define SPIN_DEFAULT_NS (10 * LKS_NS_PER_US)

static const char *const kind_names[] = {
#define X(name, text) [name] = text,
    LKS_SCHEDULER_KINDS(X)
#undef X
};

const char *lks_scheduler_kind_name(enum lks_scheduler_kind kind)
{
    return (unsigned)kind < LKS_COUNT_OF(kind_names) ? kind_names[kind] : "?";
}

int lks_scheduler_kind_parse(const char *name, enum lks_scheduler_kind *kind, struct lks_error *err)
{
    for (unsigned i = 0; i < LKS_COUNT_OF(kind_names); i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *kind = (enum lks_scheduler_kind)i;
            return 0;
        }
    }
    return lks_error_set(err, -EINVAL,
                         "scheduler %.40s: is one of sequential, early, late, hybrid, adaptive",
                         name);
}

/* ---- commands on the dispatcher's own thread ---- */

static bool inline_submit(struct lks_scheduler *scheduler, uint64_t command,
                          const lks_access *words, uint32_t count)
{
    (void)words;
    (void)count;
    LKS_ASSERT(scheduler->low == scheduler->head);
    lks_worker_execute(lks_scheduler_helper(scheduler), command);
    scheduler->head++;
    scheduler->low++;
    return true;
}

static void inline_nothing(struct lks_scheduler *scheduler)
{
    (void)scheduler;
}

static bool inline_work(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    (void)scheduler;
    (void)worker;
    return false;
}

static void inline_leave(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    (void)scheduler;
    (void)worker;
}

static uint64_t inline_depth(const struct lks_scheduler *scheduler, uint32_t worker)
{
    (void)scheduler;
    (void)worker;
    return 0;
}

const struct lks_engine lks_inline_engine = {
    .backlog_least = 1,
    .submit = inline_submit,
    .publish = inline_nothing,
    .advance = inline_nothing,
    .work = inline_work,
    .leave = inline_leave,
    .depth = inline_depth,
};

/* ---- which engine ---- */

static enum lks_scheduler_kind kind_now(const struct lks_scheduler *scheduler)
{
    return (enum lks_scheduler_kind)atomic_load_explicit(&scheduler->kind, memory_order_relaxed);
}

static void set_engine(struct lks_scheduler *scheduler, const struct lks_engine *engine)
{
    LKS_ASSERT(scheduler->low == scheduler->head);
    /* Release: with the acquire load in work_once; the engine is prepared. A worker that still runs
     * the former one finds nothing there, since nothing is under way. */
    atomic_store_explicit(&scheduler->engine, engine, memory_order_release);
}

void lks_scheduler_set_level(struct lks_scheduler *scheduler, uint32_t level)
{
    if (level == 0) {
        set_engine(scheduler, &lks_inline_engine);
        return;
    }
    if (lks_engine_now(scheduler) != &lks_graph_engine) {
        lks_graph_reset(scheduler->graph, scheduler->head, 1, false);
        set_engine(scheduler, &lks_graph_engine);
    }
    /* Relaxed: see lks_scheduler_active. */
    atomic_store_explicit(&scheduler->active, level, memory_order_relaxed);
}

static void begin_kind(struct lks_scheduler *scheduler, enum lks_scheduler_kind kind)
{
    const struct lks_scheduler_options *options = &scheduler->options;
    atomic_store_explicit(&scheduler->kind, (uint32_t)kind, memory_order_relaxed);
    if (options->workers == 0 || kind == LKS_SEQUENTIAL) {
        set_engine(scheduler, &lks_inline_engine);
    } else if (kind == LKS_EARLY) {
        set_engine(scheduler, &lks_early_engine);
    } else if (kind == LKS_LATE || kind == LKS_HYBRID) {
        const bool hybrid = kind == LKS_HYBRID;
        lks_graph_reset(scheduler->graph, scheduler->head,
                        hybrid ? options->workers : options->lanes, hybrid);
        set_engine(scheduler, &lks_graph_engine);
    } else {
        lks_adaptive_begin(scheduler);
    }
}

/* ---- making ---- */

static bool power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static int check_options(struct lks_scheduler_options *options, struct lks_error *err)
{
    options->window = options->window == 0 ? WINDOW_DEFAULT : options->window;
    options->slots = options->slots == 0 ? SLOTS_DEFAULT : options->slots;
    options->classes = options->classes == 0 ? CLASSES_DEFAULT : options->classes;
    options->lanes = options->lanes == 0 ? 1 : options->lanes;
    options->spin_ns = options->spin_ns == 0 ? SPIN_DEFAULT_NS : options->spin_ns;
    if (options->workers > LKS_WORKERS_MAX) {
        return lks_error_set(err, -EINVAL, "%u workers: at most %u", options->workers,
                             LKS_WORKERS_MAX);
    }
    if (!power_of_two(options->window) || options->window < LKS_WINDOW_MIN ||
        options->window > LKS_WINDOW_MAX) {
        return lks_error_set(err, -EINVAL, "a window of %u commands: a power of two, %u to %u",
                             options->window, LKS_WINDOW_MIN, LKS_WINDOW_MAX);
    }
    if (!power_of_two(options->slots) || options->slots > LKS_SLOTS_MAX) {
        return lks_error_set(err, -EINVAL, "a table of %u slots: a power of two, up to %u",
                             options->slots, LKS_SLOTS_MAX);
    }
    if (options->lanes > LKS_LANES_MAX) {
        return lks_error_set(err, -EINVAL, "%u lanes: at most %u", options->lanes, LKS_LANES_MAX);
    }
    if (options->map == NULL &&
        (!power_of_two(options->classes) || options->classes > options->slots)) {
        return lks_error_set(err, -EINVAL,
                             "%u classes: a power of two, at most the %u slots; give a map for "
                             "other numbers",
                             options->classes, options->slots);
    }
    if (options->map != NULL && options->workers != 0 &&
        lks_class_map_workers(options->map) != options->workers) {
        return lks_error_set(err, -EINVAL,
                             "the map of classes is for %u workers, but there are %u: make it anew",
                             lks_class_map_workers(options->map), options->workers);
    }
    return 0;
}

/* The lane of a class is the first worker that the map gives its writing commands. */
static int set_lanes(struct lks_scheduler *scheduler, const struct lks_class_map *map)
{
    const uint32_t shards = lks_class_map_classes(map) / 2;
    if (!power_of_two(shards) || shards > scheduler->options.slots) {
        return 0; /* lanes are dealt out in turn */
    }
    uint8_t *lanes = lks_scheduler_take(scheduler, scheduler->options.workers, shards, 1);
    if (lanes == NULL) {
        return -ENOMEM;
    }
    for (uint32_t shard = 0; shard < shards; shard++) {
        lanes[shard] = (uint8_t)__builtin_ctzll(lks_class_map_at(map, shard * 2 + 1)->workers);
    }
    lks_graph_set_classes(scheduler->graph, lanes, shards);
    return 0;
}

static int make_engines(struct lks_scheduler *scheduler)
{
    struct lks_class_map *own = NULL;
    const struct lks_class_map *map = scheduler->options.map;
    int rc = 0;
    if (map == NULL) {
        rc = lks_class_map_shards(&own, scheduler->options.classes, NULL,
                                  scheduler->options.workers);
        map = own;
    }
    if (rc == 0) {
        rc = lks_early_init(scheduler, map);
    }
    if (rc == 0) {
        rc = lks_graph_init(scheduler);
    }
    if (rc == 0) {
        rc = set_lanes(scheduler, map);
    }
    lks_class_map_free(own);
    scheduler->options.map = NULL; /* copied */
    return rc;
}

static int start_workers(struct lks_scheduler *scheduler)
{
    int rc = 0;
    if (!scheduler->options.manual) {
        uint32_t started = 0;
        while (started < scheduler->options.workers && rc == 0) {
            rc = lks_worker_start(scheduler->workers[started]);
            started += rc == 0;
        }
        if (rc != 0) {
            /* Release: with the acquire load in stopped(). */
            atomic_store_explicit(&scheduler->stop, true, memory_order_release);
            while (started > 0) {
                lks_worker_join(scheduler->workers[--started]);
            }
        }
    }
    scheduler->options.cpus = NULL; /* the caller's again */
    return rc;
}

/* The scheduler itself lies in the dispatcher's home. */
static void free_memory(struct lks_scheduler *scheduler)
{
    const uint32_t workers = scheduler->options.workers;
    struct lks_home dispatchers = scheduler->homes[workers];
    lks_early_fini(scheduler->early);
    for (uint32_t i = 0; i < workers; i++) {
        lks_home_fini(&scheduler->homes[i]);
    }
    lks_home_fini(&scheduler->lanes_home);
    lks_home_fini(&dispatchers);
}

/* The scheduler with its homes, which are empty but for it. NULL: no memory. */
static struct lks_scheduler *make_at_home(const struct lks_scheduler_options *options)
{
    struct lks_memory_nodes nodes;
    lks_memory_nodes_of(&nodes, options->nodes, options->workers);
    struct lks_home dispatchers;
    lks_home_init(&dispatchers, options->numa, nodes.executor[options->workers],
                  options->workers);
    struct lks_scheduler *made = lks_home_take(&dispatchers, 1, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    made->options = *options;
    for (uint32_t i = 0; i < options->workers; i++) {
        lks_home_init(&made->homes[i], options->numa, nodes.executor[i], i);
    }
    made->homes[options->workers] = dispatchers;
    lks_home_init(&made->lanes_home, options->numa,
                  lks_memory_nodes_of_keys(&nodes, options->kind, options->lanes), 0);
    return made;
}

static int make_workers(struct lks_scheduler *scheduler)
{
    const struct lks_scheduler_options *options = &scheduler->options;
    for (uint32_t i = 0; i < scheduler->executors; i++) {
        struct lks_worker *worker = lks_scheduler_take(scheduler, i, 1, sizeof *worker);
        if (worker == NULL) {
            return -ENOMEM;
        }
        worker->scheduler = scheduler;
        worker->id = i;
        worker->cpu = options->cpus != NULL && i < options->workers ? options->cpus[i] : -1;
        worker->nodes = scheduler->homes[i].nodes;
        scheduler->workers[i] = worker;
    }
    return 0;
}

int lks_scheduler_new(struct lks_scheduler **scheduler, const struct lks_scheduler_options *options,
                      struct lks_error *err)
{
    struct lks_scheduler_options checked = *options;
    int rc = check_options(&checked, err);
    if (rc != 0) {
        return rc;
    }
    struct lks_scheduler *made = make_at_home(&checked);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "scheduler: no memory");
    }
    made->executors = checked.workers + 1;
    made->window = checked.window;
    made->head = 1;
    made->low = 1;
    made->resting = true;
    atomic_init(&made->active, checked.workers);
    rc = make_workers(made);
    if (rc == 0 && checked.workers > 0) {
        rc = make_engines(made);
    }
    made->options.nodes = NULL; /* the caller's again */
    made->options.numa = NULL;
    if (rc == 0) {
        begin_kind(made, checked.kind);
        rc = start_workers(made);
    }
    if (rc != 0) {
        free_memory(made);
        return lks_error_set(err, rc, "scheduler with %u workers and a window of %u: %s",
                             checked.workers, checked.window, lks_error_text(rc));
    }
    *scheduler = made;
    return 0;
}

void lks_scheduler_free(struct lks_scheduler *scheduler)
{
    if (scheduler == NULL) {
        return;
    }
    lks_scheduler_flush(scheduler);
    /* Release: with the acquire load in stopped(). */
    atomic_store_explicit(&scheduler->stop, true, memory_order_release);
    for (uint32_t i = 0; !scheduler->options.manual && i < scheduler->options.workers; i++) {
        lks_worker_join(scheduler->workers[i]);
    }
    free_memory(scheduler);
}

/* ---- submitting ---- */

/* A command that conflicts with all: alone, here. */
static bool submit_alone(struct lks_scheduler *scheduler, uint64_t command)
{
    if (lks_scheduler_applied(scheduler) + 1 != scheduler->head) {
        return false;
    }
    lks_worker_execute(lks_scheduler_helper(scheduler), command);
    scheduler->head++;
    scheduler->low = scheduler->head;
    lks_counter_add(&scheduler->everything, 1);
    return true;
}

static inline bool submit_to(struct lks_scheduler *scheduler, uint64_t command,
                             const lks_access *words, uint32_t count)
{
    if (__builtin_expect(count == LKS_ACCESS_ALL, 0)) {
        return submit_alone(scheduler, command);
    }
    LKS_ASSERT(count <= LKS_ACCESS_MAX);
    return lks_engine_now(scheduler)->submit(scheduler, command, words, count);
}

bool lks_scheduler_submit(struct lks_scheduler *scheduler, uint64_t command,
                          const lks_access *words, uint32_t count)
{
    const bool adaptive = kind_now(scheduler) == LKS_ADAPTIVE && scheduler->options.workers > 0;
    if (__builtin_expect(adaptive && !lks_adaptive_submit(scheduler), 0)) {
        lks_counter_add(&scheduler->refused, 1);
        return false; /* it waits for the end of what is under way, to go on at another level */
    }
    if (!submit_to(scheduler, command, words, count)) {
        lks_scheduler_publish(scheduler);
        lks_counter_add(&scheduler->refused, 1);
        return false;
    }
    atomic_store_explicit(&scheduler->submitted, scheduler->head - 1, memory_order_relaxed);
    if (__builtin_expect(adaptive, 0)) {
        lks_adaptive_submitted(scheduler);
    }
    return true;
}

bool lks_scheduler_is_inline(const struct lks_scheduler *scheduler)
{
    const bool adaptive = kind_now(scheduler) == LKS_ADAPTIVE && scheduler->options.workers > 0;
    return scheduler->low == scheduler->head && lks_engine_now(scheduler) == &lks_inline_engine &&
           (!adaptive || lks_adaptive_is_inline(scheduler));
}

void lks_scheduler_ran(struct lks_scheduler *scheduler, uint32_t commands)
{
    LKS_ASSERT(scheduler->low == scheduler->head);
    LKS_ASSERT(lks_engine_now(scheduler) == &lks_inline_engine);
    lks_counter_add(&lks_scheduler_helper(scheduler)->executed, commands);
    if (kind_now(scheduler) == LKS_ADAPTIVE && scheduler->options.workers > 0) {
        lks_adaptive_ran(scheduler, commands);
    }
}

void lks_scheduler_publish(struct lks_scheduler *scheduler)
{
    lks_engine_now(scheduler)->publish(scheduler);
}

uint64_t lks_scheduler_applied(struct lks_scheduler *scheduler)
{
    const struct lks_engine *engine = lks_engine_now(scheduler);
    engine->publish(scheduler);
    engine->advance(scheduler);
    LKS_ASSERT(scheduler->low <= scheduler->head);
    atomic_store_explicit(&scheduler->applied, scheduler->low - 1, memory_order_relaxed);
    if (scheduler->low == scheduler->head && !scheduler->resting) {
        (void)lks_pace_measure(scheduler);
        scheduler->resting = true;
    }
    if (scheduler->low == scheduler->head && kind_now(scheduler) == LKS_ADAPTIVE) {
        lks_adaptive_idle(scheduler);
    }
    return scheduler->low - 1;
}

uint64_t lks_scheduler_submitted(const struct lks_scheduler *scheduler)
{
    return scheduler->head - 1;
}

/* ---- changing and asking ---- */

int lks_scheduler_switch_check(const struct lks_scheduler *scheduler, enum lks_scheduler_kind kind,
                               uint32_t workers, struct lks_error *err)
{
    const uint32_t all = scheduler->options.workers;
    if ((unsigned)kind >= LKS_COUNT_OF(kind_names)) {
        return lks_error_set(err, -EINVAL, "scheduler %u: there is none of this number",
                             (unsigned)kind);
    }
    if (workers > all) {
        return lks_error_set(err, -EINVAL,
                             "scheduler %s on %u workers: there are %u, as many as the "
                             "configuration says: set `workers` there, and restart the replica",
                             kind_names[kind], workers, all);
    }
    if (workers != 0 && workers != all && kind != LKS_LATE && kind != LKS_ADAPTIVE) {
        return lks_error_set(err, -EINVAL,
                             "scheduler %s on %u of %u workers: it uses %s: leave the number out",
                             kind_names[kind], workers, all,
                             kind == LKS_SEQUENTIAL ? "none" : "all of them");
    }
    return 0;
}

int lks_scheduler_switch(struct lks_scheduler *scheduler, enum lks_scheduler_kind kind,
                         uint32_t workers, struct lks_error *err)
{
    const int rc = lks_scheduler_switch_check(scheduler, kind, workers, err);
    if (rc != 0) {
        return rc;
    }
    lks_scheduler_flush(scheduler);
    lks_scheduler_set_active(scheduler, workers != 0 ? workers : scheduler->options.workers);
    begin_kind(scheduler, kind);
    return 0;
}

void lks_scheduler_set_active(struct lks_scheduler *scheduler, uint32_t workers)
{
    const uint32_t all = scheduler->options.workers;
    const uint32_t active = workers < all ? workers : all;
    /* Relaxed: see lks_scheduler_active. */
    atomic_store_explicit(&scheduler->active, active == 0 && all > 0 ? 1 : active,
                          memory_order_relaxed);
}

uint64_t lks_scheduler_nodes(const struct lks_scheduler *scheduler, uint64_t identity)
{
    const uint32_t workers = scheduler->options.workers;
    const uint64_t owners =
        workers > 0 ? lks_memory_owners(kind_now(scheduler), workers,
                                        lks_early_owners(scheduler->early, identity))
                    : 0;
    uint64_t nodes = owners == 0 ? lks_scheduler_helper(scheduler)->nodes : 0;
    for (uint64_t left = owners; left != 0; left &= left - 1) {
        nodes |= scheduler->workers[__builtin_ctzll(left)]->nodes;
    }
    return nodes;
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed); /* a figure of one moment */
}

void lks_scheduler_statistics(const struct lks_scheduler *scheduler,
                              struct lks_scheduler_statistics *statistics)
{
    const struct lks_engine *engine =
        atomic_load_explicit(&scheduler->engine, memory_order_relaxed);
    *statistics = (struct lks_scheduler_statistics){
        .kind = kind_now(scheduler),
        .workers = scheduler->options.workers,
        .active = engine == &lks_inline_engine ? 0 : lks_scheduler_active(scheduler),
        .submitted = read_counter(&scheduler->submitted),
        .applied = read_counter(&scheduler->applied),
        .everything = read_counter(&scheduler->everything),
        .refused = read_counter(&scheduler->refused),
        .synchronised = read_counter(&scheduler->synchronised),
        .switches = read_counter(&scheduler->switches),
    };
    for (uint32_t i = 0; i < scheduler->executors; i++) {
        statistics->dependent += read_counter(&scheduler->workers[i]->dependent);
    }
}

/* What it has been idle, until now. */
static uint64_t idle_ns_of(const struct lks_worker *worker)
{
    /* A worker that gets work clears the beginning before it adds the time: who sees the sum with
     * it (acquire, with the release store in wait_for_work) sees no beginning any more. */
    const uint64_t since_ns = atomic_load_explicit(&worker->idle_since_ns, memory_order_relaxed);
    const uint64_t idle_ns = atomic_load_explicit(&worker->idle_ns, memory_order_acquire);
    if (since_ns == 0 ||
        atomic_load_explicit(&worker->idle_since_ns, memory_order_relaxed) != since_ns) {
        return idle_ns;
    }
    const uint64_t now_ns = lks_clock_monotonic_ns();
    return now_ns > since_ns ? idle_ns + now_ns - since_ns : idle_ns;
}

void lks_scheduler_worker_statistics(const struct lks_scheduler *scheduler, uint32_t worker,
                                     struct lks_worker_statistics *statistics)
{
    LKS_ASSERT(worker < scheduler->executors);
    const struct lks_worker *of = scheduler->workers[worker];
    /* Acquire: with the release store in set_engine. */
    const struct lks_engine *engine =
        atomic_load_explicit(&scheduler->engine, memory_order_acquire);
    *statistics = (struct lks_worker_statistics){
        .executed = read_counter(&of->executed),
        .stolen = read_counter(&of->stolen),
        .given = read_counter(&of->given),
        .waited = read_counter(&of->waited) + read_counter(&of->dependent),
        .parked = read_counter(&of->parks),
        .idle_ns = idle_ns_of(of),
        .depth = engine->depth(scheduler, worker),
    };
}
