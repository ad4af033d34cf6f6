/* NUMA nodes, by hwloc; see numa.h. */
#include "sched/numa.h"

#include <errno.h>
#include <hwloc.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LKS_NUMA_MASK_BITS 1024u /* at least as many as the kernel has */

struct machine {
    hwloc_topology_t topology;
    hwloc_nodeset_t nodes;  /* scratch */
    /* The thread's, as an operator may have set it, in the kernel's words: hwloc has one word for
     * what is bound and what is only preferred. */
    int policy;
    unsigned long before[LKS_NUMA_MASK_BITS / (8 * sizeof(unsigned long))];
};

static int last_error(void)
{
    return errno != 0 ? -errno : -EIO;
}

/* hwloc on Linux prefers nodes without its flag `strict`: a full node refuses nothing. */
static hwloc_membind_policy_t policy_of(uint64_t nodes)
{
    return (nodes & (nodes - 1)) == 0 ? HWLOC_MEMBIND_BIND : HWLOC_MEMBIND_INTERLEAVE;
}

static hwloc_const_nodeset_t nodeset_of(struct machine *machine, uint64_t nodes)
{
    _Static_assert(sizeof(unsigned long) == sizeof nodes, "a word of hwloc's bitmap");
    (void)hwloc_bitmap_from_ulong(machine->nodes, nodes);
    return machine->nodes;
}

static int machine_bind(void *opened, void *address, uint64_t bytes, uint64_t nodes, bool moves)
{
    struct machine *machine = opened;
    const int flags = HWLOC_MEMBIND_BYNODESET | (moves ? HWLOC_MEMBIND_MIGRATE : 0);
    errno = 0;
    return hwloc_set_area_membind(machine->topology, address, bytes, nodeset_of(machine, nodes),
                                  policy_of(nodes), flags) == 0
               ? 0
               : last_error();
}

static int machine_prefer(void *opened, uint64_t nodes)
{
    struct machine *machine = opened;
    errno = 0;
    const long rc =
        nodes != 0 ? hwloc_set_membind(machine->topology, nodeset_of(machine, nodes),
                                       policy_of(nodes),
                                       HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET)
                   : syscall(SYS_set_mempolicy, machine->policy,
                             machine->policy == MPOL_DEFAULT ? NULL : machine->before,
                             LKS_NUMA_MASK_BITS);
    return rc == 0 ? 0 : last_error();
}

static bool machine_has(void *opened, uint32_t node)
{
    struct machine *machine = opened;
    return node < LKS_NUMA_NODES_MAX &&
           hwloc_get_numanode_obj_by_os_index(machine->topology, node) != NULL;
}

static void machine_close(void *opened)
{
    struct machine *machine = opened;
    hwloc_bitmap_free(machine->nodes);
    hwloc_topology_destroy(machine->topology);
    free(machine);
}

static const struct lks_numa_ops machine_ops = {
    .bind = machine_bind,
    .prefer = machine_prefer,
    .has = machine_has,
    .close = machine_close,
};

static void note_policy(struct machine *machine)
{
    if (syscall(SYS_get_mempolicy, &machine->policy, machine->before, LKS_NUMA_MASK_BITS, NULL,
                0UL) != 0) {
        machine->policy = MPOL_DEFAULT;
    }
}

int lks_numa_init(struct lks_numa *numa, const struct lks_log *log_sink, struct lks_error *err)
{
    struct machine *machine = calloc(1, sizeof *machine);
    if (machine == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the machine's description");
    }
    errno = 0;
    if (hwloc_topology_init(&machine->topology) != 0) {
        const int rc = last_error();
        free(machine);
        return lks_error_set(err, rc, "hwloc describes no machine");
    }
    machine->nodes = hwloc_bitmap_alloc();
    const bool all = machine->nodes != NULL;
    errno = 0;
    if (!all || hwloc_topology_load(machine->topology) != 0) {
        const int rc = all ? last_error() : -ENOMEM;
        machine_close(machine);
        return lks_error_set(err, rc, "hwloc describes no machine");
    }
    note_policy(machine);
    lks_numa_init_with(numa, &machine_ops, machine, log_sink);
    return 0;
}

void lks_numa_init_with(struct lks_numa *numa, const struct lks_numa_ops *ops, void *machine,
                        const struct lks_log *log_sink)
{
    *numa = (struct lks_numa){.ops = ops, .machine = machine, .log_sink = log_sink};
}

void lks_numa_fini(struct lks_numa *numa)
{
    if (numa->ops != NULL) {
        lks_numa_prefer(numa, 0);
        if (numa->ops->close != NULL) {
            numa->ops->close(numa->machine);
        }
    }
    *numa = (struct lks_numa){0};
}

static void refuse(struct lks_numa *numa, const char *what, int code)
{
    numa->refused = true;
    lks_log_warn(numa->log_sink,
                 "%s is not placed by NUMA node: %s: all goes on, slower where a thread reaches "
                 "for another node's memory; let the process choose (in a container: "
                 "--cap-add SYS_NICE), or run it on one node (numactl --cpunodebind)",
                 what, lks_error_text(code));
}

void lks_numa_place(struct lks_numa *numa, void *address, uint64_t bytes, uint64_t nodes)
{
    if (numa == NULL || nodes == 0 || numa->refused) {
        return;
    }
    const int rc = numa->ops->bind(numa->machine, address, bytes, nodes, false);
    if (rc != 0) {
        refuse(numa, "the memory of workers", rc);
    }
}

void lks_numa_prefer(struct lks_numa *numa, uint64_t nodes)
{
    if (numa == NULL || nodes == numa->preferred || (numa->refused && nodes != 0)) {
        return;
    }
    const int rc = numa->ops->prefer(numa->machine, nodes);
    if (rc == 0) {
        numa->preferred = nodes;
    } else if (!numa->refused) {
        refuse(numa, "the memory of partitions", rc);
    }
}
