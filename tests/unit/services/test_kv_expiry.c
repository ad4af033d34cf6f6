/*
 * Keys that expire: what a command sees follows from its time alone, whatever has been removed;
 * ticks remove in bounded steps and change nothing that can be seen; timers against a plain
 * array; restored partitions hash like their origin.
 */
#include "services/kv/encode.h"
#include "services/kv/garbage.h"
#include "services/kv/hash.h"
#include "services/kv/kv.h"
#include "services/kv/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COMMAND_BYTES_MAX 4096u
#define MS UINT64_C(1000000)
#define START_MS UINT64_C(1700000000000)
#define TIMERS 3000
#define WORDS_MAX 8

struct fixture {
    void *kv;
    uint64_t time_ms; /* of the commands */
    uint64_t index;
};

static struct fixture open_fixture(void)
{
    struct fixture fixture = {.time_ms = START_MS};
    const struct lks_service_options options = {.command_bytes_max = COMMAND_BYTES_MAX};
    assert_int_equal(lks_kv_service.open(&fixture.kv, &options), 0);
    return fixture;
}

static const struct {
    const char *name;
    enum lks_kv_request request;
} g_names[] = {
    {"set", LKS_KV_REQUEST_SET},         {"get", LKS_KV_REQUEST_GET},
    {"setex", LKS_KV_REQUEST_SETEX},     {"getex", LKS_KV_REQUEST_GETEX},
    {"expire", LKS_KV_REQUEST_EXPIRE},   {"pexpire", LKS_KV_REQUEST_PEXPIRE},
    {"pttl", LKS_KV_REQUEST_PTTL},       {"ttl", LKS_KV_REQUEST_TTL},
    {"persist", LKS_KV_REQUEST_PERSIST}, {"dbsize", LKS_KV_REQUEST_DBSIZE},
    {"exists", LKS_KV_REQUEST_EXISTS},   {"keys", LKS_KV_REQUEST_KEYS},
    {"setnx", LKS_KV_REQUEST_SETNX},     {"incr", LKS_KV_REQUEST_INCR},
    {"append", LKS_KV_REQUEST_APPEND},   {"mset", LKS_KV_REQUEST_MSET},
    {"del", LKS_KV_REQUEST_DEL},         {"getset", LKS_KV_REQUEST_GETSET},
    {"psetex", LKS_KV_REQUEST_PSETEX},   {"pexpireat", LKS_KV_REQUEST_PEXPIREAT},
    {"randomkey", LKS_KV_REQUEST_RANDOMKEY}, {"flushall", LKS_KV_REQUEST_FLUSHALL},
};

/* Runs a command given as words; the reply is the caller's to free. */
static struct lks_reply run(struct fixture *fixture, const char *line)
{
    char words[256];
    struct lks_argument args[WORDS_MAX];
    uint8_t bytes[512];
    struct lks_reply reply;
    size_t count = 0;
    size_t request = 0;
    (void)snprintf(words, sizeof words, "%s", line);
    char *rest = words;
    for (char *word = strtok_r(words, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        assert_true(count < WORDS_MAX);
        args[count++] = (struct lks_argument){word, strlen(word)};
    }
    while (strcmp(g_names[request].name, args[0].data) != 0) {
        request++;
        assert_true(request < sizeof g_names / sizeof g_names[0]);
    }
    lks_reply_init(&reply);
    const struct lks_kv_arguments arguments = {args, count, COMMAND_BYTES_MAX, 0};
    const size_t length = lks_kv_encode(g_names[request].request, &arguments, bytes, &reply);
    if (length > 0) {
        const struct lks_command command = {.index = ++fixture->index,
                                            .time_ns = fixture->time_ms * MS,
                                            .data = bytes,
                                            .bytes = length};
        lks_kv_service.apply(fixture->kv, &command, &reply);
    }
    return reply;
}

static void expect(struct fixture *fixture, const char *line, const char *wanted)
{
    struct lks_reply reply = run(fixture, line);
    if (reply.bytes != strlen(wanted) || memcmp(reply.data, wanted, reply.bytes) != 0) {
        fail_msg("%s: %.*s instead of %s", line, (int)reply.bytes, reply.data, wanted);
    }
    lks_reply_fini(&reply);
}

static void run_quietly(struct fixture *fixture, const char *line)
{
    struct lks_reply reply = run(fixture, line);
    lks_reply_fini(&reply);
}

static uint64_t hash_all(void *kv)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < lks_kv_service.partitions; i++) {
        sum = sum * 31 + lks_kv_service.hash(kv, i);
    }
    return sum;
}

