/* A service that only counts; see null_service.h. */
#include "bench/null_service.h"

#include <errno.h>
#include <stdlib.h>

struct null_state {
    uint64_t commands;
    uint64_t bytes;
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
    null_state->commands++;
    null_state->bytes += command->bytes;
    lks_reply_null(reply);
}

static bool is_read(const void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return false;
}

static int snapshot(void *state, uint32_t partition, const struct lks_snapshot_writer *writer)
{
    (void)partition;
    return writer->write(writer->ctx, state, sizeof(struct null_state));
}

static int restore(void *state, uint32_t partition, const struct lks_snapshot_reader *reader)
{
    (void)partition;
    return reader->read(reader->ctx, state, sizeof(struct null_state));
}

static uint64_t hash(void *state, uint32_t partition)
{
    const struct null_state *null_state = state;
    (void)partition;
    return null_state->commands * UINT64_C(0x9E3779B97F4A7C15) ^ null_state->bytes;
}

const struct lks_service lks_null_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "null",
    .partitions = 1,
    .open = open_state,
    .close = free,
    .apply = apply,
    .read = apply,
    .is_read = is_read,
    .snapshot = snapshot,
    .restore = restore,
    .hash = hash,
};
