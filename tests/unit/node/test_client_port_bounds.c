/*
 * What the gateway for clients on the fabric bounds and refuses, over lanes that are plain memory:
 * answers that wait, of one client and of all together; commands that the configuration does not
 * allow. See test_client_port.c for the rest.
 */
#include "node/client_port.h"

#include "lockstep/session.h"
#include "node/client_wire.h"
#include "node/sessions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLIENTS 8u
#define TAKEN_MAX 4096u

/* ---- lanes ---------------------------------------------------------------------------------- */

struct plain_lanes {
    struct lks_lanes base; /* first */
    uint64_t taken;
    uint64_t attached;
    bool bounded; /* the replica's end takes this many writes more: */
    uint32_t room;
    uint32_t armed;
    uint32_t disarmed;
    uint8_t *to_replica[CLIENTS + 1];
    uint8_t *to_client[CLIENTS + 1];
};

/* A client's end, as a fabric of that one peer. */
struct plain_lane {
    struct lks_fabric fabric; /* first */
    struct plain_lanes *lanes;
    uint32_t number;
};

static struct plain_lanes *lanes_of(const struct lks_fabric *fabric)
{
    return (struct plain_lanes *)(uintptr_t)(const void *)fabric;
}

static const struct plain_lane *lane_of(const struct lks_fabric *fabric)
{
    return (const struct plain_lane *)(const void *)fabric;
}

static int store(uint8_t *area, uint64_t offset, const void *source, uint64_t bytes)
{
    assert_true(offset + bytes <= LKS_CLIENT_AREA_BYTES);
    memcpy(area + offset, source, bytes);
    return 0;
}

static void *replicas_inbox(const struct lks_fabric *fabric, uint32_t lane)
{
    return lanes_of(fabric)->to_replica[lane];
}

static int replica_writes(struct lks_fabric *fabric, uint32_t lane, uint64_t offset,
                          const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    struct plain_lanes *lanes = lanes_of(fabric);
    (void)flags;
    (void)id;
    if (lanes->bounded && lanes->room == 0) {
        return -LKS_EBUSY;
    }
    lanes->room -= lanes->bounded ? 1 : 0;
    return (lanes->taken >> lane & 1) == 0 ? -LKS_EBROKEN
                                           : store(lanes->to_client[lane], offset, source, bytes);
}

static void *clients_inbox(const struct lks_fabric *fabric, uint32_t peer)
{
    (void)peer;
    return lane_of(fabric)->lanes->to_client[lane_of(fabric)->number];
}

static int client_writes(struct lks_fabric *fabric, uint32_t peer, uint64_t offset,
                         const void *source, uint64_t bytes, uint32_t flags, uint64_t id)
{
    const struct plain_lane *lane = lane_of(fabric);
    (void)peer;
    (void)flags;
    (void)id;
    return store(lane->lanes->to_replica[lane->number], offset, source, bytes);
}

static void plain_free(struct lks_lanes *lanes)
{
    (void)lanes; /* the test's */
}

static void plain_poll(struct lks_lanes *base, bool look, struct lks_lanes_changes *changes)
{
    struct plain_lanes *lanes = (struct plain_lanes *)(void *)base;
    (void)look;
    *changes = (struct lks_lanes_changes){.attached = lanes->attached};
    lanes->attached = 0;
}

static void plain_detach(struct lks_lanes *base, uint32_t lane)
{
    struct plain_lanes *lanes = (struct plain_lanes *)(void *)base;
    lanes->taken &= ~(UINT64_C(1) << lane);
}

static const struct lks_fabric_ops g_replica_ops = {.name = "plain",
                                                    .writes_when_posted = true,
                                                    .inbox = replicas_inbox,
                                                    .write_inbox = replica_writes};
static const struct lks_fabric_ops g_client_ops = {.name = "plain",
                                                   .writes_when_posted = true,
                                                   .inbox = clients_inbox,
                                                   .write_inbox = client_writes};
static bool plain_who(const struct lks_lanes *base, uint32_t lane, char *text, size_t bytes)
{
    (void)base;
    (void)snprintf(text, bytes, "name=%u", lane);
    return true;
}

