/* The plan of threads on cores; see topology.h. */
#include "sched/topology.h"

#include "base/assert.h"

#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANDIDATES_MOST 1024u
#define THREADS_MOST 8u /* hardware threads of a core */

/* One core that may be used, seen from the core thread. */
struct candidate {
    hwloc_obj_t core;
    unsigned cpus[THREADS_MOST]; /* its hardware threads that may be used */
    unsigned cpus_count;
    unsigned order; /* hwloc's logical index */
    int numa;
    bool wanted;    /* on the node of the device */
    int distance;   /* levels up to what it shares with the core thread; 0: itself */
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

static int by_order(const struct candidate *a, const struct candidate *b)
{
    return a->order < b->order ? -1 : a->order > b->order;
}

static int nearer(const void *left, const void *right)
{
    const struct candidate *a = left;
    const struct candidate *b = right;
    if (a->distance != b->distance) {
        return a->distance < b->distance ? -1 : 1;
    }
    return by_order(a, b);
}

static int wanted_first(const void *left, const void *right)
{
    const struct candidate *a = left;
    const struct candidate *b = right;
    if (a->wanted != b->wanted) {
        return a->wanted ? -1 : 1;
    }
    return by_order(a, b);
}

static void note_cpus(struct candidate *candidate, hwloc_const_bitmap_t allowed)
{
    int cpu = -1;
    while (candidate->cpus_count < THREADS_MOST &&
           (cpu = hwloc_bitmap_next(candidate->core->cpuset, cpu)) >= 0) {
        if (hwloc_bitmap_isset(allowed, (unsigned)cpu)) {
            candidate->cpus[candidate->cpus_count++] = (unsigned)cpu;
        }
    }
}

static uint32_t find_candidates(hwloc_topology_t topology,
                                const struct lks_topology_options *options,
                                hwloc_const_bitmap_t allowed, struct candidate *candidates)
{
    const int cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE);
    uint32_t count = 0;
    for (int i = 0; i < cores && count < CANDIDATES_MOST; i++) {
        struct candidate candidate = {
            .core = hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, (unsigned)i),
            .order = (unsigned)i};
        note_cpus(&candidate, allowed);
        candidate.numa = numa_of(topology, candidate.core);
        candidate.wanted = options->near_node && candidate.numa == (int)options->node;
        if (candidate.cpus_count > 0) {
            candidates[count++] = candidate;
        }
    }
    return count;
}

__attribute__((format(printf, 4, 5))) static void place(struct lks_placement *placement,
                                                        const struct candidate *at,
                                                        unsigned thread, const char *why, ...)
{
    va_list args;
    va_start(args, why);
    *placement = (struct lks_placement){.cpu = -1, .core = -1, .numa = -1};
    if (at != NULL) {
        LKS_ASSERT(thread < at->cpus_count);
        placement->cpu = (int)at->cpus[thread];
        placement->core = (int)at->order;
        placement->numa = at->numa;
    }
    (void)vsnprintf(placement->why, sizeof placement->why, why, args);
    va_end(args);
}

static void place_on_core(struct lks_placement *placement, const struct candidate *at,
                          const struct candidate *core_thread)
{
    if (at->numa != core_thread->numa) {
        place(placement, at, 0, "another NUMA node: the near cores are taken");
    } else if (at->shares_cache) {
        place(placement, at, 0, "shares a cache with the core thread");
    } else {
        place(placement, at, 0, "same NUMA node as the core thread");
    }
}

/* The n-th hardware thread that is not the first of its core; those of the core thread come last.
 * False: there are not as many. */
static bool place_on_sibling(struct lks_placement *placement, const struct candidate *candidates,
                             uint32_t count, uint32_t n)
{
    for (uint32_t i = 1; i <= count; i++) {
        const struct candidate *at = &candidates[i % count];
        const uint32_t siblings = at->cpus_count - 1;
        if (n < siblings) {
            place(placement, at, 1 + n,
                  i == count ? "beside the core thread, on another hardware thread of its core"
                             : "another hardware thread of core %u: cores have run out",
                  at->order);
            return true;
        }
        n -= siblings;
    }
    return false;
}

static void place_workers(struct lks_topology_plan *plan, const struct candidate *candidates,
                          uint32_t count)
{
    for (uint32_t w = 0; w < plan->workers; w++) {
        if (w + 1 < count) {
            place_on_core(&plan->worker[w], &candidates[w + 1], &candidates[0]);
        } else if (!place_on_sibling(&plan->worker[w], candidates, count, w + 1 - count)) {
            place(&plan->worker[w], NULL, 0,
                  "nothing left: the system places it, and it waits briefly");
            plan->crowded = true;
        }
    }
    if (plan->crowded) {
        place(&plan->dispatcher, NULL, 0,
              "cores are shared: it would wait for whoever comes to its own");
    } else if (plan->workers == 0) {
        place(&plan->dispatcher, NULL, 0, "without workers the system places it");
    }
}

/* More replicas than cores. */
static void place_nothing(struct lks_topology_plan *plan)
{
    static const char why[] = "more replicas here than cores: the system places it";
    plan->crowded = true;
    place(&plan->dispatcher, NULL, 0, "%s", why);
    for (uint32_t w = 0; w < plan->workers; w++) {
        place(&plan->worker[w], NULL, 0, "%s", why);
    }
}

