/*
 * The ordered operations of one connection or path; see network.h and verbs/fabric.h for what
 * order means. Operations leave in order (a write passes the permission check then), land piece
 * by piece (pieces.c), and completions are handed out in order, later.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define CUT_PPM 500000u     /* how often the write that a fence or a break meets is cut off */
#define FOLLOWS_PPM 750000u /* how often the next one is under way too */
#define ROOM_FIRST 16u
#define BLOCK_BYTES LKS_FABRIC_INLINE_MAX

/* ---- bytes -------------------------------------------------------------------------------- */

union block {
    union block *next; /* while it is spare */
    uint8_t bytes[BLOCK_BYTES];
};

static union block *g_spare_blocks;

uint8_t *lks_sim_bytes_copy(const void *source, uint64_t bytes)
{
    union block *block = g_spare_blocks;
    if (bytes > BLOCK_BYTES || block == NULL) {
        block = malloc(bytes > sizeof *block ? bytes : sizeof *block);
        LKS_ASSERT(block != NULL);
    } else {
        g_spare_blocks = block->next;
    }
    return memcpy(block, source, bytes);
}

void lks_sim_bytes_free(uint8_t *data, uint64_t bytes)
{
    union block *block = (union block *)(void *)data;
    if (bytes > BLOCK_BYTES) {
        free(block);
    } else if (block != NULL) {
        block->next = g_spare_blocks;
        g_spare_blocks = block;
    }
}

/* ---- life --------------------------------------------------------------------------------- */

void lks_sim_channel_init(struct lks_sim_channel *channel, struct lks_sim_side *side,
                          bool is_path)
{
    *channel = (struct lks_sim_channel){.side = side, .is_path = is_path};
}

struct lks_sim_op *lks_sim_channel_at(struct lks_sim_channel *channel, uint32_t place)
{
    LKS_ASSERT(place < channel->count);
    return &channel->ops[(channel->head + place) & (channel->room - 1)];
}

static struct lks_sim_op *at(struct lks_sim_channel *channel, uint32_t place)
{
    return lks_sim_channel_at(channel, place);
}

/* Forgets all operations and everything on the timeline. */
static void empty(struct lks_sim_channel *channel)
{
    for (uint32_t i = 0; i < channel->count; i++) {
        lks_sim_bytes_free(at(channel, i)->data, at(channel, i)->bytes);
    }
    LKS_ASSERT(!lks_sim_section_buffers(channel));
    channel->head = channel->count = channel->settled = 0;
    channel->generation++;
    channel->stepping = channel->completing = false;
    channel->refused = false;
    channel->open = false;
    channel->unflushed_begin += channel->unflushed_count;
    channel->unflushed_count = 0;
    channel->unflushed_closed = false;
    channel->section.step = 0;
    channel->section.from = 0;
}

void lks_sim_channel_fini(struct lks_sim_channel *channel)
{
    lks_sim_section_drop(channel);
    empty(channel);
    free(channel->ops);
    free(channel->unflushed);
}

void lks_sim_channel_open(struct lks_sim_channel *channel, uint32_t capacity)
{
    LKS_ASSERT(channel->count == 0);
    empty(channel);
    channel->capacity = capacity;
    channel->open = true;
}

/* Room for one more operation. */
static void grow(struct lks_sim_channel *channel)
{
    if (channel->count < channel->room) {
        return;
    }
    const uint32_t room = channel->room == 0 ? ROOM_FIRST : channel->room * 2;
    struct lks_sim_op *ops = calloc(room, sizeof *ops);
    LKS_ASSERT(ops != NULL);
    for (uint32_t i = 0; i < channel->count; i++) {
        ops[i] = *at(channel, i);
    }
    free(channel->ops);
    channel->ops = ops;
    channel->room = room;
    channel->head = 0;
}

/* ---- reachability ------------------------------------------------------------------------- */

struct lks_sim_gate *lks_sim_gate_of(const struct lks_sim_channel *channel)
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

bool lks_sim_channel_reachable(struct lks_sim_channel *channel)
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

/* Hands the oldest operation's end out and forgets it. */
static void hand_out(struct lks_sim_channel *channel, int status)
{
    struct lks_sim_side *side = channel->side;
    struct lks_sim_op *op = at(channel, 0);
    if (op->id != 0) {
        const struct lks_fabric_event event = {
            .kind = LKS_FABRIC_COMPLETED, .peer = side->peer, .id = op->id, .status = status};
        lks_sim_host_push(side->network, side->self, &event, channel);
    }
    lks_sim_bytes_free(op->data, op->bytes);
    op->data = NULL;
    channel->head = (channel->head + 1) & (channel->room - 1);
    channel->count--;
    if (channel->settled > 0) {
        channel->settled--;
    }
}

/* Hands out what is due. */
static void complete_now(struct lks_sim_channel *channel)
{
    if (!answerable(channel)) {
        return;
    }
    const uint64_t now_ns = lks_sim_now(channel->side->network);
    while (channel->settled > 0 && at(channel, 0)->completes_ns <= now_ns) {
        hand_out(channel, at(channel, 0)->status);
    }
    lks_sim_channel_kick(channel);
}

static void complete(void *ctx, uint64_t generation)
{
    struct lks_sim_channel *channel = ctx;
    if (channel->generation != generation) {
        return;
    }
    channel->completing = false;
    complete_now(channel);
}

/* What has wholly landed, or failed, becomes settled, in order. */
static void settle(struct lks_sim_channel *channel, const struct lks_sim_delay *completion)
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
            lks_sim_now(network) + lks_sim_random_delay(&network->random, completion);
        op->completes_ns = due_ns > channel->completed_ns ? due_ns : channel->completed_ns;
        channel->completed_ns = op->completes_ns;
        if (op->status == 0 && (op->flags & LKS_FABRIC_WAKE) != 0) {
            lks_sim_host_wake(network, channel->side->peer);
        }
    }
}

