/*
 * The ordered operations of one connection or path; see network.h and verbs/fabric.h for what
 * order means. Operations are admitted in order (a write passes the permission check then), their
 * pieces land one by one, and completions are handed out in order, later. Only long writes to
 * different places may land at the same time; an aligned word waits for all before it.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define CUT_PPM 500000u    /* how often the write that a fence or a break meets is cut off */
#define FOLLOWS_PPM 750000u /* how often the next one is under way too */
#define UNFLUSHED_FIRST 16u

void lks_sim_channel_init(struct lks_sim_channel *channel, struct lks_sim_side *side,
                          bool is_path)
{
    *channel = (struct lks_sim_channel){.side = side, .is_path = is_path};
}

static struct lks_sim_op *at(struct lks_sim_channel *channel, uint32_t place)
{
    LKS_ASSERT(place < channel->count);
    return &channel->ops[(channel->head + place) % channel->capacity];
}

/* Forgets all operations and everything on the timeline. */
static void empty(struct lks_sim_channel *channel)
{
    for (uint32_t i = 0; i < channel->count; i++) {
        free(at(channel, i)->data);
    }
    channel->head = channel->count = channel->settled = 0;
    channel->generation++;
    channel->stepping = channel->completing = false;
    channel->refused = false;
    channel->open = false;
    channel->unflushed_count = 0;
}

void lks_sim_channel_fini(struct lks_sim_channel *channel)
{
    empty(channel);
    free(channel->ops);
    free(channel->unflushed);
}

void lks_sim_channel_open(struct lks_sim_channel *channel, uint32_t capacity)
{
    LKS_ASSERT(channel->count == 0);
    empty(channel);
    if (channel->capacity != capacity) {
        free(channel->ops);
        channel->ops = calloc(capacity, sizeof *channel->ops);
        LKS_ASSERT(channel->ops != NULL);
        channel->capacity = capacity;
    }
    channel->open = true;
}

/* ---- reachability ------------------------------------------------------------------------- */

static struct lks_sim_gate *gate_of(const struct lks_sim_channel *channel)
{
    const struct lks_sim_side *side = channel->side;
    return &side->network->gates[side->peer][side->self];
}

/* The process and its connection still work, as far as this side can tell. */
static bool works(const struct lks_sim_channel *channel)
{
    const struct lks_sim_side *side = channel->side;
    const struct lks_sim_host *self = &side->network->hosts[side->self];
    return self->alive && !self->stalled && side->connected && (!side->broken || side->carries);
}

/* Operations can act on the peer's memory now; if not, a kick or a break follows. */
static bool reachable(struct lks_sim_channel *channel)
{
    struct lks_sim_side *side = channel->side;
    const struct lks_sim_host *peer = &side->network->hosts[side->peer];
    if (!works(channel)) {
        return false;
    }
    if (side->network->links[side->self][side->peer].down) {
        lks_sim_side_blocked(side);
        return false;
    }
    const bool same_life = peer->alive && peer->life == side->peer_life;
    if (!channel->is_path) {
        return same_life;
    }
    return peer->store.bytes != NULL && (peer->alive || peer->outlives);
}

static bool answerable(struct lks_sim_channel *channel)
{
    struct lks_sim_side *side = channel->side;
    if (!works(channel)) {
        return false;
    }
    if (side->network->links[side->peer][side->self].down) {
        lks_sim_side_blocked(side);
        return false;
    }
    return true;
}

/* ---- completions -------------------------------------------------------------------------- */

/* Hands the oldest operation's end out, with its data if it was a read, and forgets it. */
static void hand_out(struct lks_sim_channel *channel, int status)
{
    struct lks_sim_side *side = channel->side;
    struct lks_sim_op *op = at(channel, 0);
    if (op->kind == LKS_SIM_READ && status == 0) {
        memcpy(op->destination, op->data, op->bytes);
    }
    if (op->id != 0) {
        const struct lks_fabric_event event = {
            .kind = LKS_FABRIC_COMPLETED, .peer = side->peer, .id = op->id, .status = status};
        lks_sim_host_push(side->network, side->self, &event, channel);
    }
    free(op->data);
    op->data = NULL;
    channel->head = (channel->head + 1) % channel->capacity;
    channel->count--;
    if (channel->settled > 0) {
        channel->settled--;
    }
}

