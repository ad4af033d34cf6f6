/* Creating a journal: what is in it, and every way to fail without leaving a file. */
#include "journal_fixture.h"

#include <sys/mount.h>
#include <sys/resource.h>

static bool file_exists(const struct fixture *f)
{
    struct stat status;
    return stat(f->path, &status) == 0;
}

static void expect_error(struct fixture *f, int code, const char *text)
{
    assert_int_equal(lks_journal_create(&f->options, true, &f->err), code);
    assert_int_equal(f->err.code, code);
    if (strstr(f->err.text, text) == NULL) {
        fail_msg("'%s' does not say '%s'", f->err.text, text);
    }
    assert_non_null(strstr(f->err.text, f->options.path));
}

static void create__new_file__mode_and_size(void **state)
{
    struct fixture *f = *state;
    struct stat status;
    create(f);
    assert_int_equal(stat(f->path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_size, (2 << 20) + RING);
    assert_true((uint64_t)status.st_blocks * 512 >= (2 << 20) + RING); /* allocated in full */
}

static void create__fresh_cluster__no_amnesia(void **state)
{
    struct fixture *f = *state;
    struct lks_identity identity;
    start(f);
    lks_journal_identity(f->journal, &identity);
    assert_false(identity.amnesiac || identity.promise_lost || identity.clean_stop);
    assert_true(identity.same_boot);
    assert_int_equal(identity.incarnation, 1);
    assert_int_equal(identity.floor, 0);
    assert_string_equal(identity.boot_id, BOOT_A);
}

static void create__under_an_old_name__has_both_marks(void **state)
{
    struct fixture *f = *state;
    struct lks_identity identity;
    assert_int_equal(lks_journal_create(&f->options, false, &f->err), 0);
    open_journal(f);
    lks_journal_identity(f->journal, &identity);
    assert_true(identity.amnesiac && identity.promise_lost);
    assert_false(identity.same_boot);
    assert_true(identity.incarnation > 1000000); /* above any earlier life's */
    assert_true(identity.incarnation < UINT64_C(1) << 31);
}

static void create__replacement_with_lives_before__counts_on(void **state)
{
    struct fixture *f = *state;
    struct lks_identity identity;
    f->options.lives_before = 7;
    assert_int_equal(lks_journal_create(&f->options, false, &f->err), 0);
    open_journal(f);
    lks_journal_identity(f->journal, &identity);
    assert_int_equal(identity.incarnation, 8);
}

static void create__facts__are_kept(void **state)
{
    struct fixture *f = *state;
    struct lks_journal_facts facts;
    start(f);
    lks_journal_facts(f->journal, &facts);
    assert_int_equal(facts.version, 4);
    assert_int_equal(facts.replica, 1);
    assert_int_equal(facts.ring_bytes, RING);
    assert_memory_equal(facts.cluster_id, f->options.cluster_id, 16);
    assert_true(facts.created_ns > UINT64_C(1600000000000000000));
}

static void create__file_exists__is_left_alone(void **state)
{
    struct fixture *f = *state;
    const int fd = open(f->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    (void)close(fd);
    expect_error(f, -EEXIST, "exists already");
    char text[4];
    file_read(f->path, 0, text, 4);
    assert_memory_equal(text, "mine", 4);
}

static void create__symbolic_link__is_not_followed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(symlink("elsewhere", f->path), 0);
    expect_error(f, -EEXIST, "exists already");
}

static void create__folder_missing__returns_enoent(void **state)
{
    struct fixture *f = *state;
    f->options.path = "/dev/shm/lks-no-such-folder/r1.log";
    expect_error(f, -ENOENT, "cannot be created");
}

static void create__other_device__is_refused(void **state)
{
    struct fixture *f = *state;
    f->options.path = "/dev/null";
    expect_error(f, -EINVAL, "no device DAX");
}

static void create__wrong_options__einval(void **state)
{
    struct fixture *f = *state;
    f->options.replica = 0;
    expect_error(f, -EINVAL, "replica 0");
    f->options.replica = 8;
    expect_error(f, -EINVAL, "replica 8");
    f->options.replica = 1;
    static const uint64_t rings[] = {0, 4096, RING + 64, (UINT64_C(1) << 40) + 4096, UINT64_MAX};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        f->options.ring_bytes = rings[i];
        expect_error(f, -EINVAL, "multiple of 4096 from 64K to 1T");
    }
    f->options.ring_bytes = RING;
    f->options.entry_bytes_max = RING / 8 + 1;
    expect_error(f, -EINVAL, "an eighth of the ring");
    f->options.entry_bytes_max = RING / 8;
    f->options.lives_before = UINT64_C(1) << 31;
    expect_error(f, -EINVAL, "lives before");
    f->options.lives_before = 0;
    f->options.boot_id = "short";
    assert_int_equal(lks_journal_create(&f->options, true, &f->err), -EINVAL);
    assert_false(file_exists(f));
}

static void create__full_file_system__says_so_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    if (mount("tmpfs", f->folder, "tmpfs", 0, "size=1m") != 0) {
        print_message("SKIP: no right to mount a small tmpfs: %s\n", strerror(errno));
        skip();
    }
    const int rc = lks_journal_create(&f->options, true, &f->err);
    const bool left = file_exists(f);
    assert_int_equal(umount(f->folder), 0);
    assert_int_equal(rc, -ENOSPC);
    assert_non_null(strstr(f->err.text, "no room"));
    assert_false(left);
}

static void create__file_size_limit__says_so_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const int rc = lks_journal_create(&f->options, true, &f->err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(rc, -EFBIG);
    assert_non_null(strstr(f->err.text, "ulimit -f"));
    assert_false(file_exists(f));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create__new_file__mode_and_size),
        TEST(create__fresh_cluster__no_amnesia),
        TEST(create__under_an_old_name__has_both_marks),
        TEST(create__replacement_with_lives_before__counts_on),
        TEST(create__facts__are_kept),
        TEST(create__file_exists__is_left_alone),
        TEST(create__symbolic_link__is_not_followed),
        TEST(create__folder_missing__returns_enoent),
        TEST(create__other_device__is_refused),
        TEST(create__wrong_options__einval),
        TEST(create__full_file_system__says_so_and_leaves_nothing),
        TEST(create__file_size_limit__says_so_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
