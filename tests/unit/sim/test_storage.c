/* The simulated medium: what was made durable survives a power cut, the rest may not. */
#include "pmem/snapshots.h"
#include "sim/files.h"
#include "sim/storage.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define RING_BYTES 65536u
#define ENTRIES 40u

struct fixture {
    char path[16];
    struct lks_sim_storage *storage;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    (void)snprintf(fixture->path, sizeof fixture->path, "journal");
    const struct lks_journal_options options = {.path = fixture->path,
                                                .cluster_id = "test",
                                                .replica = 1,
                                                .bootstrap_voters = 2,
                                                .ring_bytes = RING_BYTES,
                                                .entry_bytes_max = 1024};
    struct lks_error err;
    fixture->storage = lks_sim_storage_new(&options);
    assert_int_equal(lks_sim_storage_create(fixture->storage, true, &err), 0);
    assert_int_equal(lks_sim_storage_open(fixture->storage, &err), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    lks_sim_storage_free(fixture->storage);
    assert_int_equal(lks_sim_files_named(fixture->path), 0);
    free(fixture);
    return 0;
}

static struct lks_log_point append_entries(struct lks_journal *journal)
{
    struct lks_log_point tail = {0};
    for (uint32_t i = 0; i < ENTRIES; i++) {
        const struct lks_entry_draft draft = {.kind = LKS_ENTRY_TICK, .term = 1, .time_ns = i};
        assert_int_equal(lks_journal_append(journal, &tail, &draft), 0);
    }
    return tail;
}

static struct lks_log_point reopen(struct fixture *fixture)
{
    struct lks_log_point tail;
    struct lks_error err;
    assert_int_equal(lks_sim_storage_open(fixture->storage, &err), 0);
    assert_int_equal(
        lks_journal_recover(lks_sim_storage_journal(fixture->storage), &tail, &err), 0);
    return tail;
}

static void crash__nothing_persisted__all_is_there(void **state)
{
    struct fixture *fixture = *state;
    const struct lks_log_point tail =
        append_entries(lks_sim_storage_journal(fixture->storage));
    lks_sim_storage_close(fixture->storage, false);
    assert_int_equal(reopen(fixture).index, tail.index);
    lks_sim_storage_close(fixture->storage, false);
}

static void power_cut__half_persisted__that_half_is_there_and_not_all_of_the_rest(void **state)
{
    struct fixture *fixture = *state;
    struct lks_journal *journal = lks_sim_storage_journal(fixture->storage);
    struct lks_sim_random random;
    lks_sim_random_init(&random, 5);
    const struct lks_log_point tail = append_entries(journal);
    assert_int_equal(lks_journal_persist_range(journal, 0, tail.offset / 2), 0);
    lks_sim_storage_close(fixture->storage, false);
    assert_true(lks_sim_storage_power_cut(fixture->storage, &random) > 0);
    const uint64_t left = reopen(fixture).index;
    assert_in_range(left, ENTRIES / 2, ENTRIES - 1);
    struct lks_identity identity;
    lks_journal_identity(lks_sim_storage_journal(fixture->storage), &identity);
    assert_false(identity.same_boot);
    lks_sim_storage_close(fixture->storage, false);
    assert_int_equal(lks_sim_storage_power_cut(fixture->storage, &random), 0); /* still certain */
}

static void power_cut__all_persisted__nothing_is_lost(void **state)
{
    struct fixture *fixture = *state;
    struct lks_journal *journal = lks_sim_storage_journal(fixture->storage);
    struct lks_sim_random random;
    lks_sim_random_init(&random, 6);
    const struct lks_log_point tail = append_entries(journal);
    assert_int_equal(lks_journal_persist_range(journal, 0, tail.offset), 0);
    lks_sim_storage_close(fixture->storage, false);
    assert_int_equal(lks_sim_storage_power_cut(fixture->storage, &random), 0);
    assert_int_equal(reopen(fixture).index, tail.index);
    lks_sim_storage_close(fixture->storage, false);
}

static void close__clean__survives_a_power_cut(void **state)
{
    struct fixture *fixture = *state;
    struct lks_sim_random random;
    lks_sim_random_init(&random, 7);
    const struct lks_log_point tail =
        append_entries(lks_sim_storage_journal(fixture->storage));
    lks_sim_storage_close(fixture->storage, true);
    (void)lks_sim_storage_power_cut(fixture->storage, &random);
    assert_int_equal(reopen(fixture).index, tail.index);
    lks_sim_storage_close(fixture->storage, false);
}

/* ---- every access ---------------------------------------------------------------------------- */

struct cutter {
    jmp_buf leave;
    uint64_t left;  /* accesses until the cut; 0: never */
    uint64_t heard;
};

static void count_down(void *ctx, uint32_t replica, enum lks_sim_storage_access access)
{
    struct cutter *cutter = ctx;
    assert_int_equal(replica, 1);
    assert_true(access <= LKS_SIM_ACCESS_FENCE);
    cutter->heard++;
    if (cutter->left > 0 && --cutter->left == 0) {
        longjmp(cutter->leave, 1);
    }
}

/* Bit i of the mask: uncertain line number i is kept. */
struct subset {
    uint64_t mask;
    uint32_t place;
};

static struct lks_sim_line_fate keep_by_mask(void *ctx, const struct lks_sim_line *line)
{
    struct subset *subset = ctx;
    const bool kept = (subset->mask >> subset->place++ & 1) != 0;
    return (struct lks_sim_line_fate){.value = kept ? line->values - 1 : 0};
}

struct promise_cut {
    struct fixture *fixture;
    struct lks_sim_storage_copy before;
    uint64_t access;
    uint64_t mask;
};

/* The words of the mask are new. */
static struct lks_sim_line_fate keep_words(void *ctx, const struct lks_sim_line *line)
{
    const struct subset *subset = ctx;
    assert_int_equal(line->values, 2);
    return (struct lks_sim_line_fate){.torn = (uint8_t)subset->mask};
}

/* Writes promise 2 over promise 1 and cuts the power before one access, with some words of the
 * uncertain line kept. Returns how many such lines there were; SIZE_MAX: that access never came. */
static size_t cut_promise(const struct promise_cut *cut, struct lks_promise *found)
{
    static struct cutter cutter; /* outlives the jump */
    static size_t lines;
    struct lks_sim_storage *storage = cut->fixture->storage;
    const struct lks_promise next = {.term = 2, .candidate = 3, .incarnation = 9};
    struct lks_error err;
    lks_sim_storage_put_copy(storage, &cut->before);
    assert_int_equal(lks_sim_storage_open(storage, &err), 0);
    lines = SIZE_MAX;
    cutter = (struct cutter){.left = cut->access};
    if (setjmp(cutter.leave) == 0) {
        lks_sim_storage_watch(&(struct lks_sim_storage_watcher){count_down, &cutter});
        assert_int_equal(
            lks_journal_write_promise(lks_sim_storage_journal(storage), &next), 0);
    } else {
        lines = lks_sim_lines_count(lks_sim_storage_lines(storage, 0));
    }
    lks_sim_storage_watch(NULL);
    lks_sim_storage_close(storage, false);
    struct subset subset = {.mask = cut->mask};
    (void)lks_sim_storage_cut(storage, keep_words, &subset);
    assert_int_equal(lks_sim_storage_open(storage, &err), 0);
    lks_journal_promise(lks_sim_storage_journal(storage), found);
    lks_sim_storage_close(storage, false);
    return lines;
}

static void write_promise__cut_before_every_access__old_or_new(void **state)
{
    struct fixture *fixture = *state;
    const struct lks_promise first = {.term = 1, .candidate = 2, .incarnation = 5};
    struct promise_cut cut = {.fixture = fixture};
    assert_int_equal(
        lks_journal_write_promise(lks_sim_storage_journal(fixture->storage), &first), 0);
    lks_sim_storage_close(fixture->storage, false);
    lks_sim_storage_take_copy(fixture->storage, &cut.before);
    uint64_t runs = 0;
    bool ended = false;
    for (cut.access = 1; !ended; cut.access++) {
        size_t lines = 0;
        for (cut.mask = 0; cut.mask < (lines > 0 ? 256 : 1); cut.mask++) {
            struct lks_promise found;
            lines = cut_promise(&cut, &found);
            ended = lines == SIZE_MAX;
            lines = ended ? 0 : lines;
            assert_in_range(lines, 0, 1); /* a promise lies in one line of a copy */
            assert_true(found.term == 1 ? found.candidate == 2 && !ended
                                        : found.candidate == 3 && found.incarnation == 9);
            runs++;
        }
    }
    assert_int_equal(cut.access, 8); /* two copies: store, write-back, fence; and none */
    assert_int_equal(runs, 4 * 256 + 3);
    free(cut.before.bytes);
}

static void create__disk_full__enospc_and_nothing_left(void **state)
{
    struct fixture *fixture = *state;
    struct lks_error err;
    lks_sim_storage_close(fixture->storage, false);
    lks_sim_storage_fill_disk(fixture->storage, true);
    assert_int_equal(lks_sim_storage_create(fixture->storage, false, &err), -ENOSPC);
    assert_int_equal(lks_sim_files_named(fixture->path), 0);
    lks_sim_storage_fill_disk(fixture->storage, false);
    assert_int_equal(lks_sim_storage_create(fixture->storage, false, &err), 0);
    assert_int_equal(lks_sim_storage_open(fixture->storage, &err), 0);
    struct lks_identity identity;
    lks_journal_identity(lks_sim_storage_journal(fixture->storage), &identity);
    assert_true(identity.promise_lost);
    lks_sim_storage_close(fixture->storage, false);
}

/* A draft in a partition of the area, durable. 0 or what writing said. */
static int write_snapshot(struct lks_snapshots *store, uint32_t partition, uint64_t version)
{
    static char chunk[50000];
    const struct lks_snapshot_head head = {.point = {.index = version, .offset = version * 64}};
    uint64_t left = 1;
    memset(chunk, (int)version, sizeof chunk);
    int rc = lks_snapshot_write_begin(store, partition, &head);
    for (uint32_t i = 0; i < 8 && rc == 0; i++) {
        rc = lks_snapshot_write_chunk(store, partition, chunk, sizeof chunk);
    }
    if (rc == 0) {
        rc = lks_snapshot_write_finish(store, partition);
    }
    while (rc == 0 && left > 0) {
        rc = lks_snapshot_persist_step(store, partition, 65536, &left);
    }
    return rc;
}

static uint64_t read_snapshot(struct lks_snapshots *store, uint32_t partition)
{
    struct lks_snapshot_scan scan;
    struct lks_snapshot_head head;
    struct lks_error err;
    const void *data;
    uint64_t bytes;
    assert_int_equal(lks_snapshot_scan_init(&scan, store, partition, &head, &err), 0);
    int rc = 0;
    while ((rc = lks_snapshot_scan_next(&scan, &data, &bytes, &err)) == 0) {
        assert_int_equal(*(const char *)data, (char)head.point.index);
    }
    assert_int_equal(rc, -ENODATA);
    lks_snapshot_scan_fini(&scan);
    return head.point.index;
}

/* The area lies on the same medium: it loses what was not made durable, and finds the disk full. */
static void snapshots__power_cuts_and_a_full_disk__what_counts_stays(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct lks_error err;
    struct lks_sim_random random;
    struct lks_snapshots *store = NULL;
    (void)snprintf(path, sizeof path, "%s.snapshots", fixture->path);
    const struct lks_snapshots_options options = {
        .path = path, .replica = 1, .partitions = 2, .area_bytes = UINT64_C(4) << 20};
    lks_sim_random_init(&random, 7);
    (void)lks_sim_storage_enter(fixture->storage);
    assert_int_equal(lks_snapshots_create(&options, &err), 0);
    for (uint64_t version = 1; version <= 20; version++) {
        const uint32_t partition = version % 2;
        assert_int_equal(lks_snapshots_open(&store, &options, &err), 0);
        if (version > 2) {
            assert_int_equal(read_snapshot(store, partition), version - 2);
            assert_int_equal(read_snapshot(store, 1 - partition), version - 1);
        }
        (void)lks_sim_storage_enter(NULL);
        lks_sim_storage_fill_disk(fixture->storage, true);
        const int rc = write_snapshot(store, partition, version);
        lks_sim_storage_fill_disk(fixture->storage, false);
        assert_true(version > 1 || rc == -ENOSPC); /* later the area has grown already */
        lks_snapshot_abandon(store, partition);
        assert_int_equal(write_snapshot(store, partition, version), 0);
        assert_int_equal(lks_snapshots_replace(store, &partition, 1), 0);
        if (write_snapshot(store, partition, version + 100) != 0) { /* comes to nothing */
            fail();
        }
        (void)lks_sim_storage_enter(fixture->storage);
        lks_snapshots_close(store);
        lks_sim_storage_close(fixture->storage, false);
        (void)lks_sim_storage_power_cut(fixture->storage, &random);
        (void)reopen(fixture);
    }
    (void)lks_sim_storage_enter(NULL);
    lks_sim_storage_close(fixture->storage, false);
    assert_int_equal(lks_sim_files_remove(path), 0);
}

/* Any bit of the pages that say what the journal is. */
static void rot__any_record__same_values_or_refused(void **state)
{
    struct fixture *fixture = *state;
    struct lks_sim_storage_copy good;
    struct lks_error err;
    uint32_t refused = 0;
    lks_sim_storage_close(fixture->storage, false);
    lks_sim_storage_take_copy(fixture->storage, &good);
    for (uint64_t offset = 0; offset < 7 * UINT64_C(4096); offset += 37) {
        lks_sim_storage_rot(fixture->storage, offset, (uint32_t)(offset % 8));
        const int status = lks_sim_storage_open(fixture->storage, &err);
        if (status == 0) {
            struct lks_identity identity;
            lks_journal_identity(lks_sim_storage_journal(fixture->storage), &identity);
            assert_int_equal(identity.incarnation, 2);
            assert_false(identity.amnesiac);
            lks_sim_storage_close(fixture->storage, false);
        } else {
            assert_true(status == -LKS_EDAMAGED || status == -LKS_EFORMAT);
            refused++;
        }
        lks_sim_storage_put_copy(fixture->storage, &good);
    }
    assert_int_equal(refused, 2); /* in the header, which has no second copy */
    free(good.bytes);
}

static void remote_store__not_flushed__lost_and_flushed_kept(void **state)
{
    struct fixture *fixture = *state;
    struct lks_log_memory memory;
    lks_journal_log_memory(lks_sim_storage_journal(fixture->storage), &memory);
    const uint64_t ring = LKS_JOURNAL_HEAD_BYTES + LKS_JOURNAL_CONTROL_BYTES;
    uint8_t *bytes = memory.address;
    lks_sim_storage_touched(fixture->storage, ring - 64, 256); /* begins in the control page */
    memset(bytes + ring - 64, 1, 256);
    lks_sim_storage_persisted(fixture->storage, ring - 64, 128);
    lks_sim_storage_close(fixture->storage, false);
    struct subset none = {.mask = 0};
    assert_int_equal(lks_sim_storage_cut(fixture->storage, keep_by_mask, &none), 2);
    assert_int_equal(bytes[ring], 1);
    assert_int_equal(bytes[ring + 63], 1);
    assert_int_equal(bytes[ring + 64], 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crash__nothing_persisted__all_is_there),
        TEST(power_cut__half_persisted__that_half_is_there_and_not_all_of_the_rest),
        TEST(power_cut__all_persisted__nothing_is_lost),
        TEST(close__clean__survives_a_power_cut),
        TEST(write_promise__cut_before_every_access__old_or_new),
        TEST(create__disk_full__enospc_and_nothing_left),
        TEST(snapshots__power_cuts_and_a_full_disk__what_counts_stays),
        TEST(rot__any_record__same_values_or_refused),
        TEST(remote_store__not_flushed__lost_and_flushed_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
