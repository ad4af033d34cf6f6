/*
 * What the checkers of a run have found: the first violation, kept. Checkers are independent of
 * the core: they see what replicas did and what clients were told, never the protocol's state.
 */
#ifndef LKS_SIM_CHECKERS_VERDICT_H
#define LKS_SIM_CHECKERS_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_verdict {
    bool broken;
    char invariant[48]; /* a short name */
    char text[320];     /* what exactly */
    uint64_t checks;    /* comparisons made so far */
};

/* Keeps it unless there is one already. */
void lks_sim_verdict_break(struct lks_sim_verdict *verdict, const char *invariant,
                           const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

#endif
