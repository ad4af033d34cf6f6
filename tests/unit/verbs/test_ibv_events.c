/*
 * Every asynchronous event that libibverbs knows, and one that it does not, given to a fabric whose
 * device is made of functions: what is done, and what is said. No device; the calls of libibverbs,
 * and the ending of a link, are wrapped.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "verbs/ibv/ibv.h"

#define PORT 1
#define PEER 2u
#define LINES_BYTES 4096u

struct rig {
    struct lks_ibv_fabric *ibv;
    struct ibv_device device;
    struct ibv_context context;
    struct rdma_cm_id listener;
    struct rdma_cm_id link;
    struct ibv_cq cqs[2];  /* the fabric's, a lane's */
    struct ibv_qp qps[4];  /* by enum lks_ibv_role; the last one is a lane's */
    struct lks_log sink;
    char lines[LINES_BYTES];
    enum lks_log_level level; /* of the last one */
    /* What the device says. */
    enum ibv_port_state port_state;
    uint8_t link_layer;
    bool has_address;
    struct ibv_async_event pending[32];
    unsigned pending_count;
    unsigned acknowledged;
    /* What was done. */
    uint32_t closed;   /* bit by peer */
    unsigned notified;
};

static struct rig *g_rig;

int __wrap_ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event);
void __wrap_ibv_ack_async_event(struct ibv_async_event *event);
int __wrap_ibv_query_port(struct ibv_context *context, uint8_t port,
                          struct _compat_ibv_port_attr *attributes);
ssize_t __wrap__ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries,
                                    size_t entries_max, uint32_t flags, size_t entry_bytes);
int __wrap_ibv_query_pkey(struct ibv_context *context, uint8_t port, int index, __be16 *pkey);
int __wrap_rdma_notify(struct rdma_cm_id *id, enum ibv_event_type event);
void __wrap_lks_ibv_link_close(struct lks_ibv_fabric *ibv, uint32_t peer);

int __wrap_ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
    assert_ptr_equal(context, &g_rig->context);
    if (g_rig->pending_count == 0) {
        return -1;
    }
    *event = g_rig->pending[0];
    g_rig->pending_count--;
    memmove(g_rig->pending, g_rig->pending + 1, g_rig->pending_count * sizeof *event);
    return 0;
}

void __wrap_ibv_ack_async_event(struct ibv_async_event *event)
{
    (void)event;
    g_rig->acknowledged++;
}

int __wrap_ibv_query_port(struct ibv_context *context, uint8_t port,
                          struct _compat_ibv_port_attr *attributes)
{
    struct ibv_port_attr *wanted = (struct ibv_port_attr *)(void *)attributes;
    (void)context;
    assert_int_equal(port, PORT);
    wanted->state = g_rig->port_state;
    wanted->link_layer = g_rig->link_layer;
    wanted->pkey_tbl_len = 1;
    return 0;
}

ssize_t __wrap__ibv_query_gid_table(struct ibv_context *context, struct ibv_gid_entry *entries,
                                    size_t entries_max, uint32_t flags, size_t entry_bytes)
{
    (void)context;
    (void)flags;
    assert_true(entries_max >= 2);
    assert_int_equal(entry_bytes, sizeof *entries);
    memset(entries, 0, 2 * sizeof *entries);
    entries[0].port_num = PORT;
    entries[0].gid.raw[0] = 0xfe; /* a link-local one, which is always there */
    entries[0].gid.raw[1] = 0x80;
    entries[1].port_num = PORT;
    lks_ibv_own_gid(g_rig->ibv, &entries[1].gid);
    return g_rig->has_address ? 2 : 1;
}

int __wrap_ibv_query_pkey(struct ibv_context *context, uint8_t port, int index, __be16 *pkey)
{
    (void)context;
    (void)port;
    (void)index;
    *pkey = 0xffff;
    return 0;
}

int __wrap_rdma_notify(struct rdma_cm_id *id, enum ibv_event_type event)
{
    assert_ptr_equal(id, &g_rig->link);
    assert_int_equal(event, IBV_EVENT_COMM_EST);
    g_rig->notified++;
    return 0;
}

