/* The next members, as asked for; and what a snapshot says of sessions and members. */
#include "node/members.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct lks_members_record next;
static struct lks_error err;

static int change(const struct lks_members_record *now, uint32_t voters,
                  enum lks_member_action action, uint32_t id)
{
    const struct lks_member_request request = {.action = action, .id = id};
    return lks_members_change(&next, now, voters, &request, &err);
}

static void change__from_the_bootstrap_members__names_them_all(void **state)
{
    (void)state;
    const struct lks_members_record now = {.version = LKS_MEMBERS_VERSION};
    const struct lks_member_request request = {
        .action = LKS_MEMBER_ADD, .id = 4, .address = "127.0.0.1:7004"};
    assert_int_equal(lks_members_change(&next, &now, 0x0e, &request, &err), 0);
    assert_int_equal(next.number, 1);
    assert_int_equal(next.voters, 0x0e);
    assert_int_equal(next.learners, 0x10);
    assert_string_equal(next.addresses[3].clients, "127.0.0.1:7004");
    assert_int_equal(lks_members_record_read(&next, &next, sizeof next), 0);
}

static void change__address_of_the_fabric__stands_in_the_record(void **state)
{
    (void)state;
    struct lks_members_record now = {.version = LKS_MEMBERS_VERSION, .number = 2, .voters = 0x06};
    struct lks_member_request request = {
        .action = LKS_MEMBER_ADD, .id = 3, .fabric_address = "10.0.0.3:7101"};
    memset(&now.addresses[2], 'x', sizeof now.addresses[2] / 2);
    assert_int_equal(lks_members_change(&next, &now, 0x06, &request, &err), 0);
    assert_string_equal(next.addresses[2].fabric, "10.0.0.3:7101");
    assert_string_equal(next.addresses[2].clients, "");
    char longer[LKS_MEMBERS_ADDRESS_BYTES + 1] = {0};
    memset(longer, '1', LKS_MEMBERS_ADDRESS_BYTES);
    request.fabric_address = longer;
    assert_int_equal(lks_members_change(&next, &now, 0x06, &request, &err), -EINVAL);
    assert_non_null(strstr(err.text, "longer than 63 bytes"));
}

static void change__already_so__is_said(void **state)
{
    (void)state;
    const struct lks_members_record now = {
        .version = LKS_MEMBERS_VERSION, .number = 2, .voters = 0x06, .learners = 0x08};
    assert_int_equal(change(&now, 0x06, LKS_MEMBER_ADD, 1), 1);
    assert_int_equal(change(&now, 0x06, LKS_MEMBER_ADD, 3), 1);
    assert_int_equal(change(&now, 0x06, LKS_MEMBER_PROMOTE, 2), 1);
    assert_int_equal(change(&now, 0x06, LKS_MEMBER_REMOVE, 5), 1);
}

static void change__promote_and_remove__clear_what_was(void **state)
{
    (void)state;
    struct lks_members_record now = {.version = LKS_MEMBERS_VERSION,
                                     .number = 2,
                                     .voters = 0x06,
                                     .learners = 0x08,
                                     .manual = 0x08};
    now.addresses[2].clients[0] = 'x';
    assert_int_equal(change(&now, 0x06, LKS_MEMBER_PROMOTE, 3), 0);
    assert_int_equal(next.number, 3);
    assert_int_equal(next.voters, 0x0e);
    assert_int_equal(next.learners | next.manual, 0);
    assert_int_equal(change(&now, 0x06, LKS_MEMBER_REMOVE, 3), 0);
    assert_int_equal(next.voters, 0x06);
    assert_int_equal(next.learners | next.manual, 0);
    assert_int_equal(next.addresses[2].clients[0], 0);
}

static void change__impossible__says_the_way_out(void **state)
{
    (void)state;
    const struct lks_members_record now = {
        .version = LKS_MEMBERS_VERSION, .number = 2, .voters = 0x02, .learners = 0x08};
    assert_int_equal(change(&now, 0x02, LKS_MEMBER_REMOVE, 1), -EINVAL);
    assert_non_null(strstr(err.text, "add another one first"));
    assert_int_equal(change(&now, 0x02, LKS_MEMBER_PROMOTE, 5), -EINVAL);
    assert_non_null(strstr(err.text, "`lockstep member add 5`"));
    assert_int_equal(change(&now, 0x02, LKS_MEMBER_ADD, 8), -EINVAL);
    assert_non_null(strstr(err.text, "ids are 1 to 7"));
    const struct lks_member_request manual = {.action = LKS_MEMBER_ADD, .id = 3, .manual = true};
    assert_int_equal(lks_members_change(&next, &now, 0x02, &manual, &err), -EINVAL);
    assert_non_null(strstr(err.text, "learner already"));
}

static void meta__sessions_and_members__are_read_back(void **state)
{
    (void)state;
    struct lks_sessions sessions = {0};
    const struct lks_members_record members = {
        .version = LKS_MEMBERS_VERSION, .number = 5, .voters = 0x1e};
    uint8_t bytes[LKS_META_BYTES];
    struct lks_meta meta;
    sessions.gateways[3].incarnation = 7;
    sessions.gateways[3].last_sequence = 9;
    lks_meta_encode(&sessions, &members, bytes);
    assert_int_equal(lks_meta_decode(&meta, bytes, sizeof bytes), 0);
    assert_memory_equal(&meta.sessions, &sessions, sizeof sessions);
    assert_memory_equal(&meta.members, &members, sizeof members);
}

static void meta__sessions_alone__are_the_bootstrap_members(void **state)
{
    (void)state;
    const struct lks_sessions sessions = {0};
    uint8_t bytes[LKS_SESSIONS_BYTES];
    struct lks_meta meta;
    lks_sessions_encode(&sessions, bytes);
    assert_int_equal(lks_meta_decode(&meta, bytes, sizeof bytes), 0);
    assert_int_equal(meta.members.number, 0);
    assert_int_equal(meta.members.voters, 0);
}

static void meta__damaged__is_refused(void **state)
{
    (void)state;
    const struct lks_sessions sessions = {0};
    const struct lks_members_record members = {
        .version = LKS_MEMBERS_VERSION, .number = 5, .voters = 0x1e};
    uint8_t bytes[LKS_META_BYTES];
    struct lks_meta meta = {.members = {.number = 77}};
    lks_meta_encode(&sessions, &members, bytes);
    assert_int_equal(lks_meta_decode(&meta, bytes, sizeof bytes - 1), -EBADMSG);
    bytes[LKS_SESSIONS_BYTES] ^= 2; /* the record's version */
    assert_int_equal(lks_meta_decode(&meta, bytes, sizeof bytes), -EBADMSG);
    assert_int_equal(meta.members.number, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(change__from_the_bootstrap_members__names_them_all),
        cmocka_unit_test(change__address_of_the_fabric__stands_in_the_record),
        cmocka_unit_test(change__already_so__is_said),
        cmocka_unit_test(change__promote_and_remove__clear_what_was),
        cmocka_unit_test(change__impossible__says_the_way_out),
        cmocka_unit_test(meta__sessions_and_members__are_read_back),
        cmocka_unit_test(meta__sessions_alone__are_the_bootstrap_members),
        cmocka_unit_test(meta__damaged__is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
