/*
 * The journal: everything of a replica that survives its process, in one mapped file or device.
 *
 *   identity slots | promise slots | base slots | fabric head | control page | ring
 *
 * The last three form the log memory that the fabric exposes. The journal knows entries and
 * slots; it does not know roles, peers or commit rules. One thread uses a journal, except
 * lks_journal_persist_range, which a flusher thread may call at the same time.
 * Memory that must survive is written only through this module. Format: docs/journal-format.md.
 */
#ifndef LKS_PMEM_JOURNAL_H
#define LKS_PMEM_JOURNAL_H

#include "base/error.h"
#include "base/remote_memory.h"
#include "pmem/entry.h"

#include <stdbool.h>
#include <stdint.h>

#define LKS_CLUSTER_ID_BYTES 16
#define LKS_JOURNAL_RING_MIN (UINT64_C(64) << 10)
#define LKS_JOURNAL_RING_MAX (UINT64_C(1) << 40)
#define LKS_JOURNAL_HEAD_BYTES 4096u    /* reserved for the fabric, not persistent */
#define LKS_JOURNAL_CONTROL_BYTES 4096u /* struct lks_control_words, not persistent */

/*
 * A writer that dies in the middle of its work leaves everything more than this many bytes behind
 * the first missing one untouched: it copies in steps, in order (design 3.2), and within a step
 * the bytes may land in any order. Generous, as a copy of the C library may interleave pages.
 * Every fabric, and whoever copies into the ring, keeps to it.
 */
#define LKS_JOURNAL_DISORDER_BYTES (UINT64_C(64) << 10)

struct lks_journal;

/* What the bytes of a journal lie on. */
enum lks_medium_kind {
    LKS_MEDIUM_DEVDAX, /* /dev/daxX.Y */
    LKS_MEDIUM_FSDAX,  /* file mapped with MAP_SYNC */
    LKS_MEDIUM_MEMORY, /* tmpfs, hugetlbfs: emulated persistent memory */
    LKS_MEDIUM_FILE    /* ordinary file: the page cache stands between */
};

enum lks_persistence_domain {
    LKS_DOMAIN_NONE,              /* nothing survives a power cut */
    LKS_DOMAIN_CPU_CACHE,         /* stores survive as soon as they are visible */
    LKS_DOMAIN_MEMORY_CONTROLLER, /* lines written back survive */
    LKS_DOMAIN_STORAGE,           /* msync'ed pages survive */
    LKS_DOMAIN_UNKNOWN
};

struct lks_medium {
    enum lks_medium_kind kind;
    enum lks_persistence_domain domain;
    bool flush_by_cpu;    /* cache-line write-back makes bytes durable (or pretends to on MEMORY) */
    bool survives_power;  /* false for MEMORY */
    char reason[160];     /* how that was found out, one clause for `status` */
};

struct lks_journal_options {
    const char *path;
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    uint32_t replica;         /* 1..7; _open with read_only: 0 takes any replica and cluster */
    uint64_t ring_bytes;      /* multiple of 4096; _open: 0 accepts what the file has */
    uint64_t entry_bytes_max; /* greatest payload to append; at most ring_bytes / 8 and 1 GiB;
                                 _open: 0 takes the greatest possible */
    uint32_t bootstrap_voters; /* _create with fresh_cluster: the cluster's first members, bit p is
                                  replica p; must name this one. Else not looked at */
    bool forgetful;           /* durability mode `memory`: another boot id means amnesia, also at
                                 the first open in another mode */
    bool read_only;           /* for `journal dump|verify`: takes no lock, changes nothing */
    const char *boot_id;      /* NULL: the host's; tests give their own (36 characters) */
    uint64_t lives_before;    /* _create of a replacement: its incarnations begin above this, which
                                 must be above those of the journal it replaces, and below 2^31;
                                 0: the clock's seconds since 2026 (no replica restarts faster) */
};

/* What lives_before 0 stands for now. */
uint64_t lks_journal_lives_by_clock(void);

/*
 * Creates and formats a journal: file (mode 0600, O_EXCL; allocated in full, so that a full disk
 * shows here) or device. A new journal carries the amnesia mark with `promise_lost` set unless
 * `fresh_cluster`: only a cluster that never acknowledged anything starts without it. And only
 * there the journal knows the cluster's members; else log or snapshots bring them.
 * Errors: -EEXIST, -ENOSPC, -EINVAL, other errno; err says the way out. No file is left behind.
 */
