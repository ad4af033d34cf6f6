/*
 * Mailbox and ingress between two threads over the shared-memory fabric: what the thread
 * sanitizer says of their words and barriers, and that a sleeping side is woken. One thread is a
 * gateway that pushes commands, the other the leader that takes them and confirms each batch.
 */
#include "node/ingress.h"
#include "node/mailbox.h"
#include "node/sessions.h"

#include "base/assert.h"
#include "base/clock.h"
#include "tests/support/scratch.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define GATEWAY 1u
#define LEADER 2u
#define LOG_BYTES (64u << 10)
#define COMMANDS 20000u
#define IN_FLIGHT_MAX 3000u
#define TIME_LIMIT_NS (60 * LKS_NS_PER_S)

struct side {
    pthread_t thread;
    struct lks_fabric *fabric;
    int fd;
    uint8_t *log;
    uint32_t peer;
    bool connected;
    struct lks_mailbox mailbox;
    struct lks_ingress_producer producer;
    struct lks_ingress_consumer consumer;
    uint64_t pushed;    /* gateway */
    uint64_t confirmed; /* gateway */
    uint64_t popped;    /* leader */
    uint64_t told;      /* leader: of these, as last sent */
    uint64_t deadline_ns;
    uint64_t sleeps;
};

struct world {
    char directory[64];
    struct side sides[3];
    uint8_t buffer[LKS_INGRESS_COMMAND_MAX];
};

static uint32_t fill(uint8_t *data, uint64_t sequence)
{
    const uint32_t bytes = (uint32_t)(sequence % 500 == 0 ? 30000 : sequence * 31 % 200);
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(sequence * 7 + i);
    }
    return bytes;
}

/* Says nothing with cmocka: its assertions belong to the main thread. */
static void take_events(struct side *side)
{
    struct lks_fabric_event events[8];
    const int count = lks_fabric_poll(side->fabric, events, 8);
    for (int i = 0; i < count; i++) {
        if (events[i].kind == LKS_FABRIC_CONNECTED) {
            side->connected = true;
            lks_mailbox_connected(&side->mailbox);
        }
        LKS_ASSERT(events[i].kind != LKS_FABRIC_DISCONNECTED);
    }
}

/* Sleeps until there is something to do; the limit on its time bounds a lost wake-up. */
static void sleep_until_woken(struct side *side)
{
    LKS_ASSERT(lks_clock_monotonic_ns() < side->deadline_ns);
    if (lks_fabric_arm(side->fabric) == 0) {
        struct pollfd woken = {.fd = lks_fabric_wake_fd(side->fabric), .events = POLLIN};
        (void)poll(&woken, 1, 5);
        side->sleeps++;
    }
    lks_fabric_disarm(side->fabric);
}

static int push_some(struct side *side)
{
    uint8_t data[30000];
    int work = 0;
    while (side->pushed < COMMANDS && side->pushed < side->confirmed + IN_FLIGHT_MAX &&
           lks_ingress_producer_is_open(&side->producer)) {
        const struct lks_ingress_command command = {
            .session = lks_session_make(GATEWAY, 1),
            .sequence = side->pushed + 1,
            .data = data,
            .bytes = fill(data, side->pushed + 1),
        };
        if (lks_ingress_push(&side->producer, &command) != 0) {
            break;
        }
        side->pushed++;
        work++;
        if (side->pushed % 64 == 0) {
            break;
        }
    }
    (void)lks_ingress_publish(&side->producer, true);
    return work;
}

static void *run_gateway(void *ctx)
{
    struct side *side = ctx;
    while (side->confirmed < COMMANDS) {
        take_events(side);
        union {
            struct lks_ingress_offer offer;
            uint64_t confirmed;
            uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX];
        } message;
        int work = 0;
        for (int i = 0; side->connected && i < 8; i++) {
            const int bytes = lks_mailbox_receive(&side->mailbox, message.bytes);
            if (bytes == sizeof message.offer) {
                lks_ingress_producer_open(&side->producer, &message.offer);
            } else if (bytes == sizeof message.confirmed) {
                LKS_ASSERT(message.confirmed > side->confirmed);
                LKS_ASSERT(message.confirmed <= side->pushed);
                side->confirmed = message.confirmed;
            }
            work += bytes > 0 ? 1 : 0;
        }
        work += lks_mailbox_poll(&side->mailbox);
        work += push_some(side);
        if (work == 0) {
            sleep_until_woken(side);
        }
    }
    return NULL;
}

