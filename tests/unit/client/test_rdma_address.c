/* Which address stands for this machine's RDMA devices, in a made-up sysfs. */
#include "client/rdma_address.h"

#include "tests/support/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PATH_BYTES 512

struct fixture {
    char sysfs[256];
};

static int set_up(void **state)
{
    static struct fixture fixture;
    (void)snprintf(fixture.sysfs, sizeof fixture.sysfs, "%s/lockstep-sysfs.XXXXXX",
                   scratch_folder());
    *state = &fixture;
    return mkdtemp(fixture.sysfs) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    const struct fixture *fixture = *state;
    return nftw(fixture->sysfs, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Makes a file below sysfs, and the folders above it. */
static void put(const struct fixture *fixture, const char *path, const char *text)
{
    char whole[PATH_BYTES];
    (void)snprintf(whole, sizeof whole, "%s/%s", fixture->sysfs, path);
    for (char *slash = strchr(whole + strlen(fixture->sysfs) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect(const struct fixture *fixture, int wanted, const char *wanted_address)
{
    char address[LKS_ADDRESS_TEXT_MAX] = "untouched";
    struct lks_error err = {0};
    assert_int_equal(lks_rdma_address_find(fixture->sysfs, address, &err), wanted);
    assert_string_equal(address, wanted_address);
    if (wanted != 0) {
        assert_non_null(strstr(err.text, "--rdma ADDRESS"));
    }
}

static void find__no_device__says_the_way_out(void **state)
{
    expect(*state, -ENODEV, "untouched");
}

static void find__roce_device__address_of_its_gid_interface(void **state)
{
    put(*state, "rxe0/ports/1/gid_attrs/ndevs/0", "lo\n");
    expect(*state, 0, "127.0.0.1");
}

static void find__infiniband_device__address_of_the_adapters_interface(void **state)
{
    put(*state, "mlx4_0/ports/1/gid_attrs/ndevs/0", "");
    put(*state, "mlx4_0/device/net/lo/type", "772\n");
    expect(*state, 0, "127.0.0.1");
}

static void find__first_device_without_an_address__the_next_one(void **state)
{
    put(*state, "a0/ports/1/gid_attrs/ndevs/0", "no-such-if\n");
    put(*state, "a0/ports/1/gid_attrs/ndevs/1", "");
    put(*state, "b0/ports/1/gid_attrs/ndevs/0", "lo\n");
    expect(*state, 0, "127.0.0.1");
}

static void find__no_interface_has_an_address__says_the_way_out(void **state)
{
    put(*state, "a0/ports/1/gid_attrs/ndevs/0", "no-such-if\n");
    expect(*state, -ENODEV, "untouched");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(find__no_device__says_the_way_out),
        CASE(find__roce_device__address_of_its_gid_interface),
        CASE(find__infiniband_device__address_of_the_adapters_interface),
        CASE(find__first_device_without_an_address__the_next_one),
        CASE(find__no_interface_has_an_address__says_the_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
