/*
 * Moving work from a worker with a backlog to an idle one; see early.h for the rules that keep the
 * order. Functions with "victim" in their description run on the thread of the worker that has too
 * much, those with "thief" on that of the one that has nothing.
 */
#include "sched/early.h"

#include "base/clock.h"

#include <sched.h>

#define RUN_AT_ONCE 16u
#define PATIENCE 64u         /* looks for an answer before a request is taken back */
#define REST_MOST 64u        /* looks between two requests that are refused */
#define WORTH_ASKING_NS (20 * LKS_NS_PER_US) /* of work: moving less costs more than it brings */
/* What the dispatcher takes at once, as far as it knows how long that is: it has other things to
 * do. */
#define HELPER_NS 50000.0
#define HELPER_COMMANDS_LEAST 4u
/* In `counted`: what is seen of the component is given; and, from the first one given on, its place
 * among the packet's components. */
#define SELECTED UINT32_MAX
#define GIVEN (UINT32_C(1) << 31)

/* ---- victim: what to give ---- */

struct giving {
    struct early_queue *queue;
    struct packet *packet;
    uint64_t mask;
    uint64_t scanned;    /* items from position on that may be given, taken ones included */
    uint32_t total;      /* of these, not taken yet */
    uint32_t most;       /* commands to give */
    uint64_t scan_most;
    uint32_t components; /* seen, in the order in which they come */
    uint16_t component[SCAN_MOST];
};

static struct item *item_at(const struct giving *g, uint64_t i)
{
    return &g->queue->items[(g->queue->position + i) & g->mask];
}

/* Counts what lies before the first marker: stealing never goes past one. */
static void scan(struct giving *g)
{
    struct early_queue *queue = g->queue;
    const uint64_t waiting = queue->tail_seen - queue->position;
    const uint64_t most = waiting < g->scan_most ? waiting : g->scan_most;
    for (g->scanned = 0; g->scanned < most; g->scanned++) {
        const uint32_t what = item_at(g, g->scanned)->what;
        if ((what & (ITEM_SEVERAL | ITEM_MEETING)) != 0) {
            return;
        }
        if ((what & ITEM_TAKEN) == 0) {
            const uint16_t component = (uint16_t)what;
            if (queue->counted[component]++ == 0) {
                g->component[g->components++] = component;
            }
            g->total++;
        }
    }
}

static bool is_away(const struct early_queue *queue, uint16_t component)
{
    return queue->away[component].shared != 0 || queue->away[component].exclusive != 0;
}

/* Whole components, those that come last first, up to half of what there is; never the one that
 * comes first, which the victim is about to execute. Returns how many commands. */
static uint32_t select_components(struct giving *g)
{
    uint32_t given = 0;
    for (uint32_t i = g->components; i-- > 1 && given < g->most;) {
        uint32_t *count = &g->queue->counted[g->component[i]];
        if (!is_away(g->queue, g->component[i]) && (given == 0 || given + *count <= g->most)) {
            given += *count;
            *count = SELECTED;
        }
    }
    return given < g->most ? given : g->most;
}

static void give(struct giving *g, uint64_t i)
{
    struct item *item = item_at(g, i);
    struct packet *packet = g->packet;
    const uint64_t position = g->queue->position + i;
    packet->first = position < packet->first ? position : packet->first;
    packet->commands[packet->count++] = item->command;
    item->what |= ITEM_TAKEN;
}

static void note_component(struct giving *g, uint16_t component, bool shared)
{
    struct packet *packet = g->packet;
    packet->component[packet->components] = component;
    packet->shared[packet->components++] = shared;
    struct away *away = &g->queue->away[component];
    away->shared += shared;
    away->exclusive += !shared;
}

