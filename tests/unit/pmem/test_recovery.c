/*
 * Where the log ends: torn tails of killed writers and power cuts, against damage. Rings of 1 MiB,
 * so that proof can lie farther behind a break than an interrupted writer gets ahead of itself.
 */
#include "journal_fixture.h"

#define BIG_RING (UINT64_C(1) << 20)
#define ENTRY 960u /* payload: entries of 1024 bytes */

static int setup_big(void **state)
{
    struct fixture *f = test_malloc(sizeof *f);
    fixture_make(f, scratch_folder(), BIG_RING);
    *state = f;
    return 0;
}

static unsigned char *ring_at(const struct fixture *f, uint64_t offset)
{
    return lks_journal_address(f->journal, offset);
}

static void expect_tail(struct fixture *f, uint64_t offset)
{
    struct lks_log_point tail;
    if (lks_journal_recover(f->journal, &tail, &f->err) != 0) {
        fail_msg("%s", f->err.text);
    }
    assert_int_equal(tail.offset, offset);
    f->tail = tail;
}

/* Recovery refuses, names the entry, and leaves every byte as it was. */
static void expect_damage(struct fixture *f, uint64_t index, uint64_t offset, const char *proof)
{
    struct lks_log_point tail = {.index = 77};
    char names[96];
    size_t bytes;
    unsigned char *before = file_snapshot(f->path, &bytes);
    assert_int_equal(lks_journal_recover(f->journal, &tail, &f->err), -LKS_EDAMAGED);
    unsigned char *after = file_snapshot(f->path, &bytes);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
    assert_int_equal(tail.index, 77);
    (void)snprintf(names, sizeof names, "entry %llu at offset %llu ", (unsigned long long)index,
                   (unsigned long long)offset);
    if (strstr(f->err.text, names) == NULL || strstr(f->err.text, proof) == NULL) {
        fail_msg("'%s' does not say '%s' and '%s'", f->err.text, names, proof);
    }
}

/* ---- ends in order ------------------------------------------------------------------------- */

static void recover__new_journal__beginning(void **state)
{
    struct fixture *f = *state;
    create(f);
    open_journal(f);
    expect_tail(f, 0);
    assert_true(f->tail.index == 0 && f->tail.term == 0 && f->tail.chain == 0);
}

static void recover__entries__tail_behind_the_last(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, ENTRY, 20);
    append_many(f, 2, 10, 3);
    const struct lks_log_point tail = f->tail;
    reopen(f);
    expect_tail(f, tail.offset);
    assert_memory_equal(&tail, &f->tail, sizeof tail);
    assert_int_equal(append(f, 3, 5), 0);
}

static void recover__full_ring_after_laps__tail_at_its_end(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, ENTRY, 1000);
    assert_int_equal(lks_journal_write_base(f->journal, &f->tail), 0);
    append_many(f, 2, ENTRY, 1024);
    assert_int_equal(append(f, 2, 0), -LKS_ERINGFULL);
    reopen(f);
    expect_tail(f, 2024 * 1024);
}

static void recover__control_page__is_zeroed(void **state)
{
    struct fixture *f = *state;
    static const unsigned char zeros[LKS_JOURNAL_CONTROL_BYTES];
    start(f);
    append_many(f, 1, ENTRY, 4);
    memset((void *)lks_journal_control(f->journal), 0x40, LKS_JOURNAL_CONTROL_BYTES);
    reopen(f);
    expect_tail(f, 4096);
    assert_memory_equal((void *)lks_journal_control(f->journal), zeros, sizeof zeros);
}

/* Entries of an earlier lap lie behind the tail: they are good, and mean nothing. */
static void recover__earlier_lap_behind_the_tail__is_no_damage(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 900);
    assert_int_equal(lks_journal_write_base(f->journal, &f->tail), 0);
    append_many(f, 1, ENTRY, 200);
    const uint64_t tail = f->tail.offset;
    reopen(f);
    expect_tail(f, tail);
}

/* ---- a killed writer, same boot ------------------------------------------------------------ */

/* Copies the new bytes over the old in order up to `done`; of the next 4 KiB step only what lies
 * from `hole` to `hole_end` within it. */
static void land(unsigned char *ring, const unsigned char *fresh, uint64_t from, uint64_t to,
                 uint64_t done, uint64_t hole, uint64_t hole_end)
{
    memcpy(ring + from, fresh + from, done);
    const uint64_t step = from + done;
    const uint64_t end = step + hole_end < to ? step + hole_end : to;
    if (step + hole < end) {
        memcpy(ring + step + hole, fresh + step + hole, end - step - hole);
    }
}

