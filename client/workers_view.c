/* The executors of one replica, for people and programs; see workers_view.h. */
#include "client/workers_view.h"

#include "base/assert.h"
#include "client/ask.h"
#include "client/json.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 256
#define ABSENT UINT64_MAX

static const char *const figures[] = {"executed", "stolen", "given",  "waited",
                                      "parked",   "depth",  "idle_ms", "busy"};
enum { EXECUTED, STOLEN, GIVEN, WAITED, PARKED, DEPTH, IDLE_MS, BUSY, FIGURES };

_Static_assert(LKS_COUNT_OF(figures) == FIGURES, "every figure has its name");

bool lks_workers_view_is_line(const char *line, size_t bytes)
{
    static const char core[] = "worker_core:";
    static const char worker[] = "worker";
    const size_t head = sizeof worker - 1;
    return (bytes > head && memcmp(line, worker, head) == 0 && line[head] >= '0' &&
            line[head] <= '9') ||
           (bytes >= sizeof core - 1 && memcmp(line, core, sizeof core - 1) == 0);
}

/* The number behind "name=" in a list such as "a=1,b=2". */
static uint64_t figure_of(const char *list, const char *name)
{
    const size_t bytes = strlen(name);
    for (const char *at = list; at != NULL && *at != '\0';) {
        if (strncmp(at, name, bytes) == 0 && at[bytes] == '=') {
            return strtoull(at + bytes + 1, NULL, 10);
        }
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    return ABSENT;
}

/* Calls show for each executor. */
static void each(const char *info, void (*show)(const char *name, const uint64_t *values))
{
    for (const char *line = info; *line != '\0';) {
        const size_t length = strcspn(line, "\r\n");
        const char *colon = memchr(line, ':', length);
        if (lks_workers_view_is_line(line, length) && colon != NULL) {
            char name[24];
            char list[LINE_MAX_BYTES];
            uint64_t values[FIGURES];
            (void)snprintf(name, sizeof name, "%.*s", (int)(colon - line), line);
            (void)snprintf(list, sizeof list, "%.*s", (int)(length - (size_t)(colon - line) - 1),
                           colon + 1);
            for (size_t i = 0; i < FIGURES; i++) {
                values[i] = figure_of(list, figures[i]);
            }
            show(name, values);
        }
        line += length;
        line += strspn(line, "\r\n");
    }
}

static uint64_t known(uint64_t value)
{
    return value == ABSENT ? 0 : value;
}

static void show_row(const char *name, const uint64_t *values)
{
    char busy[24] = "-";
    if (values[BUSY] != ABSENT) {
        (void)snprintf(busy, sizeof busy, "%" PRIu64 " %%", values[BUSY]);
    }
    printf("     %-12s %7s %7" PRIu64 " %12" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
           " %10" PRIu64 "\n",
           name, busy, known(values[DEPTH]), known(values[EXECUTED]), known(values[STOLEN]),
           known(values[GIVEN]), known(values[WAITED]), known(values[PARKED]));
}

void lks_workers_view_print(const char *info)
{
    char kind[32];
    char wanted[32];
    const uint64_t workers = lks_ask_number(info, "workers");
    const uint64_t in_place = lks_ask_number(info, "executed_in_place");
    (void)lks_ask_value(info, "scheduler", kind, sizeof kind);
    (void)lks_ask_value(info, "scheduler_wanted", wanted, sizeof wanted);
    printf("scheduler %s", kind);
    if (strcmp(kind, wanted) != 0 && wanted[0] != '\0') {
        printf(", soon %s", wanted);
    }
    if (workers == 0) {
        printf(", no workers: %" PRIu64 " executed in place\n", in_place);
        return;
    }
    printf(", %" PRIu64 " of %" PRIu64 " workers, %" PRIu64 " commands under way; %" PRIu64
           " scheduled so far, %" PRIu64 " executed in place\n",
           lks_ask_number(info, "workers_active"), workers,
           lks_ask_number(info, "commands_under_way"), lks_ask_number(info, "scheduled"), in_place);
    printf("     %-12s %7s %7s %12s %10s %10s %10s %10s\n", "", "busy", "queue", "executed",
           "stolen", "given", "waited", "slept");
    each(info, show_row);
}

static bool g_first; /* of an array being printed */

static void show_json(const char *name, const uint64_t *values)
{
    printf("%s{\"name\":", g_first ? "" : ",");
    g_first = false;
    lks_json_print_string(name);
    for (size_t i = 0; i < FIGURES; i++) {
        if (values[i] != ABSENT) {
            printf(",\"%s\":%" PRIu64, figures[i], values[i]);
        }
    }
    putchar('}');
}

void lks_workers_view_print_json(const char *info)
{
    putchar('[');
    g_first = true;
    each(info, show_json);
    putchar(']');
}
