/*
 * Reads without entries, on whole replicas stepped by hand: what they may see and must see, how
 * many share a request and a round, and that nothing that happens to leaders, connections, words
 * under way or partitions makes one wrong, lost or answered twice.
 */
#include "tests/unit/node/replica_rig.h"

#include "verbs/fabric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ALL 1000u /* no partition's number: all of them */

static uint32_t third(uint32_t a, uint32_t b)
{
    return 6 - a - b;
}

static struct rig *new_rig(uint32_t replicas)
{
    return rig_new(&(struct rig_options){.replicas = replicas});
}

/* Ticks until the read is answered; fails the test after 2 s. Returns what it saw. */
static uint64_t answer_of(struct rig *rig, uint32_t read)
{
    for (int i = 0; i < 40000 && rig->reads[read].answered == 0; i++) {
        rig_tick(rig);
    }
    assert_int_equal(rig->reads[read].answered, 1);
    return rig->reads[read].value;
}

static uint64_t tail_of(const struct rig *rig, uint32_t id)
{
    return rig_status(rig, id).tail_offset;
}

/* ---- what is seen ---------------------------------------------------------------------------- */

static void read__any_replica__sees_all_that_was_answered_and_logs_nothing(void **state)
{
    (void)state;
    for (uint32_t replicas = 1; replicas <= 5; replicas += 2) {
        struct rig *rig = new_rig(replicas);
        const uint32_t leader = rig_lead(rig);
        rig_submit_many(rig, leader, 64, 9);
        rig_settle(rig);
        const uint64_t tail = tail_of(rig, leader);
        for (uint32_t id = 1; id <= replicas; id++) {
            assert_int_equal(answer_of(rig, rig_read(rig, id, 0, false)), 9);
            assert_int_equal(answer_of(rig, rig_read(rig, id, ALL, true)), 9);
        }
        assert_int_equal(tail_of(rig, leader), tail);
        rig_free(rig);
    }
}

static void read__leader__is_answered_in_the_step_that_takes_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3, .writes_when_posted = true});
    const uint32_t leader = rig_lead(rig);
    rig_settle(rig);
    const uint32_t read = rig_read(rig, leader, 0, false);
    assert_int_equal(rig->reads[read].answered, 0);
    rig_step(rig, leader);
    assert_int_equal(rig->reads[read].answered, 1);
    rig_free(rig);
}

/* A follower that lags answers only when it has what the leader had committed. */
static void read__follower_has_not_applied__waits_for_the_point(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    const uint32_t lagging = leader % 3 + 1;
    rig_settle(rig);
    hand_hold(rig->net, leader, lagging, HAND_PATH, true);
    rig_submit_many(rig, leader, 64, 5);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    assert_int_equal(rig->replicas[leader].replies, 5);
    const uint32_t read = rig_read(rig, lagging, 0, false);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    assert_int_equal(rig->reads[read].answered, 0);
    hand_hold(rig->net, leader, lagging, HAND_PATH, false);
    assert_int_equal(answer_of(rig, read), 5);
    rig_free(rig);
}

static void read__ordered_behind_a_command__sees_it(void **state)
{
    (void)state;
    for (int at_leader = 0; at_leader < 2; at_leader++) {
        struct rig *rig = new_rig(3);
        const uint32_t leader = rig_lead(rig);
        const uint32_t id = at_leader != 0 ? leader : leader % 3 + 1;
        rig_settle(rig);
        for (uint32_t i = 1; i <= 20; i++) {
            rig_submit_many(rig, id, 64, 1);
            const uint32_t read = rig_read(rig, id, 0, true);
            assert_int_equal(answer_of(rig, read), i);
            assert_int_equal(rig->reads[read].answers, i);
        }
        rig_free(rig);
    }
}

/* Commands that commit slowly do not hold up who does not wait for them. */
static void read__not_ordered__does_not_wait_for_commands_under_way(void **state)
{
    (void)state;
    struct rig_options options = {.replicas = 3};
    for (uint32_t id = 1; id <= 3; id++) {
        options.slow_medium[id] = true;
        options.durability[id] = LKS_DURABILITY_PMEM_ACK;
    }
    struct rig *rig = rig_new(&options);
    const uint32_t leader = rig_lead(rig);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        rig->replicas[id].holds_persists = true;
    }
    rig_submit_many(rig, leader, 64, 1);
    const uint32_t ordered = rig_read(rig, leader, 0, true);
    const uint32_t free_read = rig_read(rig, leader, 0, false);
    assert_int_equal(answer_of(rig, free_read), 0);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    assert_int_equal(rig->reads[ordered].answered, 0);
    for (uint32_t id = 1; id <= 3; id++) {
        rig->replicas[id].holds_persists = false;
    }
    assert_int_equal(answer_of(rig, ordered), 1);
    rig_free(rig);
}

