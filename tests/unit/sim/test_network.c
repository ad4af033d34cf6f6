/* The simulated network: what verbs/fabric.h permits happens, what it forbids does not. */
#include "sim/fabric.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define LOG_BYTES 65536u
#define HEAD 4096u
#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)
#define EVENTS_KEPT 512u

struct end {
    struct lks_fabric *fabric; /* NULL: the process is down */
    int fd;
    uint8_t *log;
    struct lks_fabric_event events[EVENTS_KEPT];
    uint32_t events_count;
};

struct rig {
    struct lks_sim_timeline *timeline;
    struct lks_sim_trace *trace;
    struct lks_sim_network *network;
    struct end ends[4];
    uint64_t durable_bytes;
    uint32_t misuses;
    uint32_t standing; /* bit w: r1's log is open to replica w */
};

static void on_durable(void *ctx, uint32_t owner, uint64_t offset, uint64_t bytes)
{
    (void)owner;
    (void)offset;
    ((struct rig *)ctx)->durable_bytes += bytes;
}

static void on_misuse(void *ctx, uint32_t replica, const char *text)
{
    (void)replica;
    (void)text;
    ((struct rig *)ctx)->misuses++;
}

static void on_granted(void *ctx, uint32_t owner, uint32_t writer)
{
    if (owner == 1) {
        ((struct rig *)ctx)->standing |= 1u << writer;
    }
}

static void on_revoked(void *ctx, uint32_t owner, uint32_t writer)
{
    if (owner == 1) {
        ((struct rig *)ctx)->standing &= ~(1u << writer);
    }
}

static void start(struct rig *rig, uint32_t replica)
{
    struct end *end = &rig->ends[replica];
    struct lks_fabric_options options = {.replica = replica,
                                         .replicas = 3,
                                         .log = {.address = end->log,
                                                 .bytes = LOG_BYTES,
                                                 .fd = end->fd},
                                         .words_bytes = 4096,
                                         .inbox_bytes = 4096,
                                         .scratch_bytes = 8192,
                                         .outstanding_max = 64};
    options.hello[0] = (uint8_t)replica;
    struct lks_error err;
    assert_int_equal(lks_fabric_sim_new(&end->fabric, rig->network, &options, &err), 0);
    end->events_count = 0;
    for (uint32_t peer = 1; peer <= 3; peer++) {
        if (peer != replica) {
            assert_int_equal(lks_fabric_connect(end->fabric, peer), 0);
        }
    }
}

static void stop(struct rig *rig, uint32_t replica)
{
    lks_fabric_free(rig->ends[replica].fabric);
    rig->ends[replica].fabric = NULL;
}

static struct rig *rig_new(uint64_t seed, bool untrusted)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct lks_sim_random random;
    lks_sim_random_init(&random, seed);
    rig->timeline = lks_sim_timeline_new(SECOND);
    rig->trace = lks_sim_trace_new(64, false);
    struct lks_sim_network_options options = {.replicas = 3,
                                              .timeline = rig->timeline,
                                              .trace = rig->trace,
                                              .random = &random,
                                              .observer = {.granted = on_granted,
                                                           .revoked = on_revoked,
                                                           .durable = on_durable,
                                                           .misuse = on_misuse,
                                                           .ctx = rig}};
    lks_sim_network_profile_default(&options.profile);
    options.profile.untrusted_fence = untrusted;
    rig->network = lks_sim_network_new(&options);
    for (uint32_t replica = 1; replica <= 3; replica++) {
        struct end *end = &rig->ends[replica];
        end->fd = memfd_create("log", MFD_CLOEXEC);
        assert_true(end->fd >= 0);
        assert_int_equal(ftruncate(end->fd, LOG_BYTES), 0);
        end->log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, end->fd, 0);
        assert_true(end->log != MAP_FAILED);
        start(rig, replica);
    }
    return rig;
}

static void rig_free(struct rig *rig)
{
    for (uint32_t replica = 1; replica <= 3; replica++) {
        if (rig->ends[replica].fabric != NULL) {
            stop(rig, replica);
        }
        munmap(rig->ends[replica].log, LOG_BYTES);
        close(rig->ends[replica].fd);
    }
    lks_sim_network_free(rig->network);
    lks_sim_trace_free(rig->trace);
    lks_sim_timeline_free(rig->timeline);
    free(rig);
}

