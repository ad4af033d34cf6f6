/* Huge pages: asked for within bounds, and what came of it as the kernel tells it. */
#include "pmem/pages.h"
#include "tests/support/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

/* Three mappings as Linux 6.1 describes them: tmpfs in huge pages, hugetlbfs, device DAX. */
static const char smaps[] =
    "7f0000000000-7f0004000000 rw-s 00000000 00:1b 7   /dev/shm/r1.journal\n"
    "Size:              65536 kB\nKernelPageSize:        4 kB\nMMUPageSize:           4 kB\n"
    "AnonHugePages:         0 kB\nShmemPmdMapped:    63488 kB\nFilePmdMapped:         0 kB\n"
    "VmFlags: rd wr sh mr mw me ms hg\n"
    "7f0010000000-7f0010400000 rw-s 00000000 00:1c 8   /huge/r1.journal\n"
    "Size:               4096 kB\nKernelPageSize:     2048 kB\nMMUPageSize:        2048 kB\n"
    "AnonHugePages:         0 kB\nVmFlags: rd wr sh mr mw me ms ht\n"
    "7f0020000000-7f0020001000 rw-p 00000000 00:00 0\n"
    "Size:                  4 kB\nKernelPageSize:        4 kB\nAnonHugePages:         0 kB\n";

static void look__what_the_kernel_writes__is_understood(void **state)
{
    (void)state;
    static const struct {
        uintptr_t address;
        struct lks_pages pages;
    } cases[] = {
        {0x7f0000000000, {64 * MIB, 4096, 62 * MIB}},
        {0x7f0003ffffff, {64 * MIB, 4096, 62 * MIB}},
        {0x7f0010001000, {4 * MIB, 2 * MIB, 0}},
        {0x7f0020000000, {4096, 4096, 0}},
    };
    char path[128];
    snprintf(path, sizeof path, "%s/lockstep-pages.XXXXXX", scratch_folder());
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, smaps, sizeof smaps - 1), sizeof smaps - 1);
    close(fd);
    struct lks_pages pages = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the text above */
        assert_int_equal(lks_pages_look(path, (const void *)cases[i].address, &pages), 0);
        assert_int_equal(pages.mapped_bytes, cases[i].pages.mapped_bytes);
        assert_int_equal(pages.page_bytes, cases[i].pages.page_bytes);
        assert_int_equal(pages.huge_bytes, cases[i].pages.huge_bytes);
    }
    assert_int_equal(lks_pages_look(path, path, &pages), -ENOENT);
    unlink(path);
    assert_int_equal(lks_pages_look(path, path, &pages), -ENOENT);
}

/* Whether the kernel has huge pages to give is its own affair; what lies there stays. */
static void make_huge__memory_with_bytes__bytes_stay(void **state)
{
    (void)state;
    const size_t bytes = 8 * MIB;
    unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_true(memory != MAP_FAILED);
    for (size_t i = 0; i < bytes; i += 4096) {
        memory[i] = (unsigned char)(i / 4096 % 251);
    }
    lks_pages_make_huge(memory + 4096, bytes - 4096);
    lks_pages_make_huge(memory, 4096);
    for (size_t i = 0; i < bytes; i += 4096) {
        assert_int_equal(memory[i], i / 4096 % 251);
    }
    struct lks_pages pages = {0};
    assert_int_equal(lks_pages_look(LKS_PAGES_SMAPS, memory + bytes / 2, &pages), 0);
    assert_true(pages.mapped_bytes >= 2 * MIB);
    assert_true(pages.page_bytes >= 4096);
    assert_true(pages.huge_bytes <= pages.mapped_bytes);
    print_message("of 8 MiB, %llu MiB are in huge pages\n",
                  (unsigned long long)(pages.huge_bytes / MIB));
    assert_int_equal(munmap(memory, bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(look__what_the_kernel_writes__is_understood),
        cmocka_unit_test(make_huge__memory_with_bytes__bytes_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