void __wrap_lks_ibv_link_close(struct lks_ibv_fabric *ibv, uint32_t peer)
{
    assert_ptr_equal(ibv, g_rig->ibv);
    g_rig->closed |= 1u << peer;
}

static void keep_line(void *ctx, enum lks_log_level level, const char *line)
{
    struct rig *rig = ctx;
    const size_t length = strlen(rig->lines);
    rig->level = level;
    (void)snprintf(rig->lines + length, sizeof rig->lines - length, "%s\n", line);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    struct lks_ibv_fabric *ibv = calloc(1, sizeof *ibv);
    assert_non_null(ibv);
    *rig = (struct rig){.ibv = ibv,
                        .port_state = IBV_PORT_ACTIVE,
                        .link_layer = IBV_LINK_LAYER_ETHERNET,
                        .has_address = true};
    rig->sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = keep_line, .ctx = rig};
    (void)strcpy(rig->device.name, "rxe7");
    rig->context.device = &rig->device;
    rig->listener.port_num = PORT;
    ibv->options.log_sink = &rig->sink;
    ibv->context = &rig->context;
    ibv->listener = &rig->listener;
    ibv->self = 1;
    ibv->replicas = 3;
    ibv->cq = &rig->cqs[0];
    const struct lks_rdma_place place = {.address = "10.0.0.1", .port = 7};
    ibv->rdma.places[1] = place;
    assert_int_equal(lks_ibv_parse_place(&place, &ibv->peers[1].place), 0);
    struct lks_ibv_peer *peer = &ibv->peers[PEER];
    peer->link.id = &rig->link;
    peer->link.queue.qp = &rig->qps[LKS_IBV_ROLE_CONTROL];
    peer->paths[1].queue.qp = &rig->qps[LKS_IBV_ROLE_PATH];
    peer->grant.queue.qp = &rig->qps[LKS_IBV_ROLE_OWNER];
    peer->grant.queue.peer = (uint8_t)PEER;
    assert_int_equal(lks_ibv_queue_init(&peer->grant.queue, LKS_IBV_OWNER_DEPTH), 0);
    g_rig = rig;
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    lks_ibv_queue_fini(&rig->ibv->peers[PEER].grant.queue);
    free(rig->ibv);
    free(rig);
    return 0;
}

/* Lets it happen; the lines are those that it makes. */
static void happens(struct rig *rig, struct ibv_async_event event)
{
    rig->lines[0] = '\0';
    rig->closed = 0;
    rig->pending[0] = event;
    rig->pending_count = 1;
    rig->acknowledged = 0;
    lks_ibv_device_events(rig->ibv);
    assert_int_equal(rig->acknowledged, 1);
}

static void happens_at(struct rig *rig, enum ibv_event_type type, struct ibv_qp *qp)
{
    happens(rig, (struct ibv_async_event){.event_type = type, .element.qp = qp});
}

static void happens_to_port(struct rig *rig, enum ibv_event_type type, int port)
{
    happens(rig, (struct ibv_async_event){.event_type = type, .element.port_num = port});
}

static void assert_said(const struct rig *rig, const char *text)
{
    if (strstr(rig->lines, text) == NULL) {
        fail_msg("\"%s\" is not said, but: %s", text, rig->lines);
    }
}

