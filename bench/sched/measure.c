/* Pairs of runs and their medians; see measure.h. */
#include "bench/sched/measure.h"

#include "base/clock.h"
#include "bench/sched/rivals.h"
#include "sched/numa.h"
#include "sched/topology.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_OF_A_TURN 32u

const struct lks_contestant lks_contestants[] = {
    {"floor", "floor", LKS_SEQUENTIAL, lks_rival_floor}, /* first: others are compared with it */
    {"sequential", "ours", LKS_SEQUENTIAL, NULL},
    {"early", "ours", LKS_EARLY, NULL},
    {"late", "ours", LKS_LATE, NULL},
    {"hybrid", "ours", LKS_HYBRID, NULL},
    {"adaptive", "ours", LKS_ADAPTIVE, NULL},
    {"cbase", "re-creation", LKS_SEQUENTIAL, lks_rival_cbase},
    {"lock-free-graph", "re-creation", LKS_SEQUENTIAL, lks_rival_lock_free},
    {"early-barriers", "re-creation", LKS_SEQUENTIAL, lks_rival_barriers},
#ifdef LKS_BENCH_OPENMP
    {"openmp", "compiler", LKS_SEQUENTIAL, lks_rival_openmp},
#endif
#ifdef LKS_BENCH_TBB
    {"tbb-flow-graph", "library", LKS_SEQUENTIAL, lks_rival_tbb},
#endif
    {NULL, NULL, LKS_SEQUENTIAL, NULL},
};

struct run {
    double wall_ns;
    double cpu_ns;
    uint64_t digest;
};

static double cpu_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, ascending);
    return count % 2 == 1 ? values[count / 2]
                          : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* By a pointer, as schedulers and services are called: the call is part of a command's own cost. */
static void (*volatile g_execute)(void *, uint32_t, uint64_t) = lks_load_execute;

static struct run run_sequential(struct lks_load *load)
{
    const uint64_t commands = lks_load_options_of(load)->commands;
    void (*const execute)(void *, uint32_t, uint64_t) = g_execute;
    lks_load_reset(load);
    const double cpu_ns = cpu_now_ns();
    const uint64_t begun_ns = lks_clock_monotonic_ns();
    for (uint64_t i = 0; i < commands; i++) {
        execute(load, 0, i);
    }
    const double wall_ns = (double)(lks_clock_monotonic_ns() - begun_ns);
    return (struct run){wall_ns, cpu_now_ns() - cpu_ns, lks_load_digest(load)};
}

static void run_in_place(struct lks_load *load, struct lks_scheduler *scheduler, uint64_t from,
                         uint64_t to)
{
    void (*const execute)(void *, uint32_t, uint64_t) = g_execute;
    execute(load, 0, from);
    lks_scheduler_ran(scheduler, 1);
    for (uint64_t i = from + 1; i < to; i++) {
        execute(load, 0, i);
    }
    if (to - from > 1) {
        lks_scheduler_ran(scheduler, (uint32_t)(to - from - 1));
    }
}

static void submit(struct lks_load *load, struct lks_scheduler *scheduler, uint64_t command,
                   uint32_t turns)
{
    const struct lks_load_entry *entry =
        &lks_load_log(load)[command & lks_load_mask(lks_load_options_of(load))];
    while (!lks_scheduler_submit(scheduler, command, entry->words, entry->count)) {
        if (turns == 0) {
            lks_scheduler_wait(scheduler);
        }
        for (uint32_t worker = 0; worker < turns; worker++) {
            while (lks_scheduler_step(scheduler, worker)) {
            }
        }
    }
}

/* As a replica does: while no worker is wanted it executes commands itself, and looks again at the
 * next turn of its loop. turns: workers that this thread is as well, in turns; 0: they are threads.
 */
static void submit_all(struct lks_load *load, struct lks_scheduler *scheduler, uint32_t turns)
{
    const uint64_t commands = lks_load_options_of(load)->commands;
    for (uint64_t from = 0; from < commands; from += COMMANDS_OF_A_TURN) {
        const uint64_t left = commands - from;
        const uint64_t to = from + (left < COMMANDS_OF_A_TURN ? left : COMMANDS_OF_A_TURN);
        if (lks_scheduler_is_inline(scheduler)) {
            run_in_place(load, scheduler, from, to);
            continue;
        }
        for (uint64_t i = from; i < to; i++) {
            submit(load, scheduler, i, turns);
        }
    }
    lks_scheduler_flush(scheduler);
}

