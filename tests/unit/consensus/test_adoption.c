/*
 * Taking over the best log among a majority of grants, and bringing every ring to it. Scenarios
 * on the core rig, most of them from a history of several terms.
 */
#include "tests/support/core_golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Logs to begin with, one text a replica: a digit is an entry of that term. Entries of one term
 * are the same wherever they stand at the same place, as one leader wrote them. */
static struct rig *with_history(uint32_t n, const char *const *logs)
{
    const struct rig_options options = {.n = n, .durability = RIG_FLUSH, .seed = 1};
    struct rig *rig = rig_new(&options);
    for (uint32_t p = 1; p <= n; p++) {
        uint64_t term = 0;
        for (uint32_t i = 0; i < strlen(logs[p - 1]); i++) {
            term = (uint64_t)(logs[p - 1][i] - '0');
            rig_put(rig, p, term, 100 * term + i);
        }
        rig->nodes[p].promise_term = term;
    }
    rig->values = 1000;
    return rig;
}

static void start(struct rig *rig, uint32_t n)
{
    rig_start(rig, n);
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig_connect(rig, n, p);
    }
    rig_settle(rig);
}

/* n of three is granted by 2 alone (1 sleeps) and reads its log, which is held up. */
static void until_adopting(struct rig *rig, uint32_t n)
{
    rig->nodes[1].paused = true;
    rig->nodes[2].paused = true;
    for (uint32_t i = 0; i < 40 && rig_view(rig, n)->role == LKS_CORE_FOLLOWER; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    rig->nodes[2].paused = false;
    rig_advance(rig, RIG_HEARTBEAT);
    assert_int_equal(rig_view(rig, n)->role, LKS_CORE_ADOPTING);
}

/* All replicas have the same `count` entries, and know them committed. */
static void assert_all_equal(const struct rig *rig, uint32_t count)
{
    for (uint32_t p = 1; p <= rig->n; p++) {
        assert_int_equal(rig_index(rig, p), count);
        assert_int_equal(rig->nodes[p].ring[count - 1].chain,
                         rig->nodes[1].ring[count - 1].chain);
        assert_int_equal(rig_view(rig, p)->commit_offset, count * RIG_ENTRY);
    }
}

static void choose__higher_last_term__beats_the_longer_log(void **state)
{
    (void)state;
    const char *const logs[3] = {"1111", "12", "1"};
    struct rig *rig = with_history(3, logs);
    start(rig, 2);
    start(rig, 3);
    golden_begin(rig, GOLDEN_NODE(3));
    rig_elect(rig, 3);
    golden_say(rig, "1 comes back: its three lost entries are overwritten from where they part");
    start(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    golden_end(rig, "latest-log",
               "a candidate takes the log with the highest (last term, length), then writes it");
    assert_all_equal(rig, 3);
    assert_int_equal(rig->nodes[1].ring[1].term, 2);
    rig_free(rig);
}

static void choose__same_last_term__longer_log_wins(void **state)
{
    (void)state;
    const char *const logs[5] = {"112", "1122", "11222", "11", "1122"};
    struct rig *rig = with_history(5, logs);
    start(rig, 1);
    start(rig, 2);
    start(rig, 3);
    rig_elect(rig, 1);
    assert_int_equal(rig->leaders[3].length, 5);
    start(rig, 4);
    start(rig, 5);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_all_equal(rig, 6);
    rig_free(rig);
}

static void read__best_grantor_dies__chooses_again_among_standing_grants(void **state)
{
    (void)state;
    const char *const logs[3] = {"112", "1133", "1"};
    struct rig *rig = with_history(3, logs);
    start(rig, 1);
    start(rig, 2);
    start(rig, 3);
    rig->nodes[3].hold_read = true;
    golden_begin(rig, GOLDEN_NODE(3));
    until_adopting(rig, 3);
    rig->nodes[1].paused = false;
    rig_advance(rig, RIG_HEARTBEAT / 4);
    golden_say(rig, "2, whose log is the best and is being read, dies");
    rig_crash(rig, 2);
    rig_settle(rig);
    rig->nodes[3].hold_read = false;
    rig_settle(rig);
    golden_end(rig, "best-grantor-dies",
               "if the best grantor dies, the choice is made again among standing grants");
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig->leaders[4].length, 3);
    start(rig, 2);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_all_equal(rig, 4);
    rig_free(rig);
}

static void read__partly_done__own_log_counts_as_it_now_is(void **state)
{
    (void)state;
    const char *const logs[3] = {"112", "11333", "1122"};
    struct rig *rig = with_history(3, logs);
    start(rig, 1);
    start(rig, 2);
    start(rig, 3);
    rig->nodes[3].hold_read = true;
    until_adopting(rig, 3);
    rig->nodes[1].paused = false;
    rig_advance(rig, RIG_HEARTBEAT / 4);
    assert_true(rig_view(rig, 3)->peers[1].path_open);
    golden_begin(rig, GOLDEN_NODE(3));
    rig->nodes[3].hold_read = false;
    rig_do_read(rig, 3, false);
    rig_do_read(rig, 3, false);
    golden_say(rig, "two of three entries are read over its own two; then 2 dies");
    rig_crash(rig, 2);
    rig_settle(rig);
    golden_end(rig, "partial-read", "after a partial read the own log counts as it now is");
    assert_int_equal(rig_leader(rig), 3);
    assert_int_equal(rig->leaders[4].length, 4);
    start(rig, 2);
    rig_advance(rig, RIG_HEARTBEAT);
    assert_all_equal(rig, 5);
    rig_free(rig);
}

static void read__entry_of_a_higher_term__candidate_steps_down(void **state)
{
    (void)state;
    const char *const logs[3] = {"12", "111", "1"};
    struct rig *rig = with_history(3, logs);
    rig_block(rig, 1, 3);
    start(rig, 1);
    start(rig, 2);
    start(rig, 3);
    rig->nodes[3].hold_read = true;
    golden_begin(rig, GOLDEN_NODE(3));
    until_adopting(rig, 3);
    golden_say(rig, "2 grants to 1 in a higher term; 1 overwrites what 3 is about to read");
    rig->nodes[1].paused = false;
    rig->nodes[2].sides[3].hold_ctl = true;
    rig->nodes[3].sides[2].hold_ctl = true;
    const struct lks_message message = {
        .kind = LKS_MESSAGE_VOTE_REFUSAL, .term = 4, .request = 0};
    const struct lks_core_event heard = {
        .kind = LKS_EVENT_MESSAGE, .peer = 2, .message = &message};
    rig_event(rig, 1, &heard); /* 1 has heard of term 4 */
    for (uint32_t i = 0; i < 40 && rig_leader(rig) != 1; i++) {
        rig->nodes[3].paused = true; /* 3 is slow, and does not see its permission go */
        rig_advance(rig, RIG_HEARTBEAT / 2);
    }
    assert_int_equal(rig_leader(rig), 1);
    rig->nodes[3].paused = false;
    rig->nodes[3].hold_read = false;
    while (rig_do_read(rig, 3, true)) {
    }
    assert_true(rig_do_local(rig, 3, true));
    golden_end(rig, "higher-term-entry",
               "a candidate that reads an entry of its own term or a higher one steps down");
    assert_int_equal(rig_view(rig, 3)->role, LKS_CORE_FOLLOWER);
    rig->nodes[2].sides[3].hold_ctl = false;
    rig->nodes[3].sides[2].hold_ctl = false;
    rig_unblock(rig, 1, 3);
    rig_connect(rig, 1, 3);
    rig_advance(rig, 4 * RIG_TIMEOUT);
    assert_int_not_equal(rig_leader(rig), 0);
    rig_free(rig);
}

static void read__deposed_meanwhile__ends_before_the_ring_is_handed_over(void **state)
{
    (void)state;
    const char *const logs[3] = {"12", "1133", "1"};
    struct rig *rig = with_history(3, logs);
    start(rig, 1);
    start(rig, 2);
    start(rig, 3);
    rig->nodes[3].hold_read = true;
    until_adopting(rig, 3);
    rig->nodes[1].paused = false;
    golden_begin(rig, GOLDEN_NODE(3));
    struct lks_message message = {
        .kind = LKS_MESSAGE_VOTE_REQUEST, .term = 9, .incarnation = 1, .request = 1};
    const struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = 1, .message = &message};
    rig_event(rig, 3, &event);
    rig_settle(rig);
    golden_say(rig, "its own reads still write its ring: no promise, no grant");
    assert_int_not_equal(rig->nodes[3].promise_term, 9);
    assert_int_equal(rig->permission[3][1], 0);
    rig->nodes[3].hold_read = false;
    rig_settle(rig);
    golden_end(rig, "reads-end-first",
               "a candidate's own reads must have ended before its ring is given to another");
    assert_int_not_equal(rig->permission[3][1], 0);
    rig_free(rig);
}

