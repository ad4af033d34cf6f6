/*
 * The manifest: which snapshot of each partition counts. Two slots, written in turn, each under one
 * checksum; and the replacement of snapshots, the one moment at which a draft becomes what a
 * restart or a peer finds. Store's thread; finding the newest slot is pure.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "pmem/snapshots_internal.h"
#include "pmem/stores.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static uint64_t round_up(uint64_t bytes, uint64_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Bytes of a slot that mean something. */
static uint64_t used_bytes(uint32_t partitions)
{
    return sizeof(struct lks_manifest_head) +
           (uint64_t)partitions * sizeof(struct lks_snapshot_item);
}

void lks_snapshots_geometry(uint32_t partitions, struct lks_snapshots_geometry *geometry)
{
    LKS_ASSERT(partitions >= 1 && partitions <= LKS_SNAPSHOT_PARTITIONS_MAX);
    const uint64_t slot_bytes = round_up(used_bytes(partitions), LKS_SNAPSHOTS_PAGE);
    const uint64_t preface_bytes = LKS_SNAPSHOTS_PAGE + 2 * slot_bytes;
    *geometry = (struct lks_snapshots_geometry){
        .partitions = partitions,
        .slot_bytes = slot_bytes,
        .slots_at = LKS_SNAPSHOTS_PAGE,
        .preface_bytes = preface_bytes,
        .blocks_at = round_up(preface_bytes, LKS_SNAPSHOT_BLOCK_BYTES),
    };
}

uint32_t lks_snapshots_header_checksum(const struct lks_snapshots_header *header)
{
    struct lks_snapshots_header copy = *header;
    copy.checksum = 0;
    return lks_crc32c(0, &copy, sizeof copy);
}

uint32_t lks_manifest_checksum(const struct lks_manifest_head *head, uint64_t slot_bytes_used)
{
    const unsigned char *bytes = (const unsigned char *)head;
    return lks_crc32c(0, bytes + sizeof head->checksum, slot_bytes_used - sizeof head->checksum);
}

/* ---- finding ------------------------------------------------------------------------------ */

static const struct lks_snapshot_item *items_of(const struct lks_manifest_head *head)
{
    return (const struct lks_snapshot_item *)(const void *)(head + 1);
}

/* Whether code of ours could have written it. */
static bool is_believable(const struct lks_snapshot_item *item, uint64_t blocks_end)
{
    static const struct lks_snapshot_item none;
    if (item->blocks == 0) {
        return memcmp(item, &none, sizeof none) == 0;
    }
    return item->blocks <= blocks_end && item->first_block < blocks_end && item->id != 0 &&
           item->offset % LKS_ENTRY_ALIGN == 0 && item->offset < LKS_JOURNAL_NUMBER_MAX &&
           item->index < LKS_JOURNAL_NUMBER_MAX && item->term < LKS_JOURNAL_NUMBER_MAX &&
           item->reserved == 0 &&
           item->bytes <= (uint64_t)item->blocks * LKS_BLOCK_CONTENT_MAX;
}

static bool is_whole(const struct lks_manifest_head *head, uint32_t slot,
                     const struct lks_snapshots_geometry *geometry)
{
    const uint64_t blocks_max = (UINT64_C(1) << 32) - 4;
    if (head->kind != LKS_MANIFEST_KIND || head->partitions != geometry->partitions ||
        (head->generation & 1) != slot || head->generation == 0 ||
        head->generation > UINT64_MAX / 2 || head->life >= LKS_SNAPSHOT_LIVES_MAX ||
        head->checksum != lks_manifest_checksum(head, used_bytes(geometry->partitions))) {
        return false;
    }
    if (head->blocks_end > blocks_max || head->area_bytes < geometry->blocks_at ||
        head->blocks_end > (head->area_bytes - geometry->blocks_at) / LKS_SNAPSHOT_BLOCK_BYTES) {
        return false;
    }
    for (uint32_t p = 0; p < geometry->partitions; p++) {
        if (!is_believable(&items_of(head)[p], head->blocks_end)) {
            return false;
        }
    }
    return true;
}

const struct lks_manifest_head *lks_manifest_newest(const void *preface,
                                                    const struct lks_snapshots_geometry *geometry)
{
    const struct lks_manifest_head *newest = NULL;
    for (uint32_t slot = 0; slot < 2; slot++) {
        const unsigned char *at =
            (const unsigned char *)preface + geometry->slots_at + slot * geometry->slot_bytes;
        const struct lks_manifest_head *head = (const struct lks_manifest_head *)(const void *)at;
        if (is_whole(head, slot, geometry) &&
            (newest == NULL || head->generation > newest->generation)) {
            newest = head;
        }
    }
    return newest;
}

