/* The service of replicas stepped by hand; see rig_service.h. */
#include "tests/unit/node/rig_service.h"

#include "lockstep/touch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PAIR_EVERY 5u
#define ALL_EVERY 37u

static struct rig_service_options g_options = {.partitions = 1, .record_bytes = 8};
static struct rig_service *g_next;

static uint64_t g_footprints;

uint64_t rig_service_footprints(void)
{
    return g_footprints;
}

uint32_t rig_service_touches(uint64_t number, uint16_t partitions[RIG_PARTITIONS_MAX], bool *tied)
{
    const uint32_t count = g_options.partitions;
    const uint32_t first = (uint32_t)(number % count);
    *tied = false;
    if (number % ALL_EVERY == 0) {
        for (uint32_t p = 0; p < count; p++) {
            partitions[p] = (uint16_t)p;
        }
        return count;
    }
    partitions[0] = (uint16_t)first;
    if (number % PAIR_EVERY != 0 || count == 1) {
        return 1;
    }
    const uint32_t other = (first + 1) % count;
    partitions[0] = (uint16_t)(first < other ? first : other);
    partitions[1] = (uint16_t)(first < other ? other : first);
    *tied = number % (2 * PAIR_EVERY) == 0;
    return 2;
}

static int state_open(void **state, const struct lks_service_options *options)
{
    (void)options;
    assert_non_null(g_next);
    for (uint32_t p = 0; p < RIG_PARTITIONS_MAX; p++) {
        g_next->lists[p].count = 0;
        g_next->lists[p].freezing = false;
        g_next->lists[p].restoring = false;
    }
    g_next->executed = 0;
    g_next->expires_ns = 0;
    g_next->expired = 0;
    g_next->read_ns = 0;
    g_next->partial = 0;
    *state = g_next;
    return 0;
}

static void state_close(void *state)
{
    (void)state;
}

static void footprint(const void *data, size_t bytes, struct lks_footprint *touched)
{
    uint64_t number = 0;
    g_footprints++;
    assert_true(bytes >= sizeof number);
    memcpy(&number, data, sizeof number);
    if ((number & RIG_SERVICE_READ) != 0) {
        const uint64_t partition = number & ~RIG_SERVICE_READ;
        *touched = (struct lks_footprint){.count = 1, .partitions = {(uint16_t)partition}};
        if (partition >= g_options.partitions) {
            touched->count = LKS_FOOTPRINT_ALL;
        }
        return;
    }
    const uint32_t count = rig_service_touches(number, touched->partitions, &touched->tied);
    const bool all = number % ALL_EVERY == 0 && count > 1;
    touched->count = all ? LKS_FOOTPRINT_ALL : count;
}

static void execute(struct rig_service *self, const struct lks_command *command, uint64_t number)
{
    uint16_t partitions[RIG_PARTITIONS_MAX];
    bool tied = false;
    const uint32_t count = rig_service_touches(number, partitions, &tied);
    uint32_t included = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct rig_list *list = &self->lists[partitions[i]];
        if (lks_command_includes(command, partitions[i])) {
            lks_touch(partitions[i], true);
            assert_false(list->restoring);
            assert_true(list->count < RIG_SUBMITTED_MAX);
            list->numbers[list->count] = number;
            list->count++;
            included++;
        }
    }
    assert_true(included == count || (command->only != NULL && !tied));
    self->executed++;
    self->partial += included < count ? 1 : 0;
}

static void apply(void *state, const struct lks_command *command, struct lks_reply *reply)
{
    uint64_t number = 0;
    assert_true(command->bytes >= sizeof number);
    memcpy(&number, command->data, sizeof number);
    const uint8_t *bytes = command->data;
    for (size_t i = sizeof number; i < command->bytes; i++) {
        assert_int_equal(bytes[i], (uint8_t)(number + i));
    }
    execute(state, command, number);
    lks_reply_integer(reply, (int64_t)number);
}

static bool is_read(const void *data, size_t bytes)
{
    uint64_t number = 0;
    assert_true(bytes >= sizeof number);
    memcpy(&number, data, sizeof number);
    return (number & RIG_SERVICE_READ) != 0;
}