/* Its probe takes long; the command behind it does not, and stands for the probe. */
static void read__own_later_command_is_executed_first__read_stands_before_it(void **state)
{
    (void)state;
    for (int at_leader = 0; at_leader < 2; at_leader++) {
        struct rig *rig = new_rig(3);
        const uint32_t leader = rig_lead(rig);
        const uint32_t id = at_leader != 0 ? leader : leader % 3 + 1;
        rig_settle(rig);
        for (uint32_t i = 0; i < 20; i++) {
            const uint32_t plain = rig_read(rig, id, 0, false);
            const uint32_t ordered = rig_read(rig, id, 0, true);
            rig_submit_many(rig, id, 64, 1);
            assert_int_equal(answer_of(rig, ordered), i);
            assert_int_equal(answer_of(rig, plain), i);
            assert_int_equal(rig->reads[ordered].answers, i);
            rig_settle(rig);
        }
        rig_free(rig);
    }
}

/* ---- sharing --------------------------------------------------------------------------------- */

static void reads__many_at_once__share_a_request_and_a_round(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    rig_settle(rig);
    const struct lks_reads_status before = rig_status(rig, follower).reads;
    const uint64_t rounds = rig_status(rig, leader).reads.rounds;
    uint32_t last = 0;
    for (uint32_t i = 0; i < 50; i++) {
        last = rig_read(rig, follower, 0, false);
    }
    (void)answer_of(rig, last);
    for (uint32_t i = 0; i < 50; i++) {
        assert_int_equal(rig->reads[last - i].answered, 1);
    }
    const struct lks_reads_status after = rig_status(rig, follower).reads;
    assert_int_equal(after.taken - before.taken, 50);
    assert_int_equal(after.requests - before.requests, 1);
    assert_int_equal(after.waiting, 0);
    assert_int_equal(rig_status(rig, leader).reads.rounds - rounds, 1);
    rig_free(rig);
}

/* While probes are under way everything that comes waits for at most one more round. */
static void reads__probes_under_way__two_rounds_and_the_rest_share_the_third(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != leader) {
            hand_hold(rig->net, leader, id, HAND_PATH, true);
        }
    }
    const uint64_t rounds = rig_status(rig, leader).reads.rounds;
    uint32_t last = 0;
    for (uint32_t i = 0; i < 10; i++) {
        last = rig_read(rig, leader, 0, false);
        (void)rig_read(rig, leader % 3 + 1, 0, false);
        rig_tick(rig);
    }
    assert_int_equal(rig_status(rig, leader).reads.rounds - rounds, 2);
    assert_int_equal(rig->reads[1].answered, 0);
    for (uint32_t id = 1; id <= 3; id++) {
        if (id != leader) {
            hand_hold(rig->net, leader, id, HAND_PATH, false);
        }
    }
    (void)answer_of(rig, last);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    for (uint32_t read = 1; read <= rig->reads_count; read++) {
        assert_int_equal(rig->reads[read].answered, 1);
    }
    assert_true(rig_status(rig, leader).reads.rounds - rounds <= 4);
    rig_free(rig);
}

/* A read that comes while a probe is under way must not be answered by it. */
static void read__comes_after_the_probe__not_answered_by_it(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    const uint32_t near = leader % 3 + 1;
    const uint32_t far = third(leader, near);
    rig_settle(rig);
    hand_hold(rig->net, leader, near, HAND_PATH, true);
    hand_hold(rig->net, leader, far, HAND_PATH, true);
    const uint32_t early = rig_read(rig, leader, 0, false);
    rig_step(rig, leader);
    const uint32_t late = rig_read(rig, leader, 0, false);
    rig_step(rig, leader);
    assert_int_equal(hand_release(rig->net, leader, near, HAND_PATH, 1), 1);
    rig_step(rig, leader);
    assert_int_equal(rig->reads[early].answered, 1);
    assert_int_equal(rig->reads[late].answered, 0);
    assert_int_equal(hand_release(rig->net, leader, near, HAND_PATH, 1), 1);
    rig_step(rig, leader);
    assert_int_equal(rig->reads[late].answered, 1);
    rig_free(rig);
}

