/* What is known of software drivers, by what the kernel says of the processor. */
#include "verbs/ibv/software.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void copies_bytes__what_the_kernel_writes__is_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool bytes;
    } cases[] = {
        {"processor\t: 0\nflags\t\t: fpu smep bmi2 erms invpcid\n", true},
        {"flags\t\t: fpu erms\nbugs\t\t: none\n", true},
        {"flags\t\t: fpu smep bmi2 invpcid rep_good\n", false},
        {"flags\t\t: fpu ermsx xerms\n", false},
        {"vmx flags\t: erms\nmodel name\t: erms\n", false},
        {"", false},
    };
    char path[128];
    snprintf(path, sizeof path, "%s/lockstep-cpuinfo.XXXXXX", scratch_folder());
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const ssize_t bytes = (ssize_t)strlen(cases[i].text);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, cases[i].text, (size_t)bytes, 0), bytes);
        assert_int_equal(lks_ibv_software_copies_bytes(path), cases[i].bytes);
    }
    close(fd);
    unlink(path);
    assert_false(lks_ibv_software_copies_bytes(path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_bytes__what_the_kernel_writes__is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
