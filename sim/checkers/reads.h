/*
 * Checks reads that were answered without an entry of their own, against the order of the log:
 * there is a place between two entries where the state gives the answer, not before anything that
 * had returned before the read was called (writes and other such reads), nor behind anything that
 * was called after it had returned; on its own connection, neither before what was called before
 * it nor behind what was called after it; and the state's time is one that the log had reached
 * there, and does not go back from one read to the next. Each read takes the first place that
 * fits, which leaves the others the most room: so all are explained, or none can be. One thread.
 */
#ifndef LKS_SIM_CHECKERS_READS_H
#define LKS_SIM_CHECKERS_READS_H

#include "sim/checkers/history.h"
#include "sim/checkers/model.h"
#include "sim/checkers/verdict.h"

#include <stdbool.h>
#include <stdint.h>

struct lks_sim_read {
    uint32_t number;
    bool placed;
    uint64_t after;  /* not before this index was executed ... */
    uint64_t before; /* ... and this one not yet */
};

struct lks_sim_reads {
    struct lks_sim_verdict *verdict;
    const struct lks_sim_history *history;
    struct lks_sim_read *reads; /* in the order of their calls */
    uint32_t count;
    uint32_t first; /* of those that are not placed */
};

/* Where the model stands: behind entry `index` (0: before all), where the next executed one is
 * `next` (UINT64_MAX: none); and the times that they carry (UINT64_MAX where none is). */
struct lks_sim_gap {
    uint64_t index;
    uint64_t next;
    uint64_t from_ns;
    uint64_t to_ns;
};

/* Takes in the answered reads of a history that have no entry: index_of[number] is 0. */
void lks_sim_reads_init(struct lks_sim_reads *reads, const struct lks_sim_history *history,
                        const uint64_t *index_of, struct lks_sim_verdict *verdict);
void lks_sim_reads_fini(struct lks_sim_reads *reads);

void lks_sim_reads_place(struct lks_sim_reads *reads, struct lks_sim_model *model,
                         const struct lks_sim_gap *gap);

#endif