int lks_journal_create(const struct lks_journal_options *options, bool fresh_cluster,
                       struct lks_error *err);

/*
 * Opens a journal: takes its lock, checks header and slots, raises and persists the incarnation,
 * compares boot ids. The ring is not read: peers of an earlier life may still write until the
 * fabric has fenced them; call lks_journal_recover after that.
 * Errors: -ENOENT, -EBUSY (locked by a living process, named), -LKS_EFORMAT (also: newer
 * version), -LKS_ECLUSTER, -LKS_ESIZE, -LKS_EDAMAGED (both copies of a slot), errno.
 */
int lks_journal_open(struct lks_journal **journal, const struct lks_journal_options *options,
                     struct lks_error *err);

/* Unmaps and unlocks; `clean` also persists the ring and marks a clean stop. NULL is allowed. */
void lks_journal_close(struct lks_journal *journal, bool clean);

/*
 * Scans the ring from the base, checking length, index, terms and chain, and zeroes the control
 * page. `tail` is the point behind the last good entry. Allowed once no peer can write.
 * A break below the floor, or one that neither a killed writer nor a power cut can explain
 * (docs/journal-format.md), is damage: -LKS_EDAMAGED; err names the index and offset, and nothing
 * has been changed. The first time after `memory` mode it also makes the whole log durable; then
 * other errors are errno of msync.
 */
int lks_journal_recover(struct lks_journal *journal, struct lks_log_point *tail,
                        struct lks_error *err);

/* What _recover says of a log that _next found to end at `end`; changes nothing. For a reader that
 * scans by itself. 0 or -LKS_EDAMAGED. */
int lks_journal_judge_end(const struct lks_journal *journal, const struct lks_log_point *end,
                          struct lks_error *err);

/* Whether what follows `end` looks like the next entry but for its checksum: a torn tail, or rot
 * that cannot be told from one. */
bool lks_journal_torn_at(const struct lks_journal *journal, const struct lks_log_point *end);

/* For a read-only journal: whether a process has it open for writing; pid, if not NULL, is that
 * process's (0: none, or not known). */
bool lks_journal_in_use(const struct lks_journal *journal, int64_t *pid);

/* ---- identity ---------------------------------------------------------------------------- */

struct lks_identity {
    uint64_t incarnation; /* raised at every open; 1 at the first */
    bool amnesiac;        /* may have forgotten acknowledged entries */
    bool promise_lost;    /* the promise may be forgotten too: a new journal under an old name */
    bool clean_stop;      /* the life before this one ended in order */
    bool same_boot;       /* the host has not restarted since that life */
    uint64_t floor;       /* every entry below this offset was durable here */
    char boot_id[40];
    bool removed;         /* its replica was removed from the cluster: it must not run again */
    uint32_t bootstrap_voters; /* the cluster's first members, bit p is replica p; 0: it does not
                                  know them. (In a journal of version 1 always 0.) */
};

void lks_journal_identity(const struct lks_journal *journal, struct lks_identity *identity);

/* Clears the amnesia mark durably and records the boot id; and, where the journal does not know
 * them, the cluster's first voters (0: they are not known here either). Errors: errno of msync. */
int lks_journal_clear_amnesia(struct lks_journal *journal, uint32_t bootstrap_voters);

/* Sets the amnesia mark durably, and the other one if promise_lost. Errors: errno of msync. */
int lks_journal_set_amnesia(struct lks_journal *journal, bool promise_lost);

/* Notes durably that the replica was removed from the cluster. Errors: errno of msync. */
int lks_journal_mark_removed(struct lks_journal *journal);

/* Raises the floor durably: bytes below offset are known to be durable here, and committed (what
 * may still be overwritten must never lie below it). Lower values are ignored. Errors: errno of
 * msync. Writes a slot: for now and then, not for every commit. */
int lks_journal_raise_floor(struct lks_journal *journal, uint64_t offset);

/* ---- promise ------------------------------------------------------------------------------ */

struct lks_promise {
    uint64_t term;        /* highest term seen */
    uint32_t candidate;   /* the one replica granted in it; 0 for none */
    uint32_t reserved;
    uint64_t incarnation; /* that candidate's */
};

void lks_journal_promise(const struct lks_journal *journal, struct lks_promise *promise);

/* Writes the other slot and makes it durable before returning. Asserts that term never sinks and
 * that the candidate of a term, once set, never changes. Errors: errno of msync. */
