/*
 * When snapshots begin and how fast they go: played against a log that grows, the ring never
 * fills, the work is spread over the log, and small work waits for nothing.
 */
#include "node/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define RING (UINT64_C(16) << 20)
#define PARTITIONS 64u

struct play {
    struct lks_pace pace;
    uint64_t points[PARTITIONS];
    uint64_t end;
    uint64_t state_bytes; /* of each partition */
    uint64_t command_bytes;
    uint64_t oldest_most; /* greatest age of the oldest snapshot */
    uint64_t step_most;   /* greatest number of bytes written after one command */
    uint32_t taken;
    uint64_t begun[4096]; /* log offsets at which snapshots began */
};

static void take(struct play *play)
{
    const uint64_t point = play->end;
    uint64_t written = 0;
    assert_true(play->taken < 4096);
    play->begun[play->taken] = point;
    play->taken++;
    while (written < play->state_bytes) {
        play->end += play->command_bytes;
        const struct lks_pace_progress progress = {.count = 1,
                                                   .expected = play->state_bytes,
                                                   .written = written,
                                                   .grown = play->end - point,
                                                   .used = play->end - play->points[0]};
        const uint64_t left = play->state_bytes - written;
        const uint64_t allowed = lks_pace_bytes(&play->pace, &progress);
        const uint64_t bytes = allowed < left ? allowed : left;
        play->step_most = bytes > play->step_most ? bytes : play->step_most;
        written += bytes;
    }
    const uint64_t age = play->end - play->points[0];
    play->oldest_most = age > play->oldest_most ? age : play->oldest_most;
    memmove(play->points, play->points + 1, (PARTITIONS - 1) * sizeof play->points[0]);
    play->points[PARTITIONS - 1] = point;
}

static void run(struct play *play, uint64_t log_bytes)
{
    while (play->end < log_bytes) {
        play->end += play->command_bytes;
        if (play->end >= lks_pace_due(&play->pace, play->points)) {
            take(play);
        }
    }
}

static void start(struct play *play, uint32_t replica)
{
    *play = (struct play){.command_bytes = 128, .state_bytes = UINT64_C(1) << 20};
    const struct lks_pace_options options = {
        .partitions = PARTITIONS, .replica = replica, .replicas = 3, .ring_bytes = RING};
    lks_pace_init(&play->pace, &options);
}

static void log__without_end__ring_never_full(void **state)
{
    (void)state;
    static struct play play;
    start(&play, 1);
    run(&play, 20 * RING);
    assert_true(play.oldest_most < RING / 4 * 3);
    assert_true(play.taken > 20 * PARTITIONS);
    assert_true(play.taken < 60 * PARTITIONS); /* and not far more than is needed */
}

static void snapshots__in_time__spread_over_the_log(void **state)
{
    (void)state;
    static struct play play;
    start(&play, 2);
    run(&play, 10 * RING);
    for (uint32_t i = 1; i < play.taken; i++) {
        assert_true(play.begun[i] - play.begun[i - 1] >= play.pace.share / 2);
    }
    assert_true(play.step_most <= 64u << 10); /* 8 bytes of state for each byte of log */
}

static void replicas__same_log__begin_at_different_moments(void **state)
{
    (void)state;
    static struct play plays[3];
    for (uint32_t i = 0; i < 3; i++) {
        start(&plays[i], i + 1);
        run(&plays[i], RING);
    }
    for (uint32_t i = 0; i < plays[0].taken && i < plays[1].taken; i++) {
        assert_true(plays[0].begun[i] != plays[1].begun[i]);
        assert_true(plays[1].begun[i] != plays[2].begun[i]);
    }
}

static void small_ring__large_commands__ring_never_full(void **state)
{
    (void)state;
    static struct play play;
    start(&play, 3);
    const struct lks_pace_options options = {
        .partitions = PARTITIONS, .replica = 3, .replicas = 3, .ring_bytes = UINT64_C(64) << 10};
    lks_pace_init(&play.pace, &options);
    play.state_bytes = 512;
    run(&play, UINT64_C(1) << 20);
    assert_true(play.oldest_most < (UINT64_C(64) << 10) / 8 * 7);
}

static void few_partitions__each_replica__no_more_rounds_than_needed(void **state)
{
    (void)state;
    for (uint32_t partitions = 1; partitions <= 8; partitions *= 2) {
        for (uint32_t replica = 1; replica <= 7; replica++) {
            const struct lks_pace_options options = {.partitions = partitions,
                                                     .replica = replica,
                                                     .replicas = 7,
                                                     .ring_bytes = RING};
            struct lks_pace pace;
            uint64_t points[8] = {0};
            uint64_t end = 0;
            uint32_t taken = 0;
            lks_pace_init(&pace, &options);
            for (; end < 10 * RING; taken++) {
                const uint64_t due = lks_pace_due(&pace, points);
                assert_true(due >= points[0] + RING / 16);
                assert_true(due <= points[0] + RING / 8 * 5);
                end = due > end ? due : end;
                memmove(points, points + 1, (partitions - 1) * sizeof points[0]);
                points[partitions - 1] = end;
            }
            assert_true(taken <= partitions * 30); /* a partition three times a lap at most */
        }
    }
}

static void bytes__each_reason_to_hurry__as_many_as_a_step_takes(void **state)
{
    (void)state;
    static struct play play;
    start(&play, 1);
    struct lks_pace_progress progress = {.count = 1, .expected = UINT64_C(1) << 30};
    assert_int_equal(lks_pace_bytes(&play.pace, &progress), 0); /* nothing has come since */
    progress.pressed = true;
    assert_int_equal(lks_pace_bytes(&play.pace, &progress), 128 << 10);
    progress.pressed = false;
    progress.kept = UINT64_C(9) << 20;
    assert_int_equal(lks_pace_bytes(&play.pace, &progress), 128 << 10);
    progress.kept = 0;
    progress.used = RING / 8 * 7;
    assert_int_equal(lks_pace_bytes(&play.pace, &progress), 128 << 10);
    progress.used = 0;
    progress.grown = play.pace.share; /* more came out than was guessed */
    progress.written = UINT64_C(2) << 30;
    assert_int_equal(lks_pace_bytes(&play.pace, &progress), 128 << 10);
    progress = (struct lks_pace_progress){.count = 1, .expected = 100};
    assert_int_equal(lks_pace_bytes(&play.pace, &progress), 4 << 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log__without_end__ring_never_full),
        cmocka_unit_test(snapshots__in_time__spread_over_the_log),
        cmocka_unit_test(replicas__same_log__begin_at_different_moments),
        cmocka_unit_test(small_ring__large_commands__ring_never_full),
        cmocka_unit_test(few_partitions__each_replica__no_more_rounds_than_needed),
        cmocka_unit_test(bytes__each_reason_to_hurry__as_many_as_a_step_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
