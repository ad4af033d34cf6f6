/* Pairs of slots: newest value, torn writes, rot, lost pages. On plain memory. */
#include "journal_fixture.h"

#define VALUE_BYTES 24u
#define PAIR_BYTES 8192u

static const struct lks_medium memory = {.kind = LKS_MEDIUM_MEMORY, .flush_by_cpu = true};

struct pair {
    _Alignas(4096) unsigned char pages[PAIR_BYTES];
    struct lks_slots slots;
};

static struct pair g_pair;

static void value_of(uint64_t number, unsigned char value[VALUE_BYTES])
{
    memset(value, (int)number, VALUE_BYTES);
}

static void attach(struct pair *pair)
{
    lks_slots_init(&pair->slots, pair->pages, &memory, LKS_SLOT_PROMISE, VALUE_BYTES);
}

/* Formatted with 1, then written up to `last`. */
static void fill(struct pair *pair, uint64_t last)
{
    unsigned char value[VALUE_BYTES];
    memset(pair->pages, 0, sizeof pair->pages);
    attach(pair);
    value_of(1, value);
    assert_int_equal(lks_slots_format(&pair->slots, value), 0);
    for (uint64_t i = 2; i <= last; i++) {
        value_of(i, value);
        assert_int_equal(lks_slots_write(&pair->slots, value), 0);
    }
}

/* What a fresh look at the pages finds: the number of the value, or the error. */
static int look(struct pair *pair)
{
    unsigned char value[VALUE_BYTES];
    unsigned char expected[VALUE_BYTES];
    attach(pair);
    const int rc = lks_slots_load(&pair->slots, value);
    if (rc < 0) {
        return rc;
    }
    value_of(value[0], expected);
    assert_memory_equal(value, expected, VALUE_BYTES);
    return value[0];
}

static void load__zeroed_pages__is_damaged(void **state)
{
    (void)state;
    memset(g_pair.pages, 0, sizeof g_pair.pages);
    assert_int_equal(look(&g_pair), -LKS_EDAMAGED);
}

static void load__after_each_write__finds_the_newest(void **state)
{
    (void)state;
    for (uint64_t last = 1; last <= 9; last++) {
        fill(&g_pair, last);
        assert_int_equal(look(&g_pair), (int)last);
    }
}

static void load__another_kind_or_length__is_damaged(void **state)
{
    (void)state;
    unsigned char value[VALUE_BYTES + 8];
    fill(&g_pair, 3);
    lks_slots_init(&g_pair.slots, g_pair.pages, &memory, LKS_SLOT_BASE, VALUE_BYTES);
    assert_int_equal(lks_slots_load(&g_pair.slots, value), -LKS_EDAMAGED);
    lks_slots_init(&g_pair.slots, g_pair.pages, &memory, LKS_SLOT_PROMISE, VALUE_BYTES + 8);
    assert_int_equal(lks_slots_load(&g_pair.slots, value), -LKS_EDAMAGED);
}

/* Every state that a write from `old` to `old + 1` can be cut short in: the first `done` bytes of
 * the two copies are new. Repair and further writes work from each. */
static void write__cut_at_every_byte__old_or_new_value(void **state)
{
    (void)state;
    static unsigned char before[PAIR_BYTES];
    static unsigned char after[PAIR_BYTES];
    unsigned char value[VALUE_BYTES];
    fill(&g_pair, 4);
    memcpy(before, g_pair.pages, PAIR_BYTES);
    value_of(5, value);
    assert_int_equal(lks_slots_write(&g_pair.slots, value), 0);
    memcpy(after, g_pair.pages, PAIR_BYTES);
    const size_t page = memcmp(before, after, 4096) != 0 ? 0 : 4096;
    assert_memory_equal(before + 4096 - page, after + 4096 - page, 4096); /* the other is whole */
    for (unsigned done = 0; done <= 2 * LKS_SLOT_BYTES; done++) {
        memcpy(g_pair.pages, before, PAIR_BYTES);
        for (unsigned i = 0; i < done; i++) {
            const size_t at = page + (i / LKS_SLOT_BYTES) * (size_t)LKS_SLOT_SECOND_COPY_AT +
                              i % LKS_SLOT_BYTES;
            g_pair.pages[at] = after[at];
        }
        const int found = look(&g_pair);
        assert_true(found == 4 || found == 5);
        assert_true(done < 2 * LKS_SLOT_BYTES || found == 5);
        assert_int_equal(lks_slots_repair(&g_pair.slots), 0);
        assert_int_equal(look(&g_pair), found);
        value_of((uint64_t)found + 1, value);
        assert_int_equal(lks_slots_write(&g_pair.slots, value), 0);
        assert_int_equal(look(&g_pair), found + 1);
    }
}

