/* What goes wrong in a run; see faults.h. */
#include "sim/faults.h"

#include "base/assert.h"
#include "base/clock.h"

#include <stdlib.h>

#define SLOW_MAX_NS (3 * LKS_NS_PER_MS)
#define JUMP_MAX_NS (100 * LKS_NS_PER_S)

/* A direction of a link that a fault has changed, until its time is over. */
struct changed_link {
    struct lks_sim_faults *faults;
    uint32_t from;
    uint32_t to;
    uint64_t generation;
};

struct lks_sim_faults {
    struct lks_sim_faults_options options;
    struct lks_sim_random base;   /* parent of each fault's stream */
    struct lks_sim_random random; /* of the newest fault */
    struct changed_link links[LKS_REPLICAS_MAX + 1][LKS_REPLICAS_MAX + 1];
    uint64_t count;
    uint64_t counts[LKS_SIM_FAULTS]; /* by kind, without those that were left out */
    bool healed;
};

static uint64_t end_of(struct lks_sim_faults *faults)
{
    return lks_sim_timeline_now(faults->options.timeline) +
           lks_sim_random_delay(&faults->random, &faults->options.profile->duration);
}

static struct lks_sim_process *process_of(const struct lks_sim_faults *faults, uint32_t replica)
{
    return faults->options.processes[replica];
}

/* ---- processes ---------------------------------------------------------------------------- */

static void start_again(void *ctx, uint64_t replica)
{
    struct lks_sim_faults *faults = ctx;
    struct lks_sim_process *process = process_of(faults, (uint32_t)replica);
    if (lks_sim_process_state(process) == LKS_SIM_DOWN && lks_sim_process_start(process) == 0) {
        faults->options.started(faults->options.ctx, (uint32_t)replica);
    }
}

static void go_on(void *ctx, uint64_t replica_and_life)
{
    struct lks_sim_faults *faults = ctx;
    struct lks_sim_process *process = process_of(faults, (uint32_t)(replica_and_life >> 32));
    if (lks_sim_process_state(process) == LKS_SIM_PAUSED &&
        (uint32_t)lks_sim_process_life(process) == (uint32_t)replica_and_life) {
        lks_sim_process_resume(process);
    }
}

static void start_later(struct lks_sim_faults *faults, uint32_t replica)
{
    lks_sim_timeline_post(faults->options.timeline, end_of(faults), start_again, faults, replica);
}

static void crash(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_state(process) != LKS_SIM_DOWN) {
        lks_sim_process_crash(process);
        faults->options.ended(faults->options.ctx, replica);
        start_later(faults, replica);
    }
}

static void stop(struct lks_sim_faults *faults, uint32_t replica)
{
    if (lks_sim_process_state(process_of(faults, replica)) == LKS_SIM_RUNNING) {
        lks_sim_process_stop(process_of(faults, replica));
    }
}

static void pause_process(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_state(process) == LKS_SIM_RUNNING) {
        lks_sim_process_pause(process);
        const uint64_t life = (uint32_t)lks_sim_process_life(process);
        lks_sim_timeline_post(faults->options.timeline, end_of(faults), go_on, faults,
                              ((uint64_t)replica << 32) | life);
    }
}

/* True if a minority at most may have forgotten even after this one does. */
static bool may_forget(struct lks_sim_faults *faults, uint32_t replica)
{
    uint32_t forgetful = 1;
    for (uint32_t other = 1; other <= faults->options.replicas; other++) {
        forgetful += other != replica && lks_sim_process_amnesiac(process_of(faults, other));
    }
    return forgetful <= (faults->options.replicas - 1) / 2;
}

static void cut_power(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (lks_sim_process_forgets(process) && !may_forget(faults, replica)) {
        return;
    }
    const bool was_up = lks_sim_process_state(process) != LKS_SIM_DOWN;
    lks_sim_process_power_cut(process);
    if (was_up) {
        faults->options.ended(faults->options.ctx, replica);
        start_later(faults, replica);
    }
}

