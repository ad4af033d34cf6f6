/*
 * The snapshot areas as peers read them. An area is large and mostly not allocated, and registering
 * memory allocates it: so it is registered in chunks, each when a peer first wants to read it, by
 * the helper, and stays so. A read of a chunk whose key is not known waits here for it; what is
 * posted later may overtake it. An area of one chunk is registered at start. Fabric's thread.
 * Invariant: only reading is ever allowed, and only chunks that were asked for.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"

/* Of areas of the same size on both sides it is the same. */
static uint64_t chunk_bytes(uint64_t area_bytes)
{
    uint64_t bytes = LKS_IBV_CHUNK_BYTES_MIN;
    while (bytes * LKS_IBV_CHUNKS_MAX < area_bytes) {
        bytes *= 2;
    }
    return bytes;
}

static uint32_t chunks_count(uint64_t area_bytes)
{
    return (uint32_t)((area_bytes + chunk_bytes(area_bytes) - 1) / chunk_bytes(area_bytes));
}

/* ---- own area ------------------------------------------------------------------------------- */

static void run_registering(struct lks_ibv_job *job)
{
    struct lks_ibv_snapshots *own =
        (struct lks_ibv_snapshots *)(void *)((char *)job - offsetof(struct lks_ibv_snapshots,
                                                                    job));
    const uint64_t at = own->chunk * chunk_bytes(own->bytes);
    const uint64_t left = own->bytes - at;
    const uint64_t bytes = left < chunk_bytes(own->bytes) ? left : chunk_bytes(own->bytes);
    own->regions[own->chunk] =
        ibv_reg_mr(own->pd, own->address + at, bytes, IBV_ACCESS_REMOTE_READ);
    own->code = own->regions[own->chunk] != NULL ? 0 : errno != 0 ? -errno : -EIO;
}

static bool is_set(const uint64_t *bits, uint32_t at)
{
    return (bits[at / 64] >> at % 64 & 1) != 0;
}

static void set_bit(uint64_t *bits, uint32_t at)
{
    bits[at / 64] |= UINT64_C(1) << at % 64;
}

static void clear_bit(uint64_t *bits, uint32_t at)
{
    bits[at / 64] &= ~(UINT64_C(1) << at % 64);
}

static void register_next(struct lks_ibv_fabric *ibv);

static void registering_done(void *ctx, struct lks_ibv_job *job)
{
    struct lks_ibv_fabric *ibv = ctx;
    struct lks_ibv_snapshots *own = &ibv->snapshots;
    (void)job;
    if (own->code != 0) {
        struct lks_error err = {0};
        const struct lks_ibv_piece piece = {"a part of the snapshot area", own->address,
                                            chunk_bytes(own->bytes)};
        (void)lks_ibv_explain(ibv, &piece, own->code, &err);
        lks_log_error(ibv->options.log_sink, "%s; no peer can install from here", err.text);
    }
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_peer *peer = &ibv->peers[id];
        if (is_set(peer->wanted_chunks, own->chunk)) {
            clear_bit(peer->wanted_chunks, own->chunk);
            set_bit(peer->due_chunks, own->chunk);
            peer->due |= LKS_IBV_DUE_CHUNK;
        }
    }
    register_next(ibv);
}

/* The next chunk that a peer waits for. */
static void register_next(struct lks_ibv_fabric *ibv)
{
    struct lks_ibv_snapshots *own = &ibv->snapshots;
    for (uint32_t chunk = 0; chunk < own->count && !own->job.busy; chunk++) {
        for (uint32_t id = 1; id <= ibv->replicas; id++) {
            if (is_set(ibv->peers[id].wanted_chunks, chunk)) {
                own->chunk = chunk;
                own->job.run = run_registering;
                own->job.done = registering_done;
                lks_ibv_helper_submit(&ibv->helper, &own->job);
                return;
            }
        }
    }
}

