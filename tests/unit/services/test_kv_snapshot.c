/*
 * Snapshots of the key-value service: what is frozen is what is restored, whatever is done
 * meanwhile; each step does bounded work; chunks that no snapshot has written are refused, and
 * leave nothing behind. The hash of a partition depends on its content alone.
 */
#include "services/kv/encode.h"
#include "services/kv/hash.h"
#include "services/kv/kv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COMMAND_BYTES_MAX (256u << 10)
#define STEP_BYTES 4096u
#define CHUNKS_MAX 4096u

/* What a snapshot wrote. */
struct medium {
    unsigned char *chunks[CHUNKS_MAX];
    size_t bytes[CHUNKS_MAX];
    size_t count;
    size_t fail_at; /* calls until one fails; 0: none */
};

static int medium_write(void *ctx, const void *data, size_t bytes)
{
    struct medium *medium = ctx;
    if (medium->fail_at > 0 && --medium->fail_at == 0) {
        return -ENOSPC;
    }
    assert_true(medium->count < CHUNKS_MAX);
    medium->chunks[medium->count] = malloc(bytes);
    assert_non_null(medium->chunks[medium->count]);
    memcpy(medium->chunks[medium->count], data, bytes);
    medium->bytes[medium->count] = bytes;
    medium->count++;
    return 0;
}

static void medium_clear(struct medium *medium)
{
    for (size_t i = 0; i < medium->count; i++) {
        free(medium->chunks[i]);
    }
    medium->count = 0;
}

static void *open_state(void)
{
    void *kv = NULL;
    const struct lks_service_options options = {.command_bytes_max = COMMAND_BYTES_MAX};
    assert_int_equal(lks_kv_service.open(&kv, &options), 0);
    return kv;
}

static void run(void *kv, enum lks_kv_request request, const char *key, const char *value,
                size_t value_bytes)
{
    const struct lks_argument args[] = {{"", 0}, {key, strlen(key)}, {value, value_bytes}};
    uint8_t *bytes = malloc(value_bytes + strlen(key) + LKS_KV_ENCODE_OVERHEAD(3));
    struct lks_reply reply;
    lks_reply_init(&reply);
    assert_non_null(bytes);
    const bool alone = request == LKS_KV_REQUEST_FLUSHALL;
    const struct lks_kv_arguments arguments = {args, value != NULL ? 3 : (alone ? 1 : 2),
                                               COMMAND_BYTES_MAX, 0};
    const size_t length = lks_kv_encode(request, &arguments, bytes, &reply);
    assert_true(length > 0);
    const struct lks_command command = {.data = bytes, .bytes = length};
    lks_kv_service.apply(kv, &command, &reply);
    free(bytes);
    lks_reply_fini(&reply);
}

static void set(void *kv, const char *key, const char *value)
{
    run(kv, LKS_KV_REQUEST_SET, key, value, strlen(value));
}

/* Some thousand keys, among them an empty one, empty values and one longer than a chunk. */
static void fill(void *kv, int keys)
{
    char key[32];
    char value[300];
    for (int i = 0; i < keys; i++) {
        (void)sprintf(key, "key:%d", i);
        memset(value, 'a' + i % 26, sizeof value);
        run(kv, LKS_KV_REQUEST_SET, key, value, (size_t)(i % 300));
    }
    static char large[200000];
    run(kv, LKS_KV_REQUEST_SET, "large", large, sizeof large);
    set(kv, "", "");
}

static int step(void *kv, uint32_t partition, struct medium *medium, bool *done)
{
    const struct lks_snapshot_writer writer = {medium_write, medium};
    return lks_kv_service.snapshot_step(kv, partition, &writer, STEP_BYTES, done);
}

static int snapshot(void *kv, uint32_t partition, struct medium *medium)
{
    bool done = false;
    int result = 0;
    (void)lks_kv_service.snapshot_begin(kv, partition);
    while (result == 0 && !done) {
        result = step(kv, partition, medium, &done);
    }
    lks_kv_service.snapshot_end(kv, partition);
    return result;
}

/* Chunks in copies of exactly their length. */
static int restore(void *kv, uint32_t partition, const struct medium *medium)
{
    int result = 0;
    lks_kv_service.restore_begin(kv, partition);
    for (size_t i = 0; result == 0 && i < medium->count; i++) {
        result = lks_kv_service.restore_chunk(kv, partition, medium->chunks[i], medium->bytes[i]);
    }
    return result == 0 ? lks_kv_service.restore_end(kv, partition) : result;
}

