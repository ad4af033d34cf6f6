/* Encodes the commands that have options; see encoder.h. Which combinations are errors, and which
 * of several errors is told, is as in Redis 7. */
#include "services/kv/encoder.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define MS_PER_S 1000
#define SCAN_COUNT 10 /* unless the client says how many */
#define CURSOR_TEXT_MAX 64u
#define OPTION_QUOTED_MAX 128

/* The names by which a time is given. */
static const struct time_word {
    const char *word;
    bool seconds;
    bool relative;
} g_time_words[] = {
    {"EX", true, true}, {"PX", false, true}, {"EXAT", true, false}, {"PXAT", false, false}};

/* Options of SET and GETEX that have been read. */
struct options {
    unsigned flags;                  /* of the operation, without the time */
    const struct time_word *unit;    /* NULL: no time */
    const struct lks_argument *time; /* as text */
};

/* Takes a time at place *i, if one may stand there. */
static bool take_time(const struct lks_kv_encoder *encoder, size_t *i, struct options *options)
{
    for (size_t j = 0; j < sizeof g_time_words / sizeof g_time_words[0]; j++) {
        if (lks_kv_is_word(&encoder->args[*i], g_time_words[j].word)) {
            if (*i + 1 == encoder->count ||
                (options->unit != NULL && options->unit != &g_time_words[j])) {
                return false;
            }
            options->unit = &g_time_words[j];
            options->time = &encoder->args[++*i];
            return true;
        }
    }
    return false;
}

enum time_error { TIME_GOOD, TIME_NOT_INTEGER, TIME_BAD };

static enum time_error read_time(const struct options *options, int64_t *time_ms)
{
    if (!lks_kv_integer_parse(options->time->data, options->time->bytes, time_ms)) {
        return TIME_NOT_INTEGER;
    }
    if (*time_ms <= 0 ||
        (options->unit->seconds && __builtin_mul_overflow(*time_ms, MS_PER_S, time_ms))) {
        return TIME_BAD;
    }
    return TIME_GOOD;
}

static bool set_options(struct lks_kv_encoder *encoder, struct options *options)
{
    for (size_t i = 3; i < encoder->count; i++) {
        const struct lks_argument *arg = &encoder->args[i];
        if (lks_kv_is_word(arg, "NX") && (options->flags & LKS_KV_SET_XX) == 0) {
            options->flags |= LKS_KV_SET_NX;
        } else if (lks_kv_is_word(arg, "XX") && (options->flags & LKS_KV_SET_NX) == 0) {
            options->flags |= LKS_KV_SET_XX;
        } else if (lks_kv_is_word(arg, "GET")) {
            options->flags |= LKS_KV_SET_GET;
        } else if (lks_kv_is_word(arg, "KEEPTTL") && options->unit == NULL) {
            options->flags |= LKS_KV_SET_KEEPTTL;
        } else if ((options->flags & LKS_KV_SET_KEEPTTL) != 0 ||
                   !take_time(encoder, &i, options)) {
            return lks_kv_syntax_error(encoder);
        }
    }
    return true;
}

/* SET with these options; name: for an error, 0 set, 1 setex, 2 psetex. */
static bool put_set(struct lks_kv_encoder *encoder, const struct options *options, unsigned name,
                    const struct lks_argument *value)
{
    static const char *const names[LKS_KV_SET_NAMES] = {"set", "setex", "psetex"};
    unsigned flags = options->flags | name << LKS_KV_SET_NAME_SHIFT;
    int64_t time_ms = 0;
    if (options->unit != NULL) {
        const enum time_error error = read_time(options, &time_ms);
        if (error == TIME_NOT_INTEGER) {
            lks_reply_error(encoder->reply, "ERR value is not an integer or out of range");
            return false;
        }
        if (error == TIME_BAD) {
            lks_reply_error(encoder->reply, "ERR invalid expire time in '%s' command",
                            names[name]);
            return false;
        }
        flags |= LKS_KV_SET_EXPIRES | (options->unit->relative ? LKS_KV_SET_RELATIVE : 0);
    }
    lks_kv_put_byte(encoder, LKS_KV_SET);
    lks_kv_put_byte(encoder, flags);
    if (options->unit != NULL) {
        lks_kv_put_number(encoder, time_ms);
    }
    lks_kv_put_prefixed(encoder, &encoder->args[1]);
    lks_kv_put_bytes(encoder, value);
    return true;
}

