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

/*
 * The offset at which two logs part: below it they are equal. `a_tail`, `b_tail`: their ends.
 * `floor`: an offset known to be common (committed on both), the answer where the runs kept do
 * not reach back far enough.
 */
uint64_t lks_runs_common(const struct lks_run *a, uint32_t a_count, uint64_t a_tail,
                         const struct lks_run *b, uint32_t b_count, uint64_t b_tail,
                         uint64_t floor);

#endif
