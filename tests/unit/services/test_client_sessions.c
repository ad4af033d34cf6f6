/* Sessions around the key-value service: what each command of one does, footprints, snapshots. */
#include "services/sessions/sessions.h"

#include "lockstep/session.h"
#include "services/kv/hash.h"
#include "services/kv/kv.h"
#include "tests/support/fabric_client.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SERVICE lks_kv_sessions_service
#define LEASE_MS 5000u
#define NS_PER_MS UINT64_C(1000000)
#define CHUNKS_MAX 256

struct fixture {
    void *service;
    uint64_t index;
    uint64_t time_ns;
    struct lks_reply reply;
    struct lks_session_header session; /* of the commands that are made */
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    const struct lks_service_options options = {.command_bytes_max = 65536};
    fixture->time_ns = NS_PER_MS;
    fixture->session = (struct lks_session_header){.mark = LKS_SESSION_MARK, .nonce = {77, 5}};
    *state = fixture;
    return SERVICE.open(&fixture->service, &options);
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    SERVICE.close(fixture->service);
    lks_reply_fini(&fixture->reply);
    free(fixture);
    return 0;
}

/* A session's command around the service's, NULL: none. */
static size_t wrap(const struct fixture *fixture, uint8_t kind, uint64_t sequence,
                   const struct fabric_command *inner, uint8_t *out)
{
    struct lks_session_header header = fixture->session;
    header.kind = kind;
    header.sequence = sequence;
    if (kind == LKS_SESSION_OPEN) {
        header.id = 0;
        header.lease_ms = LEASE_MS;
    }
    memcpy(out, &header, sizeof header);
    if (inner != NULL) {
        memcpy(out + sizeof header, inner->data, inner->bytes);
    }
    return sizeof header + (inner != NULL ? inner->bytes : 0);
}

static void apply(struct fixture *fixture, const void *data, size_t bytes)
{
    const struct lks_command command = {
        .index = ++fixture->index, .time_ns = fixture->time_ns, .data = data, .bytes = bytes};
    lks_reply_clear(&fixture->reply);
    SERVICE.apply(fixture->service, &command, &fixture->reply);
}

static void expect(const struct fixture *fixture, const char *reply)
{
    assert_int_equal(fixture->reply.bytes, strlen(reply));
    assert_memory_equal(fixture->reply.data, reply, strlen(reply));
}

static void expect_status(const struct fixture *fixture, enum lks_session_status status)
{
    char reply[16];
    snprintf(reply, sizeof reply, "*1\r\n:%d\r\n", (int)status);
    expect(fixture, reply);
}

static void send(struct fixture *fixture, uint8_t kind, uint64_t sequence,
                 const struct fabric_command *inner)
{
    uint8_t bytes[sizeof(struct lks_session_header) + FABRIC_COMMAND_MAX];
    apply(fixture, bytes, wrap(fixture, kind, sequence, inner, bytes));
}

static void open_session(struct fixture *fixture)
{
    char reply[48];
    send(fixture, LKS_SESSION_OPEN, 0, NULL);
    fixture->session.id = fixture->index;
    snprintf(reply, sizeof reply, "*2\r\n:0\r\n:%llu\r\n", (unsigned long long)fixture->index);
    expect(fixture, reply);
}

static void incr(struct fixture *fixture, uint64_t sequence)
{
    const struct fabric_command command = fabric_command(LKS_KV_REQUEST_INCR, "n", NULL);
    send(fixture, LKS_SESSION_CALL, sequence, &command);
}

/* What the service inside holds, whatever sessions say. */
static void expect_inside(struct fixture *fixture, const char *reply)
{
    const struct fabric_command get = fabric_command(LKS_KV_REQUEST_GET, "n", NULL);
    apply(fixture, get.data, get.bytes);
    expect(fixture, reply);
}

/* ---- what commands do ----------------------------------------------------------------------- */

static void open__again_with_the_same_bits__same_session(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    send(fixture, LKS_SESSION_OPEN, 0, NULL);
    expect(fixture, "*2\r\n:0\r\n:1\r\n");
    assert_int_equal(lks_client_sessions_count(fixture->service), 1);
    fixture->session.nonce[1]++;
    open_session(fixture);
    assert_int_equal(fixture->session.id, 3);
    assert_int_equal(lks_client_sessions_count(fixture->service), 2);
}