static void collect(struct rig *rig)
{
    for (uint32_t replica = 1; replica <= 3; replica++) {
        struct end *end = &rig->ends[replica];
        if (end->fabric != NULL) {
            const int taken = lks_fabric_poll(end->fabric, end->events + end->events_count,
                                              EVENTS_KEPT - end->events_count);
            end->events_count += (uint32_t)taken;
        }
    }
}

static void run_for(struct rig *rig, uint64_t span_ns)
{
    const uint64_t limit_ns = lks_sim_timeline_now(rig->timeline) + span_ns;
    while (lks_sim_timeline_step(rig->timeline, limit_ns)) {
        collect(rig);
    }
    collect(rig);
}

/* The newest event of a kind and id; NULL if there is none. */
static const struct lks_fabric_event *find(const struct rig *rig, uint32_t replica,
                                           enum lks_fabric_event_kind kind, uint32_t peer,
                                           uint64_t id)
{
    const struct end *end = &rig->ends[replica];
    for (uint32_t i = end->events_count; i > 0; i--) {
        const struct lks_fabric_event *event = &end->events[i - 1];
        if (event->kind == kind && event->peer == peer && event->id == id) {
            return event;
        }
    }
    return NULL;
}

static const struct lks_fabric_event *wait_for(struct rig *rig, uint32_t replica,
                                               enum lks_fabric_event_kind kind, uint32_t peer,
                                               uint64_t id)
{
    const uint64_t limit_ns = lks_sim_timeline_now(rig->timeline) + 20 * SECOND;
    const struct lks_fabric_event *event = find(rig, replica, kind, peer, id);
    while (event == NULL) {
        assert_true(lks_sim_timeline_step(rig->timeline, limit_ns));
        collect(rig);
        event = find(rig, replica, kind, peer, id);
    }
    return event;
}

/* Owner lets writer write, and writer has opened the path. */
static void give(struct rig *rig, uint32_t owner, uint32_t writer, uint64_t id)
{
    (void)wait_for(rig, owner, LKS_FABRIC_CONNECTED, writer, 0);
    (void)wait_for(rig, writer, LKS_FABRIC_CONNECTED, owner, 0);
    assert_int_equal(lks_fabric_grant(rig->ends[owner].fabric, writer, id), 0);
    const struct lks_fabric_event *granted =
        wait_for(rig, owner, LKS_FABRIC_GRANTED, writer, id);
    assert_int_equal(granted->status, 0);
    const struct lks_fabric_key key = granted->key;
    assert_int_equal(lks_fabric_open(rig->ends[writer].fabric, owner, &key, id), 0);
    assert_int_equal(wait_for(rig, writer, LKS_FABRIC_OPENED, owner, id)->status, 0);
}

static int write_log(struct rig *rig, uint32_t writer, uint32_t owner, uint64_t offset,
                     uint64_t bytes, uint64_t id)
{
    return lks_fabric_write_log(rig->ends[writer].fabric, owner, offset,
                                rig->ends[writer].log + offset, bytes, LKS_FABRIC_DURABLE, id);
}

static void write_log__granted__lands_and_flush_covers_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, false);
    memset(rig->ends[2].log + HEAD, 0xab, 3000);
    give(rig, 1, 2, 7);
    assert_int_equal(write_log(rig, 2, 1, HEAD, 3000, 0), 0);
    assert_int_equal(lks_fabric_flush(rig->ends[2].fabric, 1, 9), 0);
    assert_int_equal(wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 9)->status, 0);
    assert_memory_equal(rig->ends[1].log + HEAD, rig->ends[2].log + HEAD, 3000);
    assert_int_equal(rig->durable_bytes, 3000);
    assert_int_equal(write_log(rig, 2, 1, HEAD - 8, 8, 0), -EINVAL);
    assert_int_equal(write_log(rig, 2, 3, HEAD, 8, 0), -LKS_EBROKEN);
    assert_int_equal(lks_fabric_hello(rig->ends[2].fabric, 1)[0], 1);
    rig_free(rig);
}

