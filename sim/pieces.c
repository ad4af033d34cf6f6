/*
 * How operations land in the simulated network: cut into pieces at word boundaries, some of them
 * made of single words, each of which is seen at an instant of its own. What verbs/fabric.h says
 * about order is kept here: a word waits for all writes before it, nothing is seen
 * LKS_FABRIC_DISORDER_BYTES behind what is missing, reads and flushes wait for the writes before
 * them, and writes need not wait for them.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 8u
#define UNFLUSHED_FIRST 16u

bool lks_sim_op_is_write(const struct lks_sim_op *op)
{
    return op->kind == LKS_SIM_WRITE_LOG || op->kind == LKS_SIM_WRITE_INBOX;
}

static bool is_word(const struct lks_sim_op *op)
{
    return op->bytes == WORD_BYTES && op->offset % WORD_BYTES == 0;
}

/* ---- cutting ------------------------------------------------------------------------------ */

/* Makes the last piece two: words of one kind, and the others. */
static void scatter_last(struct lks_sim_network *network, struct lks_sim_op *op)
{
    struct lks_sim_piece *last = &op->pieces[op->pieces_count - 1];
    if (op->in_order || op->pieces_count == LKS_SIM_PIECES_MAX ||
        last->to - last->from < 2 * WORD_BYTES) {
        return;
    }
    op->scatter = lks_sim_random_next(&network->random);
    op->pieces[op->pieces_count] = *last;
    last->words = 1;
    op->pieces[op->pieces_count].words = 2;
    op->pieces_count++;
    network->counts.scattered++;
}

void lks_sim_pieces_cut(struct lks_sim_network *network, struct lks_sim_op *op)
{
    op->in_order = op->bytes > LKS_FABRIC_DISORDER_BYTES;
    op->pieces_count = op->pieces_left = 1;
    op->pieces[0] = (struct lks_sim_piece){.to = (uint32_t)op->bytes};
    if (op->bytes <= WORD_BYTES) {
        return;
    }
    const struct lks_sim_network_profile *profile = &network->options.profile;
    const uint64_t wanted = 1 + lks_sim_random_below(&network->random, profile->pieces_max);
    uint64_t from = 0;
    op->pieces_count = 0;
    while (from < op->bytes) {
        uint64_t to = op->bytes;
        if (op->pieces_count + 1 < wanted) {
            to = from + 1 + lks_sim_random_below(&network->random, op->bytes - from);
            to = ((op->offset + to + WORD_BYTES - 1) & ~(uint64_t)(WORD_BYTES - 1)) - op->offset;
            to = to < op->bytes ? to : op->bytes;
        }
        op->pieces[op->pieces_count++] =
            (struct lks_sim_piece){.from = (uint32_t)from, .to = (uint32_t)to};
        from = to;
    }
    if (profile->scatter_ppm != 0 &&
        lks_sim_random_chance(&network->random, profile->scatter_ppm)) {
        scatter_last(network, op);
    }
    op->pieces_left = op->pieces_count;
}

/* ---- landing ------------------------------------------------------------------------------ */

