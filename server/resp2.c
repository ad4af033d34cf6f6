/*
 * Rewrites RESP3 values in the terms of RESP2; see output.h. Most replies are the same in both
 * and are copied as they are. What backends give is checked like everything else: a value that
 * is cut off or of an unknown type is refused.
 */
#include "server/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VALUES_MAX (UINT64_C(1) << 24) /* in one reply */

struct rewriter {
    struct lks_output *output;
    struct lks_output_pool *pool;
    const char *in;
    const char *end;
};

static int put(struct rewriter *rewriter, const char *data, size_t bytes)
{
    return lks_output_append(rewriter->output, rewriter->pool, data, bytes);
}

/* The line at `in` without its type and CRLF; moves behind it. */
static int take_line(struct rewriter *rewriter, const char **line, size_t *bytes)
{
    const char *cr = memchr(rewriter->in, '\r', (size_t)(rewriter->end - rewriter->in));
    if (cr == NULL || rewriter->end - cr < 2 || cr[1] != '\n') {
        return -EBADMSG;
    }
    *line = rewriter->in + 1;
    *bytes = (size_t)(cr - *line);
    rewriter->in = cr + 2;
    return 0;
}

static int parse_count(const char *line, size_t bytes, uint64_t *count)
{
    uint64_t value = 0;
    if (bytes == 0 || bytes > 12) {
        return -EBADMSG;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return -EBADMSG;
        }
        value = value * 10 + (uint64_t)(line[i] - '0');
    }
    *count = value;
    return 0;
}

static int put_head(struct rewriter *rewriter, char type, uint64_t count)
{
    char head[32];
    const int bytes = snprintf(head, sizeof head, "%c%llu\r\n", type, (unsigned long long)count);
    return put(rewriter, head, (size_t)bytes);
}

/* A double or big number: the text becomes a bulk string. */
static int put_text(struct rewriter *rewriter, const char *line, size_t bytes)
{
    int result = put_head(rewriter, '$', bytes);
    if (result == 0) {
        result = put(rewriter, line, bytes);
    }
    return result == 0 ? put(rewriter, "\r\n", 2) : result;
}

/* A bulk or verbatim string (which loses its format, "txt:"); line holds its length. */
static int put_bulk(struct rewriter *rewriter, const char *line, size_t line_bytes, size_t prefix)
{
    uint64_t bytes = 0;
    const int result = parse_count(line, line_bytes, &bytes);
    const size_t there = (size_t)(rewriter->end - rewriter->in);
    if (result != 0 || bytes < prefix || there < 2 || bytes > there - 2) {
        return -EBADMSG;
    }
    const char *text = rewriter->in;
    rewriter->in += bytes + 2;
    return put_text(rewriter, text + prefix, (size_t)bytes - prefix);
}

/* Writes one value; an aggregate's head only, and its elements are added to *values. */
static int put_value(struct rewriter *rewriter, uint64_t *values)
{
    const char *line;
    size_t bytes = 0;
    const char *start = rewriter->in;
    const int result = take_line(rewriter, &line, &bytes);
    if (result != 0) {
        return result;
    }
    uint64_t count = 0;
    switch (*start) {
    case '+':
    case '-':
    case ':':
        return put(rewriter, start, (size_t)(rewriter->in - start));
    case '_':
        return put(rewriter, "$-1\r\n", 5);
    case '#':
        return put(rewriter, bytes == 1 && *line == 't' ? ":1\r\n" : ":0\r\n", 4);
    case ',':
    case '(':
        return put_text(rewriter, line, bytes);
    case '$':
        return put_bulk(rewriter, line, bytes, 0);
    case '=':
        return put_bulk(rewriter, line, bytes, 4);
    case '*':
    case '~':
    case '%':
        if (parse_count(line, bytes, &count) != 0 || count > VALUES_MAX) {
            return -EBADMSG;
        }
        count *= *start == '%' ? 2 : 1;
        *values += count;
        return put_head(rewriter, '*', count);
    default:
        return -EBADMSG;
    }
}

int lks_output_reply(struct lks_output *output, struct lks_output_pool *pool, int protocol,
                     const void *reply, size_t bytes)
{
    const char *text = reply;
    if (bytes == 0) {
        return -EBADMSG;
    }
    if (protocol == 3 || *text == '+' || *text == ':' || *text == '$' || *text == '-') {
        return lks_output_append(output, pool, reply, bytes);
    }
    struct rewriter rewriter = {output, pool, text, text + bytes};
    uint64_t values = 1;
    int result = 0;
    while (result == 0 && values > 0) {
        values--;
        result = values > VALUES_MAX ? -EBADMSG : put_value(&rewriter, &values);
    }
    if (result == 0 && rewriter.in != rewriter.end) {
        result = -EBADMSG;
    }
    return result;
}