static uint32_t partition_of(const char *key)
{
    return lks_kv_partition(lks_kv_hash(key, strlen(key)));
}

static void every_partition__round_trip__same_hash(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    fill(from, 5000);
    set(to, "stale", "content"); /* replaced by the restore */
    for (uint32_t i = 0; i < lks_kv_service.partitions; i++) {
        struct medium medium = {.count = 0};
        assert_int_equal(snapshot(from, i, &medium), 0);
        assert_int_equal(restore(to, i, &medium), 0);
        assert_true(lks_kv_service.hash(from, i) == lks_kv_service.hash(to, i));
        medium_clear(&medium);
    }
    lks_kv_service.close(from);
    lks_kv_service.close(to);
}

/* One random command of some keys that share few partitions. */
static void random_command(void *kv, unsigned *seed, int keys)
{
    char key[32];
    char value[2000];
    (void)sprintf(key, "key:%d", rand_r(seed) % keys);
    const size_t bytes = (size_t)rand_r(seed) % (rand_r(seed) % 8 == 0 ? sizeof value : 60);
    memset(value, rand_r(seed), sizeof value);
    const int choice = rand_r(seed) % 1000;
    if (choice == 0) {
        run(kv, LKS_KV_REQUEST_FLUSHALL, "", NULL, 0);
    } else if (choice < 450) {
        run(kv, LKS_KV_REQUEST_SET, key, value, bytes);
    } else if (choice < 650) {
        run(kv, LKS_KV_REQUEST_APPEND, key, value, bytes);
    } else if (choice < 680) {
        run(kv, LKS_KV_REQUEST_INCR, key, NULL, 0);
    } else if (choice < 740) {
        (void)sprintf(value, "%d", rand_r(seed) % 100000 + 1);
        run(kv, LKS_KV_REQUEST_EXPIRE, key, value, strlen(value));
    } else if (choice < 760) {
        run(kv, LKS_KV_REQUEST_PERSIST, key, NULL, 0);
    } else {
        run(kv, LKS_KV_REQUEST_DEL, key, NULL, 0);
    }
}

/* Several partitions are frozen at different times, one of them also given up and begun again. */
static void random_commands_between_steps__frozen_content_restored(void **state)
{
    (void)state;
    static struct medium media[3];
    for (unsigned round = 0; round < 60; round++) {
        unsigned seed = round;
        void *live = open_state();
        void *to = open_state();
        uint64_t frozen[3] = {0};
        bool done[3] = {false};
        bool begun[3] = {false};
        const int keys = round % 3 == 0 ? 500 : 20000;
        for (int i = 0; i < keys * 2; i++) {
            random_command(live, &seed, keys);
        }
        while (!done[0] || !done[1] || !done[2]) {
            const uint32_t p = (uint32_t)rand_r(&seed) % 3;
            for (int i = rand_r(&seed) % 300; i > 0; i--) {
                random_command(live, &seed, keys);
            }
            if (!begun[p] || (!done[p] && rand_r(&seed) % 200 == 0)) {
                medium_clear(&media[p]);
                if (begun[p]) {
                    lks_kv_service.snapshot_end(live, p);
                }
                frozen[p] = lks_kv_service.hash(live, p);
                (void)lks_kv_service.snapshot_begin(live, p);
                begun[p] = true;
            } else if (!done[p]) {
                assert_int_equal(step(live, p, &media[p], &done[p]), 0);
            }
        }
        for (uint32_t p = 0; p < 3; p++) {
            lks_kv_service.snapshot_end(live, p);
            assert_int_equal(restore(to, p, &media[p]), 0);
            assert_true(lks_kv_service.hash(to, p) == frozen[p]);
            medium_clear(&media[p]);
        }
        assert_int_equal(lks_kv_service.snapshot_kept(live), 0);
        lks_kv_service.close(live);
        lks_kv_service.close(to);
    }
}

