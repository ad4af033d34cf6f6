/* The ingress ring: order, wrap, credits, offers, and whatever a broken gateway may write. */
#include "node/ingress.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "node/sessions.h"
#include "tests/support/fake_fabric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GATEWAY 1u
#define LEADER 2u
#define SESSION ((uint64_t)GATEWAY << LKS_SESSION_INCARNATION_BITS | 9)

struct fixture {
    struct fake_net *net;
    struct lks_ingress_producer producer;
    struct lks_ingress_consumer consumer;
    struct lks_ingress_offer offer;
    uint8_t *buffer; /* of the consumer */
    uint8_t *data;   /* of the command being pushed */
    uint64_t pushed; /* sequences */
    uint64_t popped;
};

static void fixture_new(struct fixture *f, const struct fake_net_options *given)
{
    memset(f, 0, sizeof *f);
    struct fake_net_options options = *given;
    options.replicas = 2;
    options.inbox_bytes = LKS_REPLICA_INBOX_BYTES;
    options.outstanding_max = options.outstanding_max == 0 ? 64 : options.outstanding_max;
    options.seed = options.seed == 0 ? 1 : options.seed;
    f->net = fake_net_new(&options);
    f->buffer = malloc(LKS_INGRESS_COMMAND_MAX);
    f->data = malloc(LKS_INGRESS_COMMAND_MAX + 1);
    assert_non_null(f->buffer);
    assert_non_null(f->data);
    fake_net_join(f->net, GATEWAY, LEADER);
    lks_ingress_producer_init(&f->producer, fake_net_fabric(f->net, GATEWAY), LEADER);
    lks_ingress_consumer_init(&f->consumer, fake_net_fabric(f->net, LEADER), GATEWAY, 3,
                              f->buffer);
}

/* Connected, and the offer has arrived. */
static void fixture_open(struct fixture *f)
{
    fixture_new(f, &(struct fake_net_options){0});
    lks_ingress_consumer_offer(&f->consumer, 1, &f->offer);
    lks_ingress_producer_open(&f->producer, &f->offer);
}

static void fixture_free(struct fixture *f)
{
    fake_net_free(f->net);
    free(f->buffer);
    free(f->data);
}

/* The size of command n is part of its content: what is popped is compared in full. */
static uint32_t fill(uint8_t *data, uint64_t sequence, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(sequence * 37 + i * 11 + (i >> 9));
    }
    return bytes;
}

/* Pushes the next sequence; with -LKS_EBUSY nothing has changed for the caller. */
static int push(struct fixture *f, uint32_t bytes)
{
    const struct lks_ingress_command command = {
        .session = SESSION,
        .sequence = f->pushed + 1,
        .data = f->data,
        .bytes = fill(f->data, f->pushed + 1, bytes),
    };
    const int rc = lks_ingress_push(&f->producer, &command);
    f->pushed += rc == 0 ? 1 : 0;
    return rc;
}

/* Pushes and publishes with as many deliveries as it takes. */
static void push_through(struct fixture *f, uint32_t bytes)
{
    int rc = push(f, bytes);
    for (int i = 0; rc == -LKS_EBUSY && i < 10000; i++) {
        fake_net_deliver_all(f->net);
        rc = push(f, bytes);
    }
    assert_int_equal(rc, 0);
    rc = lks_ingress_publish(&f->producer, false);
    for (int i = 0; rc == -LKS_EBUSY && i < 10000; i++) {
        fake_net_deliver_all(f->net);
        rc = lks_ingress_publish(&f->producer, false);
    }
    assert_int_equal(rc, 0);
    fake_net_deliver_all(f->net);
}

static int pop(struct fixture *f)
{
    struct lks_ingress_command command;
    const int rc = lks_ingress_pop(&f->consumer, &command);
    if (rc != 0) {
        return rc;
    }
    assert_int_equal(command.session, SESSION);
    assert_int_equal(command.sequence, f->popped + 1);
    assert_true(command.sequence <= f->pushed);
    uint8_t *expected = malloc(command.bytes + 1);
    assert_non_null(expected);
    fill(expected, command.sequence, command.bytes);
    assert_memory_equal(command.data, expected, command.bytes);
    free(expected);
    f->popped++;
    return 0;
}

