/*
 * The key-value service by itself: encoding, malformed commands (nothing crashes, nothing
 * changes), reads that equal their applied form, and integers.
 */
#include "services/kv/encode.h"
#include "services/kv/format.h"
#include "services/kv/hash.h"
#include "services/kv/kv.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COMMAND_BYTES_MAX 4096u
#define GARBAGE_ROUNDS 200000

static void *open_state(void)
{
    void *kv = NULL;
    const struct lks_service_options options = {.command_bytes_max = COMMAND_BYTES_MAX};
    assert_int_equal(lks_kv_service.open(&kv, &options), 0);
    return kv;
}

static uint64_t hash_all(void *kv)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < lks_kv_service.partitions; i++) {
        sum = sum * 31 + lks_kv_service.hash(kv, i);
    }
    return sum;
}

/* Applies bytes to a fresh copy of exactly their length and compares the reply. */
static void expect_bytes(void *kv, const void *data, size_t bytes, const char *wanted,
                         size_t wanted_bytes)
{
    struct lks_reply reply;
    lks_reply_init(&reply);
    void *copy = malloc(bytes > 0 ? bytes : 1);
    assert_non_null(copy);
    memcpy(copy, data, bytes);
    const struct lks_command command = {.index = 1, .data = copy, .bytes = bytes};
    lks_kv_service.apply(kv, &command, &reply);
    assert_int_equal(reply.bytes, wanted_bytes);
    assert_memory_equal(reply.data, wanted, reply.bytes);
    free(copy);
    lks_reply_fini(&reply);
}

#define EXPECT(bytes, wanted) \
    expect_bytes(kv, bytes, sizeof(bytes) - 1, wanted, sizeof(wanted) - 1)

static void apply__encoded_bytes__documented_format(void **state)
{
    (void)state;
    void *kv = open_state();
    EXPECT("\x02\x00\x01" "a" "12", "+OK\r\n"); /* SET a 12 */
    EXPECT("\x01" "a", "$2\r\n12\r\n");
    EXPECT("\x05\x01\x00\x00\x00\x00\x00\x00\x00" "a", ":13\r\n");
    EXPECT("\x05\xff\xff\xff\xff\xff\xff\xff\xff" "a", ":12\r\n");
    EXPECT("\x07\x04\x01" "a" "34", ":4\r\n");
    EXPECT("\x06" "a", ":4\r\n");
    EXPECT("\x04\x01" "a" "\x01" "b" "\x01" "a", ":2\r\n");
    EXPECT("\x08", ":1\r\n");
    EXPECT("\x03\x01" "a" "\x01" "b", ":1\r\n");
    EXPECT("\x09", "+OK\r\n");
    EXPECT("\x0b\x01" "a" "1", ":1\r\n"); /* SETNX */
    EXPECT("\x0b\x01" "a" "2", ":0\r\n");
    EXPECT("\x0c" "a", "$1\r\n1\r\n");
    EXPECT("\x0f\x08\x02\x00\x00\x00\x00\x00\x00\x00\x01" "axy", ":4\r\n");
    EXPECT("\x0e\x01\x00\x00\x00\x00\x00\x00\x00\xfe\xff\xff\xff\xff\xff\xff\xff" "a",
           "$2\r\n\0x\r\n");
    EXPECT("\x10\x03" "1.5" "f", "$3\r\n1.5\r\n");
    EXPECT("\x11\x01" "f\x01" "g", "*2\r\n$3\r\n1.5\r\n_\r\n");
    EXPECT("\x12\x01" "g\x01" "1\x01" "f\x01" "2", "+OK\r\n");
    EXPECT("\x13\x01" "h\x01" "1\x01" "f\x01" "3", ":0\r\n");
    EXPECT("\x14\x10\x64\x00\x00\x00\x00\x00\x00\x00" "g", ":1\r\n");
    EXPECT("\x15\x01" "g", ":100\r\n");
    EXPECT("\x0d\x03\x65\x00\x00\x00\x00\x00\x00\x00" "g", "$1\r\n1\r\n");
    EXPECT("\x15\x03" "g", ":101\r\n");
    EXPECT("\x16" "g", ":1\r\n");
    EXPECT("\x02\x30\x64\x00\x00\x00\x00\x00\x00\x00\x01" "g1", "+OK\r\n");
    EXPECT("\x15\x01" "g", ":100\r\n");
    EXPECT("\x17" "g", "+string\r\n");
    EXPECT("\x18" "g*", "*1\r\n$1\r\ng\r\n");
    EXPECT("\x19\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00" "g",
           "*2\r\n$1\r\n0\r\n*1\r\n$1\r\ng\r\n");
    EXPECT("\x03\x01" "f\x01" "a", ":2\r\n");
    EXPECT("\x1a", "$1\r\ng\r\n");
    lks_kv_service.close(kv);
}

