/* The replicated service of the simulator; see service.h. */
#include "sim/service.h"

#include "base/assert.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct value {
    int64_t number;
    uint64_t present;
};

struct content {
    struct value values[LKS_SIM_KEYS];
    uint64_t order_hash; /* over all commands applied, in their order */
};

struct state {
    struct content content;
    struct content frozen; /* of the snapshot under way */
    bool restored;
    struct lks_sim_service_observer observer;
};

static struct lks_sim_service_observer g_observer; /* of states opened from now on */

void lks_sim_service_bind(const struct lks_sim_service_observer *observer)
{
    g_observer = *observer;
}

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    const uint8_t *byte = data;
    for (size_t i = 0; i < bytes; i++) {
        hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static int service_open(void **opened, const struct lks_service_options *options)
{
    (void)options;
    struct state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return -ENOMEM;
    }
    state->observer = g_observer;
    *opened = state;
    return 0;
}

static void service_close(void *state)
{
    free(state);
}

static void execute(struct content *content, const struct lks_sim_command *command,
                    struct lks_reply *reply)
{
    if (command->key >= LKS_SIM_KEYS) {
        lks_reply_error(reply, "ERR no such key");
        return;
    }
    struct value *value = &content->values[command->key];
    switch (command->kind) {
    case LKS_SIM_GET:
        if (value->present != 0) {
            lks_reply_integer(reply, value->number);
        } else {
            lks_reply_null(reply);
        }
        return;
    case LKS_SIM_SET:
        *value = (struct value){.number = command->argument, .present = 1};
        lks_reply_status(reply, "OK");
        return;
    case LKS_SIM_INCR:
        value->number = (value->present != 0 ? value->number : 0) + command->argument;
        value->present = 1;
        lks_reply_integer(reply, value->number);
        return;
    case LKS_SIM_DEL:
        lks_reply_integer(reply, value->present != 0);
        *value = (struct value){0};
        return;
    default:
        lks_reply_error(reply, "ERR no such command");
        return;
    }
}

static void service_apply(void *opaque, const struct lks_command *command,
                          struct lks_reply *reply)
{
    struct state *state = opaque;
    struct lks_sim_command decoded;
    LKS_ASSERT(command->bytes >= sizeof decoded);
    memcpy(&decoded, command->data, sizeof decoded);
    execute(&state->content, &decoded, reply);
    const uint64_t hash =
        mix(UINT64_C(0xcbf29ce484222325), command->data, command->bytes);
    state->content.order_hash = mix(state->content.order_hash, &hash, sizeof hash);
    if (state->observer.applied != NULL) {
        state->observer.applied(state->observer.ctx, command->index, decoded.number, hash);
    }
}

static bool service_is_read(const void *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    return false; /* a GET goes through the log too, and so changes order_hash */
}

static void service_footprint(const void *data, size_t bytes, struct lks_footprint *footprint)
{
    (void)data;
    (void)bytes;
    footprint->count = 1;
    footprint->tied = false;
    footprint->partitions[0] = 0;
}

static bool service_tick(void *opaque, uint64_t time_ns)
{
    (void)opaque;
    (void)time_ns;
    return false;
}

static uint64_t service_next_expiry_ns(void *opaque)
{
    (void)opaque;
    return UINT64_MAX;
}

static uint64_t service_snapshot_begin(void *opaque, uint32_t partition)
{
    (void)partition;
    struct state *state = opaque;
    state->frozen = state->content;
    return sizeof state->frozen;
}

static int service_snapshot_step(void *opaque, uint32_t partition,
                                 const struct lks_snapshot_writer *writer, size_t bytes_max,
                                 bool *done)
{
    (void)partition;
    (void)bytes_max;
    const struct state *state = opaque;
    const int status = writer->write(writer->ctx, &state->frozen, sizeof state->frozen);
    *done = status == 0;
    return status;
}

static void service_snapshot_end(void *opaque, uint32_t partition)
{
    (void)opaque;
    (void)partition;
}

static uint64_t service_snapshot_kept(void *opaque)
{
    (void)opaque;
    return 0;
}

static void service_restore_begin(void *opaque, uint32_t partition)
{
    (void)partition;
    struct state *state = opaque;
    memset(&state->content, 0, sizeof state->content);
    state->restored = false;
}

static int service_restore_chunk(void *opaque, uint32_t partition, const void *data, size_t bytes)
{
    struct state *state = opaque;
    if (state->restored || bytes != sizeof state->content) {
        service_restore_begin(opaque, partition);
        return -EBADMSG;
    }
    memcpy(&state->content, data, bytes);
    state->restored = true;
    return 0;
}

static int service_restore_end(void *opaque, uint32_t partition)
{
    (void)partition;
    const struct state *state = opaque;
    return state->restored ? 0 : -EBADMSG;
}

static uint64_t service_hash(void *opaque, uint32_t partition)
{
    (void)partition;
    const struct state *state = opaque;
    return mix(UINT64_C(0xcbf29ce484222325), &state->content, sizeof state->content);
}

bool lks_sim_service_parse(const void *reply, size_t bytes, struct lks_sim_answer *answer)
{
    char text[32];
    if (bytes < 3 || bytes >= sizeof text) {
        return false;
    }
    memcpy(text, reply, bytes);
    text[bytes] = '\0';
    if (text[0] == ':') {
        *answer = (struct lks_sim_answer){.present = true,
                                          .value = (int64_t)strtoll(text + 1, NULL, 10)};
        return true;
    }
    *answer = (struct lks_sim_answer){0};
    return text[0] == '+' || text[0] == '_';
}

const struct lks_service lks_sim_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "registers",
    .partitions = 1,
    .open = service_open,
    .close = service_close,
    .footprint = service_footprint,
    .apply = service_apply,
    .read = service_apply,
    .is_read = service_is_read,
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
