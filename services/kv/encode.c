/* Encodes commands of the key-value service; see encode.h. */
#include "services/kv/encode.h"

#include "services/kv/format.h"

#include <endian.h>
#include <string.h>
#include <strings.h>

static bool is_word(const struct lks_argument *arg, const char *word)
{
    return arg->bytes == strlen(word) && strncasecmp(arg->data, word, arg->bytes) == 0;
}

static uint8_t *put_bytes(uint8_t *out, const struct lks_argument *arg)
{
    memcpy(out, arg->data, arg->bytes);
    return out + arg->bytes;
}

static uint8_t *put_prefixed(uint8_t *out, const struct lks_argument *arg)
{
    return put_bytes(lks_kv_length_write(out, arg->bytes), arg);
}

static uint8_t *put_incrby(uint8_t *out, int64_t delta, const struct lks_argument *key)
{
    const uint64_t bits = htole64((uint64_t)delta);
    *out++ = LKS_KV_INCRBY;
    memcpy(out, &bits, sizeof bits);
    return put_bytes(out + sizeof bits, key);
}

static uint8_t *put_keys(uint8_t *out, enum lks_kv_operation operation,
                         const struct lks_argument *args, size_t count)
{
    *out++ = (uint8_t)operation;
    for (size_t i = 1; i < count; i++) {
        out = put_prefixed(out, &args[i]);
    }
    return out;
}

/* The options of SET behind key and value; -1: a syntax error. */
static int set_flags(const struct lks_argument *args, size_t count)
{
    unsigned flags = 0;
    for (size_t i = 3; i < count; i++) {
        if (is_word(&args[i], "NX") && (flags & LKS_KV_SET_XX) == 0) {
            flags |= LKS_KV_SET_NX;
        } else if (is_word(&args[i], "XX") && (flags & LKS_KV_SET_NX) == 0) {
            flags |= LKS_KV_SET_XX;
        } else if (is_word(&args[i], "GET")) {
            flags |= LKS_KV_SET_GET;
        } else {
            return -1;
        }
    }
    return (int)flags;
}

static uint8_t *put_set(uint8_t *out, const struct lks_argument *args, size_t count,
                        struct lks_reply *reply)
{
    const int flags = set_flags(args, count);
    if (flags < 0) {
        lks_reply_error(reply, "ERR syntax error");
        return NULL;
    }
    *out++ = LKS_KV_SET;
    *out++ = (uint8_t)flags;
    return put_bytes(put_prefixed(out, &args[1]), &args[2]);
}

static uint8_t *put_flushall(uint8_t *out, const struct lks_argument *args, size_t count,
                             struct lks_reply *reply)
{
    if (count > 2 || (count == 2 && !is_word(&args[1], "ASYNC") && !is_word(&args[1], "SYNC"))) {
        lks_reply_error(reply, "ERR syntax error");
        return NULL;
    }
    *out++ = LKS_KV_FLUSHALL;
    return out;
}

static uint8_t *put_checked_incrby(uint8_t *out, const struct lks_argument *args,
                                   struct lks_reply *reply)
{
    int64_t delta;
    if (!lks_kv_integer_parse(args[2].data, args[2].bytes, &delta)) {
        lks_reply_error(reply, "ERR value is not an integer or out of range");
        return NULL;
    }
    return put_incrby(out, delta, &args[1]);
}

static uint8_t *put_key(uint8_t *out, enum lks_kv_operation operation,
                        const struct lks_argument *key)
{
    *out++ = (uint8_t)operation;
    return put_bytes(out, key);
}

static uint8_t *put_operation(uint8_t *out, enum lks_kv_operation operation)
{
    *out++ = (uint8_t)operation;
    return out;
}

static uint8_t *put_append(uint8_t *out, const struct lks_argument *args, size_t value_bytes_max)
{
    *out++ = LKS_KV_APPEND;
    out = lks_kv_length_write(out, value_bytes_max);
    return put_bytes(put_prefixed(out, &args[1]), &args[2]);
}

size_t lks_kv_encode(enum lks_kv_request request, const struct lks_kv_arguments *arguments,
                     uint8_t *out, struct lks_reply *reply)
{
    const struct lks_argument *args = arguments->items;
    const size_t count = arguments->count;
    uint8_t *end = NULL;
    switch (request) {
    case LKS_KV_REQUEST_GET:
        end = put_key(out, LKS_KV_GET, &args[1]);
        break;
    case LKS_KV_REQUEST_SET:
        end = put_set(out, args, count, reply);
        break;
    case LKS_KV_REQUEST_DEL:
        end = put_keys(out, LKS_KV_DEL, args, count);
        break;
    case LKS_KV_REQUEST_EXISTS:
        end = put_keys(out, LKS_KV_EXISTS, args, count);
        break;
    case LKS_KV_REQUEST_INCR:
        end = put_incrby(out, 1, &args[1]);
        break;
    case LKS_KV_REQUEST_DECR:
        end = put_incrby(out, -1, &args[1]);
        break;
    case LKS_KV_REQUEST_INCRBY:
        end = put_checked_incrby(out, args, reply);
        break;
    case LKS_KV_REQUEST_STRLEN:
        end = put_key(out, LKS_KV_STRLEN, &args[1]);
        break;
    case LKS_KV_REQUEST_APPEND:
        end = put_append(out, args, arguments->value_bytes_max);
        break;
    case LKS_KV_REQUEST_DBSIZE:
        end = put_operation(out, LKS_KV_DBSIZE);
        break;
    case LKS_KV_REQUEST_FLUSHALL:
        end = put_flushall(out, args, count, reply);
        break;
    case LKS_KV_REQUEST_TIME:
        end = put_operation(out, LKS_KV_TIME);
        break;
    }
    return end != NULL ? (size_t)(end - out) : 0;
}
