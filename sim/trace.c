/* The event log of a run; see trace.h. */
#include "sim/trace.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NOTE_BYTES 160

struct kept {
    uint64_t now_ns;
    struct lks_sim_record record; /* what == NULL: a note about replica a */
    char note[NOTE_BYTES];
};

struct lks_sim_trace {
    struct kept *ring;
    uint32_t capacity;
    bool print;
    uint64_t count;
    uint64_t kept_count;
    uint64_t hash;
};

struct lks_sim_trace *lks_sim_trace_new(uint32_t records_max, bool print)
{
    LKS_ASSERT(records_max > 0);
    struct lks_sim_trace *trace = calloc(1, sizeof *trace);
    LKS_ASSERT(trace != NULL);
    trace->capacity = records_max;
    trace->print = print;
    trace->hash = UINT64_C(0xcbf29ce484222325);
    trace->ring = calloc(records_max, sizeof *trace->ring);
    LKS_ASSERT(trace->ring != NULL);
    return trace;
}

void lks_sim_trace_free(struct lks_sim_trace *trace)
{
    if (trace != NULL) {
        free(trace->ring);
        free(trace);
    }
}

static void mix(struct lks_sim_trace *trace, uint64_t value)
{
    trace->hash = (trace->hash ^ value) * UINT64_C(0x9fb21c651e98df25);
    trace->hash ^= trace->hash >> 29;
}

static void mix_text(struct lks_sim_trace *trace, const char *text)
{
    uint64_t word = 0;
    for (unsigned i = 0; text[i] != '\0'; i++) {
        word = (word << 8) | (unsigned char)text[i];
        if (i % 8 == 7) {
            mix(trace, word);
            word = 0;
        }
    }
    mix(trace, word);
}

static void print_kept(const struct kept *kept, FILE *out)
{
    const struct lks_sim_record *record = &kept->record;
    (void)fprintf(out, "%12.6f ms  ", (double)kept->now_ns / 1e6);
    if (record->what == NULL) {
        (void)fprintf(out, "r%" PRIu32 "      %s\n", record->a, kept->note);
    } else if (record->b != 0) {
        (void)fprintf(out, "r%" PRIu32 "->r%" PRIu32 "  %s %" PRIu64 " %" PRIu64 "\n", record->a,
                      record->b, record->what, record->x, record->y);
    } else {
        (void)fprintf(out, "r%" PRIu32 "      %s %" PRIu64 " %" PRIu64 "\n", record->a,
                      record->what, record->x, record->y);
    }
}

/* The slot for a record of this time; one that is not advanced over is overwritten by the next. */
static struct kept *next_slot(struct lks_sim_trace *trace, uint64_t now_ns)
{
    struct kept *kept = &trace->ring[trace->kept_count % trace->capacity];
    kept->now_ns = now_ns;
    trace->count++;
    mix(trace, now_ns);
    return kept;
}

void lks_sim_trace_add(struct lks_sim_trace *trace, uint64_t now_ns,
                       const struct lks_sim_record *record)
{
    struct kept *kept = next_slot(trace, now_ns);
    kept->record = *record;
    mix_text(trace, record->what);
    mix(trace, ((uint64_t)record->a << 32) | record->b);
    mix(trace, record->x);
    mix(trace, record->y);
    trace->kept_count += record->quiet ? 0 : 1;
    if (trace->print) {
        print_kept(kept, stderr);
    }
}

void lks_sim_trace_note(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a,
                        const char *format, ...)
{
    struct kept *kept = next_slot(trace, now_ns);
    kept->record = (struct lks_sim_record){.a = a};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(kept->note, sizeof kept->note, format, args);
    va_end(args);
    mix(trace, a);
    mix_text(trace, kept->note);
    trace->kept_count++;
    if (trace->print) {
        print_kept(kept, stderr);
    }
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
        print_kept(&trace->ring[i % trace->capacity], out);
    }
}
