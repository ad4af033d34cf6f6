/*
 * The snapshot area: one file beside the journal that holds the newest snapshot of each of the
 * service's partitions, and a manifest that names them.
 *
 *   header page | manifest slot | manifest slot | blocks of 64 KiB
 *
 * A partition's snapshot is a chain of blocks: a head (log point, time, meta) and the service's
 * chunks. It is written beside the old one as a *draft*, in small steps, made durable, and then put
 * into its place by one manifest write, together with any number of others. Invariant: at every
 * moment, also after a power cut at any store, the newest durable manifest and all that it names
 * are whole.
 *
 * One thread uses a store, except lks_snapshots_persist, which a flusher thread may call. Peers
 * read the whole area one-sidedly and never write it; what they need is in pmem/snapshot_fetch.h.
 * Written only through pmem/. Format: docs/snapshot-format.md.
 */
#ifndef LKS_PMEM_SNAPSHOTS_H
#define LKS_PMEM_SNAPSHOTS_H

#include "base/error.h"
#include "pmem/journal.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LKS_SNAPSHOT_PARTITIONS_MAX 4096u
#define LKS_SNAPSHOT_BLOCK_BYTES 65536u
#define LKS_SNAPSHOT_CHUNK_BYTES_MAX (UINT64_C(1) << 31) /* and of meta */
#define LKS_SNAPSHOTS_AREA_UNIT (UINT64_C(1) << 20)      /* sizes are multiples of it */

struct lks_snapshots;

struct lks_snapshots_options {
    const char *path; /* a file; a device is refused */
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    uint32_t replica;    /* 1..7; _open with read_only: 0 takes any replica and cluster */
    uint32_t partitions; /* of the service, 1..4096; _open with read_only: 0 takes what is there */
    uint64_t area_bytes; /* limit of the file's size; a multiple of 1 MiB that has room for 16
                            blocks. _open: 0 takes what is there; a greater size than before
                            makes the area grow */
    bool read_only;      /* for `journal dump|verify`: takes no lock, changes nothing */
};

/* One partition's snapshot as the manifest names it. On the medium, and read by peers. */
struct lks_snapshot_item {
    uint64_t index; /* the log point: everything up to here is in the snapshot */
    uint64_t term;
    uint64_t offset;
    uint32_t chain;
    uint32_t first_block;
    uint32_t blocks;   /* 0: never taken; then everything else is 0 too */
    uint32_t checksum; /* over the blocks' contents, the same for every copy */
    uint64_t bytes;    /* of content in the blocks, framing included */
    uint64_t id;       /* of this snapshot; never used again in this area */
    uint64_t reserved;
};

_Static_assert(sizeof(struct lks_snapshot_item) == 64, "an item is one cache line");
_Static_assert(offsetof(struct lks_snapshot_item, bytes) == 40, "item layout");

/* What stands before a snapshot's chunks. */
struct lks_snapshot_head {
    struct lks_log_point point;
    uint64_t time_ns; /* the leader's time at that point */
    const void *meta; /* the owner's: sessions, membership */
    uint64_t meta_bytes;
};

/*
 * Creates and formats an empty area: file of mode 0600, O_EXCL, sparse; header and manifest are
 * allocated, blocks only when they are written. Errors: -EEXIST, -ENOSPC, -EINVAL, other errno; err
 * says the way out. No file is left behind.
 */
int lks_snapshots_create(const struct lks_snapshots_options *options, struct lks_error *err);

/*
 * Opens an area: lock, header, newest whole manifest; drafts of an earlier life are gone. Writes
 * one manifest (the same items under the next generation), so that ids are never used again. The
 * blocks are not read. Errors: -ENOENT, -EBUSY (locked by a living process), -LKS_EFORMAT,
 * -LKS_ECLUSTER, -LKS_ESIZE (another number of partitions; a smaller area; truncated),
 * -LKS_EDAMAGED (header, or both slots), -EINVAL, errno.
 */
int lks_snapshots_open(struct lks_snapshots **store, const struct lks_snapshots_options *options,
                       struct lks_error *err);

/* Drafts are lost. NULL is allowed. */
void lks_snapshots_close(struct lks_snapshots *store);

/*
 * Brings log and snapshots together after a restart, when the journal was recovered and nobody can
 * write: the base becomes the manifest's lowest point. Where the log does not contain that point
 * (an installation was cut short between manifest and base), everything below it is given up; what
 * follows it by chain stays. `tail` is moved accordingly. Errors: -LKS_EDAMAGED (the base lies
 * above the lowest point: this area is not, or no longer, the one that belongs to the journal),
 * errno of msync.
 */