/* A long write is seen in pieces; the word behind it only when all of it is there. */
static void write_log__word_behind_a_long_write__seen_only_after_it(void **state)
{
    (void)state;
    uint32_t torn = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rig *rig = rig_new(seed, false);
        memset(rig->ends[2].log + HEAD, 0xab, 8192);
        give(rig, 1, 2, 1);
        assert_int_equal(write_log(rig, 2, 1, HEAD, 4096, 0), 0);
        assert_int_equal(write_log(rig, 2, 1, HEAD + 4096, 4088, 0), 0);
        assert_int_equal(write_log(rig, 2, 1, HEAD + 8184, 8, 5), 0);
        const uint8_t *log = rig->ends[1].log;
        while (find(rig, 2, LKS_FABRIC_COMPLETED, 1, 5) == NULL) {
            assert_true(lks_sim_timeline_step(rig->timeline, 1000 * SECOND));
            collect(rig);
            uint32_t landed = 0;
            for (uint32_t i = 0; i < 8192; i += 8) {
                uint64_t word;
                memcpy(&word, log + HEAD + i, 8);
                assert_true(word == 0 || word == UINT64_C(0xabababababababab));
                landed += word != 0;
            }
            torn += landed > 0 && landed < 1023;
            assert_true(log[HEAD + 8184] == 0 || landed == 1024);
        }
        rig_free(rig);
    }
    assert_true(torn > 20);
}

/* Streams while the owner revokes; returns what the network counted. */
static struct lks_sim_network_counts stream_and_revoke(uint64_t seed, bool untrusted)
{
    struct rig *rig = rig_new(seed, untrusted);
    give(rig, 1, 2, 1);
    for (uint64_t round = 0; round < 20; round++) {
        memset(rig->ends[2].log + HEAD, (int)round + 1, LOG_BYTES - HEAD);
        for (uint64_t i = 0; i < 40; i++) {
            (void)write_log(rig, 2, 1, HEAD + i * 1024, 1024, 0);
        }
        run_for(rig, lks_sim_timeline_now(rig->timeline) % 30000);
        assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 100 + round), 0);
        (void)wait_for(rig, 1, LKS_FABRIC_REVOKED, 2, 100 + round);
        uint8_t *seen = malloc(LOG_BYTES);
        memcpy(seen, rig->ends[1].log, LOG_BYTES);
        run_for(rig, 5 * MILLISECOND);
        if (!untrusted) {
            assert_memory_equal(seen, rig->ends[1].log, LOG_BYTES);
        }
        free(seen);
        rig->ends[2].events_count = rig->ends[1].events_count = 0;
        assert_int_equal(lks_fabric_grant(rig->ends[1].fabric, 2, round), 0);
        const struct lks_fabric_key key =
            wait_for(rig, 1, LKS_FABRIC_GRANTED, 2, round)->key;
        assert_int_equal(lks_fabric_open(rig->ends[2].fabric, 1, &key, round), 0);
        assert_int_equal(wait_for(rig, 2, LKS_FABRIC_OPENED, 1, round)->status, 0);
    }
    struct lks_sim_network_counts counts;
    lks_sim_network_counts(rig->network, &counts);
    rig_free(rig);
    return counts;
}

static void revoke__writer_streams__nothing_lands_after_its_completion(void **state)
{
    (void)state;
    struct lks_sim_network_counts sum = {0};
    for (uint64_t seed = 0; seed < 30; seed++) {
        const struct lks_sim_network_counts counts = stream_and_revoke(seed, false);
        sum.late_landed += counts.late_landed;
        sum.refused += counts.refused;
        assert_int_equal(counts.unfenced_landed, 0);
    }
    assert_true(sum.late_landed > 100); /* the rounds were not empty */
    assert_true(sum.refused > 100);
}

static void revoke__untrusted_fence__writes_land_after_its_completion(void **state)
{
    (void)state;
    uint64_t unfenced = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        unfenced += stream_and_revoke(seed, true).unfenced_landed;
    }
    assert_true(unfenced > 0);
}

