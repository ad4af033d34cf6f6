/*
 * The gateway for clients on the fabric, with clients of this process and a fake replica behind it:
 * whose answer is whose, what happens to clients that end, that do not read, that write nonsense.
 */
#include "node/client_port.h"

#include "lockstep/session.h"
#include "node/client_wire.h"
#include "node/sessions.h"
#include "tests/support/scratch.h"
#include "verbs/shm/lane.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define REPLICA 2u
#define TAKEN_MAX 8192
#define ATTACH_NS UINT64_C(10000000000)

struct taken {
    uint64_t cookie;
    uint8_t first; /* byte behind the header of a call; of a read */
    bool read;
    bool ordered;
};

struct fixture {
    char directory[80];
    struct lks_client_port *port;
    struct taken taken[TAKEN_MAX];
    size_t count;
    int refusal;
    uint64_t now_ns;
};

static int submit(void *ctx, const void *command, size_t bytes, uint64_t cookie)
{
    struct fixture *fixture = ctx;
    assert_true(bytes >= sizeof(struct lks_session_header));
    assert_true(lks_client_port_owns(cookie));
    if (fixture->refusal != 0) {
        return fixture->refusal;
    }
    const bool call = bytes > sizeof(struct lks_session_header);
    fixture->taken[fixture->count++] = (struct taken){
        .cookie = cookie,
        .first = call ? ((const uint8_t *)command)[sizeof(struct lks_session_header)] : 0};
    return 0;
}

static int submit_read(void *ctx, const void *command, size_t bytes, uint64_t cookie, bool ordered)
{
    struct fixture *fixture = ctx;
    assert_true(bytes > 0);
    fixture->taken[fixture->count++] = (struct taken){.cookie = cookie,
                                                      .first = *(const uint8_t *)command,
                                                      .read = true,
                                                      .ordered = ordered};
    return 0;
}

static bool is_read(const void *command, size_t bytes)
{
    return bytes > 0 && *(const uint8_t *)command == 'r';
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct lks_error err = {0};
    *state = fixture;
    snprintf(fixture->directory, sizeof fixture->directory, "%s/lockstep-port.XXXXXX",
             scratch_folder());
    if (mkdtemp(fixture->directory) == NULL) {
        return -1;
    }
    const struct lks_lanes_shm_options lanes = {.directory = fixture->directory,
                                                .replica = REPLICA,
                                                .cluster_id = {1, 2, 3},
                                                .area_bytes = LKS_CLIENT_AREA_BYTES};
    struct lks_client_port_options options = {
        .held_bytes_max = LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN,
        .backend = {.submit = submit, .read = submit_read, .is_read = is_read, .ctx = fixture}};
    const int rc = lks_lanes_shm_new(&options.lanes, &lanes, &err);
    return rc != 0 ? rc : lks_client_port_new(&fixture->port, &options, &err);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    lks_client_port_free(fixture->port);
    const int rc = rmdir(fixture->directory); /* nothing stays behind */
    free(fixture);
    return rc;
}

static void turn(struct fixture *fixture)
{
    fixture->now_ns += UINT64_C(1000000000); /* sockets are looked at */
    (void)lks_client_port_poll(fixture->port, fixture->now_ns);
    lks_client_port_flush(fixture->port);
}

/* A client's socket with HELLO sent, and nothing heard yet. */
static int call_replica(const struct fixture *fixture, const struct lks_lane_hello *hello,
                        size_t bytes)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/c%u.sock", fixture->directory,
             REPLICA);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_true(bytes == 0 || send(fd, hello, bytes, 0) == (ssize_t)bytes);
    return fd;
}

static struct lks_lane_hello right_hello(void)
{
    return (struct lks_lane_hello){.magic = LKS_LANE_MAGIC,
                                   .version = LKS_LANE_VERSION,
                                   .replica = REPLICA,
                                   .cluster_id = {1, 2, 3}};
}

/* The status of the refusal that comes; 0: it is welcome. */
static int hear(int fd)
{
    struct lks_lane_welcome welcome;
    const ssize_t length = recv(fd, &welcome, sizeof welcome, 0);
    assert_int_equal(length, sizeof welcome);
    return welcome.status;
}