int lks_snapshots_check_header(const struct lks_snapshots_header *header, uint32_t partitions,
                               const char *who, struct lks_error *err)
{
    if (memcmp(header->magic, LKS_SNAPSHOTS_MAGIC, sizeof header->magic) != 0) {
        return lks_error_set(err, -LKS_EFORMAT,
                             "snapshots %s: not a Lockstep snapshot area: name the right file, or "
                             "create one with `lockstep init CONFIG --replica N`",
                             who);
    }
    if (header->version > LKS_SNAPSHOTS_VERSION) {
        return lks_error_set(err, -LKS_EFORMAT,
                             "snapshots %s: format version %" PRIu32 ", this binary knows up to "
                             "%u: run the newer Lockstep that wrote it",
                             who, header->version, LKS_SNAPSHOTS_VERSION);
    }
    if (header->checksum != lks_snapshots_header_checksum(header) || header->version == 0 ||
        header->partitions == 0 || header->partitions > LKS_SNAPSHOT_PARTITIONS_MAX) {
        return lks_error_set(err, -LKS_EDAMAGED,
                             "snapshots %s: its header page is damaged: this replica rebuilds "
                             "itself from its peers after `lockstep init CONFIG --rejoin`",
                             who);
    }
    if (partitions != 0 && header->partitions != partitions) {
        return lks_error_set(err, -LKS_ESIZE,
                             "snapshots %s: of %" PRIu32 " partitions, but the service has %" PRIu32
                             ": run the service that wrote them",
                             who, header->partitions, partitions);
    }
    return 0;
}

int lks_snapshots_choose_manifest(const void *preface,
                                  const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES],
                                  uint32_t partitions, struct lks_snapshots_manifest *manifest,
                                  struct lks_error *err)
{
    struct lks_snapshots_geometry geometry;
    const struct lks_snapshots_header *header = preface;
    LKS_ASSERT((uintptr_t)preface % 8 == 0);
    const int rc = lks_snapshots_check_header(header, partitions, "of a peer", err);
    if (rc < 0) {
        return rc;
    }
    if (memcmp(header->cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES) != 0) {
        return lks_error_set(err, -LKS_ECLUSTER, "snapshots of a peer: of another cluster");
    }
    lks_snapshots_geometry(partitions, &geometry);
    const struct lks_manifest_head *head = lks_manifest_newest(preface, &geometry);
    if (head == NULL) {
        return lks_error_set(err, -EAGAIN, "snapshots of a peer: no manifest slot is whole");
    }
    *manifest = (struct lks_snapshots_manifest){.generation = head->generation,
                                                .area_bytes = head->area_bytes,
                                                .blocks_end = head->blocks_end,
                                                .partitions = partitions,
                                                .items = items_of(head)};
    return 0;
}

static uint32_t lowest(const struct lks_snapshot_item *items, uint32_t partitions)
{
    uint32_t found = 0;
    for (uint32_t p = 1; p < partitions; p++) {
        if (items[p].offset < items[found].offset) {
            found = p;
        }
    }
    return found;
}

uint32_t lks_snapshots_manifest_lowest(const struct lks_snapshots_manifest *manifest)
{
    return lowest(manifest->items, manifest->partitions);
}

uint32_t lks_snapshots_lowest(const struct lks_snapshots *store)
{
    return lowest(store->items, store->geometry.partitions);
}

/* ---- storing ------------------------------------------------------------------------------ */

static struct lks_snapshots_range slot_range(const struct lks_snapshots *store, uint64_t generation)
{
    return (struct lks_snapshots_range){
        .offset = store->geometry.slots_at + (generation & 1) * store->geometry.slot_bytes,
        .bytes = used_bytes(store->geometry.partitions)};
}

void lks_manifest_store(const struct lks_snapshots *store, uint64_t generation,
                        const struct lks_snapshot_item *items, struct lks_snapshots_range *range)
{
    *range = slot_range(store, generation);
    unsigned char *slot = store->mapping.address + range->offset;
    const uint64_t items_bytes = range->bytes - sizeof(struct lks_manifest_head);
    struct lks_manifest_head head = {.kind = LKS_MANIFEST_KIND,
                                     .generation = generation,
                                     .area_bytes = store->area_bytes,
                                     .blocks_end = store->blocks_end,
                                     .partitions = store->geometry.partitions,
                                     .life = store->life};
    const unsigned char *head_bytes = (const unsigned char *)&head;
    head.checksum = lks_crc32c(0, head_bytes + sizeof head.checksum,
                               sizeof head - sizeof head.checksum);
    head.checksum = lks_crc32c(head.checksum, items, items_bytes);
    lks_store_copy(slot + sizeof head, items, items_bytes);
    lks_store_copy(slot, &head, sizeof head);
}

