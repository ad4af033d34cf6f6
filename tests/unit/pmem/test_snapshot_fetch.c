/* Taking a peer's snapshots by reads of its area: copies, guesses, and a donor that goes on. */
#include "snapshots_fixture.h"

#include "pmem/snapshot_fetch.h"

static const uint8_t g_cluster[LKS_CLUSTER_ID_BYTES] = {1, 2, 3, 4};

struct pair {
    struct area donor;
    struct area taker;
    uint8_t *scratch; /* 8 blocks, and the preface */
    struct lks_snapshots_manifest manifest;
};

#define SCRATCH_BLOCKS 8u

static int pair_setup(void **state)
{
    struct pair *pair = test_malloc(sizeof *pair);
    area_make(&pair->donor, scratch_folder());
    area_make(&pair->taker, scratch_folder());
    pair->taker.options.replica = 2;
    area_start(&pair->donor);
    area_start(&pair->taker);
    pair->scratch = aligned_alloc(4096, SCRATCH_BLOCKS * BLOCK);
    assert_non_null(pair->scratch);
    *state = pair;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *pair = *state;
    struct area *areas[] = {&pair->donor, &pair->taker};
    for (size_t i = 0; i < 2; i++) {
        lks_snapshots_close(areas[i]->store);
        (void)unlink(areas[i]->path);
        (void)rmdir(areas[i]->folder);
    }
    free(pair->scratch);
    test_free(pair);
    return 0;
}

/* A one-sided read. */
static void read_area(struct pair *pair, uint64_t offset, uint64_t bytes)
{
    struct lks_snapshots_memory memory;
    lks_snapshots_memory(pair->donor.store, &memory);
    assert_true(offset <= memory.bytes && bytes <= memory.bytes - offset);
    assert_true(bytes <= SCRATCH_BLOCKS * BLOCK);
    memcpy(pair->scratch, (const uint8_t *)memory.address + offset, bytes);
}

/* Items of the manifest, which must outlive the scratch. */
static struct lks_snapshot_item g_items[PARTITIONS];

static void read_manifest(struct pair *pair)
{
    struct lks_snapshots_geometry geometry;
    lks_snapshots_geometry(PARTITIONS, &geometry);
    read_area(pair, 0, geometry.preface_bytes);
    assert_int_equal(lks_snapshots_choose_manifest(pair->scratch, g_cluster, PARTITIONS,
                                                   &pair->manifest, &pair->donor.err),
                     0);
    memcpy(g_items, pair->manifest.items, sizeof g_items);
    pair->manifest.items = g_items;
}

/* Copies one partition; 0 or what _take said. reads: how many were made. */
static int take_partition(struct pair *pair, uint32_t partition, uint32_t blocks_max,
                          uint32_t *reads)
{
    struct lks_snapshot_fetch fetch;
    uint64_t offset = 0;
    lks_snapshot_fetch_init(&fetch, &pair->manifest, partition);
    assert_int_equal(
        lks_snapshot_copy_begin(pair->taker.store, partition, &g_items[partition]), 0);
    while (!lks_snapshot_fetch_done(&fetch)) {
        const uint32_t blocks = lks_snapshot_fetch_plan(&fetch, blocks_max, &offset);
        assert_in_range(blocks, 1, blocks_max);
        read_area(pair, offset, (uint64_t)blocks * BLOCK);
        const int taken = lks_snapshot_fetch_take(&fetch, pair->scratch, blocks);
        if (taken < 0) {
            return taken;
        }
        for (int i = 0; i < taken; i++) {
            assert_int_equal(lks_snapshot_copy_block(pair->taker.store, partition,
                                                     pair->scratch + (uint64_t)i * BLOCK),
                             0);
        }
        *reads += 1;
    }
    return lks_snapshot_copy_finish(pair->taker.store, partition);
}

