/* Each checker: silent on what is right, and loud on the one thing that it exists for. */
#include "sim/checkers/bounds.h"
#include "sim/checkers/commands.h"
#include "sim/checkers/history.h"
#include "sim/checkers/leaders.h"
#include "sim/checkers/logged.h"
#include "sim/checkers/order.h"
#include "sim/checkers/prefix.h"
#include "sim/checkers/progress.h"
#include "sim/checkers/reads.h"
#include "sim/checkers/states.h"
#include "sim/checkers/writers.h"
#include "sim/heap.h"

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

static void writers__write_behind_its_revocation__found(void **state)
{
    (void)state;
    struct lks_sim_writers writers = {.verdict = &g_verdict};
    lks_sim_writers_granted(&writers, 1, 2);
    lks_sim_writers_revoked(&writers, 1, 2);
    assert_silent();
    lks_sim_writers_unfenced(&writers, 1, 2);
    assert_found("one writer per ring");
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
    lks_sim_leaders_founded(leaders);
    lks_sim_leaders_seen(leaders, 5, 2, 2);
    assert_silent(); /* a term of another cluster */
    lks_sim_leaders_seen(leaders, 5, 2, 3);
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

static void applied(struct lks_sim_commands *commands, uint32_t replica, uint64_t index,
                    uint64_t number)
{
    const struct lks_sim_executed executed = {
        .index = index, .number = number, .hash = number * 10};
    lks_sim_commands_applied(commands, replica, &executed);
}

static void commands__same_at_every_replica__silent(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    for (uint32_t replica = 1; replica <= 3; replica++) {
        applied(commands, replica, 2, 7);
        applied(commands, replica, 4, 9);
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
    applied(commands, 1, 2, 7);
    applied(commands, 2, 2, 8);
    assert_found("committed entries agree");
    free(commands);
}

static void commands__other_bytes_or_time_at_an_index__found(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    applied(commands, 1, 2, 7);
    const struct lks_sim_executed other = {.index = 2, .number = 7, .hash = 71};
    lks_sim_commands_applied(commands, 2, &other);
    assert_found("committed entries agree");
    free(commands);
}

static void commands__one_command_at_two_indexes__found(void **state)
{
    (void)state;
    struct lks_sim_commands *commands = commands_new();
    applied(commands, 1, 2, 7);
    applied(commands, 1, 3, 7);
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
    applied(commands, 1, 12, 7);
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

struct logged_word {
    uint32_t gateway;
    uint64_t life;
    uint64_t sequence;
};

static void log_all(const struct logged_word *words, size_t count)
{
    struct lks_sim_logged logged = {0};
    for (size_t i = 0; i < count; i++) {
        const struct lks_sim_logged_command command = {.index = i + 1,
                                                       .gateway = words[i].gateway,
                                                       .life = words[i].life,
                                                       .sequence = words[i].sequence};
        lks_sim_logged_next(&logged, &g_verdict, &command);
    }
}

static void logged__each_life_in_its_order__silent(void **state)
{
    (void)state;
    const struct logged_word words[] = {{1, 1, 1}, {2, 7, 1}, {1, 1, 2}, {1, 3, 1}, {2, 7, 2}};
    log_all(words, sizeof words / sizeof *words);
    assert_silent();
}

static void logged__twice_or_a_hole_or_a_former_life__found(void **state)
{
    const struct logged_word wrong[][2] = {
        {{1, 1, 1}, {1, 1, 1}}, {{1, 1, 1}, {1, 1, 3}}, {{1, 1, 1}, {1, 2, 2}},
        {{1, 2, 1}, {1, 1, 1}}, {{1, 1, 1}, {8, 1, 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        reset(state);
        log_all(wrong[i], 2);
        assert_found("each command is logged once");
    }
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

static void bounds__above_a_limit__found(void **state)
{
    (void)state;
    struct lks_sim_bounds bounds = {.verdict = &g_verdict, .times = 1};
    uint64_t held[LKS_SIM_BOUNDS] = {[LKS_SIM_BOUND_OPERATIONS] = 2048};
    lks_sim_bounds_seen(&bounds, 1, held);
    assert_silent();
    assert_int_equal(bounds.most[LKS_SIM_BOUND_OPERATIONS], 2048);
    held[LKS_SIM_BOUND_HEAP_BYTES] = UINT64_C(1) << 30;
    lks_sim_bounds_seen(&bounds, 1, held);
    assert_found("nothing grows without limit");
}

static void heap__entered_and_left__counts_its_own(void **state)
{
    (void)state;
    lks_sim_heap_forget(2);
    void *before = malloc(1000);
    assert_int_equal(lks_sim_heap_enter(2), 0);
    void *block = malloc(1000);
    assert_true(lks_sim_heap_bytes(2) >= 1000);
    block = realloc(block, 3000);
    assert_true(lks_sim_heap_bytes(2) >= 3000 && lks_sim_heap_bytes(2) < 4000);
    free(block);
    assert_int_equal(lks_sim_heap_bytes(2), 0);
    assert_int_equal(lks_sim_heap_enter(0), 2);
    free(before);
    assert_int_equal(lks_sim_heap_bytes(2), 0);
}

/* ---- histories ------------------------------------------------------------------------------ */

static struct lks_sim_history *history_new(void)
{
    struct lks_sim_history *history = calloc(1, sizeof *history);
    assert_non_null(history);
    history->verdict = &g_verdict;
    return history;
}

/* Draws until the operation is of this kind on key `key`. */
static struct lks_sim_operation operation_of(enum lks_sim_model_kind kind, uint32_t key,
                                             int64_t argument)
{
    struct lks_sim_random random;
    struct lks_sim_operation operation;
    lks_sim_random_init(&random, 1);
    do {
        lks_sim_operation_draw(&operation, &random, argument, 8);
    } while (lks_sim_operation_kind(&operation) != kind || operation.key != key ||
             lks_sim_operation_is_double(&operation));
    return operation;
}

static void call(struct lks_sim_history *history, const struct lks_sim_operation *operation,
                 uint64_t call_ns, const char *reply)
{
    struct lks_sim_answer answer;
    const uint32_t number = lks_sim_history_call(history, operation, call_ns);
    if (reply != NULL) {
        lks_sim_answer_read(&answer, reply, strlen(reply));
        lks_sim_history_return(history, number, &answer, call_ns + 5);
    }
}

static void history__stale_read__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    struct lks_sim_operation set = operation_of(LKS_SIM_SET, 1, 5);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, 1, 0);
    call(history, &set, 10, "+OK\r\n");
    set.argument = 77;
    lks_sim_history_refused(history, lks_sim_history_call(history, &set, 20));
    call(history, &get, 30, "$2\r\n5.\r\n");
    lks_sim_history_check(history);
    assert_silent();
    call(history, &get, 40, "$2\r\n4.\r\n");
    lks_sim_history_check(history);
    assert_found("linearizability");
    free(history);
}

static void history__conditional_sets__what_they_saw_counts(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const uint32_t key = LKS_SIM_KEYS - 1;
    const struct lks_sim_operation absent = operation_of(LKS_SIM_SET_ABSENT, key, 5);
    const struct lks_sim_operation present = operation_of(LKS_SIM_SET_PRESENT, key, 6);
    const struct lks_sim_operation exchange = operation_of(LKS_SIM_SET_GET, key, 7);
    const struct lks_sim_operation exists = operation_of(LKS_SIM_EXISTS, key, 0);
    call(history, &present, 10, "_\r\n");
    call(history, &absent, 20, "+OK\r\n");
    call(history, &exists, 30, ":1\r\n");
    call(history, &absent, 40, "_\r\n");
    call(history, &present, 50, "+OK\r\n");
    call(history, &exchange, 60, "$2\r\n6.\r\n");
    lks_sim_history_check(history);
    assert_silent();
    call(history, &absent, 70, "+OK\r\n");
    lks_sim_history_check(history);
    assert_found("linearizability");
    free(history);
}

static void history__flushall__removes_every_key(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation set = operation_of(LKS_SIM_SET, 1, 5);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, 1, 0);
    struct lks_sim_operation flush = set;
    while (lks_sim_operation_kind(&flush) != LKS_SIM_FLUSHALL) {
        flush.row++;
    }
    call(history, &set, 10, "+OK\r\n");
    call(history, &flush, 20, "+OK\r\n");
    call(history, &get, 30, "_\r\n");
    lks_sim_history_check(history);
    assert_silent();
    call(history, &get, 40, "$2\r\n5.\r\n");
    lks_sim_history_check(history);
    assert_found("linearizability");
    free(history);
}

static void history__append__length_is_followed(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const uint32_t key = LKS_SIM_REGISTERS + LKS_SIM_COUNTERS;
    struct lks_sim_operation append = operation_of(LKS_SIM_APPEND, key, 5);
    const struct lks_sim_operation length = operation_of(LKS_SIM_STRLEN, key, 0);
    append.filler_bytes = 3;
    call(history, &append, 10, ":5\r\n");
    call(history, &append, 20, NULL); /* unknown: may have happened */
    call(history, &length, 30, ":10\r\n");
    lks_sim_history_check(history);
    assert_silent();
    call(history, &length, 40, ":5\r\n");
    lks_sim_history_check(history);
    assert_found("linearizability");
    free(history);
}

/* Replays the calls of a history in their own order. */
static void replay(const struct lks_sim_history *history)
{
    struct lks_sim_order *order = calloc(1, sizeof *order);
    assert_non_null(order);
    order->verdict = &g_verdict;
    for (uint32_t number = 1; number <= history->count; number++) {
        const struct lks_sim_ordered next = {
            .index = number + 2, .number = number, .call = &history->calls[number]};
        lks_sim_order_next(order, &next);
    }
    free(order);
}

static void order__answer_that_the_log_denies__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    struct lks_sim_operation set = operation_of(LKS_SIM_SET, 1, 5);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, 1, 0);
    set.filler_bytes = 2;
    call(history, &set, 10, "+OK\r\n");
    call(history, &get, 20, "$4\r\n5.ff\r\n");
    replay(history);
    assert_silent();
    call(history, &get, 30, "$4\r\n5.fe\r\n"); /* one byte of the filler */
    replay(history);
    assert_found("linearizability");
    free(history);
}

static void order__log_against_time__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation set = operation_of(LKS_SIM_SET, 1, 5);
    call(history, &set, 100, "+OK\r\n");
    call(history, &set, 10, "+OK\r\n");
    replay(history);
    assert_found("linearizability");
    free(history);
}