/* 1 has led before, and remembers where it wrote; when it leads again, all paths are open. */
static void lead_again__paths_open_at_once__each_begins_at_its_own_point(void **state)
{
    (void)state;
    struct rig *rig = rig_cluster(3, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_append(rig, 1, 3);
    rig_settle(rig); /* written to 2 and 3 up to 4 */
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    rig->nodes[2].sides[1].hold_path = true;
    rig_append(rig, 2, 4);
    rig_settle(rig); /* 2 and 3 have nine entries, 1 has five */
    rig->nodes[2].sides[3].hold_path = true;
    rig_append(rig, 2, 2);
    rig_settle(rig); /* and 2 has eleven */
    rig->nodes[1].hold_read = true;
    golden_begin(rig, GOLDEN_NODE(1));
    rig_coup(rig, 1);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->role, LKS_CORE_ADOPTING);
    assert_true(rig_view(rig, 1)->peers[2].path_open);
    assert_true(rig_view(rig, 1)->peers[3].path_open);
    rig->nodes[1].hold_read = false;
    rig_settle(rig);
    golden_end(rig, "paths-begin",
               "a new leader writes to each grantor from the point where the two logs part");
    assert_int_equal(rig_leader(rig), 1);
    assert_all_equal(rig, 12);
    rig_free(rig);
}

