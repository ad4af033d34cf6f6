/*
 * Moving bytes: writes, reads and flushes become work requests. The hot path: no system call beyond
 * the driver's doorbell, no lock, no allocation. Fabric's thread. Invariant: a work request stays
 * within the bounds that the peer gave and the own registered memory; a write to a log goes over an
 * open path only.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>

#include "base/assert.h"

#define FLAGS_ALL \
    ((uint32_t)(LKS_FABRIC_INLINE | LKS_FABRIC_WAKE | LKS_FABRIC_DURABLE | LKS_FABRIC_MORE))
#define FLUSH_BYTES 8u

#define unlikely(x) __builtin_expect(!!(x), 0)

/* True if [offset, offset + bytes) lies within [first, limit). */
static inline bool within(uint64_t offset, uint64_t bytes, uint64_t first, uint64_t limit)
{
    return bytes != 0 && offset >= first && offset <= limit && bytes <= limit - offset;
}

static inline bool inside(const void *address, uint64_t bytes, const void *area,
                          uint64_t area_bytes)
{
    return area != NULL && within((uintptr_t)address, bytes, (uintptr_t)area,
                                  (uintptr_t)area + area_bytes);
}

/* Takes a receive of the peer for a wake-up, if one is left; else it is owed. */
static bool may_wake(struct lks_ibv_peer *peer, struct lks_ibv_bell *bell)
{
    if (bell->sent - bell->taken < LKS_IBV_WAKES_MAX) {
        bell->sent++;
        return true;
    }
    bell->owed = true;
    peer->due |= LKS_IBV_DUE_WAKE;
    return false;
}

/* Posts a transfer of any length; `last` is the work request's opcode that ends it. */
static int post(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue, struct lks_ibv_work work,
                uint64_t bytes, enum ibv_wr_opcode last, uint64_t id)
{
    const uint8_t *local = work.local;
    const bool more = work.more;
    while (bytes > ibv->message_bytes_max) {
        work.bytes = (uint32_t)ibv->message_bytes_max;
        work.more = true;
        (void)lks_ibv_queue_post(ibv, queue, &work, LKS_IBV_FOR_USER, 0);
        local += work.bytes;
        work.local = local;
        work.remote += work.bytes;
        bytes -= work.bytes;
    }
    work.bytes = (uint32_t)bytes;
    work.opcode = last;
    work.more = more;
    /* A failure of the device breaks the queue, and the operation ends with an error. */
    (void)lks_ibv_queue_post(ibv, queue, &work, LKS_IBV_FOR_USER, id);
    return 0;
}

/* Room for a transfer and (reserved) for own messages; and for its id. */
static inline bool has_room(const struct lks_ibv_fabric *ibv, const struct lks_ibv_peer *peer,
                            const struct lks_ibv_queue *queue, uint64_t bytes, uint64_t id)
{
    const uint64_t pieces = bytes / ibv->message_bytes_max + 1;
    const enum lks_ibv_lane lane =
        queue->role == LKS_IBV_ROLE_CONTROL ? LKS_IBV_LANE_CONNECTION : LKS_IBV_LANE_PATH;
    return lks_ibv_queue_room(queue) >= pieces + LKS_IBV_MESSAGES_MAX &&
           (id == 0 || peer->outstanding[lane] < ibv->outstanding_max);
}

