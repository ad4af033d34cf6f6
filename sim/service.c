/* The replicated service of the simulator; see service.h. */
#include "sim/service.h"

#include "base/assert.h"
#include "services/kv/cursor.h"
#include "services/kv/hash.h"
#include "services/kv/kv.h"
#include "services/kv/state.h"
#include "services/sessions/sessions.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct state {
    void *kv;
    struct lks_sim_service_observer observer;
    uint64_t rehash;                    /* value of g_rehash that the hashes belong to */
    uint64_t hashed;                    /* bit p: hashes[p] is right */
    uint64_t hashes[LKS_KV_PARTITIONS];
};

_Static_assert(LKS_KV_PARTITIONS == 64, "one bit for each partition");

static struct lks_sim_service_observer g_observer; /* of states opened from now on */
static uint64_t g_rehash;

void lks_sim_service_bind(const struct lks_sim_service_observer *observer)
{
    g_observer = *observer;
}

void lks_sim_service_rehash(void)
{
    g_rehash++;
}

static int service_open(void **opened, const struct lks_service_options *options)
{
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return -ENOMEM;
    }
    const int status = lks_kv_service.open(&state->kv, options);
    if (status < 0) {
        free(state);
        return status;
    }
    state->observer = g_observer;
    *opened = state;
    return 0;
}

static void service_close(void *opaque)
{
    struct state *state = opaque;
    if (state != NULL) {
        lks_kv_service.close(state->kv);
        free(state);
    }
}

/* Takes the envelope off. */
static struct lks_command unwrap(const struct lks_command *command,
                                 struct lks_sim_envelope *envelope)
{
    struct lks_command inner = *command;
    LKS_ASSERT(command->bytes > sizeof *envelope);
    memcpy(envelope, command->data, sizeof *envelope);
    envelope->number = be64toh(envelope->number);
    inner.data = (const uint8_t *)command->data + sizeof *envelope;
    inner.bytes = command->bytes - sizeof *envelope;
    return inner;
}

static void service_apply(void *opaque, const struct lks_command *command,
                          struct lks_reply *reply)
{
    struct state *state = opaque;
    struct lks_sim_envelope envelope;
    const struct lks_command inner = unwrap(command, &envelope);
    state->hashed &= ~envelope.partitions;
    lks_kv_service.apply(state->kv, &inner, reply);
    if (state->observer.applied != NULL) {
        const struct lks_sim_executed executed = {
            .index = command->index,
            .number = envelope.number,
            .time_ns = command->time_ns,
            .hash = lks_kv_hash(command->data, command->bytes) ^ command->time_ns};
        state->observer.applied(state->observer.ctx, &executed);
    }
}

static void service_read(void *opaque, const struct lks_command *command, struct lks_reply *reply)
{
    const struct state *state = opaque;
    struct lks_sim_envelope envelope;
    const struct lks_command inner = unwrap(command, &envelope);
    lks_kv_service.read(state->kv, &inner, reply);
    if (state->observer.read != NULL) {
        state->observer.read(state->observer.ctx, envelope.number, command->time_ns);
    }
}

static bool service_is_read(const void *data, size_t bytes)
{
    const size_t envelope = sizeof(struct lks_sim_envelope);
    return bytes > envelope &&
           lks_kv_service.is_read((const uint8_t *)data + envelope, bytes - envelope);
}

static void service_footprint(const void *data, size_t bytes, struct lks_footprint *footprint)
{
    const size_t envelope = sizeof(struct lks_sim_envelope);
    LKS_ASSERT(bytes > envelope);
    lks_kv_service.footprint((const uint8_t *)data + envelope, bytes - envelope, footprint);
}

/* What expires by this time changes the hashes of its partitions. */
static void forget_expiring(struct state *state, uint64_t time_ns)
{
    const struct lks_kv *kv = state->kv;
    for (uint32_t p = 0; p < LKS_KV_PARTITIONS; p++) {
        if (lks_kv_timers_first(&kv->partitions[p].timers) <= time_ns / LKS_KV_NS_PER_MS) {
            state->hashed &= ~(UINT64_C(1) << p);
        }
    }
}

