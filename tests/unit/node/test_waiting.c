/*
 * Entries that wait for partitions: each partition sees its entries in the order in which they
 * came, an entry runs once all its partitions are ready and its turn has come in each, and what
 * does not depend on the others does not wait for them.
 */
#include "node/waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define PARTITIONS 4u

static struct lks_waiting *make(uint32_t entries_max)
{
    struct lks_waiting *waiting = NULL;
    const struct lks_waiting_options options = {.partitions = PARTITIONS,
                                                .entries_max = entries_max};
    assert_int_equal(lks_waiting_new(&waiting, &options), 0);
    return waiting;
}

static void add(struct lks_waiting *waiting, uint64_t index, uint32_t count,
                const uint16_t *partitions)
{
    assert_true(lks_waiting_must(waiting, partitions, count));
    struct lks_waiting_entry *entry = lks_waiting_add(waiting, partitions, count);
    assert_non_null(entry);
    entry->index = index;
    entry->offset = index * 64;
}

/* Runs the next entry and returns its index; 0: none may run. */
static uint64_t run(struct lks_waiting *waiting)
{
    struct lks_waiting_entry *entry = lks_waiting_next(waiting);
    if (entry == NULL) {
        return 0;
    }
    const uint64_t index = entry->index;
    lks_waiting_done(waiting, entry);
    return index;
}

static const uint16_t P0[] = {0};
static const uint16_t P1[] = {1};
static const uint16_t P01[] = {0, 1};
static const uint16_t P12[] = {1, 2};

static void entries__of_one_partition__run_in_order_when_ready(void **state)
{
    (void)state;
    struct lks_waiting *waiting = make(8);
    add(waiting, 1, 1, P0);
    add(waiting, 2, 1, P0);
    add(waiting, 3, 1, P1);
    assert_int_equal(run(waiting), 0);
    lks_waiting_ready(waiting, 0);
    assert_int_equal(run(waiting), 1);
    assert_int_equal(lks_waiting_oldest(waiting)->index, 2);
    assert_int_equal(run(waiting), 2);
    assert_int_equal(run(waiting), 0);
    assert_int_equal(lks_waiting_oldest(waiting)->index, 3);
    assert_false(lks_waiting_must(waiting, P0, 1));
    lks_waiting_ready(waiting, 1);
    assert_int_equal(run(waiting), 3);
    assert_null(lks_waiting_oldest(waiting));
    assert_int_equal(lks_waiting_count(waiting), 0);
    lks_waiting_free(waiting);
}

static void entry__of_two_partitions__waits_for_both(void **state)
{
    (void)state;
    struct lks_waiting *waiting = make(8);
    lks_waiting_ready(waiting, 0);
    add(waiting, 1, 1, P1);
    add(waiting, 2, 2, P01);
    add(waiting, 3, 1, P0); /* ready, but behind 2 */
    assert_int_equal(run(waiting), 0);
    assert_true(lks_waiting_for(waiting, 0));
    lks_waiting_ready(waiting, 1);
    assert_int_equal(run(waiting), 1);
    assert_int_equal(run(waiting), 2);
    assert_int_equal(run(waiting), 3);
    lks_waiting_free(waiting);
}

static void entry__of_all_partitions__waits_for_all_and_holds_all_up(void **state)
{
    (void)state;
    struct lks_waiting *waiting = make(8);
    for (uint32_t p = 0; p < PARTITIONS - 1; p++) {
        lks_waiting_ready(waiting, p);
    }
    add(waiting, 1, 0, NULL);
    add(waiting, 2, 1, P0);
    add(waiting, 3, 0, NULL);
    assert_int_equal(run(waiting), 0);
    lks_waiting_ready(waiting, PARTITIONS - 1);
    assert_int_equal(run(waiting), 1);
    assert_int_equal(run(waiting), 2);
    assert_int_equal(run(waiting), 3);
    assert_false(lks_waiting_must(waiting, NULL, 0));
    lks_waiting_free(waiting);
}

