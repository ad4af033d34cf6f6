/* The members' record: what is taken from a log or a snapshot, and what is refused. */
#include "journal_fixture.h"

#include "pmem/members.h"

static struct lks_members_record sound(void)
{
    struct lks_members_record record = {.version = LKS_MEMBERS_VERSION,
                                        .voters = 0x0e,
                                        .learners = 0x10,
                                        .manual = 0x10,
                                        .number = 3};
    (void)snprintf(record.addresses[3].clients, sizeof record.addresses[3].clients,
                   "127.0.0.1:7004");
    return record;
}

static void read__sound_record__is_taken(void **state)
{
    (void)state;
    const struct lks_members_record record = sound();
    struct lks_members_record read = {0};
    assert_int_equal(lks_members_record_read(&read, &record, sizeof record), 0);
    assert_memory_equal(&read, &record, sizeof record);
}

static void read__bootstrap_record__is_taken(void **state)
{
    (void)state;
    const struct lks_members_record record = {.version = LKS_MEMBERS_VERSION};
    struct lks_members_record read = sound();
    assert_int_equal(lks_members_record_read(&read, &record, sizeof record), 0);
    assert_int_equal(read.number, 0);
}

static void expect_refused(const struct lks_members_record *record, size_t bytes)
{
    struct lks_members_record read = {.number = 77};
    assert_int_equal(lks_members_record_read(&read, record, bytes), -EBADMSG);
    assert_int_equal(read.number, 77);
}

static void read__each_impossible_record__is_refused(void **state)
{
    (void)state;
    struct lks_members_record record = sound();
    expect_refused(&record, sizeof record - 1);
    record.version++;
    expect_refused(&record, sizeof record);
    record = sound();
    record.voters = 0;
    expect_refused(&record, sizeof record);
    record = sound();
    record.voters |= 0x10; /* a learner too */
    expect_refused(&record, sizeof record);
    record = sound();
    record.voters |= 1; /* no replica 0 */
    expect_refused(&record, sizeof record);
    record = sound();
    record.manual = 0x02; /* no learner */
    expect_refused(&record, sizeof record);
    record = sound();
    record.number = 0; /* bootstrap members stand in the journal */
    expect_refused(&record, sizeof record);
    record = sound();
    record.reserved = 1;
    expect_refused(&record, sizeof record);
    record = sound();
    memset(record.addresses[6].fabric, 'x', sizeof record.addresses[6].fabric);
    expect_refused(&record, sizeof record);
}

static void journal__members_entry__is_recovered(void **state)
{
    struct fixture *f = *state;
    const struct lks_members_record record = sound();
    struct lks_entry entry;
    start(f);
    const struct lks_entry_draft draft = {.kind = LKS_ENTRY_MEMBERS,
                                          .term = 1,
                                          .payload = &record,
                                          .payload_bytes = sizeof record};
    assert_int_equal(lks_journal_append(f->journal, &f->tail, &draft), 0);
    assert_int_equal(lks_journal_persist_range(f->journal, 0, f->tail.offset), 0);
    lks_journal_close(f->journal, false);
    open_journal(f);
    struct lks_log_point tail;
    assert_int_equal(lks_journal_recover(f->journal, &tail, &f->err), 0);
    assert_int_equal(tail.index, 1);
    struct lks_log_point cursor = {0};
    assert_int_equal(lks_journal_next(f->journal, &cursor, tail.offset, &entry), 0);
    assert_int_equal(entry.header->kind, LKS_ENTRY_MEMBERS);
    assert_memory_equal(entry.payload, &record, sizeof record);
}

static void create__first_members__stand_in_the_identity(void **state)
{
    struct fixture *f = *state;
    struct lks_identity identity;
    f->options.bootstrap_voters = 0x06;
    start(f);
    lks_journal_identity(f->journal, &identity);
    assert_int_equal(identity.bootstrap_voters, 0x06);
}

static void create__under_an_old_name__learns_the_first_members(void **state)
{
    struct fixture *f = *state;
    struct lks_identity identity;
    assert_int_equal(lks_journal_create(&f->options, false, &f->err), 0);
    open_journal(f);
    lks_journal_identity(f->journal, &identity);
    assert_int_equal(identity.bootstrap_voters, 0);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0x1e), 0);
    assert_int_equal(lks_journal_clear_amnesia(f->journal, 0x0e), 0); /* the first word stands */
    lks_journal_close(f->journal, false);
    open_journal(f);
    lks_journal_identity(f->journal, &identity);
    assert_int_equal(identity.bootstrap_voters, 0x1e);
}

static void create__first_members_without_itself__is_refused(void **state)
{
    struct fixture *f = *state;
    f->options.bootstrap_voters = 0x0c;
    assert_int_equal(lks_journal_create(&f->options, true, &f->err), -EINVAL);
    assert_non_null(strstr(f->err.text, "first members"));
    f->options.bootstrap_voters = 0x103;
    assert_int_equal(lks_journal_create(&f->options, true, &f->err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__sound_record__is_taken),
        cmocka_unit_test(read__bootstrap_record__is_taken),
        cmocka_unit_test(read__each_impossible_record__is_refused),
        cmocka_unit_test_setup_teardown(journal__members_entry__is_recovered, setup, teardown),
        cmocka_unit_test_setup_teardown(create__first_members__stand_in_the_identity, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(create__under_an_old_name__learns_the_first_members, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(create__first_members_without_itself__is_refused, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
