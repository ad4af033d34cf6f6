/* See core_members.h. */
#include "tests/support/core_members.h"

#include "base/assert.h"

#define ROUNDS_MAX 100u

struct rig *members_cluster(uint32_t slots, uint8_t voters)
{
    const struct rig_options options = {
        .n = slots, .durability = RIG_FLUSH, .seed = 1, .bootstrap = voters};
    struct rig *rig = rig_new(&options);
    rig_start_all(rig);
    rig_elect(rig, 1);
    rig_append(rig, 1, 1);
    rig_advance(rig, RIG_HEARTBEAT);
    return rig;
}

void members_add(struct rig *rig, uint32_t leader, uint32_t p)
{
    const struct lks_members *members = &rig_view(rig, leader)->members;
    const int rc = rig_change(rig, leader, members->voters, members->learners | BIT(p));
    LKS_ASSERT(rc == 0);
}

void members_promote(struct rig *rig, uint32_t leader, uint32_t p)
{
    for (uint32_t i = 0; i < ROUNDS_MAX && !rig_view(rig, leader)->peers[p].caught_up; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 2);
    }
    const struct lks_members *members = &rig_view(rig, leader)->members;
    const int rc = rig_change(rig, leader, members->voters | BIT(p),
                              members->learners & (uint8_t)~BIT(p));
    LKS_ASSERT(rc == 0);
}

void members_remove(struct rig *rig, uint32_t leader, uint32_t p)
{
    const struct lks_members *members = &rig_view(rig, leader)->members;
    const int rc = rig_change(rig, leader, members->voters & (uint8_t)~BIT(p),
                              members->learners & (uint8_t)~BIT(p));
    LKS_ASSERT(rc == 0);
}

void members_join(struct rig *rig, uint32_t leader, uint32_t p)
{
    members_add(rig, leader, p);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    members_promote(rig, leader, p);
    rig_advance(rig, 2 * RIG_HEARTBEAT);
    LKS_ASSERT(rig_view(rig, leader)->members_committed);
}

void members_come_back(struct rig *rig, uint32_t n)
{
    rig_settle(rig); /* the others notice that the earlier life is over */
    rig_start(rig, n);
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig_connect(rig, n, p);
    }
    rig_settle(rig);
}

void members_mute(struct rig *rig, uint32_t n, uint32_t p, bool muted)
{
    rig->nodes[n].sides[p].hold_path = muted;
    rig->nodes[p].sides[n].hold_ctl = muted;
}
