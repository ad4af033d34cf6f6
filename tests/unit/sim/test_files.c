/* Files of simulated replicas: as the kernel's, as far as pmem/ asks. */
#include "sim/files.h"

#include <errno.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define NAME "r1.journal"

static int forget(void **state)
{
    (void)state;
    lks_sim_files_forget_all();
    return 0;
}

static int make(const char *path)
{
    const bool before = lks_sim_files_enter(true);
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    (void)lks_sim_files_enter(before);
    assert_true(fd >= 0);
    return fd;
}

static int again(const char *path)
{
    const bool before = lks_sim_files_enter(true);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    (void)lks_sim_files_enter(before);
    return fd;
}

static int lock(int fd, int command, short type, short *found)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
    const int status = fcntl(fd, command, &lock);
    if (found != NULL) {
        *found = lock.l_type;
    }
    return status;
}

static void open__missing_or_there_already__enoent_eexist(void **state)
{
    (void)state;
    assert_int_equal(again(NAME), -1);
    assert_int_equal(errno, ENOENT);
    const int fd = make(NAME);
    (void)lks_sim_files_enter(true);
    assert_int_equal(open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600), -1);
    assert_int_equal(errno, EEXIST);
    struct stat status;
    assert_int_equal(stat("r2.journal", &status), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(stat(NAME, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    (void)lks_sim_files_enter(false);
    assert_int_equal(close(fd), 0);
}

static void open__not_entered__the_kernels_file(void **state)
{
    (void)state;
    const int simulated = make("/proc/self/stat");
    const int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    struct statfs of_kernel;
    struct statfs of_ours;
    assert_int_equal(lks_sim_files_number(fd), 0);
    assert_int_equal(fstatfs(fd, &of_kernel), 0);
    assert_int_equal(of_kernel.f_type, PROC_SUPER_MAGIC);
    assert_int_equal(fstatfs(simulated, &of_ours), 0);
    assert_int_equal(of_ours.f_type, TMPFS_MAGIC);
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(simulated), 0);
}

static void ftruncate__any_descriptor__all_see_the_size(void **state)
{
    (void)state;
    const int fd = make(NAME);
    const int other = again(NAME);
    struct stat status;
    assert_int_equal(ftruncate(fd, 12288), 0);
    assert_int_equal(fstat(other, &status), 0);
    assert_int_equal(status.st_size, 12288);
    assert_int_equal(lks_sim_files_bytes(other), 12288);
    assert_int_equal(status.st_ino, lks_sim_files_number(fd));
    assert_int_equal(close(other), 0);
    assert_int_equal(close(fd), 0);
}

static void lock__two_open_files__one_has_it_until_it_closes(void **state)
{
    (void)state;
    const int fd = make(NAME);
    const int other = again(NAME);
    short found = 0;
    assert_int_equal(lock(fd, F_OFD_SETLK, F_WRLCK, NULL), 0);
    assert_int_equal(lock(other, F_OFD_SETLK, F_WRLCK, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(lock(other, F_OFD_SETLK, F_UNLCK, NULL), 0); /* it has none */
    assert_int_equal(lock(other, F_OFD_GETLK, F_RDLCK, &found), 0);
    assert_int_equal(found, F_WRLCK);
    assert_int_equal(lock(fd, F_OFD_GETLK, F_RDLCK, &found), 0);
    assert_int_equal(found, F_UNLCK);
    assert_int_equal(close(fd), 0);
    assert_int_equal(lock(other, F_OFD_SETLK, F_WRLCK, NULL), 0);
    const int third = again(NAME);
    lks_sim_files_unlock_all();
    assert_int_equal(lock(third, F_OFD_SETLK, F_WRLCK, NULL), 0);
    assert_int_equal(close(third), 0);
    assert_int_equal(close(other), 0);
}

static void unlink__still_open__a_new_file_by_the_name(void **state)
{
    (void)state;
    const int fd = make(NAME);
    const uint64_t number = lks_sim_files_named(NAME);
    assert_int_equal(lks_sim_files_number(fd), number);
    (void)lks_sim_files_enter(true);
    assert_int_equal(unlink(NAME), 0);
    assert_int_equal(unlink(NAME), -1);
    assert_int_equal(errno, ENOENT);
    (void)lks_sim_files_enter(false);
    assert_int_equal(lks_sim_files_named(NAME), 0);
    assert_int_equal(lks_sim_files_remove(NAME), -ENOENT);
    const int anew = make(NAME);
    assert_int_not_equal(lks_sim_files_number(anew), number);
    assert_int_equal(lks_sim_files_number(fd), number);
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(anew), 0);
}

/* Whoever makes a name durable opens its directory. */
static void fsync__file_and_directory__0(void **state)
{
    (void)state;
    const int fd = make(NAME);
    (void)lks_sim_files_enter(true);
    const int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)lks_sim_files_enter(false);
    assert_int_equal(lks_sim_files_number(directory), 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(fsync(directory), 0);
    assert_int_equal(close(directory), 0);
    assert_int_equal(close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(open__missing_or_there_already__enoent_eexist, forget),
        cmocka_unit_test_teardown(open__not_entered__the_kernels_file, forget),
        cmocka_unit_test_teardown(ftruncate__any_descriptor__all_see_the_size, forget),
        cmocka_unit_test_teardown(lock__two_open_files__one_has_it_until_it_closes, forget),
        cmocka_unit_test_teardown(unlink__still_open__a_new_file_by_the_name, forget),
        cmocka_unit_test_teardown(fsync__file_and_directory__0, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
