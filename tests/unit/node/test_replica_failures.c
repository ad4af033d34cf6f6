/*
 * Each call that can fail does so once, at once or as a completion, at every replica: nothing is
 * lost, answered twice or left hanging. What cannot be made durable or be revoked ends the replica
 * with a reason.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- the journal's functions, put in between by the linker ---------------------------------- */

static int g_promise_code;
static int g_floor_code;
static int g_amnesia_code;

int __real_lks_journal_write_promise(struct lks_journal *journal,
                                     const struct lks_promise *promise);
int __wrap_lks_journal_write_promise(struct lks_journal *journal,
                                     const struct lks_promise *promise);
int __real_lks_journal_raise_floor(struct lks_journal *journal, uint64_t offset);
int __wrap_lks_journal_raise_floor(struct lks_journal *journal, uint64_t offset);
int __real_lks_journal_clear_amnesia(struct lks_journal *journal, uint32_t voters);
int __wrap_lks_journal_clear_amnesia(struct lks_journal *journal, uint32_t voters);

int __wrap_lks_journal_write_promise(struct lks_journal *journal,
                                     const struct lks_promise *promise)
{
    const int code = g_promise_code;
    g_promise_code = 0;
    return code != 0 ? code : __real_lks_journal_write_promise(journal, promise);
}

int __wrap_lks_journal_raise_floor(struct lks_journal *journal, uint64_t offset)
{
    const int code = g_floor_code;
    g_floor_code = 0;
    return code != 0 ? code : __real_lks_journal_raise_floor(journal, offset);
}

int __wrap_lks_journal_clear_amnesia(struct lks_journal *journal, uint32_t voters)
{
    const int code = g_amnesia_code;
    g_amnesia_code = 0;
    return code != 0 ? code : __real_lks_journal_clear_amnesia(journal, voters);
}

/* ---- the fabric ------------------------------------------------------------------------------ */

/* Commands everywhere, a broken path, a leader that dies and comes back: every kind of call. */
static void live_through_much(struct rig *rig)
{
    for (uint32_t id = 1; id <= 3; id++) {
        rig_submit_many(rig, id, 200, 4);
    }
    rig_run(rig, 4 * RIG_TICK_NS);
    const uint32_t leader = rig_leader(rig) != 0 ? rig_leader(rig) : 1;
    const uint32_t follower = leader % 3 + 1;
    if (hand_joined(rig->net, leader, follower)) {
        hand_break(rig->net, leader, follower);
        rig_run(rig, 2 * RIG_TICK_NS);
        rig_submit_many(rig, follower, 200, 4);
        hand_join(rig->net, leader, follower);
    }
    rig_run(rig, 20 * RIG_TICK_NS);
    rig_submit_many(rig, leader, 200, 4);
    rig_crash(rig, leader, false);
    rig_run(rig, 2 * RIG_ELECTION_NS);
    rig_start(rig, leader);
    rig_submit_many(rig, follower, 200, 4);
    rig_settle(rig);
}

static void fail_once(enum hand_call call, bool at_completion, int code)
{
    uint32_t failed = 0;
    for (uint32_t trial = 0; trial < 3 * 8; trial++) {
        const uint32_t id = trial % 3 + 1;
        const uint32_t skip = trial / 3 * trial / 3;
        struct rig_options options = {.replicas = 3, .writes_when_posted = trial % 2 != 0};
        options.durability[2] = LKS_DURABILITY_PMEM_ACK;
        struct rig *rig = rig_new(&options);
        (void)rig_lead(rig);
        rig_settle(rig);
        if (at_completion) {
            hand_fail_completion(rig->net, id, call, skip, code);
        } else {
            hand_fail(rig->net, id, call, skip, code);
        }
        rig_submit_many(rig, id, 100, 1);
        hand_break(rig->net, id, id % 3 + 1);
        rig_run(rig, 2 * RIG_TICK_NS);
        hand_join(rig->net, id, id % 3 + 1);
        rig_run(rig, 40 * RIG_TICK_NS);
        failed += hand_failed(rig->net, id);
        live_through_much(rig);
        rig_free(rig);
    }
    assert_true(failed > 0);
}

