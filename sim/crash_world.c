/* A small cluster that lives through a scripted workload; see crash_world.h. */
#include "sim/crash_world.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define US LKS_NS_PER_US
#define MS LKS_NS_PER_MS
#define START_NS LKS_NS_PER_S
#define RING_BYTES LKS_JOURNAL_RING_MIN
#define ENTRY_BYTES_MAX 4096u
#define TRACE_RECORDS 2048u
#define PATIENCE_NS (30 * MS)  /* then an operation's outcome is unknown */
#define RETRY_NS (500 * US)
#define AWAY_NS (12 * MS)      /* a leader that is crashed or paused: three election timeouts */
#define DARK_NS (3 * MS)       /* a host without power; a millisecond more for each next one */
#define PROGRESS_NS (5000 * MS) /* a leader that is asked to stop may take 2 s */
#define DRAWS_MAX 100000u
#define WRITTEN_KEY 0u
#define AREA_BYTES (UINT64_C(12) << 20)
#define FILL_BYTES 1400u      /* of a long value: a few of the shares in which snapshots are due */
#define WARM_FILLS_MAX 400u   /* the base has moved everywhere long before */

enum phase { STARTING, WARMING, READY, WAITING, CHANGING, SETTLING, OVER };

struct lks_sim_world {
    struct lks_sim_cluster cluster; /* first: observers are given the cluster */
    const struct lks_sim_script *script;
    struct lks_sim_random random;
    uint32_t (*leader)(void *ctx);
    void (*ended)(void *ctx, uint32_t replica);
    enum phase phase;
    uint32_t operation; /* the next one, or the one under way */
    uint32_t number;    /* under way; 0: none */
    uint32_t gateway;
    uint32_t away;       /* left behind until the log has gone past it; 0: none */
    uint64_t away_offset; /* what it had applied */
    uint32_t fills;
    uint32_t old_leader; /* that the script has taken away; 0: none */
    bool changed;
    uint64_t answers;
    uint64_t deadline_ns;
    uint64_t retry_ns;
    char path[LKS_REPLICAS_MAX + 1][32];
};

static uint64_t now_of(const struct lks_sim_world *world)
{
    return lks_sim_timeline_now(world->cluster.timeline);
}

struct lks_sim_cluster *lks_sim_world_cluster(struct lks_sim_world *world)
{
    return &world->cluster;
}

uint64_t lks_sim_world_answers(const struct lks_sim_world *world)
{
    return world->answers;
}

bool lks_sim_world_started(const struct lks_sim_world *world)
{
    return world->phase > WARMING;
}

/* ---- making ------------------------------------------------------------------------------- */

static void make_profile(struct lks_sim_profile *profile, const struct lks_sim_script *script)
{
    *profile = (struct lks_sim_profile){
        .process = {.spin = {.min_ns = US, .max_ns = 3 * US},
                    .wake = {.min_ns = US, .max_ns = 8 * US},
                    .persist = {.min_ns = 5 * US, .max_ns = 40 * US},
                    .outstanding_max = 256,
                    .election_timeout_ns = 4 * MS,
                    .heartbeat_ns = 600 * US,
                    .area_bytes = script->area != LKS_SIM_SCRIPT_NO_AREA ? AREA_BYTES : 0},
        .progress_ns = PROGRESS_NS,
        .ring_bytes = RING_BYTES,
        .entry_bytes_max = ENTRY_BYTES_MAX,
    };
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        profile->process.media[replica].durability = script->durability;
    }
    lks_sim_network_profile_default(&profile->network);
    struct lks_sim_network_profile *network = &profile->network;
    network->step = (struct lks_sim_delay){.min_ns = 200, .max_ns = 2 * US};
    network->completion = (struct lks_sim_delay){.min_ns = 300, .max_ns = 2 * US};
    network->handshake = (struct lks_sim_delay){.min_ns = 50 * US, .max_ns = 200 * US};
    network->notice = (struct lks_sim_delay){.min_ns = 20 * US, .max_ns = 200 * US};
    network->control = (struct lks_sim_delay){.min_ns = US, .max_ns = 20 * US};
    network->fence = (struct lks_sim_delay){.min_ns = US, .max_ns = 20 * US};
    network->stray = (struct lks_sim_delay){.min_ns = US, .max_ns = 100 * US, .tail_ns = 20 * MS,
                                            .tail_ppm = 200000};
    network->transport_timeout_ns = 20 * MS;
}

