/* The profiles; see profile.h. */
#include "sim/profile.h"

#include "base/assert.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>

#define US LKS_NS_PER_US
#define MS LKS_NS_PER_MS

static void base_profile(struct lks_sim_profile *profile)
{
    *profile = (struct lks_sim_profile){
        .process = {.spin = {.min_ns = US, .max_ns = 5 * US, .tail_ns = MS, .tail_ppm = 1000},
                    .wake = {.min_ns = US, .max_ns = 30 * US, .tail_ns = 3 * MS,
                             .tail_ppm = 10000},
                    .persist = {.min_ns = 50 * US, .max_ns = 500 * US, .tail_ns = 20 * MS,
                                .tail_ppm = 20000},
                    .outstanding_max = 1024,
                    .election_timeout_ns = 20 * MS,
                    .heartbeat_ns = 2 * MS,
                    .drift_ppm_max = 500,
                    .area_bytes = UINT64_C(12) << 20},
        .clients = {.count = 6,
                    .window = 1,
                    .think = {.min_ns = 50 * US, .max_ns = 18 * MS, .tail_ns = 80 * MS,
                              .tail_ppm = 50000},
                    .patience = {.min_ns = 50 * MS, .max_ns = 400 * MS},
                    .commands_max = 400,
                    .filler_bytes_max = LKS_SIM_FILLER_BYTES_MAX,
                    .open_ppm = 200000,
                    .again_ppm = 300000},
        .faults = {.interval = {.min_ns = MS, .max_ns = 25 * MS, .tail_ns = 80 * MS,
                                .tail_ppm = 100000},
                   .duration = {.min_ns = 100 * US, .max_ns = 30 * MS, .tail_ns = 400 * MS,
                                .tail_ppm = 150000},
                   .pause_max_ns = 700 * MS,
                   .slow_max_ns = 3 * MS,
                   .drift_ppm_max = 50000,
                   .restarts_max = 4,
                   .leader_ppm = 500000},
        .run_ns = 500 * MS,
        .progress_ns = 5000 * MS,
        .ring_bytes = UINT64_C(256) << 10,
        .entry_bytes_max = 4096,
    };
    lks_sim_network_profile_default(&profile->network);
}

/* Every replica's journal lies on the same kind of medium. */
static void set_media(struct lks_sim_profile *profile, enum lks_durability durability, bool slow)
{
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        profile->process.media[replica] =
            (struct lks_sim_medium_profile){.durability = durability, .slow = slow};
    }
}

static struct lks_sim_medium_profile any_medium(struct lks_sim_random *random, bool durable)
{
    static const enum lks_durability modes[] = {
        LKS_DURABILITY_WRITER_FLUSH, LKS_DURABILITY_PMEM_ACK, LKS_DURABILITY_MEMORY};
    struct lks_sim_medium_profile medium = {
        .durability = modes[lks_sim_random_below(random, LKS_COUNT_OF(modes) - durable)]};
    medium.slow = medium.durability == LKS_DURABILITY_PMEM_ACK &&
                  lks_sim_random_chance(random, 500000);
    return medium;
}

/* ---- what profiles are made of ------------------------------------------------------------ */

/* How the fabric goes about writes: when posted, as shared memory does, or later, as a NIC does. */
static void draw_fabric(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    profile->network.writes_when_posted = lks_sim_random_chance(random, 500000);
    /* Most rings are small enough that entries of the same run come where others were. */
    profile->ring_bytes = UINT64_C(64) << (10 + lks_sim_random_below(random, 4) / 2);
    profile->network.lags_ppm = (uint32_t)lks_sim_random_below(random, 300000);
    if (lks_sim_random_chance(random, 300000)) {
        profile->network.busy_ppm = (uint32_t)lks_sim_random_below(random, 5000);
    }
}

/* A path on which writes are under way for long, so that much is caught by what happens then. */
static void make_slow_paths(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    profile->network.step.max_ns = lks_sim_random_range(random, 10, 300) * US;
    profile->network.step.tail_ns = lks_sim_random_range(random, 5, 60) * MS;
    profile->network.step.tail_ppm = (uint32_t)lks_sim_random_range(random, 5000, 50000);
}

