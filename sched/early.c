/*
 * Early scheduling (Alchieri, Dotti, Pedone, SoCC'18): the map of classes says which worker
 * executes a command, or which ones meet for it. The dispatcher fills the queues, each worker runs
 * its own in order. Meetings have no first barrier: the last worker to come executes, the others
 * wait for it.
 */
#include "sched/early.h"

#include <errno.h>

#define RUN_AT_ONCE 16u

/* ---- the dispatcher ---- */

static inline uint32_t class_of(const struct lks_early *early, lks_access access)
{
    const uint64_t identity = lks_access_identity(access);
    const uint64_t shard = early->shard_mask != 0 || early->shards == 1
                               ? identity & early->shard_mask
                               : identity % early->shards;
    return (uint32_t)shard * 2 + (lks_access_writes(access) ? 1 : 0);
}

static bool single(uint64_t workers)
{
    return (workers & (workers - 1)) == 0;
}

static inline void add_item(struct lks_scheduler *scheduler, uint32_t worker, uint64_t command,
                            uint32_t what)
{
    struct lks_early *early = scheduler->early;
    struct early_queue *queue = early->queues[worker];
    queue->items[queue->filled & early->mask] = (struct item){
        .command = command, .what = what, .ticket = (uint32_t)scheduler->head};
    queue->filled++;
    early->to_wake |= UINT64_C(1) << worker;
}

static void call_meeting(struct lks_scheduler *scheduler, uint64_t workers, uint64_t command)
{
    struct lks_early *early = scheduler->early;
    const uint32_t at = (uint32_t)(scheduler->head & early->mask);
    struct meeting *meeting = &early->meetings[at];
    meeting->command = command;
    meeting->workers = workers;
    /* Relaxed: published with the items, by the release store of tail. The former meeting of this
     * place is over: its ticket is out of the window. */
    atomic_store_explicit(&meeting->missing, (uint32_t)__builtin_popcountll(workers),
                          memory_order_relaxed);
    atomic_store_explicit(&meeting->done, false, memory_order_relaxed);
    for (uint64_t left = workers; left != 0; left &= left - 1) {
        add_item(scheduler, (uint32_t)__builtin_ctzll(left), 0, ITEM_MEETING);
    }
    lks_counter_add(&scheduler->synchronised, 1);
}

/* The one of a concurrent class's workers whose turn it is. */
static uint32_t in_turn(struct lks_early *early, uint64_t workers)
{
    uint32_t skip = early->turn++ % (uint32_t)__builtin_popcountll(workers);
    while (skip-- > 0) {
        workers &= workers - 1;
    }
    return (uint32_t)__builtin_ctzll(workers);
}

/* A command of one class. */
static inline void place_one(struct lks_scheduler *scheduler, uint64_t command,
                             uint32_t class_index)
{
    struct lks_early *early = scheduler->early;
    const struct route *route = &early->routes[class_index];
    uint32_t worker = route->worker;
    if (__builtin_expect(worker == NO_WORKER, 0)) {
        const struct lks_class_plan *plan = lks_class_map_at(early->map, class_index);
        if (plan->synchronised) {
            call_meeting(scheduler, plan->workers, command);
            return;
        }
        worker = in_turn(early, plan->workers);
    }
    add_item(scheduler, worker, command, route->what);
}

/* A command of several classes meets all that any of them names: whatever conflicts with it has a
 * worker among those (docs/scheduling.md, "early"). */
