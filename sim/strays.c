/*
 * Strays: writes whose path or writer is gone, and which may still land in the owner's log, until
 * the owner's revocation has completed. Some have passed the permission check before it began to
 * take effect; the others make it when they land. See network.h.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define PASSES_PPM 500000u  /* how often a stray has passed the check when a fence begins */
#define CUT_PPM 500000u     /* how often the write that a break meets is cut off */
#define FOLLOWS_PPM 750000u /* how often the next one is under way too */
#define STRAYS_FIRST 16u

void lks_sim_strays_drop(struct lks_sim_gate *gate)
{
    for (uint32_t i = 0; i < gate->strays_count; i++) {
        free(gate->strays[i].data);
    }
    gate->strays_count = 0;
}

static void land(struct lks_sim_gate *gate, const struct lks_sim_stray *stray)
{
    const uint64_t bytes = stray->piece.to - stray->piece.from;
    const uint64_t offset = stray->op_offset + stray->piece.from;
    uint8_t *target = lks_sim_gate_landing(gate, offset, bytes);
    if (target != NULL) {
        const struct lks_sim_op op = {.offset = stray->op_offset, .scatter = stray->scatter};
        lks_sim_pieces_copy(&op, &stray->piece, target, stray->data);
    }
    gate->network->counts.strays_landed++;
}

/* A refused write breaks its path: nothing of it that has not passed the check yet will land. */
static void refuse_rest(struct lks_sim_gate *gate, uint64_t grant)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < gate->strays_count; i++) {
        if (gate->strays[i].grant == grant && !gate->strays[i].passed) {
            free(gate->strays[i].data);
        } else {
            gate->strays[kept++] = gate->strays[i];
        }
    }
    gate->strays_count = kept;
}

static void stray_lands(void *ctx, uint64_t serial)
{
    struct lks_sim_gate *gate = ctx;
    uint32_t place = 0;
    while (place < gate->strays_count && gate->strays[place].serial != serial) {
        place++;
    }
    if (place == gate->strays_count) {
        return; /* fenced or dropped meanwhile */
    }
    const struct lks_sim_stray stray = gate->strays[place];
    gate->strays_count--;
    memmove(&gate->strays[place], &gate->strays[place + 1],
            (gate->strays_count - place) * sizeof stray);
    if (stray.passed || lks_sim_gate_passes(gate, stray.grant)) {
        land(gate, &stray);
        lks_sim_trace_network(gate->network,
                              &(struct lks_sim_record){.what = "stray landed",
                                                       .a = gate->writer,
                                                       .b = gate->owner,
                                                       .x = stray.op_offset + stray.piece.from,
                                                       .y = stray.piece.to - stray.piece.from});
    } else {
        refuse_rest(gate, stray.grant);
    }
    free(stray.data);
}

/* Takes over a piece that is still under way; due_ns: when it lands unless it is fenced. */
static void add(struct lks_sim_gate *gate, const struct lks_sim_stray *stray,
                const uint8_t *source, uint64_t due_ns)
{
    if (gate->strays_count == gate->strays_capacity) {
        const uint32_t capacity =
            gate->strays_capacity == 0 ? STRAYS_FIRST : gate->strays_capacity * 2;
        LKS_ASSERT(capacity <= LKS_SIM_STRAYS_MAX);
        gate->strays = realloc(gate->strays, capacity * sizeof *gate->strays);
        LKS_ASSERT(gate->strays != NULL);
        gate->strays_capacity = capacity;
    }
    const uint64_t bytes = stray->piece.to - stray->piece.from;
    struct lks_sim_stray *added = &gate->strays[gate->strays_count++];
    *added = *stray;
    added->serial = ++gate->strays_serial;
    added->data = malloc(bytes);
    LKS_ASSERT(added->data != NULL);
    memcpy(added->data, source, bytes);
    lks_sim_timeline_post(gate->network->options.timeline, due_ns, stray_lands, gate,
                          added->serial);
}

void lks_sim_strays_close(struct lks_sim_gate *gate)
{
    for (uint32_t i = 0; i < gate->strays_count; i++) {
        if (!gate->strays[i].passed &&
            !lks_sim_random_chance(&gate->network->random, PASSES_PPM)) {
            break;
        }
        gate->strays[i].passed = true;
    }
}

void lks_sim_strays_fence(struct lks_sim_gate *gate)
{
    const uint64_t landing =
        lks_sim_random_below(&gate->network->random, (uint64_t)gate->strays_count + 1);
    for (uint32_t i = 0; i < landing && gate->strays[i].passed; i++) {
        land(gate, &gate->strays[i]);
    }
    lks_sim_strays_drop(gate);
}

/* ---- where they come from ----------------------------------------------------------------- */

static void orphan(struct lks_sim_channel *path, struct lks_sim_op *op, uint64_t *due_ns)
{
    struct lks_sim_network *network = path->side->network;
    const bool passed = op->state == LKS_SIM_ADMITTED;
    if (!passed) {
        lks_sim_pieces_cut(network, op);
    }
    const uint64_t wait_ns =
        lks_sim_random_delay(&network->random, &network->options.profile.stray);
    for (uint32_t i = 0; i < op->pieces_count; i++) {
        const struct lks_sim_piece *piece = &op->pieces[i];
        if (piece->landed) {
            continue;
        }
        const struct lks_sim_stray stray = {.grant = path->grant,
                                            .op_offset = op->offset,
                                            .scatter = op->scatter,
                                            .piece = *piece,
                                            .passed = passed};
        const uint64_t in_order_ns = wait_ns / op->pieces_count * (i + 1);
        const uint64_t after_ns =
            op->in_order ? in_order_ns : lks_sim_random_below(&network->random, wait_ns + 1);
        add(lks_sim_gate_of(path), &stray, op->source + piece->from, *due_ns + 1 + after_ns);
    }
    *due_ns += wait_ns + 2;
}

void lks_sim_strays_leave(struct lks_sim_channel *path)
{
    struct lks_sim_random *random = &path->side->network->random;
    const struct lks_sim_gate *gate = lks_sim_gate_of(path);
    if (gate->grant != path->grant || !gate->standing) {
        return; /* revoked already: nothing of it can land */
    }
    const uint32_t until = lks_sim_pieces_landed_until(path, lks_sim_channel_pooled(path));
    uint64_t due_ns = lks_sim_now(path->side->network);
    for (uint32_t i = path->settled; i < path->count; i++) {
        struct lks_sim_op *op = lks_sim_channel_at(path, i);
        const uint32_t place = i - path->settled;
        if (op->status != 0 || path->refused) {
            break;
        }
        if ((place + 1 == until && lks_sim_random_chance(random, CUT_PPM)) ||
            (place >= until && !lks_sim_random_chance(random, FOLLOWS_PPM))) {
            break;
        }
        if (op->kind == LKS_SIM_WRITE_LOG) {
            orphan(path, op, &due_ns);
        }
    }
}
