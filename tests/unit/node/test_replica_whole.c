/*
 * What is said of a log is said of whole entries: commit words, written words, durability and the
 * floor, wherever a write, a flush or a piece of it may end; and no word is ahead of its bytes.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* True if offset is the end of an entry in this replica's ring, or 0. */
static bool ends_an_entry(const struct rig *rig, uint32_t id, uint64_t offset)
{
    struct lks_log_point cursor;
    struct lks_entry entry;
    lks_journal_base(rig->replicas[id].journal, &cursor);
    while (cursor.offset < offset &&
           lks_journal_next(rig->replicas[id].journal, &cursor, UINT64_MAX, &entry) == 0) {
    }
    return cursor.offset == offset;
}

/* A cluster whose follower lacks 20 entries of several writes each. */
static struct rig *rig_with_laggard(const struct rig_options *options, uint32_t *leader,
                                    uint32_t *laggard)
{
    struct rig *rig = rig_new(options);
    *leader = rig_lead(rig);
    rig_submit_many(rig, *leader, 700, 3);
    rig_settle(rig);
    *laggard = *leader % 3 + 1;
    hand_break(rig->net, *leader, *laggard);
    rig->replicas[*laggard].stalled = true;
    rig_submit_many(rig, *leader, 700, 20);
    rig_run(rig, 2 * RIG_HEARTBEAT_NS);
    rig->replicas[*laggard].stalled = false;
    assert_int_equal(rig_leader(rig), *leader);
    return rig;
}

/* The laggard is granted into again, and the first `operations` of its catching up land. */
static void catch_up_a_little(struct rig *rig, uint32_t leader, uint32_t laggard,
                              uint32_t operations)
{
    hand_join(rig->net, leader, laggard);
    hand_hold(rig->net, leader, laggard, HAND_PATH, true);
    for (uint32_t left = operations; left > 0;) {
        left -= hand_release(rig->net, leader, laggard, HAND_PATH, 1);
        rig_tick(rig);
        assert_true(rig->now_ns < UINT64_C(1500000000));
    }
    const uint64_t commit = lks_word_read(&rig_control(rig, laggard)->commit);
    const uint64_t written = lks_word_read(&rig_control(rig, laggard)->written);
    assert_true(ends_an_entry(rig, laggard, commit));
    assert_true(ends_an_entry(rig, laggard, written));
}

static const struct rig_options g_small_writes = {
    .replicas = 3, .write_bytes_max = 192, .writes_when_posted = true};

static void write__path_breaks_inside_an_entry__handed_over_again(void **state)
{
    (void)state;
    for (uint32_t operations = 1; operations < 60; operations++) {
        uint32_t leader = 0;
        uint32_t laggard = 0;
        struct rig *rig = rig_with_laggard(&g_small_writes, &leader, &laggard);
        catch_up_a_little(rig, leader, laggard, operations);
        hand_break(rig->net, leader, laggard);
        hand_hold(rig->net, leader, laggard, HAND_PATH, false);
        rig_tick(rig);
        hand_join(rig->net, leader, laggard);
        rig_settle(rig);
        rig_free(rig);
    }
}

static void write__leader_dies_inside_an_entry__another_leads(void **state)
{
    (void)state;
    for (uint32_t operations = 1; operations < 60; operations += 3) {
        uint32_t leader = 0;
        uint32_t laggard = 0;
        struct rig *rig = rig_with_laggard(&g_small_writes, &leader, &laggard);
        catch_up_a_little(rig, leader, laggard, operations);
        rig_crash(rig, leader, false);
        rig_settle(rig);
        assert_int_equal(rig_executed(rig, laggard), 23);
        rig_free(rig);
    }
}

