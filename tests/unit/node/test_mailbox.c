/* The mailbox over a fabric whose writes land when and in which pieces the test wants. */
#include "node/mailbox.h"

#include "base/crc32c.h"
#include "tests/support/expect_assert.h"
#include "tests/support/fake_fabric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define A 1u
#define B 2u

/* Two replicas, a mailbox at each, and what the test knows about what they say. */
struct side {
    struct lks_mailbox mailbox;
    uint64_t incarnation;
    uint64_t connection;    /* as this side's mailbox was told; 0: none */
    uint64_t sent_id;       /* the last message sent, over all lives */
    uint64_t heard_id;      /* the last message heard, over all lives */
    uint64_t heard;         /* messages heard over the present connection */
    uint64_t connection_first; /* id of the first message sent over the present connection */
};

struct pair {
    struct fake_net *net;
    struct side sides[3];
};

/* A message: who sent it over which connection, its number, and bytes that follow from both. */
struct message {
    uint64_t connection;
    uint64_t id;
    uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX - 16];
};

_Static_assert(sizeof(struct message) == LKS_MAILBOX_MESSAGE_MAX, "fills a slot");

static void make_message(struct message *message, uint64_t connection, uint64_t id)
{
    message->connection = connection;
    message->id = id;
    for (size_t i = 0; i < sizeof message->bytes; i++) {
        message->bytes[i] = (uint8_t)(id * 13 + connection * 101 + i);
    }
}

static void pair_new(struct pair *pair, const struct fake_net_options *given)
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

static void pair_free(struct pair *pair)
{
    fake_net_free(pair->net);
}

static void take_events(struct pair *pair, uint32_t replica, uint32_t events_max)
{
    struct side *side = &pair->sides[replica];
    struct lks_fabric_event events[8];
    const int count =
        lks_fabric_poll(fake_net_fabric(pair->net, replica), events, events_max);
    for (int i = 0; i < count; i++) {
        if (events[i].kind == LKS_FABRIC_CONNECTED) {
            lks_mailbox_connected(&side->mailbox);
            side->connection = events[i].connection;
            side->connection_first = side->sent_id + 1;
        } else {
            lks_mailbox_disconnected(&side->mailbox);
            side->connection = 0;
        }
        side->heard = 0;
    }
}

static int say(struct pair *pair, uint32_t replica, uint32_t bytes)
{
    struct side *side = &pair->sides[replica];
    struct message message;
    make_message(&message, side->connection, side->sent_id + 1);
    const int rc = lks_mailbox_send(&side->mailbox, &message, bytes, false);
    side->sent_id += rc == 0 ? 1 : 0;
    return rc;
}

/* Hears one message, checks its bytes and that it is newer than all before: its length, or
 * -ENODATA. */
static int hear(struct pair *pair, uint32_t replica, struct message *message)
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

/* Lets both sides take their events and poll, with everything landing, until it is quiet. */
static void settle(struct pair *pair)
{
    for (int turn = 0; turn < 40; turn++) {
        for (uint32_t side = A; side <= B; side++) {
            take_events(pair, side, 8);
            lks_mailbox_poll(&pair->sides[side].mailbox);
        }
        fake_net_deliver_all(pair->net);
    }
}

static void pair_joined(struct pair *pair)
{
    pair_new(pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair->net, A, B);
    settle(pair);
}

static void send__not_connected__returns_ebroken(void **state)
{
    (void)state;
    struct pair pair;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    assert_int_equal(say(&pair, A, 16), -LKS_EBROKEN);
    assert_int_equal(lks_mailbox_poll(&pair.sides[A].mailbox), 0);
    pair_free(&pair);
}

