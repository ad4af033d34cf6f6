/* Cases about connections: meeting, reads, inboxes, bounds, and how a connection ends. */
#include "tests/conformance/fabric/cases.h"
#include "tests/conformance/fabric/stage.h"

void connect__by_both_sides__connected_with_hello(void **state)
{
    struct stage *stage = *state;
    struct lks_fabric *one = stage_start(stage, 1);
    struct lks_fabric *two = stage_start(stage, 2);
    assert_int_equal(lks_fabric_connect(one, 2), 0);
    assert_int_equal(lks_fabric_connect(two, 1), 0);
    assert_int_equal(stage_await(stage, 1, LKS_FABRIC_CONNECTED, 2).connection, 1);
    assert_int_equal(stage_await(stage, 2, LKS_FABRIC_CONNECTED, 1).connection, 1);
    assert_memory_equal(lks_fabric_hello(one, 2), stage->lives[2].hello, LKS_FABRIC_HELLO_BYTES);
    assert_memory_equal(lks_fabric_hello(two, 1), stage->lives[1].hello, LKS_FABRIC_HELLO_BYTES);
}

void connect__by_one_side__nothing_happens(void **state)
{
    struct stage *stage = *state;
    struct lks_fabric *one = stage_start(stage, 1);
    struct lks_fabric *two = stage_start(stage, 2);
    struct lks_fabric *three = stage_start(stage, 3);
    assert_int_equal(lks_fabric_connect(one, 2), 0);
    assert_int_equal(lks_fabric_connect(three, 2), 0);
    stage_settle(stage);
    assert_int_equal(stage->lives[1].events_count, 0);
    assert_int_equal(stage->lives[2].events_count, 0);
    assert_int_equal(stage->lives[3].events_count, 0);
    /* The other side joins in later. */
    assert_int_equal(lks_fabric_connect(two, 3), 0);
    (void)stage_await(stage, 2, LKS_FABRIC_CONNECTED, 3);
    (void)stage_await(stage, 3, LKS_FABRIC_CONNECTED, 2);
}

void connect__no_such_peer__einval(void **state)
{
    struct stage *stage = *state;
    struct lks_fabric *one = stage_start(stage, 1);
    assert_int_equal(lks_fabric_connect(one, 0), -EINVAL);
    assert_int_equal(lks_fabric_connect(one, 1), -EINVAL);
    assert_int_equal(lks_fabric_connect(one, SUITE_REPLICAS + 1), -EINVAL);
    assert_int_equal(lks_fabric_connect(one, UINT32_MAX), -EINVAL);
}

/* Bytes that tell where they belong. */
static void fill(uint8_t *bytes, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(i * 7 + seed);
    }
}

void read__every_region__bytes_arrive(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    uint8_t *log = stage->backend->log(stage->world, 2);
    uint8_t *words = lks_fabric_words(stage->lives[2].fabric);
    uint8_t *inbox = lks_fabric_inbox(stage->lives[2].fabric, 1);
    fill(log + 8192, 3000, 1);
    fill(words + 128, 200, 2);
    fill(inbox + 64, 500, 3);
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_LOG, 8192, scratch, 3000, 1), 0);
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 128, scratch + 4096, 200, 2), 0);
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_INBOX, 64, scratch + 8192, 500, 3), 0);
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 128, scratch + 16384, 8, 4), 0);
    for (uint64_t id = 1; id <= 4; id++) {
        assert_int_equal(stage_completion(stage, 1, 2, id), 0);
    }
    assert_memory_equal(scratch, log + 8192, 3000);
    assert_memory_equal(scratch + 4096, words + 128, 200);
    assert_memory_equal(scratch + 8192, inbox + 64, 500);
    assert_memory_equal(scratch + 16384, words + 128, 8);
}

void read__into_own_log__bytes_arrive(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    uint8_t *mine = stage->backend->log(stage->world, 1);
    uint8_t *theirs = stage->backend->log(stage->world, 3);
    fill(theirs + 4096, 20000, 9);
    assert_int_equal(lks_fabric_read(stage->lives[1].fabric, 3, LKS_FABRIC_LOG, 4096, mine + 8192,
                                     20000, 5),
                     0);
    assert_int_equal(stage_completion(stage, 1, 3, 5), 0);
    assert_memory_equal(mine + 8192, theirs + 4096, 20000);
}