static uint8_t *ring_at_leader(struct fixture *f)
{
    uint8_t *inbox = lks_fabric_inbox(fake_net_fabric(f->net, LEADER), GATEWAY);
    return inbox + LKS_INGRESS_RING_OFFSET;
}

static struct lks_ingress_words *words_at(struct fixture *f, uint32_t replica)
{
    uint8_t *inbox =
        lks_fabric_inbox(fake_net_fabric(f->net, replica), GATEWAY + LEADER - replica);
    return (struct lks_ingress_words *)(void *)(inbox + LKS_INGRESS_OFFSET);
}

static void push__not_open__returns_ebroken(void **state)
{
    (void)state;
    struct fixture f;
    fixture_new(&f, &(struct fake_net_options){0});
    assert_int_equal(push(&f, 10), -LKS_EBROKEN);
    assert_int_equal(lks_ingress_publish(&f.producer, false), -LKS_EBROKEN);
    assert_int_equal(pop(&f), -ENODATA);
    assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    fixture_free(&f);
}

static void push__too_big__returns_etoobig(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    assert_int_equal(push(&f, LKS_INGRESS_COMMAND_MAX + 1), -LKS_ETOOBIG);
    push_through(&f, LKS_INGRESS_COMMAND_MAX);
    assert_int_equal(pop(&f), 0);
    fixture_free(&f);
}

static void push__connection_broken__closes_the_producer(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    fake_net_break(f.net, GATEWAY, LEADER);
    assert_int_equal(push(&f, 300), -LKS_EBROKEN);
    assert_false(lks_ingress_producer_is_open(&f.producer));
    fixture_free(&f);
}

static void publish__small_ones__travel_together_and_are_seen_only_then(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(push(&f, 20), 0);
        fake_net_deliver_all(f.net);
        assert_int_equal(pop(&f), -ENODATA);
    }
    const uint64_t wakes = fake_net_wakes(f.net, LEADER);
    assert_int_equal(lks_ingress_publish(&f.producer, true), 0);
    assert_int_equal(lks_ingress_publish(&f.producer, true), 0);
    fake_net_deliver_all(f.net);
    assert_int_equal(fake_net_wakes(f.net, LEADER), wakes + 1);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pop(&f), 0);
    }
    assert_int_equal(pop(&f), -ENODATA);
    fixture_free(&f);
}

static void pop__every_size_around_the_lines__unchanged(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    for (uint32_t bytes = 0; bytes < 700; bytes++) {
        push_through(&f, bytes);
        assert_int_equal(pop(&f), 0);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    }
    fixture_free(&f);
}

static void pop__ring_goes_round__nothing_is_lost(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    srand(1);
    uint64_t total = 0;
    while (total < 5 * (uint64_t)LKS_INGRESS_RING_BYTES) {
        const uint32_t bytes = (uint32_t)rand() % 30000;
        total += bytes;
        push_through(&f, bytes);
        assert_int_equal(pop(&f), 0);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    }
    assert_int_equal(pop(&f), -ENODATA);
    fixture_free(&f);
}

static void pop__largest_commands_only__always_get_through(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    for (int i = 0; i < 12; i++) {
        push_through(&f, LKS_INGRESS_COMMAND_MAX - (uint32_t)i * 5000);
        assert_int_equal(pop(&f), 0);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        fake_net_deliver_all(f.net);
    }
    fixture_free(&f);
}

/* A record that ends exactly with the ring needs no skip; one line less room does. */
static void push__rest_of_the_ring_fits_exactly__goes_on_at_the_beginning(void **state)
{
    (void)state;
    for (uint32_t less = 0; less < 3; less++) {
        struct fixture f;
        fixture_open(&f);
        const uint32_t record = 64u << 10;
        for (uint32_t at = 0; at + record < LKS_INGRESS_RING_BYTES; at += record) {
            push_through(&f, record - 32);
            assert_int_equal(pop(&f), 0);
            assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        }
        const uint32_t rest = LKS_INGRESS_RING_BYTES - f.producer.place;
        int rc = -LKS_EBUSY;
        while (rc == -LKS_EBUSY) {
            fake_net_deliver_all(f.net);
            rc = push(&f, rest - 32 - less * 64); /* leaves `less` lines */
        }
        assert_int_equal(f.producer.place, less == 0 ? 0 : LKS_INGRESS_RING_BYTES - less * 64);
        fake_net_deliver_all(f.net);
        assert_int_equal(push(&f, 64 * 5), 0); /* nothing is published in between */
        assert_int_equal(push(&f, 64), 0);
        push_through(&f, 64 * 5);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(pop(&f), 0);
        }
        assert_int_equal(pop(&f), -ENODATA);
        fixture_free(&f);
    }
}

