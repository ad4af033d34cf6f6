/*
 * SCAN: whatever is there during the whole scan is seen, and once, while tables grow, shrink and
 * are replaced by restored ones; any cursor is survived. And patterns.
 */
#include "services/kv/encode.h"
#include "services/kv/glob.h"
#include "services/kv/hash.h"
#include "services/kv/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STABLE 2000
#define OTHERS 50000 /* enough for more buckets than an empty table has */

static void *open_state(void)
{
    void *kv = NULL;
    const struct lks_service_options options = {.command_bytes_max = 4096};
    assert_int_equal(lks_kv_service.open(&kv, &options), 0);
    return kv;
}

static void run(void *kv, enum lks_kv_request request, size_t count, const char *const *words,
                struct lks_reply *reply)
{
    struct lks_argument args[8];
    uint8_t bytes[512];
    for (size_t i = 0; i < count; i++) {
        args[i] = (struct lks_argument){words[i], strlen(words[i])};
    }
    const struct lks_kv_arguments arguments = {args, count, 4096, 0};
    lks_reply_clear(reply);
    const size_t length = lks_kv_encode(request, &arguments, bytes, reply);
    if (length > 0) {
        const struct lks_command command = {.data = bytes, .bytes = length};
        lks_kv_service.apply(kv, &command, reply);
    }
}

static void set(void *kv, const char *prefix, int number, struct lks_reply *reply)
{
    char key[32];
    (void)snprintf(key, sizeof key, "%s%d", prefix, number);
    run(kv, LKS_KV_REQUEST_SET, 3, (const char *const[]){"set", key, "v"}, reply);
}

static void del(void *kv, const char *prefix, int number, struct lks_reply *reply)
{
    char key[32];
    (void)snprintf(key, sizeof key, "%s%d", prefix, number);
    run(kv, LKS_KV_REQUEST_DEL, 2, (const char *const[]){"del", key}, reply);
}

/* Counts the stable keys in a reply of SCAN; moves the cursor on. */
static void note(struct lks_reply *reply, char cursor[32], int *seen)
{
    lks_reply_bulk(reply, "", 0); /* so that the text ends */
    char *at = reply->data;
    size_t bytes = 0;
    int used = 0;
    int keys = 0;
    const int read =
        sscanf(at, "*2\r\n$%zu\r\n%31[0-9]\r\n*%d\r\n%n", &bytes, cursor, &keys, &used);
    assert_int_equal(read, 3);
    at += used;
    for (int i = 0; i < keys; i++) {
        int number;
        assert_int_equal(sscanf(at, "$%zu\r\n%n", &bytes, &used), 1);
        at += used;
        if (sscanf(at, "stable:%d\r\n", &number) == 1) {
            seen[number]++;
        }
        at += bytes + 2;
    }
}

static int keep_chunk(void *ctx, const void *data, size_t bytes)
{
    void **target = ctx;
    const uint32_t partition = (uint32_t)(uintptr_t)target[1];
    return lks_kv_service.restore_chunk(target[0], partition, data, bytes);
}

/* Every partition is written and read back, as after an installation. */
static void restore_all(void **kv)
{
    void *to = open_state();
    for (uint32_t i = 0; i < lks_kv_service.partitions; i++) {
        void *target[2] = {to, (void *)(uintptr_t)i};
        const struct lks_snapshot_writer writer = {keep_chunk, target};
        bool done = false;
        (void)lks_kv_service.snapshot_begin(*kv, i);
        lks_kv_service.restore_begin(to, i);
        while (!done) {
            assert_int_equal(lks_kv_service.snapshot_step(*kv, i, &writer, 10000, &done), 0);
        }
        assert_int_equal(lks_kv_service.restore_end(to, i), 0);
    }
    lks_kv_service.close(*kv);
    *kv = to;
}

static void scan__tables_change_shape__stable_keys_seen_once(void **state)
{
    (void)state;
    static const char *const counts[] = {"50", "200", "1000"};
    struct lks_reply reply;
    lks_reply_init(&reply);
    for (unsigned round = 0; round < 4; round++) {
        void *kv = open_state();
        static int seen[STABLE];
        unsigned seed = round;
        char cursor[32] = "0";
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < STABLE; i++) {
            set(kv, "stable:", i, &reply);
        }
        for (int i = 0; i < (round % 2 == 0 ? OTHERS : 0); i++) {
            set(kv, "other:", i, &reply);
        }
        int calls = 0;
        do {
            run(kv, LKS_KV_REQUEST_SCAN, 4,
                (const char *const[]){"scan", cursor, "count", counts[round % 3]}, &reply);
            note(&reply, cursor, seen);
            const int changes = rand_r(&seed) % 600;
            for (int i = 0; i < changes; i++) { /* even rounds shrink, odd ones grow */
                const int number = rand_r(&seed) % OTHERS;
                if (round % 2 == 0) {
                    del(kv, "other:", number, &reply);
                } else {
                    set(kv, "other:", number, &reply);
                }
            }
            if (++calls % 100 == 50) {
                restore_all(&kv);
            }
        } while (strcmp(cursor, "0") != 0);
        for (int i = 0; i < STABLE; i++) {
            assert_int_equal(seen[i], 1);
        }
        lks_kv_service.close(kv);
    }
    lks_reply_fini(&reply);
}

