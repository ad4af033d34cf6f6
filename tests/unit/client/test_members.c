/* What MEMBER LIST answers, read again; and a replica's block put into a configuration. */
#include "client/config_edit.h"
#include "client/members.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "name: a\nid: 00112233445566778899aabbccddeeff\n"
#define ONE "replicas: # who is where\n  - id: 1\n    journal: r1\n    listen: 127.0.0.1:7001\n"

static const struct lks_config_addition addition = {
    .id = 2, .journal = "it's r2", .listen = "127.0.0.1:7002"};

static void read__list__says_who_is_what(void **state)
{
    (void)state;
    struct lks_members_seen seen;
    assert_true(lks_members_read(
        &seen, "members=7 committed=1 replica=2 role=leader leader=2 leader_address=[::1]:7002 "
               "term=9\n"
               "id=2 state=voter address=[::1]:7002 connected=1 lag_bytes=0 caught_up=1 "
               "installing=0 manual=0\n"
               "id=5 state=learner address=? connected=0 lag_bytes=640 caught_up=0 installing=1 "
               "manual=1\n"));
    assert_int_equal(seen.number, 7);
    assert_true(seen.committed);
    assert_int_equal(seen.leader, 2);
    assert_int_equal(seen.term, 9);
    assert_string_equal(seen.leader_address, "[::1]:7002");
    assert_int_equal(seen.voters, 1);
    assert_true(seen.members[2].voter && seen.members[2].connected && seen.members[2].caught_up);
    assert_true(seen.members[5].named && !seen.members[5].voter && seen.members[5].installing);
    assert_true(seen.members[5].manual);
    assert_int_equal(seen.members[5].lag_bytes, 640);
    assert_false(seen.members[1].named);
}

static void read__something_else__is_refused(void **state)
{
    (void)state;
    struct lks_members_seen seen;
    assert_false(lks_members_read(&seen, ""));
    assert_false(lks_members_read(&seen, "# Server\r\n"));
    assert_true(lks_members_read(&seen, "members=1\nid=99 state=voter\nid=\n\n"));
    assert_int_equal(seen.voters, 0);
}

static void expect_added(const char *before, const char *after)
{
    char *changed = NULL;
    struct lks_error err = {0};
    const int rc =
        lks_config_text_add(before, strlen(before), "c.yaml", &addition, &changed, &err);
    if (rc != 0) {
        fail_msg("%s", err.text);
    }
    assert_string_equal(changed, after);
    free(changed);
}

static void add__block__comes_behind_the_last_and_all_else_stays(void **state)
{
    (void)state;
    static const char block[] =
        "  - id: 2\n    journal: 'it''s r2'\n    listen: '127.0.0.1:7002'\n";
    char after[1024];
    (void)snprintf(after, sizeof after, "%s%s%s", HEAD, ONE, block);
    expect_added(HEAD ONE, after);
    (void)snprintf(after, sizeof after, "%s%s%s# the end\n\nring: 1M\n", HEAD, ONE, block);
    expect_added(HEAD ONE "# the end\n\nring: 1M\n", after);
    (void)snprintf(after, sizeof after, "%s%s\n%s", HEAD,
                   "replicas:\n  - {id: 1, journal: r1, listen: '127.0.0.1:7001'}", block);
    expect_added(HEAD "replicas:\n  - {id: 1, journal: r1, listen: '127.0.0.1:7001'}", after);
}

static void add__rdma_address__comes_into_the_block(void **state)
{
    (void)state;
    static const char before[] =
        HEAD "fabric: rdma\ncluster_key: 00112233445566778899aabbccddeeff00112233445566778899aabb"
             "ccddeeff\n" ONE "    rdma: 10.0.0.1:7001\n";
    const struct lks_config_addition with = {
        .id = 2, .journal = "r2", .listen = "127.0.0.1:7002", .rdma = "10.0.0.2:7001"};
    char *changed = NULL;
    struct lks_error err = {0};
    assert_int_equal(lks_config_text_add(before, sizeof before - 1, "c.yaml", &with, &changed,
                                         &err), 0);
    assert_non_null(strstr(changed, "    listen: '127.0.0.1:7002'\n    rdma: '10.0.0.2:7001'\n"));
    free(changed);
    changed = NULL;
    assert_int_equal(lks_config_text_add(before, sizeof before - 1, "c.yaml", &addition, &changed,
                                         &err), -LKS_ECONFIG);
    assert_non_null(strstr(err.text, "replicas[1].rdma"));
    assert_null(changed);
}

static void add__list_on_one_line__says_what_to_write(void **state)
{
    (void)state;
    static const char text[] =
        HEAD "replicas: [{id: 1, journal: r1, listen: '127.0.0.1:7001'}]\n";
    char *changed = NULL;
    struct lks_error err = {0};
    assert_int_equal(
        lks_config_text_add(text, sizeof text - 1, "c.yaml", &addition, &changed, &err),
        -LKS_ECONFIG);
    assert_non_null(strstr(err.text, "add this one yourself: {id: 2"));
    assert_null(changed);
}

static void add__values_that_no_configuration_takes__are_refused(void **state)
{
    (void)state;
    const struct lks_config_addition bad = {.id = 2, .journal = "r1", .listen = "127.0.0.1:7002"};
    char *changed = NULL;
    struct lks_error err = {0};
    assert_int_equal(lks_config_text_add(HEAD ONE, sizeof(HEAD ONE) - 1, "c.yaml", &bad, &changed,
                                         &err),
                     -LKS_ECONFIG);
    assert_non_null(strstr(err.text, "journal too"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read__list__says_who_is_what),
        cmocka_unit_test(read__something_else__is_refused),
        cmocka_unit_test(add__block__comes_behind_the_last_and_all_else_stays),
        cmocka_unit_test(add__rdma_address__comes_into_the_block),
        cmocka_unit_test(add__list_on_one_line__says_what_to_write),
        cmocka_unit_test(add__values_that_no_configuration_takes__are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
