/*
 * lockstep-bench-sched: the schedulers alone, driven from a prepared log, beside sequential
 * execution and the rivals. Without options for one measurement it runs the suite.
 */
#include "bench/sched/measure.h"
#include "sched/topology.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    struct lks_load_options load;
    struct lks_measure_options measure;
    const char *workload; /* a name for the table */
    const char *json;
    bool one;
    bool quick;
    bool topology;
    const char *draw;
};

enum option_key {
    OPTION_COST = 256, OPTION_KEYS, OPTION_WRITES, OPTION_CONFLICT, OPTION_ZIPF, OPTION_SKEW,
    OPTION_SEVERAL, OPTION_ACCESSES, OPTION_COMMANDS, OPTION_LOG, OPTION_CLASSES, OPTION_REPEATS,
    OPTION_LIST, OPTION_WINDOW, OPTION_LANES, OPTION_HELP, OPTION_NO_STEAL, OPTION_PIN,
    OPTION_IN_TURNS, OPTION_JSON, OPTION_QUICK, OPTION_TOPOLOGY, OPTION_DRAW,
};

static const struct argp_option options[] = {
    {"scheduler", 's', "NAME", 0, "measure this one alone; ours, or a rival's name", 0},
    {"workers", 'w', "N", 0, "workers beside the dispatcher (2)", 0},
    {"lanes", OPTION_LANES, "N", 0, "late: lanes; 1: the dispatcher inserts (1)", 0},
    {"window", OPTION_WINDOW, "N", 0, "commands in flight (2048)", 0},
    {"dispatcher-helps", OPTION_HELP, NULL, 0, "the dispatcher executes while it waits", 0},
    {"no-steal", OPTION_NO_STEAL, NULL, 0, "no stealing", 0},
    {"in-turns", OPTION_IN_TURNS, NULL, 0,
     "one thread is dispatcher and workers in turns: what scheduling costs a processor", 0},
    {"pin", OPTION_PIN, NULL, 0, "pin workers by the plan that --topology prints", 0},
    {"cost", OPTION_COST, "NS", 0, "what a command burns (0)", 1},
    {"keys", OPTION_KEYS, "N", 0, "keys (1024)", 1},
    {"accesses", OPTION_ACCESSES, "N", 0, "keys of a command, up to 12 (1)", 1},
    {"writes", OPTION_WRITES, "PERCENT", 0, "commands that write (100)", 1},
    {"conflict", OPTION_CONFLICT, "PERCENT", 0, "commands that write one and the same key (0)", 1},
    {"zipf", OPTION_ZIPF, "THETA", 0, "skewed keys (uniform)", 1},
    {"skew", OPTION_SKEW, "PERCENT", 0, "commands of the classes of one worker of two", 1},
    {"several", OPTION_SEVERAL, "PERCENT", 0, "commands of two classes (0)", 1},
    {"list", OPTION_LIST, "N", 0, "commands walk a list of so many elements, one class", 1},
    {"classes", OPTION_CLASSES, "N", 0, "shards, a power of two (64)", 1},
    {"commands", OPTION_COMMANDS, "N", 0, "commands in a run", 2},
    {"log", OPTION_LOG, "N", 0, "entries of the prepared log, a power of two (1024)", 2},
    {"repeats", OPTION_REPEATS, "N", 0, "pairs of runs (9)", 2},
    {"json", OPTION_JSON, "FILE", 0, "write all measurements as an array; - is standard output", 2},
    {"quick", OPTION_QUICK, NULL, 0, "a short suite", 2},
    {"topology", OPTION_TOPOLOGY, NULL, 0, "print which thread would run where, and end", 2},
    {"draw", OPTION_DRAW, "FILE", 0, "with --topology: draw it as SVG as well", 2},
    {NULL, 0, NULL, 0, NULL, 0},
};

static uint32_t number(struct argp_state *state, const char *what, const char *text, uint32_t most)
{
    char *end = NULL;
    const unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *text == '-' || *end != '\0' || value > most) {
        argp_error(state, "--%s %s: a number up to %u is expected", what, text, most);
    }
    return (uint32_t)value;
}

static const struct lks_contestant *contestant(struct argp_state *state, const char *name)
{
    const struct lks_contestant *at = lks_contestants;
    while (at->name != NULL && strcmp(at->name, name) != 0) {
        at++;
    }
    if (at->name == NULL) {
        argp_error(state, "--scheduler %s: none has this name; see the first column of the suite",
                   name);
    }
    return at;
}