/* More commands and more faults at a time. */
static void make_dense(struct lks_sim_profile *profile)
{
    profile->clients.think =
        (struct lks_sim_delay){.min_ns = 5 * US, .max_ns = 6 * MS, .tail_ns = 20 * MS,
                               .tail_ppm = 50000};
    profile->clients.window = 2;
    profile->clients.commands_max = 800;
    profile->faults.interval = (struct lks_sim_delay){.min_ns = MS, .max_ns = 20 * MS};
    profile->run_ns = 400 * MS;
}

/* Some replica often lags behind, so that which majority holds an entry matters. */
static void make_laggards(struct lks_sim_profile *profile)
{
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
    profile->faults.weights[LKS_SIM_FAULT_SPLIT] = 2;
    profile->faults.weights[LKS_SIM_FAULT_LINK] = 2;
    profile->faults.weights[LKS_SIM_FAULT_SLOW] = 2;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 2;
}

/* Writes so small that entries, and what lies behind them, come in many. */
static void make_tiny_writes(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    profile->process.write_bytes_max = UINT64_C(64) << lks_sim_random_below(random, 7);
}

/* ---- profiles ----------------------------------------------------------------------------- */

static void shape_calm(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->network.busy_ppm = 0;
    profile->clients.window = 4;
    profile->clients.commands_max = 1000;
}

static void shape_crash(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 6;
    profile->faults.weights[LKS_SIM_FAULT_CRASH_MANY] = 1;
    profile->faults.weights[LKS_SIM_FAULT_RESTARTS] = 1;
    profile->faults.weights[LKS_SIM_FAULT_STOP] = 2;
}

static void shape_pause(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 8;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 1;
    profile->faults.weights[LKS_SIM_FAULT_CLOCK] = 1;
}

static void shape_partition(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->faults.weights[LKS_SIM_FAULT_SPLIT] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BRIDGE] = 2;
    profile->faults.weights[LKS_SIM_FAULT_ONE_WAY] = 3;
    profile->faults.weights[LKS_SIM_FAULT_LINK] = 3;
    profile->faults.weights[LKS_SIM_FAULT_SLOW] = 2;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK_ONE_WAY] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK_ALL] = 2;
}

static void shape_asymmetric(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->faults.weights[LKS_SIM_FAULT_ONE_WAY] = 4;
    profile->faults.weights[LKS_SIM_FAULT_SPLIT_ONE_WAY] = 4;
    profile->faults.weights[LKS_SIM_FAULT_PARTIAL] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BRIDGE] = 2;
    profile->faults.weights[LKS_SIM_FAULT_LINK] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK_ONE_WAY] = 4;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 1;
}

static void shape_slow(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    make_slow_paths(profile, random);
    profile->faults.slow_max_ns = 60 * MS; /* messages arrive elections later */
    profile->faults.weights[LKS_SIM_FAULT_SLOW] = 6;
    profile->faults.weights[LKS_SIM_FAULT_SLOW_ALL] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 1;
}

static void shape_clock(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->process.drift_ppm_max = 100000;
    profile->faults.drift_ppm_max = 300000;
    profile->faults.weights[LKS_SIM_FAULT_CLOCK] = 5;
    profile->faults.weights[LKS_SIM_FAULT_DRIFT] = 5;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 2;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
}

static void shape_recovery(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    set_media(profile, LKS_DURABILITY_WRITER_FLUSH, false);
    if (lks_sim_random_chance(random, 500000)) {
        set_media(profile, LKS_DURABILITY_PMEM_ACK, lks_sim_random_chance(random, 500000));
    }
    profile->faults.restarts_max = 8;
    profile->faults.weights[LKS_SIM_FAULT_RESTARTS] = 8;
    profile->faults.weights[LKS_SIM_FAULT_POWER_MANY] = 2;
    profile->faults.weights[LKS_SIM_FAULT_CRASH_MANY] = 1;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 1;
}

