/* Exhaustive crash points; see crash_points.h. */
#include "sim/crash_points.h"

#include "base/assert.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINES_MAX 4096u
#define SUBSETS_MAX (1u << LKS_SIM_SUBSET_LINES_MAX)
#define DRAWN_MAX 2u         /* cases more with fates drawn for all lines, torn ones too */
#define KNOWN_MAX 16384u     /* worlds tried since the last step; a power of two */
#define TWICE_EVERY 4u       /* so often a second cut follows while recovering */
#define SECOND_CUT_MAX 200u  /* accesses until then */
#define SCOPES_MAX 3u

/* A line that is uncertain at a point. */
struct uncertain {
    uint32_t replica;
    uint32_t file;
    uint32_t place;
    uint64_t order;
    uint32_t values;
    uint64_t certain_hash;
    struct lks_sim_line_fate fate;
};

/* What a copy of the world tells its parent; in memory that both see. */
struct outcome {
    bool ended; /* by itself: the verdict counts */
    struct lks_sim_verdict verdict;
};

struct run {
    const struct lks_sim_crash_options *options;
    const struct lks_sim_script *script;
    struct lks_sim_crash_sums *sums;
    struct lks_sim_world *world;
    struct lks_sim_random random; /* of fates; drawn in the same order in every run */
    struct outcome *outcome;
    jmp_buf leave; /* out of the middle of a process's call, in a copy */
    bool in_call;
    bool copy;     /* this is a copy */
    uint32_t mask; /* of the replicas that lose power in it */
    uint32_t second_cut; /* copy: accesses until the power goes once more; 0: it does not */
    uint32_t accessing;  /* copy: the replica whose access that was */
    int status;    /* fork failed */
    bool started;
    uint64_t snapshots_before; /* taken until then */
    uint64_t changes; /* of storages by the network, and answers, at the last point */
    uint64_t known[KNOWN_MAX]; /* hashes of worlds tried in this step; 0: free */
    uint32_t known_count;
    struct uncertain lines[LINES_MAX];
    uint32_t lines_count;
    uint64_t base_hash; /* of what is certain, all replicas of the mask */
};

static struct run *g_run; /* for the assertion hook */

/* ---- images ------------------------------------------------------------------------------- */

/* NULL: the replica has no such file. */
static struct lks_sim_lines *lines_of(const struct run *run, uint32_t replica, uint32_t file)
{
    const struct lks_sim_cluster *cluster = lks_sim_world_cluster(run->world);
    return lks_sim_storage_lines(lks_sim_process_storage(cluster->processes[replica]), file);
}

/* So that the same bytes in two files count as different. */
static uint64_t in_file(uint64_t hash, uint32_t replica, uint32_t file)
{
    return hash * (2 * (uint64_t)(replica * LKS_SIM_STORAGE_FILES_MAX + file) + 1);
}

/* Adds the uncertain lines of one file, the newest first. */
static void add_lines(struct run *run, uint32_t replica, uint32_t file)
{
    struct lks_sim_lines *lines = lines_of(run, replica, file);
    const uint8_t *certain = lks_sim_lines_certain(lines);
    run->base_hash += in_file(lks_sim_lines_hash(lines), replica, file);
    for (uint32_t place = 0; place < lks_sim_lines_count(lines); place++) {
        const struct lks_sim_line line = lks_sim_lines_at(lines, place);
        const uint64_t hash = lks_sim_lines_line_hash(line.offset, certain + line.offset);
        const struct uncertain found = {.replica = replica, .file = file, .place = place,
                                        .order = line.order, .values = line.values,
                                        .certain_hash = in_file(hash, replica, file)};
        LKS_ASSERT(run->lines_count < LINES_MAX);
        uint32_t at = run->lines_count++;
        while (at > 0 && run->lines[at - 1].order < found.order) {
            run->lines[at] = run->lines[at - 1];
            at--;
        }
        run->lines[at] = found;
    }
}

/* Finds all lines that are uncertain on the hosts of the mask. */
static void find_lines(struct run *run, uint32_t mask)
{
    run->lines_count = 0;
    run->base_hash = mask;
    for (uint32_t replica = 1; replica <= run->options->replicas; replica++) {
        for (uint32_t file = 0;
             (mask >> replica & 1) != 0 && lines_of(run, replica, file) != NULL; file++) {
            add_lines(run, replica, file);
        }
    }
}

