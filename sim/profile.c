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
                    .drift_ppm_max = 500},
        .clients = {.count = 6,
                    .window = 1,
                    .think = {.min_ns = 50 * US, .max_ns = 4 * MS, .tail_ns = 40 * MS,
                              .tail_ppm = 50000},
                    .patience = {.min_ns = 100 * MS, .max_ns = 600 * MS},
                    .commands_max = 5000,
                    .filler_bytes_max = 200},
        .faults = {.interval = {.min_ns = 5 * MS, .max_ns = 150 * MS},
                   .duration = {.min_ns = MS, .max_ns = 100 * MS, .tail_ns = 600 * MS,
                                .tail_ppm = 200000},
                   .leader_ppm = 500000},
        .run_ns = 2000 * MS,
        .progress_ns = 5000 * MS,
        .ring_bytes = UINT64_C(4) << 20,
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

static void shape_calm(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    (void)random;
    profile->clients.window = 4;
}

static void shape_crash(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    (void)random;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 6;
    profile->faults.weights[LKS_SIM_FAULT_CRASH_MANY] = 1;
    profile->faults.weights[LKS_SIM_FAULT_STOP] = 2;
}

static void shape_pause(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    (void)random;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 8;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 1;
    profile->faults.weights[LKS_SIM_FAULT_CLOCK] = 1;
}

static void shape_partition(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    (void)random;
    profile->faults.weights[LKS_SIM_FAULT_SPLIT] = 4;
    profile->faults.weights[LKS_SIM_FAULT_ONE_WAY] = 3;
    profile->faults.weights[LKS_SIM_FAULT_LINK] = 3;
    profile->faults.weights[LKS_SIM_FAULT_SLOW] = 2;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK_ONE_WAY] = 4;
}

/* A path on which writes are under way for long, so that much is caught by what happens then. */
static void make_slow_paths(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    profile->network.step.max_ns = lks_sim_random_range(random, 10, 300) * US;
    profile->network.step.tail_ns = lks_sim_random_range(random, 5, 60) * MS;
    profile->network.step.tail_ppm = (uint32_t)lks_sim_random_range(random, 5000, 50000);
}

/* Shorter, with more commands and more faults at a time. */
static void make_dense(struct lks_sim_profile *profile)
{
    profile->run_ns = 700 * MS;
    profile->clients.think =
        (struct lks_sim_delay){.min_ns = 5 * US, .max_ns = 500 * US, .tail_ns = 5 * MS,
                               .tail_ppm = 50000};
    profile->clients.window = 4;
    profile->faults.interval.min_ns = MS;
    profile->faults.interval.max_ns = 30 * MS;
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

static void shape_power(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    profile->faults.weights[LKS_SIM_FAULT_POWER] = 4;
    profile->faults.weights[LKS_SIM_FAULT_POWER_MANY] = 3;
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_REPLACE] = 1;
    make_laggards(profile);
    if (lks_sim_random_chance(random, 500000)) {
        set_media(profile, LKS_DURABILITY_PMEM_ACK, lks_sim_random_chance(random, 500000));
    }
}

static void shape_memory(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
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

static void shape_chaos(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    static const enum lks_durability modes[] = {
        LKS_DURABILITY_WRITER_FLUSH, LKS_DURABILITY_PMEM_ACK, LKS_DURABILITY_MEMORY};
    const enum lks_durability mode = modes[lks_sim_random_below(random, LKS_COUNT_OF(modes))];
    set_media(profile, mode,
              mode == LKS_DURABILITY_PMEM_ACK && lks_sim_random_chance(random, 500000));
    for (uint32_t fault = 0; fault < LKS_SIM_FAULTS; fault++) {
        /* A different mix for each seed: some faults never come, some come often. */
        const bool absent = lks_sim_random_chance(random, 300000);
        const uint32_t weight = 1 + (uint32_t)lks_sim_random_below(random, 8);
        profile->faults.weights[fault] = absent ? 0 : weight;
    }
    profile->clients.window = 1 + (uint32_t)lks_sim_random_below(random, 4);
    const uint64_t busiest = lks_sim_random_range(random, 20, 200);
    profile->faults.interval.max_ns = busiest * MS;
    profile->network.pieces_max = 1 + (uint32_t)lks_sim_random_below(random, 8);
    if (lks_sim_random_chance(random, 200000)) {
        profile->network.fence.tail_ppm = 500000; /* slow fences */
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
    profile->ring_bytes = UINT64_C(64) << lks_sim_random_range(random, 10, 12);
    profile->no_progress = true;
}

/* Much under way at all times, while paths break and leaders change. */
static void shape_storm(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_chaos(profile, random);
    make_dense(profile);
    profile->run_ns = 2000 * MS;
    profile->clients.window = 8;
    profile->network.step =
        (struct lks_sim_delay){.min_ns = US, .max_ns = MS, .tail_ns = 20 * MS, .tail_ppm = 50000};
    profile->network.stray.tail_ppm = 900000;
    profile->network.carries_ppm = 900000;
    memset(profile->faults.weights, 0, sizeof profile->faults.weights);
    profile->faults.weights[LKS_SIM_FAULT_CRASH] = 2;
    profile->faults.weights[LKS_SIM_FAULT_PAUSE] = 4;
    profile->faults.weights[LKS_SIM_FAULT_BREAK] = 8;
    profile->faults.weights[LKS_SIM_FAULT_BREAK_ONE_WAY] = 8;
    profile->faults.interval = (struct lks_sim_delay){.min_ns = 20 * MS, .max_ns = 80 * MS};
}

static void shape_untrusted(struct lks_sim_profile *profile, struct lks_sim_random *random)
{
    shape_storm(profile, random);
    profile->network.untrusted_fence = true;
}

static const struct {
    const char *name;
    const char *purpose;
    uint32_t share; /* of the runs that name no profile; 0: violations are wanted */
    void (*shape)(struct lks_sim_profile *profile, struct lks_sim_random *random);
} g_profiles[] = {
    {"calm", "no faults, several commands under way", 1, shape_calm},
    {"crash", "processes end, one or many, at once or in order", 3, shape_crash},
    {"pause", "processes stand still and go on, clocks jump", 3, shape_pause},
    {"partition", "links go down, one way or both, are slow, or break", 4, shape_partition},
    {"power", "power cuts of one, many, all; new journals; writer-flush or pmem-ack", 4,
     shape_power},
    {"memory", "durability mode memory: amnesia of a minority", 3, shape_memory},
    {"chaos", "everything, in a mix and a durability mode drawn from the seed", 10, shape_chaos},
    {"full", "chaos with a ring that fills up: nothing is lost then", 2, shape_full},
    {"storm", "slow paths full of writes, while they break and leaders change", 2, shape_storm},
    {"untrusted-fence", "a storm in which REVOKED comes early: violations must be found", 0,
     shape_untrusted},
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