static void install(struct pair *pair, uint32_t blocks_max, uint32_t *reads)
{
    read_manifest(pair);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(take_partition(pair, p, blocks_max, reads), 0);
        content_persist(pair->taker.store, p);
        assert_true(lks_snapshot_is_copy_of(pair->taker.store, p, &g_items[p]));
    }
    assert_int_equal(lks_snapshots_replace_all(pair->taker.store), 0);
}

static void take__whole_area__equal_and_durable(void **state)
{
    struct pair *pair = *state;
    const struct content contents[] = {{0, 5, 20, 60000}, {1, 6, 3, 10}, {3, 7, 1, 1000000}};
    uint32_t reads = 0;
    for (size_t i = 0; i < 3; i++) {
        content_put(pair->donor.store, &contents[i]);
    }
    content_put(pair->taker.store, &(struct content){1, 2, 30, 60000});
    content_put(pair->taker.store, &(struct content){2, 2, 3, 60000});
    install(pair, SCRATCH_BLOCKS, &reads);
    assert_int_equal(reads, 3 + 1 + 2); /* contiguous: 8 blocks a read */
    assert_int_equal(lks_snapshots_manifest_lowest(&pair->manifest), 2);
    area_reopen(&pair->taker);
    for (size_t i = 0; i < 3; i++) {
        content_expect(pair->taker.store, &contents[i]);
    }
    assert_int_equal(lks_snapshots_item(pair->taker.store, 2)->blocks, 0);
    /* A copy can be copied, and its room is used again. */
    for (unsigned round = 0; round < 20; round++) {
        install(pair, 1 + round % 3, &reads);
    }
    for (size_t i = 0; i < 3; i++) {
        content_expect(pair->taker.store, &contents[i]);
    }
}

/* Chains of two partitions mixed block by block: the guess is wrong each time. */
static void take__scattered_chain__followed(void **state)
{
    struct pair *pair = *state;
    static uint8_t bytes[CONTENT_MAX];
    const struct content contents[] = {{0, 5, 20, 65000}, {1, 5, 20, 65000}};
    const uint32_t partitions[] = {0, 1};
    uint32_t reads = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(content_begin(pair->donor.store, &contents[i]), 0);
    }
    for (uint64_t chunk = 0; chunk < 20; chunk++) {
        for (size_t i = 0; i < 2; i++) {
            content_fill(&contents[i], chunk, bytes);
            assert_int_equal(
                lks_snapshot_write_chunk(pair->donor.store, partitions[i], bytes, 65000), 0);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(lks_snapshot_write_finish(pair->donor.store, partitions[i]), 0);
        content_persist(pair->donor.store, partitions[i]);
    }
    assert_int_equal(lks_snapshots_replace(pair->donor.store, partitions, 2), 0);
    install(pair, 4, &reads);
    assert_true(reads >= 38);
    content_expect(pair->taker.store, &contents[0]);
    content_expect(pair->taker.store, &contents[1]);
}

static void take__replaced_meanwhile__estale_then_afresh(void **state)
{
    struct pair *pair = *state;
    uint32_t reads = 0;
    content_put(pair->donor.store, &(struct content){0, 1, 10, 60000});
    content_put(pair->donor.store, &(struct content){1, 1, 10, 60000});
    read_manifest(pair);
    assert_int_equal(take_partition(pair, 1, 3, &reads), 0);
    for (uint64_t version = 2; version < 6; version++) {
        content_put(pair->donor.store, &(struct content){0, version, 10, 60000});
    }
    const uint32_t before = reads;
    assert_int_equal(take_partition(pair, 0, 3, &reads), -ESTALE);
    assert_int_equal(reads, before); /* told by the first block, not by the whole */
    lks_snapshot_abandon(pair->taker.store, 0);
    read_manifest(pair);
    assert_true(lks_snapshot_is_copy_of(pair->taker.store, 1, &g_items[1])); /* needs no reading */
    assert_false(lks_snapshot_is_copy_of(pair->taker.store, 0, &g_items[0]));
    const uint32_t rest[] = {0, 2, 3};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(take_partition(pair, rest[i], 3, &reads), 0);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        content_persist(pair->taker.store, p);
    }
    assert_int_equal(lks_snapshots_replace_all(pair->taker.store), 0);
    content_expect(pair->taker.store, &(struct content){0, 5, 10, 60000});
    content_expect(pair->taker.store, &(struct content){1, 1, 10, 60000});
}

