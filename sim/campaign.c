/*
 * Many runs; see campaign.h. With several jobs each worker process takes the next seed from a
 * counter in shared memory and writes what came of it into one pipe; records are short enough to
 * be written whole.
 */
#include "sim/campaign.h"

#include "base/assert.h"
#include "base/clock.h"
#include "sim/profile.h"
#include "sim/random.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX 256u
#define BAR_CELLS 30u
#define BAR_EVERY_NS (100 * LKS_NS_PER_MS)

/* What a worker says of one run. */
struct record {
    uint64_t place; /* of the run in the campaign */
    int status;
    struct lks_sim_run_result result;
    char error[256];
};

_Static_assert(sizeof(struct record) <= PIPE_BUF, "a record is written whole or not at all");

/* Shared with the workers. */
struct shared {
    _Atomic uint64_t next; /* place of the next run */
    _Atomic bool ending;
    _Atomic uint64_t under_way[JOBS_MAX]; /* place + 1 of each worker's run; 0: none */
};

struct campaign_state {
    const struct lks_sim_campaign *campaign;
    struct lks_sim_sums *sums;
    struct lks_error *err;
    uint64_t count; /* of all runs; UINT64_MAX: until the time is up */
    uint64_t begin_ns;
    uint64_t drawn_ns;
    int status;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * LKS_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Processor time that this process and its ended children have used. */
static uint64_t processor_ns(void)
{
    uint64_t sum_us = 0;
    static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (size_t i = 0; i < LKS_COUNT_OF(whose); i++) {
        struct rusage used = {0};
        (void)getrusage(whose[i], &used);
        sum_us += (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                  (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    }
    return sum_us * LKS_NS_PER_US;
}

/* ---- tasks -------------------------------------------------------------------------------- */

static const char *profile_by_share(uint64_t chosen)
{
    const char *name = NULL;
    const char *purpose = NULL;
    uint64_t sum = 0;
    for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
        sum += lks_sim_profile_share(i);
    }
    LKS_ASSERT(sum > 0);
    chosen %= sum;
    for (uint32_t i = 0; lks_sim_profile_list(i, &name, &purpose); i++) {
        if (chosen < lks_sim_profile_share(i)) {
            break;
        }
        chosen -= lks_sim_profile_share(i);
    }
    return name;
}

void lks_sim_campaign_task(const struct lks_sim_campaign *campaign, uint64_t seed,
                           struct lks_sim_task *task)
{
    static const uint32_t replicas[] = {3, 3, 3, 3, 3, 3, 5, 5, 5, 7};
    struct lks_sim_random random;
    lks_sim_random_init(&random, seed ^ UINT64_C(0x7461736b));
    const uint64_t by_profile = lks_sim_random_next(&random);
    const uint64_t by_replicas = lks_sim_random_below(&random, LKS_COUNT_OF(replicas));
    *task = (struct lks_sim_task){
        .seed = seed,
        .commands_max = campaign->commands_max,
        .run_ns_max = campaign->run_ns_max,
        .replicas = campaign->replicas != 0 ? campaign->replicas : replicas[by_replicas],
        .profile = campaign->profile != NULL ? campaign->profile : profile_by_share(by_profile)};
}

static void task_at(const struct lks_sim_campaign *campaign, uint64_t place,
                    struct lks_sim_task *task)
{
    if (campaign->tasks != NULL) {
        *task = campaign->tasks[place];
    } else {
        lks_sim_campaign_task(campaign, campaign->first_seed + place, task);
    }
}

/* ---- sums --------------------------------------------------------------------------------- */

static void add_counts(struct lks_sim_run_result *all, const struct lks_sim_run_result *result)
{
    all->events += result->events;
    all->virtual_ns += result->virtual_ns;
    all->faults += result->faults;
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        all->faults_of[fault] += result->faults_of[fault];
    }
    all->terms += result->terms;
    all->snapshots += result->snapshots;
    all->installs += result->installs;
    all->committed += result->committed;
    all->checks += result->checks;
    all->called += result->called;
    all->answered += result->answered;
    all->refused += result->refused;
    all->unknown += result->unknown;
    all->executed += result->executed;
    all->compared += result->compared;
    all->writes_landed += result->writes_landed;
    all->writes_refused += result->writes_refused;
    all->writes_late += result->writes_late;
    all->writes_stray += result->writes_stray;
    all->writes_unfenced += result->writes_unfenced;
    all->undecided += result->undecided;
    for (uint32_t bound = 0; bound < LKS_SIM_BOUNDS; bound++) {
        if (result->held_most[bound] > all->held_most[bound]) {
            all->held_most[bound] = result->held_most[bound];
        }
    }
}

static void draw_bar(struct campaign_state *state)
{
    const struct lks_sim_sums *sums = state->sums;
    const struct lks_sim_campaign *campaign = state->campaign;
    const uint64_t now = now_ns();
    if (!campaign->progress || now - state->drawn_ns < BAR_EVERY_NS) {
        return;
    }
    state->drawn_ns = now;
    const double seconds = (double)(now - state->begin_ns) / 1e9;
    double part = state->count != UINT64_MAX ? (double)sums->runs / (double)state->count : 0;
    if (campaign->for_ns != 0 && seconds * 1e9 / (double)campaign->for_ns > part) {
        part = seconds * 1e9 / (double)campaign->for_ns;
    }
    char cells[BAR_CELLS + 1];
    for (uint32_t i = 0; i < BAR_CELLS; i++) {
        cells[i] = (double)i < part * BAR_CELLS ? '#' : '.';
    }
    cells[BAR_CELLS] = '\0';
    (void)fprintf(stderr,
                  "\r[%s] %3.0f %%  %" PRIu64 " seeds, %.0f/s, %" PRIu64 " violations \033[K",
                  cells, part * 100, sums->runs, (double)sums->runs / seconds, sums->violations);
    (void)fflush(stderr);
}

static void violation(struct campaign_state *state, const struct lks_sim_task *task,
                      const struct lks_sim_verdict *verdict)
{
    struct lks_sim_sums *sums = state->sums;
    sums->violations++;
    if (sums->violations == 1 || task->seed < sums->first.seed) {
        sums->first = *task;
        sums->verdict = *verdict;
    }
    if (state->campaign->keep_going) {
        (void)printf("seed %" PRIu64 " replicas %" PRIu32 " profile %s: %s: %s\n", task->seed,
                     task->replicas, task->profile, verdict->invariant, verdict->text);
    }
}

static void add_record(struct campaign_state *state, const struct record *record)
{
    struct lks_sim_task task;
    task_at(state->campaign, record->place, &task);
    if (record->status < 0) {
        state->status = lks_error_set(state->err, record->status, "seed %" PRIu64 ": %s",
                                      task.seed, record->error);
        return;
    }
    struct lks_sim_sums *sums = state->sums;
    struct lks_sim_random random;
    sums->runs++;
    lks_sim_random_init(&random, record->result.trace_hash ^ task.seed);
    sums->hash += lks_sim_random_next(&random);
    add_counts(&sums->all, &record->result);
    if (state->campaign->hashes) {
        (void)printf("seed %" PRIu64 " replicas %" PRIu32 " profile %s trace %016" PRIx64
                     " events %" PRIu64 "\n",
                     task.seed, task.replicas, task.profile, record->result.trace_hash,
                     record->result.events);
    }
    if (record->result.verdict.broken) {
        violation(state, &task, &record->result.verdict);
    }
    draw_bar(state);
}

/* No further run is to be begun. */
static bool is_over(const struct campaign_state *state)
{
    const struct lks_sim_campaign *campaign = state->campaign;
    return state->status < 0 || (campaign->interrupted != NULL && *campaign->interrupted != 0) ||
           (state->sums->violations > 0 && !campaign->keep_going) ||
           (campaign->for_ns != 0 && now_ns() - state->begin_ns >= campaign->for_ns);
}

/* ---- running ------------------------------------------------------------------------------ */

static void make_run(const struct lks_sim_campaign *campaign, uint64_t place,
                     struct record *record)
{
    struct lks_sim_task task;
    struct lks_error err = {0};
    task_at(campaign, place, &task);
    const struct lks_sim_run_options options = {.seed = task.seed,
                                                .replicas = task.replicas,
                                                .profile = task.profile,
                                                .commands_max = task.commands_max,
                                                .run_ns_max = task.run_ns_max,
                                                .verbose = campaign->verbose};
    *record = (struct record){.place = place};
    record->status = lks_sim_run(&options, &record->result, &err);
    (void)snprintf(record->error, sizeof record->error, "%.255s", err.text);
}

static void run_here(struct campaign_state *state)
{
    for (uint64_t place = 0; place < state->count && !is_over(state); place++) {
        struct record record;
        make_run(state->campaign, place, &record);
        add_record(state, &record);
    }
}

static _Noreturn void work(const struct campaign_state *state, struct shared *shared,
                           uint32_t worker, int fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        const uint64_t place = atomic_fetch_add(&shared->next, 1);
        if (place >= state->count || atomic_load(&shared->ending)) {
            _exit(EXIT_SUCCESS);
        }
        struct record record;
        atomic_store(&shared->under_way[worker], place + 1);
        make_run(state->campaign, place, &record);
        atomic_store(&shared->under_way[worker], 0);
        if (write(fd, &record, sizeof record) != (ssize_t)sizeof record) {
            _exit(EXIT_FAILURE);
        }
    }
}

