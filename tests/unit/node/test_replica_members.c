/*
 * Where members are reached: a replica tells its fabric what the log says, whatever its own
 * configuration does.
 */
#include "tests/unit/node/replica_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct rig_options g_options = {.replicas = 3};

/* Asks replica 1, which leads, until it has done it. */
static void change(struct rig *rig, const struct lks_member_request *request)
{
    const uint64_t before = rig_status(rig, 1).members;
    struct lks_error err = {0};
    int rc = -LKS_EBUSY;
    for (unsigned i = 0; rc == -LKS_EBUSY; i++) {
        assert_true(i < 1000);
        rig_tick(rig);
        rc = lks_replica_change_members(rig->replicas[1].replica, request, &err);
    }
    if (rc != 0) {
        fail_msg("%d: %s", rc, err.text);
    }
    for (unsigned i = 0; rig_status(rig, 1).members == before ||
                         !rig_status(rig, 1).members_committed; i++) {
        assert_true(i < 1000);
        rig_tick(rig);
    }
    rig_run(rig, 3 * RIG_HEARTBEAT_NS);
}

/* Replica 3 goes, and comes back on another host. */
static struct rig *move_replica_3(void)
{
    struct rig *rig = rig_new(&g_options);
    rig_make_leader(rig, 1);
    rig_crash(rig, 3, false);
    rig_run(rig, 3 * RIG_ELECTION_NS);
    change(rig, &(struct lks_member_request){.action = LKS_MEMBER_REMOVE, .id = 3});
    assert_string_equal(hand_place(rig->net, 1, 3), "");
    change(rig, &(struct lks_member_request){
                    .action = LKS_MEMBER_ADD, .id = 3, .fabric_address = "10.0.0.9:7101"});
    return rig;
}

static void add__with_an_address_of_the_fabric__every_replica_is_told(void **state)
{
    (void)state;
    struct rig *rig = move_replica_3();
    assert_string_equal(hand_place(rig->net, 1, 3), "10.0.0.9 7101");
    assert_string_equal(hand_place(rig->net, 2, 3), "10.0.0.9 7101");
    assert_string_equal(hand_place(rig->net, 1, 2), "");
    rig_free(rig);
}

static void restart__address_in_the_log__is_told_again(void **state)
{
    (void)state;
    struct rig *rig = move_replica_3();
    rig_crash(rig, 2, false);
    rig_start(rig, 2);
    assert_string_equal(hand_place(rig->net, 2, 3), "");
    rig_run(rig, 10 * RIG_ELECTION_NS);
    assert_string_equal(hand_place(rig->net, 2, 3), "10.0.0.9 7101");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add__with_an_address_of_the_fabric__every_replica_is_told),
        cmocka_unit_test(restart__address_in_the_log__is_told_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
