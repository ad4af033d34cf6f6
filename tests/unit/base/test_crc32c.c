/* CRC32C against a known answer and against its definition, bit by bit. */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t by_definition(uint32_t seed, const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~seed;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        }
    }
    return ~crc;
}

static void crc32c__check_string__known_answer(void **state)
{
    (void)state;
    assert_int_equal(lks_crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(lks_crc32c(0, "", 0), 0);
}

static void crc32c__every_length_and_alignment__as_defined(void **state)
{
    (void)state;
    uint8_t data[200 + 8];
    srand(1);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)rand();
    }
    for (size_t offset = 0; offset < 8; offset++) {
        for (size_t bytes = 0; bytes <= 200; bytes++) {
            const uint32_t seed = (uint32_t)rand();
            assert_int_equal(lks_crc32c(seed, data + offset, bytes),
                             by_definition(seed, data + offset, bytes));
        }
    }
}

static void crc32c__in_two_parts__same_as_in_one(void **state)
{
    (void)state;
    uint8_t data[100];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        assert_int_equal(lks_crc32c(lks_crc32c(0, data, cut), data + cut, sizeof data - cut),
                         lks_crc32c(0, data, sizeof data));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c__check_string__known_answer),
        cmocka_unit_test(crc32c__every_length_and_alignment__as_defined),
        cmocka_unit_test(crc32c__in_two_parts__same_as_in_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
