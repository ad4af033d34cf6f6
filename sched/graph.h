/*
 * Inside of sched/: the graph of commands (late, hybrid). graph_insert.c adds commands to it on the
 * lanes; graph.c executes them on the workers.
 *
 * Identities are hashed into slots. A slot is owned by one lane, so what it remembers (the last
 * writer, the readers since) needs no atomics. All lanes walk the log in the same order, so a
 * command waits only for ones with smaller tickets, and there can be no cycle.
 *
 * A node lives in a ring by its ticket. With W commands in flight at most, a command can be waited
 * for only by those at most W later; the ring holds 2W (4W if lanes run behind the dispatcher), so
 * whoever may still reach a node finds it in its place, and no other reclamation is needed.
 *
 * A node of ticket t may still be reached
 *   as a writer, by the next commands on its slot: those before t + W
 *   as the host of a group: readers join it before t + W, so who closes it while readers are under
 *   way comes before t + 2W
 * Where the dispatcher inserts, that command is the newest one, and t + 2W takes the node's place.
 * Where lanes run behind, the newest one may be W further: then the ring has 4W.
 */
#ifndef LKS_SCHED_GRAPH_H
#define LKS_SCHED_GRAPH_H

#include "sched/engine.h"
#include "sched/ring.h"

#define CELLS_INSIDE 2u

/* A reference to cell k of a node: place in the ring << 5 | k << 1 | whether the group is meant. */
typedef uint32_t cell_ref;
#define REF_NONE UINT32_MAX
#define REF_CLOSED (UINT32_MAX - 1)
/* In `what`: this access writes. The other bits: before insertion the slot; afterwards, of an
 * access that reads, the cell that counts its group (a cell_ref without the lowest bit, shifted by
 * it). */
#define CELL_WRITES (UINT32_C(1) << 31)

/* One access of a command. Written by the lane of its slot during insertion, except where said. */
struct cell {
    uint32_t what;
    cell_ref next; /* in the list of the writer that this access waits for */
    /* Where this access opened a group of readers: minus those that are done, plus, once closed,
     * all that it had. 0 after closing: all are done. Lane and workers. */
    _Atomic int32_t count;
    cell_ref successor; /* who waits for the group: set before it is closed, read at 0 */
};

_Static_assert(LKS_ACCESS_MAX <= 16, "k has four bits in a reference");
_Static_assert((UINT64_C(4) * LKS_WINDOW_MAX) << LKS_ACCESS_MAX <= UINT32_MAX,
               "an item of a lane is a place and a bit for each access");
_Static_assert(LKS_SLOTS_MAX <= CELL_WRITES, "a slot and the bit above it");

struct node {
    _Atomic uint32_t pending;    /* accesses that still wait; who brings it to 0 hands it out */
    _Atomic cell_ref dependents; /* accesses that wait for this writer; REF_CLOSED: it is done */
    uint64_t command;
    uint64_t ticket;
    uint8_t cells;
    bool writes; /* any of them */
    uint8_t padding[2];
    /* The lap (ticket / ring) in which this place was executed last. Here, where the worker has the
     * line anyway: in an array of its own, workers would take a line from one another with every
     * command. */
    _Atomic uint32_t done;
    struct cell inside[CELLS_INSIDE];
};
_Static_assert(sizeof(struct node) == 64, "a node with two accesses is one cache line");

struct slot {
    uint64_t writer; /* ticket; 0: none */
    uint64_t reader; /* ticket of the last one since then; 0: none. What follows is of its group: */
    uint64_t group;  /* ticket of the command that opened it */
    uint32_t group_cell;
    int32_t joined; /* how many it has; an older group that it has to wait out counts as one */
};
_Static_assert(sizeof(struct slot) == 32, "two slots a cache line");

/* Inserts the accesses of its slots. Whoever holds the lock is the lane; lanes of their own only.
 * */
struct lane {
    _Alignas(64) _Atomic bool busy;
    struct lks_ring queue; /* places of nodes and whose accesses; the dispatcher fills it */
};

struct queues {
    struct lks_ring ready; /* filled by its worker: nodes that its completions made ready */
    struct lks_ring inbox; /* filled by the dispatcher: nodes that are ready at once */
};

struct lks_graph {
    uint32_t mask;         /* of the ring of nodes, minus 1 */
    uint32_t ring_shift;   /* log2 of the nodes in use: 2 or 4 windows */
    uint64_t base;         /* the ticket at which it was taken into use: older ones are executed */
    uint32_t slot_mask;
    uint64_t window;
    uint32_t lanes;
    /* Lanes that workers walk; 0: the dispatcher inserts. Relaxed: a worker that reads an old
     * number finds nothing in those lanes. Written by the dispatcher when nothing is under way. */
    _Atomic uint32_t walked;
    bool by_class;         /* a slot's lane is that of its class */
    struct node *nodes;
    struct cell *outside; /* [ring][LKS_ACCESS_MAX - CELLS_INSIDE] */
    struct slot *slots;
    bool walks; /* the dispatcher's copy: walked != 0 */
    const uint8_t *lane_of_class; /* NULL: slots are dealt out in turn */
    uint32_t class_mask;
    struct lane *lane[LKS_LANES_MAX]; /* each in the home of the worker that walks it first */
    struct queues *queues[LKS_WORKERS_MAX + 1]; /* [executors]; each in its own home */
    /* The dispatcher's own, on a line that workers do not read: what got something since it
     * published. */
    _Alignas(64) uint64_t to_wake;
    uint64_t to_wake_lanes;
    uint32_t next_left; /* whose turn it is to get what the helper leaves */
};

static inline struct cell *graph_cell(struct lks_graph *graph, uint32_t place, uint32_t k)
{
    const size_t row = LKS_ACCESS_MAX - CELLS_INSIDE;
    return k < CELLS_INSIDE ? &graph->nodes[place].inside[k]
                            : &graph->outside[place * row + k - CELLS_INSIDE];
}

static inline uint32_t graph_lap(const struct lks_graph *graph, uint64_t ticket)
{
    return (uint32_t)(ticket >> graph->ring_shift);
}

static inline cell_ref graph_ref(uint32_t place, uint32_t k, bool group)
{
    return place << 5 | k << 1 | (group ? 1u : 0u);
}

static inline uint32_t graph_lane_of(const struct lks_graph *graph, uint32_t slot)
{
    return graph->by_class ? graph->lane_of_class[slot & graph->class_mask]
                                        : slot % graph->lanes;
}

/* Dispatcher: the engine's submit. */
bool lks_graph_submit(struct lks_scheduler *scheduler, uint64_t command, const lks_access *words,
                      uint32_t count);
/* Dispatcher, where it inserts itself: inserts what submit held back. */
void lks_graph_insert_held(struct lks_scheduler *scheduler);
/* Inserts what waits in this lane, up to a bound; nodes that become ready go to the ready ring of
 * `worker`. False: nothing there, or another worker is at it. */
bool lks_graph_walk(struct lks_graph *graph, uint32_t lane, struct lks_worker *worker);

#endif
