/*
 * Who becomes leader, when, and who ceases to be: pre-vote, election by permission, step-down,
 * hand-over of leadership, and clusters of each size. Scenarios on the core rig.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct rig *led_by_1(uint32_t n)
{
    struct rig *rig = rig_cluster(n, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_append(rig, 1, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

/* A leader known to wait for a processor keeps its office for ten election timeouts; one that is
 * stopped loses it after one. */
static void leader__waits_for_a_processor__is_given_time(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[1].paused = true;
    rig->nodes[1].waits = true;
    rig_advance(rig, 8 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 1);
    assert_int_equal(rig->term_max, 1);
    rig_advance(rig, 5 * RIG_TIMEOUT);
    assert_true(rig->term_max > 1); /* but not for ever */
    rig_free(rig);

    rig = led_by_1(3);
    rig->nodes[1].paused = true;
    rig_advance(rig, 3 * RIG_TIMEOUT);
    assert_true(rig->term_max > 1);
    rig_free(rig);
}

/* A follower that takes the waiting leader for gone, because it cannot tell, gets no pre-vote. */
static void leader__waits_for_a_processor__prevote_denied(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[1].paused = true;
    rig->nodes[1].waits = true;
    rig_advance(rig, RIG_TIMEOUT);
    rig_block(rig, 1, 2);
    rig_advance(rig, 5 * RIG_TIMEOUT);
    assert_int_equal(rig->term_max, 1);
    assert_int_equal(rig_view(rig, 3)->leader, 1);
    rig_free(rig);
}

static void cluster__each_size__elects_and_commits_everywhere(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 7; n += 2) {
        struct rig *rig = rig_cluster(n, RIG_FLUSH);
        rig_advance(rig, 3 * RIG_TIMEOUT);
        const uint32_t leader = rig_leader(rig);
        assert_int_not_equal(leader, 0);
        for (uint32_t i = 0; i < 10; i++) {
            assert_true(rig_append(rig, leader, 3));
            rig_settle(rig);
        }
        for (uint32_t p = 1; p <= n; p++) {
            assert_int_equal(rig_view(rig, p)->commit_offset, 31 * RIG_ENTRY);
            assert_int_equal(rig_view(rig, p)->leader, leader);
        }
        assert_int_equal(rig->term_max, 1);
        rig_free(rig);
    }
}

static void cluster__f_down__goes_on__f_plus_1_down__does_not(void **state)
{
    (void)state;
    for (uint32_t n = 3; n <= 7; n += 2) {
        struct rig *rig = led_by_1(n);
        for (uint32_t i = 0; i < n / 2; i++) {
            rig_crash(rig, n - i);
        }
        rig_settle(rig);
        assert_true(rig_append(rig, 1, 1));
        rig_advance(rig, RIG_TIMEOUT);
        assert_int_equal(rig_view(rig, 1)->commit_offset, 3 * RIG_ENTRY);
        rig_crash(rig, 2);
        rig_settle(rig);
        rig_append(rig, 1, 1);
        rig_advance(rig, 3 * RIG_TIMEOUT);
        assert_int_equal(rig_leader(rig), 0);
        assert_int_equal(rig_view(rig, 1)->commit_offset, 3 * RIG_ENTRY);
        rig_start(rig, 2);
        for (uint32_t p = 1; p <= n; p++) {
            rig_connect(rig, 2, p);
        }
        rig_advance(rig, 8 * RIG_TIMEOUT);
        assert_int_not_equal(rig_leader(rig), 0);
        rig_free(rig);
    }
}

static void election__dead_leader__is_won_by_permission(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    golden_begin(rig, GOLDEN_NODE(2) | GOLDEN_NODE(3));
    rig->nodes[3].paused = true;
    rig_crash(rig, 1);
    rig_settle(rig);
    rig_advance(rig, RIG_HEARTBEAT / 4);
    rig->nodes[3].paused = false;
    rig_advance(rig, RIG_TIMEOUT / 2);
    golden_end(rig, "election",
               "a dead leader is noticed at once; whoever a majority lets write leads");
    assert_int_equal(rig_leader(rig), 2);
    rig_free(rig);
}

