/* What goes wrong in a run; see faults.h. */
#include "sim/faults_internal.h"

#include "base/assert.h"
#include "base/clock.h"
#include "sim/mistakes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define JUMP_MAX_NS (100 * LKS_NS_PER_S)
#define PAUSE_MIN_NS LKS_NS_PER_US
#define START_SOON_MAX_NS (20 * LKS_NS_PER_MS)
#define START_HIT_MAX_NS (5 * LKS_NS_PER_MS) /* a starting replica is ended within this time */
#define LATER_STREAMS (UINT64_C(1) << 32)    /* above all numbers of faults */

uint64_t lks_sim_fault_end(struct lks_sim_faults *faults)
{
    return lks_sim_timeline_now(faults->options.timeline) +
           lks_sim_random_delay(&faults->random, &faults->options.profile->duration);
}

static uint64_t now_of(const struct lks_sim_faults *faults)
{
    return lks_sim_timeline_now(faults->options.timeline);
}

static struct lks_sim_process *process_of(const struct lks_sim_faults *faults, uint32_t replica)
{
    return faults->options.processes[replica];
}

/* Chance for what follows from a fault, later: it must not move what later faults draw. */
static struct lks_sim_random later_random(struct lks_sim_faults *faults)
{
    struct lks_sim_random random;
    faults->laters++;
    lks_sim_random_fork(&random, &faults->base, LATER_STREAMS + faults->laters);
    return random;
}

/* A replica and its present life, as the argument of an action. */
static uint64_t name_life(const struct lks_sim_faults *faults, uint32_t replica)
{
    const uint64_t life = lks_sim_process_life(process_of(faults, replica));
    return ((uint64_t)replica << 32) | (uint32_t)life;
}

/* The replica so named if that life is its present one; else 0. */
static uint32_t same_life(const struct lks_sim_faults *faults, uint64_t name)
{
    const uint32_t replica = (uint32_t)(name >> 32);
    return name_life(faults, replica) == name ? replica : 0;
}

/* ---- starting and ending ------------------------------------------------------------------ */

static void end_again(void *ctx, uint64_t name);

void lks_sim_fault_make_anew(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    struct lks_error err;
    lks_sim_process_power_cut(process);
    lks_sim_storage_fill_disk(lks_sim_process_storage(process), false);
    const int status = lks_sim_process_format(process, false, &err);
    LKS_ASSERT(status == 0);
}

/* Somebody tries wrong files first; the medium fails at the start, or soon after it. */
static void fail_start(struct lks_sim_faults *faults, struct lks_sim_process *process)
{
    const uint32_t fails_ppm = faults->options.profile->start_fails_ppm;
    if (fails_ppm == 0 || faults->healed) {
        return;
    }
    struct lks_sim_random random = later_random(faults);
    faults->counts[LKS_SIM_FAULT_MISTAKE] +=
        lks_sim_mistake(process, &random, faults->options.members->verdict);
    if (lks_sim_random_chance(&random, fails_ppm)) {
        lks_sim_process_fail_medium(process, lks_sim_media_reason(&random));
        lks_sim_storage_fail_records(lks_sim_process_storage(process));
    }
}

static void start_again(void *ctx, uint64_t replica)
{
    struct lks_sim_faults *faults = ctx;
    struct lks_sim_process *process = process_of(faults, (uint32_t)replica);
    if (lks_sim_process_state(process) != LKS_SIM_DOWN) {
        return;
    }
    if (lks_sim_process_is_lost(process)) {
        lks_sim_fault_make_anew(faults, (uint32_t)replica);
    }
    fail_start(faults, process);
    int status = lks_sim_process_start(process);
    if (status != 0 && lks_sim_process_is_lost(process)) {
        lks_sim_fault_make_anew(faults, (uint32_t)replica);
        status = lks_sim_process_start(process);
    }
    if (status != 0) {
        lks_sim_fault_start_later(faults, (uint32_t)replica);
        return;
    }
    faults->options.started(faults->options.ctx, (uint32_t)replica);
    if (faults->restarts[replica].left > 0 && !faults->healed) {
        struct lks_sim_random random = later_random(faults);
        faults->restarts[replica].left--;
        lks_sim_timeline_post(faults->options.timeline,
                              now_of(faults) + lks_sim_random_magnitude(&random, LKS_NS_PER_US,
                                                                        START_HIT_MAX_NS),
                              end_again, faults, name_life(faults, (uint32_t)replica));
    }
}

