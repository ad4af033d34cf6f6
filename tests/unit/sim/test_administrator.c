/* The simulator's administrator: says words at replicas of a cluster, and looks at what they say.
 */
#include "base/assert.h"
#include "base/error.h"
#include "node/members.h"
#include "sim/administrator.h"
#include "sim/crash_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define LOOKS 200u /* about one in ten is a mistake */
#define ERRORS 100u

static struct lks_sim_script g_script = {.operations_count = 1,
                                         .operations = {LKS_SIM_SCRIPT_WRITE},
                                         .durability = LKS_DURABILITY_WRITER_FLUSH};
static jmp_buf g_failed;

static int set_up(void **state)
{
    const struct lks_sim_world_options options = {.script = &g_script, .replicas = 3, .seed = 5};
    struct lks_sim_world *world = NULL;
    struct lks_error err;
    assert_int_equal(lks_sim_world_new(&world, &options, &err), 0);
    while (lks_sim_world_step(world)) {
    }
    assert_false(lks_sim_world_cluster(world)->verdict.broken);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    lks_sim_world_free(*state);
    return 0;
}

static struct lks_replica *replica_of(struct lks_sim_world *world, uint32_t id)
{
    return lks_sim_process_replica(lks_sim_world_cluster(world)->processes[id]);
}

static struct lks_replica_status status_of(struct lks_sim_world *world, uint32_t id)
{
    struct lks_replica_status status;
    lks_replica_status(replica_of(world, id), &status);
    return status;
}

static uint32_t find(struct lks_sim_world *world, bool leader)
{
    uint32_t id = 1;
    while ((status_of(world, id).role == LKS_ROLE_LEADER) != leader) {
        id++;
    }
    return id;
}

static void on_assertion(const char *message)
{
    (void)message;
    longjmp(g_failed, 1);
}

static void looks__lists_and_mistakes__nothing_changes(void **state)
{
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    for (uint32_t id = 1; id <= 3; id++) {
        const struct lks_replica_status before = status_of(*state, id);
        for (uint32_t i = 0; i < LOOKS; i++) {
            lks_sim_administrator_looks(replica_of(*state, id), id, &random);
        }
        const struct lks_replica_status after = status_of(*state, id);
        assert_int_equal(after.members, before.members);
        assert_int_equal(after.voters, before.voters);
        assert_int_equal(after.learners, before.learners);
    }
}

static void asks__a_follower__told_who_leads(void **state)
{
    static const struct lks_member_request request = {.action = LKS_MEMBER_REMOVE, .id = 3};
    const uint32_t asked = find(*state, false);
    char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    assert_false(lks_sim_administrator_asks(replica_of(*state, asked), asked, &request, &random,
                                            text));
    assert_memory_equal(text, "NOTLEADER ", 10);
}

static void asks__so_already__ok_at_once(void **state)
{
    static const struct lks_member_request there = {.action = LKS_MEMBER_ADD, .id = 2};
    const uint32_t leader = find(*state, true);
    const uint64_t before = status_of(*state, leader).members;
    char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    assert_false(lks_sim_administrator_asks(replica_of(*state, leader), leader, &there, &random,
                                            text));
    assert_string_equal(text, "OK");
    assert_int_equal(status_of(*state, leader).members, before);
}

static void asks__impossible__refused_with_a_reason(void **state)
{
    static const struct lks_member_request not_there = {.action = LKS_MEMBER_PROMOTE, .id = 7};
    const uint32_t leader = find(*state, true);
    char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    assert_false(lks_sim_administrator_asks(replica_of(*state, leader), leader, &not_there,
                                            &random, text));
    assert_memory_equal(text, "ERR ", 4);
    assert_non_null(strstr(text, "7"));
}

static void asks__a_transfer__somebody_else_leads(void **state)
{
    static const struct lks_member_request request = {.action = LKS_MEMBER_TRANSFER};
    struct lks_sim_cluster *cluster = lks_sim_world_cluster(*state);
    const uint32_t leader = find(*state, true);
    char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    struct lks_sim_random random;
    lks_sim_random_init(&random, 1);
    assert_true(lks_sim_administrator_asks(replica_of(*state, leader), leader, &request, &random,
                                           text));
    assert_string_equal(text, "");
    lks_sim_process_wake(cluster->processes[leader]);
    const uint64_t until_ns = lks_sim_timeline_now(cluster->timeline) + UINT64_C(1000000000);
    while (status_of(*state, leader).role == LKS_ROLE_LEADER &&
           lks_sim_timeline_step(cluster->timeline, until_ns)) {
    }
    assert_int_not_equal(status_of(*state, leader).role, LKS_ROLE_LEADER);
}

static void told__done_failed_unknown__as_a_connection_reads(void **state)
{
    (void)state;
    char text[LKS_SIM_ADMINISTRATOR_TEXT_MAX];
    lks_sim_administrator_told(0, "", text);
    assert_string_equal(text, "OK");
    lks_sim_administrator_told(-LKS_ENOLEADER, "it leads no more", text);
    assert_string_equal(text, "ERR it leads no more");
    lks_sim_administrator_told(-EAGAIN, "ask again", text);
    assert_string_equal(text, "UNKNOWN ask again");
}

static void errs__any_mistake__nothing_changes(void **state)
{
    struct lks_sim_random random;
    struct lks_scheduler_status before;
    struct lks_scheduler_status after;
    lks_sim_random_init(&random, 1);
    lks_replica_scheduler_status(replica_of(*state, 1), &before);
    for (uint32_t i = 0; i < ERRORS; i++) {
        lks_sim_administrator_errs(replica_of(*state, 1), &random);
    }
    lks_replica_scheduler_status(replica_of(*state, 1), &after);
    assert_int_equal(after.wanted, before.wanted);
    assert_int_equal(after.workers, before.workers);
}

/* It asserts that its words are accepted: a replica without workers has to refuse them. */
static void schedules__no_workers__found(void **state)
{
    if (setjmp(g_failed) == 0) {
        lks_assert_set_hook(on_assertion);
        lks_sim_administrator_schedules(replica_of(*state, 1), LKS_LATE, 2);
        lks_assert_set_hook(NULL);
        fail_msg("workers were accepted by a replica that has none");
    }
    lks_assert_set_hook(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(looks__lists_and_mistakes__nothing_changes),
        TEST(asks__a_follower__told_who_leads),
        TEST(asks__so_already__ok_at_once),
        TEST(asks__impossible__refused_with_a_reason),
        TEST(asks__a_transfer__somebody_else_leads),
        cmocka_unit_test(told__done_failed_unknown__as_a_connection_reads),
        TEST(errs__any_mistake__nothing_changes),
        TEST(schedules__no_workers__found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