static void shape_power(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 4;
    profile->faults.weights[LKS_SIM_FAULT_POWER_MANY] = 3;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_RESTARTS] = 1;
    profile->faults.weights[LKS_SIM_FAULT_REPLACE] = 1;
    profile->faults.weights[LKS_SIM_FAULT_ROT] = 1;
    make_laggards(profile);
    if (lks_sim_random_chance(random, 500000)) {
        set_media(profile, LKS_DURABILITY_PMEM_ACK, lks_sim_random_chance(random, 500000));
    }
}

/* One replica's memory may forget, another's processor syncs, a third one's writer flushes. */
static void shape_mixed(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_power(profile, random);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        profile->process.media[replica] = any_medium(random, false);
    }
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 6;
}

static void shape_memory(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    set_media(profile, LKS_DURABILITY_MEMORY, false);
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 8;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_REPLACE] = 2;
    make_laggards(profile);
    if (lks_sim_random_chance(random, 500000)) {
        make_slow_paths(profile, random);
        make_dense(profile);
    }
}

static void shape_disk(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        profile->process.media[replica] = any_medium(random, true);
    }
    profile->faults.weights[LKS_SIM_FAULT_MEDIUM] = 8;
    profile->faults.weights[LKS_SIM_FAULT_DISK_FULL] = 4;
    profile->faults.weights[LKS_SIM_FAULT_ROT] = 3;
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 2;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
}

/* Media fail in part, for long, while replicas start; what they hold rots. Rings are small and full
 * of commands, so that who takes no snapshots runs out of room. */
static void shape_media(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        profile->process.media[replica] = any_medium(random, true);
    }
    profile->faults.weights[LKS_SIM_FAULT_AREA] = 4;
    profile->faults.weights[LKS_SIM_FAULT_ROT_JOURNAL] = 4;
    profile->faults.weights[LKS_SIM_FAULT_MISTAKE] = 4;
    profile->faults.weights[LKS_SIM_FAULT_MEDIUM] = 3;
    profile->faults.weights[LKS_SIM_FAULT_ROT] = 2;
    profile->faults.weights[LKS_SIM_FAULT_DISK_FULL] = 2;
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 2;
    profile->faults.weights[LKS_SIM_FAULT_RESTARTS] = 1;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 1;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
    profile->faults.interval.max_ns = 60 * MS;
    profile->faults.records_ppm = 500000;
    profile->faults.start_fails_ppm = 200000;
    profile->faults.areas_stay = lks_sim_random_chance(random, 700000);
    profile->ring_bytes = UINT64_C(64) << 10;
    profile->clients.commands_max = 2000;
    profile->clients.window = 2;
    profile->clients.think.max_ns = 4 * MS;
    profile->run_ns = 700 * MS;
}

static void shape_chaos(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    const struct lks_sim_medium_profile medium = any_medium(random, false);
    set_media(profile, medium.durability, medium.slow);
    for (uint32_t fault = 0; fault < LKS_SIM_FAULT_MEMBER; fault++) {
        /* A different mix for each seed: some faults never come, some come often. */
        const bool absent = lks_sim_random_chance(random, 500000);
        const uint32_t weight = 1 + (uint32_t)lks_sim_random_below(random, 8);
        profile->faults.weights[fault] = absent ? 0 : weight;
    }
    profile->clients.window = 1 + (uint32_t)lks_sim_random_below(random, 4);
    const uint64_t busiest = lks_sim_random_range(random, 10, 60);
    profile->faults.interval.max_ns = busiest * MS;
    profile->network.pieces_max = 1 + (uint32_t)lks_sim_random_below(random, 8);
    if (lks_sim_random_chance(random, 200000)) {
        profile->network.fence.tail_ppm = 500000; /* slow fences */
    }
    if (lks_sim_random_chance(random, 300000)) {
        make_tiny_writes(profile, random);
    }
    if (lks_sim_random_chance(random, 500000)) {
        make_slow_paths(profile, random);
    }
    if (lks_sim_random_chance(random, 300000)) {
        make_dense(profile);
    }
}

static void shape_full(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    profile->ring_bytes = UINT64_C(64) << 10;
    profile->process.area_bytes = 0;
    profile->clients.commands_max = 2000;
    profile->no_progress = true;
}

