/*
 * The gateway for clients on the fabric; see client_port.h. A *flight* is one request that was
 * handed on: its cookie names it, and it remembers who asked and in which of the lane's lives.
 */
#include "node/client_port.h"

#include "base/assert.h"
#include "base/clock.h"
#include "lockstep/session.h"
#include "node/client_wire.h"
#include "node/sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_NS LKS_NS_PER_MS     /* at sockets, while there is work */
#define TAKEN_PER_TURN_MAX 64u    /* from one client */
#define FLIGHTS 4096u
#define FLIGHT_NONE UINT32_MAX
/* A cookie: 20 bits that no slot of the TCP port has, 12 of the flight, 32 of its use. */
#define COOKIE_MARK (UINT64_C(0xFFFFF) << 44)
#define COOKIE_FLIGHT_SHIFT 32

_Static_assert(FLIGHTS == 4096, "a flight has 12 bits of a cookie");
_Static_assert(LKS_LANE_NUMBER_MAX * LKS_CLIENT_PORT_REQUESTS_MAX <= FLIGHTS,
               "one for each request");

struct flight {
    uint32_t use; /* counts up: in its cookie */
    uint32_t next_free;
    uint32_t lane;
    bool flying;
    bool write;
    uint64_t life; /* of the lane */
    uint64_t number;
};

/* An answer that the client's ring has no room for. */
struct held {
    struct held *next;
    uint64_t number;
    uint64_t status;
    size_t bytes;
    uint8_t data[];
};

struct attached {
    bool here;
    bool dirty; /* answers to be shown */
    uint64_t life;
    uint64_t session;  /* that its last call named */
    uint64_t taken_count;
    uint64_t heard_ns; /* when its last request was taken */
    uint32_t requests; /* without an answer ... */
    uint32_t writes;   /* ... of them those that are no reads */
    struct lks_ingress_consumer taken;
    struct lks_ingress_producer answers;
    struct held *held_first;
    struct held *held_last;
    size_t held_bytes;
};

struct lks_client_port {
    struct lks_client_port_options options;
    struct lks_lanes *lanes;
    uint64_t now_ns; /* of the last _poll */
    uint64_t looked_ns;
    bool look_due;
    bool draining;
    uint64_t lives;
    uint64_t held_bytes;  /* of all clients */
    uint32_t free_flight; /* first of a list */
    struct lks_client_port_counts counts;
    struct attached clients[LKS_LANE_NUMBER_MAX + 1]; /* by lane */
    struct flight flights[FLIGHTS];
    uint8_t buffer[LKS_INGRESS_COMMAND_MAX];
};

/* ---- life ----------------------------------------------------------------------------------- */

int lks_client_port_new(struct lks_client_port **port,
                        const struct lks_client_port_options *options, struct lks_error *err)
{
    struct lks_client_port *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return lks_error_set(err, -ENOMEM, "no memory for clients on the fabric");
    }
    LKS_ASSERT(options->held_bytes_max >= LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN);
    made->options = *options;
    made->lanes = options->lanes;
    made->look_due = true;
    for (uint32_t i = 0; i < FLIGHTS; i++) {
        made->flights[i].next_free = i + 1 < FLIGHTS ? i + 1 : FLIGHT_NONE;
    }
    *port = made;
    return 0;
}

static void forget(struct lks_client_port *port, uint32_t lane)
{
    struct attached *client = &port->clients[lane];
    while (client->held_first != NULL) {
        struct held *next = client->held_first->next;
        free(client->held_first);
        client->held_first = next;
    }
    port->counts.attached -= client->here ? 1 : 0;
    port->held_bytes -= client->held_bytes;
    *client = (struct attached){0}; /* no life: what is still in flight is dropped */
}

void lks_client_port_free(struct lks_client_port *port)
{
    if (port == NULL) {
        return;
    }
    for (uint32_t lane = 1; lane <= LKS_LANE_NUMBER_MAX; lane++) {
        forget(port, lane);
    }
    lks_lanes_free(port->lanes);
    free(port);
}