static bool service_tick(void *opaque, uint64_t time_ns)
{
    struct state *state = opaque;
    if (lks_kv_service.next_expiry_ns(state->kv) <= time_ns) {
        forget_expiring(state, time_ns);
    }
    return lks_kv_service.tick(state->kv, time_ns);
}

static uint64_t service_next_expiry_ns(void *opaque)
{
    const struct state *state = opaque;
    return lks_kv_service.next_expiry_ns(state->kv);
}

static uint64_t service_snapshot_begin(void *opaque, uint32_t partition)
{
    const struct state *state = opaque;
    return lks_kv_service.snapshot_begin(state->kv, partition);
}

static int service_snapshot_step(void *opaque, uint32_t partition,
                                 const struct lks_snapshot_writer *writer, size_t bytes_max,
                                 bool *done)
{
    const struct state *state = opaque;
    return lks_kv_service.snapshot_step(state->kv, partition, writer, bytes_max, done);
}

static void service_snapshot_end(void *opaque, uint32_t partition)
{
    const struct state *state = opaque;
    lks_kv_service.snapshot_end(state->kv, partition);
}

static uint64_t service_snapshot_kept(void *opaque)
{
    const struct state *state = opaque;
    return lks_kv_service.snapshot_kept(state->kv);
}

static void service_restore_begin(void *opaque, uint32_t partition)
{
    struct state *state = opaque;
    state->hashed &= ~(UINT64_C(1) << partition);
    lks_kv_service.restore_begin(state->kv, partition);
}

static int service_restore_chunk(void *opaque, uint32_t partition, const void *data, size_t bytes)
{
    struct state *state = opaque;
    state->hashed &= ~(UINT64_C(1) << partition);
    return lks_kv_service.restore_chunk(state->kv, partition, data, bytes);
}

static int service_restore_end(void *opaque, uint32_t partition)
{
    struct state *state = opaque;
    state->hashed &= ~(UINT64_C(1) << partition);
    return lks_kv_service.restore_end(state->kv, partition);
}

static uint64_t service_hash(void *opaque, uint32_t partition)
{
    struct state *state = opaque;
    if (state->rehash != g_rehash) {
        state->rehash = g_rehash;
        state->hashed = 0;
    }
    if ((state->hashed >> partition & 1) == 0) {
        state->hashes[partition] = lks_kv_service.hash(state->kv, partition);
        state->hashed |= UINT64_C(1) << partition;
    }
    return state->hashes[partition];
}

/* What executes: each command in its envelope, so that what a session lets pass is seen. */
static const struct lks_service g_inner = {
    .abi = LKS_SERVICE_ABI,
    .name = "kv",
    .partitions = LKS_KV_PARTITIONS,
    .open = service_open,
    .close = service_close,
    .apply = service_apply,
    .read = service_read,
    .is_read = service_is_read,
    .footprint = service_footprint,
    .tick = service_tick,
    .next_expiry_ns = service_next_expiry_ns,
    .snapshot_begin = service_snapshot_begin,
    .snapshot_step = service_snapshot_step,
    .snapshot_end = service_snapshot_end,
    .snapshot_kept = service_snapshot_kept,
    .restore_begin = service_restore_begin,
    .restore_chunk = service_restore_chunk,
    .restore_end = service_restore_end,
    .hash = service_hash,
};

/* ---- sessions around it ---------------------------------------------------------------------- */

static int open_sessions(void **opened, const struct lks_service_options *options)
{
    return lks_client_sessions_open(&g_inner, opened, options);
}

static void sessions_footprint(const void *data, size_t bytes, struct lks_footprint *footprint)
{
    lks_client_sessions_footprint(&g_inner, data, bytes, footprint);
}

static bool sessions_is_read(const void *data, size_t bytes)
{
    return lks_client_sessions_is_read(&g_inner, data, bytes);
}

const struct lks_service lks_sim_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "kv",
    .partitions = LKS_KV_PARTITIONS,
    .open = open_sessions,
    .is_read = sessions_is_read,
    LKS_CLIENT_SESSIONS_FUNCTIONS,
    .footprint = sessions_footprint,
};
