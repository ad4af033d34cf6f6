/* `lockstep-sim --crash-points`; see crash_command.h. */
#include "sim/crash_command.h"

#include "base/assert.h"
#include "sim/crash_points.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_INTERRUPTED 130
#define JOBS_MAX 64u
#define QUICK_EVERY_SCRIPT 97u /* --crash-points=quick: one script in so many */
#define REPORT_EVENTS 60u
#define VIOLATIONS_MAX 3u      /* of one script */

struct arguments {
    const char *which; /* "all", "quick", or the name of a script */
    uint64_t seed;
    uint32_t every;
    uint32_t jobs;
    uint32_t replicas;
    uint32_t first; /* number of the first script of the range */
    uint32_t last;
    bool from_start;
    bool json;
    bool verbose;
};

/* What all jobs together have found; each writes its own. */
struct result {
    struct lks_sim_crash_sums sums;
    bool failed;
};

static const char g_help[] =
    "Usage: lockstep-sim --crash-points[=WHICH] [OPTION...]\n"
    "Cuts the power before every store, write-back and fence of small workloads, with every\n"
    "subset of the lines that were not certain, and recovers from each.\n\n"
    "WHICH is all (default), quick (a sample of the scripts), list, or a script's name.\n\n"
    "  --scripts A[:B]   of these, numbers A to B (default 0:all)\n"
    "  --seed N          of delays and drawn fates (default 1)\n"
    "  --every N         runs one case in N (default 1: all)\n"
    "  --from-start      cuts also while the cluster starts\n"
    "  --replicas N      1 to 7 (default 3)\n"
    "  --jobs N          processes at a time (default: one for each processor)\n"
    "  --verbose         a line for each script\n"
    "  --json            one object with the sums on the last line\n"
    "  --help            this text\n\n"
    "Exit code: 0 no violation, 1 violation or failure, 2 wrong usage, 130 interrupted.\n";

static volatile sig_atomic_t g_interrupted; /* set by the handler, read by jobs and their parent */

static void interrupt(int signal_number)
{
    (void)signal_number;
    g_interrupted = 1;
}

/* The first signal ends the scripts under way, which removes their journals; a second one ends the
 * process. */
static void heed_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};
    for (size_t i = 0; i < LKS_COUNT_OF(signals); i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

bool lks_sim_crash_command_meant(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--crash-points", strlen("--crash-points")) == 0) {
            return true;
        }
    }
    return false;
}

static bool parse(const char *text, uint64_t least, uint64_t most, uint64_t *number)
{
    char *end = NULL;
    errno = 0;
    const unsigned long long parsed = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || parsed < least ||
        parsed > most) {
        return false;
    }
    *number = parsed;
    return true;
}

static bool parse_range(const char *text, struct arguments *arguments)
{
    char first[24];
    uint64_t number = 0;
    const char *colon = strchr(text, ':');
    const size_t length = colon == NULL ? strlen(text) : (size_t)(colon - text);
    if (length >= sizeof first) {
        return false;
    }
    memcpy(first, text, length);
    first[length] = '\0';
    if (!parse(first, 0, UINT32_MAX - 1, &number)) {
        return false;
    }
    arguments->first = arguments->last = (uint32_t)number;
    if (colon != NULL) {
        if (!parse(colon + 1, number, UINT32_MAX - 1, &number)) {
            return false;
        }
        arguments->last = (uint32_t)number;
    }
    return true;
}

/* One option; false: its value is wrong. */
static bool take(struct arguments *arguments, int option, const char *value)
{
    uint64_t number = 0;
    switch (option) {
    case 'c':
        arguments->which = value != NULL ? value : "all";
        return true;
    case 'r':
        return parse_range(value, arguments);
    case 's':
        return parse(value, 0, UINT64_MAX, &arguments->seed);
    case 'e':
        arguments->every = parse(value, 1, UINT32_MAX, &number) ? (uint32_t)number : 0;
        return arguments->every != 0;
    case 'n':
        arguments->replicas = parse(value, 1, 7, &number) ? (uint32_t)number : 0;
        return arguments->replicas != 0;
    case 'j':
        arguments->jobs = parse(value, 1, JOBS_MAX, &number) ? (uint32_t)number : 0;
        return arguments->jobs != 0;
    case 'f':
        arguments->from_start = true;
        return true;
    case 'v':
        arguments->verbose = true;
        return true;
    case 'J':
        arguments->json = true;
        return true;
    default:
        return false;
    }
}

