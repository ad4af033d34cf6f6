/* Entries in the ring: append, next, persist; see journal.h. The hot path of the leader. */
#include "base/assert.h"
#include "pmem/journal_internal.h"
#include "pmem/stores.h"

#include <errno.h>
#include <string.h>

#define HEADER_BYTES sizeof(struct lks_entry_header)

uint64_t lks_journal_place(const struct lks_journal *journal, uint64_t offset)
{
    return LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES + lks_ring_place(journal, offset);
}

void *lks_journal_address(const struct lks_journal *journal, uint64_t offset)
{
    return journal->ring + lks_ring_place(journal, offset);
}

/* ---- append ------------------------------------------------------------------------------- */

/*
 * Writes one entry that is known to fit, payload first: whoever dies in the middle has left no
 * whole entry with a hole before it. payload NULL: zeros. Zeros fill up to the next cache line,
 * so that the ring stays byte-identical. footprint: its bytes before the payload, if it has any.
 */
static void put_entry(const struct lks_journal *journal, struct lks_log_point *tail,
                      struct lks_entry_header *header, const uint8_t *footprint,
                      const void *payload)
{
    const uint64_t span = lks_entry_span(header->payload_bytes);
    const uint32_t before = lks_entry_footprint_bytes(header);
    unsigned char *entry = lks_journal_address(journal, tail->offset);
    unsigned char *body = entry + HEADER_BYTES;
    const uint64_t rest = span - HEADER_BYTES - header->payload_bytes;
    if (before != 0) {
        lks_store_copy(body, footprint, before);
    }
    if (payload == NULL) {
        lks_store_zero(body + before, header->payload_bytes - before);
    } else {
        lks_store_copy(body + before, payload, header->payload_bytes - before);
    }
    if (rest != 0) {
        lks_store_zero(body + header->payload_bytes, rest);
    }
    header->index = tail->index + 1;
    header->previous_term = tail->term;
    header->checksum = lks_entry_checksum_parts(
        header, footprint, payload != NULL ? payload : body + before, tail->chain);
    atomic_signal_fence(memory_order_release);
    lks_store_copy(entry, header, HEADER_BYTES);
    tail->index = header->index;
    tail->term = header->term;
    tail->offset += span;
    tail->chain = header->checksum;
    /* The log is written in order: the next entry should not wait for its lines to come. */
    __builtin_prefetch(entry + span, 1);
    __builtin_prefetch(entry + span + LKS_ENTRY_ALIGN, 1);
}

int lks_journal_append(struct lks_journal *journal, struct lks_log_point *tail,
                       const struct lks_entry_draft *draft)
{
    LKS_ASSERT(!journal->read_only);
    LKS_ASSERT(draft->kind >= LKS_ENTRY_NOOP && draft->kind < LKS_ENTRY_KINDS);
    LKS_ASSERT(draft->kind != LKS_ENTRY_PAD);
    LKS_ASSERT(draft->term != 0 && draft->term >= tail->term);
    LKS_ASSERT(draft->term < LKS_JOURNAL_NUMBER_MAX);
    LKS_ASSERT(draft->payload != NULL || draft->payload_bytes == 0);
    LKS_ASSERT(tail->offset >= journal->base.offset && tail->offset % LKS_ENTRY_ALIGN == 0);
    struct lks_entry_header header = {.payload_bytes = (uint32_t)draft->payload_bytes,
                                      .term = draft->term,
                                      .kind = (uint16_t)draft->kind,
                                      .session = draft->session,
                                      .sequence = draft->sequence,
                                      .time_ns = draft->time_ns};
    uint64_t payload_bytes = draft->payload_bytes;
    if (draft->footprint != NULL) {
        LKS_ASSERT(draft->kind == LKS_ENTRY_COMMAND);
        header.footprint_bytes = draft->footprint->bytes;
        header.footprint_word = draft->footprint->word;
        payload_bytes += lks_entry_footprint_bytes(&header);
    }
    if (payload_bytes > journal->entry_bytes_max) {
        return -LKS_ETOOBIG;
    }
    header.payload_bytes = (uint32_t)payload_bytes;
    const uint64_t span = lks_entry_span(payload_bytes);
    const uint64_t to_end = journal->ring_bytes - lks_ring_place(journal, tail->offset);
    const uint64_t pad = span > to_end ? to_end : 0;
    const uint64_t used = tail->offset - journal->base.offset;
    LKS_ASSERT(used <= journal->ring_bytes);
    if (pad + span > journal->ring_bytes - used) {
        return -LKS_ERINGFULL;
    }
    if (pad != 0) {
        struct lks_entry_header filler = {.payload_bytes = (uint32_t)(pad - HEADER_BYTES),
                                          .term = draft->term,
                                          .kind = LKS_ENTRY_PAD,
                                          .time_ns = draft->time_ns};
        put_entry(journal, tail, &filler, NULL, NULL);
    }
    const uint8_t *footprint = draft->footprint != NULL ? draft->footprint->data : NULL;
    put_entry(journal, tail, &header, footprint, draft->payload);
    return 0;
}