static void start_process(struct lks_sim_world *world, uint32_t replica)
{
    struct lks_sim_process *process = world->cluster.processes[replica];
    if (lks_sim_process_state(process) == LKS_SIM_DOWN &&
        lks_sim_process_start(process) == 0) {
        lks_sim_observe_start(&world->cluster, replica);
    }
}

static void come_back(void *ctx, uint64_t replica)
{
    struct lks_sim_world *world = ctx;
    struct lks_sim_process *process = world->cluster.processes[replica];
    if (lks_sim_process_state(process) == LKS_SIM_PAUSED) {
        lks_sim_process_resume(process);
    }
    start_process(world, (uint32_t)replica);
}

static void come_back_after(struct lks_sim_world *world, uint32_t replica, uint64_t wait_ns)
{
    lks_sim_timeline_post(world->cluster.timeline, now_of(world) + wait_ns, come_back, world,
                          replica);
}

/* The answer to the operation under way; others come too late. */
static void on_reply(void *ctx, uint32_t replica, uint64_t cookie, const void *reply,
                     size_t bytes)
{
    struct lks_sim_world *world = ctx;
    if (cookie == world->number && replica == world->gateway && bytes > 0) {
        struct lks_sim_answer answer;
        lks_sim_answer_read(&answer, reply, bytes);
        lks_sim_history_return(&world->cluster.history, world->number, &answer, now_of(world));
        if (!lks_sim_operation_is_read(&world->cluster.history.calls[cookie].operation)) {
            lks_sim_commands_acknowledged(&world->cluster.commands, world->number);
        }
        world->answers++;
        world->number = 0;
    }
}

/* The process has ended in order, as the script wanted. */
static void on_stopped(void *ctx, uint32_t replica)
{
    struct lks_sim_world *world = ctx;
    world->ended(world, replica);
    come_back_after(world, replica, AWAY_NS);
}

static int make_process(struct lks_sim_world *world, uint32_t replica, struct lks_error *err)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    (void)snprintf(world->path[replica], sizeof world->path[replica], "r%" PRIu32 ".journal",
                   replica);
    struct lks_sim_process_options options = {
        .replica = replica,
        .replicas = cluster->options.replicas,
        .timeline = cluster->timeline,
        .trace = cluster->trace,
        .network = cluster->network,
        .random = &cluster->random,
        .profile = &cluster->profile.process,
        .journal = {.path = world->path[replica],
                    .cluster_id = "simulated",
                    .replica = replica,
                    .bootstrap_voters = (2u << cluster->options.replicas) - 2u,
                    .ring_bytes = cluster->profile.ring_bytes,
                    .entry_bytes_max = cluster->profile.entry_bytes_max}};
    lks_sim_observe_process(cluster, &options.observer);
    options.observer.replied = on_reply;
    options.observer.stopped = on_stopped;
    cluster->processes[replica] = lks_sim_process_new(&options);
    return lks_sim_process_format(cluster->processes[replica], true, err);
}

static void make_checkers(struct lks_sim_cluster *cluster)
{
    lks_sim_members_init(&cluster->members, &cluster->verdict,
                         (2u << cluster->options.replicas) - 2u);
    cluster->writers.verdict = &cluster->verdict;
    cluster->leaders.verdict = &cluster->verdict;
    cluster->commands.verdict = &cluster->verdict;
    cluster->prefix.verdict = &cluster->verdict;
    cluster->states.verdict = &cluster->verdict;
    cluster->progress.verdict = &cluster->verdict;
    cluster->history.verdict = &cluster->verdict;
    cluster->bounds.verdict = &cluster->verdict;
    cluster->bounds.times = 1;
}

static void make_surroundings(struct lks_sim_world *world)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    struct lks_sim_network_options network = {.replicas = cluster->options.replicas,
                                              .timeline = cluster->timeline,
                                              .trace = cluster->trace,
                                              .random = &cluster->random,
                                              .log_outlives = true,
                                              .profile = cluster->profile.network};
    lks_sim_observe_network(cluster, &network.observer);
    cluster->network = lks_sim_network_new(&network);
    /* No random clients and no faults: the script does both. */
    struct lks_sim_clients_options clients = {.replicas = cluster->options.replicas,
                                              .timeline = cluster->timeline,
                                              .trace = cluster->trace,
                                              .random = &cluster->random,
                                              .profile = &cluster->profile.clients,
                                              .history = &cluster->history,
                                              .commands = &cluster->commands};
    lks_sim_observe_clients(cluster, &clients);
    cluster->clients = lks_sim_clients_new(&clients);
    struct lks_sim_faults_options faults = {0};
    lks_sim_observe_faults(cluster, &faults);
    world->leader = faults.leader;
    world->ended = faults.ended;
}