void lks_sim_fault_start_later(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_random random = later_random(faults);
    const bool soon = faults->restarts[replica].left > 0;
    const uint64_t wait_ns =
        soon ? lks_sim_random_magnitude(&random, LKS_NS_PER_US, START_SOON_MAX_NS)
             : lks_sim_random_delay(&random, &faults->options.profile->duration);
    lks_sim_timeline_post(faults->options.timeline, now_of(faults) + wait_ns, start_again, faults,
                          replica);
}

void lks_sim_fault_start_now(struct lks_sim_faults *faults, uint32_t replica)
{
    start_again(faults, replica);
}

static bool crash(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_state(process) == LKS_SIM_DOWN) {
        return false;
    }
    lks_sim_process_crash(process);
    faults->options.ended(faults->options.ctx, replica);
    lks_sim_fault_start_later(faults, replica);
    return true;
}

static bool stop(struct lks_sim_faults *faults, uint32_t replica)
{
    if (lks_sim_process_state(process_of(faults, replica)) != LKS_SIM_RUNNING) {
        return false;
    }
    lks_sim_process_stop(process_of(faults, replica));
    return true;
}

static void go_on(void *ctx, uint64_t name)
{
    struct lks_sim_faults *faults = ctx;
    const uint32_t replica = same_life(faults, name);
    if (replica != 0 && lks_sim_process_state(process_of(faults, replica)) == LKS_SIM_PAUSED) {
        lks_sim_process_resume(process_of(faults, replica));
    }
}

static bool pause_process(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_state(process) != LKS_SIM_RUNNING) {
        return false;
    }
    lks_sim_process_pause(process);
    const uint64_t wait_ns = lks_sim_random_magnitude(&faults->random, PAUSE_MIN_NS,
                                                      faults->options.profile->pause_max_ns);
    lks_sim_timeline_post(faults->options.timeline, now_of(faults) + wait_ns, go_on, faults,
                          name_life(faults, replica));
    return true;
}

/* ---- media -------------------------------------------------------------------------------- */

/* Of the voters but this one, those that may have forgotten, or cannot keep what is new; and of the
 * learners those that are down: the leader may not know it yet, and make one a voter. */
static uint32_t count_forgetful(struct lks_sim_faults *faults, uint32_t replica, uint32_t *least)
{
    uint32_t forgetful = 0;
    const uint32_t voters = lks_sim_members_voters(faults->options.members, least);
    const uint32_t named = lks_sim_members_named(faults->options.members);
    for (uint32_t other = 1; other <= faults->options.replicas; other++) {
        const bool down = lks_sim_process_state(process_of(faults, other)) == LKS_SIM_DOWN;
        const uint32_t counted = down ? named : voters;
        const bool counts = other != replica && (counted >> other & 1u) != 0;
        forgetful += counts && (lks_sim_process_amnesiac(process_of(faults, other)) ||
                                lks_sim_process_is_rotten(process_of(faults, other)) ||
                                lks_sim_media_area_fails(faults, other));
    }
    return forgetful;
}

/* True if a minority at most may have forgotten even after this one does. */
bool lks_sim_fault_may_forget(struct lks_sim_faults *faults, uint32_t replica)
{
    uint32_t least = 0;
    const uint32_t forgetful = 1 + count_forgetful(faults, replica, &least);
    return forgetful <= (least - 1) / 2;
}

bool lks_sim_fault_may_shrink(struct lks_sim_faults *faults, uint32_t replica)
{
    uint32_t least = 0;
    const uint32_t forgetful = count_forgetful(faults, replica, &least);
    return least > 1 && forgetful <= (least - 2) / 2;
}

