/*
 * CBASE, re-created: a graph of at most 150 commands behind one mutex. Who inserts compares with
 * every command in the graph; who is idle takes the oldest one that depends on nothing.
 */
#include "bench/sched/rivals.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum state { FREE, WAITING, RUNNING };

struct vertex {
    enum state state;
    uint64_t command;
    uint32_t depends; /* edges in */
    bool edge[LKS_RIVAL_WINDOW]; /* out: those that wait for this one */
};

struct graph {
    struct lks_load *load;
    pthread_mutex_t mutex;
    pthread_cond_t ready;
    pthread_cond_t room;
    struct vertex vertex[LKS_RIVAL_WINDOW];
    uint32_t used;
    bool ended;
};

struct cbase_worker {
    struct graph *graph;
    uint32_t id;
    pthread_t thread;
};

static struct vertex *oldest_ready(struct graph *graph)
{
    struct vertex *found = NULL;
    for (uint32_t i = 0; i < LKS_RIVAL_WINDOW; i++) {
        struct vertex *v = &graph->vertex[i];
        if (v->state == WAITING && v->depends == 0 &&
            (found == NULL || v->command < found->command)) {
            found = v;
        }
    }
    return found;
}

static void remove_vertex(struct graph *graph, struct vertex *v)
{
    for (uint32_t i = 0; i < LKS_RIVAL_WINDOW; i++) {
        if (v->edge[i] && --graph->vertex[i].depends == 0) {
            (void)pthread_cond_signal(&graph->ready);
        }
    }
    v->state = FREE;
    graph->used--;
    (void)pthread_cond_signal(&graph->room);
}

static void *work(void *argument)
{
    struct cbase_worker *worker = argument;
    struct graph *graph = worker->graph;
    (void)pthread_mutex_lock(&graph->mutex);
    for (;;) {
        struct vertex *v = oldest_ready(graph);
        if (v != NULL) {
            v->state = RUNNING;
            (void)pthread_mutex_unlock(&graph->mutex);
            lks_load_execute(graph->load, worker->id, v->command);
            (void)pthread_mutex_lock(&graph->mutex);
            remove_vertex(graph, v);
        } else if (graph->ended && graph->used == 0) {
            break;
        } else {
            (void)pthread_cond_wait(&graph->ready, &graph->mutex);
        }
    }
    (void)pthread_cond_broadcast(&graph->ready);
    (void)pthread_mutex_unlock(&graph->mutex);
    return NULL;
}

static void insert(struct graph *graph, uint64_t command)
{
    const struct lks_load_entry *log = lks_load_log(graph->load);
    const uint32_t mask = lks_load_mask(lks_load_options_of(graph->load));
    (void)pthread_mutex_lock(&graph->mutex);
    while (graph->used == LKS_RIVAL_WINDOW) {
        (void)pthread_cond_wait(&graph->room, &graph->mutex);
    }
    uint32_t at = 0;
    while (graph->vertex[at].state != FREE) {
        at++;
    }
    struct vertex *v = &graph->vertex[at];
    *v = (struct vertex){.state = WAITING, .command = command};
    for (uint32_t i = 0; i < LKS_RIVAL_WINDOW; i++) {
        struct vertex *other = &graph->vertex[i];
        if (i != at && other->state != FREE &&
            lks_rival_conflict(&log[other->command & mask], &log[command & mask])) {
            other->edge[at] = true;
            v->depends++;
        }
    }
    graph->used++;
    if (v->depends == 0) {
        (void)pthread_cond_signal(&graph->ready);
    }
    (void)pthread_mutex_unlock(&graph->mutex);
}

void lks_rival_cbase(struct lks_load *load, uint32_t workers)
{
    struct graph *graph = calloc(1, sizeof *graph);
    struct cbase_worker worker[LKS_WORKERS_MAX];
    if (graph == NULL) {
        abort();
    }
    graph->load = load;
    (void)pthread_mutex_init(&graph->mutex, NULL);
    (void)pthread_cond_init(&graph->ready, NULL);
    (void)pthread_cond_init(&graph->room, NULL);
    for (uint32_t i = 0; i < workers; i++) {
        worker[i] = (struct cbase_worker){.graph = graph, .id = i};
        if (pthread_create(&worker[i].thread, NULL, work, &worker[i]) != 0) {
            abort();
        }
    }
    for (uint64_t i = 0; i < lks_load_options_of(load)->commands; i++) {
        insert(graph, i);
    }
    (void)pthread_mutex_lock(&graph->mutex);
    graph->ended = true;
    (void)pthread_cond_broadcast(&graph->ready);
    (void)pthread_mutex_unlock(&graph->mutex);
    for (uint32_t i = 0; i < workers; i++) {
        (void)pthread_join(worker[i].thread, NULL);
    }
    free(graph);
}
