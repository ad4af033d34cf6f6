/* The session table: verdicts, the model of one table per log prefix, hash and encoding. */
#include "node/sessions.h"

#include "tests/support/expect_assert.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void session__made_and_taken_apart__same_parts(void **state)
{
    (void)state;
    const uint64_t session = lks_session_make(7, LKS_SESSION_INCARNATION_MAX);
    assert_int_equal(lks_session_replica(session), 7);
    assert_int_equal(lks_session_incarnation(session), LKS_SESSION_INCARNATION_MAX);
}

static void expect__each_case__says_verdict_and_changes_nothing(void **state)
{
    (void)state;
    struct lks_sessions sessions = {0};
    sessions.gateways[2].incarnation = 5;
    sessions.gateways[2].last_sequence = 10;
    const struct lks_sessions before = sessions;
    const struct {
        uint32_t replica;
        uint64_t incarnation;
        uint64_t sequence;
        enum lks_session_verdict verdict;
    } cases[] = {
        {2, 5, 11, LKS_SESSION_NEXT},      {2, 5, 10, LKS_SESSION_DUPLICATE},
        {2, 5, 1, LKS_SESSION_DUPLICATE},  {2, 5, 12, LKS_SESSION_GAP},
        {2, 5, UINT64_MAX, LKS_SESSION_GAP}, {2, 4, 11, LKS_SESSION_FENCED},
        {2, 4, 1, LKS_SESSION_FENCED},     {2, 6, 1, LKS_SESSION_NEXT},
        {2, 6, 2, LKS_SESSION_GAP},        {2, 6, 11, LKS_SESSION_GAP},
        {2, 9, 1, LKS_SESSION_NEXT},       {1, 1, 1, LKS_SESSION_NEXT},
        {1, 1, 2, LKS_SESSION_GAP},        {7, 1, 1, LKS_SESSION_NEXT},
        {0, 1, 1, LKS_SESSION_UNKNOWN},    {8, 1, 1, LKS_SESSION_UNKNOWN},
        {65535, 1, 1, LKS_SESSION_UNKNOWN}, {2, 0, 1, LKS_SESSION_UNKNOWN},
        {2, 5, 0, LKS_SESSION_UNKNOWN},
    };
    for (size_t i = 0; i < LKS_COUNT_OF(cases); i++) {
        const uint64_t session = lks_session_make(cases[i].replica, cases[i].incarnation);
        assert_int_equal(lks_sessions_expect(&sessions, session, cases[i].sequence),
                         cases[i].verdict);
    }
    assert_memory_equal(&sessions, &before, sizeof before);
}

static void apply__each_verdict__only_next_changes_the_table(void **state)
{
    (void)state;
    struct lks_sessions sessions = {0};
    const uint64_t first = lks_session_make(3, 1);
    const uint64_t second = lks_session_make(3, 2);
    assert_int_equal(lks_sessions_apply(&sessions, first, 1), LKS_SESSION_NEXT);
    assert_int_equal(lks_sessions_apply(&sessions, first, 2), LKS_SESSION_NEXT);
    assert_int_equal(lks_sessions_apply(&sessions, first, 2), LKS_SESSION_DUPLICATE);
    assert_int_equal(lks_sessions_apply(&sessions, first, 1), LKS_SESSION_DUPLICATE);
    assert_int_equal(sessions.gateways[3].last_sequence, 2);
    assert_int_equal(lks_sessions_apply(&sessions, second, 1), LKS_SESSION_NEXT);
    assert_int_equal(lks_sessions_apply(&sessions, first, 3), LKS_SESSION_FENCED);
    assert_int_equal(sessions.gateways[3].incarnation, 2);
    assert_int_equal(sessions.gateways[3].last_sequence, 1);
}

static void apply__gap_or_unknown__asserts(void **state)
{
    (void)state;
    static struct lks_sessions sessions;
    EXPECT_ASSERT(lks_sessions_apply(&sessions, lks_session_make(1, 1), 2));
    EXPECT_ASSERT(lks_sessions_apply(&sessions, lks_session_make(0, 1), 1));
    EXPECT_ASSERT(lks_sessions_apply(&sessions, lks_session_make(1, 1), 0));
}

