/*
 * A snapshot area as a failing medium leaves it, or as a peer shows it: a good one with the
 * key-value service's chunks in it, edited as the input says; checksums of header, manifest and
 * blocks are made right again where it says so. Held to: opening, scanning, restoring and fetching
 * never crash or hang; what a scan hands out to its end was whole; a partition that the service
 * refuses is empty; a fetch reads only what is allocated.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "pmem/snapshot_fetch.h"
#include "pmem/snapshot_layout.h"
#include "pmem/snapshots.h"
#include "services/kv/kv.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define AREA_BYTES (UINT64_C(4) << 20)
#define EDITS_MAX 48u
#define TAKEN 3u /* partitions that have a snapshot */
#define FETCH_BLOCKS 4u
#define FETCHES_MAX 256u

static char path[256];
static uint8_t *image; /* the file, mapped */
static uint8_t *good;  /* its content as it was made */
static uint64_t image_bytes;
static struct lks_snapshots_geometry geometry;

static struct lks_snapshots_options options_of(void)
{
    return (struct lks_snapshots_options){.path = path,
                                          .cluster_id = {1, 2, 3},
                                          .replica = 1,
                                          .partitions = lks_kv_service.partitions,
                                          .area_bytes = AREA_BYTES};
}

static void fill(void *state)
{
    struct lks_reply reply = {0};
    for (uint64_t i = 1; i <= 3000; i++) {
        uint8_t bytes[64] = {2, 0, 4}; /* SET, no flags, a key of four bytes, the value */
        const uint32_t key = (uint32_t)i;
        memcpy(bytes + 3, &key, sizeof key);
        memset(bytes + 7, (int)i, i % 50);
        const struct lks_command command = {
            .index = i, .time_ns = i, .data = bytes, .bytes = 7 + i % 50};
        lks_reply_clear(&reply);
        lks_kv_service.apply(state, &command, &reply);
    }
    lks_reply_fini(&reply);
}

struct target {
    struct lks_snapshots *store;
    uint32_t partition;
};

static int write_chunk(void *ctx, const void *data, size_t bytes)
{
    const struct target *target = ctx;
    return lks_snapshot_write_chunk(target->store, target->partition, data, bytes);
}

static void take(struct lks_snapshots *store, void *state, uint32_t partition)
{
    struct target target = {store, partition};
    const struct lks_snapshot_writer writer = {write_chunk, &target};
    const struct lks_snapshot_head head = {
        .point = {.index = 3000 + partition, .term = 2, .offset = 64 * (3000 + partition)},
        .time_ns = 3000,
        .meta = "meta of the owner",
        .meta_bytes = 17};
    bool done = false;
    uint64_t left = 1;
    LKS_ASSERT(lks_snapshot_write_begin(store, partition, &head) == 0);
    (void)lks_kv_service.snapshot_begin(state, partition);
    while (!done) {
        LKS_ASSERT(lks_kv_service.snapshot_step(state, partition, &writer, 700, &done) == 0);
    }
    lks_kv_service.snapshot_end(state, partition);
    LKS_ASSERT(lks_snapshot_write_finish(store, partition) == 0);
    while (left > 0) {
        LKS_ASSERT(lks_snapshot_persist_step(store, partition, UINT64_MAX / 2, &left) == 0);
    }
    LKS_ASSERT(lks_snapshots_replace(store, &partition, 1) == 0);
}

static void remove_file(void)
{
    (void)unlink(path);
}

