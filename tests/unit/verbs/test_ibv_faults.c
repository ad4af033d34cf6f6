/*
 * The RDMA backend when the device refuses (LKS_TEST_RDMA_ADDRESS; else skipped): a revocation that
 * cannot be completed is not reported as one, and lets nothing be granted; a fabric that cannot be
 * made leaves nothing behind. The calls of libibverbs are wrapped; each fails when it is told to.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/verbs/ibv_pair.h"

#define STEPS_MAX 64

int __wrap_ibv_dereg_mr(struct ibv_mr *region);
int __real_ibv_dereg_mr(struct ibv_mr *region);
struct ibv_pd *__wrap_ibv_alloc_pd(struct ibv_context *context);
struct ibv_pd *__real_ibv_alloc_pd(struct ibv_context *context);
struct ibv_qp *__wrap_ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes);
struct ibv_qp *__real_ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes);

/* Written by the test's thread before the helper's calls: the helper's lock orders them. */
static bool keeps_regions;
static bool makes_no_queue_pairs;
static int domains_left = STEPS_MAX; /* so many more can be made */

int __wrap_ibv_dereg_mr(struct ibv_mr *region)
{
    return keeps_regions ? EBUSY : __real_ibv_dereg_mr(region);
}

struct ibv_qp *__wrap_ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attributes)
{
    if (makes_no_queue_pairs) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_ibv_create_qp(pd, attributes);
}

struct ibv_pd *__wrap_ibv_alloc_pd(struct ibv_context *context)
{
    if (domains_left == 0) {
        errno = ENOMEM;
        return NULL;
    }
    domains_left--;
    return __real_ibv_alloc_pd(context);
}

static int setup(void **state)
{
    keeps_regions = false;
    makes_no_queue_pairs = false;
    domains_left = STEPS_MAX;
    return pair_setup(state);
}

static int revoke(struct pair *pair)
{
    assert_int_equal(lks_fabric_revoke(pair->fabrics[1], 2, 7), 0);
    return pair_await(pair, 1, LKS_FABRIC_REVOKED).status;
}

static int grant(struct pair *pair)
{
    assert_int_equal(lks_fabric_grant(pair->fabrics[1], 2, 8), 0);
    return pair_await(pair, 1, LKS_FABRIC_GRANTED).status;
}

static void revoke__region_cannot_be_deregistered__error_until_it_can(void **state)
{
    struct pair *pair = *state;
    pair_connect(pair);
    assert_int_equal(revoke(pair), 0);
    assert_int_equal(grant(pair), 0);
    keeps_regions = true;
    assert_int_equal(revoke(pair), -EBUSY);
    assert_non_null(strstr(pair->lines[1], "could not be taken away"));
    /* Not even when asked again, and nothing is granted meanwhile. */
    assert_int_equal(revoke(pair), -EBUSY);
    assert_int_equal(grant(pair), -EIO);
    assert_int_equal(revoke(pair), -EBUSY);
    keeps_regions = false;
    assert_int_equal(revoke(pair), 0);
    assert_int_equal(grant(pair), 0);
    assert_int_equal(revoke(pair), 0);
}

static void grant__no_queue_pair__error_then_granted_again(void **state)
{
    struct pair *pair = *state;
    pair_connect(pair);
    assert_int_equal(revoke(pair), 0);
    makes_no_queue_pairs = true;
    assert_int_equal(grant(pair), -ENOMEM);
    assert_int_equal(revoke(pair), 0);
    makes_no_queue_pairs = false;
    assert_int_equal(grant(pair), 0);
}

static void new__each_protection_domain_refused__error_and_the_next_try_works(void **state)
{
    struct pair *pair = *state;
    for (int left = 0; left < 2; left++) {
        domains_left = left;
        assert_int_equal(pair_start(pair, 1, "secret", 4096), -ENOMEM);
    }
    domains_left = STEPS_MAX;
    pair_connect(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, pair_teardown)
        TEST(revoke__region_cannot_be_deregistered__error_until_it_can),
        TEST(grant__no_queue_pair__error_then_granted_again),
        TEST(new__each_protection_domain_refused__error_and_the_next_try_works),
#undef TEST
    };
    return pair_address() != NULL ? cmocka_run_group_tests(tests, NULL, NULL) : PAIR_SKIPPED;
}
