/* One end of a lane over RDMA; see client_end.h. */
#include "verbs/ibv/client_end.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "verbs/fabric.h"

#define COMPLETIONS_AT_ONCE 16
#define BATCHES_MAX ((LKS_CLIENT_IBV_DEPTH + LKS_CLIENT_IBV_RECEIVES) / COMPLETIONS_AT_ONCE)
#define RESERVED 4u /* of the writes: for messages of the meeting, and _check */
#define RECEIVE_MARK (UINT64_C(1) << 63)
#define SLOT_BYTES LKS_FABRIC_INLINE_MAX
#define MESSAGE_BYTES sizeof(struct lks_client_ibv_message)
#define RECEIVES_ALL (LKS_CLIENT_IBV_MESSAGES + LKS_CLIENT_IBV_RECEIVES)

_Static_assert(MESSAGE_BYTES <= LKS_FABRIC_INLINE_MAX, "a message fits a slot");

/* Zeroed memory that no child process inherits: a copied page would no longer be the device's. */
static uint8_t *map_zeroed(uint64_t bytes)
{
    void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (address == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(address, bytes, MADV_DONTFORK);
    return address;
}

static void fail(struct lks_client_ibv_end *end, const char *why)
{
    if (!end->failed) {
        end->failed = true;
        end->why = why;
    }
}

/* ---- life ----------------------------------------------------------------------------------- */

static int post_receive(struct lks_client_ibv_end *end, uint64_t slot)
{
    const bool message = slot < LKS_CLIENT_IBV_MESSAGES;
    struct ibv_sge piece = {.addr = (uintptr_t)end->local + slot * MESSAGE_BYTES,
                            .length = MESSAGE_BYTES,
                            .lkey = end->local_region->lkey};
    struct ibv_recv_wr request = {.wr_id = RECEIVE_MARK | slot,
                                  .sg_list = &piece,
                                  .num_sge = message ? 1 : 0};
    struct ibv_recv_wr *bad = NULL;
    return -ibv_post_recv(end->id->qp, &request, &bad);
}

/* With what the device copies itself, if it can be so much; else from slots. */
static int make_queue_pair(struct lks_client_ibv_end *end)
{
    struct ibv_qp_init_attr attributes = {.send_cq = end->cq,
                                          .recv_cq = end->cq,
                                          .cap = {.max_send_wr = LKS_CLIENT_IBV_DEPTH,
                                                  .max_recv_wr = RECEIVES_ALL,
                                                  .max_send_sge = 1,
                                                  .max_recv_sge = 1,
                                                  .max_inline_data = LKS_FABRIC_INLINE_MAX},
                                          .qp_type = IBV_QPT_RC};
    struct ibv_qp_init_attr wanted = attributes;
    end->inline_max = LKS_FABRIC_INLINE_MAX;
    if (rdma_create_qp(end->id, end->pd, &wanted) == 0) {
        return 0;
    }
    end->inline_max = 0;
    attributes.cap.max_inline_data = 0;
    return rdma_create_qp(end->id, end->pd, &attributes) == 0 ? 0 : errno != 0 ? -errno : -EIO;
}

static int make_local(struct lks_client_ibv_end *end)
{
    end->local_bytes = (uint64_t)LKS_CLIENT_IBV_MESSAGES * MESSAGE_BYTES +
                       (uint64_t)LKS_CLIENT_IBV_DEPTH * SLOT_BYTES;
    end->local = map_zeroed(end->local_bytes);
    if (end->local == NULL) {
        return -ENOMEM;
    }
    end->local_region =
        ibv_reg_mr(end->pd, end->local, end->local_bytes, IBV_ACCESS_LOCAL_WRITE);
    return end->local_region != NULL ? 0 : errno != 0 ? -errno : -EIO;
}

int lks_client_ibv_end_init(struct lks_client_ibv_end *end, struct rdma_cm_id *id,
                            struct ibv_comp_channel *completions)
{
    *end = (struct lks_client_ibv_end){.id = id};
    end->pd = ibv_alloc_pd(id->verbs);
    if (end->pd == NULL) {
        return errno != 0 ? -errno : -EIO;
    }
    /* So long that it cannot overrun, whatever the other end does. */
    end->cq = ibv_create_cq(id->verbs, (int)(LKS_CLIENT_IBV_DEPTH + RECEIVES_ALL), NULL,
                            completions, 0);
    if (end->cq == NULL) {
        return errno != 0 ? -errno : -EIO;
    }
    int code = make_local(end);
    if (code == 0) {
        code = make_queue_pair(end);
    }
    for (uint64_t slot = 0; slot < RECEIVES_ALL && code == 0; slot++) {
        code = post_receive(end, slot);
    }
    return code;
}

int lks_client_ibv_end_open(struct lks_client_ibv_end *end, uint64_t area_bytes)
{
    LKS_ASSERT(end->area == NULL);
    end->area = map_zeroed(area_bytes);
    if (end->area == NULL) {
        return -ENOMEM;
    }
    end->area_bytes = area_bytes;
    end->area_region = ibv_reg_mr(end->pd, end->area, area_bytes,
                                  IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    return end->area_region != NULL ? 0 : errno != 0 ? -errno : -EIO;
}

static void deregister(struct ibv_mr **region, uint8_t **memory, uint64_t bytes)
{
    if (*region != NULL) {
        (void)ibv_dereg_mr(*region);
        *region = NULL;
    }
    if (*memory != NULL) {
        (void)munmap(*memory, bytes);
        *memory = NULL;
    }
}

void lks_client_ibv_end_fini(struct lks_client_ibv_end *end)
{
    if (end->id != NULL && end->id->qp != NULL) {
        (void)rdma_disconnect(end->id);
        rdma_destroy_qp(end->id);
    }
    deregister(&end->area_region, &end->area, end->area_bytes);
    deregister(&end->local_region, &end->local, end->local_bytes);
    if (end->cq != NULL) {
        (void)ibv_destroy_cq(end->cq);
    }
    if (end->pd != NULL) {
        (void)ibv_dealloc_pd(end->pd);
    }
    if (end->id != NULL) {
        (void)rdma_destroy_id(end->id);
    }
    *end = (struct lks_client_ibv_end){0};
}

/* ---- completions ---------------------------------------------------------------------------- */

static void on_sent(struct lks_client_ibv_end *end, uint32_t sequence)
{
    if (sequence - end->ended <= end->posted - end->ended) {
        end->ended = sequence;
    }
}

/* A wake-up: it has done its work by coming. Anything else is no business of a lane. */
static void on_received(struct lks_client_ibv_end *end, const struct ibv_wc *completion)
{
    if ((completion->wc_flags & IBV_WC_WITH_IMM) == 0) {
        fail(end, "it sent a message that is none of a lane");
    } else if (post_receive(end, LKS_CLIENT_IBV_MESSAGES) != 0) {
        fail(end, "its queue pair takes no receives");
    }
}

static void on_completion(struct lks_client_ibv_end *end, const struct ibv_wc *completion)
{
    if (completion->status != IBV_WC_SUCCESS) {
        fail(end, ibv_wc_status_str(completion->status));
    } else if ((completion->wr_id & RECEIVE_MARK) != 0) {
        on_received(end, completion);
    } else {
        on_sent(end, (uint32_t)completion->wr_id);
    }
}

static void take_completions(struct lks_client_ibv_end *end)
{
    struct ibv_wc batch[COMPLETIONS_AT_ONCE];
    int count = COMPLETIONS_AT_ONCE;
    for (uint32_t i = 0; i < BATCHES_MAX && count == COMPLETIONS_AT_ONCE && !end->failed; i++) {
        count = ibv_poll_cq(end->cq, COMPLETIONS_AT_ONCE, batch);
        for (int j = 0; j < count; j++) {
            on_completion(end, &batch[j]);
        }
    }
    if (count < 0) {
        fail(end, "its completion queue is broken");
    }
}

/* ---- sending -------------------------------------------------------------------------------- */

struct work {
    enum ibv_wr_opcode opcode;
    const void *source;
    uint32_t bytes;
    uint64_t offset; /* in the other end's area */
    bool signalled;
    bool more; /* another one follows at once */
};

static uint32_t room(const struct lks_client_ibv_end *end)
{
    return LKS_CLIENT_IBV_DEPTH - (end->posted - end->ended);
}

static uint32_t slots_of(uint32_t bytes)
{
    return bytes == 0 ? 1 : (bytes + SLOT_BYTES - 1) / SLOT_BYTES;
}

static uint8_t *slots(const struct lks_client_ibv_end *end)
{
    return end->local + LKS_CLIENT_IBV_MESSAGES * MESSAGE_BYTES;
}

/* One doorbell for the whole chain. */
static void ring(struct lks_client_ibv_end *end)
{
    struct ibv_send_wr *bad = NULL;
    const uint32_t count = end->chained;
    end->chained = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ibv_send_wr *request = &end->chain[i];
        request->sg_list = &end->pieces[i];
        request->next = i + 1 < count ? &end->chain[i + 1] : NULL;
        if (request->num_sge != 0 && end->pieces[i].length <= end->inline_max) {
            request->send_flags |= IBV_SEND_INLINE; /* the device need not fetch them */
        }
    }
    if (count != 0 && !end->failed && ibv_post_send(end->id->qp, end->chain, &bad) != 0) {
        fail(end, "its queue pair takes nothing more");
    }
}

/* Counts slots that the chain's last work request takes more. */
static void take_slots(struct lks_client_ibv_end *end, uint32_t count, bool signalled)
{
    struct ibv_send_wr *request = &end->chain[end->chained - 1];
    end->posted += count;
    end->unsignalled += count;
    request->wr_id = end->posted; /* its completion ends all up to here */
    if (signalled || end->unsignalled >= LKS_CLIENT_IBV_DEPTH / 4) {
        request->send_flags |= IBV_SEND_SIGNALED;
        end->unsignalled = 0;
    }
}

/* Puts bytes behind those of the write that is kept back, if they are its neighbours, on both
 * sides. */
static bool join(struct lks_client_ibv_end *end, const struct work *work)
{
    if (end->chained == 0 || work->opcode != IBV_WR_RDMA_WRITE || work->bytes == 0) {
        return false;
    }
    const struct ibv_send_wr *last = &end->chain[end->chained - 1];
    struct ibv_sge *piece = &end->pieces[end->chained - 1];
    const uint32_t joined = piece->length + work->bytes;
    const uint32_t first = (uint32_t)((piece->addr - (uintptr_t)slots(end)) / SLOT_BYTES);
    if (last->opcode != IBV_WR_RDMA_WRITE || last->num_sge == 0 ||
        last->wr.rdma.remote_addr + piece->length != end->remote.address + work->offset ||
        joined > LKS_CLIENT_IBV_JOINED_MAX || first + slots_of(joined) > LKS_CLIENT_IBV_DEPTH) {
        return false;
    }
    const uint32_t more = slots_of(joined) - slots_of(piece->length);
    memcpy((uint8_t *)(uintptr_t)piece->addr + piece->length, work->source, work->bytes);
    piece->length = joined;
    take_slots(end, more, work->signalled);
    return true;
}

/* There must be room. What is posted is copied first: to slots, which are the work request's until
 * it has ended. */
static void post(struct lks_client_ibv_end *end, const struct work *work)
{
    if (!join(end, work)) {
        if (end->chained == LKS_CLIENT_IBV_CHAIN_MAX) {
            ring(end);
        }
        uint8_t *slot =
            slots(end) + (uint64_t)(end->posted % LKS_CLIENT_IBV_DEPTH) * SLOT_BYTES;
        struct ibv_send_wr *request = &end->chain[end->chained];
        *request = (struct ibv_send_wr){.num_sge = work->bytes != 0 ? 1 : 0,
                                        .opcode = work->opcode};
        request->wr.rdma.remote_addr = end->remote.address + work->offset;
        request->wr.rdma.rkey = end->remote.rkey;
        end->pieces[end->chained] = (struct ibv_sge){.addr = (uintptr_t)slot,
                                                     .length = work->bytes,
                                                     .lkey = end->local_region->lkey};
        if (work->bytes != 0) {
            memcpy(slot, work->source, work->bytes);
        }
        end->chained++;
        take_slots(end, slots_of(work->bytes), work->signalled);
    }
    if (!work->more) {
        ring(end);
    }
}

bool lks_client_ibv_end_say(struct lks_client_ibv_end *end,
                            const struct lks_client_ibv_message *message)
{
    if (!end->failed && room(end) > 0) {
        post(end, &(struct work){.opcode = IBV_WR_SEND,
                                 .source = message,
                                 .bytes = sizeof *message,
                                 .signalled = true});
        return !end->failed;
    }
    return false;
}

int lks_client_ibv_end_write(struct lks_client_ibv_end *end, uint64_t offset, const void *source,
                             uint64_t bytes, uint32_t flags)
{
    const bool wake = (flags & LKS_FABRIC_WAKE) != 0;
    if (bytes == 0 || bytes > LKS_FABRIC_INLINE_MAX || offset > end->area_bytes ||
        bytes > end->area_bytes - offset) {
        return -EINVAL;
    }
    /* Who writes takes wake-ups as well: so there are always receives for the other end's. */
    if (room(end) <= RESERVED) {
        lks_client_ibv_end_poll(end);
    } else if (wake) {
        take_completions(end);
    }
    if (end->failed) {
        return -LKS_EBROKEN;
    }
    if (room(end) <= RESERVED) {
        return -LKS_EBUSY;
    }
    post(end, &(struct work){.opcode = wake ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE,
                             .source = source,
                             .bytes = (uint32_t)bytes,
                             .offset = offset,
                             .more = (flags & LKS_FABRIC_MORE) != 0});
    return end->failed ? -LKS_EBROKEN : 0;
}

/* ---- looking -------------------------------------------------------------------------------- */

void lks_client_ibv_end_poll(struct lks_client_ibv_end *end)
{
    ring(end);
    take_completions(end);
}

int lks_client_ibv_end_hear(struct lks_client_ibv_end *end,
                            struct lks_client_ibv_message *message)
{
    struct ibv_wc completion;
    while (!end->failed && ibv_poll_cq(end->cq, 1, &completion) == 1) {
        const uint64_t slot = completion.wr_id & ~RECEIVE_MARK;
        if (completion.status != IBV_WC_SUCCESS || (completion.wr_id & RECEIVE_MARK) == 0) {
            on_completion(end, &completion);
            continue;
        }
        if (slot >= LKS_CLIENT_IBV_MESSAGES || (completion.wc_flags & IBV_WC_WITH_IMM) != 0 ||
            completion.byte_len != MESSAGE_BYTES) {
            return -EBADMSG;
        }
        memcpy(message, end->local + slot * MESSAGE_BYTES, MESSAGE_BYTES);
        return 0;
    }
    return end->failed ? -LKS_EBROKEN : -EAGAIN;
}

void lks_client_ibv_end_arm(struct lks_client_ibv_end *end)
{
    if (!end->failed && ibv_req_notify_cq(end->cq, 0) != 0) {
        fail(end, "its completion queue raises no events");
    }
    /* What came before the queue was armed raises no event. */
    lks_client_ibv_end_poll(end);
}

void lks_client_ibv_end_check(struct lks_client_ibv_end *end, uint64_t now_ns)
{
    lks_client_ibv_end_poll(end);
    if (end->failed) {
        return;
    }
    if (end->asked && end->ended - end->question > UINT32_MAX / 2) { /* before it */
        if (now_ns - end->asked_ns > LKS_CLIENT_IBV_STALL_NS) {
            fail(end, "it takes nothing any more");
        }
        return;
    }
    end->asked = room(end) > 0;
    if (end->asked) {
        post(end, &(struct work){.opcode = IBV_WR_RDMA_WRITE, .signalled = true});
        end->question = end->posted;
        end->asked_ns = now_ns;
    }
}
