/*
 * The inside of a snapshot store, shared by the files of pmem/ that implement snapshots.h. All of
 * it is used by the store's one thread, but `failure`. Invariant: a block is free only if neither
 * the durable manifest, nor the one that is being made durable, nor a draft names it, and no
 * reader holds it.
 */
#ifndef LKS_PMEM_SNAPSHOTS_INTERNAL_H
#define LKS_PMEM_SNAPSHOTS_INTERNAL_H

#include "pmem/medium.h"
#include "pmem/snapshot_fetch.h"
#include "pmem/snapshot_layout.h"
#include "pmem/snapshots.h"

#include <stdatomic.h>

/* Blocks linked with one another by store->links. */
struct lks_block_chain {
    uint32_t first;
    uint32_t last;
    uint32_t count; /* 0: the other two mean nothing */
};

enum lks_draft_state {
    LKS_DRAFT_NONE,
    LKS_DRAFT_OPEN,
    LKS_DRAFT_FINISHED,
    LKS_DRAFT_FAILED /* can only be abandoned */
};

/* A snapshot that is being written. */
struct lks_snapshot_draft {
    enum lks_draft_state state;
    bool copy;
    bool replacing; /* named by the manifest that is being made durable */
    uint64_t id;
    struct lks_log_point point;
    struct lks_block_chain chain; /* its last block is the one that is being filled */
    uint32_t fill;                /* bytes of content in it */
    uint32_t content_checksum;    /* over them */
    uint32_t checksum;            /* over the sealed blocks */
    uint32_t sealed;              /* blocks whose header is stored; the last one's is, at the end */
    uint32_t persisted;           /* blocks from the first on that are durable */
    uint32_t persist_next;        /* number of the next one to persist */
    uint32_t persisting;          /* blocks with a flusher */
    uint64_t bytes;               /* of content */
    uint64_t chunks;
    struct lks_snapshot_item source; /* copy: of what */
};

/* Meaning of store->links[block]. Else: the next block's number + LKS_LINK_FIRST. */
enum lks_block_link { LKS_LINK_FREE = 0, LKS_LINK_LAST = 1, LKS_LINK_FIRST = 2 };

/* Where a partition's present snapshot lies. */
struct lks_snapshot_present {
    struct lks_block_chain chain; /* what of it is linked */
    bool known;                   /* that is all of it */
};

struct lks_snapshots {
    char *path;
    int fd;       /* own; carries the lock */
    int share_fd; /* for peers: can only be read */
    bool read_only;
    struct lks_mapping mapping;
    struct lks_medium medium;
    struct lks_snapshots_geometry geometry;
    uint64_t area_bytes;
    uint64_t generation; /* of the durable manifest */
    uint64_t life;       /* openings so far: the upper part of this life's ids */
    uint64_t ids;
    struct lks_snapshot_item *items;      /* of the durable manifest, by partition */
    struct lks_snapshot_present *present; /* by partition */
    struct lks_snapshot_draft *drafts;    /* by partition */
    struct lks_snapshot_item *coming; /* of the manifest that is being made durable, */
    bool replacing;                   /* while this is true */
    /* Blocks. */
    uint32_t *links; /* by block */
    uint32_t blocks_max;
    uint32_t blocks_end; /* allocated ones */
    uint32_t used;       /* of them: linked */
    uint32_t cursor;     /* where the search for a free one goes on */
    struct lks_block_chain retired;
    uint64_t held_until_ns;
    bool held;
    bool all_known; /* every present snapshot's blocks are linked */
    _Atomic int failure; /* first error of making something durable */
    _Atomic int *failed; /* &failure: what a const store may still change */
};

static inline unsigned char *lks_snapshots_block(const struct lks_snapshots *store, uint32_t block)
{
    return store->mapping.address + store->geometry.blocks_at +
           (uint64_t)block * LKS_SNAPSHOT_BLOCK_BYTES;
}

static inline int lks_snapshots_failure(const struct lks_snapshots *store)
{
    return atomic_load(store->failed);
}

/* ---- snapshot_blocks.c: which blocks are free ---- */

/* Takes a free block and makes it the last one of chain. -ENOSPC and other errno of allocation. */
int lks_blocks_take(struct lks_snapshots *store, struct lks_block_chain *chain);
/* Links the blocks of all present snapshots, if that was not done yet. */
void lks_blocks_find_all(struct lks_snapshots *store);
/* All of a chain becomes free at once. */
void lks_blocks_free(struct lks_snapshots *store, struct lks_block_chain *chain);
/* A chain becomes free when nobody holds it. */
void lks_blocks_retire(struct lks_snapshots *store, struct lks_block_chain *chain);
/* Notes that `block`, as its whole header says, is the next one of a partition's present snapshot.
 * May be said again. */
void lks_blocks_note(struct lks_snapshots *store, uint32_t partition,
                     const struct lks_snapshot_block *header);

/* ---- snapshot_manifest.c ---- */

/* The newest whole manifest in a preface, its items believable; NULL: none. */
const struct lks_manifest_head *lks_manifest_newest(const void *preface,
                                                    const struct lks_snapshots_geometry *geometry);
/* Stores items as the given generation into its slot; not durable yet. */
void lks_manifest_store(const struct lks_snapshots *store, uint64_t generation,
                        const struct lks_snapshot_item *items, struct lks_snapshots_range *range);

/* Checks magic, version, checksum and the number of partitions of a header; `who` names the area in
 * err. partitions 0: any. -LKS_EFORMAT, -LKS_EDAMAGED, -LKS_ESIZE. */
int lks_snapshots_check_header(const struct lks_snapshots_header *header, uint32_t partitions,
                               const char *who, struct lks_error *err);

#endif