/* Returns -1 to go on, else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"crash-points", optional_argument, NULL, 'c'}, {"scripts", required_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 's'},         {"every", required_argument, NULL, 'e'},
        {"replicas", required_argument, NULL, 'n'},     {"jobs", required_argument, NULL, 'j'},
        {"from-start", no_argument, NULL, 'f'},         {"verbose", no_argument, NULL, 'v'},
        {"json", no_argument, NULL, 'J'},               {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h') {
            (void)fputs(g_help, stdout);
            return EXIT_SUCCESS;
        }
        if (option == '?') {
            return EXIT_USAGE; /* getopt has said why */
        }
        if (!take(arguments, option, optarg)) {
            (void)fprintf(stderr, "lockstep-sim: %s: not a value of that option; see "
                                  "lockstep-sim --crash-points --help\n", optarg);
            return EXIT_USAGE;
        }
    }
    if (optind != argc) {
        (void)fprintf(stderr, "lockstep-sim: %s: not understood; see lockstep-sim --crash-points "
                              "--help\n", argv[optind]);
        return EXIT_USAGE;
    }
    return -1;
}

/* ---- which scripts ------------------------------------------------------------------------ */

static bool is_wanted(const struct arguments *arguments, uint32_t place,
                      const struct lks_sim_script *script)
{
    char name[128];
    if (place < arguments->first || place > arguments->last) {
        return false;
    }
    if (strcmp(arguments->which, "quick") == 0) {
        return place % QUICK_EVERY_SCRIPT == QUICK_EVERY_SCRIPT / 2;
    }
    lks_sim_script_print(script, name, sizeof name);
    return strcmp(arguments->which, "all") == 0 || strcmp(arguments->which, name) == 0;
}

static void list_scripts(void)
{
    struct lks_sim_script script;
    char name[128];
    for (uint32_t place = 0; lks_sim_script_at(place, &script); place++) {
        lks_sim_script_print(&script, name, sizeof name);
        (void)printf("%5" PRIu32 "  %s\n", place, name);
    }
}

/* ---- running ------------------------------------------------------------------------------ */

/* Job number `job` of all: every so manieth of the wanted scripts. */
static void run_job(const struct arguments *arguments, uint32_t job, struct result *result)
{
    const struct lks_sim_crash_options options = {.replicas = arguments->replicas,
                                                  .seed = arguments->seed,
                                                  .every = arguments->every,
                                                  .from_start = arguments->from_start,
                                                  .report = stdout,
                                                  .report_events_max = REPORT_EVENTS,
                                                  .violations_max = VIOLATIONS_MAX,
                                                  .stop = &g_interrupted};
    struct lks_sim_script script;
    uint32_t wanted = 0;
    for (uint32_t place = 0; lks_sim_script_at(place, &script) && !result->failed && !g_interrupted;
         place++) {
        if (!is_wanted(arguments, place, &script) || wanted++ % arguments->jobs != job) {
            continue;
        }
        struct lks_error err = {0};
        struct lks_sim_crash_sums sums = {0};
        if (lks_sim_crash_points(&options, &script, &sums, &err) < 0) {
            (void)fprintf(stderr, "lockstep-sim: %s\n", err.text);
            result->failed = true;
        }
        if (arguments->verbose) {
            char name[128];
            lks_sim_script_print(&script, name, sizeof name);
            (void)printf("%5" PRIu32 "  %-36s points %6" PRIu64 "  runs %7" PRIu64
                         "  violations %" PRIu64 "  %.1f s\n", place, name, sums.points,
                         sums.runs, sums.violations, (double)sums.real_us / 1e6);
            (void)fflush(stdout);
        }
        lks_sim_crash_sums_add(&result->sums, &sums);
    }
}

/* Waits for one job; hands a signal on to all. */
static bool end_well(const pid_t *children, uint32_t jobs, pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        LKS_ASSERT(errno == EINTR);
        for (uint32_t job = 0; job < jobs; job++) {
            if (children[job] > 0) {
                (void)kill(children[job], SIGTERM);
            }
        }
    }
    return status == 0;
}

/* Forks the jobs and waits for all of them. */
static int run_jobs(const struct arguments *arguments, struct result *results)
{
    pid_t children[JOBS_MAX] = {0};
    int failures = 0;
    (void)fflush(stdout);
    for (uint32_t job = 0; job < arguments->jobs; job++) {
        children[job] = fork();
        if (children[job] == 0) {
            run_job(arguments, job, &results[job]);
            (void)fflush(stdout);
            _exit(results[job].failed);
        }
        failures += children[job] < 0;
    }
    for (uint32_t job = 0; job < arguments->jobs; job++) {
        failures += children[job] > 0 && !end_well(children, arguments->jobs, children[job]);
    }
    return failures;
}

static uint32_t count_scripts(void)
{
    struct lks_sim_script script;
    uint32_t count = 0;
    while (lks_sim_script_at(count, &script)) {
        count++;
    }
    return count;
}

/* What all cases of the scripts that were run would cost, those left out too, in hours of a
 * processor; 0: nothing was run. */
