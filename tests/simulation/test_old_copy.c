/*
 * A journal that was replaced by an older copy of itself: whoever met the replica in a later life
 * ignores it, and a new journal in its place is taken in.
 */
#include "base/clock.h"
#include "sim/crash_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SOME_TIME_NS (30 * LKS_NS_PER_MS)

static struct lks_sim_script g_script = {.operations_count = 2,
                                         .operations = {LKS_SIM_SCRIPT_WRITE,
                                                        LKS_SIM_SCRIPT_COUNT},
                                         .durability = LKS_DURABILITY_WRITER_FLUSH};

static struct lks_sim_world *run_script(void)
{
    const struct lks_sim_world_options options = {
        .script = &g_script, .replicas = 3, .seed = 4};
    struct lks_sim_world *world = NULL;
    struct lks_error err;
    assert_int_equal(lks_sim_world_new(&world, &options, &err), 0);
    while (lks_sim_world_step(world)) {
    }
    assert_false(lks_sim_world_cluster(world)->verdict.broken);
    return world;
}

static void wait_some(struct lks_sim_cluster *cluster)
{
    const uint64_t until_ns = lks_sim_timeline_now(cluster->timeline) + SOME_TIME_NS;
    while (lks_sim_timeline_step(cluster->timeline, until_ns)) {
    }
}

static void restart(struct lks_sim_cluster *cluster, uint32_t replica)
{
    if (lks_sim_process_state(cluster->processes[replica]) != LKS_SIM_DOWN) {
        lks_sim_process_crash(cluster->processes[replica]);
    }
    cluster->applied_index[replica] = 0;
    cluster->leading_term[replica] = 0;
    assert_int_equal(lks_sim_process_start(cluster->processes[replica]), 0);
    lks_sim_observe_start(cluster, replica);
    wait_some(cluster);
}

static struct lks_replica_status status_of(struct lks_sim_cluster *cluster, uint32_t replica)
{
    struct lks_replica_status status;
    lks_replica_status(lks_sim_process_replica(cluster->processes[replica]), &status);
    return status;
}

/* lives: that the replica has between the copy and its return. */
static void return_to_copy(uint32_t lives)
{
    struct lks_sim_world *world = run_script();
    struct lks_sim_cluster *cluster = lks_sim_world_cluster(world);
    const uint32_t victim = status_of(cluster, 1).leader == 3 ? 2 : 3;
    struct lks_sim_process *process = cluster->processes[victim];
    struct lks_sim_storage_copy copy;
    struct lks_error err;
    lks_sim_storage_take_copy(lks_sim_process_storage(process), &copy);
    for (uint32_t life = 0; life < lives; life++) {
        restart(cluster, victim);
        assert_true(status_of(cluster, victim).serving);
    }
    lks_sim_process_crash(process);
    lks_sim_storage_put_copy(lks_sim_process_storage(process), &copy);
    restart(cluster, victim);
    assert_false(status_of(cluster, victim).serving);
    for (uint32_t other = 1; other <= 3; other++) {
        assert_true(other == victim || status_of(cluster, other).serving);
        assert_true(other == victim || !status_of(cluster, other).peers[victim].connected);
    }
    /* The way out. */
    lks_sim_process_power_cut(process);
    assert_int_equal(lks_sim_process_format(process, false, &err), 0);
    restart(cluster, victim);
    assert_true(status_of(cluster, victim).serving);
    assert_false(status_of(cluster, victim).amnesiac);
    lks_sim_world_recover(world);
    assert_string_equal(cluster->verdict.text, "");
    free(copy.bytes);
    lks_sim_world_free(world);
}

static void copy__one_life_later__ignored_until_replaced(void **state)
{
    (void)state;
    return_to_copy(1); /* the same incarnation comes twice */
}

static void copy__several_lives_later__ignored_until_replaced(void **state)
{
    (void)state;
    return_to_copy(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy__one_life_later__ignored_until_replaced),
        cmocka_unit_test(copy__several_lives_later__ignored_until_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
