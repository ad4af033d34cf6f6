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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(armed__all_of_one_worker__woken),
        cmocka_unit_test(armed__both_run_out_at_once__woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
