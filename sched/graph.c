/*
 * The graph of commands on its workers: what is ready is executed, and what waited for it becomes
 * ready. Also its making, and how far it is executed. Insertion is in graph_insert.c, the structure
 * and why nothing in it is reached too late in graph.h.
 */
#include "sched/graph.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A worker takes this many ready commands at once, at most. */
#define TAKE_AT_ONCE 8u
/* And goes on with what its own completions made ready this often before it looks elsewhere. */
#define CHAIN_MOST 64u

/* ---- completion ---- */

struct completion {
    struct lks_graph *graph;
    uint32_t next; /* the first node that became ready, to be executed at once; REF_NONE */
    struct lks_ring *ready;
    uint32_t more; /* others that became ready */
};

/* One access of this node waits no longer. */
static void give_token(struct completion *to, cell_ref ref)
{
    const uint32_t place = ref >> 5;
    /* Acquire and release: with those of other completions and of give_tokens; who brings it to 0
     * has seen all that it waited for. */
    if (atomic_fetch_sub_explicit(&to->graph->nodes[place].pending, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (to->next == REF_NONE) {
        to->next = place;
    } else {
        lks_ring_add(to->ready, place);
        to->more++;
    }
}

static void close_writer(struct completion *to, struct node *node)
{
    /* Release: what the command did, to who finds the list closed (wait_for_writer). Acquire: the
     * cells of those who are on it. */
    cell_ref ref = atomic_exchange_explicit(&node->dependents, REF_CLOSED, memory_order_acq_rel);
    while (ref != REF_NONE) {
        LKS_ASSERT(ref != REF_CLOSED);
        /* Read before the token: afterwards its command may be executed and gone. */
        const cell_ref next = graph_cell(to->graph, ref >> 5, ref >> 1 & 15)->next;
        give_token(to, ref);
        ref = next;
    }
}

/* One reader less; the last one of a closed group tells its successor, which may be a group. */
static void leave_group(struct completion *to, cell_ref ref)
{
    for (;;) {
        struct cell *host = graph_cell(to->graph, ref >> 5, ref >> 1 & 15);
        /* Release: what the command did, to the last one; acquire: what the others did, and the
         * successor. Both with the addition in close_group. Below 0 while the group is open. */
        if (atomic_fetch_sub_explicit(&host->count, 1, memory_order_acq_rel) != 1) {
            return;
        }
        ref = host->successor;
        if ((ref & 1) == 0) {
            give_token(to, ref);
            return;
        }
    }
}

static void complete(struct completion *to, struct node *node, uint32_t place)
{
    for (uint32_t k = 0; k < node->cells; k++) {
        const struct cell *cell = graph_cell(to->graph, place, k);
        if ((cell->what & CELL_WRITES) == 0) {
            leave_group(to, cell->what << 1);
        }
    }
    if (node->writes) {
        close_writer(to, node);
    }
    /* Release: with the acquire load in graph_advance; nothing of the node is used after it. */
    atomic_store_explicit(&to->graph->done[place], node->lap, memory_order_release);
}

/* ---- working ---- */

/* Executes a ready node, then what becomes ready by it, one after another, up to a bound. */
static void run_chain(struct lks_scheduler *scheduler, struct lks_worker *worker, uint32_t place)
{
    struct lks_graph *graph = scheduler->graph;
    struct lks_ring *ready = &graph->queues[worker->id].ready;
    const uint32_t most = scheduler->options.manual ? 1 : CHAIN_MOST;
    for (uint32_t i = 0; place != REF_NONE; i++) {
        if (i == most) {
            lks_ring_add(ready, place);
            lks_ring_publish(ready);
            return;
        }
        struct node *node = &graph->nodes[place];
        struct completion to = {graph, REF_NONE, ready, 0};
        lks_worker_execute(worker, node->command);
        complete(&to, node, place);
        if (to.more > 0) {
            lks_ring_publish(ready);
            lks_wake_fence();
            lks_worker_wake(scheduler, worker->id, UINT64_MAX);
        }
        place = to.next;
    }
}

static bool run_some(struct lks_scheduler *scheduler, struct lks_worker *worker,
                     struct lks_ring *from, bool steal)
{
    uint32_t places[TAKE_AT_ONCE];
    const bool manual = scheduler->options.manual;
    const uint32_t share = steal ? 2 : 1;
    const uint32_t count = lks_ring_take(from, places, manual ? 1 : TAKE_AT_ONCE,
                                         scheduler->executors * share);
    for (uint32_t i = 0; i < count; i++) {
        run_chain(scheduler, worker, places[i]);
    }
    if (steal) {
        lks_counter_add(&worker->stolen, count);
    }
    return count > 0;
}

static bool steal_some(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_graph *graph = scheduler->graph;
    for (uint32_t i = 1; i < scheduler->executors; i++) {
        struct queues *of = &graph->queues[(worker->id + i) % scheduler->executors];
        if (run_some(scheduler, worker, &of->ready, true) ||
            run_some(scheduler, worker, &of->inbox, true)) {
            return true;
        }
    }
    return false;
}

static bool walk_lanes(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_graph *graph = scheduler->graph;
    const uint32_t lanes = atomic_load_explicit(&graph->walked, memory_order_relaxed);
    for (uint32_t i = 0; i < lanes; i++) {
        if (lks_graph_walk(graph, (worker->id + i) % lanes, worker)) {
            return true;
        }
    }
    return false;
}

static bool graph_work(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_graph *graph = scheduler->graph;
    struct queues *own = &graph->queues[worker->id];
    if (run_some(scheduler, worker, &own->ready, false) ||
        run_some(scheduler, worker, &own->inbox, false)) {
        return true;
    }
    const bool helper = worker->id == scheduler->options.workers;
    if (!helper && worker->id >= lks_scheduler_active(scheduler)) {
        return false;
    }
    if (walk_lanes(scheduler, worker)) {
        return true;
    }
    return !scheduler->options.no_steal && steal_some(scheduler, worker);
}

/* ---- the dispatcher ---- */

static void graph_publish(struct lks_scheduler *scheduler)
{
    struct lks_graph *graph = scheduler->graph;
    if (scheduler->held == 0) {
        return;
    }
    if (!graph->walks) {
        lks_graph_insert_held(scheduler);
    }
    scheduler->held = 0;
    for (uint64_t left = graph->to_wake_lanes; left != 0; left &= left - 1) {
        lks_ring_publish(&graph->lane[__builtin_ctzll(left)].queue);
    }
    for (uint64_t left = graph->to_wake; left != 0; left &= left - 1) {
        lks_ring_publish(&graph->queues[__builtin_ctzll(left)].inbox);
    }
    lks_wake_fence();
    for (uint64_t left = graph->to_wake_lanes; left != 0; left &= left - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctzll(left);
        lks_worker_wake(scheduler, lane % lks_scheduler_active(scheduler),
                        lks_ring_depth(&graph->lane[lane].queue));
    }
    for (uint64_t left = graph->to_wake; left != 0; left &= left - 1) {
        const uint32_t worker = (uint32_t)__builtin_ctzll(left);
        lks_worker_wake(scheduler, worker, lks_ring_depth(&graph->queues[worker].inbox));
    }
    graph->to_wake_lanes = 0;
    graph->to_wake = 0;
}

static void graph_advance(struct lks_scheduler *scheduler)
{
    const struct lks_graph *graph = scheduler->graph;
    while (scheduler->low < scheduler->head) {
        const uint64_t low = scheduler->low;
        /* Acquire: with the release store in complete; what the command did is visible, and its
         * node may be filled anew. */
        if (atomic_load_explicit(&graph->done[low & graph->mask], memory_order_acquire) !=
            (uint8_t)(low >> graph->ring_shift)) {
            return;
        }
        scheduler->low++;
    }
}

/* A taken node is executed before work() returns. */
static void graph_leave(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    (void)scheduler;
    (void)worker;
}

static uint64_t graph_depth(const struct lks_scheduler *scheduler, uint32_t worker)
{
    const struct queues *queues = &scheduler->graph->queues[worker];
    return lks_ring_depth(&queues->ready) + lks_ring_depth(&queues->inbox);
}

const struct lks_engine lks_graph_engine = {
    .submit = lks_graph_submit,
    .publish = graph_publish,
    .advance = graph_advance,
    .work = graph_work,
    .leave = graph_leave,
    .depth = graph_depth,
};

/* ---- making ---- */

/* Zeroed, of whole pages, large ones where the system has them. */
static void *map_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
    return memory;
}

static int ring_new(struct lks_ring *ring, uint32_t items)
{
    ring->items = calloc(items, sizeof *ring->items);
    ring->mask = items - 1;
    return ring->items == NULL ? -ENOMEM : 0;
}

static size_t nodes_most(const struct lks_graph *graph)
{
    return (size_t)graph->window * 4;
}

static void *new_zeroed(size_t count, size_t bytes)
{
    void *memory = aligned_alloc(64, count * bytes);
    if (memory != NULL) {
        memset(memory, 0, count * bytes);
    }
    return memory;
}

static int allocate(struct lks_graph *graph, uint32_t executors, uint32_t slots)
{
    const size_t nodes = nodes_most(graph);
    graph->nodes = new_zeroed(nodes, sizeof *graph->nodes);
    graph->outside = map_memory(nodes * (LKS_ACCESS_MAX - CELLS_INSIDE) * sizeof(struct cell));
    graph->slots = map_memory(slots * sizeof *graph->slots);
    graph->done = calloc(nodes, 1);
    graph->lane = new_zeroed(LKS_LANES_MAX, sizeof *graph->lane);
    graph->queues = new_zeroed(executors, sizeof *graph->queues);
    if (graph->nodes == NULL || graph->outside == NULL || graph->slots == NULL ||
        graph->done == NULL || graph->lane == NULL || graph->queues == NULL) {
        return -ENOMEM;
    }
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < executors; i++) {
        rc = ring_new(&graph->queues[i].ready, (uint32_t)graph->window);
        rc = rc != 0 ? rc : ring_new(&graph->queues[i].inbox, (uint32_t)graph->window);
    }
    for (uint32_t i = 0; rc == 0 && i < LKS_LANES_MAX; i++) {
        rc = ring_new(&graph->lane[i].queue, (uint32_t)graph->window);
    }
    return rc;
}

