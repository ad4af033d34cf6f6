/* Lengths and numbers of the key-value service; see format.h. */
#include "services/kv/format.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_MORE 0x80u

uint8_t *lks_kv_length_write(uint8_t *out, uint64_t length)
{
    while (length >= LENGTH_MORE) {
        *out++ = (uint8_t)(length | LENGTH_MORE);
        length >>= 7;
    }
    *out++ = (uint8_t)length;
    return out;
}

const uint8_t *lks_kv_length_read(const uint8_t *in, const uint8_t *end, uint64_t *length)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < LKS_KV_LENGTH_BYTES_MAX && in < end; i++) {
        const uint8_t byte = *in++;
        value |= (uint64_t)(byte & (LENGTH_MORE - 1)) << (7 * i);
        if ((byte & LENGTH_MORE) == 0) {
            *length = value;
            return in;
        }
    }
    return NULL;
}

bool lks_kv_integer_parse(const char *text, size_t bytes, int64_t *value)
{
    const bool negative = bytes > 0 && text[0] == '-';
    const char *p = text + (negative ? 1 : 0);
    const char *end = text + bytes;
    if (bytes > LKS_KV_INTEGER_BYTES_MAX || p == end) {
        return false;
    }
    if (*p == '0') {
        *value = 0;
        return bytes == 1;
    }
    const uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t magnitude = 0;
    for (; p < end; p++) {
        const unsigned digit = (unsigned)(unsigned char)*p - '0';
        if (digit > 9 || magnitude > (limit - digit) / 10) {
            return false;
        }
        magnitude = magnitude * 10 + digit;
    }
    *value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

size_t lks_kv_integer_print(char *text, int64_t value)
{
    char digits[LKS_KV_INTEGER_BYTES_MAX];
    size_t count = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    size_t bytes = 0;
    if (value < 0) {
        text[bytes++] = '-';
    }
    while (count > 0) {
        text[bytes++] = digits[--count];
    }
    return bytes;
}

bool lks_kv_float_parse(const char *text, size_t bytes, long double *value)
{
    char terminated[LKS_KV_FLOAT_BYTES_MAX + 1];
    if (bytes == 0 || bytes > LKS_KV_FLOAT_BYTES_MAX || isspace((unsigned char)text[0])) {
        return false;
    }
    memcpy(terminated, text, bytes);
    terminated[bytes] = '\0';
    char *end = NULL;
    errno = 0;
    const long double parsed = strtold(terminated, &end);
    const bool out_of_range = errno == ERANGE && (isinf(parsed) || parsed == 0);
    if (end != terminated + bytes || out_of_range || errno == EINVAL || isnan(parsed)) {
        return false;
    }
    *value = parsed;
    return true;
}

/* 17 digits behind the point, as many as 64 bits of precision are worth, no zeros at the end. */
size_t lks_kv_float_print(char *text, long double value)
{
    char digits[LKS_KV_FLOAT_BYTES_MAX + 1];
    const int printed = snprintf(digits, sizeof digits, "%.17Lf", value);
    size_t bytes = printed > 0 && (size_t)printed < sizeof digits ? (size_t)printed : 0;
    if (bytes > 0) {
        while (digits[bytes - 1] == '0') {
            bytes--;
        }
        bytes -= digits[bytes - 1] == '.' ? 1 : 0;
    }
    if (bytes == 2 && memcmp(digits, "-0", 2) == 0) {
        digits[0] = '0';
        bytes = 1;
    }
    memcpy(text, digits, bytes);
    return bytes;
}
