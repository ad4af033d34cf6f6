/*
 * Logged time: what has expired by the clock has expired for a read only when the log says so, and
 * the leader makes the log say so, before it answers and though nobody writes; where nothing
 * expires nothing is logged.
 */
#include "tests/unit/node/replica_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define TICK_BYTES 64u

static struct rig *quiet(uint32_t *leader)
{
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    *leader = rig_lead(rig);
    rig_submit_many(rig, *leader, 64, 3);
    rig_settle(rig);
    return rig;
}

static void expires_in(struct rig *rig, uint64_t ns)
{
    for (uint32_t id = 1; id <= 3; id++) {
        rig->replicas[id].service.expires_ns = rig->realtime_ns + ns;
    }
}

static uint64_t tail_of(const struct rig *rig, uint32_t id)
{
    return rig_status(rig, id).tail_offset;
}

/* Returns the time that the read saw. */
static uint64_t read_at(struct rig *rig, uint32_t id)
{
    const uint32_t read = rig_read(rig, id, 0, false);
    for (int i = 0; i < 40000 && rig->reads[read].answered == 0; i++) {
        rig_tick(rig);
    }
    assert_int_equal(rig->reads[read].answered, 1);
    assert_true(rig->replicas[id].service.read_ns <= rig->replicas[id].replica->applied_time_ns);
    return rig->replicas[id].service.read_ns;
}

static void time__nothing_expires__is_not_logged(void **state)
{
    (void)state;
    uint32_t leader = 0;
    struct rig *rig = quiet(&leader);
    const uint64_t tail = tail_of(rig, leader);
    for (uint32_t i = 0; i < 20; i++) {
        rig_run(rig, 50 * MS);
        (void)read_at(rig, 1 + i % 3);
    }
    assert_int_equal(tail_of(rig, leader), tail);
    rig_free(rig);
}

static void time__something_has_expired__is_logged_once_without_reads(void **state)
{
    (void)state;
    uint32_t leader = 0;
    struct rig *rig = quiet(&leader);
    const uint64_t tail = tail_of(rig, leader);
    expires_in(rig, 30 * MS);
    rig_run(rig, 25 * MS);
    assert_int_equal(tail_of(rig, leader), tail);
    rig_run(rig, 100 * MS);
    assert_int_equal(tail_of(rig, leader), tail + TICK_BYTES);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(rig->replicas[id].service.expires_ns, 0);
    }
    rig_free(rig);
}

static void read__after_the_expiry__sees_a_logged_time_behind_it(void **state)
{
    (void)state;
    for (uint32_t hops = 0; hops < 3; hops++) {
        uint32_t leader = 0;
        struct rig *rig = quiet(&leader);
        const uint32_t id = (leader - 1 + hops) % 3 + 1;
        expires_in(rig, 5 * MS);
        const uint64_t expiry_ns = rig->realtime_ns + 5 * MS;
        const uint32_t early = rig_read(rig, id, 0, false);
        rig_run(rig, 1 * MS);
        assert_int_equal(rig->reads[early].answered, 1);
        assert_true(rig->replicas[id].service.read_ns < expiry_ns);
        rig->realtime_ns = expiry_ns; /* before the leader's next step */
        const uint64_t tail = tail_of(rig, leader);
        assert_true(read_at(rig, id) >= expiry_ns);
        assert_int_equal(tail_of(rig, leader), tail + TICK_BYTES);
        rig_free(rig);
    }
}

/* The entry that brings the time is not committed: the read waits for it. */
static void read__tick_is_not_committed__waits_for_it(void **state)
{
    (void)state;
    uint32_t leader = 0;
    struct rig *rig = quiet(&leader);
    expires_in(rig, 20 * MS);
    const uint64_t expiry_ns = rig->realtime_ns + 20 * MS;
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != leader) {
            hand_hold(rig->net, leader, id, HAND_PATH, true);
        }
    }
    rig->realtime_ns = expiry_ns;
    const uint32_t read = rig_read(rig, leader, 0, false);
    rig_run(rig, 1 * MS);
    assert_int_equal(rig->reads[read].answered, 0);
    assert_int_equal(rig_status(rig, leader).reads.rounds, 0);
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != leader) {
            hand_hold(rig->net, leader, id, HAND_PATH, false);
        }
    }
    rig_run(rig, 1 * MS);
    assert_int_equal(rig->reads[read].answered, 1);
    assert_true(rig->replicas[leader].service.read_ns >= expiry_ns);
    rig_free(rig);
}

/* What is left of a key's life is read from the logged time: it must not stand still. */
static void reads__something_will_expire__logged_time_follows_the_clock(void **state)
{
    (void)state;
    uint32_t leader = 0;
    struct rig *rig = quiet(&leader);
    const uint32_t follower = leader % 3 + 1;
    const uint64_t tail = tail_of(rig, leader);
    expires_in(rig, 100000 * MS);
    rig_run(rig, 1000 * MS);
    assert_int_equal(tail_of(rig, leader), tail); /* nobody asks */
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(read_at(rig, follower) + 100 * MS >= rig->realtime_ns);
        rig_run(rig, 20 * MS);
    }
    const uint64_t ticks = (tail_of(rig, leader) - tail) / TICK_BYTES;
    assert_in_range(ticks, 10, 60);
    const uint64_t before = tail_of(rig, leader);
    for (uint32_t i = 0; i < 50; i++) { /* many at a time share what is logged */
        (void)rig_read(rig, follower, 0, false);
        rig_tick(rig);
    }
    assert_true(tail_of(rig, leader) - before <= 2 * TICK_BYTES);
    rig_free(rig);
}

static uint64_t late_ns;

static uint64_t late_clock_ns(void)
{
    return late_ns;
}

/* A leader is held up within a step; then it finds a command that came meanwhile. */
static void command__found_late_in_a_step__is_logged_with_a_time_not_before_it(void **state)
{
    (void)state;
    late_ns = 0;
    struct rig *rig = rig_new(
        &(struct rig_options){.replicas = 3, .realtime_clock_ns = late_clock_ns});
    const uint32_t leader = rig_lead(rig);
    rig_submit_many(rig, leader % 3 + 1, 64, 4);
    rig_settle(rig);
    late_ns = rig->realtime_ns + 3600000 * MS;
    rig_submit_many(rig, leader, 64, 4); /* these were there before the step */
    rig_settle(rig);
    assert_true(rig->replicas[leader].replica->applied_time_ns < late_ns);
    rig_submit_many(rig, leader % 3 + 1, 64, 4);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(rig->replicas[id].replica->applied_time_ns, late_ns);
    }
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time__nothing_expires__is_not_logged),
        cmocka_unit_test(time__something_has_expired__is_logged_once_without_reads),
        cmocka_unit_test(read__after_the_expiry__sees_a_logged_time_behind_it),
        cmocka_unit_test(read__tick_is_not_committed__waits_for_it),
        cmocka_unit_test(reads__something_will_expire__logged_time_follows_the_clock),
        cmocka_unit_test(command__found_late_in_a_step__is_logged_with_a_time_not_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