/* ---- clients -------------------------------------------------------------------------------- */

struct attaching {
    struct lks_lane_shm_options options;
    struct lks_lane *lane;
    int rc;
    atomic_bool done;
};

static void *attach_lane(void *ctx)
{
    struct attaching *attaching = ctx;
    attaching->rc = lks_lane_shm_attach(&attaching->lane, &attaching->options);
    atomic_store(&attaching->done, true);
    return NULL;
}

/* Attaching waits for the port, which this thread polls meanwhile. */
static int attach_raw(struct fixture *fixture, struct lks_lane **lane)
{
    struct attaching attaching = {.options = {.directory = fixture->directory,
                                              .replica = REPLICA,
                                              .any_cluster = true,
                                              .area_bytes = LKS_CLIENT_AREA_BYTES,
                                              .timeout_ns = ATTACH_NS}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, attach_lane, &attaching), 0);
    while (!atomic_load(&attaching.done)) {
        turn(fixture);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    *lane = attaching.lane;
    return attaching.rc;
}

/* The two rings of a client, whose bytes a test may spoil. */
struct client {
    struct lks_lane *lane;
    struct lks_ingress_producer requests;
    struct lks_ingress_consumer replies;
    uint8_t buffer[LKS_INGRESS_COMMAND_MAX];
};

static struct client *attach(struct fixture *fixture)
{
    struct client *client = calloc(1, sizeof *client);
    struct lks_ingress_offer offer;
    assert_int_equal(attach_raw(fixture, &client->lane), 0);
    struct lks_fabric *fabric = lks_lane_fabric(client->lane);
    const uint32_t number = lks_lane_number(client->lane);
    lks_ingress_consumer_init(&client->replies, fabric, number, LKS_CLIENT_RING_INCARNATION,
                              client->buffer);
    lks_ingress_consumer_offer(&client->replies, LKS_CLIENT_RING_TERM, &offer);
    lks_ingress_producer_init(&client->requests, fabric, number);
    lks_ingress_producer_open(&client->requests, &offer);
    return client;
}

static void leave(struct client *client)
{
    lks_lane_free(client->lane);
    free(client);
}

static int push(struct client *client, uint64_t kind, uint64_t number, const void *data,
                size_t bytes)
{
    const struct lks_ingress_command record = {
        .session = lks_session_make(client->requests.peer, kind),
        .sequence = number,
        .data = data,
        .bytes = (uint32_t)bytes};
    const int rc = lks_ingress_push(&client->requests, &record);
    (void)lks_ingress_publish(&client->requests, true);
    return rc;
}

/* A command of a session around one byte, which the fake replica notes. */
static void call(struct client *client, uint64_t number, uint8_t byte)
{
    const struct lks_session_header header = {.mark = LKS_SESSION_MARK,
                                              .kind = LKS_SESSION_CALL,
                                              .id = 1,
                                              .sequence = number};
    uint8_t bytes[sizeof header + 1];
    memcpy(bytes, &header, sizeof header);
    bytes[sizeof header] = byte;
    assert_int_equal(push(client, LKS_CLIENT_REQUEST_CALL, number, bytes, sizeof bytes), 0);
}

static void expect_reply(struct client *client, uint64_t number, uint64_t status,
                         const char *text)
{
    struct lks_ingress_command record;
    assert_int_equal(lks_ingress_pop(&client->replies, &record), 0);
    (void)lks_ingress_return_credits(&client->replies);
    assert_int_equal(record.sequence, number);
    assert_int_equal(lks_session_incarnation(record.session), status);
    assert_int_equal(record.bytes, strlen(text));
    assert_memory_equal(record.data, text, record.bytes);
}

static void expect_none(struct client *client)
{
    struct lks_ingress_command record;
    assert_int_equal(lks_ingress_pop(&client->replies, &record), -ENODATA);
}

static void answer(struct fixture *fixture, size_t which, const char *text)
{
    lks_client_port_reply(fixture->port, fixture->taken[which].cookie, text, strlen(text));
}

