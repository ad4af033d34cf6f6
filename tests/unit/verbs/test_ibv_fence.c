/* The table of fences: who is trusted for what, and that no unsound combination is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "verbs/ibv/fence.h"

static void fence_for__software_drivers__deregister(void **state)
{
    (void)state;
    static const char *const drivers[] = {"", "rdma_rxe", "siw", "some_new_driver"};
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        const struct lks_ibv_fence *fence = lks_ibv_fence_for(drivers[i], true);
        assert_true(fence->window);
        assert_true(fence->deregister);
        assert_false(fence->invalidated_is_enough);
    }
}

static void fence_for__known_hardware__trusts_the_invalidation(void **state)
{
    (void)state;
    const struct lks_ibv_fence *fence = lks_ibv_fence_for("mlx5_core", true);
    assert_true(fence->window);
    assert_true(fence->invalidate);
    assert_true(fence->invalidated_is_enough);
    assert_true(fence->destroy_queue); /* where the queue pair is dead */
}

static void fence_for__no_windows__deregisters_the_region(void **state)
{
    (void)state;
    static const char *const drivers[] = {"", "rdma_rxe", "mlx5_core"};
    for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
        const struct lks_ibv_fence *fence = lks_ibv_fence_for(drivers[i], false);
        assert_false(fence->window);
        assert_false(fence->invalidate);
        assert_true(fence->deregister);
    }
}

static void is_sound__only_what_the_table_has(void **state)
{
    (void)state;
    const struct lks_ibv_fence copy = *lks_ibv_fence_for("", true);
    assert_true(lks_ibv_fence_is_sound(lks_ibv_fence_for("", true)));
    assert_true(lks_ibv_fence_is_sound(lks_ibv_fence_for("", false)));
    assert_true(lks_ibv_fence_is_sound(lks_ibv_fence_for("mlx5_core", true)));
    assert_false(lks_ibv_fence_is_sound(&copy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fence_for__software_drivers__deregister),
        cmocka_unit_test(fence_for__known_hardware__trusts_the_invalidation),
        cmocka_unit_test(fence_for__no_windows__deregisters_the_region),
        cmocka_unit_test(is_sound__only_what_the_table_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
