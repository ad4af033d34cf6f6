/* One replica's process in the simulation; see process.h. */
#include "sim/process.h"

#include "base/assert.h"
#include "base/clock.h"
#include "node/hello.h"
#include "sim/administrator.h"
#include "sim/area.h"
#include "sim/fabric.h"
#include "sim/heap.h"
#include "sim/slow_medium.h"
#include "sim/workers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PPM_WHOLE INT64_C(1000000)
#define PENDING_DOUBLINGS_MAX 6u /* from so little on that clients are refused */
#define RESTORE_BYTES_MAX 512u /* of snapshots in one step, where that is little */
#define REALTIME_START_NS (UINT64_C(1700000000) * LKS_NS_PER_S)
#define STOP_LOOK_NS LKS_NS_PER_MS /* as the loop: has the replica stopped in order? */
#define SILENT_WRITER_NS (10 * LKS_NS_PER_MS)

_Static_assert(LKS_REPLICAS_MAX < LKS_SIM_ALARMS_MAX, "each process has the alarm of its number");

struct lks_sim_process {
    struct lks_sim_process_options options;
    struct lks_sim_random random;
    struct lks_sim_workers workers;
    struct lks_sim_storage *storage;
    struct lks_sim_area *area; /* NULL: no snapshots */
    bool rotten;
    bool lost;
    bool removed;
    uint64_t snapshots; /* taken in the lives before this one */
    enum lks_sim_process_state state;
    uint64_t life;
    struct lks_fabric *fabric;
    struct lks_replica *replica;
    bool stopping;
    bool forgetful_cut; /* lost power in mode `memory` since the journal was last open */
    bool amnesiac;
    uint64_t due_ns; /* when the next step is due; UINT64_MAX: none is */
    struct lks_sim_slow_medium slow;
    uint64_t clock_base_ns; /* virtual time at which clock_local_ns was right */
    uint64_t clock_local_ns;
    int64_t clock_ppm;
    int64_t realtime_jump_ns;
    int medium_status; /* what its medium says to everything from now on; 0: it works */
    struct lks_log log;
};

/* ---- clocks and steps --------------------------------------------------------------------- */

static uint64_t now_of(const struct lks_sim_process *process)
{
    return lks_sim_timeline_now(process->options.timeline);
}

static uint64_t local_ns(const struct lks_sim_process *process)
{
    const int64_t passed = (int64_t)(now_of(process) - process->clock_base_ns);
    return process->clock_local_ns + (uint64_t)(passed + passed / PPM_WHOLE * process->clock_ppm +
                                                passed % PPM_WHOLE * process->clock_ppm /
                                                    PPM_WHOLE);
}

/* The virtual time at which the local clock has reached local. */
static uint64_t virtual_ns(const struct lks_sim_process *process, uint64_t local)
{
    const uint64_t here = local_ns(process);
    if (local <= here) {
        return now_of(process);
    }
    const uint64_t slowest = 10 * LKS_NS_PER_S;
    const uint64_t bounded = local - here < slowest ? local - here : slowest;
    return now_of(process) +
           bounded * (uint64_t)PPM_WHOLE / (uint64_t)(PPM_WHOLE + process->clock_ppm) + 1;
}

static void run_step(void *ctx, uint64_t replica);

static void due_at(struct lks_sim_process *process, uint64_t at_ns)
{
    if (process->state != LKS_SIM_RUNNING || process->due_ns <= at_ns) {
        return;
    }
    process->due_ns = at_ns;
    lks_sim_timeline_set_alarm(process->options.timeline, process->options.replica, at_ns,
                               run_step, process);
}

static void not_due(struct lks_sim_process *process)
{
    process->due_ns = UINT64_MAX;
    lks_sim_timeline_clear_alarm(process->options.timeline, process->options.replica);
}

static void due_after(struct lks_sim_process *process, const struct lks_sim_delay *delay)
{
    due_at(process, now_of(process) + lks_sim_random_delay(&process->random, delay));
}

