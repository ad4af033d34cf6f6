/* Values as people write them; see value.h. */
#include "node/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"K", UINT64_C(1) << 10},
    {"M", UINT64_C(1) << 20},
    {"G", UINT64_C(1) << 30},
    {"T", UINT64_C(1) << 40},
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", UINT64_C(1000)},
    {"ms", UINT64_C(1000000)},
    {"s", UINT64_C(1000000000)},
};

/* Reads the decimal digits that text begins with; *rest is what follows them. */
static int read_digits(const char *text, uint64_t *number, const char **rest)
{
    if (!isdigit((unsigned char)text[0])) {
        return -EINVAL;
    }
    char *end = NULL;
    errno = 0;
    const unsigned long long parsed = strtoull(text, &end, 10);
    if (errno == ERANGE) {
        return -ERANGE;
    }
    *number = parsed;
    *rest = end;
    return 0;
}

static int scale(uint64_t number, uint64_t factor, uint64_t *result)
{
    uint64_t product = 0;
    if (__builtin_mul_overflow(number, factor, &product)) {
        return -ERANGE;
    }
    *result = product;
    return 0;
}

int lks_value_size(const char *text, uint64_t *bytes)
{
    uint64_t number = 0;
    const char *rest = NULL;
    const int rc = read_digits(text, &number, &rest);
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < sizeof size_units / sizeof size_units[0]; i++) {
        const size_t length = strlen(size_units[i].name);
        if (strncasecmp(rest, size_units[i].name, length) != 0) {
            continue;
        }
        const char *tail = rest + length;
        const bool plain = *tail == '\0' || strcasecmp(tail, "B") == 0;
        if (plain || (length > 0 && strcasecmp(tail, "iB") == 0)) {
            return scale(number, size_units[i].factor, bytes);
        }
    }
    return -EINVAL;
}

int lks_value_duration(const char *text, uint64_t *ns)
{
    uint64_t number = 0;
    const char *rest = NULL;
    const int rc = read_digits(text, &number, &rest);
    if (rc != 0) {
        return rc;
    }
    if (*rest == '\0' && number == 0) {
        *ns = 0;
        return 0;
    }
    for (size_t i = 0; i < sizeof duration_units / sizeof duration_units[0]; i++) {
        if (strcmp(rest, duration_units[i].name) == 0) {
            return scale(number, duration_units[i].factor, ns);
        }
    }
    return -EINVAL;
}

int lks_value_count(const char *text, uint64_t *count)
{
    uint64_t number = 0;
    const char *rest = NULL;
    const int rc = read_digits(text, &number, &rest);
    if (rc != 0) {
        return rc;
    }
    if (*rest != '\0') {
        return -EINVAL;
    }
    *count = number;
    return 0;
}

int lks_value_boolean(const char *text, bool *value)
{
    static const char *const yes[] = {"yes", "true", "on"};
    static const char *const no[] = {"no", "false", "off"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *value = true;
            return 0;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *value = false;
            return 0;
        }
    }
    return -EINVAL;
}

int lks_value_address(const char *text, char address[LKS_ADDRESS_TEXT_MAX], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) {
        return -EINVAL;
    }
    const bool bracketed = text[0] == '[';
    const char *host = bracketed ? text + 1 : text;
    const char *host_end = bracketed ? colon - 1 : colon;
    if (bracketed && *host_end != ']') {
        return -EINVAL;
    }
    const size_t length = (size_t)(host_end - host);
    if (length == 0 || length >= LKS_ADDRESS_TEXT_MAX) {
        return -EINVAL;
    }
    char copy[LKS_ADDRESS_TEXT_MAX];
    memcpy(copy, host, length);
    copy[length] = '\0';
    unsigned char binary[sizeof(struct in6_addr)];
    if (inet_pton(bracketed ? AF_INET6 : AF_INET, copy, binary) != 1) {
        return -EADDRNOTAVAIL;
    }
    uint64_t number = 0;
    if (lks_value_count(colon + 1, &number) != 0 || number < 1 || number > UINT16_MAX) {
        return -ERANGE;
    }
    memcpy(address, copy, length + 1);
    *port = (uint16_t)number;
    return 0;
}

/* One character of UTF-8 (RFC 3629), 0 if it is none; *bytes is how long it is. */
static uint32_t decode_utf8(const unsigned char *text, unsigned *bytes)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char first = text[0];
    const unsigned following = first < 0x80                    ? 0
                               : first >= 0xc0 && first < 0xe0 ? 1
                               : first >= 0xe0 && first < 0xf0 ? 2
                               : first >= 0xf0 && first < 0xf8 ? 3
                                                               : 4;
    if (following == 4) {
        return 0;
    }
    uint32_t value = following == 0 ? first : first & (0x3fu >> following);
    for (unsigned i = 1; i <= following; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0; /* the end of the text, too */
        }
        value = value << 6 | (text[i] & 0x3f);
    }
    *bytes = following + 1;
    return value >= least[following] ? value : 0;
}

/* What YAML 1.1 (5.1) calls printable, but for what ends a line, tabs and byte order marks. */
static bool is_printable(uint32_t value)
{
    return (value >= 0x20 && value <= 0x7e) ||
           (value >= 0xa0 && value <= 0xd7ff && value != 0x2028 && value != 0x2029) ||
           (value >= 0xe000 && value <= 0xfffd && value != 0xfeff) ||
           (value >= 0x10000 && value <= 0x10ffff);
}

int lks_value_unprintable(const char *text)
{
    for (size_t at = 0; text[at] != '\0';) {
        unsigned bytes = 0;
        if (!is_printable(decode_utf8((const unsigned char *)text + at, &bytes))) {
            return (int)at;
        }
        at += bytes;
    }
    return -1;
}

int lks_value_cluster_id(const char *text, uint8_t id[16])
{
    uint8_t parsed[16] = {0};
    size_t digits = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '-' && digits > 0) {
            continue;
        }
        if (!isxdigit((unsigned char)*at) || digits == 32) {
            return -EINVAL;
        }
        const int lower = tolower((unsigned char)*at);
        const unsigned digit = (unsigned)(lower <= '9' ? lower - '0' : lower - 'a' + 10);
        parsed[digits / 2] = (uint8_t)(parsed[digits / 2] << 4 | digit);
        digits++;
    }
    if (digits != 32) {
        return -EINVAL;
    }
    memcpy(id, parsed, sizeof parsed);
    return 0;
}

void lks_value_cluster_id_text(const uint8_t id[16], char text[LKS_CLUSTER_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *out = text;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = digits[id[i] >> 4];
        *out++ = digits[id[i] & 15];
    }
    *out = '\0';
}

const char *lks_value_size_text(uint64_t bytes, char *text, size_t text_bytes)
{
    size_t unit = 0;
    while (unit + 1 < sizeof size_units / sizeof size_units[0] && bytes != 0 &&
           bytes % size_units[unit + 1].factor == 0) {
        unit++;
    }
    (void)snprintf(text, text_bytes, "%" PRIu64 "%s", bytes / size_units[unit].factor,
                   size_units[unit].name);
    return text;
}

const char *lks_value_duration_text(uint64_t ns, char *text, size_t text_bytes)
{
    size_t unit = 0;
    while (unit + 1 < sizeof duration_units / sizeof duration_units[0] && ns != 0 &&
           ns % duration_units[unit + 1].factor == 0) {
        unit++;
    }
    (void)snprintf(text, text_bytes, "%" PRIu64 "%s", ns / duration_units[unit].factor,
                   duration_units[unit].name);
    return text;
}
