/* Which memory lies on which NUMA node: the rules, a scheduler made by them, and what is told. */
#include "sched/memory_plan.h"

#include "sched/early.h"
#include "sched/graph.h"
#include "tests/unit/sched/numa_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORKERS 5u

static struct numa_rig g_rig;
static struct lks_topology_plan g_threads; /* two nodes of four cores */
static int g_nodes[LKS_WORKERS_MAX + 1];
static uint32_t g_executed;

static void plan_threads(uint32_t workers, const char *machine)
{
    struct lks_error err = {0};
    const struct lks_topology_options options = {.workers = workers, .machine = machine};
    if (lks_topology_plan_make(&g_threads, &options, &err) != 0) {
        fail_msg("%s", err.text);
    }
    lks_topology_plan_nodes(&g_threads, g_nodes);
}

static int set_up(void **state)
{
    (void)state;
    numa_rig_init(&g_rig);
    g_executed = 0;
    plan_threads(WORKERS, "numa:2 core:4 pu:1"); /* workers 0, 1, 2 beside the core thread */
    return 0;
}

static void execute(void *ctx, uint32_t worker, uint64_t command)
{
    (void)ctx;
    (void)worker;
    (void)command;
    g_executed++;
}

static struct lks_scheduler *new_scheduler(enum lks_scheduler_kind kind, uint32_t lanes)
{
    struct lks_scheduler *scheduler = NULL;
    struct lks_error err = {0};
    const struct lks_scheduler_options options = {
        .kind = kind, .workers = WORKERS, .window = 64, .lanes = lanes, .slots = 1u << 16,
        .classes = 8, .manual = true, .execute = execute, .numa = &g_rig.numa, .nodes = g_nodes};
    if (lks_scheduler_new(&scheduler, &options, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return scheduler;
}

static void run(struct lks_scheduler *scheduler, uint32_t commands)
{
    for (uint32_t i = 0; i < commands; i++) {
        const lks_access word = lks_access_of(i % 8, i % 3 == 0);
        while (!lks_scheduler_submit(scheduler, i, &word, 1)) {
            lks_scheduler_flush(scheduler);
        }
    }
    lks_scheduler_flush(scheduler);
}

static uint64_t bound(const volatile void *address, size_t offset)
{
    return numa_rig_nodes_of(&g_rig, (const void *)((uintptr_t)address + offset));
}

/* The first and the last byte of `count` things. */
#define ASSERT_AREA(address, count, nodes) \
    do { \
        assert_int_equal(bound(address, 0), nodes); \
        assert_int_equal(bound(address, sizeof *(address) * (count) - 1), nodes); \
    } while (0)

static void assert_of_worker(const struct lks_scheduler *scheduler, uint32_t i, uint64_t nodes)
{
    const uint32_t window = 64;
    const struct early_queue *queue = scheduler->early->queues[i];
    const struct queues *rings = scheduler->graph->queues[i];
    ASSERT_AREA(scheduler->workers[i], 1, nodes);
    ASSERT_AREA(queue, 1, nodes);
    ASSERT_AREA(queue->items, window, nodes);
    ASSERT_AREA(queue->away, 8, nodes);
    ASSERT_AREA(queue->counted, 8, nodes);
    ASSERT_AREA(queue->packets, PACKETS, nodes);
    ASSERT_AREA(rings, 1, nodes);
    ASSERT_AREA(rings->ready.items, window, nodes);
    ASSERT_AREA(rings->inbox.items, window, nodes);
}

static void new__two_nodes__each_area_is_on_that_of_who_reads_it(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_EARLY, 1);
    const struct lks_early *early = scheduler->early;
    const struct lks_graph *graph = scheduler->graph;
    for (uint32_t i = 0; i < WORKERS; i++) {
        assert_of_worker(scheduler, i, i < 3 ? 1 : 2);
    }
    assert_of_worker(scheduler, WORKERS, 1); /* the core thread, as an executor */
    ASSERT_AREA(scheduler, 1, 1);
    ASSERT_AREA(early, 1, 1);
    ASSERT_AREA(early->routes, 16, 1);
    ASSERT_AREA(early->meetings, 64, 1);
    ASSERT_AREA(graph, 1, 1);
    ASSERT_AREA(graph->nodes, 4 * 64, 1);
    ASSERT_AREA(graph->outside, 4 * 64 * (LKS_ACCESS_MAX - CELLS_INSIDE), 1);
    ASSERT_AREA(graph->slots, 1u << 16, 1);
    ASSERT_AREA(graph->lane_of_class, 8, 1);
    for (uint32_t i = 0; i < LKS_LANES_MAX; i++) {
        const uint64_t nodes = i % WORKERS < 3 ? 1 : 2;
        ASSERT_AREA(graph->lane[i], 1, nodes);
        ASSERT_AREA(graph->lane[i]->queue.items, 64, nodes);
    }
    lks_scheduler_free(scheduler);
}

static void new__lanes_of_workers__table_of_keys_in_turns(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_HYBRID, 1);
    ASSERT_AREA(scheduler->graph->slots, 1u << 16, 3);
    lks_scheduler_free(scheduler);
    scheduler = new_scheduler(LKS_LATE, 2);
    ASSERT_AREA(scheduler->graph->slots, 1u << 16, 3);
    lks_scheduler_free(scheduler);
}

