/* The replica's loop over a scripted replica, server and fabric, which stand in for the real
 * ones: waking, sleeping, errors, and the end in order. */
#include "node/loop.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

struct lks_replica {
    unsigned steps;
    unsigned fail_at;       /* step that fails; 0: none */
    unsigned stop_at;       /* step in which the process is asked to end; 0: none */
    unsigned busy_steps;    /* as many first steps do work */
    uint64_t pending;       /* commands without an answer */
    unsigned answer_at;     /* step after which pending is 0 */
    unsigned stop_calls;
    unsigned stop_after;    /* lks_replica_stop is done at this call */
    uint64_t persisted_id;
    int persisted_status;
    struct lks_flusher *flusher;
    int wake_fd;            /* workers of a scheduler */
    bool armed;
    unsigned arms;
    unsigned refuse;        /* as many first arms are refused */
    bool wake_when_armed;
};

struct lks_server {
    int fd;
    bool drained;
    unsigned polls;
    unsigned flushes;
};

struct scripted_fabric {
    struct lks_fabric base;
    int wake_fd;
    bool armed;
    unsigned arms;
    unsigned refuse;        /* as many first arms are refused */
    bool wake_when_armed;   /* something arrives right after each arm */
};

static struct lks_replica replica;
static struct lks_server server;
static struct scripted_fabric fabric;
static int stop_fd;

static void signal_fd(int fd)
{
    const uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof one), (int)sizeof one);
}

/* ---- the replica, scripted ---------------------------------------------------------------- */

int lks_replica_step(struct lks_replica *self, uint64_t now_ns, uint64_t realtime_ns,
                     struct lks_error *err)
{
    assert_true(now_ns != 0 && realtime_ns != 0);
    assert_false(fabric.armed);
    assert_false(self->armed);
    self->steps++;
    if (self->steps == self->fail_at) {
        return lks_error_set(err, -LKS_EDAMAGED, "damage");
    }
    if (self->steps == self->stop_at) {
        signal_fd(stop_fd);
    }
    return self->steps <= self->busy_steps ? 1 : 0;
}

uint64_t lks_replica_deadline_ns(const struct lks_replica *self)
{
    (void)self;
    return UINT64_MAX;
}

void lks_replica_persisted(struct lks_replica *self, uint64_t id, int status)
{
    self->persisted_id = id;
    self->persisted_status = status;
    signal_fd(stop_fd);
}

void lks_replica_snapshot_persisted(struct lks_replica *self, uint64_t id, int status)
{
    (void)self;
    (void)id;
    (void)status;
    fail_msg("no snapshots are taken here");
}

void lks_replica_status(const struct lks_replica *self, struct lks_replica_status *status)
{
    memset(status, 0, sizeof *status);
    status->pending = self->steps > self->answer_at ? 0 : self->pending;
}

bool lks_replica_stop(struct lks_replica *self, uint64_t now_ns)
{
    assert_true(now_ns != 0);
    assert_true(server.drained);
    return ++self->stop_calls >= self->stop_after;
}

int lks_replica_wake_fd(const struct lks_replica *self)
{
    return self->wake_fd;
}

bool lks_replica_arm(struct lks_replica *self)
{
    self->arms++;
    if (self->arms <= self->refuse) {
        return false;
    }
    self->armed = true;
    if (self->wake_when_armed) {
        signal_fd(self->wake_fd);
    }
    return true;
}

void lks_replica_disarm(struct lks_replica *self)
{
    uint64_t count = 0;
    assert_true(self->armed);
    self->armed = false;
    assert_true(read(self->wake_fd, &count, sizeof count) > 0 || errno == EAGAIN);
}

/* ---- the server, scripted ----------------------------------------------------------------- */

int lks_server_poll(struct lks_server *self)
{
    self->polls++;
    return 0;
}

int lks_server_fd(const struct lks_server *self)
{
    return self->fd;
}

void lks_server_flush(struct lks_server *self)
{
    self->flushes++;
}