static void push__no_credit__busy_until_the_leader_gives_some_back(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    int rc = 0;
    while (rc == 0) {
        rc = push(&f, 8000);
        (void)lks_ingress_publish(&f.producer, false);
        fake_net_deliver_all(f.net);
    }
    assert_int_equal(rc, -LKS_EBUSY);
    assert_true(f.pushed > 200);
    while (f.consumer.taken < LKS_INGRESS_RING_BYTES / 64 / 8) {
        assert_int_equal(push(&f, 8000), -LKS_EBUSY);
        assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        fake_net_deliver_all(f.net);
        assert_int_equal(pop(&f), 0);
    }
    const uint64_t wakes = fake_net_wakes(f.net, GATEWAY);
    assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    fake_net_deliver_all(f.net);
    assert_int_equal(fake_net_wakes(f.net, GATEWAY), wakes + 1);
    assert_int_equal(push(&f, 8000), 0);
    fixture_free(&f);
}

/* The lines that are skipped need credit too: else the skip would lead over records that the
 * leader has not taken. */
static void push__credit_for_the_record_but_not_for_the_skip__busy(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    const uint64_t ring_lines = LKS_INGRESS_RING_BYTES / 64;
    while (f.producer.written + 100 < ring_lines) {
        push_through(&f, 64 * 90 - 32);
    }
    const uint64_t rest = ring_lines - f.producer.written;
    assert_true(rest > 0);
    while (f.consumer.taken < ring_lines / 8) {
        assert_int_equal(pop(&f), 0);
    }
    assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
    fake_net_deliver_all(f.net);
    const uint64_t credit = rest + f.consumer.returned;
    assert_int_equal(push(&f, (uint32_t)(credit - rest + 1) * 64 - 32), -LKS_EBUSY);
    assert_int_equal(f.producer.place / 64, ring_lines - rest);
    push_through(&f, (uint32_t)(credit - rest) * 64 - 32);
    while (pop(&f) == 0) {
    }
    assert_int_equal(f.popped, f.pushed);
    fixture_free(&f);
}

static void push__fabric_too_busy__goes_on_where_it_stopped(void **state)
{
    (void)state;
    struct fixture f;
    fixture_new(&f, &(struct fake_net_options){.outstanding_max = 5, .busy_percent = 40});
    lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
    lks_ingress_producer_open(&f.producer, &f.offer);
    srand(2);
    for (int i = 0; i < 600; i++) {
        push_through(&f, (uint32_t)rand() % 12000);
        assert_int_equal(pop(&f), 0);
        (void)lks_ingress_return_credits(&f.consumer);
    }
    fixture_free(&f);
}

/* The command was answered (an earlier leader had logged it) while it was being written. */
static void push__another_command_in_the_middle_of_one__replaces_it(void **state)
{
    (void)state;
    for (uint32_t small = 0; small < 5; small++) {
        struct fixture f;
        fixture_open(&f);
        for (uint32_t i = 0; i < small; i++) {
            assert_int_equal(push(&f, 20), 0); /* staged in front of it, not posted */
        }
        assert_int_equal(push(&f, 100000), -LKS_EBUSY); /* more than can be outstanding */
        fake_net_deliver_all(f.net);
        if (small % 2 == 0) {
            assert_int_equal(lks_ingress_publish(&f.producer, false), 0);
        }
        fake_net_deliver_all(f.net);
        for (uint32_t i = 0; i < small; i++) {
            assert_int_equal(pop(&f), small % 2 == 0 ? 0 : -ENODATA);
        }
        f.pushed++; /* goes on with the next sequence */
        push_through(&f, 500);
        push_through(&f, 120000);
        f.popped += small % 2 == 0 ? 1 : 0;
        for (uint32_t i = 0; small % 2 != 0 && i < small; i++) {
            assert_int_equal(pop(&f), 0);
        }
        f.popped += small % 2 == 0 ? 0 : 1;
        assert_int_equal(pop(&f), 0);
        assert_int_equal(pop(&f), 0);
        assert_int_equal(pop(&f), -ENODATA);
        assert_int_equal(f.consumer.damaged, 0);
        fixture_free(&f);
    }
}