/* What expect calls NEXT is exactly what apply lets take effect, whatever was tried before. */
static void expect_and_apply__random_commands__agree_and_execute_once_in_order(void **state)
{
    (void)state;
    srand(1);
    struct lks_sessions sessions = {0};
    uint64_t executed[8][4] = {{0}}; /* by replica and incarnation: the last sequence */
    for (int i = 0; i < 200000; i++) {
        const uint32_t replica = (uint32_t)(rand() % 7) + 1;
        const uint64_t incarnation = (uint64_t)(rand() % 3) + 1;
        const uint64_t sequence = executed[replica][incarnation] + (uint64_t)(rand() % 4);
        const uint64_t session = lks_session_make(replica, incarnation);
        const struct lks_sessions before = sessions;
        const enum lks_session_verdict expected =
            lks_sessions_expect(&sessions, session, sequence);
        if (expected == LKS_SESSION_GAP || expected == LKS_SESSION_UNKNOWN) {
            continue;
        }
        assert_int_equal(lks_sessions_apply(&sessions, session, sequence), expected);
        if (expected == LKS_SESSION_NEXT) {
            assert_int_equal(sequence, executed[replica][incarnation] + 1);
            executed[replica][incarnation] = sequence;
            assert_int_not_equal(lks_sessions_hash(&before), lks_sessions_hash(&sessions));
        } else {
            assert_memory_equal(&before, &sessions, sizeof sessions);
        }
    }
}

static void fill(struct lks_sessions *sessions)
{
    memset(sessions, 0, sizeof *sessions);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica += 2) {
        sessions->gateways[replica].incarnation = replica * UINT64_C(0x0102030405);
        sessions->gateways[replica].last_sequence = replica * UINT64_C(0x1122334455667788);
    }
}

static void hash__any_field_changes__differs(void **state)
{
    (void)state;
    struct lks_sessions sessions;
    fill(&sessions);
    const uint64_t hash = lks_sessions_hash(&sessions);
    for (uint32_t replica = 1; replica <= LKS_REPLICAS_MAX; replica++) {
        sessions.gateways[replica].incarnation++;
        assert_int_not_equal(lks_sessions_hash(&sessions), hash);
        sessions.gateways[replica].incarnation--;
        sessions.gateways[replica].last_sequence++;
        assert_int_not_equal(lks_sessions_hash(&sessions), hash);
        sessions.gateways[replica].last_sequence--;
    }
    assert_int_equal(lks_sessions_hash(&sessions), hash);
}

static void decode__what_was_encoded__same_table(void **state)
{
    (void)state;
    struct lks_sessions sessions;
    struct lks_sessions read = {0};
    uint8_t bytes[LKS_SESSIONS_BYTES];
    fill(&sessions);
    lks_sessions_encode(&sessions, bytes);
    assert_int_equal(lks_sessions_decode(&read, bytes), 0);
    assert_memory_equal(&read, &sessions, sizeof sessions);
}

static void decode__any_bit_flipped__refused_and_untouched(void **state)
{
    (void)state;
    struct lks_sessions sessions;
    uint8_t bytes[LKS_SESSIONS_BYTES];
    fill(&sessions);
    lks_sessions_encode(&sessions, bytes);
    const struct lks_sessions before = sessions;
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(lks_sessions_decode(&sessions, bytes), -EBADMSG);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_memory_equal(&sessions, &before, sizeof before);
}

static void decode__impossible_gateway__refused(void **state)
{
    (void)state;
    struct lks_sessions sessions = {0};
    struct lks_sessions read;
    uint8_t bytes[LKS_SESSIONS_BYTES];
    sessions.gateways[1].last_sequence = 1; /* without an incarnation */
    lks_sessions_encode(&sessions, bytes);
    assert_int_equal(lks_sessions_decode(&read, bytes), -EBADMSG);
    sessions.gateways[1].incarnation = LKS_SESSION_INCARNATION_MAX + 1;
    lks_sessions_encode(&sessions, bytes);
    assert_int_equal(lks_sessions_decode(&read, bytes), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session__made_and_taken_apart__same_parts),
        cmocka_unit_test(expect__each_case__says_verdict_and_changes_nothing),
        cmocka_unit_test(apply__each_verdict__only_next_changes_the_table),
        cmocka_unit_test(apply__gap_or_unknown__asserts),
        cmocka_unit_test(expect_and_apply__random_commands__agree_and_execute_once_in_order),
        cmocka_unit_test(hash__any_field_changes__differs),
        cmocka_unit_test(decode__what_was_encoded__same_table),
        cmocka_unit_test(decode__any_bit_flipped__refused_and_untouched),
        cmocka_unit_test(decode__impossible_gateway__refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
