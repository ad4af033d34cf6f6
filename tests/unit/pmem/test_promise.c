/* The promise and the base: written in turn, durable, guarded by assertions. */
#include "journal_fixture.h"

static struct lks_promise promise_of(const struct fixture *f)
{
    struct lks_promise p;
    lks_journal_promise(f->journal, &p);
    return p;
}

static int write_promise(struct fixture *f, uint64_t term, uint32_t candidate,
                         uint64_t incarnation)
{
    const struct lks_promise p = {
        .term = term, .candidate = candidate, .incarnation = incarnation};
    return lks_journal_write_promise(f->journal, &p);
}

static void promise__new_journal__is_zero(void **state)
{
    struct fixture *f = *state;
    start(f);
    const struct lks_promise p = promise_of(f);
    assert_true(p.term == 0 && p.candidate == 0 && p.incarnation == 0);
}

static void promise__each_write__survives_a_crash(void **state)
{
    struct fixture *f = *state;
    start(f);
    for (uint64_t term = 1; term <= 6; term++) {
        assert_int_equal(write_promise(f, term, 0, 0), 0);
        assert_int_equal(write_promise(f, term, 2, term + 10), 0);
        assert_int_equal(write_promise(f, term, 2, term + 10), 0); /* the same again */
        reopen(f);
        const struct lks_promise p = promise_of(f);
        assert_int_equal(p.term, term);
        assert_int_equal(p.candidate, 2);
        assert_int_equal(p.incarnation, term + 10);
    }
}

static void promise__lower_term_or_other_candidate__is_asserted(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(write_promise(f, 5, 2, 1), 0);
    assert_aborts((void)write_promise(f, 4, 2, 1));
    assert_aborts((void)write_promise(f, 5, 3, 1));
    assert_aborts((void)write_promise(f, 5, 0, 0));
    assert_aborts((void)write_promise(f, 5, 2, 2));
}

/* A torn newer promise was never acknowledged: the older one stands. */
static void promise__torn_write__older_stands(void **state)
{
    struct fixture *f = *state;
    unsigned char old[LKS_SLOT_BYTES];
    start(f);
    assert_int_equal(write_promise(f, 1, 2, 1), 0); /* generation 3: page 1 */
    file_read(f->path, slot_at(LKS_PAGE_PROMISE, 0, 1), old, sizeof old);
    assert_int_equal(write_promise(f, 2, 3, 1), 0); /* generation 4: page 0 */
    /* As if cut short within the first copy: the second still holds what was there before. */
    file_flip(f->path, slot_at(LKS_PAGE_PROMISE, 0, 0) + 100, 1);
    file_write(f->path, slot_at(LKS_PAGE_PROMISE, 0, 1), old, sizeof old);
    reopen(f);
    assert_int_equal(promise_of(f).term, 1);
    assert_int_equal(write_promise(f, 2, 3, 1), 0);
    reopen(f);
    assert_int_equal(promise_of(f).term, 2);
}

/* One rotten copy of the newest promise, and it is still found: it may have been acknowledged. */
static void promise__rotten_copy__newest_stands(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(write_promise(f, 1, 2, 1), 0);
    assert_int_equal(write_promise(f, 2, 3, 1), 0);
    for (unsigned copy = 0; copy < 2; copy++) {
        crash(f);
        file_flip(f->path, slot_at(LKS_PAGE_PROMISE, 0, copy) + 9, 0x80);
        open_journal(f);
        assert_int_equal(promise_of(f).term, 2);
    }
}

static void base__moves_forward_and_survives(void **state)
{
    struct fixture *f = *state;
    struct lks_log_point base;
    start(f);
    append_many(f, 3, 100, 4);
    const struct lks_log_point first = f->tail;
    append_many(f, 3, 100, 4);
    assert_int_equal(lks_journal_write_base(f->journal, &first), 0);
    reopen(f);
    lks_journal_base(f->journal, &base);
    assert_memory_equal(&base, &first, sizeof base);
    const struct lks_log_point tail = f->tail;
    recover(f);
    assert_memory_equal(&tail, &f->tail, sizeof tail);
    const struct lks_log_point back = {.index = 1, .term = 3, .offset = 64};
    assert_aborts((void)lks_journal_write_base(f->journal, &back));
    struct lks_log_point crooked = first;
    crooked.offset += 1;
    assert_aborts((void)lks_journal_write_base(f->journal, &crooked));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(promise__new_journal__is_zero),
        TEST(promise__each_write__survives_a_crash),
        cmocka_unit_test_setup_teardown(promise__each_write__survives_a_crash, setup_file,
                                        teardown),
        TEST(promise__lower_term_or_other_candidate__is_asserted),
        TEST(promise__torn_write__older_stands),
        TEST(promise__rotten_copy__newest_stands),
        TEST(base__moves_forward_and_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
