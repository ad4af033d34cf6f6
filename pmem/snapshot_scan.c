/*
 * Reading a partition's present snapshot, and what makes a block whole. Store's thread; nothing
 * that was not checked is handed out, and no length on the medium is believed beyond what the
 * manifest's item bounds.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "pmem/snapshots_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES sizeof(struct lks_snapshot_block)

/* ---- blocks ------------------------------------------------------------------------------- */

uint32_t lks_block_checksum(const struct lks_snapshot_block *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    return lks_crc32c(0, bytes + sizeof header->checksum,
                      sizeof *header - sizeof header->checksum);
}

uint32_t lks_snapshot_checksum(uint32_t before, const struct lks_snapshot_block *header)
{
    const uint32_t words[2] = {header->content_checksum, header->content_bytes};
    return lks_crc32c(before, words, sizeof words);
}

bool lks_block_is_whole(const void *bytes, const struct lks_block_place *place, bool content,
                        struct lks_snapshot_block *header)
{
    if (place->block >= place->blocks_end) {
        return false;
    }
    memcpy(header, bytes, sizeof *header);
    if (header->checksum != lks_block_checksum(header) || header->id != place->id ||
        header->partition != place->partition || header->sequence != place->sequence ||
        header->block != place->block || header->content_bytes > LKS_BLOCK_CONTENT_MAX) {
        return false;
    }
    const bool last = place->sequence + 1 == place->blocks;
    if (last ? header->next != LKS_BLOCK_NONE : header->next >= place->blocks_end) {
        return false;
    }
    return !content || header->content_checksum ==
                           lks_crc32c(0, (const unsigned char *)bytes + HEADER_BYTES,
                                      header->content_bytes);
}

/* ---- content ------------------------------------------------------------------------------ */

static int damaged(const struct lks_snapshot_scan *scan, const char *what, struct lks_error *err)
{
    const struct lks_snapshots *store = scan->store;
    return lks_error_set(err, -LKS_EDAMAGED,
                         "snapshots %s: partition %" PRIu32 ": %s, at block %" PRIu32
                         " (byte %" PRIu64 " of the file): this replica rebuilds itself from its "
                         "peers after `lockstep init CONFIG --rejoin`",
                         store->path, scan->partition, what, scan->block,
                         store->geometry.blocks_at +
                             (uint64_t)scan->block * LKS_SNAPSHOT_BLOCK_BYTES);
}

/* Checks the block at scan->block and makes it the present one. */
static int enter(struct lks_snapshot_scan *scan, struct lks_error *err)
{
    const struct lks_snapshots *store = scan->store;
    const struct lks_block_place place = {.id = scan->item.id,
                                          .partition = scan->partition,
                                          .sequence = scan->sequence,
                                          .block = scan->block,
                                          .blocks = scan->item.blocks,
                                          .blocks_end = store->blocks_end};
    struct lks_snapshot_block header;
    if (scan->block >= store->blocks_end ||
        !lks_block_is_whole(lks_snapshots_block(store, scan->block), &place, true, &header)) {
        return damaged(scan, "a block is damaged, or not the one that the manifest names", err);
    }
    lks_blocks_note(scan->store, scan->partition, &header);
    scan->checksum = lks_snapshot_checksum(scan->checksum, &header);
    scan->next = header.next;
    scan->filled = header.content_bytes;
    scan->at = 0;
    return 0;
}

/* Content that is left in the present block; enters the next one where that is used up. */
static int look(struct lks_snapshot_scan *scan, const uint8_t **data, uint32_t *bytes,
                struct lks_error *err)
{
    while (scan->at == scan->filled) {
        if (scan->sequence + 1 >= scan->item.blocks) {
            return damaged(scan, "it ends in the middle", err);
        }
        scan->sequence++;
        scan->block = scan->next;
        const int rc = enter(scan, err);
        if (rc < 0) {
            return rc;
        }
    }
    *data = lks_snapshots_block(scan->store, scan->block) + HEADER_BYTES + scan->at;
    *bytes = scan->filled - scan->at;
    return 0;
}

static void pass(struct lks_snapshot_scan *scan, uint32_t bytes)
{
    scan->at += bytes;
    scan->bytes += bytes;
}

/* Copies bytes of content, over blocks; to NULL: leaves them out. */
static int copy(struct lks_snapshot_scan *scan, uint8_t *to, uint64_t bytes, struct lks_error *err)
{
    while (bytes > 0) {
        const uint8_t *from = NULL;
        uint32_t there = 0;
        const int rc = look(scan, &from, &there, err);
        if (rc < 0) {
            return rc;
        }
        const uint32_t part = bytes < there ? (uint32_t)bytes : there;
        if (to != NULL) {
            memcpy(to, from, part);
            to += part;
        }
        pass(scan, part);
        bytes -= part;
    }
    return 0;
}

static int read_frame(struct lks_snapshot_scan *scan, struct lks_snapshot_frame *frame,
                      struct lks_error *err)
{
    const int rc = copy(scan, (uint8_t *)frame, sizeof *frame, err);
    if (rc < 0) {
        return rc;
    }
    /* Also bounds what is allocated for it. */
    if (frame->reserved != 0 || frame->bytes > LKS_SNAPSHOT_CHUNK_BYTES_MAX + HEADER_BYTES ||
        frame->bytes > scan->item.bytes - scan->bytes) {
        return damaged(scan, "a frame's header makes no sense", err);
    }
    return 0;
}

/* ---- head --------------------------------------------------------------------------------- */

