/*
 * How two replicas find one another by the RDMA connection manager, without blocking: the higher id
 * dials the lower one, steps come as events of one channel, each has a deadline, and a failure is
 * followed by a pause that grows. A connection that has ended is probed once: does the life that
 * was at its other end still listen? Fabric's thread, called by poll. Invariant: at most one link a
 * peer, and a new one begins only after the end of the last was handed out.
 */
#include "verbs/ibv/ibv.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"

#define EVENTS_AT_ONCE 16
#define RESOLVE_MS 1000
#define BACKLOG 16
#define COMPLAIN_NS (UINT64_C(5) * LKS_NS_PER_S)
#define PROBE_NS (UINT64_C(500) * LKS_NS_PER_MS) /* a host that is gone answers nothing */
/* Of the specification of communication management, table of rejection reasons. */
#define REJECT_NOBODY_LISTENS 8 /* "invalid service id" */
#define REJECT_BY_CONSUMER 28
#define RECEIVER_NOT_READY_FOREVER 7

void lks_ibv_complain(struct lks_ibv_fabric *ibv, uint32_t id, int code, const char *what,
                      const char *detail)
{
    struct lks_ibv_peer *about = &ibv->peers[id <= ibv->replicas ? id : 0];
    const uint64_t now_ns = lks_clock_monotonic_ns();
    if (code == -ENOTCONN || code == -EAGAIN ||
        (about->complained == code && now_ns - about->complained_ns < COMPLAIN_NS)) {
        return;
    }
    about->complained = code;
    about->complained_ns = now_ns;
    lks_log_warn(ibv->options.log_sink, "r%u: %s: %s%s%s", id, what, lks_error_text(code),
                 detail[0] != '\0' ? ": " : "", detail);
}

/* ---- dialing -------------------------------------------------------------------------------- */

static void pause_dialing(struct lks_ibv_peer *peer, uint64_t now_ns)
{
    peer->dial_ns = now_ns + peer->dial_pause_ns;
    peer->dial_pause_ns *= 2;
    const uint64_t most_ns =
        peer->unexpected ? LKS_IBV_PAUSE_UNEXPECTED_NS : LKS_IBV_PAUSE_MAX_NS;
    if (peer->dial_pause_ns > most_ns) {
        peer->dial_pause_ns = most_ns;
    }
}

static void set_options(const struct lks_ibv_fabric *ibv, struct rdma_cm_id *id)
{
    uint8_t timeout = ibv->rdma.ack_timeout_exponent;
    uint8_t traffic = ibv->rdma.traffic_class;
    /* A kernel that does not know an option keeps its own, slower one. */
    (void)rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout,
                          sizeof timeout);
    if (traffic != 0) {
        (void)rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &traffic, sizeof traffic);
    }
}

/* Begins to resolve the peer's place on a new id of the link. */
static int begin_call(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    struct sockaddr_storage own = ibv->peers[ibv->self].place;
    struct sockaddr *source = (struct sockaddr *)&own;
    if (rdma_create_id(ibv->channel, &link->id, NULL, RDMA_PS_TCP) != 0) {
        link->id = NULL;
        return -errno;
    }
    set_options(ibv, link->id);
    if (source->sa_family == AF_INET) {
        ((struct sockaddr_in *)(void *)source)->sin_port = 0;
    } else {
        ((struct sockaddr_in6 *)(void *)source)->sin6_port = 0;
    }
    if (rdma_resolve_addr(link->id, source, (struct sockaddr *)&ibv->peers[peer].place,
                          RESOLVE_MS) != 0) {
        const int code = -errno;
        (void)rdma_destroy_id(link->id);
        link->id = NULL;
        return code;
    }
    return 0;
}

static void dial(struct lks_ibv_fabric *ibv, uint32_t id, uint64_t now_ns)
{
    struct lks_ibv_peer *peer = &ibv->peers[id];
    pause_dialing(peer, now_ns);
    const int code = begin_call(ibv, id);
    if (code != 0) {
        lks_ibv_complain(ibv, id, code, "cannot be called", "");
        return;
    }
    peer->link.state = LKS_IBV_LINK_RESOLVING;
    peer->link.deadline_ns = now_ns + LKS_IBV_STEP_NS;
}

