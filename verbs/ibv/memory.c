/*
 * Registered memory: what peers may read (log, words, snapshots) and write (each its inbox area),
 * and what this side sends from. Each region has the least access that serves, and none has relaxed
 * ordering. Fabric's thread, at start and end. Invariant: nobody can write the log through a region
 * of this file.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "base/assert.h"

#define PAGE_BYTES UINT64_C(4096)
#define SINK_BYTES UINT64_C(64)

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Zeroed memory that no child process inherits: a copied page would no longer be the device's. */
static uint8_t *map_zeroed(uint64_t bytes)
{
    void *address = mmap(NULL, whole_pages(bytes), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (address == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(address, whole_pages(bytes), MADV_DONTFORK);
    return address;
}

static void unmap(uint8_t *address, uint64_t bytes)
{
    if (address != NULL) {
        (void)munmap(address, whole_pages(bytes));
    }
}

/* What a piece of the log or of the snapshot area lies on. */
static enum lks_ibv_backing backing_of(const struct lks_ibv_fabric *ibv, const void *address)
{
    const struct lks_fabric_memory *areas[] = {&ibv->options.log, &ibv->options.snapshots};
    for (size_t i = 0; i < LKS_COUNT_OF(areas); i++) {
        const uintptr_t begin = (uintptr_t)areas[i]->address;
        if (begin != 0 && (uintptr_t)address - begin < areas[i]->bytes) {
            return lks_ibv_backing_of(areas[i]->fd);
        }
    }
    return LKS_IBV_BACKING_ANONYMOUS;
}

int lks_ibv_explain(const struct lks_ibv_fabric *ibv, const struct lks_ibv_piece *piece, int code,
                    struct lks_error *err)
{
    struct lks_ibv_refusal refusal = {.what = piece->what,
                                      .device = ibv_get_device_name(ibv->context->device),
                                      .code = code,
                                      .bytes = piece->bytes,
                                      .backing = backing_of(ibv, piece->address),
                                      .locked_bytes_max = lks_ibv_locked_bytes_max(piece->bytes),
                                      .ring_bytes = ibv->options.log.bytes,
                                      .abilities = ibv->abilities};
    struct utsname system;
    if (uname(&system) == 0) {
        (void)sscanf(system.release, "%u.%u", &refusal.kernel_major, &refusal.kernel_minor);
    }
    for (uint32_t id = 1; id <= ibv->replicas; id++) { /* once to read, once a peer to write */
        refusal.rings += ibv->rdma.places[id].address[0] != '\0';
    }
    return lks_ibv_refusal_explain(&refusal, err);
}

static int register_region(const struct lks_ibv_fabric *ibv, const char *what, void *address,
                           uint64_t bytes, int access, struct ibv_mr **region,
                           struct lks_error *err)
{
    *region = ibv_reg_mr(ibv->pd, address, bytes, access);
    if (*region == NULL) {
        const int code = errno != 0 ? -errno : -EIO;
        return lks_ibv_explain(ibv, &(struct lks_ibv_piece){what, address, bytes}, code, err);
    }
    return 0;
}

/* Slots are needed where the device does not copy as much as the fabric promises. */
static uint64_t slots_bytes(const struct lks_ibv_fabric *ibv)
{
    return ibv->inline_max >= LKS_FABRIC_INLINE_MAX
               ? 0
               : (uint64_t)ibv->depth * LKS_FABRIC_INLINE_MAX;
}

uint8_t *lks_ibv_receive_slot(const struct lks_ibv_fabric *ibv, uint32_t peer, uint32_t slot)
{
    LKS_ASSERT(slot < LKS_IBV_RECEIVES);
    return ibv->local + ((uint64_t)peer * LKS_IBV_RECEIVES + slot) * LKS_IBV_MESSAGE_BYTES;
}

static int init_queue(struct lks_ibv_fabric *ibv, struct lks_ibv_queue *queue, uint32_t peer,
                      enum lks_ibv_role role, uint8_t **slots)
{
    queue->peer = (uint8_t)peer;
    queue->role = (uint8_t)role;
    queue->inline_max = ibv->inline_max;
    const int code = lks_ibv_queue_init(
        queue, role == LKS_IBV_ROLE_OWNER ? LKS_IBV_OWNER_DEPTH : ibv->depth);
    if (code == 0 && role != LKS_IBV_ROLE_OWNER && slots_bytes(ibv) != 0) {
        queue->slots = *slots;
        queue->slots_lkey = ibv->local_region->lkey;
        *slots += slots_bytes(ibv);
    }
    return code;
}

static int init_queues(struct lks_ibv_fabric *ibv, uint8_t *slots)
{
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_peer *peer = &ibv->peers[id];
        int code = init_queue(ibv, &peer->link.queue, id, LKS_IBV_ROLE_CONTROL, &slots);
        for (uint32_t i = 0; i < LKS_IBV_PATHS && code == 0; i++) {
            code = init_queue(ibv, &peer->paths[i].queue, id, LKS_IBV_ROLE_PATH, &slots);
            peer->paths[i].ibv = ibv;
        }
        if (code == 0) {
            code = init_queue(ibv, &peer->grant.queue, id, LKS_IBV_ROLE_OWNER, &slots);
        }
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

/* Receives of all peers, then slots, then the sink. */
static int init_local(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    const uint64_t receives =
        (uint64_t)(ibv->replicas + 1) * LKS_IBV_RECEIVES * LKS_IBV_MESSAGE_BYTES;
    const uint64_t slots = (uint64_t)ibv->replicas * (1 + LKS_IBV_PATHS) * slots_bytes(ibv);
    ibv->local_bytes = receives + slots + SINK_BYTES;
    ibv->local = map_zeroed(ibv->local_bytes);
    if (ibv->local == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the RDMA fabric's messages");
    }
    ibv->sink = (uint64_t *)(void *)(ibv->local + receives + slots);
    int code = register_region(ibv, "memory for messages", ibv->local, ibv->local_bytes,
                               IBV_ACCESS_LOCAL_WRITE, &ibv->local_region, err);
    if (code == 0 && init_queues(ibv, ibv->local + receives) != 0) {
        code = lks_error_set(err, -ENOMEM, "no memory for the RDMA fabric's queues");
    }
    return code;
}

uint8_t *lks_ibv_inbox(const struct lks_ibv_fabric *ibv, uint32_t peer)
{
    return ibv->inboxes + peer * ibv->inbox_stride;
}

static int init_inboxes(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    int code = 0;
    ibv->inbox_stride = whole_pages(ibv->options.inbox_bytes);
    ibv->inboxes = map_zeroed((ibv->replicas + 1) * ibv->inbox_stride);
    if (ibv->inboxes == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the inboxes");
    }
    for (uint32_t id = 1; id <= ibv->replicas && code == 0; id++) {
        if (lks_ibv_is_peer(ibv, id)) {
            code = register_region(ibv, "an inbox", lks_ibv_inbox(ibv, id),
                                   ibv->options.inbox_bytes, access, &ibv->peers[id].inbox_region,
                                   err);
        }
    }
    return code;
}

struct ibv_mr *lks_ibv_register_grant(const struct lks_ibv_fabric *ibv, struct ibv_pd *pd)
{
    /* A region under windows is itself neither readable nor writable by anybody. */
    const int access = ibv->fence->window
                           ? IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND
                           : IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                 IBV_ACCESS_REMOTE_READ;
    uint8_t *log = ibv->options.log.address;
    return ibv_reg_mr(pd, log + LKS_IBV_HEAD_BYTES, ibv->options.log.bytes - LKS_IBV_HEAD_BYTES,
                      access);
}

int lks_ibv_memory_init(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    const struct lks_fabric_options *options = &ibv->options;
    ibv->words = map_zeroed(options->words_bytes);
    ibv->scratch = options->scratch_bytes != 0 ? map_zeroed(options->scratch_bytes) : NULL;
    if (ibv->words == NULL || (options->scratch_bytes != 0 && ibv->scratch == NULL)) {
        return lks_error_set(err, -ENOMEM, "no memory for words and scratch of the RDMA fabric");
    }
    int code = init_local(ibv, err);
    if (code == 0) {
        code = init_inboxes(ibv, err);
    }
    if (code == 0) {
        code = register_region(ibv, "words", ibv->words, options->words_bytes,
                               IBV_ACCESS_REMOTE_READ, &ibv->words_region, err);
    }
    if (code == 0 && ibv->scratch != NULL) {
        code = register_region(ibv, "scratch memory", ibv->scratch, options->scratch_bytes,
                               IBV_ACCESS_LOCAL_WRITE, &ibv->scratch_region, err);
    }
    if (code == 0) {
        code = register_region(ibv, "the log", options->log.address, options->log.bytes,
                               IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ, &ibv->log_region,
                               err);
    }
    if (code == 0) {
        code = lks_ibv_snapshots_init(ibv, err);
    }
    return code;
}

static void deregister(struct ibv_mr **region)
{
    if (*region != NULL) {
        (void)ibv_dereg_mr(*region);
        *region = NULL;
    }
}

void lks_ibv_memory_fini(struct lks_ibv_fabric *ibv)
{
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_peer *peer = &ibv->peers[id];
        deregister(&peer->inbox_region);
        lks_ibv_queue_fini(&peer->link.queue);
        lks_ibv_queue_fini(&peer->grant.queue);
        for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
            lks_ibv_queue_fini(&peer->paths[i].queue);
        }
    }
    lks_ibv_snapshots_fini(ibv);
    deregister(&ibv->log_region);
    deregister(&ibv->scratch_region);
    deregister(&ibv->words_region);
    deregister(&ibv->local_region);
    unmap(ibv->local, ibv->local_bytes);
    unmap(ibv->inboxes, (ibv->replicas + 1) * ibv->inbox_stride);
    unmap(ibv->scratch, ibv->options.scratch_bytes);
    unmap(ibv->words, ibv->options.words_bytes);
}
