/* Persistent memory by cache line: what a power cut can leave of each line, and what it cannot. */
#include "sim/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BYTES 1024u

struct fixture {
    uint8_t seen[BYTES];
    struct lks_sim_lines *lines;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->lines = lks_sim_lines_new(fixture->seen, BYTES);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    lks_sim_lines_free(fixture->lines);
    free(fixture);
    return 0;
}

static void fill(struct fixture *fixture, uint64_t line, uint8_t value)
{
    uint8_t bytes[LKS_SIM_LINE_BYTES];
    memset(bytes, value, sizeof bytes);
    (void)lks_sim_lines_store(fixture->lines, line * LKS_SIM_LINE_BYTES, bytes, sizeof bytes);
}

static struct lks_sim_line_fate given(void *ctx, const struct lks_sim_line *line)
{
    (void)line;
    const struct lks_sim_line_fate *fate = ctx;
    return *fate;
}

/* Cuts the power with one fate for all lines; returns how many lines lost what was seen. */
static uint64_t cut(struct fixture *fixture, uint32_t value, uint8_t torn)
{
    struct lks_sim_line_fate fate = {.value = value, .torn = torn};
    const uint64_t lost = lks_sim_lines_cut(fixture->lines, given, &fate);
    assert_int_equal(lks_sim_lines_count(fixture->lines), 0);
    return lost;
}

static uint32_t values(const struct fixture *fixture)
{
    assert_int_equal(lks_sim_lines_count(fixture->lines), 1);
    return lks_sim_lines_at(fixture->lines, 0).values;
}

static void store__without_flush__old_or_new(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 3, 7);
    assert_int_equal(fixture->seen[3 * 64], 7);
    assert_int_equal(values(fixture), 2);
    assert_int_equal(lks_sim_lines_at(fixture->lines, 0).offset, 192);
    assert_int_equal(cut(fixture, 0, 0), 1);
    assert_int_equal(fixture->seen[3 * 64], 0);
    fill(fixture, 3, 7);
    assert_int_equal(cut(fixture, 1, 0), 0);
    assert_int_equal(fixture->seen[3 * 64], 7);
}

/* An eviction may have happened between the two stores. */
static void store__twice__any_of_three_values(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t value = 0; value < 3; value++) {
        fill(fixture, 0, 0);
        lks_sim_lines_persist(fixture->lines, 0, 64);
        fill(fixture, 0, 1);
        fill(fixture, 0, 2);
        assert_int_equal(values(fixture), 3);
        (void)cut(fixture, value, 0);
        assert_int_equal(fixture->seen[0], value);
    }
}

static void store__of_what_is_there__nothing_becomes_uncertain(void **state)
{
    struct fixture *fixture = *state;
    assert_false(lks_sim_lines_store(fixture->lines, 0, NULL, 200));
    assert_int_equal(lks_sim_lines_count(fixture->lines), 0);
    fill(fixture, 0, 1);
    fill(fixture, 0, 1);
    assert_int_equal(values(fixture), 2);
}

static void write_back__no_fence__may_still_be_old(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 0, 1);
    lks_sim_lines_write_back(fixture->lines, 0, 64);
    assert_int_equal(values(fixture), 2);
    assert_int_equal(cut(fixture, 0, 0), 1);
    assert_int_equal(fixture->seen[0], 0);
}

static void fence__after_write_back__certain(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 0, 1);
    fill(fixture, 1, 1);
    lks_sim_lines_write_back(fixture->lines, 10, 1);
    lks_sim_lines_fence(fixture->lines);
    assert_int_equal(values(fixture), 2); /* the other line */
    assert_int_equal(lks_sim_lines_at(fixture->lines, 0).offset, 64);
    assert_int_equal(lks_sim_lines_certain(fixture->lines)[0], 1);
    (void)cut(fixture, 0, 0);
    assert_int_equal(fixture->seen[0], 1);
    assert_int_equal(fixture->seen[64], 0);
}

static void fence__stored_again_since_the_write_back__that_value_is_the_oldest(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 0, 1);
    fill(fixture, 0, 2);
    lks_sim_lines_write_back(fixture->lines, 0, 64);
    fill(fixture, 0, 3);
    assert_int_equal(values(fixture), 4);
    lks_sim_lines_fence(fixture->lines);
    assert_int_equal(values(fixture), 2);
    assert_int_equal(cut(fixture, 0, 0), 1);
    assert_int_equal(fixture->seen[0], 2);
}

static void fence__without_write_back__nothing_changes(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 0, 1);
    lks_sim_lines_fence(fixture->lines);
    assert_int_equal(values(fixture), 2);
}

static void persist__some_lines__the_others_stay_uncertain(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t line = 0; line < 4; line++) {
        fill(fixture, line, 5);
    }
    lks_sim_lines_write_back(fixture->lines, 0, 64);
    lks_sim_lines_persist(fixture->lines, 64, 65);
    assert_int_equal(lks_sim_lines_count(fixture->lines), 2);
    lks_sim_lines_fence(fixture->lines);
    assert_int_equal(values(fixture), 2);
    assert_int_equal(lks_sim_lines_at(fixture->lines, 0).offset, 192);
}