bool lks_sim_fault_cut_power(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_forgets(process) && !lks_sim_fault_may_forget(faults, replica)) {
        return false;
    }
    const bool was_up = lks_sim_process_state(process) != LKS_SIM_DOWN;
    lks_sim_process_power_cut(process);
    if (was_up) {
        faults->options.ended(faults->options.ctx, replica);
        lks_sim_fault_start_later(faults, replica);
    }
    return true;
}

static bool replace(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (!lks_sim_fault_may_forget(faults, replica)) {
        return false;
    }
    const bool was_up = lks_sim_process_state(process) != LKS_SIM_DOWN;
    lks_sim_fault_make_anew(faults, replica);
    if (was_up) {
        faults->options.ended(faults->options.ctx, replica);
        lks_sim_fault_start_later(faults, replica);
    }
    return true;
}

static void power_goes(void *ctx, uint64_t replica)
{
    struct lks_sim_faults *faults = ctx;
    if (!faults->healed) {
        (void)lks_sim_fault_cut_power(faults, (uint32_t)replica);
    }
}

/* Who goes on as if what it was refused were durable, has acknowledged what the cut takes. */
static bool fail_medium(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_state(process) != LKS_SIM_RUNNING) {
        return false;
    }
    lks_sim_process_fail_medium(process, lks_sim_media_reason(&faults->random));
    const uint32_t records_ppm = faults->options.profile->records_ppm;
    if (records_ppm != 0 && lks_sim_random_chance(&faults->random, records_ppm)) {
        lks_sim_storage_fail_records(lks_sim_process_storage(process));
    }
    lks_sim_timeline_post(faults->options.timeline, lks_sim_fault_end(faults), power_goes, faults,
                          replica);
    return true;
}

static void room_again(void *ctx, uint64_t replica)
{
    struct lks_sim_faults *faults = ctx;
    lks_sim_storage_fill_disk(lks_sim_process_storage(process_of(faults, (uint32_t)replica)),
                              false);
}

static bool fill_disk(struct lks_sim_faults *faults, uint32_t replica)
{
    lks_sim_storage_fill_disk(lks_sim_process_storage(process_of(faults, replica)), true);
    lks_sim_timeline_post(faults->options.timeline, lks_sim_fault_end(faults), room_again, faults,
                          replica);
    return true;
}

/* Who reads it, here or from a peer, has to notice; the replica may have to be made anew for it. */
static bool rot(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    return lks_sim_process_state(process) != LKS_SIM_DOWN &&
           lks_sim_fault_may_forget(faults, replica) &&
           lks_sim_process_rot(process, &faults->random);
}

/* ---- more than one thing ------------------------------------------------------------------ */

static bool restarts(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_restarts *restart = &faults->restarts[replica];
    restart->left = 1 + (uint32_t)lks_sim_random_below(&faults->random,
                                                       faults->options.profile->restarts_max);
    restart->by_power = lks_sim_random_chance(&faults->random, 500000);
    return restart->by_power ? lks_sim_fault_cut_power(faults, replica) : crash(faults, replica);
}

static void end_again(void *ctx, uint64_t name)
{
    struct lks_sim_faults *faults = ctx;
    const uint32_t replica = same_life(faults, name);
    if (replica == 0 || faults->healed) {
        return;
    }
    if (!faults->restarts[replica].by_power || !lks_sim_fault_cut_power(faults, replica)) {
        (void)crash(faults, replica);
    }
}

/* Does something to a majority or to all, in an order of its own. */
static bool to_many(struct lks_sim_faults *faults,
                    bool (*fault)(struct lks_sim_faults *faults, uint32_t replica))
{
    const uint32_t replicas = faults->options.replicas;
    const uint32_t first = (uint32_t)lks_sim_random_below(&faults->random, replicas);
    const bool all = lks_sim_random_chance(&faults->random, 500000);
    const uint32_t count = all ? replicas : replicas / 2 + 1;
    bool done = false;
    for (uint32_t i = 0; i < count; i++) {
        done = fault(faults, (first + i) % replicas + 1) || done;
    }
    return done;
}

