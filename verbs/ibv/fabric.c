/*
 * The RDMA backend's life, its ops table, and poll; see verbs/fabric.h for the contract and ibv.h
 * for what the other files do. One thread uses a fabric. Invariant: poll makes no system call but a
 * look at the clock every few turns, unless a descriptor or a deadline may be due.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "verbs/ibv/software.h"
#include "verbs/shm/process.h"

#define OUTSTANDING_LIMIT 8192u
#define CONNECTION_EVENTS_MAX 2u /* CONNECTED and DISCONNECTED not handed out, a peer */
#define POLLS_BETWEEN_CLOCKS 16u
#define LOOK_INTERVAL_NS (UINT64_C(500) * LKS_NS_PER_US)
#define RETRIES 6
#define ACK_TIMEOUT 13 /* 4.096 us << 13 is 34 ms, and seven of them a quarter of a second */
#define SLOWEST_ADAPTER 4u /* what the specification allows it to make of the timeout */
#define DESCRIPTION_BYTES 400u

/* ---- events --------------------------------------------------------------------------------- */

static int init_events(struct lks_ibv_fabric *ibv)
{
    const uint32_t most = ibv->replicas * (2 * ibv->outstanding_max + LKS_FABRIC_CHANGES_MAX +
                                           CONNECTION_EVENTS_MAX);
    uint32_t slots = 64;
    while (slots < most) {
        slots *= 2;
    }
    ibv->events.slots = calloc(slots, sizeof *ibv->events.slots);
    ibv->events.mask = slots - 1;
    return ibv->events.slots != NULL ? 0 : -ENOMEM;
}

struct lks_ibv_event *lks_ibv_push(struct lks_ibv_fabric *ibv, enum lks_fabric_event_kind kind,
                                   uint32_t peer, enum lks_ibv_lane lane)
{
    struct lks_ibv_events *events = &ibv->events;
    LKS_ASSERT(events->next - events->first <= events->mask);
    struct lks_ibv_event *event = &events->slots[events->next++ & events->mask];
    *event = (struct lks_ibv_event){.event = {.kind = kind, .peer = peer}, .lane = lane};
    return event;
}

/* Hands one event out; what it counted against is free again. */
static void hand_out(struct lks_ibv_fabric *ibv, const struct lks_ibv_event *from,
                     struct lks_fabric_event *to)
{
    struct lks_ibv_peer *peer = &ibv->peers[from->event.peer];
    *to = from->event;
    if (from->lane != LKS_IBV_LANE_NONE) {
        LKS_ASSERT(peer->outstanding[from->lane] > 0);
        peer->outstanding[from->lane]--;
    }
    if (to->kind == LKS_FABRIC_DISCONNECTED) {
        peer->farewell_pending = false; /* only now may a next connection begin */
        ibv->look = true;
    }
}

/* ---- calls ---------------------------------------------------------------------------------- */

static const uint8_t *ibv_hello(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct lks_ibv_fabric *ibv = lks_ibv_of_const(fabric);
    return lks_ibv_is_peer(ibv, peer) ? ibv->peers[peer].hello : NULL;
}

static void *ibv_words(const struct lks_fabric *fabric)
{
    return lks_ibv_of_const(fabric)->words;
}

static void *ibv_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    const struct lks_ibv_fabric *ibv = lks_ibv_of_const(fabric);
    return lks_ibv_is_peer(ibv, peer) ? lks_ibv_inbox(ibv, peer) : NULL;
}

static void *ibv_scratch(const struct lks_fabric *fabric)
{
    return lks_ibv_of_const(fabric)->scratch;
}

static int ibv_wake_fd(const struct lks_fabric *fabric)
{
    return lks_ibv_of_const(fabric)->epoll_fd;
}