/* The hash of what survives if every line meets its fate. */
static uint64_t hash_fates(const struct run *run)
{
    uint64_t sum = run->base_hash;
    for (uint32_t i = 0; i < run->lines_count; i++) {
        const struct uncertain *line = &run->lines[i];
        const struct lks_sim_lines *lines = lines_of(run, line->replica, line->file);
        uint8_t value[LKS_SIM_LINE_BYTES];
        lks_sim_lines_fated(lines, line->place, &line->fate, value);
        const uint64_t hash =
            lks_sim_lines_line_hash(lks_sim_lines_at(lines, line->place).offset, value);
        sum += in_file(hash, line->replica, line->file) - line->certain_hash;
    }
    return sum == 0 ? 1 : sum;
}

/* True if this world was tried since the last step; remembers it. */
static bool is_known(struct run *run, uint64_t hash)
{
    uint64_t at = hash & (KNOWN_MAX - 1);
    for (uint32_t tries = 0; tries < KNOWN_MAX; tries++) {
        if (run->known[at] == hash) {
            return true;
        }
        if (run->known[at] == 0) {
            run->known[at] = hash;
            run->known_count++;
            return false;
        }
        at = (at + 1) & (KNOWN_MAX - 1);
    }
    return false;
}

/* ---- a copy of the world ------------------------------------------------------------------ */

static struct lks_sim_line_fate find_fate(void *ctx, const struct lks_sim_line *line)
{
    (void)line;
    const struct lks_sim_line_fate **next = ctx;
    return *(*next)++;
}

/* Each uncertain line of a file meets the fate that was chosen for it. */
static void fulfil_file(struct run *run, uint32_t replica, uint32_t file)
{
    static struct lks_sim_line_fate fates[LINES_MAX];
    for (uint32_t i = 0; i < run->lines_count; i++) {
        const struct uncertain *line = &run->lines[i];
        if (line->replica == replica && line->file == file) {
            fates[line->place] = line->fate;
        }
    }
    const struct lks_sim_line_fate *next = fates;
    (void)lks_sim_lines_cut(lines_of(run, replica, file), find_fate, &next);
}

static void fulfil(struct run *run, uint32_t mask)
{
    for (uint32_t replica = 1; replica <= run->options->replicas; replica++) {
        for (uint32_t file = 0;
             (mask >> replica & 1) != 0 && lines_of(run, replica, file) != NULL; file++) {
            fulfil_file(run, replica, file);
        }
    }
}

static void draw_fates(struct run *run)
{
    for (uint32_t i = 0; i < run->lines_count; i++) {
        struct uncertain *line = &run->lines[i];
        line->fate = (struct lks_sim_line_fate){
            .value = (uint32_t)lks_sim_random_below(&run->random, line->values)};
        if (line->fate.value + 1 < line->values && lks_sim_random_chance(&run->random, 500000)) {
            line->fate.torn = (uint8_t)lks_sim_random_below(&run->random, 256);
        }
    }
}

static void end_copy(struct run *run)
{
    const struct lks_sim_cluster *cluster = lks_sim_world_cluster(run->world);
    run->outcome->verdict = cluster->verdict;
    if (cluster->verdict.broken && run->options->report != NULL) {
        lks_sim_trace_print(cluster->trace, run->options->report,
                            run->options->report_events_max);
        (void)fflush(run->options->report);
    }
    run->outcome->ended = true;
    _exit(0);
}

static void on_assertion(const char *message)
{
    if (g_run != NULL && g_run->copy) {
        lks_sim_verdict_break(&lks_sim_world_cluster(g_run->world)->verdict, "assertion", "%.*s",
                              (int)strcspn(message, "\n"), message);
        end_copy(g_run);
    }
}

/* In a copy that recovers: the second cut comes in the middle of the call that accesses. */
static void before_second_cut(void *ctx, uint32_t replica, enum lks_sim_storage_access access)
{
    struct run *run = ctx;
    if (access >= LKS_SIM_ACCESS_REMOTE_STORE || --run->second_cut > 0) {
        return;
    }
    run->accessing = replica;
    longjmp(run->leave, 1);
}

