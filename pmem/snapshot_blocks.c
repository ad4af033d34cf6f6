/*
 * Which blocks of a snapshot area are free: allocation by next fit, growth of the file in steps,
 * and blocks that were replaced but are still being read elsewhere. Store's thread. The links
 * live in memory alone; after a restart they are found again from the chains on the medium.
 */
#include "base/assert.h"
#include "pmem/snapshots_internal.h"

#include <errno.h>

#define GROW_BLOCKS 4u /* 256 KiB: about 0.1 ms where pages are zeroed at once */
#define RELEASE_AT_ONCE 256u /* a little with each block taken: no step does much */

static void link_block(struct lks_snapshots *store, uint32_t block, uint32_t link)
{
    LKS_ASSERT(block < store->blocks_end);
    if (store->links[block] == LKS_LINK_FREE) {
        store->used++;
    }
    store->links[block] = link;
}

static void append(struct lks_snapshots *store, struct lks_block_chain *chain, uint32_t block)
{
    if (chain->count == 0) {
        chain->first = block;
    } else {
        store->links[chain->last] = block + LKS_LINK_FIRST;
    }
    chain->last = block;
    chain->count++;
}

/* ---- free and retired --------------------------------------------------------------------- */

static void free_first(struct lks_snapshots *store, struct lks_block_chain *chain)
{
    const uint32_t block = chain->first;
    const uint32_t link = store->links[block];
    LKS_ASSERT(link != LKS_LINK_FREE);
    LKS_ASSERT(link >= LKS_LINK_FIRST || chain->count == 1);
    store->links[block] = LKS_LINK_FREE;
    store->used--;
    chain->first = link - LKS_LINK_FIRST;
    chain->count--;
}

void lks_blocks_free(struct lks_snapshots *store, struct lks_block_chain *chain)
{
    while (chain->count > 0) {
        free_first(store, chain);
    }
}

static void release(struct lks_snapshots *store, uint32_t blocks_max)
{
    for (uint32_t i = 0; i < blocks_max && store->retired.count > 0 && !store->held; i++) {
        free_first(store, &store->retired);
    }
}

void lks_blocks_retire(struct lks_snapshots *store, struct lks_block_chain *chain)
{
    struct lks_block_chain *retired = &store->retired;
    if (chain->count == 0) {
        return;
    }
    if (retired->count == 0) {
        *retired = *chain;
    } else {
        store->links[retired->last] = chain->first + LKS_LINK_FIRST;
        retired->last = chain->last;
        retired->count += chain->count;
    }
    chain->count = 0;
}

void lks_snapshots_hold(struct lks_snapshots *store, uint64_t until_ns)
{
    if (!store->held || until_ns > store->held_until_ns) {
        store->held_until_ns = until_ns;
    }
    store->held = true;
}

void lks_snapshots_tick(struct lks_snapshots *store, uint64_t now_ns)
{
    if (store->held && now_ns >= store->held_until_ns) {
        store->held = false;
    }
    release(store, RELEASE_AT_ONCE);
}

/* ---- what is there already ---------------------------------------------------------------- */

void lks_blocks_note(struct lks_snapshots *store, uint32_t partition,
                     const struct lks_snapshot_block *header)
{
    struct lks_snapshot_present *present = &store->present[partition];
    if (store->read_only || present->known || header->sequence != present->chain.count) {
        return; /* read before */
    }
    link_block(store, header->block, LKS_LINK_LAST);
    append(store, &present->chain, header->block);
    present->known = present->chain.count == store->items[partition].blocks;
}

/* Follows a chain by its headers. Where it is broken, the rest is lost anyway: those blocks hold
 * nothing that anybody could read. */
static void find_chain(struct lks_snapshots *store, uint32_t partition)
{
    const struct lks_snapshot_item *item = &store->items[partition];
    struct lks_block_place place = {.id = item->id,
                                    .partition = partition,
                                    .block = item->first_block,
                                    .blocks = item->blocks,
                                    .blocks_end = store->blocks_end};
    struct lks_snapshot_block header;
    for (; place.sequence < item->blocks; place.sequence++) {
        if (!lks_block_is_whole(lks_snapshots_block(store, place.block), &place, false, &header)) {
            break;
        }
        lks_blocks_note(store, partition, &header);
        place.block = header.next;
    }
    store->present[partition].known = true;
}

void lks_blocks_find_all(struct lks_snapshots *store)
{
    if (store->all_known) {
        return;
    }
    for (uint32_t p = 0; p < store->geometry.partitions; p++) {
        if (!store->present[p].known) {
            find_chain(store, p);
        }
    }
    store->all_known = true;
}

/* ---- allocation --------------------------------------------------------------------------- */

/* Allocates more of the file before anything is stored there: a full disk is an error here, never
 * a signal later. */
static int grow(struct lks_snapshots *store)
{
    const uint32_t left = store->blocks_max - store->blocks_end;
    const uint32_t more = left < GROW_BLOCKS ? left : GROW_BLOCKS;
    if (more == 0) {
        return -ENOSPC;
    }
    const uint64_t block_bytes = LKS_SNAPSHOT_BLOCK_BYTES;
    const int rc = lks_medium_extend(store->fd,
                                     store->geometry.blocks_at + store->blocks_end * block_bytes,
                                     more * block_bytes);
    if (rc == 0) {
        store->cursor = store->blocks_end;
        store->blocks_end += more;
    }
    return rc;
}

/* The first free block from the cursor on; there is one. */
static uint32_t next_fit(struct lks_snapshots *store)
{
    LKS_ASSERT(store->used < store->blocks_end);
    uint32_t block = store->cursor < store->blocks_end ? store->cursor : 0;
    while (store->links[block] != LKS_LINK_FREE) {
        block = block + 1 < store->blocks_end ? block + 1 : 0;
    }
    store->cursor = block + 1;
    return block;
}

int lks_blocks_take(struct lks_snapshots *store, struct lks_block_chain *chain)
{
    const int failure = lks_snapshots_failure(store);
    if (failure < 0) {
        return failure; /* what is free here may be named by a manifest that is on the medium */
    }
    lks_blocks_find_all(store);
    release(store, RELEASE_AT_ONCE);
    if (store->used == store->blocks_end) {
        release(store, store->retired.count);
    }
    if (store->used == store->blocks_end) {
        const int rc = grow(store);
        if (rc < 0) {
            return rc;
        }
    }
    const uint32_t block = next_fit(store);
    link_block(store, block, LKS_LINK_LAST);
    append(store, chain, block);
    return 0;
}
