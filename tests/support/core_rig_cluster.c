/*
 * What happens to the cluster of a rig: starts, crashes, power cuts, connections, and scripted
 * driving: everything that is ready, in a fixed order, until it is quiet; then time moves on.
 */
#include "tests/support/core_rig.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define SETTLE_ROUNDS_MAX 4000u

void rig_reset(struct rig *rig, const struct rig_options *options)
{
    char *trace = rig->trace;
    const size_t trace_bytes = rig->trace_bytes;
    const uint32_t trace_nodes = rig->trace_nodes;
    memset(rig, 0, offsetof(struct rig, nodes));
    for (uint32_t n = 1; n <= options->n; n++) {
        struct rig_node *node = &rig->nodes[n];
        memset(node, 0, offsetof(struct rig_node, memory));
        memset(&node->beat, 0, offsetof(struct rig_node, runs) - offsetof(struct rig_node, beat));
        node->read.active = false;
        node->install.active = false;
        node->local.count = 0;
        node->disk_work.count = 0;
        for (uint32_t p = 1; p <= options->n; p++) {
            struct rig_side *side = &node->sides[p];
            memset(side, 0, offsetof(struct rig_side, ops));
            side->ctl.count = 0;
            side->done.count = 0;
        }
    }
    for (uint32_t n = 1; n <= options->n; n++) {
        const uint8_t all = (uint8_t)((1u << (options->n + 1)) - 2u);
        const uint8_t bootstrap = options->bootstrap != 0 ? options->bootstrap : all;
        const bool voter = (bootstrap & 1u << n) != 0;
        rig->nodes[n].bootstrap = voter ? bootstrap : 0;
        rig->nodes[n].amnesiac = !voter;
        rig->nodes[n].promise_lost = !voter;
    }
    memset(rig->permission, 0, sizeof *rig - offsetof(struct rig, permission));
    rig->trace = trace;
    rig->trace_bytes = trace_bytes;
    rig->trace_nodes = trace_nodes;
    rig->n = options->n;
    rig->durability = options->durability;
    rig->seed = options->seed;
    rig->random = options->seed * UINT64_C(0x9E3779B97F4A7C15) | 1u;
    rig->writes_max = 3;
    rig->slots = RIG_SLOTS;
    const uint32_t all = (1u << (options->n + 1)) - 2u;
    rig->members.voters = (uint8_t)(options->bootstrap != 0 ? options->bootstrap : all);
}

struct rig *rig_new(const struct rig_options *options)
{
    struct rig *rig = aligned_alloc(64, (sizeof *rig + 63u) & ~(size_t)63u);
    LKS_ASSERT(rig != NULL);
    memset(rig, 0, sizeof *rig);
    rig_reset(rig, options);
    return rig;
}

struct rig *rig_cluster(uint32_t n, enum rig_durability durability)
{
    const struct rig_options options = {.n = n, .durability = durability, .seed = 1};
    struct rig *rig = rig_new(&options);
    rig_start_all(rig);
    return rig;
}

void rig_free(struct rig *rig)
{
    free(rig->trace);
    free(rig);
}

void rig_start(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    LKS_ASSERT(!node->alive);
    LKS_ASSERT(lks_core_bytes() <= sizeof node->memory);
    node->alive = true;
    node->paused = false;
    node->waits = false;
    node->incarnation++;
    node->beat = 0;
    node->acked = 0;
    node->checked_commit = 0;
    node->members_applied = 0;
    node->noop_due = 0;
    node->reads_count = 0;
    const struct lks_core_options options = {
        .replica = n,
        .replicas = rig->n,
        .members_voters = node->bootstrap,
        .members_unknown = node->bootstrap == 0,
        .incarnation = node->incarnation,
        .promise_term = node->promise_term,
        .promise_candidate = node->promise_candidate,
        .promise_incarnation = node->promise_incarnation,
        .amnesiac = node->amnesiac,
        .promise_lost = node->promise_lost,
        .election_timeout_ns = RIG_TIMEOUT,
        .heartbeat_ns = RIG_HEARTBEAT,
        .ring_bytes = rig->slots * RIG_ENTRY,
        .reserve_bytes = rig_reserve(rig),
        .write_bytes_max = RIG_WRITE_ENTRIES * RIG_ENTRY,
        .writes_max = rig->writes_max,
        .seed = rig->seed,
        .now_ns = rig->now,
    };
    node->core = lks_core_init(node->memory, &options, &node->update);
    rig_trace_effects(rig, n);
    rig_execute(rig, n);
}