/* The work of a step has a bound; what is kept goes back as it is written. */
static void step__bounded_and_kept_memory_given_back(void **state)
{
    (void)state;
    void *kv = open_state();
    struct medium medium = {.count = 0};
    bool done = false;
    char key[32];
    for (int i = 0; i < 100000; i++) {
        (void)sprintf(key, "key:%d", i);
        set(kv, key, "some value of a common length, not long");
    }
    const uint64_t expected = lks_kv_service.snapshot_begin(kv, 5);
    assert_int_equal(lks_kv_service.snapshot_kept(kv), 0);
    for (int i = 0; i < 100000; i++) {
        (void)sprintf(key, "key:%d", i);
        run(kv, LKS_KV_REQUEST_APPEND, key, "more", 4);
    }
    uint64_t kept = lks_kv_service.snapshot_kept(kv);
    assert_true(kept > expected && kept < 3 * expected);
    size_t total = 0;
    while (!done) {
        const size_t before = medium.count;
        assert_int_equal(step(kv, 5, &medium, &done), 0);
        assert_true(medium.count <= before + 1);
        if (medium.count > before) {
            assert_true(medium.bytes[before] <= STEP_BYTES + 200);
            total += medium.bytes[before];
        }
        assert_true(lks_kv_service.snapshot_kept(kv) <= kept);
        kept = lks_kv_service.snapshot_kept(kv);
    }
    assert_int_equal(kept, 0);
    assert_true(total >= expected && total < expected + expected / 8);
    lks_kv_service.snapshot_end(kv, 5);
    (void)lks_kv_service.snapshot_begin(kv, 6);
    run(kv, LKS_KV_REQUEST_FLUSHALL, "", NULL, 0);
    assert_true(lks_kv_service.snapshot_kept(kv) > expected / 2);
    lks_kv_service.snapshot_end(kv, 6);
    assert_int_equal(lks_kv_service.snapshot_kept(kv), 0);
    int ticks = 0;
    while (lks_kv_service.tick(kv, 1)) {
        ticks++;
    }
    assert_true(ticks > 1000); /* the memory of 100000 keys in bounded steps */
    medium_clear(&medium);
    lks_kv_service.close(kv);
}

static void expect_refused(void *to, void *empty, uint32_t partition, const struct medium *medium)
{
    assert_int_equal(restore(to, partition, medium), -EBADMSG);
    assert_true(lks_kv_service.hash(to, partition) == lks_kv_service.hash(empty, partition));
}

static void chunks__any_bit_damaged_or_cut__refused_and_empty(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    void *empty = open_state();
    fill(from, 600);
    const uint32_t partition = partition_of("key:1");
    struct medium medium = {.count = 0};
    assert_int_equal(snapshot(from, partition, &medium), 0);
    for (size_t c = 0; c < medium.count; c++) {
        const size_t whole = medium.bytes[c];
        const size_t stride = whole > 20000 ? whole / 500 : 1;
        for (size_t i = 0; i < whole; i += i < 2000 ? 1 : stride) {
            medium.chunks[c][i] ^= (unsigned char)(1u << i % 8);
            expect_refused(to, empty, partition, &medium);
            medium.chunks[c][i] ^= (unsigned char)(1u << i % 8);
        }
        unsigned char *chunk = medium.chunks[c];
        for (size_t bytes = 0; bytes < whole; bytes += bytes < 2000 ? 1 : stride) {
            unsigned char *cut = malloc(bytes + 1);
            assert_non_null(cut);
            memcpy(cut, chunk, bytes);
            medium.chunks[c] = cut;
            medium.bytes[c] = bytes;
            expect_refused(to, empty, partition, &medium);
            free(cut);
        }
        medium.chunks[c] = chunk;
        medium.bytes[c] = whole;
    }
    assert_int_equal(restore(to, partition, &medium), 0);
    assert_true(lks_kv_service.hash(to, partition) == lks_kv_service.hash(from, partition));
    medium_clear(&medium);
    lks_kv_service.close(from);
    lks_kv_service.close(to);
    lks_kv_service.close(empty);
}

