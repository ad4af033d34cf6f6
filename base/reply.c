/* Builds RESP3 values; see lockstep/reply.h. */
#include "lockstep/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define REPLY_FIRST_BYTES 256u
#define REPLY_KEPT_BYTES_MAX (1u << 20) /* a larger buffer is given back when cleared */
#define REPLY_LINE_MAX 512

void lks_reply_init(struct lks_reply *reply)
{
    memset(reply, 0, sizeof *reply);
}

void lks_reply_fini(struct lks_reply *reply)
{
    free(reply->data);
    memset(reply, 0, sizeof *reply);
}

void lks_reply_clear(struct lks_reply *reply)
{
    if (reply->capacity > REPLY_KEPT_BYTES_MAX) {
        lks_reply_fini(reply);
    }
    reply->bytes = 0;
}

static void append(struct lks_reply *reply, const void *data, size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    if (reply->capacity - reply->bytes < bytes) {
        size_t capacity = reply->capacity != 0 ? reply->capacity : REPLY_FIRST_BYTES;
        while (capacity - reply->bytes < bytes) {
            LKS_ASSERT(capacity <= SIZE_MAX / 2);
            capacity *= 2;
        }
        char *grown = realloc(reply->data, capacity);
        LKS_ASSERT(grown != NULL);
        reply->data = grown;
        reply->capacity = capacity;
    }
    memcpy(reply->data + reply->bytes, data, bytes);
    reply->bytes += bytes;
}

static void append_line(struct lks_reply *reply, char type, const char *text)
{
    append(reply, &type, 1);
    const size_t start = reply->bytes;
    append(reply, text, strlen(text));
    for (size_t i = start; i < reply->bytes; i++) {
        if (reply->data[i] == '\r' || reply->data[i] == '\n') {
            reply->data[i] = ' ';
        }
    }
    append(reply, "\r\n", 2);
}

/* Writes type, decimal number, CRLF without printf: this is on the path of every command. */
static void append_number(struct lks_reply *reply, char type, int64_t value)
{
    char line[32];
    char *end = line + sizeof line;
    char *p = end;
    uint64_t rest = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
    *--p = '\n';
    *--p = '\r';
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0) {
        *--p = '-';
    }
    *--p = type;
    append(reply, p, (size_t)(end - p));
}

void lks_reply_status(struct lks_reply *reply, const char *text)
{
    append_line(reply, '+', text);
}

void lks_reply_error(struct lks_reply *reply, const char *format, ...)
{
    char text[REPLY_LINE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    append_line(reply, '-', text);
}

void lks_reply_integer(struct lks_reply *reply, int64_t value)
{
    append_number(reply, ':', value);
}

void lks_reply_bulk(struct lks_reply *reply, const void *data, size_t bytes)
{
    append_number(reply, '$', (int64_t)bytes);
    append(reply, data, bytes);
    append(reply, "\r\n", 2);
}

void lks_reply_null(struct lks_reply *reply)
{
    append(reply, "_\r\n", 3);
}

void lks_reply_array(struct lks_reply *reply, size_t count)
{
    append_number(reply, '*', (int64_t)count);
}

void lks_reply_map(struct lks_reply *reply, size_t pairs)
{
    append_number(reply, '%', (int64_t)pairs);
}

void lks_reply_append(struct lks_reply *reply, const struct lks_reply *values)
{
    append(reply, values->data, values->bytes);
}
