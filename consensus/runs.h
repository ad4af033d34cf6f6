/*
 * The term runs of a log: where each term's entries begin. From the runs of two logs follows the
 * point where they part, without reading either. Pure data, owned by the core.
 *
 * Why it is sound: one leader a term, which appends its entries behind one another, from one
 * point that it fixed when it was elected. So two logs that hold any entry of term t hold the
 * same run of t from the same offset, one a prefix of the other, and are equal below it.
 */
#ifndef LKS_CONSENSUS_RUNS_H
#define LKS_CONSENSUS_RUNS_H

#include "consensus/types.h"

#define LKS_RUNS_MAX 64u

/* The last runs of a log, rising in term and offset; older ones are forgotten. */
struct lks_runs {
    uint32_t count;
    struct lks_run items[LKS_RUNS_MAX];
};

/* An entry of `term` begins at `offset`: opens a run if the term is new. Terms never sink. */
void lks_runs_note(struct lks_runs *runs, uint64_t term, uint64_t offset);

/* Forgets everything at and above offset (the log was cut there). */
void lks_runs_cut(struct lks_runs *runs, uint64_t offset);

/* Forgets everything below base; the log ends at tail. A run that goes on above the base begins at
 * the base from now on. */
void lks_runs_raise(struct lks_runs *runs, uint64_t base, uint64_t tail);

/* What is known of a log: what it holds above its base, and the entry before that. */
struct lks_outline {
    uint64_t base;      /* offset; nothing below it is in the log any more */
    uint64_t base_term; /* of the entry that ends there; 0: none */
    uint64_t tail;
    const struct lks_run *runs; /* the last ones above the base, rising */
    uint32_t count;
};

/*
 * The offset at which two logs part: below it they are equal, as far as either still holds it.
 * `floor`: an offset known to be common (committed on both), the answer where the runs kept do
 * not reach back far enough. The answer may lie below a base: the entry before a base tells the
 * term of a run that this log held.
 */
uint64_t lks_runs_common(const struct lks_outline *a, const struct lks_outline *b, uint64_t floor);

#endif
