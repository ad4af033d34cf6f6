/*
 * Footprints in the log: what the leader writes is what everybody reads, one key costs no bytes,
 * and whatever cannot be understood touches everything.
 */
#include "node/footprint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define PARTITIONS 64u

/* An entry as the journal would show it. */
struct logged {
    struct lks_entry_header header;
    uint8_t payload[LKS_ENTRY_FOOTPRINT_MAX + 8];
    struct lks_entry entry;
};

static void put(struct logged *logged, const struct lks_entry_footprint *footprint)
{
    *logged = (struct logged){.header = {.kind = LKS_ENTRY_COMMAND}};
    logged->header.footprint_bytes = footprint->bytes;
    logged->header.footprint_word = footprint->word;
    const uint32_t before = lks_entry_footprint_bytes(&logged->header);
    memcpy(logged->payload, footprint->data, before);
    memcpy(logged->payload + before, "command", 7);
    logged->header.payload_bytes = before + 7;
    logged->entry = (struct lks_entry){&logged->header, logged->payload};
}

static bool pass(const struct lks_footprint *written, struct lks_footprint *read)
{
    struct lks_entry_footprint footprint;
    struct logged logged;
    size_t bytes = 0;
    lks_footprint_encode(&footprint, PARTITIONS, written);
    put(&logged, &footprint);
    const void *command = lks_entry_command(&logged.entry, &bytes);
    assert_int_equal(bytes, 7);
    assert_memory_equal(command, "command", 7);
    return lks_footprint_decode(read, PARTITIONS, &logged.entry);
}

static void encode__one_key__lies_in_the_header(void **state)
{
    (void)state;
    const struct lks_footprint written = {
        .count = 1, .partitions = {5}, .keys_count = 1, .keys = {(64 * 7 + 5) << 1 | 1}};
    struct lks_entry_footprint footprint;
    struct lks_footprint read;
    lks_footprint_encode(&footprint, PARTITIONS, &written);
    assert_int_equal(footprint.bytes, LKS_ENTRY_FOOTPRINT_HERE);
    assert_true(pass(&written, &read));
    assert_int_equal(read.count, 1);
    assert_int_equal(read.partitions[0], 5);
    assert_int_equal(read.reads, 0);
    assert_int_equal(read.keys_count, 1);
    assert_int_equal(read.keys[0], written.keys[0]);
    assert_false(read.tied);
}

static void encode__several_keys__partitions_follow(void **state)
{
    (void)state;
    const uint64_t far = (UINT64_C(1) << 60) + 2; /* more bits than the log keeps */
    const struct lks_footprint written = {.count = 3,
                                          .tied = true,
                                          .partitions = {2, 9, 63},
                                          .keys_count = 4,
                                          .keys = {9 << 1, far << 1 | 1, 63 << 1, 73 << 1 | 1}};
    struct lks_footprint read;
    assert_true(pass(&written, &read));
    assert_true(read.tied);
    assert_int_equal(read.count, 3);
    assert_int_equal(read.partitions[0], 2);
    assert_int_equal(read.partitions[1], 9);
    assert_int_equal(read.partitions[2], 63);
    assert_int_equal(read.reads, 4); /* 9 is read by one key, and written by another */
    assert_int_equal(read.keys_count, 4);
    assert_int_equal(read.keys[1] >> 1, lks_footprint_identity(far, PARTITIONS));
}

static void encode__partitions_and_all__the_same_is_read(void **state)
{
    (void)state;
    struct lks_footprint read;
    struct lks_footprint written = {
        .count = 3, .reads = 5, .partitions = {0, 17, 40}};
    assert_true(pass(&written, &read));
    assert_int_equal(read.count, 3);
    assert_memory_equal(read.partitions, written.partitions, 6);
    assert_int_equal(read.reads, 5);
    assert_int_equal(read.keys_count, 0);
    written = (struct lks_footprint){.count = LKS_FOOTPRINT_ALL, .tied = true};
    assert_true(pass(&written, &read));
    assert_int_equal(read.count, LKS_FOOTPRINT_ALL);
    assert_true(read.tied);
    lks_footprint_clear(&written);
    assert_true(pass(&written, &read));
    assert_int_equal(read.count, 0);
    written.count = LKS_FOOTPRINT_MAX;
    for (uint16_t i = 0; i < LKS_FOOTPRINT_MAX; i++) {
        written.partitions[i] = (uint16_t)(i * 3);
    }
    assert_true(pass(&written, &read));
    assert_int_equal(read.count, LKS_FOOTPRINT_MAX);
    assert_memory_equal(read.partitions, written.partitions, sizeof written.partitions);
}

static void decode__what_makes_no_sense__touches_everything(void **state)
{
    (void)state;
    struct lks_entry_footprint good;
    const struct lks_footprint written = {.count = 2, .partitions = {3, 4}};
    lks_footprint_encode(&good, PARTITIONS, &written);
    for (unsigned i = 0; i < 6; i++) {
        struct lks_entry_footprint bad = good;
        struct logged logged;
        struct lks_footprint read;
        switch (i) {
        case 0: bad.data[0] = 8; break;                    /* an unknown flag */
        case 1: bad.data[0] = LKS_FOOTPRINT_FLAG_ALL; break; /* all, and words */
        case 2: bad.data[1] = 17; break;                   /* too many */
        case 3: bad.bytes = 16; break;                     /* too long for its words */
        case 4: bad.data[3] = 0x7f; break;                 /* no such partition */
        default: bad.bytes = 0; bad.word = 0; break;       /* none, as before version 3 */
        }
        put(&logged, &bad);
        assert_false(lks_footprint_decode(&read, PARTITIONS, &logged.entry));
        assert_int_equal(read.count, LKS_FOOTPRINT_ALL);
        assert_false(read.tied);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode__one_key__lies_in_the_header),
        cmocka_unit_test(encode__several_keys__partitions_follow),
        cmocka_unit_test(encode__partitions_and_all__the_same_is_read),
        cmocka_unit_test(decode__what_makes_no_sense__touches_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
