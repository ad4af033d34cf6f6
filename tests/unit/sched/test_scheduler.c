/* The scheduler as its users see it. Workers are steps: what happens when is the test's choice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "base/clock.h"
#include "sched/class_map.h"
#include "sched/graph.h"
#include "sched/park.h"
#include "sched/scheduler.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define MOST 4096u

/* What was executed, in which order, by whom. */
static struct {
    uint32_t count;
    uint64_t command[MOST];
    uint32_t worker[MOST];
} log_of;

static void note(void *ctx, uint32_t worker, uint64_t command)
{
    (void)ctx;
    assert_true(log_of.count < MOST);
    log_of.command[log_of.count] = command;
    log_of.worker[log_of.count++] = worker;
}

static struct lks_scheduler *new_scheduler(enum lks_scheduler_kind kind, uint32_t workers)
{
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = kind, .workers = workers, .window = 64, .slots = 1024, .classes = 8,
        .manual = true, .execute = note};
    struct lks_error err = {0};
    log_of.count = 0;
    if (lks_scheduler_new(&scheduler, &options, &err) != 0) {
        fail_msg("%s", err.text);
    }
    return scheduler;
}

/* The place of a command in the order of execution; MOST: not executed. */
static uint32_t place_of(uint64_t command)
{
    for (uint32_t i = 0; i < log_of.count; i++) {
        if (log_of.command[i] == command) {
            return i;
        }
    }
    return MOST;
}

static bool submit_one(struct lks_scheduler *scheduler, uint64_t command, uint64_t identity,
                       bool write)
{
    const lks_access word = lks_access_of(identity, write);
    return lks_scheduler_submit(scheduler, command, &word, 1);
}

static void steps(struct lks_scheduler *scheduler, uint32_t worker, uint32_t count)
{
    lks_scheduler_publish(scheduler);
    while (count-- > 0) {
        (void)lks_scheduler_step(scheduler, worker);
    }
}

static const enum lks_scheduler_kind parallel[] = {LKS_EARLY, LKS_LATE, LKS_HYBRID};

static void new__bad_option__one_sentence(void **state)
{
    (void)state;
    static const struct lks_scheduler_options bad[] = {
        {.workers = 64}, {.window = 100}, {.window = 32}, {.window = 1u << 17}, {.slots = 1000},
        {.lanes = 65}, {.classes = 12}, {.classes = 512, .slots = 256}};
    for (size_t i = 0; i < LKS_COUNT_OF(bad); i++) {
        struct lks_scheduler *scheduler = NULL;
        struct lks_error err = {0};
        assert_int_equal(lks_scheduler_new(&scheduler, &bad[i], &err), -EINVAL);
        assert_null(scheduler);
        assert_true(strlen(err.text) > 10);
    }
}

static void new__map_for_other_workers__refused(void **state)
{
    (void)state;
    struct lks_class_map *map = NULL;
    struct lks_scheduler *scheduler = NULL;
    struct lks_error err = {0};
    assert_int_equal(lks_class_map_shards(&map, 4, NULL, 3), 0);
    const struct lks_scheduler_options options = {
        .kind = LKS_EARLY, .workers = 2, .map = map, .execute = note};
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), -EINVAL);
    assert_non_null(strstr(err.text, "for 3 workers, but there are 2"));
    lks_class_map_free(map);
}

static void kind_parse__each_name__back_and_forth(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= LKS_ADAPTIVE; i++) {
        enum lks_scheduler_kind kind = LKS_SEQUENTIAL;
        const char *name = lks_scheduler_kind_name((enum lks_scheduler_kind)i);
        assert_int_equal(lks_scheduler_kind_parse(name, &kind, NULL), 0);
        assert_int_equal(kind, i);
    }
    struct lks_error err = {0};
    enum lks_scheduler_kind kind = LKS_LATE;
    assert_int_equal(lks_scheduler_kind_parse("latest", &kind, &err), -EINVAL);
    assert_int_equal(kind, LKS_LATE);
    assert_non_null(strstr(err.text, "latest"));
}