int lks_snapshots_settle(const struct lks_snapshots *store, struct lks_journal *journal,
                         struct lks_log_point *tail, struct lks_error *err);

/* ---- what is there ------------------------------------------------------------------------ */

/* Gives the area to another cluster, durably, like lks_journal_set_cluster. Errors: errno of
 * msync. */
int lks_snapshots_set_cluster(struct lks_snapshots *store,
                              const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);

/* The cluster that it belongs to. */
void lks_snapshots_cluster(const struct lks_snapshots *store,
                           uint8_t cluster_id[LKS_CLUSTER_ID_BYTES]);

uint32_t lks_snapshots_partitions(const struct lks_snapshots *store);

/* The partition's present snapshot; valid until the next replacement. */
const struct lks_snapshot_item *lks_snapshots_item(const struct lks_snapshots *store,
                                                   uint32_t partition);
/* Its log point, zero if none was ever taken. */
struct lks_log_point lks_snapshots_point(const struct lks_snapshots *store, uint32_t partition);

/* A partition with the smallest offset. The log's base never lies above its point. */
uint32_t lks_snapshots_lowest(const struct lks_snapshots *store);

struct lks_snapshots_counts {
    uint64_t area_bytes;      /* limit */
    uint64_t allocated_bytes; /* of the file so far */
    uint64_t used_bytes;      /* by snapshots and drafts */
    uint64_t retired_bytes;   /* replaced, and not free yet: held for readers */
    uint64_t generation;      /* of the manifest */
};
void lks_snapshots_counts(const struct lks_snapshots *store, struct lks_snapshots_counts *counts);

/* The whole area for the fabric; fd can only be read. Owned by the store. */
struct lks_snapshots_memory {
    void *address;
    uint64_t bytes;
    int fd;
};
void lks_snapshots_memory(const struct lks_snapshots *store, struct lks_snapshots_memory *memory);

/* Name of the file; and what it lies on. */
const char *lks_snapshots_path(const struct lks_snapshots *store);
const struct lks_medium *lks_snapshots_medium(const struct lks_snapshots *store);

/* Fills err with the sentence for a code that a call below returned; returns the code. */
int lks_snapshots_explain(const struct lks_snapshots *store, int code, struct lks_error *err);

/* ---- writing ------------------------------------------------------------------------------ */

/*
 * A partition has at most one draft; any number of partitions may have one at the same time.
 *   begin, chunk..., finish; persist...; replace
 * Errors of all calls below: -ENOSPC, -EDQUOT, -EFBIG (disk or area full: the file is allocated
 * before it is stored into, in steps of 256 KiB), -ENOMEM, errno of msync (from then on every call
 * fails with it: nothing counts as durable any more). After an error the draft can only be
 * abandoned; what the manifest names is untouched.
 */

/* Begins a draft. The partition must have none (asserted). head is copied. */
int lks_snapshot_write_begin(struct lks_snapshots *store, uint32_t partition,
                             const struct lks_snapshot_head *head);

/* Appends a chunk, which a reader gets back as it is. Work in proportion to bytes. Also
 * -LKS_ETOOBIG above LKS_SNAPSHOT_CHUNK_BYTES_MAX. */
int lks_snapshot_write_chunk(struct lks_snapshots *store, uint32_t partition, const void *data,
                             uint64_t bytes);

/* No more chunks. Nothing is durable yet. */
int lks_snapshot_write_finish(struct lks_snapshots *store, uint32_t partition);

/* Gives up a draft in whatever state, or none; its blocks are free at once. Not while a range of it
 * is with a flusher, nor between replace_begin and _end (asserted). */
void lks_snapshot_abandon(struct lks_snapshots *store, uint32_t partition);

/* True if a finished draft is there and all of it is durable. */
bool lks_snapshot_is_durable(const struct lks_snapshots *store, uint32_t partition);

/* Makes about bytes_max more of a draft durable (at least one block), also while it is still being
 * written; *left: bytes that are not yet. Blocks on a medium that needs msync. */
int lks_snapshot_persist_step(struct lks_snapshots *store, uint32_t partition, uint64_t bytes_max,
                              uint64_t *left);

/* The same with the waiting done elsewhere: takes the next range of at most about bytes_max
 * (-ENODATA: none now), has it made durable on any thread, and says so, also if that failed: then
 * nothing of the draft counts as durable any more. One range a partition. */
struct lks_snapshots_range {
    uint64_t offset; /* in the area */
    uint64_t bytes;
};
int lks_snapshot_persist_begin(struct lks_snapshots *store, uint32_t partition, uint64_t bytes_max,
                               struct lks_snapshots_range *range);
void lks_snapshot_persist_end(struct lks_snapshots *store, uint32_t partition);

