/*
 * How a command of the key-value service looks in the log. One byte names the operation, then:
 *
 *   GET, STRLEN     the key
 *   INCRBY          8 bytes delta, little-endian, two's complement; the key
 *   SET             1 byte of flags; key length; key; value
 *   APPEND          greatest length of the result; key length; key; value
 *   DEL, EXISTS     for each key: its length; the key
 *   DBSIZE, FLUSHALL, TIME   nothing
 *
 * What comes last runs to the end of the command. A length is 1 to 5 bytes of 7 bits, low bits
 * first, the top bit set on all but the last. The numbers are part of the journal's format: they
 * are never changed or used again. A limit that decides a command's outcome is part of the
 * command, so that no change of the configuration can make replicas differ.
 */
#ifndef LKS_SERVICES_KV_FORMAT_H
#define LKS_SERVICES_KV_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lks_kv_operation {
    LKS_KV_GET = 1,
    LKS_KV_SET = 2,
    LKS_KV_DEL = 3,
    LKS_KV_EXISTS = 4,
    LKS_KV_INCRBY = 5,
    LKS_KV_STRLEN = 6,
    LKS_KV_APPEND = 7,
    LKS_KV_DBSIZE = 8,
    LKS_KV_FLUSHALL = 9,
    LKS_KV_TIME = 10
};

/* Flags of SET. */
#define LKS_KV_SET_NX 1u
#define LKS_KV_SET_XX 2u
#define LKS_KV_SET_GET 4u
#define LKS_KV_SET_FLAGS 7u

#define LKS_KV_LENGTH_BYTES_MAX 5u

/* Writes a length (below 2^35) and returns the byte behind it. */
uint8_t *lks_kv_length_write(uint8_t *out, uint64_t length);

/* Reads a length; NULL: the bytes from `in` to `end` do not begin with one. */
const uint8_t *lks_kv_length_read(const uint8_t *in, const uint8_t *end, uint64_t *length);

/* Reads a decimal int64 as Redis does: no sign but '-', no leading zeros, nothing around it. */
bool lks_kv_integer_parse(const char *text, size_t bytes, int64_t *value);

/* Enough for any int64, and how many bytes were written (no terminator). */
#define LKS_KV_INTEGER_BYTES_MAX 20u
size_t lks_kv_integer_print(char *text, int64_t value);

#endif
