/*
 * A client's end of its lane over RDMA; see verbs/rdma_lane.h. The caller's thread; attaching waits
 * for the connection manager and the replica, within its limit. Invariant: the replica hears where
 * the client's area lies only after it has proved the client key.
 */
#include "verbs/rdma_lane.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "verbs/ibv/client_cm.h"
#include "verbs/ibv/client_end.h"

#define SLEEP_MAX_NS LKS_NS_PER_S
#define LOOK_MS 1 /* at the replica's messages, while meeting it */
/* Of the specification of communication management, table of rejection reasons. */
#define REJECT_BY_CONSUMER 28

struct rdma_lane {
    struct lks_lane base; /* first */
    struct rdma_event_channel *channel;
    struct ibv_comp_channel *completions;
    struct lks_client_ibv_meeting meeting;
    struct lks_client_ibv_end end;
    struct rdma_cm_id *id; /* until it is the end's */
    bool ended;            /* the connection manager says so */
    uint64_t until_ns;     /* of attaching */
};

static struct rdma_lane *lane_of(struct lks_lane *lane)
{
    return (struct rdma_lane *)(void *)lane;
}

/* ---- connecting ----------------------------------------------------------------------------- */

static int left_ms(const struct rdma_lane *lane)
{
    const uint64_t now_ns = lks_clock_monotonic_ns();
    return now_ns >= lane->until_ns ? 0 : (int)((lane->until_ns - now_ns) / LKS_NS_PER_MS) + 1;
}

/* Why an event that was not hoped for came. */
static int status_of(const struct lks_client_ibv_event *event)
{
    struct lks_client_ibv_reject why = {0};
    switch (event->kind) {
    case RDMA_CM_EVENT_REJECTED:
        if (event->status == REJECT_BY_CONSUMER && event->bytes >= sizeof why) {
            memcpy(&why, event->data, sizeof why);
        }
        if (why.magic != LKS_CLIENT_IBV_MAGIC) {
            return -ECONNREFUSED;
        }
        return why.version != LKS_CLIENT_IBV_VERSION ? -LKS_EVERSION
               : why.status < 0                      ? why.status
                                                     : -EBADMSG;
    case RDMA_CM_EVENT_ADDR_ERROR:
        return event->status == -ETIMEDOUT ? -EHOSTUNREACH : -ENODEV;
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
        return -EHOSTUNREACH;
    default:
        return -ECONNREFUSED;
    }
}

/* Waits for an event of this kind; any other one is a failure. */
static int await(struct rdma_lane *lane, enum rdma_cm_event_type kind,
                 struct lks_client_ibv_event *event)
{
    struct pollfd wanted = {.fd = lane->channel->fd, .events = POLLIN};
    while (!lks_client_ibv_next_event(lane->channel, event)) {
        const int ms = left_ms(lane);
        if (ms == 0) {
            return -ETIMEDOUT;
        }
        (void)poll(&wanted, 1, ms);
    }
    return event->kind == kind ? 0 : status_of(event);
}

static int resolve(struct rdma_lane *lane, const struct lks_rdma_place *place)
{
    struct sockaddr_storage there;
    struct lks_client_ibv_event event;
    int code = lks_client_ibv_parse_place(place, &there);
    if (code != 0) {
        return code;
    }
    lane->channel = rdma_create_event_channel();
    if (lane->channel == NULL) {
        return errno == ENOENT ? -ENODEV : -errno;
    }
    code = lks_client_ibv_make_non_blocking(lane->channel->fd);
    if (code != 0) {
        return code;
    }
    if (rdma_create_id(lane->channel, &lane->id, NULL, RDMA_PS_TCP) != 0) {
        lane->id = NULL;
        return -errno;
    }
    lks_client_ibv_set_options(lane->id, 0, 0);
    if (rdma_resolve_addr(lane->id, NULL, (struct sockaddr *)&there, left_ms(lane)) != 0) {
        return -errno;
    }
    code = await(lane, RDMA_CM_EVENT_ADDR_RESOLVED, &event);
    if (code == 0 && lane->id->verbs == NULL) {
        code = -ENODEV;
    }
    if (code == 0 && rdma_resolve_route(lane->id, left_ms(lane)) != 0) {
        code = -errno;
    }
    return code == 0 ? await(lane, RDMA_CM_EVENT_ROUTE_RESOLVED, &event) : code;
}