static void prevote__leader_is_seen_beating__refused_and_no_term_is_spent(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    golden_begin(rig, GOLDEN_NODE(3));
    golden_say(rig, "3 loses sight of the leader, 2 does not");
    rig_block(rig, 1, 3);
    for (uint32_t i = 0; i < 20 && rig_view(rig, 3)->role == LKS_CORE_FOLLOWER; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 2);
    }
    rig_advance(rig, RIG_HEARTBEAT);
    rig_unblock(rig, 1, 3);
    rig_connect(rig, 1, 3);
    rig_advance(rig, RIG_TIMEOUT);
    golden_end(rig, "prevote", "nobody accepts a pre-vote while it sees the leader's counter move");
    assert_int_equal(rig_leader(rig), 1);
    assert_int_equal(rig->term_max, 1);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_FOLLOWER);
    assert_int_equal(rig_view(rig, 3)->commit_offset, 2 * RIG_ENTRY);
    rig_free(rig);
}

static void prevote__two_at_a_time__the_better_one_goes_on(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig_crash(rig, 1);
    rig->nodes[2].sides[3].hold_ctl = true;
    rig->nodes[3].sides[2].hold_ctl = true;
    golden_begin(rig, GOLDEN_NODE(2) | GOLDEN_NODE(3));
    for (uint32_t i = 0; i < 8 && (rig_view(rig, 2)->role != LKS_CORE_PRE_CANDIDATE ||
                                   rig_view(rig, 3)->role != LKS_CORE_PRE_CANDIDATE);
         i++) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_PRE_CANDIDATE);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_PRE_CANDIDATE);
    golden_say(rig, "both ask at once");
    rig->nodes[2].sides[3].hold_ctl = false;
    rig->nodes[3].sides[2].hold_ctl = false;
    rig_settle(rig);
    golden_end(rig, "prevote-tie", "of two equal pre-candidates the one of the lower id goes on");
    assert_int_equal(rig_leader(rig), 2);
    assert_int_equal(rig->term_max, 2);
    rig_free(rig);
}

/* 2 and 3 become candidates of the same term; 1 votes for 3. */
static void election__rival_promised_the_term_to_itself__leader_takes_the_next(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[1].sides[2].hold_ctl = true;
    rig->nodes[2].sides[3].hold_ctl = true;
    rig->nodes[3].sides[2].hold_ctl = true;
    rig_coup(rig, 2);
    rig_coup(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig->nodes[2].promise_term, 2);
    assert_int_equal(rig->nodes[2].promise_candidate, 2);
    golden_begin(rig, GOLDEN_NODE(2) | GOLDEN_NODE(3));
    rig->nodes[1].sides[2].hold_ctl = false;
    rig->nodes[2].sides[3].hold_ctl = false;
    rig->nodes[3].sides[2].hold_ctl = false;
    rig_advance(rig, 4 * RIG_TIMEOUT);
    golden_end(rig, "term-taken",
               "a leader takes the next term for a peer that promised this one to itself");
    const uint32_t leader = rig_leader(rig);
    assert_int_not_equal(leader, 0);
    assert_int_equal(rig->term_max, 3);
    for (uint32_t p = 1; p <= 3; p++) {
        assert_true(p == leader || rig_view(rig, leader)->peers[p].counted);
        assert_int_equal(rig_view(rig, p)->commit_offset, rig_view(rig, leader)->tail.offset);
    }
    rig_free(rig);
}

static void leader__completes_nothing_on_a_majority__steps_down_and_stops_its_counter(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    golden_begin(rig, GOLDEN_NODE(1));
    golden_say(rig, "its counter is still read, but nothing that it writes completes");
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 1);
    rig_advance(rig, RIG_TIMEOUT / 2);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    rig_advance(rig, RIG_TIMEOUT);
    assert_int_not_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    const uint64_t beat = rig->nodes[1].beat;
    rig_advance(rig, RIG_HEARTBEAT);
    assert_true(rig->nodes[1].beat - beat <= 1);
    golden_end(rig, "step-down",
               "a leader without a majority of completions steps down: asymmetric partitions");
    rig_advance(rig, 4 * RIG_TIMEOUT);
    const uint32_t leader = rig_leader(rig);
    assert_true(leader == 2 || leader == 3);
    rig_free(rig);
}