/* The process ends. What it wrote one-sidedly may have landed in part; others still write here. */
void rig_crash(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    LKS_ASSERT(node->alive);
    node->alive = false;
    node->read.active = false;
    node->install.active = false;
    node->local.count = 0;
    node->disk_work.count = 0;
    for (uint32_t p = 1; p <= rig->n; p++) {
        struct rig_side *side = &node->sides[p];
        side->up = false;
        side->fencing = false;
        side->path = 0;
        side->ops_count = 0;
        side->ctl.count = 0;
        side->done.count = 0;
        if (p != n) {
            rig_break(rig, n, p);
        }
    }
}

/* What was acknowledged from here until now, the checkers still believe. */
static void note_forgotten(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    const bool memory = rig->durability == RIG_MEMORY;
    for (uint32_t i = 0; i < RIG_LOG; i++) {
        /* (After a second loss the first still counts: nothing was acknowledged since.) */
        if (!node->amnesiac) {
            node->forgotten[i] = rig_chain_at(rig, n, i, !memory);
        }
    }
}

void rig_power_cut(struct rig *rig, uint32_t n, bool keep)
{
    struct rig_node *node = &rig->nodes[n];
    if (node->alive) {
        rig_crash(rig, n);
    }
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig->permission[n][p] = 0;
    }
    note_forgotten(rig, n);
    for (uint32_t i = 0; i < rig->slots; i++) {
        if (node->ring[i].chain == node->disk[i].chain) {
            continue;
        }
        const uint64_t fate = keep ? 0 : rig_random(rig, 5);
        if (fate == 4) {
            node->ring[i].chain = RIG_TORN;
        } else if (fate >= 2) {
            node->ring[i] = node->disk[i];
        }
        node->disk[i] = node->ring[i];
    }
    node->word = 0;
    node->hint = 0;
    if (rig->durability == RIG_MEMORY) {
        node->amnesiac = true;
    }
}

void rig_lose_journal(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (node->alive) {
        rig_crash(rig, n);
    }
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig->permission[n][p] = 0;
    }
    note_forgotten(rig, n);
    memset(node->ring, 0, sizeof node->ring);
    memset(node->disk, 0, sizeof node->disk);
    node->snapshot = (struct lks_position){0};
    node->base = (struct lks_position){0};
    node->snapshot_members = (struct lks_members){0};
    node->base_members = (struct lks_members){0};
    node->bootstrap = 0;
    node->word = 0;
    node->hint = 0;
    node->promise_term = 0;
    node->promise_candidate = 0;
    node->promise_incarnation = 0;
    node->amnesiac = true;
    node->promise_lost = true;
}

void rig_connect(struct rig *rig, uint32_t a, uint32_t b)
{
    struct rig_link *link = &rig->links[a][b];
    if (a == b || link->whole || link->blocked || !rig->nodes[a].alive || !rig->nodes[b].alive ||
        rig->nodes[a].sides[b].up || rig->nodes[b].sides[a].up) {
        return;
    }
    rig->links[a][b].whole = true;
    rig->links[b][a].whole = true;
    const uint32_t ends[2] = {a, b};
    for (uint32_t i = 0; i < 2; i++) {
        struct rig_side *side = &rig->nodes[ends[i]].sides[ends[1 - i]];
        side->up = true;
        struct rig_item *item = rig_push(rig, &side->ctl);
        item->event.kind = LKS_EVENT_CONNECTED;
        item->event.peer = ends[1 - i];
    }
}

/* The connection ends; each side notices by itself (rig_do_notice). */
void rig_break(struct rig *rig, uint32_t a, uint32_t b)
{
    rig->links[a][b].whole = false;
    rig->links[b][a].whole = false;
}

void rig_block(struct rig *rig, uint32_t a, uint32_t b)
{
    rig_break(rig, a, b);
    rig->links[a][b].blocked = true;
    rig->links[b][a].blocked = true;
}

void rig_unblock(struct rig *rig, uint32_t a, uint32_t b)
{
    rig->links[a][b].blocked = false;
    rig->links[b][a].blocked = false;
}

bool rig_do_notice(struct rig *rig, uint32_t n, uint32_t p)
{
    struct rig_side *side = &rig->nodes[n].sides[p];
    if (!rig->nodes[n].alive || !side->up || rig->links[n][p].whole) {
        return false;
    }
    side->up = false;
    rig_break_path(rig, n, p);
    /* What did not arrive before the break is lost; connection events are not. */
    const uint32_t count = side->ctl.count;
    for (uint32_t i = 0; i < count; i++) {
        const struct rig_item item = side->ctl.items[side->ctl.first];
        side->ctl.first = (side->ctl.first + 1) % RIG_QUEUE;
        side->ctl.count--;
        if (item.event.kind == LKS_EVENT_CONNECTED ||
            item.event.kind == LKS_EVENT_DISCONNECTED) {
            *rig_push(rig, &side->ctl) = item;
        }
    }
    struct rig_item *item = rig_push(rig, &side->ctl);
    item->event.kind = LKS_EVENT_DISCONNECTED;
    item->event.peer = p;
    item->event.dead = !rig->nodes[p].alive;
    return true;
}