static void submit__no_workers__executed_at_once(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind <= LKS_ADAPTIVE; kind++) {
        struct lks_scheduler *scheduler = new_scheduler((enum lks_scheduler_kind)kind, 0);
        assert_true(submit_one(scheduler, 7, 1, true));
        assert_int_equal(log_of.count, 1);
        assert_int_equal(lks_scheduler_applied(scheduler), 1);
        lks_scheduler_free(scheduler);
    }
}

static void applied__one_late__low_water(void **state)
{
    (void)state;
    for (size_t k = 0; k < LKS_COUNT_OF(parallel); k++) {
        struct lks_scheduler *scheduler = new_scheduler(parallel[k], 2);
        /* Shards 0 and 1 are of different workers, for early and hybrid. */
        assert_true(submit_one(scheduler, 0, 0, true));
        for (uint64_t i = 1; i <= 5; i++) {
            assert_true(submit_one(scheduler, i, i * 8 + 1, true));
        }
        lks_scheduler_publish(scheduler);
        assert_int_equal(lks_scheduler_applied(scheduler), 0);
        lks_scheduler_flush(scheduler);
        assert_int_equal(lks_scheduler_applied(scheduler), 6);
        assert_int_equal(lks_scheduler_submitted(scheduler), 6);
        lks_scheduler_free(scheduler);
    }
}

static void applied__first_command_not_executed__stays(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_EARLY, 2);
    assert_true(submit_one(scheduler, 0, 0, true)); /* worker 0 */
    assert_true(submit_one(scheduler, 1, 1, true)); /* worker 1 */
    assert_true(submit_one(scheduler, 2, 1, true));
    steps(scheduler, 1, 4);
    assert_int_equal(log_of.count, 2);
    assert_int_equal(lks_scheduler_applied(scheduler), 0);
    steps(scheduler, 0, 1);
    assert_int_equal(lks_scheduler_applied(scheduler), 3);
    lks_scheduler_free(scheduler);
}

static void submit__window_full__refused_until_applied(void **state)
{
    (void)state;
    for (size_t k = 0; k < LKS_COUNT_OF(parallel); k++) {
        struct lks_scheduler *scheduler = new_scheduler(parallel[k], 3);
        uint64_t submitted = 0;
        while (submit_one(scheduler, submitted, submitted % 5, true)) {
            submitted++;
            assert_true(submitted <= 64);
        }
        assert_int_equal(submitted, 64);
        struct lks_scheduler_statistics statistics;
        lks_scheduler_statistics(scheduler, &statistics);
        assert_int_equal(statistics.refused, 1);
        while (lks_scheduler_applied(scheduler) == 0) {
            for (uint32_t worker = 0; worker < 3; worker++) {
                (void)lks_scheduler_step(scheduler, worker);
            }
        }
        assert_true(submit_one(scheduler, submitted, 3, true));
        lks_scheduler_free(scheduler);
        assert_int_equal(log_of.count, 65);
    }
}

static void submit__conflicts_with_all__alone(void **state)
{
    (void)state;
    for (size_t k = 0; k < LKS_COUNT_OF(parallel); k++) {
        struct lks_scheduler *scheduler = new_scheduler(parallel[k], 2);
        for (uint64_t i = 0; i < 10; i++) {
            assert_true(submit_one(scheduler, i, i, true));
        }
        assert_false(lks_scheduler_submit(scheduler, 10, NULL, LKS_ACCESS_ALL));
        assert_int_equal(place_of(10), MOST);
        lks_scheduler_flush(scheduler);
        assert_true(lks_scheduler_submit(scheduler, 10, NULL, LKS_ACCESS_ALL));
        assert_int_equal(place_of(10), 10);
        assert_int_equal(log_of.worker[10], 2); /* the dispatcher */
        lks_scheduler_free(scheduler);
    }
}

static void submit__same_key_twice__one_access(void **state)
{
    (void)state;
    for (size_t k = 0; k < LKS_COUNT_OF(parallel); k++) {
        struct lks_scheduler *scheduler = new_scheduler(parallel[k], 2);
        const lks_access words[] = {lks_access_of(5, false), lks_access_of(5, true),
                                    lks_access_of(5, false)};
        for (uint64_t i = 0; i < 4; i++) {
            assert_true(lks_scheduler_submit(scheduler, i, words, 3));
        }
        lks_scheduler_flush(scheduler);
        assert_int_equal(log_of.count, 4);
        assert_int_equal(place_of(3), 3);
        lks_scheduler_free(scheduler);
    }
}

