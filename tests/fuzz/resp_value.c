/* See resp_value.h. Values that are still expected are counted, so nesting costs no stack. */
#include "tests/fuzz/resp_value.h"

#include <string.h>

/* The line from *at on; NULL: it has no end. *at moves behind it. */
static const char *take_line(const char *data, size_t bytes, size_t *at, size_t *line_bytes)
{
    const char *begin = data + *at;
    const char *end = memchr(begin, '\r', bytes - *at);
    if (end == NULL || (size_t)(end - data) + 1 >= bytes || end[1] != '\n') {
        return NULL;
    }
    *line_bytes = (size_t)(end - begin);
    *at += *line_bytes + 2;
    return begin;
}

static bool parse_number(const char *text, size_t bytes, int64_t *number)
{
    const bool negative = bytes > 0 && text[0] == '-';
    uint64_t value = 0;
    if (bytes == (negative ? 1u : 0u) || bytes > 20) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *number = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static bool is_text(const char *text, size_t bytes)
{
    return memchr(text, '\n', bytes) == NULL;
}

bool resp_value_whole(const char *data, size_t bytes)
{
    size_t at = 0;
    uint64_t expected = 1;
    while (expected > 0) {
        size_t line_bytes = 0;
        int64_t number = 0;
        const char *line = at < bytes ? take_line(data, bytes, &at, &line_bytes) : NULL;
        if (line == NULL || line_bytes == 0) {
            return false;
        }
        expected--;
        const char kind = line[0];
        if (kind == '+' || kind == '-') {
            if (!is_text(line, line_bytes)) {
                return false;
            }
        } else if (kind == '_') {
            if (line_bytes != 1) {
                return false;
            }
        } else if (kind == '#') {
            if (line_bytes != 2 || (line[1] != 't' && line[1] != 'f')) {
                return false;
            }
        } else if (kind == ',') {
            if (line_bytes < 2 || !is_text(line, line_bytes)) {
                return false;
            }
        } else if (!parse_number(line + 1, line_bytes - 1, &number)) {
            return false;
        } else if (kind == '$' || kind == '=') {
            if (number < 0 || (uint64_t)number + 2 > bytes - at ||
                memcmp(data + at + number, "\r\n", 2) != 0) {
                return false;
            }
            at += (size_t)number + 2;
        } else if (kind == '*' || kind == '~' || kind == '>' || kind == '%') {
            if (number < 0 || (uint64_t)number > bytes) {
                return false;
            }
            expected += (uint64_t)number * (kind == '%' ? 2 : 1);
        } else if (kind != ':') {
            return false;
        }
    }
    return at == bytes;
}