static void replace(struct lks_sim_faults *faults, uint32_t replica)
{
    struct lks_sim_process *process = process_of(faults, replica);
    if (!may_forget(faults, replica)) {
        return;
    }
    const bool was_up = lks_sim_process_state(process) != LKS_SIM_DOWN;
    lks_sim_process_power_cut(process);
    struct lks_error err;
    const int status = lks_sim_process_format(process, false, &err);
    LKS_ASSERT(status == 0);
    if (was_up) {
        faults->options.ended(faults->options.ctx, replica);
        start_later(faults, replica);
    }
}

/* Does something to a majority or to all, in an order of its own. */
static void to_many(struct lks_sim_faults *faults,
                    void (*fault)(struct lks_sim_faults *faults, uint32_t replica))
{
    const uint32_t replicas = faults->options.replicas;
    const uint32_t first = (uint32_t)lks_sim_random_below(&faults->random, replicas);
    const bool all = lks_sim_random_chance(&faults->random, 500000);
    const uint32_t count = all ? replicas : replicas / 2 + 1;
    for (uint32_t i = 0; i < count; i++) {
        fault(faults, (first + i) % replicas + 1);
    }
}

static void jump(struct lks_sim_faults *faults, uint32_t replica)
{
    const uint64_t span = lks_sim_random_below(&faults->random, 2 * JUMP_MAX_NS);
    lks_sim_process_jump(process_of(faults, replica), (int64_t)span - (int64_t)JUMP_MAX_NS);
}

/* ---- links -------------------------------------------------------------------------------- */

static void link_recovers(void *ctx, uint64_t generation)
{
    struct changed_link *link = ctx;
    if (link->generation == generation) {
        lks_sim_network_set_link(link->faults->options.network, link->from, link->to,
                                 (struct lks_sim_link){0});
    }
}

static void change_link(struct lks_sim_faults *faults, uint32_t from, uint32_t to,
                        struct lks_sim_link changed, uint64_t end_ns)
{
    struct changed_link *link = &faults->links[from][to];
    *link = (struct changed_link){
        .faults = faults, .from = from, .to = to, .generation = link->generation + 1};
    lks_sim_network_set_link(faults->options.network, from, to, changed);
    lks_sim_timeline_post(faults->options.timeline, end_ns, link_recovers, link,
                          link->generation);
}

static void split(struct lks_sim_faults *faults)
{
    const uint32_t replicas = faults->options.replicas;
    const uint64_t group = 1 + lks_sim_random_below(&faults->random, (1u << replicas) - 2);
    const uint64_t end_ns = end_of(faults);
    for (uint32_t a = 1; a <= replicas; a++) {
        for (uint32_t b = 1; b <= replicas; b++) {
            if (((group >> (a - 1)) & 1) != ((group >> (b - 1)) & 1)) {
                change_link(faults, a, b, (struct lks_sim_link){.down = true}, end_ns);
            }
        }
    }
}

/* One replica is heard by nobody, or hears nobody. */
static void one_way(struct lks_sim_faults *faults, uint32_t replica)
{
    const bool deaf = lks_sim_random_chance(&faults->random, 500000);
    const uint64_t end_ns = end_of(faults);
    for (uint32_t peer = 1; peer <= faults->options.replicas; peer++) {
        if (peer != replica) {
            change_link(faults, deaf ? peer : replica, deaf ? replica : peer,
                        (struct lks_sim_link){.down = true}, end_ns);
        }
    }
}

static uint32_t other_than(struct lks_sim_faults *faults, uint32_t replica)
{
    const uint32_t replicas = faults->options.replicas;
    const uint32_t step = 1 + (uint32_t)lks_sim_random_below(&faults->random, replicas - 1);
    return (replica - 1 + step) % replicas + 1;
}

