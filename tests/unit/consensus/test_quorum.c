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

/* By definition: at least a majority reached it, and nothing greater was reached by one. */
static void reached__all_value_patterns__is_what_a_majority_has(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= LKS_CORE_REPLICAS_MAX; n++) {
        for (uint32_t pattern = 0; pattern < 1u << (2 * n); pattern++) {
            uint64_t values[LKS_CORE_REPLICAS_MAX];
            for (uint32_t i = 0; i < n; i++) {
                values[i] = pattern >> (2 * i) & 3u;
            }
            const uint64_t reached = lks_quorum_reached(values, n);
            uint32_t have = 0;
            uint32_t more = 0;
            for (uint32_t i = 0; i < n; i++) {
                have += values[i] >= reached ? 1 : 0;
                more += values[i] > reached ? 1 : 0;
            }
            assert_true(have >= lks_quorum_majority(n));
            assert_true(more < lks_quorum_majority(n));
        }
    }
}

static void reached__greatest_offsets__are_kept(void **state)
{
    (void)state;
    const uint64_t values[3] = {UINT64_MAX, 0, UINT64_MAX - 1};
    assert_int_equal(lks_quorum_reached(values, 3), UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority__each_size__more_than_half),
        cmocka_unit_test(reached__all_value_patterns__is_what_a_majority_has),
        cmocka_unit_test(reached__greatest_offsets__are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