/* From the first power cut to the end of the copy. */
static void live_on(struct run *run)
{
    lks_sim_storage_watch(NULL);
    lks_sim_world_cut(run->world, run->mask);
    if (run->second_cut > 0) {
        const struct lks_sim_storage_watcher watcher = {before_second_cut, run};
        if (setjmp(run->leave) == 0) {
            lks_sim_storage_watch(&watcher);
        } else {
            lks_sim_storage_watch(NULL);
            const uint32_t one = 1u << run->accessing; /* its call was left: it has to go */
            run->mask = lks_sim_random_chance(&run->random, 500000) ? one : run->mask | one;
            find_lines(run, run->mask);
            draw_fates(run);
            fulfil(run, run->mask);
            lks_sim_world_cut(run->world, run->mask);
        }
    }
    lks_sim_world_recover(run->world);
    end_copy(run);
}

/* ---- one case ----------------------------------------------------------------------------- */

static void report(struct run *run, const char *text)
{
    char name[128];
    FILE *out = run->options->report;
    if (out == NULL) {
        return;
    }
    lks_sim_script_print(run->script, name, sizeof name);
    (void)fprintf(out,
                  "VIOLATION script %s seed %" PRIu64 " point %" PRIu64 " replicas mask %#" PRIx32
                  "%s\n  %s: %s\n  lines (replica, value of values, torn):",
                  name, run->options->seed, run->sums->points, run->mask,
                  run->second_cut > 0 ? ", a second cut while recovering" : "",
                  run->outcome->verdict.invariant, text);
    for (uint32_t i = 0; i < run->lines_count && i < 16; i++) {
        const struct uncertain *line = &run->lines[i];
        (void)fprintf(out, " (%" PRIu32 ", %" PRIu32 "/%" PRIu32 ", %02x)", line->replica,
                      line->fate.value, line->values, line->fate.torn);
    }
    (void)fprintf(out, "\n");
    (void)fflush(out);
}

/* Forks, and in the copy cuts the power as the fates say. Does not return in the copy. */
static void run_case(struct run *run, uint32_t mask)
{
    run->sums->subsets++;
    if (is_known(run, hash_fates(run))) {
        run->sums->same++;
        return;
    }
    if (lks_sim_random_below(&run->random, run->options->every) != 0) {
        run->sums->skipped++;
        return;
    }
    run->mask = mask;
    run->second_cut = 0;
    if (run->sums->runs % TWICE_EVERY == 0) {
        run->second_cut = 1 + (uint32_t)lks_sim_random_below(&run->random, SECOND_CUT_MAX);
        run->sums->runs_twice++;
    }
    run->sums->runs++;
    *run->outcome = (struct outcome){.ended = false};
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child < 0) {
        run->status = -errno;
        return;
    }
    if (child == 0) {
        run->copy = true;
        fulfil(run, mask);
        if (run->in_call) {
            longjmp(run->leave, 1);
        }
        live_on(run);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        LKS_ASSERT(errno == EINTR);
    }
    if (!run->outcome->ended) {
        lks_sim_verdict_break(&run->outcome->verdict, "process", "the copy died, status %#x",
                              (unsigned)status);
        run->sums->violations++;
        report(run, run->outcome->verdict.text);
    } else if (run->outcome->verdict.broken) {
        run->sums->violations++;
        report(run, run->outcome->verdict.text);
    }
}

/* ---- points ------------------------------------------------------------------------------- */

static bool is_stopped(const struct run *run)
{
    return run->options->stop != NULL && *run->options->stop != 0;
}

static bool given_up(const struct run *run)
{
    return run->status != 0 || is_stopped(run) ||
           run->sums->violations >= run->options->violations_max ||
           (!run->options->from_start && !lks_sim_world_started(run->world));
}

