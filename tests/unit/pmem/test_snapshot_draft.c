/* Writing snapshots and reading them back: drafts, replacement, room, holds. */
#include "snapshots_fixture.h"

int __real_lks_medium_extend(int fd, uint64_t from, uint64_t bytes);
int __wrap_lks_medium_extend(int fd, uint64_t from, uint64_t bytes);
int __real_lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes);
int __wrap_lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes);

static int g_extend;  /* what allocation returns; 0: it works */
static int g_persist; /* likewise making durable */

int __wrap_lks_medium_extend(int fd, uint64_t from, uint64_t bytes)
{
    return g_extend < 0 ? g_extend : __real_lks_medium_extend(fd, from, bytes);
}

int __wrap_lks_medium_persist(const struct lks_medium *medium, const void *address, size_t bytes)
{
    return g_persist < 0 ? g_persist : __real_lks_medium_persist(medium, address, bytes);
}

static void write__sizes_of_all_kinds__read_back(void **state)
{
    static const struct content contents[] = {
        {0, 1, 0, 0},      {1, 2, 1, 0},       {2, 3, 1, 1},     {3, 4, 100, 7},
        {0, 5, 3, 65536},  {1, 6, 40, 65400},  {2, 7, 2, 65472}, {3, 8, 1, CONTENT_MAX},
        {0, 9, 3000, 200}, {1, 10, 17, 65471}, {2, 11, 5, 65473}};
    struct area *area = *state;
    area_start(area);
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        content_put(area->store, &contents[i]);
        content_expect(area->store, &contents[i]);
    }
    area_reopen(area);
    for (size_t i = 7; i < sizeof contents / sizeof contents[0]; i++) {
        content_expect(area->store, &contents[i]);
    }
}

static void read__never_taken__enodata(void **state)
{
    struct area *area = *state;
    struct lks_snapshot_scan scan = {.store = NULL};
    struct lks_snapshot_head head;
    area_start(area);
    assert_int_equal(lks_snapshot_scan_init(&scan, area->store, 2, &head, &area->err), -ENODATA);
    lks_snapshot_scan_fini(&scan);
    assert_int_equal(lks_snapshots_item(area->store, 2)->blocks, 0);
    assert_int_equal(lks_snapshots_point(area->store, 2).offset, 0);
}

static void draft__not_replaced__is_gone_after_reopen(void **state)
{
    struct area *area = *state;
    const struct content old = {1, 1, 10, 5000};
    const struct content new = {1, 2, 10, 5000};
    area_start(area);
    content_put(area->store, &old);
    assert_int_equal(content_write(area->store, &new), 0);
    content_persist(area->store, 1);
    content_expect(area->store, &old);
    area_reopen(area);
    content_expect(area->store, &old);
    content_put(area->store, &new);
    content_expect(area->store, &new);
}

static void replace__several__all_at_once(void **state)
{
    struct area *area = *state;
    const struct content contents[] = {{0, 1, 30, 9000}, {1, 1, 5, 10}, {3, 1, 1, 100000}};
    const uint32_t partitions[] = {0, 1, 3};
    struct lks_snapshots_counts before;
    struct lks_snapshots_counts after;
    area_start(area);
    /* Written in turns: their blocks are mixed. */
    static uint8_t bytes[CONTENT_MAX];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(content_begin(area->store, &contents[i]), 0);
    }
    for (uint64_t chunk = 0; chunk < 30; chunk++) {
        for (size_t i = 0; i < 3; i++) {
            if (chunk < contents[i].chunks) {
                content_fill(&contents[i], chunk, bytes);
                assert_int_equal(lks_snapshot_write_chunk(area->store, partitions[i], bytes,
                                                          contents[i].chunk_bytes),
                                 0);
            }
        }
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(lks_snapshot_write_finish(area->store, partitions[i]), 0);
        content_persist(area->store, partitions[i]);
    }
    lks_snapshots_counts(area->store, &before);
    assert_int_equal(lks_snapshots_replace(area->store, partitions, 3), 0);
    lks_snapshots_counts(area->store, &after);
    assert_int_equal(after.generation, before.generation + 1);
    area_reopen(area);
    for (size_t i = 0; i < 3; i++) {
        content_expect(area->store, &contents[i]);
    }
    assert_int_equal(lks_snapshots_lowest(area->store), 2); /* never taken: zero */
}

