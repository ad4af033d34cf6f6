/*
 * lockstep-sim: runs seeds through the simulator and says what was found. Exit codes: 0 no
 * violation; 1 a violation, or a run could not be made; 2 wrong usage; 130 interrupted without a
 * violation.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "sim/campaign.h"
#include "sim/crash_command.h"
#include "sim/kept.h"
#include "sim/minimize.h"
#include "sim/profile.h"
#include "sim/record.h"
#include "sim/summary.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_INTERRUPTED 130
#define JOBS_MAX 256u
#define QUICK_ATTEMPTS 200u    /* runs spent on a shorter trace when nobody asked */
#define THOROUGH_ATTEMPTS 5000u
#define FOR_SEEDS_MAX (UINT64_C(1) << 48) /* random first seeds are below it: short to type */

struct arguments {
    struct lks_sim_campaign campaign;
    const char *kept;
    const char *record;
    int record_fd;
    bool seeds_given;
    bool replay;
    bool minimize;
    bool json;
    struct lks_sim_minimum part; /* with --replay: what is left of the run */
    bool is_part;
};

enum option_key {
    KEPT = 256,
    FOR,
    HASHES,
    VERBOSE,
    FAULTS,
    COMMANDS,
    TIME,
    KEEP_GOING,
    RECORD,
    CRASH_POINTS
};

static const struct argp_option g_options[] = {
    {"seeds", 's', "A:B", 0, "Run the seeds A to B, both included (default 1:100)", 1},
    {"replicas", 'n', "N", 0, "Replicas, 1 to 7 (default: 3, 5 or 7, by the seed)", 1},
    {"profile", 'p', "NAME", 0,
     "Kind of world (default: all that are trusted, by their shares); `list` prints them", 1},
    {"jobs", 'j', "N", 0, "Processes that share the work (default 1; 0: one for each core)", 1},
    {"threads", 't', "N", OPTION_ALIAS, NULL, 1},
    {"for", FOR, "SECONDS", 0,
     "Run fresh seeds for so long; the first one is drawn and printed. With --seeds: those, and "
     "no longer", 1},
    {"kept", KEPT, "FILE", 0, "Run the seeds that FILE lists", 1},
    {"keep-going", KEEP_GOING, NULL, 0, "Do not end at the first violation", 1},
    {"record", RECORD, "FILE", 0,
     "Add a line on these seeds to a book of campaigns (tab-separated values)", 1},
    {"crash-points", CRASH_POINTS, NULL, 0,
     "Something else: power cuts at every store; see --crash-points --help", 4},
    {"replay", 'r', "SEED", 0, "Run one seed", 2},
    {"minimize", 'm', NULL, 0, "Spend more on making the trace of a violation short", 2},
    {"verbose", VERBOSE, NULL, 0, "Print every event to standard error", 2},
    {"faults", FAULTS, "LIST", 0, "With --replay: only these faults, as `3,7-9`, `none`, `all`", 2},
    {"commands", COMMANDS, "N", 0, "No more than N commands before the end of the faults", 2},
    {"time", TIME, "MS", 0, "Faults and commands for MS simulated milliseconds at most", 2},
    {"json", 'J', NULL, 0, "The last line is one object with the sums", 3},
    {"hashes", HASHES, NULL, 0, "Print the hash of each run's trace", 3},
    {0}};

static volatile sig_atomic_t g_interrupted; /* set by the handler below, read between runs */

static void interrupt(int signal_number)
{
    (void)signal_number;
    g_interrupted = 1;
}

/* The first signal ends the campaign after the present run; a second one ends the process. */
static void heed_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND | SA_RESTART};
    for (size_t i = 0; i < LKS_COUNT_OF(signals); i++) {
        (void)sigaction(signals[i], &action, NULL);
    }
}