static void slow_link(struct lks_sim_faults *faults, uint32_t from, uint32_t to)
{
    const struct lks_sim_link slow = {
        .slow_ns = lks_sim_random_below(&faults->random, SLOW_MAX_NS)};
    change_link(faults, from, to, slow, end_of(faults));
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

static void do_to_link(struct lks_sim_faults *faults, enum lks_sim_fault fault, uint32_t replica)
{
    if (faults->options.replicas == 1) {
        return;
    }
    const uint32_t peer = other_than(faults, replica);
    switch (fault) {
    case LKS_SIM_FAULT_SPLIT:
        split(faults);
        return;
    case LKS_SIM_FAULT_ONE_WAY:
        one_way(faults, replica);
        return;
    case LKS_SIM_FAULT_LINK:
        change_link(faults, replica, peer, (struct lks_sim_link){.down = true}, end_of(faults));
        return;
    case LKS_SIM_FAULT_SLOW:
        slow_link(faults, replica, peer);
        return;
    case LKS_SIM_FAULT_BREAK:
        lks_sim_network_break(faults->options.network, replica, peer);
        return;
    case LKS_SIM_FAULT_BREAK_ONE_WAY:
        lks_sim_network_break_one_way(faults->options.network, replica, peer);
        return;
    default:
        return;
    }
}

static void do_fault(struct lks_sim_faults *faults, enum lks_sim_fault fault, uint32_t replica)
{
    switch (fault) {
    case LKS_SIM_FAULT_CRASH:
        crash(faults, replica);
        return;
    case LKS_SIM_FAULT_CRASH_MANY:
        to_many(faults, crash);
        return;
    case LKS_SIM_FAULT_STOP:
        stop(faults, replica);
        return;
    case LKS_SIM_FAULT_PAUSE:
        pause_process(faults, replica);
        return;
    case LKS_SIM_FAULT_POWER:
        cut_power(faults, replica);
        return;
    case LKS_SIM_FAULT_POWER_MANY:
        to_many(faults, cut_power);
        return;
    case LKS_SIM_FAULT_REPLACE:
        replace(faults, replica);
        return;
    case LKS_SIM_FAULT_CLOCK:
        jump(faults, replica);
        return;
    default:
        do_to_link(faults, fault, replica);
        return;
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
        faults->counts[fault]++;
        do_fault(faults, fault, replica);
    }
}

struct lks_sim_faults *lks_sim_faults_new(const struct lks_sim_faults_options *options)
{
    struct lks_sim_faults *faults = calloc(1, sizeof *faults);
    LKS_ASSERT(faults != NULL);
    faults->options = *options;
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
    start_later(faults, replica);
}

void lks_sim_faults_heal(struct lks_sim_faults *faults)
{
    faults->healed = true;
    for (uint32_t a = 1; a <= faults->options.replicas; a++) {
        for (uint32_t b = 1; b <= faults->options.replicas; b++) {
            if (a != b) {
                faults->links[a][b].generation++;
                lks_sim_network_set_link(faults->options.network, a, b,
                                         (struct lks_sim_link){0});
            }
        }
        struct lks_sim_process *process = process_of(faults, a);
        if (lks_sim_process_state(process) == LKS_SIM_PAUSED) {
            lks_sim_process_resume(process);
        }
        start_again(faults, a);
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
        [LKS_SIM_FAULT_STOP] = "stop",
        [LKS_SIM_FAULT_PAUSE] = "pause",
        [LKS_SIM_FAULT_POWER] = "power cut",
        [LKS_SIM_FAULT_POWER_MANY] = "power cut of many",
        [LKS_SIM_FAULT_REPLACE] = "new journal",
        [LKS_SIM_FAULT_SPLIT] = "partition",
        [LKS_SIM_FAULT_ONE_WAY] = "one-way partition",
        [LKS_SIM_FAULT_LINK] = "link down",
        [LKS_SIM_FAULT_SLOW] = "slow link",
        [LKS_SIM_FAULT_BREAK] = "broken connection",
        [LKS_SIM_FAULT_BREAK_ONE_WAY] = "half-broken connection",
        [LKS_SIM_FAULT_CLOCK] = "clock jump",
    };
    LKS_ASSERT(fault < LKS_SIM_FAULTS && names[fault] != NULL);
    return names[fault];
}
