/*
 * What a snapshot area looks like on its medium, byte for byte. Only pmem/ includes this.
 * Little-endian; a change of meaning raises LKS_SNAPSHOTS_VERSION. Peers of the same version read
 * it one-sidedly. Explained in docs/snapshot-format.md.
 */
#ifndef LKS_PMEM_SNAPSHOT_LAYOUT_H
#define LKS_PMEM_SNAPSHOT_LAYOUT_H

#include "pmem/snapshots.h"

#define LKS_SNAPSHOTS_MAGIC "LKSSNAPS"
#define LKS_SNAPSHOTS_VERSION 1u
#define LKS_SNAPSHOTS_PAGE UINT64_C(4096)
#define LKS_SNAPSHOTS_BLOCKS_MIN 16u /* that an area must have room for */

/* First page, written once. Magic and version keep their place in every version. */
struct lks_snapshots_header {
    char magic[8];
    uint32_t version;
    uint32_t checksum; /* CRC32C over this struct with this field zero */
    uint8_t cluster_id[LKS_CLUSTER_ID_BYTES];
    uint32_t replica;
    uint32_t partitions;
    uint64_t created_ns; /* CLOCK_REALTIME */
};

_Static_assert(sizeof(struct lks_snapshots_header) == 48, "header layout");

#define LKS_MANIFEST_KIND 0x494e414du /* "MANI" */

/* An id: the life that gave it, and the how many-th of that life it is. */
#define LKS_SNAPSHOT_ID_BITS 40
#define LKS_SNAPSHOT_LIVES_MAX ((UINT64_C(1) << (64 - LKS_SNAPSHOT_ID_BITS)) - 1)

/* A manifest slot: this, then one struct lks_snapshot_item a partition. Generation g lies in slot
 * g & 1. */
struct lks_manifest_head {
    uint32_t checksum; /* CRC32C over all that follows, items included */
    uint32_t kind;
    uint64_t generation; /* 1, 2, ... */
    uint64_t area_bytes; /* limit of the file */
    uint64_t blocks_end; /* blocks below it are allocated */
    uint32_t partitions;
    uint32_t reserved;
    uint64_t life; /* openings of the area so far: ids of snapshots begin from it */
    uint64_t reserved_too[2];
};

_Static_assert(sizeof(struct lks_manifest_head) == 64, "manifest layout");

#define LKS_BLOCK_NONE UINT32_MAX

/* A block: this, then its content. */
struct lks_snapshot_block {
    uint32_t checksum;         /* CRC32C over bytes 4..63 */
    uint32_t content_checksum; /* CRC32C over the content */
    uint64_t id;               /* of the snapshot */
    uint32_t partition;
    uint32_t sequence;      /* 0, 1, ... within the snapshot */
    uint32_t block;         /* its own number: its place */
    uint32_t next;          /* number of the next one, or LKS_BLOCK_NONE */
    uint32_t content_bytes; /* at most LKS_BLOCK_CONTENT_MAX */
    uint32_t reserved;
    uint64_t reserved_too[3];
};

_Static_assert(sizeof(struct lks_snapshot_block) == 64, "block layout");

#define LKS_BLOCK_CONTENT_MAX \
    ((uint32_t)(LKS_SNAPSHOT_BLOCK_BYTES - sizeof(struct lks_snapshot_block)))

/* The contents of a snapshot's blocks, one after the other, are frames: HEAD, CHUNK..., END. Each
 * is this, its bytes, and zeros up to a multiple of 8. */
enum lks_snapshot_frame_kind {
    LKS_FRAME_HEAD = 0x44414548,  /* "HEAD": struct lks_head_frame, then meta */
    LKS_FRAME_CHUNK = 0x4b4e4843, /* "CHNK": as the service wrote it */
    LKS_FRAME_END = 0x20444e45    /* "END ": struct lks_end_frame */
};

struct lks_snapshot_frame {
    uint32_t kind;
    uint32_t reserved;
    uint64_t bytes;
};

struct lks_head_frame {
    uint64_t index;
    uint64_t term;
    uint64_t offset;
    uint32_t chain;
    uint32_t partition;
    uint64_t time_ns;
    uint64_t meta_bytes;
};

struct lks_end_frame {
    uint64_t chunks;
};

_Static_assert(sizeof(struct lks_snapshot_frame) == 16, "frame layout");
_Static_assert(sizeof(struct lks_head_frame) == 48, "head layout");

/* Zeros behind a frame's bytes. */
static inline uint64_t lks_frame_padding(uint64_t bytes)
{
    return -bytes & 7u;
}

/* What a block's place in its chain says about it. */
struct lks_block_place {
    uint64_t id;
    uint32_t partition;
    uint32_t sequence;
    uint32_t block;
    uint32_t blocks;     /* of the whole chain */
    uint64_t blocks_end; /* all block numbers lie below it */
};

/* Copies and checks a block's header against its place; the content's bytes and checksum only where
 * `content`. bytes: the whole block. */
bool lks_block_is_whole(const void *bytes, const struct lks_block_place *place, bool content,
                        struct lks_snapshot_block *header);

uint32_t lks_block_checksum(const struct lks_snapshot_block *header);

/* Continues the checksum of a snapshot by one block. */
uint32_t lks_snapshot_checksum(uint32_t before, const struct lks_snapshot_block *header);

uint32_t lks_snapshots_header_checksum(const struct lks_snapshots_header *header);
uint32_t lks_manifest_checksum(const struct lks_manifest_head *head, uint64_t slot_bytes_used);

#endif
