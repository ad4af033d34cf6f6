/* Identity, promise and base: the small records of a journal; see journal.h. */
#include "base/assert.h"
#include "pmem/journal_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

int lks_journal_boot_id(const struct lks_journal_options *options,
                        char boot_id[LKS_BOOT_ID_BYTES], struct lks_error *err)
{
    memset(boot_id, 0, LKS_BOOT_ID_BYTES);
    if (options->boot_id != NULL) {
        if (strlen(options->boot_id) != LKS_BOOT_ID_CHARACTERS) {
            return lks_error_set(err, -EINVAL, "boot id '%s': it has not 36 characters",
                                 options->boot_id);
        }
        memcpy(boot_id, options->boot_id, LKS_BOOT_ID_CHARACTERS);
        return 0;
    }
    const int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        const int code = -errno;
        return lks_error_set(err, code, "%s: %s: without it a restart of this host would go "
                             "unnoticed", BOOT_ID_FILE, lks_error_text(code));
    }
    const ssize_t got = read(fd, boot_id, LKS_BOOT_ID_CHARACTERS);
    (void)close(fd);
    if (got != (ssize_t)LKS_BOOT_ID_CHARACTERS) {
        return lks_error_set(err, -EIO, "%s: shorter than 36 characters", BOOT_ID_FILE);
    }
    return 0;
}

void lks_journal_place_slots(struct lks_journal *journal)
{
    unsigned char *start = journal->mapping.address;
    const struct lks_medium *medium = &journal->medium;
    lks_slots_init(&journal->identity_slots, start + LKS_PAGE_IDENTITY * LKS_JOURNAL_PAGE, medium,
                   LKS_SLOT_IDENTITY, sizeof(struct lks_identity_record));
    lks_slots_init(&journal->promise_slots, start + LKS_PAGE_PROMISE * LKS_JOURNAL_PAGE, medium,
                   LKS_SLOT_PROMISE, sizeof(struct lks_promise));
    lks_slots_init(&journal->base_slots, start + LKS_PAGE_BASE * LKS_JOURNAL_PAGE, medium,
                   LKS_SLOT_BASE, sizeof(struct lks_log_point));
}

int lks_journal_store(struct lks_journal *journal, struct lks_slots *slots, const void *record)
{
    LKS_ASSERT(!journal->read_only);
    int rc = atomic_load(journal->failed);
    if (rc == 0) {
        rc = lks_slots_write(slots, record);
        if (rc < 0) {
            (void)lks_journal_fail(journal, rc);
        }
    }
    return rc;
}

/* ---- beginning a life --------------------------------------------------------------------- */

static int load(const struct lks_journal *journal, struct lks_slots *slots, void *record,
                const char *what, struct lks_error *err)
{
    const int rc = lks_slots_load(slots, record);
    if (rc < 0) {
        return lks_error_set(err, rc,
                             "journal %s: its %s is damaged (both copies of a slot): this replica "
                             "cannot vouch for its history; move the file away and create it anew "
                             "with `lockstep init CONFIG --replica %" PRIu32 "`",
                             journal->path, what, journal->facts.replica);
    }
    return 0;
}

/* Records that code of ours can have written. */
static bool records_make_sense(const struct lks_journal *journal)
{
    return journal->base.offset % LKS_ENTRY_ALIGN == 0 &&
           journal->base.offset < LKS_JOURNAL_NUMBER_MAX &&
           journal->base.index < LKS_JOURNAL_NUMBER_MAX &&
           journal->base.term < LKS_JOURNAL_NUMBER_MAX &&
           journal->promise.term < LKS_JOURNAL_NUMBER_MAX &&
           journal->promise.incarnation < LKS_JOURNAL_NUMBER_MAX &&
           journal->record.incarnation < LKS_JOURNAL_NUMBER_MAX &&
           memchr(journal->record.boot_id, '\0', LKS_BOOT_ID_BYTES) != NULL;
}

