/* Cases about paths: grants, revocations, and writes to a peer's log. */
#include "tests/conformance/fabric/cases.h"
#include "tests/conformance/fabric/stage.h"

#define PLACE UINT64_C(8192) /* an offset in the log memory that the cases write to */

static int write_word(struct stage *stage, uint32_t writer, uint32_t owner, uint64_t offset,
                      uint64_t value, uint64_t id)
{
    return lks_fabric_write_log(stage->lives[writer].fabric, owner, offset, &value, sizeof value,
                                LKS_FABRIC_INLINE | LKS_FABRIC_DURABLE, id);
}

void write_log__no_path__ebroken(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
    assert_int_equal(lks_fabric_flush(stage->lives[1].fabric, 2, 2), -LKS_EBROKEN);
    /* A path the other way is none. */
    stage_path(stage, 2, 1);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
}

void write_log__on_open_path__lands(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 0x1122334455667788, 1), 0);
    assert_int_equal(write_word(stage, 1, 2, SUITE_LOG_BYTES - 8, 5, 0), 0);
    assert_int_equal(lks_fabric_flush(stage->lives[1].fabric, 2, 2), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 2), 0);
    const uint8_t *log = stage->backend->log(stage->world, 2);
    const uint64_t expected = 0x1122334455667788;
    assert_memory_equal(log + PLACE, &expected, 8);
    assert_int_equal(log[SUITE_LOG_BYTES - 8], 5);
    assert_int_equal(stage_read_word(stage, 3, 2, PLACE), expected);
}

void write_log__long_from_own_log__lands_whole(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    uint8_t *mine = stage->backend->log(stage->world, 1);
    const uint8_t *theirs = stage->backend->log(stage->world, 2);
    for (size_t i = PLACE; i < SUITE_LOG_BYTES; i++) {
        mine[i] = (uint8_t)((i * 31 + i / 256) | 1); /* what is zero was not written */
    }
    uint64_t landed = 0; /* end of the furthest write */
    const uint64_t lengths[] = {1, 7, 8, 9, 63, 64, 65, 128, 4095, 4096, 4097, 100001};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const uint64_t offset = PLACE + i * 3;
        const uint32_t flags = i % 2 == 0 ? LKS_FABRIC_DURABLE : 0;
        assert_int_equal(lks_fabric_write_log(stage->lives[1].fabric, 2, offset, mine + offset,
                                              lengths[i], flags, i + 1),
                         0);
        assert_int_equal(stage_completion(stage, 1, 2, i + 1), 0);
        assert_memory_equal(theirs + offset, mine + offset, lengths[i]);
        if (offset + lengths[i] > landed) {
            landed = offset + lengths[i];
        }
        assert_int_equal(theirs[landed], 0);
    }
}

void write_log__words__land_in_order(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    uint8_t *mine = stage->backend->log(stage->world, 1);
    const uint64_t *theirs = (const uint64_t *)(void *)(stage->backend->log(stage->world, 2));
    struct lks_fabric *one = stage->lives[1].fabric;
    for (uint64_t turn = 1; turn <= 200; turn++) {
        memset(mine + PLACE, (int)turn, 5000);
        assert_int_equal(lks_fabric_write_log(one, 2, PLACE, mine + PLACE, 5000, 0, 0), 0);
        assert_int_equal(write_word(stage, 1, 2, 4096, turn, turn), 0);
        while (theirs[4096 / 8] != turn) {
            stage_round(stage);
        }
        for (size_t i = 0; i < 5000 / 8; i++) {
            assert_int_equal(theirs[PLACE / 8 + i] & 0xff, turn & 0xff);
        }
        assert_int_equal(stage_completion(stage, 1, 2, turn), 0);
    }
}

void write_log__out_of_bounds__einval(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    struct lks_fabric *one = stage->lives[1].fabric;
    const uint8_t *mine = stage->backend->log(stage->world, 1);
    const uint8_t bytes[LKS_FABRIC_INLINE_MAX + 1] = {0};
    const uint32_t copy = LKS_FABRIC_INLINE;
    assert_int_equal(write_word(stage, 1, 2, 0, 1, 1), -EINVAL);
    assert_int_equal(write_word(stage, 1, 2, 4095, 1, 1), -EINVAL);
    assert_int_equal(write_word(stage, 1, 2, SUITE_LOG_BYTES - 7, 1, 1), -EINVAL);
    assert_int_equal(write_word(stage, 1, 2, SUITE_LOG_BYTES, 1, 1), -EINVAL);
    assert_int_equal(write_word(stage, 1, 2, UINT64_MAX - 7, 1, 1), -EINVAL);
    assert_int_equal(write_word(stage, 1, 1, PLACE, 1, 1), -EINVAL);
    assert_int_equal(write_word(stage, 1, 9, PLACE, 1, 1), -EINVAL);
    assert_int_equal(lks_fabric_write_log(one, 2, PLACE, bytes, 0, copy, 1), -EINVAL);
    assert_int_equal(lks_fabric_write_log(one, 2, PLACE, bytes, sizeof bytes, copy, 1), -EINVAL);
    assert_int_equal(lks_fabric_write_log(one, 2, PLACE, bytes, 8, 0, 1), -EINVAL);
    assert_int_equal(lks_fabric_write_log(one, 2, PLACE, mine + SUITE_LOG_BYTES - 4, 8, 0, 1),
                     -EINVAL);
    assert_int_equal(lks_fabric_write_log(one, 2, PLACE, bytes, 8, copy | 128, 1), -EINVAL);
    assert_int_equal(lks_fabric_write_log(one, 2, PLACE, mine + PLACE, UINT64_MAX, 0, 1),
                     -EINVAL);
    /* None of these broke the path. */
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
}

