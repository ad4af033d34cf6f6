/* Runs the cases of the suite; see suite.h. */
#include "tests/conformance/fabric/suite.h"

#include "tests/conformance/fabric/cases.h"
#include "tests/conformance/fabric/stage.h"

int suite_run(const struct suite_backend *backend)
{
#define X(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown),
    const struct CMUnitTest connection_cases[] = {CONNECTION_CASES(X)};
    const struct CMUnitTest path_cases[] = {PATH_CASES(X)};
    const struct CMUnitTest wake_cases[] = {WAKE_CASES(X)};
#undef X
    stage_use(backend);
    int failed = cmocka_run_group_tests_name("connection", connection_cases, NULL, NULL);
    failed += cmocka_run_group_tests_name("path", path_cases, NULL, NULL);
    failed += cmocka_run_group_tests_name("wake", wake_cases, NULL, NULL);
    return failed;
}
