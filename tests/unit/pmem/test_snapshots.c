/* Creating and opening a snapshot area: what is refused, what is repaired. */
#include "snapshots_fixture.h"

static int open_as(struct area *area, const struct lks_snapshots_options *options)
{
    struct lks_snapshots *store = NULL;
    const int rc = lks_snapshots_open(&store, options, &area->err);
    lks_snapshots_close(store);
    return rc;
}

static void create__new__sparse_empty_private(void **state)
{
    struct area *area = *state;
    struct stat status;
    struct lks_snapshots_counts counts;
    area_create(area);
    assert_int_equal(stat(area->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_size, AREA);
    assert_true((uint64_t)status.st_blocks * 512 < AREA / 8);
    area_open(area);
    lks_snapshots_counts(area->store, &counts);
    assert_int_equal(counts.used_bytes, 0);
    assert_int_equal(lks_snapshots_partitions(area->store), PARTITIONS);
    assert_string_equal(lks_snapshots_path(area->store), area->path);
    assert_int_equal(stat(area->path, &status), 0);
    assert_true((uint64_t)status.st_blocks * 512 < AREA / 8); /* mapping it takes no room */
}

static void create__bad_options__einval(void **state)
{
    struct area *area = *state;
    area->options.area_bytes = AREA + 4096;
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -EINVAL);
    area->options.area_bytes = UINT64_C(1) << 20;
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -EINVAL);
    assert_non_null(strstr(area->err.text, "a multiple of 1M from 2M"));
    area->options.area_bytes = AREA;
    area->options.partitions = 0;
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -EINVAL);
    area->options.partitions = 4097;
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -EINVAL);
    area->options.partitions = PARTITIONS;
    area->options.path = "/dev/null";
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -EINVAL);
    assert_non_null(strstr(area->err.text, "not a regular file"));
    area->options.path = "/nowhere/at/all";
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -ENOENT);
    assert_int_equal(access(area->path, F_OK), -1);
}

static void create__exists__eexist(void **state)
{
    struct area *area = *state;
    area_create(area);
    assert_int_equal(lks_snapshots_create(&area->options, &area->err), -EEXIST);
    area_open(area);
}

static void open__missing__enoent(void **state)
{
    struct area *area = *state;
    assert_int_equal(open_as(area, &area->options), -ENOENT);
    assert_non_null(strstr(area->err.text, "init CONFIG --rejoin"));
}

static void open__of_others__refused(void **state)
{
    struct area *area = *state;
    struct lks_snapshots_options options = area->options;
    area_create(area);
    options.replica = 2;
    assert_int_equal(open_as(area, &options), -LKS_ECLUSTER);
    options = area->options;
    options.cluster_id[0] = 9;
    assert_int_equal(open_as(area, &options), -LKS_ECLUSTER);
    options = area->options;
    options.partitions = 5;
    assert_int_equal(open_as(area, &options), -LKS_ESIZE);
    assert_non_null(strstr(area->err.text, "of 4 partitions, but the service has 5"));
    options = area->options;
    options.path = "/dev/null";
    assert_int_equal(open_as(area, &options), -EINVAL);
}

static void open__twice__ebusy_but_not_for_readers(void **state)
{
    struct area *area = *state;
    area_start(area);
    assert_int_equal(open_as(area, &area->options), -EBUSY);
    const struct lks_snapshots_options reader = {.path = area->path, .read_only = true};
    assert_int_equal(open_as(area, &reader), 0);
}

static void open__read_only__changes_nothing(void **state)
{
    struct area *area = *state;
    size_t bytes;
    const struct content content = {1, 1, 3, 60000};
    area_start(area);
    content_put(area->store, &content);
    lks_snapshots_close(area->store);
    area->store = NULL;
    unsigned char *before = file_snapshot(area->path, &bytes);
    const struct lks_snapshots_options reader = {.path = area->path, .read_only = true};
    assert_int_equal(lks_snapshots_open(&area->store, &reader, &area->err), 0);
    content_expect(area->store, &content);
    unsigned char *after = file_snapshot(area->path, &bytes);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
}

