/* The helper's thread: order, hand-back, and its end. (Under the thread sanitizer as well.) */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verbs/ibv/helper.h"

#define JOBS 64u

struct task {
    struct lks_ibv_job job;
    unsigned *counter; /* shared by all tasks, touched by the helper alone */
    unsigned ran_as;
};

static void run(struct lks_ibv_job *job)
{
    struct task *task = (struct task *)(void *)job;
    *task->counter += 1;
    task->ran_as = *task->counter;
}

static void wait_for_one(const struct lks_ibv_helper *helper)
{
    struct pollfd wanted = {.fd = helper->fd, .events = POLLIN};
    assert_int_equal(poll(&wanted, 1, 30000), 1);
}

static void submit__many__run_and_come_back_in_order(void **state)
{
    (void)state;
    static struct task tasks[JOBS];
    struct lks_ibv_helper helper = {.fd = -1};
    unsigned counter = 0;
    assert_int_equal(lks_ibv_helper_init(&helper), 0);
    for (unsigned i = 0; i < JOBS; i++) {
        tasks[i] = (struct task){.job.run = run, .counter = &counter};
        lks_ibv_helper_submit(&helper, &tasks[i].job);
        assert_true(tasks[i].job.busy);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        struct lks_ibv_job *job;
        while ((job = lks_ibv_helper_take(&helper)) == NULL) {
            wait_for_one(&helper);
        }
        assert_ptr_equal(job, &tasks[i].job);
        assert_int_equal(tasks[i].ran_as, i + 1);
        assert_false(job->busy);
    }
    assert_null(lks_ibv_helper_take(&helper));
    lks_ibv_helper_fini(&helper);
}

static void stop__with_jobs_waiting__all_have_run(void **state)
{
    (void)state;
    static struct task tasks[JOBS];
    struct lks_ibv_helper helper = {.fd = -1};
    unsigned counter = 0;
    assert_int_equal(lks_ibv_helper_init(&helper), 0);
    for (unsigned i = 0; i < JOBS; i++) {
        tasks[i] = (struct task){.job.run = run, .counter = &counter};
        lks_ibv_helper_submit(&helper, &tasks[i].job);
    }
    lks_ibv_helper_stop(&helper);
    assert_int_equal(counter, JOBS);
    for (unsigned i = 0; i < JOBS; i++) {
        assert_ptr_equal(lks_ibv_helper_take(&helper), &tasks[i].job);
    }
    lks_ibv_helper_fini(&helper);
}

static void fini__never_begun__nothing_happens(void **state)
{
    (void)state;
    struct lks_ibv_helper helper = {.fd = -1};
    lks_ibv_helper_stop(&helper);
    lks_ibv_helper_fini(&helper);
    assert_int_equal(helper.fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(submit__many__run_and_come_back_in_order),
        cmocka_unit_test(stop__with_jobs_waiting__all_have_run),
        cmocka_unit_test(fini__never_begun__nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
