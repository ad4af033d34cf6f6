/*
 * Insertion into the graph of commands: O(accesses) each, whatever is in flight. Runs on the
 * dispatcher (one lane), or on whichever worker holds a lane. It keeps: an access either is told by
 * exactly one token that what it conflicts with is done, or is found not to wait and gives that
 * token itself. docs/scheduling.md ("late") has the whole argument.
 */
#include "sched/graph.h"

#include <string.h>

#define WALK_AT_ONCE 32u

struct insertion {
    struct lks_graph *graph;
    uint64_t ticket;
    uint64_t low; /* every ticket below it is known to be executed, and what it did is visible */
    uint32_t place;
};

/* Waits for a writer, unless it is done. */
static bool wait_for_writer(const struct insertion *in, uint64_t writer, uint32_t k,
                            struct cell *cell)
{
    struct lks_graph *graph = in->graph;
    if (writer < in->low) {
        return false;
    }
    struct node *node = &graph->nodes[writer & graph->mask];
    /* Acquire: with the exchange in close_writer, if it is done: then what it did is visible. */
    cell_ref head = atomic_load_explicit(&node->dependents, memory_order_acquire);
    do {
        if (head == REF_CLOSED) {
            return false;
        }
        cell->next = head;
        /* Release: the list is walked by who exchanges (acquire) in close_writer. */
    } while (!atomic_compare_exchange_weak_explicit(&node->dependents, &head,
                                                    graph_ref(in->place, k, false),
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

/* Closes the slot's group of readers in favour of a successor. True: some are still under way, and
 * the last of them will tell it. */
static bool close_group(const struct insertion *in, struct slot *slot, cell_ref successor)
{
    struct lks_graph *graph = in->graph;
    if (slot->reader < in->low) {
        return false; /* there is none, or its last reader is done */
    }
    struct cell *host = graph_cell(graph, (uint32_t)slot->group & graph->mask, slot->group_cell);
    host->successor = successor;
    /* Release: successor, to who brings it to 0. Acquire: what the readers did. Both with the
     * subtraction in leave_group. */
    const int32_t before = atomic_fetch_add_explicit(&host->count, slot->joined,
                                                     memory_order_acq_rel);
    return before + slot->joined != 0;
}

static bool insert_write(const struct insertion *in, struct slot *slot, uint32_t k,
                         struct cell *cell)
{
    /* Readers since the last writer waited for it: who waits for them waits for it as well. */
    const bool waits = slot->reader >= in->low
                           ? close_group(in, slot, graph_ref(in->place, k, false))
                           : wait_for_writer(in, slot->writer, k, cell);
    slot->writer = in->ticket;
    slot->reader = 0;
    return waits;
}

static bool insert_read(const struct insertion *in, struct slot *slot, uint32_t k,
                        struct cell *cell)
{
    const struct lks_graph *graph = in->graph;
    if (slot->reader < in->low || in->ticket - slot->group >= graph->window) {
        /* Relaxed: published by the release of close_group, or of what hands this node out. */
        atomic_store_explicit(&cell->count, 0, memory_order_relaxed);
        const bool follows = close_group(in, slot, graph_ref(in->place, k, true));
        slot->group = in->ticket;
        slot->group_cell = k;
        slot->joined = follows ? 2 : 1;
    } else {
        slot->joined++;
    }
    slot->reader = in->ticket;
    cell->what = graph_ref((uint32_t)slot->group & graph->mask, slot->group_cell, true) >> 1;
    return wait_for_writer(in, slot->writer, k, cell);
}

/* Inserts one access; true if it waits. */
static bool insert_access(const struct insertion *in, uint32_t k)
{
    struct cell *cell = graph_cell(in->graph, in->place, k);
    struct slot *slot = &in->graph->slots[cell->what & ~CELL_WRITES];
    return (cell->what & CELL_WRITES) != 0 ? insert_write(in, slot, k, cell)
                                           : insert_read(in, slot, k, cell);
}

/* Gives the tokens of `free` accesses that do not wait. True: nothing is pending, the caller hands
 * the node out. */
static bool give_tokens(struct node *node, uint32_t free_count)
{
    /* Acquire and release: with the subtraction in give_token and of other lanes; the last one sees
     * what all the others saw done. */
    return free_count > 0 && atomic_fetch_sub_explicit(&node->pending, free_count,
                                                       memory_order_acq_rel) == free_count;
}

/* Two accesses of one command to one slot would wait for each other: they become one. */
static uint32_t merge_accesses(struct lks_graph *graph, uint32_t place, const lks_access *words,
                               uint32_t count)
{
    if (__builtin_expect(count == 1, 1)) {
        graph->nodes[place].inside[0].what =
            ((uint32_t)lks_access_identity(words[0]) & graph->slot_mask) |
            (lks_access_writes(words[0]) ? CELL_WRITES : 0);
        return 1;
    }
    uint32_t cells = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = (uint32_t)lks_access_identity(words[i]) & graph->slot_mask;
        const uint32_t writes = lks_access_writes(words[i]) ? CELL_WRITES : 0;
        uint32_t k = 0;
        while (k < cells && (graph_cell(graph, place, k)->what & ~CELL_WRITES) != slot) {
            k++;
        }
        if (k < cells) {
            graph_cell(graph, place, k)->what |= writes;
        } else {
            graph_cell(graph, place, cells++)->what = slot | writes;
        }
    }
    return cells;
}

/* ---- lanes of workers ---- */

/* What a lane's queue holds: the place of a node, and which of its accesses are this lane's. */
static inline uint32_t lane_item(uint32_t place, uint32_t accesses)
{
    return place << LKS_ACCESS_MAX | accesses;
}

static void send_to_lanes(struct lks_graph *graph, const struct node *node, uint32_t place)
{
    uint32_t accesses[LKS_ACCESS_MAX];
    uint32_t lane[LKS_ACCESS_MAX];
    uint32_t lanes = 0;
    for (uint32_t k = 0; k < node->cells; k++) {
        const uint32_t of =
            graph_lane_of(graph, graph_cell(graph, place, k)->what & ~CELL_WRITES);
        uint32_t i = 0;
        while (i < lanes && lane[i] != of) {
            i++;
        }
        if (i == lanes) {
            lane[lanes] = of;
            accesses[lanes++] = 0;
        }
        accesses[i] |= 1u << k;
    }
    for (uint32_t i = 0; i < lanes; i++) {
        lks_ring_add(&graph->lane[lane[i]]->queue, lane_item(place, accesses[i]));
        graph->to_wake_lanes |= UINT64_C(1) << lane[i];
    }
}

/* True: the node is ready, and nobody else hands it out. The accesses of other lanes are theirs. */
static bool insert_on_lane(struct lks_graph *graph, uint32_t item, struct lks_worker *worker)
{
    const uint32_t place = item >> LKS_ACCESS_MAX;
    struct node *node = &graph->nodes[place];
    const uint64_t ticket = node->ticket;
    /* When the dispatcher gave this ticket, those out of the window were executed. */
    const uint64_t out = ticket >= graph->window ? ticket - graph->window + 1 : 0;
    const struct insertion in = {graph, ticket, out > graph->base ? out : graph->base, place};
    uint32_t not_waiting = 0;
    uint32_t waiting = 0;
    for (uint32_t left = item & ((1u << LKS_ACCESS_MAX) - 1); left != 0; left &= left - 1) {
        if (insert_access(&in, (uint32_t)__builtin_ctz(left))) {
            waiting++;
        } else {
            not_waiting++;
        }
    }
    if (waiting > 0) {
        lks_counter_add(&worker->dependent, 1);
    }
    return give_tokens(node, not_waiting);
}

bool lks_graph_walk(struct lks_graph *graph, uint32_t lane, struct lks_worker *worker)
{
    struct lane *of = graph->lane[lane];
    /* Acquire: with the release below; what the last holder left in the slots is visible. */
    if (lks_ring_depth(&of->queue) == 0 ||
        atomic_exchange_explicit(&of->busy, true, memory_order_acquire)) {
        return false;
    }
    struct lks_ring *ready = &graph->queues[worker->id]->ready;
    uint32_t items[WALK_AT_ONCE];
    const uint32_t most = worker->scheduler->options.manual ? 1 : WALK_AT_ONCE;
    const uint32_t count = lks_ring_take(&of->queue, items, most, 1);
    for (uint32_t i = 0; i < count; i++) {
        if (insert_on_lane(graph, items[i], worker)) {
            lks_ring_add(ready, items[i] >> LKS_ACCESS_MAX);
        }
    }
    /* Release: with the acquire above. */
    atomic_store_explicit(&of->busy, false, memory_order_release);
    lks_ring_publish(ready);
    lks_wake_fence();
    const uint64_t depth = lks_ring_depth(ready);
    /* It goes on with one of them itself, unless it is the helper, who may go away. */
    const bool stays = worker->id < worker->scheduler->options.workers;
    lks_worker_wake(worker->scheduler, worker->id, depth - (stays && depth > 0));
    return count > 0;
}

/* ---- the dispatcher ---- */

/* The home of a command is told by its first slot, so that the commands of a key meet its content
 * in the same cache. */
static void hand_out(struct lks_scheduler *scheduler, uint32_t place, uint32_t slot)
{
    struct lks_graph *graph = scheduler->graph;
    const uint32_t spread = slot * UINT32_C(2654435769); /* 2^32 / golden ratio */
    const uint32_t worker =
        (uint32_t)((uint64_t)spread * lks_scheduler_active(scheduler) >> 32);
    lks_ring_add(&graph->queues[worker]->inbox, place);
    graph->to_wake |= UINT64_C(1) << worker;
}

/* Inserts a node on the dispatcher's thread. */
static inline void insert_here(struct lks_scheduler *scheduler, uint64_t ticket)
{
    struct lks_graph *graph = scheduler->graph;
    const uint32_t place = (uint32_t)ticket & graph->mask;
    struct node *node = &graph->nodes[place];
    const struct insertion in = {graph, ticket, scheduler->low, place};
    const uint32_t cells = node->cells;
    const uint32_t home = cells > 0 ? node->inside[0].what & ~CELL_WRITES : (uint32_t)ticket;
    uint32_t waiting = 0;
    for (uint32_t k = 0; k < cells; k++) {
        waiting += insert_access(&in, k);
    }
    if (waiting == 0) {
        hand_out(scheduler, place, home); /* nobody else knows of it: pending is not used */
        return;
    }
    lks_counter_add(&lks_scheduler_helper(scheduler)->dependent, 1);
    if (give_tokens(node, cells - waiting)) {
        hand_out(scheduler, place, home);
    }
}

void lks_graph_insert_held(struct lks_scheduler *scheduler)
{
    lks_graph_engine.advance(scheduler);
    for (uint64_t ticket = scheduler->head - scheduler->held; ticket < scheduler->head; ticket++) {
        insert_here(scheduler, ticket);
    }
}

static inline void fill_node(struct lks_graph *graph, uint32_t place, uint64_t ticket,
                             uint64_t command)
{
    struct node *node = &graph->nodes[place];
    node->command = command;
    node->ticket = ticket;
    bool writes = false;
    for (uint32_t k = 0; k < node->cells; k++) {
        const uint32_t what = graph_cell(graph, place, k)->what;
        writes |= (what & CELL_WRITES) != 0;
        /* By the time this command is inserted, with those held back, the slot is in the cache. */
        __builtin_prefetch(&graph->slots[what & ~CELL_WRITES], 1);
    }
    node->writes = writes;
    /* Relaxed: published by the compare-and-swap of wait_for_writer, by close_group, or by the
     * release of a ring; the node's former life ended before `low` passed it (acquire in advance).
     * */
    atomic_store_explicit(&node->pending, node->cells, memory_order_relaxed);
    atomic_store_explicit(&node->dependents, REF_NONE, memory_order_relaxed);
}

bool lks_graph_submit(struct lks_scheduler *scheduler, uint64_t command, const lks_access *words,
                      uint32_t count)
{
    struct lks_graph *graph = scheduler->graph;
    const uint64_t ticket = scheduler->head;
    if (__builtin_expect(ticket - scheduler->low >= scheduler->window, 0)) {
        lks_graph_engine.advance(scheduler);
        if (ticket - scheduler->low >= scheduler->window) {
            return false;
        }
    }
    const uint32_t place = (uint32_t)ticket & graph->mask;
    struct node *node = &graph->nodes[place];
    node->cells = (uint8_t)merge_accesses(graph, place, words, count);
    fill_node(graph, place, ticket, command);
    if (graph->walks && node->cells > 0) {
        send_to_lanes(graph, node, place);
    } else if (graph->walks) {
        hand_out(scheduler, place, (uint32_t)ticket);
    }
    scheduler->head++;
    if (++scheduler->held >= LKS_PUBLISH_BATCH) {
        lks_graph_engine.publish(scheduler);
    }
    return true;
}