static uint32_t attached(const struct fixture *fixture)
{
    struct lks_client_port_counts counts;
    lks_client_port_counts(fixture->port, &counts);
    return counts.attached;
}

/* ---- requests and answers ------------------------------------------------------------------- */

static void answers__in_any_order__each_client_gets_its_own(void **state)
{
    struct fixture *fixture = *state;
    struct client *a = attach(fixture);
    struct client *b = attach(fixture);
    call(a, 7, 'a');
    call(b, 7, 'b');
    call(a, 8, 'A');
    turn(fixture);
    assert_int_equal(fixture->count, 3);
    for (size_t i = 3; i > 0; i--) {
        const char text[] = {(char)fixture->taken[i - 1].first, '\0'};
        answer(fixture, i - 1, text);
    }
    turn(fixture);
    expect_reply(b, 7, LKS_CLIENT_SAID_OK, "b");
    expect_none(b);
    expect_reply(a, 8, LKS_CLIENT_SAID_OK, "A");
    expect_reply(a, 7, LKS_CLIENT_SAID_OK, "a");
    leave(a);
    leave(b);
}

static void client_gone__its_answer_reaches_nobody_on_its_lane(void **state)
{
    struct fixture *fixture = *state;
    struct client *first = attach(fixture);
    const uint32_t lane = lks_lane_number(first->lane);
    call(first, 1, 'x');
    turn(fixture);
    assert_int_equal(fixture->count, 1);
    leave(first);
    turn(fixture);
    assert_int_equal(attached(fixture), 0);
    struct client *second = attach(fixture);
    assert_int_equal(lks_lane_number(second->lane), lane);
    call(second, 1, 'y');
    turn(fixture);
    answer(fixture, 0, "of the first");
    turn(fixture);
    expect_none(second);
    answer(fixture, 1, "of the second");
    turn(fixture);
    expect_reply(second, 1, LKS_CLIENT_SAID_OK, "of the second");
    leave(second);
}

/* What an earlier client of the number still writes lands where nobody looks. */
static void lane_used_again__writes_of_the_earlier_client_do_not_arrive(void **state)
{
    struct fixture *fixture = *state;
    struct client *old = attach(fixture);
    const uint64_t nonsense = UINT64_MAX;
    /* The port lets it go for what it wrote; it does not notice, and goes on writing. */
    assert_int_equal(lks_fabric_write_inbox(lks_lane_fabric(old->lane), 1, LKS_INGRESS_RING_OFFSET,
                                            &nonsense, sizeof nonsense, 0, 0), 0);
    old->requests.written = 1;
    (void)lks_ingress_publish(&old->requests, true);
    turn(fixture);
    assert_int_equal(attached(fixture), 0);
    struct client *new = attach(fixture);
    assert_int_equal(lks_lane_number(new->lane), lks_lane_number(old->lane));
    call(old, 5, 'o');
    turn(fixture);
    assert_int_equal(fixture->count, 0);
    call(new, 6, 'n');
    turn(fixture);
    assert_int_equal(fixture->count, 1);
    assert_int_equal(fixture->taken[0].first, 'n');
    leave(old);
    leave(new);
}

static void outcome_not_known_here__client_is_told_so(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    call(client, 1, 'x');
    turn(fixture);
    answer(fixture, 0, "");
    turn(fixture);
    expect_reply(client, 1, LKS_CLIENT_SAID_UNKNOWN, "");
    leave(client);
}