static void new__refused__works_with_one_warning(void **state)
{
    (void)state;
    g_rig.answer = -EPERM;
    for (unsigned kind = 0; kind <= LKS_ADAPTIVE; kind++) {
        struct lks_scheduler *scheduler = new_scheduler((enum lks_scheduler_kind)kind, 1);
        run(scheduler, 500);
        lks_scheduler_free(scheduler);
    }
    assert_int_equal(g_executed, 500 * (LKS_ADAPTIVE + 1));
    assert_int_equal(g_rig.areas_count, 1);
    assert_int_equal(g_rig.warnings, 1);
}

static void new__one_node__nobody_is_asked(void **state)
{
    (void)state;
    plan_threads(WORKERS, "numa:1 core:8 pu:1");
    assert_int_equal(g_threads.nodes, 1);
    for (uint32_t i = 0; i <= WORKERS; i++) {
        g_nodes[i] = -1; /* as where nothing is pinned */
    }
    struct lks_scheduler *scheduler = new_scheduler(LKS_EARLY, 1);
    run(scheduler, 500);
    assert_int_equal(lks_scheduler_nodes(scheduler, 3), 0);
    lks_scheduler_free(scheduler);
    assert_int_equal(g_rig.areas_count, 0);
    assert_int_equal(g_rig.prefers, 0);
}

static void nodes__of_an_identity__follow_the_kind_and_nothing_moves(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_EARLY, 1);
    const uint32_t areas = g_rig.areas_count;
    struct lks_error err = {0};
    for (uint64_t identity = 0; identity < 16; identity++) {
        /* Shards are dealt out to the workers in turn. */
        assert_int_equal(lks_scheduler_nodes(scheduler, identity),
                         identity % 8 % WORKERS < 3 ? 1 : 2);
    }
    assert_int_equal(lks_scheduler_switch(scheduler, LKS_LATE, 0, &err), 0);
    assert_int_equal(lks_scheduler_nodes(scheduler, 0), 3);
    assert_int_equal(lks_scheduler_switch(scheduler, LKS_SEQUENTIAL, 0, &err), 0);
    assert_int_equal(lks_scheduler_nodes(scheduler, 3), 1);
    assert_int_equal(lks_scheduler_switch(scheduler, LKS_HYBRID, 0, &err), 0);
    assert_int_equal(lks_scheduler_nodes(scheduler, 3), 2);
    run(scheduler, 500);
    assert_int_equal(lks_scheduler_switch(scheduler, LKS_ADAPTIVE, 0, &err), 0);
    assert_int_equal(lks_scheduler_nodes(scheduler, 3), 3);
    assert_int_equal(g_rig.areas_count, areas);
    lks_scheduler_free(scheduler);
}

/* ---- what is told ---- */

static struct lks_memory_plan g_memory;

static const struct lks_memory_line *line_of(const char *what)
{
    for (uint32_t i = 0; i < g_memory.count; i++) {
        if (strstr(g_memory.line[i].what, what) != NULL) {
            return &g_memory.line[i];
        }
    }
    fail_msg("no line about '%s'", what);
    return NULL;
}

