/* Assertions; see assert.h. The only place of the libraries that may end the process. */
#include "base/assert.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic(lks_assert_hook) g_hook;

void lks_assert_set_hook(lks_assert_hook hook)
{
    atomic_store(&g_hook, hook);
}

void lks_assert_failed(const char *file, int line, const char *function, const char *condition)
{
    char message[512];
    const int length = snprintf(message, sizeof message, "%s:%d: %s: invariant broken: %s\n", file,
                                line, function, condition);
    const lks_assert_hook hook = atomic_load(&g_hook);
    if (hook != NULL) {
        hook(message);
    }
    if (length > 0) {
        const ssize_t written = write(STDERR_FILENO, message, strlen(message));
        (void)written; /* nothing better is left to do */
    }
    abort();
}
