/* Memory on the NUMA node of a device; see memory_node.h. */
#include "sched/memory_node.h"

#include "sched/numa.h"

#include <errno.h>
#include <stdlib.h>

struct lks_memory_node {
    struct lks_numa numa;
    uint64_t nodes; /* the one */
};

/* hwloc prefers the node, or says why it may not. */
static int choose(struct lks_memory_node *memory, uint32_t node, struct lks_error *err)
{
    if (!memory->numa.ops->has(memory->numa.machine, node)) {
        return lks_error_set(err, -ENOENT, "this machine has no NUMA node %u", node);
    }
    memory->nodes = lks_numa_bit((int)node);
    const int rc = memory->numa.ops->prefer(memory->numa.machine, memory->nodes);
    if (rc != 0) {
        return lks_error_set(err, rc, "memory of NUMA node %u cannot be asked for: %s", node,
                             lks_error_text(rc));
    }
    memory->numa.preferred = memory->nodes;
    return 0;
}

int lks_memory_node_begin(struct lks_memory_node **memory, uint32_t node, struct lks_error *err)
{
    struct lks_memory_node *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the machine's description");
    }
    int rc = lks_numa_init(&made->numa, NULL, err);
    rc = rc == 0 ? choose(made, node, err) : rc;
    if (rc != 0) {
        lks_memory_node_end(made);
        return rc;
    }
    *memory = made;
    return 0;
}

int lks_memory_node_take(const struct lks_memory_node *memory, void *address, uint64_t bytes)
{
    return memory->numa.ops->bind(memory->numa.machine, address, bytes, memory->nodes, true);
}

void lks_memory_node_end(struct lks_memory_node *memory)
{
    if (memory != NULL) {
        lks_numa_fini(&memory->numa);
        free(memory);
    }
}
