/*
 * Who gets no lane over RDMA, and what that costs the others: a replica's lanes in this process,
 * clients in it and in processes of their own, over the device whose address LKS_TEST_RDMA_ADDRESS
 * names. Without it the test says so and is skipped. (Processes are made before the device is
 * opened: none may be made afterwards.)
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "verbs/ibv/client_cm.h"
#include "verbs/ibv/client_end.h"
#include "verbs/rdma_lane.h"

#define SKIPPED 77
#define REPLICA 2u
#define PORT 18621u
#define AREA_BYTES UINT64_C(8192)
#define PATIENCE_NS UINT64_C(30000000000)
#define LINES_BYTES 8192u
#define KEY "a key of clients"

static const char *g_address;

struct rig {
    struct lks_lanes *lanes;
    struct lks_log sink;
    pthread_mutex_t lock; /* the lanes' thread logs, too */
    char lines[LINES_BYTES];
    uint64_t attached;
    uint64_t detached;
};

static void note_line(void *ctx, enum lks_log_level level, const char *line)
{
    struct rig *rig = ctx;
    (void)level;
    (void)pthread_mutex_lock(&rig->lock);
    const size_t length = strlen(rig->lines);
    (void)snprintf(rig->lines + length, sizeof rig->lines - length, "%s\n", line);
    (void)pthread_mutex_unlock(&rig->lock);
}

static bool has_logged(struct rig *rig, const char *text)
{
    (void)pthread_mutex_lock(&rig->lock);
    const bool found = strstr(rig->lines, text) != NULL;
    (void)pthread_mutex_unlock(&rig->lock);
    return found;
}

static struct lks_rdma_place place(uint16_t port)
{
    struct lks_rdma_place here = {.port = port};
    (void)snprintf(here.address, sizeof here.address, "%s", g_address);
    return here;
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct lks_error err = {0};
    assert_non_null(rig);
    *state = rig;
    (void)pthread_mutex_init(&rig->lock, NULL);
    rig->sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = note_line, .ctx = rig};
    const struct lks_lanes_rdma_options options = {.place = place(PORT),
                                                   .replica = REPLICA,
                                                   .cluster_id = {1, 2, 3},
                                                   .client_key = KEY,
                                                   .area_bytes = AREA_BYTES,
                                                   .log_sink = &rig->sink};
    const int rc = lks_lanes_rdma_new(&rig->lanes, &options, &err);
    if (rc != 0) {
        print_error("%s\n", err.text);
    }
    return rc;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    lks_lanes_free(rig->lanes);
    (void)pthread_mutex_destroy(&rig->lock);
    free(rig);
    return 0;
}

static void turn(struct rig *rig)
{
    struct lks_lanes_changes changes;
    lks_lanes_poll(rig->lanes, true, &changes);
    rig->attached |= changes.attached;
    rig->detached |= changes.detached;
}

static struct lks_lane_rdma_options good_options(void)
{
    return (struct lks_lane_rdma_options){.place = place(PORT),
                                          .replica = REPLICA,
                                          .cluster_id = {1, 2, 3},
                                          .client_key = KEY,
                                          .area_bytes = AREA_BYTES,
                                          .timeout_ns = PATIENCE_NS};
}

static void await_line(struct rig *rig, const char *text)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while (!has_logged(rig, text)) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(rig);
    }
}

/* (The replica's side of a meeting needs no turn of the loop.) */
static void expect_served(struct rig *rig)
{
    const struct lks_lane_rdma_options options = good_options();
    struct lks_lane *lane = NULL;
    assert_int_equal(lks_lane_rdma_attach(&lane, &options), 0);
    const uint64_t bit = UINT64_C(1) << lks_lane_number(lane);
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while ((rig->attached & bit) == 0) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(rig);
    }
    lks_lane_free(lane);
}

static void expect_refused(struct rig *rig, const struct lks_lane_rdma_options *options, int code,
                           const char *line)
{
    struct lks_lane *lane = NULL;
    assert_int_equal(lks_lane_rdma_attach(&lane, options), code);
    assert_null(lane);
    await_line(rig, line);
    assert_int_equal(rig->attached, 0);
}

static void another_key__refused_and_logged(void **state)
{
    struct lks_lane_rdma_options options = good_options();
    options.client_key[31] = 1;
    expect_refused(*state, &options, -EACCES, "it does not know the client key");
    expect_served(*state);
}

static void another_cluster_or_replica_or_size__refused_and_logged(void **state)
{
    struct lks_lane_rdma_options options = good_options();
    options.cluster_id[15] = 1;
    expect_refused(*state, &options, -LKS_ECLUSTER, "another cluster id");
    options = good_options();
    options.replica = 1;
    expect_refused(*state, &options, -LKS_ECLUSTER, "another replica is wanted");
    options = good_options();
    options.area_bytes *= 2;
    expect_refused(*state, &options, -LKS_ESIZE, "its area has another size");
    expect_served(*state);
}