/* All subsets of the newest lines; the older ones are drawn anew for each. */
static void run_subsets(struct run *run, uint32_t mask)
{
    const uint32_t all = run->lines_count;
    const uint32_t most = all > LKS_SIM_SUBSET_LINES_MANY ? LKS_SIM_SUBSET_LINES_MAX / 2
                                                          : LKS_SIM_SUBSET_LINES_MAX;
    const uint32_t chosen = all < most ? all : most;
    uint32_t product = 1;
    for (uint32_t i = 0; i < chosen; i++) {
        product = product <= SUBSETS_MAX ? product * run->lines[i].values : product;
    }
    /* Too many values: old and new only, the values between by drawing. */
    const bool ends_only = product > SUBSETS_MAX;
    product = ends_only ? 1u << chosen : product;
    run->sums->points_partial += all > chosen || ends_only;
    run->sums->lines_max = all > run->sums->lines_max ? all : run->sums->lines_max;
    for (uint32_t subset = 0; subset < product && !given_up(run); subset++) {
        uint32_t rest = subset;
        if (all > chosen) {
            draw_fates(run);
        }
        for (uint32_t i = 0; i < chosen; i++) {
            struct uncertain *line = &run->lines[i];
            const uint32_t radix = ends_only ? 2 : line->values;
            const uint32_t digit = rest % radix;
            line->fate = (struct lks_sim_line_fate){
                .value = ends_only && digit == 1 ? line->values - 1 : digit};
            rest /= radix;
        }
        run_case(run, mask);
    }
    for (uint32_t i = 0; all > 0 && i < DRAWN_MAX && !given_up(run); i++) {
        draw_fates(run);
        run_case(run, mask);
    }
}

/* The host of `replica` alone, a majority with it, and all; 0: all only. */
static void make_point(struct run *run, uint32_t replica)
{
    const uint32_t replicas = run->options->replicas;
    const uint32_t everyone = ((1u << replicas) - 1) << 1;
    uint32_t scopes[SCOPES_MAX] = {everyone};
    uint32_t scopes_count = 1;
    if (replica != 0 && replicas > 1) {
        scopes[scopes_count++] = 1u << replica;
    }
    if (replica != 0 && replicas > 2) {
        uint32_t majority = 0;
        for (uint32_t i = 0; i <= replicas / 2; i++) {
            majority |= 1u << ((replica - 1 + i) % replicas + 1);
        }
        scopes[scopes_count++] = majority;
    }
    run->sums->points++;
    for (uint32_t i = 0; i < scopes_count && !given_up(run); i++) {
        find_lines(run, scopes[i]);
        run_subsets(run, scopes[i]);
    }
}

static void before_access(void *ctx, uint32_t replica, enum lks_sim_storage_access access)
{
    struct run *run = ctx;
    if (access >= LKS_SIM_ACCESS_REMOTE_STORE || given_up(run)) {
        return; /* the network's: the power is cut when its step is over */
    }
    run->sums->stores += access == LKS_SIM_ACCESS_STORE;
    run->sums->write_backs += access == LKS_SIM_ACCESS_WRITE_BACK;
    run->sums->fences += access == LKS_SIM_ACCESS_FENCE;
    run->in_call = true;
    make_point(run, replica);
}

/* Everything that survives, or that a client knows, and that changes between calls. */
static uint64_t count_changes(struct run *run)
{
    struct lks_sim_network_counts counts;
    lks_sim_network_counts(lks_sim_world_cluster(run->world)->network, &counts);
    uint64_t changes = counts.landed + lks_sim_world_answers(run->world);
    for (uint32_t replica = 1; replica <= run->options->replicas; replica++) {
        for (uint32_t file = 0; lines_of(run, replica, file) != NULL; file++) {
            struct lks_sim_lines *lines = lines_of(run, replica, file);
            changes += lks_sim_lines_stores(lines) + lks_sim_lines_hash(lines);
        }
    }
    return changes;
}

static uint64_t snapshots_taken(const struct run *run)
{
    const struct lks_sim_cluster *cluster = lks_sim_world_cluster(run->world);
    uint64_t taken = 0;
    for (uint32_t replica = 1; replica <= run->options->replicas; replica++) {
        taken += lks_sim_process_snapshots(cluster->processes[replica]);
    }
    return taken;
}