static void take_down(struct lks_sim_process *process, bool clean);

static void fail(struct lks_sim_process *process, int code, const struct lks_error *err)
{
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "failed: %d %s", code, lks_error_text(code));
    process->options.observer.failed(process->options.observer.ctx, process->options.replica,
                                     code, err->text);
}

/* The replica cannot go on: as it should if its medium failed. */
static void end_failed(struct lks_sim_process *process, int code, const struct lks_error *err)
{
    const bool rotten = process->rotten && code == -LKS_EDAMAGED;
    const bool excused = (process->medium_status != 0 && code == process->medium_status) ||
                         code == lks_sim_storage_area_fails(process->storage);
    const bool removed = code == -LKS_EREMOVED;
    process->lost = process->lost || rotten;
    process->removed = process->removed || removed;
    if (!excused && !rotten && !removed) {
        fail(process, code, err);
        take_down(process, false);
        return;
    }
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       rotten    ? "stops, what it has is damaged"
                       : removed ? "stops, it was removed"
                                 : "stops, its medium failed");
    take_down(process, false);
    process->options.observer.stopped(process->options.observer.ctx, process->options.replica);
}

static void run_step(void *ctx, uint64_t replica)
{
    struct lks_sim_process *process = ctx;
    LKS_ASSERT(process->options.replica == replica && process->state == LKS_SIM_RUNNING);
    process->due_ns = UINT64_MAX;
    struct lks_error err; /* set only by a step that fails */
    const uint64_t realtime_ns =
        REALTIME_START_NS + now_of(process) + (uint64_t)process->realtime_jump_ns;
    (void)lks_sim_heap_enter(process->options.replica);
    int work = lks_replica_step(process->replica, local_ns(process), realtime_ns, &err);
    work += work < 0 ? 0 : lks_sim_workers_step(&process->workers, process->replica);
    (void)lks_sim_heap_enter(0);
    if (work < 0) {
        end_failed(process, work, &err);
        return;
    }
    if (work > 0) {
        const struct lks_sim_record record = {
            .what = "step: pieces of work", .a = process->options.replica, .quiet = true,
            .x = (uint64_t)work};
        lks_sim_trace_add(process->options.trace, now_of(process), &record);
    }
    process->options.observer.stepped(process->options.observer.ctx, process->options.replica);
    if (process->stopping && lks_replica_stop(process->replica, local_ns(process))) {
        lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                           "stopped in order");
        take_down(process, true);
        process->options.observer.stopped(process->options.observer.ctx,
                                          process->options.replica);
        return;
    }
    if (work > 0) {
        due_after(process, &process->options.profile->spin);
        return;
    }
    uint64_t at_ns = virtual_ns(process, lks_replica_deadline_ns(process->replica));
    if (process->stopping && at_ns > now_of(process) + STOP_LOOK_NS) {
        at_ns = now_of(process) + STOP_LOOK_NS;
    }
    if (at_ns <= now_of(process)) {
        at_ns = now_of(process) + process->options.profile->spin.max_ns;
    }
    due_at(process, at_ns);
}

void lks_sim_process_observe(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_RUNNING);
    process->options.observer.stepped(process->options.observer.ctx, process->options.replica);
}

void lks_sim_process_wake(struct lks_sim_process *process)
{
    if (process->state == LKS_SIM_RUNNING) {
        due_after(process, &process->options.profile->wake);
    }
}

/* ---- life --------------------------------------------------------------------------------- */

static void on_log(void *ctx, enum lks_log_level level, const char *line)
{
    (void)level;
    const struct lks_sim_process *process = ctx;
    /* What is told is the same wherever the journal lies. */
    const char *path = strstr(line, process->options.journal.path);
    line = path == NULL ? line : path + strlen(process->options.journal.path);
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica, "%s",
                       line);
}

