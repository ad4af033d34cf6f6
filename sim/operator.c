/*
 * What an operator does at the replicas' files on purpose: looks into them, runs replicas on files
 * of an older Lockstep, and begins a cluster anew with one of its replicas when all the others are
 * lost (`lockstep recover --survivors`). One thread.
 */
#include "sim/faults_internal.h"

#include "base/assert.h"
#include "node/remains.h"
#include "pmem/journal_internal.h"
#include "sim/administrator.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define REALTIME_NS UINT64_C(1600000000000000000) /* older than any entry: the log's time counts */
#define INTERRUPTED_PPM 400000u /* recoveries that have to be done again */

static void refuse(const struct lks_sim_faults *faults, const char *what, int status,
                   const struct lks_error *err)
{
    lks_sim_verdict_break(faults->options.members->verdict, "an operator's step succeeds",
                          "%s: %d (%s)", what, status, err->text);
}

/* ---- looking ------------------------------------------------------------------------------- */

/* As `lockstep journal show` goes through it; nobody is disturbed by it. */
static void look_at_journal(struct lks_sim_faults *faults, struct lks_sim_process *process)
{
    const struct lks_sim_storage *storage = lks_sim_process_storage(process);
    const struct lks_journal_options *own = lks_sim_storage_options(storage);
    const bool up = lks_sim_process_state(process) != LKS_SIM_DOWN;
    const struct lks_journal_options options = {
        .path = own->path, .boot_id = own->boot_id, .read_only = true};
    struct lks_journal *journal = NULL;
    struct lks_error err = {0};
    struct lks_log_point cursor;
    struct lks_entry entry;
    int64_t pid = -1;
    int status = lks_journal_open(&journal, &options, &err);
    if (status != 0) {
        if (!lks_sim_process_is_rotten(process)) {
            refuse(faults, "a look at a journal", status, &err);
        }
        return;
    }
    const bool used = lks_journal_in_use(journal, &pid);
    lks_journal_base(journal, &cursor);
    const uint64_t limit = cursor.offset + lks_journal_ring_bytes(journal);
    while (lks_journal_next(journal, &cursor, limit, &entry) == 0) {
    }
    const bool torn = lks_journal_torn_at(journal, &cursor);
    status = up ? 0 : lks_journal_judge_end(journal, &cursor, &err);
    LKS_ASSERT(used == up && pid == (up ? (int64_t)getpid() : 0));
    LKS_ASSERT(!torn || cursor.offset < limit);
    if (status != 0 && !lks_sim_process_is_rotten(process)) {
        refuse(faults, "a look at the end of a log", status, &err);
    }
    lks_journal_close(journal, false);
}

static int read_partition(struct lks_snapshots *store, uint32_t partition, struct lks_error *err)
{
    struct lks_snapshot_scan scan = {0};
    struct lks_snapshot_head head;
    const void *data = NULL;
    uint64_t bytes = 0;
    int status = lks_snapshot_scan_init(&scan, store, partition, &head, err);
    while (status == 0) {
        status = lks_snapshot_scan_next(&scan, &data, &bytes, err);
    }
    lks_snapshot_scan_fini(&scan);
    return status == -ENODATA ? 0 : status;
}

/* Every snapshot that the manifest names is whole, also while others are being taken. */
static void look_at_area(struct lks_sim_faults *faults, const struct lks_sim_process *process)
{
    const struct lks_snapshots_options *own = lks_sim_area_options(lks_sim_process_area(process));
    const struct lks_snapshots_options options = {.path = own->path, .read_only = true};
    struct lks_snapshots *store = NULL;
    struct lks_error err = {0};
    int status = lks_snapshots_open(&store, &options, &err);
    for (uint32_t p = 0; status == 0 && p < own->partitions; p++) {
        status = read_partition(store, p, &err);
    }
    if (status != 0 && !lks_sim_process_is_rotten(process)) {
        refuse(faults, "a look at snapshots", status, &err);
    }
    lks_snapshots_close(store);
}

bool lks_sim_operator_looks(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = faults->options.processes[replica];
    struct lks_sim_storage *before = lks_sim_storage_enter(lks_sim_process_storage(process));
    faults->options.members->verdict->checks++;
    look_at_journal(faults, process);
    if (lks_sim_process_area(process) != NULL) {
        look_at_area(faults, process);
    }
    (void)lks_sim_storage_enter(before);
    if (lks_sim_process_state(process) == LKS_SIM_RUNNING) {
        lks_sim_administrator_errs(lks_sim_process_replica(process), &faults->random);
    }
    return true;
}

/* ---- files of an older Lockstep ------------------------------------------------------------ */

bool lks_sim_operator_ages(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = faults->options.processes[replica];
    struct lks_header_page header;
    if (lks_sim_process_state(process) != LKS_SIM_DOWN || lks_sim_process_is_rotten(process)) {
        return false;
    }
    struct lks_sim_storage *storage = lks_sim_process_storage(process);
    lks_sim_storage_read(storage, 0, &header, sizeof header);
    header.version = LKS_JOURNAL_VERSION - 1;
    header.checksum = lks_journal_header_checksum(&header);
    lks_sim_storage_write(storage, 0, &header, sizeof header);
    return true;
}

/* ---- a majority that is lost for good ------------------------------------------------------ */

static int open_remains(const struct lks_sim_process *process, struct lks_remains *remains,
                        struct lks_error *err)
{
    struct lks_sim_storage *storage = lks_sim_process_storage(process);
    struct lks_sim_storage *before = lks_sim_storage_enter(storage);
    const int status = lks_remains_open(remains, lks_sim_storage_options(storage),
                                        lks_sim_area_options(lks_sim_process_area(process)), err);
    (void)lks_sim_storage_enter(before);
    return status;
}