static struct lks_scheduler *make_scheduler(struct lks_load *load,
                                            const struct lks_measure_options *options)
{
    const struct lks_topology_options topology = {.workers = options->workers};
    struct lks_topology_plan plan;
    int cpus[LKS_WORKERS_MAX];
    int nodes[LKS_WORKERS_MAX + 1];
    struct lks_numa numa = {0};
    struct lks_error err = {0};
    struct lks_scheduler_options wanted = {
        .kind = options->contestant->kind,
        .workers = options->workers,
        .window = options->window,
        .lanes = options->lanes,
        .classes = lks_load_options_of(load)->classes,
        .no_steal = options->no_steal,
        .help = options->help,
        .manual = options->in_turns,
        .execute = lks_load_execute,
        .ctx = load,
    };
    if (options->pin && lks_topology_plan_make(&plan, &topology, &err) == 0) {
        lks_topology_plan_cpus(&plan, cpus);
        wanted.cpus = cpus;
        if (plan.nodes > 1 && lks_numa_init(&numa, NULL, &err) == 0) {
            lks_topology_plan_nodes(&plan, nodes);
            wanted.numa = &numa;
            wanted.nodes = nodes;
        }
    }
    struct lks_scheduler *scheduler = NULL;
    if (lks_scheduler_new(&scheduler, &wanted, &err) != 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    lks_numa_fini(&numa);
    return scheduler;
}

static struct run run_contestant(struct lks_load *load, const struct lks_measure_options *options,
                                 struct lks_scheduler *scheduler)
{
    lks_load_reset(load);
    const double cpu_ns = cpu_now_ns();
    const uint64_t begun_ns = lks_clock_monotonic_ns();
    if (options->contestant->rival != NULL) {
        options->contestant->rival(load, options->workers);
    } else {
        submit_all(load, scheduler, options->in_turns ? options->workers : 0);
    }
    const double wall_ns = (double)(lks_clock_monotonic_ns() - begun_ns);
    return (struct run){wall_ns, cpu_now_ns() - cpu_ns, lks_load_digest(load)};
}

static void note_statistics(struct lks_scheduler *scheduler, struct lks_measurement *measurement)
{
    struct lks_scheduler_statistics statistics;
    lks_scheduler_statistics(scheduler, &statistics);
    measurement->dependent = statistics.dependent;
    for (uint32_t i = 0; i <= statistics.workers; i++) {
        struct lks_worker_statistics worker;
        lks_scheduler_worker_statistics(scheduler, i, &worker);
        measurement->stolen += worker.stolen;
    }
}

void lks_measure(struct lks_load *load, const struct lks_measure_options *options,
                 struct lks_measurement *measurement)
{
    enum { SEQUENTIAL, SEQUENTIAL_CPU, WALL, CPU, OVERHEAD, WALL_OVERHEAD, SPEEDUP, FIGURES };
    static double figures[FIGURES][LKS_MEASURE_REPEATS_MAX];
    const double commands = (double)lks_load_options_of(load)->commands;
    const bool ours = options->contestant->rival == NULL;
    struct lks_scheduler *scheduler = ours ? make_scheduler(load, options) : NULL;
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const double threads =
        options->contestant->kind == LKS_SEQUENTIAL && ours ? 1 : options->workers + 1;
    const double most = options->in_turns ? 1 : (double)online;
    const double cores = threads < most ? threads : most;
    *measurement = (struct lks_measurement){.equal = true};
    for (uint32_t i = 0; i <= options->repeats; i++) {
        const struct run one = run_sequential(load);
        const struct run other = run_contestant(load, options, scheduler);
        measurement->equal &= one.digest == other.digest ||
                              options->contestant->rival == lks_rival_floor;
        if (i > 0) {
            figures[SEQUENTIAL][i - 1] = one.wall_ns / commands;
            figures[SEQUENTIAL_CPU][i - 1] = one.cpu_ns / commands;
            figures[WALL][i - 1] = other.wall_ns / commands;
            figures[CPU][i - 1] = other.cpu_ns / commands;
            figures[OVERHEAD][i - 1] = (other.cpu_ns - one.cpu_ns) / commands;
            figures[WALL_OVERHEAD][i - 1] = (other.wall_ns * cores - one.wall_ns) / commands;
            figures[SPEEDUP][i - 1] = one.wall_ns / other.wall_ns;
        }
    }
    measurement->sequential_ns = median(figures[SEQUENTIAL], options->repeats);
    measurement->ns_per_command = median(figures[WALL], options->repeats);
    measurement->cpu_ns_per_command = median(figures[CPU], options->repeats);
    measurement->overhead_ns = median(figures[OVERHEAD], options->repeats);
    measurement->wall_overhead_ns = median(figures[WALL_OVERHEAD], options->repeats);
    measurement->best_ns = figures[WALL][0]; /* median() has sorted them */
    measurement->wall_overhead_best_ns = figures[WALL][0] * cores - figures[SEQUENTIAL][0];
    (void)median(figures[SEQUENTIAL_CPU], options->repeats);
    measurement->overhead_best_ns = figures[CPU][0] - figures[SEQUENTIAL_CPU][0];
    measurement->speedup = median(figures[SPEEDUP], options->repeats);
    if (ours) {
        note_statistics(scheduler, measurement);
        lks_scheduler_free(scheduler);
    }
}