static double whole_hours(const struct lks_sim_crash_sums *sums)
{
    if (sums->scripts == 0 || sums->runs == 0) {
        return 0;
    }
    const double run_us = (double)sums->runs_us / (double)sums->runs;
    const double us = (double)sums->own_us + run_us * (double)(sums->runs + sums->skipped);
    return us / 3.6e9;
}

static void print_sums(const struct arguments *arguments, const struct lks_sim_crash_sums *sums,
                       double seconds)
{
    (void)printf("%" PRIu64 " scripts, %" PRIu64 " points (%" PRIu64 " stores, %" PRIu64
                 " write-backs, %" PRIu64 " fences, %" PRIu64 " steps of the network or answers), "
                 "%.1f s: %" PRIu64 " violations\n",
                 sums->scripts, sums->points, sums->stores, sums->write_backs, sums->fences,
                 sums->remote, seconds, sums->violations);
    (void)printf("subsets %" PRIu64 ", of them the same world as another %" PRIu64
                 ", left out %" PRIu64 ", run %" PRIu64 " (%" PRIu64
                 " with a second cut); points with more than %u lines %" PRIu64
                 ", at most %" PRIu64 " lines\n",
                 sums->subsets, sums->same, sums->skipped, sums->runs, sums->runs_twice,
                 LKS_SIM_SUBSET_LINES_MAX, sums->points_partial, sums->lines_max);
    (void)printf("snapshots of partitions %" PRIu64 ", of a peer's installed %" PRIu64
                 "; a run costs %.1f ms of a processor, every case of these scripts %.2f hours "
                 "(%" PRIu64 " of all %" PRIu32 ")\n",
                 sums->snapshots, sums->installs,
                 sums->runs > 0 ? (double)sums->runs_us / 1e3 / (double)sums->runs : 0.0,
                 whole_hours(sums), sums->scripts, count_scripts());
    if (arguments->json) {
        (void)printf("{\"crash_points\":\"%s\",\"scripts\":%" PRIu64 ",\"points\":%" PRIu64
                     ",\"stores\":%" PRIu64 ",\"write_backs\":%" PRIu64 ",\"fences\":%" PRIu64
                     ",\"steps\":%" PRIu64 ",\"subsets\":%" PRIu64 ",\"same\":%" PRIu64
                     ",\"skipped\":%" PRIu64 ",\"runs\":%" PRIu64 ",\"runs_twice\":%" PRIu64
                     ",\"points_partial\":%" PRIu64 ",\"lines_max\":%" PRIu64
                     ",\"snapshots\":%" PRIu64 ",\"installs\":%" PRIu64
                     ",\"violations\":%" PRIu64 ",\"seconds\":%.1f,\"whole_hours\":%.2f}\n",
                     arguments->which, sums->scripts, sums->points, sums->stores,
                     sums->write_backs, sums->fences, sums->remote, sums->subsets, sums->same,
                     sums->skipped, sums->runs, sums->runs_twice, sums->points_partial,
                     sums->lines_max, sums->snapshots, sums->installs, sums->violations, seconds,
                     whole_hours(sums));
    }
}

int lks_sim_crash_command(int argc, char **argv)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct arguments arguments = {.which = "all",
                                  .seed = 1,
                                  .every = 1,
                                  .jobs = processors < 1 ? 1 : (uint32_t)processors,
                                  .replicas = 3,
                                  .last = UINT32_MAX};
    const int code = parse_arguments(argc, argv, &arguments);
    if (code >= 0) {
        return code;
    }
    arguments.jobs = arguments.jobs < JOBS_MAX ? arguments.jobs : JOBS_MAX;
    if (strcmp(arguments.which, "list") == 0) {
        list_scripts();
        return EXIT_SUCCESS;
    }
    struct result *results = mmap(NULL, JOBS_MAX * sizeof *results, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LKS_ASSERT(results != MAP_FAILED);
    struct timespec start;
    struct timespec end;
    heed_signals();
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    const int failures = run_jobs(&arguments, results);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    struct lks_sim_crash_sums sums = {0};
    for (uint32_t job = 0; job < arguments.jobs; job++) {
        lks_sim_crash_sums_add(&sums, &results[job].sums);
    }
    (void)munmap(results, JOBS_MAX * sizeof *results);
    if (sums.scripts == 0 && failures == 0) {
        (void)fprintf(stderr, "lockstep-sim: %s: no such script; lockstep-sim "
                              "--crash-points=list prints all\n", arguments.which);
        return EXIT_USAGE;
    }
    print_sums(&arguments, &sums,
               (double)(end.tv_sec - start.tv_sec) +
                   (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    if (sums.violations > 0 || failures > 0) {
        return EXIT_FAILURE;
    }
    return g_interrupted ? EXIT_INTERRUPTED : EXIT_SUCCESS;
}
