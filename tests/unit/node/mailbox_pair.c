/* Two replicas that talk by mailbox; see mailbox_pair.h. */
#include "tests/unit/node/mailbox_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void make_message(struct message *message, uint64_t connection, uint64_t id)
{
    message->connection = connection;
    message->id = id;
    for (size_t i = 0; i < sizeof message->bytes; i++) {
        message->bytes[i] = (uint8_t)(id * 13 + connection * 101 + i);
    }
}

void pair_new(struct pair *pair, const struct fake_net_options *given)
{
    memset(pair, 0, sizeof *pair);
    struct fake_net_options options = *given;
    options.replicas = 2;
    options.inbox_bytes = LKS_REPLICA_INBOX_BYTES;
    options.outstanding_max = options.outstanding_max == 0 ? 64 : options.outstanding_max;
    pair->net = fake_net_new(&options);
    for (uint32_t side = A; side <= B; side++) {
        pair->sides[side].incarnation = 1;
        lks_mailbox_init(&pair->sides[side].mailbox, fake_net_fabric(pair->net, side),
                         A + B - side, 1);
    }
}

void pair_free(struct pair *pair)
{
    fake_net_free(pair->net);
}

void pair_take_events(struct pair *pair, uint32_t replica, uint32_t events_max)
{
    struct side *side = &pair->sides[replica];
    struct lks_fabric_event events[8];
    const int count =
        lks_fabric_poll(fake_net_fabric(pair->net, replica), events, events_max);
    for (int i = 0; i < count; i++) {
        if (events[i].kind == LKS_FABRIC_CONNECTED) {
            lks_mailbox_connected(&side->mailbox);
            side->connection = events[i].connection;
        } else {
            lks_mailbox_disconnected(&side->mailbox);
            side->connection = 0;
        }
        side->heard = 0;
    }
}

int pair_say(struct pair *pair, uint32_t replica, uint32_t bytes)
{
    struct side *side = &pair->sides[replica];
    struct message message;
    make_message(&message, side->connection, side->sent_id + 1);
    const int rc = lks_mailbox_send(&side->mailbox, &message, bytes, false);
    side->sent_id += rc == 0 ? 1 : 0;
    return rc;
}

int pair_hear(struct pair *pair, uint32_t replica, struct message *message)
{
    struct side *side = &pair->sides[replica];
    struct message expected;
    const int bytes = lks_mailbox_receive(&side->mailbox, message);
    if (bytes < 0) {
        assert_int_equal(bytes, -ENODATA);
        return bytes;
    }
    assert_in_range(bytes, 16, sizeof *message);
    make_message(&expected, message->connection, message->id);
    assert_memory_equal(message, &expected, (size_t)bytes);
    assert_true(message->id > side->heard_id);
    assert_true(message->id <= pair->sides[A + B - replica].sent_id);
    side->heard_id = message->id;
    side->heard++;
    return bytes;
}

void pair_settle(struct pair *pair)
{
    for (int turn = 0; turn < 40; turn++) {
        for (uint32_t side = A; side <= B; side++) {
            pair_take_events(pair, side, 8);
            lks_mailbox_poll(&pair->sides[side].mailbox);
        }
        fake_net_deliver_all(pair->net);
    }
}

void pair_joined(struct pair *pair)
{
    pair_new(pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair->net, A, B);
    pair_settle(pair);
}

struct lks_mailbox_area *pair_area(struct pair *pair, uint32_t replica)
{
    return lks_fabric_inbox(fake_net_fabric(pair->net, replica), A + B - replica);
}

void pair_let_repeat(struct pair *pair, uint32_t replica)
{
    const uint64_t before = pair->sides[replica].mailbox.counts.repeated;
    for (int i = 0; pair->sides[replica].mailbox.counts.repeated == before; i++) {
        assert_true(i < 10000);
        lks_mailbox_poll(&pair->sides[replica].mailbox);
        fake_net_deliver_all(pair->net);
    }
}