static void order__refused_and_executed__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation set = operation_of(LKS_SIM_SET, 1, 5);
    call(history, &set, 10, NULL);
    lks_sim_history_refused(history, 1);
    replay(history);
    assert_found("refused is not executed");
    free(history);
}

static void order__logged_time_goes_back__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation set = operation_of(LKS_SIM_SET, 1, 5);
    call(history, &set, 10, "+OK\r\n");
    struct lks_sim_order *order = calloc(1, sizeof *order);
    order->verdict = &g_verdict;
    struct lks_sim_ordered next = {
        .index = 1, .number = 1, .time_ns = 100, .call = &history->calls[1]};
    lks_sim_order_next(order, &next);
    assert_silent();
    next.index = 2;
    next.time_ns = 99;
    lks_sim_order_next(order, &next);
    assert_found("logged time never goes back");
    free(order);
    free(history);
}

/* Places all reads without entries of a history whose writes stand at index = number. */
static void place_reads(const struct lks_sim_history *history)
{
    struct lks_sim_reads reads;
    struct lks_sim_model *model = calloc(1, sizeof *model);
    uint64_t *index_of = calloc(LKS_SIM_COMMANDS_MAX, sizeof *index_of);
    for (uint32_t number = 1; number <= history->count; number++) {
        const bool read = lks_sim_operation_is_read(&history->calls[number].operation);
        index_of[number] = read ? 0 : number;
    }
    lks_sim_reads_init(&reads, history, index_of, &g_verdict);
    for (uint32_t index = 0; index <= history->count; index++) {
        struct lks_sim_answer answer;
        if (index_of[index] == 0 && index != 0) {
            continue;
        }
        if (index != 0) {
            lks_sim_model_apply(model, &history->calls[index].operation, 0, &answer);
        }
        uint32_t next = index + 1;
        while (next <= history->count && index_of[next] == 0) {
            next++;
        }
        const struct lks_sim_gap gap = {.index = index,
                                        .next = next <= history->count ? next : UINT64_MAX,
                                        .to_ns = UINT64_MAX};
        lks_sim_reads_place(&reads, model, &gap);
    }
    lks_sim_reads_fini(&reads);
    free(index_of);
    free(model);
}

