/* A program with a service of its own: what lks_main refuses, and which commands it has. */
#include "client/command.h"
#include "lockstep/replica.h"
#include "services/kv/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct lks_service sound(void)
{
    struct lks_service service = lks_kv_service;
    service.name = "bank";
    return service;
}

static int run(const struct lks_service *service, const char *command)
{
    char name[] = "bank";
    char argument[32];
    char *arguments[] = {name, argument, NULL};
    (void)snprintf(argument, sizeof argument, "%s", command);
    return lks_main(service, 2, arguments);
}

static void service__each_fault__refused(void **state)
{
    (void)state;
    struct lks_service service = sound();
    service.abi = LKS_SERVICE_ABI + 1;
    assert_int_equal(run(&service, "help"), LKS_EXIT_USAGE);
    const char *names[] = {NULL, "", "kv", "Bank", "a_b",
                           "a-name-of-more-than-thirty-two-letters"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        service = sound();
        service.name = names[i];
        assert_int_equal(run(&service, "help"), LKS_EXIT_USAGE);
    }
    service = sound();
    service.partitions = 0;
    assert_int_equal(run(&service, "help"), LKS_EXIT_USAGE);
    service.partitions = LKS_PARTITIONS_MAX + 1;
    assert_int_equal(run(&service, "help"), LKS_EXIT_USAGE);
    service = sound();
    service.snapshot_kept = NULL;
    assert_int_equal(run(&service, "help"), LKS_EXIT_USAGE);
}

static void service__sound__has_the_commands_but_no_benchmarks(void **state)
{
    (void)state;
    const struct lks_service service = sound();
    assert_int_equal(run(&service, "help"), LKS_EXIT_OK);
    assert_int_equal(run(&service, "--version"), LKS_EXIT_OK);
    assert_int_equal(run(&service, "bench"), LKS_EXIT_USAGE);
    assert_int_equal(run(&service, "nonsense"), LKS_EXIT_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(service__each_fault__refused),
        cmocka_unit_test(service__sound__has_the_commands_but_no_benchmarks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
