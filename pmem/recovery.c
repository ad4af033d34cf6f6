/*
 * Finding the end of the log after a restart, and telling a torn tail from damage; see journal.h
 * and docs/journal-format.md, "Where the log ends". Runs on the journal's thread, once, when no
 * peer can write. Whatever is called damage here is proven: no kill of a writer and no power cut
 * can have left it. What cannot be proven is taken as a torn tail.
 */
#include "base/assert.h"
#include "pmem/journal_internal.h"
#include "pmem/stores.h"

#include <inttypes.h>
#include <string.h>

/* Behind a break, at most this many lengths of the ring are read in search of proof. */
#define SEARCH_LAPS_MAX 4u

/* ---- evidence ----------------------------------------------------------------------------- */

/* The commit word that the leader left, if it can be one; else 0. */
static uint64_t left_commit_word(const struct lks_journal *journal)
{
    const uint64_t commit = lks_word_read(&lks_journal_control(journal)->commit);
    const uint64_t base = journal->base.offset;
    const bool possible = commit > base && commit - base <= journal->ring_bytes &&
                          commit % LKS_ENTRY_ALIGN == 0;
    return possible ? commit : 0;
}

/*
 * Whether the chain behind *cursor leads to an entry of the term that write permission was last
 * promised to, farther away than an interrupted writer can be ahead of itself. Only that term's
 * leader wrote such entries, in order, after everything before them: so what lies before *cursor
 * was whole then. Entries of older terms alone prove nothing: they may be what is left of a tail
 * that was being overwritten. *cursor ends where the chain does.
 */
static bool chain_proves(const struct lks_journal *journal, struct lks_log_point *cursor)
{
    const uint64_t end = journal->base.offset + journal->ring_bytes;
    const uint64_t far = cursor->offset + LKS_JOURNAL_DISORDER_BYTES;
    struct lks_entry entry;
    uint64_t offset = cursor->offset;
    while (lks_journal_next(journal, cursor, end, &entry) == 0) {
        if (offset >= far && cursor->term == journal->promise.term) {
            return true;
        }
        offset = cursor->offset;
    }
    return false;
}

static struct lks_log_point point_behind(const struct lks_entry_header *header, uint64_t offset)
{
    return (struct lks_log_point){.index = header->index,
                                  .term = header->term,
                                  .offset = offset + lks_entry_span(header->payload_bytes),
                                  .chain = header->checksum};
}

/* Whether the broken entry's own stored checksum is where such a chain begins. Finds a payload that
 * rotted. */
static bool own_chain_proves(const struct lks_journal *journal, const struct lks_log_point *last)
{
    const uint64_t end = journal->base.offset + journal->ring_bytes;
    struct lks_entry_header broken;
    if (!lks_ring_header(journal, last, end, &broken)) {
        return false;
    }
    struct lks_log_point cursor = point_behind(&broken, last->offset);
    return chain_proves(journal, &cursor);
}

/* Whether two headers at `offset` look like entries that follow one another, behind `last` in the
 * same lap. Entries of an earlier lap have lower indexes than the broken one. */
static bool pair_at(const struct lks_journal *journal, const struct lks_log_point *last,
                    uint64_t offset, struct lks_entry_header *first,
                    struct lks_entry_header *second)
{
    const uint64_t end = journal->base.offset + journal->ring_bytes;
    const uint64_t lines = (offset - last->offset) / LKS_ENTRY_ALIGN;
    memcpy(first, lks_journal_address(journal, offset), sizeof *first);
    if (first->index <= last->index + 1 || first->index - last->index - 1 > lines) {
        return false;
    }
    const struct lks_log_point before = {
        .index = first->index - 1, .term = first->previous_term, .offset = offset};
    if (!lks_ring_header(journal, &before, end, first)) {
        return false;
    }
    const struct lks_log_point between = point_behind(first, offset);
    return lks_ring_header(journal, &between, end, second);
}

/* Whether such a chain begins anywhere behind the break. Finds a header that rotted. */
static bool later_chain_proves(const struct lks_journal *journal,
                               const struct lks_log_point *last)
{
    const uint64_t end = journal->base.offset + journal->ring_bytes;
    uint64_t budget = SEARCH_LAPS_MAX * journal->ring_bytes;
    uint64_t offset = last->offset + sizeof(struct lks_entry_header);
    while (offset < end) {
        struct lks_entry_header first;
        struct lks_entry_header second;
        if (!pair_at(journal, last, offset, &first, &second)) {
            offset += LKS_ENTRY_ALIGN;
            continue;
        }
        const uint64_t behind_first = point_behind(&first, offset).offset;
        struct lks_log_point cursor = point_behind(&first, offset);
        if (chain_proves(journal, &cursor)) {
            return true;
        }
        const uint64_t read = cursor.offset - offset + lks_entry_span(second.payload_bytes);
        if (read >= budget) {
            return false;
        }
        budget -= read;
        /* No entry that the failed walk passed begins a chain that leads farther. */
        offset = cursor.offset > behind_first ? cursor.offset : offset + LKS_ENTRY_ALIGN;
    }
    return false;
}

