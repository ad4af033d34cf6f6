/* Each checker: silent on what is right, and loud on the one thing that it exists for. */
#include "sim/checkers/commands.h"
#include "sim/checkers/history.h"
#include "sim/checkers/leaders.h"
#include "sim/checkers/order.h"
#include "sim/checkers/prefix.h"
#include "sim/checkers/progress.h"
#include "sim/checkers/states.h"
#include "sim/checkers/writers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct lks_sim_verdict g_verdict;

static int reset(void **state)
{
    (void)state;
    memset(&g_verdict, 0, sizeof g_verdict);
    return 0;
}

#define assert_silent() assert_false(g_verdict.broken)
#define assert_found(name) \
    do { \
        assert_true(g_verdict.broken); \
        assert_string_equal(g_verdict.invariant, name); \
        assert_true(g_verdict.text[0] != '\0'); \
    } while (0)

static void verdict__two_violations__the_first_is_kept(void **state)
{
    (void)state;
    lks_sim_verdict_break(&g_verdict, "one", "text %d", 1);
    lks_sim_verdict_break(&g_verdict, "two", "text %d", 2);
    assert_string_equal(g_verdict.invariant, "one");
    assert_string_equal(g_verdict.text, "text 1");
}

static void writers__one_after_the_other__silent(void **state)
{
    (void)state;
    struct lks_sim_writers writers = {.verdict = &g_verdict};
    lks_sim_writers_granted(&writers, 1, 2);
    lks_sim_writers_granted(&writers, 2, 3);
    lks_sim_writers_revoked(&writers, 1, 2);
    lks_sim_writers_leads(&writers, 1);
    lks_sim_writers_granted(&writers, 1, 3);
    assert_silent();
}

static void writers__second_grant_on_one_ring__found(void **state)
{
    (void)state;
    struct lks_sim_writers writers = {.verdict = &g_verdict};
    lks_sim_writers_granted(&writers, 1, 2);
    lks_sim_writers_granted(&writers, 1, 3);
    assert_found("one writer per ring");
}

static void writers__owner_leads_under_a_grant__found(void **state)
{
    (void)state;
    struct lks_sim_writers writers = {.verdict = &g_verdict};
    lks_sim_writers_granted(&writers, 1, 2);
    lks_sim_writers_leads(&writers, 1);
    assert_found("one writer per ring");
}

static void leaders__another_replica_or_life_in_a_term__found(void **state)
{
    (void)state;
    struct lks_sim_leaders *leaders = calloc(1, sizeof *leaders);
    leaders->verdict = &g_verdict;
    lks_sim_leaders_seen(leaders, 4, 1, 1);
    lks_sim_leaders_seen(leaders, 4, 1, 1);
    lks_sim_leaders_seen(leaders, 5, 2, 1);
    assert_silent();
    assert_int_equal(leaders->terms, 2);
    lks_sim_leaders_seen(leaders, 5, 2, 2);
    assert_found("one leader per term");
    free(leaders);
}

static struct lks_sim_commands *commands_new(void)
{
    struct lks_sim_commands *commands = calloc(1, sizeof *commands);
    assert_non_null(commands);
    commands->verdict = &g_verdict;
    return commands;
}

static void commands__same_at_every_replica__silent(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    for (uint32_t replica = 1; replica <= 3; replica++) {
        lks_sim_commands_applied(commands, replica, 2, 7, 70);
        lks_sim_commands_applied(commands, replica, 4, 9, 90);
    }
    lks_sim_commands_acknowledged(commands, 7);
    lks_sim_commands_kept(commands, 1, 4);
    assert_silent();
    assert_int_equal(commands->executed_count, 2);
    free(commands);
}

static void commands__another_command_at_an_index__found(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    lks_sim_commands_applied(commands, 1, 2, 7, 70);
    lks_sim_commands_applied(commands, 2, 2, 8, 80);
    assert_found("committed entries agree");
    free(commands);
}

static void commands__one_command_at_two_indexes__found(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    lks_sim_commands_applied(commands, 1, 2, 7, 70);
    lks_sim_commands_applied(commands, 1, 3, 7, 70);
    assert_found("exactly once");
    free(commands);
}

static void commands__answered_and_not_executed__found(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    lks_sim_commands_acknowledged(commands, 7);
    assert_found("acknowledged is executed");
    free(commands);
}

static void commands__answered_and_beyond_the_end__found(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    lks_sim_commands_applied(commands, 1, 12, 7, 70);
    lks_sim_commands_acknowledged(commands, 7);
    lks_sim_commands_kept(commands, 2, 11);
    assert_found("acknowledged is kept");
    free(commands);
}

static void states__two_hashes_at_one_index__found(void **state)
{
    (void)state;
    struct lks_sim_states *states = calloc(1, sizeof *states);
    states->verdict = &g_verdict;
    lks_sim_states_seen(states, 1, 5, 100);
    lks_sim_states_seen(states, 2, 5, 100);
    assert_silent();
    assert_int_equal(states->compared, 1);
    lks_sim_states_seen(states, 3, 5, 101);
    assert_found("equal states");
    free(states);
}