static void make__each_kind__lines_as_the_scheduler_does(void **state)
{
    (void)state;
    struct lks_error err = {0};
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_EARLY, 64, &err), 0);
    assert_int_equal(g_memory.count, WORKERS + 2);
    assert_int_equal(line_of("core thread")->nodes, 1);
    assert_int_equal(line_of("table of keys")->nodes, 1);
    assert_int_equal(line_of("worker 0")->nodes, 1);
    assert_int_equal(line_of("worker 4")->nodes, 2);
    assert_non_null(strstr(line_of("worker 4")->what, "partitions 4, 9, 14, ... (12)"));
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_HYBRID, 4, &err), 0);
    assert_int_equal(line_of("table of keys")->nodes, 3);
    assert_non_null(strstr(line_of("worker 3")->what, "partitions 3"));
    assert_null(strstr(line_of("worker 4")->what, "partitions"));
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_ADAPTIVE, 64, &err), 0);
    assert_int_equal(line_of("the service's 64 partitions")->nodes, 3);
    assert_int_equal(line_of("table of keys")->nodes, 1);
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_SEQUENTIAL, 64, &err), 0);
    assert_int_equal(line_of("the service's 64 partitions")->nodes, 1);
}

static void make__threads_not_pinned__wherever(void **state)
{
    (void)state;
    struct lks_error err = {0};
    plan_threads(9, "numa:2 core:4 pu:1"); /* the last two and the core thread are not pinned */
    assert_true(g_threads.crowded);
    assert_int_equal(g_nodes[9], -1);
    assert_int_equal(g_nodes[8], -1);
    assert_int_equal(g_nodes[6], 1);
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_EARLY, 64, &err), 0);
    assert_int_equal(line_of("core thread")->nodes, 0);
    assert_non_null(strstr(line_of("core thread")->why, "not pinned"));
    assert_int_equal(line_of("worker 8")->nodes, 0);
}

static void print__one_two_and_no_workers__say_so(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    struct lks_error err = {0};
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_HYBRID, 64, &err), 0);
    lks_memory_plan_print(&g_memory, to);
    lks_topology_plan_draw(&(struct lks_topology_drawing){"replica 1", &g_threads, &g_memory}, 1,
                           to);
    plan_threads(0, "numa:2 core:4 pu:1");
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_SEQUENTIAL, 64, &err), 0);
    lks_memory_plan_print(&g_memory, to);
    plan_threads(2, "numa:1 core:4 pu:1");
    assert_int_equal(lks_memory_plan_make(&g_memory, &g_threads, LKS_EARLY, 64, &err), 0);
    lks_memory_plan_print(&g_memory, to);
    (void)fclose(to);
    assert_non_null(strstr(text, "0, 1 in turns  a page has slots"));
    assert_non_null(strstr(text, "numa 0, 1 in turns</text>"));
    assert_non_null(strstr(text, "2 NUMA nodes</text>"));
    assert_non_null(strstr(text, "memory: without workers"));
    assert_non_null(strstr(text, "memory: one NUMA node, nothing to place"));
    free(text);
}

static void nodes_text__all_of_them__fits(void **state)
{
    (void)state;
    char text[LKS_MEMORY_NODES_TEXT];
    assert_string_equal(lks_memory_nodes_text(0, text), "-");
    assert_string_equal(lks_memory_nodes_text(4, text), "2");
    assert_string_equal(lks_memory_nodes_text(5, text), "0, 2 in turns");
    (void)lks_memory_nodes_text(UINT64_MAX, text);
    assert_non_null(strstr(text, "62, 63 in turns"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(new__two_nodes__each_area_is_on_that_of_who_reads_it, set_up),
        cmocka_unit_test_setup(new__lanes_of_workers__table_of_keys_in_turns, set_up),
        cmocka_unit_test_setup(new__refused__works_with_one_warning, set_up),
        cmocka_unit_test_setup(new__one_node__nobody_is_asked, set_up),
        cmocka_unit_test_setup(nodes__of_an_identity__follow_the_kind_and_nothing_moves, set_up),
        cmocka_unit_test_setup(make__each_kind__lines_as_the_scheduler_does, set_up),
        cmocka_unit_test_setup(make__threads_not_pinned__wherever, set_up),
        cmocka_unit_test_setup(print__one_two_and_no_workers__say_so, set_up),
        cmocka_unit_test_setup(nodes_text__all_of_them__fits, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