static int pop_some(struct side *side)
{
    static uint8_t expected[30000];
    struct lks_ingress_command command;
    int work = 0;
    while (work < 100 && lks_ingress_pop(&side->consumer, &command) == 0) {
        side->popped++;
        LKS_ASSERT(command.sequence == side->popped);
        LKS_ASSERT(command.bytes == fill(expected, side->popped));
        LKS_ASSERT(memcmp(command.data, expected, command.bytes) == 0);
        work++;
    }
    LKS_ASSERT(side->consumer.damaged == 0);
    (void)lks_ingress_return_credits(&side->consumer);
    return work;
}

static void *run_leader(void *ctx)
{
    struct side *side = ctx;
    bool offered = false;
    /* The gateway may leave before it has acknowledged the last message. */
    while (side->told < COMMANDS || side->mailbox.posted < side->mailbox.accepted) {
        take_events(side);
        int work = lks_mailbox_poll(&side->mailbox);
        if (side->connected && !offered) {
            struct lks_ingress_offer offer;
            lks_ingress_consumer_offer(&side->consumer, 1, &offer);
            LKS_ASSERT(lks_mailbox_send(&side->mailbox, &offer, sizeof offer, true) == 0);
            offered = true;
        }
        work += pop_some(side);
        if (side->popped > side->told &&
            lks_mailbox_send(&side->mailbox, &side->popped, sizeof side->popped, true) == 0) {
            side->told = side->popped;
        }
        if (work == 0) {
            sleep_until_woken(side);
        }
    }
    return NULL;
}

static void start(struct world *world, uint32_t replica)
{
    struct side *side = &world->sides[replica];
    struct lks_error err = {0};
    side->peer = GATEWAY + LEADER - replica;
    side->fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(side->fd >= 0);
    assert_int_equal(ftruncate(side->fd, LOG_BYTES), 0);
    side->log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, side->fd, 0);
    assert_ptr_not_equal(side->log, MAP_FAILED);
    const struct lks_fabric_options options = {
        .replica = replica,
        .replicas = 2,
        .cluster_id = "inbox",
        .incarnation = 1,
        .directory = world->directory,
        .log = {.address = side->log, .bytes = LOG_BYTES, .fd = side->fd},
        .words_bytes = LKS_REPLICA_WORDS_BYTES,
        .inbox_bytes = LKS_REPLICA_INBOX_BYTES,
        .scratch_bytes = LKS_REPLICA_SCRATCH_BYTES,
        .outstanding_max = 64,
        .shared_process = true,
    };
    const int rc = lks_fabric_shm_new(&side->fabric, &options, &err);
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(lks_fabric_connect(side->fabric, side->peer), 0);
    lks_mailbox_init(&side->mailbox, side->fabric, side->peer, 1);
    lks_ingress_producer_init(&side->producer, side->fabric, side->peer);
    lks_ingress_consumer_init(&side->consumer, side->fabric, side->peer, 1, world->buffer);
    side->deadline_ns = lks_clock_monotonic_ns() + TIME_LIMIT_NS;
}

static void stop(struct world *world, uint32_t replica)
{
    struct side *side = &world->sides[replica];
    char path[96];
    lks_fabric_free(side->fabric);
    assert_int_equal(munmap(side->log, LOG_BYTES), 0);
    assert_int_equal(close(side->fd), 0);
    (void)snprintf(path, sizeof path, "%s/r%u.lock", world->directory, replica);
    (void)unlink(path);
}

static void two_threads__commands_and_messages__all_arrive_in_order(void **state)
{
    (void)state;
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    (void)snprintf(world->directory, sizeof world->directory, "%s/lks-inbox-XXXXXX",
                   scratch_folder());
    assert_non_null(mkdtemp(world->directory));
    start(world, GATEWAY);
    start(world, LEADER);
    struct side *gateway = &world->sides[GATEWAY];
    struct side *leader = &world->sides[LEADER];
    assert_int_equal(pthread_create(&gateway->thread, NULL, run_gateway, gateway), 0);
    assert_int_equal(pthread_create(&leader->thread, NULL, run_leader, leader), 0);
    assert_int_equal(pthread_join(gateway->thread, NULL), 0);
    assert_int_equal(pthread_join(leader->thread, NULL), 0);
    assert_int_equal(leader->popped, COMMANDS);
    assert_int_equal(gateway->confirmed, COMMANDS);
    assert_int_equal(gateway->mailbox.counts.damaged, 0);
    assert_int_equal(leader->mailbox.counts.damaged, 0);
    stop(world, GATEWAY);
    stop(world, LEADER);
    assert_int_equal(rmdir(world->directory), 0);
    free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads__commands_and_messages__all_arrive_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