static bool plain_arm(struct lks_lanes *base)
{
    ((struct plain_lanes *)(void *)base)->armed++;
    return true;
}

static void plain_disarm(struct lks_lanes *base)
{
    ((struct plain_lanes *)(void *)base)->disarmed++;
}

static const struct lks_lanes_ops g_lanes_ops = {.free = plain_free,
                                                 .poll = plain_poll,
                                                 .detach = plain_detach,
                                                 .arm = plain_arm,
                                                 .disarm = plain_disarm,
                                                 .who = plain_who};

/* ---- rig ------------------------------------------------------------------------------------ */

struct client {
    struct plain_lane lane;
    struct lks_ingress_producer requests;
    struct lks_ingress_consumer replies;
    uint8_t buffer[LKS_INGRESS_COMMAND_MAX];
};

struct fixture {
    struct plain_lanes lanes;
    struct lks_client_port *port;
    struct lks_log log;
    char line[256];
    uint64_t cookies[TAKEN_MAX];
    size_t count;
    uint64_t now_ns;
    struct client clients[CLIENTS + 1];
};

static void note_line(void *ctx, enum lks_log_level level, const char *line)
{
    struct fixture *fixture = ctx;
    (void)level;
    strncpy(fixture->line, line, sizeof fixture->line - 1);
}

static int submit(void *ctx, const void *command, size_t bytes, uint64_t cookie)
{
    struct fixture *fixture = ctx;
    (void)command;
    (void)bytes;
    fixture->cookies[fixture->count++] = cookie;
    return 0;
}

static int submit_read(void *ctx, const void *command, size_t bytes, uint64_t cookie, bool ordered)
{
    (void)ordered;
    return submit(ctx, command, bytes, cookie);
}

static bool is_read(const void *command, size_t bytes)
{
    return bytes > 0 && *(const uint8_t *)command == 'r';
}

static bool is_burn(const void *command, size_t bytes)
{
    return bytes > 0 && *(const uint8_t *)command == 'b';
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct lks_error err = {0};
    *state = fixture;
    fixture->lanes.base = (struct lks_lanes){.fabric = {.ops = &g_replica_ops},
                                             .ops = &g_lanes_ops};
    fixture->log = (struct lks_log){LKS_LOG_WARN, note_line, fixture};
    const struct lks_client_port_options options = {
        .lanes = &fixture->lanes.base,
        .held_bytes_max = LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN,
        .log_sink = &fixture->log,
        .backend = {.submit = submit,
                    .read = submit_read,
                    .is_read = is_read,
                    .is_forbidden = is_burn,
                    .ctx = fixture}};
    return lks_client_port_new(&fixture->port, &options, &err);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    lks_client_port_free(fixture->port);
    for (uint32_t i = 1; i <= CLIENTS; i++) {
        free(fixture->lanes.to_replica[i]);
        free(fixture->lanes.to_client[i]);
    }
    free(fixture);
    return 0;
}

static void turn(struct fixture *fixture)
{
    fixture->now_ns += UINT64_C(1000000000);
    (void)lks_client_port_poll(fixture->port, fixture->now_ns);
    lks_client_port_flush(fixture->port);
}

static struct client *attach(struct fixture *fixture, uint32_t number)
{
    struct client *client = &fixture->clients[number];
    struct lks_ingress_offer offer;
    fixture->lanes.to_replica[number] = calloc(1, LKS_CLIENT_AREA_BYTES);
    fixture->lanes.to_client[number] = calloc(1, LKS_CLIENT_AREA_BYTES);
    fixture->lanes.taken |= UINT64_C(1) << number;
    fixture->lanes.attached |= UINT64_C(1) << number;
    client->lane = (struct plain_lane){{.ops = &g_client_ops}, &fixture->lanes, number};
    lks_ingress_consumer_init(&client->replies, &client->lane.fabric, number,
                              LKS_CLIENT_RING_INCARNATION, client->buffer);
    lks_ingress_consumer_offer(&client->replies, LKS_CLIENT_RING_TERM, &offer);
    lks_ingress_producer_init(&client->requests, &client->lane.fabric, number);
    lks_ingress_producer_open(&client->requests, &offer);
    turn(fixture);
    return client;
}