int lks_sim_world_new(struct lks_sim_world **made, const struct lks_sim_world_options *options,
                      struct lks_error *err)
{
    struct lks_sim_world *world = calloc(1, sizeof *world);
    LKS_ASSERT(world != NULL);
    struct lks_sim_cluster *cluster = &world->cluster;
    cluster->options.replicas = options->replicas;
    cluster->options.seed = options->seed;
    world->script = options->script;
    make_profile(&cluster->profile, options->script);
    make_checkers(cluster);
    lks_sim_random_init(&cluster->random, options->seed);
    lks_sim_random_fork(&world->random, &cluster->random, 0x736372);
    cluster->timeline = lks_sim_timeline_new(START_NS);
    cluster->trace = lks_sim_trace_new(TRACE_RECORDS, false);
    make_surroundings(world);
    int status = 0;
    for (uint32_t replica = 1; replica <= options->replicas && status == 0; replica++) {
        status = make_process(world, replica, err);
    }
    if (status < 0) {
        lks_sim_world_free(world);
        return status;
    }
    for (uint32_t replica = 1; replica <= options->replicas; replica++) {
        come_back_after(world, replica, replica * 10 * US);
    }
    *made = world;
    return 0;
}

void lks_sim_world_free(struct lks_sim_world *world)
{
    if (world == NULL) {
        return;
    }
    for (uint32_t replica = 1; replica <= world->cluster.options.replicas; replica++) {
        lks_sim_process_free(world->cluster.processes[replica]);
    }
    lks_sim_clients_free(world->cluster.clients);
    lks_sim_network_free(world->cluster.network);
    lks_sim_trace_free(world->cluster.trace);
    lks_sim_timeline_free(world->cluster.timeline);
    free(world);
}

/* ---- operations --------------------------------------------------------------------------- */

/* The commands are a table of others': one of the kind is drawn until the key is right as well. */
static void word(struct lks_sim_world *world, enum lks_sim_script_operation wanted,
                 struct lks_sim_operation *operation)
{
    static const enum lks_sim_model_kind kinds[] = {[LKS_SIM_SCRIPT_WRITE] = LKS_SIM_SET,
                                                    [LKS_SIM_SCRIPT_COUNT] = LKS_SIM_ADD_ONE,
                                                    [LKS_SIM_SCRIPT_READ] = LKS_SIM_GET,
                                                    [LKS_SIM_SCRIPT_FILL] = LKS_SIM_SET};
    for (uint32_t draws = 0; draws < DRAWS_MAX; draws++) {
        lks_sim_operation_draw(operation, &world->random,
                               (int64_t)world->cluster.history.count + 1, 0);
        if (lks_sim_operation_kind(operation) == kinds[wanted] &&
            !lks_sim_operation_is_double(operation) &&
            (wanted == LKS_SIM_SCRIPT_COUNT || wanted == LKS_SIM_SCRIPT_FILL ||
             operation->key == WRITTEN_KEY)) {
            operation->filler_bytes = wanted == LKS_SIM_SCRIPT_FILL ? FILL_BYTES : 0;
            return;
        }
    }
    LKS_ASSERT(false); /* the table of commands has such a command */
}

static bool serves(struct lks_sim_world *world, uint32_t replica)
{
    const struct lks_sim_process *process = world->cluster.processes[replica];
    if (lks_sim_process_state(process) != LKS_SIM_RUNNING) {
        return false;
    }
    struct lks_replica_status status;
    lks_replica_status(lks_sim_process_replica(process), &status);
    return status.serving;
}

