/* What a path lies on, by real files and by a sysfs of our own. */
#include "journal_fixture.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>

#define NO_SYSFS "/nonexistent"

/* A sysfs in which /dev/null is a device DAX below region7, if domain says one. */
struct fake_sysfs {
    char root[80];
};

static void make_folder(const char *root, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_text(const char *root, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    (void)fclose(file);
}

static void make_link(const char *root, const char *name, const char *target)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    assert_int_equal(symlink(target, path), 0);
}

static void fake_make(struct fake_sysfs *fake, const char *subsystem, const char *domain)
{
    (void)snprintf(fake->root, sizeof fake->root, "%s/lks-sysfs-XXXXXX", scratch_folder());
    assert_non_null(mkdtemp(fake->root));
    const char *folders[] = {"dev",          "dev/char",         "bus",
                             "bus/dax",      "bus/other",        "devices",
                             "devices/ndbus0", "devices/ndbus0/region7",
                             "devices/ndbus0/region7/dax7.0"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        make_folder(fake->root, folders[i]);
    }
    make_link(fake->root, "dev/char/1:3", "../../devices/ndbus0/region7/dax7.0");
    char target[64];
    (void)snprintf(target, sizeof target, "../../../../bus/%s", subsystem);
    make_link(fake->root, "devices/ndbus0/region7/dax7.0/subsystem", target);
    make_text(fake->root, "devices/ndbus0/region7/dax7.0/size", "16777216\n");
    make_text(fake->root, "devices/ndbus0/region7/dax7.0/align", "0x200000\n");
    if (domain != NULL) {
        make_text(fake->root, "devices/ndbus0/region7/persistence_domain", domain);
    }
}

static void fake_remove(const struct fake_sysfs *fake)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -r %s", fake->root);
    assert_int_equal(system(command), 0);
}

static void detect_null_device(const struct fake_sysfs *fake, struct lks_medium *medium)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(major(status.st_rdev) == 1 && minor(status.st_rdev) == 3);
    struct lks_error err;
    assert_int_equal(lks_medium_detect(fd, "dax", fake->root, medium, &err), 0);
    (void)close(fd);
}