/* Whose files the operator counts on: those of members. */
static uint32_t usable(const struct lks_sim_faults *faults)
{
    uint32_t replicas = 0;
    const uint32_t named = lks_sim_members_named(faults->options.members);
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        struct lks_sim_process *process = faults->options.processes[replica];
        const bool whole = !lks_sim_process_is_rotten(process) &&
                           !lks_sim_process_is_lost(process) &&
                           !lks_sim_process_is_removed(process);
        replicas |= whole && (named >> replica & 1u) != 0 ? 1u << replica : 0;
    }
    return replicas;
}

/* The one with the latest log; 0: a survivor's files cannot be read, which breaks the verdict. */
static uint32_t choose_survivor(const struct lks_sim_faults *faults, uint32_t replicas)
{
    struct lks_log_point latest = {.index = 0};
    uint32_t chosen = 0;
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        struct lks_remains remains;
        struct lks_error err = {0};
        if ((replicas >> replica & 1u) == 0) {
            continue;
        }
        const int status = open_remains(faults->options.processes[replica], &remains, &err);
        if (status != 0) {
            refuse(faults, "the remains of a replica", status, &err);
            return 0;
        }
        if (chosen == 0 || lks_remains_is_later(&remains.tail, &latest)) {
            chosen = replica;
            latest = remains.tail;
        }
        lks_remains_close(&remains);
    }
    return chosen;
}

/* Number of the new members; 0: it was ended in the middle: a failing medium has ended its first or
 * second step, or (3) it was killed when the area was the new cluster's and the journal not. */
static uint64_t found(const struct lks_sim_faults *faults, uint32_t survivor,
                      const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES], uint64_t fails_at)
{
    struct lks_sim_storage *storage =
        lks_sim_process_storage(faults->options.processes[survivor]);
    struct lks_remains remains;
    struct lks_error err = {0};
    int status = open_remains(faults->options.processes[survivor], &remains, &err);
    if (status != 0) {
        refuse(faults, "the remains of the survivor", status, &err);
        return 0;
    }
    const uint64_t number = remains.members.number + 1;
    for (uint64_t step = 1; step <= 2 && status == 0; step++) {
        lks_sim_storage_fail(storage, step == fails_at ? -EIO : 0);
        lks_sim_storage_fail_records(storage);
        status = step == 1 ? lks_remains_found(&remains, survivor, REALTIME_NS, &err)
                 : fails_at == 3
                     ? lks_snapshots_set_cluster(remains.snapshots, cluster_id) - EIO
                     : lks_remains_set_cluster(&remains, cluster_id);
    }
    lks_sim_storage_fail(storage, 0);
    lks_remains_close(&remains);
    if (status != (fails_at != 0 ? -EIO : 0)) {
        refuse(faults, "a new cluster of the survivor", status, &err);
    }
    return status == 0 ? number : 0;
}

/* Power is gone everywhere, so that nobody writes any more to anybody. */
static void end_all(struct lks_sim_faults *faults)
{
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        struct lks_sim_process *process = faults->options.processes[replica];
        const bool was_up = lks_sim_process_state(process) != LKS_SIM_DOWN;
        lks_sim_process_power_cut(process);
        lks_sim_storage_fill_disk(lks_sim_process_storage(process), false);
        if (was_up) {
            faults->options.ended(faults->options.ctx, replica);
            lks_sim_fault_start_later(faults, replica);
        }
    }
}

static bool can_recover(const struct lks_sim_faults *faults)
{
    uint32_t least = 0;
    const uint32_t voters = lks_sim_members_voters(faults->options.members, &least);
    const uint32_t whole = usable(faults) & voters;
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        if (lks_sim_process_forgets(faults->options.processes[replica]) ||
            lks_sim_process_area(faults->options.processes[replica]) == NULL) {
            return false;
        }
    }
    return whole != 0;
}

static void draw_cluster(struct lks_sim_faults *faults, uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    const struct lks_sim_process *any = faults->options.processes[1];
    const struct lks_journal_options *old =
        lks_sim_storage_options(lks_sim_process_storage(any));
    const uint32_t drawn = 1 + (uint32_t)lks_sim_random_below(&faults->random, INT32_MAX);
    lks_remains_draw_cluster(old->cluster_id, drawn, cluster_id);
}

bool lks_sim_operator_recovers(struct lks_sim_faults *faults)
{
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    if (!can_recover(faults)) {
        return false;
    }
    draw_cluster(faults, cluster_id);
    end_all(faults);
    const uint32_t survivor = choose_survivor(faults, usable(faults));
    if (survivor == 0) {
        return true;
    }
    if (lks_sim_random_chance(&faults->random, INTERRUPTED_PPM)) {
        const uint64_t step = 1 + lks_sim_random_below(&faults->random, 3);
        (void)found(faults, survivor, cluster_id, step);
        draw_cluster(faults, cluster_id);
        lks_sim_process_power_cut(faults->options.processes[survivor]);
    }
    const uint64_t number = found(faults, survivor, cluster_id, 0);
    lks_sim_trace_note(faults->options.trace, lks_sim_timeline_now(faults->options.timeline),
                       survivor, "is the only member of a new cluster: members %" PRIu64, number);
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        lks_sim_process_set_cluster(faults->options.processes[replica], cluster_id);
        if (replica != survivor) {
            lks_sim_fault_make_anew(faults, replica);
        }
    }
    if (number != 0) {
        faults->options.founded(faults->options.ctx, survivor, number);
    }
    return true;
}
