/* Cases about sleeping: no wake-up is lost, and none comes out of nothing. */
#include "tests/conformance/fabric/cases.h"
#include "tests/conformance/fabric/stage.h"

#define ARMS_MAX 1000u

/* Arms as a loop does that finds nothing to do. */
static void fall_asleep(struct stage *stage, uint32_t replica)
{
    struct lks_fabric *fabric = stage->lives[replica].fabric;
    for (unsigned turn = 0; turn < ARMS_MAX; turn++) {
        const int code = lks_fabric_arm(fabric);
        if (code == 0 && !stage->backend->readable(stage->world, fabric)) {
            return;
        }
        assert_true(code == 0 || code == -EAGAIN);
        if (code == 0) {
            lks_fabric_disarm(fabric);
        }
        stage_round(stage);
    }
    fail_msg("replica %u does not fall asleep", replica);
}

void arm__nothing_to_do__not_readable(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    fall_asleep(stage, 1);
    assert_false(stage->backend->readable(stage->world, stage->lives[1].fabric));
    lks_fabric_disarm(stage->lives[1].fabric);
}

static void wake_by_word(struct stage *stage, uint32_t sleeper, uint64_t value)
{
    const uint32_t flags = LKS_FABRIC_INLINE | LKS_FABRIC_WAKE;
    assert_int_equal(lks_fabric_write_inbox(stage->lives[2].fabric, sleeper, 0, &value, 8, flags,
                                            0),
                     0);
}

void arm__write_with_wake_after__readable(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    const uint64_t *area = lks_fabric_inbox(one, 2);
    stage_path(stage, 2, 1);
    for (uint64_t turn = 1; turn <= 50; turn++) {
        fall_asleep(stage, 1);
        if (turn % 2 == 0) {
            wake_by_word(stage, 1, turn);
        } else {
            assert_int_equal(lks_fabric_write_log(stage->lives[2].fabric, 1, 4096, &turn, 8,
                                                  LKS_FABRIC_INLINE | LKS_FABRIC_WAKE, 0),
                             0);
        }
        for (unsigned i = 0; !stage->backend->readable(stage->world, one); i++) {
            assert_true(i < ARMS_MAX);
            stage->backend->idle(stage->world);
        }
        lks_fabric_disarm(one);
        stage_round(stage);
        if (turn % 2 == 0) {
            assert_int_equal(area[0], turn);
        }
    }
}

void arm__write_with_wake_before__eagain_once(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    fall_asleep(stage, 1);
    lks_fabric_disarm(one);
    stage_settle(stage);
    wake_by_word(stage, 1, 5);
    stage_settle(stage);
    /* Who is not asleep is not signalled: so arming must tell. */
    assert_int_equal(lks_fabric_arm(one), -EAGAIN);
    fall_asleep(stage, 1);
    lks_fabric_disarm(one);
}

void arm__event_waiting__eagain(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    fall_asleep(stage, 1);
    lks_fabric_disarm(one);
    assert_int_equal(lks_fabric_revoke(one, 2, 3), 0);
    assert_int_equal(lks_fabric_revoke(one, 3, 4), 0);
    int code = -1;
    for (unsigned i = 0; i < ARMS_MAX; i++) {
        code = lks_fabric_arm(one);
        if (code != 0 || stage->backend->readable(stage->world, one)) {
            break;
        }
        lks_fabric_disarm(one);
        stage->backend->idle(stage->world);
    }
    lks_fabric_disarm(one);
    (void)stage_await(stage, 1, LKS_FABRIC_REVOKED, 2);
    (void)stage_await(stage, 1, LKS_FABRIC_REVOKED, 3);
    assert_true(code == -EAGAIN || code == 0);
}

void arm__peer_crashes__readable(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    fall_asleep(stage, 1);
    stage_crash(stage, 3);
    for (unsigned i = 0; !stage->backend->readable(stage->world, one); i++) {
        assert_true(i < ARMS_MAX);
        stage->backend->idle(stage->world);
    }
    lks_fabric_disarm(one);
    assert_true(stage_await(stage, 1, LKS_FABRIC_DISCONNECTED, 3).peer_dead);
}
