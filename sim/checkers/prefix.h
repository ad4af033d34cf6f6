/*
 * Checks: the logs of all replicas are equal up to what each has applied, for good; and a new
 * leader's log holds everything committed in earlier terms. Reads the rings themselves: the
 * chained checksum behind an entry stands for everything before it.
 */
#ifndef LKS_SIM_CHECKERS_PREFIX_H
#define LKS_SIM_CHECKERS_PREFIX_H

#include "pmem/journal.h"
#include "sim/checkers/logged.h"
#include "sim/checkers/verdict.h"
#include "verbs/fabric.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_SIM_ENTRIES_MAX 65536u

struct lks_sim_prefix {
    struct lks_sim_verdict *verdict;
    struct lks_log_point cursors[LKS_REPLICAS_MAX + 1]; /* behind what was checked, per replica */
    uint32_t chain[LKS_SIM_ENTRIES_MAX];                /* by index, once someone applied it */
    uint64_t term[LKS_SIM_ENTRIES_MAX];
    uint64_t last_index;
    struct lks_sim_logged logged; /* the commands up to last_index */
};

/* A new life of a replica: its whole prefix is checked again. */
void lks_sim_prefix_restarted(struct lks_sim_prefix *prefix, uint32_t replica,
                              const struct lks_journal *journal);

/* replica has applied everything below applied_offset, whose last entry is applied_index. */
struct lks_sim_applied {
    uint64_t index;
    uint64_t offset;
};
void lks_sim_prefix_applied(struct lks_sim_prefix *prefix, uint32_t replica,
                            const struct lks_journal *journal,
                            const struct lks_sim_applied *applied);

/* replica now leads `term`; its log ends with entry last_index. */
struct lks_sim_elected {
    uint64_t term;
    uint64_t last_index;
};
void lks_sim_prefix_elected(struct lks_sim_prefix *prefix, uint32_t replica,
                            const struct lks_sim_elected *elected);

#endif