/* Makes a range durable. Any thread. Errors: errno of msync. */
int lks_snapshots_persist(const struct lks_snapshots *store,
                          const struct lks_snapshots_range *range);

/*
 * Puts the durable drafts (asserted) of these partitions into their place, all at once, by one
 * manifest write; durable when it returns 0. A snapshot's point never goes back (asserted), but for
 * copies of a peer's. The replaced blocks are free when no reader holds them. Only after this may
 * the journal's base be moved up to the lowest point.
 */
int lks_snapshots_replace(struct lks_snapshots *store, const uint32_t *partitions, uint32_t count);

/* The same for an installation: every partition has a durable draft that is a copy. */
int lks_snapshots_replace_all(struct lks_snapshots *store);

/* _replace with the waiting done elsewhere: the manifest is stored (and seen by peers), range is to
 * be made durable by lks_snapshots_persist, then _end. One at a time; until _end the old snapshots
 * are the store's. */
int lks_snapshots_replace_begin(struct lks_snapshots *store, const uint32_t *partitions,
                                uint32_t count, struct lks_snapshots_range *range);
void lks_snapshots_replace_end(struct lks_snapshots *store);

/* ---- copies from a peer ------------------------------------------------------------------- */

/*
 * A draft that is a copy of a peer's snapshot, block by block; item as the peer's manifest names
 * it. An item that was never taken makes a draft that is finished and durable at once.
 *
 * All partitions of an installation must be copies of the items of *one* manifest of one donor:
 * two manifests may stand on different sides of a command that ties two partitions together. When a
 * newer manifest has to be used, _is_copy_of tells what need not be fetched again.
 */
int lks_snapshot_copy_begin(struct lks_snapshots *store, uint32_t partition,
                            const struct lks_snapshot_item *item);

/* Appends a block that lks_snapshot_fetch_take accepted (64 KiB, not read again after its check:
 * in memory that nobody writes). */
int lks_snapshot_copy_block(struct lks_snapshots *store, uint32_t partition, const void *block);

/* No more blocks; -LKS_EDAMAGED if the copy is not what its item says. */
int lks_snapshot_copy_finish(struct lks_snapshots *store, uint32_t partition);

/* True if the partition's draft is a finished copy of exactly this item. */
bool lks_snapshot_is_copy_of(const struct lks_snapshots *store, uint32_t partition,
                             const struct lks_snapshot_item *item);

/* ---- readers elsewhere -------------------------------------------------------------------- */

/* Until that time (of the caller's clock, ns) nothing that is replaced becomes free: a peer is
 * reading. Only ever prolonged. The caller bounds it. */
void lks_snapshots_hold(struct lks_snapshots *store, uint64_t until_ns);

/* Tells the store the time: what is held no longer becomes free. */
void lks_snapshots_tick(struct lks_snapshots *store, uint64_t now_ns);

/* ---- reading here ------------------------------------------------------------------------- */

/* Reads one partition's present snapshot, chunk by chunk; every byte is checked before it is handed
 * out. In the caller's memory; a zeroed one may be given to _fini. */
struct lks_snapshot_scan {
    struct lks_snapshots *store;
    struct lks_snapshot_item item;
    uint32_t partition;
    uint32_t block;     /* the present one */
    uint32_t next;      /* the one behind it */
    uint32_t sequence;  /* its number in the chain */
    uint32_t at;        /* bytes of its content already read */
    uint32_t filled;    /* bytes of content in it */
    uint32_t checksum;  /* over the blocks so far */
    uint64_t bytes;     /* of content read */
    uint64_t chunks;
    bool ended;
    uint8_t *assembled; /* a chunk that spans blocks; owned */
    uint64_t assembled_max;
    uint8_t *meta;      /* owned */
};

/*
 * Begins to read. The head's meta stays valid until _fini. The partition must not be replaced
 * meanwhile. Errors: -ENODATA (no snapshot was ever taken), -LKS_EDAMAGED (err names partition,
 * block and byte), -ENOMEM; the scan is then empty.
 */
int lks_snapshot_scan_init(struct lks_snapshot_scan *scan, struct lks_snapshots *store,
                           uint32_t partition, struct lks_snapshot_head *head,
                           struct lks_error *err);

/* The next chunk; valid until the next call. 0, -ENODATA (that was all, and the whole snapshot was
 * as it should be), -LKS_EDAMAGED, -ENOMEM. Work in proportion to the chunk. */
int lks_snapshot_scan_next(struct lks_snapshot_scan *scan, const void **data, uint64_t *bytes,
                           struct lks_error *err);

void lks_snapshot_scan_fini(struct lks_snapshot_scan *scan);

#endif