static void call__repeated__takes_effect_once_and_answers_the_same(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    for (uint64_t sequence = 1; sequence <= 3; sequence++) {
        incr(fixture, sequence);
    }
    expect(fixture, "*2\r\n:0\r\n:3\r\n");
    incr(fixture, 2);
    expect(fixture, "*2\r\n:0\r\n:2\r\n");
    incr(fixture, 3);
    expect(fixture, "*2\r\n:0\r\n:3\r\n");
    expect_inside(fixture, "$1\r\n3\r\n");
}

static void call__of_no_session__refused_and_none_created(void **state)
{
    struct fixture *fixture = *state;
    fixture->session.id = 1;
    incr(fixture, 1);
    expect_status(fixture, LKS_SESSION_STATUS_UNKNOWN);
    open_session(fixture);
    fixture->session.id++; /* another life of the same bits */
    incr(fixture, 1);
    expect_status(fixture, LKS_SESSION_STATUS_UNKNOWN);
    expect_inside(fixture, "_\r\n");
    assert_int_equal(lks_client_sessions_count(fixture->service), 1);
}

static void call__earlier_one_missing__no_effect(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    incr(fixture, 2);
    expect_status(fixture, LKS_SESSION_STATUS_GAP);
    incr(fixture, 1);
    expect(fixture, "*2\r\n:0\r\n:1\r\n");
    incr(fixture, 3);
    expect_status(fixture, LKS_SESSION_STATUS_GAP);
    expect_inside(fixture, "$1\r\n1\r\n");
}

static void call__repeated_after_a_long_reply__says_that_it_is_lost(void **state)
{
    struct fixture *fixture = *state;
    char value[LKS_SESSION_REPLY_KEPT_MAX + 1];
    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    open_session(fixture);
    const struct fabric_command set = fabric_command(LKS_KV_REQUEST_SET, "n", value);
    const struct fabric_command get = fabric_command(LKS_KV_REQUEST_GETDEL, "n", NULL);
    send(fixture, LKS_SESSION_CALL, 1, &set);
    send(fixture, LKS_SESSION_CALL, 2, &get);
    assert_true(fixture->reply.bytes > sizeof value);
    send(fixture, LKS_SESSION_CALL, 2, &get);
    expect_status(fixture, LKS_SESSION_STATUS_REPLY_LOST);
    incr(fixture, 3); /* and the session goes on */
    expect(fixture, "*2\r\n:0\r\n:1\r\n");
}

static void call__older_than_the_window__says_that_its_reply_is_lost(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    for (uint64_t sequence = 1; sequence <= LKS_SESSION_WINDOW + 1; sequence++) {
        incr(fixture, sequence);
    }
    incr(fixture, 1);
    expect_status(fixture, LKS_SESSION_STATUS_REPLY_LOST);
    incr(fixture, 2);
    expect(fixture, "*2\r\n:0\r\n:2\r\n");
    expect_inside(fixture, "$2\r\n65\r\n");
}

static void skip__uses_a_sequence_up(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    send(fixture, LKS_SESSION_SKIP, 1, NULL);
    expect(fixture, "*2\r\n:0\r\n_\r\n");
    incr(fixture, 2);
    expect(fixture, "*2\r\n:0\r\n:1\r\n");
}

static void session__silent_beyond_its_lease__is_no_more(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    fixture->time_ns += LEASE_MS * NS_PER_MS - 1;
    incr(fixture, 1); /* which keeps it */
    fixture->time_ns += LEASE_MS * NS_PER_MS - 1;
    send(fixture, LKS_SESSION_TOUCH, 0, NULL);
    expect(fixture, "*2\r\n:0\r\n_\r\n");
    fixture->time_ns += LEASE_MS * NS_PER_MS;
    incr(fixture, 2);
    expect_status(fixture, LKS_SESSION_STATUS_UNKNOWN);
    expect_inside(fixture, "$1\r\n1\r\n");
    (void)SERVICE.tick(fixture->service, fixture->time_ns);
    assert_int_equal(lks_client_sessions_count(fixture->service), 0);
}

static void close__ends_it(void **state)
{
    struct fixture *fixture = *state;
    open_session(fixture);
    send(fixture, LKS_SESSION_CLOSE, 0, NULL);
    expect(fixture, "*2\r\n:0\r\n_\r\n");
    incr(fixture, 1);
    expect_status(fixture, LKS_SESSION_STATUS_UNKNOWN);
    send(fixture, LKS_SESSION_CLOSE, 0, NULL);
    expect_status(fixture, LKS_SESSION_STATUS_UNKNOWN);
}

