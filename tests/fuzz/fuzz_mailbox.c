/*
 * The mailbox between two replicas, one of whose memories is written by a broken peer: any words
 * anywhere in the area, hellos and messages with right checksums and wrong content. Held to: no
 * crash; nothing is handed out beyond the limits; and once the peer is whole again and connects
 * anew, messages flow in order.
 */
#include "base/assert.h"
#include "base/crc32c.h"
#include "node/mailbox.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/fake_fabric.h"

#include <errno.h>
#include <stdlib.h>

#define STEPS_MAX 400u
#define WHOLE 1u  /* this replica's code is what is tested */
#define BROKEN 2u /* this one's memory writes are the input's */

struct scene {
    struct fake_net *net;
    struct lks_mailbox boxes[3]; /* by replica */
    uint32_t sent;
};

/* What every message of an unbroken replica holds; see check_message. */
struct letter {
    uint32_t number;
    uint8_t rest[12];
};

static struct lks_mailbox_area *area(struct scene *scene)
{
    return (struct lks_mailbox_area *)lks_fabric_inbox(fake_net_fabric(scene->net, WHOLE), BROKEN);
}

static void poll_events(struct scene *scene, uint32_t replica)
{
    struct lks_fabric_event events[4];
    const int count = lks_fabric_poll(fake_net_fabric(scene->net, replica), events, 4);
    for (int i = 0; i < count; i++) {
        if (events[i].kind == LKS_FABRIC_CONNECTED) {
            lks_mailbox_connected(&scene->boxes[replica]);
        } else if (events[i].kind == LKS_FABRIC_DISCONNECTED) {
            lks_mailbox_disconnected(&scene->boxes[replica]);
        }
    }
}

static int receive(struct scene *scene, uint32_t replica, void *buffer)
{
    const int bytes = lks_mailbox_receive(&scene->boxes[replica], buffer);
    LKS_ASSERT(bytes == -ENODATA || (bytes >= 1 && bytes <= (int)LKS_MAILBOX_MESSAGE_MAX));
    return bytes;
}

static void turn(struct scene *scene, uint32_t replica)
{
    uint8_t buffer[LKS_MAILBOX_MESSAGE_MAX];
    poll_events(scene, replica);
    for (unsigned i = 0; i < LKS_MAILBOX_SLOTS && receive(scene, replica, buffer) > 0; i++) {
    }
    (void)lks_mailbox_poll(&scene->boxes[replica]);
}

static void reseal(struct lks_mailbox_slot *slot)
{
    const uint32_t bytes = slot->header.bytes < LKS_MAILBOX_MESSAGE_MAX
                               ? slot->header.bytes
                               : LKS_MAILBOX_MESSAGE_MAX;
    uint32_t checksum = lks_crc32c(0, &slot->header.bytes, sizeof slot->header - 4);
    checksum = lks_crc32c(checksum, slot->body, bytes);
    slot->header.checksum = checksum;
}

/* The broken peer writes. */
static void scribble(struct scene *scene, struct fuzz_input *input)
{
    struct lks_mailbox_area *at = area(scene);
    struct lks_mailbox_slot *slot = &at->slots[fuzz_below(input, LKS_MAILBOX_SLOTS)];
    switch (fuzz_byte(input) % 6) {
    case 0: { /* any word of the area */
        uint64_t word = fuzz_number(input);
        memcpy((uint8_t *)at + 8 * fuzz_below(input, sizeof *at / 8), &word, sizeof word);
        break;
    }
    case 1: { /* a word of the hello */
        const uint64_t word = fuzz_number(input);
        memcpy((uint8_t *)&at->hello + 8 * fuzz_below(input, 6), &word, sizeof word);
        break;
    }
    case 2: /* a field of a message, and a checksum that says it is right */
        slot->header.bytes = (uint32_t)fuzz_number(input);
        reseal(slot);
        break;
    case 3:
        slot->header.sequence = fuzz_number(input);
        reseal(slot);
        break;
    case 4: /* an earlier message's slot again */
        *slot = at->slots[fuzz_below(input, LKS_MAILBOX_SLOTS)];
        break;
    default: { /* what it acknowledges */
        const uint64_t word = lks_word_read(&at->acknowledged) ^ (fuzz_number(input) & 0xFFFFFF);
        lks_word_publish(&at->acknowledged, word);
        break;
    }
    }
}

static void send_letter(struct scene *scene, uint32_t replica)
{
    struct letter letter = {.number = scene->sent + 1};
    memset(letter.rest, (int)letter.number, sizeof letter.rest);
    if (lks_mailbox_send(&scene->boxes[replica], &letter, sizeof letter, false) == 0) {
        scene->sent++;
    }
}

static void reconnect(struct scene *scene)
{
    if (fake_net_joined(scene->net, WHOLE, BROKEN)) {
        fake_net_break(scene->net, WHOLE, BROKEN);
    }
    for (unsigned i = 0; i < 4; i++) {
        poll_events(scene, WHOLE);
        poll_events(scene, BROKEN);
    }
    fake_net_join(scene->net, WHOLE, BROKEN);
}

/* The peer is replaced by a whole one, in a new life: messages must come through, in order. */
static void recover(struct scene *scene)
{
    fake_net_restart(scene->net, BROKEN);
    lks_mailbox_init(&scene->boxes[BROKEN], fake_net_fabric(scene->net, BROKEN), WHOLE, 9);
    reconnect(scene);
    scene->sent = 0;
    uint32_t expected = 1;
    for (unsigned i = 0; i < 40000 && expected <= 3; i++) {
        struct letter letter;
        uint8_t buffer[LKS_MAILBOX_MESSAGE_MAX];
        turn(scene, BROKEN);
        if (scene->sent < 3) {
            send_letter(scene, BROKEN);
        }
        fake_net_deliver_all(scene->net);
        poll_events(scene, WHOLE);
        while (receive(scene, WHOLE, buffer) > 0) {
            memcpy(&letter, buffer, sizeof letter);
            LKS_ASSERT(letter.number == expected);
            expected++;
        }
        (void)lks_mailbox_poll(&scene->boxes[WHOLE]);
        fake_net_deliver_all(scene->net);
    }
    LKS_ASSERT(expected == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = fuzz_input(data, size);
    const struct fake_net_options options = {.replicas = 2,
                                             .seed = 1,
                                             .inbox_bytes = LKS_MAILBOX_AREA_BYTES,
                                             .outstanding_max = 64};
    struct scene scene = {.net = fake_net_new(&options)};
    LKS_ASSERT(scene.net != NULL);
    lks_mailbox_init(&scene.boxes[WHOLE], fake_net_fabric(scene.net, WHOLE), BROKEN, 3);
    lks_mailbox_init(&scene.boxes[BROKEN], fake_net_fabric(scene.net, BROKEN), WHOLE, 5);
    fake_net_join(scene.net, WHOLE, BROKEN);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_left(&input) > 0; i++) {
        const uint8_t choice = fuzz_byte(&input) % 16;
        const uint32_t replica = 1 + choice % 2;
        if (choice < 4) {
            send_letter(&scene, replica);
        } else if (choice < 8) {
            turn(&scene, replica);
        } else if (choice < 11) {
            fake_net_deliver_all(scene.net);
        } else if (choice < 15) {
            scribble(&scene, &input);
        } else {
            reconnect(&scene);
        }
    }
    recover(&scene);
    fake_net_free(scene.net);
    return 0;
}