static void device_fatal__all_connections_end_and_none_is_made(void **state)
{
    struct rig *rig = *state;
    happens(rig, (struct ibv_async_event){.event_type = IBV_EVENT_DEVICE_FATAL});
    assert_int_equal(rig->closed, 1u << 1 | 1u << 2 | 1u << 3);
    assert_said(rig, "RDMA device rxe7: local catastrophic error");
    assert_said(rig, "all connections end, and so does this replica");
    assert_int_equal(rig->level, LKS_LOG_ERROR);
    assert_true(rig->ibv->device_lost);
    assert_non_null(strstr(rig->ibv->trouble, "start this replica again"));
    /* Nothing is dialed: no deadline of the meeting is set. */
    rig->ibv->peers[PEER].wanted = true;
    rig->ibv->self = 3;
    rig->ibv->peers[PEER].place = rig->ibv->peers[1].place;
    assert_int_equal(lks_ibv_meeting_deadline(rig->ibv), LKS_IBV_NEVER);
    rig->ibv->device_lost = false;
    assert_int_not_equal(lks_ibv_meeting_deadline(rig->ibv), LKS_IBV_NEVER);
    rig->ibv->device_lost = true;
    /* Said once, and no address that comes back makes it usable. */
    rig->ibv->self = 1;
    happens(rig, (struct ibv_async_event){.event_type = IBV_EVENT_DEVICE_FATAL});
    assert_string_equal(rig->lines, "");
    happens_to_port(rig, IBV_EVENT_PORT_ACTIVE, PORT);
    assert_non_null(strstr(rig->ibv->trouble, "start this replica again"));
}

static void completion_queue_error__own__device_counts_as_lost(void **state)
{
    struct rig *rig = *state;
    happens(rig, (struct ibv_async_event){.event_type = IBV_EVENT_CQ_ERR,
                                          .element.cq = &rig->cqs[1]});
    assert_int_equal(rig->closed, 0);
    assert_false(rig->ibv->device_lost);
    happens(rig, (struct ibv_async_event){.event_type = IBV_EVENT_CQ_ERR,
                                          .element.cq = &rig->cqs[0]});
    assert_int_equal(rig->closed, 1u << 1 | 1u << 2 | 1u << 3);
    assert_true(rig->ibv->device_lost);
}

static void queue_pair_fatal__of_any_role__its_peer_s_connection_ends(void **state)
{
    struct rig *rig = *state;
    for (unsigned role = LKS_IBV_ROLE_CONTROL; role <= LKS_IBV_ROLE_OWNER; role++) {
        rig->ibv->peers[PEER].complained = 0;
        happens_at(rig, IBV_EVENT_QP_FATAL, &rig->qps[role]);
        assert_int_equal(rig->closed, 1u << PEER);
        assert_said(rig, "r2: its queue pair failed");
    }
    happens_at(rig, IBV_EVENT_QP_FATAL, &rig->qps[3]); /* a client's lane */
    assert_int_equal(rig->closed, 0);
    assert_string_equal(rig->lines, "");
}

/* A BIND that is under way would never end. */
static void queue_pair_fatal__owner_s_end_while_it_binds__the_grant_fails(void **state)
{
    struct rig *rig = *state;
    struct lks_ibv_grant *grant = &rig->ibv->peers[PEER].grant;
    struct lks_ibv_queue *queue = &grant->queue;
    queue->role = LKS_IBV_ROLE_OWNER;
    queue->operations[0] =
        (struct lks_ibv_operation){.purpose = LKS_IBV_FOR_BIND, .posted = true};
    queue->next = queue->first + 1;
    happens_at(rig, IBV_EVENT_QP_FATAL, &rig->qps[LKS_IBV_ROLE_OWNER]);
    assert_int_equal(queue->first, queue->next);
    assert_null(queue->qp);
    assert_true(queue->failed); /* so no LOCAL_INV is posted there: the stronger fence follows */
}

static void queue_pair_refused__control_ends__a_path_s_ends_are_quiet(void **state)
{
    struct rig *rig = *state;
    static const enum ibv_event_type types[] = {IBV_EVENT_QP_REQ_ERR, IBV_EVENT_QP_ACCESS_ERR};
    for (size_t i = 0; i < 2; i++) {
        rig->ibv->peers[PEER].complained = 0;
        happens_at(rig, types[i], &rig->qps[LKS_IBV_ROLE_CONTROL]);
        assert_int_equal(rig->closed, 1u << PEER);
        assert_said(rig, "r2: its queue pair failed");
        /* How a writer whose permission has ended finds out: nothing to warn of. */
        for (unsigned role = LKS_IBV_ROLE_PATH; role <= LKS_IBV_ROLE_OWNER + 1; role++) {
            happens_at(rig, types[i], &rig->qps[role]);
            assert_int_equal(rig->closed, 0);
            assert_int_equal(rig->level, LKS_LOG_DEBUG);
        }
    }
}