bool lks_ibv_probe(struct lks_ibv_fabric *ibv, uint32_t id)
{
    struct lks_ibv_link *link = &ibv->peers[id].link;
    if (ibv->peers[id].place.ss_family == 0 || begin_call(ibv, id) != 0) {
        return false;
    }
    if (link->probe_end_ns == 0) {
        link->probe_end_ns = lks_clock_monotonic_ns() + PROBE_NS;
    }
    link->probed = true;
    link->state = LKS_IBV_LINK_PROBING;
    link->deadline_ns = link->probe_end_ns;
    return true;
}

static struct rdma_conn_param parameters(const struct lks_ibv_fabric *ibv, const void *data,
                                         uint8_t bytes)
{
    return (struct rdma_conn_param){
        .private_data = data,
        .private_data_len = bytes,
        .responder_resources = ibv->read_depth,
        .initiator_depth = ibv->read_depth,
        .flow_control = 1,
        .retry_count = ibv->rdma.retry_count,
        .rnr_retry_count = RECEIVER_NOT_READY_FOREVER,
    };
}

/* The route is known: ask for a connection, or for a rejection. */
static int call(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    const bool probe = link->state == LKS_IBV_LINK_PROBING;
    int code = lks_ibv_make_request(ibv, peer, probe ? LKS_IBV_REQUEST_PROBE
                                                     : LKS_IBV_REQUEST_CONNECT,
                                    &link->request);
    if (code == 0 && !probe) {
        code = lks_ibv_link_prepare(ibv, peer);
    }
    if (code != 0) {
        return code;
    }
    struct rdma_conn_param wanted = parameters(ibv, &link->request, sizeof link->request);
    wanted.qp_num = 1; /* of a probe, which has none: never used */
    if (rdma_connect(link->id, &wanted) != 0) {
        return -errno;
    }
    if (!probe) {
        link->state = LKS_IBV_LINK_CALLING;
    }
    return 0;
}

/* ---- listening ------------------------------------------------------------------------------ */

static void reject(const struct lks_ibv_fabric *ibv, struct rdma_cm_id *id, int status)
{
    const struct lks_ibv_reject why = {.magic = LKS_IBV_MAGIC,
                                       .version = LKS_IBV_VERSION,
                                       .status = status,
                                       .replica = ibv->self,
                                       .incarnation = ibv->options.incarnation};
    (void)rdma_reject(id, &why, sizeof why);
    (void)rdma_destroy_id(id);
}

/* Whether a request can be taken now. */
static int check_turn(struct lks_ibv_fabric *ibv, const struct lks_ibv_request *request)
{
    const struct lks_ibv_peer *peer = &ibv->peers[request->from];
    if (ibv->device_lost) {
        return -ENODEV;
    }
    if (request->kind == LKS_IBV_REQUEST_PROBE || request->from < ibv->self || !peer->wanted) {
        return -ENOTCONN;
    }
    if (peer->link.state != LKS_IBV_LINK_NONE) {
        /* It calls only when it has let go of the older connection. But who calls has proved
         * nothing yet: the older connection itself is asked whether it still works. */
        lks_ibv_link_try(ibv, request->from);
        return -EAGAIN;
    }
    return peer->farewell_pending ? -EAGAIN : 0;
}

static void accept_request(struct lks_ibv_fabric *ibv, struct rdma_cm_id *id,
                           const struct lks_ibv_request *request, uint64_t now_ns)
{
    const uint32_t from = request->from;
    struct lks_ibv_link *link = &ibv->peers[from].link;
    link->id = id;
    link->request = *request;
    link->incarnation = request->incarnation;
    link->state = LKS_IBV_LINK_ACCEPTED;
    link->deadline_ns = now_ns + LKS_IBV_STEP_NS;
    set_options(ibv, id);
    int code = lks_ibv_make_request(ibv, from, LKS_IBV_REQUEST_CONNECT, &link->answer);
    if (code == 0) {
        code = lks_ibv_link_prepare(ibv, from);
    }
    if (code == 0) {
        struct rdma_conn_param given = parameters(ibv, &link->answer, sizeof link->answer);
        code = rdma_accept(id, &given) == 0 ? 0 : -errno;
    }
    if (code != 0) {
        lks_ibv_complain(ibv, from, code, "cannot be connected", "");
        lks_ibv_link_close(ibv, from);
    }
}

static void on_request(struct lks_ibv_fabric *ibv, struct rdma_cm_id *id, const void *data,
                       size_t bytes, uint64_t now_ns)
{
    struct lks_ibv_request request;
    const char *detail = "";
    int code = lks_ibv_check_request(ibv, data, bytes, &request, &detail);
    if (code != 0) {
        lks_ibv_complain(ibv, 0, code, "connection refused", detail);
    } else {
        code = check_turn(ibv, &request);
    }
    if (code != 0) {
        reject(ibv, id, code);
        return;
    }
    accept_request(ibv, id, &request, now_ns);
}