/* Takes in what workers write until the last one has ended. */
static void collect(struct campaign_state *state, struct shared *shared, int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    for (;;) {
        struct record record;
        const int ready = poll(&readable, 1, 100);
        if (ready > 0) {
            const ssize_t bytes = read(fd, &record, sizeof record);
            if (bytes == 0) {
                return;
            }
            if (bytes == (ssize_t)sizeof record) {
                add_record(state, &record);
            }
        }
        if (is_over(state)) {
            atomic_store(&shared->ending, true);
        }
    }
}

static void reap(struct campaign_state *state, struct shared *shared, const pid_t *pids)
{
    for (uint32_t worker = 0; worker < state->campaign->jobs; worker++) {
        int how = 0;
        if (pids[worker] <= 0 || waitpid(pids[worker], &how, 0) < 0 || !WIFSIGNALED(how)) {
            continue;
        }
        const uint64_t place = atomic_load(&shared->under_way[worker]);
        if (place == 0) {
            state->status = lks_error_set(state->err, -ECHILD, "a worker ended by signal %d (%s)",
                                          WTERMSIG(how), strsignal(WTERMSIG(how)));
            continue;
        }
        struct lks_sim_task task;
        struct lks_sim_verdict verdict = {0};
        task_at(state->campaign, place - 1, &task);
        lks_sim_verdict_break(&verdict, "no crash", "the process ended by signal %d (%s)",
                              WTERMSIG(how), strsignal(WTERMSIG(how)));
        violation(state, &task, &verdict);
    }
}