/*
 * The overwriting of a diverging tail by a newer leader, cut anywhere, with any part of the last
 * step missing: never damage, though the old tail's entries chain for long behind the break, also
 * on the stored checksum of one whose header is old and whose payload is new.
 */
static void recover__diverging_tail_half_overwritten__is_no_damage(void **state)
{
    struct fixture *f = *state;
    static unsigned char old[BIG_RING];
    static unsigned char fresh[BIG_RING];
    start(f);
    promise(f, 9);
    append_many(f, 1, ENTRY, 50);
    const struct lks_log_point fork_point = f->tail;
    append_many(f, 3, ENTRY, 300); /* the old leader's */
    const struct lks_log_point old_tail = f->tail;
    memcpy(old, ring_at(f, 0), BIG_RING);
    f->tail = fork_point;
    append_many(f, 9, 200, 400); /* the new leader's, of other lengths */
    append_many(f, 9, ENTRY * 5, 30);
    const struct lks_log_point new_tail = f->tail;
    memcpy(fresh, ring_at(f, 0), BIG_RING);
    const uint64_t all = new_tail.offset - fork_point.offset;
    static const uint64_t holes[][2] = {{0, 0},       {64, 128},    {64, 4096},   {512, 600},
                                        {2048, 4096}, {2112, 2300}, {3000, 3500}, {4032, 4096}};
    for (uint64_t done = 0; done < all; done += 4096) {
        for (size_t i = 0; i < sizeof holes / sizeof holes[0]; i++) {
            memcpy(ring_at(f, 0), old, BIG_RING);
            land(ring_at(f, 0), fresh, fork_point.offset, new_tail.offset, done, holes[i][0],
                 holes[i][1]);
            struct lks_log_point tail;
            if (lks_journal_recover(f->journal, &tail, &f->err) != 0) {
                fail_msg("%s", f->err.text);
            }
            assert_true(tail.offset >= fork_point.offset);
            assert_true(tail.offset <= new_tail.offset || tail.offset <= old_tail.offset);
        }
    }
}

/* A renewed grant in the same term, into a ring whose old bytes are of an earlier lap. */
static void recover__killed_within_a_large_entry__is_no_damage(void **state)
{
    struct fixture *f = *state;
    static unsigned char fresh[BIG_RING];
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 10);
    const struct lks_log_point before = f->tail;
    append_many(f, 1, 100000, 1);
    append_many(f, 1, 10, 20); /* right behind it, in the last step */
    memcpy(fresh, ring_at(f, 0), BIG_RING);
    for (uint64_t hole = before.offset + 64; hole < before.offset + 100000; hole += 997) {
        memcpy(ring_at(f, 0), fresh, BIG_RING);
        /* From the hole on nothing landed, but for the end of its own step. */
        memset(ring_at(f, hole), 0, 2048);
        memset(ring_at(f, hole + 4096), 0, BIG_RING - hole - 4096);
        struct lks_log_point tail;
        assert_int_equal(lks_journal_recover(f->journal, &tail, &f->err), 0);
        assert_int_equal(tail.offset, before.offset);
    }
}

/* Within the disorder of one step a later entry may be whole before an earlier one is. */
static void recover__good_entries_close_behind_a_break__torn_tail(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 60);
    ring_at(f, 10 * 1024)[500] ^= 1;
    reopen(f);
    expect_tail(f, 10 * 1024);
}

static void torn_at__broken_payload_or_nothing(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, ENTRY, 5);
    assert_false(lks_journal_torn_at(f->journal, &f->tail));
    ring_at(f, 4 * 1024)[900] ^= 1;
    expect_tail(f, 4 * 1024);
    assert_true(lks_journal_torn_at(f->journal, &f->tail));
}

/* ---- rot, same boot ------------------------------------------------------------------------ */

static void recover__payload_rotten__chain_behind_it_proves_damage(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 400);
    ring_at(f, 10 * 1024)[64 + 500] ^= 1;
    reopen(f);
    expect_damage(f, 11, 10 * 1024, "no interrupted write leaves");
    ring_at(f, 10 * 1024)[64 + 500] ^= 1;
    expect_tail(f, 400 * 1024);
}