/* Hands the operation to world->gateway; false: not now. */
static bool submit(struct lks_sim_world *world, enum lks_sim_script_operation wanted)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    if (!serves(world, world->gateway) || now_of(world) < world->retry_ns) {
        return false;
    }
    struct lks_sim_operation operation;
    uint8_t bytes[LKS_SIM_COMMAND_BYTES_MAX];
    word(world, wanted, &operation);
    const uint32_t number = lks_sim_history_call(&cluster->history, &operation, now_of(world));
    const size_t count = lks_sim_operation_encode(&operation, number, bytes);
    struct lks_sim_process *process = cluster->processes[world->gateway];
    world->number = number;
    const int status =
        lks_replica_submit(lks_sim_process_replica(process), bytes, count, number);
    if (status != 0) {
        lks_sim_history_refused(&cluster->history, number);
        world->number = 0;
        world->retry_ns = now_of(world) + RETRY_NS;
        return false;
    }
    lks_sim_process_wake(process);
    world->deadline_ns = now_of(world) + PATIENCE_NS;
    return true;
}

/* ---- the script --------------------------------------------------------------------------- */

static void begin_change(struct lks_sim_world *world)
{
    const uint32_t leader = world->leader(world);
    LKS_ASSERT(leader != 0);
    struct lks_sim_process *process = world->cluster.processes[leader];
    world->changed = true;
    world->old_leader = leader;
    switch (world->script->change) {
    case LKS_SIM_SCRIPT_CRASH:
        lks_sim_process_crash(process);
        world->ended(world, leader);
        come_back_after(world, leader, AWAY_NS);
        return;
    case LKS_SIM_SCRIPT_PAUSE:
        lks_sim_process_pause(process);
        come_back_after(world, leader, AWAY_NS);
        return;
    case LKS_SIM_SCRIPT_TRANSFER:
        lks_sim_process_stop(process);
        return;
    case LKS_SIM_SCRIPT_NO_CHANGE:
    case LKS_SIM_SCRIPT_CHANGES:
        return;
    }
}

static bool has_new_leader(struct lks_sim_world *world)
{
    const uint32_t leader = world->leader(world);
    return leader != 0 && leader != world->old_leader && serves(world, leader);
}

static bool all_well(struct lks_sim_world *world)
{
    char missing[160];
    lks_sim_cluster_missing(&world->cluster, missing, sizeof missing);
    return missing[0] == '\0' && world->leader(world) != 0;
}

/* What comes next: a change of the leader, an operation, or the end. */
static void go_on(struct lks_sim_world *world)
{
    const struct lks_sim_script *script = world->script;
    const bool change_now = script->change != LKS_SIM_SCRIPT_NO_CHANGE && !world->changed &&
                            world->operation == script->change_at;
    const bool last = world->operation == script->operations_count;
    if (change_now && (last || !script->around)) {
        begin_change(world);
        world->phase = CHANGING;
        return;
    }
    if (last) {
        world->phase = SETTLING;
        return;
    }
    if (submit(world, script->operations[world->operation])) {
        world->phase = WAITING;
        if (change_now) {
            begin_change(world);
        }
    }
}

/* A leader stands: the log is written, or the script begins. */
static void begin(struct lks_sim_world *world)
{
    const uint32_t leader = world->leader(world);
    const uint32_t replicas = world->cluster.options.replicas;
    /* The client is at a replica that does not lead, and stays there. */
    world->gateway = leader == 1 ? 2 : 1;
    world->gateway = replicas == 1 ? 1 : world->gateway;
    world->phase = world->script->area == LKS_SIM_SCRIPT_NO_AREA ? READY : WARMING;
    if (world->script->area != LKS_SIM_SCRIPT_INSTALL || replicas < 3) {
        return;
    }
    world->away = replicas;
    while (world->away == leader || world->away == world->gateway) {
        world->away--;
    }
    struct lks_replica_status status;
    struct lks_sim_process *process = world->cluster.processes[world->away];
    lks_replica_status(lks_sim_process_replica(process), &status);
    world->away_offset = status.applied_offset;
    lks_sim_process_power_cut(process); /* nothing more is written into its log */
    world->ended(world, world->away);
}

/* Every replica has given up the beginning of the log, and whoever is away would need that. */
static bool is_warm(struct lks_sim_world *world)
{
    for (uint32_t replica = 1; replica <= world->cluster.options.replicas; replica++) {
        struct lks_replica_status status;
        if (replica == world->away) {
            continue;
        }
        lks_replica_status(lks_sim_process_replica(world->cluster.processes[replica]), &status);
        if (status.base_offset <= world->away_offset) {
            return false;
        }
    }
    return world->leader(world) != 0;
}

