/* The ingress ring against whatever a broken gateway, or a broken leader, may write. */
#include "node/ingress.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "tests/unit/node/ingress_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Every byte of the record: the leader takes nothing, counts it, and a new offer repairs it. */
static void pop__any_byte_of_the_record_damaged__closed_and_repaired_by_an_offer(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    const uint32_t bytes = 100;
    for (uint32_t i = 0; i < sizeof(struct lks_ingress_header) + bytes; i++) {
        const uint64_t damaged = f.consumer.damaged;
        rig_push_through(&f, bytes);
        rig_ring(&f)[i] ^= (uint8_t)(1u << i % 8);
        assert_int_equal(rig_pop(&f), -EBADMSG);
        assert_int_equal(f.consumer.damaged, damaged + 1);
        assert_int_equal(rig_pop(&f), -ENODATA);
        lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
        lks_ingress_producer_open(&f.producer, &f.offer);
        f.pushed--;
        rig_push_through(&f, bytes);
        assert_int_equal(rig_pop(&f), 0);
        lks_ingress_consumer_offer(&f.consumer, 1, &f.offer);
        lks_ingress_producer_open(&f.producer, &f.offer);
    }
    rig_free(&f);
}

static void pop__any_byte_of_the_tail_word_damaged__never_takes_what_is_not_there(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        struct ingress_rig f;
        rig_open(&f);
        rig_push_through(&f, 10);
        rig_push_through(&f, 10);
        lks_word *tail = &rig_words(&f, LEADER)->tail;
        lks_word_publish(tail, lks_word_read(tail) ^ UINT64_C(1) << bit);
        int rc = 0;
        for (int i = 0; i < 4 && rc == 0; i++) {
            rc = rig_pop(&f); /* compares what it gets */
        }
        assert_true(rc == -ENODATA || rc == -EBADMSG);
        rig_free(&f);
    }
}

/* A record whose checksums are right and whose content no gateway of ours would write. */
static void write_record(struct ingress_rig *f, uint32_t place, struct lks_ingress_header header,
                         uint32_t data_bytes)
{
    uint8_t *record = rig_ring(f) + place;
    header.checksum = lks_crc32c(0, &header.bytes, sizeof header - 4);
    header.checksum = lks_crc32c(header.checksum, record + sizeof header, data_bytes);
    memcpy(record, &header, sizeof header);
}

static void set_tail(struct ingress_rig *f, uint64_t lines)
{
    rig_push_through(f, 0); /* learns the tag of the epoch from a true word */
    lks_word *tail = &rig_words(f, LEADER)->tail;
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
        struct ingress_rig f;
        struct lks_ingress_command command;
        rig_open(&f);
        set_tail(&f, cases[i].tail_lines);
        struct lks_ingress_header header = cases[i].header;
        header.epoch += f.offer.epoch; /* 0 in the table: the right one */
        write_record(&f, 0, header, cases[i].data_bytes);
        assert_int_equal(lks_ingress_pop(&f.consumer, &command), -EBADMSG);
        assert_int_equal(f.consumer.damaged, 1);
        rig_free(&f);
    }
}

/* Near the end of the ring: a record that would reach past it, and a skip that is damaged. */
static void pop__hostile_records_at_the_end__closed_and_nothing_read_behind_it(void **state)
{
    (void)state;
    for (uint32_t i = 0; i <= sizeof(struct lks_ingress_header); i += 4) { /* each field */
        struct ingress_rig f;
        struct lks_ingress_command command;
        rig_open(&f);
        const uint32_t record = LKS_INGRESS_RING_BYTES / 8 / 64 * 64;
        while (f.producer.place + record < LKS_INGRESS_RING_BYTES) {
            rig_push_through(&f, record - 32);
            assert_int_equal(rig_pop(&f), 0);
            assert_int_equal(lks_ingress_return_credits(&f.consumer), 0);
        }
        const uint32_t place = f.producer.place;
        rig_push_through(&f, record); /* does not fit: a skip and a record */
        if (i < sizeof(struct lks_ingress_header)) {
            rig_ring(&f)[place + i] ^= (uint8_t)(1u << i % 8);
        } else {
            const struct lks_ingress_header header = {.bytes = LKS_INGRESS_RING_BYTES - place,
                                                      .epoch = f.offer.epoch,
                                                      .session = SESSION,
                                                      .sequence = 1};
            write_record(&f, place, header, header.bytes - 32);
        }
        assert_int_equal(lks_ingress_pop(&f.consumer, &command), -EBADMSG);
        rig_free(&f);
    }
}