/* ---- replacing ---------------------------------------------------------------------------- */

static struct lks_snapshot_item item_of(const struct lks_snapshot_draft *draft)
{
    if (draft->chain.count == 0) {
        return (struct lks_snapshot_item){.blocks = 0}; /* a copy of none */
    }
    return (struct lks_snapshot_item){.index = draft->point.index,
                                      .term = draft->point.term,
                                      .offset = draft->point.offset,
                                      .chain = draft->point.chain,
                                      .first_block = draft->chain.first,
                                      .blocks = draft->chain.count,
                                      .checksum = draft->checksum,
                                      .bytes = draft->bytes,
                                      .id = draft->id};
}

/* Marks a draft as named by the coming manifest. */
static void name(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_draft *draft = &store->drafts[partition];
    LKS_ASSERT(lks_snapshot_is_durable(store, partition));
    LKS_ASSERT(!draft->replacing);
    draft->replacing = true;
    store->coming[partition] = item_of(draft);
}

static int begin(struct lks_snapshots *store, struct lks_snapshots_range *range)
{
    LKS_ASSERT(!store->read_only);
    LKS_ASSERT(!store->replacing);
    const int rc = lks_snapshots_failure(store);
    if (rc < 0) {
        return rc;
    }
    memcpy(store->coming, store->items, store->geometry.partitions * sizeof *store->items);
    *range = slot_range(store, store->generation + 1);
    store->replacing = true;
    return 0;
}

int lks_snapshots_replace_begin(struct lks_snapshots *store, const uint32_t *partitions,
                                uint32_t count, struct lks_snapshots_range *range)
{
    const int rc = begin(store, range);
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        LKS_ASSERT(partitions[i] < store->geometry.partitions);
        name(store, partitions[i]);
        LKS_ASSERT(store->drafts[partitions[i]].copy ||
                   store->coming[partitions[i]].offset >= store->items[partitions[i]].offset);
    }
    lks_manifest_store(store, store->generation + 1, store->coming, range);
    return 0;
}

void lks_snapshots_replace_end(struct lks_snapshots *store)
{
    LKS_ASSERT(store->replacing);
    for (uint32_t p = 0; p < store->geometry.partitions; p++) {
        struct lks_snapshot_draft *draft = &store->drafts[p];
        if (!draft->replacing) {
            continue;
        }
        struct lks_snapshot_present *present = &store->present[p];
        LKS_ASSERT(present->known);
        lks_blocks_retire(store, &present->chain);
        *present = (struct lks_snapshot_present){.chain = draft->chain, .known = true};
        store->items[p] = store->coming[p];
        *draft = (struct lks_snapshot_draft){.state = LKS_DRAFT_NONE};
    }
    store->generation++;
    store->replacing = false;
}

/* Whether the stored manifest is on the medium is not known. Either one that a restart may find
 * names whole snapshots: nothing is written to a block any more in this life. */
static void give_up_replacing(struct lks_snapshots *store)
{
    LKS_ASSERT(lks_snapshots_failure(store) < 0);
    for (uint32_t p = 0; p < store->geometry.partitions; p++) {
        store->drafts[p].replacing = false;
    }
    store->replacing = false;
}

static int make_durable(struct lks_snapshots *store, const struct lks_snapshots_range *range)
{
    const int rc = lks_snapshots_persist(store, range);
    if (rc == 0) {
        lks_snapshots_replace_end(store);
    } else {
        give_up_replacing(store);
    }
    return rc;
}

int lks_snapshots_replace(struct lks_snapshots *store, const uint32_t *partitions, uint32_t count)
{
    struct lks_snapshots_range range;
    const int rc = lks_snapshots_replace_begin(store, partitions, count, &range);
    return rc < 0 ? rc : make_durable(store, &range);
}

int lks_snapshots_replace_all(struct lks_snapshots *store)
{
    struct lks_snapshots_range range;
    const int rc = begin(store, &range);
    if (rc < 0) {
        return rc;
    }
    lks_blocks_find_all(store); /* of what is replaced by nothing, too */
    for (uint32_t p = 0; p < store->geometry.partitions; p++) {
        LKS_ASSERT(store->drafts[p].copy);
        name(store, p);
    }
    lks_manifest_store(store, store->generation + 1, store->coming, &range);
    return make_durable(store, &range);
}