/* Every byte of the record: the leader takes nothing, counts it, and a new offer repairs it. */
static void pop__any_byte_of_the_record_damaged__closed_and_repaired_by_an_offer(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    const uint32_t bytes = 100;
    for (uint32_t i = 0; i < sizeof(struct lks_ingress_header) + bytes; i++) {
        const uint64_t damaged = f.consumer.damaged;
        push_through(&f, bytes);
        ring_at_leader(&f)[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(pop(&f), -EBADMSG);
        assert_int_equal(f.consumer.damaged, damaged + 1);
        assert_int_equal(pop(&f), -ENODATA);
        lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
        lks_ingress_producer_open(&f.producer, &f.offer);
        f.pushed--;
        push_through(&f, bytes);
        assert_int_equal(pop(&f), 0);
        lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
        lks_ingress_producer_open(&f.producer, &f.offer);
    }
    fixture_free(&f);
}

static void pop__any_byte_of_the_tail_word_damaged__never_takes_what_is_not_there(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        struct fixture f;
        fixture_open(&f);
        push_through(&f, 10);
        push_through(&f, 10);
        lks_word *tail = &words_at(&f, LEADER)->tail;
        lks_word_publish(tail, lks_word_read(tail) ^ UINT64_C(1) << bit);
        int rc = 0;
        for (int i = 0; i < 4 && rc == 0; i++) {
            rc = pop(&f); /* compares what it gets */
        }
        assert_true(rc == -ENODATA || rc == -EBADMSG);
        fixture_free(&f);
    }
}

/* A record whose checksums are right and whose content no gateway of ours would write. */
static void write_record(struct fixture *f, uint32_t place, struct lks_ingress_header header,
                         uint32_t data_bytes)
{
    uint8_t *record = ring_at_leader(f) + place;
    header.checksum = lks_crc32c(0, &header.bytes, sizeof header - 4);
    header.checksum = lks_crc32c(header.checksum, record + sizeof header, data_bytes);
    memcpy(record, &header, sizeof header);
}

static void set_tail(struct fixture *f, uint64_t lines)
{
    push_through(f, 0); /* learns the tag of the epoch from a true word */
    lks_word *tail = &words_at(f, LEADER)->tail;
    lks_word_publish(tail, lks_word_read(tail) - 1 + lines);
}

static void pop__hostile_records__closed_and_nothing_taken(void **state)
{
    (void)state;
    const uint64_t other = lks_session_make(LEADER, 1);
    const struct {
        struct lks_ingress_header header;
        uint32_t data_bytes;
        uint64_t tail_lines;
    } cases[] = {
        {{.bytes = 0, .session = SESSION, .sequence = 0}, 0, 1},
        {{.bytes = 0, .epoch = 1, .session = SESSION, .sequence = 1}, 0, 1},
        {{.bytes = 0, .epoch = UINT64_C(1) << 32, .session = SESSION, .sequence = 1}, 0, 1},
        {{.bytes = 0, .session = other, .sequence = 1}, 0, 1},
        {{.bytes = 0, .session = 0, .sequence = 1}, 0, 1},
        {{.bytes = 0, .session = SESSION & ~LKS_SESSION_INCARNATION_MAX, .sequence = 1}, 0, 1},
        {{.bytes = 33, .session = SESSION, .sequence = 1}, 33, 1}, /* two lines, one shown */
        {{.bytes = LKS_INGRESS_COMMAND_MAX + 1, .session = SESSION, .sequence = 1}, 0, 10000},
        {{.bytes = INT32_MAX, .session = SESSION, .sequence = 1}, 0, 10000},
        {{.bytes = LKS_INGRESS_SKIP - 1, .session = SESSION, .sequence = 1}, 0, 10000},
        {{.bytes = LKS_INGRESS_SKIP}, 0, 10}, /* skips more than is shown */
        {{.bytes = 0, .session = SESSION, .sequence = 1}, 0,
         LKS_INGRESS_RING_BYTES / 64 + 1}, /* more than the ring holds */
    };
    for (size_t i = 0; i < LKS_COUNT_OF(cases); i++) {
        struct fixture f;
        struct lks_ingress_command command;
        fixture_open(&f);
        set_tail(&f, cases[i].tail_lines);
        struct lks_ingress_header header = cases[i].header;
        header.epoch += f.offer.epoch; /* 0 in the table: the right one */
        write_record(&f, 0, header, cases[i].data_bytes);
        assert_int_equal(lks_ingress_pop(&f.consumer, &command), -EBADMSG);
        assert_int_equal(f.consumer.damaged, 1);
        fixture_free(&f);
    }
}