static void key__expires_when_its_time_is_past(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    expect(&f, "set a 1 PX 100", "+OK\r\n");
    f.time_ms += 100;
    expect(&f, "get a", "$1\r\n1\r\n");
    expect(&f, "pttl a", ":0\r\n");
    f.time_ms += 1;
    expect(&f, "get a", "_\r\n");
    expect(&f, "exists a", ":0\r\n");
    expect(&f, "pttl a", ":-2\r\n");
    expect(&f, "dbsize", ":0\r\n");
    expect(&f, "keys *", "*0\r\n");
    expect(&f, "persist a", ":0\r\n");
    expect(&f, "setnx a 2", ":1\r\n");
    expect(&f, "ttl a", ":-1\r\n");
    lks_kv_service.close(f.kv);
}

static void time__kept_or_lost_by_each_command(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    static const struct {
        const char *line;
        const char *pttl;
    } steps[] = {
        {"append a 1", ":100\r\n"},      {"incr a", ":100\r\n"},
        {"getset a 1", ":-1\r\n"},       {"set a 1", ":-1\r\n"},
        {"set a 1 KEEPTTL", ":100\r\n"}, {"mset a 1 b 2", ":-1\r\n"},
        {"getex a", ":100\r\n"},         {"getex a PERSIST", ":-1\r\n"},
        {"getex a PX 50", ":50\r\n"},    {"persist a", ":-1\r\n"},
        {"pexpire a 70 GT", ":100\r\n"}, {"pexpire a 70 LT", ":70\r\n"},
        {"pexpire a 70 NX", ":100\r\n"}, {"pexpire a 170 XX GT", ":170\r\n"},
        {"pexpire a 0", ":-2\r\n"},      {"pexpire a -5", ":-2\r\n"},
        {"setex a 1 1", ":1000\r\n"},    {"psetex a 1 1", ":1\r\n"},
        {"set a 1 PXAT 1", ":-2\r\n"},   {"set a 1 NX", ":100\r\n"},
    };
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        expect(&f, "set a 1 PX 100", "+OK\r\n");
        run_quietly(&f, steps[i].line);
        expect(&f, "pttl a", steps[i].pttl);
    }
    lks_kv_service.close(f.kv);
}

/* One replica ticks whenever it can, the other never: nobody can see the difference. */
static void tick__changes_nothing_that_can_be_seen(void **state)
{
    (void)state;
    struct fixture a = open_fixture();
    struct fixture b = open_fixture();
    unsigned seed = 5;
    static const char *const forms[] = {
        "set k%d %d PX %d",  "get k%d",      "incr k%d",      "pexpire k%d %d",
        "persist k%d",       "dbsize",       "setnx k%d %d",  "pttl k%d",
        "append k%d %d",     "getex k%d PX %d", "exists k%d", "set k%d %d KEEPTTL",
        "pexpire k%d %d GT", "randomkey"};
    for (int i = 0; i < 200000; i++) {
        char line[64];
        const int key = rand_r(&seed) % (i / 5000 % 2 == 0 ? 300 : 3000);
        const int number = rand_r(&seed) % 50 + 1;
        (void)snprintf(line, sizeof line, forms[rand_r(&seed) % 14], key, number, number);
        a.time_ms += rand_r(&seed) % 4 == 0 ? 1 : 0;
        b.time_ms = a.time_ms;
        struct lks_reply ours = run(&a, line);
        struct lks_reply theirs = run(&b, line);
        assert_int_equal(ours.bytes, theirs.bytes);
        assert_memory_equal(ours.data, theirs.data, ours.bytes);
        lks_reply_fini(&ours);
        lks_reply_fini(&theirs);
        (void)lks_kv_service.tick(a.kv, a.time_ms * MS);
        if (i % 5000 == 4999) {
            while (lks_kv_service.tick(a.kv, a.time_ms * MS)) {
            }
            (void)lks_kv_service.tick(b.kv, b.time_ms * MS); /* bounded: it has more to do */
            assert_true(hash_all(a.kv) == hash_all(b.kv));
            expect(&b, "flushall", "+OK\r\n");
            expect(&a, "flushall", "+OK\r\n");
        }
    }
    lks_kv_service.close(a.kv);
    lks_kv_service.close(b.kv);
}