static void cut__torn__words_of_two_values(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 0, 1);
    fill(fixture, 0, 2);
    assert_int_equal(cut(fixture, 1, 0x81), 1);
    assert_int_equal(fixture->seen[0], 2);
    assert_int_equal(fixture->seen[8], 1);
    assert_int_equal(fixture->seen[55], 1);
    assert_int_equal(fixture->seen[63], 2);
}

static void touch__then_a_store_of_somebody_else__old_or_new(void **state)
{
    struct fixture *fixture = *state;
    lks_sim_lines_touch(fixture->lines, 60, 8);
    memset(fixture->seen + 60, 9, 8);
    assert_int_equal(lks_sim_lines_count(fixture->lines), 2);
    lks_sim_lines_touch(fixture->lines, 60, 1);
    fixture->seen[60] = 8;
    assert_int_equal(lks_sim_lines_at(fixture->lines, 0).values, 3);
    assert_true(lks_sim_lines_at(fixture->lines, 0).order >
                lks_sim_lines_at(fixture->lines, 1).order);
    (void)cut(fixture, 0, 0);
    assert_int_equal(fixture->seen[60], 0);
    assert_int_equal(fixture->seen[64], 0);
}

static void stranger__changed_behind_its_back__is_found(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 1, 3);
    assert_int_equal(lks_sim_lines_stranger(fixture->lines, 0, BYTES), UINT64_MAX);
    fixture->seen[130] = 1;
    fixture->seen[700] = 1;
    assert_int_equal(lks_sim_lines_stranger(fixture->lines, 0, BYTES), 128);
    assert_int_equal(lks_sim_lines_stranger(fixture->lines, 192, BYTES - 192), 640);
    assert_int_equal(lks_sim_lines_stranger(fixture->lines, 192, 64), UINT64_MAX);
}

static void hash__of_what_is_certain__by_content_alone(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(lks_sim_lines_hash(fixture->lines), 0);
    fill(fixture, 2, 5);
    assert_int_equal(lks_sim_lines_hash(fixture->lines), 0);
    lks_sim_lines_persist(fixture->lines, 128, 1);
    const uint64_t one = lks_sim_lines_hash(fixture->lines);
    assert_int_equal(one, lks_sim_lines_line_hash(128, fixture->seen + 128));
    fill(fixture, 3, 6);
    (void)cut(fixture, 1, 0);
    assert_int_not_equal(lks_sim_lines_hash(fixture->lines), one);
    fill(fixture, 3, 0);
    lks_sim_lines_write_back(fixture->lines, 192, 64);
    lks_sim_lines_fence(fixture->lines);
    assert_int_equal(lks_sim_lines_hash(fixture->lines), one);
}

/* A line keeps a bounded number of values; one under way to the medium is not given up. */
static void store__very_often__bounded_and_what_is_written_back_stays(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture, 0, 1);
    lks_sim_lines_write_back(fixture->lines, 0, 64);
    for (uint8_t value = 2; value < 50; value++) {
        fill(fixture, 0, value);
    }
    assert_true(values(fixture) <= 8);
    assert_true(lks_sim_lines_forgotten(fixture->lines) > 0);
    lks_sim_lines_fence(fixture->lines);
    (void)cut(fixture, 0, 0);
    assert_int_equal(fixture->seen[0], 1);
}

/* Against a model that keeps every value of every line: what is certain, and what is possible. */
static void walk__against_a_list_of_values__same(void **state)
{
    struct fixture *fixture = *state;
    uint8_t certain[4] = {0};
    uint8_t seen[4] = {0};
    uint8_t under_way[4] = {0};
    bool pending[4] = {false};
    unsigned random = 1;
    for (uint32_t step = 1; step < 3000; step++) {
        random = random * 1103515245u + 12345u;
        const uint32_t line = random >> 16 & 3;
        switch (random >> 20 & 3) {
        case 0:
        case 1:
            seen[line] = (uint8_t)(step % 251 + 1);
            fill(fixture, line, seen[line]);
            break;
        case 2:
            lks_sim_lines_write_back(fixture->lines, line * 64, 64);
            under_way[line] = seen[line];
            pending[line] = seen[line] != certain[line] || pending[line];
            break;
        default:
            lks_sim_lines_fence(fixture->lines);
            for (uint32_t i = 0; i < 4; i++) {
                certain[i] = pending[i] ? under_way[i] : certain[i];
                pending[i] = false;
            }
            break;
        }
        for (uint32_t i = 0; i < 4; i++) {
            assert_int_equal(lks_sim_lines_certain(fixture->lines)[i * 64], certain[i]);
            assert_int_equal(fixture->seen[i * 64], seen[i]);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(store__without_flush__old_or_new),
        TEST(store__twice__any_of_three_values),
        TEST(store__of_what_is_there__nothing_becomes_uncertain),
        TEST(write_back__no_fence__may_still_be_old),
        TEST(fence__after_write_back__certain),
        TEST(fence__stored_again_since_the_write_back__that_value_is_the_oldest),
        TEST(fence__without_write_back__nothing_changes),
        TEST(persist__some_lines__the_others_stay_uncertain),
        TEST(cut__torn__words_of_two_values),
        TEST(touch__then_a_store_of_somebody_else__old_or_new),
        TEST(stranger__changed_behind_its_back__is_found),
        TEST(hash__of_what_is_certain__by_content_alone),
        TEST(store__very_often__bounded_and_what_is_written_back_stays),
        TEST(walk__against_a_list_of_values__same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
