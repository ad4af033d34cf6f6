/* The flusher's thread: order, group commit, failure, and its end. */
#include "node/flusher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdbool.h>
#include <string.h>

/* A medium on which each call waits until the test lets it go. */
struct medium {
    sem_t begun;
    sem_t go;
    uint64_t from[32]; /* written by the flusher's thread before `begun` */
    uint64_t to[32];
    unsigned calls;
    int status;
};

static int persist(void *ctx, uint64_t from, uint64_t to)
{
    struct medium *medium = ctx;
    medium->from[medium->calls % 32] = from;
    medium->to[medium->calls % 32] = to;
    medium->calls++;
    (void)sem_post(&medium->begun);
    (void)sem_wait(&medium->go);
    return medium->status;
}

static void wait_begun(struct medium *medium)
{
    while (sem_wait(&medium->begun) != 0) {
    }
}

static void let_go(struct medium *medium, unsigned calls)
{
    for (unsigned i = 0; i < calls; i++) {
        assert_int_equal(sem_post(&medium->go), 0);
    }
}

static uint32_t take_all(struct lks_flusher *flusher, struct lks_flusher_ended *ended,
                         uint32_t count)
{
    uint32_t taken = 0;
    while (taken < count) {
        struct pollfd watched = {.fd = lks_flusher_fd(flusher), .events = POLLIN};
        if (poll(&watched, 1, 10000) != 1) {
            break;
        }
        taken += lks_flusher_take(flusher, ended + taken, count - taken);
    }
    return taken;
}

static struct lks_flusher *start(struct medium *medium)
{
    struct lks_flusher *flusher = NULL;
    struct lks_error err = {0};
    memset(medium, 0, sizeof *medium);
    assert_int_equal(sem_init(&medium->begun, 0, 0), 0);
    assert_int_equal(sem_init(&medium->go, 0, 0), 0);
    assert_int_equal(lks_flusher_new(&flusher, persist, medium, &err), 0);
    return flusher;
}

static void post__ranges_that_wait_together__end_by_one_call(void **state)
{
    (void)state;
    struct medium medium;
    struct lks_flusher *flusher = start(&medium);
    struct lks_flusher_ended ended[4];
    lks_flusher_post(flusher, 0, 64, 11);
    wait_begun(&medium);
    lks_flusher_post(flusher, 64, 128, 12);
    lks_flusher_post(flusher, 128, 256, 13);
    lks_flusher_post(flusher, 512, 576, 14);
    let_go(&medium, 3);
    assert_int_equal(take_all(flusher, ended, 4), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(ended[i].id, 11 + i);
        assert_int_equal(ended[i].status, 0);
    }
    assert_int_equal(medium.calls, 3);
    assert_int_equal(medium.from[1], 64);
    assert_int_equal(medium.to[1], 256);
    assert_int_equal(medium.from[2], 512);
    assert_int_equal(lks_flusher_take(flusher, ended, 4), 0);
    lks_flusher_free(flusher);
}

static void post__medium_fails__every_range_of_the_call_fails(void **state)
{
    (void)state;
    struct medium medium;
    struct lks_flusher *flusher = start(&medium);
    struct lks_flusher_ended ended[3];
    lks_flusher_post(flusher, 0, 64, 1);
    wait_begun(&medium);
    lks_flusher_post(flusher, 64, 128, 2);
    lks_flusher_post(flusher, 64, 192, 3);
    medium.status = -EIO;
    let_go(&medium, 2);
    assert_int_equal(take_all(flusher, ended, 3), 3);
    assert_int_equal(ended[0].status, -EIO);
    assert_int_equal(ended[1].status, -EIO);
    assert_int_equal(ended[2].status, -EIO);
    lks_flusher_free(flusher);
}

static void take__fewer_than_ended__stays_readable(void **state)
{
    (void)state;
    struct medium medium;
    struct lks_flusher *flusher = start(&medium);
    struct lks_flusher_ended ended[2];
    let_go(&medium, 2);
    lks_flusher_post(flusher, 0, 64, 1);
    lks_flusher_post(flusher, 64, 128, 2);
    assert_int_equal(take_all(flusher, ended, 1), 1);
    assert_int_equal(ended[0].id, 1);
    assert_int_equal(take_all(flusher, ended, 1), 1);
    assert_int_equal(ended[0].id, 2);
    lks_flusher_free(flusher);
}

static void post__many_rounds__all_end_once_and_in_order(void **state)
{
    (void)state;
    struct medium medium;
    struct lks_flusher *flusher = start(&medium);
    let_go(&medium, 2000);
    uint64_t posted = 0;
    uint64_t taken = 0;
    while (taken < 2000) {
        while (posted < 2000 && posted - taken < LKS_FLUSHER_POSTED_MAX) {
            /* Apart from one another: no two are merged. */
            lks_flusher_post(flusher, posted * 128, posted * 128 + 64, posted);
            posted++;
        }
        struct lks_flusher_ended ended[LKS_FLUSHER_POSTED_MAX];
        const uint32_t count = take_all(flusher, ended, 1);
        assert_int_equal(count, 1);
        assert_int_equal(ended[0].id, taken);
        taken++;
    }
    lks_flusher_free(flusher);
}

static void free__ranges_wait__are_dropped(void **state)
{
    (void)state;
    struct medium medium;
    struct lks_flusher *flusher = start(&medium);
    lks_flusher_post(flusher, 0, 64, 1);
    wait_begun(&medium);
    lks_flusher_post(flusher, 4096, 8192, 2);
    let_go(&medium, 2);
    lks_flusher_free(flusher);
    assert_in_range(medium.calls, 1, 2);
    lks_flusher_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(post__ranges_that_wait_together__end_by_one_call),
        cmocka_unit_test(post__medium_fails__every_range_of_the_call_fails),
        cmocka_unit_test(take__fewer_than_ended__stays_readable),
        cmocka_unit_test(post__many_rounds__all_end_once_and_in_order),
        cmocka_unit_test(free__ranges_wait__are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