/* Much under way at all times, while paths break and leaders change. */
static void shape_storm(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    make_dense(profile);
    profile->run_ns = 1000 * MS;
    profile->clients.think.max_ns = 500 * US;
    profile->clients.window = 4;
    profile->clients.commands_max = 1000;
    /* It is slow: who gives up early never gets an answer. */
    profile->clients.patience = (struct lks_sim_delay){.min_ns = 300 * MS, .max_ns = 1500 * MS};
    profile->network.step =
        (struct lks_sim_delay){.min_ns = US, .max_ns = MS, .tail_ns = 20 * MS, .tail_ppm = 50000};
    profile->network.stray.tail_ppm = 900000;
    profile->network.carries_ppm = 900000;
    memset(profile->faults.weights, 0, sizeof profile->faults.weights);
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 8;
    profile->faults.weights[LKS_SIM_FAULT_BREAK_ONE_WAY] = 8;
    profile->faults.interval = (struct lks_sim_delay){.min_ns = 10 * MS, .max_ns = 60 * MS};
}

/* As a NIC does it: bytes leave later than they were posted, and few operations fit its queues. */
static void shape_verbs(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    profile->network.writes_when_posted = false;
    profile->network.pieces_max = 8;
    profile->network.scatter_ppm = 500000;
    profile->network.passes_ppm = 500000;
    profile->network.busy_ppm = (uint32_t)lks_sim_random_below(random, 20000);
    profile->process.outstanding_max = (uint32_t)lks_sim_random_range(random, 32, 256);
    make_tiny_writes(profile, random);
}

static void shape_tiny(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_power(profile, random);
    make_tiny_writes(profile, random);
    make_slow_paths(profile, random);
    profile->network.step.max_ns = 20 * US;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 6;
}

/* Shared memory's gates, every step of them, with store buffers. */
static void shape_gate(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_storm(profile, random);
    set_media(profile, LKS_DURABILITY_WRITER_FLUSH, false);
    profile->process.write_bytes_max = 0;
    profile->network.writes_when_posted = true;
    profile->network.gate_steps = true;
    profile->network.step = (struct lks_sim_delay){
        .min_ns = 100, .max_ns = 200 * US, .tail_ns = 10 * MS, .tail_ppm = 30000};
    profile->network.fence = (struct lks_sim_delay){.min_ns = 100, .max_ns = 20 * US};
    profile->faults.weights[LKS_SIM_FAULT_ONE_WAY] = 4;
    profile->faults.weights[LKS_SIM_FAULT_SLOW_ALL] = 4;
    profile->faults.weights[LKS_SIM_FAULT_SPLIT_ONE_WAY] = 4;
}

/* Rings that are written anew several times. */
static void shape_long(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    profile->ring_bytes = UINT64_C(64) << lks_sim_random_range(random, 10, 12);
    profile->clients.commands_max = 5000;
    profile->clients.window = 4;
    profile->clients.think =
        (struct lks_sim_delay){.min_ns = 50 * US, .max_ns = 4 * MS, .tail_ns = 40 * MS,
                               .tail_ppm = 50000};
    profile->faults.interval.max_ns = 200 * MS;
    profile->run_ns = 2500 * MS;
}

/* Commands so long that ingress rings wrap, and snapshots of a partition have several blocks. */
static void shape_bulk(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    profile->entry_bytes_max = UINT64_C(32) << 10;
    profile->ring_bytes = UINT64_C(256) << lks_sim_random_range(random, 10, 11);
    profile->clients.filler_bytes_max = LKS_SIM_LARGE_FILLER_BYTES_MAX;
    profile->clients.commands_max = 2500;
    profile->clients.window = 4;
    profile->clients.think = (struct lks_sim_delay){.min_ns = 50 * US, .max_ns = 3 * MS};
    profile->process.workers_max = lks_sim_random_chance(random, 300000) ? 3 : 0;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 1;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 1;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
    profile->faults.weights[LKS_SIM_FAULT_DISK_FULL] = 1;
    profile->faults.weights[LKS_SIM_FAULT_ROT] = 1;
    profile->faults.weights[LKS_SIM_FAULT_FLIP] = 4;
    profile->faults.interval.max_ns = 200 * MS;
    profile->run_ns = 1000 * MS;
}

