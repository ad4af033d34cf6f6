/*
 * Makes a failing run shorter; see minimize.h. Faults are left out by delta debugging (Zeller and
 * Hildebrandt, 2002): halves, then quarters, down to one by one. Each fault has a number and a
 * random stream of its own, so the others stay what they were, when they were.
 */
#include "sim/minimize.h"

#include "base/assert.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT_LINES 400u
#define TIME_STEP_NS UINT64_C(1000000)

struct search {
    struct lks_sim_minimum *best;
    struct lks_error *err;
    char invariant[48];
    uint32_t attempts_max;
    int status;
};

static struct lks_sim_run_options options_of(const struct lks_sim_minimum *minimum)
{
    return (struct lks_sim_run_options){.seed = minimum->task.seed,
                                        .replicas = minimum->task.replicas,
                                        .profile = minimum->task.profile,
                                        .commands_max = minimum->commands_max,
                                        .run_ns_max = minimum->run_ns_max,
                                        .watch = true,
                                        .left_out = minimum->left_out,
                                        .left_out_count = minimum->left_out_count};
}

/* Fills in the result of a run in a process of its own. */
static int attempt(const struct lks_sim_run_options *options, struct lks_sim_run_result *result,
                   struct lks_error *err)
{
    int fds[2];
    if (pipe(fds) < 0) {
        return lks_error_set(err, -errno, "pipe: %s", strerror(errno));
    }
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        const int code = -errno;
        (void)close(fds[0]);
        (void)close(fds[1]);
        return lks_error_set(err, code, "fork: %s", strerror(-code));
    }
    if (pid == 0) {
        struct lks_error failed = {0};
        const int status = lks_sim_run(options, result, &failed);
        if (options->report != NULL) {
            (void)fflush(options->report);
        }
        const bool written = write(fds[1], result, sizeof *result) == (ssize_t)sizeof *result;
        _exit(status == 0 && written ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    (void)close(fds[1]);
    const bool whole = read(fds[0], result, sizeof *result) == (ssize_t)sizeof *result;
    (void)close(fds[0]);
    int how = 0;
    (void)waitpid(pid, &how, 0);
    if (WIFSIGNALED(how)) {
        *result = (struct lks_sim_run_result){0};
        lks_sim_verdict_break(&result->verdict, "no crash", "the process ended by signal %d (%s)",
                              WTERMSIG(how), strsignal(WTERMSIG(how)));
        return 0;
    }
    return whole ? 0 : lks_error_set(err, -ECHILD, "a run could not be made");
}

/* Whether the candidate still breaks the invariant; it is the best one then. */
static bool still_broken(struct search *search, const struct lks_sim_minimum *candidate)
{
    if (search->status < 0 || search->best->attempts >= search->attempts_max) {
        return false;
    }
    struct lks_sim_minimum *best = search->best;
    struct lks_sim_run_result result = {0};
    const struct lks_sim_run_options options = options_of(candidate);
    const uint32_t attempts = ++best->attempts;
    search->status = attempt(&options, &result, search->err);
    if (search->status < 0 || !result.verdict.broken ||
        strcmp(result.verdict.invariant, search->invariant) != 0) {
        return false;
    }
    *best = *candidate;
    best->attempts = attempts;
    best->result = result;
    return true;
}

/* ---- what can be made less ---------------------------------------------------------------- */

/* Nothing that would come after the violation matters; and maybe less is enough. */
static bool shorten_time(struct search *search)
{
    bool shorter = false;
    for (uint64_t part = 1; part <= 64; part *= 2) {
        struct lks_sim_minimum candidate = *search->best;
        const uint64_t span_ns =
            candidate.run_ns_max != 0 ? candidate.run_ns_max : candidate.result.virtual_ns;
        const uint64_t less_ns = part == 1 ? candidate.result.broken_ns
                                           : span_ns - span_ns / part;
        candidate.run_ns_max = (less_ns / TIME_STEP_NS + 1) * TIME_STEP_NS;
        if (candidate.run_ns_max < span_ns && still_broken(search, &candidate)) {
            shorter = true;
        }
    }
    return shorter;
}

static bool lessen_commands(struct search *search)
{
    bool fewer = false;
    uint64_t most = search->best->commands_max != 0 ? search->best->commands_max
                                                    : search->best->result.called;
    for (uint64_t less = most / 2; less > 0 && most > 1; less /= 2) {
        struct lks_sim_minimum candidate = *search->best;
        while (less < most) {
            candidate = *search->best;
            candidate.commands_max = (uint32_t)(most - less);
            if (!still_broken(search, &candidate)) {
                break;
            }
            most -= less;
            fewer = true;
        }
    }
    return fewer;
}

static uint32_t collect_faults(const struct lks_sim_minimum *minimum, uint32_t *numbers)
{
    uint32_t count = 0;
    for (uint32_t number = 1; number <= minimum->left_out_count; number++) {
        if (minimum->left_out[number - 1] == 0) {
            numbers[count++] = number;
        }
    }
    return count;
}

/* One round of delta debugging with parts of `size` faults. */
static bool leave_out_parts(struct search *search, uint32_t size)
{
    uint32_t numbers[LKS_SIM_MINIMIZE_FAULTS_MAX];
    const uint32_t count = collect_faults(search->best, numbers);
    bool fewer = false;
    /* The last faults first: what came after the violation goes at once. */
    for (uint32_t done = 0; done < count; done += size) {
        struct lks_sim_minimum candidate = *search->best;
        for (uint32_t i = done; i < count && i < done + size; i++) {
            candidate.left_out[numbers[count - 1 - i] - 1] = 1;
        }
        fewer = still_broken(search, &candidate) || fewer;
    }
    return fewer;
}

static bool lessen_faults(struct search *search)
{
    uint32_t numbers[LKS_SIM_MINIMIZE_FAULTS_MAX];
    bool fewer = false;
    for (uint32_t size = collect_faults(search->best, numbers); size >= 1; size /= 2) {
        fewer = leave_out_parts(search, size) || fewer;
    }
    return fewer;
}

int lks_sim_minimize(const struct lks_sim_task *task, uint32_t attempts_max,
                     struct lks_sim_minimum *minimum, struct lks_error *err)
{
    struct search search = {.best = minimum, .err = err, .attempts_max = attempts_max};
    *minimum = (struct lks_sim_minimum){.task = *task,
                                        .commands_max = task->commands_max,
                                        .run_ns_max = task->run_ns_max};
    const struct lks_sim_run_options options = options_of(minimum);
    int status = attempt(&options, &minimum->result, err);
    if (status < 0) {
        return status;
    }
    if (!minimum->result.verdict.broken) {
        return lks_error_set(err, -ENOENT, "seed %" PRIu64 " breaks nothing", task->seed);
    }
    (void)snprintf(search.invariant, sizeof search.invariant, "%s",
                   minimum->result.verdict.invariant);
    /* What the run had not come to is left out: a shorter one may live longer, and --faults names
     * what is left. */
    minimum->left_out_count = LKS_SIM_MINIMIZE_FAULTS_MAX;
    for (uint64_t fault = minimum->result.faults; fault < LKS_SIM_MINIMIZE_FAULTS_MAX; fault++) {
        minimum->left_out[fault] = 1;
    }
    bool shorter = true;
    while (shorter && search.status == 0 && minimum->attempts < attempts_max) {
        shorter = shorten_time(&search);
        shorter = lessen_faults(&search) || shorter;
        shorter = lessen_commands(&search) || shorter;
    }
    return search.status;
}

/* ---- printing ----------------------------------------------------------------------------- */

void lks_sim_minimum_faults(const struct lks_sim_minimum *minimum, char *text, size_t bytes)
{
    uint32_t numbers[LKS_SIM_MINIMIZE_FAULTS_MAX];
    const uint32_t count = collect_faults(minimum, numbers);
    size_t used = 0;
    (void)snprintf(text, bytes, "%s", count == 0 ? "none" : "");
    for (uint32_t i = 0; i < count && used < bytes; i++) {
        uint32_t last = i;
        while (last + 1 < count && numbers[last + 1] == numbers[last] + 1) {
            last++;
        }
        const int more = last > i ? snprintf(text + used, bytes - used, "%s%" PRIu32 "-%" PRIu32,
                                             used > 0 ? "," : "", numbers[i], numbers[last])
                                  : snprintf(text + used, bytes - used, "%s%" PRIu32,
                                             used > 0 ? "," : "", numbers[i]);
        used += (size_t)more;
        i = last;
    }
}

int lks_sim_minimum_print(const struct lks_sim_minimum *minimum, FILE *out,
                          struct lks_error *err)
{
    struct lks_sim_run_result result = {0};
    struct lks_sim_run_options options = options_of(minimum);
    options.report = out;
    options.report_events_max = REPORT_LINES;
    options.tell = true;
    const int status = attempt(&options, &result, err);
    if (status < 0) {
        return status;
    }
    char faults[256];
    lks_sim_minimum_faults(minimum, faults, sizeof faults);
    (void)fprintf(out, "%12.6f ms          BROKEN: %s: %s\n",
                  (double)(minimum->result.broken_ns + 1000000000) / 1e6,
                  result.verdict.invariant, result.verdict.text);
    (void)fprintf(out, "repeat it: lockstep-sim --replay %" PRIu64 " --replicas %" PRIu32
                  " --profile %s --faults %s",
                  minimum->task.seed, minimum->task.replicas, minimum->task.profile, faults);
    if (minimum->commands_max != 0) {
        (void)fprintf(out, " --commands %" PRIu32, minimum->commands_max);
    }
    if (minimum->run_ns_max != 0) {
        (void)fprintf(out, " --time %" PRIu64, minimum->run_ns_max / TIME_STEP_NS);
    }
    (void)fprintf(out, "\n");
    return 0;
}