static void complete(void *ctx, uint64_t generation)
{
    struct lks_sim_channel *channel = ctx;
    if (channel->generation != generation) {
        return;
    }
    channel->completing = false;
    if (!answerable(channel)) {
        return;
    }
    const uint64_t now_ns = lks_sim_now(channel->side->network);
    while (channel->settled > 0 && at(channel, 0)->completes_ns <= now_ns) {
        const int status = at(channel, 0)->status;
        hand_out(channel, status);
        if (status < 0) {
            channel->open = false;
        }
    }
    lks_sim_channel_kick(channel);
}

/* What has wholly landed, or failed, becomes settled, in order. */
static void settle(struct lks_sim_channel *channel)
{
    struct lks_sim_network *network = channel->side->network;
    while (channel->settled < channel->count) {
        struct lks_sim_op *op = at(channel, channel->settled);
        if (op->state != LKS_SIM_ADMITTED || op->pieces_left > 0) {
            break;
        }
        op->state = LKS_SIM_SETTLED;
        channel->settled++;
        const uint64_t due_ns =
            lks_sim_now(network) +
            lks_sim_random_delay(&network->random, &network->options.profile.completion);
        op->completes_ns = due_ns > channel->completed_ns ? due_ns : channel->completed_ns;
        channel->completed_ns = op->completes_ns;
        if (op->status == 0 && (op->flags & LKS_FABRIC_WAKE) != 0) {
            lks_sim_host_wake(network, channel->side->peer);
        }
    }
}

/* ---- landing ------------------------------------------------------------------------------ */

static bool is_write(const struct lks_sim_op *op)
{
    return op->kind == LKS_SIM_WRITE_LOG || op->kind == LKS_SIM_WRITE_INBOX;
}

static bool is_word(const struct lks_sim_op *op)
{
    return op->bytes == 8 && op->offset % 8 == 0;
}

/* Cuts an operation into pieces at 8-byte boundaries of its target. */
static void cut(struct lks_sim_network *network, struct lks_sim_op *op)
{
    const uint64_t wanted =
        1 + lks_sim_random_below(&network->random, network->options.profile.pieces_max);
    uint64_t from = 0;
    op->pieces_count = 0;
    while (from < op->bytes) {
        uint64_t to = op->bytes;
        if (op->pieces_count + 1 < wanted) {
            to = from + 1 + lks_sim_random_below(&network->random, op->bytes - from);
            to = ((op->offset + to + 7) & ~UINT64_C(7)) - op->offset;
            to = to < op->bytes ? to : op->bytes;
        }
        op->pieces[op->pieces_count++] = (struct lks_sim_piece){.from = from, .to = to};
        from = to;
    }
    op->pieces_left = op->pieces_count;
    op->in_order = op->bytes > LKS_SIM_DISORDER_BYTES;
}

/* Copies the bytes that a write takes along. */
static void capture(struct lks_sim_op *op)
{
    if (op->data != NULL) {
        return;
    }
    op->data = malloc(op->bytes);
    LKS_ASSERT(op->data != NULL);
    if (is_write(op)) {
        memcpy(op->data, op->source, op->bytes);
    }
}

static const uint8_t *region_of(const struct lks_sim_side *side, enum lks_fabric_region region)
{
    const struct lks_sim_host *peer = &side->network->hosts[side->peer];
    switch (region) {
    case LKS_FABRIC_LOG:
        return peer->store.bytes;
    case LKS_FABRIC_WORDS:
        return peer->words.bytes;
    case LKS_FABRIC_INBOX:
        return peer->inbox[side->self].bytes;
    case LKS_FABRIC_SNAPSHOTS:
        return peer->options.snapshots.address; /* of its process: reads end with that */
    }
    return NULL;
}

static void land_piece(struct lks_sim_channel *channel, struct lks_sim_op *op,
                       struct lks_sim_piece *piece)
{
    struct lks_sim_side *side = channel->side;
    const uint64_t bytes = piece->to - piece->from;
    LKS_ASSERT(!piece->landed && op->pieces_left > 0);
    piece->landed = true;
    op->pieces_left--;
    if (op->kind == LKS_SIM_WRITE_LOG) {
        lks_sim_gate_land(gate_of(channel), op->offset + piece->from, op->data + piece->from,
                          bytes);
    } else if (op->kind == LKS_SIM_WRITE_INBOX) {
        uint8_t *inbox = side->network->hosts[side->peer].inbox[side->self].bytes;
        memcpy(inbox + op->offset + piece->from, op->data + piece->from, bytes);
    } else {
        memcpy(op->data + piece->from,
               region_of(side, op->region) + op->offset + piece->from, bytes);
    }
}