static void welcome(struct lks_client_port *port, uint32_t lane)
{
    struct attached *client = &port->clients[lane];
    struct lks_fabric *fabric = lks_lanes_fabric(port->lanes);
    struct lks_ingress_offer offer;
    forget(port, lane);
    port->lives++;
    client->here = true;
    client->life = port->lives;
    client->heard_ns = port->now_ns;
    lks_ingress_consumer_init(&client->taken, fabric, lane, LKS_CLIENT_RING_INCARNATION,
                              port->buffer);
    lks_ingress_consumer_offer(&client->taken, LKS_CLIENT_RING_TERM, &offer);
    lks_ingress_producer_init(&client->answers, fabric, lane);
    lks_ingress_producer_open(&client->answers, &offer);
    port->counts.attached++;
}

static void let_go(struct lks_client_port *port, uint32_t lane, const char *why)
{
    lks_log_warn(port->options.log_sink, "client on lane %u is let go: %s", lane, why);
    port->counts.let_go++;
    lks_lanes_detach(port->lanes, lane);
    forget(port, lane);
}

/* ---- answers -------------------------------------------------------------------------------- */

static int push(struct attached *client, uint64_t number, uint64_t status, const void *data,
                size_t bytes)
{
    const struct lks_ingress_command record = {
        .session = lks_session_make(client->answers.peer, status),
        .sequence = number,
        .data = data,
        .bytes = (uint32_t)bytes};
    client->dirty = true;
    return lks_ingress_push(&client->answers, &record);
}

/* Room for more answers that wait: who holds most of them is let go, until there is. The others,
 * who read, are not made to pay for those that do not. */
static void make_room(struct lks_client_port *port, size_t bytes)
{
    while (port->held_bytes + bytes > port->options.held_bytes_max) {
        uint32_t most = 1;
        for (uint32_t lane = 2; lane <= LKS_LANE_NUMBER_MAX; lane++) {
            most = port->clients[lane].held_bytes > port->clients[most].held_bytes ? lane : most;
        }
        let_go(port, most,
               "all clients together let more answers wait than client_answers_max says, and this "
               "one most of them");
    }
}

static void hold(struct lks_client_port *port, uint32_t lane, uint64_t number, uint64_t status,
                 const void *data, size_t bytes)
{
    struct attached *client = &port->clients[lane];
    struct held *held = NULL;
    make_room(port, bytes);
    if (!client->here) {
        return; /* it was the one */
    }
    if (client->held_bytes + bytes <= LKS_CLIENT_PORT_HELD_BYTES_MAX) {
        held = malloc(sizeof *held + bytes);
    }
    if (held == NULL) {
        let_go(port, lane, "it does not take its answers");
        return;
    }
    *held = (struct held){.number = number, .status = status, .bytes = bytes};
    if (bytes > 0) {
        memcpy(held->data, data, bytes);
    }
    if (client->held_last != NULL) {
        client->held_last->next = held;
    } else {
        client->held_first = held;
    }
    client->held_last = held;
    client->held_bytes += bytes;
    port->held_bytes += bytes;
}

static void answer(struct lks_client_port *port, uint32_t lane, uint64_t number, uint64_t status,
                   const void *data, size_t bytes)
{
    struct attached *client = &port->clients[lane];
    if (bytes > LKS_INGRESS_COMMAND_MAX) { /* nothing of it is kept */
        status = LKS_CLIENT_SAID_LONG;
        bytes = 0;
    }
    if (client->held_first != NULL || push(client, number, status, data, bytes) == -LKS_EBUSY) {
        hold(port, lane, number, status, data, bytes);
    }
}

/* Answers that have waited for room. */
static int unhold(struct lks_client_port *port, uint32_t lane)
{
    struct attached *client = &port->clients[lane];
    int work = 0;
    while (client->held_first != NULL) {
        struct held *first = client->held_first;
        if (push(client, first->number, first->status, first->data, first->bytes) ==
            -LKS_EBUSY) {
            break;
        }
        client->held_first = first->next;
        client->held_last = first->next == NULL ? NULL : client->held_last;
        client->held_bytes -= first->bytes;
        port->held_bytes -= first->bytes;
        free(first);
        work++;
    }
    return work;
}

bool lks_client_port_owns(uint64_t cookie)
{
    return cookie >= COOKIE_MARK;
}