static void on_reply(void *ctx, uint64_t cookie, const void *reply, size_t bytes)
{
    const struct lks_sim_process *process = ctx;
    process->options.observer.replied(process->options.observer.ctx, process->options.replica,
                                      cookie, reply, bytes);
}

/* The connection that asked is told; nobody waits for it. */
static void on_member_change(void *ctx, uint64_t cookie, int status, const char *why)
{
    (void)cookie;
    const struct lks_sim_process *process = ctx;
    char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    lks_sim_administrator_told(status, why, text);
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "change of members: %s", text);
}

static void on_applied(void *ctx, const struct lks_sim_executed *executed)
{
    const struct lks_sim_process *process = ctx;
    process->options.observer.applied(process->options.observer.ctx, process->options.replica,
                                      executed);
}

static void on_read(void *ctx, uint64_t number, uint64_t time_ns)
{
    const struct lks_sim_process *process = ctx;
    process->options.observer.read(process->options.observer.ctx, process->options.replica,
                                   number, time_ns);
}

static void wake(void *ctx)
{
    lks_sim_process_wake(ctx);
}

static void make_area(struct lks_sim_process *process)
{
    struct lks_snapshots_options options = {.replica = process->options.replica,
                                            .partitions = lks_sim_service.partitions,
                                            .area_bytes = process->options.profile->area_bytes};
    memcpy(options.cluster_id, process->options.journal.cluster_id, sizeof options.cluster_id);
    if (options.area_bytes != 0) {
        process->area = lks_sim_area_new(process->storage, &options);
    }
}

struct lks_sim_process *lks_sim_process_new(const struct lks_sim_process_options *options)
{
    struct lks_sim_process *process = calloc(1, sizeof *process);
    LKS_ASSERT(process != NULL);
    process->options = *options;
    lks_sim_random_fork(&process->random, options->random, options->replica);
    lks_sim_workers_init(&process->workers, options->random, options->replica);
    process->storage = lks_sim_storage_new(&options->journal);
    if (options->profile->media[options->replica].disk) {
        lks_sim_storage_lie_on_disk(process->storage);
    }
    process->options.journal.path = lks_sim_storage_path(process->storage);
    make_area(process);
    process->slow = (struct lks_sim_slow_medium){.timeline = options->timeline,
                                                 .random = &process->random,
                                                 .delay = &options->profile->persist,
                                                 .storage = process->storage,
                                                 .area = process->area,
                                                 .replica = &process->replica,
                                                 .told = wake,
                                                 .ctx = process};
    process->due_ns = UINT64_MAX;
    process->log = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = on_log, .ctx = process};
    return process;
}

void lks_sim_process_free(struct lks_sim_process *process)
{
    if (process == NULL) {
        return;
    }
    if (process->state != LKS_SIM_DOWN) {
        take_down(process, false);
    }
    lks_sim_network_forget_log(process->options.network, process->options.replica);
    lks_sim_area_free(process->area);
    lks_sim_storage_free(process->storage);
    free(process);
}

int lks_sim_process_format(struct lks_sim_process *process, bool fresh_cluster,
                           struct lks_error *err)
{
    LKS_ASSERT(process->state == LKS_SIM_DOWN);
    process->amnesiac = process->amnesiac || !fresh_cluster;
    process->rotten = process->lost = process->removed = false;
    const int status = lks_sim_storage_create(process->storage, fresh_cluster, err);
    return status < 0 || process->area == NULL ? status : lks_sim_area_create(process->area, err);
}

bool lks_sim_process_is_removed(const struct lks_sim_process *process)
{
    return process->removed;
}

uint64_t lks_sim_process_snapshots(const struct lks_sim_process *process)
{
    struct lks_replica_status status = {0};
    if (process->replica != NULL) {
        lks_replica_status(process->replica, &status);
    }
    return process->snapshots + status.snapshots.taken;
}

static void close_area(struct lks_sim_process *process)
{
    if (process->area != NULL) {
        lks_sim_area_close(process->area);
    }
}