static void place_several(struct lks_scheduler *scheduler, uint64_t command,
                          const lks_access *words, uint32_t count)
{
    struct lks_early *early = scheduler->early;
    const uint32_t first = count > 0 ? class_of(early, words[0]) : 0;
    uint64_t workers = 0;
    bool same = count > 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t class_index = class_of(early, words[i]);
        same &= class_index == first;
        workers |= lks_class_map_at(early->map, class_index)->workers;
    }
    if (same) {
        place_one(scheduler, command, first);
    } else if (count == 0) { /* it touches nothing: anywhere, at any time, but not out of turn */
        add_item(scheduler, in_turn(early, (UINT64_C(1) << lks_scheduler_active(scheduler)) - 1),
                 command, ITEM_SEVERAL);
    } else if (single(workers)) {
        add_item(scheduler, (uint32_t)__builtin_ctzll(workers), command, ITEM_SEVERAL);
    } else {
        call_meeting(scheduler, workers, command);
    }
}

static bool early_submit(struct lks_scheduler *scheduler, uint64_t command,
                         const lks_access *words, uint32_t count)
{
    struct lks_early *early = scheduler->early;
    if (__builtin_expect(scheduler->head - scheduler->low >= scheduler->window, 0)) {
        lks_early_engine.advance(scheduler);
        if (scheduler->head - scheduler->low >= scheduler->window) {
            return false;
        }
    }
    if (__builtin_expect(count == 1, 1)) {
        place_one(scheduler, command, class_of(early, words[0]));
    } else {
        place_several(scheduler, command, words, count);
    }
    scheduler->head++;
    if (++scheduler->held >= LKS_PUBLISH_BATCH) {
        lks_early_engine.publish(scheduler);
    }
    return true;
}

static void early_publish(struct lks_scheduler *scheduler)
{
    struct lks_early *early = scheduler->early;
    if (scheduler->held == 0) {
        return;
    }
    scheduler->held = 0;
    if (__builtin_expect(scheduler->resting, 0)) {
        lks_pace_begin(scheduler);
    }
    for (uint64_t left = early->to_wake; left != 0; left &= left - 1) {
        struct early_queue *queue = early->queues[__builtin_ctzll(left)];
        /* Release: items and meetings, to the acquire load in run_queue. */
        atomic_store_explicit(&queue->tail, queue->filled, memory_order_release);
    }
    lks_wake_fence();
    for (uint64_t left = early->to_wake; left != 0; left &= left - 1) {
        const uint32_t worker = (uint32_t)__builtin_ctzll(left);
        const struct early_queue *queue = early->queues[worker];
        lks_worker_wake(scheduler, worker, queue->filled - queue->done_seen);
    }
    early->to_wake = 0;
}

/* The oldest command that some worker has not executed. */
static void early_advance(struct lks_scheduler *scheduler)
{
    struct lks_early *early = scheduler->early;
    uint64_t low = scheduler->head;
    for (uint32_t i = 0; i < scheduler->options.workers; i++) {
        struct early_queue *queue = early->queues[i];
        /* Acquire: with the release store in lks_early_set_done; what was executed is visible. */
        queue->done_seen = atomic_load_explicit(&queue->done, memory_order_acquire);
        if (queue->done_seen != queue->filled) {
            const uint32_t ticket = queue->items[queue->done_seen & early->mask].ticket;
            /* Its low half says it all: it lies less than a window behind head. */
            const uint32_t behind = (uint32_t)scheduler->head - ticket;
            low = scheduler->head - behind < low ? scheduler->head - behind : low;
        }
    }
    LKS_ASSERT(low >= scheduler->low);
    scheduler->low = low;
}

static uint64_t early_depth(const struct lks_scheduler *scheduler, uint32_t worker)
{
    const struct early_queue *queue = scheduler->early->queues[worker];
    /* Relaxed: a figure of one moment. Done first: tail never falls behind it. */
    const uint64_t done = atomic_load_explicit(&queue->done, memory_order_relaxed);
    const uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    return tail > done ? tail - done : 0;
}

/* ---- the workers ---- */

void lks_early_set_done(struct early_queue *queue)
{
    uint64_t done = queue->position;
    for (uint32_t i = 0; queue->packets_away > 0 && i < PACKETS; i++) {
        const struct packet *packet = &queue->packets[i];
        done = packet->away && packet->first < done ? packet->first : done;
    }
    /* Release: with the acquire load in early_advance. */
    atomic_store_explicit(&queue->done, done, memory_order_release);
}