static int connect_id(struct rdma_lane *lane)
{
    struct lks_client_ibv_event event;
    struct rdma_cm_id *id = lane->id;
    lane->completions = ibv_create_comp_channel(id->verbs);
    if (lane->completions == NULL) {
        return errno != 0 ? -errno : -EIO;
    }
    int code = lks_client_ibv_make_non_blocking(lane->completions->fd);
    if (code != 0) {
        return code;
    }
    lane->id = NULL;
    code = lks_client_ibv_end_init(&lane->end, id, lane->completions);
    if (code != 0) {
        return code;
    }
    struct rdma_conn_param wanted = {
        .private_data = &lane->meeting.request,
        .private_data_len = sizeof lane->meeting.request,
        .flow_control = 1,
        .retry_count = LKS_CLIENT_IBV_RETRIES,
        .rnr_retry_count = LKS_CLIENT_IBV_NOT_READY_RETRIES,
    };
    if (rdma_connect(id, &wanted) != 0) {
        return -errno;
    }
    code = await(lane, RDMA_CM_EVENT_ESTABLISHED, &event);
    return code == 0 ? lks_client_ibv_take_answer(&lane->meeting, event.data, event.bytes) : code;
}

/* ---- meeting -------------------------------------------------------------------------------- */

/* The replica's message, or why none comes. */
static int listen_for(struct rdma_lane *lane, struct lks_client_ibv_message *message)
{
    struct pollfd wanted = {.fd = lane->channel->fd, .events = POLLIN};
    for (;;) {
        struct lks_client_ibv_event event;
        const int code = lks_client_ibv_end_hear(&lane->end, message);
        if (code != -EAGAIN) {
            return code == -LKS_EBROKEN ? -ECONNREFUSED : code;
        }
        if (left_ms(lane) == 0) {
            return -ETIMEDOUT;
        }
        if (poll(&wanted, 1, LOOK_MS) > 0 && lks_client_ibv_next_event(lane->channel, &event)) {
            return -ECONNREFUSED; /* whatever it is: the connection does not last */
        }
    }
}

static int meet(struct rdma_lane *lane, uint64_t area_bytes)
{
    struct lks_client_ibv_message proof = {.kind = LKS_CLIENT_IBV_PROOF};
    struct lks_client_ibv_message hello = {.kind = LKS_CLIENT_IBV_HELLO};
    struct lks_client_ibv_message heard;
    const char *detail = "";
    lks_client_ibv_prove(&lane->meeting, &proof);
    int code = lks_client_ibv_end_say(&lane->end, &proof) ? listen_for(lane, &heard)
                                                          : -ECONNREFUSED;
    if (code == 0) {
        code = lks_client_ibv_hear(&lane->meeting, &heard, &detail);
    }
    if (code == 0) {
        code = lks_client_ibv_end_open(&lane->end, area_bytes);
    }
    if (code != 0) {
        return code;
    }
    hello.address = (uintptr_t)lane->end.area;
    hello.bytes = lane->end.area_bytes;
    hello.rkey = lane->end.area_region->rkey;
    lks_client_ibv_prove(&lane->meeting, &hello);
    lane->end.remote = lane->meeting.remote;
    lane->base.number = lane->meeting.lane;
    return lks_client_ibv_end_say(&lane->end, &hello) ? 0 : -ECONNREFUSED;
}

/* ---- as a fabric of two --------------------------------------------------------------------- */

static void *inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    (void)peer;
    return ((const struct rdma_lane *)(const void *)fabric)->end.area;
}

static int write_inbox(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                       const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct rdma_lane *lane = (struct rdma_lane *)(void *)fabric;
    (void)peer;
    (void)id;
    return lane->ended ? -LKS_EBROKEN
                       : lks_client_ibv_end_write(&lane->end, offset, source, bytes, flags);
}