static void grant__fails_once__granted_later(void **state)
{
    (void)state;
    fail_once(HAND_GRANT, false, -LKS_EBUSY);
    fail_once(HAND_GRANT, true, -LKS_EBROKEN);
}

static void open__fails_once__opened_later(void **state)
{
    (void)state;
    fail_once(HAND_OPEN, false, -LKS_EBUSY);
    fail_once(HAND_OPEN, true, -LKS_EREVOKED);
}

static void write_log__fails_once__path_is_made_anew(void **state)
{
    (void)state;
    fail_once(HAND_WRITE_LOG, false, -LKS_EBUSY);
    fail_once(HAND_WRITE_LOG, false, -LKS_EBROKEN);
    fail_once(HAND_WRITE_LOG, true, -LKS_EREVOKED);
}

static void flush__fails_once__path_is_made_anew(void **state)
{
    (void)state;
    fail_once(HAND_FLUSH, false, -LKS_EBUSY);
    fail_once(HAND_FLUSH, true, -LKS_EBROKEN);
}

static void write_inbox__too_much_outstanding__written_later(void **state)
{
    (void)state;
    fail_once(HAND_WRITE_INBOX, false, -LKS_EBUSY);
}

static void read__fails_once__read_again(void **state)
{
    (void)state;
    fail_once(HAND_READ, false, -LKS_EBUSY);
    fail_once(HAND_READ, true, -LKS_EBROKEN);
}

/* Without a fence there is no next promise: the replica ends, the others go on. */
static void revoke__fails__replica_ends_with_a_reason(void **state)
{
    (void)state;
    for (int completion = 0; completion < 2; completion++) {
        struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
        const uint32_t leader = rig_lead(rig);
        const uint32_t follower = leader % 3 + 1;
        rig_settle(rig);
        if (completion != 0) {
            hand_fail_completion(rig->net, follower, HAND_REVOKE, 0, -EIO);
        } else {
            hand_fail(rig->net, follower, HAND_REVOKE, 0, -LKS_EBUSY);
        }
        hand_break(rig->net, leader, follower);
        rig_run(rig, 2 * RIG_TICK_NS);
        hand_join(rig->net, leader, follower);
        rig_run(rig, RIG_ELECTION_NS);
        assert_int_equal(rig->replicas[follower].status, completion != 0 ? -EIO : -LKS_EBUSY);
        assert_non_null(strstr(rig->replicas[follower].err.text, "permission of replica"));
        rig_crash(rig, follower, false);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* A leader whose device has gone ends with the reason; the others go on, and it comes back. */
static void fabric__fails_for_good__replica_ends_with_a_reason(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    rig_submit_many(rig, leader % 3 + 1, 200, 4);
    rig_settle(rig);
    hand_lose(rig->net, leader);
    rig_step(rig, leader);
    assert_int_equal(rig->replicas[leader].status, -LKS_EBROKEN);
    assert_string_equal(rig->replicas[leader].err.text,
                        "the fabric has failed: the connection is broken");
    rig_crash(rig, leader, false);
    rig_run(rig, 4 * RIG_ELECTION_NS);
    assert_int_not_equal(rig_leader(rig), 0);
    assert_int_not_equal(rig_leader(rig), leader);
    rig_settle(rig);
    rig_free(rig);
}

/* ---- the journal ----------------------------------------------------------------------------- */

static void promise__not_durable__replica_ends_and_never_grants(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    rig_settle(rig);
    g_promise_code = -EIO;
    rig_crash(rig, leader, false);
    uint32_t failed = 0;
    for (int i = 0; i < 1000 && failed == 0; i++) {
        rig_tick(rig);
        for (uint32_t id = 1; id <= 3; id++) {
            if (rig->replicas[id].replica != NULL && rig->replicas[id].status < 0) {
                failed = id;
            }
        }
    }
    assert_int_not_equal(failed, 0);
    assert_int_equal(rig->replicas[failed].status, -EIO);
    assert_non_null(strstr(rig->replicas[failed].err.text, "promise"));
    for (uint32_t id = 1; id <= 3; id++) {
        assert_true(id == failed || id == leader || !hand_gate_open(rig->net, failed, id));
    }
    rig_crash(rig, failed, false);
    rig_start(rig, leader);
    rig_start(rig, failed);
    rig_settle(rig);
    rig_free(rig);
}

static void floor__not_recorded__replica_ends(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 1, .ring_bytes = 4u << 20});
    (void)rig_lead(rig);
    g_floor_code = -ENOSPC;
    for (int i = 0; i < 200 && rig->replicas[1].status >= 0; i++) {
        rig_submit_many(rig, 1, 10000, 1);
        rig_tick(rig);
    }
    assert_int_equal(rig->replicas[1].status, -ENOSPC);
    assert_non_null(strstr(rig->replicas[1].err.text, "floor"));
    rig_free(rig);
}

