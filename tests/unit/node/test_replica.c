/*
 * A replica's life in the company of others: electing, replicating, forwarding, stopping, coming
 * back, a ring that fills up, clients that are refused.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void step__one_replica__answers_inline(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 1});
    assert_int_equal(rig_lead(rig), 1);
    rig_submit_many(rig, 1, 100, 300);
    rig_settle(rig);
    assert_true(lks_replica_stop(rig->replicas[1].replica, rig->now_ns));
    rig_crash(rig, 1, false);
    rig_start(rig, 1);
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 1), 300);
    rig_free(rig);
}

static void step__three_replicas__every_gateway_answers_its_own(void **state)
{
    (void)state;
    for (int posted = 0; posted < 2; posted++) {
        struct rig *rig =
            rig_new(&(struct rig_options){.replicas = 3, .writes_when_posted = posted != 0});
        (void)rig_lead(rig);
        for (int round = 0; round < 20; round++) {
            for (uint32_t id = 1; id <= 3; id++) {
                rig_submit_many(rig, id, 8 + (size_t)round * 50, 5);
            }
            rig_run(rig, RIG_TICK_NS * 3);
        }
        rig_settle(rig);
        for (uint32_t id = 1; id <= 3; id++) {
            assert_int_equal(rig->replicas[id].replies, 100);
        }
        uint64_t index = 0;
        const uint64_t hash = lks_replica_hash(rig->replicas[1].replica, &index);
        uint64_t other_index = 0;
        assert_int_equal(lks_replica_hash(rig->replicas[2].replica, &other_index), hash);
        assert_int_equal(index, other_index);
        rig_free(rig);
    }
}

static void step__leader_dies_with_commands_unanswered__each_takes_effect_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t old = rig_lead(rig);
    rig_submit_many(rig, 1, 50, 10);
    rig_submit_many(rig, 2, 50, 10);
    rig_submit_many(rig, 3, 50, 10);
    rig_step(rig, old % 3 + 1); /* one gateway's commands are in the leader's ingress */
    rig_step(rig, old);         /* and in its log, and written */
    rig_crash(rig, old, false);
    assert_int_not_equal(rig_lead(rig), old);
    rig_settle(rig);
    rig_start(rig, old);
    rig_settle(rig);
    assert_true(rig_executed(rig, old) >= 20);
    rig_free(rig);
}

static void step__all_lose_power__all_that_was_answered_is_there(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    (void)rig_lead(rig);
    rig_submit_many(rig, 1, 200, 200);
    rig_settle(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        rig_crash(rig, id, true);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        rig_start(rig, id);
    }
    (void)rig_lead(rig);
    rig_submit_many(rig, 2, 200, 1);
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 3), 201);
    rig_free(rig);
}

/* Each medium in its own mode: the leader treats every follower as that one's journal needs it. */
static void step__mixed_media__each_in_its_own_mode(void **state)
{
    (void)state;
    struct rig_options options = {.replicas = 3, .on_file = {[1] = true, [2] = true}};
    options.durability[1] = options.durability[2] = LKS_DURABILITY_PMEM_ACK;
    options.slow_medium[1] = options.slow_medium[2] = true;
    struct rig *rig = rig_new(&options);
    for (uint32_t id = 1; id <= 3; id++) {
        const bool by_cpu = lks_journal_medium(rig->replicas[id].journal)->flush_by_cpu;
        if (id < 3 && by_cpu) {
            print_message("the working folder is memory, not a file system\n");
        }
    }
    (void)rig_lead(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        rig_make_leader(rig, id);
        rig_submit_many(rig, id, 300, 20);
        rig_settle(rig);
        for (uint32_t p = 1; p <= 3; p++) {
            const enum lks_durability seen = rig_status(rig, id).peers[p].durability;
            assert_true(p == id || seen == (p < 3 ? LKS_DURABILITY_PMEM_ACK
                                                  : LKS_DURABILITY_WRITER_FLUSH));
        }
    }
    for (uint32_t id = 1; id <= 3; id++) {
        rig_crash(rig, id, true);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        rig_start(rig, id);
    }
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 1), 60);
    rig_free(rig);
}