static void take__held__what_was_named_stays(void **state)
{
    struct pair *pair = *state;
    uint32_t reads = 0;
    content_put(pair->donor.store, &(struct content){0, 1, 10, 60000});
    lks_snapshots_hold(pair->donor.store, 1000);
    read_manifest(pair);
    for (uint64_t version = 2; version < 6; version++) {
        content_put(pair->donor.store, &(struct content){0, version, 10, 60000});
        lks_snapshots_tick(pair->donor.store, 999);
    }
    assert_int_equal(take_partition(pair, 0, 3, &reads), 0);
}

static void take__any_byte_wrong__estale(void **state)
{
    struct pair *pair = *state;
    struct lks_snapshot_fetch fetch;
    uint64_t offset = 0;
    content_put(pair->donor.store, &(struct content){0, 1, 1, 3000});
    read_manifest(pair);
    lks_snapshot_fetch_init(&fetch, &pair->manifest, 0);
    (void)lks_snapshot_fetch_plan(&fetch, 1, &offset);
    read_area(pair, offset, BLOCK);
    for (uint64_t at = 0; at < 64 + 3000; at += at < 64 ? 1 : 13) {
        pair->scratch[at] ^= 1;
        struct lks_snapshot_fetch again = fetch;
        assert_int_equal(lks_snapshot_fetch_take(&again, pair->scratch, 1), -ESTALE);
        pair->scratch[at] ^= 1;
    }
    fetch.item.checksum ^= 1; /* the whole is not what the manifest names */
    assert_int_equal(lks_snapshot_fetch_take(&fetch, pair->scratch, 1), -ESTALE);
    fetch.item.checksum ^= 1;
    assert_int_equal(lks_snapshot_fetch_take(&fetch, pair->scratch, 1), 1);
}

/* Whole blocks, each with the right checksums, that are not the one that the chain wants. */
static void take__another_whole_block__estale(void **state)
{
    struct pair *pair = *state;
    struct lks_snapshot_fetch fetch;
    uint64_t offset = 0;
    content_put(pair->donor.store, &(struct content){2, 1, 3, 60000});
    read_manifest(pair);
    lks_snapshot_fetch_init(&fetch, &pair->manifest, 2);
    (void)lks_snapshot_fetch_plan(&fetch, 1, &offset);
    read_area(pair, offset, BLOCK);
    struct lks_snapshot_block *header = (struct lks_snapshot_block *)(void *)pair->scratch;
    const struct lks_snapshot_block good = *header;
    struct lks_snapshot_block wrong[6];
    for (size_t i = 0; i < 6; i++) {
        wrong[i] = good;
    }
    wrong[0].id++;
    wrong[1].partition++;
    wrong[2].sequence++;
    wrong[3].block++;
    wrong[4].next = LKS_BLOCK_NONE;
    wrong[5].next = (uint32_t)fetch.blocks_end;
    for (size_t i = 0; i < 6; i++) {
        wrong[i].checksum = lks_block_checksum(&wrong[i]);
        *header = wrong[i];
        struct lks_snapshot_fetch again = fetch;
        assert_int_equal(lks_snapshot_fetch_take(&again, pair->scratch, 1), -ESTALE);
    }
    *header = good;
    assert_int_equal(lks_snapshot_fetch_take(&fetch, pair->scratch, 1), 1);
}

