/* A simulated replica's snapshot area: made anew it is empty, and rot in it is noticed. */
#include "sim/area.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct fixture {
    char path[128];
    struct lks_sim_storage *storage;
    struct lks_sim_area *area;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    (void)snprintf(fixture->path, sizeof fixture->path, "area.journal");
    const struct lks_journal_options journal = {.path = fixture->path,
                                                .cluster_id = "simulated",
                                                .replica = 1,
                                                .bootstrap_voters = 2,
                                                .ring_bytes = UINT64_C(64) << 10,
                                                .entry_bytes_max = 4096};
    const struct lks_snapshots_options area = {.cluster_id = "simulated",
                                               .replica = 1,
                                               .partitions = 3,
                                               .area_bytes = UINT64_C(2) << 20};
    struct lks_error err;
    fixture->storage = lks_sim_storage_new(&journal);
    assert_int_equal(lks_sim_storage_create(fixture->storage, true, &err), 0);
    assert_int_equal(lks_sim_storage_open(fixture->storage, &err), 0);
    fixture->area = lks_sim_area_new(fixture->storage, &area);
    assert_int_equal(lks_sim_area_create(fixture->area, &err), 0);
    assert_int_equal(lks_sim_area_open(fixture->area, &err), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    lks_sim_area_free(fixture->area);
    lks_sim_storage_close(fixture->storage, true);
    lks_sim_storage_free(fixture->storage);
    free(fixture);
    return 0;
}

static void take_snapshot(struct fixture *fixture)
{
    struct lks_snapshots *store = lks_sim_area_store(fixture->area);
    const struct lks_snapshot_head head = {.point = {.index = 1, .term = 1, .offset = 64}};
    const uint32_t partition = 1;
    uint64_t left = 1;
    assert_int_equal(lks_snapshot_write_begin(store, partition, &head), 0);
    assert_int_equal(lks_snapshot_write_chunk(store, partition, "content", 7), 0);
    assert_int_equal(lks_snapshot_write_finish(store, partition), 0);
    while (left > 0) {
        assert_int_equal(lks_snapshot_persist_step(store, partition, 65536, &left), 0);
    }
    assert_int_equal(lks_snapshots_replace(store, &partition, 1), 0);
}

/* Reads partition 1 to its end. */
static int read_snapshot(struct fixture *fixture)
{
    struct lks_snapshot_scan scan;
    struct lks_snapshot_head head;
    struct lks_error err;
    const void *data = NULL;
    uint64_t bytes = 0;
    int rc = lks_snapshot_scan_init(&scan, lks_sim_area_store(fixture->area), 1, &head, &err);
    if (rc != 0) {
        return rc;
    }
    while (rc == 0) {
        rc = lks_snapshot_scan_next(&scan, &data, &bytes, &err);
    }
    lks_snapshot_scan_fini(&scan);
    return rc == -ENODATA ? 0 : rc;
}

static void rot__no_snapshot__false(void **state)
{
    struct fixture *fixture = *state;
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    assert_false(lks_sim_area_rot(fixture->area, &random));
}

static void rot__any_bit__reader_notices(void **state)
{
    struct fixture *fixture = *state;
    struct lks_sim_random random;
    lks_sim_random_init(&random, 2);
    take_snapshot(fixture);
    assert_int_equal(read_snapshot(fixture), 0);
    for (uint32_t i = 0; i < 20; i++) {
        assert_true(lks_sim_area_rot(fixture->area, &random));
        assert_int_equal(read_snapshot(fixture), -LKS_EDAMAGED);
    }
}

static void create__in_place_of_an_old_one__empty(void **state)
{
    struct fixture *fixture = *state;
    struct lks_error err;
    take_snapshot(fixture);
    lks_sim_area_close(fixture->area);
    assert_int_equal(lks_sim_area_open(fixture->area, &err), 0);
    assert_int_equal(read_snapshot(fixture), 0);
    lks_sim_area_close(fixture->area);
    assert_int_equal(lks_sim_area_create(fixture->area, &err), 0);
    assert_int_equal(lks_sim_area_open(fixture->area, &err), 0);
    assert_int_equal(read_snapshot(fixture), -ENODATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rot__no_snapshot__false, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rot__any_bit__reader_notices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(create__in_place_of_an_old_one__empty, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
