/* The event log of a run; see trace.h. */
#include "sim/trace.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_BYTES 160u
#define NOTES_PART 4u /* a note for so many records; older ones are overwritten */
#define NAMES_MAX 256u
#define MULTIPLIER UINT64_C(0x9fb21c651e98df25)

struct kept {
    uint64_t now_ns;
    const char *what; /* NULL: a note about replica a; x is its number */
    uint32_t a;
    uint32_t b;
    uint64_t x;
    uint64_t y;
};

/* The hash of a literal's text, by its address: which differs from process to process. */
struct name {
    const char *what;
    uint64_t hash;
};

struct lks_sim_trace {
    uint32_t capacity;
    uint32_t notes_capacity;
    bool print;
    bool tells;
    struct kept *ring;
    char (*notes)[NOTE_BYTES];
    uint64_t notes_count;
    uint64_t count;
    uint64_t kept_count;
    uint64_t hash;
    struct name names[NAMES_MAX];
};

/* The one of an earlier run, used again: pages that are new cost more than what is written. */
static struct lks_sim_trace *g_spare;

static void destroy(struct lks_sim_trace *trace)
{
    if (trace != NULL) {
        free(trace->ring);
        free(trace->notes);
        free(trace);
    }
}

struct lks_sim_trace *lks_sim_trace_new(uint32_t records_max, bool print)
{
    LKS_ASSERT(records_max > 0);
    struct lks_sim_trace *trace = g_spare;
    g_spare = NULL;
    if (trace == NULL || trace->capacity != records_max) {
        destroy(trace);
        trace = calloc(1, sizeof *trace);
        LKS_ASSERT(trace != NULL);
        trace->capacity = records_max;
        trace->notes_capacity = (records_max + NOTES_PART - 1) / NOTES_PART;
        trace->ring = calloc(trace->capacity, sizeof *trace->ring);
        trace->notes = calloc(trace->notes_capacity, sizeof *trace->notes);
        LKS_ASSERT(trace->ring != NULL);
        LKS_ASSERT(trace->notes != NULL);
    }
    trace->print = print;
    trace->tells = false;
    trace->notes_count = 0;
    trace->count = 0;
    trace->kept_count = 0;
    trace->hash = UINT64_C(0xcbf29ce484222325);
    return trace;
}

void lks_sim_trace_free(struct lks_sim_trace *trace)
{
    if (trace != NULL) {
        destroy(g_spare);
        g_spare = trace;
    }
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * MULTIPLIER;
    return hash ^ (hash >> 29);
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0;
    uint64_t word = 0;
    for (unsigned i = 0; text[i] != '\0'; i++) {
        word = (word << 8) | (unsigned char)text[i];
        if (i % 8 == 7) {
            hash = mix(hash, word);
            word = 0;
        }
    }
    return mix(hash, word);
}

/* The hash of a literal, remembered by its address. */
static uint64_t hash_name(struct lks_sim_trace *trace, const char *what)
{
    for (uint64_t place = (uintptr_t)what >> 2;; place++) {
        struct name *name = &trace->names[place % NAMES_MAX];
        if (name->what == NULL) {
            *name = (struct name){.what = what, .hash = hash_text(what)};
        }
        if (name->what == what) {
            return name->hash;
        }
    }
}

static void print_kept(const struct lks_sim_trace *trace, const struct kept *kept, FILE *out)
{
    (void)fprintf(out, "%12.6f ms  ", (double)kept->now_ns / 1e6);
    if (kept->what == NULL) {
        const bool there = trace->notes_count - kept->x <= trace->notes_capacity;
        char who[16] = "";
        if (kept->a != 0) {
            (void)snprintf(who, sizeof who, "r%" PRIu32, kept->a);
        }
        (void)fprintf(out, "%-6s  %s\n", who,
                      there ? trace->notes[kept->x % trace->notes_capacity] : "...");
    } else if (kept->b != 0) {
        (void)fprintf(out, "r%" PRIu32 "->r%" PRIu32 "  %s %" PRIu64 " %" PRIu64 "\n", kept->a,
                      kept->b, kept->what, kept->x, kept->y);
    } else {
        (void)fprintf(out, "r%" PRIu32 "      %s %" PRIu64 " %" PRIu64 "\n", kept->a, kept->what,
                      kept->x, kept->y);
    }
}

void lks_sim_trace_add(struct lks_sim_trace *trace, uint64_t now_ns,
                       const struct lks_sim_record *record)
{
    uint64_t hash = mix(trace->hash, now_ns ^ hash_name(trace, record->what));
    hash = mix(hash, (uint64_t)record->a << 32 ^ record->b ^ record->x);
    trace->hash = mix(hash, record->y);
    trace->count++;
    if (record->quiet && !trace->print) {
        return;
    }
    struct kept *kept = &trace->ring[trace->kept_count % trace->capacity];
    *kept = (struct kept){.now_ns = now_ns,
                          .what = record->what,
                          .a = record->a,
                          .b = record->b,
                          .x = record->x,
                          .y = record->y};
    trace->kept_count += record->quiet ? 0 : 1;
    if (trace->print) {
        print_kept(trace, kept, stderr);
    }
}

/* Keeps a line; returns its text. */
static const char *keep_line(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a,
                             const char *format, va_list args)
{
    char *note = trace->notes[trace->notes_count % trace->notes_capacity];
    struct kept *kept = &trace->ring[trace->kept_count % trace->capacity];
    *kept = (struct kept){.now_ns = now_ns, .a = a, .x = trace->notes_count};
    if (strcmp(format, "%s") == 0) { /* many are lines of a log, formatted already */
        const char *line = va_arg(args, const char *);
        const size_t length = strnlen(line, NOTE_BYTES - 1);
        memcpy(note, line, length);
        note[length] = '\0';
    } else {
        (void)vsnprintf(note, NOTE_BYTES, format, args);
    }
    trace->notes_count++;
    trace->kept_count++;
    if (trace->print) {
        print_kept(trace, kept, stderr);
    }
    return note;
}

void lks_sim_trace_note(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a,
                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *note = keep_line(trace, now_ns, a, format, args);
    va_end(args);
    trace->hash = mix(mix(trace->hash, now_ns ^ a), hash_text(note));
    trace->count++;
}

void lks_sim_trace_begin_telling(struct lks_sim_trace *trace)
{
    trace->tells = true;
}

bool lks_sim_trace_tells(const struct lks_sim_trace *trace)
{
    return trace->tells;
}

void lks_sim_trace_tell(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a, bool instead,
                        const char *format, ...)
{
    if (!trace->tells) {
        return;
    }
    va_list args;
    va_start(args, format);
    trace->kept_count -= instead && trace->kept_count > 0 ? 1 : 0;
    (void)keep_line(trace, now_ns, a, format, args);
    va_end(args);
}

uint64_t lks_sim_trace_hash(const struct lks_sim_trace *trace)
{
    return trace->hash;
}

uint64_t lks_sim_trace_count(const struct lks_sim_trace *trace)
{
    return trace->count;
}

void lks_sim_trace_print(const struct lks_sim_trace *trace, FILE *out, uint32_t records_max)
{
    const uint64_t end = trace->kept_count;
    uint64_t kept = end < trace->capacity ? end : trace->capacity;
    if (kept > records_max) {
        kept = records_max;
    }
    for (uint64_t i = end - kept; i < end; i++) {
        print_kept(trace, &trace->ring[i % trace->capacity], out);
    }
}
