/* Linearizability of what clients saw; see history.h. */
#include "sim/checkers/history.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdlib.h>

#define CONFIGURATIONS_MAX 20000u /* what is harder is left to the log's order */

uint32_t lks_sim_history_call(struct lks_sim_history *history,
                              const struct lks_sim_operation *operation, uint64_t now_ns)
{
    LKS_ASSERT(history->count + 1 < LKS_SIM_COMMANDS_MAX);
    history->count++;
    history->calls[history->count] =
        (struct lks_sim_call){.operation = *operation, .call_ns = now_ns};
    return history->count;
}

void lks_sim_history_refused(struct lks_sim_history *history, uint32_t number)
{
    LKS_ASSERT(number > 0 && number <= history->count);
    history->calls[number].refused = true;
}

void lks_sim_history_return(struct lks_sim_history *history, uint32_t number,
                            const struct lks_sim_answer *answer, uint64_t now_ns)
{
    LKS_ASSERT(number > 0 && number <= history->count);
    struct lks_sim_call *call = &history->calls[number];
    LKS_ASSERT(!call->answer.known);
    LKS_ASSERT(answer->known);
    call->answer = *answer;
    call->return_ns = now_ns;
}

/* What the search sees: `operations` and `numbers` have room for all; returns how many. */
static size_t project(const struct lks_sim_history *history,
                      struct lks_history_operation *operations, uint32_t *numbers)
{
    size_t count = 0;
    for (uint32_t number = 1; number <= history->count; number++) {
        const struct lks_sim_call *call = &history->calls[number];
        if (call->refused) {
            continue;
        }
        const uint32_t added =
            lks_sim_operation_project(&call->operation, &call->answer, &operations[count]);
        for (uint32_t i = 0; i < added; i++) {
            operations[count].call_ns = call->call_ns;
            operations[count].return_ns = call->return_ns;
            numbers[count] = number;
            count++;
        }
    }
    return count;
}

static void judge(struct lks_sim_history *history,
                  const struct lks_linearizability_report *report, uint32_t number)
{
    if (report->verdict == LKS_LINEARIZABILITY_TOO_BIG) {
        history->undecided++;
        return;
    }
    if (report->verdict == LKS_LINEARIZABLE) {
        return;
    }
    const struct lks_sim_call *call = &history->calls[number];
    char words[64];
    char key[4];
    lks_sim_operation_print(&call->operation, words, sizeof words);
    lks_sim_operation_key((uint32_t)report->key, key);
    lks_sim_verdict_break(history->verdict, "linearizability",
                          "no order of the operations on %s explains command %" PRIu32
                          ", %s, called at %.6f ms, answered with %s",
                          key, number, words, (double)call->call_ns / 1e6, call->answer.text);
}

void lks_sim_history_check(struct lks_sim_history *history)
{
    size_t most = 1;
    for (uint32_t number = 1; number <= history->count; number++) {
        const enum lks_sim_model_kind kind =
            lks_sim_operation_kind(&history->calls[number].operation);
        most += kind == LKS_SIM_FLUSHALL ? LKS_SIM_KEYS : 2;
    }
    /* A projection may fill LKS_SIM_KEYS entries. */
    struct lks_history_operation *operations = calloc(most + LKS_SIM_KEYS, sizeof *operations);
    uint32_t *numbers = calloc(most + LKS_SIM_KEYS, sizeof *numbers);
    LKS_ASSERT(operations != NULL);
    LKS_ASSERT(numbers != NULL);
    const size_t count = project(history, operations, numbers);
    const struct lks_linearizability_options options = {.configurations_max =
                                                            CONFIGURATIONS_MAX};
    struct lks_linearizability_report report = {0};
    history->verdict->checks += count;
    const int status = lks_linearizability_check(operations, count, &options, &report);
    LKS_ASSERT(status == 0);
    judge(history, &report, count > 0 ? numbers[report.operation] : 0);
    free(numbers);
    free(operations);
}
