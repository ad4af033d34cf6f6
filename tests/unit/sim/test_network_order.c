/* The order and the moments in which operations land: all that the contract permits happens. */
#include "tests/unit/sim/network_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define OLD 0x11
#define NEW 0x22
#define SEEDS 60u

static void make_posted(struct lks_sim_network_profile *profile)
{
    profile->writes_when_posted = true;
}

static void make_passing(struct lks_sim_network_profile *profile)
{
    profile->passes_ppm = 900000;
}

static void make_waiting(struct lks_sim_network_profile *profile)
{
    profile->passes_ppm = 0;
}

static void make_scattered(struct lks_sim_network_profile *profile)
{
    profile->scatter_ppm = 1000000;
}

static void make_busy(struct lks_sim_network_profile *profile)
{
    profile->busy_ppm = 500000;
}

static uint32_t count_bytes(const uint8_t *bytes, uint32_t count, uint8_t value)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += bytes[i] == value;
    }
    return found;
}

/* Posts 40 writes, changes their source, and returns how many new bytes arrived. */
static uint32_t write_and_change(uint64_t seed, void (*shape)(struct lks_sim_network_profile *))
{
    struct rig *rig = rig_new(seed, shape);
    rig_give(rig, 1, 2, 1);
    memset(rig->ends[2].log + RIG_HEAD, OLD, 40960);
    for (uint64_t i = 0; i < 40; i++) {
        assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD + i * 1024, 1024, i + 1), 0);
    }
    rig_run_for(rig, 20000);
    memset(rig->ends[2].log + RIG_HEAD, NEW, 40960);
    assert_int_equal(rig_wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 40)->status, 0);
    const uint32_t seen = count_bytes(rig->ends[1].log + RIG_HEAD, 40960, NEW);
    assert_int_equal(seen + count_bytes(rig->ends[1].log + RIG_HEAD, 40960, OLD), 40960);
    assert_true(rig->stored_bytes >= 40960); /* (of scattered words their whole span is told) */
    rig_free(rig);
    return seen;
}

/* Also one half of a write, and of an entry, from before and the other from after. */
static void write_log__source_changed_under_way__what_stands_there_when_it_leaves(void **state)
{
    (void)state;
    uint32_t torn = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const uint32_t seen = write_and_change(seed, NULL);
        assert_true(seen > 0); /* forty writes take longer than 20 us */
        torn += seen % 1024 != 0;
    }
    assert_true(torn > 0);
}

static void write_log__when_posted__source_is_copied_then(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        assert_int_equal(write_and_change(seed, make_posted), 0);
    }
}

static void write_log__when_posted__most_are_done_then(void **state)
{
    (void)state;
    uint32_t done = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig *rig = rig_new(seed, make_posted);
        rig_give(rig, 1, 2, 1);
        assert_true(rig->ends[2].fabric->ops->writes_when_posted);
        rig->ends[2].log[RIG_HEAD] = 9;
        assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD, 64, 3), 0);
        done += rig->ends[1].log[RIG_HEAD] == 9;
        assert_int_equal(rig_wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 3)->status, 0);
        rig_free(rig);
    }
    assert_true(done > SEEDS / 2);
    assert_true(done < SEEDS); /* a writer can be held up */
}

/* True if a word that was posted behind a flush was there before the flush had made anything
 * durable. */
static bool word_passes_flush(uint64_t seed, void (*shape)(struct lks_sim_network_profile *))
{
    struct rig *rig = rig_new(seed, shape);
    rig_give(rig, 1, 2, 1);
    memset(rig->ends[2].log + RIG_HEAD, NEW, 4096);
    assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD, 2048, 0), 0);
    assert_int_equal(lks_fabric_flush(rig->ends[2].fabric, 1, 2), 0);
    assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD + 2048, 8, 3), 0);
    bool passed = false;
    while (rig_find(rig, 2, LKS_FABRIC_COMPLETED, 1, 3) == NULL) {
        assert_true(rig_step(rig));
        const bool there = rig->ends[1].log[RIG_HEAD + 2048] == NEW;
        passed = passed || (there && rig->durable_bytes == 0);
        /* Never the writes before it, and the flush covers those alone. */
        assert_true(!there || count_bytes(rig->ends[1].log + RIG_HEAD, 2048, NEW) == 2048);
        assert_true(rig->durable_bytes == 0 || rig->durable_bytes == 2048);
    }
    assert_int_equal(rig_find(rig, 2, LKS_FABRIC_COMPLETED, 1, 2)->status, 0);
    assert_true(rig_find(rig, 2, LKS_FABRIC_COMPLETED, 1, 2) <
                rig_find(rig, 2, LKS_FABRIC_COMPLETED, 1, 3));
    rig_free(rig);
    return passed;
}