/* ---- clocks ------------------------------------------------------------------------------- */

static bool jump(struct lks_sim_faults *faults, uint32_t replica)
{
    const uint64_t span = lks_sim_random_below(&faults->random, 2 * JUMP_MAX_NS);
    lks_sim_process_jump(process_of(faults, replica), (int64_t)span - (int64_t)JUMP_MAX_NS);
    return true;
}

static void drift_ends(void *ctx, uint64_t name)
{
    struct lks_sim_faults *faults = ctx;
    const uint32_t replica = same_life(faults, name);
    if (replica != 0) {
        lks_sim_process_drift(process_of(faults, replica), 0);
    }
}

static bool drift(struct lks_sim_faults *faults, uint32_t replica)
{
    if (lks_sim_process_state(process_of(faults, replica)) == LKS_SIM_DOWN) {
        return false;
    }
    const int64_t most = faults->options.profile->drift_ppm_max;
    const uint64_t drawn = lks_sim_random_below(&faults->random, (uint64_t)(2 * most + 1));
    lks_sim_process_drift(process_of(faults, replica), (int64_t)drawn - most);
    lks_sim_timeline_post(faults->options.timeline, lks_sim_fault_end(faults), drift_ends, faults,
                          name_life(faults, replica));
    return true;
}

/* ---- choosing ----------------------------------------------------------------------------- */

static uint32_t choose_replica(struct lks_sim_faults *faults)
{
    const uint32_t leader = faults->options.leader(faults->options.ctx);
    const uint32_t any =
        1 + (uint32_t)lks_sim_random_below(&faults->random, faults->options.replicas);
    const bool meant =
        lks_sim_random_chance(&faults->random, faults->options.profile->leader_ppm);
    return meant && leader != 0 ? leader : any;
}

static enum lks_sim_fault choose_fault(struct lks_sim_faults *faults)
{
    const uint32_t *weights = faults->options.profile->weights;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LKS_SIM_FAULTS; i++) {
        sum += weights[i];
    }
    if (sum == 0) {
        return LKS_SIM_FAULTS;
    }
    uint64_t chosen = lks_sim_random_below(&faults->random, sum);
    uint32_t fault = 0;
    while (chosen >= weights[fault]) {
        chosen -= weights[fault];
        fault++;
    }
    return fault;
}

static uint32_t any_replica(struct lks_sim_faults *faults)
{
    return 1 + (uint32_t)lks_sim_random_below(&faults->random, faults->options.replicas);
}

static bool do_fault(struct lks_sim_faults *faults, enum lks_sim_fault fault, uint32_t replica)
{
    switch (fault) {
    case LKS_SIM_FAULT_CRASH:
        return crash(faults, replica);
    case LKS_SIM_FAULT_CRASH_MANY:
        return to_many(faults, crash);
    case LKS_SIM_FAULT_RESTARTS:
        return restarts(faults, replica);
    case LKS_SIM_FAULT_STOP:
        return stop(faults, replica);
    case LKS_SIM_FAULT_PAUSE:
        return pause_process(faults, replica);
    case LKS_SIM_FAULT_POWER:
        return lks_sim_fault_cut_power(faults, replica);
    case LKS_SIM_FAULT_POWER_MANY:
        return to_many(faults, lks_sim_fault_cut_power);
    case LKS_SIM_FAULT_REPLACE:
        return replace(faults, replica);
    case LKS_SIM_FAULT_MEDIUM:
        return fail_medium(faults, replica);
    case LKS_SIM_FAULT_DISK_FULL:
        return fill_disk(faults, replica);
    case LKS_SIM_FAULT_ROT:
        return rot(faults, replica);
    case LKS_SIM_FAULT_CLOCK:
        return jump(faults, replica);
    case LKS_SIM_FAULT_DRIFT:
        return drift(faults, replica);
    case LKS_SIM_FAULT_AREA:
        return lks_sim_media_fail_area(faults, replica);
    case LKS_SIM_FAULT_MISTAKE:
        return lks_sim_mistake(process_of(faults, any_replica(faults)), &faults->random,
                               faults->options.members->verdict);
    case LKS_SIM_FAULT_ROT_JOURNAL:
        return lks_sim_media_rot_journal(faults, replica);
    case LKS_SIM_FAULT_ROT_AREA:
        return lks_sim_media_rot_area(faults, replica);
    case LKS_SIM_FAULT_ROT_LOG:
        return lks_sim_media_rot_log(faults, replica);
    case LKS_SIM_FAULT_FLIP:
        return lks_sim_media_flip(faults, replica);
    case LKS_SIM_FAULT_LOOK:
        return lks_sim_operator_looks(faults, any_replica(faults));
    case LKS_SIM_FAULT_AGE:
        return lks_sim_operator_ages(faults, any_replica(faults));
    case LKS_SIM_FAULT_RECOVER:
        return lks_sim_operator_recovers(faults);
    case LKS_SIM_FAULT_MEMBER:
        return lks_sim_member_fault(faults, any_replica(faults));
    default:
        return lks_sim_link_fault(faults, fault, replica);
    }
}