/* False: not everybody is there, or it is being executed. */
static bool meet(struct lks_scheduler *scheduler, struct lks_worker *worker, uint32_t at)
{
    struct lks_early *early = scheduler->early;
    struct early_queue *queue = early->queues[worker->id];
    struct meeting *meeting = &early->meetings[at];
    if (!queue->arrived) {
        /* Acquire and release: with each other's; the last to come sees what all the others did. */
        if (atomic_fetch_sub_explicit(&meeting->missing, 1, memory_order_acq_rel) == 1) {
            const uint64_t others = meeting->workers & ~(UINT64_C(1) << worker->id);
            lks_worker_execute(worker, meeting->command);
            /* Release: with the acquire load below. Afterwards the meeting may be used anew. */
            atomic_store_explicit(&meeting->done, true, memory_order_release);
            lks_wake_fence();
            for (uint64_t left = others; left != 0; left &= left - 1) {
                lks_worker_wake(scheduler, (uint32_t)__builtin_ctzll(left), 0);
            }
            return true;
        }
        queue->arrived = true;
        lks_counter_add(&worker->waited, 1);
    }
    /* Acquire: with the release store above; what the command did is visible. */
    if (!atomic_load_explicit(&meeting->done, memory_order_acquire)) {
        return false;
    }
    queue->arrived = false;
    return true;
}

/* Whether what is away allows this item; see early.h. */
static inline bool allowed(const struct early_queue *queue, const struct item *item)
{
    if (__builtin_expect(queue->packets_away == 0, 1)) {
        return true;
    }
    if ((item->what & (ITEM_SEVERAL | ITEM_MEETING)) != 0) {
        return false;
    }
    const struct away *away = &queue->away[(uint16_t)item->what];
    return away->exclusive == 0 && ((item->what & ITEM_SHARED) != 0 || away->shared == 0);
}

/* False: it has to wait. */
static inline bool run_item(struct lks_scheduler *scheduler, struct lks_worker *worker,
                            struct early_queue *queue, const struct item *item)
{
    if (__builtin_expect((item->what & (ITEM_MEETING | ITEM_TAKEN)) == 0 &&
                             queue->packets_away == 0, 1)) {
        lks_worker_execute(worker, item->command);
        return true;
    }
    if ((item->what & ITEM_TAKEN) != 0) {
        return true;
    }
    if (!allowed(queue, item)) {
        (void)lks_early_collect(scheduler, worker);
        if (!allowed(queue, item)) {
            lks_early_reclaim(scheduler, worker);
        }
        if (!allowed(queue, item)) {
            return false;
        }
    }
    if ((item->what & ITEM_MEETING) != 0) {
        return meet(scheduler, worker, item->ticket & scheduler->early->mask);
    }
    lks_worker_execute(worker, item->command);
    return true;
}

static bool run_queue(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct lks_early *early = scheduler->early;
    struct early_queue *queue = early->queues[worker->id];
    if (queue->position == queue->tail_seen) {
        /* Acquire: with the release store in early_publish. */
        queue->tail_seen = atomic_load_explicit(&queue->tail, memory_order_acquire);
    }
    const uint64_t begun = queue->position;
    const uint64_t most = begun + (scheduler->options.manual ? 1 : RUN_AT_ONCE);
    while (queue->position != queue->tail_seen && queue->position != most) {
        if (!run_item(scheduler, worker, queue, &queue->items[queue->position & early->mask])) {
            break;
        }
        queue->position++;
        lks_early_set_done(queue);
        if (__builtin_expect(lks_early_asked(queue), 0)) {
            break; /* the thief waits for an answer */
        }
    }
    return queue->position != begun;
}