static void open__damaged_header__refused(void **state)
{
    struct area *area = *state;
    area_create(area);
    file_flip(area->path, 0, 1);
    assert_int_equal(open_as(area, &area->options), -LKS_EFORMAT);
    file_flip(area->path, 0, 1);
    file_flip(area->path, 8, 2);
    assert_int_equal(open_as(area, &area->options), -LKS_EFORMAT);
    assert_non_null(strstr(area->err.text, "format version 3"));
    file_flip(area->path, 8, 2);
    file_flip(area->path, 36, 2);
    assert_int_equal(open_as(area, &area->options), -LKS_EDAMAGED);
    file_flip(area->path, 36, 2);
    assert_int_equal(open_as(area, &area->options), 0);
    assert_int_equal(truncate(area->path, AREA - 1), 0);
    assert_int_equal(open_as(area, &area->options), 0); /* grown again: its end was never used */
    area->options.area_bytes = 0;
    assert_int_equal(truncate(area->path, AREA - 1), 0);
    assert_int_equal(open_as(area, &area->options), -LKS_ESIZE);
    assert_int_equal(truncate(area->path, 4096), 0);
    assert_int_equal(open_as(area, &area->options), -LKS_EFORMAT);
}

/* The newest slot lost: the one before counts, while what it names is whole. */
static void open__one_slot_damaged__the_other_counts(void **state)
{
    struct area *area = *state;
    struct lks_snapshots_geometry geometry;
    struct lks_snapshots_counts counts;
    const struct content one = {1, 1, 3, 60000};
    const struct content two = {2, 2, 3, 60000};
    lks_snapshots_geometry(PARTITIONS, &geometry);
    area_start(area);
    content_put(area->store, &one);
    content_put(area->store, &two);
    lks_snapshots_counts(area->store, &counts);
    lks_snapshots_close(area->store);
    area->store = NULL;
    const uint64_t newest = geometry.slots_at + (counts.generation & 1) * geometry.slot_bytes;
    file_flip(area->path, newest + 64 + 2 * 64 + 16, 1);
    area_open(area);
    content_expect(area->store, &one);
    assert_int_equal(lks_snapshots_item(area->store, 2)->blocks, 0);
    lks_snapshots_close(area->store);
    area->store = NULL;
    file_flip(area->path, geometry.slots_at + 20, 1);
    file_flip(area->path, geometry.slots_at + geometry.slot_bytes + 20, 1);
    assert_int_equal(open_as(area, &area->options), -LKS_EDAMAGED);
    assert_non_null(strstr(area->err.text, "both copies of the manifest"));
}

static void open__greater_area__grows_never_shrinks(void **state)
{
    struct area *area = *state;
    const struct content content = {1, 1, 100, 60000};
    const struct content more = {2, 1, 100, 60000};
    area_start(area);
    content_put(area->store, &content);
    assert_int_equal(content_write(area->store, &more), -ENOSPC);
    area->options.area_bytes = 4 * AREA;
    area_reopen(area);
    content_put(area->store, &more);
    content_expect(area->store, &content);
    struct lks_snapshots_memory memory;
    lks_snapshots_memory(area->store, &memory);
    assert_int_equal(memory.bytes, 4 * AREA);
    assert_int_equal(fcntl(memory.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    lks_snapshots_close(area->store);
    area->store = NULL;
    area->options.area_bytes = AREA;
    assert_int_equal(open_as(area, &area->options), -LKS_ESIZE);
    assert_non_null(strstr(area->err.text, "32 MiB cannot shrink to 8 MiB"));
    area->options.area_bytes = 0;
    area_open(area);
    content_expect(area->store, &more);
}

static void open__many_partitions__all_found(void **state)
{
    struct area *area = *state;
    area->options.partitions = LKS_SNAPSHOT_PARTITIONS_MAX;
    area->options.area_bytes = UINT64_C(512) << 20;
    area_start(area);
    for (uint32_t p = 0; p < LKS_SNAPSHOT_PARTITIONS_MAX; p += 37) {
        content_put(area->store, &(struct content){p, p + 1, 2, 100});
    }
    area_reopen(area);
    for (uint32_t p = 0; p < LKS_SNAPSHOT_PARTITIONS_MAX; p += 37) {
        content_expect(area->store, &(struct content){p, p + 1, 2, 100});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AREA_TEST(create__new__sparse_empty_private),
        AREA_TEST(create__bad_options__einval),
        AREA_TEST(create__exists__eexist),
        AREA_TEST(open__missing__enoent),
        AREA_TEST(open__of_others__refused),
        AREA_TEST(open__twice__ebusy_but_not_for_readers),
        AREA_TEST(open__read_only__changes_nothing),
        AREA_TEST(open__damaged_header__refused),
        AREA_TEST(open__one_slot_damaged__the_other_counts),
        AREA_TEST(open__greater_area__grows_never_shrinks),
        AREA_TEST(open__many_partitions__all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