static int load_records(struct lks_journal *journal, struct lks_error *err)
{
    int rc = load(journal, &journal->identity_slots, &journal->record, "identity", err);
    if (rc == 0) {
        rc = load(journal, &journal->promise_slots, &journal->promise, "promise", err);
    }
    if (rc == 0) {
        rc = load(journal, &journal->base_slots, &journal->base, "base", err);
    }
    if (rc == 0 && !records_make_sense(journal)) {
        return lks_error_set(err, -LKS_EDAMAGED,
                             "journal %s: its identity, promise or base cannot be right: move the "
                             "file away and create it anew with `lockstep init CONFIG --replica "
                             "%" PRIu32 "`",
                             journal->path, journal->facts.replica);
    }
    return rc;
}

static int repair_slots(struct lks_journal *journal)
{
    int rc = lks_slots_repair(&journal->identity_slots);
    if (rc == 0) {
        rc = lks_slots_repair(&journal->promise_slots);
    }
    if (rc == 0) {
        rc = lks_slots_repair(&journal->base_slots);
    }
    return rc;
}

/*
 * The identity of the life that begins. What was acknowledged in `memory` mode may be gone after
 * a power cut, in whatever mode the replica comes back; and what was said to be durable then was
 * not, so the floor goes too. The boot id is recorded when the log has been recovered: until then
 * the ring and the commit word are what the power cut left, also for the lives that follow.
 */
static void begin_record(struct lks_journal *journal, bool forgetful)
{
    struct lks_identity_record *record = &journal->record;
    const bool was_forgetful = (record->marks & LKS_MARK_FORGETFUL) != 0;
    record->incarnation++;
    record->marks &= ~(uint32_t)LKS_MARK_CLEAN_STOP;
    if (!journal->same_boot && (forgetful || was_forgetful)) {
        record->marks |= LKS_MARK_AMNESIAC;
        record->marks &= ~(uint32_t)LKS_MARK_FORGETFUL;
        record->floor = 0;
    }
    if (forgetful) {
        record->marks |= LKS_MARK_FORGETFUL;
    }
    journal->forgetful = forgetful;
}

int lks_journal_begin_life(struct lks_journal *journal, bool forgetful, struct lks_error *err)
{
    int rc = load_records(journal, err);
    if (rc < 0) {
        return rc;
    }
    journal->same_boot = strcmp(journal->record.boot_id, journal->boot_id) == 0;
    journal->clean_stop = (journal->record.marks & LKS_MARK_CLEAN_STOP) != 0;
    if (journal->read_only) {
        return 0;
    }
    begin_record(journal, forgetful);
    rc = repair_slots(journal);
    if (rc == 0) {
        rc = lks_journal_store(journal, &journal->identity_slots, &journal->record);
    }
    return rc < 0 ? lks_error_set(err, rc, "journal %s: cannot be written: %s", journal->path,
                                  lks_error_text(rc))
                  : 0;
}

/* ---- identity ----------------------------------------------------------------------------- */

void lks_journal_identity(const struct lks_journal *journal, struct lks_identity *identity)
{
    const struct lks_identity_record *record = &journal->record;
    *identity = (struct lks_identity){
        .incarnation = record->incarnation,
        .amnesiac = (record->marks & LKS_MARK_AMNESIAC) != 0,
        .promise_lost = (record->marks & LKS_MARK_PROMISE_LOST) != 0,
        .clean_stop = journal->clean_stop,
        .same_boot = journal->same_boot,
        .floor = record->floor,
        .removed = (record->marks & LKS_MARK_REMOVED) != 0,
        .bootstrap_voters = record->bootstrap_voters,
    };
    memcpy(identity->boot_id, journal->boot_id, sizeof identity->boot_id);
}

/* Replaces the identity; what is in memory follows only what is durable. */
static int store_identity(struct lks_journal *journal, const struct lks_identity_record *record)
{
    const int rc = lks_journal_store(journal, &journal->identity_slots, record);
    if (rc == 0) {
        journal->record = *record;
    }
    return rc;
}