int lks_ibv_write_log(struct lks_fabric *fabric, uint32_t id, uint64_t offset, const void *source,
                      uint64_t bytes, uint32_t flags, uint64_t operation)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (unlikely(!lks_ibv_is_peer(ibv, id) || (flags & ~FLAGS_ALL) != 0 ||
                 !within(offset, bytes, LKS_IBV_HEAD_BYTES, ibv->options.log.bytes))) {
        return -EINVAL;
    }
    if ((flags & LKS_FABRIC_INLINE) != 0
            ? unlikely(bytes > LKS_FABRIC_INLINE_MAX || (flags & LKS_FABRIC_MORE) != 0)
            : unlikely(!inside(source, bytes, ibv->options.log.address, ibv->options.log.bytes))) {
        return -EINVAL;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_path *path = peer->path;
    if (unlikely(path == NULL)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(!has_room(ibv, peer, &path->queue, bytes, operation))) {
        return -LKS_EBUSY;
    }
    const bool wakes = (flags & LKS_FABRIC_WAKE) != 0 && may_wake(peer, &path->bell);
    peer->outstanding[LKS_IBV_LANE_PATH] += operation != 0;
    return post(ibv, &path->queue,
                (struct lks_ibv_work){.opcode = IBV_WR_RDMA_WRITE,
                                      .local = source,
                                      .lkey = ibv->log_region->lkey,
                                      .remote = peer->link.regions[LKS_FABRIC_LOG].address +
                                                offset,
                                      .rkey = path->rkey,
                                      .copy = (flags & LKS_FABRIC_INLINE) != 0,
                                      .more = (flags & LKS_FABRIC_MORE) != 0},
                bytes, wakes ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE, operation);
}

int lks_ibv_flush(struct lks_fabric *fabric, uint32_t id, uint64_t operation)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (unlikely(!lks_ibv_is_peer(ibv, id))) {
        return -EINVAL;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    struct lks_ibv_path *path = peer->path;
    if (unlikely(path == NULL)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(!has_room(ibv, peer, &path->queue, FLUSH_BYTES, operation))) {
        return -LKS_EBUSY;
    }
    peer->outstanding[LKS_IBV_LANE_PATH] += operation != 0;
    /* Reading pushes what was written before on its way to the medium. It goes through the grant's
     * own key: no flush succeeds behind a revocation. */
    return post(ibv, &path->queue,
                (struct lks_ibv_work){.opcode = IBV_WR_RDMA_READ,
                                      .local = ibv->sink,
                                      .lkey = ibv->local_region->lkey,
                                      .remote = peer->link.regions[LKS_FABRIC_LOG].address +
                                                LKS_IBV_HEAD_BYTES,
                                      .rkey = path->rkey},
                FLUSH_BYTES, IBV_WR_RDMA_READ, operation);
}

int lks_ibv_write_inbox(struct lks_fabric *fabric, uint32_t id, uint64_t offset,
                        const void *source, uint64_t bytes, uint32_t flags, uint64_t operation)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (unlikely(!lks_ibv_is_peer(ibv, id) || (flags & ~FLAGS_ALL) != 0 ||
                 !within(offset, bytes, 0, ibv->options.inbox_bytes))) {
        return -EINVAL;
    }
    if ((flags & LKS_FABRIC_INLINE) != 0
            ? unlikely(bytes > LKS_FABRIC_INLINE_MAX)
            : unlikely(!inside(source, bytes, ibv->scratch, ibv->options.scratch_bytes))) {
        return -EINVAL;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (unlikely(!peer->connected)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(!has_room(ibv, peer, &peer->link.queue, bytes, operation))) {
        return -LKS_EBUSY;
    }
    const struct lks_ibv_remote *region = &peer->link.regions[LKS_FABRIC_INBOX];
    const bool wakes = (flags & LKS_FABRIC_WAKE) != 0 && may_wake(peer, &peer->link.bell);
    peer->outstanding[LKS_IBV_LANE_CONNECTION] += operation != 0;
    return post(ibv, &peer->link.queue,
                (struct lks_ibv_work){.opcode = IBV_WR_RDMA_WRITE,
                                      .local = source,
                                      .lkey = ibv->scratch_region != NULL
                                                  ? ibv->scratch_region->lkey
                                                  : 0,
                                      .remote = region->address + offset,
                                      .rkey = region->rkey,
                                      .copy = (flags & LKS_FABRIC_INLINE) != 0},
                bytes, wakes ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE, operation);
}