static void replace__again_and_again__room_is_used_again(void **state)
{
    struct area *area = *state;
    struct lks_snapshots_counts counts;
    area_start(area);
    uint64_t settled = 0;
    for (uint64_t version = 1; version <= 60; version++) {
        const struct content content = {(uint32_t)(version % PARTITIONS), version,
                                        1 + version * 7 % 20, 20000};
        content_put(area->store, &content);
        content_expect(area->store, &content);
        lks_snapshots_counts(area->store, &counts);
        if (version == 20) {
            settled = counts.allocated_bytes;
        }
        if (version % 13 == 0) {
            area_reopen(area);
        }
    }
    assert_true(counts.allocated_bytes <= settled + (UINT64_C(1) << 20));
}

static void abandon__in_every_state__room_is_free(void **state)
{
    struct area *area = *state;
    struct lks_snapshots_counts before;
    struct lks_snapshots_counts after;
    const struct content content = {1, 1, 50, 9000};
    uint64_t left = 0;
    area_start(area);
    content_put(area->store, &(struct content){1, 1, 3, 9000});
    lks_snapshots_counts(area->store, &before);
    lks_snapshot_abandon(area->store, 1); /* none */
    assert_int_equal(content_begin(area->store, &content), 0);
    lks_snapshot_abandon(area->store, 1);
    assert_int_equal(content_write(area->store, &content), 0);
    lks_snapshot_abandon(area->store, 1);
    assert_int_equal(content_write(area->store, &content), 0);
    assert_int_equal(lks_snapshot_persist_step(area->store, 1, 1, &left), 0);
    assert_true(left > 0);
    lks_snapshot_abandon(area->store, 1);
    lks_snapshots_counts(area->store, &after);
    assert_int_equal(before.used_bytes, after.used_bytes);
    content_put(area->store, &content);
    content_expect(area->store, &content);
}

static void write__area_full__enospc_and_the_old_ones_stay(void **state)
{
    struct area *area = *state;
    const struct content kept = {0, 1, 30, 60000};
    const struct content big = {1, 1, 3, CONTENT_MAX};
    area_start(area);
    content_put(area->store, &kept);
    assert_int_equal(content_write(area->store, &big), -ENOSPC);
    assert_int_equal(lks_snapshots_explain(area->store, -ENOSPC, &area->err), -ENOSPC);
    assert_non_null(strstr(area->err.text, "no room for the next one"));
    assert_non_null(strstr(area->err.text, "may grow to 8 MiB"));
    assert_false(lks_snapshot_is_durable(area->store, 1));
    content_expect(area->store, &kept);
    lks_snapshot_abandon(area->store, 1);
    const struct content fits = {1, 2, 30, 60000};
    content_put(area->store, &fits);
    area_reopen(area);
    content_expect(area->store, &kept);
    content_expect(area->store, &fits);
}

static void write__disk_full__enospc_and_nothing_is_stored(void **state)
{
    struct area *area = *state;
    const struct content kept = {0, 1, 2, 60000};
    area_start(area);
    content_put(area->store, &kept);
    g_extend = -ENOSPC;
    const int rc = content_write(area->store, &(struct content){1, 1, 40, 60000});
    g_extend = 0;
    assert_int_equal(rc, -ENOSPC);
    lks_snapshot_abandon(area->store, 1);
    content_expect(area->store, &kept);
    content_put(area->store, &(struct content){1, 1, 40, 60000});
}