static void send__before_the_greeting__arrives_after_it(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair.net, A, B);
    take_events(&pair, A, 8);
    assert_int_equal(say(&pair, A, 16), 0);
    assert_int_equal(say(&pair, A, 17), 0);
    assert_int_equal(hear(&pair, B, &message), -ENODATA);
    settle(&pair);
    assert_int_equal(hear(&pair, B, &message), 16);
    assert_int_equal(hear(&pair, B, &message), 17);
    assert_int_equal(hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void send__every_length__arrives_unchanged(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    for (uint32_t bytes = 16; bytes <= LKS_MAILBOX_MESSAGE_MAX; bytes++) {
        assert_int_equal(say(&pair, A, bytes), 0);
        fake_net_deliver_all(pair.net);
        assert_int_equal(hear(&pair, B, &message), bytes);
        lks_mailbox_poll(&pair.sides[B].mailbox);
        fake_net_deliver_all(pair.net);
        lks_mailbox_poll(&pair.sides[A].mailbox);
    }
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
    pair_free(&pair);
}

static void send__one_byte__arrives(void **state)
{
    (void)state;
    struct pair pair;
    uint8_t buffer[LKS_MAILBOX_MESSAGE_MAX];
    pair_joined(&pair);
    assert_int_equal(lks_mailbox_send(&pair.sides[A].mailbox, "x", 1, false), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(lks_mailbox_receive(&pair.sides[B].mailbox, buffer), 1);
    assert_int_equal(buffer[0], 'x');
    pair_free(&pair);
}

static void send__no_or_too_many_bytes__asserts(void **state)
{
    (void)state;
    static struct pair pair;
    static uint8_t bytes[LKS_MAILBOX_MESSAGE_MAX + 1];
    pair_joined(&pair);
    EXPECT_ASSERT(lks_mailbox_send(&pair.sides[A].mailbox, bytes, 0, false));
    EXPECT_ASSERT(lks_mailbox_send(&pair.sides[A].mailbox, bytes, sizeof bytes, false));
    pair_free(&pair);
}

static void send__wake__wakes_the_peer_once(void **state)
{
    (void)state;
    struct pair pair;
    pair_joined(&pair);
    const uint64_t before = fake_net_wakes(pair.net, B);
    assert_int_equal(lks_mailbox_send(&pair.sides[A].mailbox, "x", 1, false), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(fake_net_wakes(pair.net, B), before);
    assert_int_equal(lks_mailbox_send(&pair.sides[A].mailbox, "x", 1, true), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(fake_net_wakes(pair.net, B), before + 1);
    pair_free(&pair);
}

static void send__window_full__busy_until_acknowledged(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    for (uint32_t i = 0; i < LKS_MAILBOX_SLOTS; i++) {
        assert_int_equal(say(&pair, A, 100), 0);
    }
    assert_int_equal(say(&pair, A, 100), -LKS_EBUSY);
    fake_net_deliver_all(pair.net);
    assert_int_equal(hear(&pair, B, &message), 100);
    assert_int_equal(say(&pair, A, 100), -LKS_EBUSY);
    assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 1);
    assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(say(&pair, A, 100), 0); /* sees the acknowledgement without a poll */
    assert_int_equal(say(&pair, A, 100), -LKS_EBUSY);
    fake_net_deliver_all(pair.net);
    for (uint32_t i = 0; i < LKS_MAILBOX_SLOTS; i++) {
        assert_int_equal(hear(&pair, B, &message), 100);
    }
    assert_int_equal(hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void poll__nothing_under_way__does_nothing(void **state)
{
    (void)state;
    struct pair pair;
    pair_joined(&pair);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(lks_mailbox_poll(&pair.sides[A].mailbox), 0);
        assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 0);
    }
    assert_false(fake_net_deliver(pair.net)); /* nor are hellos repeated for ever */
    pair_free(&pair);
}

static void receive__word_without_its_body_yet__never_happens(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(say(&pair, A, 16 + (uint32_t)i * 3), 0);
        while (fake_net_deliver(pair.net)) {
            (void)hear(&pair, B, &message);
        }
        lks_mailbox_poll(&pair.sides[B].mailbox);
        fake_net_deliver_all(pair.net);
    }
    assert_int_equal(pair.sides[B].heard, 300);
    assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
    pair_free(&pair);
}

static struct lks_mailbox_area *area_at(struct pair *pair, uint32_t replica)
{
    return lks_fabric_inbox(fake_net_fabric(pair->net, replica), A + B - replica);
}

/* Polls a side often enough that it repeats what is unacknowledged. */
static void let_repeat(struct pair *pair, uint32_t replica)
{
    const uint64_t before = pair->sides[replica].mailbox.counts.repeated;
    for (int i = 0; pair->sides[replica].mailbox.counts.repeated == before; i++) {
        assert_true(i < 10000);
        lks_mailbox_poll(&pair->sides[replica].mailbox);
        fake_net_deliver_all(pair->net);
    }
}

/* Every byte of a slot but its word and the unused ones. */
static void receive__any_byte_damaged__counted_and_taken_when_repeated(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    const uint32_t bytes = 50;
    const size_t begin = offsetof(struct lks_mailbox_slot, header);
    uint64_t damaged = 0;
    for (size_t i = begin; i < offsetof(struct lks_mailbox_slot, body) + bytes; i++) {
        assert_int_equal(say(&pair, A, bytes), 0);
        fake_net_deliver_all(pair.net);
        const uint64_t slot = pair.sides[A].sent_id % LKS_MAILBOX_SLOTS;
        ((uint8_t *)&area_at(&pair, B)->slots[slot])[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(hear(&pair, B, &message), -ENODATA);
        assert_int_equal(hear(&pair, B, &message), -ENODATA);
        damaged++;
        assert_int_equal(pair.sides[B].mailbox.counts.damaged, damaged);
        let_repeat(&pair, A);
        assert_int_equal(hear(&pair, B, &message), bytes);
        settle(&pair);
        assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    }
    pair_free(&pair);
}

/* Headers whose checksum is right and whose content is not of this message. */
static void receive__hostile_header__refused_and_taken_when_repeated(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    const struct lks_mailbox_header changes[] = {
        {.bytes = 16},                                  /* becomes 0 */
        {.bytes = 16 ^ (LKS_MAILBOX_MESSAGE_MAX + 1)},
        {.bytes = 16 ^ INT32_MAX},
        {.bytes = 16 ^ UINT32_MAX},
        {.reader = 1},
        {.writer = 1},
        {.sequence = 8}, /* the same slot */
    };
    for (size_t i = 0; i < LKS_COUNT_OF(changes); i++) {
        assert_int_equal(say(&pair, A, 16), 0);
        fake_net_deliver_all(pair.net);
        const uint64_t slot = pair.sides[A].sent_id % LKS_MAILBOX_SLOTS;
        struct lks_mailbox_header *header = &area_at(&pair, B)->slots[slot].header;
        header->bytes ^= changes[i].bytes;
        header->reader ^= changes[i].reader;
        header->writer ^= changes[i].writer;
        header->sequence ^= changes[i].sequence;
        const size_t covered = changes[i].bytes != 0 ? 0 : header->bytes;
        header->checksum = lks_crc32c(0, &header->bytes, sizeof *header - 4 + covered);
        assert_int_equal(hear(&pair, B, &message), -ENODATA);
        let_repeat(&pair, A);
        assert_int_equal(hear(&pair, B, &message), 16);
        settle(&pair);
    }
    assert_int_equal(pair.sides[B].mailbox.counts.damaged, LKS_COUNT_OF(changes));
    pair_free(&pair);
}

static void receive__word_overwritten__taken_when_repeated(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    assert_int_equal(say(&pair, A, 16), 0);
    fake_net_deliver_all(pair.net);
    lks_word_publish(&area_at(&pair, B)->slots[pair.sides[A].sent_id % LKS_MAILBOX_SLOTS].word, 7);
    assert_int_equal(hear(&pair, B, &message), -ENODATA);
    let_repeat(&pair, A);
    assert_int_equal(hear(&pair, B, &message), 16);
    assert_int_equal(hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void acknowledgement__overwritten__written_again_when_asked(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    assert_int_equal(say(&pair, A, 16), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(hear(&pair, B, &message), 16);
    assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 1);
    fake_net_deliver_all(pair.net);
    lks_word_publish(&area_at(&pair, A)->acknowledged, 7);
    let_repeat(&pair, A);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 1);
    settle(&pair);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    assert_int_equal(hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void poll__hostile_acknowledgement__nothing_is_taken_that_was_not_posted(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    assert_int_equal(say(&pair, A, 16), 0);
    settle(&pair);
    assert_int_equal(hear(&pair, B, &message), 16);
    settle(&pair);
    lks_word *acknowledged = &area_at(&pair, A)->acknowledged;
    const uint64_t good = lks_word_read(acknowledged);
    assert_int_equal(say(&pair, A, 16), 0);
    for (uint64_t i = 2; i < 100000; i++) { /* more than was posted, or less than before */
        lks_word_publish(acknowledged, good + i * 167);
        lks_mailbox_poll(&pair.sides[A].mailbox);
        lks_word_publish(acknowledged, (good & ~UINT64_C(0xFFFFFF)) | ((good - i) & 0xFFFFFF));
        lks_mailbox_poll(&pair.sides[A].mailbox);
        assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 1);
        fake_net_deliver_all(pair.net);
    }
    lks_word_publish(acknowledged, good + 1);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    pair_free(&pair);
}

/* All that an older connection wrote appears again, whole, in the place of the new. */
static void reconnect__old_area_lands_late__nothing_of_it_is_taken(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    struct lks_mailbox_area old_at_a;
    struct lks_mailbox_area old_at_b;
    pair_joined(&pair);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(say(&pair, A, 16), 0);
        assert_int_equal(say(&pair, B, 16), 0);
        settle(&pair);
        assert_int_equal(hear(&pair, A, &message), 16);
    }
    assert_int_equal(hear(&pair, B, &message), 16); /* A's second one is never heard */
    settle(&pair);
    memcpy(&old_at_a, area_at(&pair, A), sizeof old_at_a);
    memcpy(&old_at_b, area_at(&pair, B), sizeof old_at_b);
    fake_net_break(pair.net, A, B);
    fake_net_join(pair.net, A, B);
    settle(&pair);
    assert_int_equal(say(&pair, A, 16), 0);
    fake_net_deliver_all(pair.net);
    memcpy(area_at(&pair, A), &old_at_a, sizeof old_at_a);
    memcpy(area_at(&pair, B), &old_at_b, sizeof old_at_b);
    old_at_a.acknowledged += 2; /* as if it were of a later message */
    lks_word_publish(&area_at(&pair, A)->acknowledged, old_at_a.acknowledged);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(hear(&pair, B, &message), -ENODATA);
        lks_mailbox_poll(&pair.sides[A].mailbox);
        lks_mailbox_poll(&pair.sides[B].mailbox);
        assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 1);
    }
    assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
    let_repeat(&pair, A);
    assert_int_equal(hear(&pair, B, &message), 16);
    settle(&pair);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    pair_free(&pair);
}

static void greeting__hellos_overwritten__repeated_until_heard(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair.net, A, B);
    for (int turn = 0; turn < 100; turn++) {
        for (uint32_t side = A; side <= B; side++) {
            take_events(&pair, side, 8);
            lks_mailbox_poll(&pair.sides[side].mailbox);
        }
        fake_net_deliver_all(pair.net);
        memset(&area_at(&pair, A)->hello, 0, sizeof(struct lks_mailbox_hello));
        memset(&area_at(&pair, B)->hello, 0, sizeof(struct lks_mailbox_hello));
    }
    assert_false(pair.sides[A].mailbox.established);
    assert_int_equal(say(&pair, A, 16), 0);
    settle(&pair);
    assert_int_equal(hear(&pair, B, &message), 16);
    pair_free(&pair);
}

/* A hello of the peer's token before last, though it echoes the own present one. */
static void greeting__hello_of_a_lower_token__ignored(void **state)
{
    (void)state;
    struct pair pair;
    struct lks_mailbox_hello old;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    fake_net_join(pair.net, A, B);
    take_events(&pair, A, 8);
    take_events(&pair, B, 8);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    fake_net_deliver_all(pair.net);
    lks_mailbox_poll(&pair.sides[B].mailbox);
    fake_net_deliver_all(pair.net);
    memcpy(&old, &area_at(&pair, A)->hello, sizeof old);
    assert_int_equal(old.echo, pair.sides[A].mailbox.token);
    fake_net_break(pair.net, A, B);
    fake_net_join(pair.net, A, B); /* only B is told, and has not heard A yet */
    take_events(&pair, B, 8);
    lks_mailbox_poll(&pair.sides[B].mailbox);
    fake_net_deliver_all(pair.net);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    assert_int_equal(pair.sides[A].mailbox.peer_token, pair.sides[B].mailbox.token);
    memcpy(&area_at(&pair, A)->hello, &old, sizeof old);
    lks_mailbox_poll(&pair.sides[A].mailbox);
    assert_false(pair.sides[A].mailbox.established);
    pair_free(&pair);
}

/* Overwrites the hello with every mixture of an old and a new one, and with noise. */
static void poll__hello_torn_or_noise__ignored(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    uint64_t *words = (uint64_t *)(void *)&area_at(&pair, A)->hello;
    uint64_t good[6];
    memcpy(good, words, sizeof good);
    srand(5);
    for (int i = 0; i < 10000; i++) {
        for (int w = 0; w < 6; w++) {
            words[w] = rand() % 2 == 0 ? good[w] + (uint64_t)(rand() % 3) : (uint64_t)rand();
        }
        lks_mailbox_poll(&pair.sides[A].mailbox);
    }
    memcpy(words, good, sizeof good);
    assert_int_equal(say(&pair, A, 16), 0);
    settle(&pair);
    assert_int_equal(hear(&pair, B, &message), 16);
    pair_free(&pair);
}

static void reconnect__messages_under_way__none_survives(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    for (uint64_t pieces = 0; pieces < 60; pieces++) {
        pair_new(&pair, &(struct fake_net_options){.seed = pieces, .late = true});
        fake_net_join(pair.net, A, B);
        settle(&pair);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(say(&pair, A, 40), 0);
        }
        for (uint64_t i = 0; i < pieces; i++) {
            (void)fake_net_deliver(pair.net);
        }
        fake_net_break(pair.net, A, B);
        fake_net_join(pair.net, A, B);
        settle(&pair);
        assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
        assert_int_equal(hear(&pair, B, &message), -ENODATA);
        assert_int_equal(say(&pair, A, 40), 0);
        settle(&pair);
        assert_int_equal(hear(&pair, B, &message), 40);
        assert_int_equal(message.connection, 2);
        pair_free(&pair);
    }
}