static void refused_by_the_replica__client_is_told_why(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    const struct {
        int rc;
        uint64_t said;
    } cases[] = {{-LKS_EBUSY, LKS_CLIENT_SAID_BUSY},
                 {-LKS_ENOLEADER, LKS_CLIENT_SAID_NO_LEADER},
                 {-LKS_ERINGFULL, LKS_CLIENT_SAID_RING_FULL},
                 {-LKS_ETOOBIG, LKS_CLIENT_SAID_TOO_BIG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture->refusal = cases[i].rc;
        call(client, i + 1, 'x');
        turn(fixture);
        turn(fixture);
        expect_reply(client, i + 1, cases[i].said, "");
    }
    leave(client);
}

static void malformed__each__refused_and_not_handed_on(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    const struct lks_session_header nested = {
        .mark = LKS_SESSION_MARK, .kind = LKS_SESSION_TOUCH, .id = 1, .sequence = 4};
    const struct {
        uint64_t kind;
        const void *data;
        size_t bytes;
    } cases[] = {{LKS_CLIENT_REQUEST_CALL, "write", 5}, /* of no session */
                 {LKS_CLIENT_REQUEST_CALL, "", 0},
                 {LKS_CLIENT_REQUEST_CALL, &nested, sizeof nested},
                 {LKS_CLIENT_REQUEST_CALL, &nested, 3},
                 {LKS_CLIENT_REQUEST_READ, "write", 5},
                 {LKS_CLIENT_REQUEST_READ, &nested, sizeof nested},
                 {77, "r", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(push(client, cases[i].kind, i + 1, cases[i].data, cases[i].bytes), 0);
        turn(fixture);
        turn(fixture);
        expect_reply(client, i + 1, LKS_CLIENT_SAID_MALFORMED, "");
    }
    assert_int_equal(fixture->count, 0);
    leave(client);
}

/* All replicas would build its answer, however long, and again at each start. */
static void call__holds_a_read__refused(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    call(client, 1, 'r');
    turn(fixture);
    turn(fixture);
    expect_reply(client, 1, LKS_CLIENT_SAID_MALFORMED, "");
    assert_int_equal(fixture->count, 0);
    leave(client);
}

static void read__ordered_only_behind_unanswered_calls(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    assert_int_equal(push(client, LKS_CLIENT_REQUEST_READ, 1, "r", 1), 0);
    call(client, 2, 'x');
    assert_int_equal(push(client, LKS_CLIENT_REQUEST_READ, 3, "r", 1), 0);
    turn(fixture);
    assert_int_equal(fixture->count, 3);
    assert_true(fixture->taken[0].read && !fixture->taken[0].ordered);
    assert_true(fixture->taken[2].read && fixture->taken[2].ordered);
    answer(fixture, 1, "x");
    assert_int_equal(push(client, LKS_CLIENT_REQUEST_READ, 4, "r", 1), 0);
    turn(fixture);
    assert_true(fixture->taken[3].read && !fixture->taken[3].ordered);
    leave(client);
}

static void many_requests__taken_up_to_the_bound_until_answered(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    for (uint64_t number = 1; number <= LKS_CLIENT_PORT_REQUESTS_MAX + 10; number++) {
        call(client, number, 'x');
    }
    for (unsigned i = 0; i < 5; i++) {
        turn(fixture);
    }
    assert_int_equal(fixture->count, LKS_CLIENT_PORT_REQUESTS_MAX);
    assert_true(lks_client_port_arm(fixture->port)); /* nothing can be done: it may sleep */
    lks_client_port_disarm(fixture->port);
    answer(fixture, 0, "x");
    assert_false(lks_client_port_arm(fixture->port));
    turn(fixture);
    assert_int_equal(fixture->count, LKS_CLIENT_PORT_REQUESTS_MAX + 1);
    leave(client);
}

static void drained__takes_nothing_more_and_answers(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    call(client, 1, 'x');
    turn(fixture);
    lks_client_port_drain(fixture->port);
    call(client, 2, 'x');
    turn(fixture);
    assert_int_equal(fixture->count, 1);
    answer(fixture, 0, "x");
    turn(fixture);
    expect_reply(client, 1, LKS_CLIENT_SAID_OK, "x");
    expect_none(client);
    leave(client);
}

/* ---- clients that do not behave ------------------------------------------------------------- */

#define LONG_BYTES (480u << 10)

static char *long_text(size_t bytes)
{
    char *text = malloc(bytes + 1);
    memset(text, 'l', bytes);
    text[bytes] = '\0';
    return text;
}

static void client_does_not_read__answers_wait_and_nothing_more_is_taken(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    char *text = long_text(LONG_BYTES);
    for (uint64_t number = 1; number <= 20; number++) {
        call(client, number, 'x');
    }
    turn(fixture);
    for (size_t i = 0; i < 20; i++) {
        answer(fixture, i, text);
    }
    call(client, 21, 'x');
    turn(fixture);
    assert_int_equal(fixture->count, 20);
    for (uint64_t number = 1; number <= 20; number++) {
        expect_reply(client, number, LKS_CLIENT_SAID_OK, text);
        turn(fixture);
    }
    assert_int_equal(fixture->count, 21);
    free(text);
    leave(client);
}

/* As many as a client library has under way, each as long as may be. */
static void largest_answers_to_all_that_is_under_way__wait_and_arrive(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    char *text = long_text(LKS_INGRESS_COMMAND_MAX);
    for (uint64_t number = 1; number <= LKS_SESSION_WINDOW; number++) {
        call(client, number, 'x');
    }
    turn(fixture);
    assert_int_equal(fixture->count, LKS_SESSION_WINDOW);
    for (size_t i = 0; i < LKS_SESSION_WINDOW; i++) {
        answer(fixture, i, text);
    }
    for (uint64_t number = 1; number <= LKS_SESSION_WINDOW; number++) {
        turn(fixture);
        expect_reply(client, number, LKS_CLIENT_SAID_OK, text);
    }
    assert_int_equal(attached(fixture), 1);
    free(text);
    leave(client);
}

static void client_never_reads__is_let_go_and_others_go_on(void **state)
{
    struct fixture *fixture = *state;
    struct client *deaf = attach(fixture);
    struct client *other = attach(fixture);
    char *text = long_text(LONG_BYTES);
    const size_t most = LKS_CLIENT_PORT_HELD_BYTES_MAX / LONG_BYTES + 8; /* the ring takes a few */
    for (uint64_t number = 1; number <= most; number++) {
        call(deaf, number, 'x');
    }
    turn(fixture);
    turn(fixture);
    assert_int_equal(fixture->count, most);
    for (size_t i = 0; i < most; i++) {
        answer(fixture, i, text);
    }
    assert_int_equal(attached(fixture), 1);
    call(other, 1, 'y');
    turn(fixture);
    assert_int_equal(fixture->taken[most].first, 'y');
    answer(fixture, most, "y");
    turn(fixture);
    expect_reply(other, 1, LKS_CLIENT_SAID_OK, "y");
    assert_false(lks_lane_is_alive(deaf->lane));
    free(text);
    leave(deaf);
    leave(other);
}

static void answer_longer_than_a_record__client_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    char *text = calloc(1, LKS_INGRESS_COMMAND_MAX + 1);
    call(client, 1, 'x');
    turn(fixture);
    lks_client_port_reply(fixture->port, fixture->taken[0].cookie, text,
                          LKS_INGRESS_COMMAND_MAX + 1);
    turn(fixture);
    expect_reply(client, 1, LKS_CLIENT_SAID_LONG, "");
    free(text);
    leave(client);
}

static void client_wakes_and_sleeps__no_request_is_overlooked(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture);
    turn(fixture);
    assert_true(lks_client_port_arm(fixture->port));
    call(client, 1, 'x'); /* rings */
    struct pollfd wanted = {.fd = lks_client_port_fd(fixture->port), .events = POLLIN};
    assert_int_equal(poll(&wanted, 1, 0), 1);
    lks_client_port_disarm(fixture->port);
    turn(fixture);
    assert_int_equal(fixture->count, 1);
    call(client, 2, 'x');
    assert_false(lks_client_port_arm(fixture->port));
    assert_true(lks_lane_arm(client->lane));
    answer(fixture, 0, "x");
    lks_client_port_flush(fixture->port); /* rings */
    lks_lane_sleep(client->lane, UINT64_MAX); /* returns at once */
    expect_reply(client, 1, LKS_CLIENT_SAID_OK, "x");
    leave(client);
}