/* Members come and go. Half of the seeds: little else goes wrong, so that there are many. */
/* Clients that send again elsewhere what has no answer; many do so before it could have come. */
static void shape_sessions(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    profile->clients.sessions_ppm = 800000;
    profile->clients.patience = (struct lks_sim_delay){.min_ns = 2 * MS, .max_ns = 200 * MS};
    profile->clients.window = 4;
}

static void shape_members(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    uint32_t sum = 0;
    if (lks_sim_random_chance(random, 500000)) {
        memset(profile->faults.weights, 0, sizeof profile->faults.weights);
        profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
        profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 2;
        profile->faults.weights[LKS_SIM_FAULT_SPLIT] = 2;
        profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
        profile->faults.interval.max_ns = 20 * MS;
    }
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        sum += profile->faults.weights[fault];
    }
    profile->faults.weights[LKS_SIM_FAULT_MEMBER] = 2 + sum;
    profile->spares = 1 + (uint32_t)lks_sim_random_below(random, 4);
    profile->ring_bytes = UINT64_C(64) << lks_sim_random_range(random, 10, 12);
    profile->clients.commands_max = 1500;
    profile->clients.think.max_ns = 4 * MS;
    profile->run_ns = 1200 * MS;
}

/* Journals of those that sync by themselves may lie on disks. */
static void put_on_disks(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        struct lks_sim_medium_profile *medium = &profile->process.media[replica];
        medium->disk = lks_sim_random_chance(random, 600000) &&
                       medium->durability == LKS_DURABILITY_PMEM_ACK;
    }
}

/* Operators look into files, err, run what older versions left, and begin anew with one replica. */
static void shape_operator(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    draw_fabric(profile, random);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        profile->process.media[replica] = any_medium(random, true);
    }
    put_on_disks(profile, random);
    profile->faults.weights[LKS_SIM_FAULT_LOOK] = 4;
    profile->faults.weights[LKS_SIM_FAULT_AGE] = 2;
    profile->faults.weights[LKS_SIM_FAULT_RECOVER] = 1;
    profile->faults.weights[LKS_SIM_FAULT_MISTAKE] = 6;
    profile->faults.weights[LKS_SIM_FAULT_ROT_AREA] = 2;
    profile->faults.weights[LKS_SIM_FAULT_ROT_LOG] = 2;
    profile->faults.weights[LKS_SIM_FAULT_MEDIUM] = 2;
    profile->faults.records_ppm = 500000;
    profile->faults.weights[LKS_SIM_FAULT_MEMBER] = 8;
    profile->process.workers_max = lks_sim_random_chance(random, 500000) ? 3 : 0;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 3;
    profile->faults.weights[LKS_SIM_FAULT_STOP] = 3;
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 2;
    profile->faults.weights[LKS_SIM_FAULT_REPLACE] = 1;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 1;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 2;
    profile->faults.interval.max_ns = 30 * MS;
    profile->spares = (uint32_t)lks_sim_random_below(random, 3);
    profile->ring_bytes = UINT64_C(64) << 10;
    profile->clients.commands_max = 1500;
    profile->clients.think.max_ns = 4 * MS;
    profile->run_ns = 1000 * MS;
}

/* Chaos on replicas of which each has another scheduler, with much to execute at a time. */
static void shape_workers(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    make_dense(profile);
    profile->process.workers_max = 4;
    profile->clients.window = 4;
    profile->ring_bytes = UINT64_C(64) << lks_sim_random_range(random, 10, 12);
}

static void shape_untrusted(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_storm(profile, random);
    profile->run_ns = 2000 * MS;
    profile->network.writes_when_posted = false;
    profile->network.untrusted_fence = true;
}

static void shape_no_writer_fence(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_gate(profile, random);
    profile->network.gate_steps_left_out = 1u << LKS_SIM_WRITER_FENCES;
}

static void shape_no_drain(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_gate(profile, random);
    profile->network.gate_steps_left_out = 1u << LKS_SIM_WRITER_DRAINS;
}

static void shape_no_owner_fence(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_gate(profile, random);
    profile->network.gate_steps_left_out = 1u << LKS_SIM_OWNER_FENCES;
}