static void persist__fails_once__nothing_is_durable_any_more(void **state)
{
    struct area *area = *state;
    const struct content kept = {0, 1, 2, 60000};
    const uint32_t partition = 1;
    uint64_t left = 0;
    area_start(area);
    content_put(area->store, &kept);
    assert_int_equal(content_write(area->store, &(struct content){1, 1, 4, 60000}), 0);
    g_persist = -EIO;
    assert_int_equal(lks_snapshot_persist_step(area->store, 1, 1, &left), -EIO);
    g_persist = 0;
    assert_int_equal(lks_snapshot_persist_step(area->store, 1, 1, &left), -EIO);
    assert_int_equal(lks_snapshots_replace(area->store, &partition, 0), -EIO);
    assert_int_equal(content_begin(area->store, &(struct content){2, 1, 4, 60000}), -EIO);
    lks_snapshot_abandon(area->store, 1);
    content_expect(area->store, &kept);
    area_reopen(area); /* another life may try again */
    content_put(area->store, &(struct content){1, 1, 4, 60000});
    content_expect(area->store, &kept);
}

/* The manifest is stored, but may not be durable: nothing is written over what either one names. */
static void replace__manifest_not_durable__drafts_can_be_given_up(void **state)
{
    struct area *area = *state;
    const struct content kept = {1, 1, 2, 60000};
    const uint32_t partition = 1;
    area_start(area);
    content_put(area->store, &kept);
    const struct content next = {1, 2, 4, 60000};
    assert_int_equal(content_write(area->store, &next), 0);
    content_persist(area->store, 1);
    g_persist = -EIO;
    assert_int_equal(lks_snapshots_replace(area->store, &partition, 1), -EIO);
    g_persist = 0;
    lks_snapshot_abandon(area->store, 1);
    assert_int_equal(content_begin(area->store, &(struct content){2, 3, 1, 60000}), -EIO);
    content_expect(area->store, &kept);
    area_reopen(area);
    content_expect(area->store, &next); /* here it was */
}

static void write__chunk_too_big__etoobig(void **state)
{
    struct area *area = *state;
    const struct content content = {1, 1, 1, 5};
    area_start(area);
    assert_int_equal(content_begin(area->store, &content), 0);
    assert_int_equal(lks_snapshot_write_chunk(area->store, 1, "", UINT64_MAX), -LKS_ETOOBIG);
    lks_snapshot_abandon(area->store, 1);
    const struct lks_snapshot_head head = {.meta = "", .meta_bytes = UINT64_MAX};
    assert_int_equal(lks_snapshot_write_begin(area->store, 1, &head), -LKS_ETOOBIG);
}

static void persist__by_another__ranges_cover_the_draft(void **state)
{
    struct area *area = *state;
    const struct content content = {2, 1, 20, 60000};
    struct lks_snapshots_range range;
    uint64_t covered = 0;
    area_start(area);
    assert_int_equal(lks_snapshot_persist_begin(area->store, 2, 1, &range), -ENODATA);
    assert_int_equal(content_write(area->store, &content), 0);
    while (lks_snapshot_persist_begin(area->store, 2, 3 * BLOCK, &range) == 0) {
        assert_true(range.bytes <= 3 * BLOCK && range.bytes > 0);
        covered += range.bytes;
        assert_int_equal(lks_snapshots_persist(area->store, &range), 0);
        assert_false(lks_snapshot_is_durable(area->store, 2));
        lks_snapshot_persist_end(area->store, 2);
    }
    assert_true(lks_snapshot_is_durable(area->store, 2));
    assert_in_range(covered, 20 * 60000, 20 * 60000 + BLOCK);
    const uint32_t partition = 2;
    assert_int_equal(lks_snapshots_replace_begin(area->store, &partition, 1, &range), 0);
    assert_int_equal(lks_snapshots_item(area->store, 2)->blocks, 0); /* not yet */
    assert_int_equal(lks_snapshots_persist(area->store, &range), 0);
    lks_snapshots_replace_end(area->store);
    content_expect(area->store, &content);
}

static void replace__not_durable__asserts(void **state)
{
    struct area *area = *state;
    const uint32_t partition = 1;
    area_start(area);
    assert_int_equal(content_write(area->store, &(struct content){1, 1, 2, 10}), 0);
    assert_aborts((void)lks_snapshots_replace(area->store, &partition, 1));
    content_persist(area->store, 1);
    assert_int_equal(lks_snapshots_replace(area->store, &partition, 1), 0);
    /* A point never goes back. */
    content_put(area->store, &(struct content){1, 5, 2, 10});
    assert_int_equal(content_write(area->store, &(struct content){1, 4, 2, 10}), 0);
    content_persist(area->store, 1);
    assert_aborts((void)lks_snapshots_replace(area->store, &partition, 1));
    assert_aborts((void)content_begin(area->store, &(struct content){1, 6, 2, 10}));
}

