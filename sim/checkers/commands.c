/* Agreement, exactly once, nothing acknowledged lost; see commands.h. */
#include "sim/checkers/commands.h"

#include "base/assert.h"

#include <inttypes.h>

void lks_sim_commands_applied(struct lks_sim_commands *commands, uint32_t replica,
                              const struct lks_sim_executed *executed)
{
    const uint64_t index = executed->index;
    const uint64_t number = executed->number;
    LKS_ASSERT(index < LKS_SIM_INDEXES_MAX);
    LKS_ASSERT(number > 0 && number < LKS_SIM_COMMANDS_MAX);
    struct lks_sim_executed *at = &commands->at[index];
    commands->verdict->checks++;
    if (at->number == 0) {
        *at = *executed;
    }
    if (at->number != number || at->hash != executed->hash) {
        lks_sim_verdict_break(commands->verdict, "committed entries agree",
                              "replica %" PRIu32 " executed command %" PRIu64 " at index %" PRIu64
                              ", where command %" PRIu64 " was executed before",
                              replica, number, index, at->number);
    }
    if (commands->index_of[number] == 0) {
        commands->index_of[number] = index;
        commands->executed_count++;
    }
    if (commands->index_of[number] != index) {
        lks_sim_verdict_break(commands->verdict, "exactly once",
                              "replica %" PRIu32 " executed command %" PRIu64 " at index %" PRIu64
                              "; it was executed at index %" PRIu64 " before",
                              replica, number, index, commands->index_of[number]);
    }
    if (index > commands->last_index) {
        commands->last_index = index;
    }
}

void lks_sim_commands_acknowledged(struct lks_sim_commands *commands, uint64_t number)
{
    LKS_ASSERT(number > 0 && number < LKS_SIM_COMMANDS_MAX);
    if (commands->index_of[number] == 0) {
        lks_sim_verdict_break(commands->verdict, "acknowledged is executed",
                              "command %" PRIu64 " was answered and nobody has executed it",
                              number);
    }
    commands->acknowledged_count += commands->acknowledged[number] == 0 ? 1 : 0;
    commands->acknowledged[number] = 1;
    if (number > commands->last_number) {
        commands->last_number = number;
    }
}

void lks_sim_commands_kept(struct lks_sim_commands *commands, uint32_t replica,
                           uint64_t applied_index)
{
    for (uint64_t number = 1; number <= commands->last_number; number++) {
        if (commands->acknowledged[number] != 0 && commands->index_of[number] > applied_index) {
            lks_sim_verdict_break(commands->verdict, "acknowledged is kept",
                                  "command %" PRIu64 " at index %" PRIu64
                                  " was answered; replica %" PRIu32 " ends at index %" PRIu64,
                                  number, commands->index_of[number], replica, applied_index);
        }
    }
}