/* ---- leaders --------------------------------------------------------------------------------- */

/* A leader that was deposed without knowing it answers nobody. */
static void read__leader_was_deposed__its_probes_fail_and_the_new_one_answers(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t old = rig_lead(rig);
    rig_submit_many(rig, old, 64, 3);
    rig_settle(rig);
    rig->replicas[old].stalled = true;
    for (int i = 0; i < 40000 && rig_leader(rig) == old; i++) {
        rig_tick(rig);
    }
    const uint32_t leader = rig_leader(rig);
    assert_int_not_equal(leader, old);
    rig_submit_many(rig, leader, 64, 4);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    assert_int_equal(rig_executed(rig, leader), 7);
    const uint32_t read = rig_read(rig, old, 0, false); /* it still takes itself for the leader */
    rig->replicas[old].stalled = false;
    assert_int_equal(answer_of(rig, read), 7);
    rig_free(rig);
}

static void read__leader_dies_meanwhile__asked_of_the_next_one(void **state)
{
    (void)state;
    for (int phase = 0; phase < 4; phase++) {
        struct rig *rig = new_rig(3);
        const uint32_t old = rig_lead(rig);
        const uint32_t follower = old % 3 + 1;
        rig_submit_many(rig, old, 64, 3);
        rig_settle(rig);
        hand_hold(rig->net, old, follower, HAND_PATH, phase == 1);
        hand_hold(rig->net, old, third(old, follower), HAND_PATH, phase == 1);
        hand_hold(rig->net, old, follower, HAND_CONNECTION, phase == 2);
        hand_hold(rig->net, follower, old, HAND_CONNECTION, phase == 3);
        const uint32_t read = rig_read(rig, follower, 0, false);
        if (phase != 0) { /* before it is asked; probes, answer, request under way */
            rig_run(rig, 3 * RIG_TICK_NS);
        }
        assert_int_equal(rig->reads[read].answered, 0);
        rig_crash(rig, old, false);
        hand_hold(rig->net, follower, old, HAND_CONNECTION, false);
        assert_int_equal(answer_of(rig, read), 3);
        rig_start(rig, old);
        rig_settle(rig);
        assert_int_equal(rig->reads[read].answered, 1);
        rig_free(rig);
    }
}

static void read__connection_breaks__asked_again(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    rig_settle(rig);
    hand_hold(rig->net, leader, follower, HAND_CONNECTION, true);
    const uint32_t read = rig_read(rig, follower, 0, false);
    rig_run(rig, 3 * RIG_TICK_NS);
    hand_break(rig->net, leader, follower);
    hand_hold(rig->net, leader, follower, HAND_CONNECTION, false);
    rig_run(rig, 3 * RIG_TICK_NS);
    assert_int_equal(rig->reads[read].answered, 0);
    hand_join(rig->net, leader, follower);
    assert_int_equal(answer_of(rig, read), 0);
    rig_free(rig);
}

/* What an older connection wrote may land over a word of this one. */
static void read__request_or_answer_is_overwritten__asked_again(void **state)
{
    (void)state;
    for (int answer = 0; answer < 2; answer++) {
        struct rig *rig = new_rig(3);
        const uint32_t leader = rig_lead(rig);
        const uint32_t follower = leader % 3 + 1;
        rig_settle(rig);
        const uint32_t at = answer != 0 ? follower : leader;
        const uint32_t from = answer != 0 ? leader : follower;
        uint8_t *inbox = lks_fabric_inbox(rig->replicas[at].fabric, from);
        const uint32_t read = rig_read(rig, follower, 0, false);
        rig_step(rig, follower);
        rig->replicas[at].stalled = true;
        rig_run(rig, 2 * RIG_TICK_NS);
        memset(inbox + LKS_READ_WORDS_OFFSET, 0xA5, sizeof(struct lks_read_words));
        rig->replicas[at].stalled = false;
        rig_run(rig, 2 * RIG_TICK_NS);
        assert_int_equal(rig->reads[read].answered, 0);
        assert_int_equal(answer_of(rig, read), 0);
        rig_free(rig);
    }
}

