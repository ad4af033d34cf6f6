/*
 * The device's asynchronous events: each kind that libibverbs knows has its case here, with what it
 * means to this backend and what is done; one that it does not know is logged by its number. Behind
 * each event of the own port stands one question: can this replica still be reached by its address?
 * Fabric's thread, called by poll when the device's descriptor is readable.
 *
 * Invariant: an event says that something happened, not what holds now; what holds now is asked of
 * the device. Events are acknowledged before they are worked off: destroying what they are about
 * waits for that, so pointers in them are only compared with those that are still alive.
 */
#include "verbs/ibv/ibv.h"

#include <stdio.h>
#include <string.h>

#define DEVICE_EVENTS_MAX 16

/* Whose queue pair an event is about. */
struct subject {
    uint32_t peer; /* 0: none of the fabric's (a client lane's, or gone already) */
    enum lks_ibv_role role;
};

static const char *device_name(const struct lks_ibv_fabric *ibv)
{
    return ibv_get_device_name(ibv->context->device);
}

static struct subject subject_of(const struct lks_ibv_fabric *ibv, const struct ibv_qp *qp)
{
    for (uint32_t id = 1; qp != NULL && id <= ibv->replicas; id++) {
        const struct lks_ibv_peer *peer = &ibv->peers[id];
        if (peer->link.queue.qp == qp) {
            return (struct subject){.peer = id, .role = LKS_IBV_ROLE_CONTROL};
        }
        if (peer->grant.queue.qp == qp) {
            return (struct subject){.peer = id, .role = LKS_IBV_ROLE_OWNER};
        }
        for (uint32_t i = 0; i < LKS_IBV_PATHS; i++) {
            if (peer->paths[i].queue.qp == qp) {
                return (struct subject){.peer = id, .role = LKS_IBV_ROLE_PATH};
            }
        }
    }
    return (struct subject){0};
}

/* ---- the device as a whole ------------------------------------------------------------------ */

void lks_ibv_device_lost(struct lks_ibv_fabric *ibv, const char *why)
{
    if (ibv->device_lost) {
        return;
    }
    ibv->device_lost = true;
    (void)snprintf(ibv->trouble, sizeof ibv->trouble, "the device has failed (%s): start this "
                   "replica again; it waits until `rdma link` shows the device", why);
    lks_log_error(ibv->options.log_sink, "RDMA device %s: %s; all connections end, and so does "
                  "this replica", device_name(ibv), why);
    for (uint32_t id = 1; id <= ibv->replicas; id++) {
        /* (A grant or fence under way is left so for good: no revocation is called complete on a
         * device that no longer answers for what it does. Poll hands out nothing from here on.) */
        lks_ibv_link_close(ibv, id);
    }
}

/* ---- the port ------------------------------------------------------------------------------- */

/* Whether the port's table has an entry of the own address. Unknown counts as there. */
static bool has_address(const struct lks_ibv_fabric *ibv, uint8_t port)
{
    struct ibv_gid_entry entries[LKS_IBV_GIDS_MAX];
    union ibv_gid own;
    lks_ibv_own_gid(ibv, &own);
    const ssize_t count = ibv_query_gid_table(ibv->context, entries, LKS_IBV_GIDS_MAX, 0);
    for (ssize_t i = 0; i < count; i++) {
        if (entries[i].port_num == port && memcmp(&entries[i].gid, &own, sizeof own) == 0) {
            return true;
        }
    }
    return count < 0;
}

/* Why nobody can reach this replica by its port now, and the way out; "": they can. */
static void find_trouble(struct lks_ibv_fabric *ibv, char *text, size_t bytes)
{
    const uint8_t port = ibv->listener->port_num;
    const char *address = ibv->rdma.places[ibv->self].address;
    struct ibv_port_attr attributes = {0};
    struct lks_error err = {0};
    const bool known = ibv_query_port(ibv->context, port, &attributes) == 0;
    text[0] = '\0';
    if (known && attributes.state != IBV_PORT_ACTIVE && attributes.state != IBV_PORT_ACTIVE_DEFER) {
        (void)snprintf(text, bytes, "port %u is %s, not active: see its cable, its switch, and "
                       "`ip link`", port, ibv_port_state_str(attributes.state));
        return;
    }
    /* (An InfiniBand port's table does not hold the addresses of IPoIB.) */
    if (known && attributes.link_layer == IBV_LINK_LAYER_ETHERNET && !has_address(ibv, port)) {
        (void)snprintf(text, bytes, "port %u has lost the address %s, at which this replica "
                       "listens: give it back (`ip address add %s/LENGTH dev NAME`), or change "
                       "`rdma:` of this replica and start it again", port, address, address);
        return;
    }
    if (lks_ibv_way_init(ibv, &err) != 0) {
        (void)snprintf(text, bytes, "%.300s", err.text);
    }
}

static void look_at_port(struct lks_ibv_fabric *ibv)
{
    char now[sizeof ibv->trouble];
    find_trouble(ibv, now, sizeof now);
    if (strcmp(now, ibv->trouble) == 0 || ibv->device_lost) {
        return;
    }
    (void)snprintf(ibv->trouble, sizeof ibv->trouble, "%s", now);
    if (now[0] != '\0') {
        lks_log_error(ibv->options.log_sink, "RDMA device %s: %s", device_name(ibv), now);
    } else {
        lks_log_info(ibv->options.log_sink, "RDMA device %s port %u: usable again at %s",
                     device_name(ibv), ibv->listener->port_num,
                     ibv->rdma.places[ibv->self].address);
    }
}