static void recover__header_rotten__present_term_proves_damage(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 400);
    for (unsigned byte = 0; byte < 64; byte++) {
        ring_at(f, 10 * 1024)[byte] ^= 0x04;
        expect_damage(f, 11, 10 * 1024, "no interrupted write leaves");
        ring_at(f, 10 * 1024)[byte] ^= 0x04;
    }
}

/* Entries of an older term count where the chain leads on from them to the present one. */
static void recover__rotten_before_a_change_of_term__proven_by_the_later_term(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 2);
    append_many(f, 1, ENTRY, 200);
    append_many(f, 2, ENTRY, 1);
    ring_at(f, 10 * 1024)[9] ^= 1;
    expect_damage(f, 11, 10 * 1024, "no interrupted write leaves");
    ring_at(f, 10 * 1024)[9] ^= 1;
    ring_at(f, 20 * 1024)[99] ^= 1;
    expect_damage(f, 21, 20 * 1024, "no interrupted write leaves");
}

static void recover__header_rotten_under_an_older_term__no_proof(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 2);
    append_many(f, 1, ENTRY, 400);
    ring_at(f, 10 * 1024)[9] ^= 1;
    reopen(f);
    expect_tail(f, 10 * 1024);
}

static void recover__first_entry_rotten__index_1(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 400);
    memset(ring_at(f, 0), 0, 64);
    reopen(f);
    expect_damage(f, 1, 0, "no interrupted write leaves");
}

static void recover__rot_below_the_commit_word__damage(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, ENTRY, 20);
    lks_word_publish(&lks_journal_control(f->journal)->commit, 15 * 1024);
    ring_at(f, 14 * 1024)[9] ^= 1;
    reopen(f);
    expect_damage(f, 15, 14 * 1024, "committed");
    ring_at(f, 14 * 1024)[9] ^= 1;
    ring_at(f, 15 * 1024)[9] ^= 1;
    expect_tail(f, 15 * 1024);
}

static void recover__impossible_commit_word__proves_nothing(void **state)
{
    struct fixture *f = *state;
    static const uint64_t words[] = {UINT64_MAX, BIG_RING + 64, 15 * 1024 + 1};
    start(f);
    append_many(f, 1, ENTRY, 20);
    ring_at(f, 14 * 1024)[9] ^= 1;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        lks_word_publish(&lks_journal_control(f->journal)->commit, words[i]);
        expect_tail(f, 14 * 1024);
    }
}

static void recover__rot_below_the_floor__damage(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, ENTRY, 20);
    assert_int_equal(lks_journal_raise_floor(f->journal, 15 * 1024), 0);
    ring_at(f, 14 * 1024)[9] ^= 1;
    reopen(f);
    expect_damage(f, 15, 14 * 1024, "below what was durable");
    f->options.boot_id = BOOT_B; /* a power cut explains nothing below the floor */
    ring_at(f, 14 * 1024)[9] ^= 1;
    ring_at(f, 15 * 1024 - 64)[9] ^= 1;
    reopen(f);
    expect_damage(f, 15, 14 * 1024, "below what was durable");
}

/* ---- a power cut --------------------------------------------------------------------------- */

/* Unflushed lines are lost in any combination: above the floor nothing is damage. */
static void recover__power_cut_with_lost_lines__torn_tail(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    append_many(f, 1, ENTRY, 400);
    assert_int_equal(lks_journal_raise_floor(f->journal, 100 * 1024), 0);
    lks_word_publish(&lks_journal_control(f->journal)->commit, 300 * 1024);
    memset(ring_at(f, 100 * 1024 + 128), 0, 64);
    memset(ring_at(f, 200 * 1024), 0, 64);
    f->options.boot_id = BOOT_B;
    reopen(f);
    expect_tail(f, 100 * 1024);
}

/* ---- every bit, and garbage ---------------------------------------------------------------- */

/* Each byte of a small log, flipped: the tail falls back to before the entry, or nothing at all
 * changes because the byte is one of the zeros that fill a cache line. */
