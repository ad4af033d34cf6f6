/* One run of the simulator; see cluster.h. */
#include "sim/cluster_internal.h"

#include "base/assert.h"
#include "base/clock.h"
#include "sim/checkers/order.h"
#include "sim/checkers/reads.h"
#include "sim/heap.h"
#include "sim/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_RECORDS 8192u
#define PATH_BYTES 32u
#define LOOK_EVERY_NS (5 * LKS_NS_PER_MS) /* after the faults: is everything well again? */
#define WATCH_EVERY_NS LKS_NS_PER_MS
#define CALM_NS (500 * LKS_NS_PER_MS)      /* that long if nothing is demanded */
#define START_NS LKS_NS_PER_S

/* The run under way, for assertions in the code under test. */
static struct lks_sim_cluster *g_cluster;
static struct lks_sim_memory g_memory; /* of all runs, one after the other: little is touched */
static jmp_buf g_abandon;

static void on_assertion(const char *message)
{
    if (g_cluster != NULL) {
        lks_sim_verdict_break(&g_cluster->verdict, "assertion", "%.*s",
                              (int)strcspn(message, "\n"), message);
        longjmp(g_abandon, 1);
    }
}

/* ---- making ------------------------------------------------------------------------------- */

static void journal_path(uint32_t replica, char *path, size_t bytes)
{
    (void)snprintf(path, bytes, "r%" PRIu32 ".journal", replica);
}

static void make_network(struct lks_sim_cluster *cluster)
{
    struct lks_sim_network_options options = {.replicas = cluster->options.replicas,
                                              .timeline = cluster->timeline,
                                              .trace = cluster->trace,
                                              .random = &cluster->random,
                                              .log_outlives = true,
                                              .profile = cluster->profile.network};
    lks_sim_observe_network(cluster, &options.observer);
    cluster->network = lks_sim_network_new(&options);
}

static int make_process(struct lks_sim_cluster *cluster, uint32_t replica, struct lks_error *err)
{
    char path[PATH_BYTES];
    journal_path(replica, path, sizeof path);
    struct lks_sim_process_options options = {
        .replica = replica,
        .replicas = cluster->options.replicas,
        .timeline = cluster->timeline,
        .trace = cluster->trace,
        .network = cluster->network,
        .random = &cluster->random,
        .profile = &cluster->profile.process,
        .journal = {.path = path,
                    .cluster_id = "simulated",
                    .replica = replica,
                    .bootstrap_voters = cluster->first_voters,
                    .ring_bytes = cluster->profile.ring_bytes,
                    .entry_bytes_max = cluster->profile.entry_bytes_max,
                    .forgetful =
                        cluster->profile.process.media[replica].durability ==
                        LKS_DURABILITY_MEMORY}};
    lks_sim_observe_process(cluster, &options.observer);
    cluster->processes[replica] = lks_sim_process_new(&options);
    const bool first = (cluster->first_voters >> replica & 1u) != 0;
    return lks_sim_process_format(cluster->processes[replica], first, err);
}

static void make_surroundings(struct lks_sim_cluster *cluster)
{
    struct lks_sim_clients_options clients = {.replicas = cluster->options.replicas,
                                              .timeline = cluster->timeline,
                                              .trace = cluster->trace,
                                              .random = &cluster->random,
                                              .profile = &cluster->profile.clients,
                                              .commands_max = cluster->options.commands_max,
                                              .history = &cluster->history,
                                              .commands = &cluster->commands};
    lks_sim_observe_clients(cluster, &clients);
    cluster->clients = lks_sim_clients_new(&clients);
    struct lks_sim_faults_options faults = {.replicas = cluster->options.replicas,
                                            .timeline = cluster->timeline,
                                            .trace = cluster->trace,
                                            .network = cluster->network,
                                            .random = &cluster->random,
                                            .profile = &cluster->profile.faults,
                                            .processes = cluster->processes,
                                            .used = cluster->first_voters,
                                            .members = &cluster->members};
    lks_sim_observe_faults(cluster, &faults);
    cluster->faults = lks_sim_faults_new(&faults);
}

