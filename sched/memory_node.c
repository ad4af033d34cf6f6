/* Memory on the NUMA node of a device; see memory_node.h. */
#include "sched/memory_node.h"

#include <errno.h>
#include <hwloc.h>
#include <stdlib.h>

struct lks_memory_node {
    hwloc_topology_t topology;
    hwloc_const_nodeset_t nodes; /* the topology's: the one node */
    hwloc_nodeset_t before;      /* the thread's, as an operator may have set it */
    hwloc_membind_policy_t policy;
};

static int last_error(void)
{
    return errno != 0 ? -errno : -EIO;
}

/* The topology, and what the thread's memory is bound to before. Negative: nothing is made. */
static int describe(struct lks_memory_node *made, struct lks_error *err)
{
    const int flags = HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET;
    errno = 0;
    if (hwloc_topology_init(&made->topology) != 0) {
        return lks_error_set(err, last_error(), "hwloc describes no machine");
    }
    made->before = hwloc_bitmap_alloc();
    if (made->before == NULL || hwloc_topology_load(made->topology) != 0) {
        const int code = lks_error_set(err, last_error(), "hwloc describes no machine");
        hwloc_bitmap_free(made->before);
        hwloc_topology_destroy(made->topology);
        return code;
    }
    if (hwloc_get_membind(made->topology, made->before, &made->policy, flags) != 0 ||
        made->policy == HWLOC_MEMBIND_FIRSTTOUCH) { /* what nobody has set, too */
        made->policy = HWLOC_MEMBIND_DEFAULT;
        (void)hwloc_bitmap_copy(made->before,
                                hwloc_topology_get_complete_nodeset(made->topology));
    }
    return 0;
}

static void forget(struct lks_memory_node *memory)
{
    hwloc_bitmap_free(memory->before);
    hwloc_topology_destroy(memory->topology);
    free(memory);
}

int lks_memory_node_begin(struct lks_memory_node **memory, uint32_t node, struct lks_error *err)
{
    struct lks_memory_node *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the machine's description");
    }
    int code = describe(made, err);
    if (code != 0) {
        free(made);
        return code;
    }
    hwloc_obj_t object = hwloc_get_numanode_obj_by_os_index(made->topology, node);
    if (object != NULL) {
        made->nodes = object->nodeset;
        /* (Without the flag that makes it strict: a full node refuses nothing.) */
        if (hwloc_set_membind(made->topology, made->nodes, HWLOC_MEMBIND_BIND,
                              HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET) != 0) {
            code = lks_error_set(err, last_error(), "memory of NUMA node %u cannot be asked for: "
                                 "%s", node, lks_error_text(last_error()));
        }
    } else {
        code = lks_error_set(err, -ENOENT, "this machine has no NUMA node %u", node);
    }
    if (code != 0) {
        forget(made);
        return code;
    }
    *memory = made;
    return 0;
}

int lks_memory_node_take(const struct lks_memory_node *memory, void *address, uint64_t bytes)
{
    errno = 0;
    return hwloc_set_area_membind(memory->topology, address, bytes, memory->nodes,
                                  HWLOC_MEMBIND_BIND,
                                  HWLOC_MEMBIND_BYNODESET | HWLOC_MEMBIND_MIGRATE) == 0
               ? 0
               : last_error();
}

void lks_memory_node_end(struct lks_memory_node *memory)
{
    if (memory == NULL) {
        return;
    }
    (void)hwloc_set_membind(memory->topology, memory->before, memory->policy,
                            HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET);
    forget(memory);
}
