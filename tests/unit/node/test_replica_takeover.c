/*
 * What a replica tells of its way to leadership: every step, in order, of its last leadership.
 */
#include "tests/unit/node/replica_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct rig_options g_options = {.replicas = 3};

static void assert_in_order(const struct rig *rig, uint32_t id, uint64_t from_ns)
{
    const struct lks_takeover_status takeover = rig_status(rig, id).takeover;
    assert_int_equal(takeover.term, rig_status(rig, id).term);
    assert_true(takeover.suspected_ns >= from_ns);
    assert_true(takeover.fenced_ns >= takeover.suspected_ns);
    assert_true(takeover.granted_ns >= takeover.fenced_ns);
    assert_true(takeover.adopted_ns >= takeover.granted_ns);
    assert_true(takeover.committed_ns >= takeover.adopted_ns);
    assert_true(takeover.committed_ns <= rig->now_ns);
}

static void takeover__leader_dies__each_step_after_its_death(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    assert_in_order(rig, 1, 0);
    rig_run(rig, 3 * RIG_ELECTION_NS);
    const uint64_t death_ns = rig->now_ns;
    rig_crash(rig, 1, false);
    const uint32_t leader = rig_lead(rig);
    assert_int_not_equal(leader, 1);
    assert_in_order(rig, leader, death_ns);
    rig_free(rig);
}

static void takeover__never_led__nothing_to_tell(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    rig_run(rig, 3 * RIG_ELECTION_NS);
    for (uint32_t id = 1; id <= 3; id++) {
        const struct lks_replica_status status = rig_status(rig, id);
        assert_int_equal(status.takeover.term != 0, status.elections != 0);
    }
    rig_free(rig);
}

/* A follower's log is the latest: the candidate has to read it first. */
static void takeover__log_of_another_is_adopted__that_takes_its_time(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    rig_crash(rig, 3, false);
    rig_submit_many(rig, 1, 100, 20);
    rig_settle(rig);
    rig_crash(rig, 1, false);
    rig_start(rig, 3);
    rig->replicas[2].stalled = true; /* so that 3 is first to suspect */
    rig_run(rig, RIG_ELECTION_NS);
    rig->replicas[2].stalled = false;
    const uint32_t leader = rig_lead(rig);
    assert_in_order(rig, leader, 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takeover__leader_dies__each_step_after_its_death),
        cmocka_unit_test(takeover__never_led__nothing_to_tell),
        cmocka_unit_test(takeover__log_of_another_is_adopted__that_takes_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