static void switch__with_commands_under_way__flushes_first(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_LATE, 2);
    uint64_t command = 0;
    for (unsigned kind = 0; kind <= LKS_ADAPTIVE; kind++) {
        for (uint32_t i = 0; i < 20; i++) {
            assert_true(submit_one(scheduler, command++, i % 3, true));
        }
        assert_int_equal(
            lks_scheduler_switch(scheduler, (enum lks_scheduler_kind)kind, 0, NULL), 0);
        assert_int_equal(log_of.count, command);
        assert_int_equal(lks_scheduler_applied(scheduler), command);
    }
    struct lks_error err = {0};
    assert_int_equal(lks_scheduler_switch(scheduler, (enum lks_scheduler_kind)17, 0, &err),
                     -EINVAL);
    lks_scheduler_free(scheduler);
}

/* The ring of hybrid is twice that of late: laps that were executed in one are no laps of the
 * other. */
static void switch__to_a_ring_of_another_size__nothing_in_it_is_done(void **state)
{
    (void)state;
    const uint64_t ring = UINT64_C(4) * 64;
    struct lks_scheduler *scheduler = new_scheduler(LKS_LATE, 1);
    for (uint64_t i = 0; i < ring; i++) {
        while (!submit_one(scheduler, i, i, true)) {
            lks_scheduler_flush(scheduler);
        }
    }
    assert_int_equal(lks_scheduler_switch(scheduler, LKS_HYBRID, 0, NULL), 0);
    assert_true(submit_one(scheduler, ring, 1, true));
    assert_int_equal(lks_scheduler_applied(scheduler), ring);
    lks_scheduler_flush(scheduler);
    assert_int_equal(lks_scheduler_applied(scheduler), ring + 1);
    assert_int_equal(log_of.count, ring + 1);
    lks_scheduler_free(scheduler);
}

static void commands_in__pace_unknown_or_known__as_told_or_that_many(void **state)
{
    (void)state;
    struct lks_scheduler scheduler = {.window = 64};
    assert_int_equal(lks_scheduler_commands_in(&scheduler, 20000, 4), 4);
    atomic_store(&scheduler.rate, 1u << RATE_SHIFT); /* 1 ns each */
    assert_int_equal(lks_scheduler_commands_in(&scheduler, 20000, 4), 20000);
    atomic_store(&scheduler.rate, (1u << RATE_SHIFT) / 50000);
    assert_int_equal(lks_scheduler_commands_in(&scheduler, 100000, 8), 2);
    atomic_store(&scheduler.rate, 1); /* a millisecond and more */
    assert_int_equal(lks_scheduler_commands_in(&scheduler, 100000, 8), 1);
}

/* What went before a rest says nothing about the commands behind it, nor does the rest. */
static void publish__after_a_rest__pace_begins_there(void **state)
{
    (void)state;
    static const enum lks_scheduler_kind kinds[] = {LKS_EARLY, LKS_LATE};
    for (size_t i = 0; i < LKS_COUNT_OF(kinds); i++) {
        struct lks_scheduler *scheduler = new_scheduler(kinds[i], 1);
        scheduler->pace_since_ns = 0; /* the rest began with the clock */
        const uint64_t begun_ns = lks_clock_monotonic_ns();
        assert_true(submit_one(scheduler, 0, 1, true));
        steps(scheduler, 0, 2);
        assert_true(atomic_load(&scheduler->rate) == 0);
        scheduler->options.manual = false; /* as if a thread had made the steps */
        assert_int_equal(lks_scheduler_applied(scheduler), 1);
        scheduler->options.manual = true;
        assert_true(scheduler->pace_since_ns >= begun_ns);
        assert_true(scheduler->pace_ns <= (double)(lks_clock_monotonic_ns() - begun_ns));
        assert_true(atomic_load(&scheduler->rate) > 0);
        lks_scheduler_free(scheduler);
    }
}