static void tick__many_at_once__bounded_steps_and_next_expiry(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    char line[64];
    assert_true(lks_kv_service.next_expiry_ns(f.kv) == UINT64_MAX);
    for (int i = 0; i < 10000; i++) {
        (void)snprintf(line, sizeof line, "set k%d v PX %d", i, i < 9999 ? 10 : 500);
        run_quietly(&f, line);
    }
    run_quietly(&f, "set never v");
    assert_true(lks_kv_service.next_expiry_ns(f.kv) == (START_MS + 11) * MS);
    assert_false(lks_kv_service.tick(f.kv, (START_MS + 11) * MS - 1));
    f.time_ms += 11;
    int ticks = 1;
    while (lks_kv_service.tick(f.kv, f.time_ms * MS)) {
        ticks++;
        expect(&f, "dbsize", ":2\r\n");
    }
    assert_true(ticks > 10000 / 100 && ticks < 10000 / 10);
    assert_true(lks_kv_service.next_expiry_ns(f.kv) == (START_MS + 501) * MS);
    expect(&f, "dbsize", ":2\r\n");
    f.time_ms += 490;
    assert_false(lks_kv_service.tick(f.kv, f.time_ms * MS));
    assert_true(lks_kv_service.next_expiry_ns(f.kv) == UINT64_MAX);
    expect(&f, "keys *", "*1\r\n$5\r\nnever\r\n");
    lks_kv_service.close(f.kv);
}

static void times__far_away__no_overflow(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    static const char bad_set[] = "-ERR invalid expire time in 'set' command\r\n";
    expect(&f, "set a 1 PX 9223372036854775807", bad_set);
    expect(&f, "set a 1 EX 9223372036854775", bad_set);
    expect(&f, "set a 1 EX 9223372036854776", bad_set);
    expect(&f, "setex a 9223372036854775 1",
           "-ERR invalid expire time in 'setex' command\r\n");
    expect(&f, "psetex a 9223372036854775807 1",
           "-ERR invalid expire time in 'psetex' command\r\n");
    expect(&f, "set a 1 PXAT 9223372036854775807", "+OK\r\n");
    expect(&f, "pexpire a 9223372036854775807",
           "-ERR invalid expire time in 'pexpire' command\r\n");
    expect(&f, "expire a -9223372036854776",
           "-ERR invalid expire time in 'expire' command\r\n");
    expect(&f, "getex b PX 9223372036854775807", "_\r\n");
    expect(&f, "getex a PX 9223372036854775807",
           "-ERR invalid expire time in 'getex' command\r\n");
    expect(&f, "getex a PX x", "-ERR value is not an integer or out of range\r\n");
    expect(&f, "getex b PX x", "_\r\n");
    assert_true(lks_kv_service.next_expiry_ns(f.kv) == UINT64_MAX);
    expect(&f, "pexpireat a 1700000000500", ":1\r\n");
    assert_true(lks_kv_service.next_expiry_ns(f.kv) == (START_MS + 501) * MS);
    lks_kv_service.close(f.kv);
}