static void next_fault(void *ctx, uint64_t unused)
{
    (void)unused;
    struct lks_sim_faults *faults = ctx;
    if (faults->healed) {
        return;
    }
    faults->count++;
    lks_sim_random_fork(&faults->random, &faults->base, faults->count);
    const enum lks_sim_fault fault = choose_fault(faults);
    if (fault == LKS_SIM_FAULTS) {
        faults->count--;
        return;
    }
    lks_sim_timeline_post(faults->options.timeline,
                          lks_sim_timeline_now(faults->options.timeline) +
                              lks_sim_random_delay(&faults->random,
                                                   &faults->options.profile->interval),
                          next_fault, faults, 0);
    const uint32_t replica = choose_replica(faults);
    if (faults->options.left_out == NULL ||
        !faults->options.left_out(faults->options.ctx, faults->count)) {
        lks_sim_trace_note(faults->options.trace, now_of(faults), replica, "fault %" PRIu64 ": %s",
                           faults->count, lks_sim_fault_name(fault));
        faults->counts[fault] += do_fault(faults, fault, replica);
    }
}

struct lks_sim_faults *lks_sim_faults_new(const struct lks_sim_faults_options *options)
{
    struct lks_sim_faults *faults = calloc(1, sizeof *faults);
    LKS_ASSERT(faults != NULL);
    faults->options = *options;
    faults->used = options->used;
    lks_sim_random_fork(&faults->base, options->random, 0x666c74);
    lks_sim_random_fork(&faults->random, &faults->base, 0);
    lks_sim_timeline_post(options->timeline,
                          lks_sim_timeline_now(options->timeline) +
                              lks_sim_random_delay(&faults->random, &options->profile->interval),
                          next_fault, faults, 0);
    return faults;
}

void lks_sim_faults_free(struct lks_sim_faults *faults)
{
    free(faults);
}

void lks_sim_faults_stopped(struct lks_sim_faults *faults, uint32_t replica)
{
    if (faults->healed && lks_sim_process_is_removed(process_of(faults, replica))) {
        return; /* nobody starts it again */
    }
    lks_sim_fault_start_later(faults, replica);
}

/* A medium works again at the next start: who still runs on a failing one ends here. (It may be a
 * leader that takes no snapshots and so refuses commands for ever.) */
static void replace_medium(struct lks_sim_faults *faults, uint32_t replica)
{
    const struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_medium_fails(process) &&
        lks_sim_process_state(process) != LKS_SIM_DOWN &&
        !lks_sim_fault_cut_power(faults, replica)) {
        (void)crash(faults, replica);
    }
}

