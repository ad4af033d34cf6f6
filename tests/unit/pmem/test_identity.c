/* Incarnation, boot id, amnesia, floor, clean stop. */
#include "journal_fixture.h"

static struct lks_identity identity_of(const struct fixture *f)
{
    struct lks_identity identity;
    lks_journal_identity(f->journal, &identity);
    return identity;
}

static void reopen_at(struct fixture *f, const char *boot_id, bool forgetful)
{
    f->options.boot_id = boot_id;
    f->options.forgetful = forgetful;
    reopen(f);
}

static void incarnation__each_open__rises(void **state)
{
    struct fixture *f = *state;
    start(f);
    for (uint64_t i = 1; i <= 5; i++) {
        assert_int_equal(identity_of(f).incarnation, i);
        reopen(f);
    }
}

static void boot__same__is_seen(void **state)
{
    struct fixture *f = *state;
    start(f);
    reopen_at(f, BOOT_A, true);
    assert_true(identity_of(f).same_boot);
    assert_false(identity_of(f).amnesiac);
}

static void boot__another_on_a_medium_that_keeps__is_recorded(void **state)
{
    struct fixture *f = *state;
    start(f);
    reopen_at(f, BOOT_B, false);
    assert_false(identity_of(f).same_boot);
    assert_false(identity_of(f).amnesiac);
    recover(f);
    reopen_at(f, BOOT_B, false);
    assert_true(identity_of(f).same_boot);
}

/* What a power cut left of the ring is judged as that by every life until one has recovered it. */
static void boot__another_and_killed_before_recovery__not_recorded(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(append(f, 1, 100), 0);
    /* The entry was lost, the commit word was not. */
    memset(lks_journal_address(f->journal, 0), 0, 64);
    lks_word_publish(&lks_journal_control(f->journal)->commit, 192);
    reopen_at(f, BOOT_B, false);
    reopen_at(f, BOOT_B, false);
    assert_false(identity_of(f).same_boot);
    recover(f);
    assert_int_equal(f->tail.offset, 0);
    assert_int_equal(lks_word_read(&lks_journal_control(f->journal)->commit), 0);
    reopen_at(f, BOOT_B, false);
    assert_true(identity_of(f).same_boot);
    recover(f);
}

static void boot__another_while_forgetful__amnesia_until_cleared(void **state)
{
    struct fixture *f = *state;
    start(f);
    reopen_at(f, BOOT_B, true);
    assert_true(identity_of(f).amnesiac);
    assert_false(identity_of(f).promise_lost);
    /* The new boot id is not recorded while the mark stands: a crash does not clear it. */
    reopen_at(f, BOOT_B, true);
    assert_true(identity_of(f).amnesiac);
    assert_false(identity_of(f).same_boot);
    /* Nor does a change of the mode, nor the old boot id. */
    reopen_at(f, BOOT_A, false);
    assert_true(identity_of(f).amnesiac);
    reopen_at(f, BOOT_B, true);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0), 0);
    assert_false(identity_of(f).amnesiac);
    reopen_at(f, BOOT_B, true);
    assert_false(identity_of(f).amnesiac);
    assert_true(identity_of(f).same_boot);
}

/* Acknowledged in `memory` mode, lost in a power cut, opened in a mode that forgets nothing. */
static void boot__another_after_memory_mode__amnesia(void **state)
{
    struct fixture *f = *state;
    f->options.forgetful = true;
    start(f);
    append_many(f, 1, 64, 10);
    assert_int_equal(lks_journal_raise_floor(f->journal, f->tail.offset), 0);
    memset(lks_journal_address(f->journal, 0), 0, RING); /* nothing had been flushed */
    reopen_at(f, BOOT_B, false);
    assert_true(identity_of(f).amnesiac);
    assert_int_equal(identity_of(f).floor, 0);
    recover(f); /* empty, not damaged: nothing had been durable */
    assert_int_equal(f->tail.index, 0);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0), 0);
    reopen_at(f, BOOT_A, false);
    assert_false(identity_of(f).amnesiac);
}

