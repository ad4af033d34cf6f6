/*
 * Assertions that stay on in every build. A broken invariant ends the process at once: a replica
 * that is no longer sure of its own state must not vote, serve or write. One condition each.
 */
#ifndef LKS_BASE_ASSERT_H
#define LKS_BASE_ASSERT_H

#include <stddef.h>

/* Called before abort(), with the formatted message; set by tests and main(). */
typedef void (*lks_assert_hook)(const char *message);
void lks_assert_set_hook(lks_assert_hook hook);

_Noreturn void lks_assert_failed(const char *file, int line, const char *function,
                                 const char *condition) __attribute__((cold));

#define LKS_ASSERT(condition) \
    (__builtin_expect(!!(condition), 1) \
         ? (void)0 \
         : lks_assert_failed(__FILE__, __LINE__, __func__, #condition))

#define LKS_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