static void apply__malformed__error_and_no_effect(void **state)
{
    (void)state;
    void *kv = open_state();
    EXPECT("\x02\x00\x01" "a" "12", "+OK\r\n");
    const uint64_t before = hash_all(kv);
    static const char wanted[] = "-ERR malformed command\r\n";
    EXPECT("\x07\x81\x80\x40\x01" "ax", wanted); /* APPEND, up to 1 MiB and a byte */
    EXPECT("", wanted);
    EXPECT("\x00", wanted);
    EXPECT("\x0b", wanted);
    EXPECT("\x1b", wanted); /* BURN without rounds, without keys, of too many rounds */
    EXPECT("\x1b\x00\x00\x00\x00\x00\x00\x00\x00", wanted);
    EXPECT("\x1b\x01\xe1\xf5\x05\x00\x00\x00\x00\x01" "a", wanted);
    EXPECT("\x1b\xff\xff\xff\xff\xff\xff\xff\xff\x01" "a", wanted);
    EXPECT("\x1b\x01\x00\x00\x00\x00\x00\x00\x00\x02" "a", wanted);
    EXPECT("\x1c", wanted);
    EXPECT("\xff" "a", wanted);
    EXPECT("\x02", wanted);
    EXPECT("\x02\xc0\x01" "a", wanted);
    EXPECT("\x02\x10\x01" "a", wanted);
    EXPECT("\x0b\x02" "a", wanted);
    EXPECT("\x0d", wanted);
    EXPECT("\x0d\x20" "a", wanted);
    EXPECT("\x0d\x01" "1234567", wanted);
    EXPECT("\x0e" "123456789012345", wanted);
    EXPECT("\x0f\x05\xff\xff\xff\xff\xff\xff\xff\xff\x01" "ab", wanted);
    EXPECT("\x10\x01" "xa", wanted);
    EXPECT("\x10\x09" "1", wanted);
    EXPECT("\x11", wanted);
    EXPECT("\x12\x01" "a", wanted);
    EXPECT("\x12\x01" "b\x01" "x\x01" "a", wanted);
    EXPECT("\x13\x01" "a\x02" "b", wanted);
    EXPECT("\x14\x80" "12345678a", wanted);
    EXPECT("\x14\x10" "1234567", wanted);
    EXPECT("\x15\x04" "a", wanted);
    EXPECT("\x19\x00" "1234567812345678", "*2\r\n$1\r\n0\r\n*0\r\n");
    EXPECT("\x19\x00" "12345678\x00\x00\x00\x00\x00\x00\x00\x00", wanted);
    EXPECT("\x19\x04" "1234567812345678", wanted);
    EXPECT("\x02\x00", wanted);
    EXPECT("\x02\x00\x02" "a", wanted);
    EXPECT("\x02\x00\xff\xff\xff\xff\xff\x01" "a", wanted);
    EXPECT("\x03", wanted);
    EXPECT("\x03\x01" "a" "\x05" "b", wanted);
    EXPECT("\x04\x80", wanted);
    EXPECT("\x05\x01\x00", wanted);
    EXPECT("\x07", wanted);
    EXPECT("\x07\x7f", wanted);
    EXPECT("\x07\x7f\x02" "a", wanted);
    assert_true(before == hash_all(kv));
    lks_kv_service.close(kv);
}

#define BURN(rounds) "\x1b" rounds "\x00\x00\x00\x00\x00\x00\x00\x01" "a\x01" "b"

static void burn__same_rounds__same_state_on_every_replica(void **state)
{
    (void)state;
    uint64_t hashes[2];
    for (int i = 0; i < 2; i++) {
        void *kv = open_state();
        EXPECT("\x02\x00\x01" "a" "12", "+OK\r\n");
        EXPECT(BURN("\x40"), "+OK\r\n");
        EXPECT("\x06" "a", ":16\r\n"); /* STRLEN */
        EXPECT("\x06" "b", ":16\r\n");
        EXPECT("\x08", ":2\r\n");
        hashes[i] = hash_all(kv);
        lks_kv_service.close(kv);
    }
    assert_true(hashes[0] == hashes[1]);
}

static void burn__another_order_or_once_more__another_state(void **state)
{
    (void)state;
    void *kv = open_state();
    EXPECT(BURN("\x40"), "+OK\r\n");
    EXPECT(BURN("\x41"), "+OK\r\n");
    const uint64_t one_way = hash_all(kv);
    EXPECT(BURN("\x41"), "+OK\r\n");
    assert_true(hash_all(kv) != one_way);
    lks_kv_service.close(kv);
    kv = open_state();
    EXPECT(BURN("\x41"), "+OK\r\n");
    EXPECT(BURN("\x40"), "+OK\r\n");
    assert_true(hash_all(kv) != one_way);
    lks_kv_service.close(kv);
}

