/*
 * Snapshots of the key-value service: round trips, every single byte damaged, every length cut,
 * partitions mixed up, failing writers and readers. The hash of a partition depends on its
 * content alone.
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

struct medium {
    unsigned char *data;
    size_t bytes;
    size_t position;
    size_t fail_at; /* calls until one fails; 0: none */
};

static int medium_write(void *ctx, const void *data, size_t bytes)
{
    struct medium *medium = ctx;
    if (medium->fail_at > 0 && --medium->fail_at == 0) {
        return -ENOSPC;
    }
    medium->data = realloc(medium->data, medium->bytes + bytes);
    assert_non_null(medium->data);
    memcpy(medium->data + medium->bytes, data, bytes);
    medium->bytes += bytes;
    return 0;
}

static int medium_read(void *ctx, void *data, size_t bytes)
{
    struct medium *medium = ctx;
    if (medium->fail_at > 0 && --medium->fail_at == 0) {
        return -EIO;
    }
    if (bytes > medium->bytes - medium->position) {
        return -EBADMSG;
    }
    memcpy(data, medium->data + medium->position, bytes);
    medium->position += bytes;
    return 0;
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
    const struct lks_argument args[] = {
        {"", 0}, {key, strlen(key)}, {value, value_bytes}};
    uint8_t *bytes = malloc(value_bytes + strlen(key) + LKS_KV_ENCODE_OVERHEAD(3));
    struct lks_reply reply;
    lks_reply_init(&reply);
    assert_non_null(bytes);
    const struct lks_kv_arguments arguments = {args, value != NULL ? 3 : 2, COMMAND_BYTES_MAX};
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

static int snapshot(void *kv, uint32_t partition, struct medium *medium)
{
    const struct lks_snapshot_writer writer = {medium_write, medium};
    return lks_kv_service.snapshot(kv, partition, &writer);
}

static int restore(void *kv, uint32_t partition, struct medium *medium)
{
    const struct lks_snapshot_reader reader = {medium_read, medium};
    medium->position = 0;
    return lks_kv_service.restore(kv, partition, &reader);
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
        struct medium medium = {0};
        assert_int_equal(snapshot(from, i, &medium), 0);
        assert_int_equal(restore(to, i, &medium), 0);
        assert_int_equal(medium.position, medium.bytes);
        assert_true(lks_kv_service.hash(from, i) == lks_kv_service.hash(to, i));
        free(medium.data);
    }
    lks_kv_service.close(from);
    lks_kv_service.close(to);
}

static void snapshot__any_byte_damaged__refused_and_empty(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    void *empty = open_state();
    fill(from, 600);
    const uint32_t partition = partition_of("key:1");
    struct medium medium = {0};
    assert_int_equal(snapshot(from, partition, &medium), 0);
    assert_true(medium.bytes > 500);
    const size_t step = medium.bytes > 20000 ? medium.bytes / 20000 : 1;
    for (size_t i = 0; i < medium.bytes; i += i < 4000 ? 1 : step) {
        for (int bit = 0; bit < 8; bit += 7) {
            medium.data[i] ^= (unsigned char)(1 << bit);
            assert_int_equal(restore(to, partition, &medium), -EBADMSG);
            assert_true(lks_kv_service.hash(to, partition) ==
                        lks_kv_service.hash(empty, partition));
            medium.data[i] ^= (unsigned char)(1 << bit);
        }
    }
    assert_int_equal(restore(to, partition, &medium), 0);
    assert_true(lks_kv_service.hash(to, partition) == lks_kv_service.hash(from, partition));
    free(medium.data);
    lks_kv_service.close(from);
    lks_kv_service.close(to);
    lks_kv_service.close(empty);
}

static void snapshot__cut_short__refused(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    fill(from, 300);
    const uint32_t partition = partition_of("key:2");
    struct medium medium = {0};
    assert_int_equal(snapshot(from, partition, &medium), 0);
    const size_t whole = medium.bytes;
    for (size_t bytes = 0; bytes < whole; bytes += bytes < 2000 ? 1 : 997) {
        medium.bytes = bytes;
        assert_int_equal(restore(to, partition, &medium), -EBADMSG);
    }
    free(medium.data);
    lks_kv_service.close(from);
    lks_kv_service.close(to);
}

static void snapshot__of_another_partition__refused(void **state)
{
    (void)state;
    void *kv = open_state();
    struct medium medium = {0};
    assert_int_equal(snapshot(kv, 3, &medium), 0);
    assert_int_equal(restore(kv, 4, &medium), -EBADMSG);
    assert_int_equal(restore(kv, 3, &medium), 0);
    free(medium.data);
    lks_kv_service.close(kv);
}

static void writer_and_reader__fail__code_passed_on(void **state)
{
    (void)state;
    void *from = open_state();
    void *to = open_state();
    fill(from, 2000);
    const uint32_t partition = partition_of("large");
    struct medium medium = {0};
    assert_int_equal(snapshot(from, partition, &medium), 0);
    int result = -ENOSPC;
    for (size_t call = 1; result != 0; call++) {
        struct medium failing = {.fail_at = call};
        result = snapshot(from, partition, &failing);
        assert_true(result == 0 || result == -ENOSPC);
        free(failing.data);
    }
    result = -EIO;
    for (size_t call = 1; result != 0; call++) {
        medium.fail_at = call;
        result = restore(to, partition, &medium);
        assert_true(result == 0 || result == -EIO);
    }
    free(medium.data);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_partition__round_trip__same_hash),
        cmocka_unit_test(snapshot__any_byte_damaged__refused_and_empty),
        cmocka_unit_test(snapshot__cut_short__refused),
        cmocka_unit_test(snapshot__of_another_partition__refused),
        cmocka_unit_test(writer_and_reader__fail__code_passed_on),
        cmocka_unit_test(hash__same_content_by_another_way__equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