/* Numbers of keys that lie in the first partition. */
static int next_in_first_partition(const char *prefix, int number)
{
    char key[32];
    size_t bytes;
    do {
        bytes = (size_t)snprintf(key, sizeof key, "%s%d", prefix, number++);
    } while (lks_kv_partition(lks_kv_hash(key, bytes)) != 0);
    return number - 1;
}

/* A cursor that stands between two buckets stands within one when the table has shrunk. */
static void scan__buckets_joined_under_the_cursor__seen_once(void **state)
{
    (void)state;
    struct lks_reply reply;
    lks_reply_init(&reply);
    for (unsigned round = 0; round < 12; round++) {
        void *kv = open_state();
        static int seen[STABLE * 64];
        unsigned seed = round;
        char cursor[32] = "0";
        memset(seen, 0, sizeof seen);
        int last_stable = 0;
        int last_other = 0;
        for (int i = 0; i < 500; i++) {
            last_stable = next_in_first_partition("stable:", last_stable + 1);
            set(kv, "stable:", last_stable, &reply);
        }
        for (int i = 0; i < 4000; i++) {
            last_other = next_in_first_partition("other:", last_other + 1);
            set(kv, "other:", last_other, &reply);
        }
        for (int calls = rand_r(&seed) % 1500 + 100; calls > 0; calls--) {
            run(kv, LKS_KV_REQUEST_SCAN, 4,
                (const char *const[]){"scan", cursor, "count", "1"}, &reply);
            note(&reply, cursor, seen);
        }
        for (int i = 0, number = 0; i < 4000; i++) {
            number = next_in_first_partition("other:", number + 1);
            del(kv, "other:", number, &reply);
        }
        restore_all(&kv);
        do {
            run(kv, LKS_KV_REQUEST_SCAN, 4,
                (const char *const[]){"scan", cursor, "count", "10"}, &reply);
            note(&reply, cursor, seen);
        } while (strcmp(cursor, "0") != 0);
        for (int i = 0, number = 0; i < 500; i++) {
            number = next_in_first_partition("stable:", number + 1);
            assert_int_equal(seen[number], 1);
        }
        lks_kv_service.close(kv);
    }
    lks_reply_fini(&reply);
}

static void scan__any_cursor__survived(void **state)
{
    (void)state;
    static const char *const cursors[] = {"1", "4294967295", "4294967296", "274877906944",
                                          "18446744073709551615", "-1", "+7", ""};
    struct lks_reply reply;
    lks_reply_init(&reply);
    void *kv = open_state();
    set(kv, "stable:", 1, &reply);
    for (size_t i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
        run(kv, LKS_KV_REQUEST_SCAN, 2, (const char *const[]){"scan", cursors[i]}, &reply);
        assert_memory_equal(reply.data, "*2\r\n$", 5);
    }
    static const char *const bad[] = {"x", "1x", " 1", "18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        run(kv, LKS_KV_REQUEST_SCAN, 2, (const char *const[]){"scan", bad[i]}, &reply);
        assert_memory_equal(reply.data, "-ERR invalid cursor\r\n", reply.bytes);
    }
    lks_reply_fini(&reply);
    lks_kv_service.close(kv);
}

static void glob__patterns_of_redis(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } cases[] = {
        {"", "", true},           {"", "a", false},          {"*", "", true},
        {"*", "abc", true},       {"**", "abc", true},       {"a*", "abc", true},
        {"*c", "abc", true},      {"*b*", "abc", true},      {"*d*", "abc", false},
        {"a?c", "abc", true},     {"a?c", "ac", false},      {"?", "", false},
        {"h[ae]llo", "hello", true}, {"h[ae]llo", "hillo", false}, {"h[^e]llo", "hello", false},
        {"h[^e]llo", "hallo", true}, {"h[a-c]llo", "hbllo", true}, {"h[c-a]llo", "hbllo", true},
        {"h[a-c]llo", "hdllo", false}, {"[a\\]]", "]", true}, {"\\*", "*", true},
        {"\\*", "a", false},      {"a\\", "a\\", true},      {"[abc", "b", true},
        {"[", "[", false},        {"[^", "a", true},         {"[a-]", "b", false},
        {"*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}, {"a*b*c", "aXbYbZc", true},
        {"A", "a", false},        {"[]a", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct lks_kv_glob glob = {cases[i].pattern, strlen(cases[i].pattern), false};
        if (lks_kv_glob_matches(&glob, cases[i].text, strlen(cases[i].text)) !=
            cases[i].matches) {
            fail_msg("'%s' with '%s'", cases[i].pattern, cases[i].text);
        }
    }
    const struct lks_kv_glob any_case = {"MAX[a-C]*", 9, true};
    assert_true(lks_kv_glob_matches(&any_case, "maxClients", 10));
    assert_false(lks_kv_glob_matches(&any_case, "maxdata", 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan__tables_change_shape__stable_keys_seen_once),
        cmocka_unit_test(scan__buckets_joined_under_the_cursor__seen_once),
        cmocka_unit_test(scan__any_cursor__survived),
        cmocka_unit_test(glob__patterns_of_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