/* Near the end of the ring: a record that would reach past it, and a skip that is damaged. */
static void pop__hostile_records_at_the_end__closed_and_nothing_read_behind_it(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= sizeof(struct lks_ingress_header); i += 4) { /* each field */
        struct fixture f;
        struct lks_ingress_command command;
        fixture_open(&f);
        const uint32_t record = LKS_INGRESS_RING_BYTES / 8 / 64 * 64;
        while (f.producer.place + record < LKS_INGRESS_RING_BYTES) {
            push_through(&f, record - 32);
            assert_int_equal(pop(&f), 0);
            assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        }
        const uint32_t place = f.producer.place;
        push_through(&f, record); /* does not fit: a skip and a record */
        if (i < sizeof(struct lks_ingress_header)) {
            ring_at_leader(&f)[place + i] ^= (uint8_t)(1u << i % 8);
        } else {
            const struct lks_ingress_header header = {.bytes = LKS_INGRESS_RING_BYTES - place,
                                                      .epoch = f.offer.epoch,
                                                      .session = SESSION,
                                                      .sequence = 1};
            write_record(&f, place, header, header.bytes - 32);
        }
        assert_int_equal(lks_ingress_pop(&f.consumer, &command), -EBADMSG);
        fixture_free(&f);
    }
}

static void pop__skips_without_end__closed(void **state)
{
    (void)state;
    struct fixture f;
    struct lks_ingress_command command;
    fixture_open(&f);
    set_tail(&f, LKS_INGRESS_RING_BYTES / 64);
    write_record(&f, 0,
                 (struct lks_ingress_header){.bytes = LKS_INGRESS_SKIP, .epoch = f.offer.epoch},
                 0);
    assert_int_not_equal(lks_ingress_pop(&f.consumer, &command), 0);
    fixture_free(&f);
}

/* Whatever bytes and words stand there, the leader survives and gives out no command. */
static void pop__noise__survives(void **state)
{
    (void)state;
    struct fixture f;
    struct lks_ingress_command command;
    fixture_open(&f);
    push_through(&f, 0);
    assert_int_equal(pop(&f), 0);
    const uint64_t tag = lks_word_read(&words_at(&f, LEADER)->tail) >> 40 << 40;
    srand(4);
    for (int round = 0; round < 20000; round++) {
        uint8_t *ring = ring_at_leader(&f);
        struct lks_ingress_header header = {.epoch = f.offer.epoch,
                                            .session = SESSION,
                                            .sequence = (uint64_t)rand() % 5,
                                            .bytes = (uint32_t)rand() << (rand() % 3 * 8)};
        if (rand() % 4 == 0) {
            header.bytes = LKS_INGRESS_SKIP;
        }
        header.checksum = rand() % 4 == 0 ? lks_crc32c(0, &header.bytes, sizeof header - 4)
                                          : (uint32_t)rand();
        const uint32_t lines = (uint32_t)rand() % (LKS_INGRESS_RING_BYTES / 64);
        memcpy(ring + lines * 64, &header, sizeof header);
        memcpy(ring, &header, sizeof header);
        lks_word_publish(&words_at(&f, LEADER)->tail, tag | (uint64_t)rand());
        const int rc = lks_ingress_pop(&f.consumer, &command);
        assert_true(rc == -ENODATA || rc == -EBADMSG || command.bytes < 33);
        if (rc == -EBADMSG) {
            f.consumer.open = true; /* the same offer again, so that the tag stays known */
        }
    }
    fixture_free(&f);
}