static void land_rest(struct lks_sim_channel *channel, struct lks_sim_op *op)
{
    for (uint32_t i = 0; i < op->pieces_count; i++) {
        if (!op->pieces[i].landed) {
            land_piece(channel, op, &op->pieces[i]);
        }
    }
}

/* Whatever of the operation has not landed never will, and all behind it fails. */
static void refuse(struct lks_sim_channel *channel, struct lks_sim_op *op, int status)
{
    op->state = LKS_SIM_ADMITTED;
    op->status = status;
    op->pieces_left = 0;
    op->pieces_count = 0;
    channel->refused = true;
    channel->side->network->counts.refused++;
}

static void remember_unflushed(struct lks_sim_channel *channel, const struct lks_sim_op *op)
{
    if (channel->unflushed_count > 0) {
        struct lks_sim_range *last = &channel->unflushed[channel->unflushed_count - 1];
        if (last->offset + last->bytes == op->offset) {
            last->bytes += op->bytes;
            return;
        }
    }
    if (channel->unflushed_count == channel->unflushed_capacity) {
        const uint32_t capacity = channel->unflushed_capacity == 0
                                      ? UNFLUSHED_FIRST
                                      : channel->unflushed_capacity * 2;
        channel->unflushed = realloc(channel->unflushed, capacity * sizeof *channel->unflushed);
        LKS_ASSERT(channel->unflushed != NULL);
        channel->unflushed_capacity = capacity;
    }
    channel->unflushed[channel->unflushed_count++] =
        (struct lks_sim_range){.offset = op->offset, .bytes = op->bytes};
}

static void flush_now(struct lks_sim_channel *channel)
{
    const struct lks_sim_network_observer *observer = &channel->side->network->options.observer;
    for (uint32_t i = 0; i < channel->unflushed_count && observer->durable != NULL; i++) {
        observer->durable(observer->ctx, channel->side->peer, channel->unflushed[i].offset,
                          channel->unflushed[i].bytes);
    }
    channel->unflushed_count = 0;
}

static void admit_one(struct lks_sim_channel *channel, struct lks_sim_op *op)
{
    struct lks_sim_side *side = channel->side;
    op->state = LKS_SIM_ADMITTED;
    if (channel->refused) {
        refuse(channel, op, -LKS_EBROKEN);
        return;
    }
    if (op->kind == LKS_SIM_WRITE_LOG && !lks_sim_gate_passes(gate_of(channel), channel->grant)) {
        lks_sim_trace_network(side->network, &(struct lks_sim_record){.what = "write refused",
                                                                      .a = side->self,
                                                                      .b = side->peer,
                                                                      .x = op->offset,
                                                                      .y = op->bytes});
        refuse(channel, op, -LKS_EREVOKED);
        return;
    }
    if (op->kind == LKS_SIM_FLUSH) {
        flush_now(channel);
        return;
    }
    capture(op);
    cut(side->network, op);
    if (op->kind == LKS_SIM_WRITE_LOG && (op->flags & LKS_FABRIC_DURABLE) != 0) {
        remember_unflushed(channel, op);
    }
}