static void stop__leader__hands_over_without_waiting_for_a_timeout(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t old = rig_lead(rig);
    rig_submit_many(rig, old, 100, 10);
    rig_settle(rig);
    const uint64_t begun_ns = rig->now_ns;
    while (!lks_replica_stop(rig->replicas[old].replica, rig->now_ns)) {
        rig_tick(rig);
        assert_true(rig->now_ns - begun_ns < RIG_ELECTION_NS);
    }
    rig_crash(rig, old, false);
    assert_int_not_equal(rig_lead(rig), old);
    rig_settle(rig);
    rig_free(rig);
}

static void stop__elected_after_it_was_asked__hands_over_too(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t old = rig_lead(rig);
    const uint32_t next = old % 3 + 1;
    rig_submit_many(rig, next, 100, 1); /* an answer is owed: it cannot end at once */
    rig->replicas[old].stalled = true;
    assert_false(lks_replica_stop(rig->replicas[next].replica, rig->now_ns));
    for (int i = 0; i < 10000 && rig_leader(rig) != next; i++) {
        rig_tick(rig);
        if (rig_leader(rig) != next && rig_leader(rig) != old) {
            rig->replicas[rig_leader(rig)].stalled = true; /* not this one either */
            rig->replicas[old].stalled = false;
        }
    }
    rig->replicas[1].stalled = rig->replicas[2].stalled = rig->replicas[3].stalled = false;
    const uint64_t begun_ns = rig->now_ns;
    while (!lks_replica_stop(rig->replicas[next].replica, rig->now_ns)) {
        rig_tick(rig);
        assert_true(rig->now_ns - begun_ns < 20 * RIG_ELECTION_NS);
    }
    rig_crash(rig, next, false);
    rig_settle(rig);
    rig_free(rig);
}

static void submit__too_large__etoobig(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 1, .entry_bytes_max = 1000});
    int code = 0;
    (void)rig_lead(rig);
    assert_int_equal(rig_submit(rig, 1, 1001, &code), 0);
    assert_int_equal(code, -LKS_ETOOBIG);
    assert_int_not_equal(rig_submit(rig, 1, 1000, &code), 0);
    rig_settle(rig);
    rig_free(rig);
}

static void submit__no_leader_for_long__enoleader(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    const uint32_t alone = leader % 3 + 1;
    int code = 0;
    rig_run(rig, RIG_ELECTION_NS);
    for (uint32_t id = 1; id <= 3; id++) {
        rig->replicas[id].stalled = id != alone; /* connected, and silent */
    }
    rig_run(rig, 15 * RIG_ELECTION_NS);
    assert_int_equal(rig_submit(rig, alone, 10, &code), 0);
    assert_int_equal(code, -LKS_ENOLEADER);
    for (uint32_t id = 1; id <= 3; id++) {
        rig->replicas[id].stalled = false;
    }
    (void)rig_lead(rig);
    rig_run(rig, 4 * RIG_ELECTION_NS);
    assert_int_not_equal(rig_submit(rig, alone, 10, &code), 0);
    rig_settle(rig);
    rig_free(rig);
}

static void submit__ring_is_full__refused_everywhere_and_nothing_is_lost(void **state)
{
    (void)state;
    struct rig *rig = rig_new(
        &(struct rig_options){.replicas = 3, .ring_bytes = 65536, .entry_bytes_max = 1024});
    (void)rig_lead(rig);
    int codes[4] = {0};
    for (int i = 0; i < 400; i++) {
        for (uint32_t id = 1; id <= 3 && codes[id] == 0; id++) {
            (void)rig_submit(rig, id, 500, &codes[id]);
        }
        rig_run(rig, 2 * RIG_HEARTBEAT_NS);
    }
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(codes[id], -LKS_ERINGFULL);
    }
    rig_check(rig);
    assert_true(rig_executed(rig, 1) > 90);
    /* Elections go on for a while: there is a reserve for their entries. */
    const uint32_t old = rig_lead(rig);
    rig_crash(rig, old, false);
    (void)rig_lead(rig);
    rig_start(rig, old);
    rig_run(rig, 4 * RIG_ELECTION_NS);
    rig_check(rig);
    assert_int_equal(rig_executed(rig, old), rig_executed(rig, old % 3 + 1));
    rig_free(rig);
}