static void open__partition_full__refused_until_one_expires(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < LKS_CLIENT_SESSIONS_PARTITION_MAX; i++) {
        fixture->session.nonce[1]++;
        open_session(fixture);
    }
    fixture->session.nonce[1]++;
    send(fixture, LKS_SESSION_OPEN, 0, NULL);
    expect_status(fixture, LKS_SESSION_STATUS_FULL);
    fixture->session.nonce[0]++; /* another partition */
    open_session(fixture);
    fixture->session.nonce[0]--;
    fixture->time_ns += LEASE_MS * NS_PER_MS;
    open_session(fixture);
    assert_int_equal(lks_client_sessions_count(fixture->service), 2);
}

static void malformed__each__no_effect(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[256];
    uint8_t nested[256];
    open_session(fixture);
    const struct fabric_command plain = fabric_command(LKS_KV_REQUEST_INCR, "n", NULL);
    const size_t whole = wrap(fixture, LKS_SESSION_CALL, 1, &plain, bytes);
    for (size_t length = 1; length <= sizeof(struct lks_session_header); length++) {
        apply(fixture, bytes, length);
        expect_status(fixture, LKS_SESSION_STATUS_MALFORMED);
    }
    const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{1, 0}, {1, 6}, {1, LKS_SESSION_OPEN}, {1, LKS_SESSION_TOUCH}, {2, 1}, {3, 1},
                 {4, 1}, {24, 0}, {32, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const uint8_t right = bytes[wrong[i].at];
        bytes[wrong[i].at] = wrong[i].value;
        apply(fixture, bytes, whole);
        expect_status(fixture, LKS_SESSION_STATUS_MALFORMED);
        bytes[wrong[i].at] = right;
    }
    struct fabric_command inner = {.bytes = whole};
    memcpy(inner.data, bytes, whole);
    apply(fixture, nested, wrap(fixture, LKS_SESSION_CALL, 1, &inner, nested));
    expect_status(fixture, LKS_SESSION_STATUS_MALFORMED);
    expect_inside(fixture, "_\r\n");
}

/* Two replicas of a client's past send what it gave them, each in order, at any pace. */
static void calls__through_two_gateways_at_any_pace__each_takes_effect_once(void **state)
{
    struct fixture *fixture = *state;
    unsigned seed = 1;
    open_session(fixture);
    uint64_t done = 0;
    for (unsigned round = 0; round < 200; round++) {
        uint64_t at[2] = {done + 1, done + 1};
        const uint64_t end = done + 1 + (unsigned)rand_r(&seed) % 20;
        while (at[0] < end || at[1] < end) {
            const unsigned which = (unsigned)rand_r(&seed) % 2;
            if (at[which] == end) {
                continue;
            }
            incr(fixture, at[which]);
            char reply[48];
            snprintf(reply, sizeof reply, "*2\r\n:0\r\n:%llu\r\n",
                     (unsigned long long)at[which]);
            expect(fixture, reply);
            at[which]++;
        }
        done = end - 1;
    }
}

/* ---- footprints ----------------------------------------------------------------------------- */

static struct lks_footprint footprint_of(const struct fixture *fixture, uint8_t kind,
                                         const struct fabric_command *inner)
{
    uint8_t bytes[sizeof(struct lks_session_header) + FABRIC_COMMAND_MAX];
    struct lks_footprint touched;
    const size_t length =
        wrap(fixture, kind, kind == LKS_SESSION_CALL ? 1 : 0, inner, bytes);
    lks_footprint_clear(&touched);
    SERVICE.footprint(bytes, length, &touched);
    return touched;
}

static void footprint__call__touches_both_partitions_and_ties_them(void **state)
{
    struct fixture *fixture = *state;
    fixture->session.id = 1;
    const struct fabric_command read = fabric_command(LKS_KV_REQUEST_EXISTS, "n", NULL);
    const uint32_t there = lks_kv_partition(lks_kv_hash("n", 1));
    for (uint32_t home = 0; home < LKS_KV_PARTITIONS; home++) {
        fixture->session.nonce[0] = home;
        const struct lks_footprint touched = footprint_of(fixture, LKS_SESSION_CALL, &read);
        const bool same = home == there;
        assert_int_equal(touched.count, same ? 1 : 2);
        assert_int_equal(touched.tied, !same);
        assert_int_equal(touched.keys_count, 2);
        for (uint32_t i = 0; i < touched.count; i++) {
            const bool is_home = touched.partitions[i] == home;
            assert_true(is_home || touched.partitions[i] == there);
            assert_int_equal(touched.reads >> i & 1, !is_home);
        }
    }
}

