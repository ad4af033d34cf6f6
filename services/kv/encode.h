/*
 * The client side of the key-value service: turns a command as the client typed it into the
 * bytes that are logged (format.h). Errors that no state can change are answered here, in Redis
 * 7's words, and never reach the log. Called by the port on its thread; keeps nothing.
 */
#ifndef LKS_SERVICES_KV_ENCODE_H
#define LKS_SERVICES_KV_ENCODE_H

#include "lockstep/argument.h"
#include "lockstep/reply.h"

#include <stdint.h>

/* How the arguments of a command are to be read; the port's table of commands names one a row. */
enum lks_kv_request {
    LKS_KV_REQUEST_GET,
    LKS_KV_REQUEST_SET,
    LKS_KV_REQUEST_DEL,
    LKS_KV_REQUEST_EXISTS,
    LKS_KV_REQUEST_INCR,
    LKS_KV_REQUEST_DECR,
    LKS_KV_REQUEST_INCRBY,
    LKS_KV_REQUEST_STRLEN,
    LKS_KV_REQUEST_APPEND,
    LKS_KV_REQUEST_DBSIZE,
    LKS_KV_REQUEST_FLUSHALL,
    LKS_KV_REQUEST_TIME,
    LKS_KV_REQUEST_SETNX,
    LKS_KV_REQUEST_SETEX,
    LKS_KV_REQUEST_PSETEX,
    LKS_KV_REQUEST_GETSET,
    LKS_KV_REQUEST_GETDEL,
    LKS_KV_REQUEST_GETEX,
    LKS_KV_REQUEST_GETRANGE,
    LKS_KV_REQUEST_SETRANGE,
    LKS_KV_REQUEST_DECRBY,
    LKS_KV_REQUEST_INCRBYFLOAT,
    LKS_KV_REQUEST_MGET,
    LKS_KV_REQUEST_MSET,
    LKS_KV_REQUEST_MSETNX,
    LKS_KV_REQUEST_EXPIRE,
    LKS_KV_REQUEST_PEXPIRE,
    LKS_KV_REQUEST_EXPIREAT,
    LKS_KV_REQUEST_PEXPIREAT,
    LKS_KV_REQUEST_TTL,
    LKS_KV_REQUEST_PTTL,
    LKS_KV_REQUEST_EXPIRETIME,
    LKS_KV_REQUEST_PEXPIRETIME,
    LKS_KV_REQUEST_PERSIST,
    LKS_KV_REQUEST_TYPE,
    LKS_KV_REQUEST_KEYS,
    LKS_KV_REQUEST_SCAN,
    LKS_KV_REQUEST_RANDOMKEY,
    LKS_KV_REQUEST_BURN,
    LKS_KV_REQUESTS
};

/* What encoding adds to the bytes of the arguments behind the name, at most. */
#define LKS_KV_ENCODE_OVERHEAD(count) (24u + 5u * (size_t)(count))

/* A client's command. */
struct lks_kv_arguments {
    const struct lks_argument *items; /* the name first; their number fits the command */
    size_t count;
    size_t value_bytes_max; /* what APPEND and SETRANGE may grow a value to; at most
                               LKS_KV_VALUE_BYTES_MAX of format.h */
    uint64_t burn_rounds_per_us; /* what DEBUG BURN logs for a microsecond; 0: it is refused */
};

/*
 * Encodes a command into out, which has room for the bytes of all arguments and
 * LKS_KV_ENCODE_OVERHEAD(count). Returns the bytes written, or 0 after an error reply.
 */
size_t lks_kv_encode(enum lks_kv_request request, const struct lks_kv_arguments *arguments,
                     uint8_t *out, struct lks_reply *reply);

#endif