static void randomkey__drawn_from_the_entry__reaches_every_key(void **state)
{
    (void)state;
    struct fixture f = open_fixture();
    int seen[5] = {0};
    expect(&f, "randomkey", "_\r\n");
    run_quietly(&f, "set gone v PX 1");
    f.time_ms += 5;
    expect(&f, "randomkey", "_\r\n");
    for (int i = 0; i < 5; i++) {
        char line[32];
        (void)snprintf(line, sizeof line, "set %d v", i);
        run_quietly(&f, line);
    }
    for (int i = 0; i < 2000; i++) {
        struct lks_reply reply = run(&f, "randomkey");
        assert_int_equal(reply.bytes, 7);
        seen[reply.data[4] - '0']++;
        lks_reply_fini(&reply);
    }
    for (int i = 0; i < 5; i++) {
        assert_true(seen[i] > 20);
    }
    lks_kv_service.close(f.kv);
}

/* ---- the heap ------------------------------------------------------------------------------- */

static void check_timers(const struct lks_kv_timers *timers, struct lks_kv_entry **entries,
                         const uint64_t *wanted)
{
    uint32_t count = 0;
    uint64_t first = UINT64_MAX;
    uint32_t before = 0;
    for (int i = 0; i < TIMERS; i++) {
        assert_true((entries[i]->timer != 0) == (wanted[i] != 0));
        if (wanted[i] != 0) {
            count++;
            before += wanted[i] < 500 ? 1 : 0;
            first = wanted[i] < first ? wanted[i] : first;
            const struct lks_kv_timer *timer = lks_kv_timers_at(timers, entries[i]->timer);
            assert_ptr_equal(timer->entry, entries[i]);
            assert_true(timer->expires_ms == wanted[i]);
        }
    }
    assert_int_equal(timers->count, count);
    assert_true(lks_kv_timers_first(timers) == first);
    assert_int_equal(lks_kv_timers_count_before(timers, 500), before);
    assert_int_equal(lks_kv_timers_count_before(timers, 0), 0);
    assert_int_equal(lks_kv_timers_count_before(timers, UINT64_MAX), count);
}

static void timers__random_steps__as_a_plain_array(void **state)
{
    (void)state;
    static struct lks_kv_entry *entries[TIMERS];
    static uint64_t wanted[TIMERS];
    struct lks_kv_timers timers = {0};
    unsigned seed = 11;
    for (int i = 0; i < TIMERS; i++) {
        entries[i] = calloc(1, sizeof *entries[i]);
        assert_non_null(entries[i]);
    }
    for (int step = 0; step < 100000; step++) {
        const int i = rand_r(&seed) % TIMERS;
        const bool filling = step / 20000 % 2 == 0;
        if (rand_r(&seed) % 10 < (filling ? 8 : 2)) {
            wanted[i] = (uint64_t)(rand_r(&seed) % 1000 + 1);
            lks_kv_timers_set(&timers, entries[i], wanted[i]);
        } else {
            wanted[i] = 0;
            lks_kv_timers_remove(&timers, entries[i]);
        }
        if (step % 3 == 0 && wanted[i] != 0) { /* it moves */
            struct lks_kv_entry *moved = malloc(sizeof *moved);
            assert_non_null(moved);
            memcpy(moved, entries[i], sizeof *moved);
            free(entries[i]);
            entries[i] = moved;
            lks_kv_timers_moved(&timers, moved);
        }
        if (step % 2000 == 0) {
            check_timers(&timers, entries, wanted);
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        lks_kv_timers_remove(&timers, entries[i]);
        free(entries[i]);
    }
    assert_int_equal(timers.count, 0);
    assert_true(timers.segments_count <= 1);
    while (timers.segments_count > 0) {
        lks_kv_timers_drop(&timers);
    }
    assert_null(timers.segments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key__expires_when_its_time_is_past),
        cmocka_unit_test(time__kept_or_lost_by_each_command),
        cmocka_unit_test(tick__changes_nothing_that_can_be_seen),
        cmocka_unit_test(tick__many_at_once__bounded_steps_and_next_expiry),
        cmocka_unit_test(times__far_away__no_overflow),
        cmocka_unit_test(randomkey__drawn_from_the_entry__reaches_every_key),
        cmocka_unit_test(timers__random_steps__as_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