static void push__hostile_head_word__no_credit_that_was_not_used(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    int rc = 0;
    while (rc == 0) {
        rc = push(&f, 8000);
        (void)lks_ingress_publish(&f.producer, false);
        fake_net_deliver_all(f.net);
    }
    const uint64_t tag = lks_word_read(&words_at(&f, LEADER)->tail) >> 40 << 40;
    const uint64_t published = f.producer.published;
    const uint64_t words[] = {
        published,       tag | (published + 1),     tag | (published + LKS_INGRESS_RING_BYTES),
        tag | ~tag,      (tag + (UINT64_C(1) << 40)) | published, UINT64_MAX};
    for (size_t i = 0; i < LKS_COUNT_OF(words); i++) {
        lks_word_publish(&words_at(&f, GATEWAY)->head, words[i]);
        assert_int_equal(push(&f, 8000), -LKS_EBUSY);
        assert_int_equal(f.producer.taken, 0);
    }
    lks_word_publish(&words_at(&f, GATEWAY)->head, tag | published);
    assert_int_equal(push(&f, 8000), 0);
    fixture_free(&f);
}

/* A new offer at every moment, with bytes of the old one still under way: the gateway repeats
 * everything from the oldest unanswered one on, and nothing old is ever taken. */
static void offer__old_bytes_under_way__only_the_new_epoch_is_taken(void **state)
{
    (void)state;
    for (uint64_t pieces = 0; pieces < 120; pieces++) {
        struct fixture f;
        fixture_open(&f);
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(push(&f, 50 + i * 60), 0);
            assert_int_equal(lks_ingress_publish(&f.producer, false), 0);
        }
        for (uint64_t i = 0; i < pieces; i++) {
            (void)fake_net_deliver(f.net);
        }
        (void)pop(&f);
        lks_ingress_consumer_offer(&f.consumer, 2, &f.offer);
        for (uint64_t i = 0; i < pieces / 3; i++) { /* the gateway has not heard of it */
            (void)fake_net_deliver(f.net);
            assert_int_equal(pop(&f), -ENODATA);
        }
        lks_ingress_producer_open(&f.producer, &f.offer);
        f.pushed = f.popped;
        for (uint32_t i = 0; i < 6; i++) {
            assert_int_equal(push(&f, 30 + i * 70), 0);
            assert_int_equal(lks_ingress_publish(&f.producer, false), 0);
        }
        while (fake_net_deliver(f.net)) {
            (void)pop(&f);
        }
        while (pop(&f) == 0) {
        }
        assert_int_equal(f.popped, f.pushed);
        assert_int_equal(f.consumer.damaged, 0);
        fixture_free(&f);
    }
}

struct storm {
    struct fixture f;
    bool offered; /* and on its way to the gateway */
};

static void storm_connection(struct storm *storm)
{
    struct fixture *f = &storm->f;
    if (fake_net_joined(f->net, GATEWAY, LEADER)) {
        fake_net_break(f->net, GATEWAY, LEADER);
        lks_ingress_producer_close(&f->producer);
        lks_ingress_consumer_close(&f->consumer);
        storm->offered = false;
        fake_net_join(f->net, GATEWAY, LEADER);
        struct lks_fabric_event events[8];
        (void)lks_fabric_poll(fake_net_fabric(f->net, GATEWAY), events, 8);
        (void)lks_fabric_poll(fake_net_fabric(f->net, LEADER), events, 8);
    }
}

