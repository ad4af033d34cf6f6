/*
 * What happened in a run: the last records in a ring, and a hash over all of them. Two runs of
 * one seed have the same hash; if not, something in the run depends on the machine. One thread.
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

/* Adds a record. Cheap: nothing is formatted unless it is printed. */
void lks_sim_trace_add(struct lks_sim_trace *trace, uint64_t now_ns,
                       const struct lks_sim_record *record);

/* Adds a formatted line about replica a (0 for none); cut at 159 characters. */
void lks_sim_trace_note(struct lks_sim_trace *trace, uint64_t now_ns, uint32_t a,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

uint64_t lks_sim_trace_hash(const struct lks_sim_trace *trace);
uint64_t lks_sim_trace_count(const struct lks_sim_trace *trace);

/* Prints the newest records_max records that are still kept, oldest first. */
void lks_sim_trace_print(const struct lks_sim_trace *trace, FILE *out, uint32_t records_max);

#endif