static void take_down(struct lks_sim_process *process, bool clean)
{
    LKS_ASSERT(process->state != LKS_SIM_DOWN);
    (void)lks_sim_process_amnesiac(process); /* remembers what the journal says now */
    process->state = LKS_SIM_DOWN;
    not_due(process);
    lks_fabric_free(process->fabric);
    process->fabric = NULL;
    process->snapshots = lks_sim_process_snapshots(process);
    lks_replica_free(process->replica);
    process->replica = NULL;
    close_area(process);
    process->medium_status = 0;
    lks_sim_storage_fail(process->storage, 0);
    lks_sim_storage_fail_area(process->storage, 0);
    lks_sim_storage_close(process->storage, clean);
    lks_sim_slow_medium_end(&process->slow);
}

static void reset_clock(struct lks_sim_process *process)
{
    const int64_t most = process->options.profile->drift_ppm_max;
    process->clock_base_ns = now_of(process);
    process->clock_local_ns =
        LKS_NS_PER_S + lks_sim_random_below(&process->random, 100 * LKS_NS_PER_S);
    process->clock_ppm =
        (int64_t)lks_sim_random_below(&process->random, (uint64_t)(2 * most + 1)) - most;
}

static const struct lks_sim_medium_profile *medium_of(const struct lks_sim_process *process)
{
    return &process->options.profile->media[process->options.replica];
}

static int open_fabric(struct lks_sim_process *process, struct lks_error *err)
{
    struct lks_journal *journal = lks_sim_storage_journal(process->storage);
    struct lks_log_memory memory;
    struct lks_identity identity;
    lks_journal_log_memory(journal, &memory);
    lks_journal_identity(journal, &identity);
    struct lks_fabric_options fabric = {
        .replica = process->options.replica,
        .replicas = process->options.replicas,
        .incarnation = identity.incarnation,
        .log = {.address = memory.address,
                .bytes = memory.bytes,
                .fd = -1}, /* the storage's memory, which outlives this process */
        .words_bytes = LKS_REPLICA_WORDS_BYTES,
        .inbox_bytes = LKS_REPLICA_INBOX_BYTES,
        .scratch_bytes = LKS_REPLICA_SCRATCH_BYTES,
        .outstanding_max = process->options.profile->outstanding_max,
        .silent_writer_ns = SILENT_WRITER_NS,
        .log_sink = &process->log,
    };
    if (process->area != NULL) {
        struct lks_snapshots_memory area;
        lks_snapshots_memory(lks_sim_area_store(process->area), &area);
        fabric.snapshots =
            (struct lks_fabric_memory){.address = area.address, .bytes = area.bytes, .fd = -1};
    }
    struct lks_hello hello = {.version = LKS_HELLO_VERSION,
                              .durability = medium_of(process)->durability,
                              .medium = LKS_MEDIUM_MEMORY,
                              .domain = LKS_DOMAIN_MEMORY_CONTROLLER,
                              .incarnation = (uint32_t)identity.incarnation,
                              .life = (uint32_t)process->life};
    memcpy(hello.boot_id, identity.boot_id, sizeof hello.boot_id);
    memcpy(fabric.hello, &hello, sizeof hello);
    return lks_fabric_sim_new(&process->fabric, process->options.network, &fabric, err);
}

/* As the product does it, or so little in one step that commands come to partitions that are not
 * there yet: as with a state of gigabytes. */
static uint64_t draw_restore_bytes(struct lks_sim_process *process)
{
    const uint64_t drawn = 1 + lks_sim_random_below(&process->random, RESTORE_BYTES_MAX);
    return lks_sim_random_chance(&process->random, 500000) ? drawn : 0;
}

