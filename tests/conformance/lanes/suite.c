/* The conformance suite of clients' lanes; see suite.h. */
#include "tests/conformance/lanes/suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/remote_memory.h"

#define PATIENCE_NS UINT64_C(30000000000)
#define MANY 2000u

static const struct lanes_backend *g_backend;

struct fixture {
    void *world;
    struct lks_lanes *lanes;
    uint64_t attached; /* bits, since they were last looked at */
    uint64_t detached;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct lks_error err = {0};
    *state = fixture;
    fixture->world = g_backend->world_new();
    assert_non_null(fixture->world);
    const int rc = g_backend->lanes_new(fixture->world, &fixture->lanes, &err);
    if (rc != 0) {
        print_error("%s\n", err.text);
    }
    return rc;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    lks_lanes_free(fixture->lanes);
    g_backend->world_free(fixture->world);
    free(fixture);
    return 0;
}

static void turn(struct fixture *fixture)
{
    struct lks_lanes_changes changes;
    lks_lanes_poll(fixture->lanes, true, &changes);
    fixture->detached |= changes.detached;
    fixture->attached |= changes.attached;
}

struct attaching {
    void *world;
    struct lks_lane *lane;
    int rc;
    atomic_bool done;
};

static void *attach_lane(void *ctx)
{
    struct attaching *attaching = ctx;
    attaching->rc = g_backend->attach(attaching->world, &attaching->lane);
    atomic_store(&attaching->done, true);
    return NULL;
}

static int try_attach(struct fixture *fixture, struct lks_lane **lane)
{
    struct attaching attaching = {.world = fixture->world};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, attach_lane, &attaching), 0);
    while (!atomic_load(&attaching.done)) {
        turn(fixture);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    *lane = attaching.lane;
    return attaching.rc;
}

/* A client that is there at both ends. */
static struct lks_lane *attach(struct fixture *fixture)
{
    struct lks_lane *lane = NULL;
    assert_int_equal(try_attach(fixture, &lane), 0);
    const uint32_t number = lks_lane_number(lane);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    assert_in_range(number, 1, LKS_LANE_NUMBER_MAX);
    while ((fixture->attached >> number & 1) == 0) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(fixture);
    }
    fixture->attached &= ~(UINT64_C(1) << number);
    return lane;
}

static void await_detached(struct fixture *fixture, uint32_t number)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while ((fixture->detached >> number & 1) == 0) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(fixture);
    }
    fixture->detached &= ~(UINT64_C(1) << number);
}

static const lks_word *word_at(const struct lks_fabric *fabric, uint32_t peer, uint64_t offset)
{
    const uint8_t *area = lks_fabric_inbox(fabric, peer);
    return (const lks_word *)(const void *)(area + offset);
}

/* Posts until it is taken. */
static void post(struct fixture *fixture, struct lks_fabric *fabric, uint32_t peer,
                 uint64_t offset, const void *data, uint64_t bytes, uint32_t flags)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    int rc;
    while ((rc = lks_fabric_write_inbox(fabric, peer, offset, data, bytes,
                                        LKS_FABRIC_INLINE | flags, 0)) == -LKS_EBUSY) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(fixture);
    }
    assert_int_equal(rc, 0);
}

static void put_word(struct fixture *fixture, struct lks_fabric *fabric, uint32_t peer,
                     uint64_t offset, uint64_t value, uint32_t flags)
{
    post(fixture, fabric, peer, offset, &value, sizeof value, flags);
}

static void await_word(struct fixture *fixture, const lks_word *word, uint64_t value)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (lks_word_read(word) != value) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(fixture);
    }
}

static void expect_zero(const struct lks_fabric *fabric, uint32_t peer)
{
    const uint8_t *area = lks_fabric_inbox(fabric, peer);
    for (uint64_t i = 0; i < LANES_AREA_BYTES; i++) {
        assert_int_equal(area[i], 0);
    }
}

/* ---- cases ---------------------------------------------------------------------------------- */

static void attached__both_areas_are_zero(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    expect_zero(lks_lanes_fabric(fixture->lanes), lks_lane_number(lane));
    expect_zero(lks_lane_fabric(lane), lks_lane_number(lane));
    assert_true(lks_lane_is_alive(lane));
    lks_lane_free(lane);
}

static void bytes__then_a_word__arrive_in_order_both_ways(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    const uint32_t number = lks_lane_number(lane);
    struct lks_fabric *ends[] = {lks_lanes_fabric(fixture->lanes), lks_lane_fabric(lane)};
    for (unsigned from = 0; from < 2; from++) {
        const uint8_t *area = lks_fabric_inbox(ends[1 - from], number);
        for (uint64_t i = 1; i <= MANY; i++) {
            uint8_t bytes[LKS_FABRIC_INLINE_MAX];
            memset(bytes, (int)(i % 251), sizeof bytes);
            post(fixture, ends[from], number, 1024, bytes, sizeof bytes, 0);
            put_word(fixture, ends[from], number, 64, i, 0);
            if (i % 100 == 0) {
                await_word(fixture, word_at(ends[1 - from], number, 64), i);
                assert_memory_equal(area + 1024, bytes, sizeof bytes);
            }
        }
    }
    lks_lane_free(lane);
}

