/* The table of workloads; see suite.h and docs/scheduling.md ("Figures"). */
#include "bench/sched/suite.h"

#include "base/assert.h"

#include <stdio.h>
#include <string.h>

#define OURS " early late hybrid adaptive "
#define GRAPHS " floor early late hybrid adaptive cbase lock-free-graph openmp tbb-flow-graph "
#define EVERY \
    " floor early late hybrid adaptive cbase lock-free-graph early-barriers openmp tbb-flow-graph "

/* A run takes some 20 ms, less where rivals need much longer. */
const struct lks_suite_row lks_suite[] = {
    {"overhead", NULL, "in turns", OURS, .workers = 1, .in_turns = true,
     .load = {.commands = 2000000}},
    {"overhead", NULL, "one worker", OURS, .workers = 1, .load = {.commands = 2000000}},
    {"overhead", NULL, "one worker, cold", " early late ", .workers = 1,
     .load = {.commands = 1000000, .keys = 1u << 20, .log_entries = 1u << 18}},
    {"overhead", NULL, "two workers, cold", " early late hybrid ", .workers = 2,
     .load = {.commands = 1000000, .keys = 1u << 20, .log_entries = 1u << 18}},
    {"cheap", NULL, "cheap", EVERY, .workers = 2, .load = {.commands = 200000}},
    {"costs", "cost of a command, ns", "cost", EVERY, .workers = 2, .knob = LKS_KNOB_COST,
     .count = 4, .values = {100, 1000, 5000, 50000}, .load = {.commands = 100000}},
    {"conflicts", "commands that conflict, %", "1 us, conflict", GRAPHS, .workers = 2,
     .knob = LKS_KNOB_CONFLICT, .count = 6, .values = {0, 5, 10, 25, 50, 100},
     .load = {.commands = 20000, .cost_ns = 1000}},
    {"one-thread-fewer", NULL, "1 us, 5 % conflict", " floor ", .workers = 2,
     .load = {.commands = 50000, .cost_ns = 1000, .conflict_percent = 5}},
    {"one-thread-fewer", NULL, "1 us, 5 % conflict", " early late hybrid ", .workers = 1,
     .help = true, .load = {.commands = 50000, .cost_ns = 1000, .conflict_percent = 5}},
    {"workers", "workers", "1 us, 5 % conflict, workers", GRAPHS, .workers = 2,
     .knob = LKS_KNOB_WORKERS, .count = 4, .values = {1, 2, 4, 8},
     .load = {.commands = 20000, .cost_ns = 1000, .conflict_percent = 5}},
    {"all-conflict", NULL, "100 % conflict, cost", " adaptive late ", .workers = 2,
     .knob = LKS_KNOB_COST, .count = 3, .values = {0, 100, 1000},
     .load = {.commands = 100000, .conflict_percent = 100}},
    {"all-conflict", NULL, "100 % conflict, no cost, long", " adaptive ", .workers = 2,
     .load = {.commands = 20000000, .conflict_percent = 100}}, /* what trials cost is spread */
    {"several", "commands of two classes, %", "1 us, two classes", " floor early late hybrid "
     "early-barriers ", .workers = 2, .knob = LKS_KNOB_SEVERAL, .count = 5,
     .values = {0, 1, 5, 10, 20}, .load = {.commands = 20000, .cost_ns = 1000}},
    {"zipf", "skew of keys (Zipf), hundredths", "1 us, 50 % writes, zipf",
     " floor early late hybrid adaptive openmp ", .workers = 2, .knob = LKS_KNOB_ZIPF, .count = 5,
     .values = {0, 50, 70, 90, 99},
     .load = {.commands = 20000, .cost_ns = 1000, .write_percent = 50}},
    {"keys", "keys of a command", "1 us, keys", " floor late hybrid openmp ", .workers = 2,
     .knob = LKS_KNOB_ACCESSES, .count = 6, .values = {1, 2, 4, 6, 8, 10},
     .load = {.commands = 20000, .cost_ns = 1000}},
    {"writes", "commands that write, %", "1 us, 64 keys, writes",
     " floor early late hybrid adaptive openmp ", .workers = 2, .knob = LKS_KNOB_WRITES,
     .count = 6, .values = {0, 5, 25, 50, 75, 100},
     .load = {.commands = 20000, .cost_ns = 1000, .keys = 64}},
    {"lists", "elements of a list, 5 % writes", "5 % writes, list",
     " floor early late adaptive lock-free-graph early-barriers openmp ", .workers = 2,
     .knob = LKS_KNOB_LIST, .count = 3, .values = {1000, 10000, 100000},
     .load = {.commands = 20000, .write_percent = 5}},
    {"stealing", NULL, "90 % in one's, 2 % writes", " floor early late hybrid ", .workers = 2,
     .load = {.commands = 50000, .cost_ns = 1000, .skew_percent = 90, .write_percent = 2}},
    {"stealing", NULL, "90 % in one's, 2 % writes", " early late hybrid ", .workers = 2,
     .no_steal = true,
     .load = {.commands = 50000, .cost_ns = 1000, .skew_percent = 90, .write_percent = 2}},
    {NULL, NULL, NULL, NULL, .workers = 0},
};

