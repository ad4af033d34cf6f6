/*
 * The journal's inside, shared by the files of pmem/ that implement journal.h. Everything but
 * `failure` is fixed at open or used by the journal's one thread.
 */
#ifndef LKS_PMEM_JOURNAL_INTERNAL_H
#define LKS_PMEM_JOURNAL_INTERNAL_H

#include "pmem/journal.h"
#include "pmem/layout.h"
#include "pmem/medium.h"
#include "pmem/slots.h"

#include <stdatomic.h>

struct lks_journal {
    unsigned char *ring;
    uint64_t ring_bytes;
    uint64_t ring_mask;       /* ring_bytes - 1 if that is a power of two, else 0 */
    uint64_t entry_bytes_max; /* greatest payload that _append takes */
    struct lks_log_point base;
    struct lks_mapping mapping;
    struct lks_medium medium;
    struct lks_identity_record record; /* as it lies in the slots */
    bool same_boot;
    bool clean_stop; /* of the life before */
    bool read_only;
    bool forgetful; /* of this life */
    char boot_id[LKS_BOOT_ID_BYTES]; /* of this host, now */
    struct lks_promise promise;
    struct lks_slots identity_slots;
    struct lks_slots promise_slots;
    struct lks_slots base_slots;
    struct lks_journal_facts facts;
    /* The first error of making anything durable, negative; any thread sets it, once. After it
     * nothing counts as durable: the kernel may have dropped the dirty pages. */
    _Atomic int failure;
    _Atomic int *failed; /* &failure: what a const journal may still change */
    int fd;      /* handed to peers by the fabric */
    int lock_fd; /* holds the lock; an open file of its own, as peers may keep fd alive */
    char *path;
};

/* Where offset lies in the ring. */
static inline uint64_t lks_ring_place(const struct lks_journal *journal, uint64_t offset)
{
    return journal->ring_mask != 0 ? (offset & journal->ring_mask) : offset % journal->ring_bytes;
}

/* The greatest payload that the format allows. What was written under a greater configured limit
 * must stay readable under a smaller one. */
static inline uint64_t lks_ring_payload_max(const struct lks_journal *journal)
{
    return journal->ring_bytes / 8;
}

/*
 * Copies the header of the entry behind `before` and checks everything but the checksum: index,
 * terms, kind, flags, lengths, and that it lies below limit and does not wrap. What is copied
 * cannot change any more, so a true result bounds all later access.
 */
bool lks_ring_header(const struct lks_journal *journal, const struct lks_log_point *before,
                     uint64_t limit, struct lks_entry_header *header);

/* Checks ring_bytes and entry_bytes_max of options against the format. -EINVAL. */
int lks_journal_check_sizes(const struct lks_journal_options *options, bool ring_bytes_optional,
                            struct lks_error *err);

/* CRC32C of a header page, its checksum field taken as zero. */
uint32_t lks_journal_header_checksum(const struct lks_header_page *header);

/* Copies the boot id to use: the options' own or the host's. Errors: errno of reading it. */
int lks_journal_boot_id(const struct lks_journal_options *options,
                        char boot_id[LKS_BOOT_ID_BYTES], struct lks_error *err);

/* Points the three pairs of slots into the mapping. */
void lks_journal_place_slots(struct lks_journal *journal);

/* Writes a record to its slots; remembers a failure. Errors: errno of msync. */
int lks_journal_store(struct lks_journal *journal, struct lks_slots *slots, const void *record);

/* Loads the slots; in a writable journal repairs them, raises the incarnation and settles boot id
 * and amnesia. Errors: -LKS_EDAMAGED, errno. */
int lks_journal_begin_life(struct lks_journal *journal, bool forgetful, struct lks_error *err);

/* The log was recovered, and the control page is zero. In a life that forgets nothing, the first
 * time after one that did: makes the log up to tail durable, then takes the mark away. Records the
 * boot id unless there is amnesia. Errors: errno of msync. */
int lks_journal_end_recovery(struct lks_journal *journal, const struct lks_log_point *tail);

/* Marks a stop in order, durably. Errors: errno of msync. */
int lks_journal_mark_clean_stop(struct lks_journal *journal);

/* Remembers the first failure to make something durable. */
static inline int lks_journal_fail(const struct lks_journal *journal, int code)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(journal->failed, &none, code);
    return code;
}

#endif