int lks_journal_clear_amnesia(struct lks_journal *journal, uint32_t bootstrap_voters)
{
    struct lks_identity_record record = journal->record;
    if (record.bootstrap_voters == 0) {
        record.bootstrap_voters = bootstrap_voters;
    }
    record.marks &= ~(uint32_t)(LKS_MARK_AMNESIAC | LKS_MARK_PROMISE_LOST);
    memcpy(record.boot_id, journal->boot_id, sizeof record.boot_id);
    return store_identity(journal, &record);
}

int lks_journal_set_amnesia(struct lks_journal *journal, bool promise_lost)
{
    struct lks_identity_record record = journal->record;
    record.marks |= LKS_MARK_AMNESIAC;
    if (promise_lost) {
        record.marks |= LKS_MARK_PROMISE_LOST;
    }
    return store_identity(journal, &record);
}

int lks_journal_mark_removed(struct lks_journal *journal)
{
    struct lks_identity_record record = journal->record;
    record.marks |= LKS_MARK_REMOVED;
    return store_identity(journal, &record);
}

int lks_journal_raise_floor(struct lks_journal *journal, uint64_t offset)
{
    struct lks_identity_record record = journal->record;
    if (offset <= record.floor) {
        return 0;
    }
    LKS_ASSERT(offset % LKS_ENTRY_ALIGN == 0);
    LKS_ASSERT(offset <= journal->base.offset + journal->ring_bytes);
    record.floor = offset;
    return store_identity(journal, &record);
}

int lks_journal_end_recovery(struct lks_journal *journal, const struct lks_log_point *tail)
{
    struct lks_identity_record record = journal->record;
    const bool remembers = !journal->forgetful && (record.marks & LKS_MARK_FORGETFUL) != 0;
    const bool new_boot = (record.marks & LKS_MARK_AMNESIAC) == 0 && !journal->same_boot;
    if (!remembers && !new_boot) {
        return 0;
    }
    if (remembers) {
        const int rc = lks_journal_persist_range(journal, journal->base.offset, tail->offset);
        if (rc < 0) {
            return rc;
        }
        record.marks &= ~(uint32_t)LKS_MARK_FORGETFUL;
    }
    if (new_boot) {
        memcpy(record.boot_id, journal->boot_id, sizeof record.boot_id);
    }
    return store_identity(journal, &record);
}

int lks_journal_mark_clean_stop(struct lks_journal *journal)
{
    struct lks_identity_record record = journal->record;
    record.marks |= LKS_MARK_CLEAN_STOP;
    return store_identity(journal, &record);
}

/* ---- promise ------------------------------------------------------------------------------ */

void lks_journal_promise(const struct lks_journal *journal, struct lks_promise *promise)
{
    *promise = journal->promise;
}

int lks_journal_write_promise(struct lks_journal *journal, const struct lks_promise *promise)
{
    const struct lks_promise *old = &journal->promise;
    LKS_ASSERT(promise->term >= old->term);
    if (promise->term == old->term && old->candidate != 0) {
        LKS_ASSERT(promise->candidate == old->candidate);
        LKS_ASSERT(promise->incarnation == old->incarnation);
    }
    const struct lks_promise record = {.term = promise->term,
                                       .candidate = promise->candidate,
                                       .incarnation = promise->incarnation};
    const int rc = lks_journal_store(journal, &journal->promise_slots, &record);
    if (rc == 0) {
        journal->promise = record;
    }
    return rc;
}

/* ---- base --------------------------------------------------------------------------------- */

void lks_journal_base(const struct lks_journal *journal, struct lks_log_point *base)
{
    *base = journal->base;
}

int lks_journal_write_base(struct lks_journal *journal, const struct lks_log_point *base)
{
    LKS_ASSERT(base->offset >= journal->base.offset && base->index >= journal->base.index);
    LKS_ASSERT(base->term >= journal->base.term);
    LKS_ASSERT(base->offset % LKS_ENTRY_ALIGN == 0);
    struct lks_log_point record = *base;
    record.reserved = 0;
    const int rc = lks_journal_store(journal, &journal->base_slots, &record);
    if (rc == 0) {
        journal->base = record;
    }
    return rc;
}
