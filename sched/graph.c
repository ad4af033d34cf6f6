/*
 * The graph of commands on its workers: what is ready is executed, and what waited for it becomes
 * ready. Also its making, and how far it is executed. Insertion is in graph_insert.c, the structure
 * and why nothing in it is reached too late in graph.h.
 */
#include "sched/graph.h"

#include <errno.h>
#include <sched.h>

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
    atomic_store_explicit(&node->done, graph_lap(to->graph, node->ticket), memory_order_release);
}

/* ---- working ---- */

/* Executes a ready node, then what becomes ready by it, one after another, up to a bound. */
static void run_chain(struct lks_scheduler *scheduler, struct lks_worker *worker, uint32_t place)
{
    struct lks_graph *graph = scheduler->graph;
    struct lks_ring *ready = &graph->queues[worker->id]->ready;
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
    const struct lks_graph *graph = scheduler->graph;
    uint32_t places[TAKE_AT_ONCE];
    const bool manual = scheduler->options.manual;
    const uint32_t share = steal ? 2 : 1;
    const uint32_t count = lks_ring_take(from, places, manual ? 1 : TAKE_AT_ONCE,
                                         scheduler->executors * share);
    for (uint32_t i = 0; i < count; i++) { /* the lines of all come over at once */
        __builtin_prefetch(&graph->nodes[places[i]], 1);
    }
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
        struct queues *of = graph->queues[(worker->id + i) % scheduler->executors];
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
    struct queues *own = graph->queues[worker->id];
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
    if (__builtin_expect(scheduler->resting, 0)) {
        lks_pace_begin(scheduler);
    }
    for (uint64_t left = graph->to_wake_lanes; left != 0; left &= left - 1) {
        lks_ring_publish(&graph->lane[__builtin_ctzll(left)]->queue);
    }
    for (uint64_t left = graph->to_wake; left != 0; left &= left - 1) {
        lks_ring_publish(&graph->queues[__builtin_ctzll(left)]->inbox);
    }
    lks_wake_fence();
    for (uint64_t left = graph->to_wake_lanes; left != 0; left &= left - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctzll(left);
        lks_worker_wake(scheduler, lane % lks_scheduler_active(scheduler),
                        lks_ring_depth(&graph->lane[lane]->queue));
    }
    for (uint64_t left = graph->to_wake; left != 0; left &= left - 1) {
        const uint32_t worker = (uint32_t)__builtin_ctzll(left);
        lks_worker_wake(scheduler, worker, lks_ring_depth(&graph->queues[worker]->inbox));
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
        if (atomic_load_explicit(&graph->nodes[low & graph->mask].done, memory_order_acquire) !=
            graph_lap(graph, low)) {
            return;
        }
        scheduler->low++;
    }
}

/* A taken node is executed before work() returns. What it made ready beside, or found ready in a
 * lane, goes to the inboxes: in its own ring nobody might come by it, where none may steal or all
 * sleep. And a worker that went to sleep while it held a lane is told of what it left there. */
static void graph_leave(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_graph *graph = scheduler->graph;
    const uint32_t active = lks_scheduler_active(scheduler);
    uint32_t places[TAKE_AT_ONCE];
    uint64_t to_wake = 0;
    for (;;) {
        const uint32_t count =
            lks_ring_take(&graph->queues[worker->id]->ready, places, TAKE_AT_ONCE, 1);
        if (count == 0 && lks_ring_depth(&graph->queues[worker->id]->ready) == 0) {
            break; /* (Else a thief was faster.) */
        }
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t to = (graph->next_left++) % active;
            lks_ring_add(&graph->queues[to]->inbox, places[i]);
            to_wake |= UINT64_C(1) << to;
        }
    }
    for (uint64_t left = to_wake; left != 0; left &= left - 1) {
        lks_ring_publish(&graph->queues[__builtin_ctzll(left)]->inbox);
    }
    for (uint32_t i = 0; graph->walks && i < graph->lanes; i++) {
        to_wake |= lks_ring_depth(&graph->lane[i]->queue) > 0 ? UINT64_C(1) << i % active : 0;
    }
    lks_wake_fence();
    for (uint64_t left = to_wake; left != 0; left &= left - 1) {
        lks_worker_wake(scheduler, (uint32_t)__builtin_ctzll(left), 0);
    }
}

static uint64_t graph_depth(const struct lks_scheduler *scheduler, uint32_t worker)
{
    const struct lks_graph *graph = scheduler->graph;
    const struct queues *queues = graph->queues[worker];
    uint64_t depth = lks_ring_depth(&queues->ready) + lks_ring_depth(&queues->inbox);
    const uint32_t lanes = worker == scheduler->options.workers
                               ? 0
                               : atomic_load_explicit(&graph->walked, memory_order_relaxed);
    for (uint32_t i = worker; i < lanes; i += scheduler->options.workers) {
        depth += lks_ring_depth(&graph->lane[i]->queue); /* not inserted yet */
    }
    return depth;
}