static void reads__concurrent_with_a_write__either_state_explains(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation incr = operation_of(LKS_SIM_ADD_ONE, LKS_SIM_REGISTERS, 1);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, LKS_SIM_REGISTERS, 0);
    call(history, &incr, 10, ":1\r\n");
    call(history, &incr, 20, ":2\r\n");
    call(history, &get, 22, "$1\r\n1\r\n"); /* the second one has not returned yet */
    call(history, &get, 23, "$1\r\n2\r\n");
    place_reads(history);
    assert_silent();
    free(history);
}

static void reads__out_of_their_connections_order__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation incr = operation_of(LKS_SIM_ADD_ONE, LKS_SIM_REGISTERS, 1);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, LKS_SIM_REGISTERS, 0);
    call(history, &get, 20, "$1\r\n1\r\n"); /* all three are under way at once */
    call(history, &incr, 21, ":1\r\n");
    call(history, &get, 22, "_\r\n");
    place_reads(history);
    assert_silent();
    history->calls[1].connection = 1;
    history->calls[2].connection = 2;
    history->calls[3].connection = 1;
    place_reads(history);
    assert_silent();
    history->calls[2].connection = 1; /* the first read came before it, the last one behind it */
    place_reads(history);
    assert_found("linearizability");
    reset(state);
    history->calls[1].connection = 0;
    place_reads(history);
    assert_found("linearizability");
    free(history);
}