void lks_sim_pieces_copy(const struct lks_sim_op *op, const struct lks_sim_piece *piece,
                         uint8_t *target, const uint8_t *source)
{
    if (piece->words == 0) {
        memcpy(target, source, piece->to - piece->from);
        return;
    }
    uint64_t at = piece->from;
    while (at < piece->to) {
        const uint64_t place = op->offset + at;
        const uint64_t left = piece->to - at;
        const uint64_t to_end = WORD_BYTES - place % WORD_BYTES;
        const uint64_t bytes = left < to_end ? left : to_end;
        if (((op->scatter >> (place / WORD_BYTES % 64)) & 1) == piece->words - 1u) {
            memcpy(target + (at - piece->from), source + (at - piece->from), bytes);
        }
        at += bytes;
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

static bool somebody_may_write(const struct lks_sim_network *network, uint32_t replica)
{
    for (uint32_t peer = 1; peer <= network->options.replicas; peer++) {
        if (network->gates[replica][peer].standing) {
            return true;
        }
    }
    return false;
}

static void land_log_piece(struct lks_sim_channel *channel, const struct lks_sim_op *op,
                           const struct lks_sim_piece *piece)
{
    struct lks_sim_network *network = channel->side->network;
    uint8_t *target = lks_sim_gate_landing(lks_sim_gate_of(channel), op->offset + piece->from,
                                           piece->to - piece->from);
    if (target != NULL) {
        network->counts.from_shared += op->data == NULL &&
                                       !network->options.profile.writes_when_posted &&
                                       somebody_may_write(network, channel->side->self);
        lks_sim_pieces_copy(op, piece, target, op->source + piece->from);
    }
}

static void land_read_piece(struct lks_sim_channel *channel, const struct lks_sim_op *op,
                            const struct lks_sim_piece *piece)
{
    struct lks_sim_side *side = channel->side;
    struct lks_sim_host *self = &side->network->hosts[side->self];
    const uint64_t bytes = piece->to - piece->from;
    uint8_t *target = op->destination + piece->from;
    const struct lks_sim_network_observer *observer = &side->network->options.observer;
    const uint64_t offset = (uint64_t)((uintptr_t)target - (uintptr_t)self->options.log.address);
    if (offset < self->options.log.bytes && observer->stores != NULL) {
        observer->stores(observer->ctx, side->self, offset, bytes);
    }
    const uint64_t place = (uint64_t)((uintptr_t)target - (uintptr_t)self->scratch.bytes);
    if (place < self->scratch.size) {
        lks_sim_memory_touch(&self->scratch, place, bytes);
    }
    lks_sim_pieces_copy(op, piece, target,
                        region_of(side, op->region) + op->offset + piece->from);
}

/* Makes durable what was sent before the flush and has not been flushed yet. */
static void flush_now(struct lks_sim_channel *channel, const struct lks_sim_op *op)
{
    const struct lks_sim_network_observer *observer = &channel->side->network->options.observer;
    LKS_ASSERT(op->flush_end >= channel->unflushed_begin);
    const uint32_t count = (uint32_t)(op->flush_end - channel->unflushed_begin);
    LKS_ASSERT(count <= channel->unflushed_count);
    if (count == 0) {
        return;
    }
    for (uint32_t i = 0; i < count && observer->durable != NULL; i++) {
        observer->durable(observer->ctx, channel->side->peer, channel->unflushed[i].offset,
                          channel->unflushed[i].bytes);
    }
    channel->unflushed_begin += count;
    channel->unflushed_count -= count;
    memmove(channel->unflushed, channel->unflushed + count,
            channel->unflushed_count * sizeof *channel->unflushed);
}

/* Bytes of a log are traced where they land, by the gate. */
static void trace_piece(const struct lks_sim_side *side, const struct lks_sim_op *op,
                        const struct lks_sim_piece *piece)
{
    static const char *const names[] = {[LKS_SIM_FLUSH] = "flushed",
                                        [LKS_SIM_WRITE_INBOX] = "in the inbox",
                                        [LKS_SIM_READ] = "read"};
    if (op->kind != LKS_SIM_WRITE_LOG) {
        lks_sim_trace_network(side->network, &(struct lks_sim_record){.what = names[op->kind],
                                                                      .a = side->self,
                                                                      .b = side->peer,
                                                                      .x = op->offset + piece->from,
                                                                      .y = piece->to - piece->from,
                                                                      .quiet = true});
    }
}

static void land_piece(struct lks_sim_channel *channel, struct lks_sim_op *op,
                       struct lks_sim_piece *piece)
{
    struct lks_sim_side *side = channel->side;
    LKS_ASSERT(!piece->landed && op->pieces_left > 0);
    piece->landed = true;
    op->pieces_left--;
    trace_piece(side, op, piece);
    switch (op->kind) {
    case LKS_SIM_WRITE_LOG:
        land_log_piece(channel, op, piece);
        return;
    case LKS_SIM_WRITE_INBOX: {
        struct lks_sim_memory *inbox = &side->network->hosts[side->peer].inbox[side->self];
        lks_sim_memory_touch(inbox, op->offset + piece->from, piece->to - piece->from);
        lks_sim_pieces_copy(op, piece, inbox->bytes + op->offset + piece->from,
                            op->source + piece->from);
        return;
    }
    case LKS_SIM_READ:
        land_read_piece(channel, op, piece);
        return;
    case LKS_SIM_FLUSH:
        flush_now(channel, op);
        return;
    }
}

void lks_sim_pieces_land_rest(struct lks_sim_channel *channel, struct lks_sim_op *op)
{
    for (uint32_t i = 0; i < op->pieces_count; i++) {
        if (!op->pieces[i].landed) {
            land_piece(channel, op, &op->pieces[i]);
        }
    }
}

static void land_number(struct lks_sim_channel *channel, struct lks_sim_op *op, uint64_t number)
{
    uint32_t piece = 0;
    number = op->in_order ? 0 : number;
    while (op->pieces[piece].landed || number-- > 0) {
        piece++;
    }
    land_piece(channel, op, &op->pieces[piece]);
}

void lks_sim_pieces_land_some(struct lks_sim_channel *channel)
{
    struct lks_sim_network *network = channel->side->network;
    const uint32_t pool = lks_sim_channel_pooled(channel);
    uint64_t left = 0;
    for (uint32_t i = 0; i < pool; i++) {
        left += lks_sim_channel_at(channel, channel->settled + i)->pieces_left;
    }
    if (left == 0) {
        return;
    }
    uint64_t wanted = left == 1 ? 1 : 1 + lks_sim_random_below(&network->random, left);
    while (wanted-- > 0) {
        uint64_t chosen = left == 1 ? 0 : lks_sim_random_below(&network->random, left);
        uint32_t place = channel->settled;
        left--;
        while (chosen >= lks_sim_channel_at(channel, place)->pieces_left) {
            chosen -= lks_sim_channel_at(channel, place)->pieces_left;
            place++;
        }
        land_number(channel, lks_sim_channel_at(channel, place), chosen);
    }
}

uint32_t lks_sim_pieces_landed_until(struct lks_sim_channel *channel, uint32_t pool)
{
    uint32_t until = 0;
    for (uint32_t i = 0; i < pool; i++) {
        const struct lks_sim_op *op = lks_sim_channel_at(channel, channel->settled + i);
        if (op->status == 0 && op->pieces_left < op->pieces_count) {
            until = i + 1;
        }
    }
    return until;
}

/* ---- leaving ------------------------------------------------------------------------------ */

static void remember_unflushed(struct lks_sim_channel *channel, const struct lks_sim_op *op)
{
    if (channel->unflushed_count > 0 && !channel->unflushed_closed) {
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
    channel->unflushed_closed = false;
}

static void refuse_traced(struct lks_sim_channel *channel, struct lks_sim_op *op)
{
    const struct lks_sim_side *side = channel->side;
    lks_sim_trace_network(side->network, &(struct lks_sim_record){.what = "write refused",
                                                                  .a = side->self,
                                                                  .b = side->peer,
                                                                  .x = op->offset,
                                                                  .y = op->bytes});
    lks_sim_channel_refuse(channel, op, -LKS_EREVOKED);
}

static void admit_one(struct lks_sim_channel *channel, struct lks_sim_op *op)
{
    struct lks_sim_network *network = channel->side->network;
    op->state = LKS_SIM_ADMITTED;
    if (channel->refused) {
        lks_sim_channel_refuse(channel, op, -LKS_EBROKEN);
        return;
    }
    if (op->kind == LKS_SIM_FLUSH) {
        op->pieces_count = op->pieces_left = 1;
        op->pieces[0] = (struct lks_sim_piece){0};
        op->flush_end = channel->unflushed_begin + channel->unflushed_count;
        channel->unflushed_closed = true;
        return;
    }
    if (op->kind == LKS_SIM_WRITE_LOG) {
        /* Where the gate's steps are taken one by one, looking at it is one of them. */
        if (!network->options.profile.gate_steps &&
            !lks_sim_gate_passes(lks_sim_gate_of(channel), channel->grant)) {
            refuse_traced(channel, op);
            return;
        }
        if ((op->flags & LKS_FABRIC_DURABLE) != 0) {
            remember_unflushed(channel, op);
        }
    }
    lks_sim_pieces_cut(network, op);
}

static bool overlap(const struct lks_sim_op *a, const struct lks_sim_op *b)
{
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* True if op may leave while the `pool` ones before it have not landed yet. */
static bool may_join(struct lks_sim_channel *channel, uint32_t pool, const struct lks_sim_op *op)
{
    if (pool == 0 || !lks_sim_op_is_write(op)) {
        return pool == 0;
    }
    struct lks_sim_network *network = channel->side->network;
    uint64_t under_way = op->bytes;
    bool passes = false;
    for (uint32_t i = 0; i < pool; i++) {
        const struct lks_sim_op *other = lks_sim_channel_at(channel, channel->settled + i);
        if (!lks_sim_op_is_write(other)) {
            passes = passes || other->pieces_left > 0;
        } else if (is_word(op) || is_word(other) || other->status != 0 || overlap(op, other)) {
            return false;
        } else {
            under_way += other->bytes;
        }
    }
    if (under_way > LKS_FABRIC_DISORDER_BYTES && under_way != op->bytes) {
        return false;
    }
    if (passes && !lks_sim_random_chance(&network->random, network->options.profile.passes_ppm)) {
        return false;
    }
    network->counts.passed += passes;
    return true;
}

void lks_sim_pieces_admit(struct lks_sim_channel *channel)
{
    const bool one_by_one = channel->is_path && channel->side->network->options.profile.gate_steps;
    const uint32_t most = one_by_one ? 1 : LKS_SIM_POOL_MAX;
    uint32_t pool = lks_sim_channel_pooled(channel);
    while (pool < most && channel->settled + pool < channel->count) {
        struct lks_sim_op *op = lks_sim_channel_at(channel, channel->settled + pool);
        if (!may_join(channel, pool, op)) {
            break;
        }
        admit_one(channel, op);
        pool++;
    }
}