static void after_step(struct run *run)
{
    if (!run->started && lks_sim_world_started(run->world)) {
        run->started = true;
        run->snapshots_before = snapshots_taken(run);
    }

    const uint64_t changes = count_changes(run);
    if (run->known_count > 0) {
        memset(run->known, 0, sizeof run->known);
        run->known_count = 0;
    }
    run->in_call = false;
    if (changes == run->changes || given_up(run)) {
        return;
    }
    run->changes = changes;
    run->sums->remote++;
    for (uint32_t replica = 1; replica <= run->options->replicas; replica++) {
        make_point(run, replica);
        run->sums->points -= replica > 1; /* one moment, whoever loses power */
    }
}

static void run_world(struct run *run)
{
    const struct lks_sim_storage_watcher watcher = {before_access, run};
    lks_sim_storage_watch(&watcher);
    if (setjmp(run->leave) != 0) {
        live_on(run); /* only in a copy */
    }
    while (lks_sim_world_step(run->world) && run->status == 0 && !is_stopped(run) &&
           run->sums->violations < run->options->violations_max) {
        after_step(run);
    }
    lks_sim_storage_watch(NULL);
    const struct lks_sim_verdict *verdict = &lks_sim_world_cluster(run->world)->verdict;
    run->sums->snapshots += run->started ? snapshots_taken(run) - run->snapshots_before : 0;
    run->sums->installs += lks_sim_world_cluster(run->world)->installs;
    if (verdict->broken) {
        run->outcome->verdict = *verdict;
        run->sums->violations++;
        report(run, verdict->text);
    }
}

void lks_sim_crash_sums_add(struct lks_sim_crash_sums *sums,
                            const struct lks_sim_crash_sums *added)
{
    sums->scripts += added->scripts;
    sums->stores += added->stores;
    sums->write_backs += added->write_backs;
    sums->fences += added->fences;
    sums->remote += added->remote;
    sums->points += added->points;
    sums->subsets += added->subsets;
    sums->same += added->same;
    sums->skipped += added->skipped;
    sums->runs += added->runs;
    sums->runs_twice += added->runs_twice;
    sums->points_partial += added->points_partial;
    sums->lines_max =
        added->lines_max > sums->lines_max ? added->lines_max : sums->lines_max;
    sums->snapshots += added->snapshots;
    sums->installs += added->installs;
    sums->violations += added->violations;
    sums->real_us += added->real_us;
    sums->own_us += added->own_us;
    sums->runs_us += added->runs_us;
}

static uint64_t real_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Of a processor: RUSAGE_SELF or RUSAGE_CHILDREN, of those that have ended. */
static uint64_t used_us(int whose)
{
    struct rusage used = {0};
    (void)getrusage(whose, &used);
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

int lks_sim_crash_points(const struct lks_sim_crash_options *options,
                         const struct lks_sim_script *script, struct lks_sim_crash_sums *sums,
                         struct lks_error *err)
{
    LKS_ASSERT(options->every > 0 && g_run == NULL);
    const uint64_t start_us = real_us();
    const uint64_t own_us = used_us(RUSAGE_SELF);
    const uint64_t runs_us = used_us(RUSAGE_CHILDREN);
    struct run *run = calloc(1, sizeof *run);
    LKS_ASSERT(run != NULL);
    run->options = options;
    run->script = script;
    run->sums = sums;
    lks_sim_random_init(&run->random, options->seed);
    run->outcome = mmap(NULL, sizeof *run->outcome, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LKS_ASSERT(run->outcome != MAP_FAILED);
    const struct lks_sim_world_options world = {.script = script,
                                                .replicas = options->replicas,
                                                .seed = options->seed};
    run->status = lks_sim_world_new(&run->world, &world, err);
    if (run->status == 0) {
        g_run = run;
        lks_assert_set_hook(on_assertion);
        run_world(run);
        lks_assert_set_hook(NULL);
        g_run = NULL;
        if (run->status < 0) {
            (void)lks_error_set(err, run->status, "fork: %s", strerror(-run->status));
        }
    }
    lks_sim_world_free(run->world);
    (void)munmap(run->outcome, sizeof *run->outcome);
    const int status = run->status;
    free(run);
    sums->scripts++;
    sums->real_us += real_us() - start_us;
    sums->own_us += used_us(RUSAGE_SELF) - own_us;
    sums->runs_us += used_us(RUSAGE_CHILDREN) - runs_us;
    return status;
}
