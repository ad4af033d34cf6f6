/*
 * EXPECT_ASSERT(statement): the statement must break an invariant. The assertion's hook jumps
 * back before the process would end. For tests of one thread only.
 */
#ifndef LKS_TESTS_SUPPORT_EXPECT_ASSERT_H
#define LKS_TESTS_SUPPORT_EXPECT_ASSERT_H

#include "base/assert.h"

#include <setjmp.h>

static jmp_buf expect_assert_return;

static void expect_assert_hook(const char *message)
{
    (void)message;
    longjmp(expect_assert_return, 1);
}

#define EXPECT_ASSERT(statement) \
    do { \
        lks_assert_set_hook(expect_assert_hook); \
        if (setjmp(expect_assert_return) == 0) { \
            statement; \
            lks_assert_set_hook(NULL); \
            fail_msg("no assertion failed: %s", #statement); \
        } \
        lks_assert_set_hook(NULL); \
    } while (0)

#endif