static void revoke__refused_write__breaks_the_path_and_all_behind_it(void **state)
{
    (void)state;
    struct rig *rig = rig_new(3, false);
    give(rig, 1, 2, 1);
    assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 5), 0);
    (void)wait_for(rig, 1, LKS_FABRIC_REVOKED, 2, 5);
    rig->ends[2].log[HEAD] = 1;
    assert_int_equal(write_log(rig, 2, 1, HEAD, 64, 11), 0);
    assert_int_equal(lks_fabric_flush(rig->ends[2].fabric, 1, 12), 0);
    assert_int_equal(wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 11)->status, -LKS_EREVOKED);
    assert_true(wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 12)->status < 0);
    assert_int_equal(rig->ends[1].log[HEAD], 0);
    assert_int_equal(rig->durable_bytes, 0);
    assert_int_equal(write_log(rig, 2, 1, HEAD, 64, 13), -LKS_EBROKEN);
    const struct lks_fabric_key old = find(rig, 1, LKS_FABRIC_GRANTED, 2, 1)->key;
    assert_int_equal(lks_fabric_open(rig->ends[2].fabric, 1, &old, 14), 0);
    assert_int_equal(wait_for(rig, 2, LKS_FABRIC_OPENED, 1, 14)->status, -LKS_EREVOKED);
    assert_int_equal(rig->standing, 0);
    rig_free(rig);
}

static void grant__earlier_one_stands__is_reported_as_misuse(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4, false);
    give(rig, 1, 2, 1);
    assert_int_equal(lks_fabric_grant(rig->ends[1].fabric, 2, 2), -EINVAL);
    assert_int_equal(rig->misuses, 1);
    rig_free(rig);
}

static void grant__not_connected__completes_as_broken(void **state)
{
    (void)state;
    struct rig *rig = rig_new(5, false);
    assert_int_equal(lks_fabric_grant(rig->ends[1].fabric, 2, 2), 0);
    assert_int_equal(wait_for(rig, 1, LKS_FABRIC_GRANTED, 2, 2)->status, -LKS_EBROKEN);
    rig_free(rig);
}

/* The owner dies and comes back: the old writer's writes land until its revocation completes. */
static void restart__writer_of_an_earlier_life__lands_until_revoked_and_no_longer(void **state)
{
    (void)state;
    uint64_t late = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rig *rig = rig_new(seed, false);
        give(rig, 1, 2, 1);
        memset(rig->ends[2].log + HEAD, 0x55, LOG_BYTES - HEAD);
        for (uint64_t i = 0; i < 50; i++) {
            (void)write_log(rig, 2, 1, HEAD + i * 1024, 1024, 0);
        }
        if (seed % 2 == 0) {
            stop(rig, 2); /* the writer dies too: its writes are still under way */
        }
        stop(rig, 1);
        run_for(rig, 20000);
        start(rig, 1);
        struct lks_sim_network_counts before;
        lks_sim_network_counts(rig->network, &before);
        assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 9), 0);
        (void)wait_for(rig, 1, LKS_FABRIC_REVOKED, 2, 9);
        struct lks_sim_network_counts after;
        lks_sim_network_counts(rig->network, &after);
        late += after.landed - before.landed;
        run_for(rig, 10 * SECOND);
        lks_sim_network_counts(rig->network, &before);
        assert_int_equal(before.landed, after.landed);
        rig_free(rig);
    }
    assert_true(late > 50);
}

static void lose_power__writes_under_way__nothing_lands_after(void **state)
{
    (void)state;
    struct rig *rig = rig_new(8, false);
    give(rig, 1, 2, 1);
    memset(rig->ends[2].log + HEAD, 0x55, LOG_BYTES - HEAD);
    for (uint64_t i = 0; i < 50; i++) {
        (void)write_log(rig, 2, 1, HEAD + i * 1024, 1024, i + 20);
    }
    run_for(rig, 3000);
    lks_sim_network_lose_power(rig->network, 1);
    stop(rig, 1);
    struct lks_sim_network_counts before;
    struct lks_sim_network_counts after;
    lks_sim_network_counts(rig->network, &before);
    run_for(rig, 10 * SECOND);
    lks_sim_network_counts(rig->network, &after);
    assert_int_equal(before.landed, after.landed);
    assert_non_null(find(rig, 2, LKS_FABRIC_DISCONNECTED, 1, 0));
    rig_free(rig);
}