static void nobody_listens__told_at_once(void **state)
{
    struct lks_lane_rdma_options options = good_options();
    struct lks_lane *lane = NULL;
    options.place.port = PORT + 1;
    (void)state;
    assert_int_equal(lks_lane_rdma_attach(&lane, &options), -ECONNREFUSED);
    (void)snprintf(options.place.address, sizeof options.place.address, "no address");
    assert_int_equal(lks_lane_rdma_attach(&lane, &options), -EINVAL);
}

/* ---- callers made by hand ------------------------------------------------------------------- */

struct caller {
    struct rdma_event_channel *channel;
    struct rdma_cm_id *id;
    struct ibv_comp_channel *completions;
    struct lks_client_ibv_meeting meeting;
    struct lks_client_ibv_end end;
};

static void await_event(struct caller *caller, enum rdma_cm_event_type kind,
                        struct lks_client_ibv_event *event)
{
    struct pollfd wanted = {.fd = caller->channel->fd, .events = POLLIN};
    while (!lks_client_ibv_next_event(caller->channel, event)) {
        assert_int_equal(poll(&wanted, 1, 30000), 1);
    }
    assert_int_equal(event->kind, kind);
}

/* Calls with this request, and hears this. */
static void call(struct caller *caller, enum rdma_cm_event_type heard,
                 struct lks_client_ibv_event *event)
{
    const struct lks_rdma_place there = place(PORT);
    struct sockaddr_storage address;
    caller->channel = rdma_create_event_channel();
    assert_non_null(caller->channel);
    assert_int_equal(lks_client_ibv_make_non_blocking(caller->channel->fd), 0);
    assert_int_equal(lks_client_ibv_parse_place(&there, &address), 0);
    assert_int_equal(rdma_create_id(caller->channel, &caller->id, NULL, RDMA_PS_TCP), 0);
    assert_int_equal(
        rdma_resolve_addr(caller->id, NULL, (struct sockaddr *)&address, 10000), 0);
    await_event(caller, RDMA_CM_EVENT_ADDR_RESOLVED, event);
    assert_int_equal(rdma_resolve_route(caller->id, 10000), 0);
    await_event(caller, RDMA_CM_EVENT_ROUTE_RESOLVED, event);
    caller->completions = ibv_create_comp_channel(caller->id->verbs);
    assert_non_null(caller->completions);
    assert_int_equal(lks_client_ibv_end_init(&caller->end, caller->id, caller->completions), 0);
    struct rdma_conn_param wanted = {.private_data = &caller->meeting.request,
                                     .private_data_len = sizeof caller->meeting.request,
                                     .retry_count = 6,
                                     .rnr_retry_count = 7};
    assert_int_equal(rdma_connect(caller->id, &wanted), 0);
    await_event(caller, heard, event);
}

static void hang_up(struct caller *caller)
{
    lks_client_ibv_end_fini(&caller->end);
    (void)ibv_destroy_comp_channel(caller->completions);
    rdma_destroy_event_channel(caller->channel);
}

static void ask(struct caller *caller)
{
    const struct lks_client_ibv_identity wanted = {
        .replica = REPLICA, .cluster = {1, 2, 3}, .area_bytes = AREA_BYTES};
    *caller = (struct caller){0};
    memcpy(caller->meeting.key, KEY, sizeof KEY);
    assert_int_equal(lks_client_ibv_ask(&caller->meeting, &wanted), 0);
}

