/*
 * lockstep-sim: runs a range of seeds through the simulator and prints what was found. Exit
 * codes: 0 no violation; 1 a violation, or a run could not be made; 2 wrong usage; 130 interrupted
 * without a violation: the run under way ends first and removes its journals.
 */
#include "base/assert.h"
#include "sim/cluster.h"
#include "sim/crash_command.h"
#include "sim/profile.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXIT_USAGE 2
#define EXIT_INTERRUPTED 130
#define REPORT_EVENTS 200u

struct arguments {
    uint64_t first_seed;
    uint64_t last_seed;
    uint32_t replicas; /* 0: 1, 3 or 5, by the seed */
    const char *profile;
    uint32_t events_max;
    bool verbose;
    bool json;
    bool keep_going;
    bool hashes;
};

struct sums {
    uint64_t runs;
    uint64_t violations;
    struct lks_sim_run_result all; /* every count summed up; trace_hash: folded */
};

static const char g_help[] =
    "Usage: lockstep-sim [OPTION...]\n"
    "Runs whole clusters under virtual time and faults, each decided by one seed.\n\n"
    "  --seeds A[:B]     the seeds A to B, both included (default 1:20)\n"
    "  --replay SEED     one seed; with --verbose every event is printed\n"
    "  --replicas N      1 to 7; 0: 3, mostly, else 1 or 5, by the seed (default 3)\n"
    "  --profile NAME    kind of world (default chaos); `list` prints all\n"
    "  --events N        on a violation print the last N events (default 200)\n"
    "  --keep-going      go on with the next seed after a violation\n"
    "  --hashes          print the hash of each run's trace\n"
    "  --verbose         print every event to standard error\n"
    "  --json            one object with the sums on the last line\n"
    "  --crash-points    something else: power cuts at every store; --crash-points --help\n"
    "  --help            this text\n\n"
    "Exit code: 0 no violation, 1 violation or failure, 2 wrong usage, 130 interrupted.\n";

static volatile sig_atomic_t g_interrupted; /* set by the handler below, read between runs */

static void interrupt(int signal_number)
{
    (void)signal_number;
    g_interrupted = 1;
}

/* The first signal ends the range after the present run; a second one ends the process. */
static void heed_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND | SA_RESTART};
    for (size_t i = 0; i < LKS_COUNT_OF(signals); i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

static bool parse_number(const char *text, char end, uint64_t *number, const char **rest)
{
    char *stop = NULL;
    errno = 0;
    const unsigned long long parsed = strtoull(text, &stop, 10);
    if (errno != 0 || stop == text || text[0] == '-' || (*stop != '\0' && *stop != end)) {
        return false;
    }
    *number = parsed;
    *rest = *stop == '\0' ? stop : stop + 1;
    return true;
}

static bool parse_seeds(const char *text, struct arguments *arguments)
{
    const char *rest = NULL;
    if (!parse_number(text, ':', &arguments->first_seed, &rest)) {
        return false;
    }
    arguments->last_seed = arguments->first_seed;
    return *rest == '\0' || (parse_number(rest, '\0', &arguments->last_seed, &rest) &&
                             arguments->last_seed >= arguments->first_seed);
}

static bool parse_small(const char *text, uint64_t limit, uint32_t *number)
{
    uint64_t parsed = 0;
    const char *rest = NULL;
    if (!parse_number(text, '\0', &parsed, &rest) || parsed > limit) {
        return false;
    }
    *number = (uint32_t)parsed;
    return true;
}

static void list_profiles(void)
{
    const char *name = NULL;
    const char *purpose = NULL;
    for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
        (void)printf("%-16s %s\n", name, purpose);
    }
}

/* Returns -1 to go on, else the exit code. */
static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 's'},    {"replay", required_argument, NULL, 'r'},
        {"replicas", required_argument, NULL, 'n'}, {"profile", required_argument, NULL, 'p'},
        {"events", required_argument, NULL, 'e'},   {"keep-going", no_argument, NULL, 'k'},
        {"hashes", no_argument, NULL, 'H'},         {"verbose", no_argument, NULL, 'v'},
        {"json", no_argument, NULL, 'j'},           {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    bool good = true;
    int option = 0;
    while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            good = parse_seeds(optarg, arguments);
            break;
        case 'r':
            good = parse_seeds(optarg, arguments) &&
                   arguments->first_seed == arguments->last_seed;
            break;
        case 'n':
            good = parse_small(optarg, 7, &arguments->replicas);
            break;
        case 'p':
            arguments->profile = optarg;
            break;
        case 'e':
            good = parse_small(optarg, UINT32_MAX, &arguments->events_max);
            break;
        case 'k':
            arguments->keep_going = true;
            break;
        case 'H':
            arguments->hashes = true;
            break;
        case 'v':
            arguments->verbose = true;
            break;
        case 'j':
            arguments->json = true;
            break;
        case 'h':
            (void)fputs(g_help, stdout);
            return EXIT_SUCCESS;
        default:
            return EXIT_USAGE; /* getopt has said why */
        }
    }
    if (!good || optind != argc) {
        (void)fprintf(stderr, "lockstep-sim: %s: not understood; see --help\n",
                      optind != argc && good ? argv[optind] : optarg);
        return EXIT_USAGE;
    }
    if (strcmp(arguments->profile, "list") == 0) {
        list_profiles();
        return EXIT_SUCCESS;
    }
    return -1;
}