/* The first commands of each selected component, in their order; what is left of it waits. */
static void give_selected(struct giving *g)
{
    uint16_t given[PACKET_COMMANDS];
    bool shared[PACKET_COMMANDS];
    uint32_t components = 0;
    for (uint64_t i = 0; i < g->scanned && g->packet->count < g->most; i++) {
        const uint32_t what = item_at(g, i)->what;
        uint32_t *count = &g->queue->counted[(uint16_t)what];
        if ((what & ITEM_TAKEN) != 0 || *count < GIVEN) {
            continue;
        }
        if (*count == SELECTED) {
            *count = GIVEN + components;
            given[components] = (uint16_t)what;
            shared[components++] = true;
        }
        shared[*count - GIVEN] &= (what & ITEM_SHARED) != 0;
        give(g, i);
    }
    for (uint32_t k = 0; k < components; k++) {
        note_component(g, given[k], shared[k]);
    }
}

/* The later half of a run of commands of concurrent classes, of the component that has most: they
 * lie before its first exclusive command, and the victim stops at that one until they are back. */
static void give_shared(struct giving *g)
{
    uint32_t best = 0;
    uint16_t component = 0;
    for (uint32_t i = 0; i < g->components; i++) {
        const uint32_t count = g->queue->counted[g->component[i]];
        if (count < GIVEN && count > best &&
            g->queue->away[g->component[i]].exclusive == 0) {
            best = count;
            component = g->component[i];
        }
    }
    uint32_t run = 0;
    uint64_t end = 0;
    while (best > 1 && end < g->scanned) {
        const uint32_t what = item_at(g, end)->what;
        const bool counts = (what & ITEM_TAKEN) == 0 && (uint16_t)what == component;
        if (counts && (what & ITEM_SHARED) == 0) {
            break;
        }
        run += counts;
        end++;
    }
    const uint32_t before = g->packet->count;
    uint32_t kept = 0;
    for (uint64_t i = 0; run > 1 && i < end && g->packet->count < g->most; i++) {
        const uint32_t what = item_at(g, i)->what;
        if ((what & ITEM_TAKEN) == 0 && (uint16_t)what == component && kept++ >= run / 2) {
            give(g, i);
        }
    }
    if (g->packet->count > before) {
        note_component(g, component, true);
    }
}

/* False: there is nothing that may be given. */
static bool fill_packet(struct giving *g, uint32_t limit)
{
    g->packet->count = 0;
    g->packet->first = UINT64_MAX;
    g->packet->components = 0;
    /* The victim has as much again to do for itself meanwhile, and more. */
    g->scan_most = 4 * limit < SCAN_MOST ? 4 * limit : SCAN_MOST;
    scan(g);
    g->most = g->total / 2 < limit ? g->total / 2 : limit;
    if (g->most > 0) {
        if (select_components(g) > 0) {
            give_selected(g);
        }
        if (g->packet->count <= g->most / 2) {
            give_shared(g);
        }
    }
    for (uint32_t i = 0; i < g->components; i++) {
        g->queue->counted[g->component[i]] = 0;
    }
    return g->packet->count > 0;
}

static struct packet *free_packet(struct early_queue *queue)
{
    for (uint32_t i = 0; i < PACKETS; i++) {
        if (!queue->packets[i].away) {
            return &queue->packets[i];
        }
    }
    return NULL;
}

void lks_early_answer(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_early *early = scheduler->early;
    struct early_queue *queue = early->queues[worker->id];
    /* Acquire and release: with the compare-and-swaps of ask and take_back; the thief's mail is
     * empty. From here on it waits for an answer. */
    const uint32_t request = atomic_exchange_explicit(&queue->request, 0, memory_order_acq_rel);
    if (request == 0) {
        return; /* taken back */
    }
    struct early_queue *thief = early->queues[request - 1];
    struct giving g = {.queue = queue, .packet = free_packet(queue), .mask = early->mask};
    /* Relaxed: the thief stored it before its compare-and-swap of request. */
    const uint32_t limit = atomic_load_explicit(&thief->wanted, memory_order_relaxed);
    LKS_ASSERT(limit > 0 && limit <= PACKET_COMMANDS);
    /* Acquire: as in run_queue. What the thief counted may have come since that looked. */
    queue->tail_seen = atomic_load_explicit(&queue->tail, memory_order_acquire);
    if (g.packet != NULL && fill_packet(&g, limit)) {
        g.packet->away = true;
        g.packet->victim = worker->id;
        g.packet->thief = request - 1;
        /* Relaxed: published with the packet. */
        atomic_store_explicit(&g.packet->done, false, memory_order_relaxed);
        queue->packets_away++;
        lks_counter_add(&worker->given, g.packet->count);
        /* Release: the packet, and what the victim's commands did, to the load in lks_early_mail.
         * */
        atomic_store_explicit(&thief->mail, g.packet, memory_order_release);
    } else {
        /* Relaxed: it says nothing but itself. */
        atomic_store_explicit(&thief->refused, true, memory_order_relaxed);
    }
    lks_wake_fence();
    lks_worker_wake(scheduler, request - 1, 0);
}