static void request__garbage_or_of_another_version__rejected_with_the_reason(void **state)
{
    struct rig *rig = *state;
    const struct {
        size_t at;
        int code;
    } cases[] = {{offsetof(struct lks_client_ibv_request, magic), -EBADMSG},
                 {offsetof(struct lks_client_ibv_request, version), -LKS_EVERSION},
                 {offsetof(struct lks_client_ibv_request, reserved), -EBADMSG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct caller caller;
        struct lks_client_ibv_event event;
        struct lks_client_ibv_reject why;
        ask(&caller);
        ((uint8_t *)&caller.meeting.request)[cases[i].at] ^= 0x20;
        call(&caller, RDMA_CM_EVENT_REJECTED, &event);
        assert_true(event.bytes >= sizeof why);
        memcpy(&why, event.data, sizeof why);
        assert_int_equal(why.status, cases[i].code);
        assert_int_equal(why.replica, REPLICA);
        hang_up(&caller);
    }
    expect_served(rig);
}

/* More than may wait say nothing, each connected: a client is served at once, and the silent ones
 * are dropped in the end. */
static void callers_that_hang__give_way_and_are_dropped(void **state)
{
    struct rig *rig = *state;
    struct caller callers[12];
    struct lks_client_ibv_event event;
    for (size_t i = 0; i < sizeof callers / sizeof callers[0]; i++) {
        ask(&callers[i]);
        call(&callers[i], RDMA_CM_EVENT_ESTABLISHED, &event);
    }
    expect_served(rig);
    await_line(rig, "it did not finish the meeting");
    for (size_t i = 0; i < sizeof callers / sizeof callers[0]; i++) {
        await_event(&callers[i], RDMA_CM_EVENT_DISCONNECTED, &event);
        hang_up(&callers[i]);
    }
    expect_served(rig);
}

/* Says HELLO, with keys of its own, where the proof is awaited; then garbage. */
static void messages_out_of_turn__refused_without_a_key(void **state)
{
    struct rig *rig = *state;
    for (int kind = LKS_CLIENT_IBV_WELCOME; kind <= LKS_CLIENT_IBV_REFUSE + 1; kind++) {
        struct caller caller;
        struct lks_client_ibv_event event;
        struct lks_client_ibv_message message = {.kind = (uint8_t)kind, .bytes = AREA_BYTES};
        struct lks_client_ibv_message heard = {0};
        int code;
        ask(&caller);
        call(&caller, RDMA_CM_EVENT_ESTABLISHED, &event);
        assert_int_equal(
            lks_client_ibv_take_answer(&caller.meeting, event.data, event.bytes), 0);
        lks_client_ibv_prove(&caller.meeting, &message); /* it does know the key */
        assert_true(lks_client_ibv_end_say(&caller.end, &message));
        while ((code = lks_client_ibv_end_hear(&caller.end, &heard)) == -EAGAIN) {
            turn(rig);
        }
        assert_int_equal(code, 0);
        assert_int_equal(heard.kind, LKS_CLIENT_IBV_REFUSE);
        assert_int_equal(heard.status, -EBADMSG);
        assert_int_equal(heard.rkey, 0);
        hang_up(&caller);
    }
    assert_int_equal(rig->attached, 0);
    expect_served(rig);
}

/* Goes through the whole meeting, so that its end can be misused. */
static void meet_by_hand(struct rig *rig, struct caller *caller)
{
    struct lks_client_ibv_event event;
    struct lks_client_ibv_message message = {.kind = LKS_CLIENT_IBV_PROOF};
    const char *detail = NULL;
    int code;
    ask(caller);
    call(caller, RDMA_CM_EVENT_ESTABLISHED, &event);
    assert_int_equal(lks_client_ibv_take_answer(&caller->meeting, event.data, event.bytes), 0);
    lks_client_ibv_prove(&caller->meeting, &message);
    assert_true(lks_client_ibv_end_say(&caller->end, &message));
    while ((code = lks_client_ibv_end_hear(&caller->end, &message)) == -EAGAIN) {
        turn(rig);
    }
    assert_int_equal(code, 0);
    assert_int_equal(lks_client_ibv_hear(&caller->meeting, &message, &detail), 0);
    assert_int_equal(lks_client_ibv_end_open(&caller->end, AREA_BYTES), 0);
    struct lks_client_ibv_message hello = {.kind = LKS_CLIENT_IBV_HELLO,
                                           .address = (uintptr_t)caller->end.area,
                                           .bytes = AREA_BYTES,
                                           .rkey = caller->end.area_region->rkey};
    lks_client_ibv_prove(&caller->meeting, &hello);
    assert_true(lks_client_ibv_end_say(&caller->end, &hello));
    while ((rig->attached >> caller->meeting.lane & 1) == 0) {
        turn(rig);
    }
    caller->end.remote = caller->meeting.remote;
}

/* A lane's key opens that lane's area and nothing else: not another lane's, nothing beyond its end.
 * Who tries it loses the lane. */
static void keys_misused__the_lane_ends_and_no_other(void **state)
{
    struct rig *rig = *state;
    struct caller witness;
    meet_by_hand(rig, &witness);
    for (unsigned i = 0; i < 2; i++) {
        struct caller caller;
        const uint64_t word = UINT64_MAX;
        meet_by_hand(rig, &caller);
        const uint64_t bit = UINT64_C(1) << caller.meeting.lane;
        if (i == 0) {
            caller.end.remote = witness.end.remote; /* by its own queue pair */
        } else {
            caller.end.remote.address += AREA_BYTES;
        }
        assert_int_equal(lks_client_ibv_end_write(&caller.end, 0, &word, sizeof word,
                                                  LKS_FABRIC_WAKE),
                         0);
        const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
        while (!caller.end.failed || (rig->detached & bit) == 0) {
            assert_true(lks_clock_monotonic_ns() < until_ns);
            lks_client_ibv_end_poll(&caller.end);
            if (caller.end.failed && caller.id != NULL) {
                hang_up(&caller);
                caller.end.failed = true;
                caller.id = NULL;
            }
            turn(rig);
        }
        rig->attached &= ~bit;
        rig->detached &= ~bit;
    }
    lks_client_ibv_end_poll(&witness.end);
    assert_false(witness.end.failed);
    const uint8_t *area = lks_fabric_inbox(lks_lanes_fabric(rig->lanes), witness.meeting.lane);
    for (uint64_t i = 0; i < AREA_BYTES; i++) {
        assert_int_equal(area[i], 0);
    }
    hang_up(&witness);
}

/* As where its host loses power: nothing is answered any more, and nobody hangs up. */
static void client_s_host_dies__its_lane_ends_and_its_place_is_free(void **state)
{
    struct rig *rig = *state;
    struct caller caller;
    struct ibv_qp_attr dead = {.qp_state = IBV_QPS_ERR};
    char who[64];
    const uint64_t word = 1;
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    meet_by_hand(rig, &caller);
    const uint32_t number = caller.meeting.lane;
    assert_true(lks_lanes_who(rig->lanes, number, who, sizeof who));
    assert_string_equal(who + strlen("address="), g_address);
    assert_int_equal(ibv_modify_qp(caller.end.id->qp, &dead, IBV_QP_STATE), 0);
    struct lks_fabric *fabric = lks_lanes_fabric(rig->lanes);
    assert_int_equal(lks_fabric_write_inbox(fabric, number, 0, &word, sizeof word,
                                            LKS_FABRIC_INLINE, 0),
                     0);
    while ((rig->detached >> number & 1) == 0) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(rig);
    }
    assert_true(has_logged(rig, "its lane ends: "));
    assert_false(lks_lanes_who(rig->lanes, number, who, sizeof who));
    hang_up(&caller);
    /* The number is free when the lanes' thread has ended the lane. */
    for (uint32_t next = 0; next != number;) {
        struct caller other;
        assert_true(lks_clock_monotonic_ns() < until_ns);
        meet_by_hand(rig, &other);
        next = other.meeting.lane;
        hang_up(&other);
        while ((rig->detached >> next & 1) == 0) {
            turn(rig);
        }
        rig->attached = rig->detached = 0;
    }
}