int lks_graph_new(struct lks_graph **graph, const struct lks_scheduler *scheduler)
{
    struct lks_graph *made = new_zeroed(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    *graph = made; /* freed with the scheduler, also half made */
    made->window = scheduler->window;
    made->executors = scheduler->executors;
    made->slot_mask = scheduler->options.slots - 1;
    return allocate(made, scheduler->executors, scheduler->options.slots);
}

void lks_graph_free(struct lks_graph *graph)
{
    if (graph == NULL) {
        return;
    }
    const size_t nodes = nodes_most(graph);
    for (uint32_t i = 0; graph->lane != NULL && i < LKS_LANES_MAX; i++) {
        free(graph->lane[i].queue.items);
    }
    for (uint32_t i = 0; graph->queues != NULL && i < graph->executors; i++) {
        free(graph->queues[i].ready.items);
        free(graph->queues[i].inbox.items);
    }
    if (graph->outside != NULL) {
        (void)munmap(graph->outside, nodes * (LKS_ACCESS_MAX - CELLS_INSIDE) * sizeof(struct cell));
    }
    if (graph->slots != NULL) {
        (void)munmap(graph->slots, ((size_t)graph->slot_mask + 1) * sizeof *graph->slots);
    }
    free(graph->nodes);
    free(graph->done);
    free(graph->lane);
    free(graph->queues);
    free(graph->lane_of_class);
    free(graph);
}

int lks_graph_set_classes(struct lks_graph *graph, const uint8_t *lane_of_class, uint32_t classes)
{
    uint8_t *copy = malloc(classes);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, lane_of_class, classes);
    free(graph->lane_of_class);
    graph->lane_of_class = copy;
    graph->class_mask = classes - 1;
    return 0;
}