void lks_server_drain(struct lks_server *self)
{
    assert_false(self->drained);
    self->drained = true;
}

/* ---- the fabric, scripted ----------------------------------------------------------------- */

static int wake_fd(const struct lks_fabric *self)
{
    return ((const struct scripted_fabric *)(const void *)self)->wake_fd;
}

static int arm(struct lks_fabric *self)
{
    (void)self;
    fabric.arms++;
    if (fabric.arms <= fabric.refuse) {
        return -EAGAIN;
    }
    fabric.armed = true;
    if (fabric.wake_when_armed) {
        signal_fd(fabric.wake_fd);
    }
    return 0;
}

static void disarm(struct lks_fabric *self)
{
    (void)self;
    uint64_t count = 0;
    assert_true(fabric.armed);
    fabric.armed = false;
    assert_true(read(fabric.wake_fd, &count, sizeof count) > 0 || errno == EAGAIN);
}

static const struct lks_fabric_ops fabric_ops = {
    .name = "scripted", .wake_fd = wake_fd, .arm = arm, .disarm = disarm};

/* ---- tests -------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    stop_fd = eventfd(0, EFD_NONBLOCK);
    replica = (struct lks_replica){.stop_after = 1, .wake_fd = eventfd(0, EFD_NONBLOCK)};
    server = (struct lks_server){.fd = eventfd(0, EFD_NONBLOCK)};
    fabric = (struct scripted_fabric){.base = {&fabric_ops}, .wake_fd = eventfd(0, EFD_NONBLOCK)};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)close(stop_fd);
    (void)close(replica.wake_fd);
    (void)close(server.fd);
    (void)close(fabric.wake_fd);
    return 0;
}

static int run(struct lks_flusher *flusher, uint64_t spin_ns, bool busy_poll,
               struct lks_error *err)
{
    const struct lks_loop_options options = {
        .replica = &replica,
        .fabric = &fabric.base,
        .server = &server,
        .flusher = flusher,
        .stop_fd = stop_fd,
        .spin_ns = spin_ns,
        .busy_poll = busy_poll,
    };
    return lks_loop_run(&options, err);
}

static void run__stop_is_asked__drains_then_hands_over_then_returns(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.stop_at = 3;
    replica.stop_after = 4;
    replica.pending = 2;
    replica.answer_at = 9;
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_true(server.drained);
    assert_true(replica.steps > 9);
    assert_int_equal(replica.stop_calls, 4);
    assert_true(server.flushes > 0);
    assert_false(fabric.armed);
}

static void run__answers_never_come__hands_over_after_a_bound(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.stop_at = 1;
    replica.pending = 1;
    replica.answer_at = UINT32_MAX;
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_int_equal(replica.stop_calls, 1);
}

static void run__replica_cannot_go_on__returns_its_error(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.busy_steps = 20;
    replica.fail_at = 12;
    assert_int_equal(run(NULL, 0, false, &err), -LKS_EDAMAGED);
    assert_string_equal(err.text, "damage");
    assert_false(server.drained);
}

static void run__work_arrives_right_after_arming__is_not_slept_over(void **state)
{
    (void)state;
    struct lks_error err = {0};
    fabric.wake_when_armed = true;
    replica.stop_at = 300;
    const uint64_t began_ns = lks_clock_monotonic_ns();
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_true(fabric.arms >= 299);
    /* Sleeping over each would take 300 times the longest sleep of 100 ms. */
    assert_true(lks_clock_monotonic_ns() - began_ns < 15 * LKS_NS_PER_S);
}

static void run__arm_is_refused__looks_again_without_sleeping(void **state)
{
    (void)state;
    struct lks_error err = {0};
    fabric.refuse = 500;
    replica.stop_at = 400;
    const uint64_t began_ns = lks_clock_monotonic_ns();
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_true(fabric.arms >= 399);
    assert_true(lks_clock_monotonic_ns() - began_ns < 15 * LKS_NS_PER_S);
}