/* Ends a flight. False: its client has ended. */
static bool land(struct lks_client_port *port, uint64_t cookie, uint32_t *lane, uint64_t *number)
{
    const uint32_t index = (uint32_t)(cookie >> COOKIE_FLIGHT_SHIFT) & (FLIGHTS - 1);
    struct flight *flight = &port->flights[index];
    LKS_ASSERT(flight->flying);
    LKS_ASSERT(flight->use == (uint32_t)cookie);
    struct attached *client = &port->clients[flight->lane];
    flight->flying = false;
    flight->next_free = port->free_flight;
    port->free_flight = index;
    if (client->life != flight->life) {
        return false;
    }
    client->requests--;
    client->writes -= flight->write ? 1 : 0;
    *lane = flight->lane;
    *number = flight->number;
    return true;
}

void lks_client_port_reply(struct lks_client_port *port, uint64_t cookie, const void *reply,
                           size_t bytes)
{
    uint32_t lane = 0;
    uint64_t number = 0;
    if (!land(port, cookie, &lane, &number)) {
        port->counts.dropped++;
        return;
    }
    answer(port, lane, number, bytes == 0 ? LKS_CLIENT_SAID_UNKNOWN : LKS_CLIENT_SAID_OK, reply,
           bytes);
}

void lks_client_port_flush(struct lks_client_port *port)
{
    for (uint32_t lane = 1; lane <= LKS_LANE_NUMBER_MAX; lane++) {
        struct attached *client = &port->clients[lane];
        if (client->dirty) {
            client->dirty = lks_ingress_publish(&client->answers, true) == -LKS_EBUSY;
        }
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

static uint64_t depart(struct lks_client_port *port, uint32_t lane, uint64_t number, bool write)
{
    struct attached *client = &port->clients[lane];
    const uint32_t index = port->free_flight;
    LKS_ASSERT(index != FLIGHT_NONE);
    struct flight *flight = &port->flights[index];
    port->free_flight = flight->next_free;
    flight->use++;
    flight->lane = lane;
    flight->flying = true;
    flight->write = write;
    flight->life = client->life;
    flight->number = number;
    client->requests++;
    client->writes += write ? 1 : 0;
    return COOKIE_MARK | (uint64_t)index << COOKIE_FLIGHT_SHIFT | flight->use;
}

static enum lks_client_said refusal_of(int rc)
{
    switch (rc) {
    case -LKS_ENOLEADER:
        return LKS_CLIENT_SAID_NO_LEADER;
    case -LKS_ERINGFULL:
        return LKS_CLIENT_SAID_RING_FULL;
    case -LKS_ETOOBIG:
        return LKS_CLIENT_SAID_TOO_BIG;
    default:
        return LKS_CLIENT_SAID_BUSY;
    }
}

static void refuse(struct lks_client_port *port, uint32_t lane, uint64_t number,
                   enum lks_client_said why)
{
    port->counts.refused++;
    answer(port, lane, number, (uint64_t)why, NULL, 0);
}

/* Hands a request on. */
static void take(struct lks_client_port *port, uint32_t lane,
                 const struct lks_ingress_command *record)
{
    const struct lks_client_port_backend *backend = &port->options.backend;
    const uint64_t kind = lks_session_incarnation(record->session);
    const bool read = kind == LKS_CLIENT_REQUEST_READ;
    const bool sound =
        read ? backend->is_read(record->data, record->bytes)
             : kind == LKS_CLIENT_REQUEST_CALL &&
                   lks_session_is_command(record->data, record->bytes);
    struct lks_session_header header;
    struct attached *client = &port->clients[lane];
    port->counts.requests++;
    client->taken_count++;
    client->heard_ns = port->now_ns;
    const bool decoded = !read && lks_session_decode(record->data, record->bytes, &header);
    client->session = decoded && header.id != 0 ? header.id : client->session;
    const bool wraps = decoded && header.kind == LKS_SESSION_CALL;
    const uint8_t *inner = (const uint8_t *)record->data + sizeof header;
    /* A read's answer may be of any length: no replica but the one that is asked may build it, and
     * none again at each start. */
    const bool logged_read = wraps && backend->is_read(inner, record->bytes - sizeof header);
    if (!sound || (!read && !decoded) || logged_read) {
        refuse(port, lane, record->sequence, LKS_CLIENT_SAID_MALFORMED);
        return;
    }
    if (wraps && backend->is_forbidden != NULL &&
        backend->is_forbidden(inner, record->bytes - sizeof header)) {
        refuse(port, lane, record->sequence, LKS_CLIENT_SAID_FORBIDDEN);
        return;
    }
    const bool ordered = client->writes > 0;
    const uint64_t cookie = depart(port, lane, record->sequence, !read);
    const int rc =
        read ? backend->read(backend->ctx, record->data, record->bytes, cookie, ordered)
             : backend->submit(backend->ctx, record->data, record->bytes, cookie);
    if (rc != 0) {
        uint32_t same = 0;
        uint64_t number = 0;
        if (land(port, cookie, &same, &number)) {
            refuse(port, lane, number, refusal_of(rc));
        }
    }
}

/* A request without an answer has a flight of its own, also one whose client has ended. */
static bool may_take(const struct lks_client_port *port, const struct attached *client)
{
    return client->here && !port->draining && client->held_first == NULL &&
           client->requests < LKS_CLIENT_PORT_REQUESTS_MAX && port->free_flight != FLIGHT_NONE;
}

static int take_from(struct lks_client_port *port, uint32_t lane)
{
    struct attached *client = &port->clients[lane];
    int work = unhold(port, lane);
    if (client->dirty) { /* the lane was full when it was flushed */
        client->dirty = lks_ingress_publish(&client->answers, true) == -LKS_EBUSY;
    }
    for (uint32_t i = 0; i < TAKEN_PER_TURN_MAX && may_take(port, client); i++) {
        struct lks_ingress_command record;
        const int rc = lks_ingress_pop(&client->taken, &record);
        if (rc == -ENODATA) {
            break;
        }
        if (rc != 0) {
            let_go(port, lane, "what it wrote is no request");
            return work + 1;
        }
        take(port, lane, &record);
        work++;
    }
    if (client->here) {
        (void)lks_ingress_return_credits(&client->taken);
    }
    return work;
}

int lks_client_port_poll(struct lks_client_port *port, uint64_t now_ns)
{
    struct lks_lanes_changes changes;
    const bool look = port->look_due || now_ns - port->looked_ns >= LOOK_NS;
    int work = 0;
    port->now_ns = now_ns;
    if (look) {
        port->look_due = false;
        port->looked_ns = now_ns;
    }
    lks_lanes_poll(port->lanes, look, &changes);
    for (uint32_t lane = 1; lane <= LKS_LANE_NUMBER_MAX; lane++) {
        if ((changes.detached >> lane & 1) != 0) {
            forget(port, lane);
            work++;
        }
        if ((changes.attached >> lane & 1) != 0) {
            welcome(port, lane);
            work++;
        }
        if (port->clients[lane].here) {
            work += take_from(port, lane);
        }
    }
    return work;
}

void lks_client_port_drain(struct lks_client_port *port)
{
    port->draining = true;
}

/* ---- sleeping ------------------------------------------------------------------------------- */

int lks_client_port_fd(const struct lks_client_port *port)
{
    return lks_lanes_fd(port->lanes);
}

bool lks_client_port_arm(struct lks_client_port *port)
{
    bool idle = lks_lanes_arm(port->lanes);
    for (uint32_t lane = 1; lane <= LKS_LANE_NUMBER_MAX; lane++) {
        struct attached *client = &port->clients[lane];
        const bool found = client->held_first != NULL
                               ? unhold(port, lane) > 0
                               : may_take(port, client) && lks_ingress_waits(&client->taken);
        idle = idle && !found;
    }
    if (!idle) {
        lks_lanes_disarm(port->lanes);
    }
    return idle;
}

void lks_client_port_disarm(struct lks_client_port *port)
{
    lks_lanes_disarm(port->lanes);
    port->look_due = true;
}

void lks_client_port_counts(const struct lks_client_port *port,
                            struct lks_client_port_counts *counts)
{
    *counts = port->counts;
}

bool lks_client_port_describe(const struct lks_client_port *port, uint32_t lane,
                              struct lks_client_port_client *client)
{
    LKS_ASSERT(lane >= 1 && lane <= LKS_LANE_NUMBER_MAX);
    const struct attached *attached = &port->clients[lane];
    if (!attached->here) {
        return false;
    }
    *client = (struct lks_client_port_client){.calls = attached->requests,
                                              .session = attached->session,
                                              .requests = attached->taken_count,
                                              .held_bytes = attached->held_bytes,
                                              .silent_ns = port->now_ns - attached->heard_ns};
    (void)lks_lanes_who(port->lanes, lane, client->who, sizeof client->who);
    return true;
}