/* The reserve is used up by more elections than it was made for. */
static void step__no_room_for_the_first_entry_of_a_term__says_so(void **state)
{
    (void)state;
    struct rig *rig = rig_new(
        &(struct rig_options){.replicas = 1, .ring_bytes = 65536, .entry_bytes_max = 64});
    bool full = false;
    for (int life = 0; life < 1100 && !full; life++) {
        rig_run(rig, 2 * RIG_TICK_NS);
        full = rig->replicas[1].replica->view->role == LKS_CORE_LEADER &&
               !rig->replicas[1].replica->view->accepts;
        if (!full) {
            rig_crash(rig, 1, false);
            rig_start(rig, 1);
        }
    }
    assert_true(full);
    int code = 0;
    assert_int_equal(rig_submit(rig, 1, 8, &code), 0);
    assert_int_equal(code, -LKS_ERINGFULL);
    rig_check(rig);
    rig_free(rig);
}

static void step__realtime_goes_back__logged_time_does_not(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    (void)rig_lead(rig);
    rig_submit_many(rig, 1, 20, 3);
    rig_settle(rig);
    const uint64_t before = rig->replicas[1].replica->applied_time_ns;
    rig->realtime_ns -= UINT64_C(3600000000000);
    rig_submit_many(rig, 1, 20, 3);
    rig_settle(rig);
    assert_true(rig->replicas[1].replica->applied_time_ns >= before);
    const uint32_t old = rig_lead(rig);
    rig_crash(rig, old, false);
    (void)rig_lead(rig);
    rig_start(rig, old);
    rig_submit_many(rig, old, 20, 3);
    rig_settle(rig);
    assert_true(rig->replicas[old].replica->applied_time_ns >= before);
    rig_free(rig);
}

static void step__monotonic_time_stands_still__nothing_breaks(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    rig_submit_many(rig, 1, 20, 3);
    const uint64_t still_ns = rig->now_ns;
    for (int i = 0; i < 200; i++) {
        rig_tick(rig);
        rig->now_ns = still_ns;
    }
    rig->now_ns = still_ns - RIG_ELECTION_NS; /* and back, which a step must not believe */
    rig_run(rig, 3 * RIG_ELECTION_NS);
    rig_settle(rig);
    assert_int_equal(rig_lead(rig), leader);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(step__one_replica__answers_inline),
        cmocka_unit_test(step__three_replicas__every_gateway_answers_its_own),
        cmocka_unit_test(step__leader_dies_with_commands_unanswered__each_takes_effect_once),
        cmocka_unit_test(step__all_lose_power__all_that_was_answered_is_there),
        cmocka_unit_test(step__mixed_media__each_in_its_own_mode),
        cmocka_unit_test(stop__leader__hands_over_without_waiting_for_a_timeout),
        cmocka_unit_test(stop__elected_after_it_was_asked__hands_over_too),
        cmocka_unit_test(submit__too_large__etoobig),
        cmocka_unit_test(submit__no_leader_for_long__enoleader),
        cmocka_unit_test(submit__ring_is_full__refused_everywhere_and_nothing_is_lost),
        cmocka_unit_test(step__no_room_for_the_first_entry_of_a_term__says_so),
        cmocka_unit_test(step__realtime_goes_back__logged_time_does_not),
        cmocka_unit_test(step__monotonic_time_stands_still__nothing_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
