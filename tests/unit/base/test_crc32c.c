/* CRC32C against known values and against the definition, bit by bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/crc32c.h"

#include <string.h>

#define LONGEST 8000u

static uint32_t by_definition(uint32_t seed, const unsigned char *data, size_t bytes)
{
    uint32_t crc = ~seed;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78u : crc >> 1;
        }
    }
    return ~crc;
}

/* From RFC 3720, appendix B.4. */
static void crc32c__published_vectors(void **state)
{
    (void)state;
    unsigned char bytes[32];
    assert_int_equal(lks_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(lks_crc32c(0, "", 0), 0);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(lks_crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(lks_crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_int_equal(lks_crc32c(0, bytes, sizeof bytes), 0x46dd794e);
}

static const unsigned char *test_bytes(void)
{
    static unsigned char bytes[LONGEST + 16];
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < sizeof bytes; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes[i] = (unsigned char)random;
    }
    return bytes;
}

static void crc32c__every_length_and_alignment__as_defined(void **state)
{
    (void)state;
    const unsigned char *bytes = test_bytes();
    for (size_t length = 0; length <= LONGEST; length += length < 1300 ? 1 : 97) {
        const size_t start = length % 16;
        assert_int_equal(lks_crc32c((uint32_t)length, bytes + start, length),
                         by_definition((uint32_t)length, bytes + start, length));
    }
    for (size_t start = 0; start < 16; start++) {
        assert_int_equal(lks_crc32c(5, bytes + start, 1000),
                         by_definition(5, bytes + start, 1000));
    }
}

static void crc32c__in_two_parts__the_same(void **state)
{
    (void)state;
    const unsigned char *bytes = test_bytes();
    const uint32_t whole = lks_crc32c(7, bytes, 4000);
    for (size_t cut = 0; cut <= 4000; cut += 13) {
        assert_int_equal(lks_crc32c(lks_crc32c(7, bytes, cut), bytes + cut, 4000 - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c__published_vectors),
        cmocka_unit_test(crc32c__every_length_and_alignment__as_defined),
        cmocka_unit_test(crc32c__in_two_parts__the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
