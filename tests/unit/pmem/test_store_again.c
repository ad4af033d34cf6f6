/*
 * After a flush has failed, the kernel takes pages for clean that are not on the medium: a start
 * within the same boot stores into each of them again, so that its flushes mean something.
 */
#include "journal_fixture.h"
#include "pmem/journal_internal.h"

#define PAGE 4096u

static const struct lks_journal *g_journal; /* stores into its ring are counted; NULL: none are */
static uint32_t g_ring_stores;

void __real_lks_store_copy(void *to, const void *from, size_t bytes);
void __wrap_lks_store_copy(void *to, const void *from, size_t bytes);
void __wrap_lks_store_copy(void *to, const void *from, size_t bytes)
{
    const unsigned char *at = to;
    if (g_journal != NULL && at >= g_journal->ring &&
        at < g_journal->ring + g_journal->ring_bytes) {
        g_ring_stores++;
        assert_memory_equal(to, from, bytes); /* nothing changes */
    }
    __real_lks_store_copy(to, from, bytes);
}

/* Opens the journal again and recovers it, as on a medium that needs msync (or does not). */
static uint32_t stores_of_a_start(struct fixture *f, bool flush_by_cpu)
{
    open_journal(f);
    f->journal->medium.flush_by_cpu = flush_by_cpu;
    g_journal = f->journal;
    g_ring_stores = 0;
    recover(f);
    g_journal = NULL;
    return g_ring_stores;
}

static void store_again__killed_in_this_boot__every_page_of_the_log(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, 448, 30); /* of 512 bytes */
    const uint64_t tail = f->tail.offset;
    crash(f);
    assert_int_equal(stores_of_a_start(f, false), (tail + PAGE - 1) / PAGE);
}

static void store_again__stopped_in_order__nothing(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, 448, 30);
    lks_journal_close(f->journal, true);
    f->journal = NULL;
    assert_int_equal(stores_of_a_start(f, false), 0);
}

static void store_again__lines_flushed_by_the_processor__nothing(void **state)
{
    struct fixture *f = *state;
    start(f);
    append_many(f, 1, 448, 30);
    crash(f);
    assert_int_equal(stores_of_a_start(f, true), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(store_again__killed_in_this_boot__every_page_of_the_log),
        TEST(store_again__stopped_in_order__nothing),
        TEST(store_again__lines_flushed_by_the_processor__nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