/* The simulator's runs are the seed's alone: what steals how much must not hang on time. */
static void manual__commands_of_any_kind__no_pace_is_measured(void **state)
{
    (void)state;
    for (int kind = LKS_SEQUENTIAL; kind <= LKS_ADAPTIVE; kind++) {
        struct lks_scheduler *scheduler = new_scheduler((enum lks_scheduler_kind)kind, 2);
        for (uint64_t i = 0; i < 500; i++) {
            assert_true(submit_one(scheduler, i, i % 8, true));
            steps(scheduler, 0, 2);
            steps(scheduler, 1, 2);
            lks_scheduler_flush(scheduler);
            assert_int_equal(lks_scheduler_applied(scheduler), i + 1);
        }
        assert_true(scheduler->pace_ns == 0);
        assert_true(atomic_load(&scheduler->rate) == 0);
        lks_scheduler_free(scheduler);
    }
}

/* The helper goes away: what it found ready, and does not execute, others get. */
static void leave__ready_at_the_helper__workers_execute_it(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_HYBRID, 2);
    struct lks_worker *helper = lks_scheduler_helper(scheduler);
    scheduler->options.no_steal = true;
    for (uint64_t i = 0; i < 6; i++) {
        assert_true(submit_one(scheduler, i, 0, false)); /* all of one lane, and none waits */
    }
    lks_scheduler_publish(scheduler);
    struct lks_ring *ready = &scheduler->graph->queues[helper->id]->ready;
    for (uint32_t walked = 1; walked <= 4; walked++) {
        assert_true(lks_graph_walk(scheduler->graph, 0, helper));
        assert_int_equal(lks_ring_depth(ready), walked);
    }
    lks_graph_engine.leave(scheduler, helper);
    assert_int_equal(lks_ring_depth(ready), 0);
    steps(scheduler, 0, 20);
    steps(scheduler, 1, 20);
    assert_int_equal(lks_scheduler_applied(scheduler), 6);
    for (uint32_t i = 0; i < log_of.count; i++) {
        assert_true(log_of.worker[i] < 2);
    }
    lks_scheduler_free(scheduler);
}

/* A worker may have gone to sleep over a lane that the helper held. */
static void leave__lane_not_walked_to_its_end__its_worker_is_woken(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_HYBRID, 2);
    assert_true(submit_one(scheduler, 0, 0, true));
    assert_true(submit_one(scheduler, 1, 0, true));
    lks_scheduler_publish(scheduler);
    assert_true(lks_graph_walk(scheduler->graph, 0, lks_scheduler_helper(scheduler)));
    for (uint32_t i = 0; i < 2; i++) {
        lks_park_announce(&scheduler->workers[i]->parked);
    }
    scheduler->options.manual = false; /* workers are asleep, as it seems */
    lks_graph_engine.leave(scheduler, lks_scheduler_helper(scheduler));
    scheduler->options.manual = true;
    assert_int_equal(atomic_load(&scheduler->workers[0]->parked), 0);
    lks_scheduler_free(scheduler);
    assert_int_equal(log_of.count, 2);
}

/* Also where workers insert. */
static void statistics__hybrid__counts_who_waited_and_what_waits_in_lanes(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_HYBRID, 1);
    struct lks_scheduler_statistics all;
    struct lks_worker_statistics of;
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(submit_one(scheduler, i, 7, true));
    }
    lks_scheduler_publish(scheduler);
    lks_scheduler_worker_statistics(scheduler, 0, &of);
    assert_int_equal(of.depth, 3);
    while (lks_graph_walk(scheduler->graph, 0, scheduler->workers[0])) {
    }
    lks_scheduler_statistics(scheduler, &all);
    lks_scheduler_worker_statistics(scheduler, 0, &of);
    assert_int_equal(all.dependent, 2);
    assert_int_equal(of.waited, 2);
    assert_int_equal(of.depth, 1);
    lks_scheduler_free(scheduler);
}

static _Atomic bool g_may_end;

static void hold(void *ctx, uint32_t worker, uint64_t command)
{
    (void)ctx;
    (void)worker;
    (void)command;
    while (!atomic_load(&g_may_end)) {
        (void)sched_yield();
    }
}