/* Words of one write are seen in any order: what does not belong together is no answer. */
static void answer__only_a_part_of_it_is_visible__waits_for_the_rest(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    const uint32_t lagging = leader % 3 + 1;
    rig_settle(rig);
    hand_hold(rig->net, leader, lagging, HAND_PATH, true);
    rig_submit_many(rig, leader, 64, 5);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    hand_hold(rig->net, leader, lagging, HAND_CONNECTION, true);
    const uint32_t read = rig_read(rig, lagging, 0, false);
    rig_run(rig, 4 * RIG_HEARTBEAT_NS);
    uint8_t *inbox = lks_fabric_inbox(rig->replicas[lagging].fabric, leader);
    struct lks_read_answer *answer =
        &((struct lks_read_words *)(void *)(inbox + LKS_READ_WORDS_OFFSET))->answer;
    lks_word_publish(&answer->term, rig_status(rig, leader).term);
    lks_word_publish(&answer->number, rig_status(rig, lagging).reads.requests);
    rig_run(rig, RIG_HEARTBEAT_NS);
    assert_int_equal(rig->reads[read].answered, 0); /* its point is not there yet: 0 stands there */
    hand_hold(rig->net, leader, lagging, HAND_CONNECTION, false);
    hand_hold(rig->net, leader, lagging, HAND_PATH, false);
    assert_int_equal(answer_of(rig, read), 5);
    rig_free(rig);
}

static void read__no_majority__waits_and_is_answered_later(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    rig_submit_many(rig, leader, 64, 2);
    rig_settle(rig);
    const uint32_t a = leader % 3 + 1;
    const uint32_t b = third(leader, a);
    rig_crash(rig, a, false);
    rig_crash(rig, b, false);
    const uint32_t read = rig_read(rig, leader, 0, false);
    rig_run(rig, 5 * RIG_ELECTION_NS);
    assert_int_equal(rig->reads[read].answered, 0);
    const uint64_t command = RIG_SERVICE_READ;
    rig_run(rig, 12 * RIG_ELECTION_NS);
    assert_int_equal(lks_replica_submit_ordered(rig->replicas[leader].replica, &command,
                                                sizeof command, RIG_SERVICE_READ, false),
                     -LKS_ENOLEADER);
    rig_start(rig, a);
    assert_int_equal(answer_of(rig, read), 2);
    rig_free(rig);
}

static void stop__reads_wait__answered_before_the_end(void **state)
{
    (void)state;
    struct rig *rig = new_rig(3);
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    rig_settle(rig);
    const uint32_t read = rig_read(rig, follower, 0, false);
    assert_int_equal(rig_status(rig, follower).pending, 1);
    assert_false(lks_replica_stop(rig->replicas[follower].replica, rig->now_ns));
    assert_false(lks_replica_stop(rig->replicas[follower].replica, rig->now_ns));
    assert_int_equal(answer_of(rig, read), 0);
    assert_true(lks_replica_stop(rig->replicas[follower].replica, rig->now_ns));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__any_replica__sees_all_that_was_answered_and_logs_nothing),
        cmocka_unit_test(read__leader__is_answered_in_the_step_that_takes_it),
        cmocka_unit_test(read__follower_has_not_applied__waits_for_the_point),
        cmocka_unit_test(read__ordered_behind_a_command__sees_it),
        cmocka_unit_test(read__not_ordered__does_not_wait_for_commands_under_way),
        cmocka_unit_test(read__own_later_command_is_executed_first__read_stands_before_it),
        cmocka_unit_test(reads__many_at_once__share_a_request_and_a_round),
        cmocka_unit_test(reads__probes_under_way__two_rounds_and_the_rest_share_the_third),
        cmocka_unit_test(read__comes_after_the_probe__not_answered_by_it),
        cmocka_unit_test(read__leader_was_deposed__its_probes_fail_and_the_new_one_answers),
        cmocka_unit_test(read__leader_dies_meanwhile__asked_of_the_next_one),
        cmocka_unit_test(read__connection_breaks__asked_again),
        cmocka_unit_test(read__request_or_answer_is_overwritten__asked_again),
        cmocka_unit_test(answer__only_a_part_of_it_is_visible__waits_for_the_rest),
        cmocka_unit_test(read__no_majority__waits_and_is_answered_later),
        cmocka_unit_test(stop__reads_wait__answered_before_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