/* ---- events --------------------------------------------------------------------------------- */

static uint32_t peer_of(const struct lks_ibv_fabric *ibv, const struct rdma_cm_id *id)
{
    for (uint32_t peer = 1; peer <= ibv->replicas; peer++) {
        if (ibv->peers[peer].link.id == id) {
            return peer;
        }
    }
    return 0;
}

static void on_established(struct lks_ibv_fabric *ibv, uint32_t peer, const void *data,
                           size_t bytes, uint64_t now_ns)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    const char *detail = "";
    if (link->state != LKS_IBV_LINK_CALLING) {
        return; /* listening side: PROOF tells */
    }
    int code = lks_ibv_check_request(ibv, data, bytes, &link->answer, &detail);
    if (code == 0 && link->answer.from != peer) {
        detail = "another replica listens there";
        code = -LKS_ECLUSTER;
    }
    if (code != 0) {
        lks_ibv_complain(ibv, peer, code, "connection given up", detail);
        lks_ibv_link_close(ibv, peer);
        return;
    }
    link->incarnation = link->answer.incarnation;
    lks_ibv_handshake_begin(ibv, peer, now_ns);
}

static void on_rejected(struct lks_ibv_fabric *ibv, uint32_t peer, int reason, const void *data,
                        size_t bytes)
{
    struct lks_ibv_link *link = &ibv->peers[peer].link;
    struct lks_ibv_reject why = {0};
    if (data != NULL && bytes >= sizeof why) {
        memcpy(&why, data, sizeof why);
    }
    const bool known = why.magic == LKS_IBV_MAGIC && why.version == LKS_IBV_VERSION;
    if (link->state == LKS_IBV_LINK_PROBING) {
        link->peer_dead = reason == REJECT_NOBODY_LISTENS ||
                          (known && why.replica == peer && why.incarnation > link->incarnation);
        /* Without a reason of ours: a listener that was just ending. Ask once more. */
        link->probed = known || reason != REJECT_BY_CONSUMER ||
                       lks_clock_monotonic_ns() >= link->probe_end_ns;
    } else if (known) {
        lks_ibv_complain(ibv, peer, why.status, "it refuses this replica",
                         lks_ibv_refusal_hint(why.status));
    }
    lks_ibv_link_close(ibv, peer);
}

static void on_event(struct lks_ibv_fabric *ibv, const struct rdma_cm_event *event,
                     const void *data, uint64_t now_ns)
{
    const size_t bytes = event->param.conn.private_data_len;
    if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
        on_request(ibv, event->id, data, bytes, now_ns);
        return;
    }
    if (event->event == RDMA_CM_EVENT_DEVICE_REMOVAL && event->id == ibv->listener) {
        lks_ibv_device_lost(ibv, "it has been removed");
        return;
    }
    const uint32_t peer = peer_of(ibv, event->id);
    if (peer == 0 || ibv->peers[peer].link.state == LKS_IBV_LINK_CLOSING) {
        return;
    }
    int code = 0;
    switch (event->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        code = event->id->verbs != ibv->context              ? -EXDEV
               : rdma_resolve_route(event->id, RESOLVE_MS) != 0 ? -errno
                                                                : 0;
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        code = call(ibv, peer);
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
        on_established(ibv, peer, data, bytes, now_ns);
        break;
    case RDMA_CM_EVENT_REJECTED:
        on_rejected(ibv, peer, event->status, data, bytes);
        break;
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        break;
    default: /* disconnected, unreachable, unresolved, device removed, address changed */
        lks_ibv_link_close(ibv, peer);
        break;
    }
    if (code != 0) {
        lks_ibv_complain(ibv, peer, code, "cannot be called", rdma_event_str(event->event));
        lks_ibv_link_close(ibv, peer);
    }
}

static void take_events(struct lks_ibv_fabric *ibv, uint64_t now_ns)
{
    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        struct rdma_cm_event *event = NULL;
        uint8_t data[UINT8_MAX];
        if (rdma_get_cm_event(ibv->channel, &event) != 0) {
            return;
        }
        /* Acknowledged before it is worked off: destroying its id waits for that. */
        struct rdma_cm_event copy = *event;
        const bool with_data = copy.param.conn.private_data != NULL &&
                               copy.event != RDMA_CM_EVENT_ADDR_RESOLVED &&
                               copy.event != RDMA_CM_EVENT_ROUTE_RESOLVED;
        if (with_data) {
            memcpy(data, copy.param.conn.private_data, copy.param.conn.private_data_len);
        }
        (void)rdma_ack_cm_event(event);
        on_event(ibv, &copy, with_data ? data : NULL, now_ns);
    }
    ibv->look = true;
}