static void pop__skips_without_end__closed(void **state)
{
    (void)state;
    struct ingress_rig f;
    struct lks_ingress_command command;
    rig_open(&f);
    set_tail(&f, LKS_INGRESS_RING_BYTES / 64);
    write_record(&f, 0,
                 (struct lks_ingress_header){.bytes = LKS_INGRESS_SKIP, .epoch = f.offer.epoch},
                 0);
    assert_int_not_equal(lks_ingress_pop(&f.consumer, &command), 0);
    rig_free(&f);
}

/* Whatever bytes and words stand there, the leader survives and gives out no command. */
static void pop__noise__survives(void **state)
{
    (void)state;
    struct ingress_rig f;
    struct lks_ingress_command command;
    rig_open(&f);
    rig_push_through(&f, 0);
    assert_int_equal(rig_pop(&f), 0);
    const uint64_t tag = lks_word_read(&rig_words(&f, LEADER)->tail) >> 40 << 40;
    srand(4);
    for (int round = 0; round < 20000; round++) {
        uint8_t *ring = rig_ring(&f);
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
        lks_word_publish(&rig_words(&f, LEADER)->tail, tag | (uint64_t)rand());
        const int rc = lks_ingress_pop(&f.consumer, &command);
        assert_true(rc == -ENODATA || rc == -EBADMSG || command.bytes < 33);
        if (rc == -EBADMSG) {
            f.consumer.open = true; /* the same offer again, so that the tag stays known */
        }
    }
    rig_free(&f);
}

static void push__hostile_head_word__no_credit_that_was_not_used(void **state)
{
    (void)state;
    struct ingress_rig f;
    rig_open(&f);
    int rc = 0;
    while (rc == 0) {
        rc = rig_push(&f, 8000);
        (void)lks_ingress_publish(&f.producer, false);
        fake_net_deliver_all(f.net);
    }
    const uint64_t tag = lks_word_read(&rig_words(&f, LEADER)->tail) >> 40 << 40;
    const uint64_t published = f.producer.published;
    const uint64_t words[] = {
        published,       tag | (published + 1),     tag | (published + LKS_INGRESS_RING_BYTES),
        tag | ~tag,      (tag + (UINT64_C(1) << 40)) | published, UINT64_MAX};
    for (size_t i = 0; i < LKS_COUNT_OF(words); i++) {
        lks_word_publish(&rig_words(&f, GATEWAY)->head, words[i]);
        assert_int_equal(rig_push(&f, 8000), -LKS_EBUSY);
        assert_int_equal(f.producer.taken, 0);
    }
    lks_word_publish(&rig_words(&f, GATEWAY)->head, tag | published);
    assert_int_equal(rig_push(&f, 8000), 0);
    rig_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pop__any_byte_of_the_record_damaged__closed_and_repaired_by_an_offer),
        cmocka_unit_test(pop__any_byte_of_the_tail_word_damaged__never_takes_what_is_not_there),
        cmocka_unit_test(pop__hostile_records__closed_and_nothing_taken),
        cmocka_unit_test(pop__hostile_records_at_the_end__closed_and_nothing_read_behind_it),
        cmocka_unit_test(pop__skips_without_end__closed),
        cmocka_unit_test(pop__noise__survives),
        cmocka_unit_test(push__hostile_head_word__no_credit_that_was_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