static bool overlap(const struct lks_sim_op *a, const struct lks_sim_op *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* How many operations behind the settled ones have been admitted. */
static uint32_t pooled(struct lks_sim_channel *channel)
{
    uint32_t count = 0;
    while (channel->settled + count < channel->count &&
           at(channel, channel->settled + count)->state == LKS_SIM_ADMITTED) {
        count++;
    }
    return count;
}

/* True if op may land while the admitted ones have not landed yet. */
static bool may_join(struct lks_sim_channel *channel, uint32_t pool, const struct lks_sim_op *op)
{
    if (!is_write(op) || is_word(op)) {
        return pool == 0;
    }
    uint64_t under_way = op->bytes;
    for (uint32_t i = 0; i < pool; i++) {
        const struct lks_sim_op *other = at(channel, channel->settled + i);
        if (!is_write(other) || is_word(other) || other->status != 0 || overlap(op, other)) {
            return false;
        }
        under_way += other->bytes;
    }
    return pool == 0 || under_way <= LKS_SIM_DISORDER_BYTES;
}

static void admit(struct lks_sim_channel *channel)
{
    uint32_t pool = pooled(channel);
    while (pool < LKS_SIM_POOL_MAX && channel->settled + pool < channel->count) {
        struct lks_sim_op *op = at(channel, channel->settled + pool);
        if (!may_join(channel, pool, op)) {
            break;
        }
        admit_one(channel, op);
        pool++;
    }
}

/* Lands at least one of the pieces under way, in any order. */
static void land_some(struct lks_sim_channel *channel)
{
    struct lks_sim_network *network = channel->side->network;
    const uint32_t pool = pooled(channel);
    uint64_t left = 0;
    for (uint32_t i = 0; i < pool; i++) {
        left += at(channel, channel->settled + i)->pieces_left;
    }
    if (left == 0) {
        return;
    }
    for (uint64_t wanted = 1 + lks_sim_random_below(&network->random, left); wanted > 0;
         wanted--) {
        uint64_t chosen = lks_sim_random_below(&network->random, left);
        left--;
        for (uint32_t i = 0; i < pool; i++) {
            struct lks_sim_op *op = at(channel, channel->settled + i);
            if (chosen >= op->pieces_left) {
                chosen -= op->pieces_left;
                continue;
            }
            uint32_t piece = 0;
            chosen = op->in_order ? 0 : chosen;
            while (op->pieces[piece].landed || chosen-- > 0) {
                piece++;
            }
            land_piece(channel, op, &op->pieces[piece]);
            break;
        }
    }
}

static void step(void *ctx, uint64_t generation)
{
    struct lks_sim_channel *channel = ctx;
    if (channel->generation != generation) {
        return;
    }
    channel->stepping = false;
    if (!reachable(channel)) {
        return;
    }
    admit(channel);
    land_some(channel);
    settle(channel);
    lks_sim_channel_kick(channel);
}

void lks_sim_channel_kick(struct lks_sim_channel *channel)
{
    struct lks_sim_side *side = channel->side;
    struct lks_sim_network *network = side->network;
    if (channel->settled < channel->count && !channel->stepping) {
        struct lks_sim_delay delay = network->options.profile.step;
        const uint64_t slow_ns = network->links[side->self][side->peer].slow_ns;
        delay.min_ns += slow_ns;
        delay.max_ns += slow_ns;
        channel->stepping = true;
        lks_sim_later(network, &delay, step, channel, channel->generation);
    }
    if (channel->settled > 0 && !channel->completing) {
        channel->completing = true;
        lks_sim_timeline_post(network->options.timeline, at(channel, 0)->completes_ns, complete,
                              channel, channel->generation);
    }
}

int lks_sim_channel_post(struct lks_sim_channel *channel, const struct lks_sim_op *op)
{
    LKS_ASSERT(channel->open);
    if (channel->count + channel->unpolled >= channel->capacity) {
        return -LKS_EBUSY;
    }
    channel->count++;
    *at(channel, channel->count - 1) = *op;
    lks_sim_channel_kick(channel);
    return 0;
}

/* ---- ends --------------------------------------------------------------------------------- */

/* The last admitted operation of which something has landed: all before it must land. */
static uint32_t landed_until(struct lks_sim_channel *channel, uint32_t pool)
{
    uint32_t until = 0;
    for (uint32_t i = 0; i < pool; i++) {
        const struct lks_sim_op *op = at(channel, channel->settled + i);
        if (op->status == 0 && op->pieces_left < op->pieces_count) {
            until = i + 1;
        }
    }
    return until;
}

static void orphan(struct lks_sim_channel *channel, struct lks_sim_op *op, uint64_t *due_ns)
{
    struct lks_sim_network *network = channel->side->network;
    struct lks_sim_gate *gate = gate_of(channel);
    const bool passed = op->state == LKS_SIM_ADMITTED;
    if (!passed) {
        capture(op);
        cut(network, op);
    }
    const uint64_t wait_ns =
        lks_sim_random_delay(&network->random, &network->options.profile.stray);
    for (uint32_t i = 0; i < op->pieces_count; i++) {
        const struct lks_sim_piece *piece = &op->pieces[i];
        if (piece->landed) {
            continue;
        }
        const struct lks_sim_stray stray = {.grant = channel->grant,
                                            .offset = op->offset + piece->from,
                                            .bytes = piece->to - piece->from,
                                            .data = op->data + piece->from,
                                            .passed = passed};
        const uint64_t in_order_ns = wait_ns / op->pieces_count * (i + 1);
        lks_sim_gate_add_stray(
            gate, &stray,
            *due_ns + 1 +
                (op->in_order ? in_order_ns
                              : lks_sim_random_below(&network->random, wait_ns + 1)));
    }
    *due_ns += wait_ns + 2;
}

/* The path ends while its writes are under way: some of them, in order, may still land. */
static void leave_strays(struct lks_sim_channel *channel)
{
    struct lks_sim_random *random = &channel->side->network->random;
    const struct lks_sim_gate *gate = gate_of(channel);
    if (gate->grant != channel->grant || !gate->standing) {
        return; /* revoked already: nothing of it can land */
    }
    const uint32_t until = landed_until(channel, pooled(channel));
    uint64_t due_ns = lks_sim_now(channel->side->network);
    for (uint32_t i = channel->settled; i < channel->count; i++) {
        struct lks_sim_op *op = at(channel, i);
        const uint32_t place = i - channel->settled;
        if (op->status != 0 || channel->refused) {
            break;
        }
        if ((place + 1 == until && lks_sim_random_chance(random, CUT_PPM)) ||
            (place >= until && !lks_sim_random_chance(random, FOLLOWS_PPM))) {
            break;
        }
        if (op->kind == LKS_SIM_WRITE_LOG) {
            orphan(channel, op, &due_ns);
        }
    }
}

/* The connection ends: a part of the inbox writes under way lands now, in order. */
static void land_inbox_rest(struct lks_sim_channel *channel)
{
    struct lks_sim_side *side = channel->side;
    const struct lks_sim_host *peer = &side->network->hosts[side->peer];
    if (!peer->alive || peer->life != side->peer_life || !side->connected ||
        side->network->sides[side->peer][side->self].epoch != side->epoch) {
        return;
    }
    for (uint32_t i = channel->settled; i < channel->count; i++) {
        struct lks_sim_op *op = at(channel, i);
        if (op->kind != LKS_SIM_WRITE_INBOX ||
            !lks_sim_random_chance(&side->network->random, FOLLOWS_PPM)) {
            break;
        }
        if (op->state == LKS_SIM_QUEUED) {
            capture(op);
            cut(side->network, op);
        }
        land_rest(channel, op);
    }
}

void lks_sim_channel_fail(struct lks_sim_channel *channel, int status, bool report)
{
    if (channel->is_path) {
        leave_strays(channel);
    } else {
        land_inbox_rest(channel);
    }
    if (report) {
        /* Some completions that were on their way arrive first, as what they are. */
        const struct lks_sim_side *side = channel->side;
        struct lks_sim_random *random = &side->network->random;
        const bool cut_off = side->network->links[side->peer][side->self].down;
        while (!cut_off && channel->settled > 0 && lks_sim_random_chance(random, FOLLOWS_PPM)) {
            hand_out(channel, at(channel, 0)->status);
        }
        while (channel->count > 0) {
            hand_out(channel, status);
        }
    }
    empty(channel);
}

void lks_sim_channel_fence(struct lks_sim_channel *channel)
{
    struct lks_sim_random *random = &channel->side->network->random;
    const uint32_t pool = pooled(channel);
    const uint32_t until = landed_until(channel, pool);
    for (uint32_t i = 0; i < pool; i++) {
        struct lks_sim_op *op = at(channel, channel->settled + i);
        if (op->status != 0 || op->pieces_left == 0) {
            continue;
        }
        if (channel->refused || (i + 1 >= until && lks_sim_random_chance(random, CUT_PPM))) {
            refuse(channel, op, channel->refused ? -LKS_EBROKEN : -LKS_EREVOKED);
            continue;
        }
        land_rest(channel, op);
    }
    settle(channel);
    lks_sim_channel_kick(channel);
}

void lks_sim_channel_drop(struct lks_sim_channel *channel)
{
    const uint32_t pool = pooled(channel);
    for (uint32_t i = 0; i < pool; i++) {
        struct lks_sim_op *op = at(channel, channel->settled + i);
        if (op->status == 0 && op->pieces_left > 0) {
            refuse(channel, op, -LKS_EBROKEN);
        }
    }
    settle(channel);
    lks_sim_channel_kick(channel);
}