void write_log__more_than_outstanding_max__ebusy_until_polled(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    for (uint64_t id = 1; id <= SUITE_OUTSTANDING_MAX; id++) {
        assert_int_equal(write_word(stage, 1, 2, PLACE + 8 * id, id, id), 0);
    }
    assert_int_equal(write_word(stage, 1, 2, PLACE, 99, 99), -LKS_EBUSY);
    assert_int_equal(lks_fabric_flush(stage->lives[1].fabric, 2, 99), -LKS_EBUSY);
    for (uint64_t id = 1; id <= SUITE_OUTSTANDING_MAX; id++) {
        assert_int_equal(stage_completion(stage, 1, 2, id), 0);
    }
    assert_int_equal(stage_read_word(stage, 3, 2, PLACE), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 100, 100), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 100), 0);
}

void open__key_of_nobody__refused(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric_key key = {.grant = 0};
    assert_int_not_equal(stage_open(stage, 1, 2, &key), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
    memset(&key, 0xff, sizeof key);
    assert_int_not_equal(stage_open(stage, 1, 2, &key), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
    /* A key for another writer. */
    key = stage_grant(stage, 2, 3);
    assert_int_not_equal(stage_open(stage, 1, 2, &key), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
}

void revoke__nothing_granted__revoked(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_revoke(stage, 1, 2);
    stage_revoke(stage, 1, 2);
    stage_path(stage, 2, 1);
    assert_int_equal(write_word(stage, 2, 1, PLACE, 1, 1), 0);
    assert_int_equal(stage_completion(stage, 2, 1, 1), 0);
}

void revoke__peer_not_connected__revoked(void **state)
{
    struct stage *stage = *state;
    (void)stage_start(stage, 1);
    stage_revoke(stage, 1, 3);
}

void revoke__open_path__write_refused_and_nothing_lands(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    struct lks_fabric *one = stage->lives[1].fabric;
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
    stage_revoke(stage, 2, 1);
    for (uint64_t id = 2; id <= 5; id++) {
        assert_int_equal(write_word(stage, 1, 2, PLACE + 8 * (id - 2), 77, id), 0);
    }
    assert_int_equal(lks_fabric_flush(one, 2, 6), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 2), -LKS_EREVOKED);
    for (uint64_t id = 3; id <= 6; id++) {
        assert_int_not_equal(stage_completion(stage, 1, 2, id), 0);
    }
    stage_settle(stage);
    const uint64_t *log = (const uint64_t *)(void *)stage->backend->log(stage->world, 2);
    assert_int_equal(log[PLACE / 8], 1);
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(log[PLACE / 8 + i], 0);
    }
    /* Reads and messages of the same connection go on. */
    assert_int_equal(stage_read_word(stage, 1, 2, PLACE), 1);
    const uint64_t word = 3;
    assert_int_equal(lks_fabric_write_inbox(one, 2, 0, &word, 8, LKS_FABRIC_INLINE, 7), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 7), 0);
}

void revoke__failure_without_id__shown_by_next_operation_with_id(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    stage_revoke(stage, 2, 1);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 9, 0), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 9, 0), 0);
    assert_int_equal(lks_fabric_flush(stage->lives[1].fabric, 2, 4), 0);
    assert_int_not_equal(stage_completion(stage, 1, 2, 4), 0);
    assert_int_equal(stage_read_word(stage, 1, 2, PLACE), 0);
}

void revoke__one_of_two_writers__other_goes_on(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    stage_path(stage, 3, 2);
    stage_revoke(stage, 2, 1);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), 0);
    assert_int_equal(write_word(stage, 3, 2, PLACE + 8, 3, 1), 0);
    assert_int_not_equal(stage_completion(stage, 1, 2, 1), 0);
    assert_int_equal(stage_completion(stage, 3, 2, 1), 0);
    assert_int_equal(stage_read_word(stage, 3, 2, PLACE), 0);
    assert_int_equal(stage_read_word(stage, 3, 2, PLACE + 8), 3);
}

