/*
 * What a journal looks like on its medium: pages and records, byte for byte. Only pmem/ includes
 * this. Little-endian; a change of meaning raises LKS_JOURNAL_VERSION. Explained in
 * docs/journal-format.md.
 */
#ifndef LKS_PMEM_LAYOUT_H
#define LKS_PMEM_LAYOUT_H

#include "pmem/journal.h"

#define LKS_JOURNAL_MAGIC "LOCKSTEP"
#define LKS_JOURNAL_VERSION 4u
#define LKS_JOURNAL_PAGE UINT64_C(4096)
#define LKS_JOURNAL_HUGE_PAGE (UINT64_C(2) << 20)

/* Page numbers from the beginning; what lies between them and the log memory is zero. */
enum lks_journal_page {
    LKS_PAGE_HEADER = 0,
    LKS_PAGE_IDENTITY = 1, /* and the next: a pair of slots */
    LKS_PAGE_PROMISE = 3,
    LKS_PAGE_BASE = 5,
    LKS_PAGE_OWNER = 7 /* volatile: who has the journal open */
};

/* The ring lies on a huge page; head and control page end right below it. */
#define LKS_JOURNAL_RING_AT LKS_JOURNAL_HUGE_PAGE
#define LKS_JOURNAL_LOG_AT \
    (LKS_JOURNAL_RING_AT - LKS_JOURNAL_CONTROL_BYTES - LKS_JOURNAL_HEAD_BYTES)

/* First page. Magic and version keep their place in every version. */
struct lks_header_page {
    char magic[8];
    uint32_t version;
    uint32_t checksum; /* CRC32C over this struct with this field zero */
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    uint32_t replica;
    uint32_t reserved;
    uint64_t ring_bytes;
    uint64_t created_ns; /* CLOCK_REALTIME */
};

_Static_assert(sizeof(struct lks_header_page) == 56, "header page layout");
_Static_assert(offsetof(struct lks_header_page, ring_bytes) == 40, "header page layout");

/* Volatile: read only to name the process that holds the lock. */
struct lks_owner_page {
    int64_t pid;
};

enum lks_identity_mark {
    LKS_MARK_AMNESIAC = 1,
    LKS_MARK_PROMISE_LOST = 2,
    LKS_MARK_CLEAN_STOP = 4,
    LKS_MARK_FORGETFUL = 8, /* entries may have been acknowledged here without being durable */
    LKS_MARK_REMOVED = 16   /* its replica was removed from the cluster */
};

#define LKS_BOOT_ID_BYTES 40u
#define LKS_BOOT_ID_CHARACTERS 36u

/* Payload of an identity slot. */
struct lks_identity_record {
    uint64_t incarnation;
    uint64_t floor;
    uint32_t marks; /* enum lks_identity_mark */
    uint32_t bootstrap_voters; /* mask, bit p is replica p; 0: it knows none. In version 1 always */
    char boot_id[LKS_BOOT_ID_BYTES]; /* zero-terminated; empty: never recorded */
};

_Static_assert(sizeof(struct lks_identity_record) == 64, "identity record layout");
_Static_assert(sizeof(struct lks_promise) == 24, "promise record layout");
_Static_assert(sizeof(struct lks_log_point) == 32, "base record layout");
_Static_assert(sizeof(struct lks_control_words) <= LKS_JOURNAL_CONTROL_BYTES, "control page");

#endif