const struct lks_engine lks_graph_engine = {
    .backlog_least = 1,
    .submit = lks_graph_submit,
    .publish = graph_publish,
    .advance = graph_advance,
    .work = graph_work,
    .leave = graph_leave,
    .depth = graph_depth,
};

/* ---- making ---- */

static int ring_new(struct lks_scheduler *scheduler, uint32_t executor, struct lks_ring *ring)
{
    const uint32_t items = scheduler->options.window;
    ring->items = lks_scheduler_take(scheduler, executor, items, sizeof *ring->items);
    ring->mask = items - 1;
    return ring->items == NULL ? -ENOMEM : 0;
}

/* What an executor takes from, before it takes from others. */
static int queues_new(struct lks_scheduler *scheduler, uint32_t executor)
{
    struct queues *queues = lks_scheduler_take(scheduler, executor, 1, sizeof *queues);
    if (queues == NULL) {
        return -ENOMEM;
    }
    scheduler->graph->queues[executor] = queues;
    const int rc = ring_new(scheduler, executor, &queues->ready);
    return rc != 0 ? rc : ring_new(scheduler, executor, &queues->inbox);
}

static int lane_new(struct lks_scheduler *scheduler, uint32_t number)
{
    const uint32_t walker = number % scheduler->options.workers;
    struct lane *lane = lks_scheduler_take(scheduler, walker, 1, sizeof *lane);
    if (lane == NULL) {
        return -ENOMEM;
    }
    scheduler->graph->lane[number] = lane;
    return ring_new(scheduler, walker, &lane->queue);
}

/* The dispatcher fills each node, and looks at it until it is executed; one worker reads it.
 * The table of keys is read by who inserts (sched/memory_plan.h). */
static int allocate(struct lks_scheduler *scheduler)
{
    struct lks_graph *graph = scheduler->graph;
    const uint32_t dispatcher = scheduler->options.workers;
    const size_t nodes = (size_t)graph->window * 4;
    graph->nodes = lks_scheduler_take(scheduler, dispatcher, nodes, sizeof *graph->nodes);
    graph->outside = lks_scheduler_take(scheduler, dispatcher,
                                        nodes * (LKS_ACCESS_MAX - CELLS_INSIDE),
                                        sizeof *graph->outside);
    graph->slots = lks_home_take(&scheduler->lanes_home, scheduler->options.slots,
                                 sizeof *graph->slots);
    return graph->nodes == NULL || graph->outside == NULL || graph->slots == NULL ? -ENOMEM : 0;
}

int lks_graph_init(struct lks_scheduler *scheduler)
{
    struct lks_graph *made =
        lks_scheduler_take(scheduler, scheduler->options.workers, 1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    scheduler->graph = made;
    made->window = scheduler->window;
    made->slot_mask = scheduler->options.slots - 1;
    int rc = allocate(scheduler);
    for (uint32_t i = 0; rc == 0 && i < scheduler->executors; i++) {
        rc = queues_new(scheduler, i);
    }
    for (uint32_t i = 0; rc == 0 && i < LKS_LANES_MAX; i++) {
        rc = lane_new(scheduler, i);
    }
    return rc;
}

void lks_graph_set_classes(struct lks_graph *graph, const uint8_t *lane_of_class, uint32_t classes)
{
    graph->lane_of_class = lane_of_class;
    graph->class_mask = classes - 1;
}

/* A lane's last command may be executed before whoever walked the lane has noted it in the slot:
 * the slots are the dispatcher's only once each lane has been let go. */
static void wait_for_lanes(struct lks_graph *graph)
{
    for (uint32_t i = 0; graph->walks && i < graph->lanes; i++) {
        /* Acquire: with the release store in lks_graph_walk. Its holder has nothing left to insert;
         * it may only be off its processor. */
        while (atomic_load_explicit(&graph->lane[i]->busy, memory_order_acquire)) {
            (void)sched_yield();
        }
    }
}

void lks_graph_reset(struct lks_graph *graph, uint64_t ticket, uint32_t lanes, bool by_class)
{
    LKS_ASSERT(lanes >= 1 && lanes <= LKS_LANES_MAX);
    const uint32_t former_shift = graph->ring_shift;
    wait_for_lanes(graph);
    graph->lanes = lanes;
    graph->walks = lanes > 1 || by_class;
    atomic_store_explicit(&graph->walked, graph->walks ? lanes : 0, memory_order_relaxed);
    graph->by_class = by_class && graph->lane_of_class != NULL;
    const uint64_t nodes = graph->window * (graph->walks ? 4 : 2);
    graph->mask = (uint32_t)nodes - 1;
    graph->ring_shift = (uint32_t)__builtin_ctzll(nodes);
    graph->base = ticket;
    /* Places that were executed in an earlier lap of the same ring are not done in this one. In
     * another ring laps have other numbers: then a lap that is neither this one nor the next.
     * Relaxed: set_engine publishes it, and nothing is under way. */
    const uint32_t never = graph_lap(graph, ticket) - 1;
    for (uint64_t i = 0; graph->ring_shift != former_shift && i < nodes; i++) {
        atomic_store_explicit(&graph->nodes[i].done, never, memory_order_relaxed);
    }
}