/* A block of a draft that was lost must never pass for one of a later snapshot. */
static void write__another_life__ids_are_new(void **state)
{
    struct area *area = *state;
    uint64_t ids[12];
    area_start(area);
    for (size_t i = 0; i < 12; i++) {
        if (i % 3 == 0) {
            area_reopen(area);
        }
        assert_int_equal(content_write(area->store, &(struct content){1, i + 1, 2, 10}), 0);
        ids[i] = area->store->drafts[1].id;
        if (i % 4 == 3) {
            const uint32_t partition = 1;
            content_persist(area->store, 1);
            assert_int_equal(lks_snapshots_replace(area->store, &partition, 1), 0);
        }
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(ids[k], ids[i]);
        }
        lks_snapshot_abandon(area->store, 1);
    }
}

static void hold__blocks_stay_until_it_ends(void **state)
{
    struct area *area = *state;
    struct lks_snapshots_counts counts;
    static uint8_t before[4 * BLOCK];
    const struct content old = {1, 1, 3, 60000};
    area_start(area);
    content_put(area->store, &old);
    const struct lks_snapshot_item item = *lks_snapshots_item(area->store, 1);
    memcpy(before, lks_snapshots_block(area->store, item.first_block), 2 * BLOCK);
    lks_snapshots_hold(area->store, 1000);
    lks_snapshots_hold(area->store, 500); /* only ever prolonged */
    for (uint64_t version = 2; version < 12; version++) {
        content_put(area->store, &(struct content){1, version, 3, 60000});
        lks_snapshots_tick(area->store, 999);
    }
    assert_memory_equal(before, lks_snapshots_block(area->store, item.first_block), 2 * BLOCK);
    lks_snapshots_counts(area->store, &counts);
    assert_int_equal(counts.retired_bytes, 10 * 3 * BLOCK);
    lks_snapshots_tick(area->store, 1000);
    lks_snapshots_counts(area->store, &counts);
    assert_int_equal(counts.retired_bytes, 0);
    assert_int_equal(counts.used_bytes, 3 * BLOCK);
    /* A hold for ever fills the area: an error, and no more. */
    lks_snapshots_hold(area->store, UINT64_MAX);
    int rc = 0;
    for (uint64_t version = 12; rc == 0; version++) {
        const uint32_t partition = 1;
        rc = content_write(area->store, &(struct content){1, version, 3, 60000});
        if (rc == 0) {
            content_persist(area->store, 1);
            assert_int_equal(lks_snapshots_replace(area->store, &partition, 1), 0);
        }
    }
    assert_int_equal(rc, -ENOSPC);
    lks_snapshot_abandon(area->store, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AREA_TEST(write__sizes_of_all_kinds__read_back),
        AREA_TEST(read__never_taken__enodata),
        AREA_TEST(draft__not_replaced__is_gone_after_reopen),
        AREA_TEST(replace__several__all_at_once),
        AREA_TEST(replace__again_and_again__room_is_used_again),
        AREA_TEST(abandon__in_every_state__room_is_free),
        AREA_TEST(write__area_full__enospc_and_the_old_ones_stay),
        AREA_TEST(write__disk_full__enospc_and_nothing_is_stored),
        AREA_TEST(persist__fails_once__nothing_is_durable_any_more),
        AREA_TEST(replace__manifest_not_durable__drafts_can_be_given_up),
        AREA_TEST(write__chunk_too_big__etoobig),
        AREA_TEST(persist__by_another__ranges_cover_the_draft),
        AREA_TEST(replace__not_durable__asserts),
        AREA_TEST(write__another_life__ids_are_new),
        AREA_TEST(hold__blocks_stay_until_it_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