bool lks_kv_encode_set(struct lks_kv_encoder *encoder)
{
    struct options options = {0};
    return set_options(encoder, &options) && put_set(encoder, &options, 0, &encoder->args[2]);
}

bool lks_kv_encode_setex(struct lks_kv_encoder *encoder)
{
    const bool seconds = encoder->variant == LKS_KV_REQUEST_SETEX;
    const struct options options = {
        .unit = &g_time_words[seconds ? 0 : 1], .time = &encoder->args[2]};
    return put_set(encoder, &options, seconds ? 1 : 2, &encoder->args[3]);
}

/* What is wrong with the time is told only if the key is there. */
bool lks_kv_encode_getex(struct lks_kv_encoder *encoder)
{
    struct options options = {0};
    int64_t time_ms = 0;
    for (size_t i = 2; i < encoder->count; i++) {
        if (lks_kv_is_word(&encoder->args[i], "PERSIST") && options.unit == NULL) {
            options.flags = LKS_KV_GETEX_PERSIST;
        } else if (options.flags != 0 || !take_time(encoder, &i, &options)) {
            return lks_kv_syntax_error(encoder);
        }
    }
    const enum time_error error = options.unit != NULL ? read_time(&options, &time_ms) : TIME_GOOD;
    if (error == TIME_NOT_INTEGER) {
        options.flags = LKS_KV_GETEX_NOT_INTEGER;
    } else if (error == TIME_BAD) {
        options.flags = LKS_KV_GETEX_BAD_TIME;
    } else if (options.unit != NULL) {
        options.flags =
            LKS_KV_GETEX_EXPIRES | (options.unit->relative ? LKS_KV_GETEX_RELATIVE : 0);
    }
    lks_kv_put_byte(encoder, LKS_KV_GETEX);
    lks_kv_put_byte(encoder, options.flags);
    if ((options.flags & LKS_KV_GETEX_EXPIRES) != 0) {
        lks_kv_put_number(encoder, time_ms);
    }
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

static bool expire_conditions(struct lks_kv_encoder *encoder, unsigned *flags)
{
    static const struct {
        const char *word;
        unsigned flag;
    } words[] = {{"NX", LKS_KV_EXPIRE_NX},
                 {"XX", LKS_KV_EXPIRE_XX},
                 {"GT", LKS_KV_EXPIRE_GT},
                 {"LT", LKS_KV_EXPIRE_LT}};
    for (size_t i = 3; i < encoder->count; i++) {
        const struct lks_argument *arg = &encoder->args[i];
        unsigned flag = 0;
        for (size_t j = 0; j < sizeof words / sizeof words[0]; j++) {
            flag |= lks_kv_is_word(arg, words[j].word) ? words[j].flag : 0;
        }
        if (flag == 0) {
            const size_t length = strnlen(arg->data, arg->bytes);
            lks_reply_error(encoder->reply, "ERR Unsupported option %.*s",
                            (int)(length < OPTION_QUOTED_MAX ? length : OPTION_QUOTED_MAX),
                            arg->data);
            return false;
        }
        *flags |= flag;
    }
    const unsigned greater_or_less = LKS_KV_EXPIRE_GT | LKS_KV_EXPIRE_LT;
    if ((*flags & LKS_KV_EXPIRE_NX) != 0 &&
        (*flags & (LKS_KV_EXPIRE_XX | greater_or_less)) != 0) {
        lks_reply_error(encoder->reply,
                        "ERR NX and XX, GT or LT options at the same time are not compatible");
        return false;
    }
    if ((*flags & greater_or_less) == greater_or_less) {
        lks_reply_error(encoder->reply,
                        "ERR GT and LT options at the same time are not compatible");
        return false;
    }
    return true;
}

bool lks_kv_encode_expire(struct lks_kv_encoder *encoder)
{
    static const struct {
        const char *name;
        bool seconds;
        bool relative;
    } kinds[] = {{"expire", true, true},
                 {"pexpire", false, true},
                 {"expireat", true, false},
                 {"pexpireat", false, false}};
    const unsigned kind = encoder->variant - LKS_KV_REQUEST_EXPIRE;
    unsigned flags = kind << LKS_KV_EXPIRE_NAME_SHIFT;
    int64_t time_ms;
    flags |= kinds[kind].relative ? LKS_KV_EXPIRE_RELATIVE : 0;
    if (!expire_conditions(encoder, &flags) ||
        !lks_kv_integer_of(encoder, &encoder->args[2], &time_ms)) {
        return false;
    }
    if (kinds[kind].seconds && __builtin_mul_overflow(time_ms, MS_PER_S, &time_ms)) {
        lks_reply_error(encoder->reply, "ERR invalid expire time in '%s' command",
                        kinds[kind].name);
        return false;
    }
    lks_kv_put_byte(encoder, LKS_KV_EXPIRE);
    lks_kv_put_byte(encoder, flags);
    lks_kv_put_number(encoder, time_ms);
    lks_kv_put_bytes(encoder, &encoder->args[1]);
    return true;
}

/* As strtoul reads it, like Redis; nothing at all is 0. */
static bool read_cursor(struct lks_kv_encoder *encoder, const struct lks_argument *arg,
                        uint64_t *value)
{
    char text[CURSOR_TEXT_MAX];
    char *end = text;
    const bool fits = arg->bytes < sizeof text && memchr(arg->data, '\0', arg->bytes) == NULL;
    errno = 0;
    if (fits) {
        memcpy(text, arg->data, arg->bytes);
        text[arg->bytes] = '\0';
        *value = strtoul(text, &end, 10);
    }
    if (!fits || isspace((unsigned char)text[0]) || *end != '\0' || errno == ERANGE) {
        lks_reply_error(encoder->reply, "ERR invalid cursor");
        return false;
    }
    return true;
}

bool lks_kv_encode_scan(struct lks_kv_encoder *encoder)
{
    const struct lks_argument *args = encoder->args;
    const struct lks_argument *pattern = NULL;
    unsigned flags = 0;
    uint64_t from = 0;
    int64_t count = SCAN_COUNT;
    if (!read_cursor(encoder, &args[1], &from)) {
        return false;
    }
    for (size_t i = 2; i < encoder->count; i += 2) {
        const bool last = i + 1 == encoder->count;
        if (lks_kv_is_word(&args[i], "COUNT") && !last) {
            if (!lks_kv_integer_of(encoder, &args[i + 1], &count)) {
                return false;
            }
            if (count < 1) {
                return lks_kv_syntax_error(encoder);
            }
        } else if (lks_kv_is_word(&args[i], "MATCH") && !last) {
            pattern = &args[i + 1];
            flags |= LKS_KV_SCAN_MATCH;
        } else if (lks_kv_is_word(&args[i], "TYPE") && !last) {
            const bool strings = lks_kv_is_word(&args[i + 1], "string");
            flags = strings ? flags & ~LKS_KV_SCAN_NO_TYPE : flags | LKS_KV_SCAN_NO_TYPE;
        } else {
            return lks_kv_syntax_error(encoder);
        }
    }
    lks_kv_put_byte(encoder, LKS_KV_SCAN);
    lks_kv_put_byte(encoder, flags);
    lks_kv_put_number(encoder, (int64_t)from);
    lks_kv_put_number(encoder, count);
    if (pattern != NULL) {
        lks_kv_put_bytes(encoder, pattern);
    }
    return true;
}