static bool same_point(const struct lks_head_frame *frame, const struct lks_snapshot_item *item,
                       uint32_t partition)
{
    return frame->index == item->index && frame->term == item->term &&
           frame->offset == item->offset && frame->chain == item->chain &&
           frame->partition == partition;
}

static int read_head(struct lks_snapshot_scan *scan, struct lks_snapshot_head *head,
                     struct lks_error *err)
{
    struct lks_snapshot_frame frame;
    struct lks_head_frame content;
    int rc = read_frame(scan, &frame, err);
    if (rc == 0 && (frame.kind != LKS_FRAME_HEAD || frame.bytes < sizeof content)) {
        rc = damaged(scan, "it does not begin with a head", err);
    }
    if (rc == 0) {
        rc = copy(scan, (uint8_t *)&content, sizeof content, err);
    }
    if (rc == 0 && (content.meta_bytes != frame.bytes - sizeof content ||
                    !same_point(&content, &scan->item, scan->partition))) {
        rc = damaged(scan, "its head is not what the manifest says", err);
    }
    if (rc < 0) {
        return rc;
    }
    scan->meta = malloc(content.meta_bytes + 1);
    if (scan->meta == NULL) {
        return lks_error_set(err, -ENOMEM, "snapshots %s: partition %" PRIu32
                             ": no memory for a head of %" PRIu64 " bytes",
                             scan->store->path, scan->partition, content.meta_bytes);
    }
    rc = copy(scan, scan->meta, content.meta_bytes, err);
    if (rc == 0) {
        rc = copy(scan, NULL, lks_frame_padding(content.meta_bytes), err);
    }
    *head = (struct lks_snapshot_head){.point = {.index = content.index,
                                                 .term = content.term,
                                                 .offset = content.offset,
                                                 .chain = content.chain},
                                       .time_ns = content.time_ns,
                                       .meta = scan->meta,
                                       .meta_bytes = content.meta_bytes};
    return rc;
}

int lks_snapshot_scan_init(struct lks_snapshot_scan *scan, struct lks_snapshots *store,
                           uint32_t partition, struct lks_snapshot_head *head,
                           struct lks_error *err)
{
    LKS_ASSERT(partition < store->geometry.partitions);
    const struct lks_snapshot_item *item = &store->items[partition];
    *scan = (struct lks_snapshot_scan){.store = store, .partition = partition, .item = *item};
    if (item->blocks == 0) {
        return -ENODATA;
    }
    scan->block = item->first_block;
    int rc = enter(scan, err);
    if (rc == 0) {
        rc = read_head(scan, head, err);
    }
    if (rc < 0) {
        lks_snapshot_scan_fini(scan);
    }
    return rc;
}

/* ---- chunks ------------------------------------------------------------------------------- */

/* The end: everything was read, and it is as it was written. */
static int read_end(struct lks_snapshot_scan *scan, const struct lks_snapshot_frame *frame,
                    struct lks_error *err)
{
    struct lks_end_frame end = {.chunks = 0};
    int rc = frame->bytes == sizeof end ? copy(scan, (uint8_t *)&end, sizeof end, err)
                                        : damaged(scan, "its end makes no sense", err);
    if (rc == 0 && (end.chunks != scan->chunks || scan->bytes != scan->item.bytes ||
                    scan->at != scan->filled || scan->sequence + 1 != scan->item.blocks ||
                    scan->checksum != scan->item.checksum)) {
        rc = damaged(scan, "it is not the whole that the manifest names", err);
    }
    scan->ended = rc == 0;
    return rc < 0 ? rc : -ENODATA;
}

/* A chunk that spans blocks, in one piece. */
static int assemble(struct lks_snapshot_scan *scan, uint64_t bytes, struct lks_error *err)
{
    if (bytes > scan->assembled_max) {
        uint8_t *more = realloc(scan->assembled, bytes);
        if (more == NULL) {
            return lks_error_set(err, -ENOMEM, "snapshots %s: partition %" PRIu32
                                 ": no memory for a chunk of %" PRIu64 " bytes",
                                 scan->store->path, scan->partition, bytes);
        }
        scan->assembled = more;
        scan->assembled_max = bytes;
    }
    return copy(scan, scan->assembled, bytes, err);
}

int lks_snapshot_scan_next(struct lks_snapshot_scan *scan, const void **data, uint64_t *bytes,
                           struct lks_error *err)
{
    struct lks_snapshot_frame frame;
    const uint8_t *there = NULL;
    uint32_t there_bytes = 0;
    if (scan->ended) {
        return -ENODATA;
    }
    int rc = read_frame(scan, &frame, err);
    if (rc == 0 && frame.kind == LKS_FRAME_END) {
        return read_end(scan, &frame, err);
    }
    if (rc == 0 && frame.kind != LKS_FRAME_CHUNK) {
        rc = damaged(scan, "a frame is neither chunk nor end", err);
    }
    if (rc == 0 && frame.bytes > 0) {
        rc = look(scan, &there, &there_bytes, err);
    }
    if (rc == 0 && frame.bytes <= there_bytes) {
        pass(scan, (uint32_t)frame.bytes);
    } else if (rc == 0) {
        rc = assemble(scan, frame.bytes, err);
        there = scan->assembled;
    }
    if (rc == 0) {
        rc = copy(scan, NULL, lks_frame_padding(frame.bytes), err);
    }
    if (rc == 0) {
        scan->chunks++;
        *data = there;
        *bytes = frame.bytes;
    }
    return rc;
}

void lks_snapshot_scan_fini(struct lks_snapshot_scan *scan)
{
    free(scan->assembled);
    free(scan->meta);
    scan->assembled = NULL;
    scan->meta = NULL;
    scan->assembled_max = 0;
}