static void established__the_connection_manager_is_told(void **state)
{
    struct rig *rig = *state;
    happens_at(rig, IBV_EVENT_COMM_EST, &rig->qps[LKS_IBV_ROLE_CONTROL]);
    assert_int_equal(rig->notified, 1);
    happens_at(rig, IBV_EVENT_COMM_EST, &rig->qps[LKS_IBV_ROLE_PATH]); /* made without it */
    happens_at(rig, IBV_EVENT_COMM_EST, &rig->qps[3]);
    assert_int_equal(rig->notified, 1);
    assert_string_equal(rig->lines, "");
}

static void port_error__own__said_with_way_out_until_it_is_active(void **state)
{
    struct rig *rig = *state;
    rig->port_state = IBV_PORT_DOWN;
    happens_to_port(rig, IBV_EVENT_PORT_ERR, PORT);
    assert_said(rig, "RDMA device rxe7 port 1: port error");
    assert_said(rig, "port 1 is down, not active: see its cable, its switch, and `ip link`");
    assert_non_null(strstr(rig->ibv->trouble, "not active"));
    rig->port_state = IBV_PORT_ACTIVE;
    happens_to_port(rig, IBV_EVENT_PORT_ACTIVE, PORT);
    assert_said(rig, "RDMA device rxe7 port 1: usable again at 10.0.0.1");
    assert_string_equal(rig->ibv->trouble, "");
    assert_int_equal(rig->closed, 0);
}

static void port_events__of_another_port__nothing_is_warned_of(void **state)
{
    struct rig *rig = *state;
    rig->port_state = IBV_PORT_DOWN;
    happens_to_port(rig, IBV_EVENT_PORT_ERR, PORT + 1);
    assert_said(rig, "not this replica's");
    assert_int_equal(rig->level, LKS_LOG_DEBUG);
    assert_string_equal(rig->ibv->trouble, "");
}

static void addresses_change__own_one_vanishes_and_comes_back__both_said(void **state)
{
    struct rig *rig = *state;
    happens_to_port(rig, IBV_EVENT_GID_CHANGE, PORT); /* another one came or went */
    assert_string_equal(rig->ibv->trouble, "");
    rig->has_address = false;
    happens_to_port(rig, IBV_EVENT_GID_CHANGE, PORT);
    assert_said(rig, "port 1 has lost the address 10.0.0.1, at which this replica listens");
    assert_said(rig, "`ip address add 10.0.0.1/LENGTH dev NAME`");
    assert_int_equal(rig->level, LKS_LOG_ERROR);
    assert_non_null(strstr(rig->ibv->trouble, "has lost the address"));
    happens_to_port(rig, IBV_EVENT_GID_CHANGE, PORT); /* said once */
    assert_null(strstr(rig->lines, "has lost the address"));
    rig->has_address = true;
    happens_to_port(rig, IBV_EVENT_GID_CHANGE, PORT);
    assert_said(rig, "usable again at 10.0.0.1");
    assert_string_equal(rig->ibv->trouble, "");
}

/* Addresses of IPoIB are in no table of the port. */
static void addresses_change__infiniband__no_address_is_missed(void **state)
{
    struct rig *rig = *state;
    rig->link_layer = IBV_LINK_LAYER_INFINIBAND;
    rig->has_address = false;
    happens_to_port(rig, IBV_EVENT_GID_CHANGE, PORT);
    assert_string_equal(rig->ibv->trouble, "");
}