/* The owner looks at the commit word in its own memory. */
bool rig_do_word(struct rig *rig, uint32_t n)
{
    struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || node->hold_word) {
        return false;
    }
    const struct lks_core_view *view = rig_view(rig, n);
    if (view->role == LKS_CORE_STARTING || node->word <= view->commit_offset) {
        return false;
    }
    struct lks_core_event event = {.kind = LKS_EVENT_COMMIT_SEEN, .offset = node->word};
    rig_step(rig, n, &event);
    return true;
}

void rig_event(struct rig *rig, uint32_t n, const struct lks_core_event *event)
{
    struct lks_core_event copy = *event;
    rig_step(rig, n, &copy);
}

static bool settle_node(struct rig *rig, uint32_t n)
{
    bool worked = rig_do_local(rig, n, true);
    worked |= rig_do_disk(rig, n, true);
    worked |= rig_do_read(rig, n, true);
    worked |= rig_do_install(rig, n, true);
    if (rig->recycling && rig->nodes[n].alive) {
        const uint64_t used = rig_view(rig, n)->commit_offset - rig->nodes[n].base.offset;
        if (rig->nodes[n].noop_due != 0 || used > rig->slots / 4 * RIG_ENTRY) {
            worked |= rig_do_snapshot(rig, n, true);
        }
    }
    worked |= rig_do_ack(rig, n);
    worked |= rig_do_word(rig, n);
    worked |= rig_do_apply(rig, n);
    for (uint32_t p = 1; p <= rig->n; p++) {
        if (p != n) {
            worked |= rig_do_notice(rig, n, p);
            worked |= rig_do_path(rig, n, p, true);
            worked |= rig_do_done(rig, n, p);
            worked |= rig_do_ctl(rig, n, p);
            worked |= rig_do_fence(rig, n, p);
        }
    }
    return worked;
}

void rig_settle(struct rig *rig)
{
    for (uint32_t round = 0; round < SETTLE_ROUNDS_MAX; round++) {
        bool worked = false;
        for (uint32_t n = 1; n <= rig->n; n++) {
            worked |= settle_node(rig, n);
        }
        if (!worked) {
            return;
        }
    }
    rig_fail(rig, "the cluster does not come to rest");
}

void rig_advance(struct rig *rig, uint64_t ns)
{
    const uint64_t end = rig->now + ns;
    while (rig->now < end) {
        rig->now += RIG_HEARTBEAT / 4;
        for (uint32_t n = 1; n <= rig->n; n++) {
            rig_do_tick(rig, n, true);
        }
        rig_settle(rig);
    }
}

void rig_start_all(struct rig *rig)
{
    for (uint32_t n = 1; n <= rig->n; n++) {
        rig_start(rig, n);
    }
    for (uint32_t a = 1; a <= rig->n; a++) {
        for (uint32_t b = a + 1; b <= rig->n; b++) {
            rig_connect(rig, a, b);
        }
    }
    rig_settle(rig);
}

uint32_t rig_leader(const struct rig *rig)
{
    uint32_t leader = 0;
    for (uint32_t n = 1; n <= rig->n; n++) {
        if (rig->nodes[n].alive && rig_view(rig, n)->established &&
            (leader == 0 || rig_view(rig, n)->term > rig_view(rig, leader)->term)) {
            leader = n;
        }
    }
    return leader;
}

void rig_elect(struct rig *rig, uint32_t n)
{
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig->nodes[p].paused = p != n && rig->nodes[p].alive;
    }
    /* The others sleep until this one has lost patience: it is the first to ask. */
    for (uint32_t i = 0; i < 40 && rig_view(rig, n)->role == LKS_CORE_FOLLOWER; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    for (uint32_t p = 1; p <= rig->n; p++) {
        rig->nodes[p].paused = false;
    }
    for (uint32_t i = 0; i < 80 && rig_leader(rig) != n; i++) {
        rig_advance(rig, RIG_HEARTBEAT / 4);
    }
    if (rig_leader(rig) != n) {
        rig_fail(rig, "replica %u was not elected", n);
    }
}


void rig_coup(struct rig *rig, uint32_t n)
{
    const struct rig_node *node = &rig->nodes[n];
    if (!node->alive || node->paused || rig_view(rig, n)->leader == 0 ||
        rig_view(rig, n)->leader == n) {
        return;
    }
    const struct lks_message message = {
        .kind = LKS_MESSAGE_TRANSFER,
        .term = rig_view(rig, n)->term,
    };
    struct lks_core_event event = {
        .kind = LKS_EVENT_MESSAGE, .peer = rig_view(rig, n)->leader, .message = &message};
    rig_step(rig, n, &event);
}
