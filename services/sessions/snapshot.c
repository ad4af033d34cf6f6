/*
 * Snapshots of the sessions of a partition; see sessions.h. Their chunks stand before those of the
 * service inside; a partition without sessions has none, and looks as it would without this table.
 * One session a chunk, little-endian:
 *
 *   magic (16); partition (4); which session (4) of so many (4), from 0; lease in ms (4);
 *   id (8); nonce (16); last sequence (8); expires, logged ns (8); then, for each sequence of the
 *   window, the oldest first: bytes (2), lost (2), the reply
 *
 * Nothing read is trusted; that no bit of a chunk changes is the snapshot area's care.
 */
#include "services/sessions/table.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

static const uint8_t magic[16] = {0x8c, 0x6c, 0x6b, 0x73, 0xf2, 0x53, 0x45, 0x53,
                                  0x91, 0x0d, 0xe4, 0x37, 0xbb, 0x5a, 0xc6, 0x01};

struct head {
    uint8_t magic[16];
    uint32_t partition;
    uint32_t which;
    uint32_t total;
    uint32_t lease_ms;
    uint64_t id;
    uint64_t nonce[2];
    uint64_t last;
    uint64_t expires_ns;
};

_Static_assert(sizeof(struct head) == 72, "session chunk layout");
_Static_assert(sizeof(struct head) +
                       LKS_SESSION_WINDOW * sizeof(struct lks_client_session_kept) <=
                   LKS_SNAPSHOT_CHUNK_BYTES,
               "a session fits a chunk");

/* Replies that a session has kept. */
static uint32_t kept_count(uint64_t last)
{
    return last < LKS_SESSION_WINDOW ? (uint32_t)last : LKS_SESSION_WINDOW;
}

/* ---- writing -------------------------------------------------------------------------------- */

static uint8_t *put16(uint8_t *out, uint16_t value)
{
    const uint16_t little = htole16(value);
    memcpy(out, &little, sizeof little);
    return out + sizeof little;
}

static size_t encode(const struct lks_client_session *session, const struct head *place,
                     uint8_t *out)
{
    struct head head = {.partition = htole32(place->partition),
                        .which = htole32(place->which),
                        .total = htole32(place->total),
                        .lease_ms = htole32(session->lease_ms),
                        .id = htole64(session->id),
                        .nonce = {htole64(session->nonce[0]), htole64(session->nonce[1])},
                        .last = htole64(session->last),
                        .expires_ns = htole64(session->expires_ns)};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(out, &head, sizeof head);
    uint8_t *end = out + sizeof head;
    const uint32_t count = kept_count(session->last);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t sequence = session->last - count + 1 + i;
        const struct lks_client_session_kept *kept =
            &session->kept[sequence % LKS_SESSION_WINDOW];
        end = put16(put16(end, kept->bytes), kept->lost);
        memcpy(end, kept->data, kept->bytes);
        end += kept->bytes;
    }
    return (size_t)(end - out);
}

uint64_t lks_client_sessions_snapshot_begin(void *opaque, uint32_t p)
{
    struct lks_client_sessions_state *state = opaque;
    struct lks_client_session_partition *partition = &state->partitions[p];
    struct head place = {.partition = p, .total = partition->count};
    size_t bytes = 0;
    for (; place.which < partition->count; place.which++) {
        partition->frozen = lks_client_session_allocate(
            partition->frozen, bytes + sizeof(uint32_t) + LKS_SNAPSHOT_CHUNK_BYTES);
        const uint32_t length = (uint32_t)encode(partition->sessions[place.which], &place,
                                                 partition->frozen + bytes + sizeof length);
        memcpy(partition->frozen + bytes, &length, sizeof length);
        bytes += sizeof length + length;
    }
    if (bytes > 0) {
        partition->frozen = lks_client_session_allocate(partition->frozen, bytes);
    }
    partition->frozen_bytes = bytes;
    partition->frozen_written = 0;
    return bytes + state->inner->snapshot_begin(state->inner_state, p);
}

int lks_client_sessions_snapshot_step(void *opaque, uint32_t p,
                                      const struct lks_snapshot_writer *writer, size_t bytes_max,
                                      bool *done)
{
    struct lks_client_sessions_state *state = opaque;
    struct lks_client_session_partition *partition = &state->partitions[p];
    size_t written = 0;
    *done = false;
    while (partition->frozen_written < partition->frozen_bytes && written < bytes_max) {
        uint32_t length = 0;
        const uint8_t *chunk = partition->frozen + partition->frozen_written;
        memcpy(&length, chunk, sizeof length);
        const int rc = writer->write(writer->ctx, chunk + sizeof length, length);
        if (rc != 0) {
            return rc;
        }
        partition->frozen_written += sizeof length + length;
        written += length;
    }
    if (written > 0) {
        return 0;
    }
    return state->inner->snapshot_step(state->inner_state, p, writer, bytes_max, done);
}

static void thaw(struct lks_client_session_partition *partition)
{
    free(partition->frozen);
    partition->frozen = NULL;
    partition->frozen_bytes = 0;
    partition->frozen_written = 0;
}

