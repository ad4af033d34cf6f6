/* Spans and checksums of entries. */
#include "journal_fixture.h"

#include "base/crc32c.h"

static void span__rounds_payload_up_to_cache_lines(void **state)
{
    (void)state;
    assert_int_equal(lks_entry_span(0), 64);
    assert_int_equal(lks_entry_span(1), 128);
    assert_int_equal(lks_entry_span(64), 128);
    assert_int_equal(lks_entry_span(65), 192);
    assert_int_equal(lks_entry_span(UINT32_MAX), UINT64_C(64) + (UINT64_C(1) << 32));
}

static void checksum__is_crc_of_header_and_payload_seeded_with_chain(void **state)
{
    (void)state;
    unsigned char bytes[60 + 5];
    struct lks_entry_header header = {.checksum = 99, .payload_bytes = 5, .index = 3, .term = 2};
    memcpy(bytes, (const unsigned char *)&header + 4, 60);
    memcpy(bytes + 60, "hello", 5);
    assert_int_equal(lks_entry_checksum(&header, "hello", 1234),
                     lks_crc32c(1234, bytes, sizeof bytes));
}

static void checksum__own_field__is_ignored(void **state)
{
    (void)state;
    struct lks_entry_header header = {.checksum = 1, .index = 3, .term = 2};
    const uint32_t before = lks_entry_checksum(&header, NULL, 0);
    header.checksum = 2;
    assert_int_equal(lks_entry_checksum(&header, NULL, 0), before);
}

static void checksum__another_chain__differs(void **state)
{
    (void)state;
    const struct lks_entry_header header = {.index = 3, .term = 2};
    assert_int_not_equal(lks_entry_checksum(&header, NULL, 0),
                         lks_entry_checksum(&header, NULL, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(span__rounds_payload_up_to_cache_lines),
        cmocka_unit_test(checksum__is_crc_of_header_and_payload_seeded_with_chain),
        cmocka_unit_test(checksum__own_field__is_ignored),
        cmocka_unit_test(checksum__another_chain__differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
