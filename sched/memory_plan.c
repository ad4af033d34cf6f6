/* Which memory lies on which NUMA node; see memory_plan.h. */
#include "sched/memory_plan.h"

#include "base/assert.h"
#include "sched/class_map.h"
#include "sched/numa.h"

#include <string.h>

#define SHARDS_DEFAULT 64u
#define LISTED 3u /* partitions that are named one by one */

/* ---- the rules ---- */

void lks_memory_nodes_of(struct lks_memory_nodes *of, const int *nodes, uint32_t workers)
{
    *of = (struct lks_memory_nodes){.workers = workers};
    for (uint32_t i = 0; nodes != NULL && i <= workers; i++) {
        of->executor[i] = lks_numa_bit(nodes[i]);
    }
}

static uint64_t nodes_of(const struct lks_memory_nodes *nodes, uint64_t owners)
{
    uint64_t all = owners == 0 ? nodes->executor[nodes->workers] : 0;
    for (uint64_t left = owners; left != 0; left &= left - 1) {
        all |= nodes->executor[__builtin_ctzll(left)];
    }
    return all;
}

static uint64_t all_of(uint32_t workers)
{
    return (UINT64_C(1) << workers) - 1; /* at most 63 */
}

static bool has_lanes(enum lks_scheduler_kind kind, uint32_t lanes)
{
    return kind == LKS_HYBRID || (kind == LKS_LATE && lanes > 1);
}

uint64_t lks_memory_nodes_of_keys(const struct lks_memory_nodes *nodes,
                                  enum lks_scheduler_kind kind, uint32_t lanes)
{
    return nodes_of(nodes, has_lanes(kind, lanes) ? all_of(nodes->workers) : 0);
}

uint64_t lks_memory_owners(enum lks_scheduler_kind kind, uint32_t workers, uint64_t mapped)
{
    if (workers == 0 || kind == LKS_SEQUENTIAL) {
        return 0;
    }
    return kind == LKS_EARLY || kind == LKS_HYBRID ? mapped : all_of(workers);
}

/* ---- for people ---- */

const char *lks_memory_nodes_text(uint64_t nodes, char text[LKS_MEMORY_NODES_TEXT])
{
    size_t bytes = 0;
    (void)snprintf(text, LKS_MEMORY_NODES_TEXT, "-");
    for (uint64_t left = nodes; left != 0; left &= left - 1) {
        bytes += (size_t)snprintf(text + bytes, LKS_MEMORY_NODES_TEXT - bytes, "%s%d",
                                  bytes > 0 ? ", " : "", __builtin_ctzll(left));
    }
    if ((nodes & (nodes - 1)) != 0) { /* (64 numbers take 242 characters at most) */
        (void)snprintf(text + bytes, LKS_MEMORY_NODES_TEXT - bytes, " in turns");
    }
    return text;
}

__attribute__((format(printf, 4, 5))) static void add(struct lks_memory_plan *memory,
                                                      uint64_t nodes, const char *why,
                                                      const char *format, ...)
{
    LKS_ASSERT(memory->count < LKS_COUNT_OF(memory->line));
    struct lks_memory_line *line = &memory->line[memory->count++];
    va_list args;
    va_start(args, format);
    line->nodes = nodes;
    (void)vsnprintf(line->what, sizeof line->what, format, args);
    (void)snprintf(line->why, sizeof line->why, "%s",
                   nodes != 0 ? why : "a thread that is not pinned: wherever the system likes");
    va_end(args);
}