static void amnesia__its_end_is_not_recorded__replica_ends_and_counts_for_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    const uint32_t lost = leader % 3 + 1;
    rig_settle(rig);
    rig_crash(rig, lost, false);
    rig_replace(rig, lost);
    g_amnesia_code = -EIO;
    rig_start(rig, lost);
    rig_run(rig, 4 * RIG_ELECTION_NS);
    assert_int_equal(rig->replicas[lost].status, -EIO);
    rig_crash(rig, lost, false);
    rig_start(rig, lost);
    rig_run(rig, 8 * RIG_ELECTION_NS);
    rig_settle(rig);
    assert_false(rig_status(rig, lost).amnesiac);
    rig_free(rig);
}

/* A range that may be lost is never spoken of: not by the leader, nor to it. */
static void persist__fails__replica_ends_unheard(void **state)
{
    (void)state;
    for (uint32_t role = 0; role < 2; role++) {
        struct rig_options options = {.replicas = 3};
        for (uint32_t id = 1; id <= 3; id++) {
            options.durability[id] = LKS_DURABILITY_PMEM_ACK;
            options.slow_medium[id] = true;
        }
        struct rig *rig = rig_new(&options);
        const uint32_t leader = rig_lead(rig);
        const uint32_t victim = role == 0 ? leader : leader % 3 + 1;
        rig_settle(rig);
        const uint64_t durable = rig_status(rig, leader).peers[victim].durable_offset;
        rig->replicas[victim].holds_persists = true;
        rig_submit_many(rig, leader, 100, 3);
        rig_run(rig, 4 * RIG_TICK_NS);
        assert_true(rig->replicas[victim].persists_count > 0);
        rig_persist(rig, victim, 0, -EIO);
        rig_run(rig, 4 * RIG_TICK_NS);
        assert_int_equal(rig->replicas[victim].status, -EIO);
        if (role != 0) {
            assert_int_equal(rig_status(rig, leader).peers[victim].durable_offset, durable);
        }
        rig_crash(rig, victim, true);
        rig_settle(rig);
        rig->replicas[victim].holds_persists = false;
        rig_start(rig, victim);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* ---- what peers say -------------------------------------------------------------------------- */

static void say(struct rig *rig, uint32_t from, uint32_t to, const struct lks_message *message)
{
    (void)lks_replica_send_core_message(rig->replicas[from].replica, to, message);
    rig_tick(rig);
}

static void messages__of_unknown_form__dropped(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    (void)rig_lead(rig);
    rig_settle(rig);
    uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX];
    for (uint32_t i = 1; i <= 300; i++) {
        memset(bytes, (int)i, sizeof bytes);
        bytes[0] = (uint8_t)(i % 4);
        memset(bytes + 1, 0, 3);
        const uint32_t size = i % 5 == 0 ? 8 + (uint32_t)sizeof(struct lks_message)
                              : i % 5 == 1 ? 24
                              : i % 5 == 2 ? 8
                                           : i * 3;
        struct lks_replica *sender = rig->replicas[i % 3 + 1].replica;
        (void)lks_mailbox_send(&sender->peers[(i + 1) % 3 + 1].mailbox, bytes, size, true);
        rig_tick(rig);
    }
    rig_submit_many(rig, 1, 50, 3);
    rig_settle(rig);
    rig_free(rig);
}

/* Well-formed, and of another grant, request, term or leader than it pretends. */
static void messages__out_of_place__change_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    const uint32_t follower = leader % 3 + 1;
    rig_settle(rig);
    const struct lks_replica_status before = rig_status(rig, leader);
    const uint32_t other = 6 - leader - follower;
    hand_hold(rig->net, leader, follower, HAND_PATH, true);
    hand_hold(rig->net, leader, other, HAND_PATH, true); /* only a lie could make it commit */
    rig_submit_many(rig, leader, 50, 1);
    rig_tick(rig);
    const uint64_t grant = rig->replicas[follower].replica->view->grant.number;
    const struct lks_message messages[] = {
        {.kind = LKS_MESSAGE_DURABLE, .term = before.term, .incarnation = before.incarnation,
         .durable_offset = UINT64_MAX, .key = {grant}},
        {.kind = LKS_MESSAGE_DURABLE, .term = before.term, .incarnation = before.incarnation,
         .durable_offset = before.tail_offset + 64, .key = {grant + 1}},
        {.kind = LKS_MESSAGE_DURABLE, .term = before.term + 1, .incarnation = before.incarnation,
         .durable_offset = before.tail_offset + 64, .key = {grant}},
        {.kind = LKS_MESSAGE_DURABLE, .term = before.term, .incarnation = before.incarnation + 1,
         .durable_offset = before.tail_offset + 64, .key = {grant}},
        {.kind = LKS_MESSAGE_VOTE_REPLY, .term = before.term, .request = 1, .key = {grant}},
        {.kind = LKS_MESSAGE_VOTE_REFUSAL, .term = before.term, .request = 1},
        {.kind = LKS_MESSAGE_PREVOTE_REPLY, .term = before.term, .flags = LKS_MESSAGE_ACCEPTED},
        {.kind = LKS_MESSAGE_TRANSFER, .term = before.term},
        {.kind = LKS_MESSAGE_AMNESIA_OVER, .term = before.term, .key = {grant}},
        {.kind = LKS_MESSAGE_AMNESIA_CLEARED, .term = before.term, .key = {grant + 1}},
    };
    for (size_t i = 0; i < LKS_COUNT_OF(messages); i++) {
        say(rig, follower, leader, &messages[i]);
    }
    assert_int_equal(rig_status(rig, leader).commit_offset, before.commit_offset);
    assert_int_equal(rig_leader(rig), leader);
    hand_hold(rig->net, leader, follower, HAND_PATH, false);
    hand_hold(rig->net, leader, other, HAND_PATH, false);
    rig_settle(rig);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grant__fails_once__granted_later),
        cmocka_unit_test(open__fails_once__opened_later),
        cmocka_unit_test(write_log__fails_once__path_is_made_anew),
        cmocka_unit_test(flush__fails_once__path_is_made_anew),
        cmocka_unit_test(write_inbox__too_much_outstanding__written_later),
        cmocka_unit_test(read__fails_once__read_again),
        cmocka_unit_test(revoke__fails__replica_ends_with_a_reason),
        cmocka_unit_test(fabric__fails_for_good__replica_ends_with_a_reason),
        cmocka_unit_test(promise__not_durable__replica_ends_and_never_grants),
        cmocka_unit_test(floor__not_recorded__replica_ends),
        cmocka_unit_test(amnesia__its_end_is_not_recorded__replica_ends_and_counts_for_nothing),
        cmocka_unit_test(persist__fails__replica_ends_unheard),
        cmocka_unit_test(messages__of_unknown_form__dropped),
        cmocka_unit_test(messages__out_of_place__change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