/* What a run gives back the next one takes: the kernel has no part in it. */
static void keep_memory(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

/* ---- arguments ---------------------------------------------------------------------------- */

static bool read_number(const char *text, const char *ends, uint64_t *number, const char **rest)
{
    char *stop = NULL;
    errno = 0;
    const unsigned long long read = strtoull(text, &stop, 10);
    if (errno != 0 || stop == text || text[0] < '0' || text[0] > '9' ||
        (*stop != '\0' && strchr(ends, *stop) == NULL)) {
        return false;
    }
    *number = read;
    *rest = stop;
    return true;
}

static uint64_t number_or_end(struct argp_state *state, const char *option, const char *text,
                              uint64_t least, uint64_t most)
{
    uint64_t number = 0;
    const char *rest = NULL;
    if (!read_number(text, "", &number, &rest) || number < least || number > most) {
        argp_error(state, "--%s %s: a number from %" PRIu64 " to %" PRIu64 " is expected", option,
                   text, least, most);
    }
    return number;
}

static void read_seeds(struct argp_state *state, const char *text,
                       struct lks_sim_campaign *campaign)
{
    const char *rest = NULL;
    bool good = read_number(text, ":", &campaign->first_seed, &rest);
    campaign->last_seed = campaign->first_seed;
    if (good && *rest == ':') {
        good = read_number(rest + 1, "", &campaign->last_seed, &rest);
    }
    if (!good) {
        argp_error(state, "--seeds %s: A:B is expected, two numbers, as in 1:10000", text);
    } else if (campaign->last_seed < campaign->first_seed) {
        argp_error(state, "--seeds %s: the last seed is below the first", text);
    }
}

static void read_profile(struct argp_state *state, const char *text,
                         struct lks_sim_campaign *campaign)
{
    const char *name = NULL;
    const char *purpose = NULL;
    uint32_t shares = 0;
    for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
        shares += lks_sim_profile_share(i);
        if (strcmp(name, text) == 0) {
            campaign->profile = name;
        }
    }
    if (strcmp(text, "list") == 0) {
        for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
            (void)printf("%-16s %3.0f %%  %s\n", name,
                         100.0 * lks_sim_profile_share(i) / shares, purpose);
        }
        exit(EXIT_SUCCESS);
    }
    if (campaign->profile == NULL) {
        argp_error(state, "--profile %s: there is no such profile; `--profile list` prints all",
                   text);
    }
}

/* "none", "all", or numbers and ranges; anything else is left out. */
static void read_faults(struct argp_state *state, const char *text, struct lks_sim_minimum *part)
{
    const char *rest = text;
    part->left_out_count = strcmp(text, "all") == 0 ? 0 : LKS_SIM_MINIMIZE_FAULTS_MAX;
    memset(part->left_out, 1, sizeof part->left_out);
    bool good = true;
    if (strcmp(text, "none") == 0 || strcmp(text, "all") == 0) {
        return;
    }
    for (;;) {
        uint64_t first = 0;
        good = read_number(rest, ",-", &first, &rest);
        uint64_t last = first;
        if (good && *rest == '-') {
            good = read_number(rest + 1, ",", &last, &rest);
        }
        if (!good || first < 1 || last < first || last > LKS_SIM_MINIMIZE_FAULTS_MAX) {
            argp_error(state, "--faults %s: a list as 3,7-9, or none or all, is expected", text);
            return;
        }
        memset(part->left_out + first - 1, 0, last - first + 1);
        if (*rest == '\0') {
            return;
        }
        rest++;
    }
}

static uint32_t read_jobs(struct argp_state *state, const char *text)
{
    const uint32_t jobs = (uint32_t)number_or_end(state, "jobs", text, 0, JOBS_MAX);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return jobs != 0 ? jobs : (uint32_t)(cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : cores);
}

static void read_part(int key, const char *text, struct argp_state *state,
                      struct arguments *arguments)
{
    if (key == FAULTS) {
        arguments->is_part = true;
        read_faults(state, text, &arguments->part);
    } else if (key == COMMANDS) {
        arguments->campaign.commands_max =
            (uint32_t)number_or_end(state, "commands", text, 1, LKS_SIM_COMMANDS_MAX);
    } else {
        arguments->campaign.run_ns_max =
            number_or_end(state, "time", text, 1, 1000000) * LKS_NS_PER_MS;
    }
}