static void leader__higher_term_heard__steps_down_and_keeps_its_entries_uncommitted(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig_block(rig, 1, 3);
    rig->nodes[1].sides[2].hold_path = true;
    rig_coup(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER); /* does not know yet */
    rig_append(rig, 1, 2);
    golden_begin(rig, GOLDEN_NODE(1));
    rig->nodes[1].sides[2].hold_path = false;
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    golden_end(rig, "deposed-leader",
               "a deposed leader's writes are refused and their flushes void; then it steps down");
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_FOLLOWER);
    assert_int_equal(rig_view(rig, 1)->commit_offset, 2 * RIG_ENTRY);
    rig_unblock(rig, 1, 3);
    rig_connect(rig, 1, 3);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_int_equal(rig->nodes[1].ring[2].chain, rig->nodes[3].ring[2].chain);
    rig_free(rig);
}

static void leader__restarted__never_resumes_its_term(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    golden_begin(rig, GOLDEN_NODE(1));
    rig->nodes[2].paused = true;
    rig->nodes[3].paused = true;
    rig_crash(rig, 1);
    rig_start(rig, 1);
    rig_settle(rig);
    rig->nodes[2].paused = false;
    rig->nodes[3].paused = false;
    rig_settle(rig);
    rig_connect(rig, 1, 2);
    rig_connect(rig, 1, 3);
    rig_settle(rig);
    assert_int_equal(rig->nodes[1].incarnation, 2);
    assert_int_not_equal(rig_view(rig, 1)->role, LKS_CORE_LEADER);
    golden_end(rig, "restarted-leader",
               "a leader that restarts is a follower, whatever its promise says");
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_not_equal(rig_leader(rig), 0);
    assert_true(rig_view(rig, rig_leader(rig))->term > 1);
    rig_free(rig);
}

static void leader__asked_to_stop__hands_over_to_one_that_holds_everything(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[1].sides[3].hold_path = true;
    rig_append(rig, 1, 2);
    rig_settle(rig);
    golden_begin(rig, GOLDEN_NODE(1) | GOLDEN_NODE(2));
    const struct lks_core_event event = {.kind = LKS_EVENT_TRANSFER};
    rig_event(rig, 1, &event);
    assert_false(rig_view(rig, 1)->accepts);
    rig_settle(rig);
    rig->nodes[1].sides[3].hold_path = false;
    rig_settle(rig);
    golden_end(rig, "transfer",
               "a leader that stops lets a follower with its whole log begin at once");
    assert_int_equal(rig_leader(rig), 2);
    assert_int_equal(rig_view(rig, 2)->commit_offset, 5 * RIG_ENTRY);
    rig_free(rig);
}

static bool transfer_sent(const struct rig *rig, uint32_t n, uint32_t to)
{
    const struct lks_update *update = &rig->nodes[n].update;
    for (uint32_t i = 0; i < update->count; i++) {
        const struct lks_effect *effect = &update->effects[i];
        if (effect->kind == LKS_EFFECT_SEND && effect->peer == to &&
            update->messages[effect->message].kind == LKS_MESSAGE_TRANSFER) {
            return true;
        }
    }
    return false;
}

static void transfer__follower_dies__the_next_one_is_told_at_once(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[2].sides[1].hold_ctl = true; /* it will not hear of it */
    const struct lks_core_event event = {.kind = LKS_EVENT_TRANSFER};
    rig_event(rig, 1, &event);
    assert_true(transfer_sent(rig, 1, 2));
    rig_crash(rig, 2);
    rig_settle(rig);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    assert_int_equal(rig_leader(rig), 3);
    rig_free(rig);
}

static void transfer__follower_does_nothing__the_next_one_after_a_timeout(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[2].sides[1].hold_ctl = true;
    const struct lks_core_event event = {.kind = LKS_EVENT_TRANSFER};
    rig_event(rig, 1, &event);
    assert_true(transfer_sent(rig, 1, 2));
    rig_advance(rig, RIG_TIMEOUT / 2);
    assert_int_equal(rig_leader(rig), 1); /* one at a time */
    rig_advance(rig, RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 3);
    rig_free(rig);
}

