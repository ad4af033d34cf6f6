/* SHA-256 and HMAC; see sha256.h. Constants: FIPS 180-4, section 4.2.2 and 5.3.3. */
#include "base/sha256.h"

#include <string.h>

#define ROUNDS 64
#define LENGTH_AT (LKS_SHA256_BLOCK_BYTES - 8u)

static const uint32_t round_constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t value, unsigned bits)
{
    return value >> bits | value << (32 - bits);
}

static uint32_t load_big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

static void take_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t schedule[ROUNDS];
    uint32_t v[8]; /* a to h */
    for (unsigned i = 0; i < 16; i++) {
        schedule[i] = load_big_endian(block + 4 * i);
    }
    for (unsigned i = 16; i < ROUNDS; i++) {
        const uint32_t x = schedule[i - 15];
        const uint32_t y = schedule[i - 2];
        schedule[i] = schedule[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) +
                      schedule[i - 7] + (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    memcpy(v, state, sizeof v);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint32_t t1 = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                            ((v[4] & v[5]) ^ (~v[4] & v[6])) + round_constants[i] + schedule[i];
        const uint32_t t2 = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
                            ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++) {
        state[i] += v[i];
    }
}

void lks_sha256_init(struct lks_sha256 *hash)
{
    *hash = (struct lks_sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void lks_sha256_update(struct lks_sha256 *hash, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    while (bytes > 0) {
        const size_t used = hash->bytes % LKS_SHA256_BLOCK_BYTES;
        const size_t room = LKS_SHA256_BLOCK_BYTES - used;
        const size_t part = bytes < room ? bytes : room;
        memcpy(hash->block + used, from, part);
        hash->bytes += part;
        from += part;
        bytes -= part;
        if (part == room) {
            take_block(hash->state, hash->block);
        }
    }
}

void lks_sha256_finish(struct lks_sha256 *hash, uint8_t digest[LKS_SHA256_BYTES])
{
    const uint64_t bits = hash->bytes * 8;
    const uint8_t end = 0x80;
    const uint8_t zero = 0;
    uint8_t length[8];
    lks_sha256_update(hash, &end, 1);
    while (hash->bytes % LKS_SHA256_BLOCK_BYTES != LENGTH_AT) {
        lks_sha256_update(hash, &zero, 1);
    }
    for (unsigned i = 0; i < 8; i++) {
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    }
    lks_sha256_update(hash, length, sizeof length);
    for (unsigned i = 0; i < LKS_SHA256_BYTES; i++) {
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

void lks_hmac_init(struct lks_hmac *hmac, const void *key, size_t key_bytes)
{
    uint8_t pad[LKS_SHA256_BLOCK_BYTES] = {0};
    if (key_bytes > sizeof pad) {
        lks_sha256_init(&hmac->inner);
        lks_sha256_update(&hmac->inner, key, key_bytes);
        lks_sha256_finish(&hmac->inner, pad);
    } else if (key_bytes > 0) {
        memcpy(pad, key, key_bytes);
    }
    for (unsigned i = 0; i < sizeof pad; i++) {
        hmac->outer_pad[i] = pad[i] ^ 0x5c;
        pad[i] ^= 0x36;
    }
    lks_sha256_init(&hmac->inner);
    lks_sha256_update(&hmac->inner, pad, sizeof pad);
}

void lks_hmac_update(struct lks_hmac *hmac, const void *data, size_t bytes)
{
    lks_sha256_update(&hmac->inner, data, bytes);
}

void lks_hmac_finish(struct lks_hmac *hmac, uint8_t digest[LKS_SHA256_BYTES])
{
    struct lks_sha256 outer;
    uint8_t inner[LKS_SHA256_BYTES];
    lks_sha256_finish(&hmac->inner, inner);
    lks_sha256_init(&outer);
    lks_sha256_update(&outer, hmac->outer_pad, sizeof hmac->outer_pad);
    lks_sha256_update(&outer, inner, sizeof inner);
    lks_sha256_finish(&outer, digest);
}