static void check_arguments(struct argp_state *state, struct arguments *arguments)
{
    struct lks_sim_campaign *campaign = &arguments->campaign;
    const bool seeds = arguments->seeds_given || campaign->for_ns != 0;
    if (seeds + arguments->replay + (arguments->kept != NULL) > 1) {
        argp_error(state, "only one of --seeds or --for, --replay and --kept can be given");
    }
    if (arguments->record != NULL && (arguments->replay || arguments->kept != NULL)) {
        argp_error(state, "--record %s: belongs to --seeds or --for", arguments->record);
    }
    if (arguments->is_part && !arguments->replay) {
        argp_error(state, "--faults belongs to --replay");
    }
    if (campaign->for_ns != 0 && !arguments->seeds_given) {
        if (getrandom(&campaign->first_seed, sizeof campaign->first_seed, 0) < 0) {
            argp_error(state, "no random seed: %s; give --seeds A:B", strerror(errno));
        }
        campaign->first_seed %= FOR_SEEDS_MAX;
        campaign->last_seed = UINT64_MAX / 2;
    }
    if (arguments->replay) {
        campaign->jobs = 1;
    }
    if (campaign->verbose && campaign->jobs > 1) {
        argp_error(state, "--verbose: the events of one process only can be printed; leave out "
                          "--jobs");
    }
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct lks_sim_campaign *campaign = &arguments->campaign;
    switch (key) {
    case 'r':
        campaign->first_seed = campaign->last_seed =
            number_or_end(state, "replay", text, 0, UINT64_MAX - 1);
        arguments->replay = true;
        return 0;
    case 's':
        read_seeds(state, text, campaign);
        arguments->seeds_given = true;
        return 0;
    case 'n':
        campaign->replicas = (uint32_t)number_or_end(state, "replicas", text, 1, LKS_REPLICAS_MAX);
        return 0;
    case 'p':
        read_profile(state, text, campaign);
        return 0;
    case 'j':
    case 't':
        campaign->jobs = read_jobs(state, text);
        return 0;
    case FOR:
        campaign->for_ns = number_or_end(state, "for", text, 1, 1000000) * LKS_NS_PER_S;
        return 0;
    case KEPT:
        arguments->kept = text;
        return 0;
    case RECORD:
        arguments->record = text;
        return 0;
    case KEEP_GOING:
        campaign->keep_going = true;
        return 0;
    case HASHES:
        campaign->hashes = true;
        return 0;
    case VERBOSE:
        campaign->verbose = true;
        return 0;
    case 'm':
        arguments->minimize = true;
        return 0;
    case 'J':
        arguments->json = true;
        return 0;
    case FAULTS:
    case COMMANDS:
    case TIME:
        read_part(key, text, state, arguments);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "%s: no such argument", text);
        return EINVAL;
    case ARGP_KEY_END:
        check_arguments(state, arguments);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- running ------------------------------------------------------------------------------ */

static void say_violation(const struct lks_sim_task *task, const struct lks_sim_verdict *verdict)
{
    (void)printf("\nVIOLATION of \"%s\"\n  seed      %" PRIu64 "\n  replicas  %" PRIu32
                 "\n  profile   %s\n  commit    %s\n  %s\n\n",
                 verdict->invariant, task->seed, task->replicas, task->profile, LKS_COMMIT,
                 verdict->text);
    (void)fflush(stdout);
}

/* Prints the shortest trace that so many runs find. Returns the exit code. */
static int explain(const struct lks_sim_task *task, uint32_t attempts)
{
    static struct lks_sim_minimum minimum;
    struct lks_error err = {0};
    int status = lks_sim_minimize(task, attempts, &minimum, &err);
    if (status == 0) {
        (void)printf("the shortest run found by %" PRIu32 " attempts:\n", minimum.attempts);
        status = lks_sim_minimum_print(&minimum, stdout, &err);
    }
    if (status < 0) {
        (void)fprintf(stderr, "lockstep-sim: %s\n", err.text);
    }
    return EXIT_FAILURE;
}

/* One run without some of its faults, commands or time. */
static int replay_part(struct arguments *arguments)
{
    struct lks_sim_minimum *part = &arguments->part;
    struct lks_error err = {0};
    struct lks_sim_run_result result = {0};
    lks_sim_campaign_task(&arguments->campaign, arguments->campaign.first_seed, &part->task);
    const struct lks_sim_run_options options = {.seed = part->task.seed,
                                                .replicas = part->task.replicas,
                                                .profile = part->task.profile,
                                                .commands_max = arguments->campaign.commands_max,
                                                .run_ns_max = arguments->campaign.run_ns_max,
                                                .left_out = part->left_out,
                                                .left_out_count = part->left_out_count,
                                                .verbose = arguments->campaign.verbose,
                                                .watch = true,
                                                .tell = true,
                                                .report = stdout,
                                                .report_events_max = 400};
    if (lks_sim_run(&options, &result, &err) < 0) {
        (void)fprintf(stderr, "lockstep-sim: %s\n", err.text);
        return EXIT_FAILURE;
    }
    if (result.verdict.broken) {
        say_violation(&part->task, &result.verdict);
        return EXIT_FAILURE;
    }
    (void)printf("seed %" PRIu64 ", this part of it: no violation\n", part->task.seed);
    return EXIT_SUCCESS;
}

static int run_campaign(const struct arguments *arguments)
{
    const struct lks_sim_campaign *campaign = &arguments->campaign;
    struct lks_sim_sums sums;
    struct lks_error err = {0};
    if (campaign->for_ns != 0) {
        (void)printf("first seed %" PRIu64 "\n", campaign->first_seed);
        (void)fflush(stdout);
    }
    const int status = lks_sim_campaign_run(campaign, &sums, &err);
    if (status < 0) {
        (void)fprintf(stderr, "lockstep-sim: %s\n", err.text);
    }
    lks_sim_summary_print(campaign, &sums, stdout);
    int code = g_interrupted != 0 ? EXIT_INTERRUPTED : EXIT_SUCCESS;
    code = status < 0 ? EXIT_FAILURE : code;
    if (arguments->record != NULL &&
        lks_sim_record_add(arguments->record_fd, campaign, &sums, LKS_COMMIT, &err) < 0) {
        (void)fprintf(stderr, "lockstep-sim: %s: %s\n", arguments->record, err.text);
        code = EXIT_FAILURE;
    }
    if (sums.violations > 0) {
        say_violation(&sums.first, &sums.verdict);
        code = explain(&sums.first, arguments->minimize ? THOROUGH_ATTEMPTS : QUICK_ATTEMPTS);
    }
    if (arguments->json) {
        lks_sim_summary_json(campaign, &sums, stdout);
    }
    return code;
}

int main(int argc, char **argv)
{
    if (lks_sim_crash_command_meant(argc, argv)) {
        return lks_sim_crash_command(argc, argv);
    }
    static const struct argp argp = {
        .options = g_options,
        .parser = parse,
        .doc = "Runs whole clusters under virtual time and faults, each decided by one seed.\v"
               "Exit status: 0 no violation; 1 a violation, or a run could not be made; 2 wrong "
               "usage; 130 interrupted."};
    static struct arguments arguments = {
        .campaign = {.first_seed = 1, .last_seed = 100, .jobs = 1, .interrupted = &g_interrupted}};
    struct lks_sim_task *tasks = NULL;
    keep_memory();
    argp_program_version = "lockstep-sim " LKS_COMMIT;
    argp_err_exit_status = EXIT_USAGE;
    (void)argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    arguments.campaign.progress =
        isatty(STDERR_FILENO) == 1 && !arguments.campaign.verbose && !arguments.campaign.hashes;
    heed_signals();
    if (arguments.is_part) {
        return replay_part(&arguments);
    }
    if (arguments.kept != NULL) {
        struct lks_error err = {0};
        if (lks_sim_kept_read(arguments.kept, &tasks, &arguments.campaign.tasks_count, &err) < 0) {
            (void)fprintf(stderr, "lockstep-sim: %s\n", err.text);
            return EXIT_USAGE;
        }
        arguments.campaign.tasks = tasks;
    }
    if (arguments.record != NULL) {
        struct lks_error err = {0};
        arguments.record_fd = lks_sim_record_open(arguments.record, &err);
        if (arguments.record_fd < 0) {
            (void)fprintf(stderr, "lockstep-sim: %s\n", err.text);
            return EXIT_USAGE;
        }
    }
    const int code = run_campaign(&arguments);
    free(tasks);
    return code;
}
