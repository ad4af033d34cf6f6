/* Sizes, durations, addresses and ids as people write them. */
#include "node/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void size__written_forms__are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"0", 0},           {"4096", 4096},       {"10b", 10},        {"64K", 65536},
                 {"64k", 65536},     {"1KiB", 1024},       {"2MB", 2 << 20},   {"1G", 1 << 30},
                 {"1T", 1ULL << 40}, {"16777215T", 16777215ULL << 40}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 77;
        assert_int_equal(lks_value_size(cases[i].text, &bytes), 0);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void size__anything_else__is_refused_and_nothing_changes(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    "x",   "-1",  "+1",   " 1",
                                        "1 K", "1KK", "1iB", "1.5G", "K"};
    uint64_t bytes = 77;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(lks_value_size(wrong[i], &bytes), -EINVAL);
    }
    assert_int_equal(lks_value_size("99999999999999999999", &bytes), -ERANGE);
    assert_int_equal(lks_value_size("16777216T", &bytes), -ERANGE);
    assert_int_equal(bytes, 77);
}

static void duration__written_forms__are_read(void **state)
{
    (void)state;
    uint64_t ns = 77;
    assert_int_equal(lks_value_duration("0", &ns), 0);
    assert_int_equal(ns, 0);
    assert_int_equal(lks_value_duration("500ns", &ns), 0);
    assert_int_equal(ns, 500);
    assert_int_equal(lks_value_duration("20us", &ns), 0);
    assert_int_equal(ns, 20000);
    assert_int_equal(lks_value_duration("5ms", &ns), 0);
    assert_int_equal(ns, 5000000);
    assert_int_equal(lks_value_duration("2s", &ns), 0);
    assert_int_equal(ns, 2000000000);
    assert_int_equal(lks_value_duration("20", &ns), -EINVAL);
    assert_int_equal(lks_value_duration("5 ms", &ns), -EINVAL);
    assert_int_equal(lks_value_duration("ms", &ns), -EINVAL);
    assert_int_equal(lks_value_duration("99999999999999s", &ns), -ERANGE);
    assert_int_equal(ns, 2000000000);
}

static void texts__are_read_back_as_the_same(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 1000, 1024, 4096, 1000000, 1 << 20, 3000000000,
                                       (1ULL << 40) + 1024, UINT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[32];
        uint64_t back = 77;
        assert_int_equal(lks_value_size(lks_value_size_text(numbers[i], text, sizeof text), &back),
                         0);
        assert_int_equal(back, numbers[i]);
        assert_int_equal(
            lks_value_duration(lks_value_duration_text(numbers[i], text, sizeof text), &back), 0);
        assert_int_equal(back, numbers[i]);
    }
}

static void address__written_forms__are_read(void **state)
{
    (void)state;
    char address[LKS_ADDRESS_TEXT_MAX] = "before";
    uint16_t port = 77;
    assert_int_equal(lks_value_address("127.0.0.1:7001", address, &port), 0);
    assert_string_equal(address, "127.0.0.1");
    assert_int_equal(port, 7001);
    assert_int_equal(lks_value_address("[fe80::1]:65535", address, &port), 0);
    assert_string_equal(address, "fe80::1");
    assert_int_equal(port, 65535);
}

static void address__anything_else__is_refused_and_nothing_changes(void **state)
{
    (void)state;
    char address[LKS_ADDRESS_TEXT_MAX] = "before";
    uint16_t port = 77;
    static const char *const shapeless[] = {"", ":", ":1", "7001", "[]:1", "[::1:1"};
    for (size_t i = 0; i < sizeof shapeless / sizeof shapeless[0]; i++) {
        assert_int_equal(lks_value_address(shapeless[i], address, &port), -EINVAL);
    }
    assert_int_equal(lks_value_address("[:1", address, &port), -EINVAL);
    assert_int_equal(lks_value_address("localhost:1", address, &port), -EADDRNOTAVAIL);
    assert_int_equal(lks_value_address("::1:7001", address, &port), -EADDRNOTAVAIL);
    assert_int_equal(lks_value_address("127.0.0.1:", address, &port), -ERANGE);
    assert_int_equal(lks_value_address("127.0.0.1:0", address, &port), -ERANGE);
    assert_int_equal(lks_value_address("127.0.0.1:65536", address, &port), -ERANGE);
    assert_int_equal(lks_value_address("127.0.0.1:1x", address, &port), -ERANGE);
    assert_string_equal(address, "before");
    assert_int_equal(port, 77);
}