/* One long value after another, until the script may begin. */
static void warm(struct lks_sim_world *world)
{
    if (world->number != 0 && now_of(world) < world->deadline_ns) {
        return;
    }
    world->number = 0;
    if (is_warm(world)) {
        start_process(world, world->away != 0 ? world->away : 1);
        world->phase = READY;
    } else if (submit(world, LKS_SIM_SCRIPT_FILL)) {
        world->fills++;
        LKS_ASSERT(world->fills < WARM_FILLS_MAX);
    }
}

static void advance(struct lks_sim_world *world)
{
    switch (world->phase) {
    case STARTING:
        if (all_well(world)) {
            begin(world);
        }
        return;
    case WARMING:
        warm(world);
        return;
    case READY:
        go_on(world);
        return;
    case WAITING:
        if (world->number == 0 || now_of(world) >= world->deadline_ns) {
            world->number = 0;
            world->operation++;
            world->phase = READY;
        }
        return;
    case CHANGING:
        world->phase = has_new_leader(world) ? READY : CHANGING;
        return;
    case SETTLING:
        world->phase = all_well(world) ? OVER : SETTLING;
        return;
    case OVER:
        return;
    }
}

bool lks_sim_world_step(struct lks_sim_world *world)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    const uint64_t limit_ns = START_NS + PROGRESS_NS;
    if (cluster->verdict.broken || world->phase == OVER) {
        return false;
    }
    if (!lks_sim_timeline_step(cluster->timeline, limit_ns)) {
        lks_sim_verdict_break(&cluster->verdict, "progress", "the script did not end in %" PRIu64
                              " ms, phase %d", (uint64_t)(PROGRESS_NS / MS), (int)world->phase);
        return false;
    }
    advance(world);
    return true;
}

/* ---- after a power cut -------------------------------------------------------------------- */

void lks_sim_world_cut(struct lks_sim_world *world, uint32_t mask)
{
    uint64_t wait_ns = DARK_NS;
    (void)lks_sim_storage_enter(NULL);
    for (uint32_t replica = 1; replica <= world->cluster.options.replicas; replica++) {
        struct lks_sim_process *process = world->cluster.processes[replica];
        if ((mask >> replica & 1) == 0) {
            continue;
        }
        if (lks_sim_process_state(process) == LKS_SIM_DOWN) {
            /* It was starting or ending. */
            lks_sim_process_abandon(process);
        }
        lks_sim_process_power_cut(process);
        world->ended(world, replica);
        come_back_after(world, replica, wait_ns);
        wait_ns += MS;
    }
}

/* One more operation at each replica; false: none was answered in time. */
static bool operate(struct lks_sim_world *world, uint32_t replica,
                    enum lks_sim_script_operation wanted)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    const uint64_t limit_ns = now_of(world) + PROGRESS_NS;
    const uint64_t before = world->answers;
    world->gateway = replica;
    world->number = 0;
    while (world->answers == before && !cluster->verdict.broken) {
        if (world->number == 0 || now_of(world) >= world->deadline_ns) {
            (void)submit(world, wanted);
        }
        if (!lks_sim_timeline_step(cluster->timeline, limit_ns)) {
            lks_sim_verdict_break(&cluster->verdict, "progress",
                                  "replica %" PRIu32 " answers nothing after the power cut",
                                  replica);
        }
    }
    return !cluster->verdict.broken;
}

/* False: it took too long, which is a violation. */
static bool wait_until_well(struct lks_sim_world *world)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    char missing[160];
    cluster->progress.healed_ns = now_of(world);
    cluster->progress.bound_ns = PROGRESS_NS;
    do {
        const uint64_t until_ns = now_of(world) + MS;
        while (!cluster->verdict.broken &&
               lks_sim_timeline_step(cluster->timeline, until_ns)) {
        }
        lks_sim_cluster_missing(cluster, missing, sizeof missing);
    } while (!cluster->verdict.broken &&
             !lks_sim_progress_done(&cluster->progress, now_of(world), missing));
    return !cluster->verdict.broken;
}

void lks_sim_world_recover(struct lks_sim_world *world)
{
    struct lks_sim_cluster *cluster = &world->cluster;
    world->number = 0;
    world->phase = OVER;
    if (!wait_until_well(world)) {
        return;
    }
    for (uint32_t replica = 1; replica <= cluster->options.replicas; replica++) {
        if (!operate(world, replica, LKS_SIM_SCRIPT_READ) ||
            !operate(world, replica, LKS_SIM_SCRIPT_COUNT)) {
            return;
        }
    }
    if (wait_until_well(world)) {
        lks_sim_cluster_check_end(cluster);
    }
}
