/*
 * Each allocation fails once, in turn, when a replica makes what executes its commands: a clean
 * error, nothing left behind. A running replica changes its scheduler, and executes, without any.
 */
#include "node/execution.h"
#include "node/replica_internal.h"
#include "tests/support/allocations.h"
#include "tests/unit/node/replica_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void init__each_allocation_fails__no_execution(void **state)
{
    (void)state;
    struct lks_replica *replica = calloc(1, sizeof *replica);
    assert_non_null(replica);
    const struct rig_service_options service = {4, 8, NULL};
    rig_service_configure(&service);
    replica->options.service = rig_service();
    for (unsigned variant = 0; variant < 4; variant++) {
        bool failed = true;
        uint64_t number = 0;
        replica->options.scheduler = (struct lks_replica_scheduler){
            .kind = (variant & 2) != 0 ? LKS_EARLY : LKS_ADAPTIVE,
            .workers = 2,
            .manual = (variant & 1) != 0};
        while (failed) {
            struct lks_error err = {0};
            allocations_begin(++number);
            const int rc = lks_execution_init(replica, &err);
            assert_true((rc == 0) == (replica->execution != NULL));
            lks_execution_fini(replica);
            failed = allocations_end();
            assert_null(replica->execution);
            assert_int_equal(allocations_live(), 0);
            assert_true(failed ? rc == -ENOMEM || rc == -EAGAIN || rc == -EMFILE : rc == 0);
            assert_true(!failed || strlen(err.text) > 10);
        }
        assert_true(number > 20); /* it has many */
    }
    free(replica);
}

static void set_scheduler__no_allocation_possible__is_another_one(void **state)
{
    (void)state;
    const struct rig_options options = {.replicas = 1,
                                        .partitions = 8,
                                        .workers = {0, 2},
                                        .scheduler = {LKS_SEQUENTIAL, LKS_LATE}};
    struct rig *rig = rig_new(&options);
    struct lks_error err = {0};
    (void)rig_lead(rig);
    struct lks_replica *replica = rig->replicas[1].replica;
    for (unsigned i = 0; i < 10; i++) {
        struct lks_scheduler_status status;
        const enum lks_scheduler_kind kind = (enum lks_scheduler_kind)(i % (LKS_ADAPTIVE + 1));
        rig_submit_many(rig, 1, 64, 40);
        rig_settle(rig);
        allocations_begin(ALLOCATIONS_ALL);
        assert_int_equal(lks_replica_set_scheduler(replica, kind, 0, &err), 0);
        (void)lks_execution_collect(replica);
        const bool any = allocations_end();
        assert_false(any);
        lks_replica_scheduler_status(replica, &status);
        assert_int_equal(status.kind, kind);
    }
    rig_submit_many(rig, 1, 64, 40);
    rig_settle(rig);
    assert_int_equal(rig_executed(rig, 1), 11 * 40);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init__each_allocation_fails__no_execution),
        cmocka_unit_test(set_scheduler__no_allocation_possible__is_another_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