static void look_around(struct lks_ibv_fabric *ibv)
{
    ibv->polls = POLLS_BETWEEN_CLOCKS;
    const uint64_t now_ns = lks_clock_monotonic_ns();
    if (ibv->look || now_ns - ibv->looked_ns >= LOOK_INTERVAL_NS) {
        ibv->look = false;
        ibv->looked_ns = now_ns;
        const uint32_t ready = lks_ibv_ready(ibv);
        if ((ready & 1u << LKS_IBV_SOURCE_DEVICE) != 0) {
            lks_ibv_device_events(ibv);
        }
        lks_ibv_meeting_serve(ibv, (ready & 1u << LKS_IBV_SOURCE_MANAGER) != 0, now_ns);
    }
}

static void advance(struct lks_ibv_fabric *ibv)
{
    for (struct lks_ibv_job *job = lks_ibv_helper_take(&ibv->helper); job != NULL;
         job = lks_ibv_helper_take(&ibv->helper)) {
        job->done(ibv, job);
    }
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_peer *peer = &ibv->peers[id];
        if (peer->grant.changes_count > 0) {
            lks_ibv_grant_advance(ibv, id);
        }
        if (peer->due != 0) {
            lks_ibv_send_due(ibv, id);
        }
        if (peer->path != NULL) {
            lks_ibv_queue_ring(ibv, &peer->path->queue);
        }
    }
}

static int ibv_poll(struct lks_fabric *fabric, struct lks_fabric_event *events,
                    uint32_t events_max)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    ibv->polls--;
    if (ibv->look || ibv->polls == 0) {
        look_around(ibv);
    }
    if (ibv->device_lost) { /* what it says of operations from here on means nothing */
        return -LKS_EBROKEN;
    }
    (void)lks_ibv_take_completions(ibv);
    advance(ibv);
    uint32_t count = 0;
    while (count < events_max && ibv->events.first != ibv->events.next) {
        hand_out(ibv, &ibv->events.slots[ibv->events.first & ibv->events.mask], &events[count]);
        ibv->events.first++;
        count++;
    }
    return (int)count;
}

/* ---- life ----------------------------------------------------------------------------------- */

/* Ends a link without an event; the helper has stopped. */
static void end_link(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
        if (peer->paths[i].qp != NULL) {
            (void)ibv_destroy_qp(peer->paths[i].qp);
        }
    }
    if (peer->link.id == NULL || peer->link.state == LKS_IBV_LINK_CLOSING) {
        return; /* never made, or destroyed by the helper's last jobs */
    }
    if (peer->link.id->qp != NULL) {
        (void)rdma_disconnect(peer->link.id);
        rdma_destroy_qp(peer->link.id);
    }
    (void)rdma_destroy_id(peer->link.id);
}

static void ibv_free(struct lks_fabric *fabric)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    lks_ibv_helper_stop(&ibv->helper);
    lks_ibv_deafen(ibv); /* peers that find their connection ended ask whether we still listen */
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        end_link(ibv, id);
    }
    lks_ibv_grants_fini(ibv);
    lks_ibv_memory_fini(ibv);
    lks_ibv_wake_fini(ibv);
    lks_ibv_helper_fini(&ibv->helper);
    lks_ibv_device_fini(ibv);
    free(ibv->events.slots);
    if (ibv->predecessor_fd >= 0) {
        (void)close(ibv->predecessor_fd);
    }
    free(ibv);
}

/* How long a peer that answers nothing stays connected at least. */
static uint64_t patience_ms(const struct lks_ibv_fabric *ibv)
{
    const uint64_t wait_ns = UINT64_C(4096) << ibv->rdma.ack_timeout_exponent;
    return wait_ns * (ibv->rdma.retry_count + 1u) / LKS_NS_PER_MS;
}

static void ibv_describe(const struct lks_fabric *fabric, char *text, size_t bytes)
{
    const struct lks_ibv_fabric *ibv = lks_ibv_of_const(fabric);
    if (ibv->trouble[0] != '\0') {
        (void)snprintf(text, bytes, "RDMA device %s: NOT USABLE NOW: %s",
                       ibv_get_device_name(ibv->context->device), ibv->trouble);
        return;
    }
    (void)snprintf(text, bytes, "RDMA device %s, driver %s; a silent peer is given up after "
                   "%" PRIu64 " to %" PRIu64 " ms; permission ends by: %s (%s)",
                   ibv_get_device_name(ibv->context->device),
                   ibv->driver[0] != '\0' ? ibv->driver : "without hardware", patience_ms(ibv),
                   SLOWEST_ADAPTER * patience_ms(ibv),
                   ibv->fence->name, ibv->fence->evidence);
}