void read__snapshots__bytes_arrive_within_the_peers_size(void **state)
{
    struct stage *stage = *state;
    uint8_t *theirs = stage->backend->snapshots(stage->world, 2);
    fill(theirs, SUITE_SNAPSHOTS_BYTES, 11);
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    struct lks_fabric *three = stage->lives[3].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    for (uint64_t at = 0; at < SUITE_SNAPSHOTS_BYTES; at += SUITE_SCRATCH_BYTES) {
        assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_SNAPSHOTS, at, scratch,
                                         SUITE_SCRATCH_BYTES, 1 + at),
                         0);
        assert_int_equal(stage_completion(stage, 1, 2, 1 + at), 0);
        assert_memory_equal(scratch, theirs + at, SUITE_SCRATCH_BYTES);
    }
    theirs[70000] ^= 0xff; /* the owner goes on writing */
    /* Also by one that has no snapshots itself. */
    assert_int_equal(lks_fabric_read(three, 2, LKS_FABRIC_SNAPSHOTS, 70000 - 8,
                                     lks_fabric_scratch(three), 16, 5),
                     0);
    assert_int_equal(stage_completion(stage, 3, 2, 5), 0);
    assert_memory_equal(lks_fabric_scratch(three), theirs + 70000 - 8, 16);
    const uint64_t end = SUITE_SNAPSHOTS_BYTES;
    const enum lks_fabric_region region = LKS_FABRIC_SNAPSHOTS;
    assert_int_equal(lks_fabric_read(one, 2, region, end, scratch, 1, 1), -EINVAL);
    assert_int_equal(lks_fabric_read(one, 2, region, end - 7, scratch, 8, 1), -EINVAL);
    assert_int_equal(lks_fabric_read(one, 2, region, UINT64_MAX - 3, scratch, 8, 1), -EINVAL);
    assert_int_equal(lks_fabric_read(one, 2, region, 0, scratch, 0, 1), -EINVAL);
}

void read__snapshots_of_a_peer_without__einval(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    assert_int_equal(lks_fabric_read(one, 3, LKS_FABRIC_SNAPSHOTS, 0, scratch, 8, 1), -EINVAL);
    stage_settle(stage);
    assert_int_equal(stage->lives[1].events_count, 0);
}

void write_inbox__from_two_peers__each_has_an_area(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    const uint64_t from_two = 0x2222222222222222;
    const uint64_t from_three = 0x3333333333333333;
    assert_int_equal(lks_fabric_write_inbox(stage->lives[2].fabric, 1, SUITE_INBOX_BYTES - 8,
                                            &from_two, 8, LKS_FABRIC_INLINE, 1),
                     0);
    assert_int_equal(lks_fabric_write_inbox(stage->lives[3].fabric, 1, SUITE_INBOX_BYTES - 8,
                                            &from_three, 8, LKS_FABRIC_INLINE, 1),
                     0);
    assert_int_equal(stage_completion(stage, 2, 1, 1), 0);
    assert_int_equal(stage_completion(stage, 3, 1, 1), 0);
    const uint8_t *area_two = lks_fabric_inbox(one, 2);
    const uint8_t *area_three = lks_fabric_inbox(one, 3);
    assert_memory_equal(area_two + SUITE_INBOX_BYTES - 8, &from_two, 8);
    assert_memory_equal(area_three + SUITE_INBOX_BYTES - 8, &from_three, 8);
    for (size_t i = 0; i < SUITE_INBOX_BYTES - 8; i++) {
        assert_int_equal(area_two[i], 0);
        assert_int_equal(area_three[i], 0);
    }
}

void write_inbox__inline_source_reused__first_bytes_arrive(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    uint8_t bytes[LKS_FABRIC_INLINE_MAX];
    uint8_t first[LKS_FABRIC_INLINE_MAX];
    fill(bytes, sizeof bytes, 4);
    memcpy(first, bytes, sizeof first);
    assert_int_equal(lks_fabric_write_inbox(stage->lives[1].fabric, 2, 0, bytes, sizeof bytes,
                                            LKS_FABRIC_INLINE, 1),
                     0);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
    assert_memory_equal(lks_fabric_inbox(stage->lives[2].fabric, 1), first, sizeof first);
}

void write_inbox__many__seen_in_order(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    const uint64_t *area = lks_fabric_inbox(stage->lives[2].fabric, 1);
    for (uint64_t turn = 1; turn <= 200; turn++) {
        memset(scratch, (int)turn, 512);
        assert_int_equal(lks_fabric_write_inbox(one, 2, 64, scratch, 512, 0, 0), 0);
        assert_int_equal(lks_fabric_write_inbox(one, 2, 0, &turn, 8, LKS_FABRIC_INLINE, turn), 0);
        while (area[0] != turn) {
            stage_round(stage);
        }
        for (size_t i = 8; i < 8 + 512 / 8; i++) {
            assert_int_equal(area[i] & 0xff, turn & 0xff);
        }
        assert_int_equal(stage_completion(stage, 1, 2, turn), 0);
    }
}