/* meaning: what follows from it here. */
static void on_port_event(struct lks_ibv_fabric *ibv, const struct ibv_async_event *event,
                          const char *meaning)
{
    const bool own = event->element.port_num == ibv->listener->port_num;
    lks_log_write(ibv->options.log_sink, own ? LKS_LOG_WARN : LKS_LOG_DEBUG,
                  "RDMA device %s port %d: %s%s%s", device_name(ibv), event->element.port_num,
                  ibv_event_type_str(event->event_type), own ? ": " : ", not this replica's",
                  own ? meaning : "");
    if (own) {
        look_at_port(ibv);
    }
}

/* ---- queue pairs ---------------------------------------------------------------------------- */

/* Its completions may never come: what waits for them would wait for ever. */
static void on_queue_pair_fatal(struct lks_ibv_fabric *ibv, const struct ibv_async_event *event)
{
    const struct subject subject = subject_of(ibv, event->element.qp);
    if (subject.peer != 0 && subject.role == LKS_IBV_ROLE_OWNER) {
        lks_ibv_queue_abandon(ibv, &ibv->peers[subject.peer].grant.queue);
    }
    if (subject.peer != 0) { /* a client lane's is found by the lane's own questions */
        lks_ibv_complain(ibv, subject.peer, -LKS_EBROKEN, "its queue pair failed",
                         ibv_event_type_str(event->event_type));
        lks_ibv_link_close(ibv, subject.peer);
    }
}

/* What the other side asked for was refused. That is how a writer whose permission has ended finds
 * out, so for the owner's end of a path it is the normal end; a writer's end breaks with it, which
 * its completions tell. */
static void on_queue_pair_refused(struct lks_ibv_fabric *ibv, const struct ibv_async_event *event)
{
    const struct subject subject = subject_of(ibv, event->element.qp);
    if (subject.peer != 0 && subject.role == LKS_IBV_ROLE_CONTROL) {
        on_queue_pair_fatal(ibv, event);
    } else {
        lks_log_debug(ibv->options.log_sink, "RDMA device %s: %s at a queue pair of %s%u",
                      device_name(ibv), ibv_event_type_str(event->event_type),
                      subject.peer != 0 ? "a path of r" : "a client, or one that has ended: r",
                      subject.peer);
    }
}

/* A message came before the connection manager's last word, which may be lost. */
static void on_established(struct lks_ibv_fabric *ibv, const struct ibv_async_event *event)
{
    const struct subject subject = subject_of(ibv, event->element.qp);
    if (subject.peer != 0 && subject.role == LKS_IBV_ROLE_CONTROL) {
        (void)rdma_notify(ibv->peers[subject.peer].link.id, IBV_EVENT_COMM_EST);
    }
}

/* Of what this backend has none: alternate ways, drained queues, shared receives, work queues. */
static void on_unasked(const struct lks_ibv_fabric *ibv, const struct ibv_async_event *event)
{
    lks_log_warn(ibv->options.log_sink, "RDMA device %s: %s, though nothing of this replica is "
                 "made to raise it; nothing is done", device_name(ibv),
                 ibv_event_type_str(event->event_type));
}

/* ---- all kinds ------------------------------------------------------------------------------ */

static void on_device_event(struct lks_ibv_fabric *ibv, const struct ibv_async_event *event)
{
    const char *name = ibv_event_type_str(event->event_type);
    switch (event->event_type) {
    case IBV_EVENT_DEVICE_FATAL:
        lks_ibv_device_lost(ibv, name);
        return;
    case IBV_EVENT_CQ_ERR: /* of a client's lane: the lane's own polls and questions tell */
        if (event->element.cq == ibv->cq) {
            lks_ibv_device_lost(ibv, name); /* completions are lost for good */
        }
        return;
    case IBV_EVENT_QP_FATAL:
        on_queue_pair_fatal(ibv, event);
        return;
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
        on_queue_pair_refused(ibv, event);
        return;
    case IBV_EVENT_COMM_EST:
        on_established(ibv, event);
        return;
    case IBV_EVENT_PORT_ERR:
        on_port_event(ibv, event, "connections that are not answered end soon");
        return;
    case IBV_EVENT_PORT_ACTIVE:
        on_port_event(ibv, event, "peers are called as ever");
        return;
    case IBV_EVENT_GID_CHANGE:
        on_port_event(ibv, event, "the addresses of the port have changed");
        return;
    case IBV_EVENT_LID_CHANGE:
        on_port_event(ibv, event, "connections end, and find the new way when they are made anew");
        return;
    case IBV_EVENT_PKEY_CHANGE:
        on_port_event(ibv, event, "the partitions of the port have changed");
        return;
    case IBV_EVENT_SM_CHANGE:
    case IBV_EVENT_CLIENT_REREGISTER:
        on_port_event(ibv, event, "the subnet manager is another one; the kernel tells it anew");
        return;
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_SRQ_ERR:
    case IBV_EVENT_SRQ_LIMIT_REACHED:
    case IBV_EVENT_QP_LAST_WQE_REACHED:
    case IBV_EVENT_WQ_FATAL:
        on_unasked(ibv, event);
        return;
    }
    lks_log_warn(ibv->options.log_sink, "RDMA device %s: asynchronous event %d, which this version "
                 "does not know; nothing is done", device_name(ibv), (int)event->event_type);
}

void lks_ibv_device_events(struct lks_ibv_fabric *ibv)
{
    struct ibv_async_event event;
    for (int i = 0; i < DEVICE_EVENTS_MAX; i++) {
        if (ibv_get_async_event(ibv->context, &event) != 0) {
            return;
        }
        ibv_ack_async_event(&event);
        on_device_event(ibv, &event);
    }
}
