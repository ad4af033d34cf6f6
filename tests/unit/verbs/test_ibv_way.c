/* What the configuration says in times and addresses, as the device wants it. No device. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "verbs/rdma.h"

static void timeout_exponent__the_least_that_is_not_below(void **state)
{
    (void)state;
    assert_int_equal(lks_rdma_timeout_exponent(0), 1);
    assert_int_equal(lks_rdma_timeout_exponent(8192), 1);
    assert_int_equal(lks_rdma_timeout_exponent(8193), 2);
    assert_int_equal(lks_rdma_timeout_exponent(33000000), 13); /* 33.6 ms: the default */
    assert_int_equal(lks_rdma_timeout_exponent(34000000), 14);
    assert_int_equal(lks_rdma_timeout_exponent(UINT64_C(8000000000)), 21);
    assert_int_equal(lks_rdma_timeout_exponent(UINT64_MAX), 31);
}

static void find_device__no_address__einval_and_said(void **state)
{
    (void)state;
    static const char *const addresses[] = {
        "host.example", "", "10.0.0.1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct lks_rdma_device device;
        struct lks_error err = {0};
        assert_int_equal(lks_rdma_find_device(addresses[i], &device, &err), -EINVAL);
        assert_non_null(strstr(err.text, "is no numeric IPv4 or IPv6 address"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeout_exponent__the_least_that_is_not_below),
        cmocka_unit_test(find_device__no_address__einval_and_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
