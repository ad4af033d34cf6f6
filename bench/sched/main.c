/*
 * lockstep-bench-sched: the schedulers alone, driven from a prepared log, beside sequential
 * execution and the rivals. Without options for one measurement it runs the suite.
 */
#include "bench/sched/measure.h"
#include "bench/sched/plot.h"
#include "bench/sched/suite.h"
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
    const char *suite; /* a group; NULL: all */
    const char *given; /* an option that the suite's rows choose themselves; NULL: none */
    const char *plots;
    double floor_speedup; /* of the same workload; 0: not measured */
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
    OPTION_SUITE, OPTION_PLOTS,
};

static const struct argp_option options[] = {
    {"scheduler", 's', "NAME", 0, "measure this one alone; ours, or a rival's name", 0},
    {"workers", 'w', "N", 0, "workers beside the dispatcher (2)", 0},
    {"lanes", OPTION_LANES, "N", 0, "late: lanes; 1: the dispatcher inserts (1)", 0},
    {"window", OPTION_WINDOW, "N", 0, "commands in flight (8192)", 0},
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
    {"json", OPTION_JSON, "FILE", OPTION_ARG_OPTIONAL,
     "write all measurements as an array; without a file to standard output, instead of the table",
     2},
    {"suite", OPTION_SUITE, "GROUP", 0, "this group of workloads alone", 2},
    {"plots", OPTION_PLOTS, "DIR", 0, "draw a figure of each group as SVG, by gnuplot", 2},
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
        char names[256] = "";
        for (at = lks_contestants; at->name != NULL; at++) {
            const size_t length = strlen(names);
            (void)snprintf(names + length, sizeof names - length, " %s", at->name);
        }
        argp_error(state, "--scheduler %s: none has this name; there are%s", name, names);
    }
    return at;
}

static double skew(struct argp_state *state, const char *text)
{
    char *end = NULL;
    const double theta = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(theta >= 0 && theta <= 10)) {
        argp_error(state, "--zipf %s: a number from 0 to 10 is expected, such as 0.99", text);
    }
    return theta;
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
    case OPTION_ZIPF: load->zipf = skew(state, text); break;
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