static void footprint__open__touches_its_partition_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture->session.nonce[0] = UINT64_MAX;
    const struct lks_footprint touched = footprint_of(fixture, LKS_SESSION_OPEN, NULL);
    assert_int_equal(touched.count, 1);
    assert_int_equal(touched.partitions[0], INT64_MAX % LKS_KV_PARTITIONS);
    assert_int_equal(touched.reads, 0);
    assert_false(touched.tied);
}

static void footprint__more_than_can_be_named__all(void **state)
{
    struct fixture *fixture = *state;
    fixture->session.id = 1;
    const struct fabric_command all = fabric_command(LKS_KV_REQUEST_FLUSHALL, NULL, NULL);
    const struct lks_footprint touched = footprint_of(fixture, LKS_SESSION_CALL, &all);
    assert_int_equal(touched.count, LKS_FOOTPRINT_ALL);
    assert_true(touched.tied);
    assert_int_equal(touched.keys_count, 0);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

struct medium {
    uint8_t *chunks[CHUNKS_MAX];
    size_t bytes[CHUNKS_MAX];
    size_t count;
};

static int write_chunk(void *ctx, const void *data, size_t bytes)
{
    struct medium *medium = ctx;
    assert_true(medium->count < CHUNKS_MAX);
    medium->chunks[medium->count] = malloc(bytes);
    memcpy(medium->chunks[medium->count], data, bytes);
    medium->bytes[medium->count] = bytes;
    medium->count++;
    return 0;
}

static void write_snapshot(void *service, uint32_t partition, struct medium *medium)
{
    const struct lks_snapshot_writer writer = {write_chunk, medium};
    bool done = false;
    while (!done) {
        assert_int_equal(SERVICE.snapshot_step(service, partition, &writer, 4096, &done), 0);
    }
    SERVICE.snapshot_end(service, partition);
}

static int read_snapshot(void *service, uint32_t partition, const struct medium *medium)
{
    int rc = 0;
    SERVICE.restore_begin(service, partition);
    for (size_t i = 0; rc == 0 && i < medium->count; i++) {
        rc = SERVICE.restore_chunk(service, partition, medium->chunks[i], medium->bytes[i]);
    }
    return rc == 0 ? SERVICE.restore_end(service, partition) : rc;
}

static void forget(struct medium *medium)
{
    for (size_t i = 0; i < medium->count; i++) {
        free(medium->chunks[i]);
    }
    medium->count = 0;
}

static void snapshot__restored_elsewhere__same_sessions_as_when_it_began(void **state)
{
    struct fixture *fixture = *state;
    struct fixture *other = NULL;
    assert_int_equal(set_up((void **)&other), 0);
    for (uint32_t i = 0; i < 5; i++) {
        fixture->session.nonce[1]++;
        open_session(fixture);
        for (uint64_t sequence = 1; sequence <= 50 * i; sequence++) {
            incr(fixture, sequence);
        }
    }
    (void)SERVICE.tick(fixture->service, fixture->time_ns);
    uint64_t hashes[LKS_KV_PARTITIONS];
    for (uint32_t p = 0; p < LKS_KV_PARTITIONS; p++) {
        hashes[p] = SERVICE.hash(fixture->service, p);
        assert_true(SERVICE.snapshot_begin(fixture->service, p) < UINT64_MAX);
    }
    assert_true(SERVICE.snapshot_kept(fixture->service) > 0);
    incr(fixture, 201); /* after it has begun */
    for (uint32_t p = 0; p < LKS_KV_PARTITIONS; p++) {
        struct medium medium = {.count = 0};
        write_snapshot(fixture->service, p, &medium);
        assert_int_equal(read_snapshot(other->service, p, &medium), 0);
        forget(&medium);
    }
    (void)SERVICE.tick(other->service, fixture->time_ns);
    for (uint32_t p = 0; p < LKS_KV_PARTITIONS; p++) {
        assert_true(SERVICE.hash(other->service, p) == hashes[p]);
    }
    assert_int_equal(SERVICE.snapshot_kept(fixture->service), 0);
    other->session = fixture->session;
    other->time_ns = fixture->time_ns;
    incr(other, 200);
    expect(other, "*2\r\n:0\r\n:500\r\n");
    incr(other, 201);
    expect(other, "*2\r\n:0\r\n:501\r\n");
    assert_int_equal(tear_down((void **)&other), 0);
}

static void snapshot__of_the_service_alone__is_restored(void **state)
{
    struct fixture *fixture = *state;
    struct medium medium = {.count = 0};
    const struct lks_snapshot_writer writer = {write_chunk, &medium};
    const struct fabric_command set = fabric_command(LKS_KV_REQUEST_SET, "n", "7");
    const uint32_t p = lks_kv_partition(lks_kv_hash("n", 1));
    apply(fixture, set.data, set.bytes);
    bool done = false;
    (void)lks_kv_service.snapshot_begin(lks_client_sessions_inner(fixture->service), p);
    while (!done) {
        assert_int_equal(
            lks_kv_service.snapshot_step(lks_client_sessions_inner(fixture->service), p, &writer,
                                         4096, &done),
            0);
    }
    lks_kv_service.snapshot_end(lks_client_sessions_inner(fixture->service), p);
    const struct fabric_command del = fabric_command(LKS_KV_REQUEST_FLUSHALL, NULL, NULL);
    apply(fixture, del.data, del.bytes);
    assert_int_equal(read_snapshot(fixture->service, p, &medium), 0);
    expect_inside(fixture, "$1\r\n7\r\n");
    forget(&medium);
}

static void restore__damaged_or_incomplete__refused_and_empty(void **state)
{
    struct fixture *fixture = *state;
    struct medium medium = {.count = 0};
    const uint32_t p = 77 % LKS_KV_PARTITIONS;
    for (uint32_t i = 0; i < 3; i++) {
        fixture->session.nonce[1]++;
        open_session(fixture);
        incr(fixture, 1);
    }
    (void)SERVICE.snapshot_begin(fixture->service, p);
    write_snapshot(fixture->service, p, &medium);
    assert_true(medium.count >= 4);
    for (size_t at = 16; at < 28; at += 4) { /* partition, which, total */
        medium.chunks[1][at] ^= 0x40;
        assert_int_equal(read_snapshot(fixture->service, p, &medium), -EBADMSG);
        assert_int_equal(lks_client_sessions_count(fixture->service), 0);
        medium.chunks[1][at] ^= 0x40;
    }
    medium.bytes[2]--;
    assert_int_equal(read_snapshot(fixture->service, p, &medium), -EBADMSG);
    medium.bytes[2]++;
    uint8_t *second = medium.chunks[1];
    medium.chunks[1] = medium.chunks[0];
    assert_int_equal(read_snapshot(fixture->service, p, &medium), -EBADMSG);
    medium.chunks[1] = second;
    struct medium without = medium; /* the third session is missing */
    memmove(&without.chunks[2], &medium.chunks[3], (medium.count - 3) * sizeof(uint8_t *));
    memmove(&without.bytes[2], &medium.bytes[3], (medium.count - 3) * sizeof(size_t));
    without.count--;
    assert_int_equal(read_snapshot(fixture->service, p, &without), -EBADMSG);
    assert_int_equal(read_snapshot(fixture->service, p, &medium), 0);
    assert_int_equal(lks_client_sessions_count(fixture->service), 3);
    forget(&medium);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(open__again_with_the_same_bits__same_session),
        TEST(call__repeated__takes_effect_once_and_answers_the_same),
        TEST(call__of_no_session__refused_and_none_created),
        TEST(call__earlier_one_missing__no_effect),
        TEST(call__repeated_after_a_long_reply__says_that_it_is_lost),
        TEST(call__older_than_the_window__says_that_its_reply_is_lost),
        TEST(skip__uses_a_sequence_up),
        TEST(session__silent_beyond_its_lease__is_no_more),
        TEST(close__ends_it),
        TEST(open__partition_full__refused_until_one_expires),
        TEST(malformed__each__no_effect),
        TEST(calls__through_two_gateways_at_any_pace__each_takes_effect_once),
        TEST(footprint__call__touches_both_partitions_and_ties_them),
        TEST(footprint__open__touches_its_partition_alone),
        TEST(footprint__more_than_can_be_named__all),
        TEST(snapshot__restored_elsewhere__same_sessions_as_when_it_began),
        TEST(snapshot__of_the_service_alone__is_restored),
        TEST(restore__damaged_or_incomplete__refused_and_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
