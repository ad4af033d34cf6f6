/* Reading snapshots that are not what they should be: damage anywhere is found, and bounds hold. */
#include "snapshots_fixture.h"

#include "base/crc32c.h"

static const struct content g_content = {1, 3, 4, 50000};

static uint64_t block_at(const struct area *area, uint32_t block)
{
    return area->store->geometry.blocks_at + (uint64_t)block * BLOCK;
}

static void flip(const struct area *area, uint64_t at, uint8_t bits)
{
    area->store->mapping.address[at] ^= bits;
}

static void read__any_byte_flipped__edamaged(void **state)
{
    struct area *area = *state;
    area_start(area);
    content_put(area->store, &g_content);
    const struct lks_snapshot_item *item = lks_snapshots_item(area->store, 1);
    const struct lks_snapshot_block *last =
        (const struct lks_snapshot_block *)(void *)lks_snapshots_block(
            area->store, item->first_block + item->blocks - 1);
    assert_int_equal(last->next, LKS_BLOCK_NONE);
    for (uint32_t block = 0; block < item->blocks; block++) {
        const struct lks_snapshot_block *header =
            (const struct lks_snapshot_block *)(void *)lks_snapshots_block(
                area->store, item->first_block + block);
        const uint64_t end = sizeof *header + header->content_bytes;
        for (uint64_t at = 0; at < end; at += at < 64 ? 1 : 997) {
            const uint64_t place = block_at(area, item->first_block + block) + at;
            flip(area, place, (uint8_t)(1u << (at % 8)));
            assert_int_equal(content_read(area->store, &g_content, &area->err), -LKS_EDAMAGED);
            flip(area, place, (uint8_t)(1u << (at % 8)));
        }
    }
    assert_non_null(strstr(area->err.text, "partition 1: a block is damaged"));
    content_expect(area->store, &g_content);
}

static void read__blocks_of_another_snapshot__edamaged(void **state)
{
    struct area *area = *state;
    static uint8_t kept[BLOCK];
    area_start(area);
    content_put(area->store, &g_content);
    content_put(area->store, &(struct content){2, 3, 4, 50000});
    const uint32_t mine = lks_snapshots_item(area->store, 1)->first_block;
    const uint32_t other = lks_snapshots_item(area->store, 2)->first_block;
    memcpy(kept, lks_snapshots_block(area->store, mine + 1), BLOCK);
    memcpy(lks_snapshots_block(area->store, mine + 1), lks_snapshots_block(area->store, mine),
           BLOCK);
    assert_int_equal(content_read(area->store, &g_content, &area->err), -LKS_EDAMAGED);
    memcpy(lks_snapshots_block(area->store, mine + 1), lks_snapshots_block(area->store, other + 1),
           BLOCK);
    assert_int_equal(content_read(area->store, &g_content, &area->err), -LKS_EDAMAGED);
    memcpy(lks_snapshots_block(area->store, mine + 1), kept, BLOCK);
    content_expect(area->store, &g_content);
}

/* Blocks whose checksums are right and whose content lies: written as a hostile hand would. */
static void write_content(struct area *area, const void *content, uint32_t bytes)
{
    struct lks_snapshot_item *item = &area->store->items[1];
    struct lks_snapshot_block *header =
        (struct lks_snapshot_block *)(void *)lks_snapshots_block(area->store, item->first_block);
    memcpy(header + 1, content, bytes);
    header->content_bytes = bytes;
    header->content_checksum = lks_crc32c(0, content, bytes);
    header->next = LKS_BLOCK_NONE;
    header->checksum = lks_block_checksum(header);
    item->blocks = 1;
    item->bytes = bytes;
    item->checksum = lks_snapshot_checksum(0, header);
}

struct hostile {
    struct lks_snapshot_frame head;
    struct lks_head_frame point;
    struct lks_snapshot_frame chunk;
    uint64_t data;
    struct lks_snapshot_frame end;
    struct lks_end_frame chunks;
};

static struct hostile honest(const struct area *area)
{
    const struct lks_snapshot_item *item = lks_snapshots_item(area->store, 1);
    return (struct hostile){
        .head = {.kind = LKS_FRAME_HEAD, .bytes = sizeof(struct lks_head_frame)},
        .point = {item->index, item->term, item->offset, item->chain, 1, 7, 0},
        .chunk = {.kind = LKS_FRAME_CHUNK, .bytes = 8},
        .end = {.kind = LKS_FRAME_END, .bytes = 8},
        .chunks = {1}};
}

static int read_all(struct area *area)
{
    struct lks_snapshot_scan scan;
    struct lks_snapshot_head head;
    const void *data = NULL;
    uint64_t bytes = 0;
    int rc = lks_snapshot_scan_init(&scan, area->store, 1, &head, &area->err);
    while (rc == 0) {
        rc = lks_snapshot_scan_next(&scan, &data, &bytes, &area->err);
    }
    lks_snapshot_scan_fini(&scan);
    return rc;
}

static void read__hostile_frames__edamaged(void **state)
{
    struct area *area = *state;
    area_start(area);
    content_put(area->store, &(struct content){1, 3, 1, 8});
    struct hostile all[12];
    for (size_t i = 0; i < 12; i++) {
        all[i] = honest(area);
    }
    write_content(area, &all[0], sizeof all[0]);
    assert_int_equal(read_all(area), -ENODATA); /* the honest one */
    all[1].head.kind = LKS_FRAME_CHUNK;
    all[2].head.bytes = 40;
    all[3].head.bytes = UINT64_MAX;
    all[4].point.meta_bytes = 8;
    all[5].point.index++;
    all[6].point.partition = 2;
    all[7].chunk.bytes = 2000;
    all[8].chunk.bytes = UINT64_C(1) << 62;
    all[9].chunk.kind = 0;
    all[10].chunks.chunks = 2;
    all[11].end.bytes = 0;
    for (size_t i = 1; i < 12; i++) {
        write_content(area, &all[i], sizeof all[i]);
        assert_int_equal(read_all(area), -LKS_EDAMAGED);
    }
    for (uint32_t bytes = 0; bytes < sizeof all[0]; bytes += 8) { /* every truncation */
        write_content(area, &all[0], bytes);
        assert_int_equal(read_all(area), -LKS_EDAMAGED);
    }
}

/* A chain that leads nowhere: what can still be found is not used again by mistake. */
static void write__beside_a_broken_chain__goes_on(void **state)
{
    struct area *area = *state;
    const struct content other = {2, 3, 30, 50000};
    area_start(area);
    content_put(area->store, &g_content);
    content_put(area->store, &other);
    area_reopen(area);
    const uint32_t first = lks_snapshots_item(area->store, 1)->first_block;
    flip(area, block_at(area, first + 1) + 20, 1);
    content_put(area->store, &(struct content){3, 3, 30, 50000});
    content_expect(area->store, &other);
    content_put(area->store, &(struct content){1, 4, 3, 50000});
    content_expect(area->store, &other);
    content_expect(area->store, &(struct content){3, 3, 30, 50000});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AREA_TEST(read__any_byte_flipped__edamaged),
        AREA_TEST(read__blocks_of_another_snapshot__edamaged),
        AREA_TEST(read__hostile_frames__edamaged),
        AREA_TEST(write__beside_a_broken_chain__goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