/* One side saw break and reconnection, the other has not been told yet and goes on: what it
 * sends is not lost, and both sides find each other again. */
static void reconnect__one_side_not_told_yet__greeting_starts_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct pair pair;
        struct message message;
        pair_new(&pair, &(struct fake_net_options){.seed = seed, .zero_late = seed % 2 == 0});
        fake_net_join(pair.net, A, B);
        settle(&pair);
        fake_net_break(pair.net, A, B);
        fake_net_join(pair.net, A, B);
        take_events(&pair, B, 8);
        for (int i = 0; i < 30; i++) { /* A still thinks it is the first connection */
            lks_mailbox_poll(&pair.sides[B].mailbox);
            lks_mailbox_poll(&pair.sides[A].mailbox);
            fake_net_deliver_all(pair.net);
        }
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(say(&pair, B, 27 + i), 0);
        }
        fake_net_deliver_all(pair.net);
        assert_int_equal(hear(&pair, A, &message), 27);
        assert_int_equal(hear(&pair, A, &message), 28);
        lks_mailbox_poll(&pair.sides[A].mailbox);
        fake_net_deliver_all(pair.net);
        lks_mailbox_poll(&pair.sides[B].mailbox);
        assert_int_equal(lks_mailbox_pending(&pair.sides[B].mailbox), 1);
        take_events(&pair, A, 8); /* takes a new token; B's hello still echoes the old one */
        lks_mailbox_poll(&pair.sides[A].mailbox);
        assert_int_equal(say(&pair, B, 30), 0);
        settle(&pair);
        assert_int_equal(hear(&pair, A, &message), 29); /* what was not acknowledged came over */
        assert_int_equal(hear(&pair, A, &message), 30);
        assert_int_equal(say(&pair, A, 31), 0);
        assert_int_equal(say(&pair, B, 32), 0);
        settle(&pair);
        assert_int_equal(hear(&pair, B, &message), 31);
        assert_int_equal(hear(&pair, A, &message), 32);
        pair_free(&pair);
    }
}

