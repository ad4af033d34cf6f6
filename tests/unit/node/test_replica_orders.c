/*
 * Orders in which things happen that are rare and dangerous: completions of what came before,
 * persisting that ends late, reads that land after they were given up, permission that is being
 * taken away while its holder writes.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint32_t third(uint32_t a, uint32_t b)
{
    return 6 - a - b;
}

/* Cuts a replica off from one or two others, or joins it again. */
static void cut(struct rig *rig, uint32_t a, uint32_t b)
{
    if (hand_joined(rig->net, a, b)) {
        hand_break(rig->net, a, b);
    }
}

static void join_all(struct rig *rig)
{
    for (uint32_t a = 1; a <= rig->options.replicas; a++) {
        for (uint32_t b = a + 1; b <= rig->options.replicas; b++) {
            if (rig->replicas[a].replica != NULL && rig->replicas[b].replica != NULL &&
                !hand_joined(rig->net, a, b)) {
                hand_join(rig->net, a, b);
            }
        }
    }
}

/* ---- revoking -------------------------------------------------------------------------------- */

/* While a grantor's fence is under way the old leader still writes there, and commits. */
static void revoke__takes_long__what_landed_meanwhile_is_kept(void **state)
{
    (void)state;
    for (int answered = 0; answered < 2; answered++) {
        struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
        const uint32_t old = rig_lead(rig);
        const uint32_t grantor = old % 3 + 1;
        const uint32_t next = third(old, grantor);
        rig_settle(rig);
        cut(rig, old, next); /* the next leader sees nothing of the old one */
        hand_hold(rig->net, grantor, old, HAND_CONTROL, true);
        rig->replicas[old].stalled = true; /* its counter stands, its permission does too */
        for (int i = 0; i < 4000 && hand_held(rig->net, grantor, old, HAND_CONTROL) == 0; i++) {
            rig_tick(rig);
        }
        assert_int_equal(hand_held(rig->net, grantor, old, HAND_CONTROL), 1);
        rig_submit_many(rig, old, 100, 5);
        rig->replicas[old].stalled = false;
        rig_step(rig, old);
        if (answered != 0) {
            rig_run(rig, 2 * RIG_TICK_NS);
            assert_int_equal(rig->replicas[old].replies, 5); /* they are committed */
        }
        hand_hold(rig->net, grantor, old, HAND_CONTROL, false);
        rig_crash(rig, old, false);
        (void)rig_lead(rig);
        rig_settle(rig);
        assert_int_equal(rig_executed(rig, next), 5);
        rig_start(rig, old);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* The old leader's writes and words that are under way when its permission ends never land. */
static void revoke__writes_under_way__void(void **state)
{
    (void)state;
    for (int posted = 0; posted < 2; posted++) {
        struct rig *rig =
            rig_new(&(struct rig_options){.replicas = 3, .writes_when_posted = posted != 0});
        const uint32_t old = rig_lead(rig);
        rig_settle(rig);
        for (uint32_t id = 1; id <= 3; id++) {
            if (id != old) {
                hand_hold(rig->net, old, id, HAND_PATH, true);
            }
        }
        rig_submit_many(rig, old, 100, 5);
        rig_step(rig, old);
        rig->replicas[old].stalled = true;
        for (int i = 0; i < 4000 && rig_leader(rig) == old; i++) {
            rig_tick(rig);
        }
        const uint32_t next = rig_lead(rig);
        assert_int_not_equal(next, old);
        rig_submit_many(rig, next, 100, 5);
        rig_run(rig, RIG_HEARTBEAT_NS);
        for (uint32_t id = 1; id <= 3; id++) {
            if (id != old) {
                hand_hold(rig->net, old, id, HAND_PATH, false); /* now they would land */
            }
        }
        rig->replicas[old].stalled = false;
        rig_settle(rig);
        assert_int_equal(rig->replicas[old].replies, 5); /* logged anew by the next leader */
        rig_free(rig);
    }
}

/* Where posting takes as long as writing, a majority's write is all that an answer waits for; the
 * other follower gets the same bytes, and its commit word, in the same step. */
static void submit__posting_is_slow__answered_before_the_last_write(void **state)
{
    (void)state;
    for (int slowly = 0; slowly < 2; slowly++) {
        struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
        if (slowly != 0) {
            hand_post_slowly(rig->net);
        }
        const uint32_t leader = rig_lead(rig);
        rig_settle(rig);
        const uint64_t before = hand_calls(rig->net, leader, HAND_WRITE_LOG);
        rig_submit_many(rig, leader, 100, 1);
        rig_step(rig, leader);
        const struct rig_replica *self = &rig->replicas[leader];
        assert_int_equal(self->replies, 1);
        assert_int_equal(self->writes_at_reply - before, slowly != 0 ? 1 : 2);
        assert_int_equal(hand_calls(rig->net, leader, HAND_WRITE_LOG) - before, 4);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* A follower that completes nothing holds up nobody, also where the others wait for it. */
static void submit__posting_is_slow_and_one_follower_silent__answered(void **state)
{
    (void)state;
    for (uint32_t silent = 1; silent <= 2; silent++) {
        struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
        hand_post_slowly(rig->net);
        const uint32_t leader = rig_lead(rig);
        rig_settle(rig);
        const uint32_t other = (leader + silent - 1) % 3 + 1;
        hand_hold(rig->net, leader, other, HAND_PATH, true);
        rig_submit_many(rig, leader, 100, 1);
        rig_step(rig, leader);
        assert_int_equal(rig->replicas[leader].replies, 1);
        hand_hold(rig->net, leader, other, HAND_PATH, false);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* ---- what completes late --------------------------------------------------------------------- */

/* A path opens late, after a newer election of the same candidate was won by another path. */
static void open__completes_late__newer_grant_counts(void **state)
{
    (void)state;
    for (uint32_t released = 0; released < 3; released++) {
        struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
        const uint32_t leader = rig_lead(rig);
        const uint32_t follower = leader % 3 + 1;
        rig_settle(rig);
        hand_hold(rig->net, leader, follower, HAND_CONTROL, true);
        cut(rig, leader, follower);
        rig_tick(rig);
        hand_join(rig->net, leader, follower);
        rig_run(rig, 2 * RIG_HEARTBEAT_NS);
        assert_int_equal(hand_held(rig->net, leader, follower, HAND_CONTROL), 1);
        rig_make_leader(rig, follower); /* which takes the grant away */
        (void)hand_release(rig->net, leader, follower, HAND_CONTROL, released);
        rig_run(rig, RIG_HEARTBEAT_NS);
        rig_submit_many(rig, leader, 80, 3);
        hand_hold(rig->net, leader, follower, HAND_CONTROL, false);
        rig_settle(rig);
        rig_make_leader(rig, leader);
        rig_submit_many(rig, follower, 80, 3);
        rig_settle(rig);
        rig_free(rig);
    }
}

/* The own log of an old leadership becomes durable when the next one of the same replica, in a
 * later term, waits for its own. */
static void persist_log__of_an_old_leadership__does_not_count_for_the_new(void **state)
{
    (void)state;
    struct rig_options options = {.replicas = 3};
    for (uint32_t id = 1; id <= 3; id++) {
        options.durability[id] = LKS_DURABILITY_PMEM_ACK;
        options.slow_medium[id] = true;
    }
    struct rig *rig = rig_new(&options);
    const uint32_t leader = rig_lead(rig);
    rig_settle(rig);
    struct rig_replica *self = &rig->replicas[leader];
    const uint32_t gateway = leader % 3 + 1;
    const uint32_t other = third(leader, gateway);
    self->holds_persists = true;
    hand_hold(rig->net, leader, gateway, HAND_PATH, true);
    hand_hold(rig->net, leader, other, HAND_PATH, true);
    rig_submit_many(rig, gateway, 100, 40); /* more than will come to stand there instead */
    rig_run(rig, 4 * RIG_TICK_NS);
    assert_int_equal(self->persists_count, 1);
    assert_int_equal(self->persists[0].id, LKS_PERSIST_LOG);
    cut(rig, leader, other);
    rig_crash(rig, gateway, false); /* nobody will repeat its commands */
    rig_start(rig, gateway);
    cut(rig, leader, gateway);
    hand_hold(rig->net, leader, gateway, HAND_PATH, false);
    hand_hold(rig->net, leader, other, HAND_PATH, false);
    rig_run(rig, 6 * RIG_ELECTION_NS); /* steps down; others elect */
    assert_int_not_equal(rig_lead(rig), leader);
    rig_submit_many(rig, gateway, 100, 2);
    rig_run(rig, RIG_HEARTBEAT_NS);
    join_all(rig);
    /* From now on every range ends at once but the oldest; and one follower alone, without the own
     * log, is no majority. */
    hand_hold(rig->net, leader, gateway, HAND_PATH, true);
    const struct lks_core_view *view = self->replica->view;
    for (int i = 0; i < 20000 && view->role != LKS_CORE_LEADER; i++) {
        rig_tick(rig);
        while (self->persists_count > 1) {
            rig_persist(rig, leader, 1, 0);
        }
        const uint32_t present = rig_leader(rig);
        for (uint32_t id = 1; id <= 3; id++) {
            const uint64_t turn = rig->now_ns / (8 * RIG_ELECTION_NS) % 2;
            rig->replicas[id].stalled = id == present && id != leader && turn == 0;
        }
    }
    rig->replicas[1].stalled = rig->replicas[2].stalled = rig->replicas[3].stalled = false;
    rig_run(rig, 4 * RIG_TICK_NS);
    assert_int_equal(view->role, LKS_CORE_LEADER);
    assert_int_equal(self->persists_count, 1);
    assert_true(self->persists[0].to >= view->noop_offset);
    assert_false(view->established);
    rig_persist(rig, leader, 0, 0);
    rig_tick(rig);
    assert_false(view->established); /* what became durable is overwritten since */
    assert_int_equal(self->persists_count, 1);
    assert_int_equal(self->persists[0].to, view->tail.offset);
    hand_hold(rig->net, leader, gateway, HAND_PATH, false);
    self->holds_persists = false;
    rig_settle(rig);
    rig_free(rig);
}

/* A follower whose ACK range is under way when its grant ends, and a new grant of the same leader
 * begins: both of its ranges are held. */
static struct rig *rig_with_late_ack(uint32_t *leader, uint32_t *follower)
{
    struct rig_options options = {.replicas = 3};
    for (uint32_t id = 1; id <= 3; id++) {
        options.durability[id] = LKS_DURABILITY_PMEM_ACK;
        options.slow_medium[id] = true;
    }
    struct rig *rig = rig_new(&options);
    *leader = rig_lead(rig);
    *follower = *leader % 3 + 1;
    rig_settle(rig);
    struct rig_replica *self = &rig->replicas[*follower];
    /* Nothing commits: the other one gets no writes, and the leader hears no acknowledgements. */
    hand_hold(rig->net, *leader, third(*leader, *follower), HAND_PATH, true);
    hand_hold(rig->net, *follower, *leader, HAND_CONNECTION, true);
    rig_submit_many(rig, *leader, 100, 2);
    rig_run(rig, 4 * RIG_TICK_NS);
    assert_true(self->replica->ack.done > self->replica->view->commit_offset);
    self->holds_persists = true;
    rig_submit_many(rig, *leader, 100, 2);
    rig_run(rig, 4 * RIG_TICK_NS);
    assert_int_equal(self->persists_count, 1);
    assert_int_equal(self->persists[0].id, LKS_PERSIST_ACK);
    cut(rig, *leader, *follower);
    hand_hold(rig->net, *follower, *leader, HAND_CONNECTION, false);
    rig_tick(rig);
    hand_hold(rig->net, *leader, *follower, HAND_PATH, true);
    join_all(rig);
    rig_run(rig, 2 * RIG_HEARTBEAT_NS);
    assert_int_equal(self->persists_count, 2);
    assert_int_equal(self->persists[1].id, LKS_PERSIST_TAIL);
    assert_int_equal(self->replica->view->grant.peer, 0); /* not before the tail is durable */
    assert_false(hand_gate_open(rig->net, *follower, *leader));
    return rig;
}

/* Whatever of the old grant becomes durable when: it says nothing under the new one. Nor does the
 * old one's written word. The new one begins where the commit word stood when it was given. */
static void persist_ack__of_an_old_grant__not_acknowledged(void **state)
{
    (void)state;
    for (uint32_t tail_first = 0; tail_first < 2; tail_first++) {
        uint32_t leader = 0;
        uint32_t follower = 0;
        struct rig *rig = rig_with_late_ack(&leader, &follower);
        struct rig_replica *self = &rig->replicas[follower];
        const struct lks_core_view *view = self->replica->view;
        rig_persist(rig, follower, tail_first, 0);
        rig_run(rig, 4 * RIG_TICK_NS);
        assert_int_equal(self->replica->ack.owed, 0);
        assert_true(tail_first != 0 || !hand_gate_open(rig->net, follower, leader));
        if (tail_first != 0) {
            hand_hold(rig->net, leader, follower, HAND_PATH, false);
            rig_submit_many(rig, leader, 100, 2);
            rig_run(rig, 4 * RIG_TICK_NS); /* new bytes came; the old range is still under way */
        }
        rig_persist(rig, follower, 0, 0);
        assert_int_equal(self->replica->ack.owed, 0);
        rig_run(rig, 4 * RIG_TICK_NS);
        assert_int_equal(view->grant.peer, leader);
        if (tail_first == 0) {
            assert_int_equal(self->persists_count, 0); /* nothing was written under this grant */
            hand_hold(rig->net, leader, follower, HAND_PATH, false);
            rig_submit_many(rig, leader, 100, 2);
            rig_run(rig, 4 * RIG_TICK_NS);
        }
        assert_int_equal(self->persists_count, 1);
        assert_int_equal(self->persists[0].id, LKS_PERSIST_ACK);
        assert_int_equal(self->persists[0].from, view->grant.commit_offset);
        assert_true(self->persists[0].to > view->grant.commit_offset);
        hand_hold(rig->net, leader, third(leader, follower), HAND_PATH, false);
        self->holds_persists = false;
        rig_settle(rig);
        rig_free(rig);
    }
}

/* ---- adoption -------------------------------------------------------------------------------- */

/* A replica that lacks many entries wins an election and begins to read them from the only other
 * one; each of its reads waits to be let go. */
static struct rig *rig_adopting(uint32_t *reader, uint32_t *source, uint32_t *old)
{
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3, .ring_bytes = 16u << 20});
    *old = rig_lead(rig);
    *reader = *old % 3 + 1;
    *source = third(*old, *reader);
    rig_settle(rig);
    cut(rig, *old, *reader);
    rig->replicas[*reader].stalled = true;
    for (int i = 0; i < 6; i++) {
        rig_submit_many(rig, *old, 300000, 1);
        rig_run(rig, RIG_HEARTBEAT_NS);
    }
    rig_crash(rig, *old, false);
    rig->replicas[*reader].stalled = false;
    hand_hold(rig->net, *reader, *source, HAND_LOG_READS, true);
    const struct lks_replica *replica = rig->replicas[*reader].replica;
    for (int i = 0; i < 40000 && !replica->log_read.active; i++) {
        const enum lks_core_role role = rig->replicas[*source].replica->view->role;
        if (role == LKS_CORE_PRE_CANDIDATE || role == LKS_CORE_CANDIDATE) {
            rig->replicas[*source].stalled = true; /* so that the reader stands too */
            rig_run(rig, 2 * RIG_ELECTION_NS);
            rig->replicas[*source].stalled = false;
        }
        rig_step(rig, *source);
        rig_step(rig, *reader);
        rig->now_ns += RIG_TICK_NS;
    }
    assert_true(replica->log_read.active);
    assert_int_equal(replica->view->role, LKS_CORE_ADOPTING);
    return rig;
}

enum interruption {
    NOTHING,
    BREAK,           /* the connection over which it reads */
    READER_CRASHES,
    READER_LOSES_POWER,
    SOURCE_CRASHES,
    ANOTHER_ELECTED, /* the source grants to somebody newer; the reads land after that */
    INTERRUPTIONS
};

static void interrupt(struct rig *rig, enum interruption what, uint32_t reader, uint32_t source,
                      uint32_t old)
{
    switch (what) {
    case BREAK:
        hand_break(rig->net, reader, source);
        rig_run(rig, RIG_HEARTBEAT_NS);
        hand_join(rig->net, reader, source);
        break;
    case READER_CRASHES:
    case READER_LOSES_POWER:
        rig_crash(rig, reader, what == READER_LOSES_POWER);
        rig_run(rig, RIG_HEARTBEAT_NS);
        rig_start(rig, reader);
        break;
    case SOURCE_CRASHES:
        rig_crash(rig, source, false);
        rig_run(rig, RIG_HEARTBEAT_NS);
        rig_start(rig, source);
        break;
    case ANOTHER_ELECTED:
        rig_start(rig, old);
        cut(rig, old, reader);
        hand_hold(rig->net, reader, source, HAND_PATH, true); /* it gives up, its reads do not */
        for (int i = 0; i < 40000 && (rig_leader(rig) == 0 || rig_leader(rig) == reader); i++) {
            rig_tick(rig);
        }
        hand_hold(rig->net, reader, source, HAND_PATH, false);
        rig_submit_many(rig, rig_leader(rig), 100, 3);
        rig_run(rig, 2 * RIG_HEARTBEAT_NS);
        break;
    case NOTHING:
    case INTERRUPTIONS:
        break;
    }
}

static void read_log__interrupted_at_each_point__nothing_is_lost(void **state)
{
    (void)state;
    for (int what = NOTHING; what < INTERRUPTIONS; what++) {
        for (uint32_t landed = 0; landed < 8; landed++) {
            uint32_t reader = 0;
            uint32_t source = 0;
            uint32_t old = 0;
            struct rig *rig = rig_adopting(&reader, &source, &old);
            for (uint32_t i = 0; i < landed; i++) {
                (void)hand_release(rig->net, reader, source, HAND_LOG_READS, 1);
                rig_step(rig, reader);
            }
            interrupt(rig, (enum interruption)what, reader, source, old);
            hand_hold(rig->net, reader, source, HAND_LOG_READS, false);
            rig_lead(rig);
            if (rig->replicas[old].replica == NULL) {
                rig_start(rig, old);
            }
            join_all(rig);
            rig_settle(rig);
            assert_true(rig_executed(rig, reader) >= 6);
            rig_free(rig);
        }
    }
}

/* A read of the middle fails: what came before is a log of its own, made durable and reported. */
static void read_log__one_read_fails__read_again(void **state)
{
    (void)state;
    for (uint32_t skip = 0; skip < 4; skip++) {
        for (int completion = 0; completion < 2; completion++) {
            uint32_t reader = 0;
            uint32_t source = 0;
            uint32_t old = 0;
            struct rig *rig = rig_adopting(&reader, &source, &old);
            if (completion != 0) {
                hand_fail_completion(rig->net, reader, HAND_READ, skip, -LKS_EBROKEN);
            } else {
                hand_fail(rig->net, reader, HAND_READ, skip, -LKS_EBUSY);
            }
            hand_hold(rig->net, reader, source, HAND_LOG_READS, false);
            rig_settle(rig);
            rig_start(rig, old);
            rig_settle(rig);
            rig_free(rig);
        }
    }
}

/* ---- ingress and messages -------------------------------------------------------------------- */

/* An offer that was lost, for whatever reason: the gateway asks for another. */
static void forward__offer_was_lost__asked_for(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t leader = rig_lead(rig);
    const uint32_t gateway = leader % 3 + 1;
    rig_settle(rig);
    lks_ingress_producer_close(&rig->replicas[gateway].replica->peers[leader].producer);
    rig_submit_many(rig, gateway, 100, 3);
    rig_settle(rig);
    assert_int_equal(rig->replicas[gateway].replies, 3);
    rig_free(rig);
}

/* The old leader stands still for so long that its mailbox is full when it is asked for its grant:
 * it is asked all the same when it goes on, and its clients are served by the next leader. */
static void message__mailbox_is_full__waits_for_room(void **state)
{
    (void)state;
    struct rig *rig = rig_new(&(struct rig_options){.replicas = 3});
    const uint32_t old = rig_lead(rig);
    rig_settle(rig);
    rig->replicas[old].stalled = true;
    rig_submit_many(rig, old, 100, 3);
    for (uint32_t id = 1; id <= 3; id++) {
        for (int i = 0; i < 8 && id != old; i++) { /* of a form that is dropped */
            (void)lks_mailbox_send(&rig->replicas[id].replica->peers[old].mailbox, "nonsense", 8,
                                   true);
        }
    }
    const uint32_t gateway = old % 3 + 1;
    for (int i = 0; i < 40000 && rig_leader(rig) == old; i++) {
        rig_tick(rig);
    }
    const uint32_t next = rig_lead(rig);
    assert_true(rig->replicas[next].replica->peers[old].waiting_count > 0);
    rig_submit_many(rig, gateway, 100, 3);
    rig_run(rig, RIG_HEARTBEAT_NS);
    rig->replicas[old].stalled = false;
    rig_run(rig, RIG_ELECTION_NS);
    assert_int_equal(rig->replicas[old].replica->view->grant.peer, next);
    rig_settle(rig);
    assert_int_equal(rig->replicas[old].replies, 3);
    rig_free(rig);
}

/* A peer that greets in an unknown way is left alone; the others do without it. */
static void connected__unknown_hello__ignored(void **state)
{
    (void)state;
    const enum lks_durability unknown = (enum lks_durability)(LKS_DURABILITY_PMEM_READ + 1);
    struct rig *rig =
        rig_new(&(struct rig_options){.replicas = 3, .durability = {[3] = unknown}});
    const uint32_t leader = rig_lead(rig);
    assert_int_not_equal(leader, 3);
    rig_submit_many(rig, leader, 100, 3);
    rig_run(rig, 2 * RIG_HEARTBEAT_NS);
    assert_int_equal(rig->replicas[leader].replies, 3);
    assert_false(rig_status(rig, leader).peers[3].connected);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revoke__takes_long__what_landed_meanwhile_is_kept),
        cmocka_unit_test(submit__posting_is_slow__answered_before_the_last_write),
        cmocka_unit_test(submit__posting_is_slow_and_one_follower_silent__answered),
        cmocka_unit_test(revoke__writes_under_way__void),
        cmocka_unit_test(open__completes_late__newer_grant_counts),
        cmocka_unit_test(persist_log__of_an_old_leadership__does_not_count_for_the_new),
        cmocka_unit_test(persist_ack__of_an_old_grant__not_acknowledged),
        cmocka_unit_test(read_log__interrupted_at_each_point__nothing_is_lost),
        cmocka_unit_test(read_log__one_read_fails__read_again),
        cmocka_unit_test(forward__offer_was_lost__asked_for),
        cmocka_unit_test(message__mailbox_is_full__waits_for_room),
        cmocka_unit_test(connected__unknown_hello__ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