bool lks_suite_has(const struct lks_suite_row *row, const char *scheduler)
{
    char name[32];
    (void)snprintf(name, sizeof name, " %s ", scheduler);
    return strstr(row->schedulers, name) != NULL;
}

static void take_load(const struct lks_load_options *from, struct lks_load_options *to)
{
    to->commands = from->commands;
    to->cost_ns = from->cost_ns;
    to->conflict_percent = from->conflict_percent;
    to->skew_percent = from->skew_percent;
    to->write_percent = from->write_percent == 0 ? to->write_percent : from->write_percent;
    to->keys = from->keys == 0 ? to->keys : from->keys;
    to->log_entries = from->log_entries == 0 ? to->log_entries : from->log_entries;
}

static void turn_knob(enum lks_suite_knob knob, uint32_t value, struct lks_suite_point *point)
{
    struct lks_load_options *load = &point->load;
    switch (knob) {
    case LKS_KNOB_NONE: break;
    case LKS_KNOB_COST: load->cost_ns = value; break;
    case LKS_KNOB_CONFLICT: load->conflict_percent = value; break;
    case LKS_KNOB_WORKERS: point->measure.workers = value; break;
    case LKS_KNOB_LIST: load->list = value; break;
    case LKS_KNOB_ZIPF: load->zipf = value / 100.0; break;
    case LKS_KNOB_ACCESSES: load->accesses = value; break;
    case LKS_KNOB_WRITES: load->write_percent = value; break;
    case LKS_KNOB_SEVERAL: load->several_percent = value; break;
    }
}

/* So many that long commands do not take longer altogether. */
static uint64_t commands_of(const struct lks_load_options *load, bool quick)
{
    const uint64_t about_ns = load->cost_ns + load->list * UINT64_C(2);
    const uint64_t fitting = UINT64_C(50000000) / (about_ns + 1);
    const uint64_t commands = load->commands < fitting ? load->commands : fitting;
    const uint64_t most = quick ? commands / 10 : commands;
    return most < 100 ? 100 : most;
}

void lks_suite_point_at(const struct lks_suite_row *row, uint32_t i, bool quick,
                        struct lks_suite_point *point)
{
    LKS_ASSERT(i < row->count || (row->knob == LKS_KNOB_NONE && i == 0));
    take_load(&row->load, &point->load);
    point->measure.workers = row->workers;
    point->measure.help = row->help;
    point->measure.no_steal = row->no_steal;
    point->measure.in_turns = row->in_turns;
    point->at = row->values[i];
    turn_knob(row->knob, row->values[i], point);
    point->load.commands = commands_of(&point->load, quick);
    if (row->knob == LKS_KNOB_NONE) {
        (void)snprintf(point->workload, sizeof point->workload, "%s", row->workload);
    } else {
        (void)snprintf(point->workload, sizeof point->workload, "%s %u", row->workload,
                       row->values[i]);
    }
}
