/*
 * Random walks of whole replicas, by seed: mixed media and durability modes, small writes, both
 * kinds of fabric, while lanes are held and let go one operation at a time, connections break,
 * calls are refused, ranges become durable late, replicas stand still, crash and lose power. Then
 * all is well again and everything must be answered, once. `test_replica_walk FIRST LAST` walks
 * those seeds.
 */
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef LKS_SANITIZED
#define SEEDS 4u
#else
#define SEEDS 10u
#endif
#define STEPS 20000u
#define FAULTS_PER_1000 15u
#define REPAIRS_PER_1000 15u

static uint64_t g_first = 1;
static uint64_t g_last = SEEDS;

struct walk {
    struct rig *rig;
    uint64_t random;
    uint32_t crashes;
    uint32_t power_cuts;
    uint32_t breaks;
    uint32_t leaders;
    uint64_t submitted;
    uint64_t executed;
};

static uint64_t below(struct walk *walk, uint64_t bound)
{
    walk->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t value = walk->random;
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return (value ^ value >> 31) % bound;
}

/* One in three replicas of a walk is on an ordinary file's rules: slow, with acknowledgements. */
static void draw_options(struct walk *walk, struct rig_options *options)
{
    static const uint64_t writes[] = {0, 64, 256, 4096};
    *options = (struct rig_options){
        .replicas = below(walk, 4) == 0 ? 5 : 3,
        .ring_bytes = UINT64_C(8) << 20,
        .writes_when_posted = below(walk, 2) == 0,
        .write_bytes_max = writes[below(walk, 4)],
    };
    for (uint32_t id = 1; id <= options->replicas; id++) {
        const uint64_t kind = below(walk, 3);
        options->durability[id] =
            kind == 0 ? LKS_DURABILITY_WRITER_FLUSH : LKS_DURABILITY_PMEM_ACK;
        options->slow_medium[id] = kind == 2;
    }
}

static uint32_t any(struct walk *walk)
{
    return 1 + (uint32_t)below(walk, walk->rig->options.replicas);
}

static bool is_up(const struct walk *walk, uint32_t id)
{
    return walk->rig->replicas[id].replica != NULL;
}

static void crash(struct walk *walk, uint32_t id)
{
    if (is_up(walk, id)) {
        rig_crash(walk->rig, id, false);
        walk->crashes++;
    }
}

static void lose_power(struct walk *walk, uint32_t id)
{
    if (is_up(walk, id)) {
        rig_crash(walk->rig, id, true);
        walk->power_cuts++;
    }
}

static void break_connection(struct walk *walk, uint32_t a, uint32_t b)
{
    if (a != b && is_up(walk, a) && is_up(walk, b) && hand_joined(walk->rig->net, a, b)) {
        hand_break(walk->rig->net, a, b);
        walk->breaks++;
    }
}

/* All that is wrong between or with two replicas ends. */
static void repair(struct walk *walk, uint32_t a, uint32_t b)
{
    struct rig *rig = walk->rig;
    if (!is_up(walk, a)) {
        rig_start(rig, a);
        assert_int_equal(rig->replicas[a].status, 0);
    }
    rig->replicas[a].stalled = false;
    rig->replicas[a].holds_persists = false;
    if (a == b || !is_up(walk, b)) {
        return;
    }
    for (int lane = 0; lane < HAND_LANES; lane++) {
        hand_hold(rig->net, a, b, (enum hand_lane)lane, false);
    }
    if (!hand_joined(rig->net, a, b)) {
        hand_join(rig->net, a, b);
    }
}

static void fault(struct walk *walk)
{
    static const enum hand_call calls[] = {HAND_OPEN,        HAND_WRITE_LOG, HAND_FLUSH,
                                           HAND_WRITE_INBOX, HAND_READ,      HAND_GRANT};
    struct rig *rig = walk->rig;
    const uint32_t id = any(walk);
    const uint32_t other = any(walk);
    switch (below(walk, 16)) {
    case 0:
    case 13:
        crash(walk, id);
        break;
    case 14:
        lose_power(walk, id);
        break;
    case 15:
        if (below(walk, 3) == 0) {
            for (uint32_t each = 1; each <= rig->options.replicas; each++) {
                lose_power(walk, each);
            }
        }
        break;
    case 1:
    case 2:
        break_connection(walk, id, other);
        break;
    case 3:
        rig->replicas[id].stalled = true;
        break;
    case 4:
        rig->replicas[id].holds_persists = true;
        break;
    case 5:
    case 6:
        if (is_up(walk, id)) {
            hand_fail(rig->net, id, calls[below(walk, LKS_COUNT_OF(calls))],
                      (uint32_t)below(walk, 10), -LKS_EBUSY);
        }
        break;
    default:
        if (id != other && is_up(walk, id)) {
            hand_hold(rig->net, id, other, (enum hand_lane)below(walk, HAND_LANES), true);
        }
        break;
    }
}

