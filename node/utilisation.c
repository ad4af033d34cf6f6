/* How busy workers are; see utilisation.h. */
#include "node/utilisation.h"

#include "base/assert.h"
#include "base/clock.h"

#include <string.h>

#define LOOK_EVERY_NS LKS_NS_PER_S

void lks_utilisation_begin(struct lks_utilisation *utilisation, uint64_t now_ns)
{
    *utilisation = (struct lks_utilisation){.at_ns = {now_ns, now_ns}};
}

bool lks_utilisation_is_due(const struct lks_utilisation *utilisation, uint64_t now_ns)
{
    return now_ns >= utilisation->at_ns[1] + LOOK_EVERY_NS;
}

void lks_utilisation_look(struct lks_utilisation *utilisation, uint64_t now_ns,
                          const uint64_t *idle_ns, uint32_t workers)
{
    LKS_ASSERT(workers <= LKS_WORKERS_MAX);
    LKS_ASSERT(now_ns >= utilisation->at_ns[1]);
    utilisation->at_ns[0] = utilisation->at_ns[1];
    utilisation->at_ns[1] = now_ns;
    memcpy(utilisation->idle_ns[0], utilisation->idle_ns[1], sizeof utilisation->idle_ns[0]);
    memcpy(utilisation->idle_ns[1], idle_ns, workers * sizeof *idle_ns);
}

uint32_t lks_utilisation_percent(const struct lks_utilisation *utilisation, uint64_t now_ns,
                                 uint32_t worker, uint64_t idle_ns)
{
    LKS_ASSERT(worker < LKS_WORKERS_MAX);
    const uint64_t before_ns = utilisation->idle_ns[0][worker];
    if (now_ns <= utilisation->at_ns[0]) {
        return 0;
    }
    const uint64_t passed_ns = now_ns - utilisation->at_ns[0];
    /* Both figures are of one moment each: idle time may seem to run a little ahead, or back. */
    const uint64_t idle = idle_ns > before_ns ? idle_ns - before_ns : 0;
    return idle < passed_ns ? (uint32_t)((passed_ns - idle) * 100 / passed_ns) : 0;
}
