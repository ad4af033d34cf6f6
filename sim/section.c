/*
 * The gates of shared memory, step by step: what a writer does around its copying, what an owner
 * does to revoke (enum lks_sim_gate_step, the design's 3.2), and the store buffers between each of
 * them and memory. Ordinary stores of one side are seen in order, late; non-temporal ones (of
 * writes that a flush will follow) wait in write-combining buffers and are seen in any order. A
 * side sees the other's stores only once they have left these buffers: so a fence that is left
 * out lets a write land after its revocation, as it would on a machine.
 */
#include "sim/network_internal.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define SECTION_BYTES_MAX 4096u /* copied between two looks at the gate */
#define DRAIN_PPM 300000u       /* how often a buffer empties before the next step is taken */
#define REVOKED UINT64_C(0)     /* a generation that no writer was granted */

static bool left_out(const struct lks_sim_network *network, uint32_t step)
{
    return ((network->options.profile.gate_steps_left_out >> step) & 1) != 0;
}

static uint64_t busy_of(uint64_t generation)
{
    return generation << 1 | 1;
}

/* ---- store buffers ------------------------------------------------------------------------ */

bool lks_sim_section_buffers(const struct lks_sim_channel *path)
{
    return path->section.busy_stores_count > 0 || path->section.combined_count > 0;
}

static void drain_busy(struct lks_sim_channel *path)
{
    struct lks_sim_section *section = &path->section;
    lks_sim_gate_of(path)->busy = section->busy_stores[0];
    section->busy_stores_count--;
    memmove(section->busy_stores, section->busy_stores + 1,
            section->busy_stores_count * sizeof *section->busy_stores);
}

static void drain_combined(struct lks_sim_channel *path, uint32_t place)
{
    struct lks_sim_section *section = &path->section;
    const struct lks_sim_combined piece = section->combined[place];
    uint8_t *target = lks_sim_gate_landing(lks_sim_gate_of(path), piece.offset, piece.bytes);
    if (target != NULL) {
        memcpy(target, piece.data, piece.bytes);
    }
    free(piece.data);
    section->combined_count--;
    section->combined[place] = section->combined[section->combined_count];
}

static void drain_one(struct lks_sim_channel *path)
{
    struct lks_sim_section *section = &path->section;
    const uint32_t ordinary = section->busy_stores_count > 0;
    const uint64_t chosen = lks_sim_random_below(&path->side->network->random,
                                                 (uint64_t)ordinary + section->combined_count);
    if (ordinary != 0 && chosen == 0) {
        drain_busy(path);
    } else {
        drain_combined(path, (uint32_t)chosen - ordinary);
    }
}

static void drain_all(struct lks_sim_channel *path)
{
    while (lks_sim_section_buffers(path)) {
        drain_one(path);
    }
}

static void store_busy(struct lks_sim_channel *path, uint64_t value)
{
    struct lks_sim_section *section = &path->section;
    if (section->busy_stores_count == LKS_SIM_BUSY_STORES_MAX) {
        drain_busy(path);
    }
    section->busy_stores[section->busy_stores_count++] = value;
}

/* ---- writer ------------------------------------------------------------------------------- */

static uint64_t end_of_section(const struct lks_sim_channel *path, const struct lks_sim_op *op)
{
    const uint64_t left = op->bytes - path->section.from;
    return path->section.from + (left < SECTION_BYTES_MAX ? left : SECTION_BYTES_MAX);
}

static void copy_section(struct lks_sim_channel *path, const struct lks_sim_op *op)
{
    struct lks_sim_section *section = &path->section;
    struct lks_sim_network *network = path->side->network;
    const uint64_t to = end_of_section(path, op);
    const bool combines = (op->flags & LKS_FABRIC_DURABLE) != 0;
    uint64_t from = section->from;
    if (!combines) {
        /* Ordinary stores are seen behind the ordinary stores before them. */
        while (section->busy_stores_count > 0) {
            drain_busy(path);
        }
    }
    while (from < to) {
        uint64_t end = from + 1 + lks_sim_random_below(&network->random, to - from);
        end = ((op->offset + end + 7) & ~UINT64_C(7)) - op->offset;
        end = end < to ? end : to;
        if (section->combined_count == LKS_SIM_COMBINED_MAX) {
            drain_combined(path, 0);
        }
        struct lks_sim_combined *piece = &section->combined[section->combined_count++];
        *piece = (struct lks_sim_combined){.data = malloc(end - from),
                                           .offset = op->offset + from,
                                           .bytes = end - from};
        LKS_ASSERT(piece->data != NULL);
        memcpy(piece->data, op->source + from, end - from);
        if (!combines) {
            drain_combined(path, section->combined_count - 1);
        }
        from = end;
    }
}

