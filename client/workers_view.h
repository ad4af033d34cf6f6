/*
 * The executors of one replica (its workers, and its own thread), read from its INFO text and shown
 * as a table or as JSON; used by `status` and `scheduler`. Main thread; nothing in the text is
 * trusted.
 */
#ifndef LKS_CLIENT_WORKERS_VIEW_H
#define LKS_CLIENT_WORKERS_VIEW_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a line of INFO, of so many bytes, is about one executor. */
bool lks_workers_view_is_line(const char *line, size_t bytes);

/* One line for the scheduler, then, if there are workers, a table; indented. */
void lks_workers_view_print(const char *info);

/* `[{"name":"worker0","executed":1,...},...]`: empty without workers. */
void lks_workers_view_print_json(const char *info);

#endif