static void write_log__behind_a_flush__may_pass_it_and_is_not_covered(void **state)
{
    (void)state;
    uint32_t passed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        passed += word_passes_flush(seed, make_passing);
        assert_false(word_passes_flush(seed, make_waiting));
    }
    assert_true(passed > 5);
}

/* A read may return what a write that was posted behind it has written. */
static void read__write_posted_behind_it__may_be_seen_by_it(void **state)
{
    (void)state;
    uint32_t seen = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig *rig = rig_new(seed, make_passing);
        (void)rig_wait_for(rig, 2, LKS_FABRIC_CONNECTED, 1, 0);
        (void)rig_wait_for(rig, 1, LKS_FABRIC_CONNECTED, 2, 0);
        uint8_t *scratch = lks_fabric_scratch(rig->ends[2].fabric);
        const uint64_t word = NEW;
        assert_int_equal(lks_fabric_read(rig->ends[2].fabric, 1, LKS_FABRIC_INBOX, 0, scratch, 512,
                                         1),
                         0);
        assert_int_equal(lks_fabric_write_inbox(rig->ends[2].fabric, 1, 64, &word, 8,
                                                LKS_FABRIC_INLINE, 2),
                         0);
        (void)rig_wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, 2);
        seen += scratch[64] == NEW;
        rig_free(rig);
    }
    assert_true(seen > 5);
    assert_true(seen < SEEDS);
}

/* Single words of one write land by themselves, wherever they are. */
static void write_log__scattered__words_land_in_any_order(void **state)
{
    (void)state;
    uint32_t mixed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig *rig = rig_new(seed, make_scattered);
        rig_give(rig, 1, 2, 1);
        memset(rig->ends[2].log + RIG_HEAD, NEW, 1000);
        assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD + 4, 996, 3), 0);
        while (rig_find(rig, 2, LKS_FABRIC_COMPLETED, 1, 3) == NULL) {
            assert_true(rig_step(rig));
            uint32_t changes = 0;
            for (uint32_t at = 8; at < 992; at += 8) {
                const uint8_t *word = rig->ends[1].log + RIG_HEAD + at;
                const uint32_t there = count_bytes(word, 8, NEW);
                assert_true(there == 0 || there == 8); /* never a part of a word */
                changes += word[0] != word[8];
            }
            mixed += changes > 8;
        }
        assert_int_equal(count_bytes(rig->ends[1].log + RIG_HEAD, 1000, NEW), 996);
        rig_free(rig);
    }
    assert_true(mixed > 5);
}

/* What is seen is never LKS_FABRIC_DISORDER_BYTES or more behind the first missing byte. */
static void write_log__long__disorder_has_its_bound(void **state)
{
    (void)state;
    const uint64_t bytes = RIG_LOG_BYTES - RIG_HEAD;
    uint64_t widest = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct rig *rig = rig_new(seed, make_scattered);
        rig_give(rig, 1, 2, 1);
        memset(rig->ends[2].log + RIG_HEAD, NEW, bytes);
        const uint64_t step = seed % 3 == 0 ? bytes : 6144 * (1 + seed % 7);
        uint64_t last = 0;
        for (uint64_t at = 0; at < bytes; at += step) {
            const uint64_t left = bytes - at;
            last = at + 1;
            assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD + at, left < step ? left : step,
                                           last),
                             0);
        }
        while (rig_find(rig, 2, LKS_FABRIC_COMPLETED, 1, last) == NULL) {
            assert_true(rig_step(rig));
            const uint8_t *log = rig->ends[1].log + RIG_HEAD;
            const uint8_t *missing = memchr(log, 0, bytes);
            const uint8_t *seen = memrchr(log, NEW, bytes);
            if (missing != NULL && seen > missing) {
                const uint64_t ahead = (uint64_t)(seen - missing);
                assert_true(ahead < LKS_FABRIC_DISORDER_BYTES);
                widest = ahead > widest ? ahead : widest;
            }
        }
        rig_free(rig);
    }
    assert_true(widest > LKS_FABRIC_DISORDER_BYTES / 4);
}