static void transfer__nobody_begins__each_is_told_in_turn(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[2].paused = true;
    rig->nodes[3].paused = true;
    golden_begin(rig, GOLDEN_NODE(1));
    const struct lks_core_event event = {.kind = LKS_EVENT_TRANSFER};
    rig_event(rig, 1, &event);
    rig_advance(rig, 3 * RIG_TIMEOUT);
    golden_end(rig, "transfer-in-turn",
               "a follower that does not take over is passed over, and told again in its turn");
    assert_int_equal(rig_leader(rig), 1);
    rig->nodes[3].paused = false;
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_FOLLOWER);
    rig_free(rig);
}

static void set_unfit(struct rig *rig, uint32_t n, int status)
{
    const struct lks_core_event event = {.kind = LKS_EVENT_FITNESS, .status = status};
    rig_event(rig, n, &event);
}

static void fitness__one_should_not_lead__the_other_stands_first(void **state)
{
    (void)state;
    for (uint32_t unfit = 2; unfit <= 3; unfit++) {
        struct rig *rig = led_by_1(3);
        set_unfit(rig, unfit, -1);
        rig_crash(rig, 1);
        rig_settle(rig);
        rig_advance(rig, 4 * RIG_TIMEOUT);
        assert_int_equal(rig_leader(rig), unfit == 2 ? 3 : 2);
        rig_free(rig);
    }
}

static void fitness__nobody_should_lead__somebody_does(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    set_unfit(rig, 2, -1);
    set_unfit(rig, 3, -1);
    rig_crash(rig, 1);
    rig_settle(rig);
    rig_advance(rig, 8 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 0);
    rig_advance(rig, 6 * RIG_TIMEOUT);
    assert_int_not_equal(rig_leader(rig), 0);
    rig_free(rig);
}

static void fitness__regained__stands_like_any_other(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    set_unfit(rig, 2, -1);
    set_unfit(rig, 3, -1);
    set_unfit(rig, 2, 0);
    rig_crash(rig, 1);
    rig_settle(rig);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 2);
    rig_free(rig);
}

static void transfer__not_from_the_leader_followed__ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    struct lks_message message = {.kind = LKS_MESSAGE_TRANSFER, .term = 1};
    struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = 3, .message = &message};
    rig_event(rig, 2, &event);
    assert_int_equal(rig->nodes[2].update.count, 0);
    message.term = 0;
    event.peer = 1;
    rig_event(rig, 2, &event);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_FOLLOWER);
    rig_free(rig);
}

static void replies__stale_numbers__are_ignored(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[3].sides[1].hold_ctl = true;
    rig->nodes[3].sides[2].hold_ctl = true;
    rig_coup(rig, 3);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_CANDIDATE);
    struct lks_message message = {.kind = LKS_MESSAGE_VOTE_REPLY, .term = 2, .key = {99}};
    struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = 1, .message = &message};
    for (message.request = 0; message.request < 40; message.request += 39) {
        rig_event(rig, 3, &event); /* of no request of this life */
        assert_int_equal(rig->nodes[3].update.count, 0);
    }
    message.kind = LKS_MESSAGE_VOTE_REFUSAL;
    message.term = 2;
    rig_event(rig, 3, &event);
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_CANDIDATE);
    message.kind = LKS_MESSAGE_PREVOTE_REPLY;
    message.flags = LKS_MESSAGE_ACCEPTED;
    rig_event(rig, 2, &event); /* 2 asked nobody */
    assert_int_not_equal(rig_view(rig, 2)->role, LKS_CORE_CANDIDATE);
    rig_free(rig);
}

