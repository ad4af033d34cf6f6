/* The ring from which all take: order, bounds, and each item taken once whoever takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/assert.h"
#include "sched/ring.h"

#include <pthread.h>
#include <sched.h>

#define ITEMS 64u
#define COUNT 20000u
#define TAKERS 3u

static _Atomic uint32_t items[ITEMS];

static struct lks_ring ring_of(void)
{
    return (struct lks_ring){.items = items, .mask = ITEMS - 1};
}

static void take__nothing_published__takes_nothing(void **state)
{
    (void)state;
    struct lks_ring ring = ring_of();
    uint32_t taken[4];
    lks_ring_add(&ring, 7);
    assert_int_equal(lks_ring_take(&ring, taken, 4, 1), 0);
    assert_int_equal(lks_ring_depth(&ring), 0);
}

static void take__several__oldest_first(void **state)
{
    (void)state;
    struct lks_ring ring = ring_of();
    uint32_t taken[4];
    for (uint32_t i = 0; i < 6; i++) {
        lks_ring_add(&ring, i);
    }
    lks_ring_publish(&ring);
    assert_int_equal(lks_ring_take(&ring, taken, 4, 1), 4);
    assert_int_equal(taken[0], 0);
    assert_int_equal(taken[3], 3);
    assert_int_equal(lks_ring_depth(&ring), 2);
}

static void take__share__leaves_some(void **state)
{
    (void)state;
    struct lks_ring ring = ring_of();
    uint32_t taken[8];
    for (uint32_t i = 0; i < 9; i++) {
        lks_ring_add(&ring, i);
    }
    lks_ring_publish(&ring);
    assert_int_equal(lks_ring_take(&ring, taken, 8, 4), 3); /* a fourth of nine, rounded up */
    assert_int_equal(lks_ring_take(&ring, taken, 8, 100), 1);
}

struct sharing {
    struct lks_ring ring;
    _Atomic uint64_t sum;
    _Atomic uint32_t count;
};

static void *taker(void *argument)
{
    struct sharing *sharing = argument;
    uint32_t taken[5];
    while (atomic_load_explicit(&sharing->count, memory_order_acquire) < COUNT) {
        const uint32_t count = lks_ring_take(&sharing->ring, taken, 5, 2);
        for (uint32_t i = 0; i < count; i++) {
            atomic_fetch_add_explicit(&sharing->sum, taken[i], memory_order_relaxed);
        }
        if (count == 0) {
            (void)sched_yield();
        }
        atomic_fetch_add_explicit(&sharing->count, count, memory_order_acq_rel);
    }
    return NULL;
}

static void threads__many_take__each_item_once(void **state)
{
    (void)state;
    static struct sharing sharing;
    pthread_t threads[TAKERS];
    sharing.ring = ring_of();
    for (uint32_t i = 0; i < TAKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, taker, &sharing), 0);
    }
    for (uint32_t i = 1; i <= COUNT;) {
        /* Never more in it than it holds: what was taken is counted. */
        if (i - atomic_load_explicit(&sharing.count, memory_order_acquire) < ITEMS) {
            lks_ring_add(&sharing.ring, i++);
            lks_ring_publish(&sharing.ring);
        } else {
            (void)sched_yield();
        }
    }
    for (uint32_t i = 0; i < TAKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(sharing.count, COUNT);
    assert_int_equal(sharing.sum, (uint64_t)COUNT * (COUNT + 1) / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(take__nothing_published__takes_nothing),
        cmocka_unit_test(take__several__oldest_first),
        cmocka_unit_test(take__share__leaves_some),
        cmocka_unit_test(threads__many_take__each_item_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
