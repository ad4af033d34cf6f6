/* Encodes commands of the key-value service; see encode.h and encoder.h. */
#include "services/kv/encode.h"

#include "services/kv/burn.h"
#include "services/kv/encoder.h"

#include <endian.h>

void lks_kv_put_byte(struct lks_kv_encoder *encoder, unsigned byte)
{
    *encoder->out++ = (uint8_t)byte;
}

void lks_kv_put_number(struct lks_kv_encoder *encoder, int64_t number)
{
    const uint64_t bits = htole64((uint64_t)number);
    memcpy(encoder->out, &bits, sizeof bits);
    encoder->out += sizeof bits;
}

void lks_kv_put_bytes(struct lks_kv_encoder *encoder, const struct lks_argument *arg)
{
    memcpy(encoder->out, arg->data, arg->bytes);
    encoder->out += arg->bytes;
}

void lks_kv_put_prefixed(struct lks_kv_encoder *encoder, const struct lks_argument *arg)
{
    encoder->out = lks_kv_length_write(encoder->out, arg->bytes);
    lks_kv_put_bytes(encoder, arg);
}

bool lks_kv_syntax_error(struct lks_kv_encoder *encoder)
{
    lks_reply_error(encoder->reply, "ERR syntax error");
    return false;
}

bool lks_kv_integer_of(struct lks_kv_encoder *encoder, const struct lks_argument *arg,
                       int64_t *value)
{
    if (!lks_kv_integer_parse(arg->data, arg->bytes, value)) {
        lks_reply_error(encoder->reply, "ERR value is not an integer or out of range");
        return false;
    }
    return true;
}

/* The operation alone, or with the first argument as its last. The variant is the operation. */
static bool encode_operation(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, encoder->variant);
    return true;
}

static bool encode_key(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, encoder->variant);
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

/* Every argument with its length. The variant is the operation. */
static bool encode_keys(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, encoder->variant);
    for (size_t i = 1; i < encoder->count; i++) {
        lks_kv_put_prefixed(encoder, &encoder->args[i]);
    }
    return true;
}

static bool encode_pairs(struct lks_kv_encoder *encoder)
{
    if (encoder->count % 2 == 0) {
        lks_reply_error(encoder->reply, "ERR wrong number of arguments for '%s' command",
                        encoder->variant == LKS_KV_MSET ? "mset" : "msetnx");
        return false;
    }
    return encode_keys(encoder);
}

/* A key and a value. The variant is the operation. */
static bool encode_pair(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, encoder->variant);
    lks_kv_put_prefixed(encoder, &encoder->args[1]);
    lks_kv_put_bytes(encoder, &encoder->args[2]);
    return true;
}

static bool encode_getset(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, LKS_KV_SET);
    lks_kv_put_byte(encoder, LKS_KV_SET_GET);
    lks_kv_put_prefixed(encoder, &encoder->args[1]);
    lks_kv_put_bytes(encoder, &encoder->args[2]);
    return true;
}

