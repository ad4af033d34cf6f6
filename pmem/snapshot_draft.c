/*
 * Drafts: snapshots that are being written, in small steps, beside those that count; and copies of
 * a peer's, block by block. Store's thread, except lks_snapshots_persist. Invariant: a block is
 * stored only when the file is allocated there, and a sealed block is not stored to again.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "pmem/snapshots_internal.h"
#include "pmem/stores.h"

#include <errno.h>
#include <string.h>

#define HEADER_BYTES sizeof(struct lks_snapshot_block)

static struct lks_snapshot_draft *draft_of(struct lks_snapshots *store, uint32_t partition)
{
    LKS_ASSERT(!store->read_only);
    LKS_ASSERT(partition < store->geometry.partitions);
    return &store->drafts[partition];
}

static int begin(struct lks_snapshots *store, uint32_t partition,
                 const struct lks_log_point *point)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->state == LKS_DRAFT_NONE);
    LKS_ASSERT(point->offset % LKS_ENTRY_ALIGN == 0);
    const int rc = lks_snapshots_failure(store);
    if (rc < 0) {
        return rc;
    }
    store->ids++;
    LKS_ASSERT(store->ids < UINT64_C(1) << LKS_SNAPSHOT_ID_BITS);
    *draft = (struct lks_snapshot_draft){.state = LKS_DRAFT_OPEN,
                                         .id = store->life << LKS_SNAPSHOT_ID_BITS | store->ids,
                                         .point = *point};
    return 0;
}

/* ---- blocks ------------------------------------------------------------------------------- */

/* Stores the header of the block that was being filled: it does not change any more. */
static void seal(struct lks_snapshots *store, uint32_t partition, uint32_t next)
{
    struct lks_snapshot_draft *draft = &store->drafts[partition];
    struct lks_snapshot_block header = {.content_checksum = draft->content_checksum,
                                        .id = draft->id,
                                        .partition = partition,
                                        .sequence = draft->sealed,
                                        .block = draft->chain.last,
                                        .next = next,
                                        .content_bytes = draft->fill};
    header.checksum = lks_block_checksum(&header);
    lks_store_copy(lks_snapshots_block(store, draft->chain.last), &header, sizeof header);
    draft->checksum = lks_snapshot_checksum(draft->checksum, &header);
    draft->sealed++;
}

/* The next block; the one before is sealed. */
static int next_block(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_draft *draft = &store->drafts[partition];
    struct lks_block_chain chain = draft->chain;
    const int rc = lks_blocks_take(store, &chain);
    if (rc < 0) {
        draft->state = LKS_DRAFT_FAILED;
        return rc;
    }
    if (draft->chain.count != 0) {
        seal(store, partition, chain.last);
    } else {
        draft->persist_next = chain.first;
    }
    draft->chain = chain;
    draft->fill = 0;
    draft->content_checksum = 0;
    return 0;
}

/* Appends bytes to the content. */
static int put(struct lks_snapshots *store, uint32_t partition, const void *data, uint64_t bytes)
{
    struct lks_snapshot_draft *draft = &store->drafts[partition];
    const unsigned char *from = data;
    while (bytes > 0) {
        if (draft->chain.count == 0 || draft->fill == LKS_BLOCK_CONTENT_MAX) {
            const int rc = next_block(store, partition);
            if (rc < 0) {
                return rc;
            }
        }
        const uint32_t room = LKS_BLOCK_CONTENT_MAX - draft->fill;
        const uint32_t part = bytes < room ? (uint32_t)bytes : room;
        lks_store_copy(lks_snapshots_block(store, draft->chain.last) + HEADER_BYTES + draft->fill,
                       from, part);
        draft->content_checksum = lks_crc32c(draft->content_checksum, from, part);
        draft->fill += part;
        draft->bytes += part;
        from += part;
        bytes -= part;
    }
    return 0;
}

static int put_frame(struct lks_snapshots *store, uint32_t partition,
                     enum lks_snapshot_frame_kind kind, uint64_t bytes)
{
    const struct lks_snapshot_frame frame = {.kind = (uint32_t)kind, .bytes = bytes};
    return put(store, partition, &frame, sizeof frame);
}

