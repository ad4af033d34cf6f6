/* CRC32C; see crc32c.h. */
#include "base/crc32c.h"

#include <string.h>

#if defined(__SSE4_2__)
#include <immintrin.h>

static inline uint64_t load(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* One instruction takes 8 bytes, and the next waits three cycles for it. */
static uint64_t serial(uint64_t crc, const unsigned char *p, size_t bytes)
{
    if (bytes >= 4 && ((uintptr_t)p & 7) == 4) {
        /* A header without its checksum field: behind these, words lie as they were stored. */
        uint32_t half;
        memcpy(&half, p, sizeof half);
        crc = _mm_crc32_u32((uint32_t)crc, half);
        p += 4;
        bytes -= 4;
    }
    for (; bytes >= 8; p += 8, bytes -= 8) {
        crc = _mm_crc32_u64(crc, load(p));
    }
    if (bytes >= 4) {
        uint32_t half;
        memcpy(&half, p, sizeof half);
        crc = _mm_crc32_u32((uint32_t)crc, half);
        p += 4;
        bytes -= 4;
    }
    for (; bytes > 0; p++, bytes--) {
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    }
    return crc;
}

/*
 * Three stretches of equal length side by side fill those three cycles. Their checksums are then
 * joined: a checksum moves over n zero bytes by a carry-less product with x^(8n - 33) modulo the
 * polynomial, reduced by the checksum instruction itself (which multiplies by x^33).
 */
struct stretch {
    size_t bytes;
    uint64_t once;  /* x^(8 * bytes - 33) mod P, bits reflected */
    uint64_t twice; /* x^(16 * bytes - 33) mod P */
};

static const struct stretch stretches[] = {
    {1024, 0x170076fa, 0xa51b6135},
    {256, 0xb9e02b86, 0xdd7e3b0c},
    {64, 0x9e4addf8, 0x0d3b6092},
};

#define STRETCH_MIN 192u /* bytes below which nothing is won */

__attribute__((target("sse4.2,pclmul"))) static uint64_t
side_by_side(uint64_t crc, const unsigned char **data, size_t *bytes)
{
    const unsigned char *p = *data;
    size_t rest = *bytes;
    for (size_t i = 0; i < sizeof stretches / sizeof stretches[0]; i++) {
        const size_t n = stretches[i].bytes;
        const __m128i join =
            _mm_set_epi64x((long long)stretches[i].once, (long long)stretches[i].twice);
        for (; rest >= 3 * n; p += 3 * n, rest -= 3 * n) {
            uint64_t a = crc;
            uint64_t b = 0;
            uint64_t c = 0;
            for (size_t at = 0; at < n; at += 8) {
                a = _mm_crc32_u64(a, load(p + at));
                b = _mm_crc32_u64(b, load(p + n + at));
                c = _mm_crc32_u64(c, load(p + 2 * n + at));
            }
            const __m128i two = _mm_set_epi64x((long long)b, (long long)a);
            const __m128i moved = _mm_xor_si128(_mm_clmulepi64_si128(two, join, 0x00),
                                                _mm_clmulepi64_si128(two, join, 0x11));
            crc = c ^ _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(moved));
        }
    }
    *data = p;
    *bytes = rest;
    return crc;
}

uint32_t lks_crc32c(uint32_t seed, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t crc = (uint32_t)~seed;
    if (bytes >= STRETCH_MIN && __builtin_cpu_supports("pclmul")) {
        crc = side_by_side(crc, &p, &bytes);
    }
    return ~(uint32_t)serial(crc, p, bytes);
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