static void out_of_bounds__refused(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    const uint32_t number = lks_lane_number(lane);
    struct lks_fabric *ends[] = {lks_lanes_fabric(fixture->lanes), lks_lane_fabric(lane)};
    const uint8_t bytes[LKS_FABRIC_INLINE_MAX] = {1};
    for (unsigned from = 0; from < 2; from++) {
        const uint64_t offsets[] = {LANES_AREA_BYTES - sizeof bytes + 1, LANES_AREA_BYTES,
                                    UINT64_MAX - 8, UINT64_MAX};
        for (unsigned i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
            assert_int_equal(lks_fabric_write_inbox(ends[from], number, offsets[i], bytes,
                                                    sizeof bytes, LKS_FABRIC_INLINE, 0),
                             -EINVAL);
        }
        post(fixture, ends[from], number, LANES_AREA_BYTES - sizeof bytes, bytes, sizeof bytes,
             0);
    }
    assert_int_equal(lks_fabric_write_inbox(ends[0], LKS_LANE_NUMBER_MAX + 1, 0, bytes, 8,
                                            LKS_FABRIC_INLINE, 0),
                     -LKS_EBROKEN);
    lks_lane_free(lane);
}

static void two_clients__each_writes_its_own_area(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *one = attach(fixture);
    struct lks_lane *two = attach(fixture);
    struct lks_fabric *here = lks_lanes_fabric(fixture->lanes);
    assert_int_not_equal(lks_lane_number(one), lks_lane_number(two));
    put_word(fixture, lks_lane_fabric(one), lks_lane_number(one), 0, 11, 0);
    put_word(fixture, lks_lane_fabric(two), lks_lane_number(two), 0, 22, 0);
    await_word(fixture, word_at(here, lks_lane_number(one), 0), 11);
    await_word(fixture, word_at(here, lks_lane_number(two), 0), 22);
    put_word(fixture, here, lks_lane_number(two), 8, 33, 0);
    await_word(fixture, word_at(lks_lane_fabric(two), lks_lane_number(two), 8), 33);
    expect_zero(lks_lane_fabric(one), lks_lane_number(one));
    lks_lane_free(one);
    lks_lane_free(two);
}

/* The replica has let the first client go; that one does not know, and writes on. */
static void lane_used_again__earlier_client_writes_nothing_that_is_seen(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *old = attach(fixture);
    const uint32_t number = lks_lane_number(old);
    struct lks_lane *new = NULL;
    lks_lanes_detach(fixture->lanes, number);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (new == NULL || lks_lane_number(new) != number) { /* it is free in a moment */
        assert_true(lks_clock_monotonic_ns() < until_ns);
        lks_lane_free(new);
        new = attach(fixture);
    }
    for (uint64_t offset = 0; offset < LANES_AREA_BYTES; offset += sizeof offset) {
        const uint64_t value = UINT64_MAX;
        (void)lks_fabric_write_inbox(lks_lane_fabric(old), number, offset, &value, sizeof value,
                                     LKS_FABRIC_INLINE, 0);
    }
    put_word(fixture, lks_lane_fabric(new), number, 0, 5, 0);
    await_word(fixture, word_at(lks_lanes_fabric(fixture->lanes), number, 0), 5);
    const uint8_t *area = lks_fabric_inbox(lks_lanes_fabric(fixture->lanes), number);
    for (uint64_t i = sizeof(uint64_t); i < LANES_AREA_BYTES; i++) {
        assert_int_equal(area[i], 0);
    }
    expect_zero(lks_lane_fabric(new), number);
    lks_lane_free(old);
    lks_lane_free(new);
}

static void client_gone__lane_ends_and_takes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    const uint32_t number = lks_lane_number(lane);
    const uint64_t value = 1;
    lks_lane_free(lane);
    await_detached(fixture, number);
    assert_int_equal(lks_fabric_write_inbox(lks_lanes_fabric(fixture->lanes), number, 0, &value,
                                            sizeof value, LKS_FABRIC_INLINE, 0),
                     -LKS_EBROKEN);
}

static void detached__client_notices(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    lks_lanes_detach(fixture->lanes, lks_lane_number(lane));
    lks_lanes_detach(fixture->lanes, lks_lane_number(lane)); /* nothing more */
    while (lks_lane_is_alive(lane)) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(fixture);
    }
    assert_int_equal(fixture->detached, 0);
    lks_lane_free(lane);
}

struct sleeper {
    struct lks_lane *lane;
    uint64_t value;
    atomic_bool ready;
};

