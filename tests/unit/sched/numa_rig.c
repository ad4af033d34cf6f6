/* A machine of several NUMA nodes for tests; see numa_rig.h. */
#include "tests/unit/sched/numa_rig.h"

#include "base/assert.h"

#include <stdio.h>

static int note_bind(void *machine, void *address, uint64_t bytes, uint64_t nodes, bool moves)
{
    struct numa_rig *rig = machine;
    LKS_ASSERT(!moves);
    LKS_ASSERT(rig->areas_count < NUMA_RIG_AREAS);
    rig->areas[rig->areas_count++] = (struct numa_rig_area){address, bytes, nodes};
    return rig->answer;
}

static int note_prefer(void *machine, uint64_t nodes)
{
    struct numa_rig *rig = machine;
    rig->prefers++;
    if (rig->answer == 0) {
        rig->preferred = nodes;
    }
    return rig->answer;
}

static bool has_two(void *machine, uint32_t node)
{
    (void)machine;
    return node < 2;
}

static void note_line(void *ctx, enum lks_log_level level, const char *line)
{
    struct numa_rig *rig = ctx;
    rig->warnings += level == LKS_LOG_WARN;
    (void)snprintf(rig->warning, sizeof rig->warning, "%s", line);
}

void numa_rig_init(struct numa_rig *rig)
{
    static const struct lks_numa_ops ops = {
        .bind = note_bind, .prefer = note_prefer, .has = has_two};
    *rig = (struct numa_rig){.log = {LKS_LOG_INFO, note_line, rig}};
    lks_numa_init_with(&rig->numa, &ops, rig, &rig->log);
}

uint64_t numa_rig_nodes_of(const struct numa_rig *rig, const void *address)
{
    const unsigned char *at = address;
    uint64_t nodes = 0;
    for (uint32_t i = 0; i < rig->areas_count; i++) {
        const struct numa_rig_area *area = &rig->areas[i];
        if (at >= area->address && at < area->address + area->bytes) {
            nodes = area->nodes; /* (the last one: memory may have been given back and taken) */
        }
    }
    return nodes;
}