static void write__follower_killed_inside_an_entry__its_journal_opens(void **state)
{
    (void)state;
    for (uint32_t operations = 1; operations < 60; operations += 3) {
        uint32_t leader = 0;
        uint32_t laggard = 0;
        struct rig *rig = rig_with_laggard(&g_small_writes, &leader, &laggard);
        catch_up_a_little(rig, leader, laggard, operations);
        rig_crash(rig, laggard, false);
        hand_hold(rig->net, leader, laggard, HAND_PATH, false);
        rig_start(rig, laggard);
        rig_settle(rig);
        rig_free(rig);
    }
}

static void write__pmem_ack_follower__acknowledges_whole_entries(void **state)
{
    (void)state;
    for (uint32_t operations = 1; operations < 60; operations += 3) {
        struct rig_options options = g_small_writes;
        for (uint32_t id = 1; id <= 3; id++) {
            options.durability[id] = LKS_DURABILITY_PMEM_ACK;
        }
        uint32_t leader = 0;
        uint32_t laggard = 0;
        struct rig *rig = rig_with_laggard(&options, &leader, &laggard);
        catch_up_a_little(rig, leader, laggard, operations);
        const struct lks_replica_status status = rig_status(rig, leader);
        assert_true(ends_an_entry(rig, leader, status.peers[laggard].durable_offset));
        hand_hold(rig->net, leader, laggard, HAND_PATH, false);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* ---- words are never ahead of their bytes --------------------------------------------------- */

/* A write to a follower that lags cannot be posted. What it lacks has committed without it: the
 * commit word of the same step would cover what was not written. */
static void write__too_much_outstanding__no_commit_word_follows(void **state)
{
    (void)state;
    for (uint32_t trial = 0; trial < 4 * 12; trial++) {
        struct rig_options options = {.replicas = 3, .writes_when_posted = trial % 2 != 0};
        options.write_bytes_max = trial % 4 >= 2 ? 1024 : 0;
        uint32_t leader = 0;
        uint32_t laggard = 0;
        struct rig *rig = rig_with_laggard(&options, &leader, &laggard);
        hand_join(rig->net, leader, laggard);
        hand_fail(rig->net, leader, trial % 2 == 0 ? HAND_WRITE_LOG : HAND_FLUSH, trial / 4,
                  -LKS_EBUSY);
        for (int i = 0; i < 40; i++) {
            const uint64_t commit = lks_word_read(&rig_control(rig, laggard)->commit);
            assert_true(ends_an_entry(rig, laggard, commit));
            rig_tick(rig);
        }
        rig_settle(rig);
        rig_free(rig);
    }
}

/* Nobody else would ever say that these entries are committed. */
static void commit_word__too_much_outstanding__sent_later(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    const uint32_t gateway = leader % 3 + 1;
    rig_settle(rig);
    for (uint32_t skip = 0; skip < 8; skip++) {
        hand_fail(rig->net, leader, HAND_WRITE_LOG, skip, -LKS_EBUSY);
        rig_submit_many(rig, gateway, 100, 1);
        rig_settle(rig);
    }
    assert_int_equal(rig->replicas[gateway].replies, 8);
    rig_free(rig);
}

/* ---- the floor ------------------------------------------------------------------------------ */

/* Entries so large that pieces of the write-back end inside them. Whatever of the entries above
 * the floor a power cut takes, the replica comes back. */
static void floor__large_entries__is_the_end_of_an_entry(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3, .ring_bytes = 16u << 20});
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    uint64_t floors = 0;
    uint64_t floor_before = 0;
    for (int i = 0; i < 24; i++) {
        rig_submit_many(rig, leader, 400000 + (size_t)i * 1000, 1);
        rig_settle(rig);
        struct lks_identity identity;
        lks_journal_identity(rig->replicas[follower].journal, &identity);
        floors += identity.floor != floor_before;
        floor_before = identity.floor;
        assert_true(ends_an_entry(rig, follower, identity.floor));
    }
    assert_true(floors > 3);
    rig_crash(rig, follower, true);
    rig_spoil(rig, follower, floor_before, UINT64_C(16) << 20);
    rig_start(rig, follower);
    rig_settle(rig);
    rig_free(rig);
}