bool lks_early_collect(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct early_queue *queue = scheduler->early->queues[worker->id];
    bool any = false;
    for (uint32_t i = 0; i < PACKETS; i++) {
        struct packet *packet = &queue->packets[i];
        /* Acquire: with the release store in run_packet; what its commands did is visible. */
        if (!packet->away || !atomic_load_explicit(&packet->done, memory_order_acquire)) {
            continue;
        }
        for (uint32_t k = 0; k < packet->components; k++) {
            struct away *away = &queue->away[packet->component[k]];
            away->shared -= packet->shared[k];
            away->exclusive -= !packet->shared[k];
        }
        packet->away = false;
        queue->packets_away--;
        any = true;
    }
    if (any) {
        lks_early_set_done(queue);
    }
    return any;
}

void lks_early_reclaim(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_early *early = scheduler->early;
    struct early_queue *queue = early->queues[worker->id];
    for (uint32_t i = 0; i < PACKETS; i++) {
        struct packet *packet = &queue->packets[i];
        struct early_queue *thief = early->queues[packet->thief];
        struct packet *expected = packet;
        /* Acquire and release: with the exchange in lks_early_mail. A thief that has another
         * packet in its mail has this one no more. */
        if (!packet->away ||
            !atomic_compare_exchange_strong_explicit(&thief->mail, &expected, NULL,
                                                     memory_order_acq_rel,
                                                     memory_order_relaxed)) {
            continue;
        }
        for (uint32_t k = 0; k < packet->count; k++) {
            lks_worker_execute(worker, packet->commands[k]);
        }
        /* Relaxed: read by this worker. */
        atomic_store_explicit(&packet->done, true, memory_order_relaxed);
        /* Relaxed: it says nothing but itself. */
        atomic_store_explicit(&thief->refused, true, memory_order_relaxed);
    }
    (void)lks_early_collect(scheduler, worker);
}

/* ---- thief ---- */

/* Executes some of the packet; the last ones end it. */
static void run_packet(struct lks_scheduler *scheduler, struct lks_worker *worker,
                       struct early_queue *queue)
{
    struct packet *packet = queue->current;
    const uint32_t most = queue->current_next + RUN_AT_ONCE;
    while (queue->current_next < packet->count && queue->current_next < most) {
        lks_worker_execute(worker, packet->commands[queue->current_next++]);
        lks_counter_add(&worker->stolen, 1);
    }
    if (queue->current_next == packet->count) {
        const uint32_t victim = packet->victim;
        queue->current = NULL;
        /* Release: what the commands did, to the acquire load in lks_early_collect. Afterwards the
         * packet is the victim's. */
        atomic_store_explicit(&packet->done, true, memory_order_release);
        lks_wake_fence();
        lks_worker_wake(scheduler, victim, 0);
    }
}

