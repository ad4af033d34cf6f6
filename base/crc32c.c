/* CRC32C; see crc32c.h. */
#include "base/crc32c.h"

#include <string.h>

#if defined(__SSE4_2__)
#include <nmmintrin.h>

uint32_t lks_crc32c(uint32_t seed, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t crc = (uint32_t)~seed;
    while (bytes >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = _mm_crc32_u64(crc, word);
        p += 8;
        bytes -= 8;
    }
    uint32_t rest = (uint32_t)crc;
    if (bytes >= 4) { /* headers are checked from their fifth byte on */
        uint32_t word;
        memcpy(&word, p, 4);
        rest = _mm_crc32_u32(rest, word);
        p += 4;
        bytes -= 4;
    }
    while (bytes > 0) {
        rest = _mm_crc32_u8(rest, *p);
        p++;
        bytes--;
    }
    return ~rest;
}

#else

#define LKS_CRC32C_POLYNOMIAL 0x82F63B78u /* reflected Castagnoli */

uint32_t lks_crc32c(uint32_t seed, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint32_t crc = ~seed;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (LKS_CRC32C_POLYNOMIAL & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

#endif