void revoke__then_grant_at_once__in_order(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    struct lks_fabric *two = stage->lives[2].fabric;
    assert_int_equal(lks_fabric_revoke(two, 1, 21), 0);
    assert_int_equal(lks_fabric_grant(two, 1, 22), 0);
    while (!stage_has(stage, 2, LKS_FABRIC_GRANTED, 1)) {
        stage_round(stage);
    }
    assert_int_equal(stage->lives[2].events[0].kind, LKS_FABRIC_REVOKED);
    assert_int_equal(stage->lives[2].events[0].id, 21);
    const struct lks_fabric_event granted = stage_await(stage, 2, LKS_FABRIC_GRANTED, 1);
    assert_int_equal(granted.status, 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), 0);
    assert_int_not_equal(stage_completion(stage, 1, 2, 1), 0);
    assert_int_equal(stage_open(stage, 1, 2, &granted.key), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 2, 2), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 2), 0);
    assert_int_equal(stage_read_word(stage, 1, 2, PLACE), 2);
}

void grant__peer_not_connected__ebroken(void **state)
{
    struct stage *stage = *state;
    struct lks_fabric *one = stage_start(stage, 1);
    assert_int_equal(lks_fabric_grant(one, 2, 8), 0);
    const struct lks_fabric_event event = stage_await(stage, 1, LKS_FABRIC_GRANTED, 2);
    assert_int_equal(event.id, 8);
    assert_int_equal(event.status, -LKS_EBROKEN);
}

void grant__again__fresh_number_and_old_key_refused(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    struct lks_fabric_key old = stage_grant(stage, 2, 1);
    for (unsigned turn = 0; turn < 10; turn++) {
        const struct lks_fabric_key fresh = stage_grant(stage, 2, 1);
        assert_true(fresh.grant > old.grant);
        assert_int_not_equal(stage_open(stage, 1, 2, &old), 0);
        assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
        assert_int_equal(stage_open(stage, 1, 2, &fresh), 0);
        assert_int_equal(write_word(stage, 1, 2, PLACE, turn, 1), 0);
        assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
        old = fresh;
    }
}

void restart__of_the_owner__old_path_gone_and_numbers_rise(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    const struct lks_fabric_key old = stage_grant(stage, 2, 1);
    assert_int_equal(stage_open(stage, 1, 2, &old), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
    stage_crash(stage, 2);
    struct lks_fabric *two = stage_start(stage, 2);
    /* The writer has not noticed yet, perhaps: nothing of it lands any more. */
    const int code = write_word(stage, 1, 2, PLACE, 2, 2);
    assert_true(code == 0 || code == -LKS_EBROKEN);
    stage_revoke(stage, 2, 1);
    if (code == 0) {
        assert_int_not_equal(stage_completion(stage, 1, 2, 2), 0);
    }
    (void)stage_await(stage, 1, LKS_FABRIC_DISCONNECTED, 2);
    assert_int_equal(lks_fabric_connect(two, 1), 0);
    (void)stage_await(stage, 1, LKS_FABRIC_CONNECTED, 2);
    assert_int_equal(stage_read_word(stage, 1, 2, PLACE), 1);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 3, 3), -LKS_EBROKEN);
    assert_int_not_equal(stage_open(stage, 1, 2, &old), 0);
    (void)stage_await(stage, 2, LKS_FABRIC_CONNECTED, 1);
    const struct lks_fabric_key fresh = stage_grant(stage, 2, 1);
    assert_true(fresh.grant > old.grant);
    assert_int_equal(stage_open(stage, 1, 2, &fresh), 0);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 4, 4), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 4), 0);
    assert_int_equal(stage_read_word(stage, 1, 2, PLACE), 4);
}

void restart__of_the_writer__needs_a_new_grant(void **state)
{
    struct stage *stage = *state;
    stage_connect_all(stage);
    stage_path(stage, 1, 2);
    stage_crash(stage, 1);
    (void)stage_await(stage, 2, LKS_FABRIC_DISCONNECTED, 1);
    struct lks_fabric *one = stage_start(stage, 1);
    assert_int_equal(lks_fabric_connect(one, 2), 0);
    (void)stage_await(stage, 1, LKS_FABRIC_CONNECTED, 2);
    (void)stage_await(stage, 2, LKS_FABRIC_CONNECTED, 1);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), -LKS_EBROKEN);
    stage_path(stage, 1, 2);
    assert_int_equal(write_word(stage, 1, 2, PLACE, 1, 1), 0);
    assert_int_equal(stage_completion(stage, 1, 2, 1), 0);
}