static bool encode_incrby(struct lks_kv_encoder *encoder)
{
    int64_t delta = encoder->variant == LKS_KV_REQUEST_DECR ? -1 : 1;
    if (encoder->count > 2 && !lks_kv_integer_of(encoder, &encoder->args[2], &delta)) {
        return false;
    }
    if (encoder->variant == LKS_KV_REQUEST_DECRBY) {
        if (delta == INT64_MIN) {
            lks_reply_error(encoder->reply, "ERR decrement would overflow");
            return false;
        }
        delta = -delta;
    }
    lks_kv_put_byte(encoder, LKS_KV_INCRBY);
    lks_kv_put_number(encoder, delta);
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

static bool encode_incrbyfloat(struct lks_kv_encoder *encoder)
{
    long double delta;
    if (!lks_kv_float_parse(encoder->args[2].data, encoder->args[2].bytes, &delta)) {
        lks_reply_error(encoder->reply, "ERR value is not a valid float");
        return false;
    }
    lks_kv_put_byte(encoder, LKS_KV_INCRBYFLOAT);
    lks_kv_put_prefixed(encoder, &encoder->args[2]);
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

static bool encode_append(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, LKS_KV_APPEND);
    encoder->out = lks_kv_length_write(encoder->out, encoder->value_bytes_max);
    lks_kv_put_prefixed(encoder, &encoder->args[1]);
    lks_kv_put_bytes(encoder, &encoder->args[2]);
    return true;
}

static bool encode_setrange(struct lks_kv_encoder *encoder)
{
    int64_t offset;
    if (!lks_kv_integer_of(encoder, &encoder->args[2], &offset)) {
        return false;
    }
    if (offset < 0) {
        lks_reply_error(encoder->reply, "ERR offset is out of range");
        return false;
    }
    lks_kv_put_byte(encoder, LKS_KV_SETRANGE);
    encoder->out = lks_kv_length_write(encoder->out, encoder->value_bytes_max);
    lks_kv_put_number(encoder, offset);
    lks_kv_put_prefixed(encoder, &encoder->args[1]);
    lks_kv_put_bytes(encoder, &encoder->args[3]);
    return true;
}

static bool encode_getrange(struct lks_kv_encoder *encoder)
{
    int64_t first;
    int64_t last;
    if (!lks_kv_integer_of(encoder, &encoder->args[2], &first) ||
        !lks_kv_integer_of(encoder, &encoder->args[3], &last)) {
        return false;
    }
    lks_kv_put_byte(encoder, LKS_KV_GETRANGE);
    lks_kv_put_number(encoder, first);
    lks_kv_put_number(encoder, last);
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

/* The variant is the flags of TTL. */
static bool encode_ttl(struct lks_kv_encoder *encoder)
{
    lks_kv_put_byte(encoder, LKS_KV_TTL);
    lks_kv_put_byte(encoder, encoder->variant);
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

static bool encode_flushall(struct lks_kv_encoder *encoder)
{
    const struct lks_argument *args = encoder->args;
    if (encoder->count > 2 || (encoder->count == 2 && !lks_kv_is_word(&args[1], "ASYNC") &&
                               !lks_kv_is_word(&args[1], "SYNC"))) {
        return lks_kv_syntax_error(encoder);
    }
    lks_kv_put_byte(encoder, LKS_KV_FLUSHALL);
    return true;
}

/* DEBUG BURN microseconds key [key ...]: the log gets rounds. */
static bool encode_burn(struct lks_kv_encoder *encoder)
{
    int64_t us = 0;
    if (encoder->burn_rounds_per_us == 0) {
        lks_reply_error(encoder->reply,
                        "ERR DEBUG is not allowed: set `debug_commands: yes` in the configuration "
                        "and restart this replica");
        return false;
    }
    if (!lks_kv_integer_of(encoder, &encoder->args[2], &us)) {
        return false;
    }
    if (us < 0 || us > LKS_KV_BURN_US_MAX) {
        lks_reply_error(encoder->reply, "ERR %lld microseconds: 0 to %u can be burnt",
                        (long long)us, LKS_KV_BURN_US_MAX);
        return false;
    }
    lks_kv_put_byte(encoder, LKS_KV_BURN);
    lks_kv_put_number(encoder, (int64_t)((uint64_t)us * encoder->burn_rounds_per_us));
    for (size_t i = 3; i < encoder->count; i++) {
        lks_kv_put_prefixed(encoder, &encoder->args[i]);
    }
    return true;
}

#define BY_REQUEST(name, function) [LKS_KV_REQUEST_##name] = {function, LKS_KV_REQUEST_##name}

static const struct {
    lks_kv_encoder_function encode;
    unsigned variant;
} g_encoders[LKS_KV_REQUESTS] = {
    [LKS_KV_REQUEST_GET] = {encode_key, LKS_KV_GET},
    BY_REQUEST(SET, lks_kv_encode_set),
    [LKS_KV_REQUEST_DEL] = {encode_keys, LKS_KV_DEL},
    [LKS_KV_REQUEST_EXISTS] = {encode_keys, LKS_KV_EXISTS},
    BY_REQUEST(INCR, encode_incrby),
    BY_REQUEST(DECR, encode_incrby),
    BY_REQUEST(INCRBY, encode_incrby),
    [LKS_KV_REQUEST_STRLEN] = {encode_key, LKS_KV_STRLEN},
    BY_REQUEST(APPEND, encode_append),
    [LKS_KV_REQUEST_DBSIZE] = {encode_operation, LKS_KV_DBSIZE},
    BY_REQUEST(FLUSHALL, encode_flushall),
    [LKS_KV_REQUEST_TIME] = {encode_operation, LKS_KV_TIME},
    [LKS_KV_REQUEST_SETNX] = {encode_pair, LKS_KV_SETNX},
    BY_REQUEST(SETEX, lks_kv_encode_setex),
    BY_REQUEST(PSETEX, lks_kv_encode_setex),
    BY_REQUEST(GETSET, encode_getset),
    [LKS_KV_REQUEST_GETDEL] = {encode_key, LKS_KV_GETDEL},
    BY_REQUEST(GETEX, lks_kv_encode_getex),
    BY_REQUEST(GETRANGE, encode_getrange),
    BY_REQUEST(SETRANGE, encode_setrange),
    BY_REQUEST(DECRBY, encode_incrby),
    BY_REQUEST(INCRBYFLOAT, encode_incrbyfloat),
    [LKS_KV_REQUEST_MGET] = {encode_keys, LKS_KV_MGET},
    [LKS_KV_REQUEST_MSET] = {encode_pairs, LKS_KV_MSET},
    [LKS_KV_REQUEST_MSETNX] = {encode_pairs, LKS_KV_MSETNX},
    BY_REQUEST(EXPIRE, lks_kv_encode_expire),
    BY_REQUEST(PEXPIRE, lks_kv_encode_expire),
    BY_REQUEST(EXPIREAT, lks_kv_encode_expire),
    BY_REQUEST(PEXPIREAT, lks_kv_encode_expire),
    [LKS_KV_REQUEST_TTL] = {encode_ttl, 0},
    [LKS_KV_REQUEST_PTTL] = {encode_ttl, LKS_KV_TTL_MILLISECONDS},
    [LKS_KV_REQUEST_EXPIRETIME] = {encode_ttl, LKS_KV_TTL_ABSOLUTE},
    [LKS_KV_REQUEST_PEXPIRETIME] = {encode_ttl, LKS_KV_TTL_ABSOLUTE | LKS_KV_TTL_MILLISECONDS},
    [LKS_KV_REQUEST_PERSIST] = {encode_key, LKS_KV_PERSIST},
    [LKS_KV_REQUEST_TYPE] = {encode_key, LKS_KV_TYPE},
    [LKS_KV_REQUEST_KEYS] = {encode_key, LKS_KV_KEYS},
    BY_REQUEST(SCAN, lks_kv_encode_scan),
    [LKS_KV_REQUEST_RANDOMKEY] = {encode_operation, LKS_KV_RANDOMKEY},
    BY_REQUEST(BURN, encode_burn),
};

size_t lks_kv_encode(enum lks_kv_request request, const struct lks_kv_arguments *arguments,
                     uint8_t *out, struct lks_reply *reply)
{
    struct lks_kv_encoder encoder = {
        .args = arguments->items,
        .count = arguments->count,
        .value_bytes_max = arguments->value_bytes_max,
        .burn_rounds_per_us = arguments->burn_rounds_per_us,
        .variant = g_encoders[request].variant,
        .out = out,
        .reply = reply,
    };
    return g_encoders[request].encode(&encoder) ? (size_t)(encoder.out - out) : 0;
}