/* ---- judgement ---------------------------------------------------------------------------- */

static int damaged(const struct lks_journal *journal, const struct lks_log_point *last,
                   const char *proof, struct lks_error *err)
{
    return lks_error_set(err, -LKS_EDAMAGED,
                         "journal %s: entry %" PRIu64 " at offset %" PRIu64
                         " (byte %" PRIu64 " of the file) is damaged: %s; this replica does not "
                         "serve or vote on damaged history: move the file away, create it anew "
                         "with `lockstep init CONFIG --replica %" PRIu32
                         "`, and it catches up from the others",
                         journal->path, last->index + 1, last->offset,
                         LKS_JOURNAL_RING_AT + lks_ring_place(journal, last->offset), proof,
                         journal->facts.replica);
}

int lks_journal_judge_end(const struct lks_journal *journal, const struct lks_log_point *end,
                          struct lks_error *err)
{
    if (end->offset == journal->base.offset + journal->ring_bytes) {
        return 0; /* the ring is full to its last byte */
    }
    if (end->offset < journal->record.floor) {
        return damaged(journal, end, "it lies below what was durable here and committed", err);
    }
    if (!journal->same_boot) {
        return 0; /* a power cut loses lines in any combination: only the floor was certain */
    }
    if (end->offset < left_commit_word(journal)) {
        return damaged(journal, end,
                       "its leader had written it, and had said that it is committed", err);
    }
    if (own_chain_proves(journal, end) || later_chain_proves(journal, end)) {
        return damaged(journal, end,
                       "whole entries of the present leader lie behind it, which no interrupted "
                       "write leaves",
                       err);
    }
    return 0;
}

bool lks_journal_torn_at(const struct lks_journal *journal, const struct lks_log_point *end)
{
    const uint64_t limit = journal->base.offset + journal->ring_bytes;
    struct lks_log_point cursor = *end;
    struct lks_entry_header header;
    struct lks_entry entry;
    return lks_ring_header(journal, end, limit, &header) &&
           lks_journal_next(journal, &cursor, limit, &entry) < 0;
}

/*
 * The life before may have ended because a flush failed. The kernel then takes the pages for clean:
 * what they show may not be on the medium, and the next flush would report success without writing
 * anything. Storing into each page, the same as is there, makes it dirty again. (After a change of
 * boot the pages show what is on the medium.)
 */
static void store_again(struct lks_journal *journal, const struct lks_log_point *tail)
{
    if (journal->medium.flush_by_cpu || !journal->same_boot || journal->clean_stop) {
        return;
    }
    for (uint64_t at = journal->base.offset; at < tail->offset;) {
        unsigned char *place = journal->ring + lks_ring_place(journal, at);
        uint64_t word = 0;
        memcpy(&word, place, sizeof word);
        lks_store_copy(place, &word, sizeof word);
        at += LKS_JOURNAL_PAGE - lks_ring_place(journal, at) % LKS_JOURNAL_PAGE;
    }
}

int lks_journal_recover(struct lks_journal *journal, struct lks_log_point *tail,
                        struct lks_error *err)
{
    const uint64_t limit = journal->base.offset + journal->ring_bytes;
    struct lks_log_point cursor = journal->base;
    struct lks_entry entry;
    while (lks_journal_next(journal, &cursor, limit, &entry) == 0) {
        /* each turn moves the cursor on by 64 bytes at least, up to one length of the ring */
    }
    LKS_ASSERT(cursor.offset <= limit);
    int rc = lks_journal_judge_end(journal, &cursor, err);
    if (rc < 0) {
        return rc;
    }
    if (!journal->read_only) {
        store_again(journal, &cursor);
        /* Before the boot id is recorded: after a power cut this word says nothing. */
        memset(journal->ring - LKS_JOURNAL_CONTROL_BYTES, 0, LKS_JOURNAL_CONTROL_BYTES);
        rc = lks_journal_end_recovery(journal, &cursor);
        if (rc < 0) {
            return lks_error_set(err, rc, "journal %s: its log cannot be made durable: %s",
                                 journal->path, lks_error_text(rc));
        }
    }
    *tail = cursor;
    return 0;
}