static int make_cluster(struct lks_sim_cluster *cluster, struct lks_error *err)
{
    lks_sim_members_init(&cluster->members, &cluster->verdict, cluster->first_voters);
    cluster->writers.verdict = &cluster->verdict;
    cluster->leaders.verdict = &cluster->verdict;
    cluster->commands.verdict = &cluster->verdict;
    cluster->prefix.verdict = &cluster->verdict;
    cluster->states.verdict = &cluster->verdict;
    cluster->bounds.verdict = &cluster->verdict;
    cluster->bounds.times = cluster->profile.entry_bytes_max / LKS_SIM_BOUND_ENTRY_BYTES;
    cluster->progress.verdict = &cluster->verdict;
    cluster->history.verdict = &cluster->verdict;
    lks_sim_random_init(&cluster->random, cluster->options.seed);
    cluster->timeline = lks_sim_timeline_new(START_NS);
    cluster->trace = lks_sim_trace_new(TRACE_RECORDS, cluster->options.verbose);
    if (cluster->options.tell) {
        lks_sim_trace_begin_telling(cluster->trace);
    }
    make_network(cluster);
    int status = 0;
    for (uint32_t replica = 1; replica <= cluster->options.replicas && status == 0; replica++) {
        status = make_process(cluster, replica, err);
    }
    if (status < 0) {
        return status;
    }
    make_surroundings(cluster);
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        if (lks_sim_process_start(cluster->processes[replica]) == 0) {
            lks_sim_observe_start(cluster, replica);
        }
    }
    return 0;
}

static void free_cluster(struct lks_sim_cluster *cluster)
{
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        lks_sim_process_free(cluster->processes[replica]);
    }
    lks_sim_faults_free(cluster->faults);
    lks_sim_clients_free(cluster->clients);
    lks_sim_network_free(cluster->network);
    lks_sim_trace_free(cluster->trace);
    lks_sim_timeline_free(cluster->timeline);
}

/* ---- running ------------------------------------------------------------------------------ */

/* Once more from the base: nothing that a replica applied was overwritten since. */
static void check_applied(struct lks_sim_cluster *cluster, uint32_t replica)
{
    const struct lks_sim_process *process = cluster->processes[replica];
    const struct lks_journal *journal =
        lks_sim_storage_journal(lks_sim_process_storage(process));
    struct lks_replica_status status;
    lks_replica_status(lks_sim_process_replica(process), &status);
    const struct lks_sim_applied applied = {.index = status.applied_index,
                                            .offset = status.applied_offset};
    lks_sim_prefix_restarted(&cluster->prefix, replica, journal);
    lks_sim_prefix_applied(&cluster->prefix, replica, journal, &applied);
}

static void watch(struct lks_sim_cluster *cluster)
{
    const uint64_t now_ns = lks_sim_timeline_now(cluster->timeline);
    if (now_ns < cluster->watched_ns + WATCH_EVERY_NS) {
        return;
    }
    cluster->watched_ns = now_ns;
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        /* One that has not stepped yet has applied nothing that its status could tell. */
        if (lks_sim_process_state(cluster->processes[replica]) != LKS_SIM_DOWN &&
            cluster->applied_index[replica] != 0) {
            check_applied(cluster, replica);
        }
    }
}

static void run_until(struct lks_sim_cluster *cluster, uint64_t limit_ns)
{
    while (!cluster->verdict.broken && lks_sim_timeline_step(cluster->timeline, limit_ns)) {
        if (cluster->options.watch) {
            watch(cluster);
        }
    }
}

void lks_sim_cluster_missing(struct lks_sim_cluster *cluster, char *text, size_t bytes)
{
    const uint32_t client = lks_sim_clients_waiting(cluster->clients);
    text[0] = '\0';
    if (client != 0) {
        (void)snprintf(text, bytes, "client %" PRIu32 " got no answer", client);
    }
    for (uint32_t replica = 1; replica <= cluster->options.replicas && text[0] == '\0';
         replica++) {
        const struct lks_sim_process *process = cluster->processes[replica];
        if ((lks_sim_members_certain(&cluster->members) >> replica & 1u) == 0 ||
            lks_sim_storage_area_fails(lks_sim_process_storage(process)) != 0) {
            continue; /* no member, or it need not keep up: the others have to go on without it */
        }
        if (lks_sim_process_state(process) != LKS_SIM_RUNNING) {
            (void)snprintf(text, bytes, "replica %" PRIu32 " is not up", replica);
            return;
        }
        struct lks_replica_status status;
        lks_replica_status(lks_sim_process_replica(process), &status);
        if (!status.serving || status.amnesiac) {
            (void)snprintf(text, bytes, "replica %" PRIu32 " (%s, term %" PRIu64 ") %s", replica,
                           lks_role_name(status.role), status.term,
                           status.amnesiac ? "may still have forgotten" : "does not serve");
        } else if (status.applied_index < cluster->prefix.last_index) {
            (void)snprintf(text, bytes,
                           "replica %" PRIu32 " has applied entry %" PRIu64 " of %" PRIu64,
                           replica, status.applied_index, cluster->prefix.last_index);
        } else if (status.pending != 0) {
            (void)snprintf(text, bytes,
                           "replica %" PRIu32 " still owes %" PRIu64 " answers, though its clients "
                           "may have gone elsewhere",
                           replica, status.pending);
        }
    }
}

