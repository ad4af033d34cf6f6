/*
 * Snapshots in the rig: taking one and moving the base, a donor's into the place of the own one,
 * and reads. A snapshot is known by its point alone; its content is the committed prefix, which
 * the checkers see to. See core_rig.h.
 */
#include "tests/support/core_rig.h"

#include "base/assert.h"

#include <errno.h>

#define EBROKEN_STATUS (-1008)

static void move_base(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    LKS_ASSERT(node->snapshot.offset >= node->base.offset);
    node->base = node->snapshot;
    node->base_members = node->snapshot_members;
}

static bool may_take(const struct rig *rig, uint32_t n)
{
    const struct rig_node *node = &rig->nodes[n];
    return node->alive && !node->paused && rig_view(rig, n)->role != LKS_CORE_STARTING &&
           !node->install.active && node->local.count < RIG_QUEUE / 2;
}

static void take(struct rig *rig, uint32_t n, uint64_t index)
{
    struct rig_node *node = &rig->nodes[n];
    const struct lks_position point = rig_scan_to(rig, n, NULL, index * RIG_ENTRY);
    LKS_ASSERT(point.index == index);
    rig_check_snapshot(rig, n, &point);
    node->snapshot_members = rig_members(rig, n, point.offset);
    node->snapshot = point;
}

/* The manifest is durable: now the base, and the core hears of it. */
static bool follow(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (node->base.offset == node->snapshot.offset) {
        return false;
    }
    move_base(rig, n);
    rig_push_event(rig, &node->local, LKS_EVENT_BASE_MOVED, 0, 0, 0);
    node->local.items[(node->local.first + node->local.count - 1) % RIG_QUEUE].event.base =
        node->base;
    return true;
}

/* One step of the own snapshots: up to somewhere in what has committed; whole: up to the commit,
 * and the base behind it. */
bool rig_do_snapshot(struct rig *rig, uint32_t n, bool whole)
{
    const struct rig_node *node = &rig->nodes[n];
    if (!may_take(rig, n)) {
        return false;
    }
    if (follow(rig, n)) {
        return true;
    }
    const uint64_t committed = rig_view(rig, n)->commit_offset / RIG_ENTRY;
    if (committed <= node->base.index) {
        return false;
    }
    const uint64_t more = committed - node->base.index;
    take(rig, n, node->base.index + (whole ? more : 1 + rig_random(rig, more)));
    return whole ? follow(rig, n) : true;
}

void rig_snapshot(struct rig *rig, uint32_t n, uint64_t index)
{
    LKS_ASSERT(may_take(rig, n));
    take(rig, n, index);
    LKS_ASSERT(follow(rig, n));
    rig_settle(rig);
}

void rig_begin_install(struct rig *rig, uint32_t n, const struct lks_effect *effect)
{
    struct rig_install *install = &rig->nodes[n].install;
    if (install->active || rig->nodes[n].read.active) {
        rig_fail(rig, "replica %u installs while it changes its ring already", n);
    }
    *install =
        (struct rig_install){.active = true, .peer = effect->peer, .from = effect->from};
}

static void end_install(struct rig *rig, uint32_t n, int status)
{
    struct rig_node *node = &rig->nodes[n];
    node->install.active = false;
    rig->installs += status == 0 ? 1 : 0;
    node->tail = rig_scan(rig, n, &node->read_runs);
    rig_make_durable(rig, n, node->base.offset, node->tail.offset);
    rig_push_event(rig, &node->local, LKS_EVENT_INSTALLED, node->install.peer, 0, status);
    struct lks_core_event *event =
        &node->local.items[(node->local.first + node->local.count - 1) % RIG_QUEUE].event;
    event->base = node->base;
    event->position = node->tail;
    event->members = rig_members(rig, n, node->tail.offset);
    event->runs = &node->read_runs;
}

static void install_step(struct rig *rig, uint32_t n, bool whole)
{
    struct rig_node *node = &rig->nodes[n];
    struct rig_install *install = &node->install;
    const struct rig_node *donor = &rig->nodes[install->peer];
    const uint64_t committed = rig_view(rig, n)->commit_offset;
    if (!install->written && committed >= install->from) {
        /* Own snapshots reach as far as is wanted; or have already. */
        if (node->snapshot.offset < install->from) {
            const uint64_t more = (committed - install->from) / RIG_ENTRY;
            const uint64_t further = rig->exploring ? rig_random(rig, more + 1) : 0;
            take(rig, n, install->from / RIG_ENTRY + further);
        }
        install->written = true;
    } else if (install->written) {
        move_base(rig, n);
        end_install(rig, n, 0);
    } else if (install->cancelled && (whole || rig_random(rig, 2) == 0)) {
        end_install(rig, n, -ECANCELED);
    } else if (install->read) {
        rig_check_snapshot(rig, n, &install->target);
        node->snapshot = install->target;
        node->snapshot_members = install->members;
        install->written = true;
    } else if (!node->sides[install->peer].up || !rig->links[n][install->peer].whole) {
        end_install(rig, n, EBROKEN_STATUS);
    } else if (donor->snapshot.offset < install->from ||
               donor->snapshot.offset <= node->snapshot.offset) {
        end_install(rig, n, -ENODATA);
    } else if (whole || rig_random(rig, 3) == 0) {
        install->target = donor->snapshot;
        install->members = donor->snapshot_members;
        install->read = true;
    }
}

bool rig_do_install(struct rig *rig, uint32_t n, bool whole)
{
    const struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || node->hold_install || !node->install.active) {
        return false;
    }
    do {
        install_step(rig, n, whole);
    } while (whole && node->install.active);
    return true;
}

bool rig_read_point(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || node->reads_count == RIG_READS) {
        return false;
    }
    struct lks_core_event event = {.kind = LKS_EVENT_READ};
    const uint32_t committed = rig->committed_count;
    rig_step(rig, n, &event);
    const struct lks_core_view *view = rig_view(rig, n);
    if (view->reads.begun == 0) {
        return false;
    }
    node->reads[node->reads_count] = (struct rig_read_wait){
        .term = view->term, .round = view->reads.begun, .committed = committed};
    node->reads_count++;
    rig_check_step(rig, n); /* (one replica alone confirms at once) */
    return true;
}
