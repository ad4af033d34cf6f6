/* Linearizability of what clients saw; see history.h. */
#include "sim/checkers/history.h"

#include "base/assert.h"

#include <inttypes.h>

#define CONFIGURATIONS_MAX 400000u
#define NEVER UINT64_MAX /* key of a call that was refused: it is left out */

uint32_t lks_sim_history_call(struct lks_sim_history *history,
                              const struct lks_history_operation *operation)
{
    LKS_ASSERT(history->count < LKS_SIM_HISTORY_MAX);
    history->operations[history->count] = *operation;
    history->operations[history->count].known = false;
    return history->count++;
}

void lks_sim_history_refused(struct lks_sim_history *history, uint32_t place)
{
    LKS_ASSERT(place < history->count);
    history->operations[place].key = NEVER;
}

void lks_sim_history_return(struct lks_sim_history *history, uint32_t place,
                            const struct lks_history_operation *answer)
{
    LKS_ASSERT(place < history->count);
    struct lks_history_operation *operation = &history->operations[place];
    LKS_ASSERT(!operation->known);
    operation->known = true;
    operation->return_ns = answer->return_ns;
    operation->present = answer->present;
    operation->value = answer->value;
}

void lks_sim_history_check(struct lks_sim_history *history)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->count; i++) {
        if (history->operations[i].key != NEVER) {
            history->operations[kept++] = history->operations[i];
        }
    }
    history->count = kept;
    const struct lks_linearizability_options options = {.configurations_max =
                                                            CONFIGURATIONS_MAX};
    struct lks_linearizability_report report = {0};
    const int status =
        lks_linearizability_check(history->operations, history->count, &options, &report);
    LKS_ASSERT(status == 0);
    if (report.verdict == LKS_LINEARIZABILITY_TOO_BIG) {
        history->undecided++;
    } else if (report.verdict != LKS_LINEARIZABLE) {
        const struct lks_history_operation *operation = &history->operations[report.operation];
        lks_sim_verdict_break(history->verdict, "linearizability",
                              "no order explains operation %zu: key %" PRIu64
                              ", called at %" PRIu64 " ns, kind %d, argument %" PRId64
                              ", value %" PRId64,
                              report.operation, report.key, operation->call_ns,
                              (int)operation->kind, operation->argument, operation->value);
    }
}