/* Bytes of a peer's region; of the same size everywhere, but the snapshots. */
static uint64_t region_bytes(const struct lks_ibv_fabric *ibv, const struct lks_ibv_peer *peer,
                             enum lks_fabric_region region)
{
    switch (region) {
    case LKS_FABRIC_LOG:
        return ibv->options.log.bytes;
    case LKS_FABRIC_WORDS:
        return ibv->options.words_bytes;
    case LKS_FABRIC_INBOX:
        return ibv->options.inbox_bytes;
    case LKS_FABRIC_SNAPSHOTS:
        return peer->link.regions[LKS_FABRIC_SNAPSHOTS].bytes;
    }
    return 0;
}

int lks_ibv_read(struct lks_fabric *fabric, uint32_t id, enum lks_fabric_region region,
                 uint64_t offset, void *destination, uint64_t bytes, uint64_t operation)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (unlikely(!lks_ibv_is_peer(ibv, id) || (unsigned)region >= LKS_IBV_REGIONS)) {
        return -EINVAL;
    }
    const struct ibv_mr *local = NULL;
    if (inside(destination, bytes, ibv->scratch, ibv->options.scratch_bytes)) {
        local = ibv->scratch_region;
    } else if (inside(destination, bytes, ibv->options.log.address, ibv->options.log.bytes)) {
        local = ibv->log_region;
    }
    struct lks_ibv_peer *peer = &ibv->peers[id];
    if (unlikely(local == NULL)) {
        return -EINVAL;
    }
    if (unlikely(region == LKS_FABRIC_SNAPSHOTS && !peer->connected)) {
        return -LKS_EBROKEN; /* how many bytes the peer has is not known */
    }
    if (unlikely(!within(offset, bytes, 0, region_bytes(ibv, peer, region)))) {
        return -EINVAL;
    }
    if (unlikely(!peer->connected)) {
        return -LKS_EBROKEN;
    }
    if (unlikely(!has_room(ibv, peer, &peer->link.queue, bytes, operation))) {
        return -LKS_EBUSY;
    }
    if (region == LKS_FABRIC_SNAPSHOTS) {
        const struct lks_ibv_parked read = {.id = operation,
                                            .offset = offset,
                                            .bytes = bytes,
                                            .destination = destination,
                                            .lkey = local->lkey};
        return lks_ibv_read_snapshots(ibv, id, &read);
    }
    peer->outstanding[LKS_IBV_LANE_CONNECTION] += operation != 0;
    return post(ibv, &peer->link.queue,
                (struct lks_ibv_work){.opcode = IBV_WR_RDMA_READ,
                                      .local = destination,
                                      .lkey = local->lkey,
                                      .remote = peer->link.regions[region].address + offset,
                                      .rkey = peer->link.regions[region].rkey},
                bytes, IBV_WR_RDMA_READ, operation);
}

/* A wake-up without bytes. */
static bool ring(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue,
                 struct lks_ibv_bell *bell, const struct lks_ibv_remote *target)
{
    if (!bell->owed || queue->failed || queue->qp == NULL) {
        bell->owed = false;
        return true;
    }
    if (bell->sent - bell->taken >= LKS_IBV_WAKES_MAX || lks_ibv_queue_room(queue) == 0) {
        return false;
    }
    const struct lks_ibv_work work = {.opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
                                      .remote = target->address,
                                      .rkey = target->rkey};
    bell->owed = false;
    bell->sent++;
    (void)lks_ibv_queue_post(ibv, queue, &work, LKS_IBV_FOR_MESSAGE, 0);
    return true;
}

bool lks_ibv_ring_owed(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    bool all = ring(ibv, &peer->link.queue, &peer->link.bell,
                    &peer->link.regions[LKS_FABRIC_INBOX]);
    if (peer->path != NULL) {
        const struct lks_ibv_remote log = {
            .address = peer->link.regions[LKS_FABRIC_LOG].address + LKS_IBV_HEAD_BYTES,
            .rkey = peer->path->rkey};
        all = ring(ibv, &peer->path->queue, &peer->path->bell, &log) && all;
    }
    return all;
}
