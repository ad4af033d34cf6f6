/*
 * What the files that encode commands share: encode.c chooses and writes what has no options,
 * options.c what has. Each encoder writes behind `out` and moves it on; false: there was an error,
 * which stands in the reply.
 */
#ifndef LKS_SERVICES_KV_ENCODER_H
#define LKS_SERVICES_KV_ENCODER_H

#include "services/kv/encode.h"
#include "services/kv/format.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct lks_kv_encoder {
    const struct lks_argument *args; /* the name first */
    size_t count;
    size_t value_bytes_max;
    uint64_t burn_rounds_per_us;
    unsigned variant; /* of the commands that share an encoder; see its table */
    uint8_t *out;
    struct lks_reply *reply;
};

typedef bool (*lks_kv_encoder_function)(struct lks_kv_encoder *encoder);

static inline bool lks_kv_is_word(const struct lks_argument *arg, const char *word)
{
    return arg->bytes == strlen(word) && strncasecmp(arg->data, word, arg->bytes) == 0;
}

void lks_kv_put_byte(struct lks_kv_encoder *encoder, unsigned byte);
void lks_kv_put_number(struct lks_kv_encoder *encoder, int64_t number);
void lks_kv_put_bytes(struct lks_kv_encoder *encoder, const struct lks_argument *arg);
void lks_kv_put_prefixed(struct lks_kv_encoder *encoder, const struct lks_argument *arg);

/* Always false, after the error. */
bool lks_kv_syntax_error(struct lks_kv_encoder *encoder);
/* Reads an argument as an integer, or says that it is none. */
bool lks_kv_integer_of(struct lks_kv_encoder *encoder, const struct lks_argument *arg,
                       int64_t *value);

/* options.c; variants are values of enum lks_kv_request. */
bool lks_kv_encode_set(struct lks_kv_encoder *encoder);
bool lks_kv_encode_setex(struct lks_kv_encoder *encoder);
bool lks_kv_encode_getex(struct lks_kv_encoder *encoder);
bool lks_kv_encode_expire(struct lks_kv_encoder *encoder);
bool lks_kv_encode_scan(struct lks_kv_encoder *encoder);

#endif