static int make_replica(struct lks_sim_process *process, struct lks_error *err)
{
    const struct lks_sim_process_profile *profile = process->options.profile;
    struct lks_replica_options options = {
        .replica = process->options.replica,
        .replicas = process->options.replicas,
        .journal = lks_sim_storage_journal(process->storage),
        .snapshots = process->area != NULL ? lks_sim_area_store(process->area) : NULL,
        .fabric = process->fabric,
        .service = &lks_sim_service,
        .durability = medium_of(process)->durability,
        .entry_bytes_max = process->options.journal.entry_bytes_max,
        .election_timeout_ns = profile->election_timeout_ns,
        .heartbeat_ns = profile->heartbeat_ns,
        .pending_bytes_max =
            process->options.journal.entry_bytes_max
            << lks_sim_random_below(&process->random, PENDING_DOUBLINGS_MAX + 1),
        .restore_bytes_max = draw_restore_bytes(process),
        .write_bytes_max = profile->write_bytes_max,
        .seed = lks_sim_random_next(&process->random),
        .scheduler = lks_sim_workers_draw(&process->workers, profile->workers_max),
        .log_sink = &process->log,
        .on_reply = on_reply,
        .on_member_change = on_member_change,
        .ctx = process,
    };
    if (medium_of(process)->slow) {
        options.persister = lks_sim_slow_medium_of_journal(&process->slow);
        options.snapshot_persister = lks_sim_slow_medium_of_snapshots(&process->slow);
    }
    const struct lks_sim_service_observer observer = {
        .applied = on_applied, .read = on_read, .ctx = process};
    lks_sim_service_bind(&observer);
    lks_sim_heap_forget(process->options.replica);
    (void)lks_sim_heap_enter(process->options.replica);
    const int status = lks_replica_new(&process->replica, &options, err);
    (void)lks_sim_heap_enter(0);
    return status;
}

static int open_media(struct lks_sim_process *process, struct lks_error *err)
{
    int status = lks_sim_storage_open(process->storage, err);
    if (status == 0 && process->area != NULL) {
        status = lks_sim_area_open(process->area, err);
        if (status < 0) {
            lks_sim_storage_close(process->storage, false);
        }
    }
    return status;
}

/* As it should if its medium failed, or if what it has is rotten. */
static void not_started(struct lks_sim_process *process, int status, const struct lks_error *err)
{
    const bool rotten =
        process->rotten && (status == -LKS_EDAMAGED || status == -LKS_EFORMAT);
    const bool excused = process->medium_status != 0 && status == process->medium_status;
    process->lost = process->lost || rotten;
    process->medium_status = 0;
    lks_sim_storage_fail(process->storage, 0);
    if (!rotten && !excused) {
        fail(process, status, err);
        return;
    }
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "does not start: %s", rotten ? "its journal is damaged"
                                                    : "its medium failed");
}

int lks_sim_process_start(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_DOWN);
    struct lks_error err = {0};
    process->life++;
    lks_sim_slow_medium_begin(&process->slow, process->life);
    process->stopping = false;
    reset_clock(process);
    int status = open_media(process, &err);
    if (status < 0) {
        not_started(process, status, &err);
        return status;
    }
    process->forgetful_cut = false;
    status = open_fabric(process, &err);
    if (status == 0) {
        status = make_replica(process, &err);
    }
    if (status < 0) {
        lks_fabric_free(process->fabric);
        process->fabric = NULL;
        close_area(process);
        lks_sim_storage_close(process->storage, false);
        not_started(process, status, &err);
        return status;
    }
    process->state = LKS_SIM_RUNNING;
    due_after(process, &process->options.profile->wake);
    return 0;
}

void lks_sim_process_crash(struct lks_sim_process *process)
{
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "crash");
    take_down(process, false);
}

void lks_sim_process_abandon(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_DOWN);
    lks_sim_storage_abandon(process->storage);
    if (process->area != NULL) {
        lks_sim_area_abandon(process->area);
    }
}

void lks_sim_process_power_cut(struct lks_sim_process *process)
{
    lks_sim_network_lose_power(process->options.network, process->options.replica);
    if (process->state != LKS_SIM_DOWN) {
        take_down(process, false);
    }
    const uint64_t lost = lks_sim_storage_power_cut(process->storage, &process->random);
    process->forgetful_cut = process->options.journal.forgetful;
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "power cut, %" PRIu64 " lines lost", lost);
}

