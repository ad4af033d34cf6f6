/* The mailbox over one connection, whose writes land when and in which pieces the test wants. */
#include "node/mailbox.h"

#include "base/crc32c.h"
#include "tests/support/expect_assert.h"
#include "tests/unit/node/mailbox_pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void send__not_connected__returns_ebroken(void **state)
{
    (void)state;
    struct pair pair;
    pair_new(&pair, &(struct fake_net_options){.seed = 1});
    assert_int_equal(pair_say(&pair, A, 16), -LKS_EBROKEN);
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
    pair_take_events(&pair, A, 8);
    assert_int_equal(pair_say(&pair, A, 16), 0);
    assert_int_equal(pair_say(&pair, A, 17), 0);
    assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
    pair_settle(&pair);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    assert_int_equal(pair_hear(&pair, B, &message), 17);
    assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void send__every_length__arrives_unchanged(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    for (uint32_t bytes = 16; bytes <= LKS_MAILBOX_MESSAGE_MAX; bytes++) {
        assert_int_equal(pair_say(&pair, A, bytes), 0);
        fake_net_deliver_all(pair.net);
        assert_int_equal(pair_hear(&pair, B, &message), bytes);
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
        assert_int_equal(pair_say(&pair, A, 100), 0);
    }
    assert_int_equal(pair_say(&pair, A, 100), -LKS_EBUSY);
    fake_net_deliver_all(pair.net);
    assert_int_equal(pair_hear(&pair, B, &message), 100);
    assert_int_equal(pair_say(&pair, A, 100), -LKS_EBUSY);
    assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 1);
    assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(pair_say(&pair, A, 100), 0); /* sees the acknowledgement without a poll */
    assert_int_equal(pair_say(&pair, A, 100), -LKS_EBUSY);
    fake_net_deliver_all(pair.net);
    for (uint32_t i = 0; i < LKS_MAILBOX_SLOTS; i++) {
        assert_int_equal(pair_hear(&pair, B, &message), 100);
    }
    assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
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
        assert_int_equal(pair_say(&pair, A, 16 + (uint32_t)i * 3), 0);
        while (fake_net_deliver(pair.net)) {
            (void)pair_hear(&pair, B, &message);
        }
        lks_mailbox_poll(&pair.sides[B].mailbox);
        fake_net_deliver_all(pair.net);
    }
    assert_int_equal(pair.sides[B].heard, 300);
    assert_int_equal(pair.sides[B].mailbox.counts.damaged, 0);
    pair_free(&pair);
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
        assert_int_equal(pair_say(&pair, A, bytes), 0);
        fake_net_deliver_all(pair.net);
        const uint64_t slot = pair.sides[A].sent_id % LKS_MAILBOX_SLOTS;
        ((uint8_t *)&pair_area(&pair, B)->slots[slot])[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
        assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
        damaged++;
        assert_int_equal(pair.sides[B].mailbox.counts.damaged, damaged);
        pair_let_repeat(&pair, A);
        assert_int_equal(pair_hear(&pair, B, &message), bytes);
        pair_settle(&pair);
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
        assert_int_equal(pair_say(&pair, A, 16), 0);
        fake_net_deliver_all(pair.net);
        const uint64_t slot = pair.sides[A].sent_id % LKS_MAILBOX_SLOTS;
        struct lks_mailbox_header *header = &pair_area(&pair, B)->slots[slot].header;
        header->bytes ^= changes[i].bytes;
        header->reader ^= changes[i].reader;
        header->writer ^= changes[i].writer;
        header->sequence ^= changes[i].sequence;
        const size_t covered = changes[i].bytes != 0 ? 0 : header->bytes;
        header->checksum = lks_crc32c(0, &header->bytes, sizeof *header - 4 + covered);
        assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
        pair_let_repeat(&pair, A);
        assert_int_equal(pair_hear(&pair, B, &message), 16);
        pair_settle(&pair);
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
    assert_int_equal(pair_say(&pair, A, 16), 0);
    fake_net_deliver_all(pair.net);
    const uint64_t place = pair.sides[A].sent_id % LKS_MAILBOX_SLOTS;
    lks_word_publish(&pair_area(&pair, B)->slots[place].word, 7);
    assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
    pair_let_repeat(&pair, A);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void acknowledgement__overwritten__written_again_when_asked(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    assert_int_equal(pair_say(&pair, A, 16), 0);
    fake_net_deliver_all(pair.net);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    assert_int_equal(lks_mailbox_poll(&pair.sides[B].mailbox), 1);
    fake_net_deliver_all(pair.net);
    lks_word_publish(&pair_area(&pair, A)->acknowledged, 7);
    pair_let_repeat(&pair, A);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 1);
    pair_settle(&pair);
    assert_int_equal(lks_mailbox_pending(&pair.sides[A].mailbox), 0);
    assert_int_equal(pair_hear(&pair, B, &message), -ENODATA);
    pair_free(&pair);
}

static void poll__hostile_acknowledgement__nothing_is_taken_that_was_not_posted(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    assert_int_equal(pair_say(&pair, A, 16), 0);
    pair_settle(&pair);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    pair_settle(&pair);
    lks_word *acknowledged = &pair_area(&pair, A)->acknowledged;
    const uint64_t good = lks_word_read(acknowledged);
    assert_int_equal(pair_say(&pair, A, 16), 0);
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

/* Overwrites the hello with every mixture of an old and a new one, and with noise. */
static void poll__hello_torn_or_noise__ignored(void **state)
{
    (void)state;
    struct pair pair;
    struct message message;
    pair_joined(&pair);
    uint64_t *words = (uint64_t *)(void *)&pair_area(&pair, A)->hello;
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
    assert_int_equal(pair_say(&pair, A, 16), 0);
    pair_settle(&pair);
    assert_int_equal(pair_hear(&pair, B, &message), 16);
    pair_free(&pair);
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
        cmocka_unit_test(receive__hostile_header__refused_and_taken_when_repeated),
        cmocka_unit_test(receive__word_overwritten__taken_when_repeated),
        cmocka_unit_test(acknowledgement__overwritten__written_again_when_asked),
        cmocka_unit_test(poll__hostile_acknowledgement__nothing_is_taken_that_was_not_posted),
        cmocka_unit_test(poll__hello_torn_or_noise__ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
