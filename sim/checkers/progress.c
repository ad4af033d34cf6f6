/* Progress after faults have healed; see progress.h. */
#include "sim/checkers/progress.h"

#include <inttypes.h>

bool lks_sim_progress_done(struct lks_sim_progress *progress, uint64_t now_ns,
                           const char *missing)
{
    if (missing[0] == '\0') {
        return true;
    }
    if (now_ns - progress->healed_ns < progress->bound_ns) {
        return false;
    }
    lks_sim_verdict_break(progress->verdict, "progress after faults",
                          "%" PRIu64 " ms after the last fault: %s",
                          (now_ns - progress->healed_ns) / 1000000, missing);
    return true;
}