static void unprintable__what_prints__is_let_through(void **state)
{
    (void)state;
    static const char *const printable[] = {
        "", " /a b/it's ~", "/d\xc3\xa9j\xc3\xa0/\xe6\x97\xa5", "\xc2\xa0", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbd", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf",
    };
    for (size_t i = 0; i < sizeof printable / sizeof printable[0]; i++) {
        assert_int_equal(lks_value_unprintable(printable[i]), -1);
    }
}

static void unprintable__anything_else__is_found_where_it_begins(void **state)
{
    (void)state;
    static const char *const rest[] = {
        "\n", "\r", "\t", "\x01", "\x1f", "\x7f",
        "\xc2\x80", "\xc2\x85", "\xc2\x9f",             /* more control characters, next line */
        "\xe2\x80\xa8", "\xe2\x80\xa9", "\xef\xbb\xbf", /* separators, byte order mark */
        "\xed\xa0\x80", "\xef\xbf\xbe", "\xef\xbf\xbf",     /* no characters */
        "\x80", "\xc3", "\xc3z", "\xe6\x97", "\xf0\x9f\x98", "\xf8\x88\x80\x80\x80", "\xff",
        "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf",     /* longer than needed */
        "\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf",            /* beyond the last */
    };
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "a\xc3\xa9%s", rest[i]);
        assert_int_equal(lks_value_unprintable(text), 3);
    }
}

static void cluster_id__both_ways__is_the_same(void **state)
{
    (void)state;
    uint8_t id[16] = {0};
    char text[LKS_CLUSTER_ID_TEXT];
    assert_int_equal(lks_value_cluster_id("0123456789ABCDEF-0123456789abcdef", id), 0);
    lks_value_cluster_id_text(id, text);
    assert_string_equal(text, "01234567-89ab-cdef-0123-456789abcdef");
    assert_int_equal(lks_value_cluster_id("", id), -EINVAL);
    assert_int_equal(lks_value_cluster_id("0123456789abcdef0123456789abcde", id), -EINVAL);
    assert_int_equal(lks_value_cluster_id("0123456789abcdef0123456789abcdef0", id), -EINVAL);
    assert_int_equal(lks_value_cluster_id("-0123456789abcdef0123456789abcdef", id), -EINVAL);
    assert_int_equal(lks_value_cluster_id("0123456789abcdef0123456789abcdeg", id), -EINVAL);
    assert_int_equal(id[15], 0xef);
}

static void boolean__words__are_read(void **state)
{
    (void)state;
    bool value = false;
    assert_int_equal(lks_value_boolean("Yes", &value), 0);
    assert_true(value);
    assert_int_equal(lks_value_boolean("off", &value), 0);
    assert_false(value);
    assert_int_equal(lks_value_boolean("1", &value), -EINVAL);
    assert_int_equal(lks_value_boolean("", &value), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size__written_forms__are_read),
        cmocka_unit_test(size__anything_else__is_refused_and_nothing_changes),
        cmocka_unit_test(duration__written_forms__are_read),
        cmocka_unit_test(texts__are_read_back_as_the_same),
        cmocka_unit_test(address__written_forms__are_read),
        cmocka_unit_test(address__anything_else__is_refused_and_nothing_changes),
        cmocka_unit_test(unprintable__what_prints__is_let_through),
        cmocka_unit_test(unprintable__anything_else__is_found_where_it_begins),
        cmocka_unit_test(cluster_id__both_ways__is_the_same),
        cmocka_unit_test(boolean__words__are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