static int put_padding(struct lks_snapshots *store, uint32_t partition, uint64_t bytes)
{
    static const unsigned char zeros[8];
    return put(store, partition, zeros, lks_frame_padding(bytes));
}

/* ---- writing ------------------------------------------------------------------------------ */

int lks_snapshot_write_begin(struct lks_snapshots *store, uint32_t partition,
                             const struct lks_snapshot_head *head)
{
    const struct lks_head_frame frame = {.index = head->point.index,
                                         .term = head->point.term,
                                         .offset = head->point.offset,
                                         .chain = head->point.chain,
                                         .partition = partition,
                                         .time_ns = head->time_ns,
                                         .meta_bytes = head->meta_bytes};
    if (head->meta_bytes > LKS_SNAPSHOT_CHUNK_BYTES_MAX) {
        return -LKS_ETOOBIG;
    }
    int rc = begin(store, partition, &head->point);
    if (rc < 0) {
        return rc;
    }
    rc = put_frame(store, partition, LKS_FRAME_HEAD, sizeof frame + head->meta_bytes);
    if (rc == 0) {
        rc = put(store, partition, &frame, sizeof frame);
    }
    if (rc == 0) {
        rc = put(store, partition, head->meta, head->meta_bytes);
    }
    return rc < 0 ? rc : put_padding(store, partition, head->meta_bytes);
}

int lks_snapshot_write_chunk(struct lks_snapshots *store, uint32_t partition, const void *data,
                             uint64_t bytes)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->state == LKS_DRAFT_OPEN);
    LKS_ASSERT(!draft->copy);
    if (bytes > LKS_SNAPSHOT_CHUNK_BYTES_MAX) {
        return -LKS_ETOOBIG;
    }
    draft->chunks++;
    int rc = put_frame(store, partition, LKS_FRAME_CHUNK, bytes);
    if (rc == 0) {
        rc = put(store, partition, data, bytes);
    }
    return rc < 0 ? rc : put_padding(store, partition, bytes);
}

int lks_snapshot_write_finish(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->state == LKS_DRAFT_OPEN);
    LKS_ASSERT(!draft->copy);
    const struct lks_end_frame end = {.chunks = draft->chunks};
    int rc = put_frame(store, partition, LKS_FRAME_END, sizeof end);
    if (rc == 0) {
        rc = put(store, partition, &end, sizeof end);
    }
    if (rc == 0) {
        seal(store, partition, LKS_BLOCK_NONE);
        draft->state = LKS_DRAFT_FINISHED;
    }
    return rc;
}

void lks_snapshot_abandon(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->persisting == 0);
    LKS_ASSERT(!draft->replacing);
    lks_blocks_free(store, &draft->chain);
    *draft = (struct lks_snapshot_draft){.state = LKS_DRAFT_NONE};
}

/* ---- copying ------------------------------------------------------------------------------ */

int lks_snapshot_copy_begin(struct lks_snapshots *store, uint32_t partition,
                            const struct lks_snapshot_item *item)
{
    const struct lks_log_point point = {
        .index = item->index, .term = item->term, .offset = item->offset, .chain = item->chain};
    const int rc = begin(store, partition, &point);
    if (rc == 0) {
        struct lks_snapshot_draft *draft = &store->drafts[partition];
        draft->copy = true;
        draft->source = *item;
        if (item->blocks == 0) {
            draft->state = LKS_DRAFT_FINISHED;
        }
    }
    return rc;
}

int lks_snapshot_copy_block(struct lks_snapshots *store, uint32_t partition, const void *block)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    struct lks_snapshot_block header;
    LKS_ASSERT(draft->state == LKS_DRAFT_OPEN);
    LKS_ASSERT(draft->copy);
    memcpy(&header, block, sizeof header);
    LKS_ASSERT(header.content_bytes <= LKS_BLOCK_CONTENT_MAX);
    const int rc = next_block(store, partition);
    if (rc < 0) {
        return rc;
    }
    lks_store_copy(lks_snapshots_block(store, draft->chain.last) + HEADER_BYTES,
                   (const unsigned char *)block + HEADER_BYTES, header.content_bytes);
    draft->fill = header.content_bytes;
    draft->content_checksum = header.content_checksum;
    draft->bytes += header.content_bytes;
    return 0;
}