void lks_sim_process_pause(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_RUNNING);
    process->state = LKS_SIM_PAUSED;
    not_due(process);
    lks_sim_network_freeze(process->options.network, process->options.replica, true);
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "paused");
}

void lks_sim_process_resume(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_PAUSED);
    process->state = LKS_SIM_RUNNING;
    lks_sim_network_freeze(process->options.network, process->options.replica, false);
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "goes on");
    due_at(process, now_of(process));
}

void lks_sim_process_stop(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_RUNNING);
    process->stopping = true;
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "asked to stop");
    due_at(process, now_of(process));
}

void lks_sim_process_jump(struct lks_sim_process *process, int64_t jump_ns)
{
    process->realtime_jump_ns += jump_ns;
}

void lks_sim_process_drift(struct lks_sim_process *process, int64_t ppm)
{
    process->clock_local_ns = local_ns(process);
    process->clock_base_ns = now_of(process);
    process->clock_ppm = ppm;
}

void lks_sim_process_fail_medium(struct lks_sim_process *process, int status)
{
    LKS_ASSERT(status < 0);
    if (process->medium_status != 0) {
        return; /* it goes on to fail for the reason that it began with */
    }
    process->medium_status = status;
    lks_sim_storage_fail(process->storage, status);
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "medium fails");
}

bool lks_sim_process_medium_fails(const struct lks_sim_process *process)
{
    return process->medium_status != 0;
}

bool lks_sim_process_rot(struct lks_sim_process *process, struct lks_sim_random *random)
{
    LKS_ASSERT(process->state != LKS_SIM_DOWN);
    const bool rots = process->area != NULL && lks_sim_area_rot(process->area, random);
    process->rotten = process->rotten || rots;
    return rots;
}

void lks_sim_process_note_rot(struct lks_sim_process *process)
{
    LKS_ASSERT(process->state == LKS_SIM_DOWN);
    process->rotten = true;
    lks_sim_trace_note(process->options.trace, now_of(process), process->options.replica,
                       "bits of its journal rot");
}

bool lks_sim_process_is_rotten(const struct lks_sim_process *process)
{
    return process->rotten;
}

bool lks_sim_process_is_lost(const struct lks_sim_process *process)
{
    return process->lost;
}

enum lks_sim_process_state lks_sim_process_state(const struct lks_sim_process *process)
{
    return process->state;
}

struct lks_replica *lks_sim_process_replica(const struct lks_sim_process *process)
{
    return process->replica;
}

struct lks_sim_storage *lks_sim_process_storage(const struct lks_sim_process *process)
{
    return process->storage;
}

const struct lks_sim_area *lks_sim_process_area(const struct lks_sim_process *process)
{
    return process->area;
}

void lks_sim_process_set_cluster(struct lks_sim_process *process,
                                 const uint8_t cluster_id[LKS_CLUSTER_ID_BYTES])
{
    LKS_ASSERT(process->state == LKS_SIM_DOWN);
    memcpy(process->options.journal.cluster_id, cluster_id, LKS_CLUSTER_ID_BYTES);
    lks_sim_storage_set_cluster(process->storage, cluster_id);
    if (process->area != NULL) {
        lks_sim_area_set_cluster(process->area, cluster_id);
    }
}

uint64_t lks_sim_process_life(const struct lks_sim_process *process)
{
    return process->life;
}

bool lks_sim_process_amnesiac(struct lks_sim_process *process)
{
    const struct lks_journal *journal = lks_sim_storage_journal(process->storage);
    if (journal != NULL) {
        struct lks_identity identity;
        lks_journal_identity(journal, &identity);
        process->amnesiac = identity.amnesiac;
    }
    return process->amnesiac || process->forgetful_cut;
}

bool lks_sim_process_forgets(const struct lks_sim_process *process)
{
    return process->options.journal.forgetful;
}
