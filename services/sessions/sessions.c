/*
 * What commands do to the table of sessions; see sessions.h.
 *
 * A command of a session is *tied* wherever it touches another partition than its session's:
 * whether it takes effect there depends on the session. So snapshots of both are of one point of
 * the log, and after a restart it is executed as a whole or not at all.
 */
#include "services/sessions/sessions.h"

#include "lockstep/touch.h"
#include "services/sessions/table.h"

#include <errno.h>
#include <stdlib.h>

#define NS_PER_MS UINT64_C(1000000)
#define SWEEP_NS (UINT64_C(1000) * NS_PER_MS)

void *lks_client_session_allocate(void *old, size_t bytes)
{
    void *block = realloc(old, bytes);
    if (block == NULL) {
        abort(); /* a replica that cannot hold the state cannot stay equal to others */
    }
    return block;
}

void lks_client_session_partition_clear(struct lks_client_session_partition *partition)
{
    for (uint32_t i = 0; i < partition->count; i++) {
        free(partition->sessions[i]);
    }
    free(partition->frozen);
    *partition = (struct lks_client_session_partition){0};
}

int lks_client_sessions_open(const struct lks_service *inner, void **state,
                             const struct lks_service_options *options)
{
    struct lks_client_sessions_state *made =
        calloc(1, sizeof *made + inner->partitions * sizeof made->partitions[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    const int rc = inner->open(&made->inner_state, options);
    if (rc != 0) {
        free(made);
        return rc;
    }
    made->inner = inner;
    *state = made;
    return 0;
}

void lks_client_sessions_close(void *opaque)
{
    struct lks_client_sessions_state *state = opaque;
    if (state == NULL) {
        return;
    }
    for (uint32_t p = 0; p < state->inner->partitions; p++) {
        lks_client_session_partition_clear(&state->partitions[p]);
    }
    state->inner->close(state->inner_state);
    free(state);
}

void *lks_client_sessions_inner(void *state)
{
    return ((struct lks_client_sessions_state *)state)->inner_state;
}

uint32_t lks_client_sessions_count(const void *opaque)
{
    const struct lks_client_sessions_state *state = opaque;
    uint32_t count = 0;
    for (uint32_t p = 0; p < state->inner->partitions; p++) {
        count += state->partitions[p].count;
    }
    return count;
}

/* ---- what a command touches ----------------------------------------------------------------- */

/* Adds the session's partition, written, at its place. False: there are too many. */
static bool add_partition(struct lks_footprint *footprint, uint16_t partition)
{
    uint32_t place = 0;
    while (place < footprint->count && footprint->partitions[place] < partition) {
        place++;
    }
    if (place < footprint->count && footprint->partitions[place] == partition) {
        footprint->reads &= (uint16_t) ~(1u << place);
        return true;
    }
    if (footprint->count == LKS_FOOTPRINT_MAX) {
        return false;
    }
    for (uint32_t i = footprint->count; i > place; i--) {
        footprint->partitions[i] = footprint->partitions[i - 1];
    }
    footprint->partitions[place] = partition;
    footprint->count++;
    const uint32_t below = footprint->reads & ((1u << place) - 1);
    const uint32_t above = (uint32_t)footprint->reads >> place << (place + 1);
    footprint->reads = (uint16_t)(below | above);
    return true;
}

static void add_session(struct lks_footprint *footprint, uint64_t identity, uint32_t partitions)
{
    const bool keys = footprint->count == 0 || footprint->keys_count != 0;
    if (footprint->count != LKS_FOOTPRINT_ALL &&
        !add_partition(footprint, (uint16_t)(identity % partitions))) {
        footprint->count = LKS_FOOTPRINT_ALL;
    }
    footprint->tied = footprint->tied || footprint->count > 1;
    if (!keys || footprint->count == LKS_FOOTPRINT_ALL ||
        footprint->keys_count == LKS_FOOTPRINT_MAX) {
        footprint->keys_count = 0;
        return;
    }
    footprint->keys[footprint->keys_count] = identity << 1 | 1;
    footprint->keys_count++;
}

void lks_client_sessions_footprint(const struct lks_service *inner, const void *data, size_t bytes,
                                   struct lks_footprint *footprint)
{
    struct lks_session_header header;
    if (!lks_session_is_command(data, bytes)) {
        inner->footprint(data, bytes, footprint);
        return;
    }
    lks_footprint_clear(footprint);
    if (!lks_session_decode(data, bytes, &header)) {
        return; /* it gets an error, whatever the state */
    }
    if (header.kind == LKS_SESSION_CALL) {
        inner->footprint((const uint8_t *)data + sizeof header, bytes - sizeof header, footprint);
    }
    add_session(footprint, lks_session_identity(&header), inner->partitions);
}

/* ---- execution ------------------------------------------------------------------------------ */

struct call {
    struct lks_client_sessions_state *state;
    struct lks_client_session_partition *partition;
    const struct lks_command *command;
    const struct lks_session_header *header;
    struct lks_reply *reply;
};

static void answer(struct lks_reply *reply, enum lks_session_status status)
{
    lks_reply_array(reply, status == LKS_SESSION_STATUS_OK ? 2 : 1);
    lks_reply_integer(reply, (int64_t)status);
}

static void remove_at(struct lks_client_session_partition *partition, uint32_t place)
{
    free(partition->sessions[place]);
    partition->count--;
    for (uint32_t i = place; i < partition->count; i++) {
        partition->sessions[i] = partition->sessions[i + 1];
    }
}

static void remove_expired(struct lks_client_session_partition *partition, uint64_t time_ns)
{
    for (uint32_t i = partition->count; i > 0; i--) {
        if (partition->sessions[i - 1]->expires_ns <= time_ns) {
            remove_at(partition, i - 1);
        }
    }
}

/* Its place, or the partition's count: there is none, or its time is over. id 0: any. */
static uint32_t find(const struct call *call)
{
    const struct lks_session_header *header = call->header;
    for (uint32_t i = 0; i < call->partition->count; i++) {
        const struct lks_client_session *session = call->partition->sessions[i];
        if (session->nonce[0] == header->nonce[0] && session->nonce[1] == header->nonce[1] &&
            (header->id == 0 || session->id == header->id) &&
            session->expires_ns > call->command->time_ns) {
            return i;
        }
    }
    return call->partition->count;
}

static void extend(struct lks_client_session *session, uint64_t time_ns)
{
    session->expires_ns = time_ns + session->lease_ms * NS_PER_MS;
}

static void open_session(const struct call *call)
{
    struct lks_client_session_partition *partition = call->partition;
    const uint64_t time_ns = call->command->time_ns;
    remove_expired(partition, time_ns);
    uint32_t place = find(call); /* a client asks again when it has heard nothing */
    if (place == LKS_CLIENT_SESSIONS_PARTITION_MAX) {
        answer(call->reply, LKS_SESSION_STATUS_FULL);
        return;
    }
    if (place == partition->count) {
        struct lks_client_session *made = lks_client_session_allocate(NULL, sizeof *made);
        memset(made, 0, sizeof *made);
        made->id = call->command->index;
        memcpy(made->nonce, call->header->nonce, sizeof made->nonce);
        made->lease_ms = call->header->lease_ms;
        partition->sessions[place] = made;
        partition->count++;
    }
    extend(partition->sessions[place], time_ns);
    answer(call->reply, LKS_SESSION_STATUS_OK);
    lks_reply_integer(call->reply, (int64_t)partition->sessions[place]->id);
}

static void repeat_reply(const struct call *call, const struct lks_client_session *session)
{
    const uint64_t sequence = call->header->sequence;
    const struct lks_client_session_kept *kept = &session->kept[sequence % LKS_SESSION_WINDOW];
    if (session->last - sequence >= LKS_SESSION_WINDOW || kept->lost != 0) {
        answer(call->reply, LKS_SESSION_STATUS_REPLY_LOST);
        return;
    }
    const struct lks_reply value = {.data = (char *)(uintptr_t)kept->data, .bytes = kept->bytes};
    answer(call->reply, LKS_SESSION_STATUS_OK);
    lks_reply_append(call->reply, &value);
}

static void execute_inner(const struct call *call)
{
    struct lks_command inner = *call->command;
    inner.data = (const uint8_t *)call->command->data + sizeof *call->header;
    inner.bytes = call->command->bytes - sizeof *call->header;
    call->state->inner->apply(call->state->inner_state, &inner, call->reply);
}

static void run(const struct call *call, struct lks_client_session *session)
{
    answer(call->reply, LKS_SESSION_STATUS_OK);
    const size_t before = call->reply->bytes;
    if (call->header->kind == LKS_SESSION_CALL) {
        execute_inner(call);
    } else {
        lks_reply_null(call->reply);
    }
    const size_t bytes = call->reply->bytes - before;
    struct lks_client_session_kept *kept =
        &session->kept[call->header->sequence % LKS_SESSION_WINDOW];
    kept->lost = bytes > sizeof kept->data ? 1 : 0;
    kept->bytes = kept->lost != 0 ? 0 : (uint16_t)bytes;
    memcpy(kept->data, call->reply->data + before, kept->bytes);
    session->last = call->header->sequence;
}

static void execute(const struct call *call)
{
    if (call->header->kind == LKS_SESSION_OPEN) {
        open_session(call);
        return;
    }
    const uint32_t place = find(call);
    if (place == call->partition->count) {
        answer(call->reply, LKS_SESSION_STATUS_UNKNOWN); /* never created on the way */
        return;
    }
    struct lks_client_session *session = call->partition->sessions[place];
    const uint64_t sequence = call->header->sequence;
    extend(session, call->command->time_ns);
    if (call->header->kind == LKS_SESSION_CLOSE) {
        remove_at(call->partition, place);
    }
    if (sequence == 0) {
        answer(call->reply, LKS_SESSION_STATUS_OK);
        lks_reply_null(call->reply);
    } else if (sequence <= session->last) {
        repeat_reply(call, session);
    } else if (sequence == session->last + 1) {
        run(call, session);
    } else {
        answer(call->reply, LKS_SESSION_STATUS_GAP);
    }
}

void lks_client_sessions_execute(void *opaque, const struct lks_command *command,
                                 struct lks_reply *reply)
{
    struct lks_client_sessions_state *state = opaque;
    struct lks_session_header header;
    if (!lks_session_is_command(command->data, command->bytes)) {
        state->inner->apply(state->inner_state, command, reply);
        return;
    }
    if (!lks_session_decode(command->data, command->bytes, &header)) {
        answer(reply, LKS_SESSION_STATUS_MALFORMED);
        return;
    }
    const uint64_t identity = lks_session_identity(&header);
    const uint32_t home = (uint32_t)(identity % state->inner->partitions);
    if (!lks_command_includes(command, home)) {
        answer(reply, LKS_SESSION_STATUS_REPLY_LOST); /* tied: its effect elsewhere is there, too */
        return;
    }
    lks_touch(identity, true);
    const struct call call = {.state = state,
                              .partition = &state->partitions[home],
                              .command = command,
                              .header = &header,
                              .reply = reply};
    execute(&call);
}

void lks_client_sessions_read(void *opaque, const struct lks_command *command,
                              struct lks_reply *reply)
{
    struct lks_client_sessions_state *state = opaque;
    state->inner->read(state->inner_state, command, reply);
}

bool lks_client_sessions_is_read(const struct lks_service *inner, const void *data, size_t bytes)
{
    return !lks_session_is_command(data, bytes) && inner->is_read(data, bytes);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Who has expired is decided by each command's time; here only memory is given back. */
bool lks_client_sessions_tick(void *opaque, uint64_t time_ns)
{
    struct lks_client_sessions_state *state = opaque;
    state->time_ns = time_ns;
    if (time_ns >= state->sweep_ns) {
        state->sweep_ns = time_ns + SWEEP_NS;
        for (uint32_t p = 0; p < state->inner->partitions; p++) {
            remove_expired(&state->partitions[p], time_ns);
        }
    }
    return state->inner->tick(state->inner_state, time_ns);
}

/* No read sees a session: no tick need be logged for its end. */
uint64_t lks_client_sessions_next_expiry_ns(void *opaque)
{
    struct lks_client_sessions_state *state = opaque;
    return state->inner->next_expiry_ns(state->inner_state);
}

/* ---- hash ------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash ^= value + UINT64_C(0x9E3779B97F4A7C15);
    hash *= UINT64_C(0xBF58476D1CE4E5B9);
    hash ^= hash >> 29;
    hash *= UINT64_C(0x94D049BB133111EB);
    return hash ^ hash >> 32;
}

static uint64_t hash_kept(uint64_t hash, const struct lks_client_session_kept *kept)
{
    hash = mix(hash, (uint64_t)kept->lost << 16 | kept->bytes);
    for (uint32_t i = 0; i < kept->bytes; i++) {
        hash = mix(hash, kept->data[i]);
    }
    return hash;
}

static uint64_t hash_session(const struct lks_client_session *session)
{
    uint64_t hash = mix(mix(session->id, session->nonce[0]), session->nonce[1]);
    hash = mix(mix(mix(hash, session->last), session->expires_ns), session->lease_ms);
    for (uint32_t i = 0; i < LKS_SESSION_WINDOW && i < session->last; i++) {
        hash = hash_kept(hash, &session->kept[(session->last - i) % LKS_SESSION_WINDOW]);
    }
    return hash;
}

uint64_t lks_client_sessions_partition_hash(void *opaque, uint32_t partition)
{
    struct lks_client_sessions_state *state = opaque;
    const struct lks_client_session_partition *here = &state->partitions[partition];
    uint64_t sum = 0; /* what has expired by the last tick does not count */
    for (uint32_t i = 0; i < here->count; i++) {
        sum += here->sessions[i]->expires_ns > state->time_ns ? hash_session(here->sessions[i]) : 0;
    }
    const uint64_t hash = state->inner->hash(state->inner_state, partition);
    return sum == 0 ? hash : mix(hash, sum);
}
