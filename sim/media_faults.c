/*
 * Media that fail in part: a snapshot area that cannot be made durable for as long as its replica
 * runs, a journal of which bits have rotted while its host was off, a medium that fails while its
 * replica starts. What the replica cannot mend it has to notice, and say so. One thread.
 */
#include "sim/faults_internal.h"

#include "base/assert.h"
#include "pmem/layout.h"
#include "pmem/slots.h"

#include <errno.h>

static const int g_reasons[] = {-EIO, -ENOSPC, -EDQUOT};

int lks_sim_media_reason(struct lks_sim_random *random)
{
    return g_reasons[lks_sim_random_below(random, LKS_COUNT_OF(g_reasons))];
}

/* ---- snapshot areas ----------------------------------------------------------------------- */

bool lks_sim_media_fail_area(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = faults->options.processes[replica];
    if (lks_sim_process_state(process) != LKS_SIM_RUNNING ||
        lks_sim_media_area_fails(faults, replica) ||
        !lks_sim_fault_may_forget(faults, replica)) {
        return false; /* (progress is asked for with a minority like that, at most) */
    }
    lks_sim_storage_fail_area(lks_sim_process_storage(process),
                              lks_sim_media_reason(&faults->random)); /* until it starts again */
    return true;
}

/* ---- journals ----------------------------------------------------------------------------- */

/* A byte of the log that was durable and committed: [base, floor). 0: there is none. */
static uint64_t place_in_log(struct lks_sim_faults *faults, const struct lks_sim_process *process)
{
    const struct lks_sim_storage *storage = lks_sim_process_storage(process);
    const struct lks_journal *journal = lks_sim_storage_journal(storage);
    struct lks_identity identity;
    struct lks_log_point base;
    if (journal == NULL) {
        return 0;
    }
    lks_journal_identity(journal, &identity);
    lks_journal_base(journal, &base);
    if (identity.floor <= base.offset) {
        return 0;
    }
    const uint64_t offset =
        base.offset + lks_sim_random_below(&faults->random, identity.floor - base.offset);
    return lks_sim_storage_ring_at(storage) + offset % lks_journal_ring_bytes(journal);
}

/* A page of records: one of its copies, or both. */
static void rot_records(struct lks_sim_faults *faults, struct lks_sim_storage *storage)
{
    struct lks_sim_random *random = &faults->random;
    const uint64_t page =
        LKS_PAGE_IDENTITY + lks_sim_random_below(random, LKS_PAGE_OWNER - LKS_PAGE_IDENTITY);
    const uint64_t copies = 1 + lks_sim_random_below(random, 3); /* bit c: copy c */
    for (uint64_t copy = 0; copy < 2; copy++) {
        if ((copies >> copy & 1) != 0) {
            lks_sim_storage_rot(storage,
                                page * LKS_JOURNAL_PAGE + copy * LKS_SLOT_SECOND_COPY_AT +
                                    lks_sim_random_below(random, LKS_SLOT_BYTES),
                                (uint32_t)lks_sim_random_below(random, 8));
        }
    }
}

bool lks_sim_media_rot_journal(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = faults->options.processes[replica];
    struct lks_sim_storage *storage = lks_sim_process_storage(process);
    if (!lks_sim_fault_may_forget(faults, replica)) {
        return false;
    }
    const uint64_t in_log = place_in_log(faults, process);
    (void)lks_sim_fault_cut_power(faults, replica);
    if (lks_sim_process_state(process) != LKS_SIM_DOWN) {
        return false;
    }
    const uint64_t drawn = lks_sim_random_below(&faults->random, 100);
    const uint32_t bit = (uint32_t)lks_sim_random_below(&faults->random, 8);
    if (drawn < 40 && in_log != 0) {
        lks_sim_storage_rot(storage, in_log, bit);
    } else if (drawn < 85) {
        rot_records(faults, storage);
    } else {
        lks_sim_storage_rot(storage,
                            lks_sim_random_below(&faults->random, sizeof(struct lks_header_page)),
                            bit);
    }
    lks_sim_process_note_rot(process);
    return true;
}
