/* The form of received messages, and the names of everything that a trace shows. */
#include "consensus/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct lks_message good(void)
{
    return (struct lks_message){
        .kind = LKS_MESSAGE_VOTE_REPLY,
        .term = 5,
        .tail = {.index = 9, .term = 4, .offset = 640, .chain = 7},
        .commit_offset = 640,
        .runs_count = 2,
        .runs = {{.term = 1, .first_offset = 0}, {.term = 4, .first_offset = 192}},
    };
}

static void check__well_formed__true(void **state)
{
    (void)state;
    struct lks_message message = good();
    assert_true(lks_message_check(&message));
    message.runs_count = 0;
    assert_true(lks_message_check(&message));
    for (uint32_t kind = 1; kind < LKS_MESSAGE_KIND_END; kind++) {
        message = (struct lks_message){.kind = kind};
        assert_true(lks_message_check(&message));
    }
}

static void check__unknown_kind__false(void **state)
{
    (void)state;
    struct lks_message message = good();
    message.kind = 0;
    assert_false(lks_message_check(&message));
    message.kind = LKS_MESSAGE_KIND_END;
    assert_false(lks_message_check(&message));
    message.kind = UINT32_MAX;
    assert_false(lks_message_check(&message));
}

static void check__bad_runs__false(void **state)
{
    (void)state;
    struct lks_message message = good();
    message.runs_count = LKS_MESSAGE_RUNS_MAX + 1;
    assert_false(lks_message_check(&message));
    message.runs_count = UINT32_MAX;
    assert_false(lks_message_check(&message));
    message = good();
    message.runs[1].term = 1; /* does not rise */
    assert_false(lks_message_check(&message));
    message = good();
    message.runs[1].first_offset = 0;
    assert_false(lks_message_check(&message));
    message = good();
    message.runs[1].first_offset = 641; /* behind the tail */
    assert_false(lks_message_check(&message));
    message = good();
    message.runs[1].term = 5; /* above the tail's */
    assert_false(lks_message_check(&message));
}

static void check__commit_word_behind_the_tail__false(void **state)
{
    (void)state;
    struct lks_message message = good();
    message.commit_offset = 641;
    assert_false(lks_message_check(&message));
}

static void check__numbers_that_could_overflow__false(void **state)
{
    (void)state;
    struct lks_message message = good();
    uint64_t *const numbers[] = {
        &message.term,          &message.incarnation, &message.request,    &message.commit_offset,
        &message.durable_offset, &message.base.index, &message.base.term,  &message.base.offset,
        &message.tail.index,    &message.tail.term,   &message.tail.offset,
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        message = good();
        message.kind = LKS_MESSAGE_VOTE_REQUEST;
        message.runs_count = 0;
        *numbers[i] = LKS_MESSAGE_NUMBER_MAX - 1;
        assert_true(lks_message_check(&message));
        *numbers[i] = LKS_MESSAGE_NUMBER_MAX;
        assert_false(lks_message_check(&message));
        *numbers[i] = UINT64_MAX;
        assert_false(lks_message_check(&message));
    }
}

static void check__base_above_what_it_must_lie_below__false(void **state)
{
    (void)state;
    struct lks_message message = good();
    message.runs[0].first_offset = 64;
    message.base = (struct lks_position){.index = 1, .term = 1, .offset = 64};
    assert_true(lks_message_check(&message));
    message.base.offset = 65; /* a run begins below it */
    assert_false(lks_message_check(&message));
    message.base.offset = 64;
    message.base.term = 2; /* an entry above it has a lower term */
    assert_false(lks_message_check(&message));
    message.base.term = 1;
    message.commit_offset = 63; /* not committed */
    assert_false(lks_message_check(&message));
}

static void names__every_value__has_one(void **state)
{
    (void)state;
    for (uint32_t kind = 1; kind < LKS_MESSAGE_KIND_END; kind++) {
        assert_string_not_equal(lks_message_name(kind), "unknown");
    }
    for (uint32_t role = 0; role < LKS_CORE_ROLES; role++) {
        assert_string_not_equal(lks_core_role_name((enum lks_core_role)role), "unknown");
    }
    assert_string_equal(lks_effect_name(LKS_EFFECT_CANCEL_INSTALL), "cancel-install");
    assert_string_equal(lks_core_event_name(LKS_EVENT_READ), "read");
    assert_string_equal(lks_message_name(0), "unknown");
    assert_string_equal(lks_message_name(UINT32_MAX), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check__well_formed__true),
        cmocka_unit_test(check__unknown_kind__false),
        cmocka_unit_test(check__bad_runs__false),
        cmocka_unit_test(check__commit_word_behind_the_tail__false),
        cmocka_unit_test(check__numbers_that_could_overflow__false),
        cmocka_unit_test(check__base_above_what_it_must_lie_below__false),
        cmocka_unit_test(names__every_value__has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