/* What a majority of others has made durable is applied here before it is durable here. */
static void floor__applied_and_not_durable__stays(void **state)
{
    (void)state;
    struct rig_options options = {.replicas = 3, .ring_bytes = 4u << 20};
    options.durability[3] = LKS_DURABILITY_PMEM_ACK;
    options.on_file[3] = true;
    options.slow_medium[3] = true;
    struct rig *rig = rig_new(&options);
    rig_make_leader(rig, 1);
    rig_settle(rig);
    struct lks_identity before;
    struct lks_identity after;
    lks_journal_identity(rig->replicas[3].journal, &before);
    rig->replicas[3].holds_persists = true;
    for (int i = 0; i < 150; i++) {
        rig_submit_many(rig, 1, 1000, 10);
        rig_tick(rig);
    }
    rig_run(rig, RIG_ELECTION_NS);
    assert_true(rig_status(rig, 3).applied_offset > UINT64_C(1500000));
    lks_journal_identity(rig->replicas[3].journal, &after);
    assert_int_equal(after.floor, before.floor);
    rig->replicas[3].holds_persists = false;
    rig_run(rig, RIG_ELECTION_NS);
    rig_submit_many(rig, 1, 1000, 1);
    rig_settle(rig);
    lks_journal_identity(rig->replicas[3].journal, &after);
    assert_true(after.floor > before.floor);
    rig_free(rig);
}

static void floor__below_it_something_is_missing__replica_refuses(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3, .ring_bytes = 4u << 20});
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    for (int i = 0; i < 150; i++) {
        rig_submit_many(rig, leader, 1000, 10);
        rig_tick(rig);
    }
    rig_settle(rig);
    struct lks_identity identity;
    lks_journal_identity(rig->replicas[follower].journal, &identity);
    assert_true(identity.floor > 0);
    rig_crash(rig, follower, true);
    rig_spoil(rig, follower, identity.floor - LKS_ENTRY_ALIGN, identity.floor);
    rig_start(rig, follower);
    rig_run(rig, RIG_ELECTION_NS);
    assert_int_equal(rig->replicas[follower].status, -LKS_EDAMAGED);
    rig_crash(rig, follower, false);
    rig_settle(rig);
    rig_free(rig);
}

/* A committed entry that rots in a follower's ring before it was executed there. */
static void apply__committed_entry_is_damaged__replica_stops_at_once(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    rig_settle(rig);
    rig->replicas[follower].stalled = true;
    rig_submit_many(rig, leader, 100, 1);
    rig_run(rig, 2 * RIG_TICK_NS);
    const uint64_t applied = rig_status(rig, follower).applied_offset;
    assert_true(lks_word_read(&rig_control(rig, follower)->commit) > applied);
    uint8_t *entry = lks_journal_address(rig->replicas[follower].journal, applied);
    entry[70] ^= 1;
    rig->replicas[follower].stalled = false;
    rig_run(rig, 2 * RIG_TICK_NS);
    assert_int_equal(rig->replicas[follower].status, -LKS_EDAMAGED);
    assert_non_null(strstr(rig->replicas[follower].err.text, "entry "));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write__path_breaks_inside_an_entry__handed_over_again),
        cmocka_unit_test(write__leader_dies_inside_an_entry__another_leads),
        cmocka_unit_test(write__follower_killed_inside_an_entry__its_journal_opens),
        cmocka_unit_test(write__pmem_ack_follower__acknowledges_whole_entries),
        cmocka_unit_test(write__too_much_outstanding__no_commit_word_follows),
        cmocka_unit_test(commit_word__too_much_outstanding__sent_later),
        cmocka_unit_test(floor__large_entries__is_the_end_of_an_entry),
        cmocka_unit_test(floor__applied_and_not_durable__stays),
        cmocka_unit_test(floor__below_it_something_is_missing__replica_refuses),
        cmocka_unit_test(apply__committed_entry_is_damaged__replica_stops_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