/* ---- meeting -------------------------------------------------------------------------------- */

static void hello__not_as_it_should_be__refused(void **state)
{
    struct fixture *fixture = *state;
    const struct {
        size_t at; /* of the byte that is wrong */
        int status;
    } cases[] = {{offsetof(struct lks_lane_hello, magic), -EBADMSG},
                 {offsetof(struct lks_lane_hello, version), -LKS_EVERSION},
                 {offsetof(struct lks_lane_hello, replica), -LKS_ECLUSTER},
                 {offsetof(struct lks_lane_hello, cluster_id) + 15, -LKS_ECLUSTER},
                 {offsetof(struct lks_lane_hello, any_cluster) + 1, -EBADMSG},
                 {offsetof(struct lks_lane_hello, zero), -EBADMSG}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lks_lane_hello hello = right_hello();
        ((uint8_t *)&hello)[cases[i].at] ^= 0x10;
        const int fd = call_replica(fixture, &hello, sizeof hello);
        turn(fixture);
        turn(fixture);
        assert_int_equal(hear(fd), cases[i].status);
        close(fd);
    }
    struct lks_lane_hello hello = right_hello();
    const int fd = call_replica(fixture, &hello, sizeof hello - 1);
    turn(fixture);
    turn(fixture);
    assert_int_equal(hear(fd), -EBADMSG);
    close(fd);
    assert_int_equal(attached(fixture), 0);
}

