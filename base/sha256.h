/*
 * SHA-256 (FIPS 180-4) and HMAC-SHA256 (RFC 2104), for proving the cluster key. Not for speed. Any
 * thread; state is the caller's. Time does not depend on the bytes hashed.
 */
#ifndef LKS_BASE_SHA256_H
#define LKS_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define LKS_SHA256_BYTES 32u
#define LKS_SHA256_BLOCK_BYTES 64u

struct lks_sha256 {
    uint32_t state[8];
    uint64_t bytes; /* taken so far */
    uint8_t block[LKS_SHA256_BLOCK_BYTES];
};

void lks_sha256_init(struct lks_sha256 *hash);
void lks_sha256_update(struct lks_sha256 *hash, const void *data, size_t bytes);
/* Ends it; hash must be initialised again before its next use. */
void lks_sha256_finish(struct lks_sha256 *hash, uint8_t digest[LKS_SHA256_BYTES]);

struct lks_hmac {
    struct lks_sha256 inner;
    uint8_t outer_pad[LKS_SHA256_BLOCK_BYTES];
};

/* A key longer than a block is hashed first. */
void lks_hmac_init(struct lks_hmac *hmac, const void *key, size_t key_bytes);
void lks_hmac_update(struct lks_hmac *hmac, const void *data, size_t bytes);
void lks_hmac_finish(struct lks_hmac *hmac, uint8_t digest[LKS_SHA256_BYTES]);

/* True if equal; takes as long wherever they differ. */
static inline int lks_digest_equal(const uint8_t a[LKS_SHA256_BYTES],
                                   const uint8_t b[LKS_SHA256_BYTES])
{
    unsigned difference = 0;
    for (unsigned i = 0; i < LKS_SHA256_BYTES; i++) {
        difference |= (unsigned)(a[i] ^ b[i]);
    }
    return difference == 0;
}

#endif