static void restart_side(struct pair *pair, uint32_t replica)
{
    struct side *side = &pair->sides[replica];
    fake_net_restart(pair->net, replica);
    side->incarnation++;
    side->connection = 0;
    lks_mailbox_init(&side->mailbox, fake_net_fabric(pair->net, replica), A + B - replica,
                     side->incarnation);
}

/* One random step of a conversation; events are always taken before anything else is done. */
static void random_step(struct pair *pair, bool strict)
{
    struct fake_net *net = pair->net;
    const uint32_t replica = (uint32_t)fake_net_random(net, 2) + 1;
    struct side *side = &pair->sides[replica];
    if (strict || fake_net_random(net, 4) == 0) {
        take_events(pair, A, 8);
        take_events(pair, B, 8);
    }
    const uint64_t choice = fake_net_random(net, 1000);
    struct message message;
    if (choice < 600) {
        for (uint64_t pieces = fake_net_random(net, 24); pieces > 0; pieces--) {
            (void)fake_net_deliver(net);
        }
    } else if (choice < 700) {
        (void)say(pair, replica, 16 + (uint32_t)fake_net_random(net, 945));
    } else if (choice < 800) {
        if (hear(pair, replica, &message) > 0 && strict) {
            assert_int_equal(message.connection, side->connection);
        }
    } else if (choice < 997) {
        (void)lks_mailbox_poll(&side->mailbox);
    } else if (choice == 997) {
        restart_side(pair, replica);
    } else if (fake_net_joined(net, A, B)) {
        fake_net_break(net, A, B);
    }
    if (!fake_net_joined(net, A, B) && fake_net_random(net, 20) == 0) {
        fake_net_join(net, A, B);
    }
}

