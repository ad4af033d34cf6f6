/* SHA-256 and HMAC against the vectors of FIPS 180-2 and RFC 4231. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"

static void to_text(const uint8_t digest[LKS_SHA256_BYTES], char *text)
{
    for (unsigned i = 0; i < LKS_SHA256_BYTES; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
}

static void check_hash(const char *data, size_t piece, const char *expected)
{
    struct lks_sha256 hash;
    uint8_t digest[LKS_SHA256_BYTES];
    char text[2 * LKS_SHA256_BYTES + 1];
    lks_sha256_init(&hash);
    for (size_t at = 0; at < strlen(data); at += piece) {
        const size_t left = strlen(data) - at;
        lks_sha256_update(&hash, data + at, left < piece ? left : piece);
    }
    lks_sha256_finish(&hash, digest);
    to_text(digest, text);
    assert_string_equal(text, expected);
}

static void sha256__vectors__match(void **state)
{
    (void)state;
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (size_t piece = 1; piece < 70; piece++) {
        check_hash("", piece, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check_hash("abc", piece,
                   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check_hash(two_blocks, piece,
                   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
}

static void check_hmac(const void *key, size_t key_bytes, const void *data, size_t bytes,
                       const char *expected)
{
    struct lks_hmac hmac;
    uint8_t digest[LKS_SHA256_BYTES];
    char text[2 * LKS_SHA256_BYTES + 1];
    lks_hmac_init(&hmac, key, key_bytes);
    lks_hmac_update(&hmac, data, bytes);
    lks_hmac_finish(&hmac, digest);
    to_text(digest, text);
    assert_string_equal(text, expected);
}

static void hmac__vectors__match(void **state)
{
    (void)state;
    uint8_t key[131];
    uint8_t data[50];
    memset(key, 0x0b, sizeof key);
    check_hmac(key, 20, "Hi There", 8,
               "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    check_hmac("Jefe", 4, "what do ya want for nothing?", 28,
               "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    memset(data, 0xdd, sizeof data);
    check_hmac(key, 20, data, sizeof data,
               "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    check_hmac(key, 131, text, strlen(text),
               "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void digest_equal__one_bit_off__false(void **state)
{
    (void)state;
    uint8_t a[LKS_SHA256_BYTES] = {1, 2, 3};
    uint8_t b[LKS_SHA256_BYTES];
    memcpy(b, a, sizeof b);
    assert_true(lks_digest_equal(a, b));
    for (unsigned i = 0; i < sizeof b; i++) {
        b[i] ^= 0x80;
        assert_false(lks_digest_equal(a, b));
        b[i] ^= 0x80;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256__vectors__match),
        cmocka_unit_test(hmac__vectors__match),
        cmocka_unit_test(digest_equal__one_bit_off__false),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