/* Any rotten byte of any copy: the newest value is still found, and repair makes all whole. */
static void load__any_byte_of_one_copy_rotten__newest_value(void **state)
{
    (void)state;
    for (unsigned copy = 0; copy < 4; copy++) {
        const size_t at = (copy / 2) * 4096u + (copy % 2) * (size_t)LKS_SLOT_SECOND_COPY_AT;
        for (unsigned byte = 0; byte < LKS_SLOT_BYTES; byte++) {
            fill(&g_pair, 6);
            g_pair.pages[at + byte] ^= 0x10;
            assert_int_equal(look(&g_pair), 6);
            assert_int_equal(lks_slots_repair(&g_pair.slots), 0);
            for (unsigned other = 0; other < 4; other++) {
                struct lks_slot slot;
                memcpy(&slot,
                       g_pair.pages + (other / 2) * 4096u +
                           (other % 2) * (size_t)LKS_SLOT_SECOND_COPY_AT,
                       sizeof slot);
                assert_int_equal(slot.generation & 1, other / 2);
                assert_true(slot.payload[0] == 6 || slot.payload[0] == 5);
            }
        }
    }
}

/* A page without a whole copy is no torn write: the newest value may be gone. */
static void load__both_copies_of_a_page_rotten__is_damaged(void **state)
{
    (void)state;
    for (unsigned page = 0; page < 2; page++) {
        fill(&g_pair, 6);
        g_pair.pages[page * 4096u] ^= 1;
        g_pair.pages[page * 4096u + LKS_SLOT_SECOND_COPY_AT + 30] ^= 1;
        assert_int_equal(look(&g_pair), -LKS_EDAMAGED);
    }
}

/* A write that the medium swallowed although it said otherwise. */
static void load__page_of_an_earlier_value__is_damaged(void **state)
{
    (void)state;
    static unsigned char old[PAIR_BYTES];
    fill(&g_pair, 4);
    memcpy(old, g_pair.pages, PAIR_BYTES);
    fill(&g_pair, 7);
    memcpy(g_pair.pages, old, 4096);
    assert_int_equal(look(&g_pair), -LKS_EDAMAGED);
}

static void load__changes_nothing(void **state)
{
    (void)state;
    static unsigned char old[PAIR_BYTES];
    fill(&g_pair, 4);
    g_pair.pages[3] ^= 1;
    memcpy(old, g_pair.pages, PAIR_BYTES);
    assert_int_equal(look(&g_pair), 4);
    assert_memory_equal(old, g_pair.pages, PAIR_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load__zeroed_pages__is_damaged),
        cmocka_unit_test(load__after_each_write__finds_the_newest),
        cmocka_unit_test(load__another_kind_or_length__is_damaged),
        cmocka_unit_test(write__cut_at_every_byte__old_or_new_value),
        cmocka_unit_test(load__any_byte_of_one_copy_rotten__newest_value),
        cmocka_unit_test(load__both_copies_of_a_page_rotten__is_damaged),
        cmocka_unit_test(load__page_of_an_earlier_value__is_damaged),
        cmocka_unit_test(load__changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