/* Who only goes to sleep and never waits sees that commands have become dear, too. */
static void arm__nothing_executed_for_long__pace_is_no_longer_that_of_cheap_ones(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {.kind = LKS_EARLY, .workers = 1, .execute = hold};
    struct lks_error err = {0};
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    scheduler->pace_ns = 1;
    atomic_store(&scheduler->rate, 1u << RATE_SHIFT);
    assert_true(submit_one(scheduler, 0, 1, true));
    lks_scheduler_publish(scheduler);
    while (lks_scheduler_commands_in(scheduler, 20000, 1) > 1) {
        lks_scheduler_arm(scheduler);
        lks_scheduler_disarm(scheduler);
    }
    atomic_store(&g_may_end, true);
    lks_scheduler_flush(scheduler);
    lks_scheduler_free(scheduler);
}

/* A worker at a long command is asked for what came meanwhile. */
static void steal__published_since_the_victim_looked__given(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = LKS_EARLY, .workers = 2, .window = 64, .slots = 1024, .classes = 32,
        .manual = true, .execute = note};
    struct lks_error err = {0};
    uint64_t own[32]; /* identities of worker 0 */
    uint32_t count = 0;
    log_of.count = 0;
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    for (uint64_t identity = 0; identity < 32; identity++) {
        if (lks_early_owners(scheduler->early, identity) == 1) {
            own[count++] = identity;
        }
    }
    assert_true(count >= 8);
    assert_true(submit_one(scheduler, 0, own[0], true));
    steps(scheduler, 0, 1);
    for (uint32_t i = 1; i < 8; i++) {
        assert_true(submit_one(scheduler, i, own[i], true));
    }
    steps(scheduler, 1, 1); /* asks */
    steps(scheduler, 0, 1); /* answers, without having looked since */
    steps(scheduler, 1, 1);
    assert_int_equal(log_of.worker[log_of.count - 1], 1);
    lks_scheduler_flush(scheduler);
    lks_scheduler_free(scheduler);
}

/* An empty window takes commands faster than anybody executes them. */
static void adaptive__nothing_executed_yet__a_level_is_not_judged(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = LKS_ADAPTIVE, .workers = 1, .execute = hold};
    struct lks_error err = {0};
    atomic_store(&g_may_end, false);
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    struct lks_adaptive *adaptive = &scheduler->adaptive;
    lks_scheduler_set_level(scheduler, 1);
    adaptive->level = adaptive->wanted = 1;
    adaptive->low = scheduler->low;
    adaptive->trial = true;
    adaptive->stretches = 3;
    adaptive->idle = false; /* and time counts since the clock began: any stretch is long enough */
    for (uint64_t i = 0; i < 256; i++) {
        assert_true(submit_one(scheduler, i, 1, true));
    }
    assert_true(adaptive->cost_ns[1] == 0);
    assert_int_equal(adaptive->stretches, 3);
    atomic_store(&g_may_end, true);
    lks_scheduler_flush(scheduler);
    lks_scheduler_free(scheduler);
}

/* However few stretches patience has left: what a lost trial took is waited for many times. */
static void adaptive__trial_lost__the_next_one_waits_for_what_it_took(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = LKS_ADAPTIVE, .workers = 1, .execute = hold};
    struct lks_error err = {0};
    atomic_store(&g_may_end, true);
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    struct lks_adaptive *adaptive = &scheduler->adaptive;
    lks_scheduler_set_level(scheduler, 1);
    adaptive->level = adaptive->wanted = 1;
    adaptive->low = scheduler->low;
    adaptive->trial = true;
    adaptive->trial_ns = 1000;
    adaptive->stretches = 1;
    adaptive->cost_ns[0] = 1e-9; /* nothing is better than this */
    adaptive->idle = false;
    uint64_t number = 0;
    while (adaptive->trial) {
        assert_true(submit_one(scheduler, number++ % 64, 1, true));
        lks_scheduler_flush(scheduler);
    }
    assert_int_equal(adaptive->wanted, 0);
    assert_true(adaptive->trial_ns > 1000);
    assert_true(adaptive->rest_ns >= 16 * adaptive->trial_ns);

    adaptive->patience = 0;
    adaptive->judged_ns = 0;
    adaptive->rest_ns = UINT64_MAX;
    assert_true(submit_one(scheduler, number++ % 64, 1, true)); /* in place from here on */
    const uint64_t stretch_began_ns = adaptive->mark_ns;
    for (unsigned stretches = 0; stretches < 3;) { /* the first one settles */
        const uint64_t rest_ns = adaptive->rest_ns;
        lks_scheduler_ran(scheduler, 1024);
        stretches += adaptive->rest_ns < rest_ns;
        assert_false(adaptive->trial);
    }
    adaptive->rest_ns = 1;
    while (!adaptive->trial) {
        lks_scheduler_ran(scheduler, 1024);
    }
    assert_true(adaptive->mark_ns > stretch_began_ns);
    assert_int_equal(adaptive->trial_ns, 0);
    assert_int_equal(adaptive->wanted, 1);
    lks_scheduler_flush(scheduler);
    lks_scheduler_free(scheduler);
}