/* The mode changes without a power cut: recovery makes the log durable, then the mark goes. */
static void memory_mode_left__mark_stays_until_recovered(void **state)
{
    struct fixture *f = *state;
    f->options.forgetful = true;
    start(f);
    append_many(f, 1, 64, 10);
    reopen_at(f, BOOT_A, false); /* and dies before it recovers */
    reopen_at(f, BOOT_B, false);
    assert_true(identity_of(f).amnesiac);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0), 0);
    reopen_at(f, BOOT_B, true);
    reopen_at(f, BOOT_B, false);
    recover(f);
    assert_int_equal(f->tail.index, 10);
    reopen_at(f, BOOT_A, false);
    assert_false(identity_of(f).amnesiac);
}

static void set_amnesia__survives_and_adds_up(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(lks_journal_set_amnesia(f->journal, false), 0);
    reopen(f);
    assert_true(identity_of(f).amnesiac);
    assert_false(identity_of(f).promise_lost);
    assert_int_equal(lks_journal_set_amnesia(f->journal, true), 0);
    assert_int_equal(lks_journal_set_amnesia(f->journal, false), 0);
    reopen(f);
    assert_true(identity_of(f).promise_lost);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0), 0);
    reopen(f);
    assert_false(identity_of(f).amnesiac || identity_of(f).promise_lost);
}

static void floor__rises_only(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, 64, 10);
    assert_int_equal(lks_journal_raise_floor(f->journal, 256), 0);
    assert_int_equal(lks_journal_raise_floor(f->journal, 128), 0);
    assert_int_equal(identity_of(f).floor, 256);
    reopen(f);
    assert_int_equal(identity_of(f).floor, 256);
    assert_aborts((void)lks_journal_raise_floor(f->journal, 257));
    assert_aborts((void)lks_journal_raise_floor(f->journal, RING + 64));
}

static void close__clean__is_seen_once(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_false(identity_of(f).clean_stop);
    lks_journal_close(f->journal, true);
    f->journal = NULL;
    open_journal(f);
    assert_true(identity_of(f).clean_stop);
    reopen(f);
    assert_false(identity_of(f).clean_stop);
}

static void identity__host_boot_id__is_read(void **state)
{
    struct fixture *f = *state;
    f->options.boot_id = NULL;
    create(f);
    open_journal(f);
    assert_int_equal(strlen(identity_of(f).boot_id), 36);
    assert_true(identity_of(f).same_boot);
}

/* A promise or mark that could not be made durable is not taken as made. */
static void write__after_a_failed_msync__all_fail(void **state)
{
    struct fixture *f = *state;
    start(f);
    (void)lks_journal_fail(f->journal, -EIO);
    assert_int_equal(lks_journal_set_amnesia(f->journal, true), -EIO);
    assert_false(identity_of(f).amnesiac);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0), -EIO);
    assert_int_equal(lks_journal_raise_floor(f->journal, 64), -EIO);
    assert_int_equal(identity_of(f).floor, 0);
    const struct lks_promise promised = {.term = 3};
    assert_int_equal(lks_journal_write_promise(f->journal, &promised), -EIO);
    struct lks_promise now;
    lks_journal_promise(f->journal, &now);
    assert_int_equal(now.term, 0);
    struct lks_log_point base;
    lks_journal_base(f->journal, &base);
    assert_int_equal(lks_journal_write_base(f->journal, &base), -EIO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(incarnation__each_open__rises),
        TEST(boot__same__is_seen),
        TEST(boot__another_on_a_medium_that_keeps__is_recorded),
        TEST(boot__another_and_killed_before_recovery__not_recorded),
        TEST(boot__another_while_forgetful__amnesia_until_cleared),
        TEST(boot__another_after_memory_mode__amnesia),
        TEST(memory_mode_left__mark_stays_until_recovered),
        TEST(set_amnesia__survives_and_adds_up),
        TEST(floor__rises_only),
        TEST(close__clean__is_seen_once),
        TEST(identity__host_boot_id__is_read),
        TEST(write__after_a_failed_msync__all_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
