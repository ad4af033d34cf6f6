/* What is left of a replica: reading it, and beginning a cluster anew with it. */
#include "node/remains.h"

#include "../pmem/snapshots_fixture.h"

#include <errno.h>

#define OLD_TERM 3u
#define PROMISED_TERM 9u
#define ENTRIES 5u

static const uint8_t g_new_cluster[LKS_CLUSTER_ID_BYTES] = {9, 9, 9};

struct replica {
    struct fixture log;
    struct area area;
    struct lks_log_point second; /* behind the second entry */
    struct lks_remains remains;
};

/* A log of a few entries, and no snapshots. */
static int replica_setup(void **state)
{
    struct replica *replica = test_malloc(sizeof *replica);
    memset(replica, 0, sizeof *replica);
    fixture_make(&replica->log, scratch_folder(), RING);
    area_make(&replica->area, scratch_folder());
    memcpy(replica->area.options.cluster_id, replica->log.options.cluster_id,
           sizeof replica->area.options.cluster_id);
    start(&replica->log);
    area_start(&replica->area);
    for (uint32_t i = 1; i <= ENTRIES; i++) {
        assert_int_equal(append(&replica->log, OLD_TERM, 100), 0);
        replica->second = i == 2 ? replica->log.tail : replica->second;
    }
    *state = replica;
    return 0;
}

static int replica_teardown(void **state)
{
    struct replica *replica = *state;
    lks_remains_close(&replica->remains);
    lks_snapshots_close(replica->area.store);
    (void)unlink(replica->area.path);
    (void)rmdir(replica->area.folder);
    lks_journal_close(replica->log.journal, false);
    (void)unlink(replica->log.path);
    (void)rmdir(replica->log.folder);
    test_free(replica);
    return 0;
}

/* Of all partitions but the first, at this point. */
static void snapshot(struct replica *replica, const struct lks_log_point *point)
{
    const struct lks_snapshot_head head = {.point = *point, .time_ns = 5};
    for (uint32_t p = 1; p < PARTITIONS; p++) {
        assert_int_equal(lks_snapshot_write_begin(replica->area.store, p, &head), 0);
        assert_int_equal(lks_snapshot_write_finish(replica->area.store, p), 0);
        content_persist(replica->area.store, p);
        assert_int_equal(lks_snapshots_replace(replica->area.store, &p, 1), 0);
    }
}

static void end_process(struct replica *replica)
{
    crash(&replica->log);
    lks_snapshots_close(replica->area.store);
    replica->area.store = NULL;
}

static int open_remains(struct replica *replica)
{
    return lks_remains_open(&replica->remains, &replica->log.options, &replica->area.options,
                            &replica->log.err);
}

static void later__term_before_index(void **state)
{
    (void)state;
    const struct lks_log_point longer = {.index = 9, .term = 2};
    const struct lks_log_point younger = {.index = 5, .term = 3};
    const struct lks_log_point shorter = {.index = 8, .term = 2};
    assert_true(lks_remains_is_later(&younger, &longer));
    assert_false(lks_remains_is_later(&longer, &younger));
    assert_true(lks_remains_is_later(&longer, &shorter));
    assert_false(lks_remains_is_later(&longer, &longer));
}

static void open__running_replica__is_busy(void **state)
{
    struct replica *replica = *state;
    assert_int_equal(open_remains(replica), -EBUSY);
    assert_null(replica->remains.journal);
    assert_null(replica->remains.snapshots);
}

static void found__alone__in_a_term_above_promise_and_log(void **state)
{
    struct replica *replica = *state;
    struct lks_promise promise = {.term = PROMISED_TERM, .candidate = 2};
    struct lks_identity identity;
    assert_int_equal(lks_journal_write_promise(replica->log.journal, &promise), 0);
    end_process(replica);
    assert_int_equal(open_remains(replica), 0);
    assert_int_equal(replica->remains.tail.index, ENTRIES);
    assert_int_equal(lks_remains_found(&replica->remains, 1, 1, &replica->log.err), 0);
    assert_int_equal(replica->remains.tail.term, PROMISED_TERM + 1);
    lks_journal_promise(replica->remains.journal, &promise);
    assert_int_equal(promise.term, PROMISED_TERM + 1);
    assert_int_equal(promise.candidate, 0);
    lks_journal_identity(replica->remains.journal, &identity);
    assert_false(identity.amnesiac);
    lks_remains_close(&replica->remains);
    assert_int_equal(open_remains(replica), 0);
    assert_int_equal(replica->remains.members.number, 1);
    assert_int_equal(replica->remains.members.voters, 1u << 1);
    assert_int_equal(replica->remains.members.learners, 0);
    /* The log's time never goes back. */
    assert_int_equal(replica->remains.time_ns, 1000 + ENTRIES - 1);
}