static void storm_step(struct storm *storm)
{
    struct fixture *f = &storm->f;
    const uint64_t choice = fake_net_random(f->net, 1000);
    if (choice < 400) {
        for (uint64_t pieces = fake_net_random(f->net, 60); pieces > 0; pieces--) {
            (void)fake_net_deliver(f->net);
        }
    } else if (choice < 600 && f->pushed < f->popped + 500) {
        const bool large = f->pushed % 29 == 0; /* a size must follow from the sequence */
        (void)push(f, (uint32_t)(f->pushed * 7919 % (large ? 20000 : 300)));
    } else if (choice < 750) {
        (void)lks_ingress_publish(&f->producer, false);
    } else if (choice < 950) {
        while (pop(f) == 0) {
        }
        (void)lks_ingress_return_credits(&f->consumer);
    } else if (choice < 980) {
        if (!f->consumer.open || choice < 955) {
            lks_ingress_consumer_offer(&f->consumer, 1, &f->offer);
            storm->offered = true;
        }
    } else if (choice < 996 && storm->offered) {
        lks_ingress_producer_open(&f->producer, &f->offer);
        storm->offered = false;
        f->pushed = f->popped; /* everything not taken is repeated */
    } else if (choice >= 998) {
        storm_connection(storm);
    }
}

/* Once nothing old is under way, a new offer repairs whatever happened. */
static void expect_health(struct fixture *f)
{
    fake_net_deliver_all(f->net);
    lks_ingress_consumer_offer(&f->consumer, 2, &f->offer);
    lks_ingress_producer_open(&f->producer, &f->offer);
    f->pushed = f->popped;
    for (int i = 0; i < 100; i++) {
        push_through(f, 100);
        assert_int_equal(pop(f), 0);
    }
}

static void run_storm(const struct fake_net_options *options)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct storm storm = {.offered = false};
        struct fake_net_options own = *options;
        own.seed = seed;
        fixture_new(&storm.f, &own);
        for (int i = 0; i < 30000; i++) {
            storm_step(&storm);
        }
        assert_true(storm.f.popped > 200);
        assert_int_equal(storm.f.consumer.damaged > 0, options->late);
        expect_health(&storm.f);
        fixture_free(&storm.f);
    }
}

static void storm__offers_and_breaks__each_command_once_and_in_order(void **state)
{
    (void)state;
    run_storm(&(struct fake_net_options){.busy_percent = 10});
}

static void storm__old_writes_land_late__never_taken_for_new_ones(void **state)
{
    (void)state;
    run_storm(&(struct fake_net_options){.late = true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push__not_open__returns_ebroken),
        cmocka_unit_test(push__too_big__returns_etoobig),
        cmocka_unit_test(push__connection_broken__closes_the_producer),
        cmocka_unit_test(publish__small_ones__travel_together_and_are_seen_only_then),
        cmocka_unit_test(pop__every_size_around_the_lines__unchanged),
        cmocka_unit_test(pop__ring_goes_round__nothing_is_lost),
        cmocka_unit_test(pop__largest_commands_only__always_get_through),
        cmocka_unit_test(push__rest_of_the_ring_fits_exactly__goes_on_at_the_beginning),
        cmocka_unit_test(push__no_credit__busy_until_the_leader_gives_some_back),
        cmocka_unit_test(push__credit_for_the_record_but_not_for_the_skip__busy),
        cmocka_unit_test(push__fabric_too_busy__goes_on_where_it_stopped),
        cmocka_unit_test(push__another_command_in_the_middle_of_one__replaces_it),
        cmocka_unit_test(pop__any_byte_of_the_record_damaged__closed_and_repaired_by_an_offer),
        cmocka_unit_test(pop__any_byte_of_the_tail_word_damaged__never_takes_what_is_not_there),
        cmocka_unit_test(pop__hostile_records__closed_and_nothing_taken),
        cmocka_unit_test(pop__hostile_records_at_the_end__closed_and_nothing_read_behind_it),
        cmocka_unit_test(pop__skips_without_end__closed),
        cmocka_unit_test(pop__noise__survives),
        cmocka_unit_test(push__hostile_head_word__no_credit_that_was_not_used),
        cmocka_unit_test(offer__old_bytes_under_way__only_the_new_epoch_is_taken),
        cmocka_unit_test(storm__offers_and_breaks__each_command_once_and_in_order),
        cmocka_unit_test(storm__old_writes_land_late__never_taken_for_new_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