/* After the storm: a connection that stands carries everything that is sent over it. */
static void expect_health(struct pair *pair)
{
    struct message message;
    if (!fake_net_joined(pair->net, A, B)) {
        fake_net_join(pair->net, A, B);
    }
    for (int round = 0; round < 60; round++) {
        settle(pair);
        for (uint32_t side = A; side <= B; side++) {
            while (hear(pair, side, &message) > 0) {
            }
            if (round < 50) {
                (void)say(pair, side, 16);
            }
        }
    }
    for (uint32_t side = A; side <= B; side++) {
        assert_int_equal(lks_mailbox_pending(&pair->sides[side].mailbox), 0);
        assert_int_equal(pair->sides[side].heard_id, pair->sides[A + B - side].sent_id);
    }
}

static void run_random(const struct fake_net_options *options, int seeds, bool strict)
{
    for (int seed = 1; seed <= seeds; seed++) {
        struct pair pair;
        struct fake_net_options own = *options;
        own.seed = (uint64_t)seed;
        pair_new(&pair, &own);
        fake_net_join(pair.net, A, B);
        for (int step = 0; step < 20000; step++) {
            random_step(&pair, strict);
        }
        expect_health(&pair);
        assert_true(pair.sides[A].heard_id > 500);
        assert_true(pair.sides[B].heard_id > 500);
        if (!options->late) {
            assert_int_equal(pair.sides[A].mailbox.counts.damaged, 0);
            assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
        }
        pair_free(&pair);
    }
}

