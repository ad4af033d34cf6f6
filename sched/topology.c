/* The plan of threads on cores; see topology.h. */
#include "sched/topology.h"

#include "base/assert.h"

#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>

/* One core that may be used, seen from the core thread. */
struct candidate {
    hwloc_obj_t core;
    unsigned cpu;     /* its first hardware thread that may be used */
    unsigned order;   /* hwloc's logical index */
    int numa;
    int distance;     /* levels up to what it shares with the core thread; 0: itself */
    bool shares_cache;
};

static int numa_of(hwloc_topology_t topology, hwloc_obj_t object)
{
    const int count = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    for (int i = 0; i < count; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, (unsigned)i);
        if (hwloc_bitmap_intersects(node->cpuset, object->cpuset)) {
            return (int)node->os_index;
        }
    }
    return -1;
}

static void look_from(hwloc_topology_t topology, struct candidate *to, hwloc_obj_t from)
{
    hwloc_obj_t common = hwloc_get_common_ancestor_obj(topology, from, to->core);
    to->distance = common == NULL ? 1000 : (int)from->depth - (int)common->depth;
    to->shares_cache = common != NULL && hwloc_obj_type_is_cache(common->type);
}

static int nearer(const void *left, const void *right)
{
    const struct candidate *a = left;
    const struct candidate *b = right;
    if (a->distance != b->distance) {
        return a->distance < b->distance ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static uint32_t find_candidates(hwloc_topology_t topology, hwloc_const_bitmap_t allowed,
                                struct candidate *candidates, uint32_t most)
{
    const int cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    uint32_t count = 0;
    for (int i = 0; i < cores && count < most; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, (unsigned)i);
        hwloc_bitmap_t usable = hwloc_bitmap_alloc();
        if (usable == NULL) {
            return 0;
        }
        hwloc_bitmap_and(usable, core->cpuset, allowed);
        const int cpu = hwloc_bitmap_first(usable);
        hwloc_bitmap_free(usable);
        if (cpu >= 0) {
            candidates[count++] = (struct candidate){
                .core = core, .cpu = (unsigned)cpu, .order = (unsigned)i,
                .numa = numa_of(topology, core)};
        }
    }
    return count;
}

static void place(struct lks_placement *placement, const struct candidate *at, const char *why)
{
    placement->cpu = (int)at->cpu;
    placement->core = (int)at->order;
    placement->numa = at->numa;
    (void)snprintf(placement->why, sizeof placement->why, "%s", why);
}

static void place_workers(struct lks_topology_plan *plan, const struct candidate *candidates,
                          uint32_t count)
{
    for (uint32_t w = 0; w < plan->workers; w++) {
        const uint32_t at = w + 1;
        if (at >= count) {
            plan->worker[w] = (struct lks_placement){.cpu = -1, .core = -1, .numa = -1};
            (void)snprintf(plan->worker[w].why, sizeof plan->worker[w].why,
                           "no core left: the system places it, and it waits briefly");
            plan->crowded = true;
        } else if (candidates[at].numa != candidates[0].numa) {
            place(&plan->worker[w], &candidates[at], "another NUMA node: the near cores are taken");
        } else if (candidates[at].shares_cache) {
            place(&plan->worker[w], &candidates[at], "shares a cache with the core thread");
        } else {
            place(&plan->worker[w], &candidates[at], "same NUMA node as the core thread");
        }
    }
}

int lks_topology_plan_make(struct lks_topology_plan *plan, uint32_t workers, struct lks_error *err)
{
    enum { CANDIDATES_MOST = 1024 };
    if (workers > LKS_WORKERS_MAX) {
        return lks_error_set(err, -EINVAL, "%u workers: at most %u", workers, LKS_WORKERS_MAX);
    }
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) {
        return lks_error_set(err, -ENOTSUP, "the machine's topology cannot be read by hwloc");
    }
    int rc = -ENOTSUP;
    struct candidate *candidates = calloc(CANDIDATES_MOST, sizeof *candidates);
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    if (candidates != NULL && allowed != NULL && hwloc_topology_load(topology) == 0 &&
        hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS) == 0) {
        const uint32_t count = find_candidates(topology, allowed, candidates, CANDIDATES_MOST);
        if (count > 0) {
            for (uint32_t i = 0; i < count; i++) {
                look_from(topology, &candidates[i], candidates[0].core);
            }
            qsort(candidates, count, sizeof *candidates, nearer);
            *plan = (struct lks_topology_plan){
                .workers = workers,
                .cores = count,
                .cpus = (uint32_t)hwloc_bitmap_weight(allowed),
            };
            place(&plan->dispatcher, &candidates[0], "the first core that may be used");
            place_workers(plan, candidates, count);
            rc = 0;
        }
    }
    if (allowed != NULL) {
        hwloc_bitmap_free(allowed);
    }
    free(candidates);
    hwloc_topology_destroy(topology);
    return rc == 0 ? 0
                   : lks_error_set(err, rc, "the machine's topology cannot be read by hwloc: run "
                                            "without pinning");
}