/* Sleeps until the word has the value; a wake-up that is lost costs a second, and shows. */
static void *sleep_for(void *ctx)
{
    struct sleeper *sleeper = ctx;
    const lks_word *word =
        word_at(lks_lane_fabric(sleeper->lane), lks_lane_number(sleeper->lane), 0);
    while (lks_word_read(word) != sleeper->value) {
        const bool may = lks_lane_arm(sleeper->lane);
        if (lks_word_read(word) == sleeper->value || !may) {
            lks_lane_disarm(sleeper->lane);
            continue;
        }
        atomic_store(&sleeper->ready, true);
        lks_lane_sleep(sleeper->lane, UINT64_MAX);
    }
    return NULL;
}

static void client_sleeps__write_with_wake_wakes_it(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    for (uint64_t i = 1; i <= 20; i++) {
        struct sleeper sleeper = {.lane = lane, .value = i};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, sleep_for, &sleeper), 0);
        while (!atomic_load(&sleeper.ready)) {
            turn(fixture);
        }
        put_word(fixture, lks_lanes_fabric(fixture->lanes), lks_lane_number(lane), 0, i,
                 LKS_FABRIC_WAKE);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    lks_lane_free(lane);
}

static void replica_sleeps__write_with_wake_wakes_it(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    const uint32_t number = lks_lane_number(lane);
    struct lks_fabric *here = lks_lanes_fabric(fixture->lanes);
    for (uint64_t i = 1; i <= 20; i++) {
        turn(fixture);
        while (!lks_lanes_arm(fixture->lanes)) {
            turn(fixture);
        }
        assert_int_equal(lks_word_read(word_at(here, number, 0)), i - 1);
        put_word(fixture, lks_lane_fabric(lane), number, 0, i, LKS_FABRIC_WAKE);
        struct pollfd wanted = {.fd = lks_lanes_fd(fixture->lanes), .events = POLLIN};
        assert_int_equal(poll(&wanted, 1, 30000), 1);
        lks_lanes_disarm(fixture->lanes);
        await_word(fixture, word_at(here, number, 0), i);
    }
    lks_lane_free(lane);
}

static void more_wakes_than_anybody_takes__none_is_lost(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lane = attach(fixture);
    const uint32_t number = lks_lane_number(lane);
    struct lks_fabric *here = lks_lanes_fabric(fixture->lanes);
    for (uint64_t i = 1; i <= MANY; i++) {
        put_word(fixture, lks_lane_fabric(lane), number, 0, i, LKS_FABRIC_WAKE);
        put_word(fixture, here, number, 0, i, LKS_FABRIC_WAKE);
        if (i % 128 == 0) {
            (void)lks_lane_is_alive(lane);
        }
    }
    await_word(fixture, word_at(here, number, 0), MANY);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (lks_word_read(word_at(lks_lane_fabric(lane), number, 0)) != MANY) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        assert_true(lks_lane_is_alive(lane));
        turn(fixture);
    }
    lks_lane_free(lane);
}

static void all_taken__refused_until_one_is_free(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lanes[LKS_LANE_NUMBER_MAX];
    struct lks_lane *more = NULL;
    uint64_t numbers = 0;
    for (uint32_t i = 0; i < LKS_LANE_NUMBER_MAX; i++) {
        lanes[i] = attach(fixture);
        numbers |= UINT64_C(1) << lks_lane_number(lanes[i]);
    }
    assert_int_equal(__builtin_popcountll(numbers), LKS_LANE_NUMBER_MAX);
    assert_int_equal(try_attach(fixture, &more), -LKS_EBUSY);
    assert_null(more);
    const uint32_t freed = lks_lane_number(lanes[3]);
    lks_lane_free(lanes[3]);
    await_detached(fixture, freed);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (try_attach(fixture, &lanes[3]) == -LKS_EBUSY) { /* its memory is given back first */
        assert_true(lks_clock_monotonic_ns() < until_ns);
    }
    assert_int_equal(lks_lane_number(lanes[3]), freed);
    for (uint32_t i = 0; i < LKS_LANE_NUMBER_MAX; i++) {
        lks_lane_free(lanes[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int lanes_suite(const struct lanes_backend *backend)
{
    const struct CMUnitTest tests[] = {
        TEST(attached__both_areas_are_zero),
        TEST(bytes__then_a_word__arrive_in_order_both_ways),
        TEST(out_of_bounds__refused),
        TEST(two_clients__each_writes_its_own_area),
        TEST(lane_used_again__earlier_client_writes_nothing_that_is_seen),
        TEST(client_gone__lane_ends_and_takes_nothing),
        TEST(detached__client_notices),
        TEST(client_sleeps__write_with_wake_wakes_it),
        TEST(replica_sleeps__write_with_wake_wakes_it),
        TEST(more_wakes_than_anybody_takes__none_is_lost),
        TEST(all_taken__refused_until_one_is_free),
    };
    g_backend = backend;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