static void run_to_health(struct lks_sim_cluster *cluster, bool commands)
{
    char missing[160];
    cluster->progress.healed_ns = lks_sim_timeline_now(cluster->timeline);
    cluster->progress.bound_ns = cluster->profile.progress_ns;
    if (commands) {
        lks_sim_clients_expect(cluster->clients);
    }
    if (cluster->profile.no_progress) {
        run_until(cluster, cluster->progress.healed_ns + CALM_NS);
        return;
    }
    do {
        const uint64_t now_ns = lks_sim_timeline_now(cluster->timeline);
        run_until(cluster, now_ns + LOOK_EVERY_NS);
        if (cluster->verdict.broken) {
            return;
        }
        lks_sim_cluster_missing(cluster, missing, sizeof missing);
    } while (!lks_sim_progress_done(&cluster->progress,
                                    lks_sim_timeline_now(cluster->timeline), missing));
}

static uint64_t next_executed(const struct lks_sim_commands *commands, uint64_t index)
{
    do {
        index++;
    } while (index <= commands->last_index && commands->at[index].number == 0);
    return index <= commands->last_index ? index : UINT64_MAX;
}

static uint64_t time_at(const struct lks_sim_commands *commands, uint64_t index)
{
    return index != UINT64_MAX ? commands->at[index].time_ns : UINT64_MAX;
}

/* The whole history in the order of the log, reads without entries in between. */
static void check_order(struct lks_sim_cluster *cluster)
{
    const struct lks_sim_commands *commands = &cluster->commands;
    struct lks_sim_order *order = calloc(1, sizeof *order);
    struct lks_sim_reads reads;
    LKS_ASSERT(order != NULL);
    order->verdict = &cluster->verdict;
    lks_sim_reads_init(&reads, &cluster->history, commands->index_of, &cluster->verdict);
    uint64_t next = next_executed(commands, 0);
    struct lks_sim_gap gap = {.next = next, .to_ns = time_at(commands, next)};
    lks_sim_reads_place(&reads, &order->model, &gap);
    while (next != UINT64_MAX) {
        const struct lks_sim_executed *executed = &commands->at[next];
        const struct lks_sim_ordered ordered = {
            .index = next,
            .number = executed->number,
            .time_ns = executed->time_ns,
            .call = &cluster->history.calls[executed->number]};
        lks_sim_order_next(order, &ordered);
        next = next_executed(commands, next);
        gap = (struct lks_sim_gap){.index = ordered.index,
                                   .next = next,
                                   .from_ns = ordered.time_ns,
                                   .to_ns = time_at(commands, next)};
        lks_sim_reads_place(&reads, &order->model, &gap);
    }
    lks_sim_reads_fini(&reads);
    free(order);
}

void lks_sim_cluster_check_end(struct lks_sim_cluster *cluster)
{
    lks_sim_service_rehash();
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        const struct lks_sim_process *process = cluster->processes[replica];
        const bool member = (lks_sim_members_certain(&cluster->members) >> replica & 1u) != 0;
        if (lks_sim_process_state(process) == LKS_SIM_DOWN || !member) {
            continue; /* stopping in order while the ring was full; or nobody brings it anything */
        }
        struct lks_replica_status status;
        lks_replica_status(lks_sim_process_replica(process), &status);
        if (!cluster->profile.no_progress) {
            lks_sim_commands_kept(&cluster->commands, replica, status.applied_index);
        }
        check_applied(cluster, replica);
        uint64_t index = 0;
        const uint64_t hash = lks_replica_hash(lks_sim_process_replica(process), &index);
        if (index != 0) { /* 0: some partitions are still being restored */
            lks_sim_states_seen(&cluster->states, replica, index, hash);
        }
    }
    check_order(cluster);
    lks_sim_history_check(&cluster->history);
}

static void run_all(struct lks_sim_cluster *cluster)
{
    uint64_t run_ns = cluster->profile.run_ns;
    if (cluster->options.run_ns_max != 0 && cluster->options.run_ns_max < run_ns) {
        run_ns = cluster->options.run_ns_max;
    }
    run_until(cluster, START_NS + run_ns);
    if (!cluster->verdict.broken) {
        lks_sim_trace_note(cluster->trace, lks_sim_timeline_now(cluster->timeline), 0,
                           "no more faults; everything heals");
        lks_sim_faults_heal(cluster->faults);
        run_to_health(cluster, true);
    }
    if (!cluster->verdict.broken && cluster->profile.faults.areas_stay) {
        lks_sim_trace_note(cluster->trace, lks_sim_timeline_now(cluster->timeline), 0,
                           "failing areas are mended");
        lks_sim_faults_mend_areas(cluster->faults);
    }
    if (!cluster->verdict.broken) {
        lks_sim_clients_stop(cluster->clients);
        run_to_health(cluster, false);
    }
    if (!cluster->verdict.broken) {
        lks_sim_cluster_check_end(cluster);
    }
}