static void random__events_taken_at_once__in_order_and_of_this_connection(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 0}, 10, true);
}

static void random__busy_fabric__in_order_and_of_this_connection(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 30, .outstanding_max = 7}, 10, true);
}

static void random__events_taken_late__in_order_and_healthy_afterwards(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 5, .zero_late = true}, 10, false);
}

static void random__old_writes_land_late__never_taken_for_new_ones(void **state)
{
    (void)state;
    run_random(&(struct fake_net_options){.busy_percent = 5, .late = true}, 15, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(send__not_connected__returns_ebroken),
        cmocka_unit_test(send__before_the_greeting__arrives_after_it),
        cmocka_unit_test(send__every_length__arrives_unchanged),
        cmocka_unit_test(send__one_byte__arrives),
        cmocka_unit_test(send__no_or_too_many_bytes__asserts),
        cmocka_unit_test(send__wake__wakes_the_peer_once),
        cmocka_unit_test(send__window_full__busy_until_acknowledged),
        cmocka_unit_test(poll__nothing_under_way__does_nothing),
        cmocka_unit_test(receive__word_without_its_body_yet__never_happens),
        cmocka_unit_test(receive__any_byte_damaged__counted_and_taken_when_repeated),
        cmocka_unit_test(receive__word_overwritten__taken_when_repeated),
        cmocka_unit_test(acknowledgement__overwritten__written_again_when_asked),
        cmocka_unit_test(receive__hostile_header__refused_and_taken_when_repeated),
        cmocka_unit_test(poll__hostile_acknowledgement__nothing_is_taken_that_was_not_posted),
        cmocka_unit_test(reconnect__old_area_lands_late__nothing_of_it_is_taken),
        cmocka_unit_test(greeting__hellos_overwritten__repeated_until_heard),
        cmocka_unit_test(greeting__hello_of_a_lower_token__ignored),
        cmocka_unit_test(poll__hello_torn_or_noise__ignored),
        cmocka_unit_test(reconnect__messages_under_way__none_survives),
        cmocka_unit_test(reconnect__one_side_not_told_yet__greeting_starts_again),
        cmocka_unit_test(random__events_taken_at_once__in_order_and_of_this_connection),
        cmocka_unit_test(random__busy_fabric__in_order_and_of_this_connection),
        cmocka_unit_test(random__events_taken_late__in_order_and_healthy_afterwards),
        cmocka_unit_test(random__old_writes_land_late__never_taken_for_new_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