/* ---- next --------------------------------------------------------------------------------- */

/* Both fields, or neither; and what stands before the command lies within the payload. */
static bool footprint_fits(const struct lks_entry_header *header)
{
    const uint32_t bytes = header->footprint_bytes;
    if (bytes == LKS_ENTRY_FOOTPRINT_HERE) {
        return header->kind == LKS_ENTRY_COMMAND;
    }
    if (bytes == 0) {
        return header->footprint_word == 0;
    }
    return header->kind == LKS_ENTRY_COMMAND && bytes <= header->payload_bytes &&
           header->footprint_word == LKS_ENTRY_FOOTPRINT_BEHIND;
}

bool lks_ring_header(const struct lks_journal *journal, const struct lks_log_point *before,
                     uint64_t limit, struct lks_entry_header *header)
{
    const uint64_t place = lks_ring_place(journal, before->offset);
    const uint64_t to_end = journal->ring_bytes - place;
    if (before->offset >= limit || limit - before->offset < HEADER_BYTES ||
        before->offset % LKS_ENTRY_ALIGN != 0) {
        return false;
    }
    memcpy(header, journal->ring + place, sizeof *header);
    atomic_signal_fence(memory_order_seq_cst); /* the copy is checked, never the ring again */
    if (header->index != before->index + 1 || header->previous_term != before->term ||
        header->term < before->term || header->term == 0 ||
        header->term >= LKS_JOURNAL_NUMBER_MAX || header->flags != 0 ||
        header->kind < LKS_ENTRY_NOOP || header->kind >= LKS_ENTRY_KINDS) {
        return false;
    }
    const bool length_fits = header->kind == LKS_ENTRY_PAD
                                 ? header->payload_bytes == to_end - HEADER_BYTES
                                 : header->payload_bytes <= lks_ring_payload_max(journal);
    const uint64_t span = lks_entry_span(header->payload_bytes);
    return length_fits && footprint_fits(header) && span <= to_end &&
           span <= limit - before->offset;
}

int lks_journal_next(const struct lks_journal *journal, struct lks_log_point *cursor,
                     uint64_t limit, struct lks_entry *entry)
{
    struct lks_entry_header header;
    if (!lks_ring_header(journal, cursor, limit, &header)) {
        return -ENODATA;
    }
    const unsigned char *there = journal->ring + lks_ring_place(journal, cursor->offset);
    if (lks_entry_checksum(&header, there + HEADER_BYTES, cursor->chain) != header.checksum) {
        return -ENODATA;
    }
    entry->header = (const struct lks_entry_header *)there;
    entry->payload = there + HEADER_BYTES;
    cursor->index = header.index;
    cursor->term = header.term;
    cursor->offset += lks_entry_span(header.payload_bytes);
    cursor->chain = header.checksum;
    return 0;
}

/* ---- persist ------------------------------------------------------------------------------ */

int lks_journal_persist_range(const struct lks_journal *journal, uint64_t from, uint64_t to)
{
    LKS_ASSERT(!journal->read_only);
    LKS_ASSERT(from <= to && to - from <= journal->ring_bytes);
    if (from == to) {
        return 0;
    }
    const uint64_t place = lks_ring_place(journal, from);
    const uint64_t to_end = journal->ring_bytes - place;
    const uint64_t first = to - from < to_end ? to - from : to_end;
    const uint64_t second = to - from - first; /* from the ring's beginning, where it wraps */
    if (journal->medium.flush_by_cpu) {
        lks_store_write_back(journal->ring + place, first);
        if (second != 0) {
            lks_store_write_back(journal->ring, second);
        }
        lks_store_fence();
        return 0;
    }
    const int failed = atomic_load(journal->failed);
    if (failed != 0) {
        return failed;
    }
    int rc = lks_medium_persist(&journal->medium, journal->ring + place, first);
    if (rc == 0 && second != 0) {
        rc = lks_medium_persist(&journal->medium, journal->ring, second);
    }
    return rc < 0 ? lks_journal_fail(journal, rc) : 0;
}
