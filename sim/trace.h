/*
 * What happened in a run. An event is one change of the simulated world: a call, an answer, a
 * write's bytes or a completion that arrive, a grant, a step of a replica that did something, a
 * fault. Every event is counted and goes into a hash: two runs of one seed have the same; if not,
 * something in the run depends on the machine. The newest that are worth reading are kept in a
 * ring. Nothing is formatted unless somebody reads it. One thread.
 */
#ifndef LKS_SIM_TRACE_H
#define LKS_SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct lks_sim_trace;

/* records_max: how many records are kept; print: each goes to standard error at once as well. */
struct lks_sim_trace *lks_sim_trace_new(uint32_t records_max, bool print);
void lks_sim_trace_free(struct lks_sim_trace *trace);

/* "what a->b x y". `what` must be a string literal; a, b: replicas, 0 for none. */
struct lks_sim_record {
    const char *what;
    uint32_t a;
    uint32_t b;
    uint64_t x;
    uint64_t y;
    bool quiet; /* hashed, and printed if all is printed, but not kept: too common */
};

/* Adds an event. Cheap. */
void lks_sim_trace_add(struct lks_sim_trace *trace, uint64_t now_ns,
                       const struct lks_sim_record *record);

/* Adds an event as a formatted line about replica a (0 for none); cut at 159 characters. */
void lks_sim_trace_note(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

/* From now on the run is told to people: events come as sentences where they can (as _tell makes
 * them), and how they are counted and hashed does not change. */
void lks_sim_trace_begin_telling(struct lks_sim_trace *trace);
bool lks_sim_trace_tells(const struct lks_sim_trace *trace);

/* Tells what no event says, or says better what the event just added says, whose place it takes
 * if `instead`. Nothing happens unless the run is told. */
void lks_sim_trace_tell(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a, bool instead,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

uint64_t lks_sim_trace_hash(const struct lks_sim_trace *trace);
uint64_t lks_sim_trace_count(const struct lks_sim_trace *trace);

/* Prints the newest records_max records that are still kept, oldest first. */
void lks_sim_trace_print(const struct lks_sim_trace *trace, FILE *out, uint32_t records_max);

#endif