static void leader__stepped_down_and_waits__is_given_no_time(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[1].sides[2].hold_path = true;
    rig->nodes[1].sides[3].hold_path = true;
    for (uint32_t i = 0; i < 16 && rig_view(rig, 1)->role == LKS_CORE_LEADER; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    rig->nodes[1].paused = true;
    rig->nodes[1].waits = true;
    rig_advance(rig, 3 * RIG_TIMEOUT);
    assert_int_equal(rig->term_max, 2);
    rig_free(rig);
}

static void pause__of_a_follower__is_not_held_against_the_leader(void **state)
{
    (void)state;
    struct rig *rig = led_by_1(3);
    rig->nodes[3].paused = true;
    rig_advance(rig, 20 * RIG_TIMEOUT);
    rig->nodes[3].paused = false;
    rig_advance(rig, RIG_TIMEOUT);
    assert_int_equal(rig->term_max, 1);
    assert_int_equal(rig_leader(rig), 1);
    rig_free(rig);
}

/* Well-formed and impossible: nothing of it may reach promise or assertions. */
static void message__impossible_numbers__changes_nothing(void **state)
{
    (void)state;
    struct rig *rig = rig_cluster(3, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    const uint64_t terms[3] = {LKS_MESSAGE_NUMBER_MAX - 1, UINT64_C(1) << 40,
                               (UINT64_C(1) << 32) + 10};
    for (uint32_t n = 1; n <= 2; n++) {
        for (uint32_t kind = 1; kind < LKS_MESSAGE_KIND_END; kind++) {
            for (uint32_t i = 0; i < 3; i++) {
                const struct lks_message message = {
                    .kind = kind, .term = terms[i], .incarnation = 1, .request = 1};
                assert_true(lks_message_check(&message));
                const struct lks_core_event event = {
                    .kind = LKS_EVENT_MESSAGE, .peer = 3, .message = &message};
                assert_false(lks_core_plausible(rig->nodes[n].core, &message));
                rig_event(rig, n, &event);
            }
        }
        const struct lks_core_event beat = {.kind = LKS_EVENT_HEARTBEAT_READ, .peer = 3,
                                            .beat = 9, .term = UINT64_MAX, .leading = true};
        rig_event(rig, n, &beat);
    }
    const struct lks_message far = {.kind = LKS_MESSAGE_VOTE_REPLY,
                                    .term = rig_view(rig, 1)->term,
                                    .tail = {.offset = UINT64_C(1) << 61, .term = 1}};
    assert_true(lks_message_check(&far));
    assert_false(lks_core_plausible(rig->nodes[1].core, &far)); /* longer than a ring */
    rig_append(rig, 1, 1);
    rig_advance(rig, 2 * RIG_TIMEOUT);
    assert_int_equal(rig_leader(rig), 1);
    assert_int_equal(rig_view(rig, 2)->term, 1);
    assert_int_equal(rig->nodes[2].promise_term, 1);
    rig_coup(rig, 2); /* the next term is the next */
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    assert_int_equal(rig_view(rig, 2)->term, 2);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leader__waits_for_a_processor__is_given_time),
        cmocka_unit_test(leader__waits_for_a_processor__prevote_denied),
        cmocka_unit_test(cluster__each_size__elects_and_commits_everywhere),
        cmocka_unit_test(cluster__f_down__goes_on__f_plus_1_down__does_not),
        cmocka_unit_test(election__dead_leader__is_won_by_permission),
        cmocka_unit_test(prevote__leader_is_seen_beating__refused_and_no_term_is_spent),
        cmocka_unit_test(prevote__two_at_a_time__the_better_one_goes_on),
        cmocka_unit_test(election__rival_promised_the_term_to_itself__leader_takes_the_next),
        cmocka_unit_test(leader__completes_nothing_on_a_majority__steps_down_and_stops_its_counter),
        cmocka_unit_test(leader__higher_term_heard__steps_down_and_keeps_its_entries_uncommitted),
        cmocka_unit_test(leader__restarted__never_resumes_its_term),
        cmocka_unit_test(leader__asked_to_stop__hands_over_to_one_that_holds_everything),
        cmocka_unit_test(transfer__follower_dies__the_next_one_is_told_at_once),
        cmocka_unit_test(transfer__follower_does_nothing__the_next_one_after_a_timeout),
        cmocka_unit_test(transfer__nobody_begins__each_is_told_in_turn),
        cmocka_unit_test(fitness__one_should_not_lead__the_other_stands_first),
        cmocka_unit_test(fitness__nobody_should_lead__somebody_does),
        cmocka_unit_test(fitness__regained__stands_like_any_other),
        cmocka_unit_test(transfer__not_from_the_leader_followed__ignored),
        cmocka_unit_test(replies__stale_numbers__are_ignored),
        cmocka_unit_test(leader__stepped_down_and_waits__is_given_no_time),
        cmocka_unit_test(pause__of_a_follower__is_not_held_against_the_leader),
        cmocka_unit_test(message__impossible_numbers__changes_nothing),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