static int run_in_workers(struct campaign_state *state)
{
    int fds[2];
    pid_t pids[JOBS_MAX] = {0};
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return lks_error_set(state->err, -errno, "workers: mmap: %s", strerror(errno));
    }
    if (pipe2(fds, O_CLOEXEC) < 0) {
        const int code = -errno;
        (void)munmap(shared, sizeof *shared);
        return lks_error_set(state->err, code, "workers: pipe: %s", strerror(-code));
    }
    (void)fflush(NULL);
    for (uint32_t worker = 0; worker < state->campaign->jobs; worker++) {
        pids[worker] = fork();
        if (pids[worker] == 0) {
            (void)close(fds[0]);
            work(state, shared, worker, fds[1]);
        }
        if (pids[worker] < 0) {
            state->status = lks_error_set(state->err, -errno, "workers: fork: %s",
                                          strerror(errno));
            atomic_store(&shared->ending, true);
        }
    }
    (void)close(fds[1]);
    collect(state, shared, fds[0]);
    reap(state, shared, pids);
    (void)close(fds[0]);
    (void)munmap(shared, sizeof *shared);
    return state->status;
}

int lks_sim_campaign_run(const struct lks_sim_campaign *campaign, struct lks_sim_sums *sums,
                         struct lks_error *err)
{
    LKS_ASSERT(campaign->jobs >= 1 && campaign->jobs <= JOBS_MAX);
    struct campaign_state state = {.campaign = campaign, .sums = sums, .err = err};
    *sums = (struct lks_sim_sums){0};
    const uint64_t seeds = campaign->last_seed - campaign->first_seed;
    state.count = seeds == UINT64_MAX ? UINT64_MAX : seeds + 1;
    if (campaign->tasks != NULL) {
        state.count = campaign->tasks_count;
    }
    state.begin_ns = now_ns();
    const uint64_t used_before_ns = processor_ns();
    if (campaign->jobs == 1) {
        run_here(&state);
    } else {
        (void)run_in_workers(&state);
    }
    sums->elapsed_ns = now_ns() - state.begin_ns;
    sums->processor_ns = processor_ns() - used_before_ns;
    if (campaign->progress) {
        (void)fprintf(stderr, "\r\033[K");
    }
    return state.status;
}