static const struct {
    const char *name;
    const char *purpose;
    uint32_t share; /* of the runs that name no profile; 0: violations are wanted */
    void (*shape)(struct lks_sim_profile *profile, struct lks_sim_random *random);
} g_profiles[] = {
    {"calm", "no faults, several commands under way", 1, shape_calm},
    {"crash", "processes end, one or many, at once or in order", 3, shape_crash},
    {"recovery", "processes and hosts end again and again while they start", 4, shape_recovery},
    {"pause", "processes stand still, microseconds or many election timeouts", 3, shape_pause},
    {"clock", "clocks jump, and run at rates of their own", 2, shape_clock},
    {"partition", "links go down, are slow, or break; bridges between two groups", 3,
     shape_partition},
    {"asymmetric", "some hear those who do not hear them; any directions of any links", 4,
     shape_asymmetric},
    {"slow", "slow links and replicas: messages arrive elections later", 3, shape_slow},
    {"power", "power cuts of one, many, all; new journals; writer-flush or pmem-ack", 4,
     shape_power},
    {"mixed", "power cuts; what is durable differs from replica to replica", 3, shape_mixed},
    {"memory", "durability mode memory: amnesia of a minority", 3, shape_memory},
    {"disk", "media that refuse to make anything durable, full disks", 3, shape_disk},
    {"media", "media that fail in part and for long; what they hold rots", 2, shape_media},
    {"chaos", "everything, in a mix and a durability mode drawn from the seed", 10, shape_chaos},
    {"verbs", "chaos as on a NIC: bytes leave late, tiny writes, short queues", 5, shape_verbs},
    {"tiny", "writes of 64 bytes to 4 KiB: entries come in many", 3, shape_tiny},
    {"gate", "the steps of shared memory's gates over store buffers", 2, shape_gate},
    {"full", "chaos with a ring that fills up: nothing is lost then", 2, shape_full},
    {"long", "chaos for long: rings are written anew several times", 1,
     shape_long},
    {"members", "chaos while members are added, promoted and removed", 6, shape_members},
    {"workers", "chaos on replicas that execute by different schedulers and workers", 4,
     shape_workers},
    {"bulk", "long commands: ingress rings wrap, snapshots fill blocks; bits of memory flip", 2,
     shape_bulk},
    {"operator", "files are looked into, mistaken, older; clusters begin anew with one replica", 3,
     shape_operator},
    {"sessions", "chaos; clients on the fabric repeat elsewhere what has no answer", 4,
     shape_sessions},
    {"storm", "slow paths full of writes, while they break and leaders change", 2, shape_storm},
    {"untrusted-fence", "a storm in which REVOKED comes early: violations must be found", 0,
     shape_untrusted},
    {"no-writer-fence", "gates without the writer's fence: violations must be found", 0,
     shape_no_writer_fence},
    {"no-owner-fence", "gates without the owner's fence: violations must be found", 0,
     shape_no_owner_fence},
    {"no-drain", "gates without the writer's sfence: violations must be found", 0,
     shape_no_drain},
};

bool lks_sim_profile_list(uint32_t place, const char **name, const char **purpose)
{
    if (place >= LKS_COUNT_OF(g_profiles)) {
        return false;
    }
    *name = g_profiles[place].name;
    *purpose = g_profiles[place].purpose;
    return true;
}

uint32_t lks_sim_profile_share(uint32_t place)
{
    LKS_ASSERT(place < LKS_COUNT_OF(g_profiles));
    return g_profiles[place].share;
}

int lks_sim_profile_make(struct lks_sim_profile *profile, const char *name, uint64_t seed)
{
    for (uint32_t i = 0; i < LKS_COUNT_OF(g_profiles); i++) {
        if (strcmp(g_profiles[i].name, name) != 0) {
            continue;
        }
        struct lks_sim_random random;
        lks_sim_random_init(&random, seed ^ UINT64_C(0x70726f66696c65));
        base_profile(profile);
        set_media(profile, LKS_DURABILITY_WRITER_FLUSH, false);
        profile->name = g_profiles[i].name;
        profile->purpose = g_profiles[i].purpose;
        g_profiles[i].shape(profile, &random);
        return 0;
    }
    return -EINVAL;
}
