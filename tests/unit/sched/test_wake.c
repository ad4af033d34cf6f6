/*
 * A dispatcher that sleeps elsewhere is woken: workers are threads. A wake-up that is lost shows as
 * a test that does not end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "sched/engine.h"
#include "sched/scheduler.h"

#include <semaphore.h>
#include <stdatomic.h>

#define WINDOW 64u
#define ROUNDS 300u

static struct {
    sem_t woken;
    _Atomic uint32_t wakes;
    _Atomic uint32_t executed;
} seen;

static void execute(void *ctx, uint32_t worker, uint64_t command)
{
    (void)ctx;
    (void)worker;
    (void)command;
    atomic_fetch_add(&seen.executed, 1);
}

static void wake(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&seen.wakes, 1);
    assert_int_equal(sem_post(&seen.woken), 0);
}

/* As the loop of a replica does: arm, look once more, sleep. Returns how often it slept. */
static uint32_t sleep_until(struct lks_scheduler *scheduler, uint64_t ticket)
{
    uint32_t slept = 0;
    for (;;) {
        lks_scheduler_arm(scheduler);
        if (lks_scheduler_applied(scheduler) >= ticket) {
            lks_scheduler_disarm(scheduler);
            return slept;
        }
        assert_int_equal(sem_wait(&seen.woken), 0);
        slept++;
    }
}

/* All commands are one worker's, or none is: the other one has nothing, and tells nobody while a
 * quarter of the window waits at the first. */
static void wake_each_time(enum lks_scheduler_kind kind, uint32_t skew, bool no_steal)
{
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = kind, .workers = 2, .window = WINDOW, .slots = 1024, .classes = 2,
        .no_steal = no_steal, .spin_ns = 1, .execute = execute, .wake = wake};
    struct lks_error err = {0};
    assert_int_equal(sem_init(&seen.woken, 0, 0), 0);
    atomic_store(&seen.executed, 0);
    atomic_store(&seen.wakes, 0);
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    uint32_t slept = 0;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (uint32_t i = 0; i < WINDOW; i++) {
            const lks_access word = lks_access_of(i * skew, true);
            assert_true(lks_scheduler_submit(scheduler, i, &word, 1));
        }
        slept += sleep_until(scheduler, (uint64_t)round * WINDOW);
    }
    assert_int_equal(atomic_load(&seen.executed), ROUNDS * WINDOW);
    lks_scheduler_free(scheduler);
    assert_true(atomic_load(&seen.wakes) >= slept);
    assert_int_equal(sem_destroy(&seen.woken), 0);
}

static void armed__all_of_one_worker__woken(void **state)
{
    (void)state;
    wake_each_time(LKS_EARLY, 2, false);
    wake_each_time(LKS_EARLY, 2, true);
    wake_each_time(LKS_LATE, 2, true);
    wake_each_time(LKS_HYBRID, 2, false);
}

static void armed__both_run_out_at_once__woken(void **state)
{
    (void)state;
    wake_each_time(LKS_EARLY, 1, false);
    wake_each_time(LKS_EARLY, 1, true);
    wake_each_time(LKS_LATE, 1, false);
    wake_each_time(LKS_HYBRID, 1, true);
}

/* What lks_worker_wake of worker 0 does to worker 1, which sleeps. */
static bool wakes_a_thief(struct lks_scheduler *scheduler, uint64_t backlog)
{
    atomic_store(&scheduler->workers[0]->parked, 0);
    atomic_store(&scheduler->workers[1]->parked, 1);
    lks_worker_wake(scheduler, 0, backlog);
    return atomic_load(&scheduler->workers[1]->parked) == 0;
}

static void worker_wake__backlog_by_pace__a_thief_is_woken(void **state)
{
    (void)state;
    struct lks_worker workers[2] = {{.id = 0}, {.id = 1}};
    struct lks_scheduler scheduler = {.options = {.workers = 2},
                                      .workers = {&workers[0], &workers[1]}};
    atomic_init(&scheduler.engine, &lks_graph_engine);
    atomic_init(&scheduler.active, 2);
    assert_false(wakes_a_thief(&scheduler, 7)); /* pace not known */
    assert_true(wakes_a_thief(&scheduler, 8));
    atomic_store(&scheduler.rate, 1u << RATE_SHIFT); /* 1 ns each */
    assert_false(wakes_a_thief(&scheduler, 99999));
    assert_true(wakes_a_thief(&scheduler, 100000));
    atomic_store(&scheduler.rate, 1); /* a millisecond and more, and worker 0 is at one */
    assert_false(wakes_a_thief(&scheduler, 0));
    assert_true(wakes_a_thief(&scheduler, 1));
    atomic_store(&workers[0].idle_since_ns, 1); /* no, it takes this one itself */
    assert_false(wakes_a_thief(&scheduler, 1));
    assert_true(wakes_a_thief(&scheduler, 2));
    atomic_store(&scheduler.engine, &lks_early_engine); /* gives the third one at the soonest */
    assert_false(wakes_a_thief(&scheduler, 2));
    assert_true(wakes_a_thief(&scheduler, 3));
    scheduler.options.no_steal = true;
    assert_false(wakes_a_thief(&scheduler, 3));
}

/* Commands have turned out long only after they were published. */
static void arm__long_commands_behind_one_another__a_sleeping_worker_is_woken(void **state)
{
    (void)state;
    struct lks_scheduler *scheduler = NULL;
    const struct lks_scheduler_options options = {
        .kind = LKS_LATE, .workers = 2, .slots = 1024, .manual = true, .execute = execute};
    struct lks_error err = {0};
    assert_int_equal(lks_scheduler_new(&scheduler, &options, &err), 0);
    for (uint64_t i = 0; i < 2; i++) {
        const lks_access word = lks_access_of(i * 2, true); /* both fall to worker 0 */
        assert_true(lks_scheduler_submit(scheduler, i, &word, 1));
    }
    lks_scheduler_publish(scheduler);
    atomic_store(&scheduler->rate, 1);
    atomic_store(&scheduler->workers[1]->parked, 1);
    scheduler->options.manual = false; /* workers are threads, as it seems: one at work, the other
                                        * asleep */
    lks_scheduler_arm(scheduler);
    lks_scheduler_disarm(scheduler);
    scheduler->options.manual = true;
    assert_int_equal(atomic_load(&scheduler->workers[1]->parked), 0);
    lks_scheduler_free(scheduler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(armed__all_of_one_worker__woken),
        cmocka_unit_test(armed__both_run_out_at_once__woken),
        cmocka_unit_test(worker_wake__backlog_by_pace__a_thief_is_woken),
        cmocka_unit_test(arm__long_commands_behind_one_another__a_sleeping_worker_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