static void set_cluster__whole__opens_as_the_new_one_alone(void **state)
{
    struct replica *replica = *state;
    end_process(replica);
    assert_int_equal(open_remains(replica), 0);
    assert_int_equal(lks_remains_set_cluster(&replica->remains, g_new_cluster), 0);
    lks_remains_close(&replica->remains);
    assert_int_equal(open_remains(replica), -LKS_ECLUSTER);
    memcpy(replica->log.options.cluster_id, g_new_cluster, sizeof g_new_cluster);
    memcpy(replica->area.options.cluster_id, g_new_cluster, sizeof g_new_cluster);
    assert_int_equal(open_remains(replica), 0);
}

static void draw_cluster__any_factor__keeps_a_headers_checksum(void **state)
{
    (void)state;
    struct lks_header_page header = {.version = 4, .replica = 2, .cluster_id = {1, 2, 3, 4}};
    const uint32_t before = lks_journal_header_checksum(&header);
    for (uint32_t drawn = 1; drawn != 0; drawn <<= 1) {
        uint8_t id[LKS_CLUSTER_ID_BYTES];
        const uint8_t old[LKS_CLUSTER_ID_BYTES] = {1, 2, 3, 4};
        if (drawn == 1u << 31) {
            break;
        }
        lks_remains_draw_cluster(old, drawn, id);
        assert_memory_not_equal(id, old, 8);
        assert_memory_equal(id + 8, old + 8, 8);
        memcpy(header.cluster_id, id, sizeof id);
        assert_int_equal(lks_journal_header_checksum(&header), before);
    }
}

/* A recovery ended between the two files: with the old configuration it can be done again. */
static void open__area_of_the_new_cluster_already__is_the_journals(void **state)
{
    struct replica *replica = *state;
    snapshot(replica, &replica->second);
    assert_int_equal(lks_snapshots_set_cluster(replica->area.store, g_new_cluster), 0);
    end_process(replica);
    assert_int_equal(open_remains(replica), 0);
    assert_int_equal(lks_remains_set_cluster(&replica->remains, g_new_cluster), 0);
}

static void open__area_of_another_cluster_and_log__is_refused(void **state)
{
    struct replica *replica = *state;
    struct lks_log_point other = replica->second;
    other.chain ^= 1;
    snapshot(replica, &other);
    assert_int_equal(lks_snapshots_set_cluster(replica->area.store, g_new_cluster), 0);
    end_process(replica);
    assert_int_equal(open_remains(replica), -LKS_ECLUSTER);
    assert_non_null(strstr(replica->log.err.text, "belong to another cluster"));
}

static void open__area_of_another_cluster_beyond_the_log__is_refused(void **state)
{
    struct replica *replica = *state;
    struct lks_log_point beyond = replica->log.tail;
    beyond.index++;
    beyond.offset += 64;
    snapshot(replica, &beyond);
    assert_int_equal(lks_snapshots_set_cluster(replica->area.store, g_new_cluster), 0);
    end_process(replica);
    assert_int_equal(open_remains(replica), -LKS_ECLUSTER);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, replica_setup, replica_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later__term_before_index),
        TEST(open__running_replica__is_busy),
        TEST(found__alone__in_a_term_above_promise_and_log),
        TEST(set_cluster__whole__opens_as_the_new_one_alone),
        cmocka_unit_test(draw_cluster__any_factor__keeps_a_headers_checksum),
        TEST(open__area_of_the_new_cluster_already__is_the_journals),
        TEST(open__area_of_another_cluster_and_log__is_refused),
        TEST(open__area_of_another_cluster_beyond_the_log__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
