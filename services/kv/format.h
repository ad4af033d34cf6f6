/*
 * How a command of the key-value service looks in the log. One byte names the operation, then:
 *
 *   GET, STRLEN, GETDEL, TYPE, PERSIST   the key
 *   INCRBY            delta (8); the key
 *   INCRBYFLOAT       length of the text; the text of a number; the key
 *   SET               flags (1); with EXPIRES a time (8); key length; key; value
 *   SETNX             key length; key; value
 *   APPEND            greatest length of the result; key length; key; value
 *   SETRANGE          greatest length of the result; offset (8); key length; key; value
 *   GETRANGE          first (8), last (8); the key
 *   GETEX             flags (1); with EXPIRES a time (8); the key
 *   EXPIRE            flags (1); a time (8); the key
 *   TTL               flags (1); the key
 *   DEL, EXISTS, MGET     for each key: its length; the key
 *   MSET, MSETNX      for each key: its length; the key; length of its value; the value
 *   BURN              rounds (8); for each key: its length; the key
 *   KEYS              the pattern
 *   SCAN              flags (1); cursor (8); count (8); the pattern
 *   DBSIZE, FLUSHALL, TIME, RANDOMKEY    nothing
 *
 * What comes last runs to the end of the command. A length is 1 to 5 bytes of 7 bits, low bits
 * first, the top bit set on all but the last. Other numbers are little-endian, two's complement;
 * times are in milliseconds, from the epoch or, with RELATIVE, from the time of the command. The
 * numbers are part of the journal's format: they are never changed or used again. A limit that
 * decides a command's outcome is part of the command, so that no change of the configuration can
 * make replicas differ.
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
    LKS_KV_TIME = 10,
    LKS_KV_SETNX = 11,
    LKS_KV_GETDEL = 12,
    LKS_KV_GETEX = 13,
    LKS_KV_GETRANGE = 14,
    LKS_KV_SETRANGE = 15,
    LKS_KV_INCRBYFLOAT = 16,
    LKS_KV_MGET = 17,
    LKS_KV_MSET = 18,
    LKS_KV_MSETNX = 19,
    LKS_KV_EXPIRE = 20,
    LKS_KV_TTL = 21,
    LKS_KV_PERSIST = 22,
    LKS_KV_TYPE = 23,
    LKS_KV_KEYS = 24,
    LKS_KV_SCAN = 25,
    LKS_KV_RANDOMKEY = 26,
    LKS_KV_BURN = 27
};

/* Flags of SET. The name is that of the command in an error: set, setex, psetex. */
#define LKS_KV_SET_NX 1u
#define LKS_KV_SET_XX 2u
#define LKS_KV_SET_GET 4u
#define LKS_KV_SET_KEEPTTL 8u
#define LKS_KV_SET_EXPIRES 16u
#define LKS_KV_SET_RELATIVE 32u
#define LKS_KV_SET_NAME_SHIFT 6
#define LKS_KV_SET_NAMES 3u

/* Flags of GETEX; the last two instead of a time: what was wrong with it. */
#define LKS_KV_GETEX_EXPIRES 1u
#define LKS_KV_GETEX_RELATIVE 2u
#define LKS_KV_GETEX_PERSIST 4u
#define LKS_KV_GETEX_NOT_INTEGER 8u
#define LKS_KV_GETEX_BAD_TIME 16u
#define LKS_KV_GETEX_FLAGS 31u

/* Flags of EXPIRE. The name: expire, pexpire, expireat, pexpireat. */
#define LKS_KV_EXPIRE_NX 1u
#define LKS_KV_EXPIRE_XX 2u
#define LKS_KV_EXPIRE_GT 4u
#define LKS_KV_EXPIRE_LT 8u
#define LKS_KV_EXPIRE_RELATIVE 16u
#define LKS_KV_EXPIRE_NAME_SHIFT 5
#define LKS_KV_EXPIRE_FLAGS 127u

/* Flags of TTL: milliseconds instead of seconds, the time itself instead of what is left. */
#define LKS_KV_TTL_MILLISECONDS 1u
#define LKS_KV_TTL_ABSOLUTE 2u
#define LKS_KV_TTL_FLAGS 3u

/* Flags of SCAN: a pattern follows (else all keys match); no key is of the type asked for. */
#define LKS_KV_SCAN_MATCH 1u
#define LKS_KV_SCAN_NO_TYPE 2u
#define LKS_KV_SCAN_FLAGS 3u

/* No value grows beyond this, whatever limit a command carries: one is made in memory at once. */
#define LKS_KV_VALUE_BYTES_MAX (UINT64_C(1) << 20)

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

/* Reads and prints a floating-point number as Redis does, in the extended precision of the
 * processor: replicas of one cluster must have processors of one architecture. Neither NaN nor
 * (printing) infinity. The text may be up to LKS_KV_FLOAT_BYTES_MAX long, without terminator. */
#define LKS_KV_FLOAT_BYTES_MAX 5119u
bool lks_kv_float_parse(const char *text, size_t bytes, long double *value);
size_t lks_kv_float_print(char *text, long double value);

#endif