static void reads__older_than_a_write_that_returned__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation incr = operation_of(LKS_SIM_ADD_ONE, LKS_SIM_REGISTERS, 1);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, LKS_SIM_REGISTERS, 0);
    call(history, &incr, 10, ":1\r\n");
    call(history, &incr, 20, ":2\r\n");
    call(history, &get, 30, "$1\r\n1\r\n");
    place_reads(history);
    assert_found("linearizability");
    free(history);
}

static void reads__one_after_another_go_back__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation incr = operation_of(LKS_SIM_ADD_ONE, LKS_SIM_REGISTERS, 1);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, LKS_SIM_REGISTERS, 0);
    call(history, &incr, 10, ":1\r\n");
    call(history, &incr, 20, NULL); /* under way all the time */
    call(history, &get, 30, "$1\r\n2\r\n");
    call(history, &get, 40, "$1\r\n1\r\n");
    place_reads(history);
    assert_found("linearizability");
    free(history);
}

static void reads__time_of_the_log_goes_back__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, LKS_SIM_REGISTERS, 0);
    call(history, &get, 10, "_\r\n");
    call(history, &get, 20, "_\r\n");
    history->calls[1].state_ns = 100;
    history->calls[2].state_ns = 100;
    place_reads(history);
    assert_silent();
    history->calls[2].state_ns = 99; /* what had expired would be there again */
    place_reads(history);
    assert_found("linearizability");
    free(history);
}

static void reads__of_the_future__found(void **state)
{
    (void)state;
    struct lks_sim_history *history = history_new();
    const struct lks_sim_operation incr = operation_of(LKS_SIM_ADD_ONE, LKS_SIM_REGISTERS, 1);
    const struct lks_sim_operation get = operation_of(LKS_SIM_GET, LKS_SIM_REGISTERS, 0);
    call(history, &get, 10, "$1\r\n1\r\n");
    call(history, &incr, 20, ":1\r\n");
    place_reads(history);
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
        TEST(writers__write_behind_its_revocation__found),
        TEST(writers__owner_leads_under_a_grant__found),
        TEST(leaders__another_replica_or_life_in_a_term__found),
        TEST(commands__same_at_every_replica__silent),
        TEST(commands__another_command_at_an_index__found),
        TEST(commands__other_bytes_or_time_at_an_index__found),
        TEST(commands__one_command_at_two_indexes__found),
        TEST(commands__answered_and_not_executed__found),
        TEST(commands__answered_and_beyond_the_end__found),
        TEST(states__two_hashes_at_one_index__found),
        TEST(progress__nothing_missing_or_not_yet_late__silent),
        TEST(progress__missing_after_the_bound__found),
        TEST(bounds__above_a_limit__found),
        TEST(heap__entered_and_left__counts_its_own),
        TEST(logged__each_life_in_its_order__silent),
        TEST(logged__twice_or_a_hole_or_a_former_life__found),
        TEST(prefix__leader_without_a_committed_entry__found),
        TEST(order__answer_that_the_log_denies__found),
        TEST(order__log_against_time__found),
        TEST(order__refused_and_executed__found),
        TEST(order__logged_time_goes_back__found),
        TEST(reads__concurrent_with_a_write__either_state_explains),
        TEST(reads__out_of_their_connections_order__found),
        TEST(reads__older_than_a_write_that_returned__found),
        TEST(reads__one_after_another_go_back__found),
        TEST(reads__time_of_the_log_goes_back__found),
        TEST(reads__of_the_future__found),
        TEST(history__stale_read__found),
        TEST(history__conditional_sets__what_they_saw_counts),
        TEST(history__flushall__removes_every_key),
        TEST(history__append__length_is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
