/* Each command once in the log; see logged.h. */
#include "sim/checkers/logged.h"

#include "base/assert.h"

#include <inttypes.h>

void lks_sim_logged_next(struct lks_sim_logged *logged, struct lks_sim_verdict *verdict,
                         const struct lks_sim_logged_command *command)
{
    const uint32_t gateway = command->gateway;
    if (gateway == 0 || gateway > LKS_REPLICAS_MAX) {
        lks_sim_verdict_break(verdict, "each command is logged once",
                              "entry %" PRIu64 " is of a gateway %" PRIu32 ", which is none",
                              command->index, gateway);
        return;
    }
    verdict->checks++;
    const uint64_t life = logged->life[gateway];
    const uint64_t expected = command->life == life ? logged->last[gateway] + 1 : 1;
    if (command->life < life || command->sequence != expected) {
        lks_sim_verdict_break(verdict, "each command is logged once",
                              "entry %" PRIu64 " is command %" PRIu64 " of life %" PRIu64
                              " of gateway %" PRIu32 "; logged before was command %" PRIu64
                              " of life %" PRIu64,
                              command->index, command->sequence, command->life, gateway,
                              logged->last[gateway], life);
        return;
    }
    logged->life[gateway] = command->life;
    logged->last[gateway] = command->sequence;
}