static void push(struct client *client, uint64_t kind, uint64_t number, const void *data,
                 size_t bytes)
{
    const struct lks_ingress_command record = {
        .session = lks_session_make(client->requests.peer, kind),
        .sequence = number,
        .data = data,
        .bytes = (uint32_t)bytes};
    assert_int_equal(lks_ingress_push(&client->requests, &record), 0);
    assert_int_equal(lks_ingress_publish(&client->requests, true), 0);
}

static void give_reads(struct client *client, uint32_t count)
{
    for (uint64_t number = 1; number <= count; number++) {
        push(client, LKS_CLIENT_REQUEST_READ, number, "r", 1);
    }
}

static uint32_t attached(const struct fixture *fixture)
{
    struct lks_client_port_counts counts;
    lks_client_port_counts(fixture->port, &counts);
    return counts.attached;
}

static bool is_attached(const struct fixture *fixture, uint32_t lane)
{
    return (fixture->lanes.taken >> lane & 1) != 0;
}

/* The status of the next reply; 0: none is there. */
static uint64_t next_status(struct client *client, uint32_t *bytes)
{
    struct lks_ingress_command record;
    if (lks_ingress_pop(&client->replies, &record) != 0) {
        return 0;
    }
    (void)lks_ingress_return_credits(&client->replies);
    *bytes = record.bytes;
    return lks_session_incarnation(record.session);
}

/* ---- answers that wait ---------------------------------------------------------------------- */

/* Two clients let as much wait as one may, and a third a little: who has most of it goes, not who
 * came last, and not the one that reads. */
static void all_together_too_much__who_holds_most_is_let_go(void **state)
{
    struct fixture *fixture = *state;
    const size_t bytes = LKS_INGRESS_COMMAND_MAX;
    char *text = calloc(1, bytes);
    const uint32_t counts[] = {0, 60, 66, 20};
    uint32_t seen = 0;
    for (uint32_t lane = 1; lane <= 3; lane++) {
        give_reads(attach(fixture, lane), counts[lane]);
        turn(fixture);
        turn(fixture);
        assert_int_equal(fixture->count, seen + counts[lane]);
        for (uint32_t i = 0; i < counts[lane]; i++) {
            lks_client_port_reply(fixture->port, fixture->cookies[seen + i], text, bytes);
        }
        seen += counts[lane];
    }
    assert_int_equal(attached(fixture), 2);
    assert_false(is_attached(fixture, 2)); /* 66 answers of 512 KiB, less what its ring took */
    assert_non_null(strstr(fixture->line, "lane 2"));
    assert_non_null(strstr(fixture->line, "client_answers_max"));
    for (uint32_t lane = 1; lane <= 3; lane += 2) { /* the others get all of theirs */
        for (uint32_t i = 0; i < counts[lane]; i++) {
            uint32_t length = 0;
            turn(fixture);
            assert_int_equal(next_status(&fixture->clients[lane], &length), LKS_CLIENT_SAID_OK);
            assert_int_equal(length, bytes);
        }
    }
    free(text);
}

/* ---- lanes that are full -------------------------------------------------------------------- */

#define FULL_CALLS 20u
#define FULL_BYTES 600u /* three pieces of a write each */

/* Takes what is there, which must be the next ones, whole. */
static uint32_t take_in_order(struct client *client, uint32_t taken)
{
    struct lks_ingress_command record;
    while (lks_ingress_pop(&client->replies, &record) == 0) {
        taken++;
        assert_int_equal(record.sequence, taken);
        assert_int_equal(record.bytes, FULL_BYTES);
        for (uint32_t i = 0; i < FULL_BYTES; i++) {
            assert_int_equal(((const uint8_t *)record.data)[i], taken);
        }
    }
    return taken;
}

/* The fabric says -LKS_EBUSY in the midst of records, before their words, and before the credits:
 * whatever it refuses comes later, once, in order. */