/* Lets something go on that is held. */
static void release_some(struct walk *walk)
{
    const uint32_t id = any(walk);
    struct rig_replica *self = &walk->rig->replicas[id];
    if (!is_up(walk, id)) {
        return;
    }
    if (self->persists_count > 0 && below(walk, 20) == 0) {
        rig_persist(walk->rig, id, (uint32_t)below(walk, self->persists_count), 0);
    }
    for (uint32_t other = 1; other <= walk->rig->options.replicas; other++) {
        const enum hand_lane lane = (enum hand_lane)below(walk, HAND_LANES);
        if (other != id) {
            (void)hand_release(walk->rig->net, id, other, lane, (uint32_t)below(walk, 4));
        }
    }
}

static void submit_some(struct walk *walk)
{
    const uint32_t id = any(walk);
    int code = 0;
    if (is_up(walk, id) && walk->rig->submitted + 1 < RIG_SUBMITTED_MAX) {
        (void)rig_submit(walk->rig, id, 8 + (size_t)below(walk, below(walk, 10) == 0 ? 6000 : 300),
                         &code);
    }
}

static void heal(struct walk *walk)
{
    for (uint32_t a = 1; a <= walk->rig->options.replicas; a++) {
        repair(walk, a, a);
    }
    for (uint32_t a = 1; a <= walk->rig->options.replicas; a++) {
        for (uint32_t b = 1; b <= walk->rig->options.replicas; b++) {
            repair(walk, a, b);
        }
    }
}

static void walk_seed(uint64_t seed, struct walk *walk)
{
    struct rig_options options;
    walk->random = seed * UINT64_C(0x9E3779B97F4A7C15);
    draw_options(walk, &options);
    walk->rig = rig_new(&options);
    walk->rig->random = seed;
    uint32_t leader = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        rig_step(walk->rig, any(walk));
        if (below(walk, 3) == 0) {
            walk->rig->now_ns += below(walk, RIG_TICK_NS * 4);
            walk->rig->realtime_ns += RIG_TICK_NS;
        }
        release_some(walk);
        if (below(walk, 6) == 0) {
            submit_some(walk);
        }
        if (below(walk, 1000) < FAULTS_PER_1000) {
            fault(walk);
        }
        if (below(walk, 1000) < REPAIRS_PER_1000) {
            repair(walk, any(walk), any(walk));
        }
        const uint32_t present = rig_leader(walk->rig);
        walk->leaders += present != 0 && present != leader ? 1 : 0;
        leader = present != 0 ? present : leader;
        if (step % 64 == 0) {
            rig_check(walk->rig);
        }
    }
    heal(walk);
    rig_settle(walk->rig);
    walk->submitted += walk->rig->submitted;
    walk->executed += rig_executed(walk->rig, 1);
    rig_free(walk->rig);
}

static void walk__every_seed__nothing_lost_nothing_twice(void **state)
{
    (void)state;
    struct walk walk = {0};
    for (uint64_t seed = g_first; seed <= g_last; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        walk_seed(seed, &walk);
    }
    print_message("%u crashes, %u power cuts, %u breaks, %u leaders, %llu submitted, %llu "
                  "executed\n",
                  walk.crashes, walk.power_cuts, walk.breaks, walk.leaders,
                  (unsigned long long)walk.submitted, (unsigned long long)walk.executed);
    assert_true(walk.leaders > g_last - g_first);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walk__every_seed__nothing_lost_nothing_twice),
    };
    if (argc == 3) {
        g_first = strtoull(argv[1], NULL, 10);
        g_last = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