static void manifest__torn_or_foreign__refused(void **state)
{
    struct pair *pair = *state;
    struct lks_snapshots_geometry geometry;
    struct lks_snapshots_manifest manifest;
    struct lks_snapshots_counts counts;
    struct lks_error err = {0};
    content_put(pair->donor.store, &(struct content){0, 1, 1, 3000});
    lks_snapshots_geometry(PARTITIONS, &geometry);
    lks_snapshots_counts(pair->donor.store, &counts);
    read_area(pair, 0, geometry.preface_bytes);
    const uint64_t newest = geometry.slots_at + (counts.generation & 1) * geometry.slot_bytes;
    const uint64_t older = geometry.slots_at + (~counts.generation & 1) * geometry.slot_bytes;
    const uint64_t used = 64 + PARTITIONS * 64;
    for (uint64_t at = 0; at < used; at++) {
        pair->scratch[newest + at] ^= 0x10;
        assert_int_equal(lks_snapshots_choose_manifest(pair->scratch, g_cluster, PARTITIONS,
                                                       &manifest, &err),
                         0);
        assert_int_equal(manifest.generation, counts.generation - 1);
        pair->scratch[older + at] ^= 0x10;
        assert_int_equal(lks_snapshots_choose_manifest(pair->scratch, g_cluster, PARTITIONS,
                                                       &manifest, &err),
                         -EAGAIN);
        pair->scratch[newest + at] ^= 0x10;
        pair->scratch[older + at] ^= 0x10;
    }
    const uint8_t other[LKS_CLUSTER_ID_BYTES] = {9};
    assert_int_equal(
        lks_snapshots_choose_manifest(pair->scratch, other, PARTITIONS, &manifest, &err),
        -LKS_ECLUSTER);
    assert_int_equal(lks_snapshots_choose_manifest(pair->scratch, g_cluster, 5, &manifest, &err),
                     -LKS_ESIZE);
    memset(pair->scratch, 0, geometry.preface_bytes);
    assert_int_equal(
        lks_snapshots_choose_manifest(pair->scratch, g_cluster, PARTITIONS, &manifest, &err),
        -LKS_EFORMAT);
}

static void copy__not_what_its_item_says__edamaged(void **state)
{
    struct pair *pair = *state;
    uint64_t offset = 0;
    struct lks_snapshot_fetch fetch;
    content_put(pair->donor.store, &(struct content){0, 1, 2, 60000});
    read_manifest(pair);
    lks_snapshot_fetch_init(&fetch, &pair->manifest, 0);
    (void)lks_snapshot_fetch_plan(&fetch, 1, &offset);
    read_area(pair, offset, BLOCK);
    assert_int_equal(lks_snapshot_copy_begin(pair->taker.store, 0, &g_items[0]), 0);
    assert_int_equal(lks_snapshot_copy_block(pair->taker.store, 0, pair->scratch), 0);
    assert_int_equal(lks_snapshot_copy_finish(pair->taker.store, 0), -LKS_EDAMAGED);
    lks_snapshot_abandon(pair->taker.store, 0);
    assert_int_equal(lks_snapshot_copy_begin(pair->taker.store, 0, &g_items[0]), 0);
    for (unsigned i = 0; i < 2; i++) { /* the first one twice */
        assert_int_equal(lks_snapshot_copy_block(pair->taker.store, 0, pair->scratch), 0);
    }
    assert_int_equal(lks_snapshot_copy_finish(pair->taker.store, 0), -LKS_EDAMAGED);
    assert_false(lks_snapshot_is_copy_of(pair->taker.store, 0, &g_items[0]));
}

#define PAIR_TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(take__whole_area__equal_and_durable),
        PAIR_TEST(take__scattered_chain__followed),
        PAIR_TEST(take__replaced_meanwhile__estale_then_afresh),
        PAIR_TEST(take__held__what_was_named_stays),
        PAIR_TEST(take__any_byte_wrong__estale),
        PAIR_TEST(take__another_whole_block__estale),
        PAIR_TEST(manifest__torn_or_foreign__refused),
        PAIR_TEST(copy__not_what_its_item_says__edamaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
