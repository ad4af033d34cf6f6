/*
 * The ingress ring of a leader, as a broken gateway writes it: any words, records with right
 * checksums and wrong content, tails of any kind. Held to: no crash; a command that is handed out
 * lies within the limits and names this gateway; the ring is closed at the first thing that cannot
 * be, and a new offer repairs it. And the gateway's end, with any credits that a broken leader
 * writes.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "node/ingress.h"
#include "node/sessions.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_fabric.h"

#include <errno.h>
#include <stdlib.h>

#define STEPS_MAX 300u
#define GATEWAY 1u
#define LEADER 2u
#define SESSION ((uint64_t)GATEWAY << LKS_SESSION_INCARNATION_BITS | 9)

struct scene {
    struct fake_net *net;
    struct lks_ingress_producer producer;
    struct lks_ingress_consumer consumer;
    struct lks_ingress_offer offer;
    uint64_t sequence;
    uint32_t refused_bytes; /* of the command that found no room: it is pushed again as it is */
    bool refused;
    bool whole; /* nobody has scribbled since the last offer, nor ahead of it */
};

static uint8_t buffer[LKS_INGRESS_COMMAND_MAX];
static uint8_t command_bytes[8192];

static uint8_t *inbox(struct scene *scene, uint32_t replica)
{
    return lks_fabric_inbox(fake_net_fabric(scene->net, replica), 3 - replica);
}

static void offer(struct scene *scene)
{
    fake_net_deliver_all(scene->net);
    lks_ingress_consumer_offer(&scene->consumer, 1, &scene->offer);
    lks_ingress_producer_open(&scene->producer, &scene->offer);
    /* A tail word may have been written for an epoch that was still to come. */
    const struct lks_ingress_words *words =
        (const struct lks_ingress_words *)(inbox(scene, LEADER) + LKS_INGRESS_OFFSET);
    const uint64_t tag = (scene->offer.epoch >> 32 & 0xFFF) << 12 | (scene->offer.epoch & 0xFFF);
    scene->whole = lks_word_read(&words->tail) >> 40 != tag;
}

static void push(struct scene *scene, uint32_t bytes)
{
    bytes = scene->refused ? scene->refused_bytes : bytes;
    const struct lks_ingress_command command = {.session = SESSION,
                                                .sequence = scene->sequence + 1,
                                                .data = command_bytes,
                                                .bytes = bytes};
    const int rc = lks_ingress_push(&scene->producer, &command);
    LKS_ASSERT(rc == 0 || rc == -LKS_EBUSY || rc == -LKS_EBROKEN);
    scene->sequence += rc == 0 ? 1 : 0;
    scene->refused = rc == -LKS_EBUSY;
    scene->refused_bytes = bytes;
    (void)lks_ingress_publish(&scene->producer, false);
}

static void pop(struct scene *scene)
{
    struct lks_ingress_command command = {0};
    const int rc = lks_ingress_pop(&scene->consumer, &command);
    if (rc == 0) {
        LKS_ASSERT(command.bytes <= LKS_INGRESS_COMMAND_MAX);
        LKS_ASSERT(lks_session_replica(command.session) == GATEWAY);
        LKS_ASSERT(command.data >= (const void *)buffer);
        LKS_ASSERT((const uint8_t *)command.data + command.bytes <= buffer + sizeof buffer);
    } else {
        LKS_ASSERT(rc == -ENODATA || rc == -EBADMSG);
        LKS_ASSERT(rc == -ENODATA || !scene->whole);
    }
    (void)lks_ingress_return_credits(&scene->consumer);
}