static void settle_later(struct lks_sim_channel *channel)
{
    settle(channel, &channel->side->network->options.profile.completion);
}

/* ---- steps -------------------------------------------------------------------------------- */

uint32_t lks_sim_channel_pooled(struct lks_sim_channel *channel)
{
    uint32_t count = 0;
    while (channel->settled + count < channel->count &&
           at(channel, channel->settled + count)->state == LKS_SIM_ADMITTED) {
        count++;
    }
    return count;
}

void lks_sim_channel_refuse(struct lks_sim_channel *channel, struct lks_sim_op *op, int status)
{
    op->state = LKS_SIM_ADMITTED;
    op->status = status;
    op->pieces_left = 0;
    op->pieces_count = 0;
    channel->refused = true;
    channel->side->network->counts.refused++;
}

static void step(void *ctx, uint64_t generation)
{
    struct lks_sim_channel *channel = ctx;
    if (channel->generation != generation) {
        return;
    }
    channel->stepping = false;
    if (!lks_sim_channel_reachable(channel)) {
        return;
    }
    lks_sim_pieces_admit(channel);
    if (!channel->is_path || !channel->side->network->options.profile.gate_steps ||
        !lks_sim_section_step(channel)) {
        lks_sim_pieces_land_some(channel);
    }
    settle_later(channel);
    lks_sim_channel_kick(channel);
}

void lks_sim_channel_kick(struct lks_sim_channel *channel)
{
    struct lks_sim_side *side = channel->side;
    struct lks_sim_network *network = side->network;
    const bool undone = channel->settled < channel->count || lks_sim_section_buffers(channel);
    if (undone && !channel->stepping) {
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

/* Where writes are done when posted: does it, unless something is still under way. */
static void do_at_once(struct lks_sim_channel *channel)
{
    static const struct lks_sim_delay at_once = {0};
    lks_sim_pieces_admit(channel);
    lks_sim_pieces_land_rest(channel, at(channel, 0));
    settle(channel, &at_once);
    complete_now(channel);
}

/* The bytes are copied when posted. */
static void copy_source(struct lks_sim_op *op)
{
    if (op->data == NULL) {
        op->data = lks_sim_bytes_copy(op->source, op->bytes);
        op->source = op->data;
    }
}

int lks_sim_channel_post(struct lks_sim_channel *channel, const struct lks_sim_op *op)
{
    LKS_ASSERT(channel->open);
    struct lks_sim_network *network = channel->side->network;
    const struct lks_sim_network_profile *profile = &network->options.profile;
    const uint32_t used = channel->count + channel->unpolled;
    if (used >= channel->capacity) {
        return -LKS_EBUSY;
    }
    if (used > 0 && profile->busy_ppm != 0 &&
        lks_sim_random_chance(&network->random, profile->busy_ppm)) {
        network->counts.busy++;
        return -LKS_EBUSY;
    }
    grow(channel);
    channel->count++;
    struct lks_sim_op *posted = at(channel, channel->count - 1);
    *posted = *op;
    if (profile->writes_when_posted && lks_sim_op_is_write(op)) {
        if (channel->count == 1 && !(profile->gate_steps && channel->is_path) &&
            lks_sim_channel_reachable(channel) &&
            !lks_sim_random_chance(&network->random, profile->lags_ppm)) {
            do_at_once(channel);
            return 0;
        }
        copy_source(posted);
    }
    lks_sim_channel_kick(channel);
    return 0;
}

/* ---- ends --------------------------------------------------------------------------------- */

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
            lks_sim_pieces_cut(side->network, op);
        }
        lks_sim_pieces_land_rest(channel, op);
    }
}

void lks_sim_channel_fail(struct lks_sim_channel *channel, int status, bool report)
{
    struct lks_sim_side *side = channel->side;
    if (!channel->is_path) {
        land_inbox_rest(channel);
    } else if (side->network->options.profile.gate_steps) {
        lks_sim_section_end(channel);
    } else {
        lks_sim_strays_leave(channel);
    }
    if (report) {
        /* Some completions that were on their way arrive first, as what they are. */
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
    const uint32_t pool = lks_sim_channel_pooled(channel);
    const uint32_t until = lks_sim_pieces_landed_until(channel, pool);
    for (uint32_t i = 0; i < pool; i++) {
        struct lks_sim_op *op = at(channel, channel->settled + i);
        if (op->status != 0 || op->pieces_left == 0 ||
            (op->kind == LKS_SIM_FLUSH && !channel->refused)) {
            continue; /* (a flush needs no permission) */
        }
        if (channel->refused || (i + 1 >= until && lks_sim_random_chance(random, CUT_PPM))) {
            lks_sim_channel_refuse(channel, op,
                                   channel->refused ? -LKS_EBROKEN : -LKS_EREVOKED);
            continue;
        }
        lks_sim_pieces_land_rest(channel, op);
    }
    settle_later(channel);
    lks_sim_channel_kick(channel);
}

void lks_sim_channel_drop(struct lks_sim_channel *channel)
{
    lks_sim_section_drop(channel);
    const uint32_t pool = lks_sim_channel_pooled(channel);
    for (uint32_t i = 0; i < pool; i++) {
        struct lks_sim_op *op = at(channel, channel->settled + i);
        if (op->status == 0 && op->pieces_left > 0) {
            lks_sim_channel_refuse(channel, op, -LKS_EBROKEN);
        }
    }
    settle_later(channel);
    lks_sim_channel_kick(channel);
}
