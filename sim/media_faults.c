/*
 * Media that fail in part: a snapshot area that cannot be made durable for as long as its replica
 * runs, a journal of which bits have rotted while its host was off, a medium that fails while its
 * replica starts. What the replica cannot mend it has to notice, and say so. One thread.
 */
#include "sim/faults_internal.h"

#include "base/assert.h"
#include "node/replica_internal.h"
#include "pmem/layout.h"
#include "pmem/slots.h"
#include "pmem/snapshot_layout.h"

#include <errno.h>
#include <stddef.h>

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

/* The bit of the log at which it can be told that it has changed; back at what it was if it cannot:
 * who has not got an end of the log durable, and who has lost it, look alike. */
static bool rot_what_is_told(struct lks_sim_faults *faults, struct lks_sim_storage *storage)
{
    const struct lks_journal_options *own = lks_sim_storage_options(storage);
    const struct lks_journal_options options = {
        .path = own->path, .boot_id = own->boot_id, .read_only = true};
    struct lks_journal *journal = NULL;
    struct lks_log_point end;
    struct lks_entry entry;
    struct lks_error err;
    if (lks_journal_open(&journal, &options, &err) != 0) {
        return false;
    }
    lks_journal_base(journal, &end);
    const struct lks_log_point base = end;
    const uint64_t limit = base.offset + lks_journal_ring_bytes(journal);
    while (lks_journal_next(journal, &end, limit, &entry) == 0) {
    }
    bool told = false;
    if (end.offset > base.offset) {
        const uint64_t offset =
            base.offset + lks_sim_random_below(&faults->random, end.offset - base.offset);
        const uint64_t at = lks_sim_storage_ring_at(storage) + offset % (limit - base.offset);
        const uint32_t bit = (uint32_t)lks_sim_random_below(&faults->random, 8);
        lks_sim_storage_rot(storage, at, bit);
        end = base;
        while (lks_journal_next(journal, &end, limit, &entry) == 0) {
        }
        told = lks_journal_judge_end(journal, &end, &err) != 0;
        if (!told) {
            lks_sim_storage_rot(storage, at, bit);
        }
    }
    lks_journal_close(journal, false);
    return told;
}

bool lks_sim_media_rot_log(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = faults->options.processes[replica];
    struct lks_sim_storage *storage = lks_sim_process_storage(process);
    if (lks_sim_process_state(process) != LKS_SIM_RUNNING ||
        lks_sim_process_medium_fails(process) || !lks_sim_fault_may_forget(faults, replica)) {
        return false;
    }
    lks_sim_process_crash(process);
    faults->options.ended(faults->options.ctx, replica);
    struct lks_sim_storage *before = lks_sim_storage_enter(storage);
    const bool rots = rot_what_is_told(faults, storage);
    (void)lks_sim_storage_enter(before);
    if (rots) {
        lks_sim_process_note_rot(process);
    }
    lks_sim_fault_start_now(faults, replica); /* a power cut first, and it could not be told */
    return rots;
}

/* ---- snapshot areas: header and manifest ---------------------------------------------------- */

bool lks_sim_media_rot_area(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = faults->options.processes[replica];
    struct lks_sim_random *random = &faults->random;
    struct lks_snapshots_geometry geometry;
    if (lks_sim_process_area(process) == NULL || !lks_sim_fault_may_forget(faults, replica)) {
        return false;
    }
    (void)lks_sim_fault_cut_power(faults, replica);
    if (lks_sim_process_state(process) != LKS_SIM_DOWN) {
        return false;
    }
    lks_snapshots_geometry(lks_sim_area_options(lks_sim_process_area(process))->partitions,
                           &geometry);
    const uint64_t offset =
        lks_sim_random_chance(random, 300000)
            ? lks_sim_random_below(random, sizeof(struct lks_snapshots_header))
            : geometry.slots_at + lks_sim_random_below(random, 2 * geometry.slot_bytes);
    if (!lks_sim_storage_rot_area(lks_sim_process_storage(process), offset,
                                  (uint32_t)lks_sim_random_below(random, 8))) {
        return false;
    }
    lks_sim_process_note_rot(process);
    return true;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* A bit of what a gateway has written to a leader: of the record that is read next, or of the word
 * that says how many there are. */
bool lks_sim_media_flip(struct lks_sim_faults *faults, uint32_t replica)
{
    const struct lks_sim_process *process = faults->options.processes[replica];
    const struct lks_replica *running = lks_sim_process_replica(process);
    const uint32_t peer =
        1 + (uint32_t)lks_sim_random_below(&faults->random, faults->options.replicas);
    if (lks_sim_process_state(process) != LKS_SIM_RUNNING || peer == replica ||
        !running->peers[peer].consumer.open) {
        return false;
    }
    const struct lks_ingress_consumer *consumer = &running->peers[peer].consumer;
    uint8_t *inbox = (uint8_t *)(uintptr_t)lks_fabric_inbox(running->options.fabric, peer);
    const uint64_t record = LKS_INGRESS_RING_OFFSET + consumer->place +
                            lks_sim_random_below(&faults->random, LKS_INGRESS_ALIGN);
    const uint64_t tail = LKS_INGRESS_OFFSET + offsetof(struct lks_ingress_words, tail) +
                          lks_sim_random_below(&faults->random, 3);
    const uint64_t at = lks_ingress_waits(consumer) ? record : tail;
    if (consumer->taken == 0) {
        return false;
    }
    inbox[at] ^= (uint8_t)(1u << lks_sim_random_below(&faults->random, 8));
    lks_sim_process_wake(faults->options.processes[replica]);
    return true;
}