static void apply__garbage__survives_one_value_each(void **state)
{
    (void)state;
    void *kv = open_state();
    struct lks_reply reply;
    lks_reply_init(&reply);
    unsigned seed = 3;
    for (int round = 0; round < GARBAGE_ROUNDS; round++) {
        const size_t bytes = (size_t)rand_r(&seed) % 24;
        unsigned char *data = malloc(bytes > 0 ? bytes : 1);
        assert_non_null(data);
        for (size_t i = 0; i < bytes; i++) {
            data[i] = (unsigned char)(rand_r(&seed) % (i < 3 ? 29 : 256));
        }
        const struct lks_command command = {.index = 1, .data = data, .bytes = bytes};
        lks_reply_clear(&reply);
        lks_kv_service.apply(kv, &command, &reply);
        assert_true(reply.bytes >= 3);
        assert_memory_equal(reply.data + reply.bytes - 2, "\r\n", 2);
        free(data);
    }
    lks_reply_fini(&reply);
    lks_kv_service.close(kv);
}

struct sample {
    enum lks_kv_request request;
    const char *words[4];
    size_t count;
};

static size_t encode(const struct sample *sample, uint8_t *out, struct lks_reply *reply)
{
    struct lks_argument args[4];
    for (size_t i = 0; i < sample->count; i++) {
        args[i] = (struct lks_argument){sample->words[i], strlen(sample->words[i])};
    }
    const struct lks_kv_arguments arguments = {args, sample->count, COMMAND_BYTES_MAX, 0};
    return lks_kv_encode(sample->request, &arguments, out, reply);
}

static void read__same_reply_as_apply_and_no_effect(void **state)
{
    (void)state;
    static const struct sample samples[] = {
        {LKS_KV_REQUEST_MSET, {"mset", "m", "1"}, 3},
        {LKS_KV_REQUEST_MGET, {"mget", "m", "x"}, 3},
        {LKS_KV_REQUEST_PEXPIRE, {"pexpire", "m", "1000"}, 3},
        {LKS_KV_REQUEST_PTTL, {"pttl", "m"}, 2},        {LKS_KV_REQUEST_TYPE, {"type", "m"}, 2},
        {LKS_KV_REQUEST_GETRANGE, {"getrange", "m", "0", "1"}, 4},
        {LKS_KV_REQUEST_KEYS, {"keys", "?"}, 2},        {LKS_KV_REQUEST_SCAN, {"scan", "0"}, 2},
        {LKS_KV_REQUEST_RANDOMKEY, {"randomkey"}, 1},
        {LKS_KV_REQUEST_SET, {"set", "a", "value"}, 3}, {LKS_KV_REQUEST_GET, {"get", "a"}, 2},
        {LKS_KV_REQUEST_GET, {"get", "b"}, 2},          {LKS_KV_REQUEST_STRLEN, {"strlen", "a"}, 2},
        {LKS_KV_REQUEST_EXISTS, {"exists", "a", "b", "a"}, 4},
        {LKS_KV_REQUEST_DBSIZE, {"dbsize"}, 1},         {LKS_KV_REQUEST_TIME, {"time"}, 1},
        {LKS_KV_REQUEST_DEL, {"del", "b"}, 2},          {LKS_KV_REQUEST_INCR, {"incr", "n"}, 2},
    };
    void *kv = open_state();
    struct lks_reply applied;
    struct lks_reply read;
    lks_reply_init(&applied);
    lks_reply_init(&read);
    size_t reads = 0;
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        uint8_t bytes[256];
        const size_t length = encode(&samples[i], bytes, &applied);
        assert_true(length > 0);
        const struct lks_command command = {.data = bytes, .bytes = length, .time_ns = 12345};
        lks_reply_clear(&applied);
        const uint64_t before = hash_all(kv);
        if (lks_kv_service.is_read(bytes, length)) {
            reads++;
            lks_reply_clear(&read);
            lks_kv_service.read(kv, &command, &read);
            lks_kv_service.apply(kv, &command, &applied);
            assert_int_equal(applied.bytes, read.bytes);
            assert_memory_equal(applied.data, read.data, read.bytes);
            assert_true(before == hash_all(kv));
        } else {
            lks_kv_service.apply(kv, &command, &applied);
        }
    }
    assert_int_equal(reads, 11);
    assert_false(lks_kv_service.is_read("", 0));
    lks_reply_fini(&applied);
    lks_reply_fini(&read);
    lks_kv_service.close(kv);
}