static void lane_is_full__answers_come_whole_and_in_order(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t room = 1; room <= 3; room++) {
        struct client *client = attach(fixture, room);
        uint32_t taken = 0;
        uint32_t turns = 0;
        fixture->count = 0;
        give_reads(client, FULL_CALLS);
        turn(fixture);
        assert_int_equal(fixture->count, FULL_CALLS);
        fixture->lanes.bounded = true;
        fixture->lanes.room = 0;
        for (uint32_t i = 0; i < FULL_CALLS; i++) {
            uint8_t text[FULL_BYTES];
            memset(text, (int)i + 1, sizeof text);
            lks_client_port_reply(fixture->port, fixture->cookies[i], text, sizeof text);
        }
        turn(fixture);
        assert_int_equal(take_in_order(client, 0), 0);
        for (; taken < FULL_CALLS; turns++) {
            assert_true(turns < 4 * FULL_CALLS);
            fixture->lanes.room = room;
            turn(fixture);
            taken = take_in_order(client, taken);
        }
        assert_true(turns > FULL_CALLS / room);
        assert_true(is_attached(fixture, room));
        fixture->lanes.bounded = false;
    }
}

/* An answer that the full lane did not show is shown by the next turn, without another one. */
static void lane_is_full_when_flushed__a_later_turn_shows_it(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture, 1);
    uint32_t bytes = 0;
    give_reads(client, 1);
    turn(fixture);
    fixture->lanes.bounded = true;
    lks_client_port_reply(fixture->port, fixture->cookies[0], "+OK\r\n", 5);
    turn(fixture);
    assert_int_equal(next_status(client, &bytes), 0);
    fixture->lanes.room = 1; /* for the record, not for the word that shows it */
    turn(fixture);
    assert_int_equal(next_status(client, &bytes), 0);
    fixture->lanes.room = 1;
    turn(fixture);
    assert_int_equal(next_status(client, &bytes), LKS_CLIENT_SAID_OK);
    assert_int_equal(bytes, 5);
}

/* Before it sleeps the port tries what waits: if some of it goes, there is work. */
static void lane_is_full__port_sleeps_only_while_it_is(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture, 1);
    uint8_t text[FULL_BYTES] = {0};
    give_reads(client, 2);
    turn(fixture);
    fixture->lanes.bounded = true;
    lks_client_port_reply(fixture->port, fixture->cookies[0], text, sizeof text);
    lks_client_port_reply(fixture->port, fixture->cookies[1], text, sizeof text);
    turn(fixture);
    assert_true(lks_client_port_arm(fixture->port)); /* its getting room wakes */
    assert_int_equal(fixture->lanes.disarmed, 0);
    fixture->lanes.bounded = false;
    assert_false(lks_client_port_arm(fixture->port));
    assert_int_equal(fixture->lanes.disarmed, 1);
    turn(fixture);
    uint32_t bytes = 0;
    assert_int_equal(next_status(client, &bytes), LKS_CLIENT_SAID_OK);
    assert_int_equal(next_status(client, &bytes), LKS_CLIENT_SAID_OK);
}

/* ---- answers that wait, again --------------------------------------------------------------- */

/* What is read, or whose client has gone, counts no more. */
static void read_or_gone__counts_no_more(void **state)
{
    struct fixture *fixture = *state;
    const size_t bytes = LKS_INGRESS_COMMAND_MAX;
    char *text = calloc(1, bytes);
    uint32_t seen = 0;
    for (uint32_t lane = 1; lane <= CLIENTS; lane++) {
        struct client *client = attach(fixture, lane);
        give_reads(client, 60);
        turn(fixture);
        for (uint32_t i = 0; i < 60; i++) {
            lks_client_port_reply(fixture->port, fixture->cookies[seen + i], text, bytes);
        }
        seen += 60;
        for (uint32_t i = 0; i < 60; i++) {
            uint32_t length = 0;
            turn(fixture);
            assert_int_equal(next_status(client, &length), LKS_CLIENT_SAID_OK);
        }
    }
    assert_int_equal(attached(fixture), CLIENTS);
    free(text);
}