/* ---- result ------------------------------------------------------------------------------- */

/* After an assertion a replica may be in the middle of anything: what it says is not asked for. */
static void count_snapshots(const struct lks_sim_cluster *cluster,
                            struct lks_sim_run_result *result)
{
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        if (cluster->processes[replica] != NULL && !cluster->abandoned) {
            result->snapshots += lks_sim_process_snapshots(cluster->processes[replica]);
        }
    }
}

static void fill_result(struct lks_sim_cluster *cluster, struct lks_sim_run_result *result)
{
    struct lks_sim_clients_counts clients = {0};
    struct lks_sim_network_counts network = {0};
    if (cluster->clients != NULL) {
        lks_sim_clients_counts(cluster->clients, &clients);
    }
    if (cluster->network != NULL) {
        lks_sim_network_counts(cluster->network, &network);
    }
    *result = (struct lks_sim_run_result){
        .verdict = cluster->verdict,
        .trace_hash = lks_sim_trace_hash(cluster->trace),
        .events = lks_sim_trace_count(cluster->trace),
        .virtual_ns = lks_sim_timeline_now(cluster->timeline) - START_NS,
        .faults = cluster->faults != NULL ? lks_sim_faults_count(cluster->faults) : 0,
        .terms = cluster->leaders.terms,
        .committed = cluster->prefix.last_index,
        .checks = cluster->verdict.checks,
        .called = clients.called,
        .answered = clients.answered,
        .refused = clients.refused,
        .unknown = clients.unknown,
        .installs = cluster->installs,
        .executed = cluster->commands.executed_count,
        .compared = cluster->states.compared,
        .writes_landed = network.landed,
        .writes_refused = network.refused,
        .writes_late = network.late_landed,
        .writes_stray = network.strays_landed,
        .writes_unfenced = network.unfenced_landed,
        .undecided = cluster->history.undecided,
    };
    count_snapshots(cluster, result);
    for (uint32_t fault = 0; cluster->faults != NULL && fault < LKS_SIM_FAULTS; fault++) {
        result->faults_of[fault] = lks_sim_faults_of(cluster->faults, fault);
    }
    memcpy(result->held_most, cluster->bounds.most, sizeof result->held_most);
    result->broken_ns = cluster->verdict.broken ? result->virtual_ns : 0;
    if (cluster->verdict.broken && cluster->options.report != NULL && !cluster->options.verbose) {
        lks_sim_trace_print(cluster->trace, cluster->options.report,
                            cluster->options.report_events_max);
    }
}

int lks_sim_run(const struct lks_sim_run_options *options, struct lks_sim_run_result *result,
                struct lks_error *err)
{
    LKS_ASSERT(g_cluster == NULL);
    if (options->replicas < 1 || options->replicas > LKS_REPLICAS_MAX) {
        return lks_error_set(err, -EINVAL, "%" PRIu32 " replicas: 1 to %u are possible",
                             options->replicas, LKS_REPLICAS_MAX);
    }
    lks_sim_memory_renew(&g_memory, sizeof *g_cluster);
    lks_sim_memory_touch_all(&g_memory);
    struct lks_sim_cluster *cluster = (struct lks_sim_cluster *)(void *)g_memory.bytes;
    cluster->options = *options;
    if (lks_sim_profile_make(&cluster->profile, options->profile, options->seed) < 0) {
        return lks_error_set(err, -EINVAL, "no profile %s", options->profile);
    }
    cluster->first_voters = (2u << options->replicas) - 2u;
    cluster->options.replicas = options->replicas + cluster->profile.spares < LKS_REPLICAS_MAX
                                    ? options->replicas + cluster->profile.spares
                                    : LKS_REPLICAS_MAX;
    g_cluster = cluster;
    (void)lks_sim_heap_enter(0); /* a run that was abandoned may have left it */
    lks_assert_set_hook(on_assertion);
    if (setjmp(g_abandon) != 0) {
        struct lks_sim_cluster *const broken = g_cluster;
        g_cluster = NULL;
        lks_assert_set_hook(NULL);
        broken->abandoned = true;
        fill_result(broken, result);
        lks_sim_storage_forget_all(); /* nothing of the run can be trusted to be freed */
        return 0;
    }
    const int status = make_cluster(cluster, err);
    if (status == 0) {
        run_all(cluster);
        fill_result(cluster, result);
    }
    g_cluster = NULL;
    lks_assert_set_hook(NULL);
    free_cluster(cluster);
    return status;
}
