/* Progress through a peer's chain of blocks; see snapshot_fetch.h. Pure. */
#include "pmem/snapshot_fetch.h"

#include "base/assert.h"
#include "pmem/snapshot_layout.h"

#include <errno.h>

void lks_snapshot_fetch_init(struct lks_snapshot_fetch *fetch,
                             const struct lks_snapshots_manifest *manifest, uint32_t partition)
{
    struct lks_snapshots_geometry geometry;
    LKS_ASSERT(partition < manifest->partitions);
    lks_snapshots_geometry(manifest->partitions, &geometry);
    *fetch = (struct lks_snapshot_fetch){.item = manifest->items[partition],
                                         .partition = partition,
                                         .next = manifest->items[partition].first_block,
                                         .blocks_end = manifest->blocks_end,
                                         .blocks_at = geometry.blocks_at};
}

bool lks_snapshot_fetch_done(const struct lks_snapshot_fetch *fetch)
{
    return fetch->sequence == fetch->item.blocks;
}

uint32_t lks_snapshot_fetch_plan(const struct lks_snapshot_fetch *fetch, uint32_t blocks_max,
                                 uint64_t *offset)
{
    LKS_ASSERT(!lks_snapshot_fetch_done(fetch));
    LKS_ASSERT(blocks_max >= 1);
    LKS_ASSERT(fetch->next < fetch->blocks_end);
    const uint64_t allocated = fetch->blocks_end - fetch->next;
    uint64_t blocks = fetch->item.blocks - fetch->sequence;
    blocks = blocks < blocks_max ? blocks : blocks_max;
    blocks = blocks < allocated ? blocks : allocated;
    *offset = fetch->blocks_at + (uint64_t)fetch->next * LKS_SNAPSHOT_BLOCK_BYTES;
    return (uint32_t)blocks;
}

/* Takes one block if it is the next one, and, if it is the last one, the whole as it should be. */
static bool take_block(struct lks_snapshot_fetch *fetch, const unsigned char *bytes)
{
    const struct lks_block_place place = {.id = fetch->item.id,
                                          .partition = fetch->partition,
                                          .sequence = fetch->sequence,
                                          .block = fetch->next,
                                          .blocks = fetch->item.blocks,
                                          .blocks_end = fetch->blocks_end};
    struct lks_snapshot_block header;
    if (!lks_block_is_whole(bytes, &place, true, &header)) {
        return false;
    }
    const uint32_t checksum = lks_snapshot_checksum(fetch->checksum, &header);
    const uint64_t content = fetch->bytes + header.content_bytes;
    const bool last = fetch->sequence + 1 == fetch->item.blocks;
    if (last && (checksum != fetch->item.checksum || content != fetch->item.bytes)) {
        return false;
    }
    fetch->checksum = checksum;
    fetch->bytes = content;
    fetch->next = header.next;
    fetch->sequence++;
    return true;
}

int lks_snapshot_fetch_take(struct lks_snapshot_fetch *fetch, const void *bytes, uint32_t blocks)
{
    const unsigned char *block = bytes;
    LKS_ASSERT(blocks >= 1);
    for (uint32_t i = 0; i < blocks; i++) {
        const uint32_t number = fetch->next;
        if (lks_snapshot_fetch_done(fetch) || !take_block(fetch, block)) {
            return i > 0 ? (int)i : -ESTALE;
        }
        if (fetch->next != number + 1) {
            return (int)i + 1; /* the chain goes on elsewhere */
        }
        block += LKS_SNAPSHOT_BLOCK_BYTES;
    }
    return (int)blocks;
}