static void partitions_change__configured_one_is_gone__said_with_way_out(void **state)
{
    struct rig *rig = *state;
    rig->ibv->rdma.pkey = 0x8123;
    happens_to_port(rig, IBV_EVENT_PKEY_CHANGE, PORT);
    assert_said(rig, "rdma.pkey 0x8123: device rxe7 port 1 is not a member");
    assert_non_null(strstr(rig->ibv->trouble, "rdma.pkey 0x8123"));
    rig->ibv->rdma.pkey = 0x7fff;
    happens_to_port(rig, IBV_EVENT_PKEY_CHANGE, PORT);
    assert_said(rig, "usable again");
}

static void subnet_events__said_and_nothing_ends(void **state)
{
    struct rig *rig = *state;
    static const enum ibv_event_type types[] = {IBV_EVENT_LID_CHANGE, IBV_EVENT_SM_CHANGE,
                                                IBV_EVENT_CLIENT_REREGISTER};
    for (size_t i = 0; i < 3; i++) {
        happens_to_port(rig, types[i], PORT);
        assert_said(rig, ibv_event_type_str(types[i]));
        assert_int_equal(rig->level, LKS_LOG_WARN);
        assert_int_equal(rig->closed, 0);
        assert_string_equal(rig->ibv->trouble, "");
    }
}

static void events_of_what_is_not_used__said_and_nothing_ends(void **state)
{
    struct rig *rig = *state;
    static const enum ibv_event_type types[] = {
        IBV_EVENT_SQ_DRAINED, IBV_EVENT_PATH_MIG,          IBV_EVENT_PATH_MIG_ERR,
        IBV_EVENT_SRQ_ERR,    IBV_EVENT_SRQ_LIMIT_REACHED, IBV_EVENT_QP_LAST_WQE_REACHED,
        IBV_EVENT_WQ_FATAL};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        happens_at(rig, types[i], &rig->qps[0]);
        assert_said(rig, ibv_event_type_str(types[i]));
        assert_said(rig, "nothing is done");
        assert_int_equal(rig->closed, 0);
    }
}

static void unknown_event__said_by_its_number(void **state)
{
    struct rig *rig = *state;
    happens(rig, (struct ibv_async_event){.event_type = (enum ibv_event_type)99});
    assert_said(rig, "asynchronous event 99, which this version does not know");
    assert_int_equal(rig->level, LKS_LOG_WARN);
    assert_int_equal(rig->closed, 0);
}

/* A flood is worked off in pieces, each acknowledged. */
static void many_events__taken_in_bounded_steps(void **state)
{
    struct rig *rig = *state;
    for (unsigned i = 0; i < 32; i++) {
        rig->pending[i] = (struct ibv_async_event){.event_type = IBV_EVENT_SM_CHANGE,
                                                   .element.port_num = PORT + 1};
    }
    rig->pending_count = 32;
    lks_ibv_device_events(rig->ibv);
    assert_int_equal(rig->acknowledged, 16);
    lks_ibv_device_events(rig->ibv);
    lks_ibv_device_events(rig->ibv);
    assert_int_equal(rig->acknowledged, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(device_fatal__all_connections_end_and_none_is_made),
        TEST(completion_queue_error__own__device_counts_as_lost),
        TEST(queue_pair_fatal__of_any_role__its_peer_s_connection_ends),
        TEST(queue_pair_fatal__owner_s_end_while_it_binds__the_grant_fails),
        TEST(queue_pair_refused__control_ends__a_path_s_ends_are_quiet),
        TEST(established__the_connection_manager_is_told),
        TEST(port_error__own__said_with_way_out_until_it_is_active),
        TEST(port_events__of_another_port__nothing_is_warned_of),
        TEST(addresses_change__own_one_vanishes_and_comes_back__both_said),
        TEST(addresses_change__infiniband__no_address_is_missed),
        TEST(partitions_change__configured_one_is_gone__said_with_way_out),
        TEST(subnet_events__said_and_nothing_ends),
        TEST(events_of_what_is_not_used__said_and_nothing_ends),
        TEST(unknown_event__said_by_its_number),
        TEST(many_events__taken_in_bounded_steps),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