/* The gate has been closed: leaves without having copied. */
static void turn_back(struct lks_sim_channel *path, struct lks_sim_op *op)
{
    store_busy(path, 0);
    path->section.step = LKS_SIM_WRITER_STORES_BUSY;
    path->section.from = 0;
    lks_sim_channel_refuse(path, op, -LKS_EREVOKED);
}

static void leave(struct lks_sim_channel *path, struct lks_sim_op *op)
{
    struct lks_sim_section *section = &path->section;
    section->from = end_of_section(path, op);
    store_busy(path, 0);
    section->step = LKS_SIM_WRITER_STORES_BUSY;
    if (section->from == op->bytes) {
        section->from = 0;
        op->pieces_left = 0;
    }
}

/* Takes the writer's next step; false: it waits for a buffer to empty. */
static bool take_step(struct lks_sim_channel *path, struct lks_sim_op *op)
{
    struct lks_sim_section *section = &path->section;
    while (left_out(path->side->network, section->step)) {
        section->step++;
    }
    switch ((enum lks_sim_gate_step)section->step) {
    case LKS_SIM_WRITER_STORES_BUSY:
        store_busy(path, busy_of(path->grant));
        break;
    case LKS_SIM_WRITER_FENCES:
        if (lks_sim_section_buffers(path)) {
            return false;
        }
        break;
    case LKS_SIM_WRITER_LOOKS:
        if (lks_sim_gate_of(path)->generation != path->grant) {
            turn_back(path, op);
            return true;
        }
        break;
    case LKS_SIM_WRITER_COPIES:
        copy_section(path, op);
        break;
    case LKS_SIM_WRITER_DRAINS:
        if (section->combined_count > 0) {
            return false;
        }
        break;
    default:
        leave(path, op);
        return true;
    }
    section->step++;
    return true;
}

bool lks_sim_section_step(struct lks_sim_channel *path)
{
    struct lks_sim_random *random = &path->side->network->random;
    struct lks_sim_op *op = NULL;
    if (lks_sim_channel_pooled(path) > 0) {
        op = lks_sim_channel_at(path, path->settled);
    }
    const bool writes = op != NULL && op->kind == LKS_SIM_WRITE_LOG && op->pieces_left > 0;
    const bool drains = lks_sim_section_buffers(path) &&
                        ((op == NULL) || lks_sim_random_chance(random, DRAIN_PPM));
    if (!drains && !writes) {
        return false;
    }
    if (drains || !take_step(path, op)) {
        drain_one(path);
    }
    return true;
}

void lks_sim_section_end(struct lks_sim_channel *path)
{
    drain_all(path);
    /* Who is dead is inside no section: its owner finds that out by other means than this word. */
    lks_sim_gate_of(path)->busy = 0;
    path->section.step = LKS_SIM_WRITER_STORES_BUSY;
    path->section.from = 0;
}

void lks_sim_section_drop(struct lks_sim_channel *path)
{
    struct lks_sim_section *section = &path->section;
    for (uint32_t i = 0; i < section->combined_count; i++) {
        free(section->combined[i].data);
    }
    *section = (struct lks_sim_section){.step = LKS_SIM_WRITER_STORES_BUSY};
    lks_sim_gate_of(path)->busy = 0;
}

/* ---- owner -------------------------------------------------------------------------------- */

void lks_sim_section_drain_owner(struct lks_sim_gate *gate)
{
    if (gate->generation_stored) {
        gate->generation_stored = false;
        gate->generation = REVOKED;
    }
}

bool lks_sim_section_revoke_step(struct lks_sim_control *control)
{
    struct lks_sim_network *network = control->network;
    struct lks_sim_gate *gate = &network->gates[control->self][control->peer];
    if (control->step < LKS_SIM_OWNER_STORES_GENERATION) {
        control->step = LKS_SIM_OWNER_STORES_GENERATION;
    }
    if (gate->generation_stored && lks_sim_random_chance(&network->random, DRAIN_PPM)) {
        lks_sim_section_drain_owner(gate);
        return false;
    }
    while (left_out(network, control->step)) {
        control->step++;
    }
    switch ((enum lks_sim_gate_step)control->step) {
    case LKS_SIM_OWNER_STORES_GENERATION:
        gate->generation_stored = true;
        break;
    case LKS_SIM_OWNER_FENCES:
        lks_sim_section_drain_owner(gate);
        break;
    default:
        return left_out(network, LKS_SIM_OWNER_AWAITS) || gate->busy == 0;
    }
    control->step++;
    return false;
}