/* Every operation with an id completes exactly once, and before DISCONNECTED. */
static void break__operations_under_way__each_completes_once_before_the_event(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct rig *rig = rig_new(seed, false);
        give(rig, 1, 2, 1);
        uint8_t *scratch = lks_fabric_scratch(rig->ends[2].fabric);
        for (uint64_t i = 0; i < 30; i++) {
            assert_int_equal(write_log(rig, 2, 1, HEAD + i * 512, 512, 1000 + i), 0);
            assert_int_equal(lks_fabric_read(rig->ends[2].fabric, 1, LKS_FABRIC_WORDS, 0,
                                             scratch, 64, 2000 + i),
                             0);
        }
        run_for(rig, 10000);
        if (seed % 2 == 0) {
            lks_sim_network_break(rig->network, 1, 2);
        } else {
            lks_sim_network_set_link(rig->network, seed % 4 == 1 ? 1 : 2, seed % 4 == 1 ? 2 : 1,
                                     (struct lks_sim_link){.down = true});
        }
        const struct lks_fabric_event *end =
            wait_for(rig, 2, LKS_FABRIC_DISCONNECTED, 1, 0);
        for (uint64_t i = 0; i < 30; i++) {
            const struct lks_fabric_event *one =
                find(rig, 2, LKS_FABRIC_COMPLETED, 1, 1000 + i);
            const struct lks_fabric_event *two =
                find(rig, 2, LKS_FABRIC_COMPLETED, 1, 2000 + i);
            assert_true(one != NULL && one < end);
            assert_true(two != NULL && two < end);
        }
        uint32_t completions = 0;
        for (uint32_t i = 0; i < rig->ends[2].events_count; i++) {
            completions += rig->ends[2].events[i].kind == LKS_FABRIC_COMPLETED;
        }
        assert_int_equal(completions, 60);
        assert_int_equal(write_log(rig, 2, 1, HEAD, 8, 1), -LKS_EBROKEN);
        rig_free(rig);
    }
}

/* A partition is healed before the transport gives up: nothing is lost. */
static void link__down_for_a_moment__operations_complete_after_it_is_up(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, false);
    give(rig, 1, 2, 1);
    lks_sim_network_set_link(rig->network, 2, 1, (struct lks_sim_link){.down = true});
    rig->ends[2].log[HEAD] = 9;
    assert_int_equal(write_log(rig, 2, 1, HEAD, 64, 3), 0);
    run_for(rig, 10 * MILLISECOND);
    assert_int_equal(rig->ends[1].log[HEAD], 0);
    lks_sim_network_set_link(rig->network, 2, 1, (struct lks_sim_link){0});
    assert_int_equal(wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 3)->status, 0);
    assert_int_equal(rig->ends[1].log[HEAD], 9);
    rig_free(rig);
}

/* Answers are lost, requests are not: the write lands and the writer does not know. */
static void link__one_way_down__write_lands_and_completes_with_an_error(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, false);
    give(rig, 1, 2, 1);
    lks_sim_network_set_link(rig->network, 1, 2, (struct lks_sim_link){.down = true});
    rig->ends[2].log[HEAD] = 9;
    assert_int_equal(write_log(rig, 2, 1, HEAD, 64, 3), 0);
    (void)wait_for(rig, 2, LKS_FABRIC_DISCONNECTED, 1, 0);
    assert_int_equal(find(rig, 2, LKS_FABRIC_COMPLETED, 1, 3)->status, -LKS_EBROKEN);
    assert_int_equal(rig->ends[1].log[HEAD], 9);
    rig_free(rig);
}