void operations__out_of_bounds__einval(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    uint8_t bytes[LKS_FABRIC_INLINE_MAX + 1] = {0};
    const struct {
        enum lks_fabric_region region;
        uint64_t bytes;
    } regions[] = {{LKS_FABRIC_LOG, SUITE_LOG_BYTES},
                   {LKS_FABRIC_WORDS, SUITE_WORDS_BYTES},
                   {LKS_FABRIC_INBOX, SUITE_INBOX_BYTES}};
    for (size_t i = 0; i < 3; i++) {
        const uint64_t end = regions[i].bytes;
        const enum lks_fabric_region region = regions[i].region;
        assert_int_equal(lks_fabric_read(one, 2, region, end, scratch, 1, 1), -EINVAL);
        assert_int_equal(lks_fabric_read(one, 2, region, end - 7, scratch, 8, 1), -EINVAL);
        assert_int_equal(lks_fabric_read(one, 2, region, UINT64_MAX - 3, scratch, 8, 1), -EINVAL);
        assert_int_equal(lks_fabric_read(one, 2, region, 0, scratch, 0, 1), -EINVAL);
        assert_int_equal(lks_fabric_read(one, 2, region, 0, bytes, 8, 1), -EINVAL);
    }
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0,
                                     scratch + SUITE_SCRATCH_BYTES - 4, 8, 1),
                     -EINVAL);
    assert_int_equal(lks_fabric_write_inbox(one, 2, SUITE_INBOX_BYTES - 4, bytes, 8,
                                            LKS_FABRIC_INLINE, 1),
                     -EINVAL);
    assert_int_equal(lks_fabric_write_inbox(one, 2, UINT64_MAX, bytes, 8, LKS_FABRIC_INLINE, 1),
                     -EINVAL);
    assert_int_equal(lks_fabric_write_inbox(one, 2, 0, bytes, sizeof bytes, LKS_FABRIC_INLINE, 1),
                     -EINVAL);
    assert_int_equal(lks_fabric_write_inbox(one, 2, 0, bytes, 8, 0, 1), -EINVAL);
    assert_int_equal(lks_fabric_write_inbox(one, 2, 0, bytes, 8, 64, 1), -EINVAL);
    for (uint32_t peer = 0; peer < 8; peer++) {
        if (peer != 2 && peer != 3) {
            assert_int_equal(lks_fabric_read(one, peer, LKS_FABRIC_WORDS, 0, scratch, 8, 1),
                             -EINVAL);
            assert_int_equal(
                lks_fabric_write_inbox(one, peer, 0, bytes, 8, LKS_FABRIC_INLINE, 1), -EINVAL);
            assert_int_equal(lks_fabric_grant(one, peer, 1), -EINVAL);
            assert_int_equal(lks_fabric_revoke(one, peer, 1), -EINVAL);
            assert_int_equal(lks_fabric_flush(one, peer, 1), -EINVAL);
        }
    }
    stage_settle(stage);
    assert_int_equal(stage->lives[1].events_count, 0);
}

void operations__without_connection__ebroken(void **state)
{
    struct stage *stage = *state;
    struct lks_fabric *one = stage_start(stage, 1);
    uint8_t *scratch = lks_fabric_scratch(one);
    const uint64_t word = 1;
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 8, 1), -LKS_EBROKEN);
    assert_int_equal(lks_fabric_write_inbox(one, 2, 0, &word, 8, LKS_FABRIC_INLINE, 1),
                     -LKS_EBROKEN);
    assert_int_equal(lks_fabric_flush(one, 2, 1), -LKS_EBROKEN);
}

void operations__more_than_outstanding_max__ebusy_until_polled(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    const uint64_t word = 7;
    for (uint64_t id = 1; id <= SUITE_OUTSTANDING_MAX; id++) {
        assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 8, id), 0);
    }
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 8, 99), -LKS_EBUSY);
    assert_int_equal(lks_fabric_write_inbox(one, 2, 0, &word, 8, LKS_FABRIC_INLINE, 99),
                     -LKS_EBUSY);
    /* Another peer has a bound of its own. */
    assert_int_equal(lks_fabric_read(one, 3, LKS_FABRIC_WORDS, 0, scratch, 8, 50), 0);
    assert_int_equal(stage_completion(stage, 1, 3, 50), 0);
    for (uint64_t id = 1; id <= SUITE_OUTSTANDING_MAX; id++) {
        assert_int_equal(stage_completion(stage, 1, 2, id), 0);
    }
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 8, 100), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 100), 0);
}