/* "; partitions 1, 3, 5, ... (32)": those that the map gives the worker. */
static void list_partitions(const struct lks_class_map *map, uint32_t partitions, uint32_t worker,
                            char *text, size_t bytes_max)
{
    const uint32_t shards = lks_class_map_classes(map) / 2;
    size_t bytes = 0;
    uint32_t count = 0;
    text[0] = '\0';
    for (uint32_t p = 0; p < partitions; p++) {
        if ((lks_class_map_at(map, p % shards * 2 + 1)->workers >> worker & 1) == 0) {
            continue;
        }
        if (count < LISTED) {
            bytes += (size_t)snprintf(text + bytes, bytes_max - bytes, "%s%u",
                                      count == 0 ? "; partitions " : ", ", p);
        }
        count++;
    }
    if (count > LISTED) {
        (void)snprintf(text + bytes, bytes_max - bytes, ", ... (%u)", count);
    }
}

static void add_workers(struct lks_memory_plan *memory, const struct lks_memory_nodes *nodes,
                        const struct lks_class_map *map, uint32_t partitions)
{
    for (uint32_t w = 0; w < nodes->workers; w++) {
        char list[64] = "";
        if (map != NULL) {
            list_partitions(map, partitions, w, list, sizeof list);
        }
        add(memory, nodes->executor[w],
            map != NULL ? "it takes its commands there, and executes on them"
                        : "it takes its commands there",
            "worker %u: queues%s", w, list);
    }
}

static void fill(struct lks_memory_plan *memory, const struct lks_memory_nodes *nodes,
                 enum lks_scheduler_kind kind, const struct lks_class_map *map,
                 uint32_t partitions)
{
    const bool lanes = has_lanes(kind, 1);
    add(memory, nodes->executor[nodes->workers], "it fills them, and looks until they are executed",
        "core thread: commands under way, meetings, classes");
    add_workers(memory, nodes, map, partitions);
    add(memory, lks_memory_nodes_of_keys(nodes, kind, 1),
        lanes ? "a page has slots of every worker's lane" : "the core thread inserts into it",
        "table of keys");
    if (map == NULL) {
        const uint64_t owners = lks_memory_owners(kind, nodes->workers, 0);
        add(memory, nodes_of(nodes, owners),
            owners != 0 ? "any worker executes on them" : "the core thread executes on them",
            "the service's %u partitions", partitions);
    }
}

int lks_memory_plan_make(struct lks_memory_plan *memory, const struct lks_topology_plan *threads,
                         enum lks_scheduler_kind kind, uint32_t partitions, struct lks_error *err)
{
    LKS_ASSERT(partitions > 0);
    int numbers[LKS_WORKERS_MAX + 1];
    struct lks_memory_nodes nodes;
    struct lks_class_map *map = NULL;
    *memory = (struct lks_memory_plan){.machine_nodes = threads->nodes};
    if (threads->nodes <= 1 || threads->workers == 0) {
        return 0;
    }
    if (kind == LKS_EARLY || kind == LKS_HYBRID) {
        const bool each = (partitions & (partitions - 1)) == 0;
        const int rc = lks_class_map_shards(&map, each ? partitions : SHARDS_DEFAULT, NULL,
                                            threads->workers);
        if (rc != 0) {
            return lks_error_set(err, rc, "no memory for the map of classes");
        }
    }
    lks_topology_plan_nodes(threads, numbers);
    lks_memory_nodes_of(&nodes, numbers, threads->workers);
    fill(memory, &nodes, kind, map, partitions);
    lks_class_map_free(map);
    return 0;
}

void lks_memory_plan_print(const struct lks_memory_plan *memory, FILE *to)
{
    if (memory->machine_nodes <= 1) {
        (void)fprintf(to, "memory: one NUMA node, nothing to place\n");
    } else if (memory->count == 0) {
        (void)fprintf(to, "memory: without workers it is wherever the system likes\n");
    } else {
        (void)fprintf(to, "%-54s %-14s %s\n", "memory", "numa", "why");
    }
    for (uint32_t i = 0; i < memory->count; i++) {
        char nodes[LKS_MEMORY_NODES_TEXT];
        const struct lks_memory_line *line = &memory->line[i];
        (void)fprintf(to, "%-54s %-14s %s\n", line->what,
                      lks_memory_nodes_text(line->nodes, nodes), line->why);
    }
}