static void progress__nothing_missing_or_not_yet_late__silent(void **state)
{
    (void)state;
    struct lks_sim_progress progress = {
        .verdict = &g_verdict, .healed_ns = 100, .bound_ns = 50};
    assert_false(lks_sim_progress_done(&progress, 149, "something"));
    assert_true(lks_sim_progress_done(&progress, 149, ""));
    assert_silent();
}

static void progress__missing_after_the_bound__found(void **state)
{
    (void)state;
    struct lks_sim_progress progress = {
        .verdict = &g_verdict, .healed_ns = 100, .bound_ns = 50};
    assert_true(lks_sim_progress_done(&progress, 150, "something"));
    assert_found("progress after faults");
}

static void prefix__leader_without_a_committed_entry__found(void **state)
{
    (void)state;
    struct lks_sim_prefix *prefix = calloc(1, sizeof *prefix);
    prefix->verdict = &g_verdict;
    prefix->last_index = 9;
    prefix->term[8] = 3;
    prefix->term[9] = 6;
    /* Entry 9 is of a later term: a late leader of term 5 need not have it. */
    lks_sim_prefix_elected(prefix, 1, &(struct lks_sim_elected){.term = 5, .last_index = 8});
    assert_silent();
    lks_sim_prefix_elected(prefix, 1, &(struct lks_sim_elected){.term = 7, .last_index = 8});
    assert_found("a leader's log is complete");
    free(prefix);
}

static const struct lks_history_operation g_set = {.key = 1,
                                                   .call_ns = 10,
                                                   .return_ns = 20,
                                                   .kind = LKS_HISTORY_SET,
                                                   .known = true,
                                                   .argument = 5};

static struct lks_history_operation read_of(int64_t value, uint64_t call_ns)
{
    return (struct lks_history_operation){.key = 1,
                                          .call_ns = call_ns,
                                          .return_ns = call_ns + 5,
                                          .kind = LKS_HISTORY_GET,
                                          .known = true,
                                          .present = true,
                                          .value = value};
}

static void order__answers_as_the_log_says__silent(void **state)
{
    (void)state;
    struct lks_sim_order order = {.verdict = &g_verdict};
    const struct lks_history_operation read = read_of(5, 30);
    lks_sim_order_next(&order, &(struct lks_sim_ordered){.index = 3, .operation = &g_set});
    lks_sim_order_next(&order, &(struct lks_sim_ordered){.index = 4, .operation = &read});
    assert_silent();
}

static void order__answer_that_the_log_denies__found(void **state)
{
    (void)state;
    struct lks_sim_order order = {.verdict = &g_verdict};
    const struct lks_history_operation read = read_of(6, 30);
    lks_sim_order_next(&order, &(struct lks_sim_ordered){.index = 3, .operation = &g_set});
    lks_sim_order_next(&order, &(struct lks_sim_ordered){.index = 4, .operation = &read});
    assert_found("linearizability");
}

static void order__log_against_time__found(void **state)
{
    (void)state;
    struct lks_sim_order order = {.verdict = &g_verdict};
    struct lks_history_operation late = g_set;
    late.call_ns = 100;
    late.return_ns = 110;
    lks_sim_order_next(&order, &(struct lks_sim_ordered){.index = 3, .operation = &late});
    lks_sim_order_next(&order, &(struct lks_sim_ordered){.index = 4, .operation = &g_set});
    assert_found("linearizability");
}

static void history__stale_read__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = calloc(1, sizeof *history);
    history->verdict = &g_verdict;
    const uint32_t first = lks_sim_history_call(history, &g_set);
    lks_sim_history_return(history, first, &g_set);
    struct lks_history_operation refused = g_set;
    refused.argument = 77;
    lks_sim_history_refused(history, lks_sim_history_call(history, &refused));
    struct lks_history_operation read = read_of(5, 30);
    lks_sim_history_return(history, lks_sim_history_call(history, &read), &read);
    lks_sim_history_check(history);
    assert_silent();
    read = read_of(4, 40);
    lks_sim_history_return(history, lks_sim_history_call(history, &read), &read);
    lks_sim_history_check(history);
    assert_found("linearizability");
    free(history);
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(verdict__two_violations__the_first_is_kept),
        TEST(writers__one_after_the_other__silent),
        TEST(writers__second_grant_on_one_ring__found),
        TEST(writers__owner_leads_under_a_grant__found),
        TEST(leaders__another_replica_or_life_in_a_term__found),
        TEST(commands__same_at_every_replica__silent),
        TEST(commands__another_command_at_an_index__found),
        TEST(commands__one_command_at_two_indexes__found),
        TEST(commands__answered_and_not_executed__found),
        TEST(commands__answered_and_beyond_the_end__found),
        TEST(states__two_hashes_at_one_index__found),
        TEST(progress__nothing_missing_or_not_yet_late__silent),
        TEST(progress__missing_after_the_bound__found),
        TEST(prefix__leader_without_a_committed_entry__found),
        TEST(order__answers_as_the_log_says__silent),
        TEST(order__answer_that_the_log_denies__found),
        TEST(order__log_against_time__found),
        TEST(history__stale_read__found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