static uint32_t replicas_of(const struct arguments *arguments, uint64_t seed)
{
    static const uint32_t mixture[] = {3, 3, 5, 3, 1, 3, 5, 3};
    return arguments->replicas != 0 ? arguments->replicas
                                    : mixture[seed % LKS_COUNT_OF(mixture)];
}

static void add(struct sums *sums, const struct lks_sim_run_result *result)
{
    sums->runs++;
    sums->violations += result->verdict.broken;
    sums->all.trace_hash = (sums->all.trace_hash ^ result->trace_hash) * UINT64_C(0x100000001b3);
    sums->all.events += result->events;
    sums->all.virtual_ns += result->virtual_ns;
    sums->all.faults += result->faults;
    sums->all.terms += result->terms;
    sums->all.called += result->called;
    sums->all.answered += result->answered;
    sums->all.unknown += result->unknown;
    sums->all.executed += result->executed;
    sums->all.compared += result->compared;
    sums->all.writes_landed += result->writes_landed;
    sums->all.writes_refused += result->writes_refused;
    sums->all.writes_late += result->writes_late;
    sums->all.writes_stray += result->writes_stray;
    sums->all.writes_unfenced += result->writes_unfenced;
    sums->all.undecided += result->undecided;
}

static void print_sums(const struct arguments *arguments, const struct sums *sums,
                       double seconds)
{
    const struct lks_sim_run_result *all = &sums->all;
    (void)printf("%" PRIu64 " runs of profile %s, %.1f s virtual, %.1f s real: %" PRIu64
                 " violations\n",
                 sums->runs, arguments->profile, (double)all->virtual_ns / 1e9, seconds,
                 sums->violations);
    (void)printf("faults %" PRIu64 ", terms %" PRIu64 ", commands called %" PRIu64
                 ", answered %" PRIu64 ", unknown %" PRIu64 ", executed %" PRIu64 "\n",
                 all->faults, all->terms, all->called, all->answered, all->unknown,
                 all->executed);
    (void)printf("writes landed %" PRIu64 ", refused %" PRIu64 ", late %" PRIu64 ", stray %" PRIu64
                 ", unfenced %" PRIu64 "; states compared %" PRIu64 ", undecided searches %" PRIu64
                 "\n",
                 all->writes_landed, all->writes_refused, all->writes_late, all->writes_stray,
                 all->writes_unfenced, all->compared, all->undecided);
    if (arguments->json) {
        (void)printf("{\"profile\":\"%s\",\"runs\":%" PRIu64 ",\"violations\":%" PRIu64
                     ",\"trace_hash\":\"%016" PRIx64 "\",\"virtual_ns\":%" PRIu64
                     ",\"faults\":%" PRIu64 ",\"terms\":%" PRIu64 ",\"called\":%" PRIu64
                     ",\"answered\":%" PRIu64 ",\"executed\":%" PRIu64 ",\"commit\":\"%s\"}\n",
                     arguments->profile, sums->runs, sums->violations, all->trace_hash,
                     all->virtual_ns, all->faults, all->terms, all->called, all->answered,
                     all->executed, LKS_COMMIT);
    }
}

/* Runs one seed; false: the range ends here. */
static bool run_seed(const struct arguments *arguments, uint64_t seed, struct sums *sums)
{
    const struct lks_sim_run_options options = {.seed = seed,
                                                .replicas = replicas_of(arguments, seed),
                                                .profile = arguments->profile,
                                                .verbose = arguments->verbose,
                                                .report = stdout,
                                                .report_events_max = arguments->events_max};
    struct lks_sim_run_result result;
    struct lks_error err = {0};
    const int status = lks_sim_run(&options, &result, &err);
    if (status < 0) {
        (void)fprintf(stderr, "lockstep-sim: seed %" PRIu64 ": %s\n", seed, err.text);
        sums->violations++;
        return false;
    }
    add(sums, &result);
    if (arguments->hashes) {
        (void)printf("seed %" PRIu64 " trace %016" PRIx64 " events %" PRIu64 "\n", seed,
                     result.trace_hash, result.events);
    }
    if (!result.verdict.broken) {
        return true;
    }
    (void)printf("VIOLATION seed %" PRIu64 " replicas %" PRIu32 " profile %s commit %s\n"
                 "  %s: %s\n",
                 seed, options.replicas, arguments->profile, LKS_COMMIT,
                 result.verdict.invariant, result.verdict.text);
    (void)fflush(stdout);
    return arguments->keep_going;
}

int main(int argc, char **argv)
{
    if (lks_sim_crash_command_meant(argc, argv)) {
        return lks_sim_crash_command(argc, argv);
    }
    struct arguments arguments = {.first_seed = 1,
                                  .last_seed = 20,
                                  .replicas = 3,
                                  .profile = "chaos",
                                  .events_max = REPORT_EVENTS};
    const int code = parse_arguments(argc, argv, &arguments);
    if (code >= 0) {
        return code;
    }
    struct timespec start;
    struct timespec end;
    struct sums sums = {0};
    heed_signals();
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t seed = arguments.first_seed;; seed++) {
        if (!run_seed(&arguments, seed, &sums) || seed == arguments.last_seed || g_interrupted) {
            break;
        }
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    print_sums(&arguments, &sums,
               (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    if (sums.violations > 0) {
        return EXIT_FAILURE;
    }
    return g_interrupted ? EXIT_INTERRUPTED : EXIT_SUCCESS;
}