static void encode__within_announced_room(void **state)
{
    (void)state;
    static char key[300];
    struct lks_argument args[40];
    uint8_t *out;
    struct lks_reply reply;
    lks_reply_init(&reply);
    for (size_t count = 2; count <= 40; count++) {
        size_t bytes = 0;
        for (size_t i = 0; i < count; i++) {
            args[i] = (struct lks_argument){key, i * 7 % sizeof key};
            bytes += i > 0 ? args[i].bytes : 0;
        }
        out = malloc(bytes + LKS_KV_ENCODE_OVERHEAD(count));
        assert_non_null(out);
        const struct lks_kv_arguments arguments = {args, count, COMMAND_BYTES_MAX, 0};
        const size_t length = lks_kv_encode(LKS_KV_REQUEST_DEL, &arguments, out, &reply);
        assert_true(length > bytes);
        assert_true(length <= bytes + LKS_KV_ENCODE_OVERHEAD(count));
        free(out);
    }
    lks_reply_fini(&reply);
}

static void integers__parse_and_print(void **state)
{
    (void)state;
    static const char *const good[] = {"0",  "1",   "-1", "10", "9223372036854775807",
                                       "-9223372036854775808"};
    static const char *const bad[] = {"",   "-",  "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "x",
                                      "9223372036854775808", "-9223372036854775809",
                                      "123456789012345678901", "0x10"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value;
        char text[LKS_KV_INTEGER_BYTES_MAX];
        assert_true(lks_kv_integer_parse(good[i], strlen(good[i]), &value));
        assert_int_equal(lks_kv_integer_print(text, value), strlen(good[i]));
        assert_memory_equal(text, good[i], strlen(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value;
        assert_false(lks_kv_integer_parse(bad[i], strlen(bad[i]), &value));
    }
}

static void lengths__every_size__round_trip(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {0,       1,       127,        128,
                                       16383,   16384,   2097151,    2097152,
                                       1u << 28, UINT32_MAX, (UINT64_C(1) << 35) - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t bytes[LKS_KV_LENGTH_BYTES_MAX];
        uint64_t length = 0;
        const uint8_t *end = lks_kv_length_write(bytes, lengths[i]);
        assert_true(end <= bytes + sizeof bytes);
        assert_ptr_equal(lks_kv_length_read(bytes, end, &length), end);
        assert_true(length == lengths[i]);
        assert_null(lks_kv_length_read(bytes, end - 1, &length));
    }
}

/* A limit is part of the command: replicas agree whatever their configurations say. */
static void append__limit_in_the_command__decides(void **state)
{
    (void)state;
    void *kv = open_state();
    EXPECT("\x07\x03\x01" "a" "abc", ":3\r\n");
    EXPECT("\x07\x03\x01" "a" "d", "-ERR string exceeds maximum allowed size (entry_max)\r\n");
    EXPECT("\x07\x04\x01" "a" "d", ":4\r\n");
    EXPECT("\x07\x00\x01" "b" "x", "-ERR string exceeds maximum allowed size (entry_max)\r\n");
    EXPECT("\x08", ":1\r\n");
    lks_kv_service.close(kv);
}

static size_t heap_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Flushing small tables again and again leaves nothing behind. */
static void flushall__repeated__no_growth(void **state)
{
    (void)state;
    void *kv = open_state();
    size_t before = 0;
    for (int round = 0; round < 3000; round++) {
        EXPECT("\x02\x00\x01" "a" "1", "+OK\r\n");
        EXPECT("\x02\x00\x01" "b" "1", "+OK\r\n");
        EXPECT("\x09", "+OK\r\n");
        before = round == 10 ? heap_bytes() : before;
    }
    assert_true(heap_bytes() <= before + 65536); /* both 0 under a sanitizer */
    lks_kv_service.close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apply__encoded_bytes__documented_format),
        cmocka_unit_test(apply__malformed__error_and_no_effect),
        cmocka_unit_test(burn__same_rounds__same_state_on_every_replica),
        cmocka_unit_test(burn__another_order_or_once_more__another_state),
        cmocka_unit_test(apply__garbage__survives_one_value_each),
        cmocka_unit_test(read__same_reply_as_apply_and_no_effect),
        cmocka_unit_test(append__limit_in_the_command__decides),
        cmocka_unit_test(flushall__repeated__no_growth),
        cmocka_unit_test(encode__within_announced_room),
        cmocka_unit_test(integers__parse_and_print),
        cmocka_unit_test(lengths__every_size__round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