void lks_sim_faults_heal(struct lks_sim_faults *faults)
{
    faults->healed = true;
    lks_sim_link_faults_heal(faults);
    lks_sim_network_clear_up(faults->options.network);
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        struct lks_sim_process *process = process_of(faults, replica);
        room_again(faults, replica);
        replace_medium(faults, replica);
        if (lks_sim_process_state(process) == LKS_SIM_PAUSED) {
            lks_sim_process_resume(process);
        }
        if (lks_sim_process_state(process) == LKS_SIM_RUNNING) {
            lks_sim_process_drift(process, 0);
        }
        start_again(faults, replica);
    }
    if (!faults->options.profile->areas_stay) {
        lks_sim_faults_mend_areas(faults);
    }
}

void lks_sim_faults_mend_areas(struct lks_sim_faults *faults)
{
    for (uint32_t replica = 1; replica <= faults->options.replicas; replica++) {
        if (lks_sim_media_area_fails(faults, replica) &&
            !lks_sim_fault_cut_power(faults, replica)) {
            (void)crash(faults, replica);
        }
        start_again(faults, replica);
    }
}

uint64_t lks_sim_faults_count(const struct lks_sim_faults *faults)
{
    return faults->count;
}

uint64_t lks_sim_faults_of(const struct lks_sim_faults *faults, enum lks_sim_fault fault)
{
    LKS_ASSERT(fault < LKS_SIM_FAULTS);
    return faults->counts[fault];
}

const char *lks_sim_fault_name(enum lks_sim_fault fault)
{
    static const char *const names[LKS_SIM_FAULTS] = {
        [LKS_SIM_FAULT_CRASH] = "crash",
        [LKS_SIM_FAULT_CRASH_MANY] = "crash of many",
        [LKS_SIM_FAULT_RESTARTS] = "restarts",
        [LKS_SIM_FAULT_STOP] = "stop",
        [LKS_SIM_FAULT_PAUSE] = "pause",
        [LKS_SIM_FAULT_POWER] = "power cut",
        [LKS_SIM_FAULT_POWER_MANY] = "power cut of many",
        [LKS_SIM_FAULT_REPLACE] = "new journal",
        [LKS_SIM_FAULT_MEDIUM] = "failing medium",
        [LKS_SIM_FAULT_DISK_FULL] = "full disk",
        [LKS_SIM_FAULT_ROT] = "rotten snapshot",
        [LKS_SIM_FAULT_SPLIT] = "partition",
        [LKS_SIM_FAULT_SPLIT_ONE_WAY] = "deaf group",
        [LKS_SIM_FAULT_BRIDGE] = "bridge",
        [LKS_SIM_FAULT_PARTIAL] = "partial partition",
        [LKS_SIM_FAULT_ONE_WAY] = "one-way partition",
        [LKS_SIM_FAULT_LINK] = "link down",
        [LKS_SIM_FAULT_SLOW] = "slow link",
        [LKS_SIM_FAULT_SLOW_ALL] = "slow replica",
        [LKS_SIM_FAULT_BREAK] = "broken connection",
        [LKS_SIM_FAULT_BREAK_ONE_WAY] = "half-broken connection",
        [LKS_SIM_FAULT_BREAK_ALL] = "all connections broken",
        [LKS_SIM_FAULT_CLOCK] = "clock jump",
        [LKS_SIM_FAULT_DRIFT] = "clock drift",
        [LKS_SIM_FAULT_MEMBER] = "change of members",
        [LKS_SIM_FAULT_AREA] = "failing area",
        [LKS_SIM_FAULT_ROT_JOURNAL] = "rotten journal",
        [LKS_SIM_FAULT_MISTAKE] = "operator's mistake",
        [LKS_SIM_FAULT_LOOK] = "operator's look",
        [LKS_SIM_FAULT_AGE] = "older files",
        [LKS_SIM_FAULT_RECOVER] = "recovered alone",
        [LKS_SIM_FAULT_ROT_AREA] = "rotten area",
        [LKS_SIM_FAULT_ROT_LOG] = "rotten log",
        [LKS_SIM_FAULT_FLIP] = "flipped bit",
    };
    LKS_ASSERT(fault < LKS_SIM_FAULTS && names[fault] != NULL);
    return names[fault];
}