/* Left out, twice, in another order, of another partition, of another snapshot, too few. */
static void chunks__not_as_written__refused(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    void *empty = open_state();
    fill(from, 40000);
    const uint32_t partition = partition_of("key:1");
    struct medium medium = {.count = 0};
    struct medium other = {.count = 0};
    assert_int_equal(snapshot(from, partition, &medium), 0);
    set(from, "key:1", "changed");
    assert_int_equal(snapshot(from, partition, &other), 0);
    assert_true(medium.count > 3 && other.count > 3);
    expect_refused(to, empty, (partition + 1) % 64, &medium);
    struct medium bad;
    for (size_t i = 0; i < medium.count; i++) {
        bad = medium; /* left out */
        bad.count--;
        memmove(&bad.chunks[i], &bad.chunks[i + 1], (bad.count - i) * sizeof bad.chunks[0]);
        memmove(&bad.bytes[i], &bad.bytes[i + 1], (bad.count - i) * sizeof bad.bytes[0]);
        expect_refused(to, empty, partition, &bad);
        bad = medium; /* twice */
        memmove(&bad.chunks[i + 1], &bad.chunks[i], (bad.count - i) * sizeof bad.chunks[0]);
        memmove(&bad.bytes[i + 1], &bad.bytes[i], (bad.count - i) * sizeof bad.bytes[0]);
        bad.count++;
        expect_refused(to, empty, partition, &bad);
        bad = medium; /* the rest of another snapshot */
        memcpy(&bad.chunks[i], &other.chunks[i], (medium.count - i) * sizeof bad.chunks[0]);
        memcpy(&bad.bytes[i], &other.bytes[i], (medium.count - i) * sizeof bad.bytes[0]);
        if (i > 0 && medium.count == other.count) {
            const bool same = memcmp(medium.chunks[i - 1], other.chunks[i - 1], 8) == 0;
            assert_int_equal(restore(to, partition, &bad), same ? 0 : -EBADMSG);
        }
    }
    assert_int_equal(lks_kv_service.restore_end(to, 3), -EBADMSG); /* never begun */
    assert_int_equal(
        lks_kv_service.restore_chunk(to, partition, medium.chunks[0], medium.bytes[0]), -EBADMSG);
    medium_clear(&medium);
    medium_clear(&other);
    lks_kv_service.close(from);
    lks_kv_service.close(to);
    lks_kv_service.close(empty);
}

static void writer__fails__code_passed_on_and_next_snapshot_whole(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    fill(from, 20000);
    const uint32_t partition = partition_of("large");
    int result = -ENOSPC;
    for (size_t call = 1; result != 0; call++) {
        struct medium failing = {.fail_at = call};
        result = snapshot(from, partition, &failing);
        assert_true(result == 0 || (result == -ENOSPC && failing.count == call - 1));
        medium_clear(&failing);
    }
    struct medium medium = {.count = 0};
    assert_int_equal(snapshot(from, partition, &medium), 0);
    assert_int_equal(restore(to, partition, &medium), 0);
    assert_true(lks_kv_service.hash(to, partition) == lks_kv_service.hash(from, partition));
    medium_clear(&medium);
    lks_kv_service.close(from);
    lks_kv_service.close(to);
}

static void hash__same_content_by_another_way__equal(void **state)
{
    (void)state;
    void *a = open_state();
    void *b = open_state();
    char key[32];
    for (int i = 0; i < 3000; i++) {
        (void)sprintf(key, "key:%d", i);
        set(a, key, key);
    }
    for (int i = 9000; i > 0; i--) { /* other order, overwritten, other tables' sizes */
        (void)sprintf(key, "key:%d", i - 1);
        set(b, key, "other");
    }
    for (int i = 8999; i >= 0; i--) {
        (void)sprintf(key, "key:%d", i);
        if (i >= 3000) {
            run(b, LKS_KV_REQUEST_DEL, key, NULL, 0);
        } else {
            set(b, key, key);
        }
    }
    for (uint32_t i = 0; i < lks_kv_service.partitions; i++) {
        assert_true(lks_kv_service.hash(a, i) == lks_kv_service.hash(b, i));
    }
    const uint32_t partition = partition_of("key:7");
    set(b, "key:7", "key:8");
    assert_true(lks_kv_service.hash(a, partition) != lks_kv_service.hash(b, partition));
    set(b, "key:7", "key:7");
    assert_true(lks_kv_service.hash(a, partition) == lks_kv_service.hash(b, partition));
    lks_kv_service.close(a);
    lks_kv_service.close(b);
}