void operations__mixed_ids__one_completion_an_id_in_order(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    for (uint64_t turn = 0; turn < 300; turn++) {
        const uint64_t id = turn % 3 == 0 ? 0 : turn;
        const int code = turn % 2 == 0
                             ? lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 64, id)
                             : lks_fabric_write_inbox(one, 2, 0, &turn, 8, LKS_FABRIC_INLINE, id);
        assert_int_equal(code, 0);
        if (turn % 9 == 8) {
            stage_settle(stage);
        }
    }
    stage_settle(stage);
    uint64_t last = 0;
    assert_int_equal(stage->lives[1].events_count, 200);
    for (uint32_t i = 0; i < 200; i++) {
        const struct lks_fabric_event *event = &stage->lives[1].events[i];
        assert_int_equal(event->kind, LKS_FABRIC_COMPLETED);
        assert_int_equal(event->status, 0);
        assert_true(event->id > last);
        assert_int_not_equal(event->id % 3, 0);
        last = event->id;
    }
}

void crash__of_a_peer__operations_end_then_disconnected_dead(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric *one = stage->lives[1].fabric;
    uint8_t *scratch = lks_fabric_scratch(one);
    for (uint64_t id = 1; id <= 5; id++) {
        assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 8, id), 0);
    }
    stage_crash(stage, 2);
    while (!stage_has(stage, 1, LKS_FABRIC_DISCONNECTED, 2)) {
        stage_round(stage);
    }
    /* All five have ended, one way or the other, before it. */
    for (uint64_t id = 1; id <= 5; id++) {
        assert_int_equal(stage->lives[1].events[id - 1].kind, LKS_FABRIC_COMPLETED);
        assert_int_equal(stage->lives[1].events[id - 1].id, id);
    }
    const struct lks_fabric_event end = stage_await(stage, 1, LKS_FABRIC_DISCONNECTED, 2);
    assert_int_equal(end.connection, 1);
    assert_true(end.peer_dead);
    assert_int_equal(lks_fabric_read(one, 2, LKS_FABRIC_WORDS, 0, scratch, 8, 6), -LKS_EBROKEN);
    /* The third one is untouched. */
    assert_int_equal(lks_fabric_read(one, 3, LKS_FABRIC_WORDS, 0, scratch, 8, 7), 0);
    assert_int_equal(stage_completion(stage, 1, 3, 7), 0);
}

void stop__of_a_peer__disconnected(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_stop(stage, 3);
    assert_int_equal(stage_await(stage, 1, LKS_FABRIC_DISCONNECTED, 3).connection, 1);
    assert_int_equal(stage_await(stage, 2, LKS_FABRIC_DISCONNECTED, 3).connection, 1);
    stage_settle(stage);
    assert_int_equal(stage->lives[1].events_count, 0);
}

void restart__of_a_peer__connects_again_with_clean_inbox(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    const uint64_t word = 0x1234;
    for (uint32_t replica = 2; replica <= 3; replica++) {
        const uint32_t other = 5 - replica;
        assert_int_equal(lks_fabric_write_inbox(stage->lives[replica].fabric, other, 8, &word, 8,
                                                LKS_FABRIC_INLINE, 1),
                         0);
        assert_int_equal(stage_completion(stage, replica, other, 1), 0);
    }
    stage_crash(stage, 3);
    (void)stage_await(stage, 2, LKS_FABRIC_DISCONNECTED, 3);
    struct lks_fabric *three = stage_start(stage, 3);
    assert_int_equal(lks_fabric_connect(three, 2), 0);
    assert_int_equal(stage_await(stage, 2, LKS_FABRIC_CONNECTED, 3).connection, 2);
    assert_int_equal(stage_await(stage, 3, LKS_FABRIC_CONNECTED, 2).connection, 1);
    struct lks_fabric *two = stage->lives[2].fabric;
    const uint64_t *area = lks_fabric_inbox(two, 3);
    assert_int_equal(area[1], 0);
    area = lks_fabric_inbox(three, 2);
    assert_int_equal(area[1], 0);
    assert_memory_equal(lks_fabric_hello(two, 3), stage->lives[3].hello, LKS_FABRIC_HELLO_BYTES);
}