void lks_ibv_chunk_wanted(struct lks_ibv_fabric *ibv, uint32_t id,
                          const struct lks_ibv_message *message)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const uint32_t chunk = message->body.chunk.number;
    if (chunk >= ibv->snapshots.count) {
        return;
    }
    if (!(ibv->snapshots.job.busy && ibv->snapshots.chunk == chunk) &&
        ibv->snapshots.regions[chunk] != NULL) {
        set_bit(peer->due_chunks, chunk);
        peer->due |= LKS_IBV_DUE_CHUNK;
        return;
    }
    set_bit(peer->wanted_chunks, chunk);
    register_next(ibv);
}

bool lks_ibv_chunks_answer(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    for (uint32_t chunk = 0; chunk < ibv->snapshots.count; chunk++) {
        if (!is_set(peer->due_chunks, chunk)) {
            continue;
        }
        const struct ibv_mr *region = ibv->snapshots.regions[chunk];
        struct lks_ibv_message message = {.kind = LKS_IBV_CHUNK,
                                          .status = region != NULL ? 0 : -ENOMEM};
        message.body.chunk.number = chunk;
        message.body.chunk.rkey = region != NULL ? region->rkey : 0;
        if (!lks_ibv_send(ibv, id, &message)) {
            return false;
        }
        clear_bit(peer->due_chunks, chunk);
    }
    return true;
}

int lks_ibv_snapshots_init(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    struct lks_ibv_snapshots *own = &ibv->snapshots;
    if (ibv->options.snapshots.address == NULL || ibv->options.snapshots.bytes == 0) {
        return 0;
    }
    own->address = ibv->options.snapshots.address;
    own->bytes = ibv->options.snapshots.bytes;
    own->count = chunks_count(own->bytes);
    own->pd = ibv->pd;
    if (own->count > 1) {
        return 0;
    }
    run_registering(&own->job);
    const struct lks_ibv_piece piece = {"the snapshot area", own->address, own->bytes};
    return own->code == 0 ? 0 : lks_ibv_explain(ibv, &piece, own->code, err);
}

void lks_ibv_snapshots_fini(struct lks_ibv_fabric *ibv)
{
    for (uint32_t chunk = 0; chunk < ibv->snapshots.count; chunk++) {
        if (ibv->snapshots.regions[chunk] != NULL) {
            (void)ibv_dereg_mr(ibv->snapshots.regions[chunk]);
        }
    }
}

/* ---- a peer's area -------------------------------------------------------------------------- */

void lks_ibv_chunks_reset(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const struct lks_ibv_remote *area = &peer->link.regions[LKS_FABRIC_SNAPSHOTS];
    memset(peer->chunk_keys, 0, sizeof peer->chunk_keys);
    memset(peer->asked_chunks, 0, sizeof peer->asked_chunks);
    memset(peer->wanted_chunks, 0, sizeof peer->wanted_chunks);
    memset(peer->due_chunks, 0, sizeof peer->due_chunks);
    peer->chunk_keys[0] = area->rkey;
    LKS_ASSERT(peer->parked_count == 0);
}

/* Whether all keys for a read are known; those that are not are asked for. */
static bool keys_known(struct lks_ibv_fabric *ibv, uint32_t id, uint64_t offset, uint64_t bytes)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const uint64_t size = chunk_bytes(peer->link.regions[LKS_FABRIC_SNAPSHOTS].bytes);
    bool known = true;
    for (uint64_t chunk = offset / size; chunk <= (offset + bytes - 1) / size; chunk++) {
        if (peer->chunk_keys[chunk] != 0) {
            continue;
        }
        known = false;
        if (!is_set(peer->asked_chunks, (uint32_t)chunk)) {
            struct lks_ibv_message message = {.kind = LKS_IBV_WANT};
            message.body.chunk.number = (uint32_t)chunk;
            if (lks_ibv_send(ibv, id, &message)) {
                set_bit(peer->asked_chunks, (uint32_t)chunk);
            }
        }
    }
    return known;
}