/* A record, at a place near what is read next, whose checksum is right. */
static void forge(struct scene *scene, struct fuzz_input *input)
{
    const uint32_t at =
        (scene->consumer.place + 64 * fuzz_below(input, 4)) % LKS_INGRESS_RING_BYTES;
    uint8_t *record = inbox(scene, LEADER) + LKS_INGRESS_RING_OFFSET + at;
    struct lks_ingress_header header;
    memcpy(&header, record, sizeof header);
    const uint8_t what = fuzz_byte(input);
    header.bytes = (what & 1) != 0 ? (uint32_t)fuzz_number(input) : header.bytes;
    header.session = (what & 2) != 0 ? fuzz_number(input) : SESSION;
    header.sequence = (what & 4) != 0 ? fuzz_number(input) : header.sequence;
    header.epoch = (what & 8) != 0 ? fuzz_number(input) : scene->consumer.epoch;
    header.bytes = (what & 16) != 0 ? LKS_INGRESS_SKIP : header.bytes;
    const uint64_t room = LKS_INGRESS_RING_BYTES - at - sizeof header;
    uint32_t checksum = lks_crc32c(0, &header.bytes, sizeof header - 4);
    if (header.bytes <= room && header.bytes <= LKS_INGRESS_COMMAND_MAX) {
        checksum = lks_crc32c(checksum, record + sizeof header, header.bytes);
    }
    header.checksum = checksum;
    memcpy(record, &header, sizeof header);
    scene->whole = false;
}

static void scribble(struct scene *scene, struct fuzz_input *input)
{
    uint8_t *area = inbox(scene, LEADER);
    const uint64_t word = fuzz_number(input);
    if (fuzz_byte(input) % 2 == 0) { /* the tail: its tag kept, or not */
        struct lks_ingress_words *words = (struct lks_ingress_words *)(area + LKS_INGRESS_OFFSET);
        const uint64_t old = lks_word_read(&words->tail);
        const uint64_t mask = (UINT64_C(1) << 40) - 1;
        lks_word_publish(&words->tail, fuzz_byte(input) % 4 == 0 ? word
                                                                 : (old & ~mask) | (word & mask));
    } else {
        const uint32_t at = (scene->consumer.place + 8 * fuzz_below(input, 64)) %
                            LKS_INGRESS_RING_BYTES;
        memcpy(area + LKS_INGRESS_RING_OFFSET + at, &word, sizeof word);
    }
    scene->whole = false;
}

/* The leader's memory is broken: any credits. */
static void miscredit(struct scene *scene, struct fuzz_input *input)
{
    struct lks_ingress_words *words =
        (struct lks_ingress_words *)(inbox(scene, GATEWAY) + LKS_INGRESS_OFFSET);
    lks_word_publish(&words->head, lks_word_read(&words->head) ^ fuzz_number(input));
    scene->whole = false;
}

static void step(struct scene *scene, struct fuzz_input *input)
{
    switch (fuzz_byte(input) % 8) {
    case 0:
    case 1:
        push(scene, fuzz_below(input, sizeof command_bytes));
        break;
    case 2:
        fake_net_deliver_all(scene->net);
        break;
    case 3:
    case 4:
        pop(scene);
        break;
    case 5:
        forge(scene, input);
        break;
    case 6:
        scribble(scene, input);
        break;
    default:
        if (fuzz_byte(input) % 4 == 0) {
            miscredit(scene, input);
        } else {
            offer(scene);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input(data, size);
    const struct fake_net_options options = {.replicas = 2,
                                             .seed = 1,
                                             .inbox_bytes = LKS_REPLICA_INBOX_BYTES,
                                             .outstanding_max = 64};
    struct lks_fabric_event events[4];
    static struct fake_net *net; /* its memory is made once: megabytes */
    if (net == NULL) {
        net = fake_net_new(&options);
    }
    struct scene scene = {.net = net};
    fake_net_restart(net, GATEWAY);
    fake_net_restart(net, LEADER);
    fake_net_join(scene.net, GATEWAY, LEADER);
    (void)lks_fabric_poll(fake_net_fabric(scene.net, GATEWAY), events, 4);
    (void)lks_fabric_poll(fake_net_fabric(scene.net, LEADER), events, 4);
    lks_ingress_producer_init(&scene.producer, fake_net_fabric(scene.net, GATEWAY), LEADER);
    lks_ingress_consumer_init(&scene.consumer, fake_net_fabric(scene.net, LEADER), GATEWAY, 3,
                              buffer);
    offer(&scene);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&input) > 0; i++) {
        step(&scene, &input);
    }
    offer(&scene); /* whatever happened, an offer repairs it */
    scene.refused = false;
    push(&scene, 100);
    fake_net_deliver_all(scene.net);
    struct lks_ingress_command command;
    LKS_ASSERT(lks_ingress_pop(&scene.consumer, &command) == 0);
    LKS_ASSERT(command.sequence == scene.sequence);
    LKS_ASSERT(command.bytes == 100);
    return 0;
}
