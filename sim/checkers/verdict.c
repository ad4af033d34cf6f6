/* The first violation of a run; see verdict.h. */
#include "sim/checkers/verdict.h"

#include <stdarg.h>
#include <stdio.h>

void lks_sim_verdict_break(struct lks_sim_verdict *verdict, const char *invariant,
                           const char *format, ...)
{
    if (verdict->broken) {
        return;
    }
    verdict->broken = true;
    (void)snprintf(verdict->invariant, sizeof verdict->invariant, "%s", invariant);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(verdict->text, sizeof verdict->text, format, args);
    va_end(args);
}