/* ---- clock ---------------------------------------------------------------------------------- */

static bool dials(const struct lks_ibv_fabric *ibv, uint32_t id)
{
    const struct lks_ibv_peer *peer = &ibv->peers[id];
    return !ibv->device_lost && peer->wanted && id < ibv->self &&
           peer->link.state == LKS_IBV_LINK_NONE && !peer->farewell_pending &&
           peer->place.ss_family != 0;
}

static bool has_deadline(const struct lks_ibv_link *link)
{
    return link->state != LKS_IBV_LINK_NONE && link->state != LKS_IBV_LINK_TOGETHER &&
           link->state != LKS_IBV_LINK_CLOSING;
}

void lks_ibv_meeting_serve(struct lks_ibv_fabric *ibv, bool events, uint64_t now_ns)
{
    if (events) {
        take_events(ibv, now_ns);
    }
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        struct lks_ibv_peer *peer = &ibv->peers[id];
        if (has_deadline(&peer->link) && now_ns >= peer->link.deadline_ns) {
            lks_ibv_link_close(ibv, id);
        }
        if (dials(ibv, id) && now_ns >= peer->dial_ns) {
            dial(ibv, id, now_ns);
        }
    }
}

uint64_t lks_ibv_meeting_deadline(const struct lks_ibv_fabric *ibv)
{
    uint64_t deadline_ns = LKS_IBV_NEVER;
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        const struct lks_ibv_peer *peer = &ibv->peers[id];
        if (has_deadline(&peer->link) && peer->link.deadline_ns < deadline_ns) {
            deadline_ns = peer->link.deadline_ns;
        }
        if (dials(ibv, id) && peer->dial_ns < deadline_ns) {
            deadline_ns = peer->dial_ns;
        }
    }
    return deadline_ns;
}

int lks_ibv_connect(struct lks_fabric *fabric, uint32_t peer)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    if (!lks_ibv_is_peer(ibv, peer)) {
        return -EINVAL;
    }
    ibv->peers[peer].wanted = true;
    ibv->look = true;
    return 0;
}

void lks_ibv_expect(struct lks_fabric *fabric, uint32_t peer, bool expected)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    LKS_ASSERT(lks_ibv_is_peer(ibv, peer));
    if (expected && ibv->peers[peer].unexpected) {
        ibv->peers[peer].dial_ns = 0;
        ibv->peers[peer].dial_pause_ns = LKS_IBV_PAUSE_MIN_NS;
        ibv->look = true;
    }
    ibv->peers[peer].unexpected = !expected;
}

int lks_ibv_place(struct lks_fabric *fabric, uint32_t peer, const char *address, uint16_t port)
{
    struct lks_ibv_fabric *ibv = lks_ibv_of(fabric);
    struct lks_rdma_place place = {.port = port};
    struct sockaddr_storage parsed = {0};
    if (!lks_ibv_is_peer(ibv, peer) || strlen(address) >= sizeof place.address) {
        return -EINVAL;
    }
    memcpy(place.address, address, strlen(address) + 1);
    if (lks_ibv_parse_place(&place, &parsed) != 0) {
        return -EINVAL;
    }
    if (memcmp(&place, &ibv->rdma.places[peer], sizeof place) != 0) {
        ibv->rdma.places[peer] = place;
        ibv->peers[peer].place = parsed;
        ibv->peers[peer].dial_ns = 0;
        ibv->peers[peer].dial_pause_ns = LKS_IBV_PAUSE_MIN_NS;
        ibv->look = true;
    }
    return 0;
}

int lks_ibv_listen(struct lks_ibv_fabric *ibv, struct lks_error *err)
{
    for (uint32_t id = 0; id <= LKS_REPLICAS_MAX; id++) {
        ibv->peers[id].dial_pause_ns = LKS_IBV_PAUSE_MIN_NS;
    }
    if (rdma_listen(ibv->listener, BACKLOG) != 0) {
        const int code = -errno;
        return lks_error_set(err, code, "RDMA address %s port %u: cannot be listened on: %s",
                             ibv->rdma.places[ibv->self].address,
                             ibv->rdma.places[ibv->self].port, lks_error_text(code));
    }
    return 0;
}