static void run__arm_is_always_refused__sleeps_in_the_end(void **state)
{
    (void)state;
    struct lks_error err = {0};
    fabric.refuse = UINT32_MAX;
    replica.stop_at = 1500; /* 1,000 refusals, a sleep, 500 refusals */
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_false(fabric.armed);
}

static void run__workers_finish_right_after_arming__is_not_slept_over(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.wake_when_armed = true;
    replica.stop_at = 300;
    const uint64_t began_ns = lks_clock_monotonic_ns();
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_true(replica.arms >= 299);
    assert_true(lks_clock_monotonic_ns() - began_ns < 15 * LKS_NS_PER_S);
}

static void run__workers_have_finished__looks_again_without_sleeping(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.refuse = 500;
    replica.stop_at = 400;
    const uint64_t began_ns = lks_clock_monotonic_ns();
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_true(replica.arms >= 399);
    assert_false(fabric.armed);
    assert_true(lks_clock_monotonic_ns() - began_ns < 15 * LKS_NS_PER_S);
}

static void run__idle__sleeps_and_spins_only_at_first(void **state)
{
    (void)state;
    struct lks_error err = {0};
    struct rusage before;
    struct rusage after;
    replica.stop_at = 5; /* sleeps of 100 ms lie between the steps */
    assert_int_equal(getrusage(RUSAGE_THREAD, &before), 0);
    assert_int_equal(run(NULL, 20 * LKS_NS_PER_US, false, &err), 0);
    assert_int_equal(getrusage(RUSAGE_THREAD, &after), 0);
    const long used_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
                         after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(used_us < 200000);
    assert_true(server.polls < 20);
}

static void run__busy_poll__never_arms(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.stop_at = 1000;
    assert_int_equal(run(NULL, 0, true, &err), 0);
    assert_int_equal(fabric.arms, 0);
}

static void run__busy_all_the_time__still_sees_the_stop(void **state)
{
    (void)state;
    struct lks_error err = {0};
    replica.busy_steps = UINT32_MAX;
    replica.stop_at = 1000;
    assert_int_equal(run(NULL, 0, false, &err), 0);
    assert_int_equal(fabric.arms, 0);
}

static int persist(void *ctx, uint64_t from, uint64_t to)
{
    (void)ctx;
    return from == 64 && to == 128 ? -EIO : 0;
}

static void run__range_has_ended__is_handed_to_the_replica(void **state)
{
    (void)state;
    struct lks_error err = {0};
    struct lks_flusher *flusher = NULL;
    assert_int_equal(lks_flusher_new(&flusher, persist, NULL, &err), 0);
    lks_flusher_post(flusher, 64, 128, 42);
    assert_int_equal(run(flusher, 0, false, &err), 0);
    assert_int_equal(replica.persisted_id, 42);
    assert_int_equal(replica.persisted_status, -EIO);
    lks_flusher_free(flusher);
}

#define LOOP_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(run__stop_is_asked__drains_then_hands_over_then_returns),
        LOOP_TEST(run__answers_never_come__hands_over_after_a_bound),
        LOOP_TEST(run__replica_cannot_go_on__returns_its_error),
        LOOP_TEST(run__work_arrives_right_after_arming__is_not_slept_over),
        LOOP_TEST(run__arm_is_refused__looks_again_without_sleeping),
        LOOP_TEST(run__arm_is_always_refused__sleeps_in_the_end),
        LOOP_TEST(run__workers_finish_right_after_arming__is_not_slept_over),
        LOOP_TEST(run__workers_have_finished__looks_again_without_sleeping),
        LOOP_TEST(run__idle__sleeps_and_spins_only_at_first),
        LOOP_TEST(run__busy_poll__never_arms),
        LOOP_TEST(run__busy_all_the_time__still_sees_the_stop),
        LOOP_TEST(run__range_has_ended__is_handed_to_the_replica),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