static void post__outstanding_max_reached__busy_until_polled(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, false);
    give(rig, 1, 2, 1);
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(write_log(rig, 2, 1, HEAD, 64, i + 1), 0);
    }
    assert_int_equal(write_log(rig, 2, 1, HEAD, 64, 99), -LKS_EBUSY);
    (void)wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 64);
    assert_int_equal(write_log(rig, 2, 1, HEAD, 64, 99), 0);
    rig_free(rig);
}

static void inbox__written_with_wake__area_is_seen_and_zeroed_by_the_next_connection(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, false);
    (void)wait_for(rig, 1, LKS_FABRIC_CONNECTED, 2, 0);
    (void)wait_for(rig, 2, LKS_FABRIC_CONNECTED, 1, 0);
    assert_int_equal(lks_fabric_arm(rig->ends[1].fabric), 0);
    assert_int_equal(lks_fabric_write_inbox(rig->ends[2].fabric, 1, 16, "hello", 6,
                                            LKS_FABRIC_INLINE | LKS_FABRIC_WAKE, 4),
                     0);
    while (find(rig, 2, LKS_FABRIC_COMPLETED, 1, 4) == NULL) {
        assert_true(lks_sim_timeline_step(rig->timeline, 100 * SECOND));
        struct end *end = &rig->ends[2];
        end->events_count += (uint32_t)lks_fabric_poll(
            end->fabric, end->events + end->events_count, EVENTS_KEPT - end->events_count);
    }
    const uint8_t *area = lks_fabric_inbox(rig->ends[1].fabric, 2);
    assert_string_equal((const char *)area + 16, "hello");
    uint64_t count = 0;
    assert_int_equal(read(lks_fabric_wake_fd(rig->ends[1].fabric), &count, 8), 8);
    lks_fabric_disarm(rig->ends[1].fabric);
    lks_sim_network_break(rig->network, 1, 2);
    (void)wait_for(rig, 1, LKS_FABRIC_DISCONNECTED, 2, 0);
    rig->ends[1].events_count = 0;
    const struct lks_fabric_event *again = wait_for(rig, 1, LKS_FABRIC_CONNECTED, 2, 0);
    assert_int_equal(again->connection, 2);
    assert_int_equal(area[16], 0);
    rig_free(rig);
}

static void run__same_seed_twice__same_trace(void **state)
{
    (void)state;
    uint64_t hashes[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct rig *rig = rig_new(i == 2 ? 43 : 42, false);
        give(rig, 1, 2, 1);
        for (uint64_t n = 0; n < 30; n++) {
            (void)write_log(rig, 2, 1, HEAD + n * 1024, 1000, 1000 + n);
        }
        run_for(rig, 10000);
        stop(rig, 2);
        run_for(rig, 10 * SECOND);
        hashes[i] = lks_sim_trace_hash(rig->trace);
        rig_free(rig);
    }
    assert_int_equal(hashes[0], hashes[1]);
    assert_int_not_equal(hashes[0], hashes[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_log__granted__lands_and_flush_covers_it),
        cmocka_unit_test(write_log__word_behind_a_long_write__seen_only_after_it),
        cmocka_unit_test(revoke__writer_streams__nothing_lands_after_its_completion),
        cmocka_unit_test(revoke__untrusted_fence__writes_land_after_its_completion),
        cmocka_unit_test(revoke__refused_write__breaks_the_path_and_all_behind_it),
        cmocka_unit_test(grant__earlier_one_stands__is_reported_as_misuse),
        cmocka_unit_test(grant__not_connected__completes_as_broken),
        cmocka_unit_test(restart__writer_of_an_earlier_life__lands_until_revoked_and_no_longer),
        cmocka_unit_test(lose_power__writes_under_way__nothing_lands_after),
        cmocka_unit_test(break__operations_under_way__each_completes_once_before_the_event),
        cmocka_unit_test(link__down_for_a_moment__operations_complete_after_it_is_up),
        cmocka_unit_test(link__one_way_down__write_lands_and_completes_with_an_error),
        cmocka_unit_test(post__outstanding_max_reached__busy_until_polled),
        cmocka_unit_test(inbox__written_with_wake__area_is_seen_and_zeroed_by_the_next_connection),
        cmocka_unit_test(run__same_seed_twice__same_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