static void detect__device_dax__domain_comes_from_its_region(void **state)
{
    (void)state;
    static const struct {
        const char *says;
        enum lks_persistence_domain domain;
        bool survives;
    } cases[] = {
        {"cpu_cache\n", LKS_DOMAIN_CPU_CACHE, true},
        {"memory_controller\n", LKS_DOMAIN_MEMORY_CONTROLLER, true},
        {"something_new\n", LKS_DOMAIN_UNKNOWN, false},
        {NULL, LKS_DOMAIN_UNKNOWN, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake_sysfs fake;
        struct lks_medium medium;
        fake_make(&fake, "dax", cases[i].says);
        detect_null_device(&fake, &medium);
        fake_remove(&fake);
        assert_int_equal(medium.kind, LKS_MEDIUM_DEVDAX);
        assert_int_equal(medium.domain, cases[i].domain);
        assert_int_equal(medium.survives_power, cases[i].survives);
        assert_true(medium.flush_by_cpu);
        assert_non_null(strstr(medium.reason, cases[i].says != NULL ? "region7" : "no region"));
    }
}

static void detect__write_back_switched_off__promises_nothing(void **state)
{
    (void)state;
    struct fake_sysfs fake;
    struct lks_medium medium;
    fake_make(&fake, "dax", "memory_controller\n");
    assert_int_equal(setenv("PMEM_NO_FLUSH", "1", 1), 0);
    detect_null_device(&fake, &medium);
    assert_int_equal(unsetenv("PMEM_NO_FLUSH"), 0);
    fake_remove(&fake);
    assert_int_equal(medium.domain, LKS_DOMAIN_UNKNOWN);
    assert_false(medium.survives_power);
    assert_non_null(strstr(medium.reason, "PMEM_NO_FLUSH"));
}

static void geometry__device__size_and_alignment(void **state)
{
    (void)state;
    struct fake_sysfs fake;
    uint64_t bytes = 0;
    uint64_t alignment = 0;
    fake_make(&fake, "dax", NULL);
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(lks_medium_device_geometry(fd, fake.root, &bytes, &alignment), 0);
    assert_int_equal(bytes, 16 << 20);
    assert_int_equal(alignment, 2 << 20);
    make_text(fake.root, "devices/ndbus0/region7/dax7.0/align", "3\n");
    assert_int_equal(lks_medium_device_geometry(fd, fake.root, &bytes, &alignment), -ENODEV);
    assert_int_equal(lks_medium_device_geometry(fd, NO_SYSFS, &bytes, &alignment), -ENODEV);
    (void)close(fd);
    fake_remove(&fake);
}

static void detect__other_device_or_folder__is_refused(void **state)
{
    (void)state;
    struct fake_sysfs fake;
    struct lks_medium medium;
    struct lks_error err;
    fake_make(&fake, "other", NULL);
    const int device = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(lks_medium_detect(device, "x", fake.root, &medium, &err), -EINVAL);
    assert_int_equal(lks_medium_detect(device, "x", NO_SYSFS, &medium, &err), -EINVAL);
    const int folder = open("/dev/shm", O_RDONLY | O_CLOEXEC);
    assert_int_equal(lks_medium_detect(folder, "x", NO_SYSFS, &medium, &err), -EINVAL);
    assert_non_null(strstr(err.text, "neither a regular file nor a device DAX"));
    assert_int_equal(lks_medium_detect(-1, "x", NO_SYSFS, &medium, &err), -EBADF);
    (void)close(device);
    (void)close(folder);
    fake_remove(&fake);
}

static void detect__tmpfs__is_memory_that_no_power_cut_spares(void **state)
{
    struct fixture *f = *state;
    start(f);
    const struct lks_medium *medium = lks_journal_medium(f->journal);
    assert_int_equal(medium->kind, LKS_MEDIUM_MEMORY);
    assert_int_equal(medium->domain, LKS_DOMAIN_NONE);
    assert_true(medium->flush_by_cpu);
    assert_false(medium->survives_power);
    assert_non_null(strstr(medium->reason, "tmpfs"));
}

static void detect__ordinary_file__needs_msync(void **state)
{
    struct fixture *f = *state;
    start(f);
    const struct lks_medium *medium = lks_journal_medium(f->journal);
    if (medium->kind != LKS_MEDIUM_FILE) {
        print_message("SKIP: the working folder lies on %s\n", medium->reason);
        skip();
    }
    assert_false(medium->flush_by_cpu);
    assert_true(medium->domain == LKS_DOMAIN_STORAGE || medium->domain == LKS_DOMAIN_UNKNOWN);
    assert_int_equal(medium->survives_power, medium->domain == LKS_DOMAIN_STORAGE);
}

static void map__address_is_on_a_huge_page(void **state)
{
    struct fixture *f = *state;
    start(f);
    struct lks_log_memory memory;
    lks_journal_log_memory(f->journal, &memory);
    const uintptr_t ring = (uintptr_t)lks_journal_address(f->journal, 0);
    assert_int_equal(ring % LKS_JOURNAL_HUGE_PAGE, 0);
    assert_int_equal(ring - (uintptr_t)memory.address, 8192);
}

static void map__bad_fd__returns_errno(void **state)
{
    (void)state;
    const struct lks_medium medium = {.kind = LKS_MEDIUM_FILE};
    struct lks_mapping mapping = {.address = NULL};
    assert_int_equal(lks_medium_map(&medium, -1, 4096, true, &mapping), -EBADF);
    lks_medium_unmap(&mapping); /* a zeroed one is accepted */
}

static void persist__file_range_not_mapped__returns_errno(void **state)
{
    (void)state;
    const struct lks_medium medium = {.kind = LKS_MEDIUM_FILE};
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(munmap(page, 4096), 0);
    assert_int_equal(lks_medium_persist(&medium, page, 64), -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(detect__device_dax__domain_comes_from_its_region),
        cmocka_unit_test(detect__write_back_switched_off__promises_nothing),
        cmocka_unit_test(geometry__device__size_and_alignment),
        cmocka_unit_test(detect__other_device_or_folder__is_refused),
        cmocka_unit_test_setup_teardown(detect__tmpfs__is_memory_that_no_power_cut_spares, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(detect__ordinary_file__needs_msync, setup_file, teardown),
        cmocka_unit_test_setup_teardown(map__address_is_on_a_huge_page, setup, teardown),
        cmocka_unit_test(map__bad_fd__returns_errno),
        cmocka_unit_test(persist__file_range_not_mapped__returns_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
