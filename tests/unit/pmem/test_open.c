/* Opening a journal: every refusal, the lock, read-only. */
#include "journal_fixture.h"

#include "base/crc32c.h"

static void expect_error(struct fixture *f, int code, const char *text)
{
    struct lks_journal *none = NULL;
    size_t bytes;
    size_t bytes_after;
    unsigned char *before = file_snapshot(f->path, &bytes);
    assert_int_equal(lks_journal_open(&none, &f->options, &f->err), code);
    assert_null(none);
    assert_int_equal(f->err.code, code);
    if (strstr(f->err.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", f->err.text, text);
    }
    unsigned char *after = file_snapshot(f->path, &bytes_after);
    assert_int_equal(bytes, bytes_after);
    assert_memory_equal(before, after, bytes); /* a refusal changes nothing */
    free(before);
    free(after);
}

static void open__no_file__enoent_and_the_way_out(void **state)
{
    struct fixture *f = *state;
    struct lks_journal *none = NULL;
    assert_int_equal(lks_journal_open(&none, &f->options, &f->err), -ENOENT);
    assert_non_null(strstr(f->err.text, "lockstep init"));
}

static void open__not_a_journal__eformat(void **state)
{
    struct fixture *f = *state;
    create(f);
    file_flip(f->path, 0, 1);
    expect_error(f, -LKS_EFORMAT, "not a Lockstep journal");
}

static void open__empty_or_tiny_file__eformat(void **state)
{
    struct fixture *f = *state;
    create(f);
    assert_int_equal(truncate(f->path, 4095), 0);
    expect_error(f, -LKS_EFORMAT, "too short");
    assert_int_equal(truncate(f->path, 0), 0);
    expect_error(f, -LKS_EFORMAT, "too short");
}

static void open__newer_version__names_both(void **state)
{
    struct fixture *f = *state;
    const uint32_t version = 7;
    create(f);
    file_write(f->path, offsetof(struct lks_header_page, version), &version, sizeof version);
    expect_error(f, -LKS_EFORMAT, "format version 7, this binary knows up to 4");
}

/* As a binary of that version left it. */
static void make_older(struct fixture *f, uint32_t version)
{
    size_t bytes;
    unsigned char *all = file_snapshot(f->path, &bytes);
    struct lks_header_page header;
    memcpy(&header, all, sizeof header);
    free(all);
    header.version = version;
    header.checksum = 0;
    header.checksum = lks_crc32c(0, &header, sizeof header);
    file_write(f->path, 0, &header, sizeof header);
}

static uint32_t version_in_file(const struct fixture *f)
{
    size_t bytes;
    unsigned char *all = file_snapshot(f->path, &bytes);
    struct lks_header_page header;
    memcpy(&header, all, sizeof header);
    free(all);
    return header.version;
}

static void open__older_version__is_raised_before_anything_is_appended(void **state)
{
    struct fixture *f = *state;
    create(f);
    for (uint32_t version = 1; version < LKS_JOURNAL_VERSION; version++) {
        make_older(f, version);
        struct lks_journal_options reading = f->options;
        reading.read_only = true;
        assert_int_equal(lks_journal_open(&f->journal, &reading, &f->err), 0);
        lks_journal_close(f->journal, false);
        f->journal = NULL;
        assert_int_equal(version_in_file(f), version); /* a reader changes nothing */
        assert_int_equal(lks_journal_open(&f->journal, &f->options, &f->err), 0);
        assert_int_equal(version_in_file(f), LKS_JOURNAL_VERSION);
        struct lks_journal_facts facts;
        lks_journal_facts(f->journal, &facts);
        assert_int_equal(facts.version, LKS_JOURNAL_VERSION);
        lks_journal_close(f->journal, true);
        f->journal = NULL;
        assert_int_equal(lks_journal_open(&f->journal, &f->options, &f->err), 0); /* whole */
        lks_journal_close(f->journal, true);
        f->journal = NULL;
    }
}

static void open__header_rotten__is_damaged(void **state)
{
    struct fixture *f = *state;
    create(f);
    for (uint64_t at = 12; at < sizeof(struct lks_header_page); at++) {
        file_flip(f->path, at, 0x20);
        expect_error(f, -LKS_EDAMAGED, "header page is damaged");
        file_flip(f->path, at, 0x20);
    }
    open_journal(f);
}

static void open__another_cluster__names_both(void **state)
{
    struct fixture *f = *state;
    create(f);
    f->options.cluster_id[0] = 9;
    expect_error(f, -LKS_ECLUSTER, "01020304, the configuration's with 09020304");
}

static void open__another_replica__names_both(void **state)
{
    struct fixture *f = *state;
    create(f);
    f->options.replica = 2;
    expect_error(f, -LKS_ECLUSTER, "belongs to replica 1, not to replica 2");
}

static void open__another_ring_size__names_both(void **state)
{
    struct fixture *f = *state;
    f->options.ring_bytes = 1 << 20;
    create(f);
    f->options.ring_bytes = 2 << 20;
    expect_error(f, -LKS_ESIZE, "a ring of 1 MiB, but the cluster's ring is 2 MiB");
}

static void open__ring_size_not_given__takes_what_is_there(void **state)
{
    struct fixture *f = *state;
    create(f);
    f->options.ring_bytes = 0;
    f->options.entry_bytes_max = 0;
    open_journal(f);
    assert_int_equal(lks_journal_ring_bytes(f->journal), RING);
    recover(f);
    assert_int_equal(append(f, 1, RING / 8), 0);
    assert_int_equal(append(f, 1, RING / 8 + 1), -LKS_ETOOBIG);
}

static void open__entry_limit_beyond_stored_ring__einval(void **state)
{
    struct fixture *f = *state;
    create(f);
    f->options.ring_bytes = 0;
    f->options.entry_bytes_max = RING / 8 + 1;
    expect_error(f, -EINVAL, "an eighth of the ring");
}

static void open__truncated__esize(void **state)
{
    struct fixture *f = *state;
    create(f);
    assert_int_equal(truncate(f->path, (2 << 20) + RING - 1), 0);
    expect_error(f, -LKS_ESIZE, "truncated");
    assert_int_equal(truncate(f->path, 4096), 0);
    expect_error(f, -LKS_ESIZE, "truncated");
}

static void open__both_copies_of_a_slot_rotten__is_damaged(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum lks_journal_page pair;
        const char *name;
    } cases[] = {{LKS_PAGE_IDENTITY, "identity"},
                 {LKS_PAGE_PROMISE, "promise"},
                 {LKS_PAGE_BASE, "base"}};
    create(f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned page = 0; page < 2; page++) {
            file_flip(f->path, slot_at(cases[i].pair, page, 0), 1);
            file_flip(f->path, slot_at(cases[i].pair, page, 1), 1);
            expect_error(f, -LKS_EDAMAGED, cases[i].name);
            file_flip(f->path, slot_at(cases[i].pair, page, 0), 1);
            file_flip(f->path, slot_at(cases[i].pair, page, 1), 1);
        }
    }
    open_journal(f);
}