/* Nothing is kept of an answer that does not fit a record: only that is said. */
static void long_answer_while_others_wait__not_kept(void **state)
{
    struct fixture *fixture = *state;
    const size_t bytes = LKS_INGRESS_COMMAND_MAX;
    const size_t long_bytes = LKS_CLIENT_PORT_ALL_HELD_BYTES_MIN;
    char *text = calloc(1, long_bytes);
    struct client *client = attach(fixture, 1);
    give_reads(client, 9);
    turn(fixture);
    for (uint32_t i = 0; i < 8; i++) {
        lks_client_port_reply(fixture->port, fixture->cookies[i], text, bytes);
    }
    lks_client_port_reply(fixture->port, fixture->cookies[8], text, long_bytes);
    uint32_t length = 0;
    for (uint32_t i = 0; i < 8; i++) {
        turn(fixture);
        assert_int_equal(next_status(client, &length), LKS_CLIENT_SAID_OK);
    }
    turn(fixture);
    assert_int_equal(next_status(client, &length), LKS_CLIENT_SAID_LONG);
    assert_int_equal(length, 0);
    assert_int_equal(attached(fixture), 1);
    free(text);
}

/* ---- commands that are not allowed ----------------------------------------------------------- */

static void forbidden_command__refused_and_not_handed_on(void **state)
{
    struct fixture *fixture = *state;
    struct client *client = attach(fixture, 1);
    const struct lks_session_header header = {
        .mark = LKS_SESSION_MARK, .kind = LKS_SESSION_CALL, .id = 1, .sequence = 1};
    uint8_t bytes[sizeof header + 1];
    uint32_t length = 0;
    memcpy(bytes, &header, sizeof header);
    bytes[sizeof header] = 'b';
    push(client, LKS_CLIENT_REQUEST_CALL, 1, bytes, sizeof bytes);
    push(client, LKS_CLIENT_REQUEST_READ, 2, "b", 1);
    turn(fixture);
    turn(fixture);
    assert_int_equal(fixture->count, 0);
    assert_int_equal(next_status(client, &length), LKS_CLIENT_SAID_FORBIDDEN);
    assert_int_equal(next_status(client, &length), LKS_CLIENT_SAID_MALFORMED);
    bytes[sizeof header] = 'w';
    push(client, LKS_CLIENT_REQUEST_CALL, 3, bytes, sizeof bytes);
    turn(fixture);
    assert_int_equal(fixture->count, 1);
    lks_client_port_reply(fixture->port, fixture->cookies[0], "x", 1);
}

/* ---- what is told of clients ----------------------------------------------------------------- */

static void describe__client_at_work__calls_answers_and_silence(void **state)
{
    struct fixture *fixture = *state;
    struct lks_client_port_client seen;
    char *text = calloc(1, LKS_INGRESS_COMMAND_MAX);
    struct client *client = attach(fixture, 3);
    const struct lks_session_header header = {
        .mark = LKS_SESSION_MARK, .kind = LKS_SESSION_CALL, .id = 77, .sequence = 1};
    uint8_t bytes[sizeof header + 1];
    memcpy(bytes, &header, sizeof header);
    bytes[sizeof header] = 'w';
    give_reads(client, 5);
    push(client, LKS_CLIENT_REQUEST_CALL, 6, bytes, sizeof bytes);
    turn(fixture);
    for (uint32_t i = 0; i < 5; i++) {
        lks_client_port_reply(fixture->port, fixture->cookies[i], text, LKS_INGRESS_COMMAND_MAX);
    }
    turn(fixture); /* a second later */
    assert_true(lks_client_port_describe(fixture->port, 3, &seen));
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.session, 77);
    assert_int_equal(seen.requests, 6);
    assert_true(seen.held_bytes >= LKS_INGRESS_COMMAND_MAX);
    assert_int_equal(seen.silent_ns, UINT64_C(1000000000));
    assert_string_equal(seen.who, "name=3");
    assert_false(lks_client_port_describe(fixture->port, 2, &seen));
    free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lane_is_full__answers_come_whole_and_in_order),
        TEST(lane_is_full_when_flushed__a_later_turn_shows_it),
        TEST(lane_is_full__port_sleeps_only_while_it_is),
        TEST(all_together_too_much__who_holds_most_is_let_go),
        TEST(read_or_gone__counts_no_more),
        TEST(long_answer_while_others_wait__not_kept),
        TEST(forbidden_command__refused_and_not_handed_on),
        TEST(describe__client_at_work__calls_answers_and_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
