/*
 * What connections over RDMA leave behind: nothing. Two replicas, and a replica and its clients,
 * meet and part many times, at whatever point a grant, a revocation, a path or a lane has reached,
 * with work under way; in the end process and kernel hold what they held after the first rounds:
 * descriptors, locked memory, heap, and each kind of the device's objects. Over the device whose
 * address LKS_TEST_RDMA_ADDRESS names; without it the test says so and is skipped.
 *
 * Usage: unit_verbs_test_ibv_reconnections [ROUNDS]   (40)
 */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/verbs/ibv_pair.h"
#include "verbs/rdma_lane.h"

#define ROUNDS 40u
#define ROUNDS_FIRST 10u /* until heap and queues have their size */
#define PHASES 5u
#define TURNS_MAX 9u /* between a call and the end of its connection */
#define HEAP_A_ROUND 16u
#define HEAP_SLACK 4096u
#define LANES_PORT 18641u
#define AREA_BYTES UINT64_C(8192)
#define WRITES 64u
#define PATIENCE_NS (30 * LKS_NS_PER_S)
#define KEY "a key of clients"
#define LIST_OBJECTS "PATH=$PATH:/usr/sbin:/sbin rdma resource show"

static uint32_t g_rounds = ROUNDS;

/* ---- what is held --------------------------------------------------------------------------- */

struct held {
    unsigned descriptors;
    unsigned long long locked_kib;
    size_t heap_bytes;
    char objects[512]; /* of all devices, as `rdma` lists them */
};

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *entries = opendir("/proc/self/fd");
    assert_non_null(entries);
    while (readdir(entries) != NULL) {
        count++;
    }
    (void)closedir(entries);
    return count;
}

static unsigned long long read_locked_kib(void)
{
    unsigned long long kib = 0;
    bool found = false;
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    assert_non_null(status);
    while (fgets(line, sizeof line, status) != NULL) {
        found = sscanf(line, "VmPin: %llu", &kib) == 1 || found;
    }
    (void)fclose(status);
    assert_true(found);
    return kib;
}

static void take_stock(struct held *held)
{
    FILE *list = popen(LIST_OBJECTS, "re");
    assert_non_null(list);
    const size_t bytes = fread(held->objects, 1, sizeof held->objects - 1, list);
    held->objects[bytes] = '\0';
    assert_int_equal(pclose(list), 0);
    assert_non_null(strstr(held->objects, "qp ")); /* else it lists something else */
    held->descriptors = count_descriptors();
    held->locked_kib = read_locked_kib();
    held->heap_bytes = mallinfo2().uordblks;
}

static void expect_same(const struct held *before, const struct held *after, uint32_t rounds)
{
    assert_string_equal(after->objects, before->objects);
    assert_int_equal(after->descriptors, before->descriptors);
    assert_int_equal(after->locked_kib, before->locked_kib);
    assert_true(after->heap_bytes <=
                before->heap_bytes + (size_t)rounds * HEAP_A_ROUND + HEAP_SLACK);
}

/* ---- replicas ------------------------------------------------------------------------------- */

static void await_seen(struct pair *pair, uint32_t id, enum lks_fabric_event_kind kind)
{
    for (unsigned i = 0; !pair->seen[id][kind]; i++) {
        if (i == PAIR_ROUNDS_MAX) {
            fail_msg("replica %u waits in vain for event %d", id, (int)kind);
        }
        pair_turn(pair);
    }
}

static void turns(struct pair *pair, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        pair_turn(pair);
    }
}

/* Ends the connection, from this side, and waits for the next one. */
static void part_and_meet(struct pair *pair, uint32_t id)
{
    for (uint32_t each = 1; each <= 2; each++) {
        pair->seen[each][LKS_FABRIC_DISCONNECTED] = pair->seen[each][LKS_FABRIC_CONNECTED] = false;
    }
    lks_ibv_link_close(lks_ibv_of(pair->fabrics[id]), 3 - id);
    for (uint32_t each = 1; each <= 2; each++) {
        await_seen(pair, each, LKS_FABRIC_DISCONNECTED);
        assert_false(pair->events[each][LKS_FABRIC_DISCONNECTED].peer_dead);
    }
    for (uint32_t each = 1; each <= 2; each++) {
        await_seen(pair, each, LKS_FABRIC_CONNECTED);
    }
}

/* Replica 2 grants to replica 1, whatever comes of it. */
static void begin_grant(struct pair *pair)
{
    pair->seen[2][LKS_FABRIC_GRANTED] = pair->seen[2][LKS_FABRIC_REVOKED] = false;
    assert_int_equal(lks_fabric_grant(pair->fabrics[2], 1, 7), 0);
}