/* What 3 held under an earlier leadership of 1 was overwritten since: it counts no more. */
static void lead_again__follower_was_overwritten__its_old_durability_is_forgotten(void **state)
{
    (void)state;
    struct rig *rig = rig_cluster(5, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    for (uint32_t p = 2; p <= 5; p++) {
        rig->nodes[1].sides[p].hold_path = p != 3;
    }
    rig_append(rig, 1, 4);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 5 * RIG_ENTRY);
    for (uint32_t p = 2; p <= 5; p++) {
        rig_block(rig, 1, p);
        if (p != 3) {
            rig_block(rig, 3, p);
        }
    }
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    for (uint32_t p = 2; p <= 5; p++) {
        rig->nodes[1].sides[p].hold_path = false;
        rig_unblock(rig, 1, p);
        rig_unblock(rig, 3, p);
        rig_connect(rig, 3, p);
    }
    rig_settle(rig);
    for (uint32_t p = 2; p <= 5; p++) {
        rig_connect(rig, 1, p);
    }
    rig_advance(rig, RIG_HEARTBEAT);
    assert_all_equal(rig, 2); /* the four entries are gone, nobody had them acknowledged */
    for (uint32_t p = 2; p <= 5; p++) {
        rig->nodes[1].sides[p].hold_path = p != 4 && p != 5;
    }
    rig_coup(rig, 1);
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 1);
    assert_int_equal(rig_view(rig, 1)->peers[3].durable_offset, 2 * RIG_ENTRY);
    rig_free(rig);
}

/* Five replicas: 2 has the grants of 3 and 5 and probes them; that of 5 is lost before its probe
 * completes, that of 4 comes later: the earlier probe of 3 says nothing beside it. */
static void confirm__grant_lost_meanwhile__all_are_probed_anew(void **state)
{
    (void)state;
    struct rig *rig = rig_cluster(5, RIG_FLUSH);
    rig_elect(rig, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    rig_block(rig, 2, 1);
    rig->nodes[4].sides[2].hold_ctl = true;
    rig->nodes[2].sides[5].hold_path = true;
    rig_coup(rig, 2);
    rig_settle(rig);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_ADOPTING);
    rig_crash(rig, 5);
    rig_settle(rig);
    rig->nodes[2].sides[3].hold_path = true;
    rig->nodes[4].sides[2].hold_ctl = false;
    rig_settle(rig);
    assert_true(rig_view(rig, 2)->peers[4].path_open);
    assert_int_equal(rig_view(rig, 2)->role, LKS_CORE_ADOPTING);
    rig->nodes[2].sides[3].hold_path = false;
    rig_settle(rig);
    assert_int_equal(rig_leader(rig), 2);
    rig_free(rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choose__higher_last_term__beats_the_longer_log),
        cmocka_unit_test(choose__same_last_term__longer_log_wins),
        cmocka_unit_test(read__best_grantor_dies__chooses_again_among_standing_grants),
        cmocka_unit_test(read__partly_done__own_log_counts_as_it_now_is),
        cmocka_unit_test(read__entry_of_a_higher_term__candidate_steps_down),
        cmocka_unit_test(read__deposed_meanwhile__ends_before_the_ring_is_handed_over),
        cmocka_unit_test(lead_again__paths_open_at_once__each_begins_at_its_own_point),
        cmocka_unit_test(lead_again__follower_was_overwritten__its_old_durability_is_forgotten),
        cmocka_unit_test(confirm__grant_lost_meanwhile__all_are_probed_anew),
    };
    golden_init(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