static const struct lks_fabric_ops ibv_ops = {
    .name = "rdma",
    .writes_when_posted = false,
    .free = ibv_free,
    .connect = lks_ibv_connect,
    .expect = lks_ibv_expect,
    .place = lks_ibv_place,
    .hello = ibv_hello,
    .words = ibv_words,
    .inbox = ibv_inbox,
    .scratch = ibv_scratch,
    .grant = lks_ibv_grant,
    .revoke = lks_ibv_revoke,
    .open = lks_ibv_open,
    .write_log = lks_ibv_write_log,
    .flush = lks_ibv_flush,
    .write_inbox = lks_ibv_write_inbox,
    .read = lks_ibv_read,
    .poll = ibv_poll,
    .wake_fd = ibv_wake_fd,
    .arm = lks_ibv_arm,
    .disarm = lks_ibv_disarm,
    .describe = ibv_describe,
};

static int check_options(const struct lks_fabric_options *options,
                         const struct lks_rdma_options *rdma, struct lks_error *err)
{
    if (rdma->ack_timeout_exponent > 31 || rdma->retry_count > 7) {
        return lks_error_set(err, -EINVAL, "RDMA acknowledgement timeout 2^%u and %u retries: at "
                             "most 2^31 and 7", rdma->ack_timeout_exponent, rdma->retry_count);
    }
    if (rdma->service_level > 15) {
        return lks_error_set(err, -EINVAL, "RDMA service level %u: at most 15",
                             rdma->service_level);
    }
    if (options->replicas < 1 || options->replicas > LKS_REPLICAS_MAX || options->replica < 1 ||
        options->replica > options->replicas) {
        return lks_error_set(err, -EINVAL, "replica %u of %u: ids are 1 to the number of "
                             "replicas, which is at most %u", options->replica,
                             options->replicas, LKS_REPLICAS_MAX);
    }
    if (options->log.address == NULL || options->log.bytes <= LKS_IBV_HEAD_BYTES ||
        (uintptr_t)options->log.address % LKS_IBV_HEAD_BYTES != 0) {
        return lks_error_set(err, -EINVAL, "the RDMA fabric needs a log memory longer than %u "
                             "bytes and aligned to as many", LKS_IBV_HEAD_BYTES);
    }
    if (options->outstanding_max < 1 || options->outstanding_max > OUTSTANDING_LIMIT) {
        return lks_error_set(err, -EINVAL, "outstanding operations: %u, but 1 to %u are possible",
                             options->outstanding_max, OUTSTANDING_LIMIT);
    }
    if (options->words_bytes == 0 || options->inbox_bytes == 0) {
        return lks_error_set(err, -EINVAL, "the RDMA fabric needs words and inboxes");
    }
    return 0;
}

/* Writes down which process this life is, and finds the one before it. */
static int take_over(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    struct lks_ibv_head head = {.magic = LKS_IBV_HEAD_MAGIC};
    struct lks_shm_process self;
    struct lks_ibv_head *place =
        (struct lks_ibv_head *)(void *)((uint8_t *)ibv->options.log.address + LKS_IBV_HEAD_OFFSET);
    int code = lks_shm_process_self(&self);
    if (code == 0) {
        code = lks_shm_boot_id(head.boot_id);
    }
    if (code != 0) {
        return lks_error_set(err, code, "/proc cannot be read: %s", lks_error_text(code));
    }
    head.pid = self.pid;
    head.start_time = self.start_time;
    const struct lks_ibv_head before = *place;
    if (before.magic == LKS_IBV_HEAD_MAGIC &&
        memcmp(before.boot_id, head.boot_id, sizeof head.boot_id) == 0 &&
        (before.pid != head.pid || before.start_time != head.start_time)) {
        const struct lks_shm_process process = {.pid = before.pid,
                                                .start_time = before.start_time};
        code = lks_shm_process_open(&process, &ibv->predecessor_fd);
        if (code != 0 && code != -ESRCH) {
            return lks_error_set(err, code, "process %u, which was this replica before, cannot be "
                                 "watched: %s", before.pid, lks_error_text(code));
        }
    }
    *place = head;
    return 0;
}