/* ---- processes ------------------------------------------------------------------------------ */

static pid_t g_client; /* waits for a byte, then attaches and writes back how that went */
static int g_to_client[2];
static int g_from_client[2];

static void be_client(void)
{
    char byte;
    struct lks_lane *lane = NULL;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(g_to_client[0], &byte, 1) == 1) {
        const struct lks_lane_rdma_options options = good_options();
        const int rc = lks_lane_rdma_attach(&lane, &options);
        byte = rc == 0 ? (char)lks_lane_number(lane) : 0;
        (void)!write(g_from_client[1], &byte, 1);
    }
    _exit(0);
}

static int start_client(void)
{
    if (pipe(g_to_client) != 0 || pipe(g_from_client) != 0) {
        return -1;
    }
    g_client = fork();
    if (g_client == 0) {
        be_client();
    }
    return g_client > 0 ? 0 : -1;
}

static void client_killed__its_lane_ends(void **state)
{
    struct rig *rig = *state;
    char number = 0;
    assert_int_equal(write(g_to_client[1], "!", 1), 1);
    assert_int_equal(read(g_from_client[0], &number, 1), 1);
    assert_int_not_equal(number, 0);
    const uint64_t bit = UINT64_C(1) << number;
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while ((rig->attached & bit) == 0) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(rig);
    }
    assert_int_equal(kill(g_client, SIGKILL), 0);
    assert_int_equal(waitpid(g_client, NULL, 0), g_client);
    while ((rig->detached & bit) == 0) {
        assert_true(lks_clock_monotonic_ns() < until_ns);
        turn(rig);
    }
    expect_served(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(another_key__refused_and_logged),
        TEST(another_cluster_or_replica_or_size__refused_and_logged),
        TEST(nobody_listens__told_at_once),
        TEST(request__garbage_or_of_another_version__rejected_with_the_reason),
        TEST(callers_that_hang__give_way_and_are_dropped),
        TEST(messages_out_of_turn__refused_without_a_key),
        TEST(keys_misused__the_lane_ends_and_no_other),
        TEST(client_s_host_dies__its_lane_ends_and_its_place_is_free),
        TEST(client_killed__its_lane_ends),
    };
    g_address = getenv("LKS_TEST_RDMA_ADDRESS");
    if (g_address == NULL) {
        puts("SKIP: no RDMA device: LKS_TEST_RDMA_ADDRESS is not set (soft-roce/lab sets it)");
        return SKIPPED;
    }
    if (start_client() != 0) {
        perror("client process");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