static void recover__every_byte_flipped__detected_or_harmless(void **state)
{
    struct fixture *f = *state;
    struct lks_log_point starts[8];
    start(f);
    for (unsigned i = 0; i < 7; i++) {
        starts[i] = f->tail;
        assert_int_equal(append(f, 1 + i / 3, 33 * i), 0);
    }
    starts[7] = f->tail;
    const uint64_t end = f->tail.offset;
    for (uint64_t at = 0; at < end; at++) {
        unsigned entry = 0;
        while (starts[entry + 1].offset <= at) {
            entry++;
        }
        const uint64_t used = starts[entry].offset + 64 + 33 * entry;
        ring_at(f, at)[0] ^= (unsigned char)(1u << (at % 8));
        expect_tail(f, at < used ? starts[entry].offset : end);
        ring_at(f, at)[0] ^= (unsigned char)(1u << (at % 8));
    }
    expect_tail(f, end);
    assert_int_equal(lks_journal_raise_floor(f->journal, end), 0);
    for (uint64_t at = 0; at < end; at += 13) {
        ring_at(f, at)[0] ^= 1;
        struct lks_log_point tail;
        const int rc = lks_journal_recover(f->journal, &tail, &f->err);
        assert_true(rc == -LKS_EDAMAGED || (rc == 0 && tail.offset == end));
        ring_at(f, at)[0] ^= 1;
    }
}

static uint64_t g_random = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t random_u64(void)
{
    g_random ^= g_random << 13;
    g_random ^= g_random >> 7;
    g_random ^= g_random << 17;
    return g_random;
}

/* Rings of random bytes, sown with headers that are nearly right: no crash, no read outside, no
 * endless loop. The sanitizers watch. */
static void recover__garbage__ends_within_bounds(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    for (unsigned round = 0; round < 60; round++) {
        uint64_t *words = (uint64_t *)(void *)ring_at(f, 0);
        for (uint64_t i = 0; i < RING / 8; i++) {
            words[i] = random_u64();
        }
        f->tail = (struct lks_log_point){.index = 0};
        append_many(f, 1, random_u64() % 500, 1 + (unsigned)(random_u64() % 50));
        for (uint64_t at = f->tail.offset; at + 64 <= RING; at += 64 * (1 + random_u64() % 8)) {
            const struct lks_entry_header sown = {
                .payload_bytes = (uint32_t)(random_u64() >> (32 + random_u64() % 32)),
                .index = f->tail.index + 1 + random_u64() % 4,
                .term = 1,
                .previous_term = random_u64() % 2,
                .kind = (uint16_t)(1 + random_u64() % 4)};
            memcpy(ring_at(f, at), &sown, sizeof sown);
        }
        struct lks_log_point tail;
        const int rc = lks_journal_recover(f->journal, &tail, &f->err);
        assert_true(rc == -LKS_EDAMAGED || tail.offset == f->tail.offset);
    }
}

/* The search for proof stays bounded when every cache line looks like the start of a log. */
static void recover__every_line_looks_right__bounded(void **state)
{
    struct fixture *f = *state;
    start(f);
    promise(f, 1);
    for (uint64_t at = 64; at + 64 <= BIG_RING; at += 64) {
        const struct lks_entry_header sown = {.payload_bytes = (uint32_t)(BIG_RING / 16),
                                              .index = 2 + (at / 64) / 2048,
                                              .term = 1,
                                              .previous_term = 1,
                                              .kind = LKS_ENTRY_COMMAND};
        memcpy(ring_at(f, at), &sown, sizeof sown);
    }
    expect_tail(f, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_big, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(recover__new_journal__beginning),
        TEST(recover__entries__tail_behind_the_last),
        TEST(recover__full_ring_after_laps__tail_at_its_end),
        TEST(recover__control_page__is_zeroed),
        TEST(recover__earlier_lap_behind_the_tail__is_no_damage),
        TEST(recover__diverging_tail_half_overwritten__is_no_damage),
        TEST(recover__killed_within_a_large_entry__is_no_damage),
        TEST(recover__good_entries_close_behind_a_break__torn_tail),
        TEST(torn_at__broken_payload_or_nothing),
        TEST(recover__payload_rotten__chain_behind_it_proves_damage),
        TEST(recover__header_rotten__present_term_proves_damage),
        TEST(recover__rotten_before_a_change_of_term__proven_by_the_later_term),
        TEST(recover__header_rotten_under_an_older_term__no_proof),
        TEST(recover__first_entry_rotten__index_1),
        TEST(recover__rot_below_the_commit_word__damage),
        TEST(recover__impossible_commit_word__proves_nothing),
        TEST(recover__rot_below_the_floor__damage),
        TEST(recover__power_cut_with_lost_lines__torn_tail),
        cmocka_unit_test_setup_teardown(recover__every_byte_flipped__detected_or_harmless, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(recover__garbage__ends_within_bounds, setup, teardown),
        TEST(recover__every_line_looks_right__bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