/* A look at the clock costs more than commands of a few nanoseconds do. */
static void adaptive__cheap_commands__looks_at_the_clock_less_often(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = LKS_ADAPTIVE, .workers = 1, .execute = hold};
    struct lks_error err = {0};
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    struct lks_adaptive *adaptive = &scheduler->adaptive;
    lks_scheduler_ran(scheduler, 1);
    const uint32_t look = adaptive->look;
    while (adaptive->look != look * 8) {
        adaptive->rest_ns = UINT64_MAX; /* no trial */
        lks_scheduler_ran(scheduler, adaptive->look_at - adaptive->commands);
    }
    adaptive->mark_ns = 0; /* all the time since the clock began */
    lks_scheduler_ran(scheduler, look * 8);
    assert_int_equal(adaptive->look, look);
    lks_scheduler_free(scheduler);
}

static void set_active__fewer__new_commands_go_to_those(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_LATE, 4);
    lks_scheduler_set_active(scheduler, 1);
    for (uint64_t i = 0; i < 40; i++) {
        assert_true(submit_one(scheduler, i, i, true));
    }
    steps(scheduler, 2, 50);
    assert_int_equal(log_of.count, 0);
    steps(scheduler, 0, 50);
    assert_int_equal(log_of.count, 40);
    lks_scheduler_free(scheduler);
}

static void free__commands_under_way__executes_them(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = new_scheduler(LKS_HYBRID, 3);
    for (uint64_t i = 0; i < 30; i++) {
        assert_true(submit_one(scheduler, i, i, true));
    }
    lks_scheduler_free(scheduler);
    assert_int_equal(log_of.count, 30);
    lks_scheduler_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new__bad_option__one_sentence),
        cmocka_unit_test(new__map_for_other_workers__refused),
        cmocka_unit_test(kind_parse__each_name__back_and_forth),
        cmocka_unit_test(submit__no_workers__executed_at_once),
        cmocka_unit_test(applied__one_late__low_water),
        cmocka_unit_test(applied__first_command_not_executed__stays),
        cmocka_unit_test(submit__window_full__refused_until_applied),
        cmocka_unit_test(submit__conflicts_with_all__alone),
        cmocka_unit_test(submit__same_key_twice__one_access),
        cmocka_unit_test(switch__with_commands_under_way__flushes_first),
        cmocka_unit_test(switch__to_a_ring_of_another_size__nothing_in_it_is_done),
        cmocka_unit_test(commands_in__pace_unknown_or_known__as_told_or_that_many),
        cmocka_unit_test(publish__after_a_rest__pace_begins_there),
        cmocka_unit_test(manual__commands_of_any_kind__no_pace_is_measured),
        cmocka_unit_test(leave__ready_at_the_helper__workers_execute_it),
        cmocka_unit_test(leave__lane_not_walked_to_its_end__its_worker_is_woken),
        cmocka_unit_test(statistics__hybrid__counts_who_waited_and_what_waits_in_lanes),
        cmocka_unit_test(adaptive__cheap_commands__looks_at_the_clock_less_often),
        cmocka_unit_test(steal__published_since_the_victim_looked__given),
        cmocka_unit_test(adaptive__nothing_executed_yet__a_level_is_not_judged),
        cmocka_unit_test(adaptive__trial_lost__the_next_one_waits_for_what_it_took),
        cmocka_unit_test(
            arm__nothing_executed_for_long__pace_is_no_longer_that_of_cheap_ones),
        cmocka_unit_test(set_active__fewer__new_commands_go_to_those),
        cmocka_unit_test(free__commands_under_way__executes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