/* The name of an option that each row of the suite sets for itself; NULL: another one. */
static const char *of_one_alone(int key)
{
    switch (key) {
    case 'w': return "workers";
    case OPTION_HELP: return "dispatcher-helps";
    case OPTION_NO_STEAL: return "no-steal";
    case OPTION_IN_TURNS: return "in-turns";
    case OPTION_COST: return "cost";
    case OPTION_CONFLICT: return "conflict";
    case OPTION_SKEW: return "skew";
    case OPTION_COMMANDS: return "commands";
    default: return NULL;
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct lks_measure_options *measure = &arguments->measure;
    const char *given = of_one_alone(key);
    arguments->given = given != NULL ? given : arguments->given;
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
    case OPTION_JSON: arguments->json = text == NULL ? "-" : text; break;
    case ARGP_KEY_ARG: /* --json FILE is taken for --json=FILE */
        if (arguments->json == NULL || strcmp(arguments->json, "-") != 0) {
            return ARGP_ERR_UNKNOWN;
        }
        arguments->json = text;
        break;
    case OPTION_SUITE: arguments->suite = text; break;
    case OPTION_PLOTS: arguments->plots = text; break;
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
    if (load->keys == 0 || load->accesses == 0 || load->log_entries == 0 || load->commands == 0 ||
        (load->log_entries & (load->log_entries - 1)) != 0 || arguments->measure.repeats == 0) {
        (void)fprintf(stderr, "keys %u, accesses %u, log %u, commands %llu, repeats %u: all from "
                              "1, and the log a power of two\n",
                      load->keys, load->accesses, load->log_entries,
                      (unsigned long long)load->commands, arguments->measure.repeats);
        exit(2);
    }
    if (load->classes == 0 || (load->classes & (load->classes - 1)) != 0) {
        (void)fprintf(stderr, "--classes %u: a power of two from 1 is expected\n", load->classes);
        exit(2);
    }
    if (load->several_percent > 0 && load->classes == 1) {
        (void)fprintf(stderr, "--several %u: commands of two classes want --classes 2 or more\n",
                      load->several_percent);
        exit(2);
    }
}

/* Whether something is asked for that a rival does not have. */
static bool of_ours(const struct lks_measure_options *measure)
{
    return measure->in_turns || measure->help || measure->no_steal || measure->pin ||
           measure->lanes != 0 || measure->window != 0;
}

/* What has no effect is refused: figures would be taken for others than they are. */
static void check_together(const struct arguments *arguments)
{
    const struct lks_contestant *one = arguments->measure.contestant;
    const char *problem = NULL;
    if (arguments->one && (arguments->plots != NULL || arguments->suite != NULL ||
                           arguments->quick)) {
        problem = "--scheduler measures one: --plots, --quick and --suite are of the suite";
    } else if (arguments->draw != NULL && !arguments->topology) {
        problem = "--draw is of --topology: for figures say --plots";
    } else if (arguments->one && one->rival != NULL && of_ours(&arguments->measure)) {
        problem = "--in-turns, --dispatcher-helps, --no-steal, --lanes, --window and --pin are of "
                  "our schedulers";
    }
    if (problem != NULL) {
        (void)fprintf(stderr, "%s\n", problem);
        exit(2);
    }
    if (!arguments->one && !arguments->topology && arguments->given != NULL) {
        (void)fprintf(stderr, "--%s: the suite sets that for each row; to measure one, say which: "
                              "--scheduler NAME\n", arguments->given);
        exit(2);
    }
}

/* ---- output ---- */

static bool first_in_json = true;

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void print_json(FILE *to, const struct arguments *a, const struct lks_measurement *m)
{
    const struct lks_load_options *load = &a->load;
    (void)fprintf(to,
                  "%s\n  {\"scheduler\": \"%s\", \"workload\": \"%s\", \"workers\": %u, "
                  "\"lanes\": %u, \"cost_ns\": %u, \"conflict\": %u, \"ns_per_command\": %.2f, "
                  "\"speedup\": %.3f, \"equal\": %s,\n   ",
                  first_in_json ? "[" : ",", a->measure.contestant->name, a->workload,
                  a->measure.workers, a->measure.lanes == 0 ? 1 : a->measure.lanes, load->cost_ns,
                  load->conflict_percent, m->ns_per_command, m->speedup, truth(m->equal));
    (void)fprintf(to,
                  "\"origin\": \"%s\", \"help\": %s, \"steal\": %s, \"in_turns\": %s, "
                  "\"commands\": %llu, \"keys\": %u, \"accesses\": %u, \"writes\": %u, "
                  "\"several\": %u, \"skew\": %u, \"zipf\": %.2f, \"list\": %u, "
                  "\"stolen\": %llu,\n   ",
                  a->measure.contestant->origin, truth(a->measure.help),
                  truth(!a->measure.no_steal), truth(a->measure.in_turns),
                  (unsigned long long)load->commands, load->keys, load->accesses,
                  load->write_percent, load->several_percent, load->skew_percent, load->zipf,
                  load->list, (unsigned long long)m->stolen);
    (void)fprintf(to,
                  "\"sequential_ns\": %.2f, \"cpu_ns_per_command\": %.2f, \"overhead_ns\": %.2f, "
                  "\"overhead_best_ns\": %.2f, \"wall_overhead_ns\": %.2f, "
                  "\"wall_overhead_best_ns\": %.2f, \"best_ns\": %.2f, \"floor_speedup\": %.3f}",
                  m->sequential_ns, m->cpu_ns_per_command, m->overhead_ns, m->overhead_best_ns,
                  m->wall_overhead_ns, m->wall_overhead_best_ns, m->best_ns, a->floor_speedup);
    first_in_json = false;
}

static void print_head(FILE *to)
{
    (void)fprintf(to, "%-16s %-12s %-28s %3s %5s %9s %9s %9s %9s %9s %9s %8s %6s %s\n", "scheduler",
                  "origin", "workload", "w", "cost", "seq ns", "wall ns", "cpu ovh", "cpu best",
                  "wall ovh", "wall best", "speedup", "floor", "equal");
}

static void print_row(FILE *to, const struct arguments *a, const struct lks_measurement *m)
{
    char name[40];
    (void)snprintf(name, sizeof name, "%s%s%s", a->measure.contestant->name,
                   a->measure.help ? "+help" : "", a->measure.no_steal ? "-steal" : "");
    (void)fprintf(to,
                  "%-16s %-12s %-28s %3u %5u %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %8.2f %6.2f %s\n",
                  name, a->measure.contestant->origin, a->workload, a->measure.workers,
                  a->load.cost_ns, m->sequential_ns, m->ns_per_command, m->overhead_ns,
                  m->overhead_best_ns, m->wall_overhead_ns, m->wall_overhead_best_ns, m->speedup,
                  a->floor_speedup, m->equal ? "yes" : "NO");
    (void)fflush(to);
}

static bool measure_one(struct arguments *a, FILE *json, struct lks_measurement *m)
{
    struct lks_load *load = lks_load_new(&a->load);
    lks_measure(load, &a->measure, m);
    lks_load_free(load);
    if (strcmp(a->measure.contestant->name, "floor") == 0) {
        a->floor_speedup = m->speedup;
    }
    if (json != stdout) {
        print_row(stdout, a, m);
    }
    if (json != NULL) {
        print_json(json, a, m);
    }
    return m->equal;
}

/* ---- the suite ---- */

/* One value of a row: everyone that it names, the floor first. */
static bool run_point(const struct arguments *defaults, const struct lks_suite_row *row, uint32_t i,
                      FILE *json, struct lks_plots *plots)
{
    struct arguments a = *defaults;
    struct lks_suite_point point = {.load = a.load, .measure = a.measure};
    lks_suite_point_at(row, i, a.quick, &point);
    a.load = point.load;
    a.measure = point.measure;
    a.workload = point.workload;
    bool equal = true;
    for (const struct lks_contestant *c = lks_contestants; c->name != NULL; c++) {
        struct lks_measurement m;
        if (lks_suite_has(row, c->name)) {
            a.measure.contestant = c;
            equal &= measure_one(&a, json, &m);
            lks_plots_add(plots, row, point.at, c, m.ns_per_command);
        }
    }
    return equal;
}

static void check_group(const char *group)
{
    const char *last = "";
    for (const struct lks_suite_row *row = lks_suite; row->group != NULL; row++) {
        if (group == NULL || strcmp(group, row->group) == 0) {
            return;
        }
    }
    (void)fprintf(stderr, "--suite %s: there is no such group; there are", group);
    for (const struct lks_suite_row *row = lks_suite; row->group != NULL; row++) {
        (void)fprintf(stderr, "%s%s", strcmp(row->group, last) == 0 ? "" : " ",
                      strcmp(row->group, last) == 0 ? "" : row->group);
        last = row->group;
    }
    (void)fprintf(stderr, "\n");
    exit(2);
}

static bool run_suite(const struct arguments *a, FILE *json)
{
    struct lks_plots *plots = a->plots == NULL ? NULL : lks_plots_new(a->plots);
    bool equal = true;
    for (const struct lks_suite_row *row = lks_suite; row->group != NULL; row++) {
        if (a->suite != NULL && strcmp(a->suite, row->group) != 0) {
            continue;
        }
        for (uint32_t i = 0; i < row->count || (i == 0 && row->knob == LKS_KNOB_NONE); i++) {
            equal &= run_point(a, row, i, json, plots);
        }
    }
    return (plots == NULL || lks_plots_draw(plots) == 0) && equal;
}

static int print_topology(const struct arguments *arguments)
{
    const struct lks_topology_options wanted = {.workers = arguments->measure.workers};
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
        lks_topology_plan_draw(&(struct lks_topology_drawing){"scheduler", &plan, NULL}, 1, file);
        (void)fclose(file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        options, parse, NULL,
        "Measures the schedulers alone, from a prepared log, in pairs with sequential execution.\v"
        "Columns: nanoseconds a command. cpu ovh: processor time of all threads less that of "
        "sequential execution; wall ovh: wall time times cores, less the same; best: of all "
        "runs. floor: what threads that share nothing gain in the same minute.",
        NULL, NULL, NULL};
    struct arguments arguments = {
        .load = {.commands = 200000, .log_entries = 1024, .keys = 1024, .accesses = 1,
                 .write_percent = 100, .classes = 64},
        .measure = {.workers = 2, .repeats = 9},
        .workload = "given",
    };
    argp_err_exit_status = 2;
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0) {
        return 2;
    }
    check(&arguments);
    check_together(&arguments);
    check_group(arguments.suite);
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
    if (json != stdout) {
        print_head(stdout);
    }
    struct lks_measurement m;
    const bool good = arguments.one ? measure_one(&arguments, json, &m)
                                    : run_suite(&arguments, json);
    if (json != NULL) {
        (void)fprintf(json, "\n]\n");
        if ((json == stdout ? fflush(json) : fclose(json)) != 0) {
            (void)fprintf(stderr, "%s: not all could be written\n", arguments.json);
            return 2;
        }
    }
    return good ? 0 : 1;
}
