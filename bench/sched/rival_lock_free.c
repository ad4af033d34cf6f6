/*
 * The lock-free graph of Middleware'19, re-created from its description: a list in the order of the
 * log. Who inserts walks all of it, unlinks what was removed, and notes on each command that
 * conflicts that the new one depends on it. Who is idle waits for a semaphore, then walks the list
 * for a ready command and claims it by compare-and-swap. Where the original leaves memory to a
 * collector, nodes and edges here come from an arena that lives as long as the run: in its favour.
 */
#include "bench/sched/rivals.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

enum state { WAITING, READY, EXECUTING, REMOVED };

struct vertex;

struct edge {
    struct vertex *to;
    struct edge *next;
};

struct vertex {
    uint64_t command;
    _Atomic uint32_t state;
    _Atomic uint32_t depends;           /* 1 for the insertion itself, 1 for each edge in */
    struct edge *_Atomic edges;         /* out; CLOSED once removed */
    struct vertex *_Atomic next;
};

struct graph {
    struct lks_load *load;
    struct vertex *arena;
    struct vertex *_Atomic head; /* of those not unlinked */
    struct vertex *tail;         /* who inserts */
    sem_t ready;
    sem_t room;
    _Atomic uint64_t claimed;
};

struct graph_worker {
    struct graph *graph;
    uint32_t id;
    pthread_t thread;
};

static struct edge closed;

/* Acquire and release everywhere below: the original is written for volatile fields of Java, which
 * order at least as much. */
static void depend_no_more(struct graph *graph, struct vertex *v)
{
    if (atomic_fetch_sub_explicit(&v->depends, 1, memory_order_acq_rel) == 1) {
        atomic_store_explicit(&v->state, READY, memory_order_release);
        (void)sem_post(&graph->ready);
    }
}

static void remove_vertex(struct graph *graph, struct vertex *v)
{
    struct edge *edge = atomic_exchange_explicit(&v->edges, &closed, memory_order_acq_rel);
    atomic_store_explicit(&v->state, REMOVED, memory_order_release);
    while (edge != NULL) {
        struct edge *next = edge->next;
        depend_no_more(graph, edge->to);
        free(edge);
        edge = next;
    }
    (void)sem_post(&graph->room);
}

static struct vertex *claim(struct graph *graph)
{
    for (;;) {
        struct vertex *v = atomic_load_explicit(&graph->head, memory_order_acquire);
        for (; v != NULL; v = atomic_load_explicit(&v->next, memory_order_acquire)) {
            uint32_t expected = READY;
            if (atomic_load_explicit(&v->state, memory_order_acquire) == READY &&
                atomic_compare_exchange_strong_explicit(&v->state, &expected, EXECUTING,
                                                        memory_order_acq_rel,
                                                        memory_order_relaxed)) {
                return v;
            }
        }
    }
}

static void *work(void *argument)
{
    struct graph_worker *worker = argument;
    struct graph *graph = worker->graph;
    const uint64_t all = lks_load_options_of(graph->load)->commands;
    while (atomic_fetch_add_explicit(&graph->claimed, 1, memory_order_relaxed) < all) {
        while (sem_wait(&graph->ready) != 0) {
        }
        struct vertex *v = claim(graph);
        lks_load_execute(graph->load, worker->id, v->command);
        remove_vertex(graph, v);
    }
    return NULL;
}

static void add_edge(struct vertex *from, struct vertex *to)
{
    struct edge *edge = malloc(sizeof *edge);
    if (edge == NULL) {
        abort();
    }
    edge->to = to;
    edge->next = atomic_load_explicit(&from->edges, memory_order_acquire);
    atomic_fetch_add_explicit(&to->depends, 1, memory_order_relaxed);
    do {
        if (edge->next == &closed) {
            atomic_fetch_sub_explicit(&to->depends, 1, memory_order_relaxed);
            free(edge);
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(&from->edges, &edge->next, edge,
                                                    memory_order_acq_rel, memory_order_acquire));
}

static void insert(struct graph *graph, uint64_t command)
{
    const struct lks_load_entry *log = lks_load_log(graph->load);
    const uint32_t mask = lks_load_mask(lks_load_options_of(graph->load));
    while (sem_wait(&graph->room) != 0) {
    }
    struct vertex *v = &graph->arena[command];
    v->command = command;
    atomic_init(&v->depends, 1);
    struct vertex *_Atomic *link = &graph->head;
    struct vertex *last = NULL;
    struct vertex *at = atomic_load_explicit(link, memory_order_acquire);
    while (at != NULL) {
        struct vertex *next = atomic_load_explicit(&at->next, memory_order_acquire);
        if (atomic_load_explicit(&at->state, memory_order_acquire) == REMOVED) {
            atomic_store_explicit(link, next, memory_order_release);
        } else {
            if (lks_rival_conflict(&log[at->command & mask], &log[command & mask])) {
                add_edge(at, v);
            }
            last = at;
            link = &at->next;
        }
        at = next;
    }
    atomic_store_explicit(last == NULL ? &graph->head : &last->next, v, memory_order_release);
    depend_no_more(graph, v);
}

void lks_rival_lock_free(struct lks_load *load, uint32_t workers)
{
    const uint64_t commands = lks_load_options_of(load)->commands;
    struct graph graph = {.load = load, .arena = calloc(commands, sizeof *graph.arena)};
    struct graph_worker worker[LKS_WORKERS_MAX];
    if (graph.arena == NULL || sem_init(&graph.ready, 0, 0) != 0 ||
        sem_init(&graph.room, 0, LKS_RIVAL_WINDOW) != 0) {
        abort();
    }
    for (uint32_t i = 0; i < workers; i++) {
        worker[i] = (struct graph_worker){.graph = &graph, .id = i};
        if (pthread_create(&worker[i].thread, NULL, work, &worker[i]) != 0) {
            abort();
        }
    }
    for (uint64_t i = 0; i < commands; i++) {
        insert(&graph, i);
    }
    for (uint32_t i = 0; i < workers; i++) {
        (void)pthread_join(worker[i].thread, NULL);
    }
    (void)sem_destroy(&graph.ready);
    (void)sem_destroy(&graph.room);
    free(graph.arena);
}