static void post__busy_profile__refuses_only_while_something_is_under_way(void **state)
{
    (void)state;
    struct rig *rig = rig_new(4, make_busy);
    rig_give(rig, 1, 2, 1);
    uint32_t refused = 0;
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(rig_write_log(rig, 2, 1, RIG_HEAD, 64, 2 * i + 1), 0);
        const int second = rig_write_log(rig, 2, 1, RIG_HEAD, 64, 2 * i + 2);
        assert_true(second == 0 || second == -LKS_EBUSY);
        refused += second != 0;
        (void)rig_wait_for(rig, 2, LKS_FABRIC_COMPLETED, 1, second == 0 ? 2 * i + 2 : 2 * i + 1);
        rig->ends[2].events_count = 0;
    }
    assert_true(refused > 50 && refused < 150);
    struct lks_sim_network_counts counts;
    lks_sim_network_counts(rig->network, &counts);
    assert_int_equal(counts.busy, refused);
    rig_free(rig);
}

static void revoke__too_many_under_way__busy(void **state)
{
    (void)state;
    struct rig *rig = rig_new(5, NULL);
    for (uint64_t i = 0; i < LKS_FABRIC_CHANGES_MAX; i++) {
        assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, i + 1), 0);
    }
    assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 99), -LKS_EBUSY);
    assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 3, 1), 0);
    (void)rig_wait_for(rig, 1, LKS_FABRIC_REVOKED, 2, LKS_FABRIC_CHANGES_MAX);
    assert_int_equal(lks_fabric_revoke(rig->ends[1].fabric, 2, 99), 0);
    rig_free(rig);
}

/* A side that was not polled for long: the end of a connection and the next one come apart. */
static void poll__reconnected_meanwhile__end_and_beginning_in_two_batches(void **state)
{
    (void)state;
    struct rig *rig = rig_new(6, NULL);
    (void)rig_wait_for(rig, 1, LKS_FABRIC_CONNECTED, 2, 0);
    (void)rig_wait_for(rig, 2, LKS_FABRIC_CONNECTED, 1, 0);
    lks_sim_network_break(rig->network, 1, 2);
    const uint64_t limit_ns = lks_sim_timeline_now(rig->timeline) + 5 * RIG_SECOND;
    while (lks_sim_timeline_step(rig->timeline, limit_ns)) {
    }
    struct lks_fabric_event events[8];
    uint32_t batches = 0;
    int taken = 0;
    while ((taken = lks_fabric_poll(rig->ends[1].fabric, events, 8)) > 0) {
        bool ended = false;
        for (int i = 0; i < taken; i++) {
            const bool same = events[i].peer == 2;
            assert_false(same && ended && events[i].kind == LKS_FABRIC_CONNECTED);
            ended = ended || (same && events[i].kind == LKS_FABRIC_DISCONNECTED);
        }
        batches++;
    }
    assert_int_equal(batches, 2);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_log__source_changed_under_way__what_stands_there_when_it_leaves),
        cmocka_unit_test(write_log__when_posted__source_is_copied_then),
        cmocka_unit_test(write_log__when_posted__most_are_done_then),
        cmocka_unit_test(write_log__behind_a_flush__may_pass_it_and_is_not_covered),
        cmocka_unit_test(read__write_posted_behind_it__may_be_seen_by_it),
        cmocka_unit_test(write_log__scattered__words_land_in_any_order),
        cmocka_unit_test(write_log__long__disorder_has_its_bound),
        cmocka_unit_test(post__busy_profile__refuses_only_while_something_is_under_way),
        cmocka_unit_test(revoke__too_many_under_way__busy),
        cmocka_unit_test(poll__reconnected_meanwhile__end_and_beginning_in_two_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