static void room__none_left__says_so_until_the_oldest_has_run(void **state)
{
    (void)state;
    struct lks_waiting *waiting = make(PARTITIONS);
    assert_true(lks_waiting_has_room(waiting)); /* for an entry in as many parts */
    assert_false(lks_waiting_has_room_for_two(waiting));
    add(waiting, 1, 1, P0);
    assert_false(lks_waiting_has_room(waiting));
    for (uint32_t i = 1; i < PARTITIONS; i++) {
        add(waiting, 2, 1, P1);
    }
    assert_null(lks_waiting_add(waiting, P1, 1));
    lks_waiting_ready(waiting, 1);
    for (uint32_t i = 1; i < PARTITIONS; i++) {
        assert_int_equal(run(waiting), 2);
    }
    assert_false(lks_waiting_has_room(waiting)); /* the ring is in the order of the log */
    lks_waiting_ready(waiting, 0);
    assert_int_equal(run(waiting), 1);
    assert_true(lks_waiting_has_room(waiting));
    lks_waiting_free(waiting);
}

static void forget__all__gives_each_once_in_order(void **state)
{
    (void)state;
    struct lks_waiting *waiting = make(8);
    lks_waiting_ready(waiting, 2);
    add(waiting, 1, 2, P01);
    add(waiting, 2, 2, P12);
    add(waiting, 3, 1, P0);
    lks_waiting_ready(waiting, 0);
    for (uint64_t index = 1; index <= 3; index++) {
        assert_int_equal(lks_waiting_forget(waiting)->index, index);
    }
    assert_null(lks_waiting_forget(waiting));
    lks_waiting_free(waiting);
    lks_waiting_free(NULL);
}

/* ---- random ------------------------------------------------------------------------------- */

#define ENTRIES 2000u

struct walk {
    struct lks_waiting *waiting;
    uint64_t random;
    bool ready[PARTITIONS];
    uint32_t sets[ENTRIES + 1]; /* partitions of each entry, as bits */
    bool done[ENTRIES + 1];
    uint64_t last[PARTITIONS];  /* entry that each partition saw last */
};

static uint32_t draw(struct walk *walk, uint32_t below)
{
    walk->random = walk->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(walk->random >> 33) % below;
}

static void executed(struct walk *walk, uint64_t index)
{
    assert_false(walk->done[index]);
    walk->done[index] = true;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if ((walk->sets[index] >> p & 1) != 0) {
            assert_true(walk->ready[p]);
            assert_true(walk->last[p] < index);
            for (uint64_t i = walk->last[p] + 1; i < index; i++) {
                assert_int_equal(walk->sets[i] >> p & 1, 0); /* none was left out */
            }
            walk->last[p] = index;
        }
    }
}

static void one_entry(struct walk *walk, uint64_t index)
{
    uint16_t partitions[PARTITIONS];
    uint32_t count = 0;
    walk->sets[index] = 1 + draw(walk, (1u << PARTITIONS) - 1);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if ((walk->sets[index] >> p & 1) != 0) {
            partitions[count] = (uint16_t)p;
            count++;
        }
    }
    const bool all = count == PARTITIONS && draw(walk, 2) == 0;
    if (lks_waiting_must(walk->waiting, all ? NULL : partitions, count)) {
        add(walk->waiting, index, count, all ? NULL : partitions);
    } else {
        executed(walk, index);
    }
}

static void walk__random__each_partition_sees_the_order_of_the_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct walk walk = {.waiting = make(2 * ENTRIES), .random = seed};
        for (uint64_t index = 1; index <= ENTRIES; index++) {
            one_entry(&walk, index);
            const uint32_t p = draw(&walk, PARTITIONS);
            if (draw(&walk, 200) == 0 && !walk.ready[p]) {
                walk.ready[p] = true;
                lks_waiting_ready(walk.waiting, p);
            }
            for (uint32_t i = draw(&walk, 4); i > 0 && lks_waiting_next(walk.waiting); i--) {
                executed(&walk, run(walk.waiting));
            }
        }
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            if (!walk.ready[p]) {
                walk.ready[p] = true;
                lks_waiting_ready(walk.waiting, p);
            }
        }
        while (lks_waiting_next(walk.waiting) != NULL) {
            executed(&walk, run(walk.waiting));
        }
        for (uint64_t index = 1; index <= ENTRIES; index++) {
            assert_true(walk.done[index]);
        }
        lks_waiting_free(walk.waiting);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries__of_one_partition__run_in_order_when_ready),
        cmocka_unit_test(entry__of_two_partitions__waits_for_both),
        cmocka_unit_test(entry__of_all_partitions__waits_for_all_and_holds_all_up),
        cmocka_unit_test(room__none_left__says_so_until_the_oldest_has_run),
        cmocka_unit_test(forget__all__gives_each_once_in_order),
        cmocka_unit_test(walk__random__each_partition_sees_the_order_of_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