static void prepare(void)
{
    struct lks_error err;
    struct lks_snapshots *store = NULL;
    void *state = NULL;
    const struct lks_service_options service = {.command_bytes_max = 4096};
    (void)snprintf(path, sizeof path, "%s/fuzz-%d.snapshots", scratch_folder(), (int)getpid());
    (void)unlink(path);
    const struct lks_snapshots_options options = options_of();
    LKS_ASSERT(lks_snapshots_create(&options, &err) == 0);
    (void)atexit(remove_file);
    LKS_ASSERT(lks_snapshots_open(&store, &options, &err) == 0);
    LKS_ASSERT(lks_kv_service.open(&state, &service) == 0);
    fill(state);
    for (uint32_t partition = 0; partition < TAKEN; partition++) {
        take(store, state, partition);
    }
    lks_kv_service.close(state);
    lks_snapshots_close(store);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat facts;
    LKS_ASSERT(fd >= 0 && fstat(fd, &facts) == 0);
    lks_snapshots_geometry(options.partitions, &geometry);
    image_bytes = geometry.blocks_at + (TAKEN + 1) * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES;
    LKS_ASSERT((uint64_t)facts.st_size >= image_bytes);
    image = mmap(NULL, (size_t)facts.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    LKS_ASSERT(image != MAP_FAILED);
    (void)close(fd);
    good = malloc(image_bytes);
    LKS_ASSERT(good != NULL);
    memcpy(good, image, image_bytes);
}

static void reseal(void)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t *at = image + geometry.slots_at + slot * geometry.slot_bytes;
        const uint64_t used = sizeof(struct lks_manifest_head) +
                              geometry.partitions * sizeof(struct lks_snapshot_item);
        const uint32_t checksum = lks_crc32c(0, at + 4, used - 4);
        memcpy(at, &checksum, sizeof checksum);
    }
    for (uint64_t at = geometry.blocks_at; at < image_bytes; at += LKS_SNAPSHOT_BLOCK_BYTES) {
        struct lks_snapshot_block block;
        memcpy(&block, image + at, sizeof block);
        if (block.content_bytes <= LKS_BLOCK_CONTENT_MAX) {
            block.content_checksum =
                lks_crc32c(0, image + at + sizeof block, block.content_bytes);
        }
        block.checksum = lks_block_checksum(&block);
        memcpy(image + at, &block, sizeof block);
    }
}

/* The items' checksums over their blocks, as an item's blocks now are. */
static void reseal_items(void)
{
    for (unsigned slot = 0; slot < 2; slot++) {
        uint8_t *at = image + geometry.slots_at + slot * geometry.slot_bytes +
                      sizeof(struct lks_manifest_head);
        for (uint32_t i = 0; i < TAKEN; i++) {
            struct lks_snapshot_item item;
            struct lks_snapshot_block block;
            memcpy(&item, at + i * sizeof item, sizeof item);
            if (item.first_block > TAKEN || item.blocks != 1) {
                continue;
            }
            memcpy(&block, image + geometry.blocks_at +
                               item.first_block * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES,
                   sizeof block);
            item.checksum = lks_snapshot_checksum(0, &block);
            memcpy(at + i * sizeof item, &item, sizeof item);
        }
    }
    reseal();
}

static void edit(struct fuzz_input *input)
{
    const uint8_t what = fuzz_byte(input);
    const uint64_t word = fuzz_number(input);
    const uint64_t slot = geometry.slots_at + (what / 8 % 2) * geometry.slot_bytes;
    const uint64_t block = geometry.blocks_at +
                           what / 16 % (TAKEN + 1) * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES;
    switch (what % 8) {
    case 0: /* the header page */
        memcpy(image + 4 * (what / 8 % 12), &word, 4);
        break;
    case 1: /* a manifest's head */
        memcpy(image + slot + 4 * (what / 16), &word, 4);
        break;
    case 2: /* an item */
        memcpy(image + slot + sizeof(struct lks_manifest_head) +
                   4 * fuzz_below(input, 16 * (TAKEN + 1)),
               &word, 4);
        break;
    case 3: /* a block's head */
        memcpy(image + block + 4 * (fuzz_byte(input) % 16), &word, 4);
        break;
    case 4: /* frames and chunks */
    case 5:
        memcpy(image + block + sizeof(struct lks_snapshot_block) + fuzz_below(input, 4096), &word,
               1 + what / 128 * 7u);
        break;
    case 6:
        reseal();
        break;
    default:
        reseal_items();
        break;
    }
}

