/* Reads commands from a stream of bytes; see parser.h. Error texts are those of Redis 7. */
#include "server/parser.h"

#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_FIRST 16u
#define ARGUMENTS_KEPT_MAX 4096u /* a longer array is given back behind its command */
#define NUMBER_DIGITS_MAX 18
#define SLACK_BYTES 64u /* the command's name, which is not logged */

enum step { STEP_DONE, STEP_MORE, STEP_ERROR };

void lks_arguments_fini(struct lks_arguments *args)
{
    free(args->items);
    free(args->text);
    memset(args, 0, sizeof *args);
}

static void arguments_clear(struct lks_arguments *args)
{
    if (args->capacity > ARGUMENTS_KEPT_MAX) {
        free(args->items);
        args->items = NULL;
        args->capacity = 0;
    }
    args->count = 0;
    args->bytes = 0;
}

static bool push(struct lks_arguments *args, const char *data, size_t bytes)
{
    if (args->count == args->capacity) {
        const size_t capacity = args->capacity != 0 ? args->capacity * 2 : ARGUMENTS_FIRST;
        struct lks_argument *grown = realloc(args->items, capacity * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        args->items = grown;
        args->capacity = capacity;
    }
    args->items[args->count].data = data;
    args->items[args->count].bytes = bytes;
    args->count++;
    args->bytes += bytes;
    return true;
}

static enum step fail(struct lks_parser *parser, const char *error)
{
    parser->error = error;
    return STEP_ERROR;
}

/*
 * Reads "<type><decimal>\r\n" at the position. The line is refused as soon as it cannot become
 * a number any more, so that it never needs a bound of its own.
 */
static enum step read_number(struct lks_parser *parser, const char *data, size_t bytes,
                             int64_t *number, const char *error)
{
    const char *p = data + parser->position + 1;
    const char *end = data + bytes;
    const bool negative = p < end && *p == '-';
    p += negative ? 1 : 0;
    const char *first = p;
    int64_t value = 0;
    while (p < end && (unsigned char)(*p - '0') <= 9) {
        if (p - first == NUMBER_DIGITS_MAX || (p > first && value == 0)) {
            return fail(parser, error);
        }
        value = value * 10 + (*p - '0');
        p++;
    }
    if (p == end) {
        return STEP_MORE;
    }
    if (*p != '\r' || p == first) {
        return fail(parser, error);
    }
    if (p + 1 == end) {
        return STEP_MORE;
    }
    if (p[1] != '\n' || (negative && value == 0)) {
        return fail(parser, error);
    }
    *number = negative ? -value : value;
    parser->position = (size_t)(p + 2 - data);
    return STEP_DONE;
}

/* Enters an announced argument into the account; from the limit on the command is skipped. */
static void begin_bulk(struct lks_parser *parser, uint64_t length)
{
    parser->in_bulk = true;
    parser->bulk_left = (size_t)length + 2;
    parser->cost += length + 1;
    if (length > parser->value_bytes_max) {
        parser->value_bytes_max = length;
    }
    if (parser->cost > parser->command_bytes_max + SLACK_BYTES) {
        parser->oversize = true;
    }
}

static enum step read_bulk_head(struct lks_parser *parser, const char *data, size_t bytes)
{
    if (parser->position == bytes) {
        return STEP_MORE;
    }
    const char type = data[parser->position];
    if (type != '$') {
        (void)snprintf(parser->error_text, sizeof parser->error_text,
                       "ERR Protocol error: expected '$', got '%c'", type);
        return fail(parser, parser->error_text);
    }
    int64_t length = 0;
    const enum step step =
        read_number(parser, data, bytes, &length, "ERR Protocol error: invalid bulk length");
    if (step != STEP_DONE) {
        return step;
    }
    if (length < 0 || length > LKS_PARSER_BULK_BYTES_MAX) {
        return fail(parser, "ERR Protocol error: invalid bulk length");
    }
    begin_bulk(parser, (uint64_t)length);
    return STEP_DONE;
}

/* Passes over the argument's bytes and its CRLF; only the CRLF is looked at. */
static enum step read_bulk_body(struct lks_parser *parser, const char *data, size_t bytes)
{
    const size_t there = bytes - parser->position;
    if (there < parser->bulk_left) {
        if (!parser->oversize) {
            return STEP_MORE; /* the position stays at its beginning: it is pushed as a whole */
        }
        /* Keep the last two bytes for the check below. */
        const size_t keep = parser->bulk_left > 2 ? parser->bulk_left - 2 : 0;
        const size_t pass = there < keep ? there : keep;
        parser->position += pass;
        parser->bulk_left -= pass;
        return STEP_MORE;
    }
    const char *end = data + parser->position + parser->bulk_left;
    if (end[-2] != '\r' || end[-1] != '\n') {
        return fail(parser, "ERR Protocol error: no CRLF behind a bulk string");
    }
    return STEP_DONE;
}

static enum step read_bulk(struct lks_parser *parser, struct lks_arguments *args, bool collect,
                           const char *data, size_t bytes)
{
    enum step step = STEP_DONE;
    if (!parser->in_bulk) {
        step = read_bulk_head(parser, data, bytes);
    }
    if (step == STEP_DONE) {
        step = read_bulk_body(parser, data, bytes);
    }
    if (step != STEP_DONE) {
        return step;
    }
    if (collect && !parser->oversize &&
        !push(args, data + parser->position, parser->bulk_left - 2)) {
        return fail(parser, "ERR out of memory");
    }
    parser->position += parser->bulk_left;
    parser->in_bulk = false;
    parser->args_left--;
    return STEP_DONE;
}

/* The head of an array; an empty or negative one is passed over. */
static enum step read_array_head(struct lks_parser *parser, const char *data, size_t bytes)
{
    int64_t count = 0;
    const enum step step = read_number(parser, data, bytes, &count,
                                       "ERR Protocol error: invalid multibulk length");
    if (step != STEP_DONE) {
        return step;
    }
    if (count > LKS_PARSER_ARGUMENTS_MAX) {
        return fail(parser, "ERR Protocol error: invalid multibulk length");
    }
    parser->args_left = count > 0 ? (uint32_t)count : 0;
    parser->cost = 0;
    parser->value_bytes_max = 0;
    parser->oversize = false;
    return STEP_DONE;
}

static enum step read_array(struct lks_parser *parser, struct lks_arguments *args, bool collect,
                            const char *data, size_t bytes)
{
    enum step step = STEP_DONE;
    if (parser->args_left == 0) {
        step = read_array_head(parser, data, bytes);
    }
    while (step == STEP_DONE && parser->args_left > 0) {
        step = read_bulk(parser, args, collect, data, bytes);
    }
    return step;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One escaped character within double quotes, behind the backslash. */
static const char *unescape(const char *p, const char *end, char *out)
{
    if (*p == 'x' && end - p >= 3 && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0) {
        *out = (char)(hex_value(p[1]) << 4 | hex_value(p[2]));
        return p + 3;
    }
    static const char letters[] = "nrtba";
    static const char meanings[] = "\n\r\t\b\a";
    const char *letter = *p != '\0' ? strchr(letters, *p) : NULL;
    *out = letter != NULL ? meanings[letter - letters] : *p;
    return p + 1;
}

/* Copies a quoted part, from behind its opening quote to behind its closing one; NULL: open. */
static const char *copy_quoted(const char *p, const char *end, char quote, char **out)
{
    while (p < end && *p != quote) {
        if (*p == '\\' && quote == '"' && p + 1 < end) {
            p = unescape(p + 1, end, (*out)++);
        } else if (*p == '\\' && p + 1 < end && p[1] == '\'') {
            *(*out)++ = '\'';
            p += 2;
        } else {
            *(*out)++ = *p++;
        }
    }
    return p < end ? p + 1 : NULL;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

/* Splits a line into words; NULL or the text of an error. */
static const char *split_words(struct lks_arguments *args, const char *p, const char *end)
{
    char *out = args->text;
    for (;;) {
        while (p < end && is_space(*p)) {
            p++;
        }
        if (p == end) {
            return NULL;
        }
        const char *word = out;
        while (p < end && !is_space(*p)) {
            if (*p != '"' && *p != '\'') {
                *out++ = *p++;
                continue;
            }
            p = copy_quoted(p + 1, end, *p, &out);
            if (p == NULL || (p < end && !is_space(*p))) {
                return "ERR Protocol error: unbalanced quotes in request";
            }
            break;
        }
        if (!push(args, word, (size_t)(out - word))) {
            return "ERR out of memory";
        }
    }
}

static enum step read_inline(struct lks_parser *parser, struct lks_arguments *args,
                             const char *data, size_t bytes)
{
    const char *newline = memchr(data + parser->position, '\n', bytes - parser->position);
    if (newline == NULL) {
        if (bytes > LKS_PARSER_INLINE_BYTES_MAX) {
            return fail(parser, "ERR Protocol error: too big inline request");
        }
        parser->position = bytes;
        return STEP_MORE;
    }
    const size_t length = (size_t)(newline - data);
    if (length > LKS_PARSER_INLINE_BYTES_MAX) {
        return fail(parser, "ERR Protocol error: too big inline request");
    }
    if (args->text == NULL && (args->text = malloc(LKS_PARSER_INLINE_BYTES_MAX)) == NULL) {
        return fail(parser, "ERR out of memory");
    }
    arguments_clear(args);
    parser->position = length + 1;
    const char *error = split_words(args, data, newline);
    return error != NULL ? fail(parser, error) : STEP_DONE;
}

static void begin_again(struct lks_parser *parser)
{
    parser->position = 0;
    parser->args_left = 0;
    parser->in_bulk = false;
    parser->oversize = false;
}

/* One command or empty line at data. */
static enum step read_command(struct lks_parser *parser, struct lks_arguments *args,
                              const char *data, size_t bytes)
{
    if (parser->args_left == 0 && data[0] != '*') {
        return read_inline(parser, args, data, bytes);
    }
    const bool collect = parser->position == 0;
    arguments_clear(args);
    enum step step = read_array(parser, args, collect, data, bytes);
    if (step == STEP_DONE && !collect && !parser->oversize) {
        /* It came in pieces: now that it is whole, its arguments are collected. */
        arguments_clear(args);
        begin_again(parser);
        step = read_array(parser, args, true, data, bytes);
        LKS_ASSERT(step != STEP_MORE);
    }
    return step;
}

enum lks_parse lks_parser_next(struct lks_parser *parser, struct lks_arguments *args,
                               const char *data, size_t bytes, size_t *consumed)
{
    size_t done = 0;
    while (done < bytes) {
        const enum step step = read_command(parser, args, data + done, bytes - done);
        if (step == STEP_ERROR) {
            *consumed = done;
            return LKS_PARSE_ERROR;
        }
        if (parser->oversize) {
            done += parser->position;
            parser->position = 0;
        }
        if (step == STEP_MORE) {
            break;
        }
        const bool oversize = parser->oversize;
        done += parser->position;
        begin_again(parser);
        if (oversize || args->count > 0) {
            *consumed = done;
            return oversize ? LKS_PARSE_TOO_BIG : LKS_PARSE_COMMAND;
        }
    }
    *consumed = done;
    return LKS_PARSE_MORE;
}

size_t lks_parser_needed(const struct lks_parser *parser)
{
    return parser->in_bulk && !parser->oversize ? parser->position + parser->bulk_left : 0;
}