/* Whole by its checksum, and no log of ours: sums with it would overflow. Found by fuzzing. */
static void open__record_beyond_all_reason__is_damaged(void **state)
{
    struct fixture *f = *state;
    const uint64_t absurd[2] = {LKS_JOURNAL_NUMBER_MAX, UINT64_MAX & ~UINT64_C(63)};
    for (size_t i = 0; i < 10; i++) {
        struct lks_log_point base = {0};
        struct lks_promise promise = {0};
        uint64_t *const fields[5] = {&base.offset, &base.index, &base.term, &promise.term,
                                     &promise.incarnation};
        *fields[i / 2] = absurd[i % 2];
        (void)unlink(f->path);
        create(f);
        open_journal(f);
        assert_int_equal(lks_journal_store(f->journal, &f->journal->base_slots, &base), 0);
        assert_int_equal(lks_journal_store(f->journal, &f->journal->promise_slots, &promise), 0);
        lks_journal_close(f->journal, false);
        f->journal = NULL;
        expect_error(f, -LKS_EDAMAGED, "cannot be right");
    }
}

static void open__rotten_copy__is_repaired(void **state)
{
    struct fixture *f = *state;
    unsigned char whole[LKS_SLOT_BYTES];
    unsigned char now[LKS_SLOT_BYTES];
    create(f);
    file_read(f->path, slot_at(LKS_PAGE_PROMISE, 1, 0), whole, sizeof whole);
    file_flip(f->path, slot_at(LKS_PAGE_PROMISE, 1, 0) + 40, 1);
    open_journal(f);
    file_read(f->path, slot_at(LKS_PAGE_PROMISE, 1, 0), now, sizeof now);
    assert_memory_equal(whole, now, sizeof whole);
}

/* ---- the lock ------------------------------------------------------------------------------ */

static void open__twice__ebusy_names_the_process(void **state)
{
    struct fixture *f = *state;
    char owner[32];
    create(f);
    open_journal(f);
    (void)snprintf(owner, sizeof owner, "in use by process %d", (int)getpid());
    expect_error(f, -EBUSY, owner);
    crash(f);
    open_journal(f);
}