static const struct lks_fabric_ops g_fabric_ops = {
    .name = "rdma lane", .inbox = inbox, .write_inbox = write_inbox};

/* ---- life and sleep ------------------------------------------------------------------------- */

static void rdma_free(struct lks_lane *base)
{
    struct rdma_lane *lane = lane_of(base);
    lks_client_ibv_end_fini(&lane->end);
    if (lane->id != NULL) {
        (void)rdma_destroy_id(lane->id);
    }
    if (lane->completions != NULL) {
        (void)ibv_destroy_comp_channel(lane->completions);
    }
    if (lane->channel != NULL) {
        rdma_destroy_event_channel(lane->channel);
    }
    free(lane);
}

static void take_completion_events(struct rdma_lane *lane)
{
    struct ibv_cq *cq = NULL;
    void *ctx = NULL;
    while (ibv_get_cq_event(lane->completions, &cq, &ctx) == 0) {
        ibv_ack_cq_events(cq, 1);
    }
}

static bool rdma_is_alive(struct lks_lane *base)
{
    struct rdma_lane *lane = lane_of(base);
    struct lks_client_ibv_event event;
    lks_client_ibv_end_poll(&lane->end);
    if (!lane->ended && lks_client_ibv_next_event(lane->channel, &event)) {
        lane->ended = true; /* after ESTABLISHED nothing but an end comes */
    }
    return !lane->ended && !lane->end.failed;
}

static bool rdma_arm(struct lks_lane *base)
{
    struct rdma_lane *lane = lane_of(base);
    const uint32_t ended = lane->end.ended;
    lks_client_ibv_end_arm(&lane->end);
    /* What has ended in here has made room for what was refused, and wakes nobody any more. */
    return !lane->end.failed && lane->end.ended == ended;
}

static void rdma_disarm(struct lks_lane *base)
{
    take_completion_events(lane_of(base));
}

static void rdma_sleep(struct lks_lane *base, uint64_t timeout_ns)
{
    struct rdma_lane *lane = lane_of(base);
    const uint64_t ns = timeout_ns < SLEEP_MAX_NS ? timeout_ns : SLEEP_MAX_NS;
    const struct timespec timeout = {.tv_sec = (time_t)(ns / LKS_NS_PER_S),
                                     .tv_nsec = (long)(ns % LKS_NS_PER_S)};
    struct pollfd wanted[] = {{.fd = lane->completions->fd, .events = POLLIN},
                              {.fd = lane->channel->fd, .events = POLLIN}};
    (void)ppoll(wanted, 2, &timeout, NULL);
    rdma_disarm(base);
}

static const struct lks_lane_ops g_ops = {.free = rdma_free,
                                          .is_alive = rdma_is_alive,
                                          .arm = rdma_arm,
                                          .sleep = rdma_sleep,
                                          .disarm = rdma_disarm};

int lks_lane_rdma_attach(struct lks_lane **lane, const struct lks_lane_rdma_options *options)
{
    struct lks_client_ibv_identity wanted = {.replica = options->replica,
                                             .any_cluster = options->any_cluster,
                                             .area_bytes = options->area_bytes};
    struct rdma_lane *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->base.fabric.ops = &g_fabric_ops;
    made->base.ops = &g_ops;
    made->until_ns = lks_clock_monotonic_ns() + options->timeout_ns;
    memcpy(wanted.cluster, options->cluster_id, sizeof wanted.cluster);
    memcpy(made->meeting.key, options->client_key, sizeof made->meeting.key);
    int code = lks_client_ibv_ask(&made->meeting, &wanted);
    if (code == 0) {
        code = resolve(made, &options->place);
    }
    if (code == 0) {
        code = connect_id(made);
    }
    if (code == 0) {
        code = meet(made, options->area_bytes);
    }
    if (code != 0) {
        rdma_free(&made->base);
        return code;
    }
    *lane = &made->base;
    return 0;
}
