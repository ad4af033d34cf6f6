/* The clients on the fabric of one replica, for people and programs; see clients_view.h. */
#include "client/clients_view.h"

#include "client/ask.h"
#include "client/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char g_head[] = "fabric_client";

#define HEAD_BYTES (sizeof g_head - 1)
#define PAIR_MAX 64

bool lks_clients_view_is_line(const char *line, size_t bytes)
{
    return bytes > HEAD_BYTES && memcmp(line, g_head, HEAD_BYTES) == 0 &&
           line[HEAD_BYTES] >= '0' && line[HEAD_BYTES] <= '9';
}

/* Calls show for each "name=value" behind the colon of a line. */
static void each_pair(const char *line, size_t bytes,
                      void (*show)(const char *name, const char *value))
{
    const char *colon = memchr(line, ':', bytes);
    const char *end = line + bytes;
    for (const char *at = colon != NULL ? colon + 1 : end; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;
        char pair[PAIR_MAX];
        (void)snprintf(pair, sizeof pair, "%.*s", (int)(stop - at), at);
        char *sign = strchr(pair, '=');
        if (sign != NULL) {
            *sign = '\0';
            show(pair, sign + 1);
        }
        at = comma != NULL ? comma + 1 : end;
    }
}

static void each_line(const char *info, void (*begin)(const char *lane),
                      void (*show)(const char *name, const char *value), void (*end)(void))
{
    for (const char *line = info; *line != '\0';) {
        const size_t bytes = strcspn(line, "\r\n");
        if (lks_clients_view_is_line(line, bytes)) {
            char lane[8];
            const size_t digits = strspn(line + HEAD_BYTES, "0123456789");
            (void)snprintf(lane, sizeof lane, "%.*s", (int)digits, line + HEAD_BYTES);
            begin(lane);
            each_pair(line, bytes, show);
            end();
        }
        line += bytes;
        line += strspn(line, "\r\n");
    }
}

static void begin_text(const char *lane)
{
    printf("       lane %s:", lane);
}

static void show_text(const char *name, const char *value)
{
    printf(" %s %s", name, value);
}

static void end_text(void)
{
    printf("\n");
}

void lks_clients_view_print(const char *info)
{
    const uint64_t count = lks_ask_number(info, "fabric_clients");
    const uint64_t let_go = lks_ask_number(info, "fabric_clients_let_go");
    if (count == 0 && let_go == 0) {
        return;
    }
    printf("     clients on the fabric: %" PRIu64 " of %" PRIu64, count,
           lks_ask_number(info, "fabric_clients_max"));
    if (let_go != 0) {
        printf("; let go: %" PRIu64 " (see the log)", let_go);
    }
    printf("\n");
    each_line(info, begin_text, show_text, end_text);
}

static bool g_first; /* of an array being printed */

static void begin_json(const char *lane)
{
    printf("%s{\"lane\":%s", g_first ? "" : ",", lane);
    g_first = false;
}

static bool is_number(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 20 && text[digits] == '\0' && (text[0] != '0' || digits == 1);
}

static void show_json(const char *name, const char *value)
{
    putchar(',');
    lks_json_print_string(name);
    putchar(':');
    if (is_number(value)) {
        fputs(value, stdout);
    } else {
        lks_json_print_string(value);
    }
}

static void end_json(void)
{
    putchar('}');
}

void lks_clients_view_print_json(const char *info)
{
    putchar('[');
    g_first = true;
    each_line(info, begin_json, show_json, end_json);
    putchar(']');
}
