/* See bench_witness.h. Each thread writes its own record; they are read after they have ended. */
#include "client/bench_witness.h"

#include "base/clock.h"
#include "bench/samples.h"
#include "client/bench_cluster.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define NAP_NS (200 * LKS_NS_PER_US)
#define GAP_NS (100 * LKS_NS_PER_US) /* waking later than this is kept as a gap */
#define NAPS_MAX 4000000u
#define GAPS_MAX 1000000u
#define CPUS_MAX 64

/* A processor did not run a thread that wanted it from `due_ns` to `woke_ns`. */
struct gap {
    uint64_t due_ns;
    uint64_t woke_ns;
};

struct watcher {
    struct lks_bench_witness *witness;
    pthread_t thread;
    struct lks_samples lates;
    struct gap *gaps; /* in the order of time */
    size_t gap_count;
    bool privileged;
};

struct lks_bench_witness {
    atomic_bool stop;
    bool running;
    int count;
    struct watcher watchers[CPUS_MAX];
};

static void note(struct watcher *watcher, uint64_t due_ns, uint64_t woke_ns)
{
    const uint64_t late = woke_ns > due_ns ? woke_ns - due_ns : 0;
    lks_samples_add(&watcher->lates, late);
    if (late >= GAP_NS && watcher->gap_count < GAPS_MAX) {
        watcher->gaps[watcher->gap_count] = (struct gap){due_ns, woke_ns};
        watcher->gap_count++;
    }
}

static void *watch(void *ctx)
{
    struct watcher *watcher = ctx;
    const struct sched_param first = {.sched_priority = sched_get_priority_max(SCHED_FIFO)};
    watcher->privileged = pthread_setschedparam(pthread_self(), SCHED_FIFO, &first) == 0;
    while (!atomic_load_explicit(&watcher->witness->stop, memory_order_relaxed)) {
        const uint64_t due_ns = lks_clock_monotonic_ns() + NAP_NS;
        lks_bench_nap(NAP_NS);
        note(watcher, due_ns, lks_clock_monotonic_ns());
    }
    return NULL;
}

static int start_one(struct watcher *watcher, int cpu)
{
    int rc = lks_samples_init(&watcher->lates, NAPS_MAX);
    watcher->gaps = malloc(GAPS_MAX * sizeof *watcher->gaps);
    if (rc != 0 || watcher->gaps == NULL) {
        return -ENOMEM;
    }
    pthread_attr_t attributes;
    cpu_set_t alone;
    CPU_ZERO(&alone);
    CPU_SET(cpu, &alone);
    rc = pthread_attr_init(&attributes);
    if (rc == 0) {
        rc = pthread_attr_setaffinity_np(&attributes, sizeof alone, &alone);
        rc = rc == 0 ? pthread_create(&watcher->thread, &attributes, watch, watcher) : rc;
        (void)pthread_attr_destroy(&attributes);
    }
    return -rc;
}

static int start_all(struct lks_bench_witness *witness)
{
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
        return -errno;
    }
    witness->running = true;
    for (int cpu = 0; cpu < CPU_SETSIZE && witness->count < CPUS_MAX; cpu++) {
        if (!CPU_ISSET(cpu, &cpus)) {
            continue;
        }
        struct watcher *watcher = &witness->watchers[witness->count];
        watcher->witness = witness;
        const int rc = start_one(watcher, cpu);
        if (rc != 0) {
            lks_samples_fini(&watcher->lates);
            free(watcher->gaps);
            return rc;
        }
        witness->count++;
    }
    return 0;
}

int lks_bench_witness_start(struct lks_bench_witness **out, struct lks_error *err)
{
    *out = NULL;
    struct lks_bench_witness *witness = calloc(1, sizeof *witness);
    const int rc = witness == NULL ? -ENOMEM : start_all(witness);
    if (rc != 0) {
        lks_bench_witness_end(witness);
        return lks_error_set(err, rc, "no threads that watch the processors: %s",
                             lks_error_text(rc));
    }
    *out = witness;
    return 0;
}

void lks_bench_witness_stop(struct lks_bench_witness *witness)
{
    if (witness == NULL || !witness->running) {
        return;
    }
    atomic_store_explicit(&witness->stop, true, memory_order_relaxed);
    for (int i = 0; i < witness->count; i++) {
        (void)pthread_join(witness->watchers[i].thread, NULL);
    }
    witness->running = false;
}

bool lks_bench_witness_privileged(const struct lks_bench_witness *witness)
{
    bool all = true;
    for (int i = 0; i < witness->count; i++) {
        all = all && witness->watchers[i].privileged;
    }
    return all;
}

void lks_bench_witness_lates(struct lks_bench_witness *witness, uint64_t *p99_ns,
                             uint64_t *max_ns)
{
    *p99_ns = 0;
    *max_ns = 0;
    for (int i = 0; i < witness->count; i++) {
        struct lks_samples *lates = &witness->watchers[i].lates;
        lks_samples_sort(lates);
        const uint64_t p99 = lks_samples_percentile(lates, 0.99);
        const uint64_t most = lks_samples_max(lates);
        *p99_ns = p99 > *p99_ns ? p99 : *p99_ns;
        *max_ns = most > *max_ns ? most : *max_ns;
    }
}

/* How much of the time between the two was within gaps of one processor. */
static uint64_t gone(const struct watcher *watcher, uint64_t begin_ns, uint64_t end_ns)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < watcher->gap_count && watcher->gaps[i].due_ns < end_ns; i++) {
        const struct gap *gap = &watcher->gaps[i];
        const uint64_t from = gap->due_ns > begin_ns ? gap->due_ns : begin_ns;
        const uint64_t to = gap->woke_ns < end_ns ? gap->woke_ns : end_ns;
        sum += to > from ? to - from : 0;
    }
    return sum;
}

bool lks_bench_witness_saw(const struct lks_bench_witness *witness, uint64_t begin_ns,
                           uint64_t end_ns)
{
    uint64_t sum = 0;
    for (int i = 0; i < witness->count; i++) {
        sum += gone(&witness->watchers[i], begin_ns, end_ns);
    }
    return sum >= (end_ns - begin_ns) / 2;
}

void lks_bench_witness_end(struct lks_bench_witness *witness)
{
    if (witness == NULL) {
        return;
    }
    lks_bench_witness_stop(witness);
    for (int i = 0; i < witness->count; i++) {
        lks_samples_fini(&witness->watchers[i].lates);
        free(witness->watchers[i].gaps);
    }
    free(witness);
}
