/* How busy workers are, by looks at how long they have been idle. */
#include "node/utilisation.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SECOND LKS_NS_PER_S

static void percent__no_time_has_passed__is_0(void **state)
{
    (void)state;
    struct lks_utilisation utilisation;
    lks_utilisation_begin(&utilisation, 7 * SECOND);
    assert_int_equal(lks_utilisation_percent(&utilisation, 7 * SECOND, 0, 0), 0);
}

static void percent__idle_for_a_part__is_the_rest(void **state)
{
    (void)state;
    struct lks_utilisation utilisation;
    lks_utilisation_begin(&utilisation, SECOND);
    assert_int_equal(lks_utilisation_percent(&utilisation, 2 * SECOND, 0, 0), 100);
    assert_int_equal(lks_utilisation_percent(&utilisation, 2 * SECOND, 0, SECOND / 4), 75);
    assert_int_equal(lks_utilisation_percent(&utilisation, 2 * SECOND, 1, SECOND), 0);
    assert_int_equal(lks_utilisation_percent(&utilisation, 2 * SECOND, 1, 3 * SECOND), 0);
}

static void look__two_of_them__older_time_is_forgotten(void **state)
{
    (void)state;
    struct lks_utilisation utilisation;
    const uint64_t first[2] = {SECOND, 0};
    const uint64_t second[2] = {SECOND, SECOND};
    lks_utilisation_begin(&utilisation, 0);
    assert_false(lks_utilisation_is_due(&utilisation, SECOND - 1));
    assert_true(lks_utilisation_is_due(&utilisation, SECOND));
    lks_utilisation_look(&utilisation, SECOND, first, 2);
    assert_false(lks_utilisation_is_due(&utilisation, SECOND));
    /* The look at 1 s is the newer one: the older one counts still. */
    assert_int_equal(lks_utilisation_percent(&utilisation, 2 * SECOND, 0, SECOND), 50);
    lks_utilisation_look(&utilisation, 2 * SECOND, second, 2);
    assert_int_equal(lks_utilisation_percent(&utilisation, 3 * SECOND, 0, SECOND), 100);
    assert_int_equal(lks_utilisation_percent(&utilisation, 3 * SECOND, 1, SECOND), 50);
    assert_int_equal(lks_utilisation_percent(&utilisation, 3 * SECOND, 1, 0), 100); /* torn */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percent__no_time_has_passed__is_0),
        cmocka_unit_test(percent__idle_for_a_part__is_the_rest),
        cmocka_unit_test(look__two_of_them__older_time_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
