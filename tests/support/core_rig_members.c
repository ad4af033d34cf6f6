/*
 * Members in the rig: an entry's value may carry them (number, voters, learners above its low 24
 * bits), a snapshot knows those in force at its point, the journal those of bootstrap. Changing
 * them as a node does, applying them, and what must hold of them. See core_rig.h.
 */
#include "tests/support/core_rig.h"

#include "base/assert.h"

#define VALUE_BITS 24u

uint64_t rig_members_value(uint64_t value, const struct lks_members *members)
{
    LKS_ASSERT(value < UINT64_C(1) << VALUE_BITS);
    return value | ((uint64_t)members->voters | (uint64_t)members->learners << 8 |
                    members->number << 16)
                       << VALUE_BITS;
}

static bool brings_members(const struct rig_entry *entry, struct lks_members *members)
{
    const uint64_t packed = entry->value >> VALUE_BITS;
    if (packed == 0) {
        return false;
    }
    *members = (struct lks_members){
        .number = packed >> 16,
        .end_offset = (entry->index + 1) * RIG_ENTRY,
        .voters = (uint8_t)packed,
        .learners = (uint8_t)(packed >> 8),
    };
    return true;
}

/* In force in the log that ring n shows, below `limit`; number 0: the bootstrap ones. */
struct lks_members rig_members(const struct rig *rig, uint32_t n, uint64_t limit)
{
    const struct rig_node *node = &rig->nodes[n];
    struct lks_members members = node->base_members;
    const struct lks_position tail = rig_scan_to(rig, n, NULL, limit);
    for (uint64_t i = node->base.index; i < tail.index; i++) {
        (void)brings_members(&node->ring[i % rig->slots], &members);
    }
    return members;
}

/* ... with the masks that its journal has for the bootstrap ones. */
static struct lks_members in_force(const struct rig *rig, uint32_t n)
{
    struct lks_members members = rig_members(rig, n, UINT64_MAX);
    if (members.number == 0) {
        members.voters = rig->nodes[n].bootstrap;
    }
    return members;
}

static bool append_waits(const struct rig_queue *queue)
{
    for (uint32_t i = 0; i < queue->count; i++) {
        const struct rig_item *item = &queue->items[(queue->first + i) % RIG_QUEUE];
        if (item->executed && item->event.kind == LKS_EVENT_APPENDED) {
            return true;
        }
    }
    return false;
}

/* As a node does it: asks the core, appends, says so at once. */
int rig_change(struct rig *rig, uint32_t n, uint8_t voters, uint8_t learners)
{
    struct rig_node *node = &rig->nodes[n];
    struct lks_members proposed = {.number = rig_view(rig, n)->members.number + 1,
                                   .voters = voters,
                                   .learners = learners};
    const int rc = lks_core_members_check(node->core, &proposed);
    if (rc != 0) {
        return rc;
    }
    if (append_waits(&node->local) || node->disk_work.count > RIG_QUEUE / 2 ||
        proposed.number > RIG_MEMBERS_MAX ||
        node->tail.offset + RIG_ENTRY + rig_reserve(rig) > rig_view(rig, n)->append_limit) {
        return RIG_NOT_NOW;
    }
    struct lks_core_event event = {.kind = LKS_EVENT_APPENDED};
    event.position = rig_append_members(rig, n, rig_view(rig, n)->term, &proposed);
    proposed.end_offset = event.position.offset;
    event.members = proposed;
    rig_step(rig, n, &event);
    return 0;
}

/* The owner applies what has committed: the next members in its log. */
bool rig_do_apply(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || rig_view(rig, n)->role == LKS_CORE_STARTING ||
        node->install.active) {
        return false;
    }
    struct lks_members next = node->base_members;
    const uint64_t commit = rig_view(rig, n)->commit_offset / RIG_ENTRY;
    for (uint64_t i = node->base.index; next.number <= node->members_applied && i < commit; i++) {
        (void)brings_members(&node->ring[i % rig->slots], &next);
    }
    if (next.number <= node->members_applied ||
        next.end_offset > rig_view(rig, n)->commit_offset) { /* (the base's: the core will hear) */
        return false;
    }
    node->members_applied = next.number;
    struct lks_core_event event = {.kind = LKS_EVENT_MEMBERS_APPLIED, .members = next};
    rig_step(rig, n, &event);
    return true;
}

/* Entry number index commits at leader n: members that it brings are the cluster's now. */
void rig_members_committed(struct rig *rig, uint32_t n, uint64_t index)
{
    struct lks_members members;
    if (index >= rig->nodes[n].base.index && brings_members(rig_slot(rig, n, index), &members)) {
        if (members.number != rig->members.number + 1) {
            rig_fail(rig, "members %llu commit after %llu", (unsigned long long)members.number,
                     (unsigned long long)rig->members.number);
        }
        rig->members = members;
    }
}

static uint32_t count(uint32_t mask)
{
    return (uint32_t)__builtin_popcount(mask);
}

static uint8_t forgetful(const struct rig *rig)
{
    uint8_t mask = 0;
    for (uint32_t p = 1; p <= rig->n; p++) {
        mask |= (uint8_t)(rig->nodes[p].amnesiac ? 1u << p : 0);
    }
    return mask;
}

/* More than half of these voters have forgotten nothing. */
bool rig_remembers(const struct rig *rig, uint8_t voters)
{
    return 2 * count(forgetful(rig) & voters) < count(voters);
}

static bool bears_loss(const struct rig *rig, uint8_t voters, uint32_t n)
{
    return (voters & 1u << n) == 0 ||
           2 * count((forgetful(rig) | 1u << n) & voters) < count(voters);
}

/* Losing what was acknowledged is allowed on less than half of the voters at a time, whichever
 * members anybody may count by. */
bool rig_may_lose(const struct rig *rig, uint32_t n)
{
    if (rig->nodes[n].amnesiac) {
        return true;
    }
    bool may = bears_loss(rig, rig->members.voters, n);
    for (uint32_t p = 1; p <= rig->n; p++) {
        may = may && bears_loss(rig, in_force(rig, p).voters, n);
    }
    return may;
}

/* What one core says of members: a leader is a voter, and only one that was a member is removed. */
void rig_check_members(struct rig *rig, uint32_t n)
{
    const struct lks_core_view *view = rig_view(rig, n);
    if (view->members_committed && view->members.number > rig->members.number) {
        rig_fail(rig, "replica %u takes members %llu for committed", n,
                 (unsigned long long)view->members.number);
    }
    if (view->role == LKS_CORE_LEADER) {
        const struct lks_members members = in_force(rig, n);
        if (members.voters != view->members.voters || members.learners != view->members.learners) {
            rig_fail(rig, "leader %u counts by other members than its log's", n);
        }
    }
}
