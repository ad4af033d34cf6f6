/* The simulated medium: what was made durable survives a power cut, the rest may not. */
#include "sim/storage.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define RING_BYTES 65536u
#define ENTRIES 40u

struct fixture {
    char directory[64];
    char path[96];
    struct lks_sim_storage *storage;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    (void)snprintf(fixture->directory, sizeof fixture->directory, "%s/sim-storage-XXXXXX",
                   scratch_folder());
    assert_non_null(mkdtemp(fixture->directory));
    (void)snprintf(fixture->path, sizeof fixture->path, "%s/journal", fixture->directory);
    const struct lks_journal_options options = {.path = fixture->path,
                                                .cluster_id = "test",
                                                .replica = 1,
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
    assert_int_equal(rmdir(fixture->directory), 0);
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
    assert_int_equal(lks_sim_storage_power_cut(fixture->storage, &random), 0);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crash__nothing_persisted__all_is_there),
        TEST(power_cut__half_persisted__that_half_is_there_and_not_all_of_the_rest),
        TEST(power_cut__all_persisted__nothing_is_lost),
        TEST(close__clean__survives_a_power_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