static void restore(struct lks_snapshots *store, void *state, uint32_t partition)
{
    struct lks_snapshot_scan scan = {0};
    struct lks_snapshot_head head;
    struct lks_error err = {0};
    int rc = lks_snapshot_scan_init(&scan, store, partition, &head, &err);
    if (rc == 0) {
        lks_kv_service.restore_begin(state, partition);
        const void *data = NULL;
        uint64_t bytes = 0;
        while (rc == 0 && (rc = lks_snapshot_scan_next(&scan, &data, &bytes, &err)) == 0) {
            rc = lks_kv_service.restore_chunk(state, partition, data, bytes);
        }
        const int ended = lks_kv_service.restore_end(state, partition);
        LKS_ASSERT(ended == 0 || ended == -EBADMSG);
    }
    lks_snapshot_scan_fini(&scan);
}

static void open_and_restore(void)
{
    struct lks_error err = {0};
    struct lks_snapshots *store = NULL;
    void *state = NULL;
    const struct lks_snapshots_options options = options_of();
    const struct lks_service_options service = {.command_bytes_max = 4096};
    if (lks_snapshots_open(&store, &options, &err) != 0) {
        LKS_ASSERT(strstr(err.text, path) != NULL);
        return;
    }
    LKS_ASSERT(lks_kv_service.open(&state, &service) == 0);
    for (uint32_t partition = 0; partition <= TAKEN; partition++) {
        restore(store, state, partition);
        (void)lks_kv_service.hash(state, partition);
    }
    lks_kv_service.close(state);
    lks_snapshots_close(store);
}

/* As a peer that installs would read it. */
static void fetch(void)
{
    struct lks_snapshots_manifest manifest;
    struct lks_error err = {0};
    const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES] = {1, 2, 3};
    if (lks_snapshots_choose_manifest(image, cluster_id, lks_kv_service.partitions, &manifest,
                                      &err) != 0) {
        return;
    }
    const uint32_t lowest = lks_snapshots_manifest_lowest(&manifest);
    LKS_ASSERT(lowest < manifest.partitions);
    for (uint32_t partition = 0; partition <= TAKEN; partition++) {
        struct lks_snapshot_fetch fetching;
        lks_snapshot_fetch_init(&fetching, &manifest, partition);
        unsigned reads = 0;
        while (!lks_snapshot_fetch_done(&fetching) && reads++ < FETCHES_MAX) {
            uint64_t offset = 0;
            const uint32_t blocks = lks_snapshot_fetch_plan(&fetching, FETCH_BLOCKS, &offset);
            LKS_ASSERT(blocks >= 1 && blocks <= FETCH_BLOCKS);
            const uint64_t end = offset + blocks * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES;
            LKS_ASSERT(end <= geometry.blocks_at +
                                  manifest.blocks_end * (uint64_t)LKS_SNAPSHOT_BLOCK_BYTES);
            if (end > AREA_BYTES) {
                break; /* a lie about what is allocated: a read there fails */
            }
            uint8_t *copy = aligned_alloc(64, blocks * (size_t)LKS_SNAPSHOT_BLOCK_BYTES);
            LKS_ASSERT(copy != NULL);
            memcpy(copy, image + offset, blocks * (size_t)LKS_SNAPSHOT_BLOCK_BYTES);
            const int taken = lks_snapshot_fetch_take(&fetching, copy, blocks);
            free(copy);
            if (taken == -ESTALE) {
                break;
            }
            LKS_ASSERT(taken >= 1 && taken <= (int)blocks);
        }
        LKS_ASSERT(reads <= FETCHES_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (image == NULL) {
        prepare();
    }
    struct fuzz_input input = fuzz_input(data, size);
    memcpy(image, good, image_bytes);
    for (unsigned i = 0; i < EDITS_MAX && fuzz_left(&input) > 0; i++) {
        edit(&input);
    }
    fetch();
    open_and_restore();
    return 0;
}