static void place_all(struct lks_topology_plan *plan, const struct lks_topology_options *options,
                      hwloc_topology_t topology, struct candidate *candidates)
{
    const uint32_t each = plan->cores / plan->places; /* cores of a replica */
    const uint32_t needed = plan->workers + 1;
    if (each == 0) {
        place_nothing(plan);
        return;
    }
    qsort(candidates, plan->cores, sizeof *candidates, wanted_first);
    /* Side by side, so that as many as possible are near the device. */
    const uint32_t count = plan->places == 1 || each < needed ? each : needed;
    struct candidate *own = candidates + options->place * count;
    const hwloc_obj_t first = own[0].core;
    for (uint32_t i = 0; i < count; i++) {
        look_from(topology, &own[i], first);
    }
    qsort(own, count, sizeof *own, nearer);
    LKS_ASSERT(own[0].core == first);
    if (own[0].wanted) {
        place(&plan->dispatcher, &own[0], 0, "on NUMA node %u, where the network's device is",
              options->node);
    } else if (options->near_node) {
        place(&plan->dispatcher, &own[0], 0, "no core is left on NUMA node %u of the device",
              options->node);
    } else {
        place(&plan->dispatcher, &own[0], 0, "the first core that may be used%s",
              plan->places > 1 ? ", and is no other replica's" : "");
    }
    place_workers(plan, own, count);
}

/* The description of another machine, or this one. */
static int load(hwloc_topology_t topology, const char *machine, struct lks_error *err)
{
    if (machine != NULL) {
        const int rc = access(machine, R_OK) == 0 ? hwloc_topology_set_xml(topology, machine)
                                                  : hwloc_topology_set_synthetic(topology, machine);
        if (rc != 0) {
            return lks_error_set(err, -EINVAL,
                                 "machine '%.80s': neither a description such as 'numa:2 core:8 "
                                 "pu:2' nor an XML file of lstopo", machine);
        }
    }
    return hwloc_topology_load(topology) == 0
               ? 0
               : lks_error_set(err, -ENOTSUP, "the machine's topology cannot be read by hwloc: run "
                               "without pinning");
}

/* The hardware threads that may be used. */
static int find_allowed(hwloc_topology_t topology, hwloc_bitmap_t allowed)
{
    if (!hwloc_topology_is_thissystem(topology)) {
        hwloc_const_bitmap_t all = hwloc_topology_get_topology_cpuset(topology);
        return hwloc_bitmap_copy(allowed, all);
    }
    return hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS);
}

static int make(struct lks_topology_plan *plan, const struct lks_topology_options *options,
                hwloc_topology_t topology, struct lks_error *err)
{
    int rc = load(topology, options->machine, err);
    if (rc != 0) {
        return rc;
    }
    struct candidate *candidates = calloc(CANDIDATES_MOST, sizeof *candidates);
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    rc = candidates != NULL && allowed != NULL ? -ENOTSUP : -ENOMEM;
    if (rc != -ENOMEM && find_allowed(topology, allowed) == 0) {
        *plan = (struct lks_topology_plan){
            .workers = options->workers,
            .places = options->places == 0 ? 1 : options->places,
            .cores = find_candidates(topology, options, allowed, candidates),
            .cpus = (uint32_t)hwloc_bitmap_weight(allowed),
            .nodes = (uint32_t)hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE)};
        if (plan->cores > 0) {
            place_all(plan, options, topology, candidates);
            rc = 0;
        }
    }
    if (allowed != NULL) {
        hwloc_bitmap_free(allowed);
    }
    free(candidates);
    if (rc == -ENOMEM) {
        return lks_error_set(err, rc, "no memory for the machine's description");
    }
    return rc == 0 ? 0
                   : lks_error_set(err, rc, "hwloc knows no core that may be used: run without "
                                            "pinning");
}

int lks_topology_plan_make(struct lks_topology_plan *plan,
                           const struct lks_topology_options *options, struct lks_error *err)
{
    LKS_ASSERT(options->place == 0 || options->place < options->places);
    if (options->workers > LKS_WORKERS_MAX) {
        return lks_error_set(err, -EINVAL, "%u workers: at most %u", options->workers,
                             LKS_WORKERS_MAX);
    }
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0) {
        return lks_error_set(err, -ENOTSUP, "the machine's topology cannot be read by hwloc");
    }
    const int rc = make(plan, options, topology, err);
    hwloc_topology_destroy(topology);
    return rc;
}

void lks_topology_plan_cpus(const struct lks_topology_plan *plan, int *cpus)
{
    for (uint32_t w = 0; w < plan->workers; w++) {
        cpus[w] = plan->worker[w].cpu;
    }
}

void lks_topology_plan_nodes(const struct lks_topology_plan *plan, int *nodes)
{
    for (uint32_t w = 0; w < plan->workers; w++) {
        nodes[w] = plan->worker[w].cpu >= 0 ? plan->worker[w].numa : -1;
    }
    nodes[plan->workers] =
        lks_topology_plan_core_cpu(plan) >= 0 ? plan->dispatcher.numa : -1;
}