/* What a younger snapshot holds already is left alone; the rest of the command takes effect. */
static void only__excluded_partitions_left_alone(void **state)
{
    (void)state;
    void *kv = open_state();
    void *wanted = open_state();
    const char *included = "a";
    char excluded[8] = "b";
    while (partition_of(excluded) == partition_of(included)) {
        excluded[0]++;
    }
    const uint64_t only = UINT64_C(1) << partition_of(included);
    struct lks_reply reply;
    lks_reply_init(&reply);
    uint8_t set_it[] = {2, 0, 1, (uint8_t)excluded[0], 'x'};
    uint8_t set_other[] = {2, 0, 1, 'a', 'x'};
    uint8_t del[] = {3, 1, 'a', 1, (uint8_t)excluded[0]};
    uint8_t flush[] = {9};
    set(kv, included, "1");
    set(kv, excluded, "1");
    set(wanted, excluded, "1");
    const struct lks_command commands[] = {
        {.data = set_it, .bytes = sizeof set_it, .only = &only},
        {.data = del, .bytes = sizeof del, .only = &only},
        {.data = set_other, .bytes = sizeof set_other, .only = &only},
        {.data = flush, .bytes = sizeof flush, .only = &only}};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        lks_reply_clear(&reply);
        lks_kv_service.apply(kv, &commands[i], &reply);
        assert_true(reply.bytes >= 3);
    }
    for (uint32_t i = 0; i < lks_kv_service.partitions; i++) {
        assert_true(lks_kv_service.hash(kv, i) == lks_kv_service.hash(wanted, i));
    }
    lks_reply_fini(&reply);
    lks_kv_service.close(kv);
    lks_kv_service.close(wanted);
}

static void expect_footprint(const char *bytes, size_t length, const char *keys)
{
    struct lks_footprint footprint;
    uint64_t wanted = 0;
    uint64_t got = 0;
    lks_kv_service.footprint(bytes, length, &footprint);
    for (; *keys != '\0'; keys++) {
        wanted |= UINT64_C(1) << lks_kv_partition(lks_kv_hash(keys, 1));
    }
    assert_true(footprint.count <= LKS_FOOTPRINT_MAX);
    for (uint32_t i = 0; i < footprint.count; i++) {
        assert_true(i == 0 || footprint.partitions[i] > footprint.partitions[i - 1]);
        got |= UINT64_C(1) << footprint.partitions[i];
    }
    assert_true(got == wanted);
    assert_false(footprint.tied);
}

static void footprint__partitions_of_the_keys(void **state)
{
    (void)state;
    struct lks_footprint footprint;
    expect_footprint("", 0, "");
    expect_footprint("\x01" "a", 2, "a");
    expect_footprint("\x02\x00\x01" "ab", 5, "a");
    expect_footprint("\x03\x01" "a\x01" "c\x01" "b\x01" "a", 9, "abc");
    expect_footprint("\x05\x01\x00\x00\x00\x00\x00\x00\x00" "a", 10, "a");
    expect_footprint("\x07\x04\x01" "a" "34", 6, "a");
    expect_footprint("\x1b\x01\x00\x00\x00\x00\x00\x00\x00\x01" "a\x01" "b", 13, "ab");
    lks_kv_service.footprint("\x1b\x01\x00\x00\x00\x00\x00\x00\x00\x01" "a", 11, &footprint);
    assert_int_equal(footprint.reads, 0); /* written */
    expect_footprint("\x0a", 1, "");
    expect_footprint("\x05\x01", 2, "");
    expect_footprint("\x02", 1, "");
    lks_kv_service.footprint("\x09", 1, &footprint);
    assert_true(footprint.count == LKS_FOOTPRINT_ALL && !footprint.tied);
    char many[1 + 2 * 60];
    many[0] = 3;
    for (int i = 0; i < 60; i++) {
        many[1 + 2 * i] = 1;
        many[2 + 2 * i] = (char)('!' + i);
    }
    lks_kv_service.footprint(many, sizeof many, &footprint);
    assert_true(footprint.count == LKS_FOOTPRINT_ALL && !footprint.tied);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_partition__round_trip__same_hash),
        cmocka_unit_test(random_commands_between_steps__frozen_content_restored),
        cmocka_unit_test(step__bounded_and_kept_memory_given_back),
        cmocka_unit_test(chunks__any_bit_damaged_or_cut__refused_and_empty),
        cmocka_unit_test(chunks__not_as_written__refused),
        cmocka_unit_test(writer__fails__code_passed_on_and_next_snapshot_whole),
        cmocka_unit_test(only__excluded_partitions_left_alone),
        cmocka_unit_test(footprint__partitions_of_the_keys),
        cmocka_unit_test(hash__same_content_by_another_way__equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