int lks_journal_write_promise(struct lks_journal *journal, const struct lks_promise *promise);

/* ---- base --------------------------------------------------------------------------------- */

void lks_journal_base(const struct lks_journal *journal, struct lks_log_point *base);

/* Moves the base forward, durably; a snapshot that covers it must be durable already. */
int lks_journal_write_base(struct lks_journal *journal, const struct lks_log_point *base);

/* ---- log memory --------------------------------------------------------------------------- */

/* The first line of the control page; written by the holder of the grant, one-sidedly. The
 * owner's own zeroing happens only when nobody can write. One cache line a word. */
struct lks_control_words {
    _Alignas(64) lks_word commit;  /* offset: everything below is committed */
    _Alignas(64) lks_word written; /* offset: a hint that entries up to here were written */
    _Alignas(64) lks_word probe;   /* zero-effect writes land here */
};

struct lks_log_memory {
    void *address;      /* fabric head, control page, ring, contiguous */
    uint64_t bytes;     /* LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES + ring */
    int fd;             /* of the file or device, owned by the journal */
    uint64_t fd_offset; /* of address in fd */
};

/* What the header page says; set at creation, never changed but by lks_journal_set_cluster. */
struct lks_journal_facts {
    uint32_t version; /* of the format */
    uint32_t replica;
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    uint64_t ring_bytes;
    uint64_t created_ns; /* CLOCK_REALTIME */
};

/* Gives the journal to another cluster, durably: for a lost majority, when no replica runs. A power
 * cut may leave it damaged, unless the new id differs in one word alone, by which the checksum is
 * the same (lks_remains_draw_cluster): then it leaves it to one of the two. Errors: errno of
 * msync. */
int lks_journal_set_cluster(struct lks_journal *journal,
                            const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);

void lks_journal_facts(const struct lks_journal *journal, struct lks_journal_facts *facts);

void lks_journal_log_memory(const struct lks_journal *journal, struct lks_log_memory *memory);
struct lks_control_words *lks_journal_control(const struct lks_journal *journal);
uint64_t lks_journal_ring_bytes(const struct lks_journal *journal);
const struct lks_medium *lks_journal_medium(const struct lks_journal *journal);

/* Where a log offset lies within the log memory (for one-sided access); and its address. */
uint64_t lks_journal_place(const struct lks_journal *journal, uint64_t offset);
void *lks_journal_address(const struct lks_journal *journal, uint64_t offset);

/* ---- entries ------------------------------------------------------------------------------ */

/* What the leader gives for an entry; the journal fills in index, terms, checksum and place. */
struct lks_entry_draft {
    enum lks_entry_kind kind;
    uint64_t term;
    uint64_t session;
    uint64_t sequence;
    uint64_t time_ns;
    const struct lks_entry_footprint *footprint; /* COMMAND; NULL: none */
    const void *payload; /* NULL with payload_bytes 0 */
    uint64_t payload_bytes; /* without those of the footprint */
};

/*
 * Writes draft behind *tail (and a PAD entry before it where it would wrap) and moves *tail.
 * Not durable yet; visible to this process at once. Bytes at and above base + ring_bytes are
 * never touched: -LKS_ERINGFULL, *tail unchanged. -LKS_ETOOBIG above entry_bytes_max, which
 * footprint bytes before the payload count for.
 */
int lks_journal_append(struct lks_journal *journal, struct lks_log_point *tail,
                       const struct lks_entry_draft *draft);

/* An entry seen in the ring; pointers are valid until the ring there is overwritten. */
struct lks_entry {
    const struct lks_entry_header *header;
    const void *payload;
};

/*
 * Checks the entry behind *cursor, lying wholly below `limit` (an offset), and moves *cursor
 * over it. 0: *entry is filled. -ENODATA: no entry there (cursor->offset == limit, or bytes that
 * are not the next entry of this chain). Nothing read is trusted: lengths and kinds are checked.
 */
int lks_journal_next(const struct lks_journal *journal, struct lks_log_point *cursor,
                     uint64_t limit, struct lks_entry *entry);

/*
 * Makes log offsets [from, to) durable on this medium: write-back and fence, or msync. Returns
 * when they are. On a FILE medium this blocks for a device's flush; a flusher thread may call it.
 * Errors: errno of msync; the range must then be taken as not durable, for good.
 */
int lks_journal_persist_range(const struct lks_journal *journal, uint64_t from, uint64_t to);

#endif