static void all_lanes_taken__refused_until_one_is_free(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lane *lanes[LKS_LANE_NUMBER_MAX];
    struct lks_lane *more = NULL;
    for (uint32_t i = 0; i < LKS_LANE_NUMBER_MAX; i++) {
        assert_int_equal(attach_raw(fixture, &lanes[i]), 0);
    }
    assert_int_equal(attached(fixture), LKS_LANE_NUMBER_MAX);
    assert_int_equal(attach_raw(fixture, &more), -LKS_EBUSY);
    const uint32_t freed = lks_lane_number(lanes[3]);
    lks_lane_free(lanes[3]);
    turn(fixture);
    assert_int_equal(attach_raw(fixture, &lanes[3]), 0);
    assert_int_equal(lks_lane_number(lanes[3]), freed);
    for (uint32_t i = 0; i < LKS_LANE_NUMBER_MAX; i++) {
        lks_lane_free(lanes[i]);
    }
    turn(fixture);
    assert_int_equal(attached(fixture), 0);
}

static void folder_open_to_others__not_listened_in(void **state)
{
    struct fixture *fixture = *state;
    struct lks_lanes *lanes = NULL;
    struct lks_error err = {0};
    assert_int_equal(chmod(fixture->directory, 0750), 0);
    const struct lks_lanes_shm_options options = {.directory = fixture->directory,
                                                  .replica = 3,
                                                  .area_bytes = LKS_CLIENT_AREA_BYTES};
    assert_int_equal(lks_lanes_shm_new(&lanes, &options, &err), -EACCES);
    assert_non_null(strstr(err.text, "0700"));
    assert_int_equal(chmod(fixture->directory, 0700), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers__in_any_order__each_client_gets_its_own),
        TEST(client_gone__its_answer_reaches_nobody_on_its_lane),
        TEST(lane_used_again__writes_of_the_earlier_client_do_not_arrive),
        TEST(outcome_not_known_here__client_is_told_so),
        TEST(refused_by_the_replica__client_is_told_why),
        TEST(malformed__each__refused_and_not_handed_on),
        TEST(call__holds_a_read__refused),
        TEST(read__ordered_only_behind_unanswered_calls),
        TEST(many_requests__taken_up_to_the_bound_until_answered),
        TEST(drained__takes_nothing_more_and_answers),
        TEST(client_does_not_read__answers_wait_and_nothing_more_is_taken),
        TEST(largest_answers_to_all_that_is_under_way__wait_and_arrive),
        TEST(client_never_reads__is_let_go_and_others_go_on),
        TEST(answer_longer_than_a_record__client_is_told),
        TEST(client_wakes_and_sleeps__no_request_is_overlooked),
        TEST(hello__not_as_it_should_be__refused),
        TEST(all_lanes_taken__refused_until_one_is_free),
        TEST(folder_open_to_others__not_listened_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