void lks_client_sessions_snapshot_end(void *opaque, uint32_t p)
{
    struct lks_client_sessions_state *state = opaque;
    thaw(&state->partitions[p]);
    state->inner->snapshot_end(state->inner_state, p);
}

uint64_t lks_client_sessions_snapshot_kept(void *opaque)
{
    struct lks_client_sessions_state *state = opaque;
    uint64_t bytes = state->inner->snapshot_kept(state->inner_state);
    for (uint32_t p = 0; p < state->inner->partitions; p++) {
        bytes += state->partitions[p].frozen_bytes;
    }
    return bytes;
}

/* ---- reading -------------------------------------------------------------------------------- */

void lks_client_sessions_restore_begin(void *opaque, uint32_t p)
{
    struct lks_client_sessions_state *state = opaque;
    lks_client_session_partition_clear(&state->partitions[p]);
    state->inner->restore_begin(state->inner_state, p);
}

static bool decode_kept(struct lks_client_session *session, const uint8_t *in, const uint8_t *end)
{
    const uint32_t count = kept_count(session->last);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t sequence = session->last - count + 1 + i;
        struct lks_client_session_kept *kept = &session->kept[sequence % LKS_SESSION_WINDOW];
        uint16_t numbers[2];
        if ((size_t)(end - in) < sizeof numbers) {
            return false;
        }
        memcpy(numbers, in, sizeof numbers);
        in += sizeof numbers;
        kept->bytes = le16toh(numbers[0]);
        kept->lost = le16toh(numbers[1]);
        if (kept->bytes > sizeof kept->data || kept->bytes > (size_t)(end - in) ||
            kept->lost > 1 || (kept->lost == 1 && kept->bytes != 0)) {
            return false;
        }
        memcpy(kept->data, in, kept->bytes);
        in += kept->bytes;
    }
    return in == end;
}

/* What the head says, where no snapshot of this partition could have said it otherwise. */
static bool decode_head(const struct lks_client_sessions_state *state, uint32_t p,
                        const struct head *head, struct lks_client_session *session)
{
    const struct lks_client_session_partition *partition = &state->partitions[p];
    const uint32_t total = le32toh(head->total);
    const uint32_t which = le32toh(head->which);
    session->lease_ms = le32toh(head->lease_ms);
    session->id = le64toh(head->id);
    session->nonce[0] = le64toh(head->nonce[0]);
    session->nonce[1] = le64toh(head->nonce[1]);
    session->last = le64toh(head->last);
    session->expires_ns = le64toh(head->expires_ns);
    const bool rising =
        which == 0 || (partition->count > 0 &&
                       partition->sessions[partition->count - 1]->id < session->id);
    return le32toh(head->partition) == p && !partition->restore_inner &&
           total <= LKS_CLIENT_SESSIONS_PARTITION_MAX && which < total &&
           which == partition->restored && (which == 0 || total == partition->restore_total) &&
           session->id != 0 && rising &&
           (session->nonce[0] & INT64_MAX) % state->inner->partitions == p &&
           session->lease_ms >= LKS_SESSION_LEASE_MS_MIN &&
           session->lease_ms <= LKS_SESSION_LEASE_MS_MAX;
}

static int restore_session(struct lks_client_sessions_state *state, uint32_t p,
                           const uint8_t *data, size_t bytes)
{
    struct lks_client_session_partition *partition = &state->partitions[p];
    struct head head;
    struct lks_client_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return -ENOMEM;
    }
    memcpy(&head, data, sizeof head);
    if (!decode_head(state, p, &head, session) ||
        !decode_kept(session, data + sizeof head, data + bytes)) {
        free(session);
        return -EBADMSG;
    }
    partition->restore_total = le32toh(head.total);
    partition->restored++;
    partition->sessions[partition->count] = session;
    partition->count++;
    return 0;
}

/* The partition is empty after an error, the service's part included. */
static int give_up(struct lks_client_sessions_state *state, uint32_t p, int code)
{
    lks_client_sessions_restore_begin(state, p);
    return code;
}

int lks_client_sessions_restore_chunk(void *opaque, uint32_t p, const void *data, size_t bytes)
{
    struct lks_client_sessions_state *state = opaque;
    struct lks_client_session_partition *partition = &state->partitions[p];
    if (bytes >= sizeof(struct head) && memcmp(data, magic, sizeof magic) == 0) {
        const int rc = restore_session(state, p, data, bytes);
        return rc == 0 ? 0 : give_up(state, p, rc);
    }
    partition->restore_inner = true;
    const int rc = state->inner->restore_chunk(state->inner_state, p, data, bytes);
    return rc == 0 ? 0 : give_up(state, p, rc);
}

int lks_client_sessions_restore_end(void *opaque, uint32_t p)
{
    struct lks_client_sessions_state *state = opaque;
    const struct lks_client_session_partition *partition = &state->partitions[p];
    if (partition->restored != partition->restore_total) {
        return give_up(state, p, -EBADMSG);
    }
    const int rc = state->inner->restore_end(state->inner_state, p);
    return rc == 0 ? 0 : give_up(state, p, rc);
}
