/*
 * What the tests of the snapshot area share: an area in a folder of its own, snapshots whose
 * content follows from (partition, version), and a check that reads one back. Header only, so
 * that each test stays one program of one file.
 */
#ifndef LKS_TESTS_SNAPSHOTS_FIXTURE_H
#define LKS_TESTS_SNAPSHOTS_FIXTURE_H

#include "journal_fixture.h"

#include "pmem/snapshots_internal.h"

#define PARTITIONS 4u
#define AREA (UINT64_C(8) << 20)
#define BLOCK LKS_SNAPSHOT_BLOCK_BYTES

struct area {
    char folder[64];
    char path[128];
    struct lks_snapshots_options options;
    struct lks_snapshots *store;
    struct lks_error err;
};

static inline void area_make(struct area *area, const char *parent)
{
    memset(area, 0, sizeof *area);
    (void)snprintf(area->folder, sizeof area->folder, "%s/lks-area-XXXXXX", parent);
    assert_non_null(mkdtemp(area->folder));
    (void)snprintf(area->path, sizeof area->path, "%s/r1.log.snapshots", area->folder);
    area->options = (struct lks_snapshots_options){.path = area->path,
                                                   .cluster_id = {1, 2, 3, 4},
                                                   .replica = 1,
                                                   .partitions = PARTITIONS,
                                                   .area_bytes = AREA};
}

static inline int area_setup(void **state)
{
    struct area *area = test_malloc(sizeof *area);
    area_make(area, scratch_folder());
    *state = area;
    return 0;
}

/* On the file system of the working folder: the build folder under ctest. */
static inline int area_setup_file(void **state)
{
    struct area *area = test_malloc(sizeof *area);
    area_make(area, ".");
    *state = area;
    return 0;
}

static inline int area_teardown(void **state)
{
    struct area *area = *state;
    lks_snapshots_close(area->store);
    (void)unlink(area->path);
    (void)rmdir(area->folder);
    test_free(area);
    return 0;
}

static inline void area_create(struct area *area)
{
    if (lks_snapshots_create(&area->options, &area->err) != 0) {
        fail_msg("%s", area->err.text);
    }
}

static inline void area_open(struct area *area)
{
    if (lks_snapshots_open(&area->store, &area->options, &area->err) != 0) {
        fail_msg("%s", area->err.text);
    }
}

static inline void area_start(struct area *area)
{
    area_create(area);
    area_open(area);
}

static inline void area_reopen(struct area *area)
{
    lks_snapshots_close(area->store);
    area->store = NULL;
    area_open(area);
}

/* ---- content ------------------------------------------------------------------------------- */

#define CONTENT_MAX (UINT64_C(3) << 20)

/* What a version of a partition holds; how many chunks of how many bytes. */
struct content {
    uint32_t partition;
    uint64_t version;
    uint64_t chunks;
    uint64_t chunk_bytes;
};

static inline struct lks_log_point content_point(const struct content *content)
{
    return (struct lks_log_point){.index = content->version * 10 + content->partition,
                                  .term = 3,
                                  .offset = (content->version * 100 + content->partition) * 64,
                                  .chain = (uint32_t)(content->version * 77)};
}

static inline void content_fill(const struct content *content, uint64_t chunk, uint8_t *bytes)
{
    uint64_t x = content->version * 0x9e3779b97f4a7c15u + content->partition * 31 + chunk + 1;
    for (uint64_t i = 0; i < content->chunk_bytes; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(x >> 56);
    }
}

static inline int content_begin(struct lks_snapshots *store, const struct content *content)
{
    char meta[32];
    (void)snprintf(meta, sizeof meta, "meta %u of %u", (unsigned)content->version,
                   content->partition);
    const struct lks_snapshot_head head = {.point = content_point(content),
                                           .time_ns = content->version * 1000,
                                           .meta = meta,
                                           .meta_bytes = strlen(meta)};
    return lks_snapshot_write_begin(store, content->partition, &head);
}

/* Writes a draft up to its finish. */
static inline int content_write(struct lks_snapshots *store, const struct content *content)
{
    static uint8_t bytes[CONTENT_MAX];
    int rc = content_begin(store, content);
    for (uint64_t i = 0; i < content->chunks && rc == 0; i++) {
        content_fill(content, i, bytes);
        rc = lks_snapshot_write_chunk(store, content->partition, bytes, content->chunk_bytes);
    }
    return rc < 0 ? rc : lks_snapshot_write_finish(store, content->partition);
}

static inline void content_persist(struct lks_snapshots *store, uint32_t partition)
{
    uint64_t left = 1;
    while (left > 0) {
        assert_int_equal(lks_snapshot_persist_step(store, partition, UINT64_C(1) << 18, &left), 0);
    }
    assert_true(lks_snapshot_is_durable(store, partition));
}

/* All the way into its place. */
static inline void content_put(struct lks_snapshots *store, const struct content *content)
{
    assert_int_equal(content_write(store, content), 0);
    content_persist(store, content->partition);
    assert_int_equal(lks_snapshots_replace(store, &content->partition, 1), 0);
}

/* Reads a partition and compares; 0, or the code that reading gave. -EILSEQ: other bytes. */
static inline int content_read(struct lks_snapshots *store, const struct content *content,
                               struct lks_error *err)
{
    static uint8_t wanted[CONTENT_MAX];
    char meta[32];
    struct lks_snapshot_scan scan;
    struct lks_snapshot_head head;
    const struct lks_log_point point = content_point(content);
    uint64_t chunk = 0;
    int rc = lks_snapshot_scan_init(&scan, store, content->partition, &head, err);
    if (rc < 0) {
        return rc;
    }
    (void)snprintf(meta, sizeof meta, "meta %u of %u", (unsigned)content->version,
                   content->partition);
    bool equal = memcmp(&head.point, &point, sizeof point) == 0 &&
                 head.time_ns == content->version * 1000 && head.meta_bytes == strlen(meta) &&
                 memcmp(head.meta, meta, head.meta_bytes) == 0;
    for (;; chunk++) {
        const void *data = NULL;
        uint64_t bytes = 0;
        rc = lks_snapshot_scan_next(&scan, &data, &bytes, err);
        if (rc < 0) {
            break;
        }
        content_fill(content, chunk, wanted);
        equal = equal && bytes == content->chunk_bytes &&
                (bytes == 0 || memcmp(data, wanted, bytes) == 0);
    }
    lks_snapshot_scan_fini(&scan);
    if (rc != -ENODATA) {
        return rc;
    }
    return equal && chunk == content->chunks ? 0 : -EILSEQ;
}

static inline void content_expect(struct lks_snapshots *store, const struct content *content)
{
    struct lks_error err = {0};
    const int rc = content_read(store, content, &err);
    if (rc != 0) {
        fail_msg("partition %u, version %llu: %d %s", content->partition,
                 (unsigned long long)content->version, rc, err.text);
    }
}

#define AREA_TEST(name) cmocka_unit_test_setup_teardown(name, area_setup, area_teardown)

#endif