static void begin_revocation(struct pair *pair)
{
    assert_int_equal(lks_fabric_revoke(pair->fabrics[2], 1, 8), 0);
}

static void await_revoked(struct pair *pair)
{
    await_seen(pair, 2, LKS_FABRIC_GRANTED);
    await_seen(pair, 2, LKS_FABRIC_REVOKED);
    assert_int_equal(pair->events[2][LKS_FABRIC_REVOKED].status, 0);
}

static void open_and_write(struct pair *pair)
{
    await_seen(pair, 2, LKS_FABRIC_GRANTED);
    assert_int_equal(pair->events[2][LKS_FABRIC_GRANTED].status, 0);
    pair->seen[1][LKS_FABRIC_OPENED] = false;
    assert_int_equal(lks_fabric_open(pair->fabrics[1], 2,
                                     &pair->events[2][LKS_FABRIC_GRANTED].key, 9), 0);
    await_seen(pair, 1, LKS_FABRIC_OPENED);
    assert_int_equal(pair->events[1][LKS_FABRIC_OPENED].status, 0);
    for (uint64_t i = 0; i < WRITES / 2; i++) {
        const uint64_t offset = LKS_IBV_HEAD_BYTES + i * 1024;
        assert_int_equal(lks_fabric_write_log(pair->fabrics[1], 2, offset, pair->logs[1] + offset,
                                              1024, 0, i + 1), 0);
    }
}

/* One meeting that ends at some point of a grant's life; all that was asked for ends, too. */
static void part_in_phase(struct pair *pair, uint32_t round)
{
    const uint32_t side = 1 + round / PHASES % 2;
    const uint32_t wait = round / (2 * PHASES) % TURNS_MAX;
    const uint64_t completed = pair->completed[1];
    uint64_t wanted = completed;
    begin_grant(pair);
    switch (round % PHASES) {
    case 0: /* while the grant is made, offered, connected or bound */
        turns(pair, wait);
        part_and_meet(pair, side);
        begin_revocation(pair);
        break;
    case 1: /* while both are under way */
        turns(pair, wait);
        begin_revocation(pair);
        part_and_meet(pair, side);
        break;
    case 2: /* while writes are under way */
        open_and_write(pair);
        wanted += WRITES / 2;
        part_and_meet(pair, side);
        begin_revocation(pair);
        break;
    case 3: /* while writes and the fence are under way */
        open_and_write(pair);
        wanted += WRITES / 2;
        begin_revocation(pair);
        turns(pair, wait);
        part_and_meet(pair, side);
        break;
    default: /* at rest */
        open_and_write(pair);
        wanted += WRITES / 2;
        begin_revocation(pair);
        await_revoked(pair);
        part_and_meet(pair, side);
        break;
    }
    await_revoked(pair);
    for (unsigned i = 0; pair->completed[1] != wanted; i++) {
        assert_true(i < PAIR_ROUNDS_MAX);
        pair_turn(pair);
    }
}

/* All phases once more, so that what is kept until the next grant is the same. */
static void take_stock_of_pair(struct pair *pair, struct held *held)
{
    part_in_phase(pair, PHASES - 1);
    turns(pair, 200); /* the helper has done what it does behind an event */
    pair->lines[1][0] = pair->lines[2][0] = '\0';
    take_stock(held);
}

static void replicas_part__in_every_phase_of_a_grant__nothing_is_left(void **state)
{
    struct pair *pair = *state;
    struct held before;
    struct held after;
    pair_connect(pair);
    for (uint32_t round = 0; round < ROUNDS_FIRST; round++) {
        part_in_phase(pair, round);
    }
    take_stock_of_pair(pair, &before);
    for (uint32_t round = 0; round < g_rounds; round++) {
        part_in_phase(pair, round);
    }
    take_stock_of_pair(pair, &after);
    expect_same(&before, &after, g_rounds);
    (void)printf("%u reconnections of replicas: %s", g_rounds, after.objects);
}

/* ---- clients -------------------------------------------------------------------------------- */

struct host {
    struct lks_lanes *lanes;
    struct lks_log sink;
    uint64_t attached; /* bit by lane, now */
    char lines[512];
};

/* (Of two threads: what they say at once may be garbled, and is for people.) */
static void keep_line(void *ctx, enum lks_log_level level, const char *line)
{
    struct host *host = ctx;
    (void)level;
    (void)snprintf(host->lines, sizeof host->lines, "%s", line);
}

static struct lks_rdma_place lanes_place(void)
{
    struct lks_rdma_place place = {.port = LANES_PORT};
    (void)snprintf(place.address, sizeof place.address, "%s", pair_address());
    return place;
}