static bool early_work(struct lks_scheduler *scheduler, struct lks_worker *worker)
{
    struct early_queue *queue = scheduler->early->queues[worker->id];
    if (__builtin_expect(lks_early_asked(queue), 0)) {
        lks_early_answer(scheduler, worker);
    }
    bool any = false;
    if (__builtin_expect(queue->asked != 0 || queue->current != NULL, 0)) {
        any = lks_early_mail(scheduler, worker);
    }
    any |= run_queue(scheduler, worker);
    if (!any && queue->packets_away > 0) {
        any = lks_early_collect(scheduler, worker);
    }
    if (!any && queue->position == queue->tail_seen && !scheduler->options.no_steal) {
        lks_early_steal(scheduler, worker);
    }
    return any;
}

const struct lks_engine lks_early_engine = {
    .backlog_least = BACKLOG_WORTH_ASKING,
    .submit = early_submit,
    .publish = early_publish,
    .advance = early_advance,
    .work = early_work,
    .leave = lks_early_leave,
    .depth = early_depth,
};

uint64_t lks_early_owners(const struct lks_early *early, uint64_t identity)
{
    return lks_class_map_at(early->map, class_of(early, lks_access_of(identity, true)))->workers;
}

/* ---- making ---- */

/* All of a queue is its worker's: it reads each item, and steals from the others by asking. */
static int queue_new(struct lks_scheduler *scheduler, uint32_t executor, uint32_t components)
{
    struct early_queue *queue = lks_scheduler_take(scheduler, executor, 1, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    scheduler->early->queues[executor] = queue;
    queue->items = lks_scheduler_take(scheduler, executor, scheduler->options.window,
                                      sizeof *queue->items);
    queue->away = lks_scheduler_take(scheduler, executor, components, sizeof *queue->away);
    queue->counted = lks_scheduler_take(scheduler, executor, components, sizeof *queue->counted);
    queue->packets = lks_scheduler_take(scheduler, executor, PACKETS, sizeof *queue->packets);
    const bool all = queue->items != NULL && queue->away != NULL && queue->counted != NULL &&
                     queue->packets != NULL;
    return all ? 0 : -ENOMEM;
}

static void fill_routes(struct lks_early *early)
{
    for (uint32_t i = 0; i < lks_class_map_classes(early->map); i++) {
        const struct lks_class_plan *plan = lks_class_map_at(early->map, i);
        early->routes[i] = (struct route){
            .what = plan->component | (plan->synchronised ? 0 : ITEM_SHARED),
            .worker = single(plan->workers) ? (uint32_t)__builtin_ctzll(plan->workers)
                                            : NO_WORKER,
        };
    }
}

int lks_early_init(struct lks_scheduler *scheduler, const struct lks_class_map *map)
{
    const uint32_t dispatcher = scheduler->options.workers;
    struct lks_early *made = lks_scheduler_take(scheduler, dispatcher, 1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    scheduler->early = made;
    const int rc = lks_class_map_copy(&made->map, map);
    if (rc != 0) {
        return rc;
    }
    made->shards = lks_class_map_classes(map) / 2;
    made->shard_mask = (made->shards & (made->shards - 1)) == 0 ? made->shards - 1 : 0;
    made->mask = scheduler->options.window - 1;
    made->routes = lks_scheduler_take(scheduler, dispatcher, lks_class_map_classes(map),
                                      sizeof *made->routes);
    made->meetings = lks_scheduler_take(scheduler, dispatcher, scheduler->options.window,
                                        sizeof *made->meetings);
    if (made->routes == NULL || made->meetings == NULL) {
        return -ENOMEM;
    }
    fill_routes(made);
    for (uint32_t i = 0; i < scheduler->executors; i++) {
        if (queue_new(scheduler, i, lks_class_map_components(map)) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

void lks_early_fini(struct lks_early *early)
{
    if (early != NULL) {
        lks_class_map_free(early->map);
    }
}