static int init(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    int code = lks_ibv_device_init(ibv, err);
    if (code == 0) {
        code = take_over(ibv, err);
    }
    if (code == 0) {
        code = lks_ibv_memory_init(ibv, err);
    }
    if (code == 0) {
        code = lks_ibv_grants_init(ibv, err);
    }
    if (code != 0) {
        return code;
    }
    code = init_events(ibv);
    if (code == 0) {
        code = lks_ibv_helper_init(&ibv->helper);
    }
    if (code == 0) {
        code = lks_ibv_wake_init(ibv);
    }
    if (code == 0 && ibv->predecessor_fd >= 0) {
        code = lks_ibv_watch(ibv, ibv->predecessor_fd, LKS_IBV_SOURCE_PREDECESSOR);
    }
    if (code != 0) {
        return lks_error_set(err, code, "the RDMA fabric's memory, thread and descriptors: %s",
                             lks_error_text(code));
    }
    return lks_ibv_listen(ibv, err);
}

int lks_fabric_rdma_new(struct lks_fabric **fabric, const struct lks_fabric_options *options,
                        const struct lks_rdma_options *rdma, struct lks_error *err)
{
    int code = check_options(options, rdma, err);
    if (code != 0) {
        return code;
    }
    struct lks_ibv_fabric *ibv = calloc(1, sizeof *ibv);
    if (ibv == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for the RDMA fabric");
    }
    ibv->ops = ibv_ops;
    ibv->base.ops = &ibv->ops;
    ibv->self = options->replica;
    ibv->replicas = options->replicas;
    ibv->outstanding_max = options->outstanding_max;
    ibv->options = *options;
    ibv->rdma = *rdma;
    if (ibv->rdma.ack_timeout_exponent == 0) {
        ibv->rdma.ack_timeout_exponent = ACK_TIMEOUT;
    }
    if (ibv->rdma.retry_count == 0) {
        ibv->rdma.retry_count = RETRIES;
    }
    ibv->depth = 64;
    while (ibv->depth < 2 * ibv->outstanding_max + 2 * LKS_IBV_MESSAGES_MAX) {
        ibv->depth *= 2; /* as many without an id, and own messages */
    }
    ibv->polls = 1;
    ibv->predecessor_fd = -1;
    ibv->epoll_fd = -1;
    ibv->timer_fd = -1;
    ibv->helper.fd = -1;
    code = init(ibv, err);
    if (code != 0) {
        ibv_free(&ibv->base);
        return code;
    }
    /* A software driver sends, and within a host also receives, in the call that posts. */
    const bool software = ibv->driver[0] == '\0';
    ibv->ops.writes_while_posting = software;
    if (software && lks_ibv_software_copies_bytes(LKS_IBV_CPUINFO)) {
        lks_log_warn(options->log_sink, "software RDMA on a kernel that copies byte by byte (erms):"
                     " words that peers write may be seen half written, and a log be taken for "
                     "damaged; for trials only, or boot with clearcpuid=erms (docs/rdma.md)");
    }
    char text[DESCRIPTION_BYTES];
    ibv_describe(&ibv->base, text, sizeof text);
    lks_log_info(options->log_sink, "%s", text);
    lks_ibv_abilities_describe(&ibv->abilities, text, sizeof text);
    lks_log_info(options->log_sink, "RDMA device %s: %s",
                 ibv_get_device_name(ibv->context->device), text);
    *fabric = &ibv->base;
    return 0;
}