static int set_up_host(void **state)
{
    struct host *host = calloc(1, sizeof *host);
    struct lks_error err = {0};
    assert_non_null(host);
    *state = host;
    host->sink = (struct lks_log){.level = LKS_LOG_DEBUG, .sink = keep_line, .ctx = host};
    const struct lks_lanes_rdma_options options = {.place = lanes_place(),
                                                   .replica = 1,
                                                   .client_key = KEY,
                                                   .area_bytes = AREA_BYTES,
                                                   .log_sink = &host->sink};
    const int rc = lks_lanes_rdma_new(&host->lanes, &options, &err);
    if (rc != 0) {
        print_error("%s\n", err.text);
    }
    return rc;
}

static int tear_down_host(void **state)
{
    struct host *host = *state;
    lks_lanes_free(host->lanes);
    free(host);
    return 0;
}

static void look(struct host *host)
{
    struct lks_lanes_changes changes;
    lks_lanes_poll(host->lanes, true, &changes);
    host->attached = (host->attached & ~changes.detached) | changes.attached;
}

static void await_attached(struct host *host, uint32_t lane, bool attached)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    while ((host->attached >> lane & 1) != attached) {
        if (lks_clock_monotonic_ns() >= until_ns) {
            fail_msg("lane %u is not %s; attached: %llx; the replica says: %s", lane,
                     attached ? "there" : "gone", (unsigned long long)host->attached, host->lines);
        }
        look(host);
    }
}

/* As much as is taken: it is under way when the call returns. */
static void flood(struct lks_fabric *fabric, uint32_t lane)
{
    static const uint8_t bytes[200] = {1};
    for (uint32_t i = 0; i < WRITES; i++) {
        (void)lks_fabric_write_inbox(fabric, lane, i % 16 * 256, bytes, sizeof bytes,
                                     i % 2 == 0 ? LKS_FABRIC_WAKE : LKS_FABRIC_MORE, 0);
    }
}

/* A client comes, both sides write, and one of them ends the lane with all of it in flight. */
static void part_from_client(struct host *host, uint32_t round)
{
    struct lks_lane *lane = NULL;
    const struct lks_lane_rdma_options options = {.place = lanes_place(),
                                                  .replica = 1,
                                                  .any_cluster = true,
                                                  .client_key = KEY,
                                                  .area_bytes = AREA_BYTES,
                                                  .timeout_ns = PATIENCE_NS};
    assert_int_equal(lks_lane_rdma_attach(&lane, &options), 0);
    const uint32_t number = lks_lane_number(lane);
    if (round % 4 == 0) { /* before the replica has looked at it, or has heard its last word */
        flood(lks_lane_fabric(lane), number);
        lks_lane_free(lane);
        look(host);
        return;
    }
    await_attached(host, number, true);
    (void)lks_lanes_arm(host->lanes);
    flood(lks_lane_fabric(lane), number);
    flood(lks_lanes_fabric(host->lanes), number);
    if (round % 4 == 1) {
        lks_lanes_detach(host->lanes, number);
        host->attached &= ~(UINT64_C(1) << number);
        assert_int_equal(lks_fabric_write_inbox(lks_lanes_fabric(host->lanes), number, 0, "x", 1,
                                                0, 0), -LKS_EBROKEN);
    }
    lks_lane_free(lane);
    await_attached(host, number, false);
}

/* empty: the kernel's objects without a client. */
static void take_stock_of_host(struct host *host, const struct held *empty, struct held *held)
{
    const uint64_t until_ns = lks_clock_monotonic_ns() + PATIENCE_NS;
    part_from_client(host, 2);
    /* The lanes' thread takes down the last one in its own time. */
    do {
        look(host);
        take_stock(held);
    } while (strcmp(held->objects, empty->objects) != 0 && lks_clock_monotonic_ns() < until_ns);
}

static void clients_part__with_writes_in_flight__nothing_is_left(void **state)
{
    struct host *host = *state;
    struct held empty;
    struct held before;
    struct held after;
    take_stock(&empty);
    for (uint32_t round = 0; round < ROUNDS_FIRST; round++) {
        part_from_client(host, round);
    }
    take_stock_of_host(host, &empty, &before);
    for (uint32_t round = 0; round < g_rounds; round++) {
        part_from_client(host, round);
    }
    take_stock_of_host(host, &empty, &after);
    assert_string_equal(before.objects, empty.objects);
    expect_same(&before, &after, g_rounds);
    (void)printf("%u clients came and went: %s", g_rounds, after.objects);
}

int main(int argc, char **argv)
{
    if (pair_address() == NULL) {
        return PAIR_SKIPPED;
    }
    g_rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : ROUNDS;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(replicas_part__in_every_phase_of_a_grant__nothing_is_left,
                                        pair_setup, pair_teardown),
        cmocka_unit_test_setup_teardown(clients_part__with_writes_in_flight__nothing_is_left,
                                        set_up_host, tear_down_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
