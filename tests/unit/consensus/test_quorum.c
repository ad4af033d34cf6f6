/* Majorities. */
#include "consensus/quorum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void majority__each_size__more_than_half(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= LKS_CORE_REPLICAS_MAX; n++) {
        assert_true(2 * lks_quorum_majority(n) > n);
        assert_true(2 * (lks_quorum_majority(n) - 1) <= n);
    }
}

static void has_majority__each_pair_of_masks__counts_voters_only(void **state)
{
    (void)state;
    for (uint32_t voters = 0; voters < 256; voters++) {
        for (uint32_t some = 0; some < 256; some++) {
            uint32_t of = 0;
            uint32_t have = 0;
            for (uint32_t p = 0; p < 8; p++) {
                of += voters >> p & 1u;
                have += voters >> p & some >> p & 1u;
            }
            assert_int_equal(lks_quorum_count(voters), of);
            assert_true(lks_quorum_has_majority(some, voters) == (of != 0 && 2 * have > of));
        }
    }
}

/* By definition: at least a majority reached it, and nothing greater was reached by one. Those
 * that are no voters hold more than anybody. */
static void reached__all_voters_and_values__is_what_a_majority_has(void **state)
{
    (void)state;
    for (uint32_t voters = 2; voters < 256; voters += 2) {
        const uint32_t n = lks_quorum_count(voters);
        for (uint32_t pattern = 0; pattern < 1u << (2 * n); pattern++) {
            uint64_t values[LKS_CORE_PEERS];
            uint32_t i = 0;
            for (uint32_t p = 0; p < LKS_CORE_PEERS; p++) {
                values[p] = (voters >> p & 1u) != 0 ? pattern >> (2 * i) & 3u : 4u;
                i += voters >> p & 1u;
            }
            const uint64_t reached = lks_quorum_reached(values, voters);
            uint32_t have = 0;
            uint32_t more = 0;
            LKS_QUORUM_EACH (p, voters) {
                have += values[p] >= reached ? 1 : 0;
                more += values[p] > reached ? 1 : 0;
            }
            assert_true(have >= lks_quorum_majority(n));
            assert_true(more < lks_quorum_majority(n));
        }
    }
}

static void reached__greatest_offsets__are_kept(void **state)
{
    (void)state;
    const uint64_t values[LKS_CORE_PEERS] = {0, UINT64_MAX, 0, UINT64_MAX - 1};
    assert_int_equal(lks_quorum_reached(values, 0x0e), UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority__each_size__more_than_half),
        cmocka_unit_test(has_majority__each_pair_of_masks__counts_voters_only),
        cmocka_unit_test(reached__all_voters_and_values__is_what_a_majority_has),
        cmocka_unit_test(reached__greatest_offsets__are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