void lks_topology_plan_cpus(const struct lks_topology_plan *plan, int *cpus)
{
    for (uint32_t w = 0; w < plan->workers; w++) {
        cpus[w] = plan->worker[w].cpu;
    }
}

static void print_line(FILE *to, const char *name, const struct lks_placement *at)
{
    if (at->cpu < 0) {
        (void)fprintf(to, "%-12s %6s %6s %6s  %s\n", name, "-", "-", "-", at->why);
    } else {
        (void)fprintf(to, "%-12s %6d %6d %6d  %s\n", name, at->cpu, at->core, at->numa, at->why);
    }
}

void lks_topology_plan_print(const struct lks_topology_plan *plan, FILE *to)
{
    (void)fprintf(to, "%u cores, %u hardware threads\n%-12s %6s %6s %6s  %s\n", plan->cores,
                  plan->cpus, "thread", "cpu", "core", "numa", "why");
    print_line(to, "core thread", &plan->dispatcher);
    for (uint32_t w = 0; w < plan->workers; w++) {
        char name[24];
        (void)snprintf(name, sizeof name, "worker %u", w);
        print_line(to, name, &plan->worker[w]);
    }
    if (plan->crowded) {
        (void)fprintf(to, "warning: %u cores for %u threads: they take turns; fewer workers, or "
                          "the scheduler `adaptive`, may be faster\n",
                      plan->cores, plan->workers + 1);
    }
}

static void draw_box(FILE *to, uint32_t row, const char *name, const struct lks_placement *at)
{
    const unsigned y = 40 + row * 34;
    (void)fprintf(to,
                  "<rect x='10' y='%u' width='620' height='28' rx='4' fill='%s' stroke='#555'/>\n"
                  "<text x='20' y='%u'>%s</text><text x='130' y='%u'>",
                  y, at->cpu < 0 ? "#f6d5d5" : row == 0 ? "#cfe3f7" : "#d9f0d3", y + 19, name,
                  y + 19);
    if (at->cpu < 0) {
        (void)fprintf(to, "not pinned");
    } else {
        (void)fprintf(to, "cpu %d, core %d, numa %d", at->cpu, at->core, at->numa);
    }
    (void)fprintf(to, "</text><text x='290' y='%u'>%s</text>\n", y + 19, at->why);
}

void lks_topology_plan_draw(const struct lks_topology_plan *plan, FILE *to)
{
    (void)fprintf(to,
                  "<svg xmlns='http://www.w3.org/2000/svg' width='640' height='%u' "
                  "font-family='sans-serif' font-size='13'>\n<text x='10' y='24'>%u cores, %u "
                  "hardware threads</text>\n",
                  50 + (plan->workers + 1) * 34, plan->cores, plan->cpus);
    draw_box(to, 0, "core thread", &plan->dispatcher);
    for (uint32_t w = 0; w < plan->workers; w++) {
        char name[24];
        (void)snprintf(name, sizeof name, "worker %u", w);
        draw_box(to, w + 1, name, &plan->worker[w]);
    }
    (void)fprintf(to, "</svg>\n");
}