static error_t parse_load(int key, char *text, struct argp_state *state)
{
    struct lks_load_options *load = &((struct arguments *)state->input)->load;
    switch (key) {
    case OPTION_COST: load->cost_ns = number(state, "cost", text, 1000000); break;
    case OPTION_KEYS: load->keys = number(state, "keys", text, 1u << 26); break;
    case OPTION_ACCESSES: load->accesses = number(state, "accesses", text, LKS_ACCESS_MAX); break;
    case OPTION_WRITES: load->write_percent = number(state, "writes", text, 100); break;
    case OPTION_CONFLICT: load->conflict_percent = number(state, "conflict", text, 100); break;
    case OPTION_ZIPF: load->zipf = strtod(text, NULL); break;
    case OPTION_SKEW: load->skew_percent = number(state, "skew", text, 100); break;
    case OPTION_SEVERAL: load->several_percent = number(state, "several", text, 100); break;
    case OPTION_LIST: load->list = number(state, "list", text, 1u << 24); break;
    case OPTION_CLASSES: load->classes = number(state, "classes", text, 4096); break;
    case OPTION_COMMANDS: load->commands = number(state, "commands", text, 2000000000); break;
    case OPTION_LOG: load->log_entries = number(state, "log", text, 1u << 22); break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct lks_measure_options *measure = &arguments->measure;
    switch (key) {
    case 's':
        arguments->one = true;
        measure->contestant = contestant(state, text);
        break;
    case 'w': measure->workers = number(state, "workers", text, LKS_WORKERS_MAX); break;
    case OPTION_LANES: measure->lanes = number(state, "lanes", text, LKS_LANES_MAX); break;
    case OPTION_WINDOW: measure->window = number(state, "window", text, LKS_WINDOW_MAX); break;
    case OPTION_HELP: measure->help = true; break;
    case OPTION_NO_STEAL: measure->no_steal = true; break;
    case OPTION_IN_TURNS: measure->in_turns = true; break;
    case OPTION_PIN: measure->pin = true; break;
    case OPTION_REPEATS:
        measure->repeats = number(state, "repeats", text, LKS_MEASURE_REPEATS_MAX);
        break;
    case OPTION_JSON: arguments->json = text; break;
    case OPTION_QUICK: arguments->quick = true; break;
    case OPTION_TOPOLOGY: arguments->topology = true; break;
    case OPTION_DRAW: arguments->draw = text; break;
    default: return parse_load(key, text, state);
    }
    return 0;
}

static void check(const struct arguments *arguments)
{
    const struct lks_load_options *load = &arguments->load;
    if (load->keys == 0 || load->accesses == 0 || load->log_entries == 0 ||
        (load->log_entries & (load->log_entries - 1)) != 0 || arguments->measure.repeats == 0) {
        (void)fprintf(stderr, "keys %u, accesses %u, log %u, repeats %u: all from 1, and the log a "
                              "power of two\n",
                      load->keys, load->accesses, load->log_entries, arguments->measure.repeats);
        exit(2);
    }
}

/* ---- output ---- */

static bool first_in_json = true;

static void print_json(FILE *to, const struct arguments *a, const struct lks_measurement *m)
{
    (void)fprintf(to,
                  "%s\n  {\"scheduler\": \"%s\", \"origin\": \"%s\", \"workload\": \"%s\", "
                  "\"workers\": %u, \"lanes\": %u, \"help\": %s, \"steal\": %s, \"cost_ns\": %u, "
                  "\"keys\": %u, \"accesses\": %u, \"writes\": %u, \"conflict\": %u, "
                  "\"several\": %u, \"skew\": %u, \"zipf\": %.2f, \"list\": %u, "
                  "\"sequential_ns\": %.2f, \"ns_per_command\": %.2f, \"cpu_ns_per_command\": "
                  "%.2f, \"overhead_ns\": %.2f, \"wall_overhead_ns\": %.2f, \"speedup\": %.3f, "
                  "\"best_ns\": %.2f, \"overhead_best_ns\": %.2f, \"stolen\": %llu, \"equal\": %s}",
                  first_in_json ? "[" : ",", a->measure.contestant->name,
                  a->measure.contestant->origin, a->workload, a->measure.workers,
                  a->measure.lanes == 0 ? 1 : a->measure.lanes, a->measure.help ? "true" : "false",
                  a->measure.no_steal ? "false" : "true", a->load.cost_ns, a->load.keys,
                  a->load.accesses, a->load.write_percent, a->load.conflict_percent,
                  a->load.several_percent, a->load.skew_percent, a->load.zipf, a->load.list,
                  m->sequential_ns, m->ns_per_command, m->cpu_ns_per_command, m->overhead_ns,
                  m->wall_overhead_ns, m->speedup, m->best_ns, m->overhead_best_ns,
                  (unsigned long long)m->stolen,
                  m->equal ? "true" : "false");
    first_in_json = false;
}

static void print_head(void)
{
    (void)printf("%-16s %-12s %-22s %3s %5s %10s %10s %10s %10s %10s %8s %s\n", "scheduler",
                 "origin", "workload", "w", "cost", "seq ns", "wall ns", "cpu ns", "overhead",
                 "ovh best", "speedup", "equal");
}

static bool measure_one(const struct arguments *a, FILE *json)
{
    struct lks_load *load = lks_load_new(&a->load);
    struct lks_measurement m;
    lks_measure(load, &a->measure, &m);
    lks_load_free(load);
    char name[24];
    (void)snprintf(name, sizeof name, "%s%s%s", a->measure.contestant->name,
                   a->measure.help ? "+help" : "", a->measure.no_steal ? "-steal" : "");
    (void)printf("%-16s %-12s %-22s %3u %5u %10.1f %10.1f %10.1f %10.1f %10.1f %8.2f %s\n", name,
                 a->measure.contestant->origin, a->workload, a->measure.workers, a->load.cost_ns,
                 m.sequential_ns, m.ns_per_command, m.cpu_ns_per_command, m.overhead_ns,
                 m.overhead_best_ns, m.speedup,
                 m.equal ? "yes" : "NO");
    (void)fflush(stdout);
    if (json != NULL) {
        print_json(json, a, &m);
    }
    return m.equal;
}

/* ---- the suite ---- */

struct row {
    const char *workload;
    const char *schedulers; /* names, with blanks around each */
    uint32_t workers;
    bool help;
    bool no_steal;
    struct lks_load_options load; /* fields that are 0 keep their defaults */
};

#define EVERY \
    " early late hybrid adaptive cbase lock-free-graph early-barriers openmp tbb-flow-graph floor "

static const struct row suite[] = {
    {"single class", " early late hybrid adaptive ", 1, false, false, {.commands = 4000000}},
    {"single class", EVERY, 2, false, false, {.commands = 1000000}},
    {"0.1 us", EVERY, 2, false, false, {.commands = 1000000, .cost_ns = 100}},
    {"1 us", EVERY, 2, false, false, {.commands = 200000, .cost_ns = 1000}},
    {"1 us, 5% conflict", EVERY, 2, false, false,
     {.commands = 200000, .cost_ns = 1000, .conflict_percent = 5}},
    {"1 us, 5% conflict", " early late hybrid ", 1, true, false,
     {.commands = 200000, .cost_ns = 1000, .conflict_percent = 5}},
    {"1 us, 100% conflict", " early late hybrid adaptive ", 2, false, false,
     {.commands = 200000, .cost_ns = 1000, .conflict_percent = 100}},
    {"100% conflict", " adaptive late ", 2, false, false,
     {.commands = 2000000, .conflict_percent = 100}},
    {"5 us", " early late hybrid adaptive openmp floor ", 2, false, false,
     {.commands = 60000, .cost_ns = 5000}},
    {"50 us", " early late hybrid adaptive openmp floor ", 2, false, false,
     {.commands = 6000, .cost_ns = 50000}},
    {"several classes 20%", " early late hybrid early-barriers ", 2, false, false,
     {.commands = 200000, .cost_ns = 1000, .several_percent = 20}},
    {"zipf 0.99, 50% reads", " early late hybrid adaptive openmp floor ", 2, false, false,
     {.commands = 200000, .cost_ns = 1000, .zipf = 0.99, .write_percent = 50}},
    {"4 keys", " late hybrid openmp ", 2, false, false,
     {.commands = 200000, .cost_ns = 1000, .accesses = 4}},
    {"90% in one's, 2% writes", " early ", 2, false, false,
     {.commands = 200000, .cost_ns = 1000, .skew_percent = 90, .write_percent = 2}},
    {"90% in one's, 2% writes", " early ", 2, false, true,
     {.commands = 200000, .cost_ns = 1000, .skew_percent = 90, .write_percent = 2}},
    {"list 1k, 5% writes", " early late adaptive openmp floor ", 2, false, false,
     {.commands = 60000, .list = 1000, .write_percent = 5}},
    {"list 10k, 5% writes", " early late adaptive openmp floor ", 2, false, false,
     {.commands = 3000, .list = 10000, .write_percent = 5}},
    {"1M keys, cold", " early late hybrid ", 2, false, false,
     {.commands = 1000000, .keys = 1u << 20, .log_entries = 1u << 18}},
};

static void take(struct arguments *a, const struct row *row, bool quick)
{
    const struct lks_load_options *from = &row->load;
    struct lks_load_options *to = &a->load;
    a->workload = row->workload;
    a->measure.workers = row->workers;
    a->measure.help = row->help;
    a->measure.no_steal = row->no_steal;
    to->commands = quick ? from->commands / 10 : from->commands;
    to->cost_ns = from->cost_ns;
    to->conflict_percent = from->conflict_percent;
    to->several_percent = from->several_percent;
    to->skew_percent = from->skew_percent;
    to->zipf = from->zipf;
    to->list = from->list;
    to->write_percent = from->write_percent == 0 ? to->write_percent : from->write_percent;
    to->accesses = from->accesses == 0 ? to->accesses : from->accesses;
    to->keys = from->keys == 0 ? to->keys : from->keys;
    to->log_entries = from->log_entries == 0 ? to->log_entries : from->log_entries;
}

static bool run_suite(const struct arguments *defaults, FILE *json)
{
    bool equal = true;
    for (size_t i = 0; i < sizeof suite / sizeof suite[0]; i++) {
        for (const struct lks_contestant *c = lks_contestants; c->name != NULL; c++) {
            char name[32];
            (void)snprintf(name, sizeof name, " %s ", c->name);
            if (strstr(suite[i].schedulers, name) == NULL) {
                continue;
            }
            struct arguments a = *defaults;
            take(&a, &suite[i], defaults->quick);
            a.measure.contestant = c;
            equal &= measure_one(&a, json);
        }
    }
    return equal;
}

static int print_topology(const struct arguments *arguments)
{
    const struct lks_topology_options wanted = {.workers = arguments->measure.workers};
    const char *const title = "scheduler";
    struct lks_topology_plan plan;
    struct lks_error err = {0};
    if (lks_topology_plan_make(&plan, &wanted, &err) != 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    lks_topology_plan_print(&plan, stdout);
    if (arguments->draw != NULL) {
        FILE *file = fopen(arguments->draw, "w");
        if (file == NULL) {
            (void)fprintf(stderr, "%s: cannot be written\n", arguments->draw);
            return 2;
        }
        lks_topology_plan_draw(&plan, &title, 1, file);
        (void)fclose(file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        options, parse, NULL,
        "Measures the schedulers alone, from a prepared log, in pairs with sequential execution.",
        NULL, NULL, NULL};
    struct arguments arguments = {
        .load = {.commands = 200000, .log_entries = 1024, .keys = 1024, .accesses = 1,
                 .write_percent = 100, .classes = 64},
        .measure = {.workers = 2, .repeats = 9},
        .workload = "given",
    };
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0) {
        return 2;
    }
    check(&arguments);
    if (arguments.topology) {
        return print_topology(&arguments);
    }
    FILE *json = NULL;
    if (arguments.json != NULL) {
        json = strcmp(arguments.json, "-") == 0 ? stdout : fopen(arguments.json, "w");
        if (json == NULL) {
            (void)fprintf(stderr, "%s: cannot be written\n", arguments.json);
            return 2;
        }
    }
    print_head();
    const bool equal = arguments.one ? measure_one(&arguments, json)
                                     : run_suite(&arguments, json);
    if (json != NULL) {
        (void)fprintf(json, "\n]\n");
        if (json != stdout) {
            (void)fclose(json);
        }
    }
    return equal ? 0 : 1;
}
