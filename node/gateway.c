/*
 * The gateway; see gateway.h. Commands lie in one ring of bytes, each behind a small header, in
 * the order of their sequences: `head` is the oldest unanswered one, `cursor` the next to hand
 * over, `tail` the place of the next to come. A command never wraps: where the rest of the ring
 * is too short, a skip leads back to its beginning. An empty ring starts again at place 0, so
 * that a lightly loaded gateway stays in few cache lines.
 */
#include "node/gateway.h"

#include "base/assert.h"
#include "base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_ALIGN 64u
#define PENDING_BYTES_LIMIT (UINT64_C(1) << 40)

enum record_kind { RECORD_COMMAND = 1, RECORD_SKIP = 2 };

struct record {
    uint64_t sequence;
    uint64_t cookie;
    uint32_t bytes; /* of the command behind this header */
    uint32_t kind;
    uint64_t unused;
};

_Static_assert(sizeof(struct record) == 32, "32 bytes for each command, as gateway.h says");

struct lks_gateway {
    uint8_t *ring;
    uint64_t capacity;
    uint32_t command_bytes_max;
    uint64_t head;
    uint64_t cursor;
    uint64_t tail;
    uint64_t used;            /* bytes from head to tail, skips included */
    uint64_t submitted;       /* the last sequence given */
    uint64_t answered;        /* the last sequence answered */
    uint64_t cursor_sequence; /* of the command at cursor; submitted + 1: none there */
    uint64_t sent;            /* the highest sequence ever handed over */
    uint64_t repeated;
    uint64_t refused;
};

static uint64_t record_span(uint64_t bytes)
{
    return (sizeof(struct record) + bytes + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

static struct record *record_at(const struct lks_gateway *gateway, uint64_t place)
{
    return (struct record *)(void *)(gateway->ring + place);
}

/* The place of the command at or, if a skip stands here, behind it. */
static uint64_t past_skip(const struct lks_gateway *gateway, uint64_t place)
{
    return record_at(gateway, place)->kind == RECORD_SKIP ? 0 : place;
}

static uint64_t next_place(const struct lks_gateway *gateway, uint64_t place)
{
    const uint64_t next = place + record_span(record_at(gateway, place)->bytes);
    return next == gateway->capacity ? 0 : next;
}

int lks_gateway_new(struct lks_gateway **gateway, const struct lks_gateway_options *options)
{
    if (options->pending_bytes_max == 0 || options->pending_bytes_max > PENDING_BYTES_LIMIT) {
        return -EINVAL;
    }
    struct lks_gateway *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    const uint64_t least = record_span(options->command_bytes_max);
    made->capacity = options->pending_bytes_max & ~(uint64_t)(RECORD_ALIGN - 1);
    if (made->capacity < least) {
        made->capacity = least;
    }
    made->ring = aligned_alloc(RECORD_ALIGN, made->capacity);
    if (made->ring == NULL) {
        free(made);
        return -ENOMEM;
    }
    made->command_bytes_max = options->command_bytes_max;
    made->cursor_sequence = 1;
    *gateway = made;
    return 0;
}

void lks_gateway_free(struct lks_gateway *gateway)
{
    if (gateway != NULL) {
        free(gateway->ring);
        free(gateway);
    }
}

/* Makes room for span bytes in one piece at the tail. */
static int reserve(struct lks_gateway *gateway, uint64_t span)
{
    const uint64_t room = gateway->capacity - gateway->used;
    const uint64_t rest = gateway->capacity - gateway->tail;
    if (span <= rest) {
        return span <= room ? 0 : -LKS_EBUSY;
    }
    if (rest + span > room) {
        return -LKS_EBUSY;
    }
    *record_at(gateway, gateway->tail) = (struct record){.kind = RECORD_SKIP};
    gateway->used += rest;
    gateway->tail = 0;
    return 0;
}

int lks_gateway_submit(struct lks_gateway *gateway, const void *command, size_t bytes,
                       uint64_t cookie, uint64_t *sequence)
{
    if (bytes > gateway->command_bytes_max) {
        return -LKS_ETOOBIG;
    }
    const uint64_t span = record_span(bytes);
    if (reserve(gateway, span) != 0) {
        gateway->refused++;
        return -LKS_EBUSY;
    }
    struct record *record = record_at(gateway, gateway->tail);
    *record = (struct record){.sequence = gateway->submitted + 1,
                              .cookie = cookie,
                              .bytes = (uint32_t)bytes,
                              .kind = RECORD_COMMAND};
    if (bytes > 0) {
        memcpy(record + 1, command, bytes);
    }
    gateway->tail = next_place(gateway, gateway->tail);
    gateway->used += span;
    gateway->submitted++;
    *sequence = gateway->submitted;
    return 0;
}

bool lks_gateway_next(const struct lks_gateway *gateway, struct lks_gateway_command *command)
{
    if (gateway->cursor_sequence > gateway->submitted) {
        return false;
    }
    const struct record *record = record_at(gateway, past_skip(gateway, gateway->cursor));
    LKS_ASSERT(record->sequence == gateway->cursor_sequence);
    command->sequence = record->sequence;
    command->data = record + 1;
    command->bytes = record->bytes;
    return true;
}

void lks_gateway_sent(struct lks_gateway *gateway)
{
    LKS_ASSERT(gateway->cursor_sequence <= gateway->submitted);
    if (gateway->cursor_sequence <= gateway->sent) {
        gateway->repeated++;
    } else {
        gateway->sent = gateway->cursor_sequence;
    }
    gateway->cursor = next_place(gateway, past_skip(gateway, gateway->cursor));
    gateway->cursor_sequence++;
}

void lks_gateway_rewind(struct lks_gateway *gateway)
{
    gateway->cursor = gateway->head;
    gateway->cursor_sequence = gateway->answered + 1;
}

uint64_t lks_gateway_answered(struct lks_gateway *gateway, uint64_t sequence)
{
    LKS_ASSERT(sequence == gateway->answered + 1);
    LKS_ASSERT(sequence <= gateway->sent);
    const uint64_t place = past_skip(gateway, gateway->head);
    const struct record *record = record_at(gateway, place);
    LKS_ASSERT(record->sequence == sequence);
    const uint64_t cookie = record->cookie;
    const uint64_t skipped = place == gateway->head ? 0 : gateway->capacity - gateway->head;
    gateway->used -= skipped + record_span(record->bytes);
    gateway->head = next_place(gateway, place);
    gateway->answered = sequence;
    if (gateway->cursor_sequence == sequence) {
        gateway->cursor_sequence++;
        gateway->cursor = gateway->head;
    }
    if (gateway->answered == gateway->submitted) {
        LKS_ASSERT(gateway->used == 0);
        gateway->head = 0;
        gateway->cursor = 0;
        gateway->tail = 0;
    }
    return cookie;
}

void lks_gateway_counts(const struct lks_gateway *gateway, struct lks_gateway_counts *counts)
{
    counts->submitted = gateway->submitted;
    counts->answered = gateway->answered;
    counts->unsent = gateway->submitted + 1 - gateway->cursor_sequence;
    counts->repeated = gateway->repeated;
    counts->refused = gateway->refused;
}