int lks_snapshot_copy_finish(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->copy);
    if (draft->state == LKS_DRAFT_FINISHED && draft->source.blocks == 0) {
        return 0;
    }
    LKS_ASSERT(draft->state == LKS_DRAFT_OPEN);
    draft->state = LKS_DRAFT_FAILED;
    if (draft->chain.count != draft->source.blocks || draft->bytes != draft->source.bytes) {
        return -LKS_EDAMAGED;
    }
    seal(store, partition, LKS_BLOCK_NONE);
    if (draft->checksum != draft->source.checksum) {
        return -LKS_EDAMAGED;
    }
    draft->state = LKS_DRAFT_FINISHED;
    return 0;
}

bool lks_snapshot_is_copy_of(const struct lks_snapshots *store, uint32_t partition,
                             const struct lks_snapshot_item *item)
{
    LKS_ASSERT(partition < store->geometry.partitions);
    const struct lks_snapshot_draft *draft = &store->drafts[partition];
    return draft->state == LKS_DRAFT_FINISHED && draft->copy &&
           memcmp(&draft->source, item, sizeof *item) == 0;
}

/* ---- persisting --------------------------------------------------------------------------- */

bool lks_snapshot_is_durable(const struct lks_snapshots *store, uint32_t partition)
{
    LKS_ASSERT(partition < store->geometry.partitions);
    const struct lks_snapshot_draft *draft = &store->drafts[partition];
    return draft->state == LKS_DRAFT_FINISHED && draft->persisted == draft->chain.count &&
           lks_snapshots_failure(store) == 0;
}

int lks_snapshot_persist_begin(struct lks_snapshots *store, uint32_t partition, uint64_t bytes_max,
                               struct lks_snapshots_range *range)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->persisting == 0);
    if (draft->state == LKS_DRAFT_NONE || draft->persisted == draft->sealed) {
        return -ENODATA;
    }
    uint32_t block = draft->persist_next;
    uint32_t count = 1;
    while (draft->persisted + count < draft->sealed &&
           store->links[block] == block + 1 + LKS_LINK_FIRST &&
           (count + 1) * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES <= bytes_max) {
        block++;
        count++;
    }
    *range = (struct lks_snapshots_range){
        .offset = store->geometry.blocks_at +
                  (uint64_t)draft->persist_next * LKS_SNAPSHOT_BLOCK_BYTES,
        .bytes = count * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES};
    if (draft->state == LKS_DRAFT_FINISHED && draft->persisted + count == draft->sealed) {
        range->bytes -= LKS_BLOCK_CONTENT_MAX - draft->fill; /* nothing was stored behind it */
    }
    draft->persisting = count;
    const uint32_t link = store->links[block];
    draft->persist_next = link >= LKS_LINK_FIRST ? link - LKS_LINK_FIRST : LKS_BLOCK_NONE;
    return 0;
}

void lks_snapshot_persist_end(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_draft *draft = draft_of(store, partition);
    LKS_ASSERT(draft->persisting > 0);
    draft->persisted += draft->persisting;
    draft->persisting = 0;
    LKS_ASSERT(draft->persisted <= draft->sealed);
}

int lks_snapshots_persist(const struct lks_snapshots *store,
                          const struct lks_snapshots_range *range)
{
    int rc = lks_snapshots_failure(store);
    if (rc == 0) {
        rc = lks_medium_persist(&store->medium, store->mapping.address + range->offset,
                                range->bytes);
        if (rc < 0) {
            int none = 0;
            (void)atomic_compare_exchange_strong(store->failed, &none, rc);
        }
    }
    return rc;
}

int lks_snapshot_persist_step(struct lks_snapshots *store, uint32_t partition, uint64_t bytes_max,
                              uint64_t *left)
{
    struct lks_snapshots_range range;
    const struct lks_snapshot_draft *draft = draft_of(store, partition);
    if (lks_snapshot_persist_begin(store, partition, bytes_max, &range) == 0) {
        const int rc = lks_snapshots_persist(store, &range);
        lks_snapshot_persist_end(store, partition);
        if (rc < 0) {
            return rc;
        }
    }
    *left = (uint64_t)(draft->chain.count - draft->persisted) * LKS_SNAPSHOT_BLOCK_BYTES;
    return lks_snapshots_failure(store);
}