static void open__by_another_process__ebusy_until_it_dies(void **state)
{
    struct fixture *f = *state;
    int pipes[2];
    char byte;
    char owner[32];
    create(f);
    assert_int_equal(pipe(pipes), 0);
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct lks_journal *journal = NULL;
        const int rc = lks_journal_open(&journal, &f->options, NULL);
        const ssize_t put = rc == 0 ? write(pipes[1], "x", 1) : 0;
        (void)put;
        (void)close(pipes[1]);
        for (;;) {
            (void)pause();
        }
    }
    (void)close(pipes[1]);
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    (void)close(pipes[0]);
    (void)snprintf(owner, sizeof owner, "in use by process %d", (int)child);
    expect_error(f, -EBUSY, owner);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    open_journal(f);
}

/* A peer that was given the file keeps it open beyond the owner's end; that must not lock. */
static void open__fd_kept_by_a_peer__lock_is_free(void **state)
{
    struct fixture *f = *state;
    struct lks_log_memory memory;
    create(f);
    open_journal(f);
    lks_journal_log_memory(f->journal, &memory);
    const int kept = dup(memory.fd);
    crash(f);
    open_journal(f);
    (void)close(kept);
}

/* ---- read-only ----------------------------------------------------------------------------- */

static void open__read_only__takes_no_lock_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct lks_journal *other = NULL;
    struct lks_log_point tail;
    struct lks_identity identity;
    size_t bytes;
    start(f);
    append_many(f, 1, 100, 5);
    lks_journal_control(f->journal)->commit = f->tail.offset;
    unsigned char *before = file_snapshot(f->path, &bytes);
    struct lks_journal_options options = f->options;
    options.read_only = true;
    options.boot_id = BOOT_B;
    assert_int_equal(lks_journal_open(&other, &options, &f->err), 0);
    assert_int_equal(lks_journal_recover(other, &tail, &f->err), 0);
    assert_memory_equal(&tail, &f->tail, sizeof tail);
    lks_journal_identity(other, &identity);
    assert_int_equal(identity.incarnation, 1); /* not raised */
    lks_journal_close(other, true);
    unsigned char *after = file_snapshot(f->path, &bytes);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
}

static void open__read_only_for_replica_0__takes_any(void **state)
{
    struct fixture *f = *state;
    struct lks_journal *other = NULL;
    create(f);
    struct lks_journal_options options = {.path = f->path, .read_only = true};
    assert_int_equal(chmod(f->path, 0400), 0);
    assert_int_equal(lks_journal_open(&other, &options, &f->err), 0);
    lks_journal_close(other, false);
    options.replica = 1;
    assert_int_equal(lks_journal_open(&other, &options, &f->err), -LKS_ECLUSTER);
}

static void in_use__is_seen_by_a_reader(void **state)
{
    struct fixture *f = *state;
    struct lks_journal *reader = NULL;
    const struct lks_journal_options options = {.path = f->path, .read_only = true};
    int64_t pid = 0;
    start(f);
    assert_int_equal(lks_journal_open(&reader, &options, &f->err), 0);
    assert_true(lks_journal_in_use(reader, &pid));
    assert_int_equal(pid, getpid());
    crash(f);
    assert_false(lks_journal_in_use(reader, &pid));
    assert_int_equal(pid, 0);
    assert_false(lks_journal_in_use(reader, NULL));
    lks_journal_close(reader, false);
}

static void close__null__is_allowed(void **state)
{
    (void)state;
    lks_journal_close(NULL, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open__no_file__enoent_and_the_way_out),
        TEST(open__not_a_journal__eformat),
        TEST(open__empty_or_tiny_file__eformat),
        TEST(open__newer_version__names_both),
        TEST(open__older_version__is_raised_before_anything_is_appended),
        TEST(open__header_rotten__is_damaged),
        TEST(open__another_cluster__names_both),
        TEST(open__another_replica__names_both),
        TEST(open__another_ring_size__names_both),
        TEST(open__ring_size_not_given__takes_what_is_there),
        TEST(open__entry_limit_beyond_stored_ring__einval),
        TEST(open__truncated__esize),
        TEST(open__both_copies_of_a_slot_rotten__is_damaged),
        TEST(open__record_beyond_all_reason__is_damaged),
        TEST(open__rotten_copy__is_repaired),
        TEST(open__twice__ebusy_names_the_process),
        TEST(open__by_another_process__ebusy_until_it_dies),
        TEST(open__fd_kept_by_a_peer__lock_is_free),
        TEST(open__read_only__takes_no_lock_and_changes_nothing),
        TEST(open__read_only_for_replica_0__takes_any),
        TEST(in_use__is_seen_by_a_reader),
        cmocka_unit_test(close__null__is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