/* Posts a read piece by piece, none across the end of a chunk. False: no room now. */
static bool post_read(struct lks_ibv_fabric *ibv, uint32_t id, const struct lks_ibv_parked *read)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const struct lks_ibv_remote *area = &peer->link.regions[LKS_FABRIC_SNAPSHOTS];
    const uint64_t size = chunk_bytes(area->bytes);
    const uint64_t most = size < ibv->message_bytes_max ? size : ibv->message_bytes_max;
    uint64_t offset = read->offset;
    uint8_t *local = read->destination;
    uint64_t bytes = read->bytes;
    if (lks_ibv_queue_room(&peer->link.queue) <
        bytes / most + bytes / size + 3 + LKS_IBV_MESSAGES_MAX) {
        return false;
    }
    while (bytes > 0) {
        uint64_t part = size - offset % size;
        part = part < most ? part : most;
        part = part < bytes ? part : bytes;
        const struct lks_ibv_work work = {.opcode = IBV_WR_RDMA_READ,
                                          .local = local,
                                          .lkey = read->lkey,
                                          .bytes = (uint32_t)part,
                                          .remote = area->address + offset,
                                          .rkey = peer->chunk_keys[offset / size]};
        bytes -= part;
        offset += part;
        local += part;
        (void)lks_ibv_queue_post(ibv, &peer->link.queue, &work, LKS_IBV_FOR_USER,
                                 bytes == 0 ? read->id : 0);
    }
    return true;
}

int lks_ibv_read_snapshots(struct lks_ibv_fabric *ibv, uint32_t id,
                           const struct lks_ibv_parked *read)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (keys_known(ibv, id, read->offset, read->bytes)) {
        if (!post_read(ibv, id, read)) {
            return -LKS_EBUSY;
        }
    } else if (peer->parked_count < LKS_IBV_PARKED_MAX) {
        peer->parked[peer->parked_count] = *read;
        peer->parked_count++;
        peer->due |= LKS_IBV_DUE_PARKED;
    } else {
        return -LKS_EBUSY;
    }
    peer->outstanding[LKS_IBV_LANE_CONNECTION] += read->id != 0;
    return 0;
}

static void end_parked(struct lks_ibv_fabric *ibv, uint32_t id, uint32_t at, int status)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (status != 0 && peer->parked[at].id != 0) {
        struct lks_ibv_event *event =
            lks_ibv_push(ibv, LKS_FABRIC_COMPLETED, id, LKS_IBV_LANE_CONNECTION);
        event->event.id = peer->parked[at].id;
        event->event.status = status;
    }
    peer->parked_count--;
    memmove(peer->parked + at, peer->parked + at + 1,
            (peer->parked_count - at) * sizeof peer->parked[0]);
}

bool lks_ibv_parked_go_on(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    for (uint32_t at = 0; at < peer->parked_count;) {
        const struct lks_ibv_parked read = peer->parked[at];
        if (keys_known(ibv, id, read.offset, read.bytes) && post_read(ibv, id, &read)) {
            end_parked(ibv, id, at, 0);
        } else {
            at++;
        }
    }
    return peer->parked_count == 0;
}

void lks_ibv_parked_end(struct lks_ibv_fabric *ibv, uint32_t id)
{
    while (ibv->peers[id].parked_count > 0) {
        end_parked(ibv, id, 0, -LKS_EBROKEN);
    }
}

void lks_ibv_chunk_answered(struct lks_ibv_fabric *ibv, uint32_t id,
                            const struct lks_ibv_message *message)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    const uint64_t area_bytes = peer->link.regions[LKS_FABRIC_SNAPSHOTS].bytes;
    const uint32_t chunk = message->body.chunk.number;
    if (area_bytes == 0 || chunk >= chunks_count(area_bytes)) {
        return;
    }
    clear_bit(peer->asked_chunks, chunk);
    if (message->status == 0) {
        peer->chunk_keys[chunk] = message->body.chunk.rkey;
        return;
    }
    lks_ibv_complain(ibv, id, message->status, "its snapshots cannot be read", "");
    lks_ibv_parked_end(ibv, id);
}
