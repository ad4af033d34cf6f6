/*
 * What is measured without options for one measurement: groups of workloads, each a list of values
 * of one parameter, as in the papers' figures.
 */
#ifndef LKS_BENCH_SCHED_SUITE_H
#define LKS_BENCH_SCHED_SUITE_H

#include "bench/sched/measure.h"

#define LKS_SUITE_VALUES_MAX 10u

/* What a row changes from measurement to measurement. */
enum lks_suite_knob {
    LKS_KNOB_NONE, /* one measurement */
    LKS_KNOB_COST,
    LKS_KNOB_CONFLICT,
    LKS_KNOB_WORKERS,
    LKS_KNOB_LIST,
    LKS_KNOB_ZIPF, /* in hundredths */
    LKS_KNOB_ACCESSES,
    LKS_KNOB_WRITES,
    LKS_KNOB_SEVERAL,
};

struct lks_suite_row {
    const char *group;      /* one word: --suite, and the name of its plot */
    const char *axis;       /* of the plot; NULL: none is drawn */
    const char *workload;   /* in words; the knob's value is put behind it */
    const char *schedulers; /* names, with blanks around each */
    uint32_t workers;
    bool help;
    bool no_steal;
    bool in_turns;
    enum lks_suite_knob knob;
    uint32_t count; /* of values */
    uint32_t values[LKS_SUITE_VALUES_MAX];
    struct lks_load_options load; /* fields that are 0 keep their defaults */
};

/* All rows; NULL group ends it. Rows of one group stand together. */
extern const struct lks_suite_row lks_suite[];

struct lks_suite_point {
    char workload[40];
    double at; /* the knob's value */
    struct lks_load_options load;
    struct lks_measure_options measure; /* its contestant is left as it is */
};

/* Value `i` of a row, on top of the defaults that `point` has. quick: a tenth of the commands. */
void lks_suite_point_at(const struct lks_suite_row *row, uint32_t i, bool quick,
                        struct lks_suite_point *point);

/* Whether the row measures this one. */
bool lks_suite_has(const struct lks_suite_row *row, const char *scheduler);

#endif