/* A lane's last command may be executed before whoever walked the lane has noted it in the slot:
 * the slots are the dispatcher's only once each lane has been let go. */
static void wait_for_lanes(struct lks_graph *graph)
{
    for (uint32_t i = 0; graph->walks && i < graph->lanes; i++) {
        /* Acquire: with the release store in lks_graph_walk. Its holder has nothing left to insert;
         * it may only be off its processor. */
        while (atomic_load_explicit(&graph->lane[i].busy, memory_order_acquire)) {
            (void)sched_yield();
        }
    }
}

void lks_graph_reset(struct lks_graph *graph, uint64_t ticket, uint32_t lanes, bool by_class)
{
    LKS_ASSERT(lanes >= 1 && lanes <= LKS_LANES_MAX);
    wait_for_lanes(graph);
    graph->lanes = lanes;
    graph->walks = lanes > 1 || by_class;
    atomic_store_explicit(&graph->walked, graph->walks ? lanes : 0, memory_order_relaxed);
    graph->by_class = by_class && graph->lane_of_class != NULL;
    const uint64_t nodes = graph->window * (graph->walks ? 4 : 2);
    graph->mask = (uint32_t)nodes - 1;
    graph->ring_shift = (uint32_t)__builtin_ctzll(nodes);
    graph->base = ticket;
    /* A lap that is neither this one nor the next: no place of the ring is done. Relaxed:
     * set_engine publishes it, and nothing is under way. */
    const uint8_t never = (uint8_t)((ticket >> graph->ring_shift) - 1);
    for (uint64_t i = 0; i < nodes; i++) {
        atomic_store_explicit(&graph->done[i], never, memory_order_relaxed);
    }
}
