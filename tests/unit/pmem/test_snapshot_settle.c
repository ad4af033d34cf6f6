/* Log and snapshots after a restart: who is ahead, and what is given up. */
#include "snapshots_fixture.h"

struct replica {
    struct fixture log;
    struct area area;
};

static int replica_setup(void **state)
{
    struct replica *replica = test_malloc(sizeof *replica);
    fixture_make(&replica->log, scratch_folder(), RING);
    area_make(&replica->area, scratch_folder());
    start(&replica->log);
    area_start(&replica->area);
    *state = replica;
    return 0;
}

static int replica_teardown(void **state)
{
    struct replica *replica = *state;
    lks_snapshots_close(replica->area.store);
    (void)unlink(replica->area.path);
    (void)rmdir(replica->area.folder);
    lks_journal_close(replica->log.journal, false);
    (void)unlink(replica->log.path);
    (void)rmdir(replica->log.folder);
    test_free(replica);
    return 0;
}

/* Snapshots of all partitions from `first` on, at this point. */
static void snapshot(struct replica *replica, uint32_t first, const struct lks_log_point *point)
{
    const struct lks_snapshot_head head = {.point = *point, .time_ns = 5};
    for (uint32_t p = first; p < PARTITIONS; p++) {
        assert_int_equal(lks_snapshot_write_begin(replica->area.store, p, &head), 0);
        assert_int_equal(lks_snapshot_write_finish(replica->area.store, p), 0);
        content_persist(replica->area.store, p);
        assert_int_equal(lks_snapshots_replace(replica->area.store, &p, 1), 0);
    }
}

static int settle(struct replica *replica)
{
    reopen(&replica->log);
    area_reopen(&replica->area);
    recover(&replica->log);
    return lks_snapshots_settle(replica->area.store, replica->log.journal, &replica->log.tail,
                                &replica->log.err);
}

static struct lks_log_point base_of(const struct replica *replica)
{
    struct lks_log_point base;
    lks_journal_base(replica->log.journal, &base);
    return base;
}

static void settle__nothing_taken__base_zero(void **state)
{
    struct replica *replica = *state;
    append_many(&replica->log, 3, 100, 7);
    const struct lks_log_point tail = replica->log.tail;
    assert_int_equal(settle(replica), 0);
    assert_int_equal(base_of(replica).offset, 0);
    assert_memory_equal(&replica->log.tail, &tail, sizeof tail);
}

static void settle__snapshots_ahead_of_the_base__base_follows_the_lowest(void **state)
{
    struct replica *replica = *state;
    append_many(&replica->log, 3, 100, 5);
    const struct lks_log_point low = replica->log.tail;
    snapshot(replica, 0, &low);
    append_many(&replica->log, 3, 100, 5);
    const struct lks_log_point high = replica->log.tail;
    snapshot(replica, 2, &high);
    append_many(&replica->log, 3, 100, 5);
    const struct lks_log_point tail = replica->log.tail;
    assert_int_equal(settle(replica), 0);
    const struct lks_log_point base = base_of(replica);
    assert_memory_equal(&base, &low, sizeof low);
    assert_memory_equal(&replica->log.tail, &tail, sizeof tail);
    /* Again: nothing to do. */
    assert_int_equal(settle(replica), 0);
    assert_memory_equal(&replica->log.tail, &tail, sizeof tail);
}

static void settle__installed_above_the_tail__log_begins_there(void **state)
{
    struct replica *replica = *state;
    append_many(&replica->log, 3, 100, 5);
    const struct lks_log_point point = {
        .index = 1000, .term = 4, .offset = 64 * UINT64_C(5000), .chain = 99};
    snapshot(replica, 0, &point);
    assert_int_equal(settle(replica), 0);
    const struct lks_log_point base = base_of(replica);
    assert_memory_equal(&base, &point, sizeof point);
    assert_memory_equal(&replica->log.tail, &point, sizeof point);
    append_many(&replica->log, 4, 100, 3);
    const struct lks_log_point tail = replica->log.tail;
    assert_int_equal(settle(replica), 0);
    assert_memory_equal(&replica->log.tail, &tail, sizeof tail);
}

/* The log reaches beyond, but with another history. */
static void settle__installed_over_a_diverging_tail__tail_given_up(void **state)
{
    struct replica *replica = *state;
    append_many(&replica->log, 3, 100, 3);
    append_many(&replica->log, 3, 100, 2);
    struct lks_log_point point = replica->log.tail;
    append_many(&replica->log, 3, 100, 4);
    point.term = 4;
    point.chain ^= 1;
    snapshot(replica, 0, &point);
    assert_int_equal(settle(replica), 0);
    assert_memory_equal(&replica->log.tail, &point, sizeof point);
    append_many(&replica->log, 4, 100, 2);
    assert_int_equal(settle(replica), 0);
    assert_int_equal(replica->log.tail.index, point.index + 2);
}

/* Not at an entry's end: that log never contained the point. */
static void settle__point_between_entries__tail_given_up(void **state)
{
    struct replica *replica = *state;
    append_many(&replica->log, 3, 100, 9);
    struct lks_log_point point = {.index = 4, .term = 3, .offset = 3 * 192 + 64, .chain = 5};
    snapshot(replica, 0, &point);
    assert_int_equal(settle(replica), 0);
    assert_memory_equal(&replica->log.tail, &point, sizeof point);
}

static void settle__base_above_the_snapshots__edamaged(void **state)
{
    struct replica *replica = *state;
    append_many(&replica->log, 3, 100, 5);
    const struct lks_log_point base = replica->log.tail;
    assert_int_equal(lks_journal_write_base(replica->log.journal, &base), 0);
    append_many(&replica->log, 3, 100, 5);
    assert_int_equal(settle(replica), -LKS_EDAMAGED); /* an empty area: the file was lost */
    assert_non_null(strstr(replica->log.err.text, "they reach to index 0"));
    struct lks_log_point wrong = base;
    wrong.chain ^= 1;
    snapshot(replica, 0, &wrong); /* at the same offset, of another history */
    assert_int_equal(settle(replica), -LKS_EDAMAGED);
    const struct lks_log_point after = base_of(replica);
    assert_memory_equal(&after, &base, sizeof base);
}

#define REPLICA_TEST(name) cmocka_unit_test_setup_teardown(name, replica_setup, replica_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPLICA_TEST(settle__nothing_taken__base_zero),
        REPLICA_TEST(settle__snapshots_ahead_of_the_base__base_follows_the_lowest),
        REPLICA_TEST(settle__installed_above_the_tail__log_begins_there),
        REPLICA_TEST(settle__installed_over_a_diverging_tail__tail_given_up),
        REPLICA_TEST(settle__point_between_entries__tail_given_up),
        REPLICA_TEST(settle__base_above_the_snapshots__edamaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