bool lks_early_mail(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct early_queue *queue = scheduler->early->queues[worker->id];
    if (queue->current == NULL) {
        struct packet *packet = NULL;
        /* Relaxed: whether it is worth the exchange. Acquire: with the release store in
         * lks_early_answer; who gets the packet, this exchange or that of reclaim, has it. */
        if (atomic_load_explicit(&queue->mail, memory_order_relaxed) != NULL) {
            packet = atomic_exchange_explicit(&queue->mail, NULL, memory_order_acq_rel);
        }
        if (packet != NULL) {
            queue->current = packet;
            queue->current_next = 0;
            queue->asked = 0;
            queue->rest_next = 0;
        } else if (atomic_load_explicit(&queue->refused, memory_order_relaxed)) {
            atomic_store_explicit(&queue->refused, false, memory_order_relaxed); /* likewise */
            queue->asked = 0;
            queue->rest = queue->rest_next;
            queue->rest_next = queue->rest < REST_MOST / 2 ? queue->rest * 2 + 1 : REST_MOST;
        }
    }
    if (queue->current == NULL) {
        return false;
    }
    run_packet(scheduler, worker, queue);
    return true;
}

/* False: the victim is about to answer. */
static bool take_back(struct lks_early *early, struct lks_worker *worker)
{
    struct early_queue *queue = early->queues[worker->id];
    uint32_t own = worker->id + 1;
    /* Acquire and release: with the exchange in lks_early_answer. */
    if (!atomic_compare_exchange_strong_explicit(&early->queues[queue->asked - 1]->request, &own, 0,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        return false;
    }
    queue->asked = 0;
    return true;
}

/* How many commands are wanted at most: whatever is there, or about HELPER_NS of work. */
static uint32_t wanted(const struct lks_scheduler *scheduler, const struct lks_worker *worker)
{
    if (worker->id < scheduler->options.workers) {
        return PACKET_COMMANDS;
    }
    /* The dispatcher's own field: it is the helper. */
    const double commands = HELPER_NS / (scheduler->pace_ns + 1.0);
    return commands > PACKET_COMMANDS         ? PACKET_COMMANDS
           : commands < HELPER_COMMANDS_LEAST ? HELPER_COMMANDS_LEAST
                                              : (uint32_t)commands;
}

static void ask(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_early *early = scheduler->early;
    struct early_queue *queue = early->queues[worker->id];
    /* Relaxed: published by the compare-and-swap below. */
    atomic_store_explicit(&queue->wanted, wanted(scheduler, worker), memory_order_relaxed);
    const uint64_t worth =
        lks_scheduler_commands_in(scheduler, WORTH_ASKING_NS, BACKLOG_WORTH_ASKING);
    uint64_t deepest = (worth > BACKLOG_WORTH_ASKING ? worth : BACKLOG_WORTH_ASKING) - 1;
    uint32_t victim = UINT32_MAX;
    for (uint32_t i = 0; i < scheduler->options.workers; i++) {
        const uint64_t depth = lks_early_engine.depth(scheduler, i);
        if (i != worker->id && depth > deepest) {
            deepest = depth;
            victim = i;
        }
    }
    uint32_t nobody = 0;
    /* Acquire and release: with the exchange in lks_early_answer. */
    if (victim != UINT32_MAX &&
        atomic_compare_exchange_strong_explicit(&early->queues[victim]->request, &nobody,
                                                worker->id + 1, memory_order_acq_rel,
                                                memory_order_relaxed)) {
        queue->asked = victim + 1;
        queue->since_asked = 0;
    }
}

void lks_early_steal(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct early_queue *queue = scheduler->early->queues[worker->id];
    if (queue->asked == 0 && queue->rest > 0) {
        queue->rest--;
    } else if (queue->asked == 0) {
        ask(scheduler, worker);
    } else if (++queue->since_asked > PATIENCE) {
        (void)take_back(scheduler->early, worker);
    }
}

void lks_early_leave(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct early_queue *queue = scheduler->early->queues[worker->id];
    while (queue->current != NULL ||
           (queue->asked != 0 && !take_back(scheduler->early, worker))) {
        if (!lks_early_mail(scheduler, worker)) {
            (void)sched_yield(); /* the victim is between taking the request and answering it */
        }
    }
}
