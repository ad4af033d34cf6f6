/* A service that only counts; see null_service.h. */
#include "bench/null_service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct null_counts {
    uint64_t commands;
    uint64_t bytes;
};

struct null_state {
    struct null_counts now;
    struct null_counts frozen; /* of the snapshot under way */
    bool restored;
};

static int open_state(void **state, const struct lks_service_options *options)
{
    (void)options;
    *state = calloc(1, sizeof(struct null_state));
    return *state == NULL ? -ENOMEM : 0;
}

static void apply(void *state, const struct lks_command *command, struct lks_reply *reply)
{
    struct null_state *null_state = state;
    null_state->now.commands++;
    null_state->now.bytes += command->bytes;
    lks_reply_null(reply);
}

static bool is_read(const void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return false;
}

static void footprint(const void *data, size_t bytes, struct lks_footprint *touched)
{
    (void)data;
    (void)bytes;
    touched->count = 1;
    touched->keys_count = 1;
    touched->keys[0] = 1; /* identity 0, written */
}

static bool tick(void *state, uint64_t time_ns)
{
    (void)state;
    (void)time_ns;
    return false;
}

static uint64_t next_expiry_ns(void *state)
{
    (void)state;
    return UINT64_MAX;
}

static uint64_t snapshot_begin(void *state, uint32_t partition)
{
    struct null_state *null_state = state;
    (void)partition;
    null_state->frozen = null_state->now;
    return sizeof null_state->frozen;
}

static int snapshot_step(void *state, uint32_t partition,
                         const struct lks_snapshot_writer *writer, size_t bytes_max, bool *done)
{
    struct null_state *null_state = state;
    (void)partition;
    (void)bytes_max;
    const int result =
        writer->write(writer->ctx, &null_state->frozen, sizeof null_state->frozen);
    *done = result == 0;
    return result;
}

static void snapshot_end(void *state, uint32_t partition)
{
    (void)state;
    (void)partition;
}

static uint64_t snapshot_kept(void *state)
{
    (void)state;
    return 0;
}

static void restore_begin(void *state, uint32_t partition)
{
    struct null_state *null_state = state;
    (void)partition;
    null_state->now = (struct null_counts){0};
    null_state->restored = false;
}

static int restore_chunk(void *state, uint32_t partition, const void *data, size_t bytes)
{
    struct null_state *null_state = state;
    if (null_state->restored || bytes != sizeof null_state->now) {
        restore_begin(state, partition);
        return -EBADMSG;
    }
    memcpy(&null_state->now, data, bytes);
    null_state->restored = true;
    return 0;
}

static int restore_end(void *state, uint32_t partition)
{
    const struct null_state *null_state = state;
    (void)partition;
    return null_state->restored ? 0 : -EBADMSG;
}

static uint64_t hash(void *state, uint32_t partition)
{
    const struct null_state *null_state = state;
    (void)partition;
    return null_state->now.commands * UINT64_C(0x9E3779B97F4A7C15) ^ null_state->now.bytes;
}

const struct lks_service lks_null_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "null",
    .partitions = 1,
    .open = open_state,
    .close = free,
    .footprint = footprint,
    .apply = apply,
    .read = apply,
    .is_read = is_read,
    .tick = tick,
    .next_expiry_ns = next_expiry_ns,
    .snapshot_begin = snapshot_begin,
    .snapshot_step = snapshot_step,
    .snapshot_end = snapshot_end,
    .snapshot_kept = snapshot_kept,
    .restore_begin = restore_begin,
    .restore_chunk = restore_chunk,
    .restore_end = restore_end,
    .hash = hash,
};