static void answer_read(void *state, const struct lks_command *command, struct lks_reply *reply)
{
    struct rig_service *self = state;
    self->read_ns = command->time_ns;
    struct lks_footprint touched;
    uint64_t sum = 0;
    footprint(command->data, command->bytes, &touched);
    const bool all = touched.count == LKS_FOOTPRINT_ALL;
    const uint32_t count = all ? g_options.partitions : touched.count;
    for (uint32_t i = 0; i < count; i++) {
        const struct rig_list *list = &self->lists[all ? i : touched.partitions[i]];
        lks_touch(all ? i : touched.partitions[i], false);
        assert_false(list->restoring);
        sum += list->count;
    }
    lks_reply_integer(reply, (int64_t)sum);
}

static bool tick(void *state, uint64_t time_ns)
{
    struct rig_service *self = state;
    if (self->expires_ns != 0 && self->expires_ns <= time_ns) {
        self->expires_ns = 0;
        self->expired++;
    }
    return false;
}

static uint64_t next_expiry_ns(void *state)
{
    const struct rig_service *self = state;
    return self->expires_ns != 0 ? self->expires_ns : UINT64_MAX;
}

/* What was executed only grows: to freeze it is to remember how much there was. */
static uint64_t snapshot_begin(void *state, uint32_t partition)
{
    struct rig_list *list = &((struct rig_service *)state)->lists[partition];
    assert_false(list->freezing);
    assert_false(list->restoring);
    list->freezing = true;
    list->frozen = list->count;
    list->written = 0;
    return (uint64_t)list->frozen * g_options.record_bytes;
}

static int write_record(const struct lks_snapshot_writer *writer, uint64_t number)
{
    unsigned char record[LKS_SNAPSHOT_CHUNK_BYTES] = {0};
    memcpy(record, &number, sizeof number);
    return writer->write(writer->ctx, record, g_options.record_bytes);
}

static int snapshot_step(void *state, uint32_t partition,
                         const struct lks_snapshot_writer *writer, size_t bytes_max, bool *done)
{
    struct rig_service *self = state;
    struct rig_list *list = &self->lists[partition];
    assert_true(list->freezing);
    int result = self->write_fails;
    self->write_fails = 0;
    size_t bytes = 0;
    while (result == 0 && list->written < list->frozen && bytes < bytes_max) {
        result = write_record(writer, list->numbers[list->written]);
        list->written += result == 0 ? 1 : 0;
        bytes += g_options.record_bytes;
    }
    *done = result == 0 && list->written == list->frozen;
    return result;
}

static void snapshot_end(void *state, uint32_t partition)
{
    struct rig_list *list = &((struct rig_service *)state)->lists[partition];
    assert_true(list->freezing);
    list->freezing = false;
}

static uint64_t snapshot_kept(void *state)
{
    (void)state;
    return 0;
}

static void restore_begin(void *state, uint32_t partition)
{
    struct rig_list *list = &((struct rig_service *)state)->lists[partition];
    list->count = 0;
    list->freezing = false;
    list->restoring = true;
}

static int restore_chunk(void *state, uint32_t partition, const void *data, size_t bytes)
{
    struct rig_list *list = &((struct rig_service *)state)->lists[partition];
    assert_true(list->restoring);
    assert_int_equal(bytes, g_options.record_bytes);
    assert_true(list->count < RIG_SUBMITTED_MAX);
    memcpy(&list->numbers[list->count], data, sizeof list->numbers[0]);
    list->count++;
    list->restored_on = g_options.preferred != NULL ? *g_options.preferred : 0;
    return 0;
}

static int restore_end(void *state, uint32_t partition)
{
    struct rig_list *list = &((struct rig_service *)state)->lists[partition];
    assert_true(list->restoring);
    list->restoring = false;
    return 0;
}

static uint64_t hash(void *state, uint32_t partition)
{
    const struct rig_list *list = &((const struct rig_service *)state)->lists[partition];
    uint64_t value = partition;
    for (uint32_t i = 0; i < list->count; i++) {
        value = (value ^ list->numbers[i]) * UINT64_C(0x100000001b3);
    }
    return value;
}

static struct lks_service g_service = {
    .abi = LKS_SERVICE_ABI,
    .name = "rig",
    .open = state_open,
    .close = state_close,
    .footprint = footprint,
    .apply = apply,
    .read = answer_read,
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

const struct lks_service *rig_service(void)
{
    return &g_service;
}

void rig_service_configure(const struct rig_service_options *options)
{
    g_options = *options;
    g_service.partitions = options->partitions;
}

void rig_service_next(struct rig_service *state)
{
    g_next = state;
}
